"""Fixtures that all tests share, and the switch for the tests on other machines."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

pytest_plugins = ["tests.shop", "tests.plum"]


def pytest_configure() -> None:
    """Let Ctrl-C be tested where the tests themselves were started in the background.

    A shell starts background jobs with SIGINT ignored, and every child inherits that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests away from the user's cache; they share one of their own."""
    before = os.environ.get("ENVPACK_CACHE_DIR")
    os.environ["ENVPACK_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["ENVPACK_CACHE_DIR"]
    else:
        os.environ["ENVPACK_CACHE_DIR"] = before


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --machines, which runs the tests on other machines too."""
    parser.addoption("--machines", action="store_true", help="also run the tests on other machines")
