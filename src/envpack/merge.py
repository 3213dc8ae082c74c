"""Two prefixes in one draft: the files of an interpreter, and of an environment over them.

Most folders are of one owner, or stay out as they are: those are taken as they lie, without a look
at each file.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from envpack import foreign
from envpack.distributions import Distribution, RecordRow, distributions_in
from envpack.draft import INTERPRETER, REST, Draft, Place, name_below, place_of
from envpack.editable import Replacement
from envpack.entries import disk_at, prefix_of
from envpack.environment import Environment
from envpack.errors import SourceFault
from envpack.model import Entry, Inline, LeftOut, Package, Reason
from envpack.owners import Owners
from envpack.record_entries import add_record, add_records, is_record
from envpack.records import Record, names_local_path, without_credentials
from envpack.select import (
    CACHED,
    environment_reason,
    interpreter_reason,
    is_bytecode,
    is_library,
    is_plain,
)
from envpack.walk import Found, FoundDirectoryLink, FoundFolder, walk

_PYTHON = re.compile(r"bin/python(\d(\.\d+)?)?$")


def add_interpreter(
    draft: Draft,
    records: list[Record],
    environment: Environment,
    shadowing: set[str],
    unjudged: Callable[[str], bool],
) -> list[Package]:
    """Enter the interpreter, with its own packages if the environment uses them.

    A package of the interpreter stays out if the environment has one of the same name, whatever
    its version: merged into one directory, only one can be found.
    """
    interpreter = environment.interpreter
    folder = interpreter.site_packages
    dists: tuple[Distribution, ...] = ()
    if os.path.isdir(os.path.join(interpreter.prefix, folder)):
        dists = distributions_in(interpreter.prefix, folder)
    owners = Owners(folder, dists)
    origin, root = "interpreter", interpreter.prefix
    for found in walk(root, unjudged=unjudged):
        name = found.name
        plain = not found.others and not owners.shares(name)
        if plain and is_bytecode(name):
            draft.leave_files(found, Reason.BYTECODE)
        elif plain and f"{name}/".startswith(f"{folder}/") and not environment.system_site:
            draft.leave_files(found, Reason.BASE_SITE_PACKAGES)
        elif plain and is_library(interpreter, name) and not _has_static(found):
            draft.add_files(
                name, INTERPRETER, origin, root=root, source=found.path, files=found.files
            )
        else:
            taken = _of_interpreter(draft, environment, found, owners, shadowing)
            draft.add_found(name, taken, origin, root=root)
    _add_python(draft, os.path.join(root, interpreter.executable), interpreter.minor)
    if not environment.system_site:
        return []
    used = [dist for dist in dists if dist.name not in shadowing]
    for dist in used:
        fix_urls(draft, root, folder, dist)
    add_records(draft, records, folder, used, origin)
    return [Package(dist.name, dist.version) for dist in used]


def _has_static(found: FoundFolder) -> bool:
    return any(row[0].endswith(".a") for row in found.files)


def _of_interpreter(
    draft: Draft,
    environment: Environment,
    folder: FoundFolder,
    owners: Owners,
    shadowing: set[str],
) -> Iterator[tuple[Found, Place]]:
    """Yield the files of a folder that go in, and note the others."""
    interpreter = environment.interpreter
    for found in folder.found():
        if isinstance(found, FoundDirectoryLink):
            draft.note_outside(found.name, found.real)
            continue
        target = found.name
        if found.link is not None:
            target = os.path.relpath(found.real, interpreter.prefix)
        owner = owners.of(found.name) or owners.of(target)
        reason = _why_out(environment, found, target, owner, shadowing)
        if reason is not None:
            draft.leave(found, reason)
        elif owner is not None and is_record(found.name, interpreter.site_packages, owner):
            continue  # one is made
        elif not _PYTHON.match(found.name):
            yield found, INTERPRETER if owner is None else place_of(owner)


def _why_out(
    environment: Environment,
    found: Found,
    target: str,
    owner: Distribution | None,
    shadowing: set[str],
) -> Reason | None:
    """Say why a file of the interpreter's prefix stays out; `target` is what a link leads to."""
    interpreter = environment.interpreter
    if found.kind != "file":
        return Reason.DANGLING if found.kind == "dangling" else Reason.SPECIAL
    inside = found.name.startswith(interpreter.site_packages + "/")
    if CACHED not in found.name and (inside or owner is not None):
        if not environment.system_site:
            return Reason.BASE_SITE_PACKAGES if inside else Reason.BASE_SCRIPT
        return Reason.SHADOWED if owner is not None and owner.name in shadowing else None
    reason = interpreter_reason(interpreter, found.name)
    if reason is None and not target.startswith("../"):
        reason = interpreter_reason(interpreter, target)
    return reason


def _add_python(draft: Draft, path: str, minor: str) -> None:
    """Enter the executable as `bin/python`, the real file, and its other names as aliases."""
    content, _ = disk_at(path)
    draft.add(Entry("bin/python", content, executable=True), INTERPRETER, "interpreter")
    for name in ("bin/python3", f"bin/python{minor}"):
        entry = Entry(name, content, executable=True)
        draft.add(entry, INTERPRETER, "interpreter", target="bin/python")


def add_replacement(
    draft: Draft, records: list[Record], folder: str, replacement: Replacement
) -> None:
    """Enter the real files of an editable, with a RECORD of their own."""
    name = replacement.editable.name
    place = Place(1, name, replacement.info) if replacement.info else REST
    for member, path in replacement.files:
        file, executable = disk_at(path)
        executable = executable or member.startswith("bin/")
        draft.add(Entry(member, file, executable=executable), place, name)
    for member, data in replacement.inline:
        draft.add(Entry(member, Inline(data)), place, name)
    if not replacement.info:
        return
    record = f"{folder}/{replacement.info}/RECORD"
    members = [member for member, _ in (*replacement.files, *replacement.inline)]
    rows = [RecordRow(posixpath.relpath(m, folder), m) for m in sorted([*members, record])]
    add_record(draft, records, Record(record, lambda: rows), place, name)


def add_environment(
    draft: Draft,
    records: list[Record],
    environment: Environment,
    kept: Sequence[Distribution],
    hooks: frozenset[str],
    skip_paths: Iterable[str],
    unjudged: Callable[[str], bool],
) -> None:
    """Enter the environment's own files, each with the distribution that owns it."""
    folder, root, origin = environment.site_packages, environment.root, "environment"
    owners = Owners(folder, kept)
    hooked = {hook.rpartition("/")[0] for hook in hooks}
    skip = _passed_over(draft, environment, skip_paths)
    for found in walk(root, skip=skip, unjudged=unjudged):
        name = found.name
        if name == "lib64" or name.startswith("lib64/"):
            name = "lib" + name[len("lib64") :]
        plain = not found.others and not owners.shares(name) and name not in hooked
        if not found.others and is_bytecode(name):
            draft.leave_files(found, Reason.BYTECODE)
        elif plain and is_plain(f"{folder}/", name):
            owner = owners.of_folder(name)
            place = REST if owner is None else place_of(owner)
            draft.add_files(name, place, origin, root=root, source=found.path, files=found.files)
        else:
            taken = _of_environment(draft, environment, found, name, owners, hooks, unjudged)
            draft.add_found(name, taken, origin, root=root)
    for dist in kept:
        fix_urls(draft, root, folder, dist)
    add_records(draft, records, folder, kept, origin)


def _of_environment(
    draft: Draft,
    environment: Environment,
    folder: FoundFolder,
    place: str,
    owners: Owners,
    hooks: frozenset[str],
    unjudged: Callable[[str], bool],
) -> Iterator[tuple[Found, Place]]:
    """Yield the files of a folder that go into the folder `place`, and note the others."""
    site_packages = environment.site_packages
    prefix = prefix_of(place)
    for found in folder.found():
        name = prefix + found.name.rpartition("/")[2]
        if isinstance(found, FoundDirectoryLink):
            draft.note_outside(name, found.real)
            continue
        reason = environment_reason(f"{site_packages}/", name)
        if reason is None and found.kind == "special":
            reason = Reason.SPECIAL
        if reason is None and name in hooks:
            if draft.origin(name) in (None, "interpreter"):
                draft.leave(found, Reason.EDITABLE_HOOK)
            continue
        if reason is not None:
            draft.leave(found, reason)
            continue
        if found.kind == "dangling":
            if unjudged(name) or unjudged(f"{name}/"):
                draft.leave(found, Reason.EXCLUDED)
                continue
            raise SourceFault(
                f"`{os.path.join(environment.root, name)}` is a link to `{found.link}`, which does"
                " not exist",
                hint="repair the environment with `uv sync --reinstall`, remove the link, or leave"
                " it out with --exclude",
            )
        owner = owners.of(name)
        if owner is None or not is_record(name, site_packages, owner):
            yield found, REST if owner is None else place_of(owner)


def _passed_over(
    draft: Draft, environment: Environment, skip_paths: Iterable[str]
) -> frozenset[str]:
    """Return the names in an environment that a walk need not enter."""
    real = (os.path.realpath(path) for path in skip_paths)
    skip = {name for path in real if (name := name_below(path, environment.root)) is not None}
    for name in sorted(skip):
        draft.left_out.append(LeftOut(name, Reason.OUTPUT))
    if os.path.islink(os.path.join(environment.root, "lib64")):
        skip.add("lib64")
    return frozenset(skip)


def fix_urls(draft: Draft, root: str, folder: str, dist: Distribution) -> None:
    """Leave out a direct_url.json that names a local path, and credentials from any other.

    provenance_url.json (PEP 710) says the same of what came from an index.
    """
    above = f"{folder}/{dist.info}"
    provenance = f"{above}/provenance_url.json"
    notes = (
        (f"{above}/direct_url.json", dist.direct_url),
        (provenance, foreign.read_json(os.path.join(root, provenance))),
    )
    for name, value in notes:
        if not isinstance(value, dict) or name not in draft:
            continue
        if names_local_path(value):
            draft.remove(name, Reason.LOCAL_URL)
        elif (scrubbed := without_credentials(value)) is not None:
            draft.replace_content(name, Inline(scrubbed))
            draft.scrubbed.append(name)
