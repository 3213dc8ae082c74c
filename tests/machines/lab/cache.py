"""The folder of costly downloads; everything in it is made again when it is gone."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def cache_folder() -> Path:
    """Return the cache folder, made if needed.

    `$ENVPACK_TEST_CACHE`, else `$XDG_CACHE_HOME/envpack-tests`, else
    `~/.cache/envpack-tests`.
    """
    named = os.environ.get("ENVPACK_TEST_CACHE")
    if named:
        folder = Path(named).absolute()
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        folder = Path(base).absolute() / "envpack-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def build_once(key: str, build: Callable[[Path], None]) -> Path:
    """Return the folder `key` of the cache, filled by `build` if it is not there.

    `build` fills an empty folder that is renamed to its place when it returns, so what it
    writes must not name that folder. A lock keeps parallel workers from building twice; a
    build that was killed leaves a `.key@…` folder, which the next one removes. The key ends
    with the version of the recipe.
    """
    cache = cache_folder()
    done = cache / key
    if done.is_dir():
        return done
    with open(cache / f"{key}.lock", "a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.is_dir():
            return done
        for left in cache.glob(f".{key}@*"):
            shutil.rmtree(left, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{key}@", dir=cache))
        try:
            build(fresh)
            fresh.chmod(0o755)
            fresh.rename(done)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
    return done
