"""The formats envpack writes: members in, bytes out. A new one is one file and one line here."""

from __future__ import annotations

from envpack.archive.directory import DirectoryFormat
from envpack.archive.tar import TarFormat, TarGzFormat, TarZstFormat
from envpack.archive.zip import ZipFormat
from envpack.errors import UsageError
from envpack.model import Format

FORMATS: tuple[Format, ...] = (
    TarGzFormat(),
    TarZstFormat(),
    TarFormat(),
    ZipFormat(),
    DirectoryFormat(),
)


def format_named(name: str) -> Format:
    """Return the format called `name`; raises UsageError for a name that no format has."""
    for each in FORMATS:
        if each.name == name:
            return each
    names = ", ".join(f"`{each.name}`" for each in FORMATS)
    raise UsageError(f"there is no format `{name}`", hint=f"the formats are {names}")


def format_of(path: str) -> Format | None:
    """Return the format whose suffix `path` ends with, the longest one, in any case."""
    suffixes = [(suffix, each) for each in FORMATS for suffix in each.suffixes]
    for suffix, each in sorted(suffixes, key=lambda pair: -len(pair[0])):
        if path.lower().endswith(suffix):
            return each
    return None


def format_for(path: str) -> Format:
    """Return the format that a name asks for.

    Raises UsageError if there is none; a directory has no suffix and is asked for by name.
    """
    if (found := format_of(path)) is not None:
        return found
    suffixes = [(suffix, each) for each in FORMATS for suffix in each.suffixes]
    known = ", ".join(f"`{suffix}`" for suffix, _ in suffixes)
    names = ", ".join(f"`{each.name}`" for each in FORMATS)
    raise UsageError(
        f"the name `{path}` does not say which format to write",
        hint=f"let it end with {known}, or name the format: {names}",
    )
