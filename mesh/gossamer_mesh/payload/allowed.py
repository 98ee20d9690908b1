"""The allow-list: every name that a result may hold without anybody's word, one by one.

A name with a builder may be called, and then its builder makes the object, not the name. A name
without one is a class that may only be handed over as itself. Exceptions are in a set of their
own. Nothing here takes attribute paths, calls back, reads files or opens anything.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Final

from gossamer_mesh.payload import arrays, builders
from gossamer_mesh.payload.builders import Builder

_ADDRESSES: Final = (
    "IPv4Address",
    "IPv6Address",
    "IPv4Interface",
    "IPv6Interface",
    "IPv4Network",
    "IPv6Network",
)
_PATHS: Final = ("PosixPath", "PurePosixPath", "PureWindowsPath")

BUILDERS: Final[Mapping[tuple[str, str], Builder]] = {
    ("builtins", "bytearray"): builders.make_bytearray,
    ("builtins", "complex"): builders.make_scalar,
    ("builtins", "frozenset"): builders.make_set,
    ("builtins", "range"): builders.make_scalar,
    ("builtins", "set"): builders.make_set,
    ("builtins", "slice"): builders.make_slice,
    ("array", "_array_reconstructor"): builders.make_array,
    ("collections", "Counter"): builders.make_counter,
    ("collections", "OrderedDict"): builders.make_ordered_dict,
    ("collections", "defaultdict"): builders.make_defaultdict,
    ("collections", "deque"): builders.make_deque,
    ("datetime", "date"): builders.make_scalar,
    ("datetime", "datetime"): builders.make_time,
    ("datetime", "time"): builders.make_time,
    ("datetime", "timedelta"): builders.make_scalar,
    ("datetime", "timezone"): builders.make_time,
    ("decimal", "Decimal"): builders.make_decimal,
    ("fractions", "Fraction"): builders.make_fraction,
    ("os", "stat_result"): builders.make_record,
    ("time", "struct_time"): builders.make_record,
    ("uuid", "UUID"): builders.make_uuid,
    ("zoneinfo", "ZoneInfo"): builders.make_scalar,
    **{("ipaddress", name): builders.make_scalar for name in _ADDRESSES},
    **{("pathlib", name): builders.make_path for name in _PATHS},
    **{("pathlib._local", name): builders.make_path for name in _PATHS},
    ("numpy", "dtype"): arrays.make_dtype,
    **{
        (f"numpy.{core}.{module}", name): builder
        for core in ("core", "_core")
        for module, name, builder in (
            ("multiarray", "_reconstruct", arrays.make_array),
            ("multiarray", "scalar", arrays.make_scalar),
            ("numeric", "_frombuffer", arrays.make_from_buffer),
        )
    },
    ("gossamer_mesh.errors", "_rebuild"): builders.make_mesh_error,
}

_BUILTIN_EXCEPTIONS: Final = frozenset(
    ("builtins", name)
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
)

EXCEPTIONS: Final[frozenset[tuple[str, str]]] = _BUILTIN_EXCEPTIONS | {
    ("_csv", "Error"),
    ("asyncio.exceptions", "CancelledError"),
    ("asyncio.exceptions", "IncompleteReadError"),
    ("asyncio.exceptions", "InvalidStateError"),
    ("asyncio.exceptions", "TimeoutError"),
    ("binascii", "Error"),
    ("binascii", "Incomplete"),
    ("concurrent.futures._base", "BrokenExecutor"),
    ("concurrent.futures._base", "CancelledError"),
    ("concurrent.futures._base", "InvalidStateError"),
    ("concurrent.futures._base", "TimeoutError"),
    ("concurrent.futures.process", "BrokenProcessPool"),
    ("configparser", "Error"),
    ("configparser", "NoOptionError"),
    ("configparser", "NoSectionError"),
    ("configparser", "ParsingError"),
    ("copy", "Error"),
    ("_queue", "Empty"),
    ("decimal", "ConversionSyntax"),
    ("decimal", "DecimalException"),
    ("decimal", "DivisionByZero"),
    ("decimal", "Inexact"),
    ("decimal", "InvalidOperation"),
    ("decimal", "Overflow"),
    ("decimal", "Underflow"),
    ("http.client", "BadStatusLine"),
    ("http.client", "CannotSendRequest"),
    ("http.client", "HTTPException"),
    ("http.client", "IncompleteRead"),
    ("http.client", "InvalidURL"),
    ("http.client", "RemoteDisconnected"),
    ("json.decoder", "JSONDecodeError"),
    ("_lzma", "LZMAError"),
    ("numpy.exceptions", "AxisError"),
    ("numpy.exceptions", "ComplexWarning"),
    ("numpy.exceptions", "DTypePromotionError"),
    ("numpy.linalg", "LinAlgError"),
    ("_pickle", "PickleError"),
    ("_pickle", "PicklingError"),
    ("_pickle", "UnpicklingError"),
    ("queue", "Empty"),
    ("queue", "Full"),
    ("re", "error"),
    ("shutil", "Error"),
    ("shutil", "SameFileError"),
    ("shutil", "SpecialFileError"),
    ("socket", "gaierror"),
    ("socket", "herror"),
    ("sqlite3", "DataError"),
    ("sqlite3", "DatabaseError"),
    ("sqlite3", "Error"),
    ("sqlite3", "IntegrityError"),
    ("sqlite3", "InterfaceError"),
    ("sqlite3", "InternalError"),
    ("sqlite3", "NotSupportedError"),
    ("sqlite3", "OperationalError"),
    ("sqlite3", "ProgrammingError"),
    ("ssl", "SSLCertVerificationError"),
    ("ssl", "SSLError"),
    ("statistics", "StatisticsError"),
    ("struct", "error"),
    ("subprocess", "CalledProcessError"),
    ("subprocess", "SubprocessError"),
    ("subprocess", "TimeoutExpired"),
    ("tarfile", "ReadError"),
    ("tarfile", "TarError"),
    ("tomllib", "TOMLDecodeError"),
    ("urllib.error", "URLError"),
    ("xml.etree.ElementTree", "ParseError"),
    ("zipfile", "BadZipFile"),
    ("zipfile", "LargeZipFile"),
    ("zlib", "error"),
    ("zoneinfo._common", "ZoneInfoNotFoundError"),
    *(
        ("gossamer_mesh.errors", name)
        for name in (
            "AgentRefusedError",
            "ConfigError",
            "ConnectError",
            "CredentialsError",
            "LinkClosedError",
            "MeshError",
            "NoAgentError",
            "PayloadError",
            "PayloadTooLargeError",
            "ProtocolError",
            "RemoteError",
            "ServerError",
            "TaskError",
            "TaskExpiredError",
            "TaskLostError",
            "TaskTimeoutError",
            "UntrustedResultError",
            "VersionMismatchError",
            "WorkerCrashedError",
        )
    ),
}

VALUES: Final[frozenset[tuple[str, str]]] = frozenset(
    {
        *(
            ("builtins", name)
            for name in (
                "Ellipsis",
                "NotImplemented",
                "bool",
                "bytes",
                "dict",
                "float",
                "int",
                "list",
                "str",
                "tuple",
            )
        ),
        ("array", "array"),
        *(
            ("numpy", name)
            for name in (
                "bool",
                "bool_",
                "complex128",
                "complex64",
                "datetime64",
                "float16",
                "float32",
                "float64",
                "int16",
                "int32",
                "int64",
                "int8",
                "ndarray",
                "str_",
                "timedelta64",
                "uint16",
                "uint32",
                "uint64",
                "uint8",
            )
        ),
    }
)

_LISTED: Final = frozenset(BUILDERS) | EXCEPTIONS | VALUES


def is_listed(module: str, qualname: str) -> bool:
    return (module, qualname) in _LISTED
