"""The device grant of OAuth (RFC 8628): an ID token got by who has a browser elsewhere.

`Polling` is the machine: what an answer means and when to ask next. `token` performs it. Blocks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from gossamer_mesh.errors import EnrolmentError
from gossamer_mesh.vouching import issuer, web

GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
SCOPES: Final = "openid profile email"
SECRET_VARIABLE: Final = "GOSSAMER_CLIENT_SECRET"  # noqa: S105  where one is looked for
"""Of a client that has one: some issuers give one to programs as well, where it is none."""

INTERVAL_S: Final = 5.0
SLOWER_S: Final = 5.0
LONGEST_S: Final = 60.0
LAST_S: Final = 1800.0
_FOUND: Final = 200
_SERVER_ERROR: Final = 500


class Prompt(NamedTuple):
    """What a person is to do: open `url`, and type `code` there. `whole` has both, or is ""."""

    url: str
    code: str
    whole: str
    expires_s: float


class Polling:
    """Asks for the token again and again. Times are monotonic, in seconds, and are arguments."""

    def __init__(self, issuer_url: str, prompt: Prompt, interval_s: float, now: float) -> None:
        self._issuer = issuer_url
        self._ends = now + prompt.expires_s
        self._interval_s = interval_s

    def wait_s(self, now: float) -> float:
        """Return how long to wait before asking; `EnrolmentError` when it is too late."""
        if now + self._interval_s > self._ends:
            raise EnrolmentError(
                "nobody has confirmed the code in time: log in again, and type it sooner",
                reason="expired",
            )
        return self._interval_s

    def unanswered(self) -> None:
        """Take in that the issuer was not reached: it is asked half as often from now on."""
        self._interval_s = min(self._interval_s * 2, LONGEST_S)

    def answered(self, reply: web.Reply) -> str | None:
        """Return the ID token, or None where it is to be asked for again; `EnrolmentError`."""
        if reply.status == _FOUND:
            found = reply.said.get("id_token")
            if isinstance(found, str) and found:
                return found
            raise _no(
                f"{self._issuer} has let you in, and given no ID token: its client must have the "
                "scope openid"
            )
        error = reply.said.get("error")
        if error == "slow_down":
            self._interval_s += SLOWER_S
            return None
        if error == "authorization_pending":
            return None
        if error is None and reply.status >= _SERVER_ERROR:
            self.unanswered()
            return None
        if error == "access_denied":
            raise _no("you have refused it: nobody was logged in. Log in again if you did not mean")
        if error == "expired_token":
            raise EnrolmentError("the code has expired: log in again", reason="expired")
        raise _no(f"{self._issuer} gives no token: {_said(reply)}")


def token(
    issuer_url: str,
    client: str,
    nonce: str,
    show: Callable[[Prompt], object],
    sleep: Callable[[float], object] = time.sleep,
) -> str:
    """Return an ID token of whoever confirms the code that `show` is told. Blocks.

    `nonce`: what the token is asked to have in it. `EnrolmentError` with a `reason`.
    """
    found = issuer.discover(issuer_url)
    if not found.device or not found.token:
        raise _no(
            f"{issuer_url} has no device grant, by which people log in from a terminal: get an ID "
            "token another way, and give it with --id-token"
        )
    form = {"client_id": client, **_secret()}
    asked = {**form, "scope": SCOPES, "nonce": nonce}
    prompt, code, interval_s = _prompt(issuer_url, web.ask(found.device, asked))
    show(prompt)
    polling = Polling(issuer_url, prompt, interval_s, time.monotonic())
    while True:
        sleep(polling.wait_s(time.monotonic()))
        try:
            reply = web.ask(found.token, {**form, "grant_type": GRANT, "device_code": code})
        except EnrolmentError:
            polling.unanswered()
            continue
        said = polling.answered(reply)
        if said is not None:
            return said


def _prompt(issuer_url: str, reply: web.Reply) -> tuple[Prompt, str, float]:
    """Return what to show, what to ask with, and how often."""
    said = reply.said
    code, device = _text(said, "user_code"), _text(said, "device_code")
    # Google's word for it is older than the RFC.
    url = _text(said, "verification_uri") or _text(said, "verification_url")
    if reply.status != _FOUND or not (code and device and url):
        raise _no(
            f"{issuer_url} gives no code to log in with: {_said(reply)}. Is the client id right "
            "(--client-id), and may that client use the device grant?"
        )
    expires_s = _seconds(said, "expires_in", LAST_S)
    interval_s = min(_seconds(said, "interval", INTERVAL_S), LONGEST_S)
    prompt = Prompt(url, code, _text(said, "verification_uri_complete"), expires_s)
    return prompt, device, interval_s


def _secret() -> dict[str, str]:
    secret = os.environ.get(SECRET_VARIABLE, "")
    return {"client_secret": secret} if secret else {}


def _text(said: Mapping[str, Any], name: str) -> str:
    """Return what is to be shown, without what would command a terminal."""
    found = said.get(name)
    return "".join(filter(str.isprintable, found)) if isinstance(found, str) else ""


def _seconds(said: Mapping[str, Any], name: str, otherwise: float) -> float:
    found = said.get(name, otherwise)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= LAST_S:
        return otherwise
    return float(found)


def _said(reply: web.Reply) -> str:
    error, more = _text(reply.said, "error"), _text(reply.said, "error_description")
    return f"{error} ({more})" if error and more else error or f"it answers {reply.status}"


def _no(message: str) -> EnrolmentError:
    return EnrolmentError(message, reason="issuer")
