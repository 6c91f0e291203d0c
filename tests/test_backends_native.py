"""Our models as pipelines of diffusers: written, opened there and here, with the same frames."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from test_backends_families import noise
from tiny_checkpoint import build_causal_model
from tiny_models import drawn

import muybridge
from muybridge import cli
from muybridge.conditioning.witness import Witness, WitnessConfig
from muybridge.storage.stills import to_uint8

pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def seeing(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a witness, which draws three first frames."""
    model = muybridge.load(tiny_model, "cpu")
    witness = drawn(Witness(WitnessConfig(4, model.text.config.width, 3, 2, objects=2, width=8, blocks=1)))
    assert isinstance(witness, Witness)
    folder = tmp_path_factory.mktemp("models") / "seeing"
    muybridge.save_model(
        folder,
        name="seeing",
        autoencoder=model.autoencoder,
        text=model.text,
        transformer=model.transformer,
        vocabulary=model.vocabulary,
        sampling=muybridge.Settings(steps=2, guidance=2.0, drafts=3, draft_steps=1, guidance_interval=(0.1, 1.0)),
        trained=model.config["trained"],
        learnt_from="nothing at all",
        card="# seeing\n",
        witness=witness,
    )
    return folder


@pytest.fixture(scope="module")
def written(seeing: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a folder for diffusers, by the command."""
    folder = tmp_path_factory.mktemp("diffusers") / "seeing"
    assert cli.obey(["export", str(seeing), "--format", "diffusers", "-o", str(folder)]) == 0
    return folder


def test_diffusers_makes_the_same_frames(seeing: Path, written: Path, tmp_path: Path) -> None:
    """By the lines of the folder's README: its pipeline.py, from the folder alone."""
    from diffusers import DiffusionPipeline
    from PIL import Image

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", str(tmp_path))
        pipe = DiffusionPipeline.from_pretrained(str(written), custom_pipeline="pipeline", trust_remote_code=True)
    pipe.set_progress_bar_config(disable=True)
    model = muybridge.load(seeing, "cpu")
    generator = torch.Generator().manual_seed(7)
    made = pipe("a red ball", "a box", generator=generator, output_type="pt").frames[0]
    wanted = model.generate(muybridge.Condition("a red ball", "a box", 9, 32, 48, 15.0), 7)[0]
    assert torch.allclose(made * 2 - 1, wanted.video.frames[0], atol=1e-6)
    assert pipe.witness is not None  # the drafts were drawn and looked at
    other = pipe("a red ball", "a box", generator=generator, num_drafts=0, output_type="pt").frames[0]
    assert not torch.equal(made, other)

    still = Image.fromarray(to_uint8(noise(1, 32))[0]).resize((48, 32))
    pair = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    clips = pipe(["a ball", "a cube"], image=still, num_frames=5, generator=pair, output_type="pil").frames
    assert [len(clip) for clip in clips] == [5, 5]
    still.save(tmp_path / "still.png")
    prefix = muybridge.fit(muybridge.read_still(tmp_path / "still.png"), 32, 48)[None]
    begun = model.generate(muybridge.Condition("a cube", "", 5, 32, 48, 15.0, prefix), 2)[0]
    for picture, frame in zip(clips[1], begun.frames, strict=True):
        assert np.abs(np.asarray(picture, dtype=int) - frame).max() <= 1


def test_it_is_a_model_of_ours_again(seeing: Path, written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, back = muybridge.load(seeing, "cpu"), muybridge.load(written, "cpu")
    condition = muybridge.Condition("a red ball", "", 9, 32, 48, 15.0)
    assert torch.equal(back.generate(condition, 3)[0].video.frames, model.generate(condition, 3)[0].video.frames)
    assert back.settings == model.settings
    with pytest.raises(ValueError, match="LoRAs are for models of others"):
        muybridge.load(written, "cpu", loras=["x.safetensors"])
    assert cli.obey(["models", "check", str(written)]) == 0
    assert "is a model of Muybridge: it runs on any machine" in " ".join(capsys.readouterr().out.split())


def test_the_lines_of_the_readme_run(seeing: Path, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (written / "README.md").read_text(encoding="utf-8")
    assert "9 frames of 48x32, 2 steps, guidance 2, 3 drafts of the first frame, of which its witness" in page
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(written)
    monkeypatch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", str(written.parent / "modules"))
    exec(compile(code, "README.md", "exec"), {})
    clip = muybridge.load(seeing, "cpu").generate(muybridge.Condition("a red ball and a blue box", "", 9, 32, 48), 7)[0]
    muybridge.write_mp4(written / "wanted.mp4", clip.frames, 15.0)
    made, wanted = (muybridge.read_mp4(written / name).frames.astype(int) for name in ("clip.mp4", "wanted.mp4"))
    assert np.abs(made - wanted).max() <= 2


def test_weights_can_be_narrower(written: Path) -> None:
    from muybridge.backends.native import MuybridgePipeline

    pipe = MuybridgePipeline.from_pretrained(str(written), torch_dtype=torch.bfloat16)
    pipe.set_progress_bar_config(disable=True)
    whole, narrow = (
        pipe.to(dtype=dtype)("a red ball", generator=torch.Generator().manual_seed(7), num_drafts=0, output_type="pt")
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert (whole.frames - narrow.frames).abs().mean() < 0.05


def test_students_that_jump_go_too(tmp_path: Path) -> None:
    """Their way of sampling goes with them: two jumps, no guidance."""
    from muybridge.backends.native import MuybridgePipeline

    assert (
        cli.obey(
            [
                "export",
                str(build_causal_model(tmp_path / "student")),
                "--format",
                "diffusers",
                "-o",
                str(tmp_path / "out"),
            ]
        )
        == 0
    )
    pipe = MuybridgePipeline.from_pretrained(str(tmp_path / "out"))
    pipe.set_progress_bar_config(disable=True)
    made = pipe("a box", generator=torch.Generator().manual_seed(4), output_type="pt").frames[0]
    model = muybridge.load(tmp_path / "student", "cpu")
    wanted = model.generate(muybridge.Condition("a box", "", 9, 32, 48, 15.0), 4)[0].video.frames[0]
    assert torch.allclose(made * 2 - 1, wanted, atol=1e-6)
    with pytest.raises(ValueError, match="a model that jumps was taught with guidance built in"):
        pipe("a box", guidance_scale=3.0)


def test_nothing_else_is_replaced(seeing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "letter.txt").write_text("dear", encoding="utf-8")
    for words, said in (
        ([str(seeing), "-o", str(tmp_path)], "will not replace"),
        ([str(seeing), "-o", str(tmp_path / "a"), "--precision", "int8"], "diffusers takes fp32"),
    ):
        assert cli.obey(["export", *words, "--format", "diffusers"]) == 2
        assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
