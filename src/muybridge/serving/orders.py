"""From what a client wishes, whatever its language, to an order that an engine can fill: every number decided, once."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, dataclass

from pydantic import BaseModel, ConfigDict, Field

from muybridge.generate import LARGEST_CLIP
from muybridge.sampler.sample import SOLVERS
from muybridge.serving.catalogue import Catalogue, Offer
from muybridge.serving.credits import price_of
from muybridge.serving.errors import invalid
from muybridge.types import TEMPORAL_STRIDE, latent_frames

LONGEST_TEXT = 8000
"""Letters of a prompt. Models read the first words only, but nobody's prompt is refused for that."""

LARGEST_SIDE = 4096
MOST_FRAMES = 1_000_000
"""More than any model makes. A number on the wire may have thousands of digits, which no float holds."""

LARGEST_SEED_ON_WIRE = 2**53 - 1
"""The largest whole number that every JSON parser keeps."""


@dataclass(frozen=True)
class Wish:
    """What a client asked for; None where it leaves the choice to us.

    size     of the file (width, height): rendered in its proportions at the model's own scale, then enlarged
    render   of what the model renders, exactly, instead; sides in pixels
    still    name of the first frame among the stills
    end      whether the client gave a last frame, which no model here takes
    """

    prompt: str = ""
    model: str | None = None
    negative: str = ""
    seconds: float | None = None
    frames: int | None = None
    fps: float | None = None
    size: tuple[int, int] | None = None
    render: tuple[int, int] | None = None
    seed: int | None = None
    still: str | None = None
    end: bool = False
    steps: int | None = None
    guidance: float | None = None
    solver: str | None = None

    def fingerprint(self, dialect: str) -> str:
        """Equal for equal requests, whatever their boundary strings, spaces and order of fields."""
        return hashlib.sha256(
            repr((dialect, sorted(asdict(self).items()))).encode("utf-8", "surrogatepass")
        ).hexdigest()


class Order(BaseModel):
    """What an engine fills: a Condition, a seed and settings, ready to be kept as JSON. See `types.Condition`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    checkpoint: str
    prompt: str
    negative: str
    frames: int
    height: int
    width: int
    fps: float
    seed: int
    still: str | None = None
    file_size: tuple[int, int] | None = Field(default=None, description="width, height of the file, if enlarged")
    steps: int | None = None
    guidance: float | None = None
    solver: str | None = None

    @property
    def seconds(self) -> float:
        return self.frames / self.fps

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the file."""
        return self.file_size or (self.width, self.height)


def order_of(wish: Wish, catalogue: Catalogue) -> tuple[Order, int]:
    """The order and its price in credits. Refusal (400), saying what can be had, for what cannot be made."""
    offer = catalogue.find(wish.model)
    _check_words(wish)
    _check_settings(wish)
    if wish.end:
        raise invalid(
            f"{offer.name} cannot end on a given picture: give a first frame only", "last_frame", "unsupported"
        )
    fps = offer.fps if wish.fps is None else wish.fps
    if not 1 <= fps <= 120:
        raise invalid(f"fps is {fps:g}: take 1 to 120", "fps")
    frames = _frames(wish, offer, fps)
    width, height = _rendered(wish, offer)
    _check_tokens(offer, frames, width, height)
    order = Order(
        model=offer.name,
        checkpoint=offer.checkpoint,
        prompt=wish.prompt,
        negative=wish.negative,
        frames=frames,
        height=height,
        width=width,
        fps=fps,
        seed=secrets.randbelow(2**31) if wish.seed is None else wish.seed,
        still=wish.still,
        file_size=None if wish.size in (None, (width, height)) else wish.size,
        steps=wish.steps,
        guidance=wish.guidance,
        solver=wish.solver,
    )
    seconds = order.seconds if wish.seconds is None else max(wish.seconds, 1 / fps)  # no clip has less than a frame
    return order, price_of(seconds, offer.credits_per_second)


def _check_words(wish: Wish) -> None:
    for name, words in (("prompt", wish.prompt), ("negative prompt", wish.negative)):
        if len(words) > LONGEST_TEXT:
            raise invalid(f"the {name} has {len(words)} letters: take at most {LONGEST_TEXT}", "prompt")
        if any("\ud800" <= letter <= "\udfff" or letter == "\0" for letter in words):
            raise invalid(f"the {name} holds what is no text (NUL, or half a character): type it again", "prompt")


def _check_settings(wish: Wish) -> None:
    if wish.seed is not None and not 0 <= wish.seed <= LARGEST_SEED_ON_WIRE:
        raise invalid(f"the seed is {wish.seed}: take 0 to {LARGEST_SEED_ON_WIRE}", "seed")
    if wish.steps is not None and not 1 <= wish.steps <= 1000:
        raise invalid(f"steps are {wish.steps}: take 1 to 1000", "steps")
    if wish.guidance is not None and not 0 <= wish.guidance <= 100:
        raise invalid(f"guidance is {wish.guidance}: take 0 to 100 (1 is off)", "guidance")
    if wish.solver is not None and wish.solver not in SOLVERS:
        raise invalid(f"the solver is {wish.solver[:40]!r}: take one of {', '.join(SOLVERS)}", "solver")


def _frames(wish: Wish, offer: Offer, fps: float) -> int:
    """Frames that play nearest to what is wished, at most what the model makes."""
    if wish.frames is not None:
        try:
            latent_frames(wish.frames)
        except ValueError as error:
            raise invalid(str(error), "frames") from error
        frames = wish.frames
    elif wish.seconds is not None:
        if not 0 < wish.seconds <= 3600:
            raise invalid(f"the clip is to play {wish.seconds:g} s: take more than 0", "seconds")
        frames = 1 + TEMPORAL_STRIDE * max(0, round((wish.seconds * fps - 1) / TEMPORAL_STRIDE))
    else:
        frames = offer.frames
    if frames / fps > offer.longest_seconds:
        at_most = f"{offer.name} makes clips of at most {offer.longest_seconds:g} s, not {frames / fps:.4g} s"
        raise invalid(f"{at_most}: take a shorter one", "seconds", "unsupported_duration")
    return frames


def _rendered(wish: Wish, offer: Offer) -> tuple[int, int]:
    for sides in (wish.size, wish.render):
        if sides is not None and not all(16 <= side <= LARGEST_SIDE and side % 2 == 0 for side in sides):
            raise invalid(f"{sides[0]}x{sides[1]}: take even sides of 16 to {LARGEST_SIDE} pixels", "size")
    if wish.size is not None and max(wish.size) > 4 * min(wish.size):
        raise invalid(f"{wish.size[0]}x{wish.size[1]} is narrower than 4:1: take other proportions", "size")
    if wish.render is None:
        return (offer.width, offer.height) if wish.size is None else offer.rendered(*wish.size)
    nearest = tuple(max(2 * offer.side, round(length / offer.side) * offer.side) for length in wish.render)
    if nearest != wish.render:
        made = f"{offer.name} renders sides that are multiples of {offer.side} from {2 * offer.side} on"
        raise invalid(f"{made}: the nearest size is {nearest[0]}x{nearest[1]}", "width", "unsupported_size")
    return wish.render


def _check_tokens(offer: Offer, frames: int, width: int, height: int) -> None:
    tokens = latent_frames(frames) * (height // offer.side) * (width // offer.side)
    if tokens > LARGEST_CLIP:
        raise invalid(
            f"{frames} frames of {width}x{height} are {tokens} tokens of at most {LARGEST_CLIP}: take fewer or smaller",
            "frames",
            "unsupported_size",
        )
