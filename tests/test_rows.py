"""Long lists in little memory: what goes in comes out, and little is held."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from envpack.distributions import distributions_in
from envpack.entries import EntryList
from envpack.environment import discover
from envpack.model import Digest, Disk, Head, LeftOut, Reason
from envpack.owners import Owners
from envpack.plan import make_plan
from envpack.rows import DigestList, LeftOuts
from tests.trees import FakeEnvironment, make_environment, write

SITE = "lib/python3.12/site-packages"
MOST = 250
"""Bytes that a plan may hold for one file."""

sizes = st.integers(0, 2**63)


@given(st.lists(st.tuples(st.binary(min_size=32, max_size=32), sizes), max_size=1100))
def test_digests_come_out_as_they_went_in(pairs: list[tuple[bytes, int]]) -> None:
    """In order, whether added one by one, list by list, or kept as bytes meanwhile."""
    digests = [Digest(sha256.hex(), size) for sha256, size in pairs]
    one, other = DigestList(), DigestList()
    for digest in digests:
        one.append(digest)
        assert one.last == digest
    other.extend(one)
    assert list(other) == list(DigestList(one.data)) == digests
    assert len(other) == len(digests)


@given(
    st.lists(
        st.builds(LeftOut, st.text(), st.sampled_from(Reason), sizes), min_size=1, max_size=1100
    )
)
def test_what_is_left_out_comes_out_as_it_went_in(items: list[LeftOut]) -> None:
    """Also where it was packed, and names that are no UTF-8 too."""
    left = LeftOuts()
    for item in items:
        left.append(item)
    assert list(left) == items
    assert len(left) == len(items)
    assert items[-1] in left


def test_who_owns_a_file(tmp_path: Path) -> None:
    """A folder of one distribution is its own; elsewhere every file has its own owner."""
    fake = make_environment(tmp_path)
    fake.install("one", "1", {"one/a.py": "", "shared/one.py": "", "../../../bin/one": ""})
    fake.install(
        "two", "1", {"two/a.py": "", "shared/two.py": "", "shared/one.py": "", "two.py": ""}
    )
    owners = Owners(SITE, distributions_in(str(fake.root), SITE))
    names = {
        f"{SITE}/one/a.py": "one",
        f"{SITE}/one/later.txt": "one",
        f"{SITE}/shared/one.py": "one",
        f"{SITE}/shared/two.py": "two",
        f"{SITE}/shared/later.py": None,
        f"{SITE}/two.py": "two",
        f"{SITE}/later.py": None,
        f"{SITE}/two-1.dist-info/extra.json": "two",
        f"{SITE}/two-1.dist-info/sub/extra.json": "two",
        "bin/one": "one",
        "bin/two": None,
    }
    found = {name: owners.of(name) for name in names}
    assert {name: dist.name if dist else None for name, dist in found.items()} == names
    assert [owners.shares(folder) for folder in (SITE, f"{SITE}/shared", "bin")] == [True] * 3
    for folder, dist in (("one", "one"), ("two-1.dist-info/sub", "two"), ("later", None)):
        assert not owners.shares(f"{SITE}/{folder}")
        owner = owners.of_folder(f"{SITE}/{folder}")
        assert (owner.name if owner else None) == dist


def many(folder: Path, count: int) -> FakeEnvironment:
    """Make an environment of `count` files in distributions of a hundred."""
    fake = make_environment(folder)
    for number in range(0, count, 100):
        name = f"package_{number:06}"
        fake.install(name, "1.0", {f"{name}/part_{i % 5}/module_{i:04}.py": "" for i in range(100)})
    return fake


def held(fake: FakeEnvironment) -> tuple[int, int]:
    """Return the number of entries of a plan, and the bytes that it keeps."""
    environment = discover(str(fake.root))
    tracemalloc.start()
    dists = distributions_in(environment.root, environment.site_packages)
    plan = make_plan(environment, dists, mtime=0)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return len(plan.entries), size


def test_a_plan_holds_little_for_each_file(tmp_path: Path) -> None:
    """Objects for each would be a kilobyte and more: an environment may have 200 000 files."""
    few, some = held(many(tmp_path / "few", 500)), held(many(tmp_path / "some", 3000))
    assert some[0] - few[0] > 2500
    assert (some[1] - few[1]) / (some[0] - few[0]) < MOST


def test_the_heads_of_a_run_are_those_of_its_entries(tmp_path: Path) -> None:
    """In the same order: digests are kept by it, be the entries packed, single or aliases."""
    fake = many(tmp_path, 300)
    fake.install("linked", "1", {"linked/a.py": "", "linked/b.py": "", "../../../bin/linked": ""})
    (fake.root / SITE / "linked/ab.py").symlink_to("a.py")
    write(tmp_path / "elsewhere/c.py", "")
    (fake.root / SITE / "linked/aa.py").symlink_to(tmp_path / "elsewhere/c.py")
    environment = discover(str(fake.root))
    plan = make_plan(environment, distributions_in(environment.root, SITE), mtime=0)
    heads = [head for run in plan.entries.runs() for head in run.heads()]
    assert heads == [Head.of(entry) for run in plan.entries.runs() for entry in run]
    assert {Path(head.name).name for head in heads if head.alias} >= {"ab.py", "python3"}
    assert len(heads) == len(plan.entries)
    for run in EntryList(list(plan.entries)).runs():
        assert list(run.heads()) == [Head.of(entry) for entry in run]


def test_a_name_taken_twice_is_a_clash(tmp_path: Path) -> None:
    """The environment's file wins over the interpreter's in the same folder, and that is said."""
    fake = make_environment(tmp_path)
    write(fake.prefix / "lib/python3.12/config-3.12-x86_64-linux-gnu/extra.txt", "theirs")
    write(fake.prefix / "lib/python3.12/extra.txt", "theirs")
    fake.add("lib/python3.12/extra.txt", "ours")
    environment = discover(str(fake.root))
    plan = make_plan(environment, distributions_in(environment.root, SITE), mtime=0)
    assert [(c.name, c.kept, c.dropped) for c in plan.clashes] == [
        ("lib/python3.12/extra.txt", "environment", "interpreter")
    ]
    (entry,) = (entry for entry in plan.entries if entry.name == "lib/python3.12/extra.txt")
    assert isinstance(entry.content, Disk)
    assert entry.content.path == str(fake.root / "lib/python3.12/extra.txt")
    names = [entry.name for entry in plan.entries]
    assert len(names) == len(set(names)) == len(plan.entries)
    assert plan.entries.size == sum(
        entry.content.size for entry in plan.entries if isinstance(entry.content, Disk)
    ) + sum(len(getattr(entry.content, "data", b"")) for entry in plan.entries)
