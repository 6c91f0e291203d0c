"""One training step (forward, backward, AdamW) of our transformer against diffusers' LTX and Wan, in one run.

    python benchmarks/train_step.py [--compile] [--match all] [--threads 2] [--rounds 20] [--json PATH]

All three have the width, the heads and, within 5 %, the number of parameters: of those that video tokens meet, or of
all. The same tokens, batch, precision (bf16 autocast) and optimiser (fused AdamW).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import torch.nn.functional as F
from einops import rearrange
from measuring import Spread, everything_drawn, fastest, machine, ratio, report, take_turns
from rich.table import Table
from torch import Tensor, nn

from muybridge.recipes.nano import NANO
from muybridge.transformer.model import TransformerConfig, VideoTransformer
from muybridge.types import Streams

NOTES = (
    "ours: text and video attend jointly, text has weights of its own in every layer and is transformed with the video;"
    " every frame has a noise level of its own",
    "LTX, Wan: video attends to itself, then to the text (cross-attention; the text stays as it is); one noise level a"
    " clip. Cross-attention costs parameters, so a layer of theirs is larger, and they have fewer",
    "video parameters: without those that only text meets (embedding of words, keys and values of cross-attention,"
    " our text stream)",
)
OURS_TEXT_ONLY = ("text_in", "text_attention", "text_feed")
THEIRS_TEXT_ONLY = ("caption_projection", "text_embedder", "attn2.to_k", "attn2.to_v", "attn2.norm_k")
TEXT_ONLY = (*OURS_TEXT_ONLY, *THEIRS_TEXT_ONLY)

LtxTransformer: Any = diffusers.LTXVideoTransformer3DModel
WanTransformer: Any = diffusers.WanTransformer3DModel


@dataclass(frozen=True)
class Task:
    """The shape of a step's batch, and how many layers of theirs make the parameters of ours."""

    config: TransformerConfig
    layers: int
    batch: int = 4
    frames: int = 9
    side: int = 8
    words: int = 12

    @property
    def latent(self) -> tuple[int, int, int, int, int]:
        side = self.side * self.config.patch
        return self.batch, self.frames, self.config.channels, side, side


FULL = {"video": Task(NANO.transformer, layers=7), "all": Task(NANO.transformer, layers=10)}
TINY = Task(TransformerConfig(channels=4, width=64, layers=2, heads=2, text_width=64), layers=2, frames=2, side=2)


class Ours(nn.Module):
    """The recipe's transformer, as it trains."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.transformer = VideoTransformer(task.config)
        everything_drawn(self)

    def forward(self, latent: Tensor, level: Tensor, text: Tensor) -> Tensor:
        batch, frames = latent.shape[:2]
        fps = latent.new_full((batch,), 15.0)
        is_known = torch.zeros(batch, frames, dtype=torch.bool, device=latent.device)
        streams = Streams(text, None, latent, is_known, fps)
        out: Tensor = self.transformer(latent, level[:, None].expand(-1, frames), streams)
        return out


class Ltx(nn.Module):
    """LTX takes tokens: the patches are cut outside of it."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        config, self.patch = task.config, task.config.patch
        places = config.channels * self.patch**2
        self.transformer = LtxTransformer(
            in_channels=places,
            out_channels=places,
            num_attention_heads=config.heads,
            attention_head_dim=config.width // config.heads,
            cross_attention_dim=config.width,
            num_layers=task.layers,
            caption_channels=config.text_width,
        )

    def forward(self, latent: Tensor, level: Tensor, text: Tensor) -> Tensor:
        _, t, _, rows, columns = latent.shape
        p = self.patch
        tokens = rearrange(latent, "b t c (h p) (w q) -> b (t h w) (c p q)", p=p, q=p)
        out: Tensor = self.transformer(
            tokens, text, 1000 * level, None, num_frames=t, height=rows // p, width=columns // p, return_dict=False
        )[0]
        return rearrange(out, "b (t h w) (c p q) -> b t c (h p) (w q)", t=t, h=rows // p, p=p, q=p)


class Wan(nn.Module):
    """Wan takes latents with channels first."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        config = task.config
        self.transformer = WanTransformer(
            patch_size=(1, config.patch, config.patch),
            num_attention_heads=config.heads,
            attention_head_dim=config.width // config.heads,
            in_channels=config.channels,
            out_channels=config.channels,
            text_dim=config.text_width,
            ffn_dim=4 * config.width,
            num_layers=task.layers,
        )

    def forward(self, latent: Tensor, level: Tensor, text: Tensor) -> Tensor:
        clip = rearrange(latent, "b t c h w -> b c t h w")
        out: Tensor = self.transformer(clip, 1000 * level, text, return_dict=False)[0]
        return rearrange(out, "b c t h w -> b t c h w")


NETWORKS: dict[str, type[Ours] | type[Ltx] | type[Wan]] = {"ours": Ours, "LTX": Ltx, "Wan": Wan}


def parameters(network: nn.Module, video_only: bool) -> int:
    """How many parameters, with or without those that only text meets."""
    named = network.named_parameters()
    return sum(p.numel() for name, p in named if not (video_only and any(part in name for part in TEXT_ONLY)))


def training_step(network: nn.Module, task: Task) -> Callable[[], None]:
    """A step on a batch that stays the same: how long it takes does not depend on its values."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    generator = torch.Generator().manual_seed(0)
    latent, target = (torch.randn(task.latent, generator=generator) for _ in range(2))
    level = torch.rand(task.batch, generator=generator)
    text = torch.randn(task.batch, task.words, task.config.text_width, generator=generator)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            predicted = network(latent, level, text)
        loss = F.mse_loss(predicted.float(), target)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--compile", action="store_true", help="also with torch.compile (minutes more)")
    parser.add_argument("--match", choices=FULL, default="video", help="which parameters are as many in all three")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--tiny", action="store_true", help="toy networks, to try the script")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    task = TINY if options.tiny else FULL[options.match]
    found: dict[str, object] = {"machine": machine(), "matched": options.match, "task": asdict(task)}

    contenders, counts = {}, {}
    modes = ("eager", "compiled") if options.compile else ("eager",)
    for mode in modes:
        for name, kind in NETWORKS.items():
            torch.manual_seed(0)
            network = kind(task).train()
            counts[name] = {"video": parameters(network, True), "all": parameters(network, False)}
            if mode == "compiled":
                network.compile()
            contenders[f"{name}, {mode}"] = training_step(network, task)
    seconds = take_turns(contenders, options.rounds, warm_up=3, patience=600)

    tokens = task.frames * task.side**2
    table = Table("network", "video parameters", "all", "ms a step (quartiles)", "clips/s", "times ours, same mode")
    for contender, values in seconds.items():
        name, mode = contender.split(", ")
        spread = Spread.of([1e3 * value for value in values])
        times = ratio(seconds, contender, f"ours, {mode}").text(2)
        count, rate = counts[name], 1e3 * task.batch / spread.median
        table.add_row(contender, f"{count['video']:,}", f"{count['all']:,}", spread.text(1), f"{rate:.1f}", times)
    ours, theirs = (
        fastest(seconds, [name for name in seconds if name.startswith("ours") == mine]) for mine in (True, False)
    )
    best = ratio(seconds, theirs, ours)
    found |= {"parameters": counts, "seconds": seconds, "fastest": [ours, theirs], "fastest_of_theirs_to_ours": best}
    summary = f"fastest of theirs ({theirs}) takes {best.text(2)} times as long as the fastest of ours ({ours})"
    head = f"batch {task.batch}, {tokens} video tokens and {task.words} words a clip, bf16 autocast, fused AdamW"
    report(table, (head, summary, *NOTES), found, options.json)


if __name__ == "__main__":
    main()
