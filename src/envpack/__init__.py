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
    from envpack.bundling import BundleReport, bundle
    from envpack.cache import Cache
    from envpack.download_report import DownloadReport
    from envpack.downloading import download
    from envpack.editable import EditableMode
    from envpack.laying import layout
    from envpack.layout_check import LayoutCheck, check_layout
    from envpack.layout_report import LayoutReport
    from envpack.listener import Listener
    from envpack.lock import Scope
    from envpack.native_host import BundleLibs
    from envpack.options import LinkMode
    from envpack.packing import StrictError, pack
    from envpack.report import PackReport
    from envpack.select import Filter
    from envpack.syncing import SyncReport, sync
    from envpack.unbundling import unbundle

__all__ = [
    "BundleLibs",
    "BundleReport",
    "Cache",
    "DownloadReport",
    "EditableMode",
    "EnvpackError",
    "Filter",
    "LayoutCheck",
    "LayoutReport",
    "LinkMode",
    "Listener",
    "PackReport",
    "Scope",
    "StrictError",
    "SyncReport",
    "__version__",
    "bundle",
    "check_layout",
    "download",
    "layout",
    "pack",
    "sync",
    "unbundle",
]

__version__ = VERSION

_HOMES = {
    "BundleLibs": "native_host",
    "BundleReport": "bundling",
    "Cache": "cache",
    "DownloadReport": "download_report",
    "EditableMode": "editable",
    "Filter": "select",
    "LayoutCheck": "layout_check",
    "LayoutReport": "layout_report",
    "LinkMode": "options",
    "Listener": "listener",
    "PackReport": "report",
    "Scope": "lock",
    "StrictError": "packing",
    "SyncReport": "syncing",
    "bundle": "bundling",
    "check_layout": "layout_check",
    "download": "downloading",
    "layout": "laying",
    "pack": "packing",
    "sync": "syncing",
    "unbundle": "unbundling",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are asked for: `envpack --version` needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module `envpack` has no attribute `{name}`")
    from importlib import import_module

    return getattr(import_module(f"envpack.{_HOMES[name]}"), name)
