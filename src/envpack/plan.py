"""The plan: an environment and its interpreter merged into one prefix, in order.

Order of entries: the interpreter, each distribution by normalised name with its RECORD last, the
rest, the manifest; sorted by name inside each, aliases behind the files they name, and bytecode,
which `bytecode` adds later, right behind its module. What is derived
comes after what it derives from, and a distribution is one run of members.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from envpack import activate, manifest
from envpack import starter as find_python
from envpack.carry import add_libraries
from envpack.distributions import Distribution
from envpack.draft import REST, Draft
from envpack.editable import Replacement
from envpack.entries import Batches
from envpack.environment import Environment
from envpack.errors import EnvironmentFault, UsageError
from envpack.interpreter import Interpreter
from envpack.links import twice
from envpack.merge import add_environment, add_interpreter, add_replacement
from envpack.model import Entry, Inline, Move, Package, Plan, Reason, Summary
from envpack.native_host import BundleLibs
from envpack.record_entries import settle_records
from envpack.records import Record
from envpack.select import Filter, excluded
from envpack.strays import named_by_code
from envpack.user_site import add_user_site, told_of, user_distributions
from envpack.version import VERSION
from envpack.withheld import withhold

_OWN = "envpack"


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
    draft = Draft((environment.root, *interpreter.places[:1]), cache_dir)
    packages: list[Package] = []
    records: list[Record] = []
    unjudged = partial(excluded, filters=filters)
    notes: list[str] = []
    if starter is None:
        packages += _add_bases(draft, records, environment, distributions, unjudged, notes)
    elif environment.system_site:
        raise EnvironmentFault(
            "the environment uses packages of its base interpreter, which --no-python leaves out",
            hint="make it anew without --system-site-packages",
        )
    for replacement in replacements:
        add_replacement(draft, records, environment.site_packages, replacement)
    replaced = {replacement.editable.name for replacement in replacements if replacement.info}
    kept = [dist for dist in distributions if dist.name not in replaced]
    hooks = frozenset(hook for replacement in replacements for hook in replacement.hooks)
    add_environment(draft, records, environment, kept, hooks, skip_paths, unjudged)
    if filters or brought:
        draft.remove_all(partial(_why_filtered, filters, brought))
    if filters and starter is None:
        _check_starts(draft, interpreter)
    secrets = withhold(draft, distributions, replacements, interpreter.stdlib, filters)
    for entry in _own_entries(environment, starter):
        draft.add(entry, REST, _OWN)
    for entry in extra:
        draft.add(entry, REST, _OWN)
    packages = sorted([*packages, *_packages(draft, folder, kept, replacements)])
    editables = tuple(replacement.editable for replacement in replacements)
    moves = _moves(environment, replacements)
    needles = _needles(environment, replacements)
    libraries, warnings = add_libraries(draft, environment, moves, needles, bundle)
    settle_records(draft, records)
    maker = manifest.manifest_maker(interpreter, packages, editables, libraries, VERSION)
    summary = Entry(manifest.NAME, Summary(maker), relocate=False)
    entries = Batches(draft.finish(moves), summary)
    return Plan(
        entries=entries,
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
        warnings=(*notes, *warnings, *(twice(name, target) for name, target in draft.doubled)),
        secrets=secrets,
    )


_NEEDED = re.compile(r"bin/python|lib/python3\.\d+t?/(os\.py|encodings/__init__\.py)")
"""Without one of them Python says a few words and ends, before it has read a line."""


def _check_starts(draft: Draft, interpreter: Interpreter) -> None:
    """Raise UsageError if the filters took out what Python cannot start without."""
    lost = [
        item.name
        for item in draft.left_out
        if item.reason is Reason.EXCLUDED and _NEEDED.fullmatch(item.name)
    ]
    if lost:
        raise UsageError(
            f"the archive could not start: `--exclude` leaves out `{min(lost)}` of Python"
            f" {interpreter.version}",
            hint="to pack without a Python, give --no-python",
        )


def _add_bases(
    draft: Draft,
    records: list[Record],
    environment: Environment,
    distributions: Sequence[Distribution],
    unjudged: Callable[[str], bool],
    notes: list[str],
) -> list[Package]:
    """Enter the interpreter, and the user site over it; `notes` gets what is to be told."""
    own = {dist.name for dist in distributions}
    users = user_distributions(environment)
    shadowing = own | {dist.name for dist in users}
    packages = add_interpreter(draft, records, environment, shadowing, unjudged)
    if not environment.user_base:
        return packages
    third = add_user_site(draft, records, environment, users, own, unjudged)
    notes.append(told_of(environment, len(third)))
    return [*packages, *third]


def _packages(
    draft: Draft,
    folder: str,
    kept: Iterable[Distribution],
    replacements: Iterable[Replacement],
) -> Iterator[Package]:
    """Yield the distributions of the environment whose metadata goes in."""
    for dist in kept:
        if draft.has_below(folder, dist.info):
            yield Package(dist.name, dist.version)
    for replacement in replacements:
        if replacement.info and draft.has_below(folder, replacement.info):
            yield Package(replacement.editable.name, replacement.editable.version)


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


def _moves(environment: Environment, replacements: Sequence[Replacement]) -> tuple[Move, ...]:
    """Return the build machine's directories that are in the archive, the longest first."""
    interpreter = environment.interpreter
    roots = (environment.root, *environment.spellings)
    prefixes = (*interpreter.places, *environment.former)
    moves = {Move(old, "") for old in (*roots, *prefixes)}
    moves |= {Move(f"{root}/lib64", "lib") for root in roots}
    moves |= {move for replacement in replacements for move in replacement.moves}
    if base := environment.user_base:
        moves |= {Move(f"{base}/{name}", name) for name in ("bin", environment.site_packages)}
    return tuple(sorted(moves, key=lambda move: (-len(move.old), move)))


def _needles(environment: Environment, replacements: Sequence[Replacement]) -> tuple[str, ...]:
    """Return the build machine's directories whose paths must not be found in the archive."""
    interpreter = environment.interpreter
    paths = {environment.root, *environment.spellings, *interpreter.places, *environment.former}
    paths |= {needle for replacement in replacements for needle in replacement.needles}
    paths |= named_by_code(environment)
    if environment.user_base:
        paths.add(f"{environment.user_base}/{environment.site_packages}")
    if environment.project is not None:
        paths.add(environment.project.root)
    return tuple(sorted(path for path in paths if len(path) > 1))
