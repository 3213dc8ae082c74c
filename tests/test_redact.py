"""Secrets in URLs are found however they are written, and nothing else is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envpack.errors import EnvpackError
from envpack.redact import all_stripped, has_secrets, is_secret_name, masked, stripped
from envpack.urls import host_of, shown

SECRET = "S3cr3t"  # noqa: S105 - it is none

HIDDEN = [
    (f"https://u:{SECRET}@h/x", "https://h/x"),
    (f"https://u:p@{SECRET}@h/x", "https://h/x"),
    (f"https://u:p/{SECRET}@h/x", "https://h/x"),
    (f"https://u:p/a@s/{SECRET}@h.org/x", "https://h.org/x"),
    (f"https://u:p@s/{SECRET}@h", "https://h"),
    (f"https://u:p?{SECRET}@h/x", "https://h/x"),
    (f"https://u:p#{SECRET}@h/x", "https://h/x"),
    (f"https://u:12/{SECRET}@h.org/x", "https://h.org/x"),
    (f"https://us/er:{SECRET}@h/x", "https://h/x"),
    (f"https://me@d.org:{SECRET}@h/x", "https://h/x"),
    (f"https://{SECRET}@h/x", "https://h/x"),
    (f"https://:{SECRET}@h/x", "https://h/x"),
    (f"https://u%40d:{SECRET}%2F@h/x", "https://h/x"),
    (f"HTTPS://u:{SECRET}@h:80/a@b", "HTTPS://h:80/a@b"),
    (f" https://u:{SECRET}@[fe80::1]/x", " https://[fe80::1]/x"),
    (f"https://u:{SECRET}@[x/y", "https://[x/y"),
    (f"//u:{SECRET}@h/x", "//h/x"),
    (f"ssh://git:{SECRET}@h/r", "ssh://h/r"),
    (f"git+https://{SECRET}@g.org/a.git@v1#egg=x", "git+https://g.org/a.git@v1#egg=x"),
    (f"postgres://u:{SECRET}@db/x", "postgres://db/x"),
    (f"https://proxy/https://u:{SECRET}@h/x", "https://proxy/https://h/x"),
    (f"https://h/x?sig={SECRET}&rev=1", "https://h/x"),
    (f"https://h/x?rev=1;private_token={SECRET}", "https://h/x"),
    (f"https://h?access_token={SECRET}", "https://h"),
    (f"https://h/x?X-Amz-Signature={SECRET}", "https://h/x"),
    (f"https://h/x?AWSAccessKeyId={SECRET}", "https://h/x"),
    (f"https://h/x?key={SECRET}#sha256=0", "https://h/x#sha256=0"),
    (f"https://h/x?q={SECRET}{'abcXYZ012' * 4}", "https://h/x"),
    (f"https://h/x#tok={SECRET}", "https://h/x"),
    (f"x @ https://u:{SECRET}@h/x.whl ; python_version > '3'", None),
    (f'{{"a": "https://u:{SECRET}@h/x", "b": 1}}', '{"a": "https://h/x", "b": 1}'),
]  # fmt: skip

HARMLESS = [
    "https://h/x", "ssh://git@h/x", "https://git@h/r.git", "svn+ssh://me@h/a",
    "https://${USER}:${TOKEN}@h/x", "https://${TOKEN}@h/x", "git+https://g.org/a/b.git@v1.0",
    "https://h/a@b", "https://h:8080/a@1.0", "https://h.org/@scope/x:1", "https://h/x?rev=1&x=2",
    "https://h/x#sha256=0123abc", "https://h/x#egg=a&subdirectory=b", "https://h/#/docs",
    "https://[::1]:80/a@b", "text // me@example.org", "me@example.org", "https://h/?author=me",
    "https://pkgs.example.org/o/_packaging/f@Local/simple/", "a//b@c",
]  # fmt: skip


@pytest.mark.parametrize(("url", "left"), HIDDEN)
def test_secrets_go(url: str, left: str | None) -> None:
    """Out of what programs read, out of what people read, and out of every error's sentence."""
    for text in (stripped(url), masked(url), shown(url), host_of(url)):
        assert SECRET not in text
    assert SECRET not in str(EnvpackError(f"cannot fetch `{url}`", hint=f"see {url}").hint)
    assert SECRET not in str(EnvpackError(f"cannot fetch `{url}`"))
    assert "***" in masked(url)
    assert has_secrets(url)
    assert left is None or stripped(url) == left


@pytest.mark.parametrize("url", HARMLESS)
def test_the_rest_stays(url: str) -> None:
    """Revisions, hosts with ports, fragments with hashes, variables, the account `git`."""
    assert stripped(url) == masked(url) == url
    assert not has_secrets(url)


def test_values_of_json() -> None:
    """Every string of a value is looked at, at any depth, and only strings change."""
    value = {"url": f"https://u:{SECRET}@h/", "n": [1, None, {"x": f"https://{SECRET}@h"}]}
    assert all_stripped(value) == {"url": "https://h/", "n": [1, None, {"x": "https://h"}]}


@pytest.mark.parametrize("name", ["API_TOKEN", "DB_PASSWORD", "clientSecret", "AWS_ACCESS_KEY_ID"])
def test_names_that_tell(name: str) -> None:
    """Of variables, in any spelling."""
    assert is_secret_name(name)
    assert not is_secret_name("TOKENIZERS_PARALLELISM")


PIECES = ["https://", "//", "u", ":", "@", "/", "h.org", "12", "?sig=a", "#", " ", "[::1]", "git"]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_what_is_left_has_none(text: str) -> None:
    """What was stripped has nothing more to strip but a URL that was the password of another."""
    for _ in range(3):
        text = stripped(text)
    assert stripped(text) == text


@pytest.mark.parametrize(
    "text", ["/" * 200_000, "a://" * 50_000, "//u:b/@" * 30_000, "@" * 200_000]
)
def test_long_texts_take_no_time(text: str) -> None:
    """Time grows with the length alone, whatever a text is made of."""
    begin = time.process_time()
    masked(text)
    assert time.process_time() - begin < 5
