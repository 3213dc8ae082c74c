"""The command line: words in, one call of the API, words out."""

from __future__ import annotations

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
from envpack.version import VERSION

INTERRUPTED = 130
"""128 + SIGINT, what shells expect of an interrupted command."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, "-V", "--version", message="envpack %(version)s")
def cli() -> None:
    """Pack a synced uv environment, Python included, into one archive that runs anywhere."""


cli.add_command(pack)
cli.add_command(download)
cli.add_command(sync)
cli.add_command(bundle)
cli.add_command(unbundle)
cli.add_command(layout)
cli.add_command(cache)


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 could not, 2 wrong usage, 3 a finding."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(args))


def run(args: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    try:
        code = cli.main(args=args, prog_name="envpack", standalone_mode=False)
    except EnvpackError as error:
        console.failure(str(error), error.hint)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        hint = f"see `{error.ctx.command_path} --help`" if error.ctx else None
        console.failure(error.format_message().removesuffix("."), hint)
        return error.exit_code
    except click.ClickException as error:
        console.failure(error.format_message().removesuffix("."), None)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        console.failure("interrupted; nothing was left behind", None)
        return INTERRUPTED
    except OSError as error:  # what reading and writing raises has its own class; this is stdout
        console.give_up_stdout()
        if not isinstance(error, BrokenPipeError):
            console.failure(f"cannot print the result: {error.strerror or error}", None)
        return EnvpackError.exit_code
    return code if isinstance(code, int) else 0


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    """Take SIGTERM for Ctrl-C, so that temporary files go here too."""
    raise KeyboardInterrupt
