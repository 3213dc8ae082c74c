"""Debian packages of any suite, downloaded with an apt configuration of its own.

The host's packages are never touched: configuration, lists, cache and status are private,
nothing is installed, and `APT::Get::Download-Only` guards against a slip.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .missing import MissingMachine
from .tools import call, clean_environment, downloading, linux_x86_64, tool

APT_FOLDER = Path("/etc/apt")
MIRROR = "ENVPACK_TEST_DEBIAN_MIRROR"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SUITES = ("bullseye", "bookworm", "trixie", "sid")
NAMES = (*SUITES, "forky", "stable", "oldstable", "oldoldstable", "testing", "unstable")

CONFIGURATION = """\
APT::Architecture "{arch}";
APT::Architectures { "{arch}"; };
APT::Get::Download-Only "true";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
APT::Install-Recommends "false";
Acquire::Check-Valid-Until "false";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::Etc "{top}/etc";
Dir::Etc::sourcelist "{top}/etc/sources.list";
Dir::Etc::sourceparts "{top}/etc/none.d";
Dir::Etc::main "{top}/etc/none.conf";
Dir::Etc::parts "{top}/etc/none.d";
Dir::Etc::preferencesparts "{top}/etc/none.d";
Dir::Etc::trusted "{top}/etc/none.gpg";
Dir::Etc::trustedparts "{top}/etc/none.d";
Dir::State "{top}/state";
Dir::State::status "{top}/state/status";
Dir::Cache "{top}/cache";
Dir::Log "{top}/log";
"""


@dataclass(frozen=True)
class Mirror:
    """A Debian mirror as this machine's apt names it, and the key ring that signs it."""

    uri: str
    keyring: str


@dataclass(frozen=True)
class _Entry:
    """One suite of one apt source."""

    uri: str
    suite: str
    components: tuple[str, ...]
    keyring: str


def one_line_entries(text: str) -> Iterator[_Entry]:
    """Yield the `deb` lines of a sources.list(5) file."""
    for line in text.splitlines():
        words = line.split("#", 1)[0].split()
        if not words or words[0] != "deb":
            continue
        rest, options = words[1:], ""
        if rest and rest[0].startswith("["):
            options, _, after = " ".join(rest)[1:].partition("]")
            rest = after.split()
        settings = dict(o.split("=", 1) for o in options.split() if "=" in o)
        if len(rest) >= 2:
            yield _Entry(rest[0], rest[1], tuple(rest[2:]), settings.get("signed-by", ""))


def deb822_entries(text: str) -> Iterator[_Entry]:
    """Yield the enabled `deb` stanzas of a deb822 `.sources` file, one entry per suite."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in "\n".join(lines).split("\n\n"):
        fields: dict[str, str] = {}
        last = ""
        for line in stanza.splitlines():
            if line[:1].isspace():
                fields[last] = f"{fields.get(last, '')}\n{line.strip()}"
            elif ":" in line:
                last, _, value = line.partition(":")
                last = last.strip().lower()
                fields[last] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled") == "no":
            continue
        components = tuple(fields.get("components", "").split())
        keyring = fields.get("signed-by", "")
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield _Entry(uri, suite, components, keyring)


def _entries(folder: Path) -> Iterator[_Entry]:
    """Yield all entries of an apt configuration folder in apt's order of files."""
    parts = folder / "sources.list.d"
    for path in (folder / "sources.list", *sorted(parts.glob("*"))):
        if path.suffix not in {".list", ".sources"} or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        yield from deb822_entries(text) if path.suffix == ".sources" else one_line_entries(text)


def mirror(folder: Path = APT_FOLDER) -> Mirror:
    """Return the Debian mirror of this machine's apt, or of `$ENVPACK_TEST_DEBIAN_MIRROR`.

    Security, update and third-party sources are passed over; a key ring that is not a file
    (a key inside the source) becomes Debian's own.
    """
    named = os.environ.get(MIRROR)
    if named:
        return Mirror(named, KEYRING)
    found = [e for e in _entries(folder) if e.suite in NAMES and "main" in e.components]
    if not found:
        raise MissingMachine(
            f"this machine's apt names no Debian mirror, and `{MIRROR}` is not set"
        )
    best = min(found, key=lambda e: not e.uri.rstrip("/").endswith("debian"))
    return Mirror(best.uri, best.keyring if best.keyring.startswith("/") else KEYRING)


def _proxies() -> str:
    """Return this machine's apt settings of proxies and certificates as configuration."""
    lines = call([tool("apt-config"), "dump"]).splitlines()
    wanted = ("Acquire::http::", "Acquire::https::")
    return "".join(f"{line}\n" for line in lines if line.startswith(wanted))


def download(
    suite: str,
    packages: Sequence[str],
    into: Path,
    *,
    closure: bool = False,
    arch: str = "amd64",
) -> None:
    """Download packages of a suite as `.deb` files into a folder; `arch` is Debian's word.

    With `closure` their dependencies come too, as apt resolves them on an empty machine.
    Raises `MissingMachine` when apt, the mirror or a package is not to be had.
    """
    linux_x86_64()
    apt = tool("apt-get")
    source = mirror()
    if not Path(source.keyring).is_file():
        raise MissingMachine(f"the key ring `{source.keyring}` is not installed")
    top = into / ".apt"
    for name in ("etc/none.d", "state/lists/partial", "cache/archives/partial", "log"):
        (top / name).mkdir(parents=True)
    (top / "state/status").touch()
    config = top / "apt.conf"
    text = CONFIGURATION.replace("{top}", str(top)).replace("{arch}", arch)
    config.write_text(text + _proxies(), encoding="utf-8")
    line = f"deb [arch={arch} signed-by={source.keyring}] {source.uri} {suite} main\n"
    (top / "etc/sources.list").write_text(line, encoding="utf-8")
    env = clean_environment({"APT_CONFIG": str(config), "LC_ALL": "C"})
    with downloading(f"Debian {suite}"):
        call([apt, "-qq", "update"], env=env)
        names = list(packages)
        if closure:
            plan = call([apt, "-s", "-qq", "--no-install-recommends", "install", *names], env=env)
            names = [ln.split()[1] for ln in plan.splitlines() if ln.startswith("Inst ")]
        call([apt, "-qq", "download", *names], env=env, cwd=into)
    shutil.rmtree(top)


def unpack(debs: Iterable[Path], root: Path) -> None:
    """Unpack packages into a root file system, without running their scripts.

    `dpkg-deb -x` would put a folder where a merged-/usr link like `/lib` stands; tar keeps it.
    """
    program, tar = tool("dpkg-deb"), tool("tar")
    with TemporaryDirectory() as folder:
        data = Path(folder) / "data.tar"
        for deb in debs:
            with open(data, "wb") as out:
                subprocess.run([program, "--fsys-tarfile", deb], stdout=out, check=True)
            call([tar, "-x", "--keep-directory-symlink", "-f", data, "-C", root])
