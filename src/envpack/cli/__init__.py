"""The command line: words in, one call of the API, words out."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

import click

from envpack.cli import console
from envpack.cli.bundle import bundle
from envpack.cli.cache import cache
from envpack.cli.download import download
from envpack.cli.layout import layout
from envpack.cli.pack import pack
from envpack.cli.sync import sync
from envpack.cli.unbundle import unbundle
from envpack.errors import EnvpackError
from envpack.version import version_and_commit

INTERRUPTED = 130
"""128 + SIGINT, what shells expect of an interrupted command."""
COMPLETE = "_ENVPACK_COMPLETE"
"""Set by the completion of a shell, as click's documentation has it."""
DEBUG = "ENVPACK_DEBUG"
"""Set to 1, every failure comes with its traceback."""

_AFTER_INTERRUPT = {
    "download": "what was fetched by now, if anything, stays; the same command goes on from there",
    "sync": "`.venv` may be half made; the same command makes it whole",
    "unbundle": "what may be half there is made whole by the same command",
}
"""What is left behind by commands that do not finish in one step."""


def _tell_version(context: click.Context, _option: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        console.data(f"envpack {version_and_commit()}")
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_tell_version,
    help="Show the version and exit.",
)
@click.pass_context
def cli(context: click.Context) -> None:
    """Pack a synced uv environment, Python included, into one archive that runs anywhere."""
    context.obj.append(context.invoked_subcommand)


cli.add_command(pack)
cli.add_command(download)
cli.add_command(sync)
cli.add_command(bundle)
cli.add_command(unbundle)
cli.add_command(layout)
cli.add_command(cache)


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 could not, 2 wrong usage, 3 a finding."""
    _open_standard_files()
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(args))


def run(args: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    invoked: list[str] = []
    try:
        return _invoke(sys.argv[1:] if args is None else args, invoked)
    except (click.Abort, KeyboardInterrupt):
        left = _AFTER_INTERRUPT.get(invoked[0] if invoked else "", "nothing was left behind")
        console.failure(f"interrupted; {left}", None)
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except BrokenPipeError as error:  # the reader of click's help wanted no more, or it is a fault
        return 0 if console.is_of_click(error) else _failed(error)
    except Exception as error:  # noqa: BLE001 - the last net: a traceback is no answer
        return _failed(error)


def _invoke(words: list[str], invoked: list[str]) -> int:
    """Run the command that the words name, which `invoked` gets, and return the exit code.

    click's own `main` takes every EOFError for an interrupt and every EPIPE for stdout's.
    """
    if COMPLETE in os.environ:
        cli.main(words, prog_name="envpack", complete_var=COMPLETE)
    try:
        with cli.make_context("envpack", list(words), obj=invoked) as context:
            code = cli.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    return code if isinstance(code, int) else 0


def _failed(error: Exception) -> int:
    """Print why a command failed, in a sentence, and return the exit code."""
    if os.environ.get(DEBUG, "") not in ("", "0"):
        console.trace(error)
    if isinstance(error, EnvpackError):
        console.failure(str(error), error.hint)
        return error.exit_code
    if isinstance(error, click.ClickException):
        usage = isinstance(error, click.UsageError) and error.ctx
        hint = f"see `{usage.command_path} --help`" if usage else None
        console.failure(error.format_message().removesuffix("."), hint)
        return error.exit_code
    if isinstance(error, console.Unprintable):
        console.failure(str(error), None)
    elif isinstance(error, OSError) and isinstance(error.filename, str | bytes):
        console.failure(f"`{os.fsdecode(error.filename)}`: {error.strerror or error}", None)
    elif isinstance(error, OSError) and console.is_of_click(error):
        console.failure(f"cannot print the result: {error.strerror or error}", None)
    else:
        console.fault(error, version_and_commit(), DEBUG)
    return EnvpackError.exit_code


def _open_standard_files() -> None:
    """Open what the caller closed, or a file of ours would take its place and get its text."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    """Take SIGTERM for Ctrl-C, so that temporary files go here too."""
    raise KeyboardInterrupt
