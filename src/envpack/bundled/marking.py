"""The marks by which uv knows where a package of an environment came from (PEP 610).

Needs Python 3.9 and nothing else, as it travels in the bundle.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from typing import Any, Dict, List


def write_marks(venv: str, python: str, marks: Dict[str, Any]) -> None:
    """Write the direct_url.json of git and URL dependencies; `python` is such as "3.12"."""
    site = os.path.join(venv, "Lib", "site-packages")
    if os.name != "nt":
        site = os.path.join(venv, "lib", f"python{python}", "site-packages")
    for name in os.listdir(site):
        stem, suffix = os.path.splitext(name)
        if suffix != ".dist-info":
            continue
        value = marks.get(re.sub(r"[-_.]+", "-", stem.split("-")[0]).lower())
        if value is not None:
            _mark(os.path.join(site, name), name, json.dumps(value))


def lines_of(record: str) -> List[str]:
    """Return the lines of a RECORD: a name may hold what else `splitlines` would cut at."""
    lines = record.removesuffix("\n").split("\n") if record else []
    return [line.removesuffix("\r") for line in lines]


def _mark(info: str, name: str, text: str) -> None:
    """Write direct_url.json and its line of RECORD, in files of their own: uv's are hard links."""
    data = text.encode()
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    own = f"{name}/direct_url.json,"
    record = os.path.join(info, "RECORD")
    with open(record, encoding="utf-8", newline="") as file:
        kept = [line for line in lines_of(file.read()) if not line.startswith(own)]
    lines = "\n".join([*kept, f"{own}sha256={digest},{len(data)}"]) + "\n"
    for path, content in ((record, lines), (os.path.join(info, "direct_url.json"), text)):
        with open(f"{path}.part", "w", encoding="utf-8", newline="") as file:
            file.write(content)
        os.replace(f"{path}.part", path)
