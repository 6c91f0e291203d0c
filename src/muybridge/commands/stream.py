"""`muybridge generate --stream`: frames on the screen and in the file while they are made, until they are stopped."""

from __future__ import annotations

import shlex
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from muybridge.commands.generate import (
    Wish,
    condition_of,
    engine_of,
    frames_of,
    opened,
    ran_on,
    settings_of,
    signer_of,
    take_engine,
    told,
    unread,
    warnings,
    words,
)
from muybridge.commands.options import outputs_of, seeds_of, sheet_of
from muybridge.commands.progress import WIDEST, picture
from muybridge.commands.typed import Typed, source
from muybridge.data.moves import move_of
from muybridge.generate import Model, Stream
from muybridge.sampler.sample import JUMP, Settings
from muybridge.storage import watermark
from muybridge.storage.provenance import Provenance, to_metadata, to_plain_metadata
from muybridge.storage.publish import marked, sign
from muybridge.storage.stills import contact_sheet
from muybridge.storage.video import mp4_writer
from muybridge.types import Move

SHOWN = 9
"""Frames of the contact sheet."""

DIALS: Mapping[str, Callable[[str], Any]] = {"--steps": int, "--guidance": float, "--plan-steps": int}
"""What may be turned while a stream runs, as `muybridge generate` calls it."""


def run(wish: Wish) -> None:
    """Streams into an MP4 until Ctrl-C, or the asked-for seconds are over; the file is whole in either case.

    Lines that are typed meanwhile are its further prompts, or turn its dials.
    """
    if wish.variants != 1:
        raise ValueError(f"--variants is {wish.variants}: a stream has no end, so there is no second one; take 1")
    notes = Console(stderr=True, highlight=False, emoji=False)
    (seed,) = seeds_of(wish.seed, 1)
    (output,) = outputs_of(wish.output, wish.prompt, 1, wish.overwrite, (wish.image, *wish.given.files))
    signer = signer_of(wish)
    model = opened(wish, notes)
    endless = replace(wish, seconds=None)
    condition, settings = condition_of(endless, model), settings_of(wish, model.settings)
    half = max(1, torch.get_num_threads() // 2)  # the transformer and the decoder work side by side
    take_engine(model, engine_of(wish), settings, notes, stream=True, threads=half)
    still = None if wish.image is None else wish.image.read_bytes()
    stream = model.stream(condition, seed, settings, pipelined=True)
    length = 0 if wish.seconds is None else frames_of(wish.seconds, condition.fps)
    lines = Typed(source())
    for sentence in [*hints(lines, model), *warnings(endless, condition, model), *unread(wish, settings)]:
        note(notes, sentence)

    made = made_of(wish, model.provenance(replace(condition, frames=length), seed, settings))
    texts = to_metadata(made) if wish.disclose else to_plain_metadata(made)
    sheet, began, count, changes = Sheet(), time.perf_counter(), 0, 0
    with (
        _threads(half),
        closing(stream),
        _stopped() as stopped,
        Screen(notes, condition.fps) as screen,
        mp4_writer(output, condition.height, condition.width, condition.fps, texts) as append,
    ):
        for frames in cut(stream, length):
            for frame in marked(frames, made).frames if made.watermark else frames:
                append(frame)
                sheet.see(count, frame)
                count += 1
            screen.show(frames[-1], count)
            if stopped():
                break
            line = lines.newest()
            if line and line != stream.prompt:
                changes += turned(stream, line, count / condition.fps, notes)
    seconds = time.perf_counter() - began
    captions = [f"{number / condition.fps:.2f} s" for number in sheet.numbers]
    contact_sheet(
        np.stack(sheet.frames), sheet_of(output), captions=captions, title=wish.prompt if wish.disclose else ""
    )
    if signer is not None:
        for file in (output, sheet_of(output)):
            sign(file, made, signer, disclose=wish.disclose, still=still)
    print(f"clip           {output}")
    print(f"contact sheet  {sheet_of(output)}")
    print(f"model          {model.name} ({model.hash}), seed {seed}")
    print(f"provenance     {told(made, wish, signer)}")
    if changes:
        times = "once" if changes == 1 else f"{changes} times"
        print(f"asked anew     {times}; the files tell how it began, and inspect makes a stream of that alone")
    what = f"{count} frames of {condition.width}x{condition.height} at {condition.fps:g} fps"
    speed = f"{seconds:.1f} s ({count / seconds:.1f} frames a second)"
    print(f"made           {what}, {settings.steps} steps, in {speed}, {ran_on(model)}")


def turned(stream: Stream, line: str, seconds: float, notes: Console) -> bool:
    """Has the frames to come show something else, or made otherwise, and says so and what is not understood; False if
    it can be neither."""
    is_dial = line.startswith("--")
    try:
        if is_dial:
            moves, dials = led(line)
            if dials:
                stream.settings = dialled(stream.settings, dials, dials_of(stream.model))
            if moves:
                stream.moves = moves
        else:
            stream.prompt = line
    except ValueError as error:
        note(notes, f"{error}")
        return False
    unknown = [] if is_dial else words("prompt", line, stream.model)
    for sentence in [f"asked for after {seconds:.1f} s: {line}", *unknown]:
        note(notes, sentence)
    return True


def led(line: str) -> tuple[tuple[Move, ...], str]:
    """What a line like '--move "red ball: 0.2,0.5 0.8,0.5" --steps 2' wants moved, and the rest of it."""
    said = shlex.split(line)
    places = {i for i, word in enumerate(said[:-1]) if word == "--move"}
    rest = [word for i, word in enumerate(said) if i not in places and i - 1 not in places]
    return tuple(move_of(said[i + 1]) for i in sorted(places)), " ".join(rest)


def dials_of(model: Model) -> Mapping[str, Callable[[str], Any]]:
    """The dials that change a model's streams: students have guidance built in, and not all models make plans."""
    causal, plans = model.transformer.config.causal, model.planner is not None
    turns = {"--guidance": not causal and model.settings.solver != JUMP, "--plan-steps": plans}
    return {name: kind for name, kind in DIALS.items() if turns.get(name, True)}


def dialled(settings: Settings, line: str, dials: Mapping[str, Callable[[str], Any]] = DIALS) -> Settings:
    """The settings with what a line like "--steps 2 --guidance 1.5" asks for. ValueError for what is no dial."""
    said = line.split()
    try:
        asked = {name: dials[name](value) for name, value in zip(said[::2], said[1::2], strict=True)}
    except (KeyError, ValueError) as error:
        raise ValueError(f"{line!r} turns no dial: type some of {', '.join(dials)}, each with a number") from error
    if "--guidance" in asked:  # whatever the stream began with
        settings = replace(settings, given_guidance=None)
    return replace(settings, **{name.removeprefix("--").replace("-", "_"): value for name, value in asked.items()})


def hints(lines: Typed, model: Model) -> list[str]:
    """A sentence on what can be typed, where something can be."""
    if not lines:
        return []
    following = "frame" if model.transformer.config.causal else "window"
    dials = f"or turns dials ({', '.join(dials_of(model))}, each with a number)"
    ways = ', or moves a thing (--move "red ball: 0.2,0.5 0.8,0.5")' if "moves" in model.takes else ""
    return [f"a line typed here is the prompt from the next {following} on, {dials}{ways}; Ctrl-C ends the clip"]


def note(notes: Console, sentence: str) -> None:
    """A sentence for whoever watches."""
    notes.print(f"note: {sentence}", markup=False, style="yellow", soft_wrap=True)


def made_of(wish: Wish, plain: Provenance) -> Provenance:
    """What a stream's file says of how it was made, before its first frame is."""
    marks = wish.watermark and watermark.fits(plain.height, plain.width)
    image = "" if wish.image is None else str(wish.image)
    return replace(plain, stream=True, image_name=image, watermark=watermark.VERSION if marks else 0)


def cut(chunks: Iterable[UInt8[np.ndarray, "t h w 3"]], length: int) -> Iterator[UInt8[np.ndarray, "t h w 3"]]:
    """The first `length` frames; all of them if that is 0."""
    count = 0
    for chunk in chunks:
        yield chunk[: length - count] if length else chunk
        count += len(chunk)
        if length and count >= length:
            return


class Sheet:
    """Frames spread evenly over a clip whose length nobody knows: when there are too many, every second one goes."""

    def __init__(self) -> None:
        self.stride = 1
        self._kept: dict[int, UInt8[np.ndarray, "h w 3"]] = {}

    def see(self, number: int, frame: UInt8[np.ndarray, "h w 3"]) -> None:
        """Takes note of a frame."""
        if number % self.stride == 0:
            self._kept[number] = frame
        if len(self._kept) > 2 * SHOWN:
            self.stride *= 2
            self._kept = {number: kept for number, kept in self._kept.items() if number % self.stride == 0}

    @property
    def numbers(self) -> list[int]:
        """Those of the frames that are shown, in order."""
        numbers = list(self._kept)
        return [numbers[i] for i in np.unique(np.linspace(0, len(numbers) - 1, SHOWN).round().astype(int))]

    @property
    def frames(self) -> list[UInt8[np.ndarray, "h w 3"]]:
        """The frames that are shown."""
        return [self._kept[number] for number in self.numbers]


class Screen:
    """In a terminal, the frame at hand and the speed at which they come; elsewhere nothing, so logs stay logs."""

    def __init__(self, console: Console, fps: float) -> None:
        self.console, self.fps, self.began = console, fps, time.perf_counter()
        self.live = Live(console=console, transient=True, redirect_stdout=False)

    def __enter__(self) -> Screen:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def show(self, frame: UInt8[np.ndarray, "h w 3"], count: int) -> None:
        """The newest of so many frames."""
        if not self.console.is_terminal:
            return
        rate = count / (time.perf_counter() - self.began)
        said = Text(f"{count / self.fps:.1f} s made, {rate:.1f} frames a second; Ctrl-C ends the clip")
        self.live.update(Group(picture(frame, min(WIDEST, self.console.width - 1, frame.shape[1])), said))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Inside, PyTorch takes so many for each thing that it does."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _stopped() -> Iterator[Callable[[], bool]]:
    """Inside, the first Ctrl-C or SIGTERM only makes the callable true; a second one interrupts at once."""
    came: list[int] = []

    def note(number: int, frame: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
