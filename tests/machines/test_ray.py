"""The proof of a pack on Ray: a node without any Python but its own, and the job's in the pack."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .lab.interpreters import uv_environment
from .lab.sandbox import USER
from .lab.session import Lab
from .lab.tools import call, uv_program
from .packs import envpack

RAY = "ray==2.60.0"
MINOR = "3.12"
NODE = "/node"
LATE = "The current node timed out during startup"
STARTS = 3
JOB = """\
import json
import ray

{usage}

@ray.remote
def where():
    import os
    import shutil
    import site
    import sys
    facts = {{
        "executable": sys.executable,
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "cwd": os.getcwd(),
        "user_site": site.ENABLE_USER_SITE,
        "python3": shutil.which("python3"),
        "ray": ray.__file__,
    }}
    import rich
    return {{**facts, "rich": rich.__file__}}

print(json.dumps(ray.get(where.remote())))
"""
PROJECT = """\
[project]
name = "{name}"
version = "1.0"
requires-python = ">=3.12"
dependencies = {dependencies}

[tool.uv]
package = false
"""


@dataclass(frozen=True)
class Machine:
    """The folders of a node and of a job, and what `--for ray` printed."""

    node: Path
    job: Path
    usage: str


def packed(
    lab: Lab, folder: Path, name: str, dependencies: list[str], *options: str
) -> dict[str, Any]:
    """Sync a project on the Python that uv manages, pack it beside itself, return the report."""
    root = folder / name
    root.mkdir(parents=True)
    text = PROJECT.format(name=name, dependencies=json.dumps(dependencies))
    (root / "pyproject.toml").write_text(text, encoding="utf-8")
    variables = uv_environment(lab.managed(MINOR).install_dir)
    call([uv_program(), "sync", "--python", MINOR], cwd=root, env=variables)
    words = ["pack", "--json", *options]
    report: dict[str, Any] = json.loads(envpack(words, env=variables, cwd=root))
    return report


@pytest.fixture(scope="module")
def machine(lab: Lab, work: Path) -> Machine:
    """Give a node that has Ray alone, in an unpacked pack, and a job that has rich too."""
    folder = work / "ray"
    packed(lab, folder, "node", [RAY], "--format", "dir", "-o", "unpacked")
    report = packed(lab, folder, "job", [RAY, "rich"], "--for", "ray", "-o", "env.tar.gz")
    return Machine(folder / "node/unpacked", folder / "job", "\n".join(report["usage"]))


def run(lab: Lab, machine: Machine, folder: Path, usage: str) -> tuple[int, str, str]:
    """Run a job on the node; again if Ray itself did not start within the 30 s it allows itself."""
    for _ in range(STARTS):
        code, out, err = run_once(lab, machine, folder, usage)
        if code == 0 or LATE not in err:
            break
    return code, out, err


def run_once(lab: Lab, machine: Machine, folder: Path, usage: str) -> tuple[int, str, str]:
    """Run a job as another user on the node, which has bash and no network; Ray dies with it."""
    (folder / "job.py").write_text(JOB.format(usage=usage), encoding="utf-8")
    done = lab.sandbox(kind="shells").run(
        [f"{NODE}/bin/python", "/srv/job.py"],
        binds={
            NODE: machine.node,
            "/srv/job.py": folder / "job.py",
            "/srv/env.tar.gz": machine.job / "env.tar.gz",
        },
        env={"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"},
        uid=USER,
        cwd="/srv",
        home="/tmp",
        timeout=180,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_job_runs_from_the_archive(lab: Lab, machine: Machine, tmp_path: Path) -> None:
    """The lines that `--for ray` prints: the worker's Python and packages are the archive's."""
    code, out, err = run(lab, machine, tmp_path, machine.usage)
    assert code == 0, err
    found = json.loads(out.splitlines()[-1])
    place = found["cwd"]
    assert "/runtime_resources/working_dir_files/" in place
    assert found["executable"] == f"{place}/bin/python"
    assert found["prefix"] == found["base_prefix"] == place
    assert found["user_site"] is False
    assert found["python3"] is None
    site = f"{place}/lib/python{MINOR}/site-packages"
    assert found["ray"] == f"{site}/ray/__init__.py"
    assert found["rich"] == f"{site}/rich/__init__.py"


def test_the_node_alone_does_not_have_it(lab: Lab, machine: Machine, tmp_path: Path) -> None:
    """The check above can fail: without the archive the worker is the node's."""
    code, out, err = run(lab, machine, tmp_path, "ray.init()")
    assert (code, out) == (1, "")
    assert "No module named 'rich'" in err


UNPACK = """\
import os, sys
from ray._private.runtime_env.packaging import untar_package
untar_package("/srv/env.tar.gz", "/tmp/there", False, False)
print(sorted(name for name in os.listdir("/tmp/there/lib") if name.startswith("libpython3.1")))
"""


def test_ray_drops_links(lab: Lab, machine: Machine, work: Path) -> None:
    """So an archive for it has copies: with links, which one may ask for, names are lost."""
    folder = work / "ray-links"
    packed(lab, folder, "job", ["rich"], "--links", "hard", "-o", "env.tar.gz")
    found = []
    for archive in (folder / "job/env.tar.gz", machine.job / "env.tar.gz"):
        done = lab.sandbox(kind="shells").run(
            [f"{NODE}/bin/python", "-c", UNPACK],
            binds={NODE: machine.node, "/srv/env.tar.gz": archive},
            uid=USER,
            home="/tmp",
        )
        assert done.returncode == 0, done.stderr
        found.append(done.stdout.strip())
    one = f"libpython{MINOR}.so.1.0"
    assert found == [str([one]), str([f"libpython{MINOR}.so", one])]
