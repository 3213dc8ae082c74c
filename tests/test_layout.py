"""`layout`: an index of plain files made of locks and requirements, by the real uv."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from functools import partial
from pathlib import Path

import pytest

from envpack import laying
from envpack.errors import OutputFault, ProjectFault, UsageError
from envpack.layout_record import read_layout
from envpack.simple_index import read_page
from envpack.uv import Uv, UvFault
from tests.index_server import IndexServer
from tests.judges import needed
from tests.shelf import source, wheel
from tests.shop import CP, MINOR, PLAIN, files, uv

LINUX = f"native-2.0-{CP}-{CP}-manylinux_2_17_x86_64.whl"
WINDOWS = f"native-2.0-{CP}-{CP}-win_amd64.whl"
PURE = "pure-3.0-py3-none-any.whl"
COLOURS = "colours-4.0-py3-none-any.whl"

layout = partial(laying.layout, python=False, uv=False, seeds=False)
"""Without what no index on this machine has."""


def dists(folder: Path) -> list[str]:
    """Return the names of the wheels and sdists of a layout."""
    return [name for name in files(folder / "packages") if not name.endswith(".metadata")]


def sums(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file of a folder."""
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files(folder)
    }


def inodes(folder: Path) -> dict[str, tuple[int, int]]:
    """Return what tells that a file was neither copied nor written."""
    found = {name: (folder / name).stat() for name in files(folder)}
    return {name: (status.st_ino, status.st_mtime_ns) for name, status in found.items()}


def requirements(folder: Path, *lines: str) -> Path:
    """Write a requirements file."""
    path = folder / f"r{len(list(folder.glob('r*.txt')))}.txt"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_a_folder_that_is_a_link(server: IndexServer, tmp_path: Path) -> None:
    """An update writes nothing through it."""
    del server
    site, mine = tmp_path / "site", tmp_path / "mine"
    layout(site, requirements=[requirements(tmp_path, "plain")])
    (site / "packages").rename(mine)
    (site / "packages").symlink_to(mine)
    before = sums(mine)
    with pytest.raises(OutputFault, match="/packages` is a link, and nothing is written through"):
        layout(site, update=True, requirements=[requirements(tmp_path, "colours")])
    assert sums(mine) == before


def resolved(folder: Path, *words: str) -> str:
    """Return what uv makes of a requirement with the settings of a layout, and nothing else."""
    settings = folder / "uv.toml"
    command = [Uv.find().path, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "-"]
    done = subprocess.run(
        [*command, "--config-file", str(settings), "--no-cache", *words[1:]],
        input=words[0],
        env={k: v for k, v in os.environ.items() if not k.startswith("UV_") or k == "UV_PYTHON"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_in_it(project: Path, tmp_path: Path) -> None:
    """All that the lock names but the project itself, also for other platforms, and its index."""
    before = {name: (project / name).read_bytes() for name in files(project)}
    report = layout(tmp_path / "L", projects=[project], platforms=["linux"])
    assert dists(tmp_path / "L") == [
        COLOURS,
        "extra_one-5.0-py3-none-any.whl",
        LINUX,
        PLAIN,
        PURE,
        "pure-3.0.tar.gz",
        "tool-6.0-py3-none-any.whl",
    ]
    rest = [name for name in files(tmp_path / "L") if not name.startswith("packages/")]
    assert rest == [
        "README.md",
        "SHA256SUMS",
        "envpack.json",
        *(f"simple/{name}/index.html" for name in ("colours", "extra-one")),
        "simple/index.html",
        *(f"simple/{name}/index.html" for name in ("native", "plain", "pure", "tool")),
        "uv.toml",
    ]
    assert (report.packages, report.files, report.built, report.lacking) == (6, 7, 1, ())
    assert {name: (project / name).read_bytes() for name in files(project)} == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_its_index(project: Path, shelf: Path, tmp_path: Path) -> None:
    """Links are relative; hashes, requires-python and metadata are those of the files."""
    path = wheel(shelf, "odd-one", "1.0+local.1")
    metadata = "Metadata-Version: 2.1\nName: odd-one\nVersion: 1.0+local.1\n"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "new.whl", "w") as new:
        for name in old.namelist():
            told = name.endswith("/METADATA")
            requires = metadata + "Requires-Python: >=3.8,<4\n"
            new.writestr(name, requires if told else old.read(name))
    shutil.move(tmp_path / "new.whl", path)
    del project
    folder = tmp_path / "L"
    layout(folder, requirements=[requirements(tmp_path, "odd-one", "native")], platforms=["linux"])
    page = folder / "simple/odd-one/index.html"
    assert "odd_one-1.0%2Blocal.1-" in page.read_text("utf-8")
    (link,) = read_page(page.read_text("utf-8"))
    file = page.parent / link.path
    assert link.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert link.requires_python == ">=3.8,<4"
    beside = Path(f"{file}.metadata").read_bytes()
    assert beside.decode() == metadata + "Requires-Python: >=3.8,<4\n"
    assert link.metadata == hashlib.sha256(beside).hexdigest()
    assert resolved(folder, "odd-one") == "odd-one==1.0+local.1\n"
    sums_told = (folder / "SHA256SUMS").read_text("utf-8").splitlines()
    assert {line[66:]: line[:64] for line in sums_told} == {
        name: digest
        for name, digest in sums(folder).items()
        if name not in {"SHA256SUMS", "envpack.json"}
    }


def test_uv_resolves_from_it(project: Path, tmp_path: Path) -> None:
    """Wherever it was moved to; for other platforms too, as each package has a file."""
    layout(tmp_path / "L", projects=[project], platforms=["linux"])
    moved = (tmp_path / "L").rename(tmp_path / "mo ved é")
    other = source(tmp_path / "other", "other", "1.0")
    text = (other / "pyproject.toml").read_text("utf-8")
    wanted = f'requires-python = ">={MINOR}"\ndependencies = ["native", "colours", "pure"]\n'
    (other / "pyproject.toml").write_text(text.replace("[build-system]", wanted + "[build-system]"))
    uv("lock", "--config-file", str(moved / "uv.toml"), cwd=other)
    lock = (other / "uv.lock").read_text("utf-8")
    assert all(f'name = "{name}"' in lock for name in ("native", "colours", "pure"))
    assert resolved(moved, "native", "--universal").split() == ["native==2.0"]


def test_other_platforms(project: Path, tmp_path: Path) -> None:
    """Each platform has its wheels; `all` brings every wheel that the Python can take."""
    layout(tmp_path / "two", projects=[project], platforms=["linux,windows"])
    assert {LINUX, WINDOWS} <= set(dists(tmp_path / "two"))
    report = layout(tmp_path / "all", projects=[project], platforms=["all"])
    assert sum(name.startswith("native-2.0-cp") for name in dists(tmp_path / "all")) >= 4
    assert {lack.name for lack in report.lacking} == {"native"}
    assert "native-2.0.tar.gz" in dists(tmp_path / "all")


def test_several_versions(project: Path, shelf: Path, tmp_path: Path) -> None:
    """Projects and requirements that contradict each other: every version goes in."""
    wheel(shelf, "plain", "2.0")
    wheel(shelf, "plain", "3.0")
    wanted = [requirements(tmp_path, "plain==2.0"), requirements(tmp_path, "plain>=3")]
    folder = tmp_path / "L"
    report = layout(folder, projects=[project], requirements=wanted, platforms=["linux"])
    assert report.inputs == ("demo", "r0.txt", "r1.txt")
    page = (folder / "simple/plain/index.html").read_text("utf-8")
    assert [link.path.split("-")[1] for link in read_page(page)] == ["1.0", "2.0", "3.0"]
    assert resolved(folder, "plain<3") == "plain==2.0\n"


def test_two_inputs_of_one_name(project: Path, tmp_path: Path) -> None:
    """Each is known by itself, so that neither is news the next time."""
    del project
    wanted = []
    for number, name in enumerate(("tool", "plain")):
        (tmp_path / f"{number}").mkdir()
        wanted.append(requirements(tmp_path / f"{number}", name))
    report = layout(tmp_path / "L", requirements=wanted, platforms=["linux"])
    assert report.inputs == ("r0.txt", "r0.txt#2")
    before = inodes(tmp_path / "L")
    layout(tmp_path / "L", requirements=wanted, update=True)
    assert inodes(tmp_path / "L") == before
    report = layout(tmp_path / "L", requirements=wanted, update=True, prune=True)
    assert (report.removed, len(dists(tmp_path / "L"))) == ((), 2)


def test_two_files_of_one_name(project: Path, shelf: Path, tmp_path: Path) -> None:
    """Another file under a name that is taken is refused; the layout stays as it was."""
    folder = tmp_path / "L"
    layout(folder, projects=[project], platforms=["linux"])
    before = sums(folder)
    wheel(shelf, "plain", "1.0", requires=["tool"])
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(ProjectFault, match=r"two different files `plain-1\.0-py3-none-any\.whl`"):
        layout(folder, requirements=[requirements(tmp_path, "plain")], update=True)
    assert sums(folder) == before


def test_seeds(project: Path, shelf: Path, server: IndexServer, tmp_path: Path) -> None:
    """pip, setuptools and wheel come along once, so that environments can begin with them."""
    for name in ("pip", "setuptools", "wheel"):
        wheel(shelf, name, "1.0")
    folder = tmp_path / "L"
    layout(folder, projects=[project], platforms=["linux"], seeds=True)
    assert "pip-1.0-py3-none-any.whl" in dists(folder)
    wheel(shelf, "pip", "2.0")
    server.requests.clear()
    report = layout(folder, projects=[project], update=True, seeds=True)
    assert (report.added, server.paths()) == ((), [])


def test_build_requirements(project: Path, shelf: Path, tmp_path: Path) -> None:
    """What the members of a project are built with is there too."""
    wheel(shelf, "stated", "8.0")
    path = project / "member/pyproject.toml"
    path.write_text(path.read_text("utf-8").replace("requires = []", 'requires = ["stated"]'))
    layout(tmp_path / "L", projects=[project], platforms=["linux"])
    assert "stated-8.0-py3-none-any.whl" in dists(tmp_path / "L")


# ---- update ----------------------------------------------------------------------------------


def test_nothing_new(project: Path, server: IndexServer, tmp_path: Path) -> None:
    """Then nothing is fetched, and no file is touched."""
    folder = tmp_path / "L"
    layout(folder, projects=[project], platforms=["linux"])
    before = inodes(folder), folder.stat().st_ino
    server.requests.clear()
    report = layout(folder, projects=[project], update=True)
    assert (report.fetched, report.built, report.added) == (0, 0, ())
    assert (inodes(folder), folder.stat().st_ino) == before
    assert server.paths() == []


def test_update_adds(project: Path, shelf: Path, tmp_path: Path) -> None:
    """Another platform and other requirements come in; what is there stays, and the user's file."""
    folder = tmp_path / "L"
    layout(folder, projects=[project], platforms=["linux"])
    (folder / "notes.txt").write_text("mine\n")
    before = inodes(folder)
    wheel(shelf, "plain", "2.0")
    report = layout(
        folder,
        projects=[project],
        requirements=[requirements(tmp_path, "plain")],
        platforms=["windows"],
        update=True,
    )
    assert report.added == (f"packages/{WINDOWS}", "packages/plain-2.0-py3-none-any.whl")
    after = inodes(folder)
    packages = {name for name in before if name.startswith("packages/")}
    assert all(after[name] == before[name] for name in {*packages, "notes.txt", "uv.toml"})
    record = read_layout(str(folder))
    assert record is not None
    assert [each.name for each in record.inputs] == ["demo", "r0.txt"]
    assert [platform for platform, _ in record.about["targets"]] == [
        "x86_64-manylinux_2_28",
        "x86_64-pc-windows-msvc",
    ]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_update_of_a_changed_lock(project: Path, shelf: Path, tmp_path: Path) -> None:
    """The new version joins the old one; `prune` drops what no input names."""
    folder = tmp_path / "L"
    extra = requirements(tmp_path, "tool")
    layout(folder, projects=[project], requirements=[extra], platforms=["linux"])
    wheel(shelf, "plain", "2.0")
    uv("lock", "--upgrade", "--refresh", cwd=project)
    layout(folder, projects=[project], update=True)
    assert {PLAIN, "plain-2.0-py3-none-any.whl"} <= set(dists(folder))
    (folder / "notes.txt").write_text("mine\n")
    report = layout(folder, projects=[project], update=True, prune=True)
    assert report.removed == (f"packages/{PLAIN}",)
    assert PLAIN not in dists(folder)
    assert (folder / "notes.txt").is_file()
    report = layout(folder, requirements=[extra], update=True, prune=True)
    assert dists(folder) == ["tool-6.0-py3-none-any.whl"]
    assert files(folder / "simple") == ["index.html", "tool/index.html"]


def test_what_was_not_named_again(project: Path, tmp_path: Path) -> None:
    """Of another platform it has nothing, which is said."""
    folder = tmp_path / "L"
    layout(folder, projects=[project], platforms=["linux"])
    wanted = requirements(tmp_path, "tool")
    report = layout(folder, requirements=[wanted], platforms=["windows"], update=True)
    assert report.warnings == (
        "`demo` was not named now: what is new of platforms and Pythons lacks it",
    )
    assert WINDOWS not in dists(folder)


def test_a_file_that_is_gone_comes_back(project: Path, tmp_path: Path) -> None:
    """An update sees what was removed."""
    folder = tmp_path / "L"
    layout(folder, projects=[project], platforms=["linux"])
    before = sums(folder)
    (folder / "packages" / PLAIN).unlink()
    layout(folder, projects=[project], update=True)
    assert sums(folder) == before


def test_the_same_again(project: Path, tmp_path: Path) -> None:
    """The same input gives the same files."""
    for name in ("one", "two"):
        layout(tmp_path / name, projects=[project], platforms=["linux"])
    assert sums(tmp_path / "one") == sums(tmp_path / "two")


# ---- files -----------------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.zst", ".zip"])
def test_one_file(project: Path, tmp_path: Path, suffix: str) -> None:
    """An archive holds what the folder would, below a folder of its name."""
    layout(tmp_path / "L", projects=[project], platforms=["linux"])
    out = tmp_path / f"media{suffix}"
    layout(out, projects=[project], platforms=["linux"])
    if suffix == ".zip":
        with zipfile.ZipFile(out) as archive:
            archive.extractall(tmp_path)
    else:
        needed("gzip" if suffix == ".tar.gz" else "zstd", "that tar unpacks a layout by it")
        subprocess.run(["tar", "-xf", out, "-C", tmp_path], check=True)
    assert sums(tmp_path / "media") == sums(tmp_path / "L")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


# ---- what goes wrong -------------------------------------------------------------------------


def test_words(project: Path, tmp_path: Path) -> None:
    """Contradictions are usage errors, before anything is looked at."""
    with pytest.raises(UsageError, match="nothing to put into the layout"):
        layout(tmp_path / "L")
    with pytest.raises(UsageError, match="no requirements file at"):
        layout(tmp_path / "L", requirements=["gone.txt"])
    with pytest.raises(UsageError, match="only a folder can be updated"):
        layout(tmp_path / "L.zip", projects=[project], update=True)
    with pytest.raises(UsageError, match="`nowhere` is no platform"):
        layout(tmp_path / "L", projects=[project], platforms=["nowhere"])


def test_the_place(project: Path, tmp_path: Path) -> None:
    """What is in the way is left alone."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/mine").write_text("x")
    (tmp_path / "file").write_text("x")
    make = partial(layout, projects=[project], platforms=["linux"])
    with pytest.raises(OutputFault, match="folder` is no layout") as caught:
        make(tmp_path / "folder")
    assert caught.value.hint == "name another folder with -o"
    with pytest.raises(OutputFault, match="folder` is no layout"):
        make(tmp_path / "folder", update=True, force=True)
    with pytest.raises(OutputFault, match="file` is no folder"):
        make(tmp_path / "file")
    with pytest.raises(OutputFault, match="there is no layout at"):
        make(tmp_path / "L", update=True)
    with pytest.raises(OutputFault, match=r"the folder `.*none` does not exist"):
        make(tmp_path / "none/L")
    make(tmp_path / "L")
    with pytest.raises(OutputFault, match="L` exists") as caught:
        make(tmp_path / "L")
    assert caught.value.hint == "add to it with --update, or make it anew with -f"
    make(tmp_path / "L", force=True)


def test_records_that_are_not_read(project: Path, tmp_path: Path) -> None:
    """A later format, a download's folder, and damage are each said in a sentence."""
    folder = tmp_path / "L"
    layout(folder, projects=[project], platforms=["linux"])
    path = folder / "envpack.json"
    text = path.read_text("utf-8")
    again = partial(layout, folder, projects=[project], update=True)
    path.write_text(text.replace("envpack.layout/1", "envpack.layout/2"))
    with pytest.raises(ProjectFault, match=r"has the schema `envpack\.layout/2`, which this"):
        again()
    path.write_text(text.replace("envpack.layout/1", "envpack.folder/1"))
    with pytest.raises(ProjectFault, match=r"has the schema `envpack\.folder/1`, which this"):
        again()
    for damaged in (text[:-9], "{}", text.replace('"inputs"', '"outputs"')):
        path.write_text(damaged)
        with pytest.raises(ProjectFault, match=r"`\S+/envpack\.json` is (damaged|no JSON): "):
            again()
    record = json.loads(text)
    record["made"]["../outside"] = {"size": 0}
    path.write_text(json.dumps(record))
    with pytest.raises(ProjectFault, match="is damaged"):
        again()


def test_no_file_for_a_platform(project: Path, shelf: Path, tmp_path: Path) -> None:
    """The package and the platform are named, and nothing is left."""
    del project
    wheel(shelf, "alone", "1.0", f"{CP}-{CP}-win_amd64")
    wanted = requirements(tmp_path, "alone")
    with pytest.raises(ProjectFault, match=r"`alone` 1\.0 has no wheel for x86_64-manylinux"):
        layout(tmp_path / "L", requirements=[wanted], platforms=["linux"])
    assert not (tmp_path / "L").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_requirements_without_a_solution(server: IndexServer, tmp_path: Path) -> None:
    """uv says why."""
    del server
    wanted = requirements(tmp_path, "nowhere-to-be-found")
    with pytest.raises(UvFault, match="cannot resolve the requirements"):
        layout(tmp_path / "L", requirements=[wanted], platforms=["linux"])
