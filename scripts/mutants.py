#!/usr/bin/env python3
"""Break modules that have no test of their own, a line at a time, and see that a test fails.

Each mutant is made in a copy of the checkout; one that survives is named, and is a test to write.
About a minute each on two cores: `uv run python scripts/mutants.py [MODULE ...]`.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]

PLANS = (
    ("test_select.py", "test_plan.py", "test_records.py", "test_discover.py", "cli/test_pack.py"),
    ("test_editable.py", "test_native.py", "test_secrets.py", "test_cache.py"),
)
OUTPUTS = (("test_output.py", "test_held.py"), ("cli/test_pack.py", "test_bundle.py"))
DOWNLOADS = (
    ("test_download.py", "test_builds.py"),
    ("test_bundle_options.py", "test_layout.py", "test_sync.py", "test_wheelhouse.py"),
)

MUTANTS = {
    "draft": (
        (("test_draft.py", "test_links.py", "test_plan.py"), *PLANS),
        [
            ('start = folder + "/"', "start = folder"),
            ("Disk) and not is_near(slot.entry.name, slot.target):", "Disk):"),
            ("or SHARED in base:", "and SHARED in base:"),
            ('if prefix.startswith("bin/"):', "if False:"),
            ('item.executable or prefix.startswith("bin/")', "item.executable"),
            ("content=content, relocate=False", "content=content, relocate=True"),
            ("slot._replace(entry=entry, target=None)", "slot._replace(entry=entry)"),
            ("        self._at.clear()\n", "        pass\n"),
            ("        self._names.clear()\n", "        pass\n"),
            ("if name_below(real, self._cache) is None:", "if True:"),
            ("place <= slot.place", "place < slot.place"),
            (" and (other is None or other.target is None)", ""),
            ("self._mode_of(target) if first else None", "self._mode_of(target)"),
            ("if linked is entry and is_library(entry.name):", "if False:"),
            ("if place != INTERPRETER:", "if False:"),
            ("kept=origin, dropped=slot.origin", "kept=slot.origin, dropped=origin"),
            (
                'kept="environment", dropped="interpreter"',
                'kept="interpreter", dropped="environment"',
            ),
        ],
    ),
    "links": (
        (("test_links.py", "test_plan.py"),),
        [
            ("return SHARED in posixpath.basename(name)", "return SHARED in name"),
            ("posixpath.dirname(name) == posixpath.dirname(target)", "True"),
            ("if code is not None:", "if False:"),
            ("near = _edited_alike(entry.name, target, content.path, moves)", "near = True"),
            ("if not near or executable is None or", "if not near or"),
            (
                "content=Alias(target, text, content), executable=executable",
                "content=Alias(target, text, content)",
            ),
            ("posixpath.basename(folder) not in _PROGRAMS or ", ""),
            ("is_library(base) or ", ""),
            (" or base.endswith(_IMPORTED)", ""),
            ('if head != MAGIC and not head.startswith(b"#!"):', "if False:"),
            ('if head != MAGIC and not head.startswith(b"#!"):', "if head != MAGIC:"),
            ("    if not is_library(name):\n        return False\n", ""),
            ("return edits(name) == edits(target)", "return True"),
        ],
    ),
    "merge": (
        PLANS,
        [
            (
                "is_library(interpreter, name) and not _has_static(found)",
                "is_library(interpreter, name)",
            ),
            ("owners.of(found.name) or owners.of(target)", "owners.of(found.name)"),
            ('if reason is None and not target.startswith("../"):', "if False:"),
            ('if name == "lib64" or name.startswith("lib64/"):', "if False:"),
            (" and name not in hooked", ""),
            ('executable or member.startswith("bin/")', "executable"),
            ('if draft.origin(name) in (None, "interpreter"):', "if True:"),
            ('        skip.add("lib64")', "        pass"),
            ("for dist in dists if dist.name not in shadowing]", "for dist in dists]"),
            ('if reason is None and found.kind == "special":', "if False:"),
            ("draft.scrubbed.append(name)", "pass"),
        ],
    ),
    "output": (
        OUTPUTS,
        [
            ("    sweep_beside(os.path.abspath(target))\n", ""),
            ("if kind.folder and not _is_ours(target):", "if False:"),
            ("if not kind.folder and not os.path.isfile(target):", "if False:"),
            (
                "            put(new, path)\n        except",
                "            os.replace(new, path)\n        except",
            ),
            ("not os.listdir(folder) or ", ""),
            (
                "if os.path.islink(folder) or not os.path.isdir(folder):",
                "if not os.path.isdir(folder):",
            ),
            ("            elif _is_ours(path):\n", "            elif True:\n"),
        ],
    ),
    "walk": (
        (("test_walk.py", "test_plan.py"), *PLANS),
        [
            ("bool(status.st_mode & stat.S_IXUSR),", "bool(status.st_mode & stat.S_IXGRP),"),
            ("if key in above or (os", "if (os"),
            (' or (os.path.dirname(item.path) + "/").startswith(real + "/"):', ":"),
            ("(errno.ENOENT, errno.ENOTDIR)", "(errno.ENOENT,)"),
            ("waiting += reversed(below)", "waiting += below"),
            ("if base in passed:", "if False:"),
            ('else "special"\n        return _found', 'else "file"\n        return _found'),
            ("if error.errno == errno.ELOOP:", "if False:"),
        ],
    ),
    "acquire": (
        DOWNLOADS,
        [
            ("choice.targets == () or not", "not"),
            ("needed or (self.keep_sdists and isinstance(choice.source, PackageSdist))", "needed"),
            ('if self.taken.get(place, sha256) != sha256 != "":', "if False:"),
            (
                "item.kept or self.keep_sdists or not choice.targets",
                "item.kept or self.keep_sdists",
            ),
            ('                key += f"#{source.subdirectory}"', "                pass"),
            (" and stored.name == str(choice.package.name)", ""),
            (")) == stored.sha256", ")) != ''"),
            ("stored.built.platform != str(self.workshop.here)", "False"),
            ('url=shown(source.url or ""),', 'url=source.url or "",'),
            ('index=shown(str(package.index or "")),', 'index=str(package.index or ""),'),
            ("    return shown(url)\n", "    return url\n"),
            (", []).extend(one.targets)", ", one.targets)"),
            ('if not name or "\\\\" in name or name.startswith("."):', "if not name:"),
            ("if mine or item.sdist is None:", "if mine:"),
            ("if not item.kept:", "if False:"),
            ("elif item.at != target:", "elif False:"),
            ("if not wanting or (served and not mine):", "if not wanting or served:"),
        ],
    ),
}
"""Tests that speak of a module, those that need not be slow first, and what to break in it."""


def failing(folder: Path, tests: tuple[str, ...]) -> bool:
    """Say whether a test fails."""
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-n2", "--dist=loadgroup"]
    words += ["-p", "no:cacheprovider", *(f"tests/{name}" for name in tests)]
    ties = {"PYTHONPATH": os.pathsep.join([str(folder / "src"), str(folder)])}
    done = subprocess.run(
        words, cwd=folder, env={**os.environ, **ties}, capture_output=True, text=True, check=False
    )
    failed = re.search(r"^\d+ (?:failed|error)", done.stdout, re.MULTILINE) is not None
    if not failed and done.returncode:
        raise SystemExit(f"error: pytest says\n{done.stdout}{done.stderr}")
    return failed


def killed(
    folder: Path, module: str, tests: tuple[tuple[str, ...], ...], old: str, new: str
) -> bool:
    """Say whether a test fails against one mutant."""
    path = folder / f"src/envpack/{module}.py"
    text = path.read_text("utf-8")
    if text.count(old) != 1:
        raise SystemExit(f"error: `{old}` is {text.count(old)} times in {module}.py")
    path.write_text(text.replace(old, new), "utf-8")
    try:
        return any(failing(folder, some) for some in tests)
    finally:
        path.write_text(text, "utf-8")


def main() -> int:
    """Try all mutants of the modules that were named, and say which survive."""
    parser = argparse.ArgumentParser(prog="scripts/mutants.py", description=__doc__)
    parser.add_argument("module", nargs="*", choices=[*MUTANTS, []], help="only this; repeatable")
    tried = alive = 0
    with tempfile.TemporaryDirectory(prefix="envpack-mutants-") as name:
        folder = Path(name) / "checkout"
        shutil.copytree(CHECKOUT, folder, ignore=shutil.ignore_patterns(".git", "__pycache__"))
        for module in parser.parse_args().module or MUTANTS:
            tests, mutants = MUTANTS[module]
            if failing(folder, sum(tests, ())):
                raise SystemExit(f"error: the tests of {module}.py fail without a mutant")
            for old, new in mutants:
                tried += 1
                if not killed(folder, module, tests, old, new):
                    alive += 1
                    print(
                        f"survives in {module}.py: `{old.strip()}` as `{new.strip()}`", flush=True
                    )
    print(f"{tried} mutants, {alive} survive")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
