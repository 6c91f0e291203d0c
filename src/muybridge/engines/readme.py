"""What an exported folder says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from muybridge.conditioning.witness import SMALLEST
from muybridge.sampler.drafts import AT_ONCE, WILL_DO
from muybridge.sampler.tries import WILL_DO as ENOUGH

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
   data) with the prompt and with the negative one; v = v_neg + guidance * (v_pos - v_neg) where t is above the first
   number of `guidance_interval` and not above the second, else v_pos. Then x += h * v, where h = t_next - t: Euler.
   Multistep, from the second step on: x += h * (v + (v - v_before) * h / (2 * h_before)). Heun, but in the last step:
   the mean of v and of the velocity at x + h * v and t_next, in the place of v. Jump (models with the input `span`): no
   guidance, span = -h. If `guidance_rescale` is r > 0: with d = x - t * v and d_pos = x - t * v_pos, v less
   d * r * (std(d_pos) / std(d) - 1) / t, the deviations being those of each frame.
5. `decoder` turns x into pixels in [-1, 1]. Where a clip begins every `before.*` is zeros, and of the first latent
   frame's four pixel frames the last alone is shown. Chunks: give the `after.*` of one as `before.*` of the next.

A still as first frame: repeat it four times, run `encoder` with zeros for `before.*`; what comes out is known. It is
that frame of x from the start on, c of noise and 1 - c of it, c being `context_noise`: its level is c all the way, its
span 0, and it does not move. In the end it is what it was. `known` (models that have this input) is 1 for frames that
are known, else 0; of a clip from words alone it is 0 everywhere. Where `sampling` has a `given_guidance`, that is the
guidance of clips with known frames.
"""

DRAFTS = """
## Drafts

From words alone this model draws first frames until one shows what was asked, at most as many as `drafts` says,
{at_once} at a time; that one is then known, as a still is. A draft is a clip of one latent frame, made as above in
`draft_steps` steps. `witness` looks at the drafts and reads the prompt's tokens:

1. Asked for: of each object that the prompt may name, the largest of `colour` and the largest of `shape`. The last
   colour means that there is none. What is named twice counts once.
2. Seen: the colour of a place is the largest of `colours` there, the last being none. Places of one colour that touch
   by a side are an object, if there are {smallest} or more. Its shapes are as likely as the mean of softmax(`shapes`)
   over its places; its shape is the likeliest.
3. Mistakes: over all pairs of colour and shape, the sum of |objects seen - 1 if it is asked for, else 0|. To that comes
   0.99 * (1 - s), s being the mean over what is asked for of how likely the likeliest object of that colour has that
   shape, 0 where there is none of that colour. Where nothing is asked for, nothing is wrong.

The draft with the fewest mistakes is taken, of equals the first; with fewer than {will_do} no more are drawn.

Where `tries` under `sampling` is not 1, the rest of the clip is drawn so often at most, each time from noise and with a
plan of its own, until there are fewer than {enough} mistakes in a frame, on average over the latent frames; the try
with the fewest is taken.
"""

STREAM = """
## Frames without an end

Without guidance. The first frame may be a draft; where a model foresees, the latent frames that follow are told the
`tracks` of a window's plan: of one that begins with the first frame, and when it is used up of one that begins with
the first frame and the last two, and so on.

1. `read` turns the tokens of the prompt into `words.*`, once; the tokens' mean is `gist`.
2. `advance` makes one latent frame at a time: a frame of noise x, the levels as above, x += h * v. The past has
   {window} places; `held` is 1 for those that hold a frame, and where a stream begins all of it is zeros. `anchor`
   (models that have it) is the last frame that was remembered, and `known` is 1, 0 if there is none.
3. Then once more with the finished frame at level {context_noise} (so much of it is its noise), span 0, itself as
   `anchor` and `known` 1: `own.*` goes into the next place of `past.*`. When all are taken, the oldest frame but the
   first {sink} goes, and later ones move up.
4. `decoder` turns each latent frame into pixels, four frames of them, one for the first.
"""

PLANS = """
## Plans

This model foresees where things go before it draws (`planner` in `config.json`). Tracks are `numbers` for each latent
frame and each of {things} things; zeros everywhere, as `tracks` of `transformer`, say that nobody knows.

1. `eye` looks at the known frames (`latent` is zeros, `known` 0 where there is none) of a window of {window} latent
   frames: `seen`, `whole`. It tells how large things are only in the size of `trained`: of clips of another size it
   looks at their pixels made as large as that, encoded again.
2. Start from unit noise x. Levels are those of the clip with `plan_steps` steps and a shift of {shift:g}, the same for
   all things. `planner` tells the tracks f that x stands for; x += (t_next - t) * (x - f) / t.
3. What comes out are the `tracks`, from the first frame on. The negative prompt is told zeros.

From words alone, where the prompt names anything (see Drafts), f is told at every step what is certain. Of a thing,
its numbers are its places, then one for each of {colour_count} colours, one for each of {shape_count} shapes (1 for its
own, else -1), and 1 if it is there, -1 if not. Thing i has colour i. If exactly one object of that colour is named, its
colour, its shape and that it is there; if none is, places 0 and all else -1. The last thing is a prop: unless the
prompt says {props}, it is not there either. Beyond the clip's last frame nothing is certain.

Where a thing shall go is certain, too: its places are four times x, y, width, height and distance, of four frames (of
the clip's first, four times the same). Of a thing that is led x and y are (share of the picture - `middle`) / `spread`,
and it is there, whether words name it or not. `colours` says which number a colour's word has.
"""


def readme(config: Mapping[str, Any]) -> str:
    """What the folder says of itself."""
    rows = "\n".join(
        f"| `{part['file']}` | {_shapes(part['inputs'])} | {_shapes(part['outputs'])} |"
        for part in config["parts"].values()
    )
    errors = ", ".join(f"{name} {found['relative']:.1e}" for name, found in config["differences"].items())
    page = PAGE + (DRAFTS if "witness" in config["parts"] else "") + (STREAM if config["causal"] else "")
    drafts = {"at_once": AT_ONCE, "smallest": SMALLEST, "will_do": WILL_DO, "enough": ENOUGH}
    page = page.format(rows=rows, errors=errors, context_noise=config["sampling"]["context_noise"], **drafts, **config)
    return page + (_of_plans(config["planner"]) if config["planner"] else "")


def _of_plans(planner: Mapping[str, Any]) -> str:
    colours, shapes = planner["kinds"]
    told = {**planner, "props": " or ".join(planner["props"]), "colour_count": colours, "shape_count": shapes}
    return PLANS.format(**told)


def _shapes(named: Mapping[str, list[int | str]]) -> str:
    return "<br>".join(f"{name} ({', '.join(map(str, axes))})" for name, axes in named.items())
