"""Certificates, terminals and licences: what is found here, and what the pack does with it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import envpack
from envpack import carry, host_start
from envpack.distributions import distributions_in
from envpack.environment import discover
from envpack.host_data import (
    MODULE,
    Places,
    Store,
    Zones,
    certificates,
    compiled_places,
    start_entries,
    time_zones,
)
from envpack.host_start import BUNDLE, STORES, ZONEINFO, settings
from envpack.libraries import Libraries, Licensed
from envpack.model import Inline, Plan
from envpack.native import Native
from envpack.native_host import BundleLibs, Licence, common_licences
from envpack.plan import make_plan
from tests.trees import FakeEnvironment, elf, make_environment, write

AUTO, ALL, NONE = BundleLibs.AUTO, BundleLibs.ALL, BundleLibs.NONE
SITE = "lib/python3.12/site-packages"
PEM = b"# a name\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
CRYPTO = elf() + b'\0OPENSSLDIR: "/usr/lib/ssl"\0'
CURSES = elf() + b"\0/.terminfo\0/etc/terminfo:/lib/terminfo:/usr/share/terminfo\0/etc/terminfo\0"
TERMINALS = ("/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo")


# ---- what is compiled in ---------------------------------------------------------------------


def places(root: Path, files: Mapping[str, bytes], *private: str) -> Places:
    """Return the places compiled into files of a made-up archive."""
    pairs = [(name, str(write(root / name, data))) for name, data in files.items()]
    return compiled_places(pairs, private)


def test_places_of_carried_libraries(tmp_path: Path) -> None:
    """OPENSSLDIR of libcrypto, the folders of libtinfo without the user's own, each once."""
    files = {"lib/libcrypto.so.3": CRYPTO, "lib/libtinfo.so.6": CURSES, "bin/python": elf()}
    assert places(tmp_path, files) == Places("/usr/lib/ssl", TERMINALS)


@pytest.mark.parametrize(
    "name",
    [
        "bin/python",
        "lib/libpython3.12.so.1.0",
        "lib/python3.12/lib-dynload/_ssl.cpython-312-x86_64-linux-gnu.so",
    ],
)
def test_places_of_what_is_linked_statically(tmp_path: Path, name: str) -> None:
    """An interpreter that has OpenSSL inside tells its folder there."""
    assert places(tmp_path, {name: CRYPTO}).openssl == "/usr/lib/ssl"


def test_a_library_goes_before_the_interpreter(tmp_path: Path) -> None:
    """Python's ssl uses the libcrypto in lib, whatever else is in the archive."""
    other = CRYPTO.replace(b"/usr/lib/ssl", b"/elsewhere")
    wheel = "lib/python3.12/site-packages/psycopg_binary.libs/libcrypto-1.so.3"
    files = {"bin/python": other, wheel: other, "lib/libcrypto.so.3": CRYPTO}
    assert places(tmp_path, files).openssl == "/usr/lib/ssl"
    assert places(tmp_path / "wheel", {wheel: CRYPTO, "bin/python": elf()}).openssl is None


def test_places_that_are_not_known(tmp_path: Path) -> None:
    """No OpenSSL is None; one that does not tell, or tells a folder of this machine, is ""."""
    assert places(tmp_path / "1", {"bin/python": b""}) == Places()
    assert places(tmp_path / "2", {"lib/libcrypto.so.3": elf()}) == Places("")
    files = {"lib/libcrypto.so.3": CRYPTO, "lib/libtinfo.so.6": CURSES}
    found = places(tmp_path / "3", files, "/usr/lib", "/usr/share/terminfo", "/lib/term")
    assert found == Places("", ("/etc/terminfo", "/lib/terminfo"))
    assert compiled_places([("bin/python", str(tmp_path / "gone"))]) == Places()


def test_the_first_store_with_a_certificate(tmp_path: Path) -> None:
    """In the order of the table; a store that is empty or no store is passed over."""
    assert certificates(str(tmp_path)) is None
    write(tmp_path / STORES[0].lstrip("/"), b"")
    assert certificates(str(tmp_path)) is None
    for path in STORES[2:4]:
        write(tmp_path / path.lstrip("/"), PEM * 2)
    found = certificates(str(tmp_path))
    assert found == Store(STORES[2], 2, PEM * 2, Licence(BUNDLE, "", ""))
    licence = write(tmp_path / "usr/share/doc/ca-certificates/copyright", "MPL")
    found = certificates(str(tmp_path))
    assert found is not None
    assert found.licence == Licence(BUNDLE, "ca-certificates", str(licence))


# ---- what is planned -------------------------------------------------------------------------


def planned(fake: FakeEnvironment, bundle: BundleLibs) -> Plan:
    """Plan a made-up environment."""
    dists = distributions_in(str(fake.root), SITE)
    return make_plan(discover(str(fake.root)), dists, mtime=0, bundle=bundle)


def names(plan: Plan) -> set[str]:
    """Return the members that are about certificates and terminals."""
    found = {entry.name for entry in plan.entries}
    return {name for name in found if MODULE in name or name.startswith("share/envpack/cacert")}


LINE, SCRIPT = f"{SITE}/{MODULE}.pth", f"{SITE}/{MODULE}.py"


@pytest.fixture(autouse=True)
def zones(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Zones:
    """Give this machine two time zones, of which one has two names."""
    root = tmp_path_factory.mktemp("zones")
    folder = root / "usr/share/zoneinfo"
    for name in ("UTC", "Europe/Berlin", "posix/UTC", "right/UTC", "localtime"):
        write(folder / name, b"TZif2" + name.encode())
    write(folder / "zone.tab", "# a table")
    (folder / "Zulu").symlink_to("UTC")
    found = time_zones(str(root))
    assert found is not None
    monkeypatch.setattr(carry, "time_zones", lambda: found)
    return found


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    """Give this machine a store of three certificates."""
    found = Store("/etc/ssl/ca-bundle.pem", 3, PEM * 3, Licence(BUNDLE, "", ""))
    monkeypatch.setattr(carry, "certificates", lambda: found)
    return found


@pytest.mark.parametrize(
    ("bundle", "expected"),
    [(AUTO, {LINE, SCRIPT}), (ALL, {LINE, SCRIPT, BUNDLE}), (NONE, set())],
)
def test_openssl_in_the_pack(
    tmp_path: Path, store: Store, bundle: BundleLibs, expected: set[str]
) -> None:
    """It needs help to find the machine's store; `all` brings one, `none` neither."""
    fake = make_environment(tmp_path)
    write(fake.prefix / "lib/libcrypto.so.3", CRYPTO)
    plan = planned(fake, bundle)
    assert names(plan) == expected
    assert plan.warnings == ()
    carried = plan.libraries.certificates
    assert (carried is None) is (bundle is not ALL)
    if carried is not None:
        assert (carried.file, carried.source, carried.count) == (BUNDLE, store.source, 3)


@pytest.mark.parametrize(
    ("bundle", "expected"),
    [(AUTO, {LINE, SCRIPT}), (ALL, {LINE, SCRIPT}), (NONE, set())],
)
def test_terminals_in_the_pack(
    tmp_path: Path, store: Store, bundle: BundleLibs, expected: set[str]
) -> None:
    """They are pointed to; without OpenSSL nothing is done about certificates."""
    fake = make_environment(tmp_path)
    write(fake.prefix / "share/terminfo/x/xterm", b"\x1a\x01")
    plan = planned(fake, bundle)
    assert names(plan) == expected
    text = [e.content.data for e in plan.entries if isinstance(e.content, Inline)]
    assert any(data.endswith(b"\nstart(None, ())\n") for data in text) is bool(expected)


@pytest.mark.parametrize("bundle", list(BundleLibs))
def test_nothing_to_find(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, bundle: BundleLibs
) -> None:
    """A Python without OpenSSL and terminals starts as it is, if no time zones are carried."""
    monkeypatch.setattr(carry, "time_zones", lambda: None)
    assert names(planned(make_environment(tmp_path), bundle)) == set()


@pytest.mark.parametrize("bundle", list(BundleLibs))
def test_time_zones(tmp_path: Path, zones: Zones, bundle: BundleLibs) -> None:
    """`all` brings those of this machine, once, with the tables; the report says where from."""
    plan = planned(make_environment(tmp_path), bundle)
    found = {e.name.removeprefix(f"{ZONEINFO}/") for e in plan.entries if ZONEINFO in e.name}
    carried = plan.libraries.time_zones
    if bundle is not ALL:
        assert (found, carried) == (set(), None)
        return
    assert found == {"UTC", "Zulu", "Europe/Berlin", "zone.tab"}
    assert carried is not None
    assert (carried.file, carried.source, carried.count) == (ZONEINFO, zones.source, 3)
    assert names(plan) == {LINE, SCRIPT}


def test_no_time_zones_here_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the way out: they are on PyPI too."""
    monkeypatch.setattr(carry, "time_zones", lambda: None)
    fake = make_environment(tmp_path)
    write(fake.prefix / "share/terminfo/x/xterm", b"\x1a\x01")
    assert planned(fake, ALL).warnings == (
        "this machine has no time zones to carry: where the other has none either, zoneinfo"
        " needs PyPI's tzdata in the environment",
    )
    assert time_zones(str(tmp_path)) is None


def test_a_python_of_the_other_machine(tmp_path: Path, store: Store) -> None:
    """It knows where its own are, whatever is carried for the packages."""
    fake = make_environment(tmp_path)
    fake.add("lib/libcrypto.so.3", CRYPTO)
    fake.add("share/terminfo/x/xterm", b"\x1a\x01")
    dists = distributions_in(str(fake.root), SITE)
    environment = discover(str(fake.root))
    assert names(make_plan(environment, dists, mtime=0, bundle=ALL)) == {LINE, SCRIPT, BUNDLE}
    plan = make_plan(environment, dists, mtime=0, bundle=ALL, starter="")
    assert names(plan) == set()
    assert plan.libraries.certificates is None


def test_no_store_here_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where one should be carried; the machine's own is looked for nevertheless."""
    monkeypatch.setattr(carry, "certificates", lambda: None)
    fake = make_environment(tmp_path)
    write(fake.prefix / "lib/libcrypto.so.3", CRYPTO)
    assert planned(fake, AUTO).warnings == ()
    plan = planned(fake, ALL)
    assert names(plan) == {LINE, SCRIPT}
    assert plan.libraries.certificates is None
    report = envpack.pack(fake.root, tmp_path / "o.tar", bundle_libs="all", dry_run=True)
    assert (
        report.warnings
        == plan.warnings
        == (
            "this machine has no store of certificates to carry: where the other has none either,"
            " TLS needs SSL_CERT_FILE",
        )
    )


def carrying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, licences: Mapping[str, tuple[str, str]]
) -> FakeEnvironment:
    """Make an environment that carries libraries, soname to package and text of its licence."""
    found = []
    for soname, (package, text) in licences.items():
        path = str(write(tmp_path / "doc" / package / "copyright", text)) if text else ""
        found.append(Licence(soname, package, path))
    carried = [(f"lib/{name}", str(write(tmp_path / "usr" / name, elf()))) for name in licences]
    native = Native(carried=tuple(sorted(carried)), licences=tuple(found))
    monkeypatch.setattr(carry, "resolve", lambda *_, **__: native)
    return make_environment(tmp_path / "made up")


def test_licences_go_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One file for each package, the common text it names once, and who has none is named."""
    common = write(tmp_path / "common/GPL-3", "the long one")
    monkeypatch.setattr(
        carry, "common_licences", lambda path: common_licences(path, str(common.parent))
    )
    names_it = "see /usr/share/common-licenses/GPL-3."
    fake = carrying(
        tmp_path,
        monkeypatch,
        {
            "liba.so.1": ("liba1", names_it),
            "libb.so.2": ("liba1", names_it),
            "libc2.so": ("libc2", names_it + " or /usr/share/common-licenses/Gone-1"),
            "libd.so": ("", ""),
            "libe.so": ("libe1", ""),
        },
    )
    out = tmp_path / "out"
    report = envpack.pack(fake.root, out, format="dir")
    assert report.libraries.licences == (
        Licensed("lib/liba.so.1", "liba1", "share/licenses/liba1/copyright"),
        Licensed("lib/libb.so.2", "liba1", "share/licenses/liba1/copyright"),
        Licensed("lib/libc2.so", "libc2", "share/licenses/libc2/copyright"),
        Licensed("lib/libd.so", "", ""),
        Licensed("lib/libe.so", "libe1", ""),
    )
    folder = out / "share/licenses"
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {"common-licenses/GPL-3", "liba1/copyright", "libc2/copyright"}
    assert (folder / "liba1/copyright").read_text() == names_it
    listed = json.loads((out / "share/envpack/manifest.json").read_text())["libraries"]
    assert listed["licences"] == report.to_json()["libraries"]["licences"]
    assert listed["licences"][3:] == [
        {"file": "lib/libd.so", "package": None, "licence": None},
        {"file": "lib/libe.so", "package": "libe1", "licence": None},
    ]
    assert report.clashes == ()
    from envpack.cli import main

    monkeypatch.setattr(sys, "argv", ["envpack", "pack", "--dry-run", str(fake.root)])
    with pytest.raises(SystemExit):
        main()
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line[:10] == "  licences"] == [
        "  licences  of 2 packages, in share/licenses",
        "  licences  none found for lib/libd.so",
        "  licences  none found for lib/libe.so",
    ]


def test_nothing_carried_needs_no_licence(tmp_path: Path) -> None:
    """Neither a folder nor a line about it."""
    plan = planned(make_environment(tmp_path), AUTO)
    assert plan.libraries.licences == Libraries().licences == ()
    assert not [entry for entry in plan.entries if "licenses" in entry.name]


def test_a_copyright_file_that_is_gone(tmp_path: Path) -> None:
    """It names no common licence."""
    assert common_licences(str(tmp_path / "gone")) == ()


# ---- what it does when Python starts ---------------------------------------------------------


class Host:
    """A machine below a folder, in place of the one at `/`."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.pack = root / "pack"
        for table in ("STORES", "FOLDERS", "TERMINALS", "ZONES"):
            moved = tuple(f"{root}{path}" for path in getattr(host_start, table))
            monkeypatch.setattr(host_start, table, moved)

    def add(self, *files: str) -> None:
        """Write files, with something in them."""
        for name in files:
            write(self.root / name, "x")

    def settings(self, **environ: str) -> dict[str, str]:
        """Return what is set there, without the machine's folder."""
        terminals = tuple(f"{self.root}{path}" for path in TERMINALS)
        found = settings(environ, str(self.pack), f"{self.root}/usr/lib/ssl", terminals)
        return {name: value.replace(str(self.root), "") for name, value in found.items()}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Give a machine with nothing on it but a pack that has everything."""
    found = Host(tmp_path, monkeypatch)
    found.add("pack/share/envpack/cacert.pem", "pack/share/terminfo/x/xterm")
    return found


OWN = {"SSL_CERT_FILE": "/pack/share/envpack/cacert.pem", "TERMINFO_DIRS": "/pack/share/terminfo"}


def test_where_there_is_nothing(host: Host) -> None:
    """The pack's own."""
    assert host.settings() == OWN


@pytest.mark.parametrize("path", STORES)
def test_each_known_store(host: Host, path: str) -> None:
    """A file of the table goes before the pack's, if there is something in it."""
    file = write(host.root / path[1:], "")
    assert host.settings() == OWN
    file.write_text("x")
    assert host.settings() == {**OWN, "SSL_CERT_FILE": path}


@pytest.mark.parametrize("file", ["cert.pem", "certs/4042bcee.0"])
def test_where_openssl_looks_nothing_is_set(host: Host, file: str) -> None:
    """A store in OPENSSLDIR is the machine's choice, whatever else there is."""
    host.add(f"usr/lib/ssl/{file}", STORES[0][1:])
    assert "SSL_CERT_FILE" not in host.settings()


def test_a_folder_of_hashed_names(host: Host) -> None:
    """It will do where there is no file; one without such names is none."""
    host.add("etc/ssl/certs/README", "etc/ssl/certs/Some_Authority.pem")
    assert host.settings() == OWN
    host.add("etc/pki/tls/certs/4042bcee.0")
    found = host.settings()
    assert found["SSL_CERT_DIR"] == "/etc/pki/tls/certs"
    assert "SSL_CERT_FILE" not in found


def test_terminals_of_the_machine(host: Host) -> None:
    """Those it has go before the pack's; where curses looks by itself nothing is set."""
    host.add("etc/terminfo/README")
    assert host.settings() == OWN
    host.add("usr/lib/terminfo/x/xterm")
    assert host.settings()["TERMINFO_DIRS"] == "/usr/lib/terminfo:/pack/share/terminfo"
    host.add("lib/terminfo/x/xterm")
    assert "TERMINFO_DIRS" not in host.settings()


def test_a_colon_in_the_place_of_the_pack(host: Host) -> None:
    """It would end the folder's name in TERMINFO_DIRS; TERMINFO takes one whole."""
    host.pack = host.root / "a:b"
    host.add("a:b/share/terminfo/x/xterm")
    assert host.settings() == {"TERMINFO": "/a:b/share/terminfo"}
    host.add("usr/lib/terminfo/x/xterm")
    assert host.settings() == {"TERMINFO_DIRS": "/usr/lib/terminfo"}


ZONED = {"PYTHONTZPATH": "/pack/share/zoneinfo", "TZDIR": "/pack/share/zoneinfo"}


def test_time_zones_of_the_machine(host: Host) -> None:
    """Those it has go before the pack's, wherever Python looks; each variable is a choice."""
    host.add("pack/share/zoneinfo/UTC")
    assert host.settings() == {**OWN, **ZONED}
    assert host.settings(TZDIR="") == {**OWN, "PYTHONTZPATH": ZONED["PYTHONTZPATH"]}
    assert host.settings(PYTHONTZPATH="") == {**OWN, "TZDIR": ZONED["TZDIR"]}
    host.add("etc/zoneinfo/UTC")
    assert host.settings() == OWN


def test_a_colon_in_the_place_of_the_time_zones(host: Host) -> None:
    """PYTHONTZPATH is a list; the C library takes its folder whole."""
    host.pack = host.root / "a:b"
    host.add("a:b/share/zoneinfo/UTC")
    assert host.settings() == {"TZDIR": "/a:b/share/zoneinfo"}


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
@pytest.mark.parametrize("value", ["", "/nowhere"])
def test_certificates_that_the_user_named(host: Host, name: str, value: str) -> None:
    """Either variable is a choice, an empty one too."""
    host.add(STORES[0][1:])
    assert host.settings(**{name: value}) == {"TERMINFO_DIRS": OWN["TERMINFO_DIRS"]}


@pytest.mark.parametrize("name", ["TERMINFO", "TERMINFO_DIRS"])
def test_terminals_that_the_user_named(host: Host, name: str) -> None:
    """Either variable is a choice."""
    assert host.settings(**{name: ""}) == {"SSL_CERT_FILE": OWN["SSL_CERT_FILE"]}


def test_a_pack_without_openssl(host: Host) -> None:
    """Nothing is done about certificates."""
    assert set(settings({}, str(host.pack), None, ())) == {"TERMINFO_DIRS"}


VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "TERMINFO", "TERMINFO_DIRS", "HOME", "TERM")
anything = st.text(st.characters(exclude_categories=[]) | st.sampled_from("/:.\0\udcff"))


class Environ(dict[str, str]):
    """An os.environ that takes what the C library takes, and nothing else."""

    def __setitem__(self, name: str, value: str) -> None:
        if b"\0" in os.fsencode(value):
            raise ValueError("embedded null byte")
        super().__setitem__(name, value)


@given(
    environ=st.dictionaries(st.sampled_from(VARIABLES), anything),
    file=anything,
    openssl=st.none() | anything,
    terminals=st.lists(anything).map(tuple),
    fault=st.sampled_from([None, "listdir", "access", "stat"]),
)
def test_it_never_fails(
    environ: dict[str, str],
    file: str,
    openssl: str | None,
    terminals: tuple[str, ...],
    fault: str | None,
) -> None:
    """Whatever is set, compiled in, or broken: Python starts, and what was set stays."""

    def broken(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "no")

    with pytest.MonkeyPatch.context() as patch:
        variables = Environ(environ)
        patch.setattr(os, "environ", variables)
        patch.setattr(host_start, "__file__", file)
        if fault:
            patch.setattr(os, fault, broken)
        host_start.start(openssl, terminals)
    assert {name: variables[name] for name in environ} == environ


def started(
    site: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> tuple[str, str]:
    """Return stdout and stderr of a Python that reads the .pth files of a folder as `site` does."""
    code = (
        "import sys, site, os; before = set(sys.modules); site.addsitedir(sys.argv[1]);"
        "print(sorted(set(sys.modules) - before), os.environ.get('SSL_CERT_FILE'))"
    )
    done = subprocess.run(
        [sys.executable, "-IBW", "error", "-c", code, os.fsencode(site)],
        env=dict(env or {}),
        cwd=cwd,
        capture_output=True,
        check=True,
    )
    return done.stdout.decode("utf-8", "surrogateescape"), done.stderr.decode()


def installed(root: Path) -> Path:
    """Write the line and the module as a pack has them; OpenSSL looks nowhere."""
    for entry in start_entries(SITE, Places("/no where é\udcff", ("/nowhere",))):
        assert isinstance(entry.content, Inline)
        write(root / entry.name, entry.content.data)
    write(root / BUNDLE, PEM)
    return root / SITE


@pytest.mark.parametrize("name", [b"plain", b"with blank", "é".encode(), b"\xff\xfe"])
@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "nonsense"])
def test_the_line_runs(tmp_path: Path, name: bytes, locale: str) -> None:
    """In a real Python, in any folder and locale, with no module imported but its own."""
    root = tmp_path / os.fsdecode(name)
    out, err = started(installed(root), {"LC_ALL": locale, "SSL_CERT_FILE": "mine"})
    assert (out, err) == (f"['{MODULE}'] mine\n", "")


def test_the_line_is_what_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a table that leads nowhere the pack's certificates are found, from its own place."""
    site = installed(tmp_path / "pack")
    module = site / f"{MODULE}.py"
    text = module.read_text("utf-8")
    for path in (*STORES, *host_start.FOLDERS):
        text = text.replace(f'"{path}"', '"/nowhere"')
    module.write_text(text, "utf-8")
    out, err = started(site)
    assert (out, err) == (f"['{MODULE}'] {tmp_path}/pack/{BUNDLE}\n", "")


@pytest.mark.parametrize("damage", ["gone", "no syntax", "raises", "not text"])
def test_a_damaged_module_is_no_harm(tmp_path: Path, damage: str) -> None:
    """Python says nothing and starts."""
    site = installed(tmp_path)
    module = site / f"{MODULE}.py"
    module.unlink()
    texts = {"no syntax": b"def", "raises": b"raise OSError", "not text": b"\xff\0"}
    if damage in texts:
        module.write_bytes(texts[damage])
    assert started(site) == ("[] None\n", "")


def test_the_module_is_for_old_pythons_and_imports_nothing_new(tmp_path: Path) -> None:
    """Python 3.8 reads it; `os` is there when `site` runs, and `time` is a part of Python."""
    text = (installed(tmp_path) / f"{MODULE}.py").read_text("utf-8")
    tree = ast.parse(text, feature_version=(3, 8))
    guarded = {node for block in ast.walk(tree) if isinstance(block, ast.If) for node in block.body}
    imports = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and node not in guarded
    ]
    assert sorted(imports) == ["import os", "import time"]
    assert "time" in sys.builtin_module_names
    line = (tmp_path / LINE).read_text("ascii")
    assert line.count("\n") == 1
    assert line.startswith("import ")
