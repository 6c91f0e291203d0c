"""A model of ours on disk: three networks, the words they know, what may come with them, and how to use them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from muybridge.conditioning.borrowed import borrowed_by, borrowing
from muybridge.conditioning.familiarity import Familiarity
from muybridge.conditioning.pretrained import Frozen
from muybridge.conditioning.text import TextConfig, TextEncoder
from muybridge.conditioning.tokens import Tokens
from muybridge.conditioning.vocabulary import Vocabulary
from muybridge.conditioning.witness import Witness, WitnessConfig
from muybridge.sampler.sample import Settings
from muybridge.storage import checkpoint
from muybridge.storage.narrow import narrowed, widened
from muybridge.tokenizer.autoencoder import AutoencoderConfig, VideoAutoencoder
from muybridge.transformer.model import TransformerConfig, VideoTransformer
from muybridge.transformer.planner import Planner, PlannerConfig

KIND = "muybridge.model"
PARTS = ("autoencoder", "text", "transformer")
TRAINED = frozenset({"frames", "height", "width", "fps"})


@dataclass(frozen=True)
class Networks:
    """What a model of ours is made of, ready to run.

    config       its settings; "trained" and "learnt_from" say what it learnt from
    settings     how it samples best, as measured when it was made
    familiarity  what the stills it learnt from have in common, if that is known
    witness      what chooses among drafts of a first frame, if there is one
    planner      what foresees where things go, if there is one
    """

    config: Mapping[str, Any]
    settings: Settings
    vocabulary: Vocabulary
    autoencoder: VideoAutoencoder
    text: TextEncoder
    transformer: VideoTransformer
    familiarity: Familiarity | None = None
    witness: Witness | None = None
    planner: Planner | None = None

    def modules(self) -> dict[str, nn.Module]:
        """The networks by the names of their files."""
        named = {part: getattr(self, part) for part in (*PARTS, "witness", "planner")}
        return {part: module for part, module in named.items() if module is not None}


def read_model(found: checkpoint.Checkpoint, name: str) -> Networks:
    """The networks of a checkpoint, on the CPU. ValueError, with the mend, if it is not whole or not a model.

    name  what the model is called in those sentences
    """
    if found.config["kind"] != KIND:
        raise ValueError(f"{name} holds a {found.config['kind']}, not a {KIND}: give a model that generates")
    config = _checked(found)
    frozen = _frozen(found)
    with _blaming(found):
        kind = Vocabulary if frozen is None else Tokens
        vocabulary = kind.from_json(found.files["vocabulary.json"])
        words = TextConfig(**tuples(config["text"]))
        known = found.tensors.get("familiarity")
        networks = Networks(
            config,
            Settings(**tuples(config["sampling"])),
            vocabulary,
            VideoAutoencoder(AutoencoderConfig(**tuples(config["autoencoder"]))),
            TextEncoder(words) if frozen is None else borrowing(words, frozen, vocabulary.longest),
            VideoTransformer(TransformerConfig(**tuples(config["transformer"]))),
            None if known is None else Familiarity.from_tensors(known),
            Witness(WitnessConfig(**tuples(config["witness"]))) if "witness" in found.tensors else None,
            Planner(PlannerConfig(**tuples(config["planner"]))) if "planner" in found.tensors else None,
        )
        assert len(vocabulary) == networks.text.config.vocabulary, "another vocabulary"
    for part, module in networks.modules().items():
        checkpoint.load_into(module, widened(found.tensors[part]), f"the {part} of {name}")
        module.eval().requires_grad_(False)
    return networks


def save_model(
    folder: str | Path,
    *,
    name: str,
    autoencoder: VideoAutoencoder,
    text: TextEncoder,
    transformer: VideoTransformer,
    vocabulary: Vocabulary,
    sampling: Settings,
    trained: Mapping[str, Any],
    learnt_from: str,
    card: str,
    familiarity: Familiarity | None = None,
    witness: Witness | None = None,
    planner: Planner | None = None,
    narrow: frozenset[str] = frozenset(),
) -> None:
    """Writes what `load` reads: three networks, the words they know, and how to use them.

    A frozen text encoder that `text` reads goes into the folder, too, so that the checkpoint needs nothing else.

    sampling     what measured best for this model
    trained      the clips it learnt from: frames, height, width, fps; where they came in several sizes, `sizes`, each
                 [width, height], the first of them the one above
    learnt_from  the same in words, for people, e.g. "simulated tabletop worlds"
    card         the model card, Markdown: command, data, time, machine, scores
    familiarity  what their stills have in common, by which others are doubted
    witness      what chooses among drafts of a first frame
    planner      what foresees where things go
    narrow       parts whose matrices are kept in eight bits, half the size of the others
    """
    assert trained.keys() >= TRAINED, f"trained lacks {TRAINED - trained.keys()}"
    assert autoencoder.config.channels == transformer.config.channels, "autoencoder and transformer do not fit"
    assert text.config.width == transformer.config.text_width, "text encoder and transformer do not fit"
    assert text.config.vocabulary == len(vocabulary), f"{text.config.vocabulary} ids for {len(vocabulary)} words"
    optional = {part: module for part, module in (("witness", witness), ("planner", planner)) if module is not None}
    config = {
        "kind": KIND,
        "name": name,
        "learnt_from": learnt_from,
        "trained": dict(trained),
        "sampling": asdict(sampling),
        "autoencoder": asdict(autoencoder.config),
        "text": asdict(text.config),
        "transformer": asdict(transformer.config),
    }
    tensors = {
        "autoencoder": _halved(autoencoder),
        "text": _halved(text),
        "transformer": _halved(transformer),
        **({} if familiarity is None else {"familiarity": familiarity.tensors()}),
        **{part: _halved(module) for part, module in optional.items()},
    }
    config |= {part: asdict(module.config) for part, module in optional.items()}
    tensors |= {part: narrowed(tensors[part]) for part in narrow}
    frozen = borrowed_by(text)
    if frozen is not None:
        config[checkpoint.PRETRAINED] = {"layer": frozen.layer}
    written = None if frozen is None else frozen.save
    checkpoint.save(folder, config, tensors, card, {"vocabulary.json": vocabulary.to_json()}, written)


def tuples(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has lists only; our frozen configs have tuples only."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in numbers.items()}


def _halved(module: nn.Module) -> dict[str, Tensor]:
    """Weights as float16, which is finer than the bfloat16 they are multiplied in, and half the size."""
    return {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in module.state_dict().items()
    }


def _checked(found: checkpoint.Checkpoint) -> Mapping[str, Any]:
    """The settings of a checkpoint that has all its parts. ValueError names what is missing."""
    missing = [f"{part}.safetensors" for part in PARTS if part not in found.tensors]
    missing += [name for name in ("vocabulary.json",) if name not in found.files]
    if checkpoint.PRETRAINED in found.config and not (found.folder / checkpoint.PRETRAINED / "config.json").is_file():
        missing.append(f"the folder {checkpoint.PRETRAINED}")
    missing += [f"{part!r} in config.json" for part in (*PARTS, "sampling", "trained") if part not in found.config]
    if not missing:
        trained = found.config["trained"]
        said = trained.items() if isinstance(trained, dict) else ()
        numbers = {key for key, value in said if isinstance(value, int | float)}
        missing = [f"the number {key!r} in config.json" for key in sorted(TRAINED - numbers)]
        sizes = dict(said).get("sizes", [])
        if not isinstance(sizes, list) or not all(_is_size(size) for size in sizes):
            missing.append("pairs of whole numbers as 'sizes' in config.json")
    if missing:
        raise ValueError(f"the checkpoint {found.folder} lacks {', '.join(missing)}: copy or download it again, whole")
    return {"learnt_from": "other clips", **found.config}


def _is_size(size: Any) -> bool:
    return isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) for side in size)


def _frozen(found: checkpoint.Checkpoint) -> Frozen | None:
    """The text encoder of others that lies in the checkpoint; None where none is read. ValueError if it is damaged."""
    said = found.config.get(checkpoint.PRETRAINED)
    if said is None:
        return None
    layer = said.get("layer") if isinstance(said, dict) else None
    with _blaming(found):
        assert isinstance(layer, int), f"{checkpoint.PRETRAINED} has no layer"
    return Frozen.load(found.folder / checkpoint.PRETRAINED, layer, dtype=None)


@contextmanager
def _blaming(found: checkpoint.Checkpoint) -> Iterator[None]:
    """Settings that were damaged, or are another version's, fail in as many ways as there are settings."""
    try:
        yield
    except Exception as error:  # the tokenizers library raises nothing narrower
        said = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise ValueError(
            f"the settings in {found.folder} are damaged or of another version ({said}): "
            "copy or download the checkpoint again, or update Muybridge"
        ) from error
