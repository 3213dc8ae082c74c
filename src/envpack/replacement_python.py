"""The Python that goes in place of the one an environment was made on."""

from __future__ import annotations

import os
from collections.abc import Callable

from envpack import foreign
from envpack.errors import EnvironmentFault
from envpack.uv import Uv


def executable_of(word: str, uv: Callable[[], Uv]) -> str:
    """Return the real path of the executable that a word means.

    A path is that of an executable or of a prefix; a Python of a virtual environment stands for the
    one it was made on. Anything else is a request of uv's, such as "3.12". Raises EnvironmentFault
    for a path that is none of these, UvFault for a request that uv finds nothing for.
    """
    if os.sep not in word and not os.path.lexists(word):
        return os.path.realpath(uv().find_python(word))
    path = _in_prefix(word) if os.path.isdir(word) else word
    if path is None:
        raise EnvironmentFault(f"`{word}` holds no `bin/python3`, so it is no Python's prefix")
    if not os.path.isfile(path):
        raise EnvironmentFault(f"there is no Python at `{word}`")
    if not os.access(path, os.X_OK):
        raise EnvironmentFault(
            f"`{path}` may not be executed", hint=f"if it is a Python: `chmod +x {path}`"
        )
    return _base_of(path)


def _in_prefix(folder: str) -> str | None:
    for name in ("python3", "python"):
        if os.path.lexists(path := os.path.join(folder, "bin", name)):
            return path
    return None


def _base_of(path: str) -> str:
    """Follow links, and the `home` of a virtual environment whose Python is a copy (PEP 405)."""
    real = os.path.realpath(path)
    config = os.path.join(os.path.dirname(os.path.dirname(real)), "pyvenv.cfg")
    pairs = [
        line.partition("=") for line in foreign.any_text(config).replace("\0", "").splitlines()
    ]
    home = next((value.strip() for key, _, value in pairs if key.strip().lower() == "home"), "")
    for name in ("python3", "python"):
        if home and os.path.isfile(found := os.path.join(home, name)):
            return os.path.realpath(found)
    return real
