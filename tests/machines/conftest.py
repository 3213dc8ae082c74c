"""Fixtures of the other machines; all tests in this folder need `--machines`."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .lab.apt import SUITES
from .lab.cache import cache_folder
from .lab.interpreters import MINORS, Managed
from .lab.missing import required
from .lab.projects import Project
from .lab.sandbox import Sandbox
from .lab.session import Lab
from .packs import Packs

HERE = Path(__file__).parent
WITHOUT = "other machines are tested with --machines"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests of this folder `machines`, and skip them unless they are asked for."""
    asked = bool(config.getoption("--machines", default=False)) or required()
    for item in items:
        if HERE not in item.path.parents:
            continue
        item.add_marker(pytest.mark.machines)
        if not asked:
            item.add_marker(pytest.mark.skip(reason=WITHOUT))


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a folder of this session on the file system of the cache."""
    folder = tmp_path_factory.mktemp("machines")
    cache = cache_folder()
    if folder.stat().st_dev == cache.stat().st_dev:
        yield folder
        return
    folder = Path(tempfile.mkdtemp(prefix="session-", dir=cache))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def lab(work: Path) -> Lab:
    """Give the machines of this session."""
    return Lab(work)


@pytest.fixture(scope="session")
def packs(lab: Lab) -> Packs:
    """Give the packs of this session."""
    return Packs(lab)


@pytest.fixture(scope="session", params=SUITES)
def std(request: pytest.FixtureRequest, lab: Lab) -> Sandbox:
    """Give the `std` root of each suite."""
    return lab.sandbox(str(request.param))


@pytest.fixture(scope="session")
def managed_39(lab: Lab) -> Managed:
    """Give the real 3.9, installed by uv."""
    return lab.managed("3.9")


@pytest.fixture(scope="session")
def managed_312(lab: Lab) -> Managed:
    """Give the shaped 3.12, installed by uv."""
    return lab.managed("3.12")


@pytest.fixture(scope="session")
def managed_313(lab: Lab) -> Managed:
    """Give the shaped 3.13, installed by uv."""
    return lab.managed("3.13")


@pytest.fixture(scope="session", params=MINORS)
def managed_python(request: pytest.FixtureRequest, lab: Lab) -> Managed:
    """Give each interpreter that uv installed."""
    return lab.managed(str(request.param))


@pytest.fixture(scope="session")
def project_a(lab: Lab, managed_python: Managed) -> Project:
    """Give the editable workspace for each interpreter."""
    return lab.project("a", managed_python.minor)


@pytest.fixture(scope="session")
def project_b(lab: Lab, managed_python: Managed) -> Project:
    """Give numpy, pandas, requests, ipykernel and black for each interpreter."""
    return lab.project("b", managed_python.minor)


@pytest.fixture(scope="session")
def project_c(lab: Lab, managed_python: Managed) -> Project:
    """Give an environment without a project for each interpreter."""
    return lab.project("c", managed_python.minor)


@pytest.fixture(scope="session")
def project_d(lab: Lab, managed_python: Managed) -> Project:
    """Give an environment of links into uv's cache for each interpreter."""
    return lab.project("d", managed_python.minor)
