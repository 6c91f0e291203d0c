"""What several test files share: a model that is real in every part, and tiny."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a checkpoint with a few thousand random weights; read it, don't write to it."""
    return build_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


def build_tiny_model(folder: Path, still_psnr: float | None = None) -> Path:
    """Writes a model that makes 9 frames of 48x32 in 2 steps: noise, but noise that depends on every input."""
    import torch

    import muybridge
    from muybridge.conditioning.text import TextConfig, TextEncoder
    from muybridge.conditioning.vocabulary import Vocabulary
    from muybridge.simulation import VOCABULARY
    from muybridge.tokenizer.autoencoder import AutoencoderConfig, VideoAutoencoder
    from muybridge.transformer.model import TransformerConfig, VideoTransformer

    vocabulary = Vocabulary.of(VOCABULARY)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        autoencoder = VideoAutoencoder(
            AutoencoderConfig(channels=4, coarse=8, fine=8, encoder_blocks=(1, 1), decoder_blocks=(1, 1))
        )
        text = TextEncoder(TextConfig(len(vocabulary), width=16, layers=1, heads=2, queries=3))
        transformer = VideoTransformer(
            TransformerConfig(channels=4, width=32, layers=2, heads=2, expansion=2, text_width=16)
        )
        for weight in transformer.parameters():  # what starts at zero would hide what reaches the output
            torch.nn.init.normal_(weight, std=0.2)
    trained: dict[str, float] = {"frames": 9, "height": 32, "width": 48, "fps": 15.0}
    if still_psnr is not None:
        trained["still_psnr"] = still_psnr
    muybridge.save_model(
        folder,
        name="tiny",
        autoencoder=autoencoder,
        text=text,
        transformer=transformer,
        vocabulary=vocabulary,
        sampling=muybridge.Settings(steps=2, guidance=2.0, preview_every=1),
        trained=trained,
        learnt_from="nothing at all",
        card="# tiny\n\nRandom weights, for tests.\n",
    )
    return folder
