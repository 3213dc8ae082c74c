"""Secrets are planted wherever people and tools leave them, and found nowhere afterwards."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import tarfile
from pathlib import Path

import pytest

import envpack
from envpack.bundling import bundle
from envpack.cli import run
from envpack.errors import FindingError
from envpack.report import PackReport
from envpack.secret_files import is_secret
from envpack.select import Filter
from envpack.sources import collected
from tests.judges import git
from tests.trees import FakeEnvironment, make_environment, write

SITE = "lib/python3.12/site-packages"
KEY = "-----BEGIN {}PRIVATE KEY-----\n{{}}\n"

FILES = {
    "pip.conf": "[global]\nindex-url = https://u:{}@h/simple\n",
    "pip.ini": "[global]\nindex-url = https://u:{}@h/simple\n",
    "etc/pip.conf": "[global]\nindex-url = https://u:{}@h/simple\n",
    "uv.toml": '[[index]]\nurl = "https://u:{}@h/simple"\n',
    "poetry.toml": 'a = "{}"\n',
    "uv-receipt.toml": '[tool]\nindex = "https://u:{}@h"\n',
    "pipx_metadata.json": '{{"pip_args": ["https://u:{}@h"]}}',
    ".env": "TOKEN={}\n",
    ".env.production": "TOKEN={}\n",
    "share/app/.env": "TOKEN={}\n",
    ".envrc": "export TOKEN={}\n",
    "sub/.envrc": "export T={}\n",
    "etc/auth.json": '{{"t": "{}"}}',
    ".vscode/settings.json": '{{"db": {{"t": "{}"}}}}',
    ".netrc": "machine h login u password {}\n",
    "_netrc": "machine h login u password {}\n",
    ".pypirc": "[pypi]\npassword = {}\n",
    ".npmrc": "//r/:_authToken={}\n",
    ".pgpass": "h:1:d:u:{}\n",
    ".my.cnf": "[client]\npassword={}\n",
    ".htpasswd": "u:{}\n",
    ".dockercfg": '{{"h": {{"auth": "{}"}}}}',
    ".docker/config.json": '{{"auths": {{"h": {{"auth": "{}"}}}}}}',
    ".git-credentials": "https://u:{}@h\n",
    ".aws/credentials": "[default]\naws_secret_access_key = {}\n",
    ".aws/config": "[default]\naws_session_token = {}\n",
    ".kube/config": "users:\n- user:\n    token: {}\n",
    ".ssh/known": "{}\n",
    ".gnupg/x": "{}\n",
    ".azure/accessTokens.json": '{{"a": "{}"}}',
    ".config/gcloud/x.db": "{}\n",
    ".env.staging": "TOKEN={}\n",
    ".streamlit/secrets.toml": "a = '{}'\n",
    "etc/secrets.yaml": "a_token: {}\n",
    "etc/credentials.json": '{{"refresh_token": "{}"}}',
    "auth.json": '{{"http-basic": {{"h": {{"username": "u", "password": "{}"}}}}}}',
    "my-service-account.json": '{{"private_key": "{}"}}',
    "client_secret_1.json": '{{"installed":{{"client_secret":"{}"}}}}',
    "kubeconfig": "users:\n- user:\n    token: {}\n",
    "terraform.tfstate": '{{"p": "{}"}}',
    "terraform.tfstate.backup": '{{"p": "{}"}}',
    "prod.tfvars": 'db_password = "{}"\n',
    "id_rsa": "{}\n",
    "conf/id_ed25519": "{}\n",
    "putty.ppk": "{}\n",
    "vault.kdbx": "{}\n",
    "store.p12": "{}\n",
    "store.jks": "{}\n",
    "server.key": KEY.format(""),
    "etc/ssl/key.pem": KEY.format("RSA "),
    "deploy": KEY.format("OPENSSH "),
    "signing.asc": "-----BEGIN PGP PRIVATE KEY BLOCK-----\n{}\n",
    "agent.txt": "PuTTY-User-Key-File-3: ssh-ed25519\n{}\n",
    "age.txt": "AGE-SECRET-KEY-1QQ{}\n",
    "gcp.json": '{{"type": "service_account", "k": "{}"}}',
    "registry.json": '{{"auths": {{"h": {{"auth": "abcdefgh{}"}}}}}}',
    "aws.ini": "[default]\naws_secret_access_key = {}\n",
    "login": "machine h login u password {}\n",
    "npm.ini": "//r/:_authToken={}\n",
    "cluster.yaml": "client-key-data: {}\n",
    "publish.ini": "[pypi]\nusername = u\npassword = {}\n",
    "bin/activate": "VIRTUAL_ENV='<root>'\nexport TOKEN={}\n",
    f"{SITE}/.env": "TOKEN={}\n",
    f"{SITE}/six/.env": "TOKEN={}\n",
    f"{SITE}/six/server.key": KEY.format(""),
    f"{SITE}/nobody/key.pem": KEY.format("EC "),
    f"{SITE}/nobody/pip.conf": "[global]\nindex-url = https://u:{}@h/simple\n",
    "src/w/.git/config": "[remote]\n url = https://u:{}@h/w.git\n",
    "src/w/.hg/hgrc": "[paths]\ndefault = https://u:{}@h/w\n",
    "src/w/.svn/auth/x": "{}\n",
}
"""What lies in an environment and no RECORD names, by its place; `{}` is the secret."""

URLS = [
    "https://u:{}@h/a.whl", "https://{}@h/a.whl", "https://u:p@{}@h/a.whl", "https://u:p/{}@h/a.whl",
    "https://h/a.whl?token={}", "https://h/a.whl?private_token={}", "https://h/a.whl?sig={}",
    "https://h/a.whl#tok={}", "HTTPS://u:{}@h/a.whl", " https://u:{}@h/a.whl", "//u:{}@h/a.whl",
    "git+https://u:{}@h/r", "ssh://git:{}@h/r", "https://git:{}@h/r",
]  # fmt: skip

FIELDS = ["Home-page", "Download-URL", "Project-URL: Docs,", "Requires-Dist: x @", "License:"]


class Garden:
    """Plants secrets, each a different one, and knows which place has which."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}

    def fill(self, template: str, place: str) -> str:
        """Return a text with a new secret."""
        secret = f"sEcR3t{len(self.places):03d}Zq"
        self.places[secret] = place
        return template.format(secret)

    def found(self, data: bytes | str) -> set[str]:
        """Return the places whose secrets are in some bytes."""
        text = data if isinstance(data, str) else data.decode("latin-1")
        return {self.places[secret] for secret in re.findall(r"sEcR3t\d{3}Zq", text)}


def distribution(
    fake: FakeEnvironment, garden: Garden, name: str, url: str = "", file: str = "", meta: str = ""
) -> None:
    """Install one whose `file` of metadata, or whose METADATA, has a URL with a secret."""
    value: dict[str, object] = {"url": garden.fill(url, f"{name} {file}")} if file else {}
    direct = {**value, "archive_info": {}} if file == "direct_url.json" else None
    info = fake.install(name, "1", {f"{name}.py": ""}, direct_url=direct)
    if file == "provenance_url.json":
        write(info / file, json.dumps(value))
        record = info / "RECORD"
        record.write_text(f"{record.read_text('utf-8')}{info.name}/{file},,\n", "utf-8")
    if meta:
        path = info / "METADATA"
        text = path.read_text("utf-8") + garden.fill(meta, f"{name} METADATA") + "\n\nSee it\n"
        path.write_text(text, encoding="utf-8")


@pytest.fixture
def garden() -> Garden:
    """Give one without plants."""
    return Garden()


@pytest.fixture
def planted(tmp_path: Path, garden: Garden, monkeypatch: pytest.MonkeyPatch) -> FakeEnvironment:
    """Give an environment with a secret in every place that is known."""
    fake = make_environment(tmp_path)
    fake.install("six", "1.0", {"six/__init__.py": "x = 1\n"})
    for name, template in FILES.items():
        fake.add(name, garden.fill(template, name).replace("<root>", str(fake.root)))
    for number, url in enumerate(URLS):
        distribution(fake, garden, f"d{number}", url, "direct_url.json")
    distribution(fake, garden, "prov", URLS[0], "provenance_url.json")
    for number, field in enumerate(FIELDS):
        meta = f"{field}{'' if ' ' in field or ':' in field else ':'} https://u:{{}}@h/x"
        distribution(fake, garden, f"m{number}", meta=meta)
    for name in ("VIRTUAL_ENV", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(fake.project)
    return fake


def everything(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_a_pack_has_none(
    planted: FakeEnvironment, garden: Garden, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of some eighty, in files of the user and of tools, in URLs of metadata, none is in it.

    Nor are they in what is said, with -v, as JSON, or when it is refused.
    """
    assert len(garden.places) > 80
    out = tmp_path / "out"
    assert run(["pack", "-v", "--no-python", "--format", "dir", "-o", str(out)]) == 0
    leaks = {name: garden.found(data) for name, data in everything(out).items()}
    assert {name: places for name, places in leaks.items() if places} == {}
    assert run(["pack", "--json", "--deep", "--dry-run", "--no-python"]) == 0
    assert run(["pack", "--strict", "--dry-run", "--no-python"]) == 3
    assert run(["pack", "-v", "--strict", "--dry-run", str(tmp_path / "nothing")]) == 1
    assert garden.found("".join(capfd.readouterr())) == set()
    assert (planted.root / ".env").exists()


def packed(fake: FakeEnvironment, **options: object) -> PackReport:
    """Return the report of a dry run without Python."""
    report: PackReport = envpack.pack(fake.root, no_python=True, dry_run=True, **options)  # type: ignore[arg-type]
    return report


def test_each_is_told(planted: FakeEnvironment) -> None:
    """A file that stays out is named under its reason, and what may hold secrets is a finding."""
    report = packed(planted)
    left = {item.name: item.reason.value for item in report.left_out}
    assert set(FILES) - {"bin/activate"} <= set(left)
    assert left["pip.conf"] == "settings of pip, uv and other tools"
    assert left["src/w/.git/config"] == "folders of version control"
    assert left[f"{SITE}/six/server.key"] == "what may hold secrets"
    assert f"`{SITE}/six/server.key` may hold secrets, and stays out" in report.findings
    assert f"{SITE}/prov-1.dist-info/provenance_url.json" in report.scrubbed


def test_include_brings_them_back(planted: FakeEnvironment, tmp_path: Path) -> None:
    """By name, and then it is said that they go in; of one that is excluded nothing is said."""
    filters = [Filter(False, "*.env"), Filter(False, "src/w/.git/*"), Filter(True, "deploy")]
    report = packed(planted, filters=filters)
    left = {item.name: item.reason.value for item in report.left_out}
    assert ".env" not in left
    assert "src/w/.git/config" not in left
    assert left["deploy"] == "what --exclude matches"
    assert "`.env` may hold secrets, and goes in as --include says" in report.findings
    assert not any("`deploy`" in finding for finding in report.findings)


def test_what_a_record_names_stays(tmp_path: Path) -> None:
    """Packages ship keys for their tests; one that was changed since is nobody's package."""
    fake = make_environment(tmp_path)
    key = KEY.format("").format("test")
    fake.install("tornado", "6", {"tornado/test/test.key": key, "tornado/test/.env": "A=1\n"})
    fake.install("changed", "1", {"changed/server.key": key})
    fake.add(f"{SITE}/changed/server.key", key + "more\n")
    report = packed(fake)
    left = {item.name for item in report.left_out}
    assert f"{SITE}/tornado/test/test.key" not in left
    assert f"{SITE}/tornado/test/.env" not in left
    assert f"{SITE}/changed/server.key" in left


def test_a_kernel_with_a_token_is_told(tmp_path: Path) -> None:
    """Which variable it is, and never its value; harmless ones are not named."""
    fake = make_environment(tmp_path)
    variables = {"API_TOKEN": "sEcR3t000Zq", "MY_KEY": "${OTHER}", "LANG": "C", "T": "sEcR3t1Zq2"}
    spec = json.dumps({"argv": ["python"], "env": variables})
    fake.add("share/jupyter/kernels/k/kernel.json", spec)
    name = "share/jupyter/kernels/k/kernel.json"
    told = [
        f"`{name}` sets `{n}`, which looks like a secret, and goes in" for n in ("API_TOKEN", "T")
    ]
    assert packed(fake).secrets == tuple(told)
    with pytest.raises(FindingError, match="API_TOKEN") as caught:
        packed(fake, strict=True)
    assert "sEcR3t" not in str(caught.value)


def test_a_url_with_a_login_is_told(tmp_path: Path) -> None:
    """A file of somebody's application goes in, and it is a finding."""
    fake = make_environment(tmp_path)
    fake.add("etc/app.cfg", "db = postgres://u:sEcR3t000Zq@db/x\n")
    fake.add("etc/plain.cfg", "db = postgres://db/x\n")
    told = ("`etc/app.cfg` has a URL with a login or a token, and goes in",)
    assert packed(fake).secrets == told


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_what_the_owner_alone_may_read(tmp_path: Path, umask: int) -> None:
    """It is told where the environment is open to others, and no reason under umask 077."""
    fake = make_environment(tmp_path)
    fake.add("etc/open.cfg", "a\n")
    fake.add("etc/mine.cfg", "a\n", mode=0o600)
    os.chmod(fake.root / "pyvenv.cfg", 0o666 & ~umask)
    told = ("`etc/mine.cfg` can be read by its owner alone, and goes in",)
    assert packed(fake).secrets == (told if umask == 0o022 else ())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can read such a file")
def test_a_link_to_what_others_may_not_read(tmp_path: Path) -> None:
    """Root's own file in an open folder, such as /etc/shadow, stays out; other links are told."""
    fake = make_environment(tmp_path)
    (tmp_path / "etc").mkdir(mode=0o755)
    guarded = write(tmp_path / "etc/shadow", "root:x\n", 0o640)
    opened = write(tmp_path / "etc/hosts", "x\n")
    (fake.site / "shadow").symlink_to(guarded)
    (fake.site / "hosts").symlink_to(opened)
    report = packed(fake)
    left = {item.name: item.reason.value for item in report.left_out}
    assert left[f"{SITE}/shadow"] == "what may hold secrets"
    assert f"{SITE}/hosts" not in left


def test_a_base_with_a_login(tmp_path: Path) -> None:
    """Packages of the base interpreter that go in are scrubbed as those of the environment are."""
    fake = make_environment(tmp_path, system_site=True)
    url = {"url": "https://u:sEcR3t000Zq@h/a.whl", "archive_info": {}}
    site = fake.prefix / SITE
    fake.install("based", "1", {"based.py": ""}, direct_url=url, folder=site)
    fake_pip = fake.prefix / "pip.conf"
    write(fake_pip, "[global]\nindex-url = https://u:sEcR3t001Zq@h/simple\n")
    report = envpack.pack(fake.root, tmp_path / "out", format="dir")
    assert report.scrubbed == (f"{SITE}/based-1.dist-info/direct_url.json",)
    assert not any(b"sEcR3t" in data for data in everything(tmp_path / "out").values())


def test_a_record_says_what_was_written(planted: FakeEnvironment, tmp_path: Path) -> None:
    """METADATA without a login has the hash and size that RECORD names, and its other lines."""
    envpack.pack(planted.root, tmp_path / "out", format="dir", no_python=True)
    info = tmp_path / "out" / SITE / "m3-1.dist-info"
    data = (info / "METADATA").read_bytes()
    assert b"Requires-Dist: x @ https://h/x\n" in data
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    assert f"METADATA,sha256={digest},{len(data)}\n" in (info / "RECORD").read_text("utf-8")


def test_a_description_stays(tmp_path: Path) -> None:
    """What a README shows is no secret, and no byte of it changes."""
    fake = make_environment(tmp_path)
    info = fake.install("doc", "1", {"doc.py": ""})
    text = (info / "METADATA").read_text("utf-8") + "\nUse https://user:password@host/simple\n"
    (info / "METADATA").write_text(text, encoding="utf-8")
    envpack.pack(fake.root, tmp_path / "out", format="dir", no_python=True)
    there = tmp_path / "out" / SITE / "doc-1.dist-info/METADATA"
    assert there.read_text("utf-8") == text


SOURCES = {
    name: text
    for name, text in FILES.items()
    if "/." not in f"/{name}".replace("/.env", "") and not name.startswith((SITE, "bin/", "src/"))
    and name not in {"uv-receipt.toml", "pipx_metadata.json", "poetry.toml", "uv.toml"}
}  # fmt: skip
REQUIREMENTS = {
    "requirements.txt": "--index-url https://u:{}@h/simple\nclick\n",
    "requirements-private.txt": "click @ https://u:p/{}@h/x.whl\n",
    "requirements/dev.txt": "click @ https://h/x.whl?token={}\n",
    "constraints.txt": "--find-links https://{}@h/x\n",
    "member/uv.toml": '[[index]]\nurl = "https://u:{}@h/simple"\n',
}


@pytest.mark.parametrize("words", [["git"], ["all"]])
def test_a_bundle_has_none(plum: Path, garden: Garden, tmp_path: Path, words: list[str]) -> None:
    """Keys and logins stay home under any name, each told; requirements travel without them."""
    git(plum, "init", "-q")
    for name, template in {**SOURCES, **REQUIREMENTS}.items():
        write(plum / name, garden.fill(template, name))
    write(plum / "keys.py", 'HEAD = "-----BEGIN PRIVATE KEY-----"\n')
    git(plum, "add", "-A", "-f", ".")
    report = bundle(str(tmp_path / "p.tar"), python=False, uv=False, source=words)
    data = (tmp_path / "p.tar").read_bytes()
    assert garden.found(data) == set()
    left = {name for name, why in report.left_out if why == "it may hold secrets"}
    assert set(SOURCES) <= left
    for name in REQUIREMENTS:
        assert f"the logins in URLs of {name} stay home" in report.warnings
    with tarfile.open(tmp_path / "p.tar") as archive:
        names = archive.getnames()
        assert "plum/keys.py" in names
        read = archive.extractfile("plum/requirements-private.txt")
        assert read is not None
        assert read.read() == b"click @ https://h/x.whl\n"
    assert garden.found(json.dumps(report.to_json())) == set()


@pytest.mark.parametrize(
    "name", ["cert.pem", "public.key", "keys.json", ".env.example", "id_card.py", "environment"]
)
def test_what_is_public_is_no_secret(name: str) -> None:
    """Names alone do not make one of what may be public."""
    assert not is_secret(name, lambda: b"-----BEGIN CERTIFICATE-----\nabc\n")


PUBLIC = {
    "src/shop/gcloud/__init__.py": "",
    "src/shop/gcloud/storage.py": "token = 'sEcR3t1'\n",
    "src/shop/locales/en/auth.json": '{"password": "Your password", "token": "Log-in"}',
    "src/shop/locales/de/auth.json": '{"password": "Kennwort", "pwd_hint": "Mindestens 8 Zeichen"}',
    "src/shop/schemas/service_account.json": '{"type": "object", "title": "account"}',
    "src/shop/credentials.json": '{"$ref": "#/definitions/credentials"}',
    ".npmrc": "engine-strict=true\n",
    ".envrc": "layout python3\nexport PYTHONPATH=src\n",
    ".vscode/settings.json": '{"python.defaultInterpreterPath": "libs/Py3/bin/python", "n": 4}',
    ".env.test": "DEBUG=1\nAPI_KEY=${API_KEY}\n",
    ".env.example": "TOKEN=\n",
    "prod.tfvars": 'region = "eu-west-1"\n',
    ".azure/pipelines.yml": "steps:\n- script: make\n",
    ".aws/config": "[default]\nregion = eu-west-1\n",
}


def test_what_only_has_the_name_of_a_secret_travels(plum: Path) -> None:
    """Translations, schemas, templates and sources are judged by what is in them."""
    git(plum, "init", "-q")
    for name, text in PUBLIC.items():
        write(plum / name, text)
    git(plum, "add", "-A", "-f", ".")
    found = collected([str(plum)])
    assert [name for name in PUBLIC if name not in found.files] == []
    assert [name for name, _ in found.left_out if name in PUBLIC] == []


@pytest.mark.parametrize("above", [".direnv", "gcloud", ".config/gcloud", ".aws", ".ssh", ".kube"])
def test_where_an_environment_lies_says_nothing(above: str, tmp_path: Path) -> None:
    """Names are judged below the prefix: direnv keeps environments in `.direnv`."""
    fake = make_environment(tmp_path / above)
    fake.add(f"{SITE}/mine.py", "x = 1\n")
    fake.add("share/models/m.txt", "x\n")
    fake.add("share/jupyter/kernels/foo/logo.png", "x\n")
    report = packed(fake)
    assert report.secrets == ()
    assert not [each for each in report.left_out if each.reason.name == "SECRETS"]


def test_a_link_to_a_file_of_secrets(tmp_path: Path) -> None:
    """What it leads to counts, by the names at its end."""
    fake = make_environment(tmp_path)
    for name in (".aws/credentials", ".config/gh/hosts.yml", ".ssh/x", "gcloud/data.txt"):
        target = write(tmp_path / "home" / name, "x\n")
        link = fake.root / "share" / name.replace("/", "-").strip(".")
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(target)
    out = {each.name for each in packed(fake).left_out if each.reason.name == "SECRETS"}
    assert out == {f"share/{name}" for name in ("aws-credentials", "config-gh-hosts.yml", "ssh-x")}
