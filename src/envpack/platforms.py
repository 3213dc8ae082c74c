"""Platforms and Pythons that distributions are chosen for, and the tags and markers they mean.

Words are uv's (`--python-platform`), or the platform tags of wheels. Sources: the *platform
compatibility tags* specification, PEP 600 (manylinux), PEP 656 (musllinux), the *dependency
specifiers* specification (markers).
"""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms, platform_tags
from packaging.version import InvalidVersion, Version

from envpack.errors import UsageError

_GLIBC = (2, 28)
_MUSL = (1, 2)
_MACOS = (13, 0)
"""What uv means by `linux`, musl and `macos` without a version."""

_LEGACY = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
_LEGACY_NAMES = {version: name for name, version in _LEGACY.items()}
_FIRST_GLIBC = {"x86_64": 5, "i686": 5}
_ALIASES = {
    "linux": "x86_64-unknown-linux-gnu",
    "macos": "aarch64-apple-darwin",
    "windows": "x86_64-pc-windows-msvc",
    "win32": "i686-pc-windows-msvc",
    "win_amd64": "x86_64-pc-windows-msvc",
    "win_arm64": "aarch64-pc-windows-msvc",
    "riscv64-unknown-linux": "riscv64-unknown-linux-gnu",
}
_WINDOWS_TAGS = {"x86_64": "win_amd64", "i686": "win32", "aarch64": "win_arm64"}
_WINDOWS_MACHINES = {"x86_64": "AMD64", "i686": "x86", "aarch64": "ARM64"}
_SYSTEMS = {
    "linux": ("posix", "linux", "Linux"),
    "macos": ("posix", "darwin", "Darwin"),
    "windows": ("nt", "win32", "Windows"),
}
_PYTHON = re.compile(r"(?:cpython-?)?(3\.\d+(?:\.\d+\w*)?)(\+?(?:t|freethreaded))?$")
_LAST_PATCH = 99


class Platform(NamedTuple):
    """A machine that wheels are chosen for.

    `os` is linux, macos or windows; `arch` is in uv's words (x86_64, aarch64, i686 …); `libc` is
    gnu or musl, "none" off Linux. `version` is the C library's or that of macOS, the newest that
    wheels may want; (0, 0) on Windows.
    """

    os: str
    arch: str
    libc: str
    version: tuple[int, int]

    def __str__(self) -> str:
        major, minor = self.version
        if self.os == "windows":
            return f"{self.arch}-pc-windows-msvc"
        if self.os == "macos":
            plain = f"{self.arch}-apple-darwin"
            machine = _mac_machine(self.arch)
            return plain if self.version == _MACOS else f"macosx_{major}_{minor}_{machine}"
        if self.libc == "musl":
            plain = f"{self.arch}-unknown-linux-musl"
            return plain if self.version == _MUSL else f"musllinux_{major}_{minor}_{self.arch}"
        return f"{self.arch}-manylinux_{major}_{minor}"

    @property
    def tags(self) -> tuple[str, ...]:
        """The platform tags of wheels that run there, the best first."""
        return _tags(self)

    @property
    def markers(self) -> dict[str, str]:
        """The markers that the platform decides, such as `sys_platform`."""
        os_name, sys_platform, system = _SYSTEMS[self.os]
        machine = {
            "windows": _WINDOWS_MACHINES.get(self.arch, self.arch),
            "macos": _mac_machine(self.arch),
        }.get(self.os, self.arch)
        return {
            "os_name": os_name,
            "sys_platform": sys_platform,
            "platform_system": system,
            "platform_machine": machine,
            "platform_release": "",
            "platform_version": "",
        }


@dataclass(frozen=True, slots=True)
class Python:
    """A CPython that wheels are chosen for: "3.12" (any patch version of it) or "3.12.4"."""

    version: str
    free_threaded: bool = False

    def __str__(self) -> str:
        return f"{self.version}{'t' if self.free_threaded else ''}"

    @property
    def release(self) -> tuple[int, int]:
        """The major and the minor version."""
        return Version(self.version).release[0], Version(self.version).release[1]

    @property
    def minor(self) -> str:
        """The version to the second place, such as "3.12"."""
        return "{}.{}".format(*self.release)

    @property
    def full_versions(self) -> tuple[str, ...]:
        """Every full version that markers are evaluated for: the first and the last of a minor."""
        if len(Version(self.version).release) > 2:
            return (self.version,)
        return (f"{self.version}.0", f"{self.version}.{_LAST_PATCH}")

    def tags(self, platforms: Sequence[str]) -> tuple[Tag, ...]:
        """Return the tags of wheels that it takes on `platforms`, the best first."""
        interpreter = "cp{}{}".format(*self.release)
        abi = f"{interpreter}{'t' if self.free_threaded else ''}"
        own = cpython_tags(self.release, [abi], platforms)
        return (*own, *compatible_tags(self.release, interpreter, platforms))


class Target(NamedTuple):
    """One combination that is chosen for."""

    platform: Platform
    python: Python

    def __str__(self) -> str:
        return f"{self.platform}, Python {self.python}"

    @property
    def environments(self) -> tuple[Mapping[str, str], ...]:
        """Marker environments that together stand for the combination."""
        return tuple(
            {
                **self.platform.markers,
                "implementation_name": "cpython",
                "platform_python_implementation": "CPython",
                "implementation_version": full,
                "python_full_version": full,
                "python_version": self.python.minor,
            }
            for full in self.python.full_versions
        )

    @property
    def tags(self) -> tuple[Tag, ...]:
        """The tags of wheels that fit, the best first."""
        return _target_tags(self)


STANDARD = tuple(
    Platform(*words)
    for words in (
        ("linux", "x86_64", "gnu", _GLIBC),
        ("linux", "aarch64", "gnu", _GLIBC),
        ("linux", "x86_64", "musl", _MUSL),
        ("linux", "aarch64", "musl", _MUSL),
        ("macos", "aarch64", "none", _MACOS),
        ("macos", "x86_64", "none", _MACOS),
        ("windows", "x86_64", "none", (0, 0)),
        ("windows", "aarch64", "none", (0, 0)),
        ("windows", "i686", "none", (0, 0)),
    )
)
"""The platforms that most projects have wheels for: what `all` is told to be complete for."""


def current() -> Platform:
    """Return the platform that this Python runs on; raises UsageError for one that is unknown."""
    # The bare `linux_x86_64` that comes first names no C library: it is for want of another.
    for word in sorted(platform_tags(), key=lambda tag: tag.startswith("linux_")):
        if found := _parsed(word):
            return found
    raise UsageError(
        f"this system, `{sysconfig.get_platform()}`, is no platform that is known here",
        hint="run envpack on Linux, macOS or Windows",
    )


def platforms_named(words: Iterable[str]) -> tuple[Platform, ...] | None:
    """Return the platforms that words mean, without repetition; None for `all`.

    A word may be a list with commas. Raises UsageError for an unknown one.
    """
    found: dict[Platform, None] = {}
    everything = False
    for word in _split(words):
        if word == "all":
            everything = True
        elif word == "current":
            found[current()] = None
        elif platform := _parsed(word):
            found[platform] = None
        else:
            raise UsageError(
                f"`{word}` is no platform that is known here",
                hint="take `current`, `all`, `linux`, `macos`, `windows`, a platform of uv such as"
                " `aarch64-unknown-linux-gnu`, or a wheel's tag such as `win_amd64`",
            )
    return None if everything else tuple(found)


def pythons_named(words: Iterable[str]) -> tuple[Python, ...]:
    """Return the Pythons that words such as "3.12" mean; raises UsageError for unknown ones."""
    found: dict[Python, None] = {}
    for word in _split(words):
        match = _PYTHON.fullmatch(word)
        try:
            version = str(Version(match[1])) if match else ""
        except InvalidVersion:
            version = ""
        if match is None or not version:
            raise UsageError(f"`{word}` is no version of CPython such as `3.12`")
        found[Python(version, bool(match[2]))] = None
    return tuple(found)


def _split(words: Iterable[str]) -> Iterator[str]:
    for text in words:
        yield from (word.strip().lower() for word in text.split(",") if word.strip())


def _parsed(word: str) -> Platform | None:
    word = _ALIASES.get(word, word)
    if found := re.fullmatch(r"(x86_64|aarch64|i686)-pc-windows-msvc", word):
        return Platform("windows", found[1], "none", (0, 0))
    if found := re.fullmatch(r"(x86_64|aarch64)-apple-darwin", word):
        return Platform("macos", found[1], "none", _MACOS)
    if found := re.fullmatch(r"macosx_(\d+)_(\d+)_(x86_64|arm64)", word):
        arch = "aarch64" if found[3] == "arm64" else found[3]
        return Platform("macos", arch, "none", (int(found[1]), int(found[2])))
    if found := re.fullmatch(r"(\w+?)-unknown-linux-(gnu|musl)", word):
        libc = found[2]
        return Platform("linux", found[1], libc, _GLIBC if libc == "gnu" else _MUSL)
    return _linux(word)


def _linux(word: str) -> Platform | None:
    """Read `x86_64-manylinux_2_28` as uv has it, and the platform tags of wheels for Linux."""
    if found := re.fullmatch(r"(\w+)-(manylinux\w+)", word):
        word = f"{found[2]}_{found[1]}"
    if found := re.fullmatch(r"(manylinux|musllinux)_(\d+)_(\d+)_(\w+)", word):
        libc = "gnu" if found[1] == "manylinux" else "musl"
        return Platform("linux", found[4], libc, (int(found[2]), int(found[3])))
    if found := re.fullmatch(r"(manylinux1|manylinux2010|manylinux2014)_(\w+)", word):
        return Platform("linux", found[2], "gnu", _LEGACY[found[1]])
    if found := re.fullmatch(r"linux_(\w+)", word):
        return Platform("linux", found[1], "gnu", _GLIBC)
    return None


def _mac_machine(arch: str) -> str:
    return "arm64" if arch == "aarch64" else arch


@cache
def _tags(platform: Platform) -> tuple[str, ...]:
    major, minor = platform.version
    if platform.os == "windows":
        return (_WINDOWS_TAGS.get(platform.arch, ""),)
    if platform.os == "macos":
        return tuple(mac_platforms(platform.version, _mac_machine(platform.arch)))
    musl = (f"musllinux_{major}_{each}_{platform.arch}" for each in range(minor, -1, -1))
    return (*(musl if platform.libc == "musl" else _manylinux(platform)), f"linux_{platform.arch}")


def _manylinux(platform: Platform) -> Iterator[str]:
    major, newest = platform.version
    for minor in range(newest, _FIRST_GLIBC.get(platform.arch, 17) - 1, -1):
        yield f"manylinux_{major}_{minor}_{platform.arch}"
        if legacy := _LEGACY_NAMES.get((major, minor)):
            yield f"{legacy}_{platform.arch}"


@cache
def _target_tags(target: Target) -> tuple[Tag, ...]:
    return target.python.tags(target.platform.tags)
