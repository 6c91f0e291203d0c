"""The whole training journey with the tiny recipe: on worlds, on footage, interrupted and not."""

from __future__ import annotations

import dataclasses
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from muybridge.cli import obey
from muybridge.commands.train import seconds_each
from muybridge.conditioning.familiarity import Familiarity
from muybridge.conditioning.vocabulary import Vocabulary
from muybridge.data.crops import cache_pixels
from muybridge.data.material import Filmed, Shape, Simulated
from muybridge.data.window import probe
from muybridge.generate import load
from muybridge.recipes import RECIPES, find
from muybridge.recipes.rehearsal import amounts, rehearsed
from muybridge.simulation import simulate
from muybridge.storage.checkpoint import load as load_checkpoint
from muybridge.storage.video import write_mp4
from muybridge.tokenizer.autoencoder import VideoAutoencoder
from muybridge.train import card, encode_clips, familiarity, first_frames, normalise, text_encoder, train
from muybridge.training.caching import PER_SHARD, _batch
from muybridge.training.parallel import Group
from muybridge.types import Carry, Condition, Progress, Trained


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished training."""
    folder = tmp_path_factory.mktemp("tiny")
    steps = list(train(find("tiny"), Simulated(), folder, Group(), workers=0))
    stages = list(dict.fromkeys(name for name, event in steps if isinstance(event, Trained)))
    assert stages == ["autoencoder", "decoder", "words", "stills", "clips", "witness", "planner", "dynamics"]
    return folder


def test_the_checkpoint_generates(run: Path) -> None:
    model = load(run / "model")
    clip = model.generate(Condition("a red ball", frames=9, height=64, width=64), seed=1)[0]
    assert clip.frames.shape == (9, 64, 64, 3)
    assert model.config["trained"]["frames"] == 9
    assert model.planner is not None
    assert model.settings.plan_steps == 1


def test_latents_have_unit_variance(run: Path) -> None:
    from muybridge.data.shards import Shards

    latents = Shards(run / "latents-9", batch=4).batch(0).latent
    assert latents is not None
    assert 0.7 < float(latents.std()) < 1.4


def test_stills_and_clips_are_measured_where_the_autoencoder_is(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of no device but its own: nothing is computed on this one, but what reaches the networks has a place."""

    class Elsewhere(VideoAutoencoder):
        def encode(self, video: Tensor, carry: Carry | None = None) -> tuple[Tensor, Carry]:
            assert video.device == self.mean.device
            return super().encode(video, carry)

        def decode(self, latent: Tensor, carry: Carry | None = None) -> tuple[Tensor, Carry]:
            assert latent.device == self.mean.device
            return super().decode(latent, carry)

    fitted: list[str] = []
    monkeypatch.setattr("muybridge.train.FEWEST", 1)
    monkeypatch.setattr(Familiarity, "fit", lambda *known: fitted.extend(each.device.type for each in known))
    autoencoder = Elsewhere(find("tiny").autoencoder).to("meta")
    normalise(autoencoder, run / "pixels")
    familiarity(autoencoder, run / "pixels")
    assert fitted == ["meta", "meta"]


def test_the_decoder_alone_leaves_latents_as_they_are(run: Path) -> None:
    autoencoder, decoder = (load_file(run / stage / "state.safetensors") for stage in ("autoencoder", "decoder"))
    finished = load(run / "model").autoencoder.state_dict()
    learnt = "ema.autoencoder."
    assert {key.removeprefix(learnt).split(".")[0] for key in decoder if key.startswith(learnt)} == {"decoder"}
    for name, weights in finished.items():
        if name not in ("mean", "std"):
            source = decoder if name.startswith("decoder.") else autoencoder
            assert torch.equal(weights.half(), source[learnt + name].half()), name


def test_clips_are_the_same_whoever_makes_them(tmp_path: Path) -> None:
    recipe = find("tiny")
    portion = dataclasses.replace(recipe.flow[-1].portions[0], clips=70)
    autoencoder = VideoAutoencoder(recipe.autoencoder).eval()
    for workers in (0, 2):
        folder = tmp_path / str(workers)
        list(encode_clips(recipe, portion, Simulated(), autoencoder, folder, Group(), workers))
    caches = [sorted((tmp_path / workers).glob("latents-*/*")) for workers in ("0", "2")]
    assert [path.read_bytes() for path in caches[0]] == [path.read_bytes() for path in caches[1]] != []


def test_a_finished_training_is_not_done_again(run: Path) -> None:
    assert not [
        event for _, event in train(find("tiny"), Simulated(), run, Group(), workers=0) if isinstance(event, Trained)
    ]


def test_killed_and_resumed_is_uninterrupted(run: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle, then the same command again: the same checkpoint, byte for byte."""
    command = [sys.executable, "-m", "muybridge.cli", "train", "tiny", "-o", str(tmp_path / "run"), "--workers", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not (tmp_path / "run" / "stills" / "state.safetensors").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "run" / "model").exists(), "the kill came too late to test anything"
    subprocess.run(command, check=True, capture_output=True)
    assert load_checkpoint(tmp_path / "run" / "model").digest == load_checkpoint(run / "model").digest


def test_stopped_while_encoding_is_uninterrupted(run: Path, tmp_path: Path) -> None:
    """The words are learnt in one process and the rest in another, where chance has gone other ways."""
    journey = train(find("tiny"), Simulated(), tmp_path, Group(), workers=0)
    while next(journey)[0] != "encoding stills":
        pass
    journey.close()
    torch.manual_seed(17)
    list(train(find("tiny"), Simulated(), tmp_path, Group(), workers=0))
    assert load_checkpoint(tmp_path / "model").digest == load_checkpoint(run / "model").digest


def test_who_goes_on_after_a_shard_encodes_the_same_batches() -> None:
    assert [_batch(frames) for frames in (1, 9, 17, 33, 129)] == [64, 4, 2, 1, 1]
    assert not any(PER_SHARD % _batch(frames) for frames in range(1, 130, 4))


def test_the_witness_sees_stills_and_clips() -> None:
    for name in ("tiny", "nano"):
        recipe = find(name)
        shown = first_frames(recipe, batch=7)
        assert [portion.frames for portion in shown] == [1, recipe.flow[-1].frames]
        assert {(portion.batch, portion.latents, portion.glimpses) for portion in shown} == {(7, 1, None)}


def test_a_folder_of_another_material_is_refused(run: Path, films: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pixels holds clips of simulated .*, not of the clips in films .*\(-o\)"):
        list(train(find("tiny"), Filmed(films), run, Group(), workers=0))
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "pixels")
    with pytest.raises(ValueError, match=r"material = 'simulated .* there, 'the clips in films .* another folder"):
        list(train(find("tiny"), Filmed(films), tmp_path / "run", Group(), workers=0))
    recipe, autoencoder = find("tiny"), load(run / "model").autoencoder
    with pytest.raises(ValueError, match=r"latents-1 caches latents of 'simulated .*, not of 'the clips in films"):
        list(encode_clips(recipe, recipe.flow[0].portions[0], Filmed(films), autoencoder, run, Group(), 0))


def test_a_folder_of_other_networks_is_refused(run: Path) -> None:
    other = dataclasses.replace(find("tiny").transformer, anchored=False)  # of the same shapes
    with pytest.raises(ValueError, match=r"'anchored': True.* there, .*'anchored': False"):
        list(train(dataclasses.replace(find("tiny"), transformer=other), Simulated(), run, Group(), workers=0))


def test_pixels_that_nobody_wrote_down_are_refused(tmp_path: Path) -> None:
    shape = Shape(1, 16, 16, 15.0)
    cache_pixels(tmp_path, 0, 1, Simulated(), shape)
    cache_pixels(tmp_path, 0, 1, Simulated(), shape)
    with pytest.raises(ValueError, match=r"1 a file, not of .*2 a file"):
        cache_pixels(tmp_path, 0, 2, Simulated(), shape)
    (tmp_path / "origin.txt").unlink()
    with pytest.raises(ValueError, match="what an older version did not write down"):
        cache_pixels(tmp_path, 0, 1, Simulated(), shape)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A folder of three clips with the same caption."""
    folder = tmp_path / "films"
    folder.mkdir()
    for seed in range(3):
        clip = simulate(seed, frames=17, height=64, width=64)
        write_mp4(folder / f"{seed}.mp4", clip.rgb, 15.0)
        (folder / f"{seed}.txt").write_text("a crane unloads a ship\n")
    return folder


def test_films_are_told_apart_by_their_files(films: Path) -> None:
    before = Filmed(films).identity
    assert Filmed(shutil.copytree(films, films.parent / "elsewhere" / "films")).identity == before
    (films / "origin.txt").write_text("of a training in the same folder")
    assert Filmed(films).identity == before
    (films / "0.txt").write_text("a crane unloads two ships\n")
    assert Filmed(films).identity != before


def test_films_are_opened_once(films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    monkeypatch.setattr("muybridge.data.footage.probe", lambda path: (opened.append(path), probe(path))[1])
    material = Filmed(films)
    for number in range(5):
        material.clip(number, Shape(9, 64, 64, 15.0))
    assert len(opened) == 3


def test_words_of_films_are_those_that_are_read(films: Path) -> None:
    caption = "Ein Mädchen, 3 Äpfel und ein Kran: кран, 起重机 100 % up-to-date 🔥"
    (films / "0.txt").write_text(caption, encoding="utf-8")
    vocabulary = Vocabulary.of(Filmed(films).words())
    assert {"madchen", "3", "apfel", "кран", "起重机", "100", "up-to-date", "🔥"} <= vocabulary.words
    assert not vocabulary.unknown(caption)


def test_what_of_films_is_not_learnt_is_told(films: Path) -> None:
    (films / "0.txt").write_text("word " * 70)
    assert Filmed(films).notes(Shape(9, 64, 64, 15.0)) == [
        f"{films / '0.mp4'} has a caption of 70 words: the first 64 are read"
    ]
    clip = simulate(0, frames=5, height=64, width=64)
    write_mp4(films / "1.mp4", clip.rgb, 15.0)
    assert (
        Filmed(films).notes(Shape(17, 64, 64, 15.0))[0]
        == f"{films / '1.mp4'} is shorter than 17 frames: no such clip is of it"
    )


def test_notes_come_before_work(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("muybridge.commands.train.train", lambda *journey: iter(()))
    (films / "0.txt").write_text("word " * 70)
    assert obey(["train", "tiny", "--data", str(films), "-o", str(tmp_path / "run"), "--device", "cpu"]) == 0
    assert "note: " in (err := capsys.readouterr().err)
    assert "has a caption of 70 words" in err


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), "out of memory: make it smaller"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "out of memory: make it smaller"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "was killed, perhaps for lack of"),
    ],
)
def test_what_no_program_avoids_is_a_sentence(
    error: RuntimeError, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("muybridge.commands.train.run", fails)
    assert obey(["train", "tiny"]) == 2
    assert sentence in capsys.readouterr().err
    error.args = ("a mistake of ours",)
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        obey(["train", "tiny"])


def test_a_device_that_is_not_there_is_found_before_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert obey(["train", "tiny", "--device", "gpu", "-o", str(tmp_path / "run")]) == 2
    assert "there is no device 'gpu' here: take cpu" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_footage(films: Path, tmp_path: Path) -> None:
    list(train(find("tiny"), Filmed(films), tmp_path / "run", Group(), workers=0))
    model = load(tmp_path / "run" / "model")
    assert "crane" in model.vocabulary.words
    assert "films" in model.config["learnt_from"]


def test_every_recipe_fits_together() -> None:
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        assert recipe.autoencoder.channels == recipe.transformer.channels
        assert recipe.transformer.width % recipe.transformer.heads == 0
        assert recipe.transformer.text_width % recipe.text_heads == 0
        side = recipe.autoencoder.spatial_stride * recipe.transformer.patch
        assert recipe.height % side == recipe.width % side == 0
        assert dataclasses.is_dataclass(recipe)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nano", "small", "base"])
def test_every_stage_of_a_recipe_works(name: str, tmp_path: Path) -> None:
    """The networks in their true sizes, all stages, to a checkpoint that generates; two clips a step."""
    recipe = rehearsed(find(name), batch=2)
    told = {stage for stage, _ in train(recipe, recipe.material, tmp_path, Group(), workers=0)}
    assert told == set(amounts(recipe))
    clip = load(tmp_path / "model").generate(Condition("a red ball", frames=9, height=64, width=64), seed=1)[0]
    assert clip.frames.shape == (9, 64, 64, 3)


def test_a_rehearsal_tells_how_long_all_of_it_takes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert obey(["train", "tiny", "--rehearse", "--workers", "0", "-o", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert all(stage in shown for stage in amounts(find("tiny")))
    assert "all of it" in shown
    assert not (tmp_path / "run").exists()


def test_what_is_done_once_is_not_counted_for_each_clip() -> None:
    made = [Progress(0, 768, 0.0), Progress(256, 768, 5.0), Progress(512, 768, 6.0), Progress(768, 768, 7.0)]
    assert seconds_each(made) == pytest.approx(1 / 256)  # 4 of the first 5 seconds went by before the first clip
    gone_on_with = [*made, Progress(768, 768, 0.0)]  # by another portion, whose clips are there
    assert seconds_each(gone_on_with) == pytest.approx(1 / 256)
    assert seconds_each([Progress(0, 96, 0.0), Progress(96, 96, 12.0)]) == pytest.approx(1 / 8)
    assert seconds_each([Progress(1, 1, 5.0)]) == 5


def test_effort_is_more_steps_of_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    once, twice = find("nano"), find("nano").longer(2)
    steps = {what: count for what, count in amounts(once).items() if "encoding" not in what}
    made = {"pixels", "worlds"}
    assert {what: amounts(twice)[what] for what in steps} == {
        what: count if what in made else 2 * count for what, count in steps.items()
    }
    assert find("nano").longer(1) == once
    look = find("nano").longer(0.1)
    for stage, of in zip((*look.flow, look.learn_planner), (*once.flow, once.learn_planner), strict=True):
        assert stage is not None
        assert of is not None
        assert stage.training.warmup == round(0.1 * of.training.warmup) < stage.training.steps
        assert stage.training.sample_every == round(0.1 * of.training.sample_every)
    assert twice.flow[0].training.warmup == once.flow[0].training.warmup
    assert "`muybridge train nano --effort 0.1`" in card(look, text_encoder(look, Vocabulary.of(())))
    for none in ("0", "-1", "nan"):
        assert obey(["train", "tiny", "--effort", none]) == 2
        assert "take a number above 0" in capsys.readouterr().err


def test_unknown_recipe_names_the_known() -> None:
    with pytest.raises(ValueError, match=r"tiny, nano, small, base"):
        find("huge")


def test_pixels_are_the_materials(run: Path) -> None:
    recipe = find("tiny")
    cached = np.load(run / "pixels" / "clips-00000.npy")
    seen = Simulated().clip(2, recipe.shape(recipe.learn_autoencoder.clip_frames))
    np.testing.assert_array_equal(cached[2, ..., :3], seen.rgb)
