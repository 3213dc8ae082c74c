"""`download`: every distribution of a lock, from an index on this machine, by the real uv."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.pylock import Pylock

from envpack import programs
from envpack.builds import BuildFault
from envpack.downloading import download
from envpack.errors import FetchFault, OutputFault, ProjectFault, UsageError
from envpack.held import beside, sweep
from envpack.lock import Scope, find_lock
from envpack.platforms import current
from envpack.uv import UvFault
from tests.index_server import Fault, IndexServer
from tests.judges import git
from tests.shelf import sdist, source, wheel
from tests.shop import CP, MINOR, PLAIN, files, uv

LINUX = f"native-2.0-{CP}-{CP}-manylinux_2_17_x86_64.whl"
WINDOWS = f"native-2.0-{CP}-{CP}-win_amd64.whl"
LOCAL = ["wheels/demo-0.1-py3-none-any.whl", "wheels/member-0.5-py3-none-any.whl"]
TEXTS = ["envpack.json", "pylock.toml", "requirements.txt"]


def test_for_one_platform(project: Path, tmp_path: Path) -> None:
    """Wheels as locked, a pure wheel of an sdist, wheels of the members; and nothing is changed."""
    before = {name: (project / name).read_bytes() for name in ("uv.lock", "pyproject.toml")}
    tree = files(project)
    report = download(tmp_path / "D", platforms=["linux"])
    assert files(tmp_path / "D") == [
        *TEXTS,
        *LOCAL,
        f"wheels/{LINUX}",
        f"wheels/{PLAIN}",
        "wheels/pure-3.0-py3-none-any.whl",
        "wheels/tool-6.0-py3-none-any.whl",
    ]
    assert (report.fetched, report.built, report.lacking) == (4, 3, ())
    assert {name: (project / name).read_bytes() for name in before} == before
    assert files(project) == tree


def test_its_own_lock(project: Path, tmp_path: Path) -> None:
    """pylock.toml names what is there, by relative paths with hashes, and uv installs from it."""
    folder = tmp_path / "D"
    download(folder, platforms=["linux"], scope=Scope(all_extras=True))
    lock = Pylock.from_dict(tomllib.loads((folder / "pylock.toml").read_text()))
    paths = {wheel.path for package in lock.packages for wheel in package.wheels or ()}
    assert {path for path in files(folder) if path.startswith("wheels/")} == paths
    venv = tmp_path / "venv"
    uv("venv", "--python", sys.executable, str(venv), cwd=tmp_path)
    moved = folder.rename(tmp_path / "moved é")
    args = ["pip", "sync", "--offline", "--no-index", "--preview-features", "pylock"]
    uv(*args, "--python", str(venv), str(moved / "pylock.toml"), cwd=tmp_path)
    code = "import plain, native, pure, member, demo, extra_one, tool; print(native.tag)"
    told = subprocess.run([venv / "bin/python", "-c", code], check=True, capture_output=True)
    assert told.stdout.decode().strip() == f"{CP}-{CP}-manylinux_2_17_x86_64"


def test_for_others(project: Path, tmp_path: Path) -> None:
    """For Windows its own wheels come, and what only Windows needs."""
    del project
    report = download(tmp_path / "D", platforms=["win_amd64"], scope=Scope(no_dev=True))
    wheels = [name for name in files(tmp_path / "D") if name.startswith("wheels/")]
    assert wheels == [
        "wheels/colours-4.0-py3-none-any.whl",
        *LOCAL,
        f"wheels/{WINDOWS}",
        f"wheels/{PLAIN}",
        "wheels/pure-3.0-py3-none-any.whl",
    ]
    assert report.targets == (f"x86_64-pc-windows-msvc, Python {MINOR}",)


def test_a_second_run_adds(project: Path, server: IndexServer, tmp_path: Path) -> None:
    """Platforms and extras of earlier runs stay; what is there is not fetched or built again."""
    del project
    download(tmp_path / "D", platforms=["linux"], scope=Scope(extras=("more",)))
    server.requests.clear()
    report = download(tmp_path / "D", platforms=["windows"])
    assert (report.fetched, report.built) == (2, 0)
    assert [path for path in server.paths() if path.endswith((".whl", ".gz"))] == [
        path for path in server.paths() if "win_amd64" in path or "colours" in path
    ]
    wheels = files(tmp_path / "D" / "wheels")
    assert {LINUX, WINDOWS, "extra_one-5.0-py3-none-any.whl"} <= set(wheels)
    lock = tomllib.loads((tmp_path / "D" / "pylock.toml").read_text())
    native = next(package for package in lock["packages"] if package["name"] == "native")
    assert [wheel["name"] for wheel in native["wheels"]] == [LINUX, WINDOWS]


def test_nothing_to_do(project: Path, server: IndexServer, tmp_path: Path) -> None:
    """A run with everything there fetches nothing and writes the same."""
    del project
    download(tmp_path / "D", platforms=["linux"])
    before = {name: (tmp_path / "D" / name).read_bytes() for name in files(tmp_path / "D")}
    server.requests.clear()
    report = download(tmp_path / "D", platforms=["linux"])
    assert (report.fetched, report.built, server.paths()) == (0, 0, [])
    assert {name: (tmp_path / "D" / name).read_bytes() for name in files(tmp_path / "D")} == before


def test_what_a_killed_run_left_goes(project: Path, tmp_path: Path) -> None:
    """Half-written files go in every folder of the download, but for what a run still holds."""
    del project
    folder = tmp_path / "D"
    download(folder, platforms=["linux"])
    whole = files(folder)
    (folder / "python").mkdir()
    for name in ("", "wheels/", "sdists/", "python/", "uv/"):
        left = folder / f"{name}.some.whl.{'0' * 16}.part"
        left.mkdir(parents=True)
        (left / "new").write_text("half")
    (folder / "mine.part").write_text("mine")
    with beside(str(folder / "wheels/other.whl")) as held:
        Path(held).write_text("half")
        download(folder, platforms=["linux"])
        assert Path(held).read_text() == "half"
    assert set(files(folder)) == {*whole, "mine.part"}


def test_a_folder_of_something_else(project: Path, tmp_path: Path) -> None:
    """Refused before anything is written, whatever is in it; an empty one is taken."""
    folder = tmp_path / "src"
    for name in ("main.py", ".hidden", "wheels/mine.whl"):
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_text("mine")
        with pytest.raises(OutputFault, match=r"src` is not empty, and holds no download of") as it:
            download(folder, project=project, platforms=["linux"])
        assert it.value.hint == "name another folder with -o"
        assert files(folder) == [name]
        shutil.rmtree(folder)
    folder.mkdir()
    download(folder, project=project, platforms=["linux"])
    assert "envpack.json" in files(folder)


@pytest.mark.parametrize("name", ["wheels", "sdists", "python", "uv"])
def test_folders_that_are_links(project: Path, tmp_path: Path, name: str) -> None:
    """Nothing is written through them, and nothing removed."""
    folder, mine = tmp_path / "D", tmp_path / "mine"
    download(folder, project=project, platforms=["linux"])
    mine.mkdir()
    (mine / "mine.whl").write_text("mine")
    if (folder / name).exists():
        shutil.rmtree(folder / name)
    (folder / name).symlink_to(mine)
    with pytest.raises(OutputFault, match=rf"/{name}` is a link, and nothing is written through"):
        download(folder, project=project, platforms=["linux"], prune=True)
    assert files(mine) == ["mine.whl"]


def test_two_runs_that_fetch_programs_into_one_folder(tmp_path: Path) -> None:
    """Each has a place of its own, and neither takes the other's away."""
    with programs.unfinished(str(tmp_path)) as one:
        Path(one, "half").write_text("one")
        with programs.unfinished(str(tmp_path)) as other:
            assert os.listdir(other) == []
            sweep(str(tmp_path))
        assert Path(one, "half").read_text() == "one"
    assert os.listdir(tmp_path) == []


def test_prune(project: Path, tmp_path: Path) -> None:
    """What is no longer asked for goes only with `prune`."""
    del project
    download(tmp_path / "D", platforms=["linux,windows"])
    report = download(tmp_path / "D", platforms=["linux"], prune=True)
    assert report.removed == ("wheels/colours-4.0-py3-none-any.whl", f"wheels/{WINDOWS}")
    assert WINDOWS not in files(tmp_path / "D" / "wheels")


def test_what_another_run_needs_stays(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An sdist that this run builds from is another's too, which came while it was built."""
    place = tmp_path / "D/sdists/pure-3.0.tar.gz"

    def say(_: object, text: str) -> None:
        if text.startswith("Building pure"):
            assert not place.exists()
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(b"of the other run")

    monkeypatch.setattr("envpack.listener.Silent.say", say)
    download(tmp_path / "D", platforms=["current"])
    assert place.read_bytes() == b"of the other run"


def test_what_was_there_stays(project: Path, tmp_path: Path) -> None:
    """Also the sdist of a wheel that has to be built anew."""
    download(tmp_path / "D", platforms=["current"], sdists=True)
    (built,) = (tmp_path / "D/wheels").glob("pure-3.0-*")
    built.unlink()
    download(tmp_path / "D", platforms=["current"])
    assert built.exists()
    assert "sdists/pure-3.0.tar.gz" in files(tmp_path / "D")


def test_a_compiled_sdist(project: Path, tmp_path: Path) -> None:
    """Built for this machine; for others the locked sdist is kept, and named."""
    del project
    report = download(tmp_path / "D", platforms=["current", "x86_64-apple-darwin"])
    (lacking,) = report.lacking
    assert (lacking.name, lacking.sdist) == ("native", "sdists/native-2.0.tar.gz")
    assert [target.platform.os for target in lacking.targets] == ["macos"]
    assert "sdists/native-2.0.tar.gz" in files(tmp_path / "D")


def test_no_build(project: Path, tmp_path: Path) -> None:
    """Nothing is built; sdists are kept where there is no wheel."""
    del project
    report = download(tmp_path / "D", platforms=["linux"], build=False)
    assert report.built == 0
    assert {lack.name: lack.sdist for lack in report.lacking} == {
        "pure": "sdists/pure-3.0.tar.gz",
        "member": "",
        "demo": "",
    }


def test_every_platform(project: Path, tmp_path: Path) -> None:
    """`all` brings each wheel of the lock that the Python can take."""
    del project
    download(tmp_path / "D", platforms=["all"], sdists=True)
    found = files(tmp_path / "D")
    assert sum(name.startswith("wheels/native") for name in found) >= 4
    assert {"sdists/native-2.0.tar.gz", "sdists/pure-3.0.tar.gz"} <= set(found)


def test_requirements(server: IndexServer, tmp_path: Path) -> None:
    """A requirements file is resolved first, and the report says so."""
    del server
    (tmp_path / "r.txt").write_text("pure\nplain<2\n")
    report = download(
        tmp_path / "D", requirements=[tmp_path / "r.txt"], platforms=["windows"], pythons=[MINOR]
    )
    assert report.resolved
    assert files(tmp_path / "D" / "wheels") == [PLAIN, "pure-3.0-py3-none-any.whl"]


def test_build_dependencies(
    project: Path, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What members are built with comes along, but not as something the lock names."""
    wheel(shelf, "asked", "9.0")
    wheel(shelf, "stated", "8.0", requires=["deeper"])
    wheel(shelf, "deeper", "7.0")
    member = project / "member"
    text = (member / "pyproject.toml").read_text()
    (member / "pyproject.toml").write_text(text.replace("requires = []", 'requires = ["stated"]'))
    backend = (member / "backend.py").read_text()
    hook = "def get_requires_for_build_editable(config_settings=None):\n    return ['asked']\n"
    (member / "backend.py").write_text(backend + hook)
    report = download(tmp_path / "D", platforms=["linux"], build_deps=True)
    roles = {file.name: file.role for file in report.files}
    assert {name for name, role in roles.items() if role == "build"} == {
        "asked",
        "stated",
        "deeper",
    }
    assert "asked" not in (tmp_path / "D" / "pylock.toml").read_text()
    assert "stated==8.0" in (tmp_path / "D" / "build-requirements.txt").read_text()


def test_origin(
    project: Path, server: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """envpack.json says where each file came from and how it was built, without a login."""
    del project
    server.login = ("user", "secret")
    url = server.url.replace("://", "://user:secret@")
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"{url}/simple/")
    download(tmp_path / "D", platforms=["linux"])
    record = json.loads((tmp_path / "D" / "envpack.json").read_text())
    by_name = {file["name"]: file for file in record["files"]}
    assert by_name["plain"]["from"]["index"] == f"{server.url}/simple/"
    assert by_name["plain"]["from"]["hashes"] == {"sha256": by_name["plain"]["sha256"]}
    assert by_name["member"]["from"] == {"path": "member", "editable": True}
    assert by_name["pure"]["built"]["platform"] == str(current())
    for name in files(tmp_path / "D"):
        assert b"secret" not in (tmp_path / "D" / name).read_bytes(), name


def test_git(project: Path, tmp_path: Path) -> None:
    """A git dependency becomes a wheel of the locked commit."""
    repository = source(tmp_path / "repo", "fromgit", "1.1")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"], ["tag", "v1"]):
        git(repository, *words)
    uv("add", "--frozen", f"git+file://{repository}", "--tag", "v1", cwd=project)
    uv("lock", cwd=project)
    report = download(tmp_path / "D", platforms=["linux"])
    stored = next(file for file in report.files if file.name == "fromgit")
    assert stored.origin.commit == git(repository, "rev-parse", "HEAD")
    assert stored.origin.direct_url is not None
    assert stored.origin.direct_url["vcs_info"]["requested_revision"] == "v1"


# ---- what goes wrong -------------------------------------------------------------------------


def test_no_project(tmp_path: Path) -> None:
    """Without a pyproject.toml there is nothing to download."""
    with pytest.raises(ProjectFault, match=r"has no pyproject\.toml, so it is no project$"):
        download(tmp_path / "D", project=tmp_path)


def test_a_project_above_is_found_from_here_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is named is meant itself: a slip of the pen must not take the project above."""
    (project / "docs").mkdir()
    (project / "file").touch()
    monkeypatch.chdir(project / "docs")
    assert find_lock(".").project == find_lock("./").project == str(project)
    for named, words in (
        ("nope", "there is no folder `nope`, so no project is there"),
        ("", "the project has no name"),
        ("../file", "`../file` is no folder, so no project is there"),
        ("../docs", f"`../docs` has no pyproject.toml, so it is no project; `{project}` above"),
    ):
        with pytest.raises(ProjectFault, match=f"^{re.escape(words)}"):
            find_lock(named)


def test_a_member_that_is_named_has_the_workspace_s_lock(project: Path) -> None:
    """The lock of a workspace lies above its members."""
    found = find_lock(str(project / "member"))
    assert (found.project, found.root) == (str(project / "member"), str(project))


def test_no_lock(tmp_path: Path) -> None:
    """Without a lock uv is what makes one."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\n')
    with pytest.raises(ProjectFault, match=r"has no uv\.lock") as caught:
        download(tmp_path / "D", project=tmp_path)
    assert caught.value.hint == "make it: `uv lock`"


def test_stale_lock(project: Path, tmp_path: Path) -> None:
    """A lock that does not fit the project is refused before anything is written."""
    path = project / "pyproject.toml"
    path.write_text(path.read_text().replace('"plain",', '"plain", "tool",'))
    with pytest.raises(ProjectFault, match=r"does not fit its pyproject\.toml"):
        download(tmp_path / "D")
    assert not (tmp_path / "D").exists()


def test_a_lock_that_cannot_be_checked(project: Path, tmp_path: Path) -> None:
    """uv's own reason is told, not that the lock is stale."""
    path = project / "pyproject.toml"
    path.write_text(path.read_text().replace(f'">={MINOR}"', '">=3.99"'))
    with pytest.raises(ProjectFault, match=r"uv cannot check the lock of .*: No interpreter found"):
        download(tmp_path / "D")


def test_unknown_words(project: Path, tmp_path: Path) -> None:
    """Unknown platforms, extras and groups are named, and nothing is written."""
    del project
    with pytest.raises(UsageError, match="`amiga` is no platform"):
        download(tmp_path / "D", platforms=["amiga"])
    with pytest.raises(UvFault, match="Extra `nope` is not defined"):
        download(tmp_path / "D", scope=Scope(extras=("nope",)))
    with pytest.raises(UvFault, match="Group `nope` is not defined"):
        download(tmp_path / "D", scope=Scope(groups=("nope",)))
    assert not (tmp_path / "D").exists()


def test_failing_build(project: Path, shelf: Path, tmp_path: Path) -> None:
    """A build that fails is told with the last lines of its log; what came already stays."""
    sdist(shelf, "broken", "1.0", fail=True)
    shutil.rmtree(shelf / ".trees")
    uv("add", "--frozen", "broken", cwd=project)
    uv("lock", cwd=project)
    with pytest.raises(BuildFault, match="cannot build a wheel of `broken`") as caught:
        download(tmp_path / "D", platforms=["current"])
    assert "this sdist cannot be built" in (caught.value.hint or "")
    assert not (tmp_path / "D" / "pylock.toml").exists()
    report = download(tmp_path / "D", platforms=["current"], build=False)
    assert "sdists/broken-1.0.tar.gz" in [lack.sdist for lack in report.lacking]


def test_failing_index(project: Path, server: IndexServer, tmp_path: Path) -> None:
    """A file that is gone is named; the run after that brings what was missing."""
    del project
    server.faults[f"/files/{PLAIN}"] = Fault(status=404)
    with pytest.raises(FetchFault, match=PLAIN):
        download(tmp_path / "D", platforms=["linux"])
    assert not (tmp_path / "D" / "pylock.toml").exists()
    server.faults.clear()
    download(tmp_path / "D", platforms=["linux"])
    assert PLAIN in files(tmp_path / "D" / "wheels")


def test_a_wrong_file(project: Path, server: IndexServer, tmp_path: Path) -> None:
    """A file whose hash is not the locked one never gets its name."""
    del project
    server.faults[f"/files/{PLAIN}"] = Fault(body=b"something else")
    with pytest.raises(FetchFault, match=PLAIN):
        download(tmp_path / "D", platforms=["linux"])
    assert PLAIN not in files(tmp_path / "D" / "wheels")


def test_another_folder(project: Path, tmp_path: Path) -> None:
    """A folder of something else is refused: a file, another project's, a stranger's lock."""
    del project
    (tmp_path / "file").touch()
    with pytest.raises(OutputFault, match="is no folder"):
        download(tmp_path / "file")
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "pylock.toml").touch()
    with pytest.raises(OutputFault, match="did not write"):
        download(tmp_path / "strange")
    (tmp_path / "other").mkdir()
    value = {"schema": "envpack.folder/1", "project": {"name": "other"}, "files": []}
    (tmp_path / "other" / "envpack.json").write_text(json.dumps(value))
    with pytest.raises(OutputFault, match="holds the distributions of `other`"):
        download(tmp_path / "other")


def test_in_the_project(project: Path) -> None:
    """A folder inside the project is not built into the project's own wheel."""
    download("D", platforms=["linux"])
    report = download("D", platforms=["linux"])
    assert report.built == 0
    assert os.path.isfile(project / "D" / "pylock.toml")
