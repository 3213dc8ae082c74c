"""Pages of a package index: what is written is what is read, and names cannot break out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from envpack.simple_index import Link, project_page, read_page, root_page

hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=30)
parts = texts.filter(bool)


@given(st.lists(st.builds(Link, parts.map("../../packages/{}".format), hashes, texts, hashes)))
def test_pages_come_back(links: list[Link]) -> None:
    """Whatever is in a file's name or a specifier."""
    assert read_page(project_page("name", links)) == tuple(links)


def test_a_page() -> None:
    """The form is that of the specification: escaped, with both names of the metadata's hash."""
    link = Link("../../packages/a-1+b.whl", "0" * 64, ">=3.9,<4", "1" * 64)
    lines = project_page("a", [link]).splitlines()
    assert lines[4:] == [
        '<meta name="pypi:repository-version" content="1.0">',
        "<title>Links for a</title>",
        "</head>",
        "<body>",
        f'<a href="../../packages/a-1%2Bb.whl#sha256={"0" * 64}"'
        ' data-requires-python="&gt;=3.9,&lt;4"'
        f' data-core-metadata="sha256={"1" * 64}" data-dist-info-metadata="sha256={"1" * 64}">'
        "a-1+b.whl</a><br>",
        "</body>",
        "</html>",
    ]


def test_the_root() -> None:
    """Each project has a relative link to its folder."""
    assert '<a href="a-b/">a-b</a><br>\n<a href="c/">c</a><br>\n' in root_page(["a-b", "c"])


def test_other_anchors() -> None:
    """A link without a hash has none; an anchor without a link is no link."""
    assert read_page('<a name="x">x</a><a href="y.whl">y</a>') == (Link("y.whl", ""),)
