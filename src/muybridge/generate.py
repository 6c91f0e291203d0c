"""The main journey on one page: words and stills -> Streams -> Latent -> Video -> a file that says how it was made."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

import muybridge
from muybridge.backends.tuning import PLAIN, TUNED, Tuning
from muybridge.conditioning.familiarity import doubts
from muybridge.conditioning.text import pad
from muybridge.data.moves import course_of
from muybridge.data.naming import names_prop
from muybridge.engines.engine import Engine
from muybridge.sampler.ahead import ahead
from muybridge.sampler.drafts import begun, drafted, layout
from muybridge.sampler.plan import Foreseer, Plans, plan
from muybridge.sampler.sample import JUMP, OWN, SOLVERS, Settings, sample
from muybridge.sampler.stream import check_streamed, stream
from muybridge.sampler.tries import tried
from muybridge.sampler.windows import windows
from muybridge.storage import checkpoint, pipelines, singles
from muybridge.storage.models import Networks, read_model
from muybridge.storage.models import save_model as save_model
from muybridge.storage.provenance import Provenance, provenance_of, to_metadata
from muybridge.storage.stills import contact_sheet
from muybridge.storage.stills import to_uint8 as to_uint8
from muybridge.storage.video import write_mp4
from muybridge.tokenizer.autoencoder import VideoAutoencoder
from muybridge.transformer.planner import held
from muybridge.transformer.streaming import Words, advance, read
from muybridge.types import (
    GIVEN,
    TEMPORAL_STRIDE,
    Carry,
    Condition,
    Event,
    Latent,
    Move,
    Sampled,
    Streams,
    Video,
    device_of,
    latent_frames,
)

RECENT = 2
"""Latent frames, beside the first, that a window of a stream goes on from."""

LARGEST_CLIP = 32_768
"""Tokens of the longest clip that is attempted: 21 s at 256 x 256. Beyond it memory, not patience, is the limit."""


@dataclass(frozen=True)
class Clip:
    """A finished clip and how it was made."""

    video: Video
    provenance: Provenance

    @property
    def frames(self) -> UInt8[np.ndarray, "t h w 3"]:
        """The pixels, as files and screens want them."""
        return to_uint8(self.video.frames[0])

    def save(self, path: str | Path) -> Path:
        """Writes an MP4 (H.264) that carries its provenance; ValueError where it cannot be written."""
        write_mp4(path, self.frames, self.video.fps, to_metadata(self.provenance))
        return Path(path)

    def save_sheet(self, path: str | Path) -> Path:
        """Writes a PNG of nine frames side by side."""
        frames = self.frames
        shown = np.unique(np.linspace(0, len(frames) - 1, 9).round().astype(int))
        times = [f"{i / self.video.fps:.2f} s" for i in shown]
        contact_sheet(frames[shown], path, captions=times, title=self.provenance.prompt)
        return Path(path)


class Model:
    """A loaded checkpoint: `generate` is all that most people need, the rest is there to be looked at.

    settings  how it samples best, as measured when it was made
    engine    what runs transformer and decoder in PyTorch's place; None where nothing does
    takes     what it can be given, in the words of `types.GIVEN`
    """

    engine: Engine | None = None
    takes: frozenset[str] = frozenset({"prompt", "negative", "image", "opening"})

    def __init__(
        self, networks: Networks, name: str, known_by: str, card: str, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.name, self.hash, self.card = name, known_by, card
        self.device, self.dtype = device, dtype
        self.config, self.settings = networks.config, networks.settings
        self.vocabulary, self.familiarity = networks.vocabulary, networks.familiarity
        self.autoencoder, self.text = networks.autoencoder.to(device), networks.text.to(device)
        self.transformer = networks.transformer.to(device)
        self.witness = None if networks.witness is None else networks.witness.to(device)
        self.planner = None if networks.planner is None else networks.planner.to(device)
        if self.planner is not None:
            self.takes = self.takes | {"moves"}

    def generate(
        self,
        condition: Condition,
        seed: int | Sequence[int] = 0,
        settings: Settings | None = None,
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> list[Clip]:
        """One clip for each seed. `on_event` hears of every step; ValueError for what this model cannot make."""
        seeds = [seed] if isinstance(seed, int) else list(seed)
        settings = settings or self.settings
        latent = None
        for event in self.sample(condition, seeds, settings):
            on_event(event)
            if isinstance(event, Sampled):
                latent = event.latent
        assert latent is not None, "the sampler ended without its last event"
        video = self.decode(latent)
        return [
            Clip(Video(video.frames[i : i + 1], video.fps), self.provenance(condition, one, settings))
            for i, one in enumerate(seeds)
        ]

    def sample(self, condition: Condition, seeds: Sequence[int], settings: Settings) -> Iterator[Event]:
        """The sampler's events, the last of which holds the finished latent. Stop iterating to cancel."""
        self.check(condition)
        settings = settings.of(condition)
        if condition.moves and not settings.plan_steps:
            raise ValueError("plan_steps is 0, but where things go is a matter of the plan: take 1 or more")
        yield from self.steps(*self.streams(condition, len(seeds), settings.guidance != 1), settings, seeds)

    def streams(self, condition: Condition, clips: int = 1, guided: bool = True) -> tuple[Streams, Streams | None]:
        """What so many clips of a condition are made from: it, and what guidance leads away from, if there is any."""
        with self._precision():
            negative = replace(condition, prompt=condition.negative)
            return self.encode([condition] * clips), self.encode([negative] * clips) if guided else None

    def steps(
        self, streams: Streams, negative: Streams | None, settings: Settings, seeds: Sequence[int]
    ) -> Iterator[Event]:
        """The sampler's events for streams that are there already, a seed for each of their clips."""
        self.check_solver(settings)
        with self._precision():
            if self.witness is None or bool(streams.is_known.any()):
                yield from self._draw(streams, negative, settings, seeds)
            elif settings.drafts:
                rows, columns = streams.known.shape[3:]
                size = layout(rows, columns, self._size, self.transformer.config.patch)
                yield from drafted(self._draw, streams, negative, settings, seeds, self._mistakes, size, self._resized)
            else:
                yield from tried(self._draw, streams, negative, settings, seeds, self._mistakes)

    def stream(
        self, condition: Condition, seed: int = 0, settings: Settings | None = None, pipelined: bool = False
    ) -> Stream:
        """A clip that is shown while it is made, and has no end; the condition's `frames` are not asked for.

        pipelined  what comes next is made in a thread of its own while this is decoded and used

        ValueError for what this model cannot make.
        """
        return Stream(self, condition, seed, settings or self.settings, pipelined)

    @torch.inference_mode()
    def encode(self, conditions: Sequence[Condition]) -> Streams:
        """Conditions of one shape as the clean streams that the transformer reads."""
        first = conditions[0]
        stride = self.autoencoder.config.spatial_stride
        frames, rows, columns = latent_frames(first.frames), first.height // stride, first.width // stride
        known = torch.zeros(len(conditions), frames, self.autoencoder.config.channels, rows, columns)
        is_known = torch.zeros(len(conditions), frames, dtype=torch.bool)
        for i, condition in enumerate(conditions):
            if condition.prefix is not None:
                given, _ = self.autoencoder.encode(condition.prefix[None].to(self.device))
                known[i, : given.shape[1]], is_known[i, : given.shape[1]] = given[0].float().cpu(), True
        ids = pad([self.vocabulary.ids(condition.prompt) for condition in conditions])
        fps = torch.tensor([condition.fps for condition in conditions])
        text = self.text(ids.to(self.device))
        known, is_known, fps = (x.to(self.device) for x in (known, is_known, fps))
        return Streams(text, None, known, is_known, fps, held=self._held(conditions, text))

    @torch.inference_mode()
    def decode(self, latent: Latent) -> Video:
        """The pixels of a latent."""
        with self._precision():
            frames, _ = self._decoder.decode(latent.frames)
        return Video(frames.float().clamp(-1, 1), latent.fps)

    def check(self, condition: Condition) -> None:
        """ValueError, naming the nearest that would do, for what this model cannot make."""
        check_text(condition)
        foreign = condition.given - self.takes
        if foreign:
            said = " and ".join(GIVEN[name] for name in sorted(foreign))
            raise ValueError(f"{self.name} does not take {said}: `muybridge models` lists families that do")
        side = self.autoencoder.config.spatial_stride * self.transformer.config.patch
        check_shape(condition.frames, condition.width, condition.height, side)
        if not 1 <= condition.fps <= 120:
            raise ValueError(f"fps is {condition.fps:g}: take 1 to 120")
        if self.planner is not None:
            course_of(condition.moves, 1, self.planner.config.things - 1)
        if condition.prefix is not None:
            given = tuple(condition.prefix.shape)
            wanted = (3, condition.height, condition.width)
            if given[1:] != wanted or latent_frames(given[0]) > latent_frames(condition.frames):
                raise ValueError(
                    f"the given frames are {given}, the clip's {(condition.frames, *wanted)}: fit them to it"
                )

    def frames_near(self, count: float) -> int:
        """The possible length in frames that is nearest to `count`."""
        return 1 + TEMPORAL_STRIDE * max(0, round((count - 1) / TEMPORAL_STRIDE))

    def check_solver(self, settings: Settings) -> None:
        """ValueError if the model cannot be sampled so."""
        if settings.solver == OWN:
            raise ValueError(f"{self.name} has no scheduler of its own: take {', '.join(SOLVERS)}")
        if settings.solver == JUMP and not self.transformer.config.spans:
            raise ValueError(
                f"{self.name} cannot jump, it tells velocities of a moment only: take euler, heun or multistep, or "
                "make a student of it with muybridge distill"
            )

    def doubts(self, still: Float[Tensor, "3 h w"]) -> list[str]:
        """A sentence if the still is unlike those the model learnt from; none if the checkpoint does not know them."""
        if self.familiarity is None:
            return []
        with self._precision():
            latent, _ = self.autoencoder.encode(still[None, None].to(self.device))
        kept = self.decode(Latent(latent, 1.0)).frames[0, 0].cpu()
        psnr = -10 * math.log10(max(1e-10, float((kept - still).square().mean()) / 4))
        return doubts(self.familiarity, latent[0, 0].float().cpu(), psnr, self.name, self.config["learnt_from"])

    def provenance(self, condition: Condition, seed: int, settings: Settings) -> Provenance:
        """All that is needed to make a clip again."""
        engine = "" if self.engine is None else self.engine.name
        return provenance_of(
            condition, seed, settings.of(condition), self.name, self.hash, muybridge.__version__, engine
        )

    def _draw(
        self, streams: Streams, negative: Streams | None, settings: Settings, seeds: Sequence[int]
    ) -> Iterator[Event]:
        """Where things go, if there is a planner and they are not told already; then a clip that follows."""
        planner = self.foreseer
        if planner is not None and settings.plan_steps and streams.told is None:
            tracks = plan(planner, self._as_learnt(streams), self._frames, settings.plan_steps, seeds)
            streams = replace(streams, told=self.transformer.tell(tracks, streams.known))
        yield from sample(self._denoise, streams, negative, settings, seeds)

    def _held(self, conditions: Sequence[Condition], text: Float[Tensor, "b n d"]) -> Float[Tensor, "b t k f"] | None:
        """What is certain of the plans of such clips: moves, and if no picture shows what is there, what words name."""
        if self.planner is None:
            return None
        config, asked = self.planner.config, None
        course = torch.stack([course_of(one.moves, one.frames, config.things - 1) for one in conditions])
        if self.witness is not None and self.witness.config.colours == config.things - 1:
            unseen = torch.tensor([one.prefix is None for one in conditions], device=self.device)
            asked = self.witness.asked(text) & unseen[:, None]
        props = torch.tensor([names_prop(one.prompt) for one in conditions], device=self.device)
        return held(course.to(self.device), asked, config, props)

    @property
    def _frames(self) -> int:
        """Latent frames of the clips that the model learnt from."""
        return latent_frames(int(self.config["trained"]["frames"]))

    @property
    def _size(self) -> tuple[int, int]:
        """Rows and columns of their latents."""
        trained, stride = self.config["trained"], self.autoencoder.config.spatial_stride
        return int(trained["height"]) // stride, int(trained["width"]) // stride

    @torch.inference_mode()
    def _as_learnt(self, streams: Streams) -> Streams:
        """The streams as a planner looks at them: in the size that it learnt, for in others it mistakes sizes."""
        if tuple(streams.known.shape[3:]) == self._size:
            return streams
        known = streams.known.new_zeros(*streams.known.shape[:3], *self._size)
        count = int(streams.is_known.any(dim=0).sum())
        if count:
            known[:, :count] = self._resized(streams.known[:, :count], self._size)
        return replace(streams, known=known)

    @torch.inference_mode()
    def _resized(self, frames: Float[Tensor, "b t c h w"], size: tuple[int, int]) -> Float[Tensor, "b t c y x"]:
        """The latent of the same frames with so many rows and columns."""
        with self._precision():
            video, _ = self.autoencoder.decode(frames)  # an engine's decoder may be at work in another thread
            sides = [self.autoencoder.config.spatial_stride * side for side in size]
            pixels = F.interpolate(video.float().flatten(0, 1), sides, mode="bicubic", antialias=True)
            latent, _ = self.autoencoder.encode(
                rearrange(pixels.clamp(-1, 1), "(b t) c h w -> b t c h w", b=len(video))
            )
        return latent.to(frames)

    def _denoise(self, latent: Tensor, level: Tensor, streams: Streams, *, span: Tensor | None = None) -> Tensor:
        if self.engine is not None:
            return self.engine.velocity(latent, level, streams, span=span)
        velocity: Tensor = self.transformer(latent, level, streams, span=span)
        return velocity

    def _mistakes(self, pictures: Tensor, streams: Streams) -> Tensor:
        assert self.witness is not None, "mistakes without a witness"
        return self.witness.mistakes(pictures, self.witness.asked(streams.text))

    @property
    def foreseer(self) -> Foreseer | None:
        """The planner, if there is one, as the engine runs it."""
        return self.planner if self.engine is None or self.planner is None else self.engine.foreseeing(self.planner)

    @property
    def _decoder(self) -> VideoAutoencoder | Engine:
        return self.autoencoder if self.engine is None else self.engine

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


class Stream:
    """A clip while it is made: iterate for its frames, uint8 (t h w 3), as many at a time as a latent frame stands for.

    The first comes alone, then four at a time. A causal model makes its frames one by one; others make them window by
    window. `prompt`, `settings` and `moves` may be set at any time, and what is made from then on follows them; if the
    stream is pipelined, what is begun already does not, so its frames then depend on when that was. What is remembered
    does not grow, however long the stream is. `close` ends it.
    """

    def __init__(
        self, model: Model, condition: Condition, seed: int, settings: Settings, pipelined: bool = False
    ) -> None:
        given = 1 if condition.prefix is None else max(1, len(condition.prefix))
        self.model, self.condition = model, replace(condition, frames=given, moves=())
        model.check(self.condition)
        planner = model.foreseer
        self._plans = None if planner is None else Plans(planner, model._as_learnt)
        self.settings, self.moves = settings, condition.moves
        streams = model.encode([self.condition])
        self._fps, known = streams.fps, streams.known[:, : int(streams.is_known.sum())]
        self._carry: Carry | None = None
        if model.transformer.config.causal:
            self._words = self._read(condition.prompt)
            latents = self._frames(known, seed)
        else:
            latents = self._windows(known, seed, self._recent())
        self._latents = ahead(latents, after=1) if pipelined else latents

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> UInt8[np.ndarray, "t h w 3"]:
        latent = next(self._latents)
        with self.model._precision(), torch.inference_mode():
            video, self._carry = self.model._decoder.decode(latent, self._carry)
        return to_uint8(video[0].float())

    def close(self) -> None:
        """Ends the stream; a frame that is being made is waited for."""
        if isinstance(self._latents, Generator):
            self._latents.close()

    @property
    def prompt(self) -> str:
        """What the frames to come show."""
        return self.condition.prompt

    @prompt.setter
    def prompt(self, prompt: str) -> None:
        condition = replace(self.condition, prompt=prompt)
        self.model.check(condition)
        self.condition = condition
        if self.model.transformer.config.causal:
            self._words = self._read(prompt)
        self._foretold = False

    @property
    def moves(self) -> Sequence[Move]:
        """Ways that things take in the next window, from the first of its new frames to the last; then it has none.

        To a causal model they are a window that begins with its next frame.
        """
        return self._moves

    @moves.setter
    def moves(self, moves: Sequence[Move]) -> None:
        self.model.check(replace(self.condition, moves=tuple(moves)))
        if moves and (self._plans is None or not self.settings.plan_steps):
            raise ValueError(
                "nothing is planned here, and where things go is a matter of the plan: stream without moves"
            )
        self._moves, self._foretold = tuple(moves), False

    @property
    def settings(self) -> Settings:
        """How the frames to come are sampled."""
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self.model.check_solver(settings)
        if self.model.transformer.config.causal:
            check_streamed(settings)
        self._settings = settings

    def _read(self, prompt: str) -> Words:
        ids = pad([self.model.vocabulary.ids(prompt)]).to(self.model.device)
        with self.model._precision(), torch.inference_mode():
            return read(self.model.transformer, self.model.text(ids))

    def _recent(self) -> int:
        """How many of the last latent frames a window goes on from, so that there is room for new ones."""
        length = self.model._frames
        if length < 3:
            raise ValueError(f"{self.model.name} cannot stream, its clips are too short to go on from: make clips")
        return min(RECENT, length - 2)

    def _frames(self, known: Float[Tensor, "1 t c h w"], seed: int) -> Iterator[Float[Tensor, "1 1 c h w"]]:
        if not known.shape[1] and self.settings.drafts and self.model.witness is not None:
            known = self._window(known, seed, frames=1)
        length, recent = self.model._frames, self._recent()
        past, told = known[:, : length - 1], known.new_zeros(1, 0)
        made, seeds = 0, torch.Generator().manual_seed(seed)

        def tell() -> Float[Tensor, "1 1 s d"] | None:
            """What the next frame is told: of the plan of a window, until that is used up or does not hold any more."""
            nonlocal told
            if self._plans is None:
                return None
            if not self.settings.plan_steps:
                self._plans.forget()
                told = told[:, :0]
                return None
            if not self._foretold or not told.shape[1]:
                unused, self._foretold = told.shape[1], True
                window, _ = self._begun(past, TEMPORAL_STRIDE * (length - 1) + 1, guided=False)
                told = self._tell(window, int(torch.randint(2**31, (), generator=seeds)), unused)
                told = told[:, past.shape[1] if made else 0 :]
            first, told = told[:, :1], told[:, 1:]
            return first

        for latent in stream(self._denoise, known, lambda: self.settings, seed, tell):
            past = torch.cat([past, latent], dim=1) if made else latent
            past = past if past.shape[1] <= recent + 1 else torch.cat([past[:, :1], past[:, -recent:]], dim=1)
            made += 1
            yield latent

    def _windows(
        self, known: Float[Tensor, "1 t c h w"], seed: int, recent: int
    ) -> Iterator[Float[Tensor, "1 1 c h w"]]:
        if not known.shape[1]:
            known = self._window(known, seed, frames=1)
        yield from windows(self._window, known, recent, seed)

    @torch.inference_mode()
    def _window(
        self, shown: Float[Tensor, "1 k c h w"], seed: int, frames: int | None = None
    ) -> Float[Tensor, "1 n c h w"]:
        """A clip of so many frames, or of as many as the model learnt from, that begins with what is shown."""
        length = frames or int(self.model.config["trained"]["frames"])
        # A stream goes on; and another thread may set them.
        settings = replace(self.settings.of(self.condition), tries=1)
        guided = settings.guidance != 1
        streams, unwanted = self._begun(shown, length, guided)
        if self._plans is not None and settings.plan_steps and shown.shape[1]:
            streams = replace(streams, told=self._tell(streams, seed))
        elif self._plans is not None:
            self._plans.forget()
        *_, last = self.model.steps(streams, unwanted, settings, [seed])
        assert isinstance(last, Sampled), last
        return last.latent.frames

    def _begun(self, shown: Float[Tensor, "1 k c h w"], frames: int, guided: bool) -> tuple[Streams, Streams | None]:
        """What a window that begins with what is shown is made from, and what guidance leads away from."""
        streams, negative = self.model.streams(replace(self.condition, prefix=None, frames=frames), guided=guided)
        streams, unwanted = begun(streams, shown), None if negative is None else begun(negative, shown)
        if self._moves:
            streams = replace(streams, held=self._held(streams, shown.shape[1]))
        elif self.condition.prefix is not None:  # its words need not name all that is seen
            streams = replace(streams, held=None)
        return streams, unwanted

    def _tell(self, streams: Streams, seed: int, unused: int = 0) -> Float[Tensor, "1 t s d"]:
        """What a window's frames are told of where things are."""
        assert self._plans is not None, "nobody plans"
        with self.model._precision():
            tracks = self._plans.window(streams, self.settings.plan_steps, seed, unused)
            return self.model.transformer.tell(tracks, streams.known)

    def _held(self, streams: Streams, shown: int) -> Float[Tensor, "1 t k f"] | None:
        """What is certain of a window's plan; of the latent frames that are not `shown`, the moves, too."""
        rest = streams.is_known.shape[1] - max(1, shown)
        before = replace(self.condition, frames=1 + TEMPORAL_STRIDE * max(0, shown - 1))
        after = replace(self.condition, frames=1 + TEMPORAL_STRIDE * rest, moves=self._moves)
        with self.model._precision():
            certain = [self.model._held([part], streams.text) for part in (before, after)]
        if shown:  # of a first frame alone the ways are still to come
            self._moves = ()
        shares = zip(certain, (slice(0, shown), slice(min(1, shown), None)), strict=True)
        parts = [part[:, share] for part, share in shares if part is not None]
        return torch.cat(parts, dim=1) if parts else None

    def _denoise(
        self,
        latent: Tensor,
        level: Tensor,
        carry: Carry,
        *,
        span: Tensor | None = None,
        remember: bool = False,
        told: Tensor | None = None,
    ) -> tuple[Tensor, Carry]:
        given = (latent, level, self._words, self._fps, carry, span, remember, told)
        if self.model.engine is not None:
            return self.model.engine.advance(*given)
        with self.model._precision():  # of the thread that this runs in
            return advance(self.model.transformer, *given)


def load(
    model: str | Path = "nano",
    device: str | None = None,
    dtype: torch.dtype | None = None,
    engine: str = "torch",
    *,
    allow_pickle: bool = False,
    loras: Sequence[str] = (),
    base: str | Path = "",
    tuning: Tuning = PLAIN,
) -> Model:
    """The model of a checkpoint: a bundled name, a folder, or "org/name" on the hub; ours, or a pipeline of diffusers.

    A single .safetensors file of Wan or LTX-Video is a model, too, together with its `base`.

    device        "cpu", "cuda", …; by default the best there is
    dtype         of the matrix products; by default bfloat16 where the processor multiplies it fast, else float32
    engine        what runs it: "torch", "openvino", "onnxruntime" (docs/engines.md), or "auto", the fastest that was
                  found exact enough on this machine; where none was tried, all are. Pipelines of diffusers: "torch"
    loras         files of LoRAs for it, "path" or "path:scale"
    allow_pickle  open weights that are pickled, which can run any program: only for files whose makers you trust
    base          where the rest of a single file is: a folder or "org/name"; by default told by the file's shape
    tuning        what makes a model of others smaller or faster and changes its pixels a little
    """
    where = device_of(device)
    if singles.is_single(model):
        from muybridge.backends.model import open_single

        return open_single(singles.read_single(model), str(base), where, dtype, loras, allow_pickle, tuning)
    if base:
        raise ValueError(f"--base names the rest of a model in a single file, and {model} is whole: leave it out")
    pipeline = pipelines.find(model, allow_pickle)
    if pipeline is not None:
        from muybridge.backends.model import open_model

        return open_model(pipeline, str(model), where, dtype, loras, tuning)
    if loras:
        raise ValueError(f"LoRAs are for models in diffusers' format, and {model} is one of Muybridge: leave them out")
    if tuning != PLAIN:
        raise ValueError(f"{TUNED} are for models of others, and {model} is one of Muybridge: leave them out")
    found = checkpoint.load(model)
    networks = read_model(found, str(model))
    opened = Model(networks, str(model), found.model_hash, found.card, where, dtype or fast_dtype(where))
    if engine != "torch":
        from muybridge.engines.choice import chosen

        opened.engine = chosen(opened, engine, opened.settings)
    return opened


def check_shape(frames: int, width: int, height: int, side: int) -> None:
    """ValueError, naming the nearest that would do, for clips that no model makes whose tokens are `side` pixels."""
    length = latent_frames(frames)
    nearest = tuple(max(2 * side, round(size / side) * side) for size in (width, height))
    if (width, height) != nearest:
        made = f"sides are multiples of {side} from {2 * side} on, the nearest size is {nearest[0]}x{nearest[1]}"
        raise ValueError(f"{width}x{height} cannot be made: {made}")
    rows, columns = height // side, width // side
    tokens = length * rows * columns
    if tokens <= LARGEST_CLIP:
        return
    longest = LARGEST_CLIP // (rows * columns)
    if longest:
        mend = f"the longest at this size is {1 + TEMPORAL_STRIDE * (longest - 1)} frames"
    else:
        scale = math.sqrt(LARGEST_CLIP / (rows * columns))
        least = tuple(max(2, int(count * scale)) * side for count in (columns, rows))
        mend = f"the largest still of about these proportions is {least[0]}x{least[1]}"
    made = f"{frames} frames of {width}x{height}"
    raise ValueError(f"{made} are {tokens} tokens, more than the {LARGEST_CLIP} that can be made: {mend}")


def check_text(condition: Condition) -> None:
    """ValueError for prompts that are no text."""
    for name, text in (("prompt", condition.prompt), ("negative prompt", condition.negative)):
        if any("\ud800" <= letter <= "\udfff" or letter == "\0" for letter in text):
            raise ValueError(f"the {name} holds what is no text (NUL, or bytes that are not UTF-8): type it again")


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor multiplies it fast, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if torch.cpu.get_capabilities().get("avx512_bf16", False) else torch.float32
