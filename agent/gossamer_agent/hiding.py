"""Where credentials lie on this machine, and whether tasks are kept from reading them.

The zygote hides the directories (`worker/veil.py`), so that a file which is written anew is hidden
as well. What tasks need, blobs and their own directories above all, lies in none of them.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from gossamer_agent.worker.veil import COVERED, HIDDEN, OPEN
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.places import config_dir, private_dir, runtime_dir, state_dir

if TYPE_CHECKING:
    from gossamer_agent.config import AgentConfig

YES: Final = "yes"
NO: Final = "no"
IF_POSSIBLE: Final = "if possible"
CHOICES: Final = (YES, NO, IF_POSSIBLE)

_STATE: Final = ("meshes", "local", "audit")
_CONFIG: Final = ("contexts", "agents")
_OURS: Final = "gossamer"
"""A directory of that name, like /etc/gossamer, has nothing in it that tasks need."""

_log = logging.getLogger("gossamer.agent")


class Hiding(NamedTuple):
    """Directories that tasks do not see; in `passing` ones they have some room of their own."""

    hidden: tuple[str, ...] = ()
    passing: tuple[str, ...] = ()

    def has(self, path: Path) -> bool:
        """Whether what is at `path` is hidden."""
        return any(_holds(Path(each), path) for each in (*self.hidden, *self.passing))


NOTHING: Final = Hiding()


def plan(config: AgentConfig) -> Hiding:
    """Return what is to be hidden, made where it is missing: it may come to hold credentials.

    `ConfigError` if `hide_also` names what tasks cannot do without.
    """
    if config.hide_credentials == NO:
        return NOTHING
    needed = _needed(config)
    for each in config.hide_also:
        for other in needed:
            if _holds(each, other):
                raise ConfigError(
                    f"hide_also names {each}, and tasks need {other}: name directories that hold "
                    "nothing but secrets",
                    key="hide_also",
                    value=str(each),
                )
    state, configured, passing = state_dir(), config_dir(make=False), runtime_dir()
    ours = [state / name for name in _STATE]
    # Who keeps all in one place has the blobs in there.
    ours += [configured] if _spare(configured, needed) else [configured / each for each in _CONFIG]
    found = [each for each in ours if _made(each)]
    access = config.access.parent if config.access is not None else None
    if access is not None and access.name == _OURS and _spare(access, needed):
        found.append(access)
    return Hiding(
        tuple(map(str, (*found, *config.hide_also))),
        (str(passing),) if _spare(passing, needed) else (),
    )


def code_places() -> list[Path]:
    """Return the directories from which an agent of this user's runs code."""
    # Only who must hide comes here.
    import site  # noqa: PLC0415  as above
    import sysconfig  # noqa: PLC0415  as above

    places = [Path(__file__).parent, Path(sysconfig.get_path("purelib"))]
    return [*places, Path(site.getusersitepackages())] if site.ENABLE_USER_SITE else places


def changeable(places: Iterable[Path]) -> str:
    """Return the first of these directories in which this user may write, or ""."""
    return next((str(each) for each in places if _may_be_written(each)), "")


def judged(
    config: AgentConfig,
    hiding: Hiding,
    found: str,
    why: str,
    runs: Callable[[], Iterable[Path]] = code_places,
) -> str:
    """Return how far credentials are hidden, where the zygote has `found` this, and `why` no more.

    `runs`: where the code is that this agent runs.

    What is wrong is logged; `ConfigError` where it was to be seen to.
    """
    access = config.access
    trouble = ""
    if found == OPEN and hiding.hidden:
        trouble = (
            "tasks can read this user's credentials, for they could not be hidden (by namespaces: "
            f"{why})"
        )
    elif hiding.hidden and access is not None and not hiding.has(access):
        found = OPEN
        trouble = (
            f"tasks can read {access}, for it lies in no directory that is hidden from them: name "
            "its directory in hide_also"
        )
    elif found == COVERED and config.hide_credentials == YES:
        trouble = "this agent runs as root, and so do its tasks, from whom nothing can be hidden"
    if not trouble:
        if config.hide_credentials == YES and found == HIDDEN:
            _tell_what_tasks_can_change(changeable(runs()))
        return found
    if config.hide_credentials == YES:
        raise ConfigError(
            f'{trouble}; hide_credentials is "yes": give the agent a user of its own, or set '
            f'hide_credentials to "{IF_POSSIBLE}"',
            key="hide_credentials",
        )
    _log.warning("%s; or give the agent a user of its own", trouble)
    return found


def _may_be_written(path: Path) -> bool:
    # What is not there yet can be made where what it would lie in may be written.
    there = next((each for each in (path, *path.parents) if each.exists()), path)
    return os.access(there, os.W_OK)


def _tell_what_tasks_can_change(place: str) -> None:
    """Say what hiding is worth: whoever changes what an agent runs sees what the agent sees."""
    if place:
        _log.warning(
            "tasks do not see this user's credentials, but can change the code that this agent "
            "runs, in %s, and so come to them when it, or what starts its workers, is started "
            "again: let another user install it",
            place,
        )


def _needed(config: AgentConfig) -> tuple[Path, ...]:
    usual = (Path.home(), Path(tempfile.gettempdir()), Path("/dev/shm"), state_dir())  # noqa: S108 - looked at
    return usual if config.cache_directory is None else (*usual, config.cache_directory)


def _spare(directory: Path, needed: tuple[Path, ...]) -> bool:
    return not any(_holds(directory, each) for each in needed)


def _holds(directory: Path, path: Path) -> bool:
    directory, path = directory.resolve(), path.resolve()
    return directory == path or directory in path.parents


def _made(path: Path) -> bool:
    try:
        private_dir(path)
    except ConfigError:
        # Where it cannot be made, nothing can be put.
        return path.is_dir()
    return True
