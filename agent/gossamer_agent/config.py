"""What an agent was told to be: read from TOML or from flags, checked whole before it starts.

Every error is a `ConfigError` with the fields `source`, `key`, `value` and `allowed`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from gossamer_agent import hiding, larder, probe, quota, resource, rules, setting
from gossamer_agent.allowance import Allowance
from gossamer_agent.probe import cpu
from gossamer_agent.quota import Quota
from gossamer_agent.resource import Resource
from gossamer_agent.rules import Allow, Deny, People
from gossamer_agent.setting import Setting, UnfitError
from gossamer_agent.tables import Table
from gossamer_mesh import subjects
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.wire import BATCH_BYTES
from gossamer_placement.hardware import FASTEST, SLOWEST
from gossamer_placement.rates import MOST_CARBON, MOST_PRICE, MOST_W


def own_name() -> str:
    """Return this machine's host name, made into a name that an agent can have."""
    return subjects.as_name(os.uname().nodename, "agent")


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One agent's settings, in SI. `memory_bytes` 0: no limit unless a call brings one.

    `price` is per slot-hour and `egress` per GiB, in the mesh's currency; `idle_w` and `busy_w`
    are of the whole machine; `carbon` in g CO2e per kWh; `speed` 0: to be measured. `allow` and
    `people`: which functions and whose calls alone are taken, None for any.
    """

    name: str = msgspec.field(default_factory=own_name)
    site: str = "local"
    labels: Mapping[str, str] = {}
    access: Path | None = None
    slots: int = msgspec.field(default_factory=cpu.cores)
    queue: int = 4096
    warm: int = 1
    recycle_after: int = 100_000
    memory_bytes: int = 0
    preload: tuple[str, ...] = ()
    output_bytes: int = 64 * 1024
    drain_s: float = 30.0
    heartbeat_s: float = 10.0
    gpu: bool = True
    probe_skip: tuple[str, ...] = ()
    price: Table = ()
    egress: float = 0.0
    block_s: float = 0.0
    idle_w: float | None = None
    busy_w: float | None = None
    carbon: Table = ()
    speed: float = 0.0
    data: Mapping[str, int] = {}
    resources: tuple[Resource, ...] = ()
    allow: Allowance | None = None
    people: People | None = None
    deny: Deny = Deny()
    quota: Quota = Quota()
    cache_bytes: int = msgspec.field(default_factory=larder.usual_bytes)
    cache_directory: Path | None = None
    cache_share: bool = True
    cache_direct: bool = True
    audit_bytes: int = 32 * 2**20
    hide_credentials: str = hiding.IF_POSSIBLE
    hide_also: tuple[Path, ...] = ()


_MiB: Final = 2**20
_DAY_S: Final = 86400.0
_PRICE: Final = "per slot-hour"
_WATTS: Final = "in watts, of the whole machine"
_DEARER_BY_DAY: Final = '{"00:00" = 0.04, "07:30" = 0.12}'
_DIRTIER_BY_DAY: Final = '{"00:00" = 210, "07:30" = 380}'

SETTINGS: Final = (
    Setting("name", "name", setting.token),
    Setting("site", "site", setting.token),
    Setting("labels", "labels", setting.labels),
    Setting("mesh.access", "access", setting.string),
    Setting("work.slots", "slots", setting.integer(1, 4096)),
    Setting("work.queue", "queue", setting.integer(1, 1_000_000)),
    Setting("work.warm", "warm", setting.integer(0, 4096)),
    Setting("work.recycle_after", "recycle_after", setting.integer(1, 10**9)),
    # In less than this no Python worker starts: most likely a unit was forgotten.
    Setting("work.memory", "memory_bytes", setting.size(32 * _MiB, 2**50, "2GiB", none=True)),
    Setting("work.preload", "preload", setting.modules),
    # What a task wrote to stdout and to stderr travels in one message.
    Setting("work.output", "output_bytes", setting.size(0, BATCH_BYTES // 2, "64KiB")),
    Setting("work.drain", "drain_s", setting.duration(0, _DAY_S, "30s")),
    Setting("heartbeat.interval", "heartbeat_s", setting.duration(0.5, 600, "10s")),
    Setting("gpu.enabled", "gpu", setting.flag),
    Setting("probe.skip", "probe_skip", setting.choices(probe.NAMES)),
    Setting("costs.price", "price", setting.table(0, MOST_PRICE, _PRICE, _DEARER_BY_DAY)),
    Setting("costs.egress", "egress", setting.number(0, MOST_PRICE, "per GiB that leaves")),
    Setting("costs.block", "block_s", setting.duration(0, _DAY_S, "5min")),
    Setting("power.idle", "idle_w", setting.number(0, MOST_W, _WATTS)),
    Setting("power.busy", "busy_w", setting.number(0, MOST_W, _WATTS)),
    Setting("power.carbon", "carbon", setting.table(0, MOST_CARBON, "in g/kWh", _DIRTIER_BY_DAY)),
    Setting("work.speed", "speed", setting.number(SLOWEST, FASTEST, "beside a reference core")),
    Setting("data", "data", setting.data),
    Setting("resources", "resources", resource.read),
    Setting("allow", "allow", rules.read_allow),
    Setting("deny", "deny", rules.read_deny),
    Setting("quota", "quota", quota.read),
    # With less than one large payload of some size it would be of no use.
    Setting("cache.size", "cache_bytes", setting.size(_MiB, 2**50, "2GiB")),
    Setting("cache.directory", "cache_directory", setting.string),
    Setting("cache.share", "cache_share", setting.flag),
    Setting("cache.direct", "cache_direct", setting.flag),
    Setting("audit.size", "audit_bytes", setting.size(64 * 1024, 2**40, "32MiB")),
    Setting("hide_credentials", "hide_credentials", setting.choice(hiding.CHOICES)),
    Setting("hide_also", "hide_also", setting.directories),
)

_BY_KEY: Final = {each.key: each for each in SETTINGS}
_SECTIONS: Final = tuple(dict.fromkeys(key.partition(".")[0] for key in _BY_KEY if "." in key))


def load(path: Path | str, *, access: Path | str | None = None) -> AgentConfig:
    """Return the configuration in the TOML file `path`; `ConfigError` if anything is wrong.

    A relative `mesh.access` is beside the file, wherever the agent is started. With `access`, that
    of the command line, the file's own does not count and need not be there.
    """
    path = Path(path)
    try:
        document = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); name a file that can", source=str(path)
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is not TOML ({error})", source=str(path)) from error
    given = _flat(document, str(path))
    if access is not None:
        given.pop("mesh.access", None)
    return _checked(given, str(path), path.parent)


def build(  # noqa: PLR0913 - one argument a key, all by name
    *,
    name: str | None = None,
    site: str | None = None,
    labels: Mapping[str, str] | None = None,
    access: Path | str | None = None,
    slots: int | None = None,
    queue: int | None = None,
    warm: int | None = None,
    recycle_after: int | None = None,
    memory: int | str | None = None,
    preload: tuple[str, ...] | None = None,
    output: int | str | None = None,
    drain: float | str | None = None,
    heartbeat: float | str | None = None,
    gpu: bool | None = None,
    probe_skip: tuple[str, ...] | None = None,
    price: float | Mapping[str, float] | None = None,
    egress: float | None = None,
    block: float | str | None = None,
    idle: float | None = None,
    busy: float | None = None,
    carbon: float | Mapping[str, float] | None = None,
    speed: float | None = None,
    data: Mapping[str, int | str | bool] | None = None,
    resources: Sequence[Mapping[str, object]] | None = None,
    allow: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    deny: Mapping[str, Sequence[str]] | None = None,
    quota: Mapping[str, int | str] | None = None,
    cache: int | str | None = None,
    cache_directory: Path | str | None = None,
    cache_share: bool | None = None,
    cache_direct: bool | None = None,
    audit: int | str | None = None,
    hide_credentials: str | None = None,
    hide_also: Sequence[str] | None = None,
) -> AgentConfig:
    """Return the configuration that these flags make, checked as a file is; None: the default."""
    given: dict[str, object] = {
        "name": name,
        "site": site,
        "labels": labels,
        "mesh.access": None if access is None else os.fspath(access),
        "work.slots": slots,
        "work.queue": queue,
        "work.warm": warm,
        "work.recycle_after": recycle_after,
        "work.memory": memory,
        "work.preload": preload,
        "work.output": output,
        "work.drain": drain,
        "heartbeat.interval": heartbeat,
        "gpu.enabled": gpu,
        "probe.skip": probe_skip,
        "costs.price": price,
        "costs.egress": egress,
        "costs.block": block,
        "power.idle": idle,
        "power.busy": busy,
        "power.carbon": carbon,
        "work.speed": speed,
        "data": data,
        "resources": resources,
        "allow": allow,
        "deny": deny,
        "quota": quota,
        "cache.size": cache,
        "cache.directory": None if cache_directory is None else os.fspath(cache_directory),
        "cache.share": cache_share,
        "cache.direct": cache_direct,
        "audit.size": audit,
        "hide_credentials": hide_credentials,
        "hide_also": hide_also,
    }
    told = {key: value for key, value in given.items() if value is not None}
    return _checked(told, "flags", Path.cwd())


def overridden(
    config: AgentConfig,
    *,
    name: str | None = None,
    site: str | None = None,
    labels: Mapping[str, str] | None = None,
    access: Path | str | None = None,
    slots: int | None = None,
) -> AgentConfig:
    """Return `config` with these flags put over it, checked; labels are added to those it has."""
    given: dict[str, object] = {
        "name": name,
        "site": site,
        "labels": {**config.labels, **labels} if labels else None,
        "mesh.access": None if access is None else os.fspath(access),
        "work.slots": slots,
    }
    told = {key: value for key, value in given.items() if value is not None}
    return _checked(told, "flags", Path.cwd(), config)


def _flat(document: Mapping[str, object], source: str) -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in document.items():
        if name not in _SECTIONS:
            flat[name] = value
        elif isinstance(value, dict):
            section = cast("dict[str, object]", value)
            flat.update({f"{name}.{inner}": found for inner, found in section.items()})
        else:
            keys = ", ".join(key for key in _BY_KEY if key.startswith(f"{name}."))
            raise _wrong(source, name, value, f"allowed: a section [{name}], with {keys}")
    return flat


def _checked(
    given: Mapping[str, object], source: str, beside: Path, under: AgentConfig | None = None
) -> AgentConfig:
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in _BY_KEY:
            meant = setting.closest(key, (*_BY_KEY, *_SECTIONS))
            raise ConfigError(
                f"{source}: unknown key {key} (set to {setting.shown(value)}); "
                f"did you mean {meant}?",
                source=source,
                key=key,
                value=value,
                allowed=meant,
            )
        try:
            values[_BY_KEY[key].field] = _BY_KEY[key].read(value)
        except UnfitError as error:
            if error.inner:
                raise _wrong(source, f"{key}.{error.inner}", error.value, error.allowed) from error
            raise _wrong(source, key, value, error.allowed) from error
    if "allow" in values:
        allowed: Allow = values["allow"]
        values["allow"], values["people"] = allowed.functions, allowed.people
    if "cache_directory" in values:
        values["cache_directory"] = _directory(values["cache_directory"], source, beside)
    if "access" in values:
        values["access"] = _access(values["access"], source, beside)
    config = msgspec.structs.replace(under or AgentConfig(), **values)
    if config.warm > config.slots:
        raise _wrong(
            source,
            "work.warm",
            config.warm,
            f"allowed: at most work.slots, which is {config.slots}",
        )
    _check_power(config, source)
    return config


def _check_power(config: AgentConfig, source: str) -> None:
    idle_w, busy_w = config.idle_w, config.busy_w
    if idle_w is not None and busy_w is not None:
        if busy_w < idle_w:
            allowed = f"allowed: at least power.idle, which is {idle_w:g}"
            raise _wrong(source, "power.busy", busy_w, allowed)
        return
    # Half of it would be filled up with what such machines draw, and mean neither.
    told = {"power.idle": idle_w, "power.busy": busy_w, "power.carbon": config.carbon or None}
    for key, value in told.items():
        if value is not None:
            allowed = "allowed: only with both power.idle and power.busy, in watts"
            raise _wrong(source, key, value, allowed)


def _access(text: str, source: str, beside: Path) -> Path:
    path = beside / os.path.expanduser(text)  # noqa: PTH111 - Path's raises for "~nobody"
    if not path.is_file():
        raise _wrong(
            source,
            "mesh.access",
            text,
            f"there is no file {path}; allowed: the access file that the mesh's owner gave you",
        )
    return path


def _directory(text: str, source: str, beside: Path) -> Path:
    path = beside / os.path.expanduser(text)  # noqa: PTH111 - as above
    if not os.access(path, os.W_OK | os.X_OK) or not path.is_dir():
        raise _wrong(
            source,
            "cache.directory",
            text,
            f"{path} is no directory that can be written to; allowed: one that can",
        )
    return path


def _wrong(source: str, key: str, value: object, allowed: str) -> ConfigError:
    return ConfigError(
        f"{source}: {key} is {setting.shown(value)}; {allowed}",
        source=source,
        key=key,
        value=value,
        allowed=allowed,
    )
