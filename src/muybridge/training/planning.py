"""What a planner learns: where things go, from words and the frames that are known, or from where they were."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from muybridge.conditioning.text import TextEncoder
from muybridge.flow.paths import interpolate
from muybridge.flow.schedules import logit_normal_times, prefix_mask, shift_times
from muybridge.training.objectives import seeded_normal, seeded_uniform
from muybridge.transformer.planner import SHOWN, Planner, told, written
from muybridge.types import Batch, Streams, Tracks

_SHIFT = 2.0  # of the levels' logit-normal times: where things are is told by few numbers, which little noise hides
_OF_KINDS = 0.3  # weight of what a thing is beside where it is


class Planning(nn.Module):
    """Mean squared error of the tracks as they are foreseen at a noise level (Ho et al. 2006.11239's x-prediction).

    Of clips that are pictures, up to `SHOWN` first latent frames are seen, with noise of up to `context_noise`; of
    worlds that nobody has rendered, where things were in some first frames is told, of half of them. The text encoder
    learns nothing.
    """

    def __init__(self, planner: Planner, text: TextEncoder, drop_text: float = 0.1, context_noise: float = 0.1) -> None:
        super().__init__()
        self.planner, self.text = planner, text
        self.drop_text, self.context_noise = drop_text, context_noise

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles the planner, and leaves the draws of random numbers as they are."""
        self.planner.compile(*args, **{"dynamic": False, **kwargs})

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.place is not None, "Planning needs batch.place"
        assert batch.kind is not None, "Planning needs batch.kind"
        assert batch.text is not None, "Planning needs batch.text"
        assert batch.seed is not None, "Planning needs batch.seed"
        assert batch.fps is not None, "Planning needs batch.fps"
        frames, config = batch.place.shape[1], self.planner.config
        tracks = Tracks.of(batch, torch.ones(len(batch), dtype=torch.bool, device=batch.place.device))
        data = written(tracks, config)
        chance = seeded_uniform(batch.seed, (4,), salt=2).to(data)
        noise = seeded_normal(batch.seed, tuple(data.shape[1:])).to(data)
        level = shift_times(logit_normal_times(seeded_normal(batch.seed, (1, 1), salt=1).to(data)), _SHIFT)
        words = batch.text * (chance[:, :1] >= self.drop_text)
        with torch.no_grad():
            text = self.text(words[:, : max(1, int((batch.text != 0).sum(dim=1).max()))])
        if batch.latent is None:
            length = torch.where(chance[:, 1] < 0.5, 0, 1 + (chance[:, 2] * (frames - 1)).long())
            was_told = prefix_mask(length, frames)
            shown = data.new_zeros(len(data), SHOWN, config.channels, config.patch, config.patch)
            is_shown = torch.zeros(len(data), SHOWN, dtype=torch.bool, device=data.device)
        else:
            length = (chance[:, 1] * (SHOWN + 1)).long()
            was_told = torch.zeros(len(data), frames, dtype=torch.bool, device=data.device)
            shown, is_shown = batch.latent[:, :SHOWN].float(), prefix_mask(length, SHOWN)
            grain = seeded_normal(batch.seed, tuple(shown.shape[1:]), salt=3).to(shown)
            shown = interpolate(shown, grain, self.context_noise * chance[:, 3].square())
        level = level.expand(data.shape[:3]).masked_fill(was_told[:, :, None], 0.0)
        streams = Streams(text, None, shown, is_shown, batch.fps)
        foreseen = self.planner(interpolate(data, noise, level), level, streams).float()
        error = (foreseen - data).square() * ~was_told[:, :, None, None]
        moving = data.shape[-1] - sum(config.kinds) - 1
        there = tracks.is_there[:, None, :, None]
        where, what = (error[..., :moving] * there).mean(), error[..., moving:].mean()
        with torch.no_grad():
            off = (told(foreseen, config).place[..., :2] - tracks.place[..., :2]).norm(dim=-1)
            counts = (
                tracks.is_there[:, None, None] & ~was_told[:, :, None, None] & torch.ones_like(off, dtype=torch.bool)
            )
            metrics = {"where": where, "what": what, "off": (off * counts).sum() / counts.sum().clamp_min(1)}
        loss = where + _OF_KINDS * what
        return loss, {"loss": loss.detach(), **{name: value.detach() for name, value in metrics.items()}}
