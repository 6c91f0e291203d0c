"""Noise + Condition -> Latent: walks a transformer's velocity field from noise to data, telling how far it is."""

from muybridge.sampler.sample import Denoiser, Settings, sample

__all__ = ["Denoiser", "Settings", "sample"]
