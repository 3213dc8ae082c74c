"""Logins are found where uv finds them, and go where uv sends them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import urllib3

from envpack.errors import FetchFault, SourceFault, UsageError
from envpack.indexes import Authenticate, Index, Login, Logins, read_indexes
from envpack.redact import masked
from envpack.uv import Uv, inherited_environment
from envpack.uv_config import UvConfig, read_config
from tests.index_server import IndexServer
from tests.test_uv import fake, real_uv

PASSWORD = "pw"  # noqa: S105
ME = Login("me", PASSWORD)
URL = "https://h.test/simple/six/six-1.whl"


def write(path: Path, text: str) -> Path:
    """Write a file and the folders to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def known(env: Mapping[str, str], url: str = URL, *tables: Mapping[str, object]) -> Login | None:
    """Return the login that is sent at once with variables and tables of settings."""
    return Logins.of(UvConfig(tables, {}, {"NETRC": "/nowhere", **env}), None).known(url)


@pytest.mark.parametrize(
    "name", ["UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"]
)
def test_every_variable_that_names_an_index_may_hold_a_login(name: str) -> None:
    """The login goes to what lies below the index, and nowhere else."""
    env = {name: "https://me:p%77@h.test/simple"}
    assert known(env) == ME
    assert known(env, "https://other.test/simple/six/six-1.whl") is None
    assert known(env, "http://h.test/simple/six/six-1.whl") is None


def test_lists_of_indexes_are_read() -> None:
    """Blanks and newlines part indexes, commas find-links, and a name may stand before each."""
    env = {
        "UV_INDEX": "a=https://u:1@a.test/simple\n https://b.test/simple?x=y /local/folder",
        "UV_FIND_LINKS": "https://u:2@c.test/f,wheels",
        "UV_INDEX_A_PASSWORD": "3",
    }
    assert read_indexes(UvConfig(env=env)) == (
        Index("https://a.test/simple", "a", None, "3"),
        Index("https://b.test/simple?x=y"),
        Index("https://c.test/f", "", "u", "2"),
    )


def test_settings_name_indexes() -> None:
    """The tables `index` and the older keys, those of the project first."""
    project = {
        "index": [
            {"name": "my-in.dex", "url": "https://a.test/simple"},
            {"url": "https://b.test/simple", "authenticate": "always"},
            {"url": "https://c.test/simple", "authenticate": "never"},
            {"url": "./wheels", "format": "flat"},
            {"name": "without"},
        ],
        "index-url": "https://d.test/simple",
    }
    user = {"extra-index-url": ["https://e.test/simple"], "find-links": ["https://f.test/", "w"]}
    env = {"UV_INDEX_MY_IN_DEX_USERNAME": "me", "UV_INDEX_MY_IN_DEX_PASSWORD": "pw"}
    assert read_indexes(UvConfig((project, user), project, env)) == (
        Index("https://a.test/simple", "my-in.dex", "me", "pw"),
        Index("https://b.test/simple", authenticate=Authenticate.ALWAYS),
        Index("https://c.test/simple", authenticate=Authenticate.NEVER),
        Index("https://d.test/simple"),
        Index("https://e.test/simple"),
        Index("https://f.test/"),
    )


@pytest.mark.parametrize(
    ("index", "url", "below"),
    [
        ("https://h.test/simple", "https://h.test/simple/a/a.whl", True),
        ("https://h.test/simple/", "https://h.test/files/a.whl", True),
        ("https://h.test/root/+simple/", "https://h.test/root/+f/a.whl", True),
        ("https://h.test/root/simple", "https://h.test/files/a.whl", False),
        ("https://h.test/pypi", "https://h.test/pypi-evil/a.whl", False),
        ("https://h.test/pypi", "https://h.test/files/a.whl", False),
        ("https://h.test/pypi", "https://h.test/pypi", True),
        ("https://h.test:443/pypi", "https://h.test/pypi/a", True),
        ("https://h.test:8443/pypi", "https://h.test/pypi/a", False),
        ("https://H.test/pypi", "https://h.test/pypi/a", True),
        ("https://h.test/", "https://sub.h.test/a", False),
    ],
)
def test_what_is_below_an_index(index: str, url: str, below: bool) -> None:
    """Whole segments of the path below the URL, or below the folder around `/simple`."""
    logins = Logins([Index(index, user="me", password=PASSWORD)], {})
    assert (logins.known(url) == ME) == below


def test_after_a_refusal_the_realm_counts() -> None:
    """Files beside the index, on the same host, get its login if they are refused without."""
    logins = Logins([Index("https://h.test/pypi", user="me", password=PASSWORD)], {})
    assert logins.known("https://h.test/files/a.whl") is None
    assert logins.found("https://h.test/files/a.whl") == ME
    assert logins.found("https://other.test/files/a.whl") is None
    assert logins.found("http://h.test/files/a.whl") is None


def test_what_was_right_is_sent_at_once() -> None:
    """After one success below a host nobody is refused there first."""
    logins = Logins((), {"NETRC": "/nowhere"})
    logins.accept("https://h.test/a", ME)
    assert logins.known("https://h.test/b") == ME
    assert logins.known("https://h.test:8443/b") is None
    assert logins.known("https://me@h.test/b") == ME
    assert logins.known("https://you@h.test/b") == Login("you", "")


def test_never_means_never() -> None:
    """An index with `authenticate = "never"` gets no login, wherever one could be found."""
    index = Index(
        "https://h.test/simple", user="me", password=PASSWORD, authenticate=Authenticate.NEVER
    )
    logins = Logins([index], {})
    assert logins.known(URL) is None
    assert logins.found(URL) is None
    assert logins.known(URL.replace("//", "//me:pw@")) is None
    beside = Index(
        "https://h.test/a", user="me", password=PASSWORD, authenticate=Authenticate.NEVER
    )
    assert Logins([beside], {"NETRC": "/nowhere"}).found("https://h.test/b") is None


def test_always_is_an_error_without_a_login(tmp_path: Path) -> None:
    """An index with `authenticate = "always"` is not asked without one, and searches at once."""
    index = Index("https://h.test/simple", "corp", authenticate=Authenticate.ALWAYS)
    with pytest.raises(FetchFault, match="the index `corp` must have a login, and none was found"):
        Logins([index], {"NETRC": "/nowhere"}).known(URL)
    netrc = write(tmp_path / "netrc", "machine h.test login me password pw\n")
    assert Logins([index], {"NETRC": str(netrc)}).known(URL) == ME


@pytest.mark.parametrize(
    ("text", "url", "login"),
    [
        ("machine h.test login me password pw\n", URL, ME),
        ("machine h.test login me password pw\n", "https://x.test/", None),
        ("default login me password pw\n", "https://x.test/", ME),
        ("machine h.test\nlogin me\npassword pw\n", "http://h.test:8080/", ME),
        ("machine h.test login me password pw\n", "https://me@h.test/", ME),
        ("machine h.test login me password pw\n", "https://you@h.test/", None),
    ],
)
def test_netrc(tmp_path: Path, text: str, url: str, login: Login | None) -> None:
    """$NETRC, else .netrc at home; a host's entry, else the default one; a user name must fit."""
    write(tmp_path / ".netrc", text)
    (tmp_path / ".netrc").chmod(0o600)
    for env in ({"HOME": str(tmp_path)}, {"NETRC": str(tmp_path / ".netrc"), "HOME": "/nowhere"}):
        logins = Logins((), env)
        assert logins.found(url) == login
        assert logins.notes == []


def test_a_netrc_that_cannot_be_read_is_noted(tmp_path: Path) -> None:
    """It is no failure, since the server may want nothing; but somebody should know."""
    netrc = write(tmp_path / "netrc", "machine h.test nonsense\n")
    logins = Logins((), {"NETRC": str(netrc)})
    assert logins.found(URL) is None
    assert logins.found(URL) is None
    (note,) = logins.notes
    assert note.startswith(f"`{netrc}` cannot be read: ")


def test_the_order_is_uv_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The URL, then netrc, then uv's store, then keyring, and none of them twice."""
    log = tmp_path / "log"
    uv = fake(tmp_path / "bin", f'echo "uv $*" >> {log}\n[ -f {tmp_path}/store ] && echo stored')
    keyring = write(tmp_path / "bin/keyring", f'#!/bin/sh\necho "keyring $*" >> {log}\necho ring\n')
    keyring.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    env = {"NETRC": str(tmp_path / "netrc")}
    index = Index("https://h.test/simple", user="me")

    def found(url: str = URL) -> Login | None:
        logins = Logins([index], env, uv=lambda: Uv(uv), keyring=True)
        assert logins.known(url) == logins.known(url)
        return logins.known(url)

    assert found() == Login("me", "ring")
    assert log.read_text().splitlines() == [
        "uv --color never auth token --no-config --username me https://h.test/simple",
        "keyring get https://h.test/simple me",
    ]
    write(tmp_path / "store", "")
    assert found() == Login("me", "stored")
    write(tmp_path / "netrc", "machine h.test login me password netrc\n")
    assert found() == Login("me", "netrc")
    assert found(URL.replace("//", "//me:url@")) == Login("me", "url")
    assert len(log.read_text().splitlines()) == 3


def keyring_of(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program `keyring` on the PATH."""
    write(folder / "keyring", f"#!/bin/sh\n{script}\n").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_keyring_is_asked_for_the_host_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A keyring that knows the host and not the URL is enough, as for pip."""
    keyring_of(tmp_path, monkeypatch, '[ "$2 $3" = "h.test:8443 me" ] && echo pw')
    logins = Logins((), {"NETRC": "/nowhere"}, keyring=True)
    assert logins.known("https://me@h.test:8443/a?token=x") == ME
    assert logins.known("https://you@h.test:8443/a") == Login("you", "")
    assert logins.found("https://h.test:8443/a") is None


def test_keyring_knows_users_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an index must have a login and names no user, keyring is asked for both."""
    keyring_of(tmp_path, monkeypatch, '[ "$2 $3" = "--mode creds" ] && printf "me\\npw\\n"')
    index = Index("https://h.test/simple", authenticate=Authenticate.ALWAYS)
    assert Logins([index], {"NETRC": "/nowhere"}, keyring=True).known(URL) == ME


def test_keyring_is_off_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """UV_KEYRING_PROVIDER or the setting turns it on; a missing program is noted."""
    url = "https://me@h.test/a"
    keyring_of(tmp_path, monkeypatch, "echo pw")
    assert known({}, url) == Login("me", "")
    assert known({"UV_KEYRING_PROVIDER": "subprocess"}, url) == ME
    assert known({}, url, {"keyring-provider": "subprocess"}) == ME
    off = {"UV_KEYRING_PROVIDER": "disabled"}
    assert known(off, url, {"keyring-provider": "subprocess"}) == Login("me", "")
    monkeypatch.setenv("PATH", "/nowhere")
    logins = Logins((), {"NETRC": "/nowhere"}, keyring=True)
    assert logins.known(url) == Login("me", "")
    assert logins.notes == ["cannot run `keyring`: No such file or directory"]


def test_the_store_of_the_real_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `uv auth login` stored is found, tokens without a name and passwords with one."""
    uv = real_uv()
    monkeypatch.setenv("UV_CREDENTIALS_DIR", str(tmp_path))
    for words in (["-u", "me", "--password", "pw"], ["-u", "you", "--password", "pw"]):
        subprocess.run(
            [uv.path, "auth", "login", "https://h.test/simple", *words],
            check=True,
            capture_output=True,
        )
    subprocess.run(
        [uv.path, "auth", "login", "t.test", "--token", "tok"], check=True, capture_output=True
    )
    logins = Logins((), {"NETRC": "/nowhere"}, uv=lambda: uv)
    assert logins.known("https://me@h.test/simple/a") == ME
    assert logins.found("https://t.test/a") == Login("__token__", "tok")
    assert logins.found("https://x.test/a") is None
    assert logins.notes == []


def test_without_uv_there_is_a_note() -> None:
    """The store is asked last but one; that nobody could is no failure."""
    logins = Logins((), {"NETRC": "/nowhere"}, uv=lambda: Uv("/nowhere/uv"))
    assert logins.found(URL) is None
    (note,) = logins.notes
    assert note.startswith("cannot run `/nowhere/uv`")


# --- configuration files ------------------------------------------------------------------------


def names_of(config: UvConfig) -> list[str]:
    """Return the names of the indexes a configuration leads to."""
    return [index.name for index in read_indexes(config)]


def index_line(name: str, table: str = "index") -> str:
    """Return TOML for an index."""
    return f'[[{table}]]\nname = "{name}"\nurl = "https://{name}.test/simple"\n'


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """Configuration at every place: variables that lead there."""
    write(tmp_path / "project/pyproject.toml", index_line("project", "tool.uv.index"))
    write(tmp_path / "config/uv/uv.toml", index_line("user"))
    write(tmp_path / "system/uv/uv.toml", index_line("system"))
    write(tmp_path / "told.toml", index_line("told"))
    return {
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_CONFIG_DIRS": f"/nowhere:{tmp_path / 'system'}",
        "HOME": "/nowhere",
    }


def test_files_are_merged_in_order(tmp_path: Path, places: dict[str, str]) -> None:
    """The project's come first, then the user's, then the system's; lists are joined."""
    config = read_config(str(tmp_path / "project"), places)
    assert names_of(config) == ["project", "user", "system"]


def test_settings_above_the_project_count_if_it_has_none(
    tmp_path: Path, places: dict[str, str]
) -> None:
    """A pyproject.toml without `[tool.uv]` is no configuration; the nearest folder with one is."""
    write(tmp_path / "uv.toml", index_line("above"))
    write(tmp_path / "other/pyproject.toml", "[project]\n")
    assert names_of(read_config(str(tmp_path / "other"), places)) == ["above", "user", "system"]


def test_a_uv_toml_masks_the_project_s_settings(tmp_path: Path, places: dict[str, str]) -> None:
    """Its settings come first; the indexes of the project keep their logins."""
    write(tmp_path / "project/uv.toml", "offline = true\n" + index_line("mask"))
    write(
        tmp_path / "project/pyproject.toml",
        "[tool.uv]\noffline = false\n" + index_line("project", "tool.uv.index"),
    )
    config = read_config(str(tmp_path / "project"), places)
    assert names_of(config) == ["mask", "user", "system", "project"]
    assert config.first("offline") is True


def test_a_file_that_is_told_replaces_all_others(tmp_path: Path, places: dict[str, str]) -> None:
    """UV_CONFIG_FILE is the only one, UV_NO_CONFIG leaves none; the project's indexes stay."""
    root = str(tmp_path / "project")
    told = {**places, "UV_CONFIG_FILE": str(tmp_path / "told.toml")}
    assert names_of(read_config(root, told)) == ["told", "project"]
    assert names_of(read_config(root, {**places, "UV_NO_CONFIG": "1"})) == ["project"]
    assert names_of(read_config(root, {**places, "UV_NO_CONFIG": "0"})) == [
        "project",
        "user",
        "system",
    ]


@pytest.mark.parametrize("data", [b"[[", b"\xff"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, data: bytes) -> None:
    """The path says which of several files it is."""
    (tmp_path / "uv.toml").write_bytes(data)
    with pytest.raises(SourceFault, match="is no TOML") as caught:
        read_config(str(tmp_path), {})
    assert f"`{tmp_path}/uv.toml`" in str(caught.value)
    with pytest.raises(SourceFault, match="UV_CONFIG_FILE"):
        read_config(str(tmp_path), {"UV_CONFIG_FILE": "/nowhere/uv.toml"})
    with pytest.raises(UsageError, match="UV_NO_CONFIG"):
        read_config(str(tmp_path), {"UV_NO_CONFIG": "perhaps"})


def test_a_configuration_has_no_repr(tmp_path: Path, places: dict[str, str]) -> None:
    """Its tables hold logins."""
    write(tmp_path / "project/uv.toml", 'index-url = "https://me:s3cr3t@h.test/simple"\n')
    config = read_config(str(tmp_path / "project"), {**places, "UV_INDEX_A_PASSWORD": "s3cr3t"})
    assert "s3cr3t" not in repr(config)
    assert "s3cr3t" not in repr(read_indexes(config))


def test_passwords_with_signs_are_masked() -> None:
    """An unquoted `@` in a password does not end it."""
    assert masked("see https://me:p@ss@h.test/a@b") == "see https://***@h.test/a@b"


# --- the same as uv -----------------------------------------------------------------------------


def wheel(folder: Path, name: str = "tiny") -> Path:
    """Write the smallest wheel."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("tiny.py", "")
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    return path


def test_the_index_of_the_tests_is_one(tmp_path: Path) -> None:
    """Its pages are those of PEP 503 and PEP 691, with names in their normal form and hashes."""
    data = wheel(tmp_path, "Ti_ny").read_bytes()
    link = f"../../files/Ti_ny-1.0-py3-none-any.whl#sha256={hashlib.sha256(data).hexdigest()}"
    with IndexServer(tmp_path) as server, urllib3.PoolManager() as client:
        assert b'<a href="ti-ny/">' in client.request("GET", server.simple).data
        assert link.encode() in client.request("GET", f"{server.simple}ti-ny/").data
        accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
        page = client.request("GET", f"{server.simple}ti-ny/", headers=accept).json()
        assert page["name"] == "ti-ny"
        (file,) = page["files"]
        assert f"{file['url']}#sha256={file['hashes']['sha256']}" == link
        assert file["size"] == len(data)
        assert client.request("GET", f"{server.simple}other/").status == 404


@pytest.mark.parametrize("kind", ["url", "variables", "netrc", "store"])
def test_uv_gets_in_by_the_same_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """uv downloads from an index that wants a login, and with the same settings so do we."""
    from envpack.fetch import Source, fetch_all
    from envpack.network import Network

    uv = real_uv()
    (tmp_path / "wheels").mkdir()
    data = wheel(tmp_path / "wheels").read_bytes()
    for name in [name for name in os.environ if name.startswith(("UV_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    with IndexServer(tmp_path / "wheels", login=("me", "p@w")) as server:
        index = f"corp={server.simple}"
        if kind == "url":
            index = index.replace("//", "//me:p%40w@")
        elif kind == "variables":
            monkeypatch.setenv("UV_INDEX_CORP_USERNAME", "me")
            monkeypatch.setenv("UV_INDEX_CORP_PASSWORD", "p@w")
        elif kind == "netrc":
            netrc = write(tmp_path / "netrc", "machine 127.0.0.1 login me password p@w\n")
            monkeypatch.setenv("NETRC", str(netrc))
        else:
            subprocess.run(
                [uv.path, "auth", "login", server.url, "-u", "me", "--password", "p@w"],
                check=True,
                capture_output=True,
            )
            index = index.replace("//", "//me@")
        monkeypatch.setenv("UV_DEFAULT_INDEX", index)
        subprocess.run(
            [uv.path, "pip", "install", "--no-deps", "--target", str(tmp_path / "T"), "tiny"],
            check=True,
            capture_output=True,
            cwd=tmp_path,
        )
        assert (tmp_path / "T/tiny.py").is_file()
        config = read_config(str(tmp_path), inherited_environment())
        path = str(tmp_path / "out" / "tiny.whl")
        fetch_all(
            [Source(server.file_url("tiny-1.0-py3-none-any.whl"), path, {}, len(data))],
            credentials=Logins.of(config, lambda: uv),
            network=Network.of(config),
            jobs=1,
        )
        assert hashlib.sha256(Path(path).read_bytes()).digest() == hashlib.sha256(data).digest()
