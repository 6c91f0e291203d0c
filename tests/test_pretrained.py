"""Text encoders of `transformers` in the text slot: tiny ones of four families, made here, saved and loaded again."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_encoders import PLACES, make
from tiny_models import TRANSFORMER, drawn

from muybridge.conditioning.pretrained import PretrainedText
from muybridge.transformer.model import VideoTransformer
from muybridge.types import Streams

transformers = pytest.importorskip("transformers")

PROMPT = "a small red ball rolls behind a tall blue box"
FAMILIES = ("t5", "umt5", "clip", "qwen2", "qwen3")


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def encoder(folder: Path) -> PretrainedText:
    return PretrainedText.load(folder)


def test_features_fit_the_slot(encoder: PretrainedText) -> None:
    features, mask = encoder([PROMPT, "a red ball", ""])
    assert mask is not None
    assert features.shape == (*mask.shape, encoder.width)
    assert features.dtype == torch.float32
    assert mask.dtype == torch.bool
    assert mask[:, 0].all(), "every prompt has a token, the empty one too"
    assert mask[0].all()
    assert mask.sum(dim=1).tolist() == sorted(mask.sum(dim=1).tolist(), reverse=True)
    assert (features[~mask] == 0).all()
    assert features.isfinite().all()
    assert (features[mask].abs().sum(dim=1) > 0).all()


def test_padding_changes_no_feature(encoder: PretrainedText) -> None:
    prompts = [PROMPT, "a red ball", "", "the camera pans left"]
    together, mask = encoder(prompts)
    assert mask is not None
    for prompt, features, seen in zip(prompts, together, mask, strict=True):
        alone, nothing_padded = encoder([prompt])
        assert nothing_padded is None
        torch.testing.assert_close(features[seen], alone[0], rtol=1e-4, atol=1e-4)


def test_words_matter(encoder: PretrainedText) -> None:
    one, other = encoder(["a red ball"])[0], encoder(["a blue ball"])[0]
    assert one.shape != other.shape or not torch.allclose(one, other, atol=1e-2)


def test_it_gives_what_its_family_gives(encoder: PretrainedText, folder: Path) -> None:
    """Against the model of `transformers` with the tokenizer's own padding, on the right."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="right")
    tokens = tokenizer([PROMPT, "a red ball"], padding=True, return_tensors="pt", truncation=True, max_length=PLACES)
    with torch.no_grad():
        expected = encoder.model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
    features, mask = PretrainedText.load(folder, length=PLACES)([PROMPT, "a red ball"])
    assert mask is not None
    assert torch.equal(mask.long(), tokens["attention_mask"])
    torch.testing.assert_close(features[mask], expected.last_hidden_state[mask], rtol=1e-4, atol=1e-4)


def test_layers(encoder: PretrainedText, folder: Path) -> None:
    embeddings, first, last = [PretrainedText.load(folder, layer=layer)([PROMPT])[0] for layer in (0, 1, -1)]
    before_last = PretrainedText.load(folder, layer=-2)([PROMPT])[0]
    assert torch.equal(first, before_last)
    assert not torch.allclose(first, last, atol=1e-2)
    assert not torch.allclose(embeddings, first, atol=1e-2)
    torch.testing.assert_close(last, encoder([PROMPT])[0])
    with pytest.raises(ValueError, match="layer is 3, but the text encoder has 2: take -3 to 2"):
        PretrainedText.load(folder, layer=3)


def test_what_is_cut_is_told(folder: Path) -> None:
    text = " ".join(["red ball, blue box"] * 12)
    encoder = PretrainedText.load(folder, length=12)
    features, mask = encoder([text])
    assert mask is None
    assert features.shape[1] == 12
    unread = encoder.unread(text)
    assert text.endswith(unread)
    read = text[: len(text) - len(unread)]
    assert read.startswith("red ball")
    assert encoder.unread(read) == ""
    torch.testing.assert_close(encoder([read])[0], features)
    assert encoder.unread("red ball") == encoder.unread("") == ""


@pytest.mark.parametrize("text", ["🔴 ball", "красный мяч", "ball \ud83d", "a" * 10_000, "\0\n\t", "rés"])
def test_any_text_is_read(encoder: PretrainedText, text: str) -> None:
    features, _ = encoder([text])
    assert features.isfinite().all()
    assert 1 <= features.shape[1] <= encoder.length
    assert text.endswith(encoder.unread(text))
    assert bool(encoder.unread(text)) == (len(text) == 10_000 and features.shape[1] == encoder.length)


def test_it_is_frozen(encoder: PretrainedText) -> None:
    assert not encoder.model.training
    assert not any(parameter.requires_grad for parameter in encoder.model.parameters())
    features, _ = encoder([PROMPT])
    assert not features.is_inference(), "what learns from features must be able to keep them for its gradient"


def test_the_video_transformer_reads_it_and_padding_has_no_effect(encoder: PretrainedText) -> None:
    transformer = drawn(VideoTransformer(replace(TRANSFORMER, text_width=encoder.width))).requires_grad_(False)
    latent = torch.randn(2, 2, TRANSFORMER.channels, 4, 4, generator=torch.Generator().manual_seed(0))
    level, fps = torch.full((2, 2), 0.5), torch.full((2,), 15.0)

    def velocity(prompts: list[str]) -> torch.Tensor:
        text, mask = encoder(prompts)
        count = slice(0, len(prompts))
        streams = Streams(text, mask, latent[count], torch.zeros(len(prompts), 2, dtype=torch.bool), fps[count])
        out: torch.Tensor = transformer(latent[count], level[count], streams)
        return out

    padded, alone = velocity(["a red ball", PROMPT]), velocity(["a red ball"])
    torch.testing.assert_close(padded[:1], alone, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(velocity(["two blue boxes"]), alone, atol=1e-3)


def test_lengths_that_cannot_be_are_refused(tmp_path: Path) -> None:
    make("clip", tmp_path)
    assert PretrainedText.load(tmp_path).length == PLACES
    for length in (2, PLACES + 1):
        with pytest.raises(ValueError, match=rf"length is {length}, but the text encoder reads 3 to {PLACES} tokens"):
            PretrainedText.load(tmp_path, length=length)


def test_parts_of_a_video_model_s_folder(tmp_path: Path) -> None:
    (tmp_path / "text_encoder").mkdir()
    make("t5", tmp_path / "text_encoder")
    (tmp_path / "tokenizer").mkdir()
    for file in (tmp_path / "text_encoder").glob("tokenizer*"):
        file.rename(tmp_path / "tokenizer" / file.name)
    encoder = PretrainedText.load(tmp_path, part="text_encoder", tokenizer_part="tokenizer")
    assert encoder([PROMPT])[0].shape[2] == 16


def test_bfloat16(tmp_path: Path) -> None:
    make("t5", tmp_path)
    exact, rounded = PretrainedText.load(tmp_path), PretrainedText.load(tmp_path, dtype=torch.bfloat16)
    assert next(rounded.model.parameters()).dtype == torch.bfloat16
    one, other = exact([PROMPT])[0], rounded([PROMPT])[0]
    assert other.dtype == torch.float32
    assert (one - other).square().mean().sqrt() < 0.05 * one.square().mean().sqrt()


def test_what_is_no_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no text encoder"):
        PretrainedText.load(tmp_path)
    make("t5", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"safetensors"):
        PretrainedText.load(tmp_path)


def test_transformers_is_imported_only_when_an_encoder_is_loaded() -> None:
    code = "import sys, muybridge.conditioning.pretrained; sys.exit('transformers' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], check=False, env={"PYTHONPATH": ":".join(sys.path)}).returncode
        == 0
    )
