"""What scripts/quickstart and scripts/test do on a Python that is too old for them.

Python 3.6 and later must be able to read this file, and to parse those two.
"""

import os
import shutil
import sys

NEWER = ("python3.14", "python3.13", "python3.12", "python3.11")
MARK = "ENVPACK_SCRIPT_STARTED_AGAIN"


def start_again(script: str) -> None:
    """Start the script with a newer Python of PATH, or end with a sentence."""
    if MARK not in os.environ:
        os.environ[MARK] = "1"
        for name in NEWER:
            found = shutil.which(name)
            if found is not None:
                os.execv(found, [found, script] + sys.argv[1:])  # noqa: RUF005, S606
    here = ".".join(str(number) for number in sys.version_info[:3])
    sys.exit(
        f"error: {script} needs Python 3.11 or newer, and this is Python {here}\n"
        f"hint: start it with another: `python3.12 {script}`"
    )
