"""Fixtures that all tests share, and the switch for the tests on other machines."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --machines, which runs the tests on other machines too."""
    parser.addoption("--machines", action="store_true", help="also run the tests on other machines")
