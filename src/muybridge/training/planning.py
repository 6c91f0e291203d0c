"""What a planner learns: where things go, from words and the frames that are known, or from where they were."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from muybridge.conditioning.text import TextEncoder
from muybridge.flow.paths import interpolate
from muybridge.flow.schedules import logit_normal_times, prefix_mask, shift_times
from muybridge.training.objectives import cross_entropy, seeded_normal, seeded_uniform
from muybridge.transformer.planner import Planner, PlannerConfig, told, written
from muybridge.types import Batch, Streams, Tracks

SHOWN = 3
"""Latent frames that are seen at most: what is how fast where is seen from as few."""

PROPS = 2
"""Shapes that no word names: walls and ramps, the last of them."""

_SHIFT = 2.0  # of the levels' logit-normal times: where things are is told by few numbers, which little noise hides
_OF_KINDS, _OF_SEEING = 0.3, 0.1  # weights of what a thing is, and of what is seen at each place, beside where it is


class Planning(nn.Module):
    """Mean squared error of the tracks foreseen at a noise level (x-prediction, Salimans & Ho 2202.00512, §4).

    Of clips that are pictures, up to `SHOWN` first latent frames are seen, with noise of up to `context_noise`; of
    worlds that nobody has rendered, where things were in some first frames is told, of half of them. The text encoder
    learns nothing.
    """

    rests = True
    """Of worlds there are no pictures that the eye could be taught by."""

    def __init__(self, planner: Planner, text: TextEncoder, drop_text: float = 0.1, context_noise: float = 0.1) -> None:
        super().__init__()
        self.planner, self.text = planner, text
        if planner.dynamics is not None:
            planner.dynamics.requires_grad_(False)  # which has lessons of its own
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
            was_told, is_shown = prefix_mask(length, frames), torch.zeros_like(data[:, :, 0, 0], dtype=torch.bool)
            shown = data.new_zeros(*data.shape[:2], config.channels, 1, 1)
        else:
            is_shown = prefix_mask((chance[:, 1] * (SHOWN + 1)).long(), frames)
            was_told = torch.zeros_like(is_shown)
            grain = seeded_normal(batch.seed, tuple(batch.latent.shape[1:]), salt=3).to(data)
            shown = interpolate(batch.latent.float(), grain, self.context_noise * chance[:, 3].square())
        level = level.expand(data.shape[:3]).masked_fill(was_told[:, :, None], 0.0)
        streams = Streams(text, None, shown, is_shown, batch.fps)
        foreseen, scores = self.planner(interpolate(data, noise, level), level, streams)
        foreseen = foreseen.float()
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
        if batch.classes is not None:
            seen = seeing(scores, batch.classes, config)
            loss, metrics = loss + _OF_SEEING * seen, {**metrics, "seeing": seen}
        return loss, {"loss": loss.detach(), **{name: value.detach() for name, value in metrics.items()}}


def seeing(
    scores: Float[Tensor, "b t k h w"], classes: Integer[Tensor, "b t h w"], config: PlannerConfig
) -> Float[Tensor, ""]:
    """Cross-entropy of the colour at each place; of things without one, nobody says where they are."""
    coloured = config.things - 1
    target = torch.where(classes > 0, (classes.long() - 1) // (config.kinds[1] - PROPS), coloured)
    told = torch.cat([scores[:, :, :coloured], scores[:, :, -1:]], dim=2)
    return cross_entropy(told.movedim(2, 1), target).mean()
