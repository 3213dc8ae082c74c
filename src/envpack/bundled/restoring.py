"""The script by which DIR makes its environment again, without the file it came from.

Needs Python 3.9 and nothing else, as it travels in the bundle.
"""

from __future__ import annotations

import os
import shlex
from typing import Dict

RESTORE = "restore"

_SCRIPT = """\
#!/bin/sh
# Makes .venv again from what the bundle brought, without a network: sh .envpack/restore
own=$(cd -- "${0%/*}" && pwd) || exit
uv=$own/bin/uv
[ -x "$uv" ] || uv=uv
unset VIRTUAL_ENV UV_PYTHON UV_WORKING_DIR UV_WORKING_DIRECTORY
@EXPORT@exec "$uv" run --quiet --no-project --no-config --offline --python @PYTHON@ \\
    python -I -B -X utf8 "$own/install.py" --restore "${own%/*}" "${own%/*}"
"""


def write_restore(own: str, python: str, environ: Dict[str, str]) -> None:
    """Write the script into the bundle's own folder; `python` is a version such as "3.12"."""
    name = "UV_PYTHON_INSTALL_DIR"
    export = f"export {name}={shlex.quote(environ[name])}\n" if name in environ else ""
    text = _SCRIPT.replace("@PYTHON@", python).replace("@EXPORT@", export)
    path = os.path.join(own, RESTORE)
    with open(f"{path}.part", "w", encoding="utf-8", newline="") as file:
        file.write(text)
    os.chmod(f"{path}.part", 0o755)  # noqa: S103 - a program for everybody
    os.replace(f"{path}.part", path)
