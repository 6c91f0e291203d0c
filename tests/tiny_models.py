"""Networks of the real kinds, small enough for tests; every weight drawn, also those that training starts at zero."""

from __future__ import annotations

import math

import torch
from torch import nn

from muybridge.conditioning.text import TextConfig, TextEncoder
from muybridge.tokenizer.autoencoder import AutoencoderConfig, VideoAutoencoder
from muybridge.transformer.model import TransformerConfig, VideoTransformer

AUTOENCODER = AutoencoderConfig(channels=4, coarse=12, fine=8, encoder_blocks=(1, 1), decoder_blocks=(1, 3))
TRANSFORMER = TransformerConfig(channels=4, patch=2, width=32, layers=2, heads=2, text_width=16)
TEXT = TextConfig(vocabulary=20, width=16, layers=2, heads=2, queries=6)


def drawn(module: nn.Module, seed: int = 0) -> nn.Module:
    """`module` with weights that keep activations near unit size, none of them zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / math.sqrt(fan_in))
    return module.eval()


def autoencoder(config: AutoencoderConfig = AUTOENCODER) -> VideoAutoencoder:
    """With latents shifted and scaled, as after training."""
    module = drawn(VideoAutoencoder(config))
    assert isinstance(module, VideoAutoencoder)
    module.mean.copy_(torch.linspace(-0.5, 0.5, config.channels)[:, None, None])
    module.std.copy_(torch.linspace(0.5, 2.0, config.channels)[:, None, None])
    return module


def transformer(config: TransformerConfig = TRANSFORMER, seed: int = 0) -> VideoTransformer:
    module = drawn(VideoTransformer(config), seed)
    assert isinstance(module, VideoTransformer)
    return module


def text_encoder(config: TextConfig = TEXT) -> TextEncoder:
    module = drawn(TextEncoder(config))
    assert isinstance(module, TextEncoder)
    return module
