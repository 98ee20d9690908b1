"""Every error the mesh raises. One root; each class answers "what should the caller do?".

All of them carry their fields, and pickle: an error that crosses a process arrives as itself.
"""

from __future__ import annotations


class MeshError(Exception):
    """Root of everything that Gossamer raises on its own account."""

    def __init__(self, message: str, **fields: object) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.fields)


def _rebuild(kind: type[MeshError], message: str, fields: dict[str, object]) -> MeshError:
    return kind(message, **fields)


class ConfigError(MeshError):
    """A setting is wrong: correct the key that the message names."""


class ProtocolError(MeshError):
    """Bytes that are not a message of this protocol version: upgrade the older side."""


class ConnectError(MeshError):
    """No connection to the mesh's server: check the address, the server, the network."""


class CredentialsError(ConnectError):
    """The server refused who we said we are: use the credentials of this mesh."""


class NotAdmittedError(CredentialsError):
    """The server lets in nobody with these credentials: join again, with a new token.

    `certain`: that it may do so later is out of the question.
    """

    @property
    def certain(self) -> bool:
        return bool(self.fields.get("certain"))


class EnrolmentError(MeshError):
    """Whoever lets people into the mesh has refused: the message says why, and what to ask for."""


class ServerError(MeshError):
    """The embedded nats-server could not be started or found."""


class LinkClosedError(MeshError):
    """The mesh was closed: open it again before using it."""


class NoAgentError(MeshError):
    """No agent on the mesh can run this: the message says what ruled them out."""


class PayloadError(MeshError):
    """A function, an argument or a result cannot be pickled: the message names the culprit."""


class PayloadTooLargeError(PayloadError):
    """No room for a payload, or too much code for a message: see there what to do."""


class UnknownFunctionError(MeshError):
    """No function is registered under this name: the message has the nearest that are."""


class AmbiguousNameError(MeshError):
    """Several have registered a function under this name: say whose, as in "ada/describe@2"."""


class VersionTakenError(MeshError):
    """Other code is registered under this version: register it under the one that is next."""


class VersionMismatchError(MeshError):
    """The function's code needs another Python minor version than the agents have."""


class UntrustedResultError(MeshError):
    """A result holds a type that is not on the allow-list: `mesh.trust()` it, then ask again."""


class TaskError(MeshError):
    """Root of how a task can end badly without its own code having raised."""


class TaskTimeoutError(TaskError, TimeoutError):
    """The task ran longer than its `timeout`, and was killed."""


class TaskExpiredError(TaskError):
    """The task's deadline passed before it was started; it did not run."""


class TaskLostError(TaskError):
    """What became of the task is not known, and it may not be run again."""


class WorkerCrashedError(TaskError):
    """The process that ran the task died (signal, exit, out of memory) while running it."""


class AgentRefusedError(TaskError):
    """Every agent that could run the task refused it: the message has the last reason."""


class NotAllowedError(AgentRefusedError):
    """You may not do this: the message names the agent and its rule, or what to ask for."""


class RemoteError(MeshError):
    """Stands in for a remote exception whose type is not trusted here.

    `fields` hold `kind` (the qualified name) and `traceback` (text).
    """
