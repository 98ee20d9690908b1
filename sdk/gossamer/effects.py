"""What a keeper wants done."""

from __future__ import annotations

import msgspec

from gossamer.work import Work
from gossamer_mesh import wire


class SendRun(msgspec.Struct, frozen=True, gc=False):
    """Send calls to an agent; the server says so under `number` when nobody listens."""

    agent: str
    number: int
    run: wire.Run


class SendControl(msgspec.Struct, frozen=True, gc=False):
    """Send a control message to an agent."""

    agent: str
    number: int
    message: wire.Control


class Running(msgspec.Struct, frozen=True, gc=False):
    """Tell the owner that its task runs."""

    work: Work


class Told(msgspec.Struct, frozen=True, gc=False):
    """Tell the owner what its task prints or says while it runs."""

    work: Work
    record: wire.Log | wire.Progress


class Ended(msgspec.Struct, frozen=True, gc=False):
    """Tell the owner that its task has ended."""

    work: Work


class Collect(msgspec.Struct, frozen=True, gc=False):
    """Fetch the large value of an attempt from its agent, then call `Keeper.collected`.

    Who waits for it then is `Keeper.awaiting`: an attempt can have become another task's record.
    """

    work: Work
    number: int
    attempt: int
    blob: wire.Blob


class Leave(msgspec.Struct, frozen=True, gc=False):
    """Tell the agent that nobody will fetch this large value of a task."""

    blob: wire.Blob
    task: int


Effect = SendRun | SendControl | Running | Told | Ended | Collect | Leave
