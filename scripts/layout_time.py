"""Measures `envpack layout` with some 300 packages: `python scripts/layout_time.py`.

A project that wants the packages below is locked against the index of uv's settings, and laid out
for three platforms and two Pythons. Then it is checked, updated with nothing new, and 30 of the
packages, chosen at random, are added by uv to empty projects, with the layout alone. Needs
Python 3.11+, uv, a network, and some gigabytes. Prints Markdown on stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from bench import CHECKOUT
from benching.measure import called, say

WANTED = """
aiohttp alembic altair anyio arrow asyncpg attrs azure-identity azure-storage-blob babel bandit
bcrypt beautifulsoup4 black blake3 bokeh boto3 build cachetools celery cffi click cloudpickle
confluent-kafka coverage cryptography cython dask dateparser django djangorestframework dnspython
docker duckdb elasticsearch email-validator faker fastapi fastavro filelock flake8 flask
flask-cors fonttools freezegun fsspec gevent gitpython google-cloud-bigquery google-cloud-storage
graphene greenlet grpcio gunicorn h5py hatchling httptools httpx huggingface-hub hypothesis
ibis-framework imageio ipykernel ipython ipywidgets isort itsdangerous jinja2 joblib jsonschema
jupyterlab kafka-python keyring kubernetes lightgbm llvmlite locust loguru lxml markdown
marshmallow matplotlib mkdocs mkdocs-material mlflow-skinny mypy nbconvert networkx nltk notebook
numba numexpr numpy oauthlib openai openpyxl opentelemetry-sdk orjson pandas paramiko peewee
pendulum pillow pip-audit plotly poetry-core polars pre-commit prometheus-client protobuf psutil
psycopg-binary pyarrow pycryptodome pydantic pydantic-settings pygments pyinstrument pyjwt pymongo
pymysql pynacl pyodbc pyopenssl pyproj pytest pytest-asyncio pytest-cov pytest-mock pytest-xdist
python-dotenv python-multipart pytz pyyaml pyzmq rapidfuzz redis regex requests requests-oauthlib
rich ruff s3fs scikit-image scikit-learn scipy scrapy seaborn sentry-sdk setuptools shapely
simplejson snowflake-connector-python sphinx sqlalchemy sqlmodel starlette statsmodels streamlit
structlog sympy tabulate tenacity tiktoken tokenizers tomlkit tornado tox tqdm twine typer ujson
urllib3 uvicorn virtualenv watchdog watchfiles websockets werkzeug wheel wrapt xarray xlsxwriter
yarl zstandard
"""
PLATFORMS = "linux,windows,macos"
PYTHONS = "3.12,3.13"
SAMPLE = 30
MAX_AGAIN = 5.0
"""The goal: seconds of an update with nothing new."""


def locked(folder: Path, environ: dict[str, str]) -> None:
    """Make a project that wants all of them, and lock it."""
    folder.mkdir()
    wanted = ", ".join(f'"{name}"' for name in WANTED.split())
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "wants"\nversion = "1"\nrequires-python = ">=3.12,<3.14"\n'
        f"dependencies = [{wanted}]\n\n[tool.uv]\npackage = false\n",
        encoding="utf-8",
    )
    called("uv", "lock", "-q", "--project", str(folder), environ=environ)


def added(layout: Path, work: Path, environ: dict[str, str]) -> int:
    """Add some packages by the layout alone, each to an empty project; return how many."""
    names = sorted(path.name for path in (layout / "simple").iterdir() if path.is_dir())
    chosen = random.Random(0).sample(names, SAMPLE)  # noqa: S311 - the same ones each time
    environ = {**environ, "UV_CONFIG_FILE": str(layout / "uv.toml")}
    for name in chosen:
        project = work / "adds"
        project.mkdir()
        (project / "pyproject.toml").write_text(
            '[project]\nname = "adds"\nversion = "1"\nrequires-python = ">=3.12,<3.14"\n',
            encoding="utf-8",
        )
        called("uv", "add", "-q", "--no-sync", "--project", str(project), name, environ=environ)
        shutil.rmtree(project)
    return len(chosen)


def main() -> int:
    """Print the table; 1 if the goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, help="a folder for some gigabytes; default: temporary")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="layout-time-", dir=arguments.work))
    environ = {**os.environ, "PYTHONPATH": os.path.join(CHECKOUT, "src")}
    seconds: dict[str, float] = {}

    def timed(what: str, *words: str) -> str:
        say(what)
        begin = time.perf_counter()
        out = called(sys.executable, "-m", "envpack", "layout", *words, environ=environ)
        seconds[what] = time.perf_counter() - begin
        return out

    try:
        say("locking")
        locked(work / "project", environ)
        layout, project = work / "site", str(work / "project")
        words = ("--project", project, "--no-python")
        told = json.loads(
            timed(
                "made", "-o", str(layout), "--json", "--platform", PLATFORMS, "-p", PYTHONS, *words
            )
        )
        timed("checked, also for the project", "check", str(layout), "--project", project)
        again = json.loads(timed("updated, nothing new", "--update", str(layout), "--json", *words))
        say("adding")
        number = added(layout, work, environ)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    assert again["added"] == []
    print(f"{told['packages']} packages in {told['files']} files, {told['size'] / 1e9:.2f} GB, for")
    print(f"{PLATFORMS} and Python {PYTHONS}; on {platform.machine()}, {os.cpu_count()} cores,")
    print(f"from the network of that day. {number} of {number} packages added by uv alone.\n")
    print("| | seconds |\n| --- | ---: |")
    for what, value in seconds.items():
        print(f"| {what} | {value:.1f} |")
    return int(seconds["updated, nothing new"] > MAX_AGAIN)


if __name__ == "__main__":
    sys.exit(main())
