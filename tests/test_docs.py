"""The documentation says what the program does: names, tables, links and commands are checked."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import click
import pytest

import envpack
from envpack import errors
from envpack.archive import FORMATS
from envpack.cli import cli
from envpack.manifest import NAME
from envpack.model import Reason
from envpack.presets import PRESETS, usage_lines
from envpack.relocate import RELOCATORS
from envpack.uv import Uv
from tests.trees import make_environment

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
RUNNABLE = frozenset({"cp", "envpack", "mkdir", "tar", "unzip"})

LOCKED = tuple(["envpack", name] for name in ("bundle", "download", "sync", "unbundle"))
ELSEWHERE = frozenset({"layout.md"})
"""Pages whose commands are run on other machines."""

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a page in one language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


def commands(page: Path) -> list[str]:
    """Return the lines after a `$` in a page's console blocks, continued ones joined."""
    found = []
    for block in blocks(page, "console"):
        text = block.replace("\\\n", " ")
        found += [line[2:] for line in text.splitlines() if line.startswith("$ ")]
    return found


def calls(line: str) -> Iterator[list[str]]:
    """Yield the programs of a line with their arguments, without variables set before them."""
    words: list[str] = []
    for word in [*shlex.split(line, comments=True), "&&"]:
        if word == "&&":
            if words:  # none, if it only sets variables
                yield words
            words = []
        elif words or not re.match(r"[A-Z_]+=", word):
            words.append(word)


def own_arguments(words: list[str]) -> list[str] | None:
    """Return the arguments of a call of envpack, None for any other program."""
    if words[0] == "envpack":
        return words[1:]
    if words[:2] == ["uvx", "--from"] and "uv-envpack" in words:
        return words[words.index("uv-envpack") + 1 :]
    return None


def first_cells(page: Path) -> set[str]:
    """Return the first cells of a page's tables, without their heads."""
    rows = re.findall(r"^\| (.*?) \|.*$", page.read_text("utf-8"), re.MULTILINE)
    return {row for row in rows if row not in {"---", "reason"}}


def generator() -> ModuleType:
    """Return scripts/docs as a module."""
    loader = SourceFileLoader("docs_script", str(ROOT / "scripts/docs"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


def test_the_command_line_page_is_up_to_date() -> None:
    """docs/cli.md is what scripts/docs writes from the commands of today."""
    text: str = generator().page()
    assert (DOCS / "cli.md").read_text("utf-8") == text, "run `python scripts/docs`"


def test_every_edit_is_explained() -> None:
    """Each `why` of a relocator has a row, and no row is about an edit that is not made."""
    whys = {why for relocator in RELOCATORS for why in relocator.why}
    assert first_cells(DOCS / "what-is-patched.md") == {f"`{why}`" for why in whys}


def test_everything_left_out_is_explained() -> None:
    """Each Reason has a row in its own words, and no row has another."""
    assert first_cells(DOCS / "what-is-left-out.md") == {reason.value for reason in Reason}


def test_every_format_is_described() -> None:
    """The table of formats names each with all its suffixes."""
    text = (DOCS / "formats.md").read_text("utf-8")
    for form in FORMATS:
        suffixes = ", ".join(f"`{suffix}`" for suffix in form.suffixes)
        assert re.search(
            rf"^\| `{re.escape(form.name)}` \| {re.escape(suffixes)} ?\|", text, re.MULTILINE
        )


def test_every_destination_is_described() -> None:
    """The table has each with its formats and needs, and the page what `--for` prints."""
    text = (DOCS / "destinations.md").read_text("utf-8")
    for name, preset in PRESETS.items():
        needs = ", ".join(f"`{need}`" for need in preset.needs) or "nothing"
        row = f"| `{name}` | {preset.title} | {', '.join(preset.formats)} | {needs} |"
        assert row in text
        usage = "\n".join(usage_lines(preset, "env.tar.gz"))
        assert f"```text\n{usage}\n```\n" in text
        for host in preset.hosts:
            assert f"| {host.name} | {host.system.name} | {host.system.glibc} |" in text


def test_every_error_is_in_the_api_page() -> None:
    """The table of classes has all of them, with the exit code of each."""
    text = (DOCS / "api.md").read_text("utf-8")
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    for kind in kinds:
        if issubclass(kind, errors.EnvpackError):
            assert f"| `{kind.__name__}` | {kind.exit_code} |" in text


def test_every_key_of_the_report_is_in_the_api_page(tmp_path: Path) -> None:
    """The table of `envpack.pack/1` has the keys of a real report and no others."""
    fake = make_environment(tmp_path)
    report = envpack.pack(fake.root, tmp_path / "out.tar", dry_run=True).to_json()
    text = (DOCS / "api.md").read_text("utf-8")
    table = text.partition("## The report")[2].partition("## The manifest")[0]
    cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    documented = {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}
    assert documented == set(report)
    assert f"`{report['schema']}`" in text
    assert f"`{NAME}`" in text


def test_every_module_has_its_floor_in_the_contributors_page() -> None:
    """CONTRIBUTING.md names each module of the package, or a pattern for several."""
    table = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## The house")[2]
    names = set(re.findall(r"`(\w+?)/?`", table))
    stems = tuple(re.findall(r"`(\w+_)\*`", table))
    source = Path(envpack.__file__).parent
    found = {path.stem for path in source.glob("*.py")}
    found |= {path.parent.name for path in source.glob("*/__init__.py")}
    found -= {"__main__"}
    assert {name for name in found - names if not name.startswith(stems)} == set()


def test_the_changelog_has_this_version() -> None:
    """What is released has an entry; what is not stands under Unreleased."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    entry = "Unreleased" if "dev" in envpack.__version__ else envpack.__version__
    assert f"## [{entry}]" in text


def slug(heading: str) -> str:
    """Return the anchor that a heading gets on code hosting sites."""
    plain = re.sub(r"[^\w\- ]", "", heading.lower())
    return plain.replace(" ", "-")


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file, and a heading of it if it has an anchor."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.is_file(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, link


@each_page
def test_commands_are_understood(page: Path) -> None:
    """Every call of envpack in a console block has words that the command line takes."""
    for line in commands(page):
        for words in calls(line):
            arguments = own_arguments(words)
            if arguments is None:
                continue
            top = cli.make_context("envpack", list(arguments))
            name, command, rest = cli.resolve_command(top, list(arguments))
            assert command is not None, line
            try:
                command.make_context(name, rest, parent=top)
            except click.UsageError as error:
                pytest.fail(f"{line}: {error.format_message()}")


def test_a_wrong_command_would_be_found() -> None:
    """The check above fails for an option that does not exist."""
    (words,) = calls("VAR=1 uvx --from . uv-envpack pack --nonsense")
    arguments = own_arguments(words)
    assert arguments == ["pack", "--nonsense"]
    top = cli.make_context("envpack", list(arguments))
    _, command, rest = cli.resolve_command(top, arguments)
    assert command is not None
    with pytest.raises(click.NoSuchOption):
        command.make_context("pack", rest, parent=top)


def is_runnable(words: list[str]) -> bool:
    """Say whether a call needs neither a network nor a lock."""
    return words == ["cd", ".."] or (words[0] in RUNNABLE and words[:2] not in LOCKED)


FLOWS = {
    page: flow
    for page in PAGES
    if page.name not in ELSEWHERE
    and (
        flow := [
            line for line in commands(page) if all(is_runnable(words) for words in calls(line))
        ]
    )
}


def test_the_flows_are_found() -> None:
    """README and the how-to pages have commands to run."""
    assert {page.name for page in FLOWS} >= {"README.md", "formats.md", "editables.md"}


@pytest.mark.parametrize("page", FLOWS, ids=lambda page: page.name)
def test_flows_work_from_top_to_bottom(page: Path, tmp_path: Path) -> None:
    """What a page packs and unpacks, in a project; each folder that comes out has a real Python."""
    flow = FLOWS[page]
    programs = {words[0] for line in flow for words in calls(line)} - {"cd", "envpack"}
    programs |= {"zstd"} if any("--zstd" in line for line in flow) else set()
    if missing := sorted(program for program in programs if shutil.which(program) is None):
        pytest.skip(f"not installed: {', '.join(missing)}")
    fake = make_environment(tmp_path / "made up")
    fake.install("six", "1.0", {"six.py": "x = 1\n"})
    shim = tmp_path / "bin" / "envpack"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m envpack "$@"\n')
    shim.chmod(0o755)
    env = {
        "PATH": os.pathsep.join([str(shim.parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "TMPDIR": str(tmp_path),
    }
    places = (fake.project, fake.project.parent)
    before = {path for place in places for path in place.iterdir()}
    script = "\n".join(flow)
    done = subprocess.run(
        ["sh", "-euc", script],
        cwd=fake.project,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    after = {path for place in places for path in place.iterdir()}
    folders = [path for path in after - before if path.is_dir()]
    if any("tar -x" in line or "unzip" in line for line in flow):
        assert folders
    for folder in folders:
        python = folder / "bin/python"
        assert python.is_file()
        assert not python.is_symlink()
        assert (folder / "lib/python3.12/site-packages/six.py").is_file()


@pytest.mark.parametrize("name", ["download.md", "sync.md", "air-gap.md"])
def test_pages_about_locks(
    name: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command of the page works, one after the other, in a locked project."""
    shim = tmp_path / "bin" / "envpack"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m envpack "$@"\n')
    shim.chmod(0o755)
    uv = os.path.dirname(Uv.find().path)
    monkeypatch.setenv("PATH", os.pathsep.join([str(shim.parent), uv, os.environ["PATH"]]))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    lines = commands(DOCS / name)
    assert lines
    script = "\n".join(lines)
    done = subprocess.run(
        ["sh", "-euc", script], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
