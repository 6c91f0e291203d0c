"""`muybridge bench`, from the command line to the files: a tiny model, real suites, real clips."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import tiny_pipelines as tiny
import torch
from tiny_suite import Tiny

from muybridge import cli
from muybridge.backends.model import OpenModel
from muybridge.commands.bench import FULL, LONG, PHYSICS, QUICK, SUITES, WHOLE, Amount, amount, folder_of
from muybridge.commands.bench_fidelity import Continued, feed, metrics
from muybridge.commands.bench_models import condition_of, of_model
from muybridge.commands.bench_speed import parts_of, with_still
from muybridge.commands.rollout import OVERLAP, rollout
from muybridge.evaluation.falling import FallingObjects
from muybridge.evaluation.frechet import Frechet, InceptionScore
from muybridge.evaluation.permanence import Permanence
from muybridge.evaluation.pictures import BEST_PSNR
from muybridge.evaluation.report import Report, load
from muybridge.evaluation.running import CEILING, TRUTH, Entry, run
from muybridge.evaluation.speed import measure_speed
from muybridge.generate import Model
from muybridge.generate import load as open_model
from muybridge.storage.video import read_mp4, write_mp4
from muybridge.types import Condition

LITTLE = ["--suites", "falling", "--scenes", "1", "--clips", "0", "--others", "0"]


@pytest.fixture(scope="module")
def bench(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bench of the tiny model: one scene."""
    folder = tmp_path_factory.mktemp("bench")
    words = [
        "bench",
        "physics",
        "--model",
        str(tiny_model),
        *LITTLE,
        "-o",
        str(folder),
        "--json",
        str(folder / "x.json"),
    ]
    assert cli.obey(words) == 0
    return folder


def verdicts(report: Report) -> list[tuple[str, str, float, str]]:
    return [(r.contestant, r.clip, r.score, r.why) for r in report.results]


def test_a_bench_writes_what_it_says(bench: Path) -> None:
    found = load(bench / "report.json")
    names = [row.contestant for row in found.rows]
    assert names[:3] == ["tiny", CEILING, TRUTH]
    assert len(names) == len(set(names)) == 7
    scores = {row.contestant: row.score.value for row in found.rows}
    assert scores[TRUTH] == 1.0
    assert scores["tiny"] == scores["static copy"] == scores["last-frame repeat"] == 0.0
    assert {"model_hash", "settings", "seed", "muybridge", "machine", "seconds"} <= found.about.keys()
    assert load(bench / "x.json") == found
    assert (bench / "report.html").read_text().count("data:image/webp") == 1
    assert len(read_mp4(bench / "tiny" / "falling-in-distribution-0000.mp4").frames) == 33


def test_the_second_time_nothing_is_made(bench: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in bench.glob("*/*.*")}
    first = load(bench / "report.json")
    assert cli.obey(["bench", "physics", "--model", str(tiny_model), *LITTLE, "-o", str(bench)]) == 0
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in bench.glob("*/*.*")} == before
    assert load(bench / "report.json").results == first.results
    shown = capsys.readouterr().out
    assert "report.html" in shown
    assert "nearest training clip" in shown


def test_control_is_a_bench_of_its_own(tiny_model: Path, tmp_path: Path) -> None:
    words = ["--scenes", "2", "--steps", "1", "-o", str(tmp_path)]
    assert cli.obey(["bench", "control", "--model", str(tiny_model), *words]) == 0
    rows = {row.contestant: row for row in load(tmp_path / "report.json").rows}
    assert rows[TRUTH].score.value == 1.0
    assert {row.suite for row in rows.values()} == {"control"}


def test_a_report_compared_with_itself(bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "d.json"
    assert cli.obey(["bench", "compare", str(bench), str(bench / "report.json"), "--json", str(out)]) == 0
    (difference,) = json.loads(out.read_text())["differences"]
    assert difference["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0, "n": 1}
    assert "falling" in capsys.readouterr().out


def test_out_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One clip is right, one is damaged, one has a wrong name: each a line, and the report is written."""
    folder = tmp_path / "out"
    words = ["--suites", "falling", "--scenes", "3", "--others", "0"]
    assert cli.obey(["bench", "export", str(folder), *words, "--json", str(tmp_path / "m.json")]) == 0
    assert (tmp_path / "m.json").read_bytes() == (folder / "manifest.json").read_bytes()
    truth = SUITES["falling"].task("in distribution", 0).truth.rgb
    longer = np.concatenate([truth, truth[-1:].repeat(15, axis=0)]).repeat(2, axis=0)
    twice = longer.repeat(2, axis=1).repeat(2, axis=2)
    write_mp4(
        folder / "clips" / "falling-in-distribution-0000.mp4", np.pad(twice, [(0, 0), (0, 0), (8, 8), (0, 0)]), 30
    )
    (folder / "clips" / "falling-in-distribution-0001.mp4").write_bytes(b"0" * 100)
    (folder / "clips" / "falling-2.mp4").write_bytes(b"")
    assert cli.obey(["bench", "score", str(folder), "--name", "rented"]) == 0
    notes = capsys.readouterr().err
    assert "note: falling-2.mp4 is no name of a task" in notes
    assert "note: falling-in-distribution-0001: cannot read falling-in-distribution-0001.mp4" in notes
    assert "note: falling-in-distribution-0002: there is no clip" in notes
    done = "30 frames a second taken as 15, 272x256 brought to 128x128, cropped in the middle, 3.2 s cut to 2.2"
    assert f"note: fitted to the task, 1 clip: {done}" in notes
    assert load(folder / "results" / "report.json").about["fitted"] == f"1 clip: {done}"
    rows = {row.contestant: row for row in load(folder / "results" / "report.json").rows}
    assert (rows["rented"].score.value, rows["rented"].unread) == (pytest.approx(1 / 3), 2)
    assert CEILING not in rows


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["physics", "--scenes", "-1"], "--scenes is -1: take 0 or more"),
        (["physics", "--scenes", "0", "--clips", "0", "--others", "0"], "no scenes were asked for"),
        (["physics", "--suites", "chess"], "no suite 'chess': take some of permanence"),
        (["physics", "--suites", "coherence", "--clips", "0", "--others", "0"], "no scenes were asked for"),
        (["physics", "--model", "nothing-of-the-kind"], "nothing-of-the-kind"),
        (["score", "nowhere"], "manifest.json"),
        (["score", "nowhere", "--name", "static copy"], "manifest.json"),
        (["compare", "nowhere", "nowhere"], "cannot read nowhere"),
    ],
)
def test_what_cannot_be_done_is_said(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.obey(["bench", *words]) == 2
    assert sentence in capsys.readouterr().err


def test_how_much_is_asked_for() -> None:
    assert amount(None, None, None, quick=False) == WHOLE
    assert amount(None, None, None, quick=True) == QUICK
    assert amount(None, None, None, quick=False, full=True) == FULL
    with pytest.raises(ValueError, match="take one of them"):
        amount(None, None, None, quick=True, full=True)
    assert amount(200, None, 0, quick=True) == Amount(200, QUICK.clips, 0)
    entries = {name: Amount(3, 2, 5).entries(SUITES[name]) for name in PHYSICS}
    assert {name: len(found) for name, found in entries.items()} == {
        "permanence": 3 + 6 * 5,
        "falling": 3 + 5 * 5,
        "coherence": 2 + 5 * 2,
    }
    assert len({entry.name for found in entries.values() for entry in found}) == 73


def test_how_much_that_is() -> None:
    """As docs/measuring.md says: how many times 33 frames a model makes; published figures have 200 scenes and more."""
    made = {
        asked: sum(LONG.get(name, 1) * len(asked.entries(SUITES[name])) for name in PHYSICS)
        for asked in (QUICK, WHOLE, FULL)
    }
    assert made == {QUICK: 16, WHOLE: 203, FULL: 1070}
    assert FULL.scenes >= 200
    assert FULL.clips >= 50


# --- longer clips ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return open_model(tiny_model, "cpu")


def condition(frames: int, known: int) -> Condition:
    prefix = torch.rand(known, 3, 32, 48, generator=torch.Generator().manual_seed(known)) * 2 - 1
    return Condition("a red ball rolls", "", frames, 32, 48, 15.0, prefix if known else None)


def test_what_a_model_makes_at_once_is_made_at_once(model: Model) -> None:
    one = condition(9, 5)
    made = rollout(model, one, 7, model.settings)
    assert torch.equal(made, model.generate(one, 7, model.settings)[0].video.frames[0])


@pytest.mark.parametrize(("frames", "known"), [(33, 5), (21, 0), (13, 1), (17, 13)])
def test_longer_clips_begin_alike_and_have_their_length(model: Model, frames: int, known: int) -> None:
    made = rollout(model, condition(frames, known), 7, model.settings)
    assert made.shape == (frames, 3, 32, 48)
    longer = rollout(model, condition(frames + 8, known), 7, model.settings)
    assert torch.equal(longer[:frames], made)


def test_a_window_goes_on_from_the_last_frames(model: Model) -> None:
    """With a model of 9 frames, windows overlap by 5: the second is what the model makes of the first's last five."""
    first = condition(9, 5)
    made = rollout(model, replace(first, frames=13), 7, model.settings)
    assert min(OVERLAP, 9 - 4) == 5
    second = replace(first, prefix=made[4:9], frames=9)
    assert torch.equal(made[9:], model.generate(second, 8, model.settings)[0].video.frames[0][5:])


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_the_same_verdicts_every_time_and_on_one_or_two_threads(tmp_path: Path) -> None:
    """Of the suites that people run, and of clips some of which pass: true ones, seen by the bundled autoencoder."""
    nano = open_model("nano", "cpu")
    settings = replace(nano.settings, steps=2, plan_steps=1)
    entries, found = [Entry(suite, "in distribution", 0) for suite in (FallingObjects(), Permanence())], []
    for n, count in enumerate((1, 1, 2)):
        torch.set_num_threads(count)
        results = run(entries, of_model(nano, "nano", settings, 0, tmp_path / str(n)))
        found.append([(r.contestant, r.suite, r.score, r.why, r.read) for r in results])
    assert {score for *_, score, _, _ in found[0]} == {0.0, 1.0}
    assert found[0] == found[1]
    assert [verdict[:3] for verdict in found[0]] == [verdict[:3] for verdict in found[2]]  # why has numbers in it
    clips = [tmp_path / str(n) / "nano" / f"{entry.name}.mp4" for n in range(2) for entry in entries]
    assert [clip.read_bytes() for clip in clips[:2]] == [clip.read_bytes() for clip in clips[2:]]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "known"), [("wan_image", 1), ("svd", 1), ("wan_vace", 5)])
def test_models_of_others_are_measured_too(tmp_path: Path, name: str, known: int) -> None:
    """They get as many first frames as they take, and clips longer than theirs come in windows."""
    pytest.importorskip("diffusers")
    getattr(tiny, name)().save_pretrained(tmp_path / name)
    theirs = open_model(tmp_path / name, "cpu")
    assert isinstance(theirs, OpenModel)
    theirs.config["trained"]["frames"] = 5
    theirs.pipeline.family = replace(theirs.pipeline.family, height=64, width=64)
    settings = replace(theirs.settings, steps=1)
    task = Tiny().task("in distribution", 0)
    asked = condition_of(theirs, task)
    assert asked.prefix is not None
    assert len(asked.prefix) == known
    theirs.pipeline.check_shape(replace(asked, frames=theirs.frames_near(9)))
    entry = Entry(Tiny(), "in distribution", 0)
    (result,) = run([entry], of_model(theirs, name, settings, 0, tmp_path / "bench"))
    assert (result.contestant, result.read, result.score) == (name, True, 0.0), result.why
    assert len(read_mp4(tmp_path / "bench" / name.replace("_", "-") / f"{entry.name}.mp4").frames) == 9


@pytest.mark.filterwarnings("ignore")
def test_the_speed_of_a_model_of_others(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    tiny.svd().save_pretrained(tmp_path / "svd")
    theirs = open_model(tmp_path / "svd", "cpu")
    assert isinstance(theirs, OpenModel)
    condition = with_still(theirs, Condition("a red ball", "", 4, 64, 64, 7.0))
    assert (condition.prompt, condition.prefix is None) == ("", False)
    settings = replace(theirs.settings, steps=2)
    found = measure_speed(parts_of(theirs, condition, settings, tmp_path / "clip.mp4"), 7.0, rounds=1)
    assert [stage.name for stage in found.stages] == ["text", "step 1", "step 2", "decode", "write"]
    assert found.frames == 4


def test_each_bench_of_a_model_has_its_folder(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    training = tmp_path / "runs" / "mine" / "model"
    shutil.copytree(tiny_model, training)
    assert cli.obey(["bench", "control", "--model", str(training), "--scenes", "1", "--steps", "1"]) == 0
    assert (tmp_path / "runs" / "bench" / "mine-model" / "control" / "report.json").exists()


def test_two_trainings_have_a_bench_each() -> None:
    names = {"nano": "nano", "org/nano": "nano", "runs/a/model": "a-model", "runs/b/model": "b-model"}
    for name, known_as in names.items():
        assert folder_of(name) == Path("runs") / "bench" / known_as


def test_another_seed_makes_another_clip(model: Model, tmp_path: Path) -> None:
    entry = Entry(Tiny(), "in distribution", 0)
    results = [run([entry], of_model(model, "tiny", model.settings, seed, tmp_path / str(seed))) for seed in (0, 1)]
    clips = [[r.clip for r in found] for found in results]
    assert clips[0][0] != clips[1][0]
    assert clips[0][1] == clips[1][1]  # the ceiling has no noise


def test_what_comes_out_as_nan_has_failed_and_the_rest_goes_on(tiny_model: Path, tmp_path: Path) -> None:
    broken = open_model(tiny_model, "cpu")
    next(iter(broken.transformer.parameters())).fill_(torch.nan)
    entries = [Entry(Tiny(), "in distribution", number) for number in range(2)]
    results = run(entries, of_model(broken, "broken", broken.settings, 0, tmp_path))
    own = [r for r in results if r.contestant == "broken"]
    assert [(r.read, r.score) for r in own] == [(False, 0.0)] * 2
    assert "not finite" in own[0].why
    assert all(r.read for r in results if r.contestant == CEILING)


def test_speed_is_told_stage_by_stage(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "speed.json"
    assert cli.obey(["bench", "speed", "--model", str(tiny_model), "--rounds", "1", "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert [stage["name"] for stage in found["stages"]] == ["text", "step 1", "step 2", "decode", "write"]
    assert found["real_time_factor"] == pytest.approx(found["seconds_per_clip"] * 15 / 9)
    assert found["frames"] == 9
    assert "real time" in capsys.readouterr().out
    assert cli.obey(["bench", "speed", "--rounds", "0"]) == 2


def test_speed_times_what_generate_makes(model: Model, tmp_path: Path) -> None:
    """The stages one after the other give the very frames of `generate`."""
    one = Condition("a red ball rolls", "", 9, 32, 48, 15.0)
    parts = parts_of(model, one, model.settings, tmp_path / "clip.mp4")
    latent = list(parts.steps(parts.text()))[-1]
    assert (parts.decode(latent) == model.generate(one, 0, model.settings)[0].frames).all()


def test_fidelity_of_the_truth_is_the_best_there_is() -> None:
    task, measured = Continued().task("in distribution", 0), metrics(15.0, None, None)
    feed(measured, task, task.truth.rgb)
    feed(measured[:1], task, np.roll(task.truth.rgb, 1, axis=2))
    found = {metric.name: metric.compute() for metric in measured if not isinstance(metric, Frechet | InceptionScore)}
    assert found["ssim"].value == pytest.approx(1.0)
    assert found["psnr_objects"].value == BEST_PSNR
    assert found["flicker"].value == pytest.approx(0.0)
    assert found["psnr"].low < found["psnr"].high == BEST_PSNR


def test_a_metric_of_ones_own_is_a_file(tmp_path: Path) -> None:
    """The very file of docs/measuring.md."""
    page = (Path(__file__).parents[1] / "docs" / "measuring.md").read_text()
    (tmp_path / "own.py").write_text(page.split("```python\n")[1].split("```")[0])
    own = metrics(15.0, None, None, tmp_path / "own.py")[-1]
    task = Continued().task("in distribution", 0)
    feed([own], task, task.truth.rgb)
    assert (own.name, own.compute().value) == ("brightness", pytest.approx(task.truth.rgb[task.known :].mean()))


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("", "there is no 'metrics' in it"),
        ("import nothing_of_the_kind", "ModuleNotFoundError"),
        ("def metrics(): return 1 / 0", "ZeroDivisionError"),
        ("def metrics(): return []", "gives an empty list"),
        ("def metrics(): return [3]", "gives int: a metric has what ClipMean has"),
    ],
)
def test_a_file_without_metrics_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], code: str, sentence: str
) -> None:
    (tmp_path / "own.py").write_text(code)
    assert cli.obey(["bench", "fidelity", "--metric", str(tmp_path / "own.py")]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.slow
def test_fidelity_puts_everybody_side_by_side(tiny_model: Path, tmp_path: Path) -> None:
    words = ["bench", "fidelity", "--model", str(tiny_model), "--clips", "4", "-o", str(tmp_path)]
    assert cli.obey(words) == 0
    content = json.loads((tmp_path / "fidelity.json").read_text())
    found = content["found"]
    assert set(found) == {"tiny", CEILING, TRUTH, "static copy", "last-frame repeat", "constant velocity"} | {
        "nearest training clip"
    }
    for name, about in content["metrics"].items():
        if about["needs"]:  # a reference to be near to
            sign = 1 if about["direction"] == "higher" else -1
            assert sign * found[TRUTH][name]["value"] >= sign * found["tiny"][name]["value"], name
    assert found["tiny"]["psnr"]["n"] == 4
    assert content["unreadable"] == dict.fromkeys(found, 0)


@pytest.mark.slow
def test_everything_at_once(tiny_model: Path, tmp_path: Path) -> None:
    folder, figures = tmp_path / "bench", tmp_path / "figures"
    assert (
        cli.obey(["bench", "all", "--quick", "--model", str(tiny_model), "-o", str(folder), "--json", str(figures)])
        == 0
    )
    assert {file.name for file in figures.iterdir()} == {
        f"{name}.json" for name in ("physics", "control", "fidelity", "speed")
    }
    physics = load(figures / "physics.json")
    scores = {(row.suite, row.contestant): row for row in physics.rows}
    assert {suite for suite, _ in scores} == {*PHYSICS}
    assert all(scores[suite, TRUTH].score.value > 0.99 for suite in PHYSICS)
    assert scores["coherence", "tiny"].score.n == 1
    for page in (folder / "report.html", folder / "control" / "report.html"):
        assert page.read_text().count("<figure>") >= 5
    assert json.loads((figures / "speed.json").read_text())["real_time_factor"] > 0


def test_settings_are_kept_with_the_report(bench: Path, model: Model) -> None:
    kept = load(bench / "report.json").about["settings"]
    assert kept == json.loads(json.dumps(asdict(model.settings)))
    assert np.isfinite(load(bench / "report.json").about["seconds"])
