# ruff: noqa: N802 - the Protocol below has pynvml's own names
"""GPUs as NVML reports them. The only module that imports pynvml, and only where NVML is.

No library or no pynvml is absence. A library that answers in part gives what it could be asked
for, and its failures by name.
"""

from __future__ import annotations

import contextlib
import ctypes
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, cast

import msgspec

from gossamer_mesh.capability import Gpu

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_LIBRARY: Final = "libnvidia-ml.so.1"


class Gpus(msgspec.Struct, frozen=True):
    """What NVML told, and what it failed to tell, one line for each failing call."""

    found: tuple[Gpu, ...] = ()
    failures: tuple[str, ...] = ()


class _Memory(Protocol):
    @property
    def total(self) -> int: ...


class _Nvml(Protocol):
    """What is used of pynvml, which has no types. A device is an opaque handle."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int, /) -> object: ...
    def nvmlDeviceGetName(self, device: object, /) -> str: ...
    def nvmlDeviceGetUUID(self, device: object, /) -> str: ...
    def nvmlDeviceGetMemoryInfo(self, device: object, /) -> _Memory: ...


def probe(visible: str | None = None) -> Gpus:
    """Return the GPUs that `visible`, a value of CUDA_VISIBLE_DEVICES, leaves to this process.

    An agent inside a batch job must not offer the GPUs of its neighbours. Takes about 30 ms with
    a GPU, more where its driver sleeps; well under 1 ms without NVML.
    """
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError as error:
        # The loader has one wording for "there is none" and others for "it is broken".
        absent = str(error).startswith(f"{_LIBRARY}: cannot open shared object file")
        return Gpus() if absent else Gpus(failures=(f"{_LIBRARY} cannot be loaded ({error})",))
    try:
        # Here, because it takes 26 ms that most machines need not spend; and it has no types.
        import pynvml  # type: ignore[import-untyped] # pyright: ignore[reportMissingTypeStubs] # noqa: PLC0415
    except ImportError:
        return Gpus()
    nvml = cast("_Nvml", pynvml)
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return Gpus(failures=(f"nvmlInit: {error}",))
    interview = _Interview(nvml)
    try:
        gpus = interview.gpus()
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()
    return Gpus(_allowed(gpus, visible), tuple(interview.failures))


class _Interview:
    def __init__(self, nvml: _Nvml) -> None:
        self._nvml = nvml
        # A dict for its order and its keys: one missing function fails for every GPU.
        self.failures: dict[str, None] = {}

    def gpus(self) -> list[Gpu]:
        nvml = self._nvml
        found: list[Gpu] = []
        for index in range(self._ask("nvmlDeviceGetCount", nvml.nvmlDeviceGetCount, 0)):
            device = self._ask(
                f"nvmlDeviceGetHandleByIndex({index})",
                partial(nvml.nvmlDeviceGetHandleByIndex, index),
                None,
            )
            # A GPU that has fallen off its bus is still counted.
            if device is not None:
                found.append(self._gpu(index, device))
        return found

    def _gpu(self, index: int, device: object) -> Gpu:
        nvml = self._nvml
        return Gpu(
            index,
            name=self._ask("nvmlDeviceGetName", partial(nvml.nvmlDeviceGetName, device), ""),
            uuid=self._ask("nvmlDeviceGetUUID", partial(nvml.nvmlDeviceGetUUID, device), ""),
            memory_bytes=self._ask(
                "nvmlDeviceGetMemoryInfo", lambda: nvml.nvmlDeviceGetMemoryInfo(device).total, 0
            ),
        )

    def _ask(self, name: str, call: Callable[[], T], otherwise: T) -> T:
        try:
            return call()
        except self._nvml.NVMLError as error:
            self.failures[f"{name}: {error}"] = None
            return otherwise


def _allowed(gpus: list[Gpu], visible: str | None) -> tuple[Gpu, ...]:
    if visible is None:
        return tuple(gpus)
    allowed: list[Gpu] = []
    for token in (part.strip() for part in visible.split(",")):
        named = [gpu for gpu in gpus if _names(token, gpu)]
        # CUDA stops at the first entry it does not know, such as "-1" or "NoDevFiles".
        if not named:
            break
        allowed.append(named[0])
    return tuple(allowed)


def _names(token: str, gpu: Gpu) -> bool:
    return token == str(gpu.index) or (token.startswith("GPU-") and gpu.uuid.startswith(token))
