"""uv's options for extras, groups and members, shared by the commands that read a lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from envpack.lock import Scope

_F = TypeVar("_F", bound=Callable[..., Any])
_FLAGS = ("all_extras", "all_groups", "all_packages", "no_dev")
_LISTS = ("extras", "groups", "packages")


def scope_options(command: _F) -> _F:
    """Add the options to a command, in the order of uv's own help."""
    options = (
        click.option("--extra", "extras", multiple=True, metavar="E", help="Also an extra."),
        click.option("--all-extras", is_flag=True, help="Also all extras."),
        click.option("--group", "groups", multiple=True, metavar="G", help="Also a group."),
        click.option("--all-groups", is_flag=True, help="Also all dependency groups."),
        click.option("--no-dev", is_flag=True, help="Without the group `dev`."),
        click.option("--package", "packages", multiple=True, metavar="P", help="This member."),
        click.option("--all-packages", is_flag=True, help="All members of the workspace."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def scope_of(options: dict[str, Any]) -> Scope | None:
    """Take the words of the options out of `options`; None if there are none."""
    from envpack.lock import ROOT, Scope

    lists = {name: options.pop(name) for name in _LISTS}
    flags = {name: options.pop(name) for name in _FLAGS}
    if not any([*lists.values(), *flags.values()]):
        return None
    return Scope(
        extras=lists["extras"],
        groups=lists["groups"],
        packages=lists["packages"] or (ROOT,),
        all_extras=flags["all_extras"],
        all_groups=flags["all_groups"],
        all_packages=flags["all_packages"],
        no_dev=flags["no_dev"],
    )
