"""What makes a layout of a folder of distributions: metadata, interpreters' trees, texts, modes."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

from envpack.core_metadata import core_metadata, field
from envpack.errors import OutputFault
from envpack.layout_files import Text, checksums, texts
from envpack.layout_record import PYTHONS, Facts, Layout, Made
from envpack.programs import PYTHON, UV
from envpack.python_tree import unpack_python
from envpack.simple_index import METADATA
from envpack.wheelhouse import (
    DIRECTORY,
    FILE,
    PROGRAM,
    RECORD,
    Stored,
    set_mode,
    write_bytes,
    write_text,
)

SUMS = "SHA256SUMS"


class Writer:
    """Completes the folder whose distributions and programs `layout` names.

    What `old` tells of files that are still there is not read again. With `trees` the interpreters
    are unpacked, but for those of Windows.
    """

    def __init__(self, folder: str, layout: Layout, old: Layout | None, *, trees: bool) -> None:
        self._folder = folder
        self._layout = layout
        self._old = old
        self._trees = trees
        self._made: dict[str, Made] = {}
        self._facts: dict[str, Facts] = {}
        self.names: set[str] = set()

    def write(self) -> Layout:
        """Write all of it, the record last; return what it says."""
        files = tuple(self._described(file) for file in self._layout.files)
        for file in files:
            if self._trees and file.role == PYTHON and "-windows-" not in file.name:
                self._unpack(file)
        layout = replace(self._layout, files=files, facts=self._facts)
        for name, text in texts(layout).items():
            self._text(name, text)
        layout = replace(layout, made=self._made)
        self._text(SUMS, Text(checksums(layout)))
        self.names = {*self._made, *(file.path for file in files)}
        del self._made[SUMS]
        write_text(os.path.join(self._folder, RECORD), layout.text())
        self._modes({file.path for file in files if file.role == UV})
        return layout

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, *name.split("/"))

    def _described(self, file: Stored) -> Stored:
        """Note what the index tells of a distribution, and put a wheel's metadata beside it."""
        if file.role in {PYTHON, UV}:
            return file
        beside = file.path + METADATA
        old = self._old
        if old and file.path in old.facts and old.record.get(file.path) == file:
            self._facts[file.path] = old.facts[file.path]
            if beside in old.made:
                self._made[beside] = old.made[beside]
            return file
        data = core_metadata(self._path(file.path))
        digest = ""
        if file.path.endswith(".whl"):
            digest = hashlib.sha256(data).hexdigest()
            self._made[beside] = Made(digest, len(data))
            self._bytes(beside, data)
        self._facts[file.path] = Facts(field(data, "Requires-Python"), digest)
        return replace(file, version=file.version or field(data, "Version"))

    def _unpack(self, file: Stored) -> None:
        """Unpack an interpreter, unless it was unpacked before."""
        root = f"{PYTHONS}/{file.name}"
        made = self._old.made if self._old else {}
        known = {name: one for name, one in made.items() if name.startswith(f"{root}/")}
        if not known:
            part = self._path(f"{PYTHONS}/.tree.part")
            for left in (part, self._path(root)):
                shutil.rmtree(left, ignore_errors=True)
            try:
                os.makedirs(part)
                found = unpack_python(self._path(file.path), part)
                os.rename(part, self._path(root))
            except OSError as error:
                raise OutputFault(f"cannot write `{root}`: {error.strerror}") from error
            known = {f"{root}/{name}": one for name, one in found.items()}
        self._made |= known

    def _text(self, name: str, text: Text) -> None:
        data = text.data.encode()
        self._bytes(name, data)
        self._made[name] = Made(hashlib.sha256(data).hexdigest(), len(data), text.executable)

    def _bytes(self, name: str, data: bytes) -> None:
        """Write a file unless it is there as it is to be."""
        path = Path(self._path(name))
        if not (path.is_file() and path.read_bytes() == data):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(str(path), data)

    def _modes(self, programs: set[str]) -> None:
        """Let everybody read, whatever the umask was, and start what is to be started."""
        for folder, _, _ in os.walk(self._folder):
            set_mode(folder, DIRECTORY)
        for name in (*self.names, RECORD):
            made = self._made.get(name)
            executable = name in programs or (made is not None and made.executable)
            set_mode(self._path(name), PROGRAM if executable else FILE)
