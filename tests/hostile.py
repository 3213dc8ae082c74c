"""Archives that mean harm, and what they must not have done."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st

FILE, FOLDER, LINK, HARD = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


class Planted(NamedTuple):
    """A member: a file that holds its number in the archive, a folder, or a link to `target`."""

    kind: bytes
    name: str
    target: str = ""


def _paths(*parts: str, longest: int) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(parts), min_size=1, max_size=longest).map("/".join)


# Few names, so that members meet: names twice, files below links, folders over files.
_NAMES = _paths("a", "b", "c", "d", longest=3) | _paths("a", "b", ".", "..", "", longest=4)
_GOALS = (
    _paths("a", "b", "c", "d", "..", "..", longest=4)
    | _paths("..", longest=7)
    | st.sampled_from(["/", "/etc", ".", "", "a/", "secret", "../../secret", "../../../secret"])
)

_ONE = st.one_of(
    st.builds(Planted, st.just(FILE), _NAMES),
    st.builds(Planted, st.just(FOLDER), _NAMES),
    st.builds(Planted, st.just(LINK), _NAMES, _GOALS),
    st.builds(Planted, st.just(LINK), _NAMES, _GOALS),
    st.builds(Planted, st.just(HARD), _NAMES, _NAMES | _GOALS),
)
_BELOW = st.builds(  # a link to a folder outside, and what is to be written there
    lambda name, ups, kind, inner: [
        Planted(LINK, name, "/".join([".."] * ups)),
        Planted(kind, f"{name}/{inner}", "a"),
    ],
    st.sampled_from(["a", "b", "a/b"]),
    st.integers(1, 6),
    st.sampled_from([FILE, FOLDER, LINK, LINK, HARD]),
    st.sampled_from(["x", "secret", "b/x"]),
)
PLANTED = st.lists(_ONE.map(lambda one: [one]) | _BELOW, min_size=1, max_size=6).map(
    lambda found: [each for some in found for each in some]
)
"""Members of a hostile archive."""


def archived(path: Path, planted: Iterable[Planted], top: str = "") -> Path:
    """Write members into a tar archive, each below `top`."""
    with tarfile.open(path, "w") as tar:
        for number, (kind, name, target) in enumerate(planted):
            info = tarfile.TarInfo(top + name)
            info.type, data = kind, str(number).encode() if kind == FILE else b""
            info.size = len(data)
            info.linkname = top + target if kind == HARD else target
            tar.addfile(info, io.BytesIO(data))
    return path


class Surroundings:
    """A folder to unpack into, deep in others that hold a secret each, and must not change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.target = folder / "a/b/c/target"
        self.target.parent.mkdir(parents=True)
        for above in (self.target.parent, *self.target.parents):
            if above.is_relative_to(folder):
                (above / "secret").write_text("secret", encoding="utf-8")
        self._before = dict(self._outside())

    def _outside(self) -> Iterator[tuple[str, object]]:
        for above, folders, names in os.walk(self.folder):
            folders[:] = [name for name in folders if Path(above, name) != self.target]
            for name in (*folders, *names):
                path = Path(above, name)
                told = "" if path.is_dir() else (path.read_text("utf-8"), path.stat().st_nlink)
                yield str(path), told

    def check(self) -> None:
        """Assert that nothing outside changed or came in, and that no link leads out."""
        assert dict(self._outside()) == self._before
        for above, folders, names in os.walk(self.target):
            for name in (*folders, *names):
                path = Path(above, name)
                if path.is_symlink():
                    assert Path(os.path.realpath(path)).is_relative_to(self.target), path
                elif path.is_file():
                    assert path.read_text("utf-8") != "secret", path


def acceptable(planted: Iterable[Planted]) -> dict[str, Planted] | None:
    """Return what there is afterwards by its name, None if the archive is to be refused.

    A model without a file system: all names are known, so each link is followed among them.
    """
    found: dict[str, Planted] = {}
    for number, (kind, name, target) in enumerate(planted):
        name = name.rstrip("/") if kind == FOLDER else name  # noqa: PLW2901 - as tarfile does
        parts = [part for part in name.split("/") if part not in {"", "."}]
        plain = "/".join(parts)
        if ".." in parts or name.startswith("/") or (not parts and kind != FOLDER):
            return None
        aboves = ["/".join(parts[:count]) for count in range(1, len(parts))]
        if kind == FOLDER and plain:
            aboves.append(plain)
        if any(found.get(above, Planted(FOLDER, "")).kind != FOLDER for above in aboves):
            return None
        found |= {above: Planted(FOLDER, above) for above in aboves}
        if kind == FOLDER:
            continue
        if kind == HARD:
            goal = "/".join(part for part in target.split("/") if part not in {"", "."})
            source = found.get(goal)
            if target.startswith("/") or source is None or source.kind != FILE or plain in found:
                return None
            found[plain] = source
            continue
        new = Planted(kind, plain, str(number) if kind == FILE else target)
        if plain in found and (kind, found[plain]) != (LINK, new):
            return None
        found[plain] = new
    links = [each for each in found.values() if each.kind == LINK]
    return found if all(_ends(each.name, found, 0) is not None for each in links) else None


def _ends(name: str, found: dict[str, Planted], depth: int) -> list[str] | None:
    here, text = name.split("/")[:-1], found[name].target
    if depth > 20 or not text or text.startswith("/"):
        return None
    for part in text.split("/"):
        if part == "..":
            if not here:
                return None
            here = here[:-1]
        elif part not in {"", "."}:
            here = [*here, part]
            inner = "/".join(here)
            if inner in found and found[inner].kind == LINK:
                ended = _ends(inner, found, depth + 1)
                if ended is None:
                    return None
                here = ended
    return here
