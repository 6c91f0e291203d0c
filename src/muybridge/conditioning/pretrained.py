"""Text encoders that others have trained, in the slot of our own: prompts -> the clean stream of text.

T5 and UMT5 give their encoder's features, CLIP its text tower's, a causal language model (Qwen and its like) what its
layers make of the prompt. `transformers` does the work and is imported when an encoder is loaded.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from muybridge.conditioning.text import pad
from muybridge.conditioning.vocabulary import encodable

LONGEST = 512
"""Tokens of a prompt that are read unless one says otherwise; T5 was trained on as many, CLIP has places for 77."""


class PretrainedText:
    """A frozen text encoder. `encoder(prompts)` is what `Streams.text` and `Streams.text_mask` want.

    width   features of a token: the `text_width` of a transformer that reads them
    length  tokens of a prompt that are read; `unread` tells what lies beyond
    layer   whose output is taken: -1 the last, after its norm; -2 the one before it, without; 0 the embeddings
    """

    def __init__(self, tokenizer: Any, model: Any, layer: int = -1, length: int | None = None) -> None:
        """Of a tokenizer and a model of `transformers`. ValueError where they cannot do what is asked."""
        config = model.config.get_text_config()
        self.tokenizer, self.model = tokenizer, model.eval().requires_grad_(False)
        self.width: int = config.hidden_size
        self.layer, self.length = layer, _length(length, tokenizer, config)
        layers: int = config.num_hidden_layers
        if not -layers - 1 <= layer <= layers:
            raise ValueError(f"layer is {layer}, but the text encoder has {layers}: take {-layers - 1} to {layers}")
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
        dtype: torch.dtype = torch.float32,
    ) -> PretrainedText:
        """The encoder of a folder, or of "org/name" on the hub; weights as safetensors only.

        `part` and `tokenizer_part` are folders inside it, such as "text_encoder" and "tokenizer" of a video model.
        ValueError if there is none.
        """
        transformers = _transformers()
        inside = part if tokenizer_part is None else tokenizer_part
        try:
            config = transformers.AutoConfig.from_pretrained(model, subfolder=part)
            tokenizer = transformers.AutoTokenizer.from_pretrained(model, subfolder=inside)
            encoder = _kind(transformers, config).from_pretrained(
                model, subfolder=part, dtype=dtype, use_safetensors=True
            )
        except (OSError, ValueError) as error:
            place = f"{model}/{part}" if part else str(model)
            raise ValueError(
                f"{place} holds no text encoder: give a folder or a name on the hub that has config.json, "
                f"tokenizer.json and *.safetensors ({error})"
            ) from error
        return cls(tokenizer, encoder.to(device), layer, length)

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> tuple[Float[Tensor, "b n d"], Bool[Tensor, "b n"] | None]:
        """Features of prompts, and which of them are words; None where none is padding. Padding has zeros."""
        assert prompts, "no prompts"
        ids = [self._read(prompt)[0] for prompt in prompts]
        tokens = pad(ids).to(self.model.device)
        lengths = torch.tensor([len(one) for one in ids], device=tokens.device)
        mask = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        features = self._features(tokens, mask).float()
        if mask.all():
            return features, None
        return torch.where(mask[:, :, None], features, 0), mask

    def unread(self, prompt: str) -> str:
        """The end of a prompt that lies past `length` tokens and is not read; empty where all is."""
        return self._read(prompt)[1]

    def _features(self, tokens: Tensor, mask: Tensor) -> Float[Tensor, "b n d"]:
        # The last of the hidden states lacks the final norm in some families; last_hidden_state has it in all.
        whole = self.layer == -1
        out = self.model(input_ids=tokens, attention_mask=mask.long(), output_hidden_states=not whole)
        features: Tensor = out.last_hidden_state if whole else out.hidden_states[self.layer]
        return features

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
