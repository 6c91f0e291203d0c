"""`muybridge train --text`: models that read prompts with a frozen text encoder of others, from the command on."""

from __future__ import annotations

import pickle
import shutil
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_encoders import make, transformers

from muybridge.cli import obey
from muybridge.conditioning import pretrained as pretrained_module
from muybridge.conditioning.borrowed import borrowed_by, borrowing, name_of, tokens_of
from muybridge.conditioning.pretrained import PretrainedText
from muybridge.conditioning.text import TextConfig, TextEncoder, pad
from muybridge.conditioning.tokens import Tokens
from muybridge.data.material import Simulated
from muybridge.generate import load
from muybridge.recipes import find
from muybridge.simulation import simulate
from muybridge.storage.checkpoint import load as load_checkpoint
from muybridge.storage.video import write_mp4
from muybridge.train import train
from muybridge.training.parallel import Group
from muybridge.types import Condition

FAMILIES = ("t5", "clip", "qwen2")
LONG = "a red ball and " * 60


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A pretrained text encoder of each family."""
    return {family: make(family, tmp_path_factory.mktemp(family)) for family in FAMILIES}


@pytest.fixture(scope="module")
def encoders(folders: dict[str, Path]) -> dict[str, PretrainedText]:
    return {family: PretrainedText.load(folder) for family, folder in folders.items()}


@pytest.fixture(scope="module", params=FAMILIES)
def encoder(request: pytest.FixtureRequest, encoders: dict[str, PretrainedText]) -> PretrainedText:
    return encoders[request.param]


@pytest.fixture(scope="module")
def text(encoder: PretrainedText) -> TextEncoder:
    return reads(encoder)


def reads(encoder: PretrainedText) -> TextEncoder:
    torch.manual_seed(0)
    tokens = tokens_of(encoder)
    return borrowing(TextConfig(len(tokens), width=16, layers=1, heads=2, queries=3), encoder.frozen, tokens.longest)


@pytest.mark.parametrize("prompt", ["a red ball", "🔴 ball rés", "красный мяч", "ball \ud83d", LONG])
def test_tokens_are_the_tokenizer_s_own(encoder: PretrainedText, prompt: str) -> None:
    """One higher, for 0 is padding; a long prompt is cut as the tokenizer cuts it."""
    tokens = tokens_of(encoder)
    wanted = encoder.tokenizer(prompt.replace("\ud83d", "\ufffd"), truncation=True, max_length=tokens.longest)
    assert [one - 1 for one in tokens.ids(prompt)] == wanted["input_ids"]
    assert 0 < min(tokens.ids(prompt)) <= max(tokens.ids(prompt)) < len(tokens)
    assert len(tokens.split(prompt)) == len(tokens.ids(prompt))


def test_tokens_know_what_they_do_not_read(encoder: PretrainedText) -> None:
    tokens = tokens_of(encoder)
    whole = encoder.tokenizer(LONG, verbose=False)["input_ids"]
    assert tokens.beyond(LONG) == len(whole) - tokens.longest > 0
    assert tokens.beyond("a red ball") == tokens.beyond("") == 0
    assert tokens.unknown("флюгегехаймен") == {}
    assert tokens.ids("") == tokens.ids(" \n") == []


def test_tokens_come_back_from_json_and_go_to_other_processes(encoder: PretrainedText) -> None:
    tokens = tokens_of(encoder)
    for other in (Tokens.from_json(tokens.to_json()), pickle.loads(pickle.dumps(tokens))):
        assert isinstance(other, Tokens)
        assert (other.longest, len(other), other.ids(LONG)) == (tokens.longest, len(tokens), tokens.ids(LONG))


def test_padding_changes_nothing(encoder: PretrainedText, text: TextEncoder) -> None:
    tokens, prompts = tokens_of(encoder), ["a small red ball rolls behind a box", "a red ball", ""]
    ids = [tokens.ids(prompt) for prompt in prompts]
    together = text(pad(ids, tokens.longest))
    assert together.shape == (3, 3, 16)
    assert together.isfinite().all()
    for row, one in zip(together, ids, strict=True):
        torch.testing.assert_close(row, text(pad([one]))[0], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_in_bfloat16_it_reads_nearly_the_same(encoder: PretrainedText, text: TextEncoder) -> None:
    """By autocast, and with weights that are stored so."""
    ids = pad([tokens_of(encoder).ids(prompt) for prompt in ("a small red ball rolls behind a box", "a red ball")])
    with torch.no_grad():
        exact = text(ids)
        with torch.autocast("cpu", torch.bfloat16):
            by_autocast = text(ids)
        stored = deepcopy(text)
        frozen = borrowed_by(stored)
        assert frozen is not None
        frozen.model.to(torch.bfloat16)
        found = stored(ids)
    for rounded in (by_autocast, found):
        assert float((rounded - exact).square().mean().sqrt()) < 0.1


def test_only_what_is_learnt_is_part_of_the_module(encoder: PretrainedText, text: TextEncoder) -> None:
    own = {name.split(".")[0] for name in text.state_dict()}
    assert own == {"words", "places", "start", "queries", "readers", "resamplers"}
    assert [name for name in text.state_dict() if name.startswith("words")] == ["words.bring.weight"]
    text.train()
    assert not encoder.model.training, "dropout would change what is read"
    text(pad([tokens_of(encoder).ids("a red ball")])).sum().backward()
    assert all(parameter.grad is not None for parameter in text.parameters())
    assert all(parameter.grad is None for parameter in encoder.model.parameters())
    assert borrowed_by(text) is encoder.frozen
    assert borrowed_by(TextEncoder(TextConfig(5, 16, 1, 2))) is None


def test_the_frozen_part_goes_where_the_module_goes(folders: dict[str, Path]) -> None:
    text = reads(PretrainedText.load(folders["t5"])).to("meta")
    frozen = borrowed_by(text)
    assert frozen is not None
    assert {each.device.type for each in frozen.model.parameters()} == {"meta"}


def test_an_encoder_is_known_by_its_weights_and_its_words(folders: dict[str, Path], tmp_path: Path) -> None:
    same, other = shutil.copytree(folders["t5"], tmp_path / "same"), PretrainedText.load(folders["t5"])
    assert name_of(PretrainedText.load(same)) == name_of(other)
    with torch.no_grad():
        next(other.model.parameters())[0, 0] += 1
    assert name_of(PretrainedText.load(same)) != name_of(other)
    assert name_of(PretrainedText.load(same)) != name_of(PretrainedText.load(same, layer=-2))


@pytest.fixture(scope="module")
def runs(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Finished trainings."""
    home = tmp_path_factory.mktemp("runs")
    for family, folder in folders.items():
        words = ["train", "tiny", "--text", str(folder), "-o", str(home / family), "--workers", "0", "--device", "cpu"]
        assert obey(words) == 0
    return {family: home / family for family in folders}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_checkpoint_needs_nothing_else(
    family: str, runs: dict[str, Path], folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shutil.copytree(runs[family] / "model", tmp_path / "model")
    clip = tmp_path / "clip.mp4"
    words = ["generate", LONG, "--model", str(model), "-o", str(clip), "--seed", "1", "--no-sign", "--steps", "1"]
    assert obey([*words, "--drafts", "0"]) == 0
    opened = load(model, "cpu")
    beyond = opened.vocabulary.beyond(LONG)
    longest = opened.vocabulary.longest
    said = " ".join(capsys.readouterr().err.split())
    assert f"its last {beyond} tokens are not read (the first {longest} are)" in said
    assert obey(["inspect", str(clip)]) == 0
    assert opened.hash in capsys.readouterr().err
    frozen = borrowed_by(opened.text)
    assert frozen is not None
    original = PretrainedText.load(folders[family])
    for name, weight in original.model.named_parameters():
        assert torch.equal(weight, frozen.model.get_parameter(name)), name
    assert f"frozen {original.model.config.model_type}" in opened.card
    assert str(folders[family].parent) not in "".join(path.read_text() for path in model.rglob("*.json"))


def test_words_reach_the_pixels(runs: dict[str, Path]) -> None:
    model = load(runs["t5"] / "model", "cpu")
    one, other = (model.encode([Condition(prompt, frames=9)]).text for prompt in ("a red ball", "two blue boxes"))
    assert one.shape == other.shape
    assert not torch.allclose(one, other, atol=1e-3)


def test_states_hold_nothing_of_the_encoder(runs: dict[str, Path], encoders: dict[str, PretrainedText]) -> None:
    learnt = {
        name
        for file in runs["t5"].glob("*/state.safetensors")
        for name in load_file(file)
        if "text.words." in name or "frozen" in name
    }
    kinds = {name.split("text.words.")[1].split(".")[0] for name in learnt}
    assert kinds == {"bring"}
    width = encoders["t5"].width
    state = load_file(runs["t5"] / "words" / "state.safetensors")
    assert state["model.text.words.bring.weight"].shape == (find("tiny").transformer.text_width, width)


def test_stopped_and_resumed_is_uninterrupted(runs: dict[str, Path], folders: dict[str, Path], tmp_path: Path) -> None:
    encoder = PretrainedText.load(folders["t5"], dtype=None)
    journey = train(find("tiny"), Simulated(), tmp_path, Group(), 0, encoder)
    while next(journey)[0] != "encoding clips":
        pass
    journey.close()
    torch.manual_seed(17)
    words = ["train", "tiny", "--text", str(folders["t5"]), "-o", str(tmp_path), "--workers", "1", "--device", "cpu"]
    assert obey(words) == 0
    assert load_checkpoint(tmp_path / "model").digest == load_checkpoint(runs["t5"] / "model").digest


def test_a_folder_of_another_encoder_is_refused(
    runs: dict[str, Path], folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "tiny", "-o", str(runs["t5"]), "--workers", "0", "--device", "cpu"]
    before = load_checkpoint(runs["t5"] / "model").digest
    for other in ([], ["--text", str(folders["clip"])]):
        assert obey([*words, *other]) == 2
        said = capsys.readouterr().err
        assert "text encoder = 't5 (" in said
        assert "train into another folder" in said
    assert obey([*words, "--text", str(folders["t5"])]) == 0  # and finished is finished
    assert load_checkpoint(runs["t5"] / "model").digest == before


def test_the_encoder_counts_in_the_hash(runs: dict[str, Path], tmp_path: Path) -> None:
    model = shutil.copytree(runs["t5"] / "model", tmp_path / "model")
    assert load_checkpoint(model).digest == load_checkpoint(runs["t5"] / "model").digest
    weights = next((model / "pretrained").glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert load_checkpoint(model).digest != load_checkpoint(runs["t5"] / "model").digest


def test_a_checkpoint_that_is_not_whole_is_refused(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shutil.copytree(runs["t5"] / "model", tmp_path / "model")

    def refused() -> str:
        assert obey(["generate", "a red ball", "--model", str(model), "-o", str(tmp_path / "clip.mp4")]) == 2
        return capsys.readouterr().err

    weights = next((model / "pretrained").glob("*.safetensors"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    assert "is damaged or cut off" in refused()
    weights.unlink()
    assert "holds no text encoder that can be read" in refused()
    shutil.rmtree(model / "pretrained")
    assert "lacks the folder pretrained" in refused()


def test_it_teaches(runs: dict[str, Path], tmp_path: Path) -> None:
    words = ["distill", "tiny", "--teacher", str(runs["t5"] / "model"), "-o", str(tmp_path), "--workers", "0"]
    assert obey([*words, "--device", "cpu"]) == 0
    student = load(tmp_path / "model", "cpu")
    assert isinstance(student.vocabulary, Tokens)
    assert "frozen t5" in student.card
    clip = student.generate(Condition("a red ball", frames=9, height=64, width=64), seed=1)[0]
    assert clip.frames.shape == (9, 64, 64, 3)


@pytest.mark.parametrize("target", ["torch-export", "diffusers"])
def test_other_runtimes_are_refused(
    target: str, runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(runs["t5"] / "model"), "--format", target, "-o", str(tmp_path / "out")]
    assert obey(words) == 2
    assert "reads prompts with a text encoder of others, which only transformers runs" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_lab_is_refused_before_it_fetches(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx")
    assert obey(["lab", "--model", str(runs["t5"] / "model"), "-o", str(tmp_path / "lab"), "--no-serve"]) == 2
    assert "reads prompts with a text encoder of others" in capsys.readouterr().err
    assert not (tmp_path / "lab").exists()


def test_long_captions_of_films_are_told_and_short_ones_learnt(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films = tmp_path / "films"
    films.mkdir()
    clip = simulate(0, frames=17, height=64, width=64)
    for number, caption in enumerate(("ein Kran entlädt ein Schiff", LONG)):
        write_mp4(films / f"{number}.mp4", clip.rgb, 15.0)
        (films / f"{number}.txt").write_text(caption, encoding="utf-8")
    words = ["train", "tiny", "--data", str(films), "--text", str(folders["t5"]), "-o", str(tmp_path / "run")]
    assert obey([*words, "--workers", "0", "--device", "cpu"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "1.mp4 has a caption of" in said
    assert "tokens: the first 128 are read" in said
    assert "0.mp4 has a caption" not in said
    assert isinstance(load(tmp_path / "run" / "model", "cpu").vocabulary, Tokens)


def test_what_cannot_be_read_is_refused_before_work(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(folder: Path) -> str:
        assert obey(["train", "tiny", "--text", str(folder), "-o", str(tmp_path / "run"), "--device", "cpu"]) == 2
        assert not (tmp_path / "run").exists()
        return capsys.readouterr().err

    (tmp_path / "empty").mkdir()
    assert "empty holds no text encoder that can be read: give a folder" in refused(tmp_path / "empty")
    spoilt = shutil.copytree(folders["t5"], tmp_path / "spoilt")
    weights = spoilt / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    assert "spoilt holds no text encoder that can be read" in refused(spoilt)
    some = {name: each for name, each in load_file(folders["t5"] / weights.name).items() if "block.1" not in name}
    save_file(some, weights, {"format": "pt"})
    assert "its weights lack" in refused(spoilt)
    weights.write_bytes(whole)
    (spoilt / "tokenizer.json").write_text("{}")
    assert "spoilt holds no text encoder that can be read" in refused(spoilt)
    looks = tmp_path / "looks"
    shutil.copytree(folders["clip"], looks)
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=8, patch_size=4
    )
    transformers.ViTModel(config).save_pretrained(looks)
    assert "cannot read a sentence" in refused(looks)

    def lacks(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(pretrained_module.importlib, "import_module", lacks)
    assert "need the package transformers: pip install 'muybridge[open-models]'" in refused(folders["t5"])


def test_a_rehearsal_reads_with_it(folders: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "tiny", "--rehearse", "--workers", "0", "--device", "cpu", "--text", str(folders["qwen2"])]
    assert obey(words) == 0
    assert "all of it" in capsys.readouterr().out
