"""Whether a still is of the kind that a model learnt from, told by its latent.

A photograph's latent differs from those of known pictures in what single numbers show: each channel's mean, its spread
and how much neighbours differ. Known pictures give these a Gaussian; a still is scored by its Mahalanobis distance (as
Lee et al. 1807.03888 do with the features of classifiers), in units of what nearly all known ones keep within.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

SHRINKAGE = 0.1
"""How far covariances are drawn towards zero: a thousand stills do not tell the covariances of 64 numbers well."""

NEARLY_ALL = 0.999
"""Share of known stills that keep within the limits."""


@dataclass(frozen=True)
class Familiarity:
    """What the stills that a model knows have in common.

    mean, precision  the Gaussian of their features (precision = inverse covariance)
    limit            distance from it that nearly all known stills keep within when they are not part of the fit
    least_psnr       dB that the autoencoder keeps of nearly all known stills
    """

    mean: Float[Tensor, " f"]
    precision: Float[Tensor, "f f"]
    limit: Float[Tensor, ""]
    least_psnr: Float[Tensor, ""]

    @classmethod
    def fit(cls, latents: Float[Tensor, "n c h w"], psnrs: Float[Tensor, " n"], folds: int = 5) -> Familiarity:
        """From the latents of known stills and the PSNR with which each was decoded again.

        The limit is measured on stills outside the fit, each of the `folds` parts by a Gaussian of the others.
        """
        assert len(latents) == len(psnrs) >= 10 * folds, f"{len(latents)} stills, {len(psnrs)} PSNRs, {folds} folds"
        known = features(latents.double())
        part = torch.arange(len(known), device=known.device) % folds
        held_out = [_distance(known[part == i], *_gaussian(known[part != i])) for i in range(folds)]
        limit = torch.cat(held_out).quantile(NEARLY_ALL)
        mean, precision = _gaussian(known)
        as_kept = precision.float().contiguous()  # the inverse lies by columns, and sums go by how numbers lie
        return cls(mean.float(), as_kept, limit.float(), psnrs.float().quantile(1 - NEARLY_ALL))

    def score(self, latent: Float[Tensor, "c h w"]) -> float:
        """How unlike known stills one is: up to 1 is familiar."""
        feature = features(latent[None].to(self.mean.device).double())
        assert feature.shape[1] == len(self.mean), f"{len(latent)} channels, but fitted to {len(self.mean) // 4}"
        return float(_distance(feature, self.mean.double(), self.precision.double())) / float(self.limit)

    def tensors(self) -> dict[str, Tensor]:
        """As a checkpoint keeps it."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Familiarity:
        return cls(**{field.name: tensors[field.name] for field in fields(cls)})


def doubts(familiarity: Familiarity, latent: Float[Tensor, "c h w"], psnr: float, name: str, suits: str) -> list[str]:
    """A sentence if a still is not of the kind that model `name` learnt from, which is `suits`; else nothing.

    Both count: `latent` shows other light, colours and surfaces, and `psnr`, in dB between the still and its
    reconstruction, detail that the autoencoder never saw.
    """
    score, least = familiarity.score(latent), float(familiarity.least_psnr)
    if score <= 1 and psnr >= least:
        return []
    return [
        f"the still is unlike what {name} knows (score {score:.2f}, at most 1 is familiar; its autoencoder keeps "
        f"{psnr:.1f} dB of it, {least:.1f} or more is familiar): it suits {suits}"
    ]


def features(latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
    """Of each channel: mean, and the logarithms of its deviation and of its mean steps down and across; f = 4 c."""
    assert min(latents.shape[-2:]) >= 2, f"a latent of {tuple(latents.shape[-2:])} places has no neighbours"
    down, across = latents.diff(dim=-2).abs(), latents.diff(dim=-1).abs()
    sizes = torch.cat([latents.std(dim=(-2, -1)), down.mean(dim=(-2, -1)), across.mean(dim=(-2, -1))], dim=1)
    return torch.cat([latents.mean(dim=(-2, -1)), (sizes + 1e-3).log()], dim=1)


def _gaussian(x: Float[Tensor, "n f"]) -> tuple[Float[Tensor, " f"], Float[Tensor, "f f"]]:
    """Mean and precision, the covariance shrunk towards its diagonal (Ledoit & Wolf 2004, with a fixed share)."""
    covariance = torch.cov(x.T)
    diagonal = torch.diag(covariance.diag())
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * diagonal + 1e-6 * torch.eye(len(diagonal)).to(x)
    return x.mean(dim=0), torch.linalg.inv(shrunk)


def _distance(
    x: Float[Tensor, "n f"], mean: Float[Tensor, " f"], precision: Float[Tensor, "f f"]
) -> Float[Tensor, " n"]:
    """Mahalanobis distance from the mean."""
    away = x - mean
    return ((away @ precision) * away).sum(dim=1).sqrt()
