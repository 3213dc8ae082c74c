"""What happens when this machine cannot provide another one."""

import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import pytest

REQUIRE = "ENVPACK_REQUIRE_MACHINES"

P = ParamSpec("P")
T = TypeVar("T")


class MissingMachine(Exception):
    """A machine cannot be made here; the text is the reason."""


def required() -> bool:
    """Tell whether a missing machine is a failure: `ENVPACK_REQUIRE_MACHINES=1`."""
    return os.environ.get(REQUIRE, "") == "1"


def require(make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return `make(*args, **kwargs)`; skip or fail the test when a machine is missing.

    A skip carries the reason; with `ENVPACK_REQUIRE_MACHINES=1` the test fails with it.
    """
    try:
        return make(*args, **kwargs)
    except MissingMachine as missing:
        reason = f"missing machine: {missing}"
    if required():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
