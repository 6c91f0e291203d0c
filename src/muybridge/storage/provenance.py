"""What a clip says of itself, so that it can be made again: settings <-> metadata of the file -> a command to type."""

from __future__ import annotations

import hashlib
import json
import math
import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from muybridge.sampler.sample import Settings
    from muybridge.types import Condition

FORMAT = 1
"""Version of the JSON. Raised when an older program could not read what a newer one writes."""

KEY = "muybridge"
"""The metadata key that holds it."""


@dataclass(frozen=True)
class Provenance:
    """All that decides what is in a clip: the same on the same machine makes the same frames.

    seed         of the noise; model, model_hash  its name or path, and the first 12 hex digits of its digest
    steps, solver, guidance   how the sampler went; so do shift, guidance_low and guidance_high (the interval), rescale
                 context_noise, drafts and draft_steps, which earlier files do not say: None, the model's own
    plan_steps   steps from noise to a plan of where things go, 0 where there was none
    tries        times that it was drawn at most, of which the best was kept
    frames, height, width, fps   frames in all, pixels, frames a second
    stream       made frame by frame; its frames are 0 where nobody said beforehand how long it would go on
    image        SHA-256 of the still it started from, "" if there was none; image_name  what that file was called
    given        what else it started from, as JSON: name -> SHA-256 of the values, or a number; "" if nothing; "extend"
                 is the SHA-256 of the file that it carries on and begins with, "known" how many of its frames
    options      the words of the command that gave it, as JSON list: --video, walk.mp4, ...
    version      of Muybridge
    engine       what ran the networks in PyTorch's place, with what it multiplies in; "" where PyTorch did
    watermark    version of the mark in the pixels, 0 if there is none, which is what earlier files do not say
    """

    prompt: str
    seed: int
    model: str
    model_hash: str
    steps: int
    guidance: float
    solver: str
    frames: int
    height: int
    width: int
    fps: float
    version: str
    negative: str = ""
    image: str = ""
    image_name: str = ""
    shift: float | None = None
    guidance_low: float | None = None
    guidance_high: float | None = None
    rescale: float | None = None
    context_noise: float | None = None
    drafts: int | None = None
    draft_steps: int | None = None
    plan_steps: int = 0
    tries: int = 1
    watermark: int = 0
    stream: bool = False
    given: str = ""
    options: str = ""
    engine: str = ""


def provenance_of(
    condition: Condition, seed: int, settings: Settings, model: str, model_hash: str, version: str, engine: str = ""
) -> Provenance:
    """What a clip that is made so says of itself; torch is there already where there are conditions."""
    from muybridge.storage.stills import to_uint8

    image = "" if condition.prefix is None else hashlib.sha256(to_uint8(condition.prefix).tobytes()).hexdigest()
    return Provenance(
        prompt=condition.prompt,
        negative=condition.negative,
        seed=seed,
        model=model,
        model_hash=model_hash,
        steps=settings.steps,
        guidance=settings.guidance,
        solver=settings.solver,
        shift=settings.shift,
        guidance_low=settings.guidance_interval[0],
        guidance_high=settings.guidance_interval[1],
        rescale=settings.guidance_rescale,
        context_noise=settings.context_noise,
        drafts=settings.drafts,
        draft_steps=settings.draft_steps,
        plan_steps=settings.plan_steps,
        tries=settings.tries,
        frames=condition.frames,
        height=condition.height,
        width=condition.width,
        fps=condition.fps,
        image=image,
        given=_fingerprints(condition),
        version=version,
        engine=engine,
    )


def _fingerprints(condition: Condition) -> str:
    """What was given beside words and first frames, as JSON: name -> SHA-256 of its values; "" if there was nothing."""
    known = {name: getattr(condition, name) for name in ("suffix", "video", "mask", "control", "camera", "intrinsics")}
    found: dict[str, str | float] = {
        name: hashlib.sha256(value.cpu().contiguous().numpy().tobytes()).hexdigest()
        for name, value in known.items()
        if value is not None
    }
    if condition.video is not None:
        found["strength"] = condition.strength
    if condition.moves:
        found["moves"] = hashlib.sha256(repr(condition.moves).encode()).hexdigest()
    return json.dumps(found, sort_keys=True) if found else ""


def to_metadata(provenance: Provenance) -> dict[str, str]:
    """Texts for a file's metadata: all of it as JSON under `KEY`; `title` and `comment` for people and players."""
    made = provenance
    comment = (
        f"Made by Muybridge {made.version} with {made.model} ({made.model_hash}): seed {made.seed}, {made.steps} steps "
        f"of {made.solver}, guidance {made.guidance:g}. A synthetic video."
    )
    content = {"format": FORMAT} | {name: _as_typed(name, value) for name, value in asdict(made).items()}
    return {"title": _plain(made.prompt)[:200], "comment": _plain(comment), KEY: json.dumps(content, allow_nan=False)}


def _as_typed(name: str, value: Any) -> Any:
    """Whole numbers where a float belongs are floats in the file, too."""
    return float(value) if isinstance(value, int) and name in _FLOATS else value


def discreet(provenance: Provenance) -> Provenance:
    """Without the words and the names of files and folders."""
    last = provenance.model.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    return replace(provenance, prompt="", negative="", image_name="", options="", model=last)


def to_plain_metadata(provenance: Provenance) -> dict[str, str]:
    """What people and players read of a clip whose prompt and settings are nobody's business."""
    made = discreet(provenance)
    return {"comment": _plain(f"Made by Muybridge {made.version} with {made.model} ({made.model_hash}). Synthetic.")}


def digest(provenance: Provenance) -> bytes:
    """SHA-256 of all that decides what is in a clip; what model and still are called does not.

    What has its default is left out, so that a field that is added later changes nothing for the clips of before.
    """
    defaults = {field.name: field.default for field in fields(Provenance)}
    aside = {"model", "image_name", "options", "version", "watermark"}
    content = {
        name: _as_typed(name, value)
        for name, value in asdict(provenance).items()
        if name not in aside and value != defaults[name]
    }
    return hashlib.sha256(json.dumps(content, allow_nan=False, sort_keys=True).encode()).digest()


def from_metadata(metadata: Mapping[str, str]) -> Provenance:
    """The provenance in a file's metadata. ValueError if there is none, it is damaged, or of a newer format."""
    if KEY not in metadata:
        said = "it was not made by Muybridge, or another program removed its metadata"
        raise ValueError(f"the file does not say how it was made: {said}: look for the original file")
    try:
        content = json.loads(metadata[KEY])
    except (ValueError, RecursionError) as error:  # no JSON, a number of too many digits, nested too deep
        raise ValueError(
            f"what the file says of how it was made is damaged ({error}): use the original file"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise ValueError("what the file says of how it was made is damaged (no format): use the original file")
    if content["format"] > FORMAT:
        newer = f"format {content['format']}, this version reads up to {FORMAT}"
        raise ValueError(f"the file was made by a newer Muybridge ({newer}): update with `pip install -U muybridge`")
    return Provenance(**_checked(content))


def command(provenance: Provenance, output: str = "out.mp4") -> str:
    """The shell command that makes the clip again, quoted for sh, bash and zsh.

    ValueError if the prompt holds what no command line can carry (NUL, half of a surrogate pair).
    """
    made = provenance
    options: dict[str, str] = {
        "negative": made.negative,
        "image": (made.image_name or "STILL.png") if made.image else "",
        "seed": str(made.seed),
        "steps": str(made.steps),
        "guidance": _number(made.guidance),
        "solver": made.solver,
        "shift": _optional(made.shift),
        "guidance-low": _optional(made.guidance_low),
        "guidance-high": _optional(made.guidance_high),
        "rescale": _optional(made.rescale),
        "context-noise": _optional(made.context_noise),
        "drafts": _optional(made.drafts),
        "draft-steps": _optional(made.draft_steps) if made.drafts else "",
        "plan-steps": str(made.plan_steps),
        "tries": str(made.tries),
        "size": f"{made.width}x{made.height}",
        "seconds": f"{made.frames / made.fps:.6g}" if made.frames else "",
        "fps": _number(made.fps),
        "model": made.model,
        "engine": made.engine or "torch",
    }
    words = [
        "muybridge",
        "generate",
        *_option_words(options),
        *(_words_of(made.options)),
        *([] if made.watermark else ["--no-watermark"]),
        *(["--stream"] if made.stream else []),
        "-o",
        f"./{output}" if output.startswith("-") else output,
    ]
    # a prompt that looks like an option goes last, after "--", which ends the options
    words = [*words, "--", made.prompt] if made.prompt.startswith("-") else [*words[:2], made.prompt, *words[2:]]
    for word in words:
        if word != _plain(word, keep_newlines=True):
            raise ValueError(f"no command line can carry {word[:40]!r}: make this clip again from Python")
    return shlex.join(words)


def carried_on(provenance: Provenance) -> bool:
    """Whether the file begins with another clip, whose last frames were given to the model."""
    return '"extend"' in provenance.given


def _words_of(options: str) -> list[str]:
    """The words of further options; none if they are damaged: a file's metadata is not to be trusted with a shell."""
    try:
        words = json.loads(options) if options else []
    except (ValueError, RecursionError):
        return []
    return [str(word) for word in words] if isinstance(words, list) else []


def _option_words(options: Mapping[str, str]) -> list[str]:
    """`--name value`, or `--name=value` where the value would be taken for an option; empty ones are left out."""
    words: list[str] = []
    for name, value in options.items():
        words += [f"--{name}={value}"] if value.startswith("-") else [f"--{name}", value] if value else []
    return words


def _optional(value: float | None) -> str:
    return "" if value is None else _number(value)


def _number(value: float) -> str:
    """The shortest text that is exactly this number: 15, 29.97002997002997."""
    return repr(value).removesuffix(".0")


def _plain(text: str, keep_newlines: bool = False) -> str:
    """`text` without what metadata and command lines cannot carry: NUL and lone surrogates; in one line unless kept."""
    kept = "".join(letter for letter in text if letter != "\0" and not "\ud800" <= letter <= "\udfff")
    return kept if keep_newlines else " ".join(kept.split())


def _checked(content: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of Provenance in `content`, of the right types. Fields it does not know are left aside."""
    found: dict[str, Any] = {}
    for field in fields(Provenance):
        value = content.get(field.name, field.default)
        positive = field.name in _POSITIVE and not (field.name == "frames" and content.get("stream") is True)
        if not _FITS[str(field.type)](value) or (positive and value <= 0) or (field.name in _POSITIVE and value < 0):
            raise ValueError(f"what the file says of how it was made is damaged ({field.name}): use the original file")
        found[field.name] = value
    return found


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_float(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


_FITS: Mapping[str, Callable[[object], bool]] = {
    "str": lambda value: isinstance(value, str),
    "int": _is_integer,
    "bool": lambda value: isinstance(value, bool),
    "float": _is_float,
    "float | None": lambda value: value is None or _is_float(value),
    "int | None": lambda value: value is None or _is_integer(value),
}
_POSITIVE = {"steps", "tries", "frames", "height", "width", "fps"}
_FLOATS = {field.name for field in fields(Provenance) if "float" in str(field.type)}
