"""A LoRA of one's own: an open model learns from a folder of clips, a few million numbers beside its frozen billions.

LoRA is Hu et al. 2021 (arXiv:2106.09685), by PEFT. What is learnt is the velocity of rectified flow, noise - data, as
these transformers were trained to tell it; so the file that comes out works in any program that loads LoRAs for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from muybridge.flow.paths import interpolate, velocity
from muybridge.flow.schedules import logit_normal_times, shift_times
from muybridge.storage.atomic import new_file
from muybridge.training.objectives import seeded_normal, to_pixels
from muybridge.types import Batch

LAYERS = ("to_q", "to_k", "to_v", "to_out.0")
"""The linear layers that are changed: those of attention."""

FAMILY = "WanPipeline"
ADAPTER = "own"


class LoraVelocity(nn.Module):
    """The velocity of clips, by a frozen Wan transformer with a LoRA, as an objective for our Trainer.

    pipe      a pipeline of Wan that makes clips from words; its transformer gets the LoRA
    captions  what the numbers in `Batch.text` stand for: n is captions[n - 1], 0 is none
    rank      of the LoRA
    seed      of its first weights

    Levels are drawn logit-normally and shifted towards noise as far as the pipeline's scheduler does it.
    """

    def __init__(self, pipe: Any, captions: Sequence[str], rank: int = 16, seed: int = 0) -> None:
        super().__init__()
        from peft import LoraConfig

        if type(pipe).__name__ != FAMILY or pipe.transformer_2 is not None:
            raise ValueError(
                f"a {type(pipe).__name__} cannot be finetuned here yet: take a Wan that makes clips from words and has "
                "one transformer, such as Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
            )
        self._pipe, self._captions = (pipe,), captions  # a tuple, so that it is not a part of this module
        self._read: dict[int, Tensor] = {}
        self._shift = float(pipe.scheduler.config.get("flow_shift") or pipe.scheduler.config.get("shift") or 1.0)
        self.transformer: nn.Module = pipe.transformer.requires_grad_(False)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(LAYERS), init_lora_weights=True)
            pipe.transformer.add_adapter(config, adapter_name=ADAPTER)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.video is not None, "LoraVelocity needs batch.video"
        assert batch.seed is not None, "LoraVelocity needs batch.seed"
        assert batch.text is not None, "LoraVelocity needs batch.text"
        latent = self._latent(to_pixels(batch.video))
        noise = seeded_normal(batch.seed, tuple(latent.shape[1:])).to(latent)
        level = shift_times(logit_normal_times(seeded_normal(batch.seed, (), salt=1)), self._shift).to(latent.device)
        noisy = interpolate(latent, noise, level)
        words = torch.stack([self._words(int(row[0])) for row in batch.text]).to(noisy.device)
        dtype = next(self.transformer.parameters()).dtype
        predicted = self.transformer(
            hidden_states=noisy.to(dtype),
            timestep=level * 1000,
            encoder_hidden_states=words.to(dtype),
            return_dict=False,
        )[0]
        loss = F.mse_loss(predicted.float(), velocity(latent, noise))
        return loss, {"loss": loss.detach()}

    @torch.no_grad()
    def _latent(self, video: Tensor) -> Tensor:
        """(b t 3 h w) in [-1, 1] to normalised latents (b c t h w)."""
        vae = self._pipe[0].vae
        encoded: Tensor = vae.encode(video.movedim(1, 2).to(vae.dtype)).latent_dist.mode().float()
        mean, std = (
            torch.tensor(numbers, device=encoded.device).view(1, -1, 1, 1, 1)
            for numbers in (vae.config.latents_mean, vae.config.latents_std)
        )
        normal: Tensor = (encoded - mean) / std
        return normal

    @torch.no_grad()
    def _words(self, number: int) -> Tensor:
        """Features of a caption, read once."""
        if number not in self._read:
            caption = self._captions[number - 1] if number else ""
            self._read[number] = self._pipe[0].encode_prompt(caption, do_classifier_free_guidance=False)[0][0]
        return self._read[number]


def save(pipe: Any, path: Path) -> None:
    """Writes the LoRA of `LoraVelocity`, as diffusers and others load it."""
    from peft.utils import get_peft_model_state_dict
    from safetensors.torch import save_file

    layers = get_peft_model_state_dict(pipe.transformer, adapter_name=ADAPTER)
    named = {f"transformer.{name}": value.detach().cpu().contiguous() for name, value in layers.items()}
    with new_file(path) as temporary:
        save_file(named, temporary, {"format": "pt"})
