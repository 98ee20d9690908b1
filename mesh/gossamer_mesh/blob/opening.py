"""Opening a file that lies where other processes of the same user may put things.

An agent's tasks are such processes, and see less than the agent does: what they put in a blob's
place must not have the agent read, and send, what is hidden from them.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def opened(path: Path) -> int:
    """Return `path` open for reading; `OSError` unless it is itself a regular file.

    What is a link is not followed; what is a pipe is not waited for.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return fd
