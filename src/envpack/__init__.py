"""envpack packs a synced uv environment, Python included, into one archive that runs anywhere.

import envpack

report = envpack.pack(".venv", "env.tar.gz")
print(report.digest, report.leaks)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envpack.errors import EnvpackError
from envpack.version import VERSION

if TYPE_CHECKING:
    from envpack.editable import EditableMode
    from envpack.native_host import BundleLibs
    from envpack.options import LinkMode
    from envpack.packing import Listener, StrictError, pack
    from envpack.report import PackReport
    from envpack.select import Filter

__all__ = [
    "BundleLibs",
    "EditableMode",
    "EnvpackError",
    "Filter",
    "LinkMode",
    "Listener",
    "PackReport",
    "StrictError",
    "__version__",
    "pack",
]

__version__ = VERSION

_HOMES = {
    "BundleLibs": "native_host",
    "EditableMode": "editable",
    "Filter": "select",
    "LinkMode": "options",
    "Listener": "packing",
    "PackReport": "report",
    "StrictError": "packing",
    "pack": "packing",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are asked for: `envpack --version` needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module `envpack` has no attribute `{name}`")
    from importlib import import_module

    return getattr(import_module(f"envpack.{_HOMES[name]}"), name)
