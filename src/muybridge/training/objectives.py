"""What is learnt: each objective is a module whose call is `loss, metrics = objective(batch)`.

All randomness comes from `batch.seed`, one a clip, so a clip's share of the loss is the same in any batch, process or
restart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int, Integer, UInt8
from torch import Tensor, nn

from muybridge.conditioning.text import TextConfig, TextEncoder
from muybridge.conditioning.witness import Witness
from muybridge.flow.paths import expand_level, interpolate, velocity
from muybridge.flow.schedules import logit_normal_times, prefix_mask, share_levels, shift_times
from muybridge.tokenizer.autoencoder import VideoAutoencoder
from muybridge.training.repainting import repainted
from muybridge.transformer.model import TransformerConfig, VideoTransformer
from muybridge.types import Batch, Streams, Tracks


def seeded_normal(seed: Int[Tensor, " b"], shape: tuple[int, ...], salt: int = 0) -> Float[Tensor, "b ..."]:
    """Normal noise of `shape` for each clip, drawn from its own seed on the CPU."""
    draws = [torch.randn(shape, generator=_generator(int(s), salt)) for s in seed]
    return torch.stack(draws)


def seeded_uniform(seed: Int[Tensor, " b"], shape: tuple[int, ...], salt: int = 0) -> Float[Tensor, "b ..."]:
    """Uniform noise in [0, 1) of `shape` for each clip, drawn from its own seed on the CPU."""
    return torch.stack([torch.rand(shape, generator=_generator(int(s), salt)) for s in seed])


def _generator(seed: int, salt: int) -> torch.Generator:
    return torch.Generator().manual_seed((seed * 1_000_003 + salt) % 2**63)


def to_pixels(video: UInt8[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """uint8 to [-1, 1]."""
    return video.float() / 127.5 - 1


def charbonnier(error: Tensor, scale: float = 0.05) -> Tensor:
    """Quadratic below `scale`, linear above (Charbonnier et al. 1994): a mean for fine shading, a median for edges."""
    return torch.sqrt(error.square() + scale**2) - scale


class Reconstruction(nn.Module):
    """The autoencoder's objective: pixels and their spatial differences, objects counting `object_weight` times.

    Latents get noise of a fixed size while their size is priced, the fixed-variance case of a variational autoencoder
    (Kingma & Welling 2013): what is learnt survives small errors of whatever generates latents later.
    """

    def __init__(
        self, autoencoder: VideoAutoencoder, object_weight: float = 3.0, edge_weight: float = 0.5, price: float = 1e-4
    ) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.object_weight, self.edge_weight, self.price = object_weight, edge_weight, price

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles the networks, and leaves the draws of random numbers as they are."""
        self.autoencoder.encoder.compile(*args, **kwargs)
        self.autoencoder.decoder.compile(*args, **kwargs)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.video is not None, "Reconstruction needs batch.video"
        assert batch.seed is not None, "Reconstruction needs batch.seed"
        video = to_pixels(batch.video)
        latent, _ = self.autoencoder.encode(video)
        latent = latent.float()
        noise = seeded_normal(batch.seed, tuple(latent.shape[1:])).to(latent)
        decoded, _ = self.autoencoder.decode(latent + self.autoencoder.config.noise * noise)
        error = decoded.float() - video
        weight = torch.ones_like(error[:, :, :1])
        if batch.moving is not None:
            weight = weight + (self.object_weight - 1) * _grow(batch.moving)[:, :, None]
        pixel = (_by_clip(weight * charbonnier(error)) / _by_clip(weight)).mean()
        edges = charbonnier(error.diff(dim=-1)).mean() + charbonnier(error.diff(dim=-2)).mean()
        size = latent.square().mean()
        loss = pixel + self.edge_weight * edges + self.price * size
        metrics = {"loss": loss, "psnr": psnr(error), "latent_rms": size.sqrt()}
        if batch.moving is not None and batch.moving.any():
            metrics["psnr_objects"] = psnr(error.movedim(2, -1)[batch.moving])
        return loss, {name: value.detach() for name, value in metrics.items()}


class Reader(nn.Module):
    """Tells from a text encoder's first tokens which objects a sentence names: of token i's, colour, shape and size.

    So words that belong together share a token before pictures need them to. `classes` are the numbers of colours,
    shapes and sizes; colour has one more for "no object", size for "not said".
    """

    def __init__(self, config: TextConfig, classes: tuple[int, int, int], objects: int) -> None:
        super().__init__()
        assert objects <= config.queries, f"{objects} objects, {config.queries} queries"
        self.objects = objects
        colours, shapes, sizes = classes
        self.nothing = colours
        self.heads = nn.ModuleList(nn.Linear(config.width, n) for n in (colours + 1, shapes, sizes + 1))

    def forward(
        self, tokens: Float[Tensor, "b q d"], named: Int[Tensor, "b k 3"]
    ) -> tuple[Float[Tensor, " b"], Bool[Tensor, " b"]]:
        """Cross-entropy of each sentence, and whether all that it names was told."""
        exists = named[:, :, 0] != self.nothing
        loss, right = tokens.new_zeros(len(tokens)), torch.ones_like(exists)
        for head, target, counts in zip(
            self.heads, named.unbind(-1), (torch.ones_like(exists), exists, exists), strict=True
        ):
            scores = head(tokens[:, : self.objects]).float()
            wrong = F.cross_entropy(scores.movedim(-1, 1), target, reduction="none") * counts
            loss = loss + wrong.sum(dim=1) / counts.sum(dim=1).clamp_min(1)
            right &= (scores.argmax(-1) == target) | ~counts
        return loss, right.all(dim=1)


class Reading(nn.Module):
    """What the text encoder learns before it meets a video: to say what a sentence names."""

    def __init__(self, text: TextEncoder, reader: Reader) -> None:
        super().__init__()
        self.text, self.reader = text, reader

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.text is not None, "Reading needs batch.text"
        assert batch.named is not None, "Reading needs batch.named"
        wrong, right = self.reader(self.text(batch.text), batch.named)
        loss = wrong.mean()
        return loss, {"loss": loss.detach(), "sentences_read": right.float().mean()}


@dataclass(frozen=True)
class LevelSettings:
    """How noise levels are drawn while the transformer trains.

    shift          resolution shift of the logit-normal times of one latent frame: above 1, noisier
    growth         of n frames the shift is n ** growth times that: the same noise hides less of many, they are alike
    per_frame      share of clips whose frames have a level each (diffusion forcing, Chen et al. 2407.01392)
    prefix         share of clips that begin with known frames: image to video, extension
    context_noise  known frames are given noise up to this level, so that a model forgives its own mistakes
    drop_text      share of clips that are learnt without their words, for classifier-free guidance
    drop_tracks    share of clips that are learnt without their tracks
    """

    shift: float = 5.0
    growth: float = 0.0
    per_frame: float = 0.2
    prefix: float = 0.3
    context_noise: float = 0.1
    drop_text: float = 0.1
    drop_tracks: float = 0.15


class Witnessing(nn.Module):
    """What a witness learns: which colour and shape stand where, and which ones a prompt names.

    Shapes are learnt from pictures of other colours (`repainted`), about half of all, and colours from the others: a
    pair that the worlds never show would be taken for one that they do. Pictures get noise of up to `noise`, for those
    it will look at are less clean than truth. Text encoder and autoencoder learn nothing.
    """

    def __init__(self, witness: Witness, text: TextEncoder, autoencoder: VideoAutoencoder, noise: float = 0.25) -> None:
        super().__init__()
        self.witness, self.text, self.autoencoder, self.noise = witness, text, autoencoder, noise

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.latent is not None, "Witnessing needs batch.latent"
        assert batch.classes is not None, "Witnessing needs batch.classes"
        assert batch.text is not None, "Witnessing needs batch.text"
        assert batch.named is not None, "Witnessing needs batch.named"
        assert batch.seed is not None, "Witnessing needs batch.seed"
        picture, kinds, config = batch.latent[:, 0].float(), batch.classes[:, 0].long(), self.witness.config
        drawn = seeded_uniform(batch.seed, (4,)).to(picture)
        other = drawn[:, 1] < 0.5
        if bool(other.any()):
            with torch.no_grad():
                picture = picture.clone()
                picture[other] = repainted(picture[other], drawn[other, 2:], self.autoencoder)
        noise = seeded_normal(batch.seed, tuple(picture.shape[1:]), salt=1).to(picture)
        there = kinds > 0
        colour = torch.where(there, (kinds - 1) // config.shapes, config.colours)
        shape = (kinds - 1).clamp_min(0) % config.shapes
        colours, shapes = self.witness.look(interpolate(picture, noise, self.noise * drawn[:, 0]))
        turned = other[:, None, None] & there
        wrong = cross_entropy(colours, colour) * ~turned + cross_entropy(shapes, shape) * turned
        seeing = (wrong * torch.where(there, OF_OBJECTS, 1.0)).mean()
        with torch.no_grad():
            tokens = self.text(batch.text)
        colours, shapes = (scores.movedim(-1, 1) for scores in self.witness.read(tokens))
        named, told = batch.named[..., 0], batch.named[..., 0] < config.colours
        misread = cross_entropy(colours, named) + cross_entropy(shapes, batch.named[..., 1]) * told
        loss = seeing + misread.mean()
        right = (colours.argmax(1) == named) & ((shapes.argmax(1) == batch.named[..., 1]) | ~told)
        return loss, {
            "loss": loss.detach(),
            "seeing": seeing.detach(),
            "sentences_read": right.all(dim=1).float().mean(),
        }


def cross_entropy(scores: Float[Tensor, "b c *n"], target: Int[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
    """Of each place by itself."""
    return F.cross_entropy(scores.float(), target, reduction="none")


OF_OBJECTS = 8.0
"""Weight of a place that shows an object in the losses of Recogniser and Witness; others have 1."""


class Recogniser(nn.Module):
    """Names what stands at each place of the latent, from what the transformer thinks half-way.

    Features that tell what is seen speed a diffusion transformer's learning up (REPA, Yu et al. 2410.06940, where they
    are another network's). A simulator knows it, noise or not; and at levels where nothing can be seen yet, the words
    are all there is to tell it from. Where an object is seen, a place counts `OF_OBJECTS` times: they fill a tenth of a
    picture, and which shape has which colour is said there or nowhere.
    """

    def __init__(self, config: TransformerConfig, classes: int) -> None:
        super().__init__()
        self.after, self.patch = config.layers // 2, config.patch
        self.head = nn.Linear(config.width, (classes + 1) * config.patch**2)

    def forward(
        self, features: Float[Tensor, "b t s d"], classes: Integer[Tensor, "b t h w"]
    ) -> Float[Tensor, "b t h w"]:
        """Cross-entropy at each place, weighted."""
        p, rows = self.patch, classes.shape[2] // self.patch
        scores = self.head(F.rms_norm(features, features.shape[-1:], eps=1e-6)).float()
        scores = rearrange(scores, "b t (h w) (c p q) -> b c t (h p) (w q)", h=rows, p=p, q=p)
        wrong = F.cross_entropy(scores, classes.long(), reduction="none")
        return wrong * torch.where(classes > 0, OF_OBJECTS, 1.0)


class FlowMatching(nn.Module):
    """Rectified flow with a noise level for each frame: mean squared error of the velocity (Liu et al. 2209.03003).

    Where the batch says what stands where, a `recogniser` adds `recognition` times its loss. Where it says what the
    words name, a `reader` adds its own: velocities alone would wear away what the text encoder knows of words.

    shapes  of batches and samples that the transformer meets while it is one and the same; it is compiled for each
    """

    def __init__(
        self,
        transformer: VideoTransformer,
        text: TextEncoder,
        levels: LevelSettings,
        recogniser: Recogniser | None = None,
        recognition: float = 0.5,
        reader: Reader | None = None,
        shapes: int = 1,
    ) -> None:
        super().__init__()
        self.reader, self.shapes = reader, shapes
        self.transformer, self.text, self.levels = transformer, text, levels
        self.recogniser, self.recognition = recogniser, recognition

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles the transformer for each shape of a batch, and leaves the draws of random numbers as they are."""
        # What is met beyond the limit is not compiled. Twice: with gradients and without.
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 2 * self.shapes)
        self.transformer.compile(*args, **{"dynamic": False, **kwargs})
        if self.transformer.tracks_in is not None:
            self.transformer.tracks_in.compile(*args, **{"dynamic": False, **kwargs})

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.latent is not None, "FlowMatching needs batch.latent"
        assert batch.text is not None, "FlowMatching needs batch.text"
        assert batch.seed is not None, "FlowMatching needs batch.seed"
        assert batch.fps is not None, "FlowMatching needs batch.fps"
        data = batch.latent.float()
        noise = seeded_normal(batch.seed, tuple(data.shape[1:])).to(data)
        level, is_known, keeps_text = self.draw(batch.seed, data.shape[1])
        level, is_known = level.to(data.device), is_known.to(data.device)
        longest = max(1, int((batch.text != 0).sum(dim=1).max()))
        words = (batch.text * keeps_text.to(batch.text)[:, None])[:, :longest]
        text = self.text(words)
        streams = Streams(text, None, data, is_known, batch.fps, batch.when, self._told(batch))
        noisy = interpolate(data, noise, level)
        metrics = {}
        if self.recogniser is None or batch.classes is None:
            predicted, named = self.transformer(noisy, level, streams), None
        else:
            predicted, features = self.transformer(noisy, level, streams, tap=self.recogniser.after)
            named = self.recogniser(features, batch.classes)
        error = (predicted.float() - velocity(data, noise)).square()
        # Divided by all frames, known ones too: else a clip's share would hang on how much is known of the others.
        loss = (error * expand_level(~is_known, error)).mean()
        metrics["flow"] = loss.detach()
        if named is not None:
            naming = (named * ~is_known[:, :, None, None]).mean()
            loss = loss + self.recognition * naming
            metrics["recognition"] = naming.detach()
        if self.reader is not None and batch.named is not None:
            wrong, right = self.reader(text, batch.named)
            loss = loss + (wrong * keeps_text.to(wrong)).mean()
            metrics["sentences_read"] = (right | ~keeps_text.to(right)).float().mean()
        return loss, {"loss": loss.detach(), **metrics}

    def draw(
        self, seed: Int[Tensor, " b"], frames: int
    ) -> tuple[Float[Tensor, "b t"], Bool[Tensor, "b t"], Bool[Tensor, " b"]]:
        """Of each clip its frames' noise levels, which of them are known, and whether it keeps its words."""
        settings = self.levels
        normal, chance = seeded_normal(seed, (frames,), salt=1), seeded_uniform(seed, (5,), salt=2)
        level = shift_times(logit_normal_times(normal), settings.shift * frames**settings.growth)
        level = share_levels(level, chance[:, 0] >= settings.per_frame)
        is_known, held = drawn_prefix(chance, frames, settings)
        level = torch.where(is_known, held, level)
        return level, is_known, chance[:, 4] >= settings.drop_text

    def _told(self, batch: Batch) -> Float[Tensor, "b t s d"] | None:
        """Of most clips where things are; of others, and where nobody knows, that there is nothing to tell."""
        if self.transformer.config.tracked is None:
            return None
        assert batch.latent is not None, "tracks without latents"
        assert batch.seed is not None, "tracks without seeds"
        are_told = seeded_uniform(batch.seed, (), salt=3).to(batch.latent.device) >= self.levels.drop_tracks
        return self.transformer.tell(Tracks.of(batch, are_told), batch.latent)


def drawn_prefix(
    chance: Float[Tensor, "b k"], frames: int, settings: LevelSettings
) -> tuple[Bool[Tensor, "b t"], Float[Tensor, "b t"]]:
    """Which frames of each clip are known, and the level they are given at, by columns 1 to 3 of uniform numbers."""
    # One frame is the commonest thing to know (image to video): half of the prefixes are that, the rest any length.
    length = 1 + ((2 * chance[:, 2] - 1).clamp_min(0) * (frames - 1)).long()
    length = torch.where(chance[:, 1] < settings.prefix, length, 0).clamp(max=frames - 1)
    held = settings.context_noise * chance[:, 3:4].square().expand(-1, frames)
    return prefix_mask(length, frames), held


def _grow(mask: Bool[Tensor, "b t h w"]) -> Float[Tensor, "b t h w"]:
    """The mask and two pixels around it: an object's edge belongs to both sides."""
    return F.max_pool2d(mask.float(), 5, stride=1, padding=2)


def _by_clip(x: Float[Tensor, "b t c h w"]) -> Float[Tensor, " b"]:
    return x.mean(dim=(1, 2, 3, 4))


def psnr(error: Tensor) -> Tensor:
    """Peak signal to noise ratio in dB of an error in units where pixels span [-1, 1]."""
    return 10 * torch.log10(4 / error.square().mean().clamp_min(1e-12))
