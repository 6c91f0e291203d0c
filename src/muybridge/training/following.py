"""What a dynamics learns: where things go from some first frames, as far as its own steps lead."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from muybridge.conditioning.text import TextEncoder
from muybridge.flow.paths import interpolate
from muybridge.training.objectives import seeded_normal, seeded_uniform
from muybridge.training.planning import seeing
from muybridge.transformer.dynamics import FEWEST, MOST, PLACE, Dynamics
from muybridge.transformer.planner import PlannerConfig, joined, told, written
from muybridge.types import TEMPORAL_STRIDE, Batch, Tracks

_LATEST = 4  # half of the batches begin later than their clips do, up to so many latent frames

_NEAR = 0.05  # units of `written`, a fifth of a radius: errors below it are squared, others count as they are
_AWAY = 0.1  # weight of what is out of the picture
_OF_SEEING = 0.1  # weight of what is seen at each place
_SLIPS = 0.05  # places that are told are off by so much at most, as those are that are read from pictures


class Following(nn.Module):
    """Huber's error of the places in all frames, which is the median's more than the mean's: after a collision that may
    go either way, the middle of both is nowhere. Through all steps at once, so that errors of the first count for what
    becomes of them.

    Of clips that are pictures, the first frames are seen, with noise of up to `context_noise`; of worlds that nobody
    has rendered, the places in them are told, somewhat wrong. The text encoder learns nothing.
    """

    rests = True
    """Where places are told, the eye looks at nothing."""

    def __init__(
        self, dynamics: Dynamics, text: TextEncoder, config: PlannerConfig, drop_text: float = 0.1, noise: float = 0.1
    ) -> None:
        super().__init__()
        self.dynamics, self.text, self.config = dynamics.requires_grad_(True), text, config
        self.drop_text, self.context_noise = drop_text, noise

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles the dynamics, and leaves the draws of random numbers as they are."""
        self.dynamics.compile(*args, **{"dynamic": False, **kwargs})

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.place is not None, "Following needs batch.place"
        assert batch.text is not None, "Following needs batch.text"
        assert batch.seed is not None, "Following needs batch.seed"
        assert batch.common is not None, "Following needs batch.common"
        tracks = Tracks.of(batch, torch.ones(len(batch), dtype=torch.bool, device=batch.place.device))
        data = written(tracks, self.config)
        data, what = data[..., : PLACE * TEMPORAL_STRIDE], data[:, 0, :, PLACE * TEMPORAL_STRIDE :]
        keeps_text, slips = seeded_uniform(batch.seed, (2,), salt=2).to(data).unbind(dim=1)
        begin, known = _drawn(seeded_uniform(batch.common[:1], (2,))[0], data.shape[1])
        data, place = data[:, begin:], tracks.place[:, begin:]
        words = batch.text * (keeps_text[:, None] >= self.drop_text)
        with torch.no_grad():
            text = self.text(words[:, : max(1, int((batch.text != 0).sum(dim=1).max()))])
        scores = None
        if batch.latent is None:
            roughly = data[:, :known] + self._slips(batch.seed, slips, data[:, :known])
            found = self.dynamics.listen(roughly)
        else:
            shown = batch.latent[:, begin : begin + known].float()
            grain = seeded_normal(batch.seed, tuple(shown.shape[1:]), salt=3).to(data)
            level = (self.context_noise * slips[:, None].square()).expand(-1, known)
            roughly, found, scores = self.dynamics.look(interpolate(shown, grain, level))
        foreseen = self.dynamics(roughly, found, what, text, data.shape[1])
        inside = ((place[..., :2] > -0.1) & (place[..., :2] < 1.1)).all(dim=-1)
        loss = _missed(foreseen, data, tracks.is_there, inside)
        metrics = self._off(foreseen, what, place, tracks.is_there[:, None, None] & inside, known)
        if batch.classes is not None and scores is not None:
            seen = seeing(scores, batch.classes[:, begin : begin + known], self.config)
            metrics["seeing"] = seen.detach()
            loss = loss + _OF_SEEING * seen
        return loss, {"loss": loss.detach(), **metrics}

    def _slips(
        self, seed: Int[Tensor, " b"], size: Float[Tensor, " b"], places: Float[Tensor, "b m k f"]
    ) -> Float[Tensor, "b m k f"]:
        """By how much places that are told are wrong: a thing's of one latent frame together, and each by itself."""
        grain = seeded_normal(seed, (*places.shape[1:3], 1 + TEMPORAL_STRIDE, PLACE)).to(places)
        slips = _SLIPS * size.square().view(-1, 1, 1, 1, 1) * (grain[..., 1:, :] / 2 + grain[..., :1, :])
        return slips.flatten(3)

    @torch.no_grad()
    def _off(
        self,
        foreseen: Float[Tensor, "b t k f"],
        what: Float[Tensor, "b k w"],
        place: Float[Tensor, "b t p k 5"],
        counts: Bool[Tensor, "b t p k"],
        known: int,
    ) -> dict[str, Tensor]:
        """How far things are from their places, in widths of the picture: in known frames, the next two, the last."""
        off = (told(joined(foreseen, what), self.config).place[..., :2] - place[..., :2]).norm(dim=-1)
        parts = {"off": slice(known), "off_next": slice(known, known + 2), "off_last": slice(-1, None)}
        return {
            name: (off[:, part] * counts[:, part]).sum() / counts[:, part].sum().clamp_min(1)
            for name, part in parts.items()
        }


def _drawn(chance: Float[Tensor, " n"], frames: int) -> tuple[int, int]:
    """Where clips begin and how much of them is known: the same of all in a batch, for shapes follow from it."""
    assert frames > FEWEST, f"clips of {frames} latent frames: there is nothing to follow {FEWEST} known ones"
    begin = max(0, int((2 * float(chance[1]) - 1) * min(_LATEST + 1, frames - FEWEST)))
    most = min(MOST, frames - begin - 1)
    return begin, FEWEST + int(chance[0] * (1 + most - FEWEST))


def _missed(
    foreseen: Float[Tensor, "b t k f"],
    data: Float[Tensor, "b t k f"],
    is_there: Bool[Tensor, "b k"],
    inside: Bool[Tensor, "b t p k"],
) -> Float[Tensor, ""]:
    """Huber's error of what is there, clip by clip; what is out of the picture counts less."""
    error = F.huber_loss(foreseen, data, reduction="none", delta=_NEAR) / _NEAR
    error = rearrange(error, "b t k (p e) -> b t k p e", e=PLACE)
    error = error * (_AWAY + (1 - _AWAY) * inside.movedim(2, 3)[..., None])
    things = is_there.sum(dim=1).clamp_min(1)
    return ((error * is_there[:, None, :, None, None]).mean(dim=(1, 3, 4)).sum(dim=1) / things).mean()
