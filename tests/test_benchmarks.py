"""The benchmarks run, at toy sizes, and write what they promise; what they measure is not looked at."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_checkpoint import build_causal_model, build_whole_model, child_environment

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
needs_diffusers = pytest.mark.skipif(importlib.util.find_spec("diffusers") is None, reason="diffusers is not installed")


def figures(script: str, *options: str, folder: Path) -> Any:
    path = folder / "figures.json"
    command = [sys.executable, str(BENCHMARKS / script), *options, "--json", str(path)]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text())


def test_generate(tiny_model: Path, tmp_path: Path) -> None:
    options = ["--model", str(tiny_model), "--size", "48x32", "--frames", "9", "--rounds", "1"]
    found = figures("generate.py", *options, folder=tmp_path)
    assert found["settings"]["steps"] == len(found["steps_seconds"]) == 2
    assert found["generate"][0]["mebibytes"] > found["help"][0]["mebibytes"] > 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures.json"]


def test_drift(tiny_model: Path, tmp_path: Path) -> None:
    found = figures("drift.py", "--model", str(tiny_model), "--minutes", "0.1", "--streams", "1", folder=tmp_path)
    (run,) = found["runs"]
    assert len(run["colour"]) == len(run["same"]) == len(run["objects"]) == 3
    assert run["colour"][0] == 0
    assert run["same"][0]
    assert run["frames_s"] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures.0.png", "figures.json"]


@pytest.mark.parametrize("causal", [True, False])
def test_streaming(causal: bool, tiny_model: Path, tmp_path: Path) -> None:
    model = build_causal_model(tmp_path / "causal") if causal else tiny_model
    options = ["--model", str(model), "--sizes", "32", "--engines", "torch", "--seconds", "0.2"]
    found = figures("streaming.py", *options, folder=tmp_path)
    assert [one["pipelined"] for one in found["streams"]] == [False, True]
    assert all(one["frames_a_second"] > 0 and one["mebibytes_after"] > 1 for one in found["streams"])


def test_realtime(tiny_model: Path, tmp_path: Path) -> None:
    options = ["--model", str(tiny_model), "--engine", "torch", "--size", "48x32", "--frames", "9", "--rounds", "1"]
    found = figures("realtime.py", *options, folder=tmp_path)
    assert [*found["seconds"]] == ["words", "steps", "decoding", "watermark", "MP4", "signature"]
    assert found["clip_seconds"] >= sum(found["seconds"].values()) * 0.999
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures.json"]


@needs_diffusers
def test_train_step(tmp_path: Path) -> None:
    found = figures("train_step.py", "--tiny", "--rounds", "2", "--threads", "1", folder=tmp_path)
    assert {name: len(values) for name, values in found["seconds"].items()} == {
        f"{name}, eager": 2 for name in ("ours", "LTX", "Wan")
    }


@needs_diffusers
def test_networks_of_the_training_step_are_of_one_size() -> None:
    code = (
        "import train_step as t\n"
        "print([[t.parameters(kind(t.FULL[of]), of == 'video') for kind in t.NETWORKS.values()] for of in t.FULL])\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, cwd=BENCHMARKS, check=False)
    assert done.returncode == 0, done.stderr
    for ours, *theirs in json.loads(done.stdout):
        assert all(abs(count / ours - 1) < 0.05 for count in theirs), (ours, theirs)


@needs_diffusers
def test_decode(tmp_path: Path) -> None:
    found = figures("decode.py", "--tiny", "--rounds", "1", "--threads", "1", folder=tmp_path)
    assert set(found["fastest"]) == {"ours", "Wan, reduced", "LTX, reduced"}
    assert found["ratio_of_fastest"]["ours"]["median"] == 1


def test_watermark(tmp_path: Path) -> None:
    options = ["--clips", "1", "--keys", "4", "--side", "64", "--frames", "5"]
    found = figures("watermark.py", *options, folder=tmp_path)
    assert found["found"]["as written"] == found["right"]["as written"] == [True, True]
    assert found["false_alarms"] == 0
    assert len(found["unmarked"]) == 4


def test_serving(tmp_path: Path) -> None:
    found = figures("serving.py", "--clients", "2", "--requests", "2", folder=tmp_path)
    asked = {f"{server}, {how}": 4 for server in ("bare", "muybridge") for how in ("at once", "paced")}
    assert {server: one["requests"] for server, one in found.items()} == asked


def test_simulate(tmp_path: Path) -> None:
    found = figures("simulate.py", "--clips", "1", "--frames", "5", "--size", "32", folder=tmp_path)
    assert found["identical_between_runs"]
    assert found["frames_per_second_one_process"] > 0


def test_suites(tmp_path: Path) -> None:
    options = ["--suite", "falling", "--count", "1", "--breaks", "--baselines"]
    found = figures("suites.py", *options, folder=tmp_path)
    assert found["truth"]["scores"] == [1.0]
    assert found["static copy"]["scores"] == found["baseline: static copy"]["scores"] == [0.0]


@pytest.mark.parametrize("suite", ["falling", "phyworld"])
def test_foresight(tmp_path: Path, suite: str) -> None:
    model = str(build_whole_model(tmp_path / "whole"))
    found = figures("foresight.py", "--models", model, "--suite", suite, "--count", "1", folder=tmp_path)[model]
    assert len(found["its own plan"]["plan, radii"]) == len(found["the true tracks"]["score"]) == 1


def test_steps(tiny_model: Path, tmp_path: Path) -> None:
    options = ["--models", f"tiny={tiny_model}:1,2", "--prompts", "1", "--scenes", "1"]
    points = figures("steps.py", *options, folder=tmp_path)["points"]
    assert [(point["name"], point["steps"]) for point in points] == [("tiny", 1), ("tiny", 2)]
    assert {"objects right", "count right", "permanence", "falling"} < points[0].keys()


def test_judge(tmp_path: Path) -> None:
    found = figures("judge.py", "--clips", "2", folder=tmp_path)
    assert len(found["MP4, crf 23"]["clips"]) == len(found["one colour changed"]["clips"]) == 2
    assert found["MP4, crf 23"]["psnr"] > 30


def test_quality(tiny_model: Path, tmp_path: Path) -> None:
    options = ["--model", str(tiny_model), "--prompts", "2", "--clips", "2", "--stills", "2", "--folder", "kept"]
    found = figures("quality.py", *options, folder=tmp_path)
    assert found["hash"]
    assert len(list((tmp_path / "kept").iterdir())) == 3
    others = ["--prompts", "1", "--clips", "0", "--stills", "0", "--times", "2", "--stream"]
    assert figures("quality.py", "--model", str(tiny_model), *others, folder=tmp_path)["text"]


@pytest.mark.slow
def test_engines(tiny_model: Path, tmp_path: Path) -> None:
    options = ["--model", str(tiny_model), "--rounds", "1", "--no-diffusers", "--folder", str(tmp_path / "graphs")]
    found = figures("engines.py", *options, folder=tmp_path)
    assert {work.split(", ")[0] for work in found["least"]} == {"product", "transformer", "decoder"}
    assert found["fastest"]["transformer"] in found["least"]
