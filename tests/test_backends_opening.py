"""Opening models of others: whole folders and broken ones, LoRAs, memory, and the commands that do it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_pipelines as tiny
import torch
from safetensors.torch import load_file, save_file
from test_backends_families import condition, noise, text

import muybridge
from muybridge import cli
from muybridge.backends import lora
from muybridge.backends.memory import needs
from muybridge.backends.model import OpenModel
from muybridge.backends.pipelines import Pipeline
from muybridge.commands.models import markdown
from muybridge.storage import pipelines
from muybridge.storage.provenance import from_metadata
from muybridge.storage.stills import contact_sheet
from muybridge.storage.video import read_metadata, read_mp4, write_mp4

pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore")
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "wan"
    tiny.wan().save_pretrained(folder)
    return folder


@pytest.fixture
def copied(wan: Path, tmp_path: Path) -> Path:
    """One to be broken."""
    return Path(shutil.copytree(wan, tmp_path / "copy"))


def refused(folder: Path) -> str:
    with pytest.raises(ValueError) as said:  # noqa: PT011 (what it says is what is tested)
        muybridge.load(folder, "cpu")
    assert "\n" not in str(said.value)
    return str(said.value)


def test_what_is_half_there_is_refused_with_the_mend(copied: Path) -> None:
    weights = copied / "transformer" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    assert "is damaged or cut off" in refused(copied)
    weights.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    assert "pointer of Git LFS" in refused(copied)
    weights.unlink()
    assert "has no weights" in refused(copied)
    listing = {"weight_map": {"a": "x-00001-of-00002.safetensors", "b": "x-00002-of-00002.safetensors"}}
    (weights.parent / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(listing))
    assert "half downloaded, it lacks x-00001-of-00002.safetensors and 1 more" in refused(copied)
    shutil.move(copied / "transformer", copied / "elsewhere")
    assert "lacks its part 'transformer'" in refused(copied)
    (copied / "model_index.json").write_text("{")
    assert "model_index.json is damaged" in refused(copied)


def test_what_could_run_a_program_is_not_opened_unasked(copied: Path) -> None:
    weights = copied / "transformer" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), copied / "transformer" / "diffusion_pytorch_model.bin")
    weights.unlink()
    assert "are pickled" in refused(copied)
    assert isinstance(muybridge.load(copied, "cpu", allow_pickle=True), OpenModel)
    index = json.loads((copied / "model_index.json").read_text())
    (copied / "transformer" / "mine.py").write_text("raise SystemExit")
    (copied / "model_index.json").write_text(json.dumps(index | {"transformer": ["mine", "Mine"]}))
    assert "brings code of its own (mine.py)" in refused(copied)
    (copied / "model_index.json").write_text(json.dumps(index | {"_class_name": ["pipeline", "Mine"]}))
    assert "brings code of its own for its pipeline" in refused(copied)


def test_a_pipeline_of_no_family_names_the_families(copied: Path) -> None:
    index = json.loads((copied / "model_index.json").read_text())
    (copied / "model_index.json").write_text(json.dumps(index | {"_class_name": "FluxPipeline"}))
    assert "is a FluxPipeline, which no family here knows: there are Wan 2.1 and 2.2" in refused(copied)


def test_settings_of_another_network_are_told_in_one_sentence(copied: Path) -> None:
    config = copied / "transformer" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_attention_heads": 3}))
    assert "cannot be opened" in refused(copied)


def test_out_of_reach_of_the_hub(wan: Path, tmp_path: Path) -> None:
    """What was fetched before opens by its name; of the rest it says so, and what there is."""
    home = tmp_path / "hub" / "models--someone--wan"
    shutil.copytree(wan, home / "snapshots" / ("0" * 40))
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("0" * 40)
    program = (
        "from muybridge.storage import pipelines\n"
        "print(pipelines.find('someone/wan').pipeline)\n"
        "try:\n    pipelines.find('someone/else')\nexcept ValueError as error:\n    print(error)\n"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"}
    found, refusal = subprocess.check_output([sys.executable, "-c", program], env=environment, text=True).splitlines()
    assert found == "WanPipeline"
    assert "the hub cannot be reached" in refusal
    assert "someone/wan" in refusal


def test_values_that_are_not_finite_are_told() -> None:
    model = Pipeline(tiny.mochi(), "spoilt")
    with torch.no_grad():
        model.pipe.transformer.proj_out.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match="spoilt made values that are not finite"):
        list(model.sample(text(7, 16), [0], muybridge.Settings(2, "own", 4.5)))


# LoRA


def adapted(path: Path, seed: int, pipe: object = None) -> Path:
    """A LoRA file for the tiny Wan, as PEFT writes it."""
    from diffusers import WanPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    transformer = tiny.wan_transformer()
    transformer.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    generator = torch.Generator().manual_seed(seed)
    layers = get_peft_model_state_dict(transformer)
    random = {name: torch.randn(value.shape, generator=generator) for name, value in layers.items()}
    WanPipeline.save_lora_weights(path.parent, transformer_lora_layers=random, weight_name=path.name)
    return path


def frames_of(model: muybridge.Model) -> torch.Tensor:
    settings = muybridge.Settings(2, "own", 5.0, preview_every=0)
    return model.generate(condition("Wan", ""), 3, settings)[0].video.frames


def test_loras_add_up_and_are_known_by_the_hash(wan: Path, tmp_path: Path) -> None:
    one, two = (str(adapted(tmp_path / f"{i}.safetensors", i)) for i in (1, 2))
    plain = muybridge.load(wan, "cpu")
    none = muybridge.load(wan, "cpu", loras=[f"{one}:0"])
    both = muybridge.load(wan, "cpu", loras=[one, f"{two}:0.5"])
    other = muybridge.load(wan, "cpu", loras=[one, f"{two}:0.6"])
    assert torch.allclose(frames_of(none), frames_of(plain), atol=1e-6)
    assert not torch.allclose(frames_of(both), frames_of(plain), atol=1e-3)
    assert not torch.equal(frames_of(both), frames_of(other))
    assert len({model.hash for model in (plain, none, both, other)}) == 4


def test_a_lora_of_another_model_names_the_mismatch(wan: Path, tmp_path: Path) -> None:
    path = adapted(tmp_path / "style.safetensors", 1)
    wider = {
        name: torch.randn(2, 5120) if name.endswith("lora_A.weight") else value
        for name, value in load_file(path).items()
    }
    save_file(wider, path)
    with pytest.raises(ValueError, match=r"is for another model: its blocks.0.attn1.to_\w takes 5120 features, that"):
        muybridge.load(wan, "cpu", loras=[str(path)])
    save_file({name.replace("blocks.0", "blocks.7"): value for name, value in wider.items()}, path)
    with pytest.raises(ValueError, match="is for another model"):
        muybridge.load(wan, "cpu", loras=[str(path)])
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="is no LoRA"):
        muybridge.load(wan, "cpu", loras=[str(path)])


def test_lora_options_are_read() -> None:
    with pytest.raises(ValueError, match="write a file, or a file:scale"):
        lora.read("style.safetensors:much")
    with pytest.raises(ValueError, match=r"no \.safetensors file"):
        lora.read("style.bin:1")
    with pytest.raises(ValueError, match="LoRAs are for models in diffusers' format"):
        muybridge.load("nano", "cpu", loras=["x.safetensors"])


# the commands


def test_a_clip_from_the_command_line_says_how_it_is_made_again(
    wan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film, clip, again = tmp_path / "walk.mp4", tmp_path / "clip.mp4", tmp_path / "again.mp4"
    pixels = ((noise(12, 32) + 1) * 127.5).byte().permute(0, 2, 3, 1).numpy()
    write_mp4(film, pixels, 16.0)
    words = ["generate", "a cat", "--model", str(wan), "--size", "32x32", "--seconds", "0.5", "--steps", "3"]
    words += ["--video", str(film), "--strength", "0.7", "--seed", "5", "--no-sign", "-o", str(clip)]
    assert cli.obey(words) == 0, capsys.readouterr().err
    made = from_metadata(read_metadata(clip))
    assert (made.frames, made.fps, made.solver) == (9, 16.0, "own")
    assert set(json.loads(made.given)) == {"video", "strength"}
    capsys.readouterr()
    assert cli.obey(["inspect", str(clip)]) == 0
    import shlex

    command = shlex.split(capsys.readouterr().out)
    assert cli.obey([*command[1 : command.index("-o")], "--no-sign", "-o", str(again)]) == 0, capsys.readouterr().err
    assert (read_mp4(again).frames == read_mp4(clip).frames).all()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--image", "still.png"], "does not take a first frame: leave it out (families that do: Wan"),
        (["--strength", "0.5"], "--strength says how far a video is changed"),
        (["--solver", "euler"], "samples its own way: leave it at own"),
        (["--size", "40x32"], "sides are multiples of 16"),
        (["--dtype", "float8"], "take one of float32, bfloat16, float16"),
        (["--stream"], "cannot stream, it makes whole clips"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    words: list[str],
    said: str,
    wan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    contact_sheet(((noise(1, 32) + 1) * 127.5).byte().permute(0, 2, 3, 1).numpy(), tmp_path / "still.png")
    base = ["generate", "a cat", "--model", str(wan), "--seconds", "0.5", "--steps", "2", "-o", "clip.mp4"]
    size = [] if "--size" in words else ["--size", "32x32"]
    assert cli.obey([*base, *size, *words]) == 2
    shown = capsys.readouterr().err
    assert said in " ".join(shown.split())
    assert not (tmp_path / "clip.mp4").exists()


def test_ours_refuse_what_only_others_take(tiny_model: Path) -> None:
    model = muybridge.load(tiny_model, "cpu")
    with pytest.raises(ValueError, match="does not take last frames: `muybridge models` lists"):
        model.check(muybridge.Condition("a ball", suffix=noise(1, 128)))
    with pytest.raises(ValueError, match="has no scheduler of its own: take euler"):
        model.generate(muybridge.Condition("a ball"), settings=muybridge.Settings(2, "own"))


def test_what_others_lack_of_ours_is_told(wan: Path) -> None:
    with pytest.raises(ValueError, match="is a model of others and has no autoencoder of ours"):
        _ = muybridge.load(wan, "cpu").autoencoder


def test_models_are_listed_and_checked(wan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.obey(["models"]) == 0
    shown = capsys.readouterr().out
    assert "Mochi 1" in shown
    assert cli.obey(["models", "check", str(wan)]) == 0
    shown = capsys.readouterr().out
    assert "WanPipeline" in shown
    assert "bfloat16" in shown
    assert cli.obey(["models", "weigh", "x"]) == 2
    assert "write `muybridge models check NAME`" in capsys.readouterr().err


def test_weights_are_counted_as_they_are(wan: Path) -> None:
    found = pipelines.find(wan)
    assert found is not None
    wants = needs(found, 9, 32, 32)
    parts, halved = wants["float32"].parts, wants["bfloat16"].parts
    pipe = tiny.wan()
    for name, size in parts.items():
        network = getattr(pipe, name)
        assert size == sum(weights.numel() for weights in network.parameters()) * 4, name
    assert halved["transformer"] * 2 == parts["transformer"]
    assert halved["vae"] == parts["vae"]  # that of Wan stays exact


def test_the_table_in_the_docs_is_that_of_the_code() -> None:
    page = (ROOT / "docs" / "open-models.md").read_text(encoding="utf-8")
    assert markdown() in page, "run scripts/open_models_table.py"
