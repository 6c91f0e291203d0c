"""`muybridge generate`: a sentence in, an MP4 and a contact sheet out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from rich.console import Console

from muybridge.backends.model import OpenModel
from muybridge.backends.tuning import FIRST_BLOCK, Tuning
from muybridge.commands.given import Given, filled
from muybridge.commands.options import outputs_of, seeds_of, sheet_of, size_of
from muybridge.commands.progress import Bar
from muybridge.engines.kinds import AUTO, CLIP, TORCH, of_a_stream
from muybridge.generate import Clip, Model, load
from muybridge.sampler.sample import JUMP, Settings
from muybridge.storage import checkpoint, credentials
from muybridge.storage.credentials import Credentials
from muybridge.storage.pipelines import INDEX
from muybridge.storage.provenance import Provenance
from muybridge.storage.publish import publish, sign
from muybridge.storage.stills import contact_sheet, fit, read_still
from muybridge.types import TEMPORAL_STRIDE, Condition, device_of, sizes_named

if TYPE_CHECKING:
    from muybridge.training.parallel import Group

T = TypeVar("T")

BUNDLED = "nano"
"""The model that is taken unless another is named; on a CPU its student."""

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class Opening:
    """How a model is opened, where that was said."""

    dtype: str | None = None
    allow_pickle: bool = False
    lora: tuple[str, ...] = ()
    base: str = ""
    precision: str | None = None
    cache: str | None = None


@dataclass(frozen=True)
class Wish:
    """The options of the command, as they were typed; None where the model decides."""

    prompt: str
    output: Path | None = None
    image: Path | None = None
    seconds: float | None = None
    size: str = ""
    fps: float | None = None
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    solver: str | None = None
    variants: int = 1
    model: str | None = None
    negative: str = ""
    overwrite: bool = False
    shift: float | None = None
    guidance_low: float | None = None
    guidance_high: float | None = None
    rescale: float | None = None
    context_noise: float | None = None
    drafts: int | None = None
    draft_steps: int | None = None
    plan_steps: int | None = None
    tries: int | None = None
    watermark: bool = True
    sign: bool = True
    disclose: bool = True
    key: Path | None = None
    given: Given = field(default_factory=Given)
    opening: Opening = field(default_factory=Opening)
    engine: str | None = None
    fast: bool = False

    @property
    def model_name(self) -> str:
        """The model that was named. If none was, the bundled one, or on a CPU its student, which is as good and needs
        a fraction of the time; but not for a wish that students do not read: guidance is built in, and so are jumps."""
        if self.model is not None:
            return self.model
        guides = (
            self.guidance,
            self.guidance_low,
            self.guidance_high,
            self.rescale,
            self.solver,
            self.negative or None,
        )
        reads = any(one is not None for one in guides)
        return BUNDLED if reads or device_of().type != "cpu" else fast_of(BUNDLED)


def run(wish: Wish) -> None:
    """Makes the clips and says where they lie. ValueError, before anything is computed, for what cannot be done.

    A clip is on the disk before the next is begun, so stopping in the middle of several loses only the one at hand.
    Under torchrun all processes work on each clip, and the first one writes it.
    """
    if not torch.distributed.is_torchelastic_launched():
        make(wish)
        return
    from muybridge.training.parallel import joined

    with joined() as group:
        seed = group.gathered(seeds_of(wish.seed, wish.variants)[0])[0]
        make(replace(wish, seed=seed), group)


def make(wish: Wish, group: Group | None = None) -> None:
    """The same on one process, or as one of a group."""
    writes = group is None or group.rank == 0
    began = time.perf_counter()
    notes = Console(stderr=True, highlight=False, emoji=False, quiet=not writes)
    seeds = seeds_of(wish.seed, wish.variants)
    outputs = outputs_of(wish.output, wish.prompt, len(seeds), wish.overwrite, (wish.image, *wish.given.files))
    signer = signer_of(wish) if writes else None
    model = opened(wish, notes, None if group is None else str(group.device))
    condition = condition_of(wish, model)
    settings = settings_of(wish, model.settings)
    model.check(condition)
    model.check_solver(settings)
    take_engine(model, engine_of(wish), settings, notes)
    if group is not None:
        _spread(model, condition, group)
    still = None if wish.image is None else wish.image.read_bytes()
    for sentence in [*warnings(wish, condition, model), *unread(wish, settings)]:
        notes.print(f"note: {sentence}", markup=False, style="yellow", soft_wrap=True)

    finished: list[Path] = []
    try:
        with Bar(notes, clips=len(seeds), model=model) as bar:
            for seed, output in zip(seeds, outputs, strict=True):
                (clip,) = model.generate(condition, seed, settings, bar.hear)
                if not writes:
                    continue
                made = _save(clip, output, wish, signer, still)
                finished.append(output)
    finally:
        for output in finished:
            print(f"clip           {output}")
            print(f"contact sheet  {sheet_of(output)}")
    if not writes:
        return
    what = f"{condition.frames} frames of {condition.width}x{condition.height} at {condition.fps:g} fps"
    print(f"model          {model.name} ({model.hash}), seed {', '.join(map(str, seeds))}")
    print(f"provenance     {told(made, wish, signer)}")
    print(f"made           {what}, {settings.steps} steps, in {time.perf_counter() - began:.1f} s, {ran_on(model)}")


def opened(wish: Wish, notes: Console, device: str | None = None) -> Model:
    """The model that is wished for, or its fast student, opened as was asked for. ValueError if it has none."""
    opening = wish.opening
    name = fast_of(wish.model_name) if wish.fast and is_ours(wish.model_name) else wish.model_name
    dtype, precision = _precisions(opening.dtype, opening.precision)
    with notes.status(f"opening {name}"):
        return load(
            name,
            device,
            dtype,
            allow_pickle=opening.allow_pickle,
            loras=opening.lora,
            base=opening.base,
            tuning=Tuning(precision, cache_of(wish)),
        )


def _spread(model: Model, condition: Condition, group: Group) -> None:
    from muybridge.backends.parallel import spread

    if not isinstance(model, OpenModel):
        raise ValueError(f"{model.name} runs on one process, only models of others can be spread: leave torchrun out")
    spread(model.pipeline.pipe, model.name, condition, group)


def cache_of(wish: Wish) -> str:
    """What a model of others does not compute at every step: what was named, or what --fast means for it."""
    return wish.opening.cache or (FIRST_BLOCK if wish.fast and not is_ours(wish.model_name) else "")


def _precisions(dtype: str | None, precision: str | None) -> tuple[torch.dtype | None, str]:
    """What is computed in, and what the weights are kept in where that is another."""
    if dtype is not None and dtype not in DTYPES:
        raise ValueError(f"--dtype is {dtype!r}: take one of {', '.join(DTYPES)}")
    short = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
    kept = short.get(precision or "", precision or "")
    if kept not in DTYPES:
        return None if dtype is None else DTYPES[dtype], kept
    if dtype not in (None, kept):
        raise ValueError(f"--dtype is {dtype} and --precision {precision}: give one of them")
    return DTYPES[kept], ""


def is_ours(name: str) -> bool:
    """Whether a model is one of Muybridge that lies on this machine, rather than a pipeline of others."""
    folder = Path(name)
    return name in checkpoint.bundled() or ((folder / "config.json").is_file() and not (folder / INDEX).is_file())


def fast_of(name: str) -> str:
    """The bundled student of a bundled model; a student is its own."""
    student = name if name.endswith("-fast") else f"{name}-fast"
    if student in checkpoint.bundled():
        return student
    raise ValueError(
        f"there is no fast student of {name} in this version: make one with `muybridge distill nano-fast --teacher "
        f"{name} -o runs/fast`, then take --model runs/fast/model instead of --fast"
    )


def engine_of(wish: Wish) -> str | None:
    """What was asked for; whoever wants a model of ours --fast wants the fastest engine that is exact enough, too."""
    return AUTO if wish.engine is None and wish.fast and is_ours(wish.model_name) else wish.engine


def take_engine(
    model: Model,
    asked: str | None,
    settings: Settings,
    notes: Console,
    stream: bool = False,
    threads: int | None = None,
) -> None:
    """Has the model run by the engine asked for; by default by what `--engine auto` found best here earlier.

    stream   whether it is to run the model's streams, not its clips
    threads  that each of them may take; as torch has them unless said
    """
    others = isinstance(model, OpenModel)
    if others and asked not in (None, TORCH):
        raise ValueError(f"--engine is for models of Muybridge, and {model.name} is one of others: leave it out")
    if asked is None and (others or model.device.type != "cpu"):
        return
    from muybridge.engines.choice import chosen, evaluations, fastest, remembered

    kind = fastest(remembered(model), evaluations(settings)) if asked is None else asked
    if kind == TORCH:
        return
    with notes.status(f"preparing {kind} for {model.name}: a minute the first time") as status:
        model.engine = chosen(
            model,
            kind,
            settings,
            hear=lambda engine: status.update(f"trying {model.name} with {engine}, once"),
            threads=threads,
            names=of_a_stream(model) if stream else CLIP,
        )


def ran_on(model: Model) -> str:
    """What ran it, and what was done to have it run well here, for people."""
    tuned = model.tuned if isinstance(model, OpenModel) else ()
    return ", ".join(["torch" if model.engine is None else model.engine.name, *tuned])


def condition_of(wish: Wish, model: Model) -> Condition:
    """The wish as a Condition; what was not said is what the model was trained on."""
    trained = model.config["trained"]
    fps = float(trained["fps"] if wish.fps is None else wish.fps)
    width, height = size_of(wish.size) if wish.size else (trained["width"], trained["height"])
    frames = trained["frames"] if wish.seconds is None else frames_of(wish.seconds, fps, near_of(model))
    condition = Condition(wish.prompt, wish.negative, frames, height, width, fps)
    if isinstance(model, OpenModel):
        model.check_shape(condition)
    else:
        model.check(condition)
    prefix = None if wish.image is None else fit(read_still(wish.image), height, width)[None]
    return filled(replace(condition, prefix=prefix), wish.given)


def one_and_fours(count: float) -> int:
    """The number of the form 1 + 4k that is nearest to `count`."""
    return 1 + TEMPORAL_STRIDE * max(0, round((count - 1) / TEMPORAL_STRIDE))


def frames_of(seconds: float, fps: float, near: Callable[[float], int] = one_and_fours) -> int:
    """The number of frames that plays nearest to `seconds`; `near` tells the possible one nearest to any."""
    if not 0 < seconds <= 3600:
        raise ValueError(f"--seconds is {seconds:g}: take more than 0 and at most 3600")
    if not 0 < fps <= 1000:
        raise ValueError(f"--fps is {fps:g}: take more than 0 and at most 1000")
    return near(seconds * fps)


def near_of(model: Model) -> Callable[[float], int]:
    """How long the model's clips can be."""
    return model.frames_near if isinstance(model, OpenModel) else one_and_fours


def settings_of(wish: Wish, default: Settings) -> Settings:
    """The model's own settings, with what was asked for instead."""
    low, high = default.guidance_interval
    return Settings(
        steps=_or(wish.steps, default.steps),
        solver=_or(wish.solver, default.solver),
        guidance=_or(wish.guidance, default.guidance),
        given_guidance=default.given_guidance if wish.guidance is None else None,
        guidance_interval=(_or(wish.guidance_low, low), _or(wish.guidance_high, high)),
        guidance_rescale=_or(wish.rescale, default.guidance_rescale),
        shift=_or(wish.shift, default.shift),
        context_noise=_or(wish.context_noise, default.context_noise),
        preview_every=default.preview_every,
        drafts=_or(wish.drafts, default.drafts),
        draft_steps=_or(wish.draft_steps, default.draft_steps),
        plan_steps=_or(wish.plan_steps, default.plan_steps),
        tries=_or(wish.tries, default.tries),
    )


def _or(said: T | None, otherwise: T) -> T:
    return otherwise if said is None else said


def warnings(wish: Wish, condition: Condition, model: Model) -> list[str]:
    """What the model will not do as one might expect: each a sentence."""
    name = Path(model.name).name
    if isinstance(model, OpenModel):
        return []
    found = [*words("prompt", condition.prompt, model), *words("negative prompt", condition.negative, model)]
    trained = model.config["trained"]
    sizes = trained.get("sizes") or [[trained["width"], trained["height"]]]
    if [condition.width, condition.height] not in sizes:
        found.append(f"{name} learnt from {sizes_named(sizes)} only: this size may look odd")
    if condition.frames > trained["frames"]:
        found.append(f"{name} learnt from clips of {trained['frames']} frames: later ones may drift")
    if condition.fps != trained["fps"]:
        found.append(f"{name} learnt from {trained['fps']:g} frames a second only: motion may be off")
    if wish.seconds is not None and abs(condition.frames / condition.fps - wish.seconds) > 0.5 / condition.fps:
        playing = condition.frames / condition.fps
        found.append(f"clips have 1 + 4k frames: making {condition.frames}, which play {playing:.2f} s")
    if model.transformer.config.spans and wish.solver not in (None, JUMP):
        found.append(
            f"{name} learnt where its steps lead, not the velocities that {wish.solver} asks for: jump is its own"
        )
    if condition.prefix is not None:
        found += model.doubts(condition.prefix[0])
    return found


def unread(wish: Wish, settings: Settings) -> list[str]:
    """A sentence if there is a negative prompt that nothing reads."""
    if not wish.negative or settings.guidance != 1:
        return []
    return ["guidance is 1, so the negative prompt is not read: take another guidance, if the model can"]


def words(what: str, text: str, model: Model) -> Sequence[str]:
    """What is not read of a text, or not understood."""
    name, vocabulary = Path(model.name).name, model.vocabulary
    known, unknown = len(vocabulary.ids(text)), vocabulary.unknown(text)
    if what == "prompt" and known == 0:
        said = f"holds no word, only {text[:20]!r}" if text.strip() else "is empty"
        return [f"the {what} {said}: the clip may show anything that {name} can make"]
    sentences = []
    if unknown:
        named = [
            f"{word[:40]!r}" + (f" (nearest: {', '.join(near)})" if near else "") for word, near in unknown.items()
        ]
        shown = ", ".join(named[:8]) + (f" and {len(named) - 8} more" if len(named) > 8 else "")
        sentences.append(f"{name} has never seen these words and reads each as 'something unknown': {shown}")
    beyond, unit = vocabulary.beyond(text), vocabulary.unit
    if beyond:
        sentences.append(
            f"the {what} is long: its last {beyond} {unit} are not read (the first {vocabulary.longest} are)"
        )
    return sentences


def signer_of(wish: Wish) -> Credentials | None:
    """What signs the clips: the user's own key, which is made the first time, the one that is named, or nothing."""
    if not wish.sign:
        if wish.key is not None:
            raise ValueError("--key names what signs, and --no-sign leaves that off: give one of them")
        return None
    if wish.key is not None:
        return credentials.load(wish.key)
    try:
        return credentials.load_or_create(credentials.default_path())
    except ValueError as error:
        raise ValueError(f"{error} (--key names another key, --no-sign leaves signing off)") from error


def _save(clip: Clip, output: Path, wish: Wish, signer: Credentials | None, still: bytes | None) -> Provenance:
    """Clip and contact sheet, marked and signed as was asked for; returns what was written of how it was made."""
    name = "" if wish.image is None else str(wish.image)
    made = replace(
        clip.provenance, image_name=name, options=replace(wish.given, cache=cache_of(wish) or None).options()
    )
    frames, made = publish(output, clip.frames, made, signer, mark=wish.watermark, disclose=wish.disclose, still=still)
    title = wish.prompt if wish.disclose else ""
    contact_sheet(frames, sheet_of(output), fps=made.fps, most=9, title=title)
    if signer is not None:
        sign(sheet_of(output), made, signer, disclose=wish.disclose, still=still)
    return made


def told(made: Provenance, wish: Wish, signer: Credentials | None) -> str:
    """What the clips carry, in a line."""
    unmarked = "no watermark (frames too small)" if wish.watermark else "no watermark"
    signed = "not signed" if signer is None else f"signed as {signer.name!r}"
    return f"{'watermarked' if made.watermark else unmarked}, {signed}"
