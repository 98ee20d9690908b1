"""How two parties that share a ticket know each other on a connection of their own. Pure.

Each says a word that only who has the ticket can make, and neither the ticket nor anything that
the other's word could be made of travels. A ticket is for one connection.
"""

from __future__ import annotations

import secrets
from typing import Final

from blake3 import blake3

TICKET_BYTES: Final = 32
MAGIC: Final = b"GSMBULK1"
WORD_BYTES: Final = 32
HELLO_BYTES: Final = len(MAGIC) + WORD_BYTES


def hello(ticket: bytes) -> bytes:
    """Return what the holder, who connects, says first."""
    return MAGIC + _word(ticket, b"gossamer: the holder connects")


def answer(ticket: bytes) -> bytes:
    """Return what the asker says then; before it the holder sends nothing of a blob."""
    return _word(ticket, b"gossamer: the asker has listened")


def same(said: bytes, expected: bytes) -> bool:
    """Compare without telling by the time how much of it was right."""
    return secrets.compare_digest(said, expected)


def _word(ticket: bytes, role: bytes) -> bytes:
    return blake3(role, key=ticket).digest()
