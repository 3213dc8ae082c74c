"""The files of the editable workspace `shop`.

`shop` (hatchling, src layout, package data, a console and a gui script) has the members
`shop-core` (uv_build) and `shop-tools` (setuptools, flat layout: a finder with a MAPPING), and
depends on `../libs/shop_util` (setuptools, src layout: a `.pth`) outside the project.
"""

from pathlib import Path

ANSWER = "42 apples from elsewhere\n"
"""What `shop` prints, computed by all four distributions."""

SHOP = """\
[project]
name = "shop"
version = "1.2.3"
description = "Counts apples"
requires-python = ">=3.9"
dependencies = ["shop-core", "shop-tools", "shop-util", "six"]

[project.scripts]
shop = "shop.cli:main"

[project.gui-scripts]
shop-gui = "shop.cli:gui"

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[tool.uv.workspace]
members = ["packages/*"]

[tool.uv.sources]
shop-core = { workspace = true }
shop-tools = { workspace = true }
shop-util = { path = "../libs/shop_util", editable = true }
"""

CORE = """\
[project]
name = "shop-core"
version = "0.4.0"
requires-python = ">=3.9"

[build-system]
requires = ["uv_build>=0.8"]
build-backend = "uv_build"
"""

TOOLS = """\
[project]
name = "shop-tools"
version = "0.5.0"
requires-python = ">=3.9"

[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
"""

UTIL = """\
[project]
name = "shop-util"
version = "0.6.0"
requires-python = ">=3.9"

[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[tool.setuptools.packages.find]
where = ["src"]
"""

CLI = '''\
"""The console and the gui script."""

import json
import pkgutil
import sys

from shop_core import total
from shop_tools.words import join
from shop_util import PLACE


def text():
    """Compute the answer from package data and the three other distributions."""
    stock = json.loads(pkgutil.get_data("shop", "data/stock.json").decode())
    return join([str(total(stock["apples"])), "apples from", PLACE])


def main():
    """Print the answer and the arguments."""
    print(" ".join([text(), *sys.argv[1:]]))
    return 0


def gui():
    """Print what a window would show."""
    print("window: " + text())
'''

FILES = {
    "shop/pyproject.toml": SHOP,
    "shop/README.md": "# shop\n",
    "shop/src/shop/__init__.py": '"""Counts apples."""\n\n__version__ = "1.2.3"\n',
    "shop/src/shop/cli.py": CLI,
    "shop/src/shop/data/stock.json": '{"apples": [20, 20, 2]}\n',
    "shop/packages/shop-core/pyproject.toml": CORE,
    "shop/packages/shop-core/src/shop_core/__init__.py": (
        '"""Adds."""\n\n\ndef total(numbers):\n    """Return the sum."""\n    return sum(numbers)\n'
    ),
    "shop/packages/shop-tools/pyproject.toml": TOOLS,
    "shop/packages/shop-tools/shop_tools/__init__.py": '"""Words."""\n',
    "shop/packages/shop-tools/shop_tools/words.py": (
        '"""Joins."""\n\n\ndef join(words):\n    """Join them."""\n    return " ".join(words)\n'
    ),
    "libs/shop_util/pyproject.toml": UTIL,
    "libs/shop_util/src/shop_util/__init__.py": '"""Places."""\n\nPLACE = "elsewhere"\n',
}


def write_shop(base: Path) -> Path:
    """Write the workspace and its neighbour into a folder; return the project's folder."""
    for name, text in FILES.items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return base / "shop"
