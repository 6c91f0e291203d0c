"""`muybridge bench`: physics you can measure, on our models, on other people's, and on clips from anywhere."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

import muybridge
from muybridge.evaluation import exchange, page, published, report
from muybridge.evaluation.coherence import Coherence
from muybridge.evaluation.control import Control
from muybridge.evaluation.falling import FallingObjects
from muybridge.evaluation.permanence import Permanence
from muybridge.evaluation.phyworld import Phyworld
from muybridge.evaluation.running import (
    Contestant,
    Entry,
    Result,
    baselines,
    code,
    run,
)
from muybridge.evaluation.statistics import Mean
from muybridge.evaluation.suite import Suite
from muybridge.storage.atomic import check_writable

if TYPE_CHECKING:
    from muybridge.generate import Model

SUITES: Mapping[str, Suite] = {
    suite.name: suite for suite in (Permanence(), FallingObjects(), Coherence(), Phyworld(), Control())
}
PHYSICS = ("permanence", "falling", "coherence")
"""Suites that a model of simulated worlds is asked for by default; phyworld needs one that has learnt its discs."""

LONG = {"coherence": 6}
"""Suites whose clips are longer: so many windows of a model that makes 33 frames at once."""

REPORT, PAGE = "report.json", "report.html"


@dataclass(frozen=True)
class Amount:
    """How much is asked for: in distribution so many scenes a suite, or so many clips of ten seconds; then in each
    other split, of which clips of ten seconds get a quarter, rounded up."""

    scenes: int
    clips: int
    others: int

    def entries(self, suite: Suite) -> list[Entry]:
        long = suite.name in LONG
        own, others = (self.clips, -(-self.others // 4)) if long else (self.scenes, self.others)
        numbers = {split: own if split == "in distribution" else others for split in suite.splits}
        return [Entry(suite, split, number) for split, count in numbers.items() for number in range(count)]


WHOLE, QUICK = Amount(scenes=40, clips=10, others=3), Amount(scenes=5, clips=1, others=0)
"""What fits into half an hour, and three minutes, on two cores, for a model that makes 33 frames in 7 s: 203 and 16
times 33 frames. Beside the model, a scene costs 1.4 s (truth, baselines, files, verdicts), one of ten seconds 7 s."""

FULL = Amount(scenes=200, clips=50, others=20)
"""What published figures want: 1,070 times 33 frames, which is two and a half hours of that model."""


def amount(scenes: int | None, clips: int | None, others: int | None, quick: bool, full: bool = False) -> Amount:
    """What was asked for; ValueError if it is less than nothing, or everything at once."""
    if quick and full:
        raise ValueError("--quick and --full are opposites: take one of them")
    usual = QUICK if quick else FULL if full else WHOLE
    asked = {"scenes": scenes, "clips": clips, "others": others}
    for name, value in asked.items():
        if value is not None and value < 0:
            raise ValueError(f"--{name} is {value}: take 0 or more")
    return replace(usual, **{name: value for name, value in asked.items() if value is not None})


def entries_of(names: Sequence[str], asked: Amount) -> list[Entry]:
    """The tasks of suites by name; ValueError for a name of none, or if there are no tasks."""
    for name in names:
        if name not in SUITES:
            raise ValueError(f"there is no suite {name!r}: take some of {', '.join(SUITES)}")
    entries = [entry for name in dict.fromkeys(names) for entry in asked.entries(SUITES[name])]
    if not entries:
        raise ValueError("no scenes were asked for: take more than 0 for --scenes, or --clips of the coherence suite")
    return entries


def called(model: str) -> str:
    """What a model goes by in tables; what training leaves, runs/NAME/model, as NAME-model."""
    path = Path(model)
    return f"{path.absolute().parent.name}-{path.name}" if path.name == "model" else path.name


def folder_of(model: str) -> Path:
    """Where the benches of a model are unless another folder is named."""
    return Path("runs") / "bench" / called(model)


def continued(
    model: str,
    output: Path | None,
    suites: Sequence[str],
    asked: Amount,
    seed: int,
    changes: Mapping[str, Any],
    device: str | None,
    json: Path | None,
) -> None:
    """Scores how a model goes on with the tasks of suites, beside truth and baselines; writes a page and a report."""
    from muybridge.commands.bench_models import of_model
    from muybridge.generate import load

    entries, began = entries_of(suites, asked), time.monotonic()
    notes = notes_console()
    with notes.status(f"opening {model}"):
        opened = load(model, device)
    settings = replace(opened.settings, **{k: v for k, v in changes.items() if v is not None})
    name, folder = called(opened.name), output or folder_of(opened.name)
    outputs = _outputs(folder, json)
    about = {"model": opened.name, "model_hash": opened.hash, "settings": asdict(settings), "seed": seed}
    if str(opened.device) != "cpu":
        about["device"] = _device(opened)
    contestants = [*of_model(opened, name, settings, seed, folder), *baselines(folder)]
    results = _run(notes, entries, contestants)
    _finish(report.Report(name, about | circumstances() | _took(began), tuple(results)), contestants, outputs)


def export(folder: Path, suites: Sequence[str], asked: Amount, json: Path | None) -> None:
    """Writes tasks for others to solve."""
    entries = entries_of(suites, asked)
    with progress_bar(notes_console(), entries) as advance:
        exchange.export(entries, folder, lambda event: advance(entries[event.step - 1]))
    if json is not None:
        _copy(folder / exchange.MANIFEST, json)
    print(f"tasks          {len(entries)} in {folder / exchange.MANIFEST}")
    print(f"fill in        {folder / exchange.CLIPS}/NAME.mp4, as {folder / exchange.README} says")
    print(f"then           muybridge bench score {shlex.quote(str(folder))}")


def score(folder: Path, name: str, json: Path | None) -> None:
    """Scores the clips that somebody filled in."""
    began, notes = time.monotonic(), notes_console()
    with notes.status("making the truth again"):
        entries = exchange.entries_of(folder, SUITES)
    results_folder = folder / exchange.RESULTS
    outputs = _outputs(results_folder, json)
    for file in exchange.stray(folder, entries):
        _say(notes, f"{file} is no name of a task: it is not looked at")
    contestants = [exchange.submission(folder, name), *baselines(results_folder)]
    if name in {contestant.name for contestant in contestants[1:]}:
        raise ValueError(f"{name!r} is the name of a baseline: give another --name")
    results = _run(notes, entries, contestants)
    for result in results:
        if not result.read and result.contestant == name:
            _say(notes, f"{_task_name(result)}: {result.why}")
    fitted = Counter(result.fitted for result in results if result.contestant == name and result.fitted)
    found = [f"{clips} clip{'' if clips == 1 else 's'}: {done}" for done, clips in fitted.items()]
    for one in found:
        _say(notes, f"fitted to the task, {one}")
    fitting = {"fitted": "; ".join(found)} if found else {}
    about = {"folder": str(folder)} | fitting | circumstances() | _took(began)
    _finish(report.Report(name, about, tuple(results)), contestants, outputs)


def compare(first: Path, second: Path, json: Path | None) -> None:
    """Prints how the second report differs from the first."""
    before, after = (report.load(path / REPORT if path.is_dir() else path) for path in (first, second))
    found = report.compare(before, after)
    if len({result.code for result in (*before.own, *after.own)}) > 1:
        sentence = "the two were not judged by the same version: run both benches again, which keeps their clips"
        _say(notes_console(), sentence)
    table = Table(
        "", "split", "scenes", before.contestant, after.contestant, "difference, 95 % interval", "better", "worse"
    )
    for one in found:
        interval = (
            f"{100 * one.difference.value:+.1f}  ({100 * one.difference.low:+.1f} to {100 * one.difference.high:+.1f})"
        )
        first_, second_ = (f"{value.value:.1%}" for value in (one.first, one.second))
        row = (one.suite, one.split, str(one.difference.n), first_, second_, interval, str(one.better), str(one.worse))
        table.add_row(*row)
    Console(highlight=False).print(table)
    if json is not None:
        report.save_differences(json, before, after, found)


# --- running and telling ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Outputs:
    page: Path
    report: Path
    copy: Path | None


def _outputs(folder: Path, json: Path | None) -> _Outputs:
    """Where reports go, checked before hours of work."""
    outputs = _Outputs(folder / PAGE, folder / REPORT, json)
    for path in (outputs.page, outputs.report, json):
        if path is not None:
            check_writable(path)
    return outputs


def _run(notes: Console, entries: Sequence[Entry], contestants: Sequence[Contestant]) -> list[Result]:
    with progress_bar(notes, entries) as advance:
        return run(entries, contestants, lambda event: advance(entries[event.step - 1]))


def _finish(found: report.Report, contestants: Sequence[Contestant], outputs: _Outputs) -> None:
    files = {contestant.name: contestant for contestant in contestants}

    def clip(name: str, result: Result) -> Path | None:
        return files[name].clips / f"{_task_name(result)}.mp4"

    found.save(outputs.report)
    page.save(found, outputs.page, clip)
    if outputs.copy is not None:
        found.save(outputs.copy)
    _print(found)
    print(f"report         {outputs.page}")
    print(f"figures        {outputs.report}")
    print(f"took           {found.about['seconds']:.0f} s")


def _print(found: report.Report) -> None:
    """Scores of everybody in the first split, and of the one it is about in all of them."""
    rows = found.rows
    suites = list(dict.fromkeys(row.suite for row in rows))
    units = [f"{suite}, % of {'frames' if suite in report.PER_FRAME else 'clips'}" for suite in suites]
    first = [row for row in rows if row.split == rows[0].split]
    own = [row for row in rows if row.contestant == found.contestant]
    for title, part, by in ((rows[0].split, first, "contestant"), (f"{found.contestant}, by split", own, "split")):
        table = Table(title, *units)
        scores = {(getattr(row, by), row.suite): row.score for row in part}
        for name in dict.fromkeys(name for name, _ in scores):
            cells = [_share(scores.get((name, suite))) for suite in suites]
            table.add_row(name, *cells, style="bold" if name == found.contestant else "")
        Console(highlight=False).print(table)
    _print_published(found)


def _print_published(found: report.Report) -> None:
    """Errors in phyworld beside those of its paper."""
    if lines := published.beside_the_paper(found):
        table = Table(*published.HEAD, title="phyworld, beside Kang et al. 2411.02385")
        for line in lines:
            table.add_row(*published.cells(line))
        Console(highlight=False).print(table)


def _share(value: Mean | None) -> str:
    return "" if value is None else f"{100 * value.value:.1f}  ({100 * value.low:.0f} to {100 * value.high:.0f})"


def _task_name(result: Result) -> str:
    return f"{result.suite}-{result.split.replace(' ', '-')}-{result.number:04d}"


@contextmanager
def progress_bar(console: Console, entries: Sequence[Entry]) -> Iterator[Callable[[Entry], None]]:
    """A bar with the time left, to be advanced by each entry as much as there is to do for it."""
    columns = (TextColumn("{task.description:12}"), BarColumn(), TextColumn("{task.fields[done]}/{task.fields[of]}"))
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    weights = [LONG.get(entry.suite.name, 1) for entry in entries]
    quiet = not console.is_terminal
    with Progress(*columns, *times, console=console, speed_estimate_period=600, transient=True, disable=quiet) as shown:
        task = shown.add_task("", total=sum(weights), done=0, of=len(entries))
        done = 0

        def advance(entry: Entry) -> None:
            nonlocal done
            done += 1
            weight = LONG.get(entry.suite.name, 1)
            shown.update(task, advance=weight, description=entry.suite.name, done=done)

        yield advance


def notes_console() -> Console:
    """Where notes and bars go, so that what is printed can be piped."""
    return Console(stderr=True, highlight=False, emoji=False)


def _say(notes: Console, sentence: str) -> None:
    notes.print(f"note: {sentence}", markup=False, style="yellow", soft_wrap=True)


def _copy(source: Path, target: Path) -> None:
    check_writable(target)
    target.write_bytes(source.read_bytes())


def circumstances() -> dict[str, Any]:
    """What a figure depends on beside the model."""
    return {
        "muybridge": muybridge.__version__,
        "code": code(),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
        "python": platform.python_version(),
        "command": shlex.join(["muybridge", *sys.argv[1:]]),
    }


def _took(began: float) -> dict[str, float]:
    return {"seconds": round(time.monotonic() - began, 1)}


def _processor() -> str:
    """The processor's name where the system says it, else its kind."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _device(model: Model) -> str:
    import torch

    return torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else str(model.device)
