"""Figures as Markdown and as one picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from benching.measure import Case

_COLOURS = {"envpack": "#0a7d4f", "envpack, second pack": "#2f6fde", "venv-pack": "#c2410c"}
_WIDTH, _HEIGHT, _LEFT, _TOP = 400, 300, 62, 36


def goals(cases: Iterable[Case]) -> list[str]:
    """Return a table of what was wanted and what was found."""
    lines = ["| case | what | goal | measured | |", "| --- | --- | ---: | ---: | --- |"]
    for goal in (goal for case in cases for goal in case.goals):
        verdict = "met" if goal.met else "**missed**"
        what = goal.what.replace("|", "\\|")
        lines.append(f"| {goal.case} | {what} | {goal.wanted} | {goal.found} | {verdict} |")
    return lines


def escaped(text: str) -> str:
    """Return words for a cell of a table."""
    return text.replace("|", "\\|")


def figures(case: Case) -> list[str]:
    """Return a case as a table: medians, and ratios to its first contestant."""
    lines = [
        f"### {case.name}",
        "",
        f"{case.title}:",
        "",
        "| | wall s | its time, the first = 1 | CPU s | MB out | peak MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in case.contestants:
        own, times = one.median(), case.contestants[0].times(one)
        lines.append(
            f"| {escaped(one.name)} | {own.wall:.2f} | {times:.2f} | {own.cpu:.2f}"
            f" | {own.size / 1e6:.1f} | {own.peak / 1e6:.0f} |"
        )
    return [*lines, ""]


def growth(cases: Sequence[Case]) -> list[str]:
    """Return the growth cases as one table, with the time for a file or a MB."""
    lines = [
        "| | envpack s | each | second pack s | venv-pack s |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for case in cases:
        _, what, count = case.name.split()
        label = f"{int(count):,} files" if what == "files" else f"{int(count) / 1e6:,.0f} MB"
        found = [_wall(case, name) for name in _COLOURS]
        each = "" if found[0] is None else _each(found[0], what, int(count))
        first, again, other = ("" if value is None else f"{value:.2f}" for value in found)
        lines.append(f"| {label.replace(',', ' ')} | {first} | {each} | {again} | {other} |")
    return lines


def _each(wall: float, what: str, count: int) -> str:
    return f"{wall / count * 1e6:.0f} us" if what == "files" else f"{wall / count * 1e9:.1f} ms"


def _wall(case: Case, name: str) -> float | None:
    one = case.named(name)
    return one.median().wall if one else None


def levels(case: Case) -> list[str]:
    """Return CPU seconds and MB of every level, a format in two columns."""
    found: dict[str, list[str]] = {}
    for one in case.contestants:
        _, _, level = one.name.split()
        own = one.median()
        found.setdefault(level, []).append(f"{own.cpu:.1f} | {own.size / 1e6:.1f}")
    words = {one.name.split()[1]: None for one in case.contestants}
    head = " | ".join(f"{word} CPU s | MB" for word in words)
    lines = [f"| level | {head} |", "| ---: |" + " ---: | ---: |" * len(words)]
    return lines + [f"| {level} | {' | '.join(row)} |" for level, row in found.items()]


def plot(cases: Sequence[Case]) -> str:
    """Return an SVG of the growth cases: two panels, both axes logarithmic."""
    panels = []
    for index, (what, unit) in enumerate((("files", "files"), ("bytes", "MB"))):
        own = [case for case in cases if case.name.split()[1] == what]
        scale = 1 if what == "files" else 1e-6
        panels.append(_panel(own, unit, scale, index * (_WIDTH + 20)))
    legend = [
        f'<g transform="translate({_LEFT + index * 190},14)"><path d="M0 0h22" stroke="{colour}"'
        f' stroke-width="2.5"/><text x="28" y="4">{name}</text></g>'
        for index, (name, colour) in enumerate(_COLOURS.items())
    ]
    width = 2 * _WIDTH + 40
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT + 90}"'
            ' font-family="sans-serif" font-size="12" fill="#777">',
            "<title>Time to pack by files and by bytes: envpack and venv-pack</title>",
            *legend,
            *panels,
            "</svg>",
            "",
        ]
    )


def _panel(cases: Sequence[Case], unit: str, scale: float, left: int) -> str:
    counts = [int(case.name.split()[2]) * scale for case in cases]
    walls = {name: [_wall(case, name) for case in cases] for name in _COLOURS}
    known = [wall for row in walls.values() for wall in row if wall]
    if len(counts) < 2 or not known:
        return ""
    low, high = _decades(min(known), max(known))
    first, last = math.log10(counts[0]), math.log10(counts[-1])
    width = _WIDTH - _LEFT

    def x(count: float) -> float:
        return _LEFT + (math.log10(count) - first) / (last - first) * (width - 20)

    def y(wall: float) -> float:
        return _TOP + _HEIGHT - (math.log10(wall) - low) / (high - low) * _HEIGHT

    parts = [f'<g transform="translate({left},0)">']
    for power in range(low, high + 1):
        height = y(10.0**power)
        parts.append(
            f'<path d="M{_LEFT} {height:.1f}h{width}" stroke="#999" stroke-opacity=".35"/>'
            f'<text x="{_LEFT - 8}" y="{height + 4:.1f}" text-anchor="end">{10.0**power:g} s</text>'
        )
    for count in counts:
        text = f"{count:,.0f}".replace(",", " ")
        parts.append(
            f'<text x="{x(count):.1f}" y="{_TOP + _HEIGHT + 20}" text-anchor="middle">{text}</text>'
        )
    middle = _LEFT + width / 2
    parts.append(f'<text x="{middle}" y="{_TOP + _HEIGHT + 42}" text-anchor="middle">{unit}</text>')
    for name, colour in _COLOURS.items():
        pairs = zip(counts, walls[name], strict=True)
        points = [(x(count), y(wall)) for count, wall in pairs if wall]
        line = " ".join(f"{across:.1f},{down:.1f}" for across, down in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{d:.1f}" r="3" fill="{colour}"/>' for a, d in points]
    return "".join([*parts, "</g>"])


def _decades(low: float, high: float) -> tuple[int, int]:
    return math.floor(math.log10(low)), math.ceil(math.log10(high))
