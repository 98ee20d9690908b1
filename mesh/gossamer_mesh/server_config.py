"""What nats-server is told, whatever mesh it is of and however that is made."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gossamer_mesh.server_program import LOG, Listening
from gossamer_mesh.wire import MAX_MESSAGE_BYTES

_LOG_BYTES: Final = 16 * 1024**2


def common(directory: Path) -> dict[str, object]:
    """Return what every server of a mesh is told."""
    return {
        "ports_file_dir": str(directory),
        "log_file": str(directory / LOG),
        "logfile_size_limit": _LOG_BYTES,
        "max_payload": MAX_MESSAGE_BYTES,
        # The default of 2 min would leave a dead peer unnoticed for 4 to 6 min.
        "ping_interval": "20s",
        "ping_max": 2,
        "write_deadline": "10s",
    }


def one_jetstream(account: str) -> dict[str, object]:
    """Return what lets JetStream be asked by a leaf: a server does not, where nobody says so."""
    return {"default_js_domain": {account: ""}}


def heard(listening: Listening) -> dict[str, object]:
    """Return where the server listens, and which of it is encrypted."""
    tls = {"tls": {"cert_file": listening.certificate, "key_file": listening.key}}
    found: dict[str, object] = {"listen": _where(listening.host, listening.port)}
    encrypted = bool(listening.certificate)
    if encrypted and not listening.private:
        found |= tls
    if listening.websocket is not None:
        open_web = listening.websocket_private or not encrypted
        private: dict[str, object] = {"no_tls": True} if open_web else {**tls}
        # What is said is small, or does not get smaller.
        found["websocket"] = {
            "listen": _where(*listening.websocket), "compression": False, **private
        }  # fmt: skip
    if listening.leaves is not None:
        open_leaves = listening.leaves_private or not encrypted
        found["leafnodes"] = {
            "listen": _where(*listening.leaves),
            # They come by the address that they were given, which may be that of a way between.
            "no_advertise": True,
            **({} if open_leaves else tls),
        }
    return found


def _where(host: str, port: int) -> str:
    return f"{f'[{host}]' if ':' in host else host}:{port or -1}"
