"""The sampler of the page, in Node.js, against the one that it mirrors."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch
from lab_node import in_node
from torch import Tensor

from muybridge.conditioning.vocabulary import Vocabulary
from muybridge.flow.schedules import time_grid
from muybridge.sampler.sample import Settings, sample
from muybridge.storage import checkpoint
from muybridge.types import Progress, Sampled, Streams

FRAMES, CHANNELS, SIDE = 3, 4, 4

SAMPLE = """
const { sample } = await page("sampler.js");
const { normals } = await page("noise.js");
const size = given.noise / given.frames;
const field = (towards) => async (x, levels, spans) => x.map((value, i) => {
  const f = Math.floor(i / size);
  return Math.sin(value) + towards * levels[f] + (spans ? spans[f] : 0) + value * levels[f] ** 2;
});
const steps = [];
const known = Float32Array.from(given.known);
const noise = normals(given.noise, given.seed);
for await (const step of sample(field(1), field(-0.5), noise, known, given.frames, given.settings)) {
  steps.push([...step.data]);
  steps.last = [...step.x];
}
return { data: steps, x: steps.last };
"""


def _denoiser(latent: Tensor, level: Tensor, streams: Streams, *, span: Tensor | None = None) -> Tensor:
    """A field that bends in x and in t, and goes another way for each text."""
    t = level[:, :, None, None, None]
    more = 0 if span is None else span[:, :, None, None, None]
    return latent.sin() + streams.text.mean() * t + more + latent * t**2


def _streams(text: float, known: Tensor, count: int) -> Streams:
    is_known = torch.arange(FRAMES)[None] < count
    return Streams(torch.full((1, 2, 3), text), None, known, is_known, torch.tensor([15.0]))


@pytest.mark.parametrize(
    "settings",
    [
        Settings(steps=5, solver="euler", guidance=1.0, shift=1.0, preview_every=1),
        Settings(steps=5, solver="heun", guidance=3.0, shift=2.0, preview_every=1),
        Settings(steps=7, solver="multistep", guidance=3.0, shift=4.0, preview_every=1),
        Settings(steps=7, solver="multistep", guidance=2.5, guidance_interval=(0.2, 0.8), preview_every=1),
        Settings(steps=6, solver="multistep", guidance=4.0, guidance_rescale=0.7, shift=3.0, preview_every=1),
        Settings(steps=6, solver="heun", guidance=2.0, context_noise=0.1, preview_every=1),
        Settings(steps=4, solver="jump", guidance=1.0, shift=4.0, preview_every=1),
    ],
    ids=lambda s: f"{s.solver}-{s.guidance}-{s.guidance_rescale}-{s.context_noise}",
)
@pytest.mark.parametrize("held", [0, 1])
def test_every_step_is_that_of_python(settings: Settings, held: int) -> None:
    known = torch.randn(1, FRAMES, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    events = list(sample(_denoiser, _streams(1.0, known, held), _streams(-0.5, known, held), settings, [7]))
    given = {
        "noise": known.numel(),
        "frames": FRAMES,
        "seed": 7,
        "known": known[0, :held].flatten().tolist(),
        "settings": asdict(settings),
    }
    found = in_node(SAMPLE, given)
    last = events[-1]
    assert isinstance(last, Sampled)
    torch.testing.assert_close(torch.tensor(found["x"]), last.latent.frames.flatten(), atol=1e-5, rtol=1e-5)
    previews = [event.preview for event in events if isinstance(event, Progress) and event.preview is not None]
    for wanted, data in zip(previews, found["data"], strict=False):
        torch.testing.assert_close(torch.tensor(data), wanted.frames.flatten(), atol=1e-5, rtol=1e-5)
    assert len(previews) == settings.steps - 1


@pytest.mark.parametrize(("steps", "shift"), [(1, 1.0), (32, 4.0), (50, 0.5)])
def test_the_grid_is_that_of_python(steps: int, shift: float) -> None:
    code = "return [...(await page('sampler.js')).timeGrid(given.steps, given.shift)];"
    found = in_node(code, {"steps": steps, "shift": shift})
    assert found[0] == 1
    assert found[-1] == 0
    torch.testing.assert_close(torch.tensor(found, dtype=torch.float32), time_grid(steps, shift), atol=1e-7, rtol=0)


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1, 2**32 + 7, 2**53 - 1])
def test_a_seed_gives_the_noise_of_pytorch(seed: int) -> None:
    code = "return [...(await page('noise.js')).normals(given.count, given.seed)];"
    found = in_node(code, {"count": 4096, "seed": seed})
    wanted = torch.randn(4096, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(torch.tensor(found), wanted, atol=1e-5, rtol=1e-5)


PROMPTS = (
    "a small red ball rolls behind a tall blue box",
    "",
    "  A SMALL  réd ball; (mid-sized) - rolls… behind\ta locked-off camera-",
    "a purple elephant 🐘🐘 juggles cubs, boxs and cilinders",
    "ﬁve ½ ¿qué? naïve Ünïcode ball-ball -ball ball-",
    "ball " * 70,
)


def test_words_are_read_as_in_python() -> None:
    text = checkpoint.load("nano").files["vocabulary.json"]
    vocabulary = Vocabulary.from_json(text)
    code = """
    const { Vocabulary } = await page("text.js");
    const words = new Vocabulary(JSON.parse(given.vocabulary));
    return given.prompts.map((p) => [words.read(p), Object.fromEntries(words.unknown(p)), words.beyond(p)]);
    """
    found = in_node(code, {"vocabulary": text, "prompts": PROMPTS})
    wanted = [[vocabulary.ids(p) or [0], vocabulary.unknown(p), vocabulary.beyond(p)] for p in PROMPTS]
    assert found == wanted
