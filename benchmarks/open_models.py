"""Open models: what the adapter costs, how far the memory estimate is off, what caches save and change.

    python benchmarks/open_models.py overhead [--rounds 15] [--json PATH]
    python benchmarks/open_models.py memory [--family wan …] [--width 768] [--layers 10] [--side 128] [--frames 9]
    python benchmarks/open_models.py caches [--family wan …] [--steps 30]

All on random weights, made on the spot, on a processor, in the shape of Wan, LTX-Video and CogVideoX.

`overhead` calls the same pipeline directly and through `muybridge`, in turns, and compares processor time of the whole
process, best of all rounds; `alone` is the adapter round a pipeline that does nothing in its 20 steps, which a busy
machine disturbs less. `memory` makes a folder, asks what `muybridge models check` asks, then opens it in a
process of its own, which has made a clip of the family's smallest model before, makes the clip, and takes how far that
process's resident memory rose. What is given back goes back to the system at once there; with --as-it-comes the
allocator of the system keeps it, as it does by default. `caches` makes a clip with and without each cache: ratio of
processor time, and mean difference of pixels in 8 bits. Random networks change more from step to step than trained
ones, so a cache that waits for small changes has less to save here.
"""

from __future__ import annotations

import argparse
import inspect
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
import sys
import muybridge

def resident(which):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(which))

def clip(folder, frames, side):
    wanted = muybridge.Condition("a cat", frames=frames, height=side, width=side, fps=16)
    muybridge.load(folder, "cpu").generate(wanted, 0, muybridge.Settings(1, "own", 5.0))

clip(sys.argv[1], 9, 32)
before = resident("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
clip(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
print(resident("VmHWM") - before)
"""


def _text_encoder(kind: str) -> Any:
    import tiny_pipelines
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        vocab_size=8192, d_model=512, d_kv=64, d_ff=2048, num_layers=8, num_heads=8, feed_forward_proj="gated-gelu"
    )
    return tiny_pipelines.seeded(lambda: getattr(transformers, f"{kind}EncoderModel")(config))


def wan(width: int, layers: int) -> Any:
    """Wan 2.1's shape, as wide and deep as asked for."""
    import tiny_pipelines as tiny
    from diffusers import AutoencoderKLWan, WanPipeline

    heads = {"num_attention_heads": width // 64, "attention_head_dim": 64, "ffn_dim": 4 * width}
    network = tiny.wan_transformer(**heads, num_layers=layers, freq_dim=256, text_dim=512, rope_max_seq_len=1024)
    temporal = {"temperal_downsample": [False, True, True]}
    vae = tiny.seeded(
        lambda: AutoencoderKLWan(base_dim=32, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2, **temporal)
    )
    return WanPipeline(**tiny.wan_parts(network, vae=vae, text_encoder=_text_encoder("UMT5")))


def ltx(width: int, layers: int) -> Any:
    """LTX-Video's shape."""
    import tiny_pipelines as tiny
    from diffusers import AutoencoderKLLTXVideo, LTXPipeline, LTXVideoTransformer3DModel

    network = tiny.seeded(
        lambda: LTXVideoTransformer3DModel(
            num_attention_heads=width // 64,
            attention_head_dim=64,
            cross_attention_dim=width,
            num_layers=layers,
            caption_channels=512,
        )
    )
    vae = tiny.seeded(lambda: AutoencoderKLLTXVideo(block_out_channels=(64, 128, 256, 256)))
    return LTXPipeline(
        scheduler=tiny.flow(),
        vae=vae,
        text_encoder=_text_encoder("T5"),
        tokenizer=tiny.t5_tokenizer(),
        transformer=network,
    )


def cogvideox(width: int, layers: int) -> Any:
    """CogVideoX's shape."""
    import diffusers
    import tiny_pipelines as tiny

    network = tiny.seeded(
        lambda: diffusers.CogVideoXTransformer3DModel(
            num_attention_heads=width // 64,
            attention_head_dim=64,
            num_layers=layers,
            text_embed_dim=512,
            time_embed_dim=256,
        )
    )
    vae = tiny.seeded(
        lambda: diffusers.AutoencoderKLCogVideoX(block_out_channels=(64, 128, 128, 256), layers_per_block=2)
    )
    return diffusers.CogVideoXPipeline(
        tokenizer=tiny.t5_tokenizer(),
        text_encoder=_text_encoder("T5"),
        vae=vae,
        transformer=network,
        scheduler=diffusers.CogVideoXDDIMScheduler(),
    )


FAMILIES: dict[str, Callable[[int, int], Any]] = {"wan": wan, "ltx": ltx, "cogvideox": cogvideox}


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
    pipe.__class__ = _idle(type(pipe))
    alone = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        adapted()
        alone = min(alone, (time.process_time() - began) * 1000)
    return best | {"overhead": best["adapted"] - best["directly"], "alone": alone}


def _idle(kind: Any) -> Any:
    """A pipeline that takes its steps and does nothing in them."""
    import numpy as np

    def call(self: Any, **arguments: Any) -> Any:
        steps = arguments["num_inference_steps"]
        bar = self.progress_bar(total=steps)
        for _ in range(steps):
            bar.update()
        return (np.zeros((1, arguments["num_frames"], arguments["height"], arguments["width"], 3)),)

    call.__signature__ = inspect.signature(kind.__call__)  # type: ignore[attr-defined]
    return type(kind.__name__, (kind,), {"__call__": call})


def memory(name: str, width: int, layers: int, side: int, frames: int, as_it_comes: bool) -> dict[str, float]:
    """Mebibytes: estimated, measured, and by how much the estimate is off."""
    import tiny_pipelines

    from muybridge.backends.memory import needs
    from muybridge.backends.opening import quietly
    from muybridge.backends.placement import Placement
    from muybridge.storage import pipelines

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if not as_it_comes:
        environment |= {"MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as smallest:
        with quietly():
            FAMILIES[name](width, layers).save_pretrained(folder)
            getattr(tiny_pipelines, name)().save_pretrained(smallest)
        found = pipelines.find(folder)
        assert found is not None
        wants = needs(found, frames, side, side)["float32"]
        words = [sys.executable, "-c", CHILD, smallest, folder, str(frames), str(side)]
        measured = int(subprocess.check_output(words, text=True, env=environment))
    estimated = wants.takes(Placement.TOGETHER)
    mebibytes = {
        "weights": wants.weights,
        "sampling": wants.sampling,
        "decoding": wants.decoding,
        "estimated": estimated,
        "measured": measured,
    }
    return {key: size / 2**20 for key, size in mebibytes.items()} | {"off": estimated / measured - 1}


def caches(name: str, steps: int) -> dict[str, float]:
    """For each cache: processor time of a clip against that without, and mean difference of its pixels in 8 bits."""
    from muybridge.backends.opening import quietly
    from muybridge.backends.pipelines import Pipeline
    from muybridge.backends.tuning import cache_settings
    from muybridge.sampler.sample import Settings
    from muybridge.types import Condition, Sampled

    with quietly():
        model = Pipeline(FAMILIES[name](256, 6), name)
    condition = Condition("a cat", frames=9, height=64, width=64, fps=16)

    def clip() -> tuple[Any, float]:
        began = time.process_time()
        *_, last = model.sample(condition, [0], Settings(steps, "own", 5.0, preview_every=0))
        assert isinstance(last, Sampled)
        return last.latent.frames, time.process_time() - began

    clip()
    exact, seconds = clip()
    found = {}
    for cache in ("first-block:0.05", "first-block", "taylorseer:2", "taylorseer"):
        model.pipe.transformer.enable_cache(cache_settings(cache))
        frames, taken = clip()
        model.pipe.transformer.disable_cache()
        found[f"{cache}, time"] = taken / seconds
        found[f"{cache}, pixels"] = float((frames - exact).abs().mean()) * 127.5
    return found


def main() -> None:
    """Measures, prints, and writes the figures if a file is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["overhead", "memory", "caches"])
    parser.add_argument("--family", nargs="*", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--frames", type=int, default=9)
    parser.add_argument("--as-it-comes", action="store_true")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    sizes = (asked.width, asked.layers, asked.side, asked.frames, asked.as_it_comes)
    found: dict[str, dict[str, float]] = {}
    for name in ["wan"] if asked.what == "overhead" else asked.family:
        if asked.what == "overhead":
            found[name] = overhead(asked.rounds)
        else:
            found[name] = memory(name, *sizes) if asked.what == "memory" else caches(name, asked.steps)
        print(name, "  ".join(f"{key} {value:.2f}" for key, value in found[name].items()), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
