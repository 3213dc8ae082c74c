"""What scripts/quickstart and scripts/test share: a uv to begin with, and trouble in sentences.

Needs Python 3.11+ alone. uv is taken from PATH, or fetched by pip into the user's cache.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from older import NEWER

CHECKOUT = Path(__file__).resolve().parents[1]
OLDEST_UV = (0, 9)
SHIMS = "shims"
PIPS = ("python3", *NEWER, "python")

# What would tie uv or pip to another project, environment or interpreter. All else stays: indexes,
# certificates, proxies, and where uv keeps and finds its Pythons.
DROPPED = frozenset(
    {
        "CONDA_PREFIX",
        "PIP_PREFIX",
        "PIP_ROOT",
        "PIP_TARGET",
        "PYTHONHOME",
        "PYTHONPATH",
        "UV_FROZEN",
        "UV_LOCKED",
        "UV_NO_EDITABLE",
        "UV_NO_MANAGED_PYTHON",
        "UV_NO_SYNC",
        "UV_PROJECT",
        "UV_PROJECT_ENVIRONMENT",
        "UV_PYTHON",
        "UV_PYTHON_PREFERENCE",
        "UV_SYSTEM_PYTHON",
        "UV_WORKING_DIR",
        "UV_WORKING_DIRECTORY",
        "VIRTUAL_ENV",
    }
)

# What programs say of a cause that a sentence is enough for, and that sentence.
CAUSES = {
    "No space left on device": "no space is left on the disk",
    "Disk quota exceeded": "the disk quota is exceeded",
    "Read-only file system": "the file system is read-only",
    "Name or service not known": "{host} cannot be reached: its name is not known",
    "failure in name resolution": "{host} cannot be reached: its name cannot be resolved",
    "Network is unreachable": "{host} cannot be reached: there is no network",
    "Connection refused": "{host} cannot be reached: it refuses the connection",
    "timed out": "{host} cannot be reached: it does not answer",
}


class Trouble(Exception):
    """Something foreseeable is missing or failed: one sentence, and the way out.

    `detail` is what a program said, where its cause is none of those that are known.
    """

    def __init__(self, message: str, hint: str = "", *, detail: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        self.detail = detail


def say(text: str = "") -> None:
    """Print one line at once: what comes next may take a while."""
    print(text, flush=True)


def environment() -> dict[str, str]:
    """Return the environment that pip, uv and envpack run in."""
    kept = {name: value for name, value in os.environ.items() if name not in DROPPED}
    kept.update(NO_COLOR="1", UV_NO_PROGRESS="1", UV_PYTHON_INSTALL_BIN="0")
    kept.update(PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0", PIP_DISABLE_PIP_VERSION_CHECK="1")
    kept.update(PIP_ROOT_USER_ACTION="ignore")
    path = kept.get("PATH", os.defpath).split(os.pathsep)
    # A shim is no Python: uv would ask each of them, and print what it answered.
    kept["PATH"] = os.pathsep.join(part for part in path if SHIMS not in Path(part).parts)
    return kept


def run(
    command: Sequence[str],
    what: str,
    *,
    hint: str = "",
    shown: str = "",
    loud: bool = False,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a program and return its stdout; `what` completes "cannot …" if it fails.

    `shown` is the command as a person would type it, printed before; `loud` prints its stderr too.
    """
    if shown:
        say(f"$ {shown}")
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment() if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise Trouble(f"cannot {what}: {command[0]}: {error.strerror}", hint) from error
    if done.returncode != 0:
        said = done.stderr.strip() or done.stdout.strip()
        cause = cause_of(said)
        why = cause or f"exit code {done.returncode}"
        raise Trouble(f"cannot {what}: {why}", hint, detail="" if cause else said)
    if loud:
        for line in done.stderr.splitlines():
            say(f"  {line}")
    return done.stdout


def cause_of(text: str) -> str:
    """Return the known cause that a program's words name, or its only line; "" if it is longer."""
    for words, cause in CAUSES.items():
        if words in text:
            return cause.format(host=host_in(text) or "the package index")
    lines = text.splitlines()
    return re.sub(r"(?i)^\S*:? ?(error|cause): ", "", lines[0].strip()) if len(lines) == 1 else ""


def host_in(text: str) -> str:
    """Return the host of the first address in a program's words, in back-ticks; "" without one."""
    found = re.search(r"https?://(?:[^/\s`'\"]*@)?([^/\s`'\":@)]+)", text) or re.search(
        r"host='([^']+)'", text
    )
    return f"`{found[1]}`" if found else ""


def cache() -> Path:
    """Return this project's folder in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "uv-envpack-dev"


def pinned(name: str) -> str:
    """Return `name==version` as constraints.txt pins it."""
    pins = (CHECKOUT / "constraints.txt").read_text("utf-8")
    found = re.search(rf"^{re.escape(name)}==[^ ;\\]+", pins, re.MULTILINE)
    return found[0] if found else name


def find_uv() -> str:
    """Return a uv: from PATH if it is new enough, else by pip, kept for the next time."""
    on_path = shutil.which("uv", path=environment()["PATH"])
    if on_path is not None and version_of(on_path) >= OLDEST_UV:
        return on_path
    wanted = pinned("uv")
    target = cache() / f"quickstart-{wanted.replace('==', '-')}"
    program = target / "bin" / "uv"
    if not (program.is_file() and version_of(str(program)) >= OLDEST_UV):
        fetch_uv(wanted, target)
    return str(program)


def fetch_uv(wanted: str, target: Path) -> None:
    """Install uv with a pip into `target`, whole or not at all."""
    python = python_with_pip()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = tempfile.mkdtemp(prefix=".quickstart-", dir=target.parent)
    except OSError as error:
        raise Trouble(f"cannot write to `{target.parent}`: {error.strerror}") from error
    try:
        run(
            [
                *(python, "-m", "pip", "install", "--quiet", "--target", fresh),
                *("--no-warn-script-location", "--only-binary", ":all:", wanted),
            ],
            "fetch uv with pip",
            hint="check the network, the disk and pip's index settings, or install uv yourself",
            shown=f"python3 -m pip install --target {shlex.quote(str(target))} {wanted}",
        )
        shutil.rmtree(target, ignore_errors=True)
        os.rename(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def python_with_pip() -> str:
    """Return a Python that has pip: this one, or as uv's environments have none, one of PATH."""
    path = environment()["PATH"]
    found = (shutil.which(name, path=path) for name in PIPS)
    for python in (sys.executable, *filter(None, found)):
        try:
            run([python, "-m", "pip", "--version"], "run pip")
        except Trouble:
            continue
        return python
    raise Trouble(
        "there is neither uv nor a Python with pip, which uv comes by",
        "install one of them with your system's package manager (Debian, Ubuntu: `python3-pip`)",
    )


def version_of(uv: str) -> tuple[int, ...]:
    """Return the version of a uv program, () if it does not start."""
    try:
        words = run([uv, "--version"], "ask uv for its version").split()
        return tuple(int(part) for part in words[1].split(".")[:2])
    except (Trouble, ValueError, IndexError):
        return ()


def finish(work: Callable[[], int]) -> int:
    """Do the work of a script and return its exit code, with trouble told in sentences."""
    try:
        return work()
    except Trouble as trouble:
        for line in trouble.detail.splitlines()[-12:]:
            print(f"  {line}", file=sys.stderr)
        print(f"error: {trouble}", file=sys.stderr)
        if trouble.hint:
            print(f"hint: {trouble.hint}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"error: {error.filename or 'the file system'}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
