"""What the adapter costs, and how far the memory estimate is off; on random weights, shaped like Wan, made on the spot.

    python benchmarks/open_models.py overhead [--rounds 15] [--json PATH]
    python benchmarks/open_models.py memory [--width 768] [--layers 8] [--side 128] [--frames 17] [--json PATH]

`overhead` calls the same pipeline directly and through `muybridge`, in turns, and compares processor time of the whole
process, best of all rounds. `memory` makes a folder, asks what `muybridge models check` asks, then opens it in a
process of its own, makes the clip and takes that process's peak resident memory, less what it was before the pipeline
was opened.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

CHILD = """
import resource, sys
import torch, diffusers, transformers
import muybridge
from muybridge.backends.opening import quietly
with quietly():
    for name in ("WanPipeline", "AutoencoderKLWan", "WanTransformer3DModel", "UniPCMultistepScheduler"):
        getattr(diffusers, name)
    transformers.UMT5EncoderModel, transformers.T5Tokenizer
before = [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")][0] * 1024
folder, frames, side = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
model = muybridge.load(folder, "cpu")
model.generate(
    muybridge.Condition("a cat", frames=frames, height=side, width=side, fps=16), 0, muybridge.Settings(1, "own", 5.0)
)
peak = [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")][0] * 1024
print(peak - before)
"""


def overhead(rounds: int) -> dict[str, float]:
    """Milliseconds of processor time a clip: directly, and through the adapter."""
    import tiny_pipelines
    import torch

    from muybridge.backends.opening import quietly
    from muybridge.backends.pipelines import Pipeline
    from muybridge.sampler.sample import Settings
    from muybridge.types import Condition

    with quietly():
        pipe = tiny_pipelines.wan()
    pipe.set_progress_bar_config(disable=True)
    model, condition = Pipeline(pipe, "wan"), Condition("a cat", frames=9, height=32, width=32, fps=16)

    def directly() -> object:
        generator = torch.Generator().manual_seed(0)
        return pipe(
            prompt="a cat", num_frames=9, height=32, width=32, num_inference_steps=20, guidance_scale=5.0,
            generator=generator, output_type="np",
        )  # fmt: skip

    def adapted() -> object:
        return list(model.sample(condition, [0], Settings(20, "own", 5.0, preview_every=0)))

    best = {name: float("inf") for name in ("directly", "adapted")}
    contenders: dict[str, Callable[[], object]] = {"directly": directly, "adapted": adapted}
    for _ in range(rounds):
        for name, work in contenders.items():
            began = time.process_time()
            work()
            best[name] = min(best[name], (time.process_time() - began) * 1000)
    return best | {"overhead": best["adapted"] - best["directly"]}


def memory(width: int, layers: int, side: int, frames: int) -> dict[str, float]:
    """Mebibytes: estimated, measured, and by how much the estimate is off."""
    import tiny_pipelines
    from diffusers import AutoencoderKLWan

    from muybridge.backends.memory import needs
    from muybridge.storage import pipelines

    transformer = tiny_pipelines.wan_transformer(
        num_attention_heads=width // 64, attention_head_dim=64, ffn_dim=4 * width, num_layers=layers, freq_dim=256
    )
    parts = tiny_pipelines.wan_parts(transformer)
    temporal = {"temperal_downsample": [False, True, True]}
    parts["vae"] = AutoencoderKLWan(base_dim=24, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2, **temporal).eval()
    from diffusers import WanPipeline

    with tempfile.TemporaryDirectory() as folder:
        WanPipeline(**parts).save_pretrained(folder)
        found = pipelines.find(folder)
        assert found is not None
        wants = needs(found, frames, side, side)["float32"]
        words = [sys.executable, "-c", CHILD, folder, str(frames), str(side)]
        measured = int(subprocess.check_output(words, text=True, env={**os.environ, "MALLOC_TRIM_THRESHOLD_": "0"}))
    estimated = wants.resident
    return {
        "weights": sum(wants.parts.values()) / 2**20,
        "sampling": wants.sampling / 2**20,
        "decoding": wants.decoding / 2**20,
        "estimated": estimated / 2**20,
        "measured": measured / 2**20,
        "off": estimated / measured - 1,
    }


def main() -> None:
    """Measures, prints, and writes the figures if a file is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["overhead", "memory"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    sizes = (asked.width, asked.layers, asked.side, asked.frames)
    found: dict[str, Any] = overhead(asked.rounds) if asked.what == "overhead" else memory(*sizes)
    for name, value in found.items():
        print(f"{name:12} {value:10.2f}")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
