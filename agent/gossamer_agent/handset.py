"""What connects the agent to one worker: its socket, the shared page, its output pipes."""

from __future__ import annotations

import contextlib
import os
import select
import socket

from gossamer_agent.pipe import Pipe
from gossamer_agent.worker.page import PAGE_BYTES, Page


class Handset:
    """Our ends, and the descriptors of the worker's ends until they are handed over.

    `OSError` when there are not enough descriptors; none is kept then.
    """

    def __init__(self, worker: int) -> None:
        self.worker = worker
        self.pid = 0
        with contextlib.ExitStack() as undo:
            self.sock, theirs = socket.socketpair()
            undo.callback(self.sock.close)
            link = theirs.detach()
            undo.callback(os.close, link)
            page = os.memfd_create("gossamer-page", os.MFD_CLOEXEC)
            undo.callback(os.close, page)
            os.ftruncate(page, PAGE_BYTES)
            self.page = Page(page)
            undo.callback(self.page.close)
            self.stdout, out = _pipe(undo)
            self.stderr, err = _pipe(undo)
            undo.pop_all()
        self._output = select.poll()
        for pipe in (self.stdout, self.stderr):
            self._output.register(pipe.stream.fileno(), select.POLLIN)
        self._theirs = (link, page, out, err)

    @property
    def theirs(self) -> tuple[int, int, int, int]:
        """The worker's socket, page, stdout and stderr, to be sent to the zygote."""
        return self._theirs

    def printed(self) -> bool:
        """Tell whether something may be there that was written to descriptors 1 and 2."""
        return self.stdout.holds or self.stderr.holds or bool(self._output.poll(0))

    def hand_over(self) -> None:
        """Close our copies of the worker's ends: it has them now."""
        for fd in self._theirs:
            os.close(fd)

    def discard(self) -> None:
        """Close our own ends: there is no worker."""
        self.sock.close()
        self.stdout.stream.close()
        self.stderr.stream.close()
        self.page.close()


def _pipe(undo: contextlib.ExitStack) -> tuple[Pipe, int]:
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    undo.callback(os.close, theirs)
    pipe = Pipe(ours)
    undo.callback(pipe.stream.close)
    return pipe, theirs
