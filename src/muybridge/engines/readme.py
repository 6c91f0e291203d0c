"""What an exported folder says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PAGE = """# {name} as {target}, weights in {precision}

The parts of the Muybridge model {name} ({model_hash}), to run without PyTorch. Everything is float32 except `ids`,
which are int64. Axes with a name may have any length; height, width and frames are those of the latent (pixels /
{spatial_stride}; 1 + 4k pixel frames are 1 + k latent frames), height and width multiples of {patch}.

| file | in | out |
|---|---|---|
{rows}

Relative errors against the original, largest of each part's outputs: {errors}.

## From a sentence to frames

1. `vocabulary.json` is a tokenizer of the `tokenizers` library: words -> `ids`. An empty prompt is one id, 0.
2. `text` turns the ids of the prompt, and those of the negative prompt, into tokens.
3. Levels go from 1 (noise) to 0 (data): t_i = u / (u + (1 - u) / shift), u = 1 - i / steps. Steps, shift, guidance
   and solver that suit the model stand in `config.json`, under `sampling`.
4. Start from unit noise x. At each level, `level` being t in every frame, `transformer` tells the velocity v (noise -
   data) with the prompt and with the negative one; v = v_neg + guidance * (v_pos - v_neg). Then x += h * v, where
   h = t_next - t. Multistep, from the second step on: x += h * (v + (v - v_before) * h / (2 * h_before)). Jump (models
   with the input `span`): no guidance, span = -h.
5. `decoder` turns x into pixels in [-1, 1]. Where a clip begins every `before.*` is zeros, and of the first latent
   frame's four pixel frames the last alone is shown. Chunks: give the `after.*` of one as `before.*` of the next.

A still as first frame: repeat it four times, run `encoder` with zeros for `before.*`; what comes out is the first frame
of x from the start on, at level 0 all the way, and does not move.
"""

STREAM = """
## Frames without an end

1. `read` turns the tokens of the prompt into `words.*`, once; their mean is `gist`.
2. `advance` makes one latent frame at a time: a frame of noise x, the levels as above, x += h * v. The past has
   {window} places; `held` is 1 for those that hold a frame, and where a stream begins all of it is zeros. `anchor`
   (models that have it) is the last frame that was remembered, and `known` is 1, 0 if there is none.
3. Then once more with the finished frame at level {context_noise}, span 0, itself as `anchor` and `known` 1: `own.*`
   goes into the next place of `past.*`. When all are taken, the oldest frame but the first {sink} goes, and later ones
   move up.
4. `decoder` turns each latent frame into pixels, four frames of them, one for the first.
"""


def readme(config: Mapping[str, Any]) -> str:
    """What the folder says of itself."""
    rows = "\n".join(
        f"| `{part['file']}` | {_shapes(part['inputs'])} | {_shapes(part['outputs'])} |"
        for part in config["parts"].values()
    )
    errors = ", ".join(f"{name} {found['relative']:.1e}" for name, found in config["differences"].items())
    page = PAGE + STREAM if config["causal"] else PAGE
    return page.format(rows=rows, errors=errors, context_noise=config["sampling"]["context_noise"], **config)


def _shapes(named: Mapping[str, list[int | str]]) -> str:
    return "<br>".join(f"{name} ({', '.join(map(str, axes))})" for name, axes in named.items())
