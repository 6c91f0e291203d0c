"""The recipe of phyworld: small enough, made of the published ranges, and its model is measured beside the paper."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from muybridge import cli
from muybridge.conditioning.vocabulary import Vocabulary
from muybridge.data.balls import Balls
from muybridge.data.material import KINDS, THINGS, Shape
from muybridge.evaluation.published import beside_the_paper, cells
from muybridge.evaluation.report import Report, load
from muybridge.recipes import RECIPES, find
from muybridge.recipes.recipe import Portion, Recipe
from muybridge.simulation.balls import LAWS, RADIUS, RADIUS_OF_TWO, SPEED
from muybridge.tokenizer.autoencoder import VideoAutoencoder
from muybridge.train import text_encoder, train
from muybridge.training.parallel import Group
from muybridge.transformer.model import VideoTransformer
from muybridge.transformer.planner import Planner, PlannerConfig

RECIPE = find("phyworld")


def little(recipe: Recipe) -> Recipe:
    """The recipe with the networks, the lengths and the size of tiny's: a few steps of each stage."""
    tiny = find("tiny")
    portions = (Portion(clips=6, frames=9, batch=2),)
    flow = tuple(
        replace(tiny.flow[-1], name=stage.name, levels=stage.levels, portions=portions) for stage in recipe.flow
    )
    same = {"autoencoder", "transformer", "text_layers", "text_heads", "learn_autoencoder", "learn_words"}
    same |= {"learn_planner", "learn_dynamics"}
    return replace(
        recipe, **{name: getattr(tiny, name) for name in same}, flow=flow, sampling=tiny.sampling, height=64, width=64
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has seen six clips of balls."""
    folder = tmp_path_factory.mktemp("balls")
    stages = [name for name, _ in train(little(RECIPE), RECIPE.material, folder, Group(), workers=0)]
    known = ["pixels", "autoencoder", "decoder", "encoding clips", "clips"]
    assert list(dict.fromkeys(stages)) == [*known, "worlds", "planner", "dynamics"]
    card = (folder / "model" / "README.md").read_text()
    assert [line.split(" | ")[0] for line in card.splitlines() if line.startswith("| ")][1:] == [
        *("| autoencoder", "| decoder", "| clips", "| planner", "| dynamics")
    ]
    return folder / "model"


@pytest.fixture(scope="module")
def report(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("bench")
    words = ["bench", "physics", "--suites", "phyworld", "--model", str(model), "--scenes", "3", "--others", "1"]
    assert cli.obey([*words, "--steps", "1", "-o", str(folder)]) == 0
    assert "Beside the paper" in (folder / "report.html").read_text()
    return load(folder / "report.json")


def test_it_is_no_larger_than_the_papers_smallest() -> None:
    """All networks together."""
    assert RECIPE.learn_planner is not None
    assert RECIPE.learn_dynamics is not None
    planner = PlannerConfig(
        RECIPE.autoencoder.channels,
        RECIPE.transformer.text_width,
        KINDS,
        THINGS,
        RECIPE.learn_planner.width,
        RECIPE.learn_planner.layers,
        RECIPE.learn_planner.heads,
        steps=RECIPE.learn_dynamics.width,
    )
    networks = (
        VideoAutoencoder(RECIPE.autoencoder),
        text_encoder(RECIPE, Vocabulary.of(RECIPE.material.words())),
        VideoTransformer(RECIPE.transformer),
        Planner(planner),
    )
    assert sum(weights.numel() for network in networks for weights in network.parameters()) <= 22_500_000


def test_its_clips_are_those_of_the_published_ranges() -> None:
    material = RECIPE.material
    assert isinstance(material, Balls)
    assert (material.laws, material.grid, RECIPE.fps) == (LAWS, "30K", 10.0)
    assert RECIPE.learn_planner is not None
    assert RECIPE.learn_planner.worlds == 3 * 30_000
    assert all(portion.clips < RECIPE.learn_planner.worlds for portion in RECIPE.flow[-1].portions)
    for number in (*range(60), *range(0, 90_000, 997)):
        balls = material.scene(number)
        low, high = (RADIUS_OF_TWO if balls.law == "collision" else RADIUS)["in"]
        assert ((balls.radius >= low) & (balls.radius <= high)).all()
        speeds = np.abs(balls.velocity[:, 0])
        assert ((speeds >= SPEED["in"][0]) & (speeds <= SPEED["in"][1])).all()


@pytest.mark.parametrize("name", RECIPES)
def test_what_foresees_is_asked(name: str) -> None:
    recipe = find(name)
    assert (recipe.learn_planner is None) == (recipe.sampling.plan_steps == 0)


def test_it_sees_what_the_suite_asks_for() -> None:
    """Size, speed and length of a task are those of training."""
    from muybridge.commands.bench import SUITES

    task = SUITES["phyworld"].task("in distribution", 0)
    assert task.truth.rgb.shape == (RECIPE.flow[-1].frames, RECIPE.height, RECIPE.width, 3)
    assert task.truth.fps == RECIPE.fps
    assert task.prompt in {RECIPE.material.clip(n, Shape(1, 16, 16, 10.0)).captions[0] for n in range(3)}


def test_a_model_of_it_is_measured_beside_the_paper(report: Report) -> None:
    lines = {(line.law, line.split): line for line in beside_the_paper(report)}
    assert {law for law, split in lines if split == "in distribution"} == {*LAWS}
    line = lines["uniform", "in distribution"]
    assert line.own is not None
    assert line.floor is not None
    assert line.own.value > line.floor.value
    assert line.floor.value < 2 * (line.published or 0)
    assert [(figure.model, figure.error) for figure in line.others] == [("DiT-S", 0.022), ("DiT-L", 0.012)]
    assert "0.022 DiT-S, 22.5 M, 30K clips" in cells(line)[-1]
    assert {figure.error for figure in lines["uniform", "combination"].others} == {0.433, 0.328, 0.427}
    assert lines["uniform", "combination"].published is None


def test_what_cannot_be_measured_is_counted(report: Report) -> None:
    own = replace(report.own[0], errors={}, read=False)
    assert own.groups["law"] == "uniform"
    worse = Report(report.contestant, report.about, (own, *(r for r in report.results if r != report.own[0])))
    line = next(line for line in beside_the_paper(worse) if (line.law, line.split) == ("uniform", "in distribution"))
    assert (line.own, line.missing) == (None, 1)
    assert "1 not measured" in cells(line)[1]


def test_reports_without_phyworld_have_no_such_lines(report: Report) -> None:
    assert beside_the_paper(replace(report, results=())) == ()
    assert json.dumps(report.about)
