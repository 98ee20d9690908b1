"""Keeps what is in this process's memory, credentials above all, from others of the same user.

Tasks run as the agent's user: without this they could read its memory through /proc. It holds
until the next exec, so the zygote and its workers are as they were. Root reads all the same.
"""

from __future__ import annotations

import ctypes
import logging
import os
from typing import Final

PR_SET_DUMPABLE: Final = 4

_log = logging.getLogger("gossamer.agent")


def close_memory() -> bool:
    """Make this process one that cannot be traced, read or dumped; tell whether it now is.

    What keeps it from being so is logged.
    """
    try:
        library = ctypes.CDLL(None, use_errno=True)
        refused = library.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        why = os.strerror(ctypes.get_errno()) if refused else ""
    except (OSError, AttributeError) as error:
        why = str(error)
    if why:
        _log.warning("tasks can read this agent's credentials from its memory: %s", why)
    elif os.geteuid() == 0:
        _log.warning(
            "this agent runs as root, and so do its tasks: they can read its credentials, and all "
            "else on this machine; give it a user of its own"
        )
    return not why
