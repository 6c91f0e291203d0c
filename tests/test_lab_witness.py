"""The page's judge of drafts, in Node.js, against the one that it mirrors."""

from __future__ import annotations

import pytest
import torch
from lab_node import in_node

from muybridge.conditioning.witness import Witness, WitnessConfig
from muybridge.sampler.tries import more_seeds

CONFIG = WitnessConfig(channels=4, text_width=6, colours=3, shapes=2, objects=3, width=8, blocks=1)

MISTAKES = """
const { mistakes } = await page("witness.js");
return given.map((said) => mistakes(said));
"""


def witness(seed: int) -> Witness:
    """Random, and so sure of what it sees that regions come out."""
    torch.manual_seed(seed)
    made = Witness(CONFIG).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    return made


@pytest.mark.parametrize("seed", range(4))
def test_mistakes_are_those_of_python(seed: int) -> None:
    judge = witness(seed)
    coarse = torch.randn(16, 4, 3, 4)
    pictures = torch.nn.functional.interpolate(coarse, scale_factor=2) + 0.1 * torch.randn(16, 4, 6, 8)
    text = torch.randn(16, 4, 6)
    text[0] = 0  # names what the biases name
    with torch.inference_mode():
        wanted = judge.mistakes(pictures, judge.asked(text))
        said = dict(
            zip(("colours", "shapes", "colour", "shape"), (*judge.look(pictures), *judge.read(text)), strict=True)
        )
    rows = [
        {name: {"data": value[i].flatten().tolist(), "dims": [1, *value.shape[1:]]} for name, value in said.items()}
        for i in range(16)
    ]
    found = torch.tensor(in_node(MISTAKES, rows))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    assert len(wanted.unique()) > 4, "pictures that are all alike test nothing"


@pytest.mark.parametrize("seed", [0, 7, 2**31, 2**32 + 5, 2**53 - 1])
def test_drafts_have_the_same_seeds(seed: int) -> None:
    code = 'const { draftSeeds } = await page("noise.js"); return draftSeeds(given.seed, given.count);'
    for count in (1, 2, 8):
        assert in_node(code, {"seed": seed, "count": count}) == more_seeds(seed, count)
