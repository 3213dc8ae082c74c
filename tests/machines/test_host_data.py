"""Certificates and terminals: of the other machine where it has them, else of the pack."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from .lab.interpreters import uv_environment
from .lab.sandbox import USER, Sandbox
from .lab.session import Lab
from .lab.tools import call, uv_program
from .packs import Packs, envpack, unpack

PLACE = "/opt/my env é"
STORE = f"{PLACE}/share/envpack/cacert.pem"
TERMINALS = f"{PLACE}/share/terminfo"

CODE = """
import sys
early = sorted({"ssl", "_ssl", "curses", "re", "typing"} & set(sys.modules))
import json, os
names = ("SSL_CERT_FILE", "SSL_CERT_DIR", "TERMINFO", "TERMINFO_DIRS")
found = {name: os.environ[name] for name in names if name in os.environ}
import curses, ssl, importlib.metadata
certificates = ssl.create_default_context().get_ca_certs()
subjects = [value for one in certificates for ((name, value),) in one["subject"]
            if name == "organizationName"]
try:
    curses.setupterm("xterm")
    terminal = curses.tigetnum("colors")
except curses.error as error:
    terminal = str(error)
packages = [dist.metadata["Name"] for dist in importlib.metadata.distributions()]
print(json.dumps([early, found, len(certificates), subjects, terminal, packages]))
"""
EARLY, FOUND, COUNT, SUBJECTS, TERMINAL, PACKAGES = range(6)

TCL = """
import ctypes, sys
lib = ctypes.CDLL(sys.prefix + "/lib/libtcl8.6.so")
lib.Tcl_CreateInterp.restype = ctypes.c_void_p
lib.Tcl_GetStringResult.restype = ctypes.c_char_p
lib.Tcl_FindExecutable(sys.executable.encode())
interp = ctypes.c_void_p(lib.Tcl_CreateInterp())
print(lib.Tcl_Init(interp), lib.Tcl_Eval(interp, b"package require http; info library"))
print(lib.Tcl_GetStringResult(interp).decode())
"""

MINORS = [
    pytest.param(minor, marks=pytest.mark.xdist_group(f"python-{minor}"))
    for minor in ("3.12", "3.13")
]


class Owns:
    """Packs of environments without packages, on this machine's own builds of Python."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.made: dict[tuple[str, str], tuple[dict[str, Any], Path]] = {}

    def of(self, minor: str, mode: str) -> tuple[dict[str, Any], Path]:
        """Return report and folder of the pack of a minor version with `--bundle-libs mode`."""
        if (minor, mode) not in self.made:
            clean = uv_environment(self.lab.work / "no-pythons")
            del clean["UV_MANAGED_PYTHON"]
            folder = self.lab.work / f"host-data-{minor}-{mode}"
            folder.mkdir()
            python = self.lab.pyenv(minor).executable
            uv = [uv_program(), "venv", "-q", "--no-project", "--python"]
            call([*uv, python, folder / "env"], env=clean)
            archive = folder / "env.tar.gz"
            words: list[str | Path] = ["pack", folder / "env", "-o", archive, "--json"]
            words += ["--bundle-libs", mode]
            report = json.loads(envpack(words, env=clean, cwd=folder))
            self.made[minor, mode] = report, unpack(archive, folder / "unpacked")
        return self.made[minor, mode]


@pytest.fixture(scope="module")
def owns(lab: Lab) -> Owns:
    """Give the packs of own builds."""
    return Owns(lab)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Give a store with one certificate, which no other store has."""
    path = tmp_path / "store.pem"
    trustme.CA(organization_name="Only Here").cert_pem.write_to_path(str(path))
    return path


def ask(
    sandbox: Sandbox,
    place: Path,
    *flags: str,
    env: dict[str, str] | None = None,
    binds: dict[str, Path] | None = None,
) -> list[Any]:
    """Return what the packed Python finds there."""
    done = sandbox.run(
        [f"{PLACE}/bin/python", *flags, "-c", CODE],
        binds={PLACE: place, **(binds or {})},
        env={"PYTHONUTF8": "1", **(env or {})},
        uid=USER,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found: list[Any] = json.loads(done.stdout)
    return found


def changed(sandbox: Sandbox, to: Path, files: dict[str, Path]) -> Sandbox:
    """Return a machine with further files, of a copy of its root."""
    shutil.copytree(sandbox.root.path, to, symlinks=True)
    to.chmod(0o755)
    for name, source in files.items():
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
    return Sandbox(replace(sandbox.root, path=to))


@pytest.mark.parametrize("suite", ["bookworm", "trixie", "sid"])
@pytest.mark.parametrize("minor", MINORS)
def test_where_there_is_libc_alone(lab: Lab, owns: Owns, minor: str, suite: str) -> None:
    """The pack's certificates and terminals are found, and nothing is imported for it."""
    report, place = owns.of(minor, "all")
    carried = report["libraries"]["certificates"]
    assert carried["file"] == "share/envpack/cacert.pem"
    found = ask(lab.sandbox(suite, "min"), place)
    assert found[EARLY] == [], "the line imports nothing"
    assert found[FOUND] == {"SSL_CERT_FILE": STORE, "TERMINFO_DIRS": TERMINALS}
    assert found[COUNT] == carried["count"] > 50
    assert found[TERMINAL] == 8
    assert found[PACKAGES] == []


@pytest.mark.parametrize("flags", [["-I"], ["-E", "-s"], ["-B", "-X", "dev", "-W", "error"]])
@pytest.mark.xdist_group("python-3.13")
def test_flags_that_keep_site(lab: Lab, owns: Owns, flags: list[str]) -> None:
    """Isolated, without PYTHON variables, with warnings as errors: all is found."""
    found = ask(lab.sandbox(kind="min"), owns.of("3.13", "all")[1], *flags)
    assert found[COUNT] > 50
    assert found[TERMINAL] == 8


@pytest.mark.xdist_group("python-3.13")
def test_without_site_nothing_is_found(lab: Lab, owns: Owns) -> None:
    """-S leaves Python as it is without: so the line is what the other tests see."""
    found = ask(lab.sandbox(kind="min"), owns.of("3.13", "all")[1], "-S")
    assert found[FOUND] == {}
    assert found[COUNT] == 0
    assert found[TERMINAL] != 8


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("etc/ssl/certs/ca-certificates.crt", True),
        ("etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", True),
        ("etc/pki/tls/certs/ca-bundle.crt", True),
        ("etc/ssl/ca-bundle.pem", True),
        ("usr/lib/ssl/cert.pem", False),
    ],
)
@pytest.mark.parametrize("mode", ["all", "auto"])
@pytest.mark.xdist_group("python-3.12")
def test_the_store_of_the_machine_wins(
    lab: Lab, owns: Owns, tmp_path: Path, store: Path, mode: str, name: str, *, told: bool
) -> None:
    """Wherever it is, also where Debian's OpenSSL does not look; nothing is set if it does."""
    machine = changed(lab.sandbox(), tmp_path / "root", {name: store})
    found = ask(machine, owns.of("3.12", mode)[1])
    assert found[SUBJECTS] == ["Only Here"]
    assert found[FOUND].get("SSL_CERT_FILE") == (f"/{name}" if told else None)


@pytest.mark.xdist_group("python-3.12")
def test_the_terminals_of_the_machine_win(lab: Lab, owns: Owns, tmp_path: Path) -> None:
    """Where Debian's curses looks by itself nothing is set, and it finds the machine's."""
    _, place = owns.of("3.12", "all")
    source = place / "share/terminfo"
    for number, folder in enumerate(("usr/lib", "usr/share", "etc")):  # /lib is usr/lib
        files = {f"{folder}/terminfo": source}
        machine = changed(lab.sandbox(kind="min"), tmp_path / str(number), files)
        found = ask(machine, place)
        assert found[FOUND] == {"SSL_CERT_FILE": STORE}
        assert found[TERMINAL] == 8


@pytest.mark.xdist_group("python-3.12")
def test_the_user_wins(lab: Lab, owns: Owns, store: Path) -> None:
    """Each variable that is set stays, and none is set beside it, even if it leads nowhere."""
    machine, (_, place) = lab.sandbox(kind="min"), owns.of("3.12", "all")
    own = {"SSL_CERT_FILE": "/opt/own.pem", "TERMINFO_DIRS": "/nowhere"}
    found = ask(machine, place, env=own, binds={"/opt/own.pem": store})
    assert found[FOUND] == own
    assert found[SUBJECTS] == ["Only Here"]
    assert found[TERMINAL] != 8
    own = {"SSL_CERT_DIR": "/nowhere", "TERMINFO": TERMINALS}
    found = ask(machine, place, env=own)
    assert found[FOUND] == own
    assert found[COUNT] == 0
    assert found[TERMINAL] == 8


@pytest.mark.xdist_group("python-3.12")
def test_a_venv_of_the_pack(lab: Lab, owns: Owns) -> None:
    """It has a site-packages of its own, without the line, unless it sees the pack's too."""
    _, place = owns.of("3.12", "all")
    script = f"""
        ask='import ssl; print(len(ssl.create_default_context().get_ca_certs()) > 50)'
        for flags in "" --system-site-packages; do
            rm -rf /tmp/v
            env -u SSL_CERT_FILE "{PLACE}/bin/python" -m venv --without-pip $flags /tmp/v
            /tmp/v/bin/python -c "$ask"
        done
    """
    done = lab.sandbox(kind="min").run(["sh", "-euc", script], binds={PLACE: place})
    assert (done.stdout, done.stderr) == ("False\nTrue\n", "")


@pytest.mark.parametrize("minor", MINORS)
def test_tcl_finds_its_scripts(lab: Lab, owns: Owns, minor: str) -> None:
    """They travel with libtcl, and its modules too; tk's are beside them, with its licence."""
    report, place = owns.of(minor, "all")
    done = lab.sandbox(kind="min").run(
        [f"{PLACE}/bin/python", "-c", TCL], binds={PLACE: place}, env={"LC_ALL": "C.UTF-8"}
    )
    assert (done.stdout, done.stderr) == (f"0 0\n{PLACE}/lib/tcl8.6\n", "")
    assert (place / "lib/tk8.6/tk.tcl").is_file()
    data = ("certificates", "time zones")
    assert len(report["libraries"]["licences"]) == len(report["libraries"]["carried"]) + len(data)
    for one in report["libraries"]["licences"]:
        assert one["licence"] == f"share/licenses/{one['package']}/copyright"
        assert (place / one["licence"]).stat().st_size > 100


@pytest.mark.xdist_group("python-3.12")
def test_a_managed_python(lab: Lab, packs: Packs) -> None:
    """It brings its own terminals, which are found; certificates are carried with `all` alone."""
    pack = packs.of("c", "3.12")
    assert pack.report["libraries"]["certificates"] is None
    found = ask(lab.sandbox(kind="min"), pack.unpacked)
    assert found[FOUND] == {"TERMINFO_DIRS": TERMINALS}
    assert found[TERMINAL] == 8


@pytest.mark.xdist_group("python-3.9")
def test_a_real_managed_python(lab: Lab, packs: Packs, tmp_path: Path, store: Path) -> None:
    """The real 3.9 looks for terminals in the folders of its builders: the machine's are named."""
    terminals = packs.of("c", "3.12").unpacked / "share/terminfo"
    place = "etc/pki/tls/certs/ca-bundle.crt"
    files = {"usr/share/terminfo": terminals, place: store}
    machine = changed(lab.sandbox(), tmp_path / "root", files)
    found = ask(machine, packs.of("c", "3.9").unpacked)
    assert found[FOUND] == {"SSL_CERT_FILE": f"/{place}", "TERMINFO_DIRS": "/usr/share/terminfo"}
    assert found[SUBJECTS] == ["Only Here"]
    assert found[TERMINAL] == 8


@pytest.mark.xdist_group("python-3.12")
def test_none_adds_nothing(owns: Owns) -> None:
    """No line, no module, no certificates, no licences."""
    report, place = owns.of("3.12", "none")
    assert not list(place.glob("lib/python3.12/site-packages/_envpack*"))
    assert not (place / "share/licenses").exists()
    assert report["libraries"]["certificates"] is None
