"""Bytecode for a finished plan, compiled by the packed interpreter from the packed text.

Each module's .pyc stands right behind its source, whose words it repeats: that packs best, and
keeps it in the run of its distribution, before RECORD. The same plan gives the same bytes: fresh
processes, batches that do not depend on the number of workers, and `compile_worker`, which knows
what marshal depends on.
Sources: PEP 552 (unchecked hash: valid whatever the mtime, on read-only media too), PEP 3147.
"""

from __future__ import annotations

import csv
import io
import json
import os
import posixpath
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from envpack.distributions import RecordRow, names_in_prefix
from envpack.editable import runs_here
from envpack.entries import EntryList, disk_at
from envpack.environment import Environment
from envpack.errors import OutputFault, SourceFault, ToolFault
from envpack.interpreter import Interpreter
from envpack.model import Alias, Derived, Digests, Disk, Entry, Inline, Move, Plan, Reason
from envpack.parallel import Pool
from envpack.reading import spliced
from envpack.records import rewritten
from envpack.relocate import relocator_for
from envpack.rows import LeftOuts
from envpack.select import Filter, excluded
from envpack.uv import run_python

BATCH = 1024 * 1024
"""Bytes of source that one process compiles, in a second or so, if a distribution has as much."""

_WORKER = os.path.join(os.path.dirname(os.path.realpath(__file__)), "compile_worker.py")
_HEAD = 4096
_MAGIC_SOURCES = (
    ("lib/python{}/importlib/_bootstrap_external.py", rb"^MAGIC_NUMBER = \((\d+)\)\.to_bytes\(2"),
    ("include/python{}/internal/pycore_magic_number.h", rb"^#define PYC_MAGIC_NUMBER (\d+)"),
)
"""Where CPython writes its magic number: until 3.13, and from then on."""


class _Module(NamedTuple):
    """A source in the archive, where its text is to be read, and the name of its bytecode."""

    name: str
    source: str
    size: int
    pyc: str


def compile_plan(
    plan: Plan,
    environment: Environment,
    scratch: str,
    *,
    jobs: int | None,
    say: Callable[[str], None],
    filters: Sequence[Filter] = (),
) -> Plan:
    """Return `plan` with the bytecode of every module of the library that compiles.

    `filters` may leave out some, by their names in the archive. The bytecode is left in `scratch`,
    for as long as the plan is used. RECORD and the manifest list it. A module that does not
    compile is said and stays alone. Raises ToolFault if there is no interpreter for it here,
    SourceFault for a source that cannot be read, OutputFault if `scratch` cannot take it all.
    """
    interpreter = environment.interpreter
    python = _compiler(interpreter, say)
    folder = os.path.join(scratch, "bytecode")
    try:
        os.mkdir(folder)
        modules = tuple(_modules(plan, interpreter, folder, filters))
        say(f"compiling {len(modules)} modules")
        made = _compile(python, _batches(plan, modules, interpreter), folder, jobs)
    except OSError as error:
        raise OutputFault(
            f"cannot write bytecode to `{folder}`: {error.strerror or error}",
            hint="set TMPDIR to a folder with more room",
        ) from error
    failed = [module.name for module in modules if module.name not in made]
    if failed:
        say(f"{len(failed)} modules do not compile and stay as text, such as `{failed[0]}`")
    return _with_bytecode(plan, environment, made)


def _with_bytecode(plan: Plan, environment: Environment, made: Mapping[str, Entry]) -> Plan:
    """Return `plan` with the entries `made`, each under its source's name, and listed."""
    pycs = {name: entry.name for name, entry in made.items()}
    folder = environment.site_packages
    entries: list[Entry] = []
    for entry in plan.entries:
        content = entry.content
        if isinstance(content, Derived) and posixpath.basename(entry.name) == "RECORD":
            entries.append(entry._replace(content=_listing(content, folder, pycs)))
        else:
            entries.append(entry)
        if entry.name in made:
            entries.append(made[entry.name]._replace(run=entry.run))
    names = set(pycs.values())
    left_out = LeftOuts()
    for item in plan.left_out:
        if item.reason is not Reason.BYTECODE or item.name not in names:
            left_out.append(item)
    return plan._replace(entries=EntryList(entries), left_out=left_out)


def _listing(record: Derived, folder: str, pycs: Mapping[str, str]) -> Derived:
    """Return a RECORD that has a row for the bytecode of every module in it.

    Some RECORDs had such rows from the start; they are not doubled.
    """

    def made(digests: Digests) -> bytes:
        data = record.make(digests)
        text = io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")
        paths = [row[0] for row in csv.reader(text) if row]
        names = names_in_prefix(folder, paths)
        listed = set(names)
        rows: list[RecordRow] = []
        for path, name in zip(paths, names, strict=True):
            pyc = pycs.get(name or "")
            if pyc is not None and pyc not in listed:
                parts = (posixpath.dirname(path), "__pycache__", posixpath.basename(pyc))
                rows.append(RecordRow(posixpath.join(*parts), pyc))
                listed.add(pyc)
        return data + rewritten(lambda: rows, "", digests)

    beyond = record.beyond.union(pycs[name] for name in record.beyond if name in pycs)
    return Derived(made, beyond, f"{record.seed}, compiled")


def _modules(
    plan: Plan, interpreter: Interpreter, folder: str, filters: Sequence[Filter]
) -> Iterator[_Module]:
    """Yield the modules of the library in the plan's order; what has no file yet gets one."""
    names = {entry.name for entry in plan.entries}
    tag = _tag(interpreter)
    for number, entry in enumerate(plan.entries):
        head, tail = posixpath.split(entry.name)
        stem = tail.removesuffix(".py")
        if stem in ("", tail) or not f"{head}/".startswith(f"{interpreter.stdlib}/"):
            continue
        pyc = f"{head}/__pycache__/{stem}.{tag}.pyc"
        content = entry.content
        if isinstance(content, Alias):
            content = content.content
        if pyc in names or excluded(pyc, filters) or not isinstance(content, Disk | Inline):
            continue
        data = _new_text(entry, content, plan.moves)
        if data is not None:
            path = os.path.join(folder, f"{number}.py")
            with open(path, "xb") as file:
                file.write(data)
            yield _Module(entry.name, path, len(data), pyc)
        elif isinstance(content, Disk):
            yield _Module(entry.name, content.path, content.size, pyc)


def _new_text(entry: Entry, content: Disk | Inline, moves: tuple[Move, ...]) -> bytes | None:
    """Return the text that will be packed, None if it is the one on disk."""
    inline = content.data if isinstance(content, Inline) else None
    if not entry.relocate:
        return inline
    path = content.path if isinstance(content, Disk) else ""
    head = _read(path, _HEAD) if inline is None else inline[:_HEAD]
    relocator = relocator_for(entry.name, head)
    if relocator is None:
        return inline
    data = _read(path) if inline is None else inline
    edits = sorted(relocator.edits(entry.name, data, moves))
    return b"".join(spliced([data], edits)) if edits else inline


def _read(path: str, size: int = -1) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except OSError as error:
        raise SourceFault(f"cannot read `{path}`: {error.strerror}") from error


def _batches(
    plan: Plan, modules: Iterable[_Module], interpreter: Interpreter
) -> Iterator[tuple[_Module, ...]]:
    """Yield what one process compiles: one distribution, or as much of it as fills a batch."""
    waiting = {module.name: module for module in modules}
    batch: list[_Module] = []
    size = 0
    inside = False
    for entry in plan.entries:
        module = waiting.get(entry.name)
        ends = entry.name.endswith("/RECORD") or size >= BATCH
        if module is not None:
            crosses = inside is not module.name.startswith(interpreter.site_packages + "/")
            inside, ends = inside is not crosses, ends or crosses
        if ends and batch:
            yield tuple(batch)
            batch, size = [], 0
        if module is not None:
            batch.append(module)
            size += module.size
    if batch:
        yield tuple(batch)


def _compile(
    python: str, batches: Iterable[tuple[_Module, ...]], folder: str, jobs: int | None
) -> dict[str, Entry]:
    """Return the bytecode made, by the name of its source."""
    made = {}
    work = [
        (batch, [os.path.join(folder, f"{number}-{i}.pyc") for i in range(len(batch))])
        for number, batch in enumerate(batches)
    ]
    tasks = ((partial(_run_batch, python, *each), 1) for each in work)
    with Pool(jobs) as pool:
        answers = pool.ordered(tasks, budget=pool.jobs, weigh=lambda _: 0)
        for (batch, outputs), answer in zip(work, answers, strict=True):
            failed = {name for name, _ in answer["failed"]}
            for module, output in zip(batch, outputs, strict=True):
                if module.name not in failed:
                    content, _ = disk_at(output)
                    made[module.name] = Entry(module.pyc, content, relocate=False)
    return made


def _run_batch(python: str, batch: Sequence[_Module], outputs: Sequence[str]) -> dict[str, Any]:
    rows = [
        (_utf8(module.source), module.name, _utf8(output))
        for module, output in zip(batch, outputs, strict=True)
    ]
    answer = _ask(python, rows, f"compile the modules from `{batch[0].name}` on")
    if "error" in answer:
        path, reason = answer["error"]
        if path in {output for _, _, output in rows}:
            raise OSError(None, reason)
        raise SourceFault(f"cannot read `{path}`: {reason}")
    return answer


def _ask(python: str, rows: Sequence[tuple[str, str, str]], what: str) -> dict[str, Any]:
    """Let `python` run the worker and return its answer."""
    answer = json.loads(run_python(python, [_WORKER], json.dumps(rows).encode(), what=what))
    assert isinstance(answer, dict)
    return answer


def _utf8(path: str) -> str:
    """Return `path` as a Python in UTF-8 mode spells it."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def _tag(interpreter: Interpreter) -> str:
    return "cpython-" + interpreter.minor.replace(".", "")


def _compiler(interpreter: Interpreter, say: Callable[[str], None]) -> str:
    """Return the packed interpreter where it lies, or one here that writes the same bytecode."""
    minor, target = interpreter.minor, interpreter.target
    own = os.path.join(interpreter.prefix, interpreter.executable)
    if runs_here(target.os, target.arch):
        try:
            _check(own, interpreter, None)
        except ToolFault as fault:
            why = f"the packed Python {minor} does not start here ({fault})"
        else:
            return own
    else:
        why = f"the packed Python {minor} is for {target} and does not run here"
    magic = _magic_of(interpreter)
    for other in (sys.executable, shutil.which(f"python{minor}")):
        try:
            if other and magic:
                _check(other, interpreter, magic)
                say(f"compiling with `{other}`: {why}")
                return other
        except ToolFault:
            continue
    raise ToolFault(
        f"bytecode cannot be compiled: {why}, and no other Python {minor} with the same magic"
        " number was found",
        hint=f"put a `python{minor}` on the PATH, or pack without --compile",
    )


def _check(python: str, interpreter: Interpreter, magic: str | None) -> None:
    """Raise ToolFault if `python` does not run, or writes other bytecode than is wanted."""
    try:
        answer = _ask(python, (), f"start `{python}`")
    except ValueError as error:
        raise ToolFault(f"`{python}` is no Python: it answered something else") from error
    if answer["tag"] != _tag(interpreter) or (magic and answer["magic"] != magic):
        raise ToolFault(f"`{python}` writes {answer['tag']} bytecode, not {_tag(interpreter)}")


def _magic_of(interpreter: Interpreter) -> str | None:
    """Return the magic number of an interpreter's bytecode in hex, None if it does not say it."""
    for name, pattern in _MAGIC_SOURCES:
        try:
            text = _read(os.path.join(interpreter.prefix, name.format(interpreter.minor)))
        except SourceFault:
            continue
        if found := re.search(pattern, text, re.MULTILINE):
            return (int(found[1]).to_bytes(2, "little") + b"\r\n").hex()
    return None
