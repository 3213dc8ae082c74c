"""uv, and the Pythons and keyrings that answer for it.

Every call runs with the caller's index settings, proxies, certificates and cache, and without what
would tie it to another environment or project. Nothing it does writes bytecode, so a base
interpreter is the same afterwards.
"""

from __future__ import annotations

import importlib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Self

from envpack.errors import ToolFault
from envpack.process import BUILDS, finished
from envpack.redact import masked

_INSTALL = "install it: `pip install uv`, or see the installation page of uv's documentation"
_FRAME = re.compile(r"^(?:error:|cause:|Caused by:|[\u00d7├╰│─▶\s])+\s*")
_MARKED = re.compile(r"(?:error:|cause:|Caused by:|[\u00d7├╰])")
_BEGINS = ("error:", "\u00d7")

# The project, interpreter and environment a shell or an outer `uv run` chose, and the switches
# that change what a build or an install means. Indexes, network and cache settings stay.
_DROPPED = frozenset(
    {
        "CONDA_PREFIX",
        "PYTHONEXECUTABLE",
        "PYTHONHOME",
        "PYTHONINSPECT",
        "PYTHONOPTIMIZE",
        "PYTHONPATH",
        "PYTHONPLATLIBDIR",
        "PYTHONPYCACHEPREFIX",
        "PYTHONSTARTUP",
        "PYTHONWARNINGS",
        "UV_BREAK_SYSTEM_PACKAGES",
        "UV_COMPILE_BYTECODE",
        "UV_CONSTRAINT",
        "UV_DEV",
        "UV_EDITABLE",
        "UV_ENV_FILE",
        "UV_EXCLUDE",
        "UV_FROZEN",
        "UV_ISOLATED",
        "UV_LINK_MODE",
        "UV_LOCKED",
        "UV_MANAGED_PYTHON",
        "UV_NO_BINARY",
        "UV_NO_BINARY_PACKAGE",
        "UV_NO_BUILD",
        "UV_NO_BUILD_ISOLATION",
        "UV_NO_BUILD_PACKAGE",
        "UV_NO_INSTALLER_METADATA",
        "UV_NO_MANAGED_PYTHON",
        "UV_NO_SOURCES",
        "UV_NO_SOURCES_PACKAGE",
        "UV_NO_SYNC",
        "UV_NO_VERIFY_HASHES",
        "UV_OVERRIDE",
        "UV_PROJECT",
        "UV_PROJECT_ENVIRONMENT",
        "UV_PYTHON",
        "UV_PYTHON_PREFERENCE",
        "UV_REQUIRE_HASHES",
        "UV_SYSTEM_PYTHON",
        "UV_VENV_CLEAR",
        "UV_VENV_RELOCATABLE",
        "UV_VENV_SEED",
        "UV_WORKING_DIR",
        "UV_WORKING_DIRECTORY",
        "VIRTUAL_ENV",
        "__PYVENV_LAUNCHER__",
    }
)
_ZIP_EPOCH = "315532800"  # 1980-01-01, before which no zip member can be
_SET = {
    "NO_COLOR": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "UV_NO_PROGRESS": "1",
    "UV_PYTHON_DOWNLOADS": "never",
}


class UvFault(ToolFault):
    """A run of uv failed: `stderr` is all it said, without credentials, `reason` its last words."""

    def __init__(self, message: str, *, hint: str | None = None, stderr: str = "") -> None:
        super().__init__(message, hint=hint)
        self.stderr = stderr
        self.reason = last_words(stderr)


class Uv(NamedTuple):
    """The uv executable at `path`.

    `variables` are set for it beside the shell's, or with None taken from it.
    """

    path: str
    variables: Mapping[str, str | None] = MappingProxyType({})

    @classmethod
    def find(cls) -> Self:
        """Find uv: `$UV`, then the PATH, then the `uv` package beside envpack.

        uv itself sets `$UV` for what it runs. Raises ToolFault if there is none.
        """
        told = os.environ.get("UV", "")
        if told and os.path.isfile(told) and os.access(told, os.X_OK):
            return cls(os.path.abspath(told))
        if on_path := shutil.which("uv"):
            return cls(os.path.abspath(on_path))
        try:
            return cls(str(importlib.import_module("uv").find_uv_bin()))
        except (ImportError, AttributeError, FileNotFoundError):
            raise ToolFault("uv is needed, and it was not found", hint=_INSTALL) from None

    def version(self) -> str:
        """Return uv's version, such as "0.13.8"."""
        words = self.run("ask uv for its version", ["--version"]).split()
        return words[1] if len(words) > 1 else ""

    def cache_dir(self) -> str:
        """Return the absolute path of uv's cache."""
        return os.path.abspath(self.run("ask uv for its cache", ["cache", "dir"]).strip())

    def find_python(self, request: str = "") -> str:
        """Return the path of the interpreter that uv finds for a request such as "3.12", or any.

        Neither a project nor an active environment has a say. Raises UvFault if there is none.
        """
        args = ["python", "find", "--no-project", "--system", "--resolve-links"]
        args += [request] if request else []
        return self.run(f"find Python {request}".strip(), args).strip()

    def build_wheel(
        self,
        source: str,
        out: str,
        *,
        python: str,
        offline: bool,
        env: Mapping[str, str],
        project: str | None = None,
    ) -> str:
        """Build the project in `source` with the interpreter `python`; return the wheel's path.

        `out` is a directory for this wheel alone. `project` is where uv looks for its settings,
        whose relative paths mean something only there; `env` is added to the backend's variables.
        Compilers are told to leave the build's directories out of what they write.
        """
        args = ["build", "--wheel", "--out-dir", out, "--python", python]
        args += ["--project", project] if project else []
        args += ["--offline"] if offline else []
        flags = f"-g0 -ffile-prefix-map={shlex.quote(source)}=."
        env = {**env, **{name: _appended(name, flags) for name in ("CFLAGS", "CXXFLAGS")}}
        # uv leaves the lock of each source there, and some backends what they were killed at.
        env["TMPDIR"] = os.path.join(out, "tmp")
        os.makedirs(env["TMPDIR"], exist_ok=True)
        self.run(f"build `{os.path.basename(source)}`", [*args, source], env, umask=BUILDS)
        wheels = sorted(name for name in os.listdir(out) if name.endswith(".whl"))
        if len(wheels) != 1:
            raise UvFault(f"uv built {len(wheels)} wheels of `{os.path.basename(source)}`, not one")
        return os.path.join(out, wheels[0])

    def venv(self, path: str, *, python: str) -> None:
        """Create a virtual environment at `path`, which does not exist, on `python`."""
        args = ["venv", "--no-project", "--no-config", "--offline", "--python", python, path]
        self.run("create a temporary environment", args)

    def install(self, venv: str, wheels: Sequence[str]) -> None:
        """Install wheel files, and nothing else, as real files into the environment `venv`.

        They pass through a temporary cache: the user's cache holds what the user installed.
        """
        args = ["pip", "install", "--no-config", "--no-cache", "--offline", "--no-index"]
        args += ["--no-deps", "--link-mode", "copy", "--python", venv]
        self.run("install the built wheels", [*args, *wheels])

    def auth_token(self, service: str, user: str | None) -> str | None:
        """Return the password or token that `uv auth login` stored for a URL, None if none."""
        args = ["auth", "token", "--no-config", *(["--username", user] if user else []), service]
        try:
            return self.run("ask uv for a login", args).removesuffix("\n")
        except UvFault:  # there is none, or this uv is older than its store
            return None

    def static_uv(self, triple: str, into: str, version: str | None = None) -> str:
        """Put uv's executable for a platform of uv's naming under `into`; return its path.

        That of `…-linux-musl` is linked statically and needs no C library of its machine (the gnu
        one needs libgcc_s). `version` is this uv's own if not given.
        """
        version = version or self.version()
        args = ["pip", "install", "--no-deps", "--only-binary", ":all:", "--link-mode", "copy"]
        args += ["--python", sys.executable, "--target", into]
        args += ["--python-platform", triple, f"uv=={version}"]
        self.run(f"fetch uv {version} for {triple}", args)
        for name in ("uv", "uv.exe"):
            path = os.path.join(into, "bin", name)
            if os.path.isfile(path):
                return path
        raise UvFault(f"the wheel of uv {version} for {triple} holds no `bin/uv`")

    def run(
        self,
        what: str,
        args: Iterable[str],
        env: Mapping[str, str] | None = None,
        *,
        umask: int = -1,
    ) -> str:
        """Run uv and return its stdout; `what` completes "cannot …" if it fails."""
        command = [self.path, "--color", "never", *args]
        shell = {k: v for k, v in os.environ.items() if self.variables.get(k, v) is not None}
        own = {k: v for k, v in self.variables.items() if v is not None}
        env = child_environment(shell, {**own, **(env or {})})
        code, out, err = finished(command, env, hint=_INSTALL, umask=umask)
        if code != 0:
            stderr = masked(err.decode("utf-8", "replace"))
            raise UvFault(f"cannot {what}: {last_words(stderr)}", stderr=stderr)
        return out.decode("utf-8", "surrogateescape")


def run_python(
    python: str, args: Sequence[str], data: bytes, *, what: str, site: bool = False
) -> bytes:
    """Run a Python with `data` as its stdin and return its stdout; it writes no bytecode.

    Its site-packages matter only with `site`, and the shell's variables for Python never. Not `-I`,
    which would ignore PYTHONHASHSEED too. Raises ToolFault; `what` completes "cannot …".
    """
    shell = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [python, *([] if site else ["-S"]), "-s", "-B", "-X", "utf8", *args]
    code, out, err = finished(command, child_environment(shell, {}), data)
    if code != 0:
        lines = masked(err.decode("utf-8", "replace")).split("\n")
        reason = next((line.strip() for line in reversed(lines) if line.strip()), "")
        reason = reason or f"it ended with status {code}"
        raise ToolFault(f"cannot {what}: {reason}")
    return out


def inherited_environment() -> dict[str, str]:
    """Return the variables of this process, for those who take their settings from uv's."""
    return dict(os.environ)


def keyring_login(service: str, user: str | None) -> tuple[str, str] | None:
    """Return user and password that the program `keyring` has for a URL or host, None if none.

    Without a user keyring must know both (25.2.1 and newer). Raises ToolFault if it cannot run.
    """
    args = ["get", service, user] if user else ["get", "--mode", "creds", service]
    code, out, _ = finished(["keyring", *args], child_environment(os.environ, {}))
    lines = out.decode("utf-8", "replace").splitlines()
    if code != 0 or not lines:
        return None
    if user:
        return user, lines[0]
    return (lines[0], lines[1]) if len(lines) > 1 else None


def child_environment(inherited: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """Return the variables uv runs with: what was inherited and does no harm, then `extra`."""
    kept = {name: value for name, value in inherited.items() if name not in _DROPPED}
    return {"SOURCE_DATE_EPOCH": _ZIP_EPOCH, **kept, **_SET, **extra}


def _appended(name: str, flags: str) -> str:
    return f"{os.environ.get(name, '')} {flags}".strip()


def last_words(stderr: str) -> str:
    """Return the line of uv's stderr that says why it failed, without its frame.

    uv ends with `error:` and its causes, then hints. If the last cause is that a build backend
    failed, the backend's own last line, printed before `error:`, says more.
    """
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if not lines:
        return "uv gave no reason"
    begins = [index for index, line in enumerate(lines) if line.startswith(_BEGINS)]
    begin = begins[-1] if begins else 0
    hints = (index for index in range(begin, len(lines)) if lines[index].startswith("hint:"))
    lines = lines[: next(hints, len(lines))]
    marked = [index for index, line in enumerate(lines) if _MARKED.match(line)]
    cause = lines[marked[-1] if marked else -1 :]
    # A sentence goes on over lines of its own; below `[stderr]` the last line says most, but for
    # an interpreter that does not start.
    wrapped = " ".join(cause) if "[stderr]" not in cause and "[stdout]" not in cause else cause[-1]
    if "Querying Python at" in cause[0]:
        wrapped = cause[0]
    last = _FRAME.sub("", wrapped)
    if last.startswith("Call to `") and begin > 0 and not lines[begin - 1].startswith("Building "):
        last = lines[begin - 1]
    return last.rstrip(".")
