"""RECORD, as it is read in an environment and as it is written into an archive."""

from __future__ import annotations

import csv
import io
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from envpack.distributions import Distribution, RecordRow
from envpack.model import Digest
from envpack.records import rewritten

PATHS = st.text(st.sampled_from("ab/.,\"' \r\n\x0bé\udcff-+"), min_size=1, max_size=12)


def read(data: bytes) -> list[list[str]]:
    """Return the rows as Python's csv reads them."""
    text = data.decode("utf-8", "surrogateescape")
    return list(csv.reader(io.StringIO(text, newline="")))


@given(st.lists(PATHS, unique=True), st.binary())
def test_what_is_written_is_what_csv_reads(paths: list[str], data: bytes) -> None:
    """Each path in one field, its own hash and size behind it, RECORD's own row without."""
    rows = [RecordRow(path, f"x/{path}") for path in (*paths, "own")]
    digest = Digest(sha256(data).hexdigest(), len(data))
    made = rewritten(lambda: rows, "x/own", {f"x/{path}": digest for path in paths})
    *others, own = read(made)
    assert own == ["own", "", ""]
    assert [row[0] for row in others] == paths
    assert {tuple(row[1:]) for row in others} <= {(encoded(data), str(len(data)))}


def encoded(data: bytes) -> str:
    """Return a hash as the specification of RECORD has it, the plain way."""
    return "sha256=" + urlsafe_b64encode(sha256(data).digest()).decode().rstrip("=")


def test_a_row_without_a_file_is_dropped() -> None:
    """A path outside the prefix, and one whose file is not in the archive."""
    rows = [RecordRow("../../../x", None), RecordRow("gone.py", "x/gone.py")]
    assert rewritten(lambda: rows, "x/own", {}) == b""


@given(st.text(st.sampled_from("ab/.,\"' \r\n\x0bé")))
def test_paths_are_read_as_csv_reads_them(text: str) -> None:
    """With quotes or without, whatever ends the lines."""
    with TemporaryDirectory() as folder:
        record = Path(folder, "RECORD")
        record.write_bytes(text.encode())
        dist = Distribution("a", "1", "a-1.dist-info", "lib", str(record), None, False)
        assert [row.path for row in dist.rows()] == [row[0] for row in read(text.encode()) if row]
