"""The plan: what goes in, in which order, and what stays out and why."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from envpack.distributions import distributions_in
from envpack.editable import Replacement
from envpack.environment import discover
from envpack.errors import SourceFault, UsageError
from envpack.model import (
    Alias,
    Derived,
    Digest,
    Disk,
    Editable,
    EditableForm,
    Inline,
    Plan,
    Reason,
)
from envpack.plan import make_plan
from envpack.select import Filter
from tests.test_floor import elf as shared_object
from tests.trees import FakeEnvironment, elf, install, make_environment, write

SITE = "lib/python3.12/site-packages"


def plan_of(fake: FakeEnvironment, **options: object) -> Plan:
    environment = discover(str(fake.root))
    dists = distributions_in(environment.root, environment.site_packages)
    return make_plan(environment, dists, mtime=0, **options)  # type: ignore[arg-type]


def names(plan: Plan) -> list[str]:
    return [entry.name for entry in plan.entries]


def reasons(plan: Plan) -> dict[str, Reason]:
    return {item.name: item.reason for item in plan.left_out}


def derived(plan: Plan, name: str) -> bytes:
    """Return what a derived entry becomes if every file has the digest of its own name."""
    (entry,) = (entry for entry in plan.entries if entry.name == name)
    assert isinstance(entry.content, Derived)
    return entry.content.make({n: Digest("00" * 32, len(n)) for n in names(plan)})


def test_the_order_is_interpreter_distributions_rest_manifest(tmp_path: Path) -> None:
    """Each distribution is one run with its RECORD last, sorted by normalised name."""
    fake = make_environment(tmp_path)
    fake.install("Zope.Event", "5.0", {"zope/event.py": ""})
    fake.install("numpy", "2.0", {"numpy/core.py": "", "../../../bin/f2py": "#!/bin/sh\n"})
    fake.add(f"{SITE}/loose.py")
    assert names(plan_of(fake)) == [
        "bin/pydoc3.12",
        "bin/python",
        "include/python3.12/patchlevel.h",
        "lib/libpython3.12.so.1.0",
        "lib/pkgconfig/python-3.12.pc",
        "lib/python3.12/_sysconfigdata__linux_x86_64-linux-gnu.py",
        "lib/python3.12/os.py",
        "lib/python3.12/config-3.12-x86_64-linux-gnu/Makefile",
        "bin/pydoc3",
        "bin/python3",
        "bin/python3.12",
        "lib/libpython3.12.so",
        "bin/f2py",
        f"{SITE}/numpy/core.py",
        f"{SITE}/numpy-2.0.dist-info/INSTALLER",
        f"{SITE}/numpy-2.0.dist-info/METADATA",
        f"{SITE}/numpy-2.0.dist-info/RECORD",
        f"{SITE}/Zope.Event-5.0.dist-info/INSTALLER",
        f"{SITE}/Zope.Event-5.0.dist-info/METADATA",
        f"{SITE}/zope/event.py",
        f"{SITE}/Zope.Event-5.0.dist-info/RECORD",
        "pyvenv.cfg",
        "bin/activate",
        "bin/activate.fish",
        f"{SITE}/loose.py",
        "share/envpack/manifest.json",
    ]


def test_everything_left_out_has_a_reason(tmp_path: Path) -> None:
    """One reason per kind, by name."""
    fake = make_environment(tmp_path)
    assert reasons(plan_of(fake)) == {
        "BUILD": Reason.UV_BOOKKEEPING,
        "bin/pip3": Reason.BASE_SCRIPT,
        "lib/python3.12/EXTERNALLY-MANAGED": Reason.EXTERNALLY_MANAGED,
        "lib/python3.12/__pycache__/os.cpython-312.pyc": Reason.BYTECODE,
        "lib/python3.12/config-3.12-x86_64-linux-gnu/libpython3.12.a": Reason.STATIC_LIBRARY,
        "lib/python3.12/config-3.12-x86_64-linux-gnu/python.o": Reason.STATIC_LIBRARY,
        f"{SITE}/pip-23.2.1.dist-info/INSTALLER": Reason.BASE_SITE_PACKAGES,
        f"{SITE}/pip-23.2.1.dist-info/METADATA": Reason.BASE_SITE_PACKAGES,
        f"{SITE}/pip-23.2.1.dist-info/RECORD": Reason.BASE_SITE_PACKAGES,
        f"{SITE}/pip.py": Reason.BASE_SITE_PACKAGES,
        ".gitignore": Reason.VENV_BOOKKEEPING,
        ".lock": Reason.UV_BOOKKEEPING,
        "CACHEDIR.TAG": Reason.VENV_BOOKKEEPING,
        "bin/activate": Reason.VENV_BOOKKEEPING,
        "bin/activate.csh": Reason.ACTIVATE,
        "bin/python": Reason.VENV_BOOKKEEPING,
        "bin/python3": Reason.VENV_BOOKKEEPING,
        "bin/python3.12": Reason.VENV_BOOKKEEPING,
        "pyvenv.cfg": Reason.VENV_BOOKKEEPING,
    }


def test_the_executable_is_one_real_file(tmp_path: Path) -> None:
    """bin/python holds the bytes, its other names are aliases of it."""
    plan = plan_of(make_environment(tmp_path))
    entries = {entry.name: entry for entry in plan.entries}
    python = entries["bin/python"].content
    assert isinstance(python, Disk)
    for name in ("bin/python3", "bin/python3.12"):
        assert entries[name].content == Alias("bin/python", "python", python)
        assert entries[name].executable
    soname = entries["lib/libpython3.12.so.1.0"]
    assert isinstance(soname.content, Disk), "what ld.so opens is the real file"
    assert entries["lib/libpython3.12.so"].content == Alias(
        soname.name, "libpython3.12.so.1.0", soname.content
    )


def test_system_site_packages_bring_the_bases_in(tmp_path: Path) -> None:
    """With their scripts and RECORD, unless the environment has a distribution of that name."""
    fake = make_environment(tmp_path, system_site=True)
    base_site = fake.prefix / SITE
    install(base_site, "six", "1.0", {"six.py": "old"})
    fake.install("six", "2.0", {"six.py": "new"})
    plan = plan_of(fake)
    assert "bin/pip3" in names(plan)
    assert f"{SITE}/pip-23.2.1.dist-info/RECORD" in names(plan)
    assert reasons(plan)[f"{SITE}/six-1.0.dist-info/METADATA"] is Reason.SHADOWED
    assert [(p.name, p.version) for p in plan.packages] == [("pip", "23.2.1"), ("six", "2.0")]
    (six,) = (entry for entry in plan.entries if entry.name == f"{SITE}/six.py")
    assert isinstance(six.content, Disk)
    assert six.content.path.startswith(str(fake.root))


def test_a_link_to_a_script_of_the_base_is_one_too(tmp_path: Path) -> None:
    """Though no RECORD names it; without its package it would start nothing."""
    fake = make_environment(tmp_path)
    (fake.prefix / "bin/pip").symlink_to("pip3")
    plan = plan_of(fake)
    assert "bin/pip" not in names(plan)
    assert reasons(plan)["bin/pip"] is Reason.BASE_SCRIPT


def test_a_link_to_what_stays_out_stays_out(tmp_path: Path) -> None:
    """Whatever it is called: here a static library."""
    fake = make_environment(tmp_path)
    static = "python3.12/config-3.12-x86_64-linux-gnu/libpython3.12.a"
    (fake.prefix / "lib/plain-name").symlink_to(static)
    plan = plan_of(fake)
    assert "lib/plain-name" not in names(plan)
    assert reasons(plan)["lib/plain-name"] is reasons(plan)[f"lib/{static}"]


@pytest.mark.parametrize("glob", ["bin/*", "*python3.12*", "lib/*", "*/os.py"])
def test_an_archive_that_cannot_start_is_refused(tmp_path: Path, glob: str) -> None:
    """Unless it is to have no Python; what else of the interpreter goes is the user's choice."""
    fake = make_environment(tmp_path)
    with pytest.raises(UsageError, match=r"could not start: `--exclude` leaves out `") as caught:
        plan_of(fake, filters=[Filter(True, glob)])
    assert caught.value.hint == "to pack without a Python, give --no-python"
    assert plan_of(fake, filters=[Filter(True, glob)], starter="")
    assert plan_of(fake, filters=[Filter(True, "lib/libpython3.12.so*"), Filter(True, "*/x.py")])


def test_a_python_without_its_library_is_refused(tmp_path: Path) -> None:
    """One that has all in itself does without, and is smaller by 30 MB."""
    fake = make_environment(tmp_path)
    out = [Filter(True, "lib/libpython3.12.so.1.0")]
    write(fake.prefix / "bin/python3.12", shared_object(["libpython3.12.so.1.0"]), 0o755)
    with pytest.raises(
        SourceFault, match=r"`bin/python` needs `libpython3\.12\.so\.1\.0`, which is out"
    ):
        plan_of(fake, filters=out)
    write(fake.prefix / "bin/python3.12", shared_object(["libc.so.6"]), 0o755)
    assert plan_of(fake, filters=out)


def test_the_environment_wins_a_clash(tmp_path: Path) -> None:
    """And the clash is reported."""
    fake = make_environment(tmp_path)
    fake.add("bin/pydoc3.12", "#!/bin/sh\n")
    plan = plan_of(fake)
    (clash,) = plan.clashes
    assert (clash.name, clash.kept, clash.dropped) == (
        "bin/pydoc3.12",
        "environment",
        "interpreter",
    )
    assert names(plan).count("bin/pydoc3.12") == 1


def test_a_directory_beats_a_file_of_the_interpreter(tmp_path: Path) -> None:
    """An archive cannot hold both."""
    fake = make_environment(tmp_path)
    write(fake.prefix / "share/doc", "text")
    fake.add("share/doc/tool/README", "text")
    plan = plan_of(fake)
    assert "share/doc" not in names(plan)
    (clash,) = plan.clashes
    assert (clash.name, clash.kept, clash.dropped) == ("share/doc", "environment", "interpreter")


def made_real(fake: FakeEnvironment, **options: object) -> Plan:
    """Plan with one editable that became real files."""
    editable = Editable("ed", "1", EditableForm.COPIED, "", "")
    return plan_of(fake, replacements=[Replacement(editable, "", **options)])  # type: ignore[arg-type]


def test_hooks_stay_out_wherever_they_are(tmp_path: Path) -> None:
    """Also in a folder of which all else goes in; what stands for a hook is no hook."""
    fake = make_environment(tmp_path)
    for name in ("ed/hook.py", "ed/else.py", "ed.pth"):
        fake.add(f"{SITE}/{name}")
    hooks = (f"{SITE}/ed/hook.py", f"{SITE}/ed.pth")
    plan = made_real(fake, files=(), hooks=hooks, inline=((f"{SITE}/ed.pth", b"import os\n"),))
    assert reasons(plan)[hooks[0]] is Reason.EDITABLE_HOOK
    assert hooks[0] not in names(plan)
    assert f"{SITE}/ed/else.py" in names(plan)
    assert hooks[1] in names(plan)
    assert hooks[1] not in reasons(plan)


def test_scripts_of_an_editable_can_be_started(tmp_path: Path) -> None:
    """Whatever their mode was where they came from."""
    fake = make_environment(tmp_path)
    script = write(tmp_path / "tool", "#!/bin/sh\n", 0o644)
    files = (("bin/tool", str(script)), (f"{SITE}/tool.py", str(script)))
    plan = made_real(fake, files=files, hooks=())
    modes = {entry.name: entry.executable for entry in plan.entries}
    assert (modes["bin/tool"], modes[f"{SITE}/tool.py"]) == (True, False)


def test_lib64_is_lib(tmp_path: Path) -> None:
    """venv makes it a link, and its files are not there twice."""
    fake = make_environment(tmp_path)
    fake.install("alpha", "1.0", {"alpha/a.py": ""})
    if not (fake.root / "lib64").is_symlink():
        (fake.root / "lib64").symlink_to("lib")
    plan = plan_of(fake)
    assert plan.clashes == ()
    assert len(names(plan)) == len(set(names(plan)))
    assert not any(name.startswith("lib64") for name in (*names(plan), *reasons(plan)))


def test_a_shared_prefix_gives_only_python(tmp_path: Path) -> None:
    """What a self-compiled Python shares its prefix with is not ours to ship."""
    fake = make_environment(tmp_path)
    prefix = tmp_path / "opt" / "stuff"
    prefix.parent.mkdir()
    fake.prefix.rename(prefix)
    link = fake.root / "bin/python"
    link.unlink()
    link.symlink_to(prefix / "bin/python3.12")
    for name in ("bin/psql", "bin/python3.11", "etc/secret", "share/app/x", "lib/node/x.js"):
        write(prefix / name)
    plan = plan_of(fake)
    for name in ("bin/psql", "bin/python3.11", "etc/secret", "share/app/x", "lib/node/x.js"):
        assert name not in names(plan)
    assert reasons(plan)["etc/secret"] is Reason.NOT_PYTHON
    assert "lib/python3.12/os.py" in names(plan)
    assert "lib/libpython3.12.so.1.0" in names(plan)


def test_record_tells_what_is_written(tmp_path: Path) -> None:
    """Rows of left-out files go, hashes and sizes are those of the archive."""
    fake = make_environment(tmp_path)
    info = fake.install(
        "tool",
        "1.0",
        {"tool.py": "x", "gone.py": "x", "__pycache__/tool.cpython-312.pyc": "x", "a,b.txt": ""},
        direct_url={"url": "file:///home/me/tool", "dir_info": {}},
    )
    (fake.site / "gone.py").unlink()
    write(info / "uv_cache.json", "{}")
    with (info / "RECORD").open("a") as record:
        record.write(f"{info.name}/uv_cache.json,,\n/etc/tool.conf,,\n")
    plan = plan_of(fake)
    rows = derived(plan, f"{SITE}/tool-1.0.dist-info/RECORD").decode().splitlines()

    def row(path: str) -> str:
        quoted = f'"{path}"' if "," in path else path
        return f"{quoted},sha256={'A' * 43},{len(f'{SITE}/{path}')}"

    assert rows == [
        row("tool.py"),
        row("a,b.txt"),
        row("tool-1.0.dist-info/METADATA"),
        row("tool-1.0.dist-info/INSTALLER"),
        "tool-1.0.dist-info/RECORD,,",
    ]
    left = reasons(plan)
    assert left[f"{SITE}/gone.py"] is Reason.MISSING
    assert left["/etc/tool.conf"] is Reason.MISSING
    assert left[f"{SITE}/tool-1.0.dist-info/direct_url.json"] is Reason.LOCAL_URL
    assert left[f"{SITE}/tool-1.0.dist-info/uv_cache.json"] is Reason.UV_BOOKKEEPING


@pytest.mark.parametrize(
    ("url", "scrubbed"),
    [
        ("https://me:secret@git.example/x.git", "https://git.example/x.git"),
        ("https://token@git.example/x.git", "https://git.example/x.git"),
        ("ssh://git@git.example/x.git", None),
        ("https://files.example/x.whl", None),
    ],
)
def test_credentials_stay_home(tmp_path: Path, url: str, scrubbed: str | None) -> None:
    """User and password leave direct_url.json; the account `git` is no secret."""
    fake = make_environment(tmp_path)
    fake.install("x", "1", {"x.py": ""}, direct_url={"url": url, "vcs_info": {"vcs": "git"}})
    plan = plan_of(fake)
    name = f"{SITE}/x-1.dist-info/direct_url.json"
    (entry,) = (entry for entry in plan.entries if entry.name == name)
    if scrubbed is None:
        assert isinstance(entry.content, Disk)
        assert plan.scrubbed == ()
    else:
        assert isinstance(entry.content, Inline)
        assert json.loads(entry.content.data)["url"] == scrubbed
        assert plan.scrubbed == (name,)


def test_a_link_inside_becomes_an_alias(tmp_path: Path) -> None:
    """In its own directory; in another one it becomes a file of its own."""
    fake = make_environment(tmp_path)
    fake.add("share/x/data-1", "x")
    (fake.root / "share/x/data").symlink_to("data-1")
    (fake.root / "share/near").symlink_to("x/data-1")
    entries = {entry.name: entry for entry in plan_of(fake).entries}
    data = entries["share/x/data-1"].content
    assert isinstance(data, Disk)
    assert entries["share/x/data"].content == Alias("share/x/data-1", "data-1", data)
    assert isinstance(entries["share/near"].content, Disk)


def test_a_link_out_is_packed_and_reported(tmp_path: Path) -> None:
    """As the file, or the files, it points to."""
    fake = make_environment(tmp_path)
    write(tmp_path / "elsewhere/data/file", "x")
    (fake.root / "share").mkdir()
    (fake.root / "share/one").symlink_to(tmp_path / "elsewhere/data/file")
    (fake.root / "share/all").symlink_to(tmp_path / "elsewhere/data")
    plan = plan_of(fake)
    assert {"share/one", "share/all/file"} <= set(names(plan))
    assert plan.outside == (
        ("share/all", str(tmp_path / "elsewhere/data")),
        ("share/one", str(tmp_path / "elsewhere/data/file")),
    )


def test_a_link_into_a_known_place_is_no_outside(tmp_path: Path) -> None:
    """The interpreter's prefix goes in as well, so what leads there leads nowhere else."""
    fake = make_environment(tmp_path)
    (fake.root / "share").mkdir()
    (fake.root / "share/one").symlink_to(fake.prefix / "lib/python3.12/os.py")
    (fake.root / "share/all").symlink_to(fake.prefix / "include/python3.12")
    (fake.root / "share/own").symlink_to(fake.root / "bin")
    plan = plan_of(fake, cache_dir=lambda: pytest.fail("nothing is in uv's cache"))
    assert plan.outside == ()
    assert {"share/one", "share/all/patchlevel.h"} <= set(names(plan))


def test_static_libraries_among_others_stay_out(tmp_path: Path) -> None:
    """In a folder of the standard library that is else taken as a whole."""
    fake = make_environment(tmp_path)
    write(fake.prefix / "lib/python3.12/lib-dynload/_ssl.so", elf())
    write(fake.prefix / "lib/python3.12/lib-dynload/_ssl.a", b"!<arch>\n")
    plan = plan_of(fake)
    assert "lib/python3.12/lib-dynload/_ssl.so" in names(plan)
    assert "lib/python3.12/lib-dynload/_ssl.a" not in names(plan)
    assert reasons(plan)["lib/python3.12/lib-dynload/_ssl.a"] is Reason.STATIC_LIBRARY


def test_uvs_cache_is_no_outside(tmp_path: Path) -> None:
    """`link-mode = symlink` makes every file a link into it."""
    fake = make_environment(tmp_path)
    cached = write(tmp_path / "cache/archive-v0/x/six.py", "x")
    fake.install("six", "1", {"six.py": "x"})
    (fake.site / "six.py").unlink()
    (fake.site / "six.py").symlink_to(cached)
    asked = []

    def cache_dir() -> str:
        asked.append(1)
        return str(tmp_path / "cache")

    plan = plan_of(fake, cache_dir=cache_dir)
    assert plan.outside == ()
    assert asked == [1]
    assert f"{SITE}/six.py" in names(plan)


def test_a_dangling_link_is_refused(tmp_path: Path) -> None:
    """An archive without that file would break later, and elsewhere."""
    fake = make_environment(tmp_path)
    (fake.root / "lost").symlink_to("nowhere")
    with pytest.raises(SourceFault, match="is a link to `nowhere`, which does not exist"):
        plan_of(fake)


@pytest.mark.parametrize("target", ["loop", ".", "..", "../.."])
def test_a_link_loop_is_refused(tmp_path: Path, target: str) -> None:
    """A link to itself, and links to directories above."""
    fake = make_environment(tmp_path)
    fake.add("share/x/file")
    (fake.root / "share/x/loop").symlink_to(target)
    with pytest.raises(SourceFault, match=r"leads back to itself|a directory above it"):
        plan_of(fake)


@pytest.mark.parametrize("glob", ["*/d", "share/*", "*/d/*"])
@pytest.mark.parametrize("target", ["nowhere", "d", ".", "../.."])
def test_what_is_excluded_is_not_judged(tmp_path: Path, target: str, glob: str) -> None:
    """A way out of each refusal, and its hint says so; `--include` asks for the judgement again."""
    fake = make_environment(tmp_path)
    fake.add("share/x/file")
    (fake.root / "share/x/d").symlink_to(target)
    if target == "nowhere" and glob == "*/d/*":
        glob = "*/d*"
    with pytest.raises(SourceFault) as caught:
        plan_of(fake)
    assert "leave it out with --exclude" in str(caught.value.hint).replace("leave\n", "leave ")
    plan = plan_of(fake, filters=[Filter(True, glob)])
    assert reasons(plan)["share/x/d"] is Reason.EXCLUDED
    assert not [name for name in names(plan) if name.startswith("share/x/d")]
    with pytest.raises(SourceFault):
        plan_of(fake, filters=[Filter(True, glob), Filter(False, "*/d*")])


def test_a_closed_folder_may_be_excluded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody need read what stays out."""
    fake = make_environment(tmp_path)
    closed = fake.add("share/x/closed/file").parent
    scandir = os.scandir

    def refused(folder: str) -> object:
        if folder == str(closed):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr("envpack.walk.os.scandir", refused)
    with pytest.raises(SourceFault, match="cannot list") as caught:
        plan_of(fake)
    assert caught.value.hint == "mend or remove it, or leave it out with --exclude"
    plan = plan_of(fake, filters=[Filter(True, "share/x/closed/*")])
    assert reasons(plan)["share/x/closed"] is Reason.EXCLUDED


def test_dangling_links_of_the_interpreter_stay_out(tmp_path: Path) -> None:
    """A missing manual page is no reason to refuse; the user cannot mend it."""
    fake = make_environment(tmp_path)
    (fake.prefix / "lib/lost.so").symlink_to("nowhere")
    assert reasons(plan_of(fake))["lib/lost.so"] is Reason.DANGLING


def test_pipes_and_sockets_stay_out(tmp_path: Path) -> None:
    """Reading one would wait for ever."""
    fake = make_environment(tmp_path)
    os.mkfifo(fake.root / "pipe")
    assert reasons(plan_of(fake))["pipe"] is Reason.SPECIAL


def test_a_real_lib64_is_merged_into_lib(tmp_path: Path) -> None:
    """The packed interpreter looks into lib alone."""
    fake = make_environment(tmp_path)
    (fake.root / "lib64").unlink()
    fake.add("lib64/python3.12/site-packages/platlib.py")
    assert f"{SITE}/platlib.py" in names(plan_of(fake))


def test_moves_and_needles_know_every_spelling(tmp_path: Path) -> None:
    """The environment, its interpreter by either path, and the project around them."""
    fake = make_environment(tmp_path)
    plan = plan_of(fake)
    olds = [move.old for move in plan.moves]
    link = str(tmp_path / "pythons/cpython-3.12-linux-x86_64-gnu")
    assert set(olds) == {str(fake.root), f"{fake.root}/lib64", str(fake.prefix), link}
    assert olds == sorted(olds, key=len, reverse=True)
    assert set(plan.needles) == {str(fake.root), str(fake.prefix), link, str(fake.project)}


def test_a_replacement_stands_for_the_editable_whatever_its_version(tmp_path: Path) -> None:
    """Built as 1.3 though installed as 1.2: one package, one RECORD, no hook."""
    fake = make_environment(tmp_path)
    fake.install(
        "shop",
        "1.2",
        {"_editable_impl_shop.pth": "/home/me/shop/src\n", "../../../bin/shop": "#!/bin/sh\n"},
        direct_url={"url": "file:///home/me/shop", "dir_info": {"editable": True}},
    )
    built = write(tmp_path / "built/shop.py", "x = 1\n")
    script = write(tmp_path / "built/shop", "#!/bin/sh\n", 0o755)
    metadata = write(tmp_path / "built/METADATA", "Name: shop\n")
    hooks = [
        f"{SITE}/shop-1.2.dist-info/{name}"
        for name in ("METADATA", "INSTALLER", "RECORD", "direct_url.json")
    ]
    replacement = Replacement(
        editable=Editable("shop", "1.3", EditableForm.BUILT, "uv"),
        info="shop-1.3.dist-info",
        files=(
            ("bin/shop", str(script)),
            (f"{SITE}/shop-1.3.dist-info/METADATA", str(metadata)),
            (f"{SITE}/shop.py", str(built)),
        ),
        hooks=("bin/shop", f"{SITE}/_editable_impl_shop.pth", *hooks),
        needles=("/home/me/shop",),
    )
    plan = plan_of(fake, replacements=[replacement])
    assert [(p.name, p.version) for p in plan.packages] == [("shop", "1.3")]
    shop = [name for name in names(plan) if "shop" in name]
    assert shop == [
        "bin/shop",
        f"{SITE}/shop.py",
        f"{SITE}/shop-1.3.dist-info/METADATA",
        f"{SITE}/shop-1.3.dist-info/RECORD",
    ]
    assert reasons(plan)[f"{SITE}/_editable_impl_shop.pth"] is Reason.EDITABLE_HOOK
    assert plan.clashes == ()
    assert "/home/me/shop" in plan.needles


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ([], {"six.py", "tests/a.py", "tests/b.py"}),
        ([Filter(True, "*/tests/*")], {"six.py"}),
        ([Filter(True, "*/tests/*"), Filter(False, "*/b.py")], {"six.py", "tests/b.py"}),
        ([Filter(False, "*/b.py"), Filter(True, "*/tests/*")], {"six.py"}),
        ([Filter(True, "*.PY")], {"six.py", "tests/a.py", "tests/b.py"}),
    ],
)
def test_filters_are_ordered(tmp_path: Path, filters: list[Filter], kept: set[str]) -> None:
    """Later ones decide over earlier ones; RECORD names what is there, and the rest is told."""
    fake = make_environment(tmp_path)
    fake.install("six", "1", {"six.py": "", "tests/a.py": "", "tests/b.py": ""})
    plan = plan_of(fake, filters=filters)
    inside = {name.removeprefix(SITE + "/") for name in names(plan)}
    assert inside & {"six.py", "tests/a.py", "tests/b.py"} == kept
    record = derived(plan, f"{SITE}/six-1.dist-info/RECORD").decode()
    assert {line.split(",")[0] for line in record.splitlines()} & {
        "six.py",
        "tests/a.py",
        "tests/b.py",
    } == kept
    out = {name for name, reason in reasons(plan).items() if reason is Reason.EXCLUDED}
    assert out == {f"{SITE}/{n}" for n in {"six.py", "tests/a.py", "tests/b.py"} - kept}


def test_an_excluded_target_leaves_its_alias_a_file(tmp_path: Path) -> None:
    """The alias then holds the bytes itself."""
    plan = plan_of(make_environment(tmp_path), filters=[Filter(True, "*.so.1.0")])
    (entry,) = (entry for entry in plan.entries if entry.name == "lib/libpython3.12.so")
    assert isinstance(entry.content, Disk)
