"""What may surprise where an archive is unpacked: said in sentences, and refused by nobody."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, pairwise
from typing import TypeAlias

from envpack.draft import INTERPRETER
from envpack.entries import size_of
from envpack.floor import exceeds
from envpack.libraries import Libraries, Need
from envpack.links import is_library, twice
from envpack.model import Alias, Entry, Format, Leak, LinkKind, Plan
from envpack.presets import Host, Preset
from envpack.select import Filter

LinkPolicy: TypeAlias = Callable[[Entry, int], LinkKind | None]


def surprises(plan: Plan, kind: Format, link: LinkPolicy) -> tuple[str, ...]:
    """Say what is lost of an archive in this format, with links stored so, on some systems."""
    return (*_doubled(plan, link), *_folded(plan, kind))


def _doubled(plan: Plan, link: LinkPolicy) -> Iterator[str]:
    """Say which libraries of packages have names that are stored as files of their own.

    Of the interpreter's nothing loads the further names, which are for linkers.
    """
    runs = (run for run in plan.entries.runs() if not run.name.startswith(f"{INTERPRETER.group}/"))
    pairs = [
        (entry.name, entry.content.target)
        for entry in chain.from_iterable(run.others for run in runs)
        if isinstance(entry.content, Alias)
        and is_library(entry.name)
        and link(entry, size_of(entry._replace(content=entry.content.content))) is None
    ]
    if pairs:
        more = f"; {len(pairs) - 1} more names are so" if len(pairs) > 1 else ""
        yield twice(*pairs[0]) + more


def _folded(plan: Plan, kind: Format) -> tuple[str, ...]:
    """Say which names are one where case does not count; of a zip, which is for such systems."""
    if kind.name != "zip":
        return ()
    hashes = sorted(hash(entry.name.casefold()) for entry in plan.entries)
    twice = {one for one, other in pairwise(hashes) if one == other}
    if not twice:
        return ()
    names: dict[str, str] = {}
    pairs = []
    for entry in plan.entries:
        if hash(key := entry.name.casefold()) in twice:
            other = names.setdefault(key, entry.name)
            if other != entry.name:
                pairs.append((other, entry.name))
    if not pairs:
        return ()
    one, other = pairs[0]
    more = f", and {len(pairs) - 1} more" if len(pairs) > 1 else ""
    return (
        f"names differ only by case, `{one}` and `{other}`{more}: unpacked on Windows or macOS one"
        " of each pair is lost",
    )


def unmoved(plan: Plan) -> tuple[Leak, ...]:
    """Return the folders and loaders of this machine that native code of the archive will look for.

    What is below a needle is found in the bytes.
    """
    return tuple(
        Leak(name, path, 1)
        for name, path in plan.libraries.foreign
        if not any(f"{path}/".startswith(f"{needle}/") for needle in plan.needles)
    )


def unmatched(plan: Plan, filters: Sequence[Filter], *, compiled: bool) -> tuple[str, ...]:
    """Say which globs have no file's name; what bytecode is made of files is not looked at."""
    found = []
    left = [rule for rule in dict.fromkeys(filters) if not (compiled and "pyc" in rule.glob)]
    for rule in left:
        fits = re.compile(fnmatch.translate(rule.glob)).match
        out = (item.name for item in plan.left_out)
        if not any(map(fits, chain((entry.name for entry in plan.entries), out))):
            word = "--exclude" if rule.exclude else "--include"
            found.append(f"`{word} {rule.glob}` matches no file")
    return tuple(found)


def misfits(plan: Plan, kind: Format, preset: Preset, output_size: int) -> tuple[str, ...]:
    """Say where the archive, of `output_size` bytes, does not fit its destination."""
    found = []
    if kind.name not in preset.formats:
        why = preset.broken.get(kind.name) or "no format that it is known to unpack"
        found.append(f"{preset.title} and `{kind.name}`: {why}")
    inside = {package.name for package in plan.packages}
    found += [
        f"{preset.title} needs `{name}` in the environment, and it is not there"
        for name in preset.needs
        if name not in inside
    ]
    found += _too_new(plan.libraries, preset.hosts)
    if output_size > preset.ceiling:
        found.append(f"the archive has {output_size / 1e9:.1f} GB: {preset.above}")
    return tuple(found)


def _too_new(libraries: Libraries, hosts: tuple[Host, ...]) -> list[str]:
    """Say which of the hosts have an older C or C++ library than the archive asks for."""
    systems = [(f"{host.name} ({host.system.name}", host.system) for host in hosts]
    glibc = [(text, system.glibc) for text, system in systems]
    glibcxx = [(text, system.glibcxx) for text, system in systems]
    return [
        *_lacking(libraries.glibc, "glibc ", glibc),
        *_lacking(libraries.glibcxx, "GLIBCXX_", glibcxx),
    ]


def _lacking(need: Need | None, label: str, hosts: list[tuple[str, str]]) -> list[str]:
    if need is None:
        return []
    names = [f"{text}, {label}{version})" for text, version in hosts if exceeds(need, version)]
    sentence = f"the archive needs {label}{need.version} (`{need.file}`), so it does not run on"
    return [f"{sentence} {', '.join(names)}"] if names else []
