"""Noise + Condition -> Latent: walks a transformer's velocity field from noise to data, telling how far it is."""

from muybridge.sampler.sample import Denoiser, Settings, sample
from muybridge.sampler.stream import CausalDenoiser, stream

__all__ = ["CausalDenoiser", "Denoiser", "Settings", "sample", "stream"]
