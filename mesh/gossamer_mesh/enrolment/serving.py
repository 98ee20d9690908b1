"""A mesh, served: its nats-server, and who lets people in."""

from __future__ import annotations

import queue
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Final

from gossamer_mesh import server, subjects
from gossamer_mesh.access import Access
from gossamer_mesh.enrolment import messages
from gossamer_mesh.enrolment.home import Home
from gossamer_mesh.enrolment.sealed import Open, Seal
from gossamer_mesh.enrolment.service import Service
from gossamer_mesh.errors import MeshError, ServerError
from gossamer_mesh.founding import OWNER
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.link import KeyValue, Message
from gossamer_mesh.link.nats import NatsLink
from gossamer_mesh.server import Server
from gossamer_mesh.vouching.desk import Desk

UPDATE_ACCOUNT: Final = "$SYS.REQ.CLAIMS.UPDATE"
SYSTEM_S: Final = 60
ANSWER_S: Final = 5.0
SYSTEM_USER: Final = f"{subjects.OWN_NAMES}system"


class Enrolling:
    """Who lets people in, connected to the mesh's server, until it is closed."""

    def __init__(self, home: Home) -> None:
        """Connect and serve; `ConnectError` when the server is not there."""
        self._home = home
        heard = home.settings.leaves is not None
        self._seal = Seal(home.authority.scopes["registrar"]) if heard else Open()
        pair, now = KeyPair.new("user"), int(time.time())
        jwt = home.authority.issuer("registrar").vouch(subjects.REGISTRAR, pair.public, now)
        access = Access(home.local_url, jwt=jwt, seed=pair.seed, ca=home.ca)
        name = subjects.session(subjects.REGISTRAR, secrets.token_hex(4))
        self._link = NatsLink.connect(access, name=name)
        try:
            self._known_from_the_start()
            self._registrar = home.registrar()
            desk = Desk(home.trust.read)
            Service(self._link, self._registrar, self._revoke, desk=desk, seal=self._seal).start()
        except BaseException:
            self._link.close()
            raise

    def _known_from_the_start(self) -> None:
        """Put into the buckets who and what was there before there was a server."""
        users = self._link.key_value(subjects.USERS_BUCKET)
        tokens = self._link.key_value(subjects.TOKENS_BUCKET)
        seal = self._seal
        owner = messages.encode(self._home.owner)
        _create(users, OWNER, seal.put(subjects.USERS_BUCKET, OWNER, owner))
        now = time.time()
        first = self._home.settings.first
        for number, token in first.items():
            if token.expires > now:
                data = messages.encode(token)
                _create(tokens, number, seal.put(subjects.TOKENS_BUCKET, number, data))

    def _revoke(self, void: Mapping[str, int]) -> None:
        """Make these keys void at the server, now and after its next start."""
        self._home.keep_void(dict(void))
        authority, pair, now = self._home.authority, KeyPair.new("user"), int(time.time())
        jwt = authority.vouch_for_system(SYSTEM_USER, pair.public, now, SYSTEM_S)
        access = Access(self._home.local_url, jwt=jwt, seed=pair.seed, ca=self._home.ca)
        name = subjects.session(SYSTEM_USER, secrets.token_hex(4))
        link = NatsLink.connect(access, name=name)
        try:
            answers: queue.SimpleQueue[Message] = queue.SimpleQueue()
            inbox = subjects.inbox(name, "server", 1)
            link.subscribe(inbox, answers.put)
            account = authority.account_token(now, void).encode()
            link.publish(UPDATE_ACCOUNT, account, inbox)
            said = answers.get(timeout=ANSWER_S).payload
        except queue.Empty:
            raise ServerError(
                f"the server has not taken the new claims within {ANSWER_S:.0f} s"
            ) from None
        finally:
            link.close()
        if b'"error"' in said:
            raise ServerError(f"the server did not take the new claims ({said.decode()[:200]})")
        # Agents look there, and keep it: they take nothing of whom the server does not let in.
        grants = self._link.key_value(subjects.GRANTS_BUCKET)
        _outcome(partial(grants.put, subjects.ACCOUNT_KEY, account))

    def close(self) -> None:
        self._link.close()


class Serving(ExitStack):
    """The server of a mesh that was made here, and its enrolment; a context manager."""

    def __init__(self, home: Home) -> None:
        """Start both; they end with this process, however it ends. `ServerError`, `ConfigError`."""
        super().__init__()
        with ExitStack() as undo:
            self.server: Server = server.start(home.path, lifeline=True, listening=home.listening())
            undo.callback(self.server.stop)
            self.enrolling = Enrolling(home)
            undo.callback(self.enrolling.close)
            self.push(undo.pop_all())


def _create(bucket: KeyValue, key: str, value: bytes) -> None:
    _outcome(partial(bucket.create, key, value))


def _outcome(start: Callable[[Callable[[int | MeshError | None], None]], None]) -> None:
    """Return when it is done, or raise why it is not. Not in the link's thread."""
    done: queue.SimpleQueue[int | MeshError | None] = queue.SimpleQueue()
    start(done.put)
    outcome = done.get()
    if isinstance(outcome, MeshError):
        raise outcome
