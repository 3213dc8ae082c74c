"""Fixtures that all tests share, and the switch for the tests on other machines."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.shop", "tests.plum"]

SKIPS = 10
"""The lines that the summary has for skipped tests."""

# How fast this machine is today says nothing of the code.
settings.register_profile("no times", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no times")


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


@pytest.fixture(scope="session", autouse=True)
def no_user_site() -> Iterator[None]:
    """Keep the tests away from what this machine's user has installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONNOUSERSITE", "1")
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --machines, which runs the tests on other machines too."""
    parser.addoption("--machines", action="store_true", help="also run the tests on other machines")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests were skipped for which reason, in a few lines; `-rs` lists them all."""
    skipped = terminalreporter.stats.get("skipped", [])
    lines = skip_lines(
        str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        for report in skipped
    )
    if lines and "s" not in terminalreporter.reportchars:
        terminalreporter.section("skipped tests")
        for line in lines:
            terminalreporter.write_line(line)


def skip_lines(reasons: Iterator[str]) -> list[str]:
    """Return at most SKIPS lines: the number of tests for each reason, the commonest first."""
    counts = Counter(reason.removeprefix("Skipped: ") for reason in reasons).most_common()
    if len(counts) > SKIPS:
        rest = counts[SKIPS - 1 :]
        text = f"for {len(rest)} other reasons: -rs lists them"
        counts = [*counts[: SKIPS - 1], (text, sum(number for _, number in rest))]
    return [f"{number:5} {reason}" for reason, number in counts]
