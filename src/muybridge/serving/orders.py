"""From what a client wishes, whatever its language, to an order that an engine can fill: every number decided, once."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, fields
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from muybridge.data.moves import course_of, move_of
from muybridge.data.naming import COLOURS
from muybridge.generate import LARGEST_CLIP
from muybridge.sampler.sample import SOLVERS
from muybridge.serving.catalogue import Catalogue, Offer
from muybridge.serving.credits import price_of
from muybridge.serving.errors import invalid
from muybridge.serving.footage import MOST_SAMPLES, Footage

LONGEST_TEXT = 8000
"""Letters of a prompt. Models read the first words only, but nobody's prompt is refused for that."""

LARGEST_SIDE = 4096
MOST_FRAMES = 1_000_000
"""More than any model makes. A number on the wire may have thousands of digits, which no float holds."""

MOST_OF_OTHERS = 4
"""Times what a model of others makes best. How much memory a clip takes, nobody knows for all of them."""

LARGEST_SEED_ON_WIRE = 2**53 - 1
"""The largest whole number that every JSON parser keeps."""


Matrix = tuple[tuple[float, float, float, float], ...]


class Camera(BaseModel):
    """Where the camera is: a pose (4x4, camera to world) for each frame; x right, y down, z forward."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    camera_to_world: tuple[Annotated[Matrix, Field(min_length=4, max_length=4)], ...] = Field(
        min_length=1, max_length=10_000
    )
    intrinsics: tuple[float, float, float, float] | None = Field(default=None, description="fx, fy, cx, cy in pixels")


@dataclass(frozen=True)
class Wish:
    """What a client asked for; None where it leaves the choice to us.

    size     of the file (width, height): rendered in its proportions at the model's own scale, then enlarged
    render   of what the model renders, exactly, instead; sides in pixels
    still, last, mask   names of the first frame, the last one and the mask among the stills
    extend   a video that is carried on; `seconds` are then those that are added
    video    a video that is made over, to the degree `strength`
    control  a video of the structure to keep
    moves    where things go, each as `data.moves.move_of` reads it
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
    last: str | None = None
    extend: Footage | None = None
    video: Footage | None = None
    strength: float | None = None
    mask: str | None = None
    control: Footage | None = None
    camera: Camera | None = None
    moves: tuple[str, ...] = ()
    steps: int | None = None
    guidance: float | None = None
    solver: str | None = None

    @property
    def given(self) -> frozenset[str]:
        """What is known of the clip; names as in `types.GIVEN`."""
        known = {
            "prompt": self.prompt,
            "negative": self.negative,
            "image": self.still,
            "opening": self.extend,
            "ending": self.last,
            "video": self.video,
            "mask": self.mask,
            "control": self.control,
            "camera": self.camera,
            "moves": self.moves,
        }
        return frozenset(name for name, value in known.items() if value)

    def fingerprint(self, dialect: str) -> str:
        """Equal for equal requests, whatever their boundary strings, spaces and order of fields."""
        said = (dialect, [(name, getattr(self, name)) for name in _WISHED])
        return hashlib.sha256(repr(said).encode("utf-8", "surrogatepass")).hexdigest()


_WISHED = sorted(field.name for field in fields(Wish))


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
    last: str | None = None
    extend: Footage | None = None
    known: int = Field(default=0, description="frames at the end of `extend` that the model is shown, and makes again")
    video: Footage | None = None
    strength: float | None = None
    mask: str | None = None
    control: Footage | None = None
    camera: Camera | None = None
    moves: tuple[str, ...] = ()
    file_size: tuple[int, int] | None = Field(default=None, description="width, height of the file, if enlarged")
    steps: int | None = None
    guidance: float | None = None
    solver: str | None = None

    @property
    def length(self) -> int:
        """Frames of the file: what is carried on stands at its beginning."""
        before = 0 if self.extend is None else self.extend.frames_at(self.fps)
        return before + self.frames - self.known

    @property
    def seconds(self) -> float:
        """That the file plays."""
        return self.length / self.fps

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the file."""
        return self.file_size or (self.width, self.height)


def order_of(wish: Wish, catalogue: Catalogue) -> tuple[Order, int]:
    """The order and its price in credits. Refusal (400), saying what can be had, for what cannot be made."""
    _check_words(wish)
    _check_together(wish)
    offer = catalogue.find(wish.model, wish.given)
    _check_settings(wish, offer)
    if not offer.can(wish.given):
        raise catalogue.unable(offer, wish.given)
    fps = offer.fps if wish.fps is None else wish.fps
    if not 1 <= fps <= 120:
        raise invalid(f"fps is {fps:g}: take 1 to 120", "fps")
    known = 0 if wish.extend is None else 1 + offer.stride
    frames = _frames(wish, offer, fps, known)
    size = _file_size(wish)
    width, height = _rendered(wish, offer, size)
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
        last=wish.last,
        extend=wish.extend,
        known=known,
        video=wish.video,
        strength=wish.strength,
        mask=wish.mask,
        control=wish.control,
        camera=wish.camera,
        moves=wish.moves,
        file_size=None if size in (None, (width, height)) else size,
        steps=wish.steps,
        guidance=wish.guidance,
        solver=wish.solver,
    )
    _check_length(order)
    made = (frames - known) / fps
    seconds = made if wish.seconds is None else max(wish.seconds, 1 / fps)  # no clip has less than a frame
    return order, price_of(seconds, offer.credits_per_second)


def _check_words(wish: Wish) -> None:
    for name, words in (("prompt", wish.prompt), ("negative prompt", wish.negative)):
        if len(words) > LONGEST_TEXT:
            raise invalid(f"the {name} has {len(words)} letters: take at most {LONGEST_TEXT}", "prompt")
        if any("\ud800" <= letter <= "\udfff" or letter == "\0" for letter in words):
            raise invalid(f"the {name} holds what is no text (NUL, or half a character): type it again", "prompt")


def _check_together(wish: Wish) -> None:
    if wish.extend is not None and wish.still is not None:
        raise invalid("a video that is carried on begins as it does: leave the first frame out", "image")
    if wish.extend is not None and wish.frames is not None:
        raise invalid("say in seconds how much is added to the video, not in frames", "frames")
    if wish.video is None and (wish.strength is not None or wish.mask is not None):
        raise invalid("strength and mask say how a video is made over, and there is none: give it", "video")
    if wish.strength is not None and not 0 < wish.strength <= 1:
        raise invalid(f"strength is {wish.strength:g}: take more than 0 and at most 1", "strength")
    try:
        course_of([move_of(move) for move in wish.moves], 1, len(COLOURS))
    except ValueError as error:
        raise invalid(str(error), "moves") from error


def _check_length(order: Order) -> None:
    """Memory for what stands before the new frames is bounded where videos are kept; here it may be enlarged."""
    width, height = order.size
    if order.extend is not None and 3 * order.length * width * height > 2 * MOST_SAMPLES:
        raise invalid(
            f"{order.seconds:.4g} s of {width}x{height} are too much for one file: carry on a shorter or smaller video",
            "seconds",
            "unsupported_duration",
        )


def _check_settings(wish: Wish, offer: Offer) -> None:
    if wish.seed is not None and not 0 <= wish.seed <= LARGEST_SEED_ON_WIRE:
        raise invalid(f"the seed is {wish.seed}: take 0 to {LARGEST_SEED_ON_WIRE}", "seed")
    if wish.steps is not None and not 1 <= wish.steps <= 1000:
        raise invalid(f"steps are {wish.steps}: take 1 to 1000", "steps")
    if wish.guidance is not None and not 0 <= wish.guidance <= 100:
        raise invalid(f"guidance is {wish.guidance}: take 0 to 100 (1 is off)", "guidance")
    if wish.solver is not None and wish.solver not in SOLVERS:
        raise invalid(f"the solver is {wish.solver[:40]!r}: take one of {', '.join(SOLVERS)}", "solver")
    if wish.solver is not None and offer.foreign:
        raise invalid(f"{offer.name} samples its own way: leave the solver out", "solver", "unsupported")


def _frames(wish: Wish, offer: Offer, fps: float, known: int) -> int:
    """Frames to render: what plays nearest to what is wished, at most what the model makes. `known` are not new."""
    if wish.seconds is not None and not 0 < wish.seconds <= 3600:
        raise invalid(f"the clip is to play {wish.seconds:g} s: take more than 0", "seconds")
    if wish.extend is not None and wish.extend.frames_at(fps) < known:
        said = f"the video plays {wish.extend.seconds:.2g} s, and {offer.name} wants to see {known / fps:.2g} s of it"
        raise invalid(f"{said}: give a longer one", "video", "unsupported_duration")
    longest = _longest(wish, offer, fps)
    if wish.frames is not None:
        frames = offer.frames_near(wish.frames)
        if frames != wish.frames:
            rule = f"a clip of {offer.name} has {offer.first} + {offer.stride}k frames"
            raise invalid(f"{rule}, not {wish.frames}: take {frames}", "frames")
    elif wish.seconds is not None:
        frames = offer.frames_near(known + wish.seconds * fps)
    else:
        frames = offer.frames if longest is None else min(longest, _most(offer, fps))
    frames = max(frames, offer.frames_near(known + offer.stride)) if known else frames
    if longest is not None and frames > longest:
        raise invalid(
            f"the video plays {longest / fps:.4g} s at {fps:g} frames a second, not {frames / fps:.4g} s: "
            "take a shorter clip or a longer video",
            "seconds",
            "unsupported_duration",
        )
    if wish.camera is not None and len(wish.camera.camera_to_world) != frames:
        poses = len(wish.camera.camera_to_world)
        raise invalid(f"there are {poses} poses for {frames} frames: give one for each", "camera")
    if frames / fps > offer.longest_seconds:
        at_most = f"{offer.name} makes clips of at most {offer.longest_seconds:g} s, not {frames / fps:.4g} s"
        raise invalid(f"{at_most}: take a shorter one", "seconds", "unsupported_duration")
    return frames


def _longest(wish: Wish, offer: Offer, fps: float) -> int | None:
    """Frames of the longest clip that the videos which are followed frame by frame suffice for; None without any."""
    videos = [video.frames_at(fps) for video in (wish.video, wish.control) if video is not None]
    return None if not videos else _at_most(offer, min(videos))


def _most(offer: Offer, fps: float) -> int:
    return _at_most(offer, int(offer.longest_seconds * fps))


def _at_most(offer: Offer, count: int) -> int:
    return offer.frames_near(max(offer.first, count - (count - offer.first) % offer.stride))


def _file_size(wish: Wish) -> tuple[int, int] | None:
    """Width and height of the file: as wished, else that of the video it is made from; None: as it is rendered."""
    source = wish.extend or wish.video
    if wish.size is not None or wish.render is not None or source is None:
        return wish.size
    scale = min(1.0, LARGEST_SIDE / max(source.width, source.height))
    return 2 * int(source.width * scale / 2), 2 * int(source.height * scale / 2)


def _rendered(wish: Wish, offer: Offer, size: tuple[int, int] | None) -> tuple[int, int]:
    for sides in (size, wish.render):
        if sides is not None and not all(16 <= side <= LARGEST_SIDE and side % 2 == 0 for side in sides):
            raise invalid(f"{sides[0]}x{sides[1]}: take even sides of 16 to {LARGEST_SIDE} pixels", "size")
    if size is not None and max(size) > 4 * min(size):
        raise invalid(f"{size[0]}x{size[1]} is narrower than 4:1: take other proportions", "size")
    if wish.render is None:
        return (offer.width, offer.height) if size is None else offer.rendered(*size)
    nearest = (offer.side_near(wish.render[0]), offer.side_near(wish.render[1]))
    if nearest != wish.render:
        made = f"{offer.name} renders sides that are multiples of {offer.side} from {offer.least} on"
        raise invalid(f"{made}: the nearest size is {nearest[0]}x{nearest[1]}", "width", "unsupported_size")
    return wish.render


def _check_tokens(offer: Offer, frames: int, width: int, height: int) -> None:
    if offer.foreign:
        size, best = frames * width * height, offer.frames * offer.width * offer.height
        if size > MOST_OF_OTHERS * best:
            most = f"at most {MOST_OF_OTHERS} times the pixels of {offer.frames} frames of {offer.width}x{offer.height}"
            said = f"{frames} frames of {width}x{height} are too much: {offer.name} is asked for {most}"
            raise invalid(said, "frames", "unsupported_size")
        return
    tokens = (1 + (frames - offer.first) // offer.stride) * (height // offer.side) * (width // offer.side)
    if tokens > LARGEST_CLIP:
        raise invalid(
            f"{frames} frames of {width}x{height} are {tokens} tokens of at most {LARGEST_CLIP}: take fewer or smaller",
            "frames",
            "unsupported_size",
        )
