"""One request to an issuer, with bounds: on time, on size, on where it goes. JSON comes back.

No redirection is followed: what an issuer says of itself names every address. Proxies are those of
the environment, as for other programs; certificates those that the system believes.
"""

from __future__ import annotations

import http.client
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from gossamer_mesh.errors import ConfigError, EnrolmentError
from gossamer_mesh.vouching.trust import check_url

WITHIN_S: Final = 10.0
MOST_BYTES: Final = 512 * 1024
_AGENT: Final = "gossamer"
_decoder: Final = msgspec.json.Decoder(dict[str, Any])


class Reply(NamedTuple):
    """What came back: the status, the JSON as it came, and what it says ({} where it is none)."""

    status: int
    body: bytes
    said: Mapping[str, Any]


def ask(url: str, form: Mapping[str, str] | None = None, within_s: float = WITHIN_S) -> Reply:
    """Get `url`, or post `form` there. Blocks; `EnrolmentError`, "issuer-down", if none answers."""
    try:
        check_url(url)
    except ConfigError as error:
        raise down(url, str(error)) from error
    data = urlencode(form).encode() if form is not None else None
    request = urllib.request.Request(  # noqa: S310  https, or this machine's: checked above
        url, data, {"Accept": "application/json", "User-Agent": _AGENT}
    )
    sockets: list[socket.socket] = []
    # A timeout of the socket's begins anew with each byte: an hour can be made of them.
    late = threading.Event()
    timer = threading.Timer(within_s, _cut, (late, sockets))
    timer.daemon = True
    timer.start()
    try:
        status, body = _exchange(request, sockets, within_s)
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = f"no answer within {within_s:.0f} s" if late.is_set() else _why(error)
        raise down(url, why) from error
    finally:
        timer.cancel()
    if late.is_set():
        raise down(url, f"no answer within {within_s:.0f} s")
    if len(body) > MOST_BYTES:
        raise down(url, f"it answers with more than {MOST_BYTES} bytes")
    return Reply(status, body, _decoded(body))


def _exchange(
    request: urllib.request.Request, sockets: list[socket.socket], within_s: float
) -> tuple[int, bytes]:
    opener = urllib.request.build_opener(_Http(sockets), _Https(sockets), _Stay())
    try:
        with opener.open(request, timeout=within_s) as response:
            return response.status, response.read(MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        # An answer as well: it says what was wrong.
        with error:
            return error.code, error.read(MOST_BYTES + 1)


def down(url: str, why: str) -> EnrolmentError:
    return EnrolmentError(
        f"the issuer cannot be asked at {url} ({why}): is that its URL, is it up, and is it "
        "reached from this machine?",
        reason="issuer-down",
    )


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return f"{type(error).__name__}: {reason}" if not str(reason) else str(reason)


def _decoded(body: bytes) -> Mapping[str, Any]:
    try:
        return _decoder.decode(body)
    except (ValueError, RecursionError):
        return {}


def _cut(late: threading.Event, sockets: list[socket.socket]) -> None:
    late.set()
    for each in sockets:
        try:
            each.shutdown(socket.SHUT_RDWR)
        except OSError:
            # It was closed meanwhile.
            continue


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        """Follow nowhere: the redirection itself is the answer."""
        return


class _Http(urllib.request.HTTPHandler):
    def __init__(self, sockets: list[socket.socket]) -> None:
        super().__init__()
        self._sockets = sockets

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_noting(http.client.HTTPConnection, self._sockets), req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, sockets: list[socket.socket]) -> None:
        super().__init__()
        self._sockets = sockets

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_noting(http.client.HTTPSConnection, self._sockets), req)


def _noting(
    kind: type[http.client.HTTPConnection], sockets: list[socket.socket]
) -> type[http.client.HTTPConnection]:
    """Return a kind of connection that tells of its socket."""

    class Noting(kind):  # type: ignore[valid-type,misc]  # whichever of the two it is
        def connect(self) -> None:
            super().connect()
            sockets.append(self.sock)

    return Noting
