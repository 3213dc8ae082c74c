"""The script that measures: every section of it runs, and says what it found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[2]
SECTIONS = ("tar.gz", "tar.zst", "zip", "second", "start", "unpacking", "memory", "growth")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, object]]:
    """What a quick run prints, and its samples."""
    folder = tmp_path_factory.mktemp("bench")
    words = [sys.executable, str(ROOT / "scripts/bench.py"), "--quick"]
    words += ["--only", ",".join(SECTIONS), "--json", str(folder / "found.json")]
    environ = {**os.environ, "XDG_CACHE_HOME": str(folder)}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((folder / "found.json").read_text("utf-8"))


def test_every_section_runs(found: tuple[str, dict[str, object]]) -> None:
    """Each has a table, peers included; a goal is a row, whether it was met or not."""
    text, samples = found
    assert samples["schema"] == "envpack.bench/1"
    cases = samples["cases"]
    assert isinstance(cases, list)
    names = [case["name"] for case in cases]
    assert names[:6] == ["tar.gz", "tar.gz, whole", "tar.zst", "zip", "zip, whole", "second tar.gz"]
    assert sum(name.startswith("growth") for name in names) == 8
    for case in cases:
        assert all(one["samples"] for one in case["contestants"]), case["name"]
    whole = next(case for case in cases if case["name"] == "tar.gz, whole")
    assert whole["contestants"][0]["name"] == "envpack"
    assert text.count("| met |") + text.count("| **missed** |") == sum(
        len(case["goals"]) for case in cases
    )
    assert str(Path.home()) not in text


def test_the_plot_is_a_picture(found: tuple[str, dict[str, object]]) -> None:
    """Two panels with a line for each contestant, in well-formed SVG."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from benching.measure import Case, Contestant, Sample
        from benching.render import plot
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    cases = []
    listed = found[1]["cases"]
    assert isinstance(listed, list)
    for told in listed:
        case = Case(told["name"], told["title"])
        for one in told["contestants"]:
            samples = [Sample(**sample) for sample in one["samples"]]
            case.contestants.append(Contestant(one["name"], one["command"], samples=samples))
        cases.append(case)
    grown = [case for case in cases if case.name.startswith("growth")]
    picture = ET.fromstring(plot(grown))  # noqa: S314 - our own
    lines = picture.findall(".//{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 6
    assert all(len(line.attrib["points"].split()) == 4 for line in lines)


def test_the_engine_in_other_ways(found: tuple[str, dict[str, object]], tmp_path: Path) -> None:
    """Each is a row beside envpack's own, which is 1; the best of all is no larger."""
    del found  # the same index, one run after the other
    words = [sys.executable, str(ROOT / "scripts/engine_limits.py"), "--quick", "--every", "2"]
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1:4] for line in done.stdout.splitlines() if line.startswith("|")]
    listed = [(name.strip(" *"), cpu.strip(), size.strip()) for name, cpu, size in rows]
    for own in ("level 4", "zstd 3", "libdeflate 7"):
        assert (own, "1.00", "1.0000") in listed
    found_rows = {name: (cpu, size) for name, cpu, size in listed}
    best = found_rows["for each block the best of levels 2 to 6, same size"]
    assert float(best[1]) <= 1
