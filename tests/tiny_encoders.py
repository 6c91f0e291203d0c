"""Text encoders of `transformers` in folders such as those of the hub: tiny, of several families, weights drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import drawn
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from muybridge.simulation import describe

transformers = pytest.importorskip("transformers")

CAPTIONS = [caption for seed in range(20) for caption in describe(seed)[0]]
PLACES = 24


def save_tokenizer(folder: Path, tokenizer: Tokenizer, **special: object) -> int:
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return int(tokenizer.get_vocab_size())


def unigram(folder: Path) -> int:
    """As T5's: pieces with the space in front, an end-of-sequence token."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(CAPTIONS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return save_tokenizer(folder, tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def byte_pairs(folder: Path, ends: bool) -> int:
    """As Qwen's: bytes, so that nothing is unknown, and no token of its own round a prompt; CLIP's has two."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|start|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CAPTIONS, trainer)
    if not ends:
        return save_tokenizer(folder, tokenizer, eos_token="<|end|>", pad_token="<|end|>", padding_side="left")
    around = processors.TemplateProcessing(
        single="<|start|> $A <|end|>", special_tokens=[("<|start|>", 0), ("<|end|>", 1)]
    )
    tokenizer.post_processor = around
    special = {"bos_token": "<|start|>", "eos_token": "<|end|>", "pad_token": "<|end|>"}
    return save_tokenizer(folder, tokenizer, model_max_length=PLACES, **special)


def make(family: str, folder: Path) -> Path:
    """A folder such as those of the hub, with drawn weights."""
    if family in ("t5", "umt5"):
        sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "vocab_size": unigram(folder)}
        kind = {"t5": "T5", "umt5": "UMT5"}[family]
        config = getattr(transformers, f"{kind}Config")(**sizes)
        model = getattr(transformers, f"{kind}EncoderModel")(config)
    else:
        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        sizes["vocab_size"] = byte_pairs(folder, ends=family == "clip")
        if family == "clip":
            config = transformers.CLIPTextConfig(
                **sizes, max_position_embeddings=PLACES, bos_token_id=0, eos_token_id=1, pad_token_id=1
            )
            model = transformers.CLIPTextModel(config)
        else:
            kind = {"qwen2": "Qwen2", "qwen3": "Qwen3"}[family]
            config = getattr(transformers, f"{kind}Config")(**sizes, num_key_value_heads=1, head_dim=8)
            model = getattr(transformers, f"{kind}ForCausalLM")(config)
    drawn(model).save_pretrained(folder)
    return folder
