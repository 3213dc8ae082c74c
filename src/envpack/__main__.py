"""`python -m envpack`, and where the commands `envpack` and `uv-envpack` begin."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; what goes wrong before it is there is a sentence too."""
    try:
        from envpack import cli
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted; nothing was left behind\n")
        sys.exit(130)
    except ImportError as error:
        sys.stderr.write(f"error: envpack is not installed whole: {error}\n")
        sys.stderr.write("hint: install it anew, with what it depends on\n")
        sys.exit(1)
    cli.main()


if __name__ == "__main__":
    main()
