"""Fixtures that all tests share, and the switch for the tests on other machines."""

from __future__ import annotations

import signal

import pytest

pytest_plugins = ["tests.shop"]


def pytest_configure() -> None:
    """Let Ctrl-C be tested where the tests themselves were started in the background.

    A shell starts background jobs with SIGINT ignored, and every child inherits that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --machines, which runs the tests on other machines too."""
    parser.addoption("--machines", action="store_true", help="also run the tests on other machines")
