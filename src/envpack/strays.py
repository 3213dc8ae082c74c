"""`.pth` files of no editable install that lead out of the environment, by lines or by code.

A line of code is read, never run. What it puts on sys.path by a literal is a stray like any line;
any other folder of this machine that it names is looked for in the archive. Source: site.py's
`addpackage`, which runs lines that begin with `import`.
"""

from __future__ import annotations

import ast
import os
import posixpath
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from envpack.distributions import Distribution
from envpack.editable_hooks import Pth, egg_links, lies_in, outside, read_pth
from envpack.environment import Environment

_HOSTS = (
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
)
"""Folders that every machine has: a line of code may well mean those of the other one."""


class Named(NamedTuple):
    """A literal path in a line of code, which is `line` of its file's harmless ones.

    `start` and `stop` are where the literal is, in bytes of UTF-8; `searched` says that it goes on
    sys.path.
    """

    line: int
    start: int
    stop: int
    path: str
    searched: bool


class StrayPath(NamedTuple):
    """A `.pth` of no editable distribution with lines that lead out of the environment.

    `file` is relative to the environment's root; `paths` are the directories outside, and `code`
    those that lines of code put on sys.path.
    """

    file: str
    paths: tuple[str, ...]
    pth: Pth
    code: tuple[Named, ...] = ()

    @property
    def name(self) -> str:
        """The file's own name."""
        return os.path.basename(self.file)

    @property
    def leads_to(self) -> tuple[str, ...]:
        """All directories outside."""
        return (*self.paths, *(named.path for named in self.code))


def stray_paths(
    environment: Environment, distributions: Sequence[Distribution]
) -> tuple[StrayPath, ...]:
    """Find the `.pth` files with lines leading out, beside those of editable distributions.

    Lines that stay in the environment or its interpreter are no strays. Those of easy-install.pth
    that an `.egg-link` accounts for are none either.
    """
    site = environment.site_packages
    known = {row.name for each in distributions if each.editable for row in each.rows()}
    linked = {link.code for link in egg_links(environment)}
    found = []
    for name, pth in _files(environment):
        file = f"{site}/{name}"
        if file in known:
            continue
        leading_out = outside(environment, pth.paths)
        code = tuple(
            named
            for named in named_in(pth)
            if named.searched and outside(environment, [named.path]) and os.path.isdir(named.path)
        )
        if leading_out or code:
            paths = tuple(path for path in leading_out if path not in linked)
            found.append(StrayPath(file, paths, pth, code))
    return tuple(found)


def named_by_code(environment: Environment) -> frozenset[str]:
    """Return the folders of this machine that code of a `.pth` names, whatever it does with them.

    What every machine has is left out, and so are the shortest paths.
    """
    named = {each.path for _, pth in _files(environment) for each in named_in(pth)}
    return frozenset(
        path
        for path in outside(environment, sorted(named))
        if path.count("/") > 1
        and os.path.exists(path)
        and not any(lies_in(path, folder) for folder in _HOSTS)
    )


def named_in(pth: Pth) -> Iterator[Named]:
    """Yield the absolute paths in a file's lines of code."""
    for number, line in enumerate(pth.harmless):
        if line.startswith("#") or "/" not in line:
            continue
        try:
            tree = ast.parse(line)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue  # site.py will say so, and go on
        searched = {id(node) for node in _searched(tree)}
        for node in ast.walk(tree):
            match node:
                case ast.Constant(value=str(text), end_col_offset=int(stop)) if text[:1] == "/":
                    path = posixpath.normpath("/" + text.strip("/"))
                    yield Named(number, node.col_offset, stop, path, id(node) in searched)


def _searched(tree: ast.Module) -> Iterator[ast.expr]:
    """Yield the expressions of a module that go on sys.path."""
    for node in tree.body:
        match node:
            case ast.Expr(
                ast.Call(
                    func=ast.Attribute(
                        value=ast.Attribute(attr="path"), attr="insert" | "append" | "extend"
                    )
                    | ast.Attribute(attr="addsitedir")
                    | ast.Name(id="addsitedir"),
                    args=args,
                )
            ):
                yield from args
                for arg in args:
                    yield from arg.elts if isinstance(arg, ast.List | ast.Tuple) else ()
            case ast.AugAssign(
                target=ast.Attribute(attr="path"),
                value=ast.List(elts=parts) | ast.Tuple(elts=parts),
            ):
                yield from parts


def rewritten(stray: StrayPath, places: dict[str, str], site: str) -> tuple[str, ...]:
    """Return the harmless lines, each path of `places` as seen from `site`, both in the archive.

    The file's own folder is a variable of site.py's while it runs a line.
    """
    lines = [line.encode("utf-8", "surrogateescape") for line in stray.pth.harmless]
    for named in reversed(stray.code):
        way = posixpath.relpath(f"/{places[named.path]}", f"/{site}")
        expression = (
            "__import__('os').path.normpath("
            f"__import__('sys')._getframe(1).f_locals['sitedir']+{'/' + way!r})"
        )
        line = lines[named.line]
        lines[named.line] = line[: named.start] + expression.encode() + line[named.stop :]
    return tuple(line.decode("utf-8", "surrogateescape") for line in lines)


def _files(environment: Environment) -> Iterator[tuple[str, Pth]]:
    """Yield each `.pth` of site-packages with its name, sorted."""
    folder = os.path.join(environment.root, environment.site_packages)
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.endswith(".pth") and os.path.isfile(path):
            yield name, read_pth(path)
