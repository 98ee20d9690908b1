"""`python -m gossamer_agent`: read the settings, start the zygote, then the daemon.

The zygote is started before the heavy imports, so that the first worker is ready when they are.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from gossamer_agent import config, hiding
from gossamer_agent.expulsion import EXIT_STATUS
from gossamer_agent.secrecy import close_memory
from gossamer_mesh.errors import ConfigError, MeshError, NotAdmittedError

if TYPE_CHECKING:
    from gossamer_mesh.access import Access

_LINE_BYTES: Final = 64 * 1024


def main(argv: list[str] | None = None) -> int:
    """Run an agent until it is told to stop; return the exit status."""
    options = _parser().parse_args(argv)
    _set_up_logging(options.log_file, debug=options.debug)
    try:
        return _run(options)
    except MeshError as error:
        _tell(options.ready_fd, {"error": str(error)})
        sys.stderr.write(f"gossamer: error: {error}\n")
        if options.debug:
            raise
        if isinstance(error, NotAdmittedError):
            return EXIT_STATUS
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace) -> int:
    settings = (
        config.load(options.config, access=options.access)
        if options.config
        else config.build(name=options.name, site=options.site, labels=_labels(options.label))
    )
    settings = config.overridden(
        settings,
        name=options.name,
        site=options.site,
        labels=_labels(options.label),
        access=options.access,
        slots=options.slots,
    )
    if settings.access is None and options.join_fd is None and not options.await_access:
        raise ConfigError(
            "no mesh to join: give --access FILE, or set mesh.access in the configuration "
            "(`gossamer up` makes a local mesh)"
        )
    from gossamer_agent.forker import ZygoteProcess  # noqa: PLC0415  see the module

    if not options.debug:
        close_memory()
    hidden = hiding.plan(settings)
    zygote = ZygoteProcess(settings.preload, hidden)
    try:
        from gossamer_agent import daemon  # noqa: PLC0415  see the module
        from gossamer_mesh.acting import as_agent  # noqa: PLC0415  see the module

        if options.join_fd is not None:
            settings = _joined(settings, options.join_fd)
        why = zygote.hide()
        hides = hiding.judged(settings, hidden, zygote.secrets, why)
        found = _access(settings.access, options)

        def ready(pid: int) -> None:
            _tell(options.ready_fd, {"ready": True, "name": settings.name, "pid": pid})
            # It is closed: of what comes now only the exit status tells.
            options.ready_fd = None

        return daemon.run(
            settings,
            as_agent(found, settings.name, settings.site),
            zygote,
            hides=hides,
            ready=ready,
            lifeline=options.lifeline_fd,
        )
    finally:
        zygote.end()


def _access(path: Path | None, options: argparse.Namespace) -> Access:
    from gossamer_mesh import access  # noqa: PLC0415  see the module

    if path is None:
        return access.decode(_awaited(options.lifeline_fd), "what came over the lifeline")
    found = access.load(path)
    if options.forget_access:
        # It was made for this start alone, and has a password in it.
        path.unlink(missing_ok=True)
        return found
    return msgspec.structs.replace(found, file=str(path.absolute()))


def _awaited(lifeline: int) -> bytes:
    """Return the line that comes over the lifeline; `MeshError` if it ends before."""
    line = b""
    while not line.endswith(b"\n"):
        read = os.read(lifeline, _LINE_BYTES)
        if not read:
            raise MeshError("whoever started this agent has ended, or has no mesh for it")
        line += read
    return line


def _joined(settings: config.AgentConfig, fd: int) -> config.AgentConfig:
    """Join the mesh with the token that comes over `fd`; return the settings of who we are then."""
    from gossamer_mesh.enrolment import invitation, joining  # noqa: PLC0415  see the module

    with os.fdopen(fd) as given:
        invited = invitation.read(given.read())
    warn = logging.getLogger("gossamer.agent").warning
    path, answer = joining.as_agent(invited, settings.name, settings.site, warn)
    return config.overridden(settings, name=answer.name, site=answer.site, access=path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gossamer agent start", description="Join a mesh and run tasks on this machine."
    )
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help="settings in TOML")
    add("--name", help="this agent's name on the mesh (default: the host's name)")
    add("--site", help="the site it belongs to (default: local)")
    add("--label", action="append", default=[], metavar="KEY=VALUE", help="may be repeated")
    add("--access", type=Path, metavar="FILE", help="the access file of the mesh to join")
    add("--forget-access", action="store_true", help="remove that file when it has been read")
    add("--await-access", action="store_true", help="read the access from the lifeline instead")
    add("--join-fd", type=int, help="read a join token there, and join with it")
    add("--slots", type=int, help="how many CPUs tasks may use (default: all there are)")
    add("--log-file", type=Path, metavar="FILE", help="append the log there (default: stderr)")
    add("--lifeline-fd", type=int, help="drain and leave when this descriptor is closed")
    add("--ready-fd", type=int, help="say there in one line of JSON when the mesh is joined")
    add("--debug", action="store_true", help="log more, show tracebacks, and let debuggers in")
    return parser


def _labels(pairs: list[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"--label {pair!r}: give KEY=VALUE", value=pair)
        labels[key] = value
    return labels


def _set_up_logging(path: Path | None, *, debug: bool) -> None:
    logging.basicConfig(
        filename=path,
        level=logging.DEBUG if debug else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )


def _tell(fd: int | None, message: dict[str, object]) -> None:
    if fd is not None:
        os.write(fd, json.dumps(message).encode() + b"\n")
        os.close(fd)


if __name__ == "__main__":
    sys.exit(main())
