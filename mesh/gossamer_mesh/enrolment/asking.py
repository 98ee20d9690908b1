"""Asking the registrar, as an agent or a client does: to be let in, to stay, or whom it knows."""

from __future__ import annotations

import itertools
import queue
import secrets
import time
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from gossamer_mesh import subjects
from gossamer_mesh.access import Access
from gossamer_mesh.enrolment import messages
from gossamer_mesh.enrolment.invitation import Invitation, check_time, shown
from gossamer_mesh.enrolment.messages import Answer, Enrolled, Join, Refused, Request
from gossamer_mesh.enrolment.renewal import renewed
from gossamer_mesh.errors import ConnectError, EnrolmentError
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.link import Link, Message
from gossamer_mesh.link.nats import NatsLink

T = TypeVar("T", bound=Answer)

AGAIN_S: Final = 5.0
"""An answer may be lost: ask again after so long. It is answered the same."""

PATIENCE_S: Final = 90.0
SKEW_S: Final = 60
"""Clocks that differ by more than this are told of: tokens would expire early, or late."""


class Asker:
    """Somebody's line to the registrar, over a link that stays its owner's."""

    def __init__(self, link: Link, party: str) -> None:
        """`party`: whose inbox it is, a user or a session of one."""
        self._link = link
        self._party = party
        self._numbers = itertools.count()

    def ask(self, subject: str, request: Request, kind: type[T], within_s: float = PATIENCE_S) -> T:
        """Return the answer; `EnrolmentError` with the reason if it is no, `ConnectError` if none.

        Asks again when nothing was heard for a while, so it is only for what may be asked twice.
        """
        answers: queue.SimpleQueue[Message] = queue.SimpleQueue()
        # One for each: what nobody listened to must not be taken for a later one's.
        deadline = time.monotonic() + within_s
        nobody = False
        while (left_s := deadline - time.monotonic()) > 0:
            number = next(self._numbers)
            inbox = (
                subjects.told(self._party, number)
                if subjects.enrolment_parts(subject)[0] == "admin"
                else subjects.inbox(self._party, "registrar", number)
            )
            heard = self._link.subscribe(inbox, answers.put)
            try:
                self._link.publish(subject, messages.encode(request), inbox)
                message = answers.get(timeout=min(AGAIN_S, left_s))
            except queue.Empty:
                continue
            finally:
                heard.cancel()
            nobody = message.no_responders
            if nobody:
                time.sleep(min(0.2, left_s))
                if left_s < within_s - AGAIN_S:
                    break
                continue
            answer = messages.decode_answer(message.payload)
            if isinstance(answer, kind):
                return answer
            if isinstance(answer, Refused):
                raise refused(answer, time.time())
            raise EnrolmentError(f"the registrar answered with a {type(answer).__name__}")
        why = "nobody lets people in" if nobody else f"no answer within {within_s:.0f} s"
        raise ConnectError(
            f"{why} on this mesh: is gossamer mesh serve (or gossamer enrol) running? "
            "(Administrators ask at the mesh's own server, not at a site's; a mesh of gossamer up "
            "is one person's: gossamer mesh init makes one that others can join.)"
        )


def refused(answer: Refused, now: float) -> EnrolmentError:
    skew = skewed(answer.now, now)
    return EnrolmentError(f"{answer.message}{f'. {skew}' if skew else ''}", reason=answer.reason)


def skewed(theirs: float, ours: float) -> str:
    """Say that clocks differ, if they do so by more than a minute; else ""."""
    if abs(theirs - ours) <= SKEW_S:
        return ""
    return (
        f"The mesh's clock says {shown(theirs)}, this machine's {shown(ours)}: set the one that "
        "is wrong"
    )


def enrol(
    invitation: Invitation,
    *,
    agent: bool,
    name: str,
    site: str = "",
    key: KeyPair | None = None,
    warn: Callable[[str], object] = lambda _: None,
    leaf: Access | None = None,
) -> tuple[Access, Enrolled]:
    """Join with a token: return who we are now, by a key that only we have. Blocks.

    `name`, `site`: what we would like to be called, where the token leaves it open. `warn` is told
    of clocks that differ. `leaf`: how others will reach us, if that is what we are to be.
    `EnrolmentError` says why not, `ConnectError` that nobody was reached.
    """
    check_time(invitation, time.time())
    key = key or KeyPair.new("user")
    party = subjects.session(invitation.id, secrets.token_hex(4))
    link = NatsLink.connect(invitation.access, name=party)
    try:
        # What works now is what will be tried first from now on.
        reached = invitation.access.first(link.url)
        request = Join(
            public=key.public,
            role="leaf" if leaf else "agent" if agent else "",
            name=name,
            site=site,
            sent=int(time.time()),
            urls=leaf.urls if leaf else (),
            ca=leaf.ca if leaf else "",
        )
        subject = subjects.enrol_join(invitation.id)
        answer = Asker(link, party).ask(subject, request, Enrolled)
    finally:
        link.close()
    if told := skewed(answer.now, time.time()):
        warn(told)
    return msgspec.structs.replace(renewed(reached, answer), seed=key.seed), answer
