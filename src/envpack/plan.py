"""The plan: an environment and its interpreter merged into one prefix, in order.

Order of entries: the interpreter, each distribution by normalised name with its RECORD last, the
rest, the manifest; sorted by name inside each, aliases behind the files they name, and bytecode,
which `bytecode` adds later, right behind its module. What is derived
comes after what it derives from, and a distribution is one run of members.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from envpack import activate, manifest
from envpack import starter as find_python
from envpack.carry import add_libraries
from envpack.distributions import Distribution, RecordRow, distributions_in
from envpack.draft import (
    INTERPRETER,
    RECORD,
    REST,
    Draft,
    Place,
    disk_at,
    name_below,
    place_of,
)
from envpack.editable import Replacement
from envpack.entries import Batches
from envpack.environment import Environment
from envpack.errors import EnvironmentFault, SourceFault
from envpack.model import (
    Entry,
    Inline,
    LeftOut,
    Move,
    Package,
    Plan,
    Reason,
    Summary,
)
from envpack.native_host import BundleLibs
from envpack.owners import Owners
from envpack.records import Record, names_local_path, without_credentials
from envpack.select import Filter, environment_reason, excluded, interpreter_reason
from envpack.version import VERSION
from envpack.walk import Found, FoundDirectoryLink, walk

_PYTHON = re.compile(r"bin/python(\d(\.\d+)?)?$")
_OWN = "envpack"
_CACHED = "__pycache__/"


def make_plan(
    environment: Environment,
    distributions: Sequence[Distribution],
    replacements: Sequence[Replacement] = (),
    *,
    mtime: int,
    extra: Sequence[Entry] = (),
    filters: Sequence[Filter] = (),
    brought: frozenset[str] = frozenset(),
    bundle: BundleLibs = BundleLibs.AUTO,
    starter: str | None = None,
    skip_paths: Iterable[str] = (),
    cache_dir: Callable[[], str | None] = lambda: None,
) -> Plan:
    """Decide everything that goes into the archive.

    `replacements` stand for the editable ones among `distributions`; `extra` entries come with the
    rest; `filters` choose among the names of all others, and `brought` are distributions that stay
    out unless a filter takes them in; `bundle` says which of this machine's libraries are carried;
    `starter`, if given, leaves the interpreter out: it is the path of the one to look for there
    first, or "". `skip_paths` are absolute paths, such as the output's, that
    are passed over. `cache_dir` is asked for uv's cache only if a link leads out
    of environment and interpreter. Raises SourceFault for what cannot be read and for links of the
    environment that lead nowhere.
    """
    interpreter = environment.interpreter
    folder = environment.site_packages
    draft = Draft((environment.root, interpreter.prefix), cache_dir)
    packages: list[Package] = []
    records: list[Record] = []
    if starter is None:
        shadowing = {dist.name for dist in distributions}
        packages += _add_interpreter(draft, records, environment, shadowing)
    elif environment.system_site:
        raise EnvironmentFault(
            "the environment uses packages of its base interpreter, which --no-python leaves out",
            hint="make it anew without --system-site-packages",
        )
    for replacement in replacements:
        _add_replacement(draft, records, environment.site_packages, replacement)
    replaced = {replacement.editable.name for replacement in replacements if replacement.info}
    kept = [dist for dist in distributions if dist.name not in replaced]
    hooks = frozenset(hook for replacement in replacements for hook in replacement.hooks)
    _add_environment(draft, records, environment, kept, hooks, skip_paths)
    if filters or brought:
        draft.remove_all(partial(_why_filtered, filters, brought))
    for entry in _own_entries(environment, starter):
        draft.add(entry, REST, _OWN)
    for entry in extra:
        draft.add(entry, REST, _OWN)
    packages += [
        Package(dist.name, dist.version) for dist in kept if draft.has_below(folder, dist.info)
    ]
    packages += [
        Package(replacement.editable.name, replacement.editable.version)
        for replacement in replacements
        if replacement.info and draft.has_below(folder, replacement.info)
    ]
    packages.sort(key=lambda package: (package.name, package.version))
    editables = tuple(replacement.editable for replacement in replacements)
    moves = _moves(environment, replacements)
    needles = _needles(environment, replacements)
    libraries, warnings = add_libraries(draft, environment, moves, needles, bundle)
    _settle_records(draft, records)
    maker = manifest.manifest_maker(interpreter, packages, editables, libraries, VERSION)
    summary = Entry(manifest.NAME, Summary(maker), relocate=False)
    return Plan(
        entries=Batches(draft.finish(), summary),
        moves=moves,
        needles=needles,
        mtime=mtime,
        packages=tuple(packages),
        editables=editables,
        left_out=draft.left_out,
        clashes=tuple(draft.clashes),
        outside=tuple(draft.outside),
        libraries=libraries,
        scrubbed=tuple(draft.scrubbed),
        warnings=warnings,
    )


def _why_filtered(
    filters: Sequence[Filter], brought: frozenset[str], name: str, dist: str
) -> Reason | None:
    """Say why the file `name` of the distribution `dist` does not pass the filters."""
    if not excluded(name, filters, out=dist in brought):
        return None
    return Reason.BROUGHT if dist in brought else Reason.EXCLUDED


def _own_entries(environment: Environment, starter: str | None) -> tuple[Entry, ...]:
    """Return what envpack adds: activation, and what stands for a Python that is left out."""
    activation = (
        Entry("bin/activate", Inline(activate.POSIX), relocate=False),
        Entry("bin/activate.fish", Inline(activate.FISH), relocate=False),
    )
    if starter is None:
        return (Entry("pyvenv.cfg", Inline(activate.PYVENV_CFG), relocate=False), *activation)
    minor = environment.interpreter.minor
    script = Inline(find_python.starter(minor, starter))
    pth = f"{environment.site_packages}/{find_python.PTH}"
    return (
        *(Entry(f"bin/{n}", script, True, False) for n in ("python", "python3", f"python{minor}")),
        Entry(pth, Inline(find_python.PTH_LINE), relocate=False),
        Entry("pyvenv.cfg", Inline(find_python.pyvenv_cfg(starter)), relocate=False),
        *activation,
    )


def _add_interpreter(
    draft: Draft, records: list[Record], environment: Environment, shadowing: set[str]
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
    for found in walk(interpreter.prefix):
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
        elif owner is not None and _is_record(found.name, folder, owner):
            continue  # one is made
        elif not _PYTHON.match(found.name):
            place = INTERPRETER if owner is None else place_of(owner)
            draft.add_found(found, place, "interpreter", root=interpreter.prefix)
    _add_python(draft, os.path.join(interpreter.prefix, interpreter.executable), interpreter.minor)
    if not environment.system_site:
        return []
    taken = [dist for dist in dists if dist.name not in shadowing]
    _add_records(draft, records, folder, taken, "interpreter")
    return [Package(dist.name, dist.version) for dist in taken]


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
    if "__pycache__/" not in found.name and (inside or owner is not None):
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


def _add_replacement(
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
    _add_record(draft, records, Record(record, lambda: rows), place, name)


def _add_environment(
    draft: Draft,
    records: list[Record],
    environment: Environment,
    kept: Sequence[Distribution],
    hooks: frozenset[str],
    skip_paths: Iterable[str],
) -> None:
    """Enter the environment's own files, each with the distribution that owns it."""
    folder = environment.site_packages
    owners = Owners(folder, kept)
    places = {dist.info: place_of(dist) for dist in kept}
    inside = folder + "/"
    for found in walk(environment.root, skip=_passed_over(draft, environment, skip_paths)):
        name = found.name
        if name.startswith("lib64/"):
            name = "lib/" + name[len("lib64/") :]
        if isinstance(found, FoundDirectoryLink):
            draft.note_outside(name, found.real)
            continue
        reason = environment_reason(inside, name)
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
            raise SourceFault(
                f"`{os.path.join(environment.root, name)}` is a link to `{found.link}`, which does"
                " not exist",
                hint="repair the environment with `uv sync --reinstall`, or remove the link",
            )
        owner = owners.of(name)
        if owner is None or not _is_record(name, folder, owner):
            place = REST if owner is None else places[owner.info]
            draft.add_found(found, place, "environment", root=environment.root, name=name)
    for dist in kept:
        _fix_direct_url(draft, folder, dist)
    _add_records(draft, records, folder, kept, "environment")


def _is_record(name: str, folder: str, owner: Distribution) -> bool:
    return name.endswith("/RECORD") and name == f"{folder}/{owner.info}/RECORD"


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


def _fix_direct_url(draft: Draft, folder: str, dist: Distribution) -> None:
    """Leave out a direct_url.json that names a local path, and credentials from any other."""
    name = f"{folder}/{dist.info}/direct_url.json"
    if dist.direct_url is None or name not in draft:
        return
    if names_local_path(dist.direct_url):
        draft.remove(name, Reason.LOCAL_URL)
    elif (scrubbed := without_credentials(dist.direct_url)) is not None:
        draft.replace_content(name, Inline(scrubbed))
        draft.scrubbed.append(name)


def _add_records(
    draft: Draft,
    records: list[Record],
    folder: str,
    dists: Sequence[Distribution],
    origin: str,
) -> None:
    """Enter a RECORD for each that had one, to be made from what is really written."""
    for dist in dists:
        if dist.record:
            record = Record(f"{folder}/{dist.info}/RECORD", dist.rows)
            _add_record(draft, records, record, place_of(dist), origin)


def _add_record(
    draft: Draft, records: list[Record], record: Record, place: Place, origin: str
) -> None:
    """Hold the place of a RECORD; what it says is settled when all else is."""
    records.append(record)
    draft.add(Entry(record.name, Inline(b""), relocate=False), place, origin, rank=RECORD)


def _settle_records(draft: Draft, records: Sequence[Record]) -> None:
    """Find out what each RECORD asks of other runs, and what it names that is gone."""
    left = {item.name for item in draft.left_out if item.reason is not Reason.BYTECODE}
    for record in records:
        place, beyond, paths = draft.place(record.name), set(), []
        for row in record.rows():
            paths.append(row.path)
            other = None if row.name is None else draft.place(row.name)
            if row.name is not None and other is not None:
                if other != place:
                    beyond.add(row.name)
            elif row.name != record.name and row.name not in left and _CACHED not in row.path:
                draft.left_out.append(LeftOut(row.name or row.path, Reason.MISSING))
        if place is not None:
            text = "\0".join(paths).encode("utf-8", "surrogateescape")
            seed = hashlib.sha256(text).hexdigest()
            draft.replace_content(record.name, record.content(frozenset(beyond), seed))


def _moves(environment: Environment, replacements: Sequence[Replacement]) -> tuple[Move, ...]:
    """Return the build machine's directories that are in the archive, the longest first."""
    interpreter = environment.interpreter
    roots = (environment.root, *environment.spellings)
    prefixes = (interpreter.prefix, *interpreter.spellings, *environment.former)
    moves = {Move(old, "") for old in (*roots, *prefixes)}
    moves |= {Move(f"{root}/lib64", "lib") for root in roots}
    moves |= {move for replacement in replacements for move in replacement.moves}
    return tuple(sorted(moves, key=lambda move: (-len(move.old), move)))


def _needles(environment: Environment, replacements: Sequence[Replacement]) -> tuple[str, ...]:
    """Return the build machine's directories whose paths must not be found in the archive."""
    interpreter = environment.interpreter
    paths = {environment.root, *environment.spellings, interpreter.prefix, *interpreter.spellings}
    paths |= set(environment.former)
    paths |= {needle for replacement in replacements for needle in replacement.needles}
    if environment.project is not None:
        paths.add(environment.project.root)
    return tuple(sorted(path for path in paths if path.count("/") > 1 or len(path) > 1))
