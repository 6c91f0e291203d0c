"""`muybridge train --sizes`: clips of several sizes in turns, of worlds and of footage, and a model that makes each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import text_encoder, transformer

from muybridge.cli import obey
from muybridge.commands.options import sizes_of
from muybridge.conditioning.vocabulary import Vocabulary
from muybridge.data.material import Filmed, Shape, Simulated
from muybridge.data.shards import read_index
from muybridge.generate import load
from muybridge.recipes import find
from muybridge.recipes.recipe import Recipe
from muybridge.recipes.rehearsal import amounts, rehearsed
from muybridge.storage.checkpoint import load as load_checkpoint
from muybridge.storage.models import _is_size
from muybridge.storage.video import write_mp4
from muybridge.tokenizer.autoencoder import VideoAutoencoder
from muybridge.train import batch_shapes, encode_clips, first_frames, in_turns, train
from muybridge.training.objectives import FlowMatching, LevelSettings
from muybridge.training.parallel import Group
from muybridge.transformer.model import VideoTransformer
from muybridge.types import Condition, Trained

SIZES = "48x32,32x48"


def recipe_of(sizes: str = SIZES) -> Recipe:
    return dataclasses.replace(find("tiny"), sizes=sizes_of(sizes))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished training."""
    folder = tmp_path_factory.mktemp("sizes")
    list(train(recipe_of(), Simulated(), folder, Group(), workers=0))
    return folder


def test_every_portion_has_its_turn_in_every_size(run: Path) -> None:
    vocabulary = Vocabulary.of(Simulated().words())
    recipe = recipe_of()
    source = in_turns(recipe, run, recipe.flow[-1].portions, 0, vocabulary, None)
    met = []
    for step in range(8):
        latent, classes = source.batch(step).latent, source.batch(step).classes
        assert latent is not None
        assert classes is not None
        assert classes.shape == (*latent.shape[:2], *latent.shape[3:])
        met.append(tuple(latent.shape))
    assert met == 2 * [(2, 3, 4, 4, 6), (2, 3, 4, 6, 4), (4, 2, 4, 4, 6), (4, 2, 4, 6, 4)]
    witnessed = in_turns(recipe, run, first_frames(recipe, 2), 0, vocabulary, None)
    shapes = [batch.latent.shape[3:] for batch in map(witnessed.batch, range(4)) if batch.latent is not None]
    assert shapes == 2 * [(4, 6), (6, 4)]


def test_each_size_has_a_cache_of_its_own(run: Path) -> None:
    found = {path.name: read_index(path) for path in run.glob("latents-*")}
    assert {*found} == {"latents-1-48x32", "latents-1-32x48", "latents-9-48x32", "latents-9-32x48"}
    assert found["latents-9-32x48"][0].shape == (3, 4, 6, 4)
    assert "9 frames of 32x48 at 15 fps, one of 48x32 and 32x48" in found["latents-9-32x48"][0].origin


def test_the_checkpoint_says_and_makes_each_size(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = load(run / "model")
    trained = model.config["trained"]
    assert (trained["width"], trained["height"], trained["sizes"]) == (48, 32, [[48, 32], [32, 48]])
    assert "48x32 and 32x48 at 15 fps" in model.card
    assert "`muybridge train tiny --sizes 48x32,32x48`" in model.card
    for width, height in trained["sizes"]:
        clip = model.generate(Condition("a red ball", frames=9, height=height, width=width), seed=1)[0]
        assert clip.frames.shape == (9, height, width, 3)
    for size, odd in (("32x48", False), ("64x64", True)):
        asked = ["generate", "a red ball", "--model", str(run / "model"), "--size", size]
        assert obey([*asked, "-o", str(tmp_path / f"{size}.mp4")]) == 0
        assert ("learnt from 48x32 and 32x48 only: this size may look odd" in capsys.readouterr().err) is odd


def test_a_sheet_shows_every_size(run: Path) -> None:
    six, two, four = 6, 2, 4  # frames in a row, clips side by side, clips of each size
    with Image.open(run / "clips" / "samples" / "step-0000002.png") as sheet:
        assert sheet.size == (six * two * 48, four // two * (32 + 48))


def test_stopped_and_resumed_is_uninterrupted(run: Path, tmp_path: Path) -> None:
    journey = train(recipe_of(), Simulated(), tmp_path, Group(), workers=0)
    while not (isinstance((step := next(journey))[1], Trained) and step[0] == "clips"):
        pass
    journey.close()  # type: ignore[attr-defined]
    list(train(recipe_of(), Simulated(), tmp_path, Group(), workers=0))
    assert load_checkpoint(tmp_path / "model").digest == load_checkpoint(run / "model").digest


def test_a_folder_of_other_sizes_is_refused(run: Path) -> None:
    for other in ("32x48,48x32", "48x32", ""):
        with pytest.raises(ValueError, match=r"sizes = \[\[48, 32\], \[32, 48\]\] there, .*another folder"):
            list(train(recipe_of(other), Simulated(), run, Group(), workers=0))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two wide ones, a tall one and a short square one."""
    folder = tmp_path_factory.mktemp("films")
    for name, frames, width, height in (("a", 13, 96, 64), ("b", 13, 80, 48), ("c", 13, 64, 112), ("d", 3, 64, 64)):
        write_mp4(folder / f"{name}.mp4", np.full((frames, height, width, 3), 99, np.uint8), 15.0)
        (folder / f"{name}.txt").write_text(f"film {name}\n")
    return folder


def cached(folder: Path, frames: int, size: str) -> set[str]:
    return {row[0][-1] for shard in read_index(folder / f"latents-{frames}-{size}") for row in shard.captions}


def test_footage_goes_to_the_nearest_size(films: Path, tmp_path: Path) -> None:
    recipe = recipe_of()
    autoencoder = VideoAutoencoder(recipe.autoencoder).eval()
    for stage in recipe.flow:
        list(encode_clips(recipe, stage.portions[0], Filmed(films), autoencoder, tmp_path, Group(), 0))
    assert cached(tmp_path, 9, "48x32") == {"a", "b"}
    assert cached(tmp_path, 9, "32x48") == {"c"}
    assert cached(tmp_path, 1, "48x32") | cached(tmp_path, 1, "32x48") == {*"abcd"}
    seen = {Filmed(films).clip(number, recipe.shape(9)).captions[0][-1] for number in range(6)}
    assert seen == {*"abc"}, "the autoencoder learns from all that are long enough"


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ("128x128,96by96", "--sizes is '96by96': write WIDTHxHEIGHT, such as 128x128"),
        ("128x128,", "--sizes is ''"),
        ("48x32,48x32", "--sizes names 48x32 twice: once is enough"),
        ("48x32,40x32", "40x32 cannot be made: sides are multiples of 16 from 32 on, the nearest size is"),
        ("16x32", "16x32 cannot be made: sides are multiples of 16 from 32 on, the nearest size is 32x32"),
        ("4096x4096", "more than the 32768 that can be made"),
    ],
)
def test_sizes_that_cannot_be_made_are_refused_before_work(
    sizes: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    for more in ([], ["--rehearse"]):
        assert obey(["train", "tiny", "--sizes", sizes, "--device", "cpu", "-o", str(folder), *more]) == 2
        assert sentence in capsys.readouterr().err
    assert not folder.exists()


def test_sizes_that_no_film_is_of_are_named_before_work(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, asked = tmp_path / "run", ["train", "tiny", "--data", str(films), "--device", "cpu"]
    assert obey([*asked, "-o", str(folder), "--sizes", "48x32,32x48,160x32"]) == 2
    assert "none of 1 frames or more is nearest to 160x32, they are to 48x32, 32x48: leave" in capsys.readouterr().err
    assert obey([*asked, "-o", str(folder), "--sizes", "48x32,32x48,64x64"]) == 2  # the square one is too short
    assert "none of 9 frames or more is nearest to 64x64" in capsys.readouterr().err
    assert not folder.exists()


def test_a_rehearsal_takes_every_turn(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = recipe_of()
    assert {stage.name: stage.training.steps for stage in rehearsed(recipe).flow} == {"stills": 3, "clips": 5}
    assert obey(["train", "tiny", "--rehearse", "--sizes", SIZES, "--workers", "0"]) == 0
    shown = capsys.readouterr().out
    assert all(stage in shown for stage in amounts(recipe))
    assert "encoding clips 32x48" in amounts(recipe)


def test_every_shape_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [batch_shapes(recipe_of(sizes)) for sizes in ("", SIZES)] == [5, 10]  # three portions, two kinds of sheets
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 8)
    compiled: list[dict[str, object]] = []
    monkeypatch.setattr(VideoTransformer, "compile", lambda self, **options: compiled.append(options))
    FlowMatching(transformer(), text_encoder(), LevelSettings(), shapes=10).compile()
    assert compiled == [{"dynamic": False}]
    assert torch._dynamo.config.recompile_limit == 20


@pytest.mark.parametrize("size", [[48], [48, "32"], "48x32", [48, 32, 1]])
def test_what_is_no_size_is_told_from_one(size: Sequence[object]) -> None:
    assert _is_size([48, 32])
    assert not _is_size(size)


def test_one_size_is_as_before() -> None:
    recipe = find("tiny")
    assert recipe.shapes(9) == (recipe.shape(9),) == (Shape(9, 64, 64, 15.0),)
    assert [*recipe.encoded(recipe.flow[-1].portions[0])] == ["clips"]
