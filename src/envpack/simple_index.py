"""A package index of plain files, with hashes, requires-python and metadata.

Source: the *simple repository API* specification, its HTML form, version 1.0 (PEP 503, 658, 714).
Links are relative, so that the index is right at any path and behind any web server.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from html.parser import HTMLParser
from urllib.parse import quote, unquote, urlsplit

PAGE = "index.html"
METADATA = ".metadata"
"""What is added to a wheel's name to find its core metadata (PEP 658)."""

_HEAD = """\
<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
<meta name="pypi:repository-version" content="1.0">
<title>{title}</title>
</head>
<body>
"""
_TAIL = "</body>\n</html>\n"


@dataclass(frozen=True, slots=True)
class Link:
    """One file of a project: `path` is relative to its page, `metadata` a sha256 or ""."""

    path: str
    sha256: str
    requires_python: str = ""
    metadata: str = ""


def project_page(name: str, links: Iterable[Link]) -> str:
    """Return the page of one project."""
    lines = [_HEAD.format(title=f"Links for {escape(name)}")]
    for link in links:
        href = f"{quote(link.path)}#sha256={link.sha256}"
        words = [f'href="{escape(href)}"']
        if link.requires_python:
            words.append(f'data-requires-python="{escape(link.requires_python)}"')
        if link.metadata:
            value = f'"sha256={link.metadata}"'
            words += [f"data-core-metadata={value}", f"data-dist-info-metadata={value}"]
        file = escape(posixpath.basename(link.path))
        lines.append(f"<a {' '.join(words)}>{file}</a><br>\n")
    return "".join([*lines, _TAIL])


def root_page(names: Iterable[str]) -> str:
    """Return the page that lists all projects, by their normalised names."""
    links = (f'<a href="{quote(name)}/">{escape(name)}</a><br>\n' for name in names)
    return "".join([_HEAD.format(title="Simple index"), *links, _TAIL])


def read_page(text: str) -> tuple[Link, ...]:
    """Return the links of a project's page; `path` is what the page is relative to."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return tuple(reader.found)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Link] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an anchor."""
        words = dict(attrs)
        href = words.get("href")
        if tag != "a" or not href:
            return
        parts = urlsplit(href)
        digest = re.fullmatch(r"sha256=([0-9a-f]{64})", parts.fragment)
        metadata = (words.get("data-core-metadata") or "").removeprefix("sha256=")
        self.found.append(
            Link(
                unquote(parts.path),
                digest[1] if digest else "",
                words.get("data-requires-python") or "",
                metadata,
            )
        )
