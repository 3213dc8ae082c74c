"""Takes back what a bundle installed: in DIR, and beside it.

Needs Python 3.9 and nothing else, as it travels in the bundle.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
from typing import Any, Callable, Dict, List, Set, Tuple

if not __package__:  # on the far side
    from containing import leading_out  # type: ignore[import-not-found]
    from owned import Owned  # type: ignore[import-not-found]
    from placing import (  # type: ignore[import-not-found]
        MANIFEST,
        OWN,
        differing,
        own_folder,
        sources_of,
    )
    from windows import remove, with_copies  # type: ignore[import-not-found]
else:
    from envpack.bundled.containing import leading_out
    from envpack.bundled.owned import Owned
    from envpack.bundled.placing import MANIFEST, OWN, differing, own_folder, sources_of
    from envpack.bundled.windows import remove, with_copies

SETTINGS = "uv.toml"
SAVED = "uv.toml.before-envpack"
_TOLD = 5


def uninstall(
    target: str, manifest: Dict[str, Any], drop_python: Callable[[Tuple[str, str]], None]
) -> List[str]:
    """Remove what a bundle installed in `target`, and return what to say.

    Sources that were edited, and files of others, stay. `drop_python` uninstalls the Python of a
    directory and a key. What says what is there goes last: a run that was killed can be repeated.
    """
    lines = []
    owned = Owned(target)
    unused, said = owned.release()
    if unused:
        drop_python(unused)
        said = f"Removed Python: {os.path.join(*unused)}"
    lines += [line for line in (said, owned.remove_uv()) if line]
    root = os.path.normpath(os.path.join(target, manifest["root"]))
    for name in (".venv", ".venv.part", ".venv.old"):
        _remove_tree(os.path.join(root, name))
    _remove_made(target, owned.told.get("made", []))
    stays = [] if manifest.get("joins") else _remove_sources(target, manifest)
    _restore_settings(target, root, manifest, keep=bool(stays) or bool(manifest.get("joins")))
    own = own_folder(target)
    for name in os.listdir(own):
        if name != MANIFEST:
            _remove_tree(os.path.join(own, name))
    os.unlink(os.path.join(own, MANIFEST))
    os.rmdir(own)
    lines.append(f"Uninstalled {manifest['project']} from {target}")
    if stays:
        told = ", ".join(f"`{name}`" for name in stays[:_TOLD])
        more = f" and {len(stays) - _TOLD} more" if len(stays) > _TOLD else ""
        lines.append(f"These were edited, and stay: {told}{more}")
    with contextlib.suppress(OSError):
        os.rmdir(target)
    return lines


def files_in(folder: str) -> Set[str]:
    """Return the files and folders of DIR but the bundle's own and environments."""
    found = set()
    for above, folders, names in os.walk(folder):
        skipped = {OWN, f"{OWN}.old", ".venv", ".venv.part", ".venv.old", ".git"}
        folders[:] = [name for name in folders if name not in skipped]
        found |= {os.path.relpath(os.path.join(above, name), folder) for name in (*names, *folders)}
    return found


def _remove_made(target: str, names: List[str]) -> None:
    """Remove what builds have left beside the sources."""
    for name in sorted(names, reverse=True):  # what is in a folder before the folder
        path = os.path.normpath(os.path.join(target, name))
        if leading_out(target, [name]) or not path.startswith(os.path.join(target, "")):
            continue  # no build's: the record was written by somebody else
        if os.path.isfile(path) and not os.path.islink(path):
            os.unlink(path)
        _remove_empty(path, target)


def _remove_sources(target: str, manifest: Dict[str, Any]) -> List[str]:
    """Remove the sources that are what was bundled; return the others that are there."""
    files = {
        name: told
        for name, told in with_copies(sources_of(manifest)).items()
        if os.path.basename(name) not in {SETTINGS, SAVED}
    }
    edited = set(differing(target, files))
    for name in sorted(files, reverse=True):
        path = os.path.join(target, *name.split("/"))
        if name in edited:
            continue
        os.unlink(path)
        above, base = os.path.split(path)
        stem, suffix = os.path.splitext(base)
        if suffix == ".py":  # what Python made of it
            for compiled in glob.glob(
                f"{glob.escape(above)}/__pycache__/{glob.escape(stem)}.*.pyc"
            ):
                os.unlink(compiled)
        _remove_empty(os.path.join(above, "__pycache__"), target)
    return sorted(name for name in edited if os.path.lexists(os.path.join(target, name)))


def _restore_settings(target: str, root: str, manifest: Dict[str, Any], *, keep: bool) -> None:
    """Take back uv.toml, unless it was edited since; what it replaced comes back with `keep`."""
    path, saved = os.path.join(root, SETTINGS), os.path.join(root, SAVED)
    name = os.path.relpath(path, target).replace(os.sep, "/")
    told = manifest["files"].get(name)
    if told is None or differing(target, {name: told}):
        return
    os.unlink(path)
    if os.path.isfile(saved):
        if keep:
            os.replace(saved, path)
        else:
            os.unlink(saved)
    _remove_empty(root, target)


def _remove_tree(path: str) -> None:
    remove(path)
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)  # says why it cannot go
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _remove_empty(folder: str, top: str) -> None:
    """Remove a folder, and those above it below `top`, as long as they are empty."""
    while folder != top:
        try:
            os.rmdir(folder)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError:
            return
        folder = os.path.dirname(folder)
