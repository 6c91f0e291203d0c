"""A report as one HTML page that needs nothing else: tables, plots drawn as SVG, clips beside the truth."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from muybridge.evaluation import published
from muybridge.evaluation.report import PER_FRAME, Report, Row, grouped
from muybridge.evaluation.running import TRUTH, Result, read_clip
from muybridge.evaluation.statistics import Mean
from muybridge.evaluation.suite import Frames
from muybridge.storage.atomic import new_file

SHOWN = 8
"""Clips of a suite that are shown, the worst first."""

_LONGEST = 80  # pictures of one shown clip: ten seconds show every second frame
_SIDE = 128  # pixels of a shown clip's shorter side
_GAP, _BAR = 4, 6  # pixels between a clip and the truth, and above them
_QUALITY = 45  # of WebP
_PATIENCE = 60.0  # seconds of a true clip that are shown
_BREAK = "until first break, seconds"

_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title><style>
:root { color-scheme: light dark; --ink: light-dark(#1b1f24, #e6e8ea); --soft: light-dark(#68707a, #9aa3ad);
  --line: light-dark(#d9dde2, #3a4048); --paper: light-dark(#fff, #16191d); --own: #2f6fde; --other: #9aa3ad;
  --bad: light-dark(#b3261e, #ff8a80) }
body { margin: 2rem auto; max-width: 68rem; padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper) }
h1 { font-size: 1.6rem } h2 { margin-top: 3rem; border-bottom: 1px solid var(--line) } h3 { margin: 2rem 0 .5rem }
table { border-collapse: collapse; margin: .5rem 0 1rem; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .75rem .25rem 0; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top }
td { white-space: nowrap } small, .soft { color: var(--soft) } tr.own td { font-weight: 600 }
.wide { overflow-x: auto }
.clips { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem }
figure { margin: 0 }
figure img { width: 100%; box-sizing: border-box; border: 1px solid var(--line); border-radius: 4px }
figcaption { font-size: .85rem }
.why { color: var(--bad) } svg { max-width: 100%; height: auto } svg text { fill: var(--ink); font: 12px system-ui }
</style></head><body>
<h1>$title</h1>
$body
</body></html>
""")


@dataclass(frozen=True)
class Shown:
    """A result with the two clips that belong to it; None where there is none."""

    result: Result
    made: Path | None
    truth: Path | None


def save(report: Report, path: Path, clip: Callable[[str, Result], Path | None]) -> None:
    """Writes the page. `clip` finds the file of a contestant, by its name, in the task of a result."""
    suites = dict.fromkeys(row.suite for row in report.rows)
    body = _about(report) + _summary(report) + "".join(_suite(report, suite, clip) for suite in suites)
    with new_file(path) as temporary:
        title = escape(f"{report.contestant}: physics you can measure")
        temporary.write_text(_PAGE.substitute(title=title, body=body), encoding="utf-8")


def _about(report: Report) -> str:
    items = "".join(f"<tr><td>{escape(str(k))}</td><td>{escape(_text(v))}</td></tr>" for k, v in report.about.items())
    return f"<details><summary>How this was measured</summary><table>{items}</table></details>"


def _text(value: Any) -> str:
    return ", ".join(f"{k} {_text(v)}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def _summary(report: Report) -> str:
    """In distribution: everybody in every suite."""
    rows = [row for row in report.rows if row.split == "in distribution"] or list(report.rows)
    suites, names = dict.fromkeys(row.suite for row in rows), dict.fromkeys(row.contestant for row in rows)
    found = {(row.suite, row.contestant): row.score for row in rows}
    head = ["", *(f"{suite}, {'frames' if suite in PER_FRAME else 'clips'}" for suite in suites)]
    body = [[name, *(_share(found.get((s, name))) for s in suites)] for name in names]
    note = (
        "Share that passes, in distribution, with its 95 % interval (bootstrap over clips; without width where all "
        "clips agree: read it as within 3 clips). The truth went through a file like all clips: it is the floor."
    )
    return f"<p>{note}</p>{_table(head, body, report.contestant)}"


def _suite(report: Report, suite: str, clip: Callable[[str, Result], Path | None]) -> str:
    rows = [row for row in report.rows if row.suite == suite]
    results = [result for result in report.own if result.suite == suite]
    parts = grouped(rows, lambda row: row.split)
    (first, here), *others = parts.items()
    html = [f"<h2>{escape(suite.capitalize())}, {escape(first)}</h2>", _bars(here, report.contestant)]
    html += [_errors(here, report), _groups(here, report.contestant)]
    if any(_BREAK in result.errors for result in results):
        html.append(_until_break([result for result in report.results if result.suite == suite], report.contestant))
    if suite == "phyworld":
        html.append(_published(report))
    if others:
        html.append(_splits(parts, report.contestant))
        errors = "".join(f"<h4>{escape(split.capitalize())}</h4>{_errors(there, report)}" for split, there in others)
        html.append(f"<details><summary>Errors out of distribution</summary>{errors}</details>")
    worst = sorted(results, key=lambda result: (result.score, result.split != first, result.number))[:SHOWN]
    return "".join(html) + _clips([Shown(r, clip(report.contestant, r), clip(TRUTH, r)) for r in worst])


def _errors(rows: Sequence[Row], report: Report) -> str:
    """Scores and errors of all contestants in one split."""
    names = list(dict.fromkeys(name for row in rows for name in row.errors))
    body = [
        [row.contestant, str(row.score.n), _share(row.score), _share(row.whole), str(row.unread or "")]
        + [_number(row.errors.get(name), row.score.n) for name in names]
        for row in rows
    ]
    return _table(["", "clips", "score", "nothing wrong", "unreadable", *names], body, report.contestant)


def _splits(parts: Mapping[str, Sequence[Row]], own: str) -> str:
    """Everybody's score in every split."""
    names = dict.fromkeys(row.contestant for rows in parts.values() for row in rows)
    scores = {(split, row.contestant): row.score for split, rows in parts.items() for row in rows}
    head = ["", *(f"{split} ({rows[0].score.n})" for split, rows in parts.items())]
    body = [[name, *(_share(scores.get((split, name))) for split in parts)] for name in names]
    return "<h3>In and out of distribution (clips)</h3>" + _table(head, body, own)


def _groups(rows: Sequence[Row], own: str) -> str:
    """What the score depends on."""
    body = [
        [f"{kind}: {group}", _share(score), str(score.n)]
        for row in rows
        if row.contestant == own
        for kind, groups in row.groups.items()
        for group, score in groups.items()
    ]
    return "<h3>Told apart</h3>" + _table(["", "score", "clips"], body) if body else ""


def _published(report: Report) -> str:
    """phyworld's velocity errors beside those of its paper."""
    body = [[first, *map(escape, rest)] for first, *rest in map(published.cells, published.beside_the_paper(report))]
    return "<h3>Beside the paper (Kang et al. 2411.02385)</h3>" + _table(published.HEAD, body)


def _clips(shown: Sequence[Shown]) -> str:
    figures = "".join(_figure(one) for one in shown)
    note = "The worst first; left what was made, right the truth. A grey bar above marks the frames that were given."
    return f"<h3>Clips</h3><p class=soft>{note}</p><div class=clips>{figures}</div>" if shown else ""


def _figure(shown: Shown) -> str:
    result = shown.result
    why = f"<div class=why>{escape(result.why)}</div>" if result.why else "<div>nothing is wrong</div>"
    caption = f"{escape(result.split)} {result.number}, seed {result.seed}: {result.score:.0%}"
    return (
        f"<figure>{_picture(shown)}<figcaption>{caption}{why}"
        f"<span class=soft>{escape(result.prompt)}</span></figcaption></figure>"
    )


def _picture(shown: Shown) -> str:
    """Both clips side by side, moving."""
    truth, rate = _frames(shown.truth, _PATIENCE)
    if truth is None:
        return ""
    made, fps = _frames(shown.made, len(truth) / rate)
    if made is None:
        made, fps = np.full_like(truth, 128), rate
    count, every = len(truth), -(-len(truth) // _LONGEST)
    moments = np.arange(0, count, every)
    picked = np.minimum(np.rint(moments / rate * fps).astype(int), len(made) - 1)
    height, width = (round(side * _SIDE / min(truth.shape[1:3])) for side in truth.shape[1:3])
    pair = np.full((len(moments), _BAR + height, 2 * width + _GAP, 3), 255, np.uint8)
    pair[:, _BAR:, :width] = _resized(made[picked], width, height)
    pair[:, _BAR:, -width:] = _resized(truth[moments], width, height)
    pair[moments < shown.result.known, : _BAR - 2] = 128
    data = base64.b64encode(_webp(pair, rate / every)).decode()
    return f'<img loading=lazy alt="made and true clip" src="data:image/webp;base64,{data}">'


def _frames(path: Path | None, seconds: float) -> tuple[Frames | None, float]:
    """As much of a clip as is shown, and its speed."""
    if path is None or not path.is_file():
        return None, 1.0
    try:
        footage = read_clip(path, seconds)
    except ValueError:  # the sentence beside the picture says so
        return None, 1.0
    return footage.frames, footage.fps


def _resized(frames: Frames, width: int, height: int) -> Frames:
    return np.stack([np.asarray(Image.fromarray(frame).resize((width, height))) for frame in frames])


def _webp(frames: Frames, fps: float) -> bytes:
    pictures = [Image.fromarray(frame) for frame in frames]
    file = io.BytesIO()
    pictures[0].save(
        file,
        "WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 / fps),
        loop=0,
        quality=_QUALITY,
        method=2,
    )
    return file.getvalue()


# --- tables and plots ------------------------------------------------------------------------------------------------


def _share(value: Mean | None) -> str:
    return "" if value is None else f"{value.value:.1%} <small>{value.low:.0%} to {value.high:.0%}</small>"


def _number(value: Mean | None, clips: int) -> str:
    """An error, and by how many of the clips it is known if not by all."""
    if value is None:
        return ""
    known = f", {value.n} of {clips}" if value.n < clips else ""
    return f"{value.value:.3g} <small>± {(value.high - value.low) / 2:.2g}{known}</small>"


def _table(head: Sequence[str], body: Iterable[Sequence[str]], own: str = "") -> str:
    """Cells of the first column are texts, others come as HTML."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    rows = "".join(
        f"<tr{' class=own' if cells[0] == own else ''}><td>{escape(cells[0])}</td>"
        + "".join(f"<td>{cell}</td>" for cell in cells[1:])
        + "</tr>"
        for cells in body
    )
    return f"<div class=wide><table><tr>{top}</tr>{rows}</table></div>"


def _bars(rows: Sequence[Row], own: str) -> str:
    """Scores as bars from 0 to 1, intervals as whiskers."""
    left, wide, step = 210, 420, 24
    shapes = []
    for n, row in enumerate(rows):
        y, score = n * step + 4, row.score
        colour = "var(--own)" if row.contestant == own else "var(--other)"
        low, high = left + wide * score.low, left + wide * score.high
        shapes.append(
            f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{escape(row.contestant)}</text>'
            f'<rect x="{left}" y="{y}" width="{wide * score.value:.1f}" height="16" rx="2" fill="{colour}"/>'
            f'<path d="M{low:.1f} {y + 8}H{high:.1f}M{low:.1f} {y + 4}v8M{high:.1f} {y + 4}v8" stroke="var(--ink)"/>'
        )
    ticks = "".join(
        f'<path d="M{left + wide * t} 0V{len(rows) * step}" stroke="var(--line)"/>'
        f'<text x="{left + wide * t}" y="{len(rows) * step + 14}" text-anchor="middle">{t:.0%}</text>'
        for t in (0, 0.25, 0.5, 0.75, 1)
    )
    return _svg(left + wide + 30, len(rows) * step + 20, "scores", ticks + "".join(shapes))


def _until_break(results: Sequence[Result], own: str) -> str:
    """Share of the first split's clips in which nothing has broken yet, over time."""
    left, wide, high = 40, 560, 180
    mine = [result for result in results if result.split == results[0].split]
    times = {
        name: np.sort([r.errors.get(_BREAK, 0.0) for r in mine if r.contestant == name])
        for name in dict.fromkeys(r.contestant for r in mine)
    }
    end = max(float(t.max()) for t in times.values()) or 1.0
    lines = []
    for name, breaks in times.items():
        moments = np.linspace(0, end, 200)
        share = 1 - np.searchsorted(breaks, moments, side="left") / len(breaks)
        points = " ".join(
            f"{left + wide * t / end:.1f},{10 + high * (1 - s):.1f}" for t, s in zip(moments, share, strict=True)
        )
        colour, width = ("var(--own)", 2.5) if name == own else ("var(--other)", 1)
        lines.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}">'
            f"<title>{escape(name)}</title></polyline>"
        )
    axes = "".join(
        f'<text x="{left - 6}" y="{14 + high * (1 - s)}" text-anchor="end">{s:.0%}</text>'
        f'<path d="M{left} {10 + high * (1 - s)}h{wide}" stroke="var(--line)"/>'
        for s in (0, 0.5, 1)
    )
    axes += "".join(
        f'<text x="{left + wide * t / end}" y="{high + 28}" text-anchor="middle">{t:.0f} s</text>'
        for t in range(0, int(end) + 1, 2)
    )
    plot = _svg(left + wide + 20, high + 34, "clips over time", axes + "".join(lines))
    return f"<h3>Clips in which nothing has broken yet</h3>{plot}"


def _svg(width: int, height: int, label: str, shapes: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="{label}">{shapes}</svg>'
