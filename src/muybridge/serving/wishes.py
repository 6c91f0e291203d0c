"""What our own API is asked: the bodies of its requests, and how they become wishes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from muybridge.serving.database import Key, Upload
from muybridge.serving.desk import footage_from, footage_of_clip, size_of, still_from
from muybridge.serving.errors import invalid, missing
from muybridge.serving.footage import Footage, kept_footage
from muybridge.serving.orders import LARGEST_SEED_ON_WIRE, LONGEST_TEXT, MOST_FRAMES, Camera, Wish
from muybridge.serving.server import Server

MOST_IN_A_BATCH = 256

Number = Annotated[float, Field(allow_inf_nan=False)]
Seed = Annotated[StrictInt, Field(ge=0, le=LARGEST_SEED_ON_WIRE)]
Text = Annotated[str, Field(max_length=LONGEST_TEXT)]


class ClipWish(BaseModel):
    """A clip to be made. What is left out is the model's choice.

    An image is a data: URI, an https URL or an id of POST /images; a video likewise, of POST /videos, or a clip's id.
    """

    model_config = ConfigDict(extra="forbid")

    prompt: Text = Field(default="", description="what the clip shows")
    negative: Text = Field(default="", description="what it shall not show")
    model: str | None = Field(default=None, max_length=200, description="one of GET /models")
    seconds: Number | None = None
    frames: StrictInt | None = Field(default=None, le=MOST_FRAMES, description="1 + 4k, not seconds; 1 is a still")
    fps: Number | None = None
    width: StrictInt | None = Field(default=None, description="rendered, pixels")
    height: StrictInt | None = Field(default=None, description="rendered, pixels")
    size: str | None = Field(default=None, max_length=20, description="WIDTHxHEIGHT of the file, if enlarged")
    seed: Seed | None = None
    image: str | None = Field(default=None, description="first frame")
    last_image: str | None = Field(default=None, description="last frame")
    extend: str | None = Field(default=None, description="a video that is carried on, by `seconds`")
    video: str | None = Field(default=None, description="a video that is made over")
    strength: Number | None = Field(default=None, description="how far, above 0 up to 1")
    mask: str | None = Field(default=None, description="an image: white is made anew")
    control: str | None = Field(default=None, description="a video of depth, edges or poses to keep")
    camera: Camera | None = None
    moves: list[Annotated[str, Field(max_length=400)]] = Field(
        default_factory=list,
        max_length=16,
        description="where things go, such as 'red ball: 0.2,0.5 0.8,0.5': x,y of its middle, at even times",
    )
    steps: StrictInt | None = None
    guidance: Number | None = None
    solver: str | None = Field(default=None, max_length=40)


class ClipRequest(ClipWish):
    """A clip, and how it is to be treated."""

    priority: Literal["high", "normal", "low"] = "normal"
    webhook_url: str | None = Field(default=None, max_length=5000)


class Grid(BaseModel):
    """Every prompt with every seed, image and guidance."""

    model_config = ConfigDict(extra="forbid")

    prompts: list[Text] = Field(default_factory=list, max_length=MOST_IN_A_BATCH)
    seeds: list[Seed] = Field(default_factory=list, max_length=MOST_IN_A_BATCH)
    images: list[str] = Field(default_factory=list, max_length=MOST_IN_A_BATCH)
    guidances: list[Number] = Field(default_factory=list, max_length=MOST_IN_A_BATCH)
    variants: StrictInt = Field(default=1, ge=1, le=MOST_IN_A_BATCH, description="seeds that follow each given one")


class BatchRequest(ClipRequest):
    """Many clips in one: those listed, or the fields of this request over a grid. Accepted all or none."""

    clips: list[ClipWish] = Field(default_factory=list, max_length=MOST_IN_A_BATCH)
    grid: Grid | None = None


class Handed:
    """The stills and videos that a request speaks of, each looked at once: many clips of a batch may share one."""

    def __init__(self, server: Server, key: Key) -> None:
        self.server, self.key = server, key
        self._stills: dict[str, str] = {}
        self._videos: dict[str, Footage] = {}

    def still(self, reference: str | None, param: str) -> str | None:
        """The name of a still. Refusal (400, 404) if there is none."""
        if reference is None:
            return None
        if reference not in self._stills:
            uploaded = reference.startswith("image_")
            kept = self._uploaded(reference) if uploaded else still_from(self.server, reference, param)
            self._stills[reference] = kept
        return self._stills[reference]

    def video(self, reference: str | None, param: str) -> Footage | None:
        """A video. Refusal (400, 404) if there is none."""
        if reference is None:
            return None
        if reference not in self._videos:
            self._videos[reference] = self._video(reference, param)
        return self._videos[reference]

    def _video(self, reference: str, param: str) -> Footage:
        if reference.startswith("video_"):
            return kept_footage(self._uploaded(reference), self.server.settings)
        if ":" in reference:
            return footage_from(self.server, reference, param)
        return footage_of_clip(self.server, self.key, reference, param)

    def _uploaded(self, reference: str) -> str:
        with self.server.database.read() as session:
            kept = session.get(Upload, reference[:200])
        if kept is None or kept.key_id != self.key.id or kept.still is None:
            raise missing(reference.partition("_")[0], reference)
        return kept.still


def wish_of(body: ClipWish, handed: Handed) -> Wish:
    """Refusal (400, 404) for fields that contradict one another, and for what was not handed in."""
    if (body.width is None) != (body.height is None):
        raise invalid("width and height come together: give both or neither", "width")
    if body.frames is not None and body.seconds is not None:
        raise invalid("frames and seconds say the same: give one of them", "frames")
    render = (body.width, body.height) if body.width is not None and body.height is not None else None
    return Wish(
        prompt=body.prompt,
        model=body.model,
        negative=body.negative,
        seconds=body.seconds,
        frames=body.frames,
        fps=body.fps,
        size=None if body.size is None else size_of(body.size),
        render=render,
        seed=body.seed,
        still=handed.still(body.image, "image"),
        last=handed.still(body.last_image, "last_image"),
        extend=handed.video(body.extend, "extend"),
        video=handed.video(body.video, "video"),
        strength=body.strength,
        mask=handed.still(body.mask, "mask"),
        control=handed.video(body.control, "control"),
        camera=body.camera,
        moves=tuple(body.moves),
        steps=body.steps,
        guidance=body.guidance,
        solver=body.solver,
    )


def spread(body: BatchRequest) -> list[ClipWish]:
    """The clips of a batch."""
    if body.clips and body.grid:
        raise invalid("give clips or a grid, not both", "grid")
    if body.clips:
        return list(body.clips)
    base = {name: getattr(body, name) for name in ClipWish.model_fields}
    grid = body.grid or Grid()
    images: list[str | None] = [*grid.images] or [body.image]
    guidances: list[float | None] = [*grid.guidances] or [body.guidance]
    clips = [
        base | {"prompt": prompt, "image": image, "guidance": guidance, "seed": seed}
        for prompt in grid.prompts or [body.prompt]
        for image in images
        for guidance in guidances
        for seed in _seeds(grid, body.seed)
    ]
    if len(clips) > MOST_IN_A_BATCH:
        raise invalid(f"the grid has {len(clips)} clips: take at most {MOST_IN_A_BATCH} at once", "grid")
    return [ClipWish.model_validate(fields) for fields in clips]


def _seeds(grid: Grid, seed: int | None) -> list[int | None]:
    first: list[int | None] = [*grid.seeds] or [seed]
    return [one if one is None else min(one + i, LARGEST_SEED_ON_WIRE) for one in first for i in range(grid.variants)]
