"""RECORD files among the entries of a draft: their places first, what they say when all else is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from envpack.distributions import Distribution
from envpack.draft import RECORD, Draft, Place, place_of
from envpack.model import Entry, Inline, LeftOut, Reason
from envpack.records import Record
from envpack.select import CACHED


def add_records(
    draft: Draft, records: list[Record], folder: str, dists: Sequence[Distribution], origin: str
) -> None:
    """Enter a RECORD for each that had one, to be made from what is really written."""
    for dist in dists:
        if dist.record:
            record = Record(f"{folder}/{dist.info}/RECORD", dist.rows)
            add_record(draft, records, record, place_of(dist), origin)


def add_record(
    draft: Draft, records: list[Record], record: Record, place: Place, origin: str
) -> None:
    """Hold the place of a RECORD."""
    records.append(record)
    draft.add(Entry(record.name, Inline(b""), relocate=False), place, origin, rank=RECORD)


def is_record(name: str, folder: str, owner: Distribution) -> bool:
    """Say whether `name` is the RECORD of a distribution in `folder`."""
    return name.endswith("/RECORD") and name == f"{folder}/{owner.info}/RECORD"


def settle_records(draft: Draft, records: Sequence[Record]) -> None:
    """Find out what each RECORD asks of other runs, and what it names that is gone."""
    left = {item.name for item in draft.left_out if item.reason is not Reason.BYTECODE}
    for record in records:
        place, beyond, rows = draft.place(record.name), set(), tuple(record.rows())
        names = (row.name for row in rows if row.name is not None)
        elsewhere = dict(draft.elsewhere(place, names))
        for row in rows:
            if row.name is not None and row.name not in elsewhere:
                continue
            if row.name is not None and elsewhere[row.name] is not None:
                beyond.add(row.name)
            elif row.name != record.name and row.name not in left and CACHED not in row.path:
                draft.left_out.append(LeftOut(row.name or row.path, Reason.MISSING))
        if place is not None:
            text = "\0".join(row.path for row in rows).encode("utf-8", "surrogateescape")
            seed = hashlib.sha256(text).hexdigest()
            draft.replace_content(record.name, record.content(frozenset(beyond), seed))
