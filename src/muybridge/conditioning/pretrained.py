"""Text encoders that others have trained: prompts -> features of their words.

T5 and UMT5 give their encoder's features, CLIP its text tower's, a causal language model (Qwen and its like) what its
layers make of the prompt. `transformers` does the work and is imported when an encoder is loaded.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from muybridge.conditioning.text import pad
from muybridge.conditioning.vocabulary import encodable

LONGEST = 512
"""Tokens of a prompt that are read unless one says otherwise; T5 was trained on as many, CLIP has places for 77."""


class Frozen:
    """The network of a text encoder that others have trained, which learns nothing here: tokens -> features.

    width  features of a token
    layer  whose output is taken: -1 the last, after its norm; -2 the one before it, without; 0 the embeddings
    """

    def __init__(self, model: Any, layer: int = -1) -> None:
        """Of a model of `transformers`. ValueError if it has no such layer."""
        config = model.config.get_text_config()
        self.model, self.layer = model.eval().requires_grad_(False), layer
        self.width: int = config.hidden_size
        layers: int = config.num_hidden_layers
        if not -layers - 1 <= layer <= layers:
            raise ValueError(f"layer is {layer}, but the text encoder has {layers}: take {-layers - 1} to {layers}")

    @classmethod
    def load(
        cls, model: str | Path, layer: int = -1, part: str = "", dtype: torch.dtype | None = torch.float32
    ) -> Frozen:
        """The network of a folder, or of "org/name" on the hub; weights as safetensors only.

        part   a folder inside it
        dtype  of its weights; None as they are stored

        ValueError if there is none, or it is not whole.
        """
        transformers = _transformers()
        with _read_from(model, part):
            config = transformers.AutoConfig.from_pretrained(model, subfolder=part)
            network, told = _kind(transformers, config).from_pretrained(
                model, subfolder=part, dtype=dtype or "auto", use_safetensors=True, output_loading_info=True
            )
            if lacking := sorted(told["missing_keys"]):  # which would be drawn at random, and not be missed
                raise ValueError(f"its weights lack {', '.join(lacking[:3])} and {max(0, len(lacking) - 3)} more")
        return cls(network, layer)

    def save(self, folder: Path) -> None:
        """Writes config.json and the weights, as they are, for `load`."""
        with _quietly(_transformers()):
            self.model.save_pretrained(folder)

    def __deepcopy__(self, memo: dict[int, Any]) -> Frozen:
        """Itself: what learns nothing has no need of a copy."""
        return self

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that tell these features from any others."""
        total = hashlib.sha256(f"{self.model.config.model_type} {self.layer}".encode())
        for name, weight in sorted(self.model.named_parameters()):
            total.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
            total.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return total.hexdigest()[:12]

    def __call__(self, tokens: Int[Tensor, "b n"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        """Features of tokens; of those that the mask leaves out they mean nothing."""
        # The last of the hidden states lacks the final norm in some families; last_hidden_state has it in all.
        whole = self.layer == -1
        out = self.model(input_ids=tokens, attention_mask=mask.long(), output_hidden_states=not whole)
        features: Tensor = out.last_hidden_state if whole else out.hidden_states[self.layer]
        return features


class PretrainedText:
    """A frozen text encoder. `encoder(prompts)` is what `Streams.text` and `Streams.text_mask` want.

    width   features of a token: the `text_width` of a transformer that reads them
    length  tokens of a prompt that are read; `unread` tells what lies beyond
    layer   whose output is taken, see `Frozen`
    """

    def __init__(self, tokenizer: Any, model: Any, layer: int = -1, length: int | None = None) -> None:
        """Of a tokenizer and a model of `transformers`. ValueError where they cannot do what is asked."""
        self.tokenizer, self.model, self.frozen = tokenizer, model, Frozen(model, layer)
        self.width, self.layer = self.frozen.width, layer
        self.length = _length(length, tokenizer, model.config.get_text_config())
        if not tokenizer.is_fast:
            raise ValueError("the tokenizer is of the slow kind, which cannot tell what it cuts: give a tokenizer.json")
        special = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
        self.nothing: int = next((i for i in special if i is not None), 0)
        tokenizer.truncation_side = "right"

    @classmethod
    def load(
        cls,
        model: str | Path,
        layer: int = -1,
        length: int | None = None,
        part: str = "",
        tokenizer_part: str | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = torch.float32,
    ) -> PretrainedText:
        """The encoder of a folder, or of "org/name" on the hub; weights as safetensors only.

        `part` and `tokenizer_part` are folders inside it, such as "text_encoder" and "tokenizer" of a video model.
        `dtype` is that of its weights; None as they are stored. ValueError if there is none.
        """
        transformers = _transformers()
        inside = part if tokenizer_part is None else tokenizer_part
        with _read_from(model, inside):
            tokenizer = transformers.AutoTokenizer.from_pretrained(model, subfolder=inside)
        frozen = Frozen.load(model, layer, part, dtype)
        return cls(tokenizer, frozen.model.to(device), layer, length)

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> tuple[Float[Tensor, "b n d"], Bool[Tensor, "b n"] | None]:
        """Features of prompts, and which of them are words; None where none is padding. Padding has zeros."""
        assert prompts, "no prompts"
        ids = [self._read(prompt)[0] for prompt in prompts]
        tokens = pad(ids).to(self.model.device)
        lengths = torch.tensor([len(one) for one in ids], device=tokens.device)
        mask = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        features = self.frozen(tokens, mask).float()
        if mask.all():
            return features, None
        return torch.where(mask[:, :, None], features, 0), mask

    def unread(self, prompt: str) -> str:
        """The end of a prompt that lies past `length` tokens and is not read; empty where all is."""
        return self._read(prompt)[1]

    def _read(self, prompt: str) -> tuple[list[int], str]:
        """Ids of the tokens that are read, and the text that is not."""
        text = encodable(prompt)
        whole = self.tokenizer(text, verbose=False)["input_ids"]
        if len(whole) <= self.length:
            return list(whole) or [self.nothing], ""
        cut = self.tokenizer(text, truncation=True, max_length=self.length, return_offsets_mapping=True)
        end = max(stop for _, stop in cut["offset_mapping"])
        return list(cut["input_ids"]), prompt[end:]


def _length(asked: int | None, tokenizer: Any, config: Any) -> int:
    """Tokens that are read: what is asked for, if there are places for them, else as many as make sense."""
    places = getattr(config, "max_position_embeddings", None)
    most = min(int(tokenizer.model_max_length), places or LONGEST)
    length = min(most, LONGEST) if asked is None else asked
    least = 1 + tokenizer.num_special_tokens_to_add()
    if not least <= length <= most:
        raise ValueError(f"length is {length}, but the text encoder reads {least} to {most} tokens: take one of these")
    return length


@contextmanager
def _read_from(model: str | Path, part: str) -> Iterator[None]:
    """Files that are not there, damaged or of something else fail in as many ways as there are kinds of files."""
    try:
        with _quietly(_transformers()):
            yield
    except MemoryError:
        raise
    except Exception as error:
        place = os.path.join(model, part) if part else str(model)
        said = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(
            f"{place} holds no text encoder that can be read: give a folder or a name on the hub that has config.json, "
            f"tokenizer.json and *.safetensors ({said})"
        ) from error


@contextmanager
def _quietly(transformers: Any) -> Iterator[None]:
    """Without the bars and the advice to programmers of transformers."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def _kind(transformers: Any, config: Any) -> Any:
    """The class that reads text and does nothing else."""
    if config.model_type == "clip":
        return transformers.CLIPTextModel
    if type(config) in transformers.MODEL_FOR_TEXT_ENCODING_MAPPING:
        return transformers.AutoModelForTextEncoding
    return transformers.AutoModel


def _transformers() -> Any:
    try:
        return importlib.import_module("transformers")
    except ModuleNotFoundError as error:
        if error.name != "transformers":
            raise
        raise ValueError(
            "pretrained text encoders need the package transformers: pip install 'muybridge[open-models]'"
        ) from error
