"""The witness: what it takes for an object, what it calls a mistake, and that it can learn both."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from muybridge.conditioning.witness import Seen, Witness, WitnessConfig, compared, regions

CONFIG = WitnessConfig(channels=4, text_width=8, colours=2, shapes=3, objects=2, width=16, blocks=1)
NOTHING = CONFIG.colours


class Seeing(Witness):
    """Sees what it is given: three channels score the colours, the last one says how the shapes are scored."""

    def look(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        return picture[:, :3], picture[:, 3:].repeat(1, 3, 1, 1) * torch.tensor([1.0, 0.0, -1.0])[:, None, None]


def picture(*rows: str, shape: float = 9.0) -> Tensor:
    """Colours as letters; `shape` above 0 is the first, below 0 the last."""
    colours = torch.tensor([["ab.".index(letter) for letter in row] for row in rows])
    scores = 50.0 * F.one_hot(colours, 3).movedim(-1, 0).float()
    return torch.cat([scores, torch.full((1, *colours.shape), shape)])[None]


def asked(*kinds: int) -> Tensor:
    return torch.tensor([[kind in kinds for kind in range(CONFIG.kinds)]])


def test_regions_are_of_one_colour_and_specks_are_none() -> None:
    colours = torch.tensor([[0, 0, 2, 0], [2, 2, 2, 0], [1, 2, 1, 2], [2, 1, 1, 2]])
    found = regions(colours, NOTHING)
    assert [(colour, int(places.sum())) for colour, places in found] == [(0, 2), (0, 2), (1, 3)]
    assert found[2][1].nonzero().tolist() == [[2, 2], [3, 1], [3, 2]]


def test_a_region_may_have_any_form() -> None:
    ring = torch.tensor([[0, 0, 0], [0, 2, 0], [0, 0, 0]])
    assert [int(places.sum()) for _, places in regions(ring, NOTHING)] == [8]
    assert regions(torch.full((3, 3), NOTHING), NOTHING) == []


def test_an_object_has_the_shape_that_its_places_make_likeliest_together() -> None:
    torn = picture("aaa.", "....")
    torn[0, 3, 0, :3] = torch.tensor([1.0, -9.0, -9.0])
    ((seen,),) = Seeing(CONFIG).objects(torn)
    assert seen.colour == 0
    assert int(seen.shapes.argmax()) == 2
    torch.testing.assert_close(seen.shapes.sum(), torch.tensor(1.0))


@pytest.mark.parametrize(
    ("rows", "wanted", "wrong"),
    [
        (("aa..", "....", "..bb"), (0, 3), 0),
        (("aa..", "....", "...."), (0, 3), 1),
        (("aa..", "....", "..aa"), (0,), 1),
        (("aa..", "..bb", "...."), (0,), 1),
        (("....", "..bb", "...."), (0,), 2),
        (("aa..", "....", "...."), (1,), 2),
        (("....", "....", "...."), (0, 1, 2), 3),
    ],
)
def test_mistakes_are_objects_that_lack_or_are_too_many(
    rows: tuple[str, ...], wanted: tuple[int, ...], wrong: int
) -> None:
    found = Seeing(CONFIG).mistakes(picture(*rows), asked(*wanted))
    assert wrong <= float(found) < wrong + 1


def test_where_nothing_is_asked_nothing_is_wrong() -> None:
    assert Seeing(CONFIG).mistakes(picture("aabb", "...."), asked()).tolist() == [0]


def test_of_pictures_with_as_many_mistakes_the_surer_is_better() -> None:
    both = torch.cat([picture("aa..", shape=1.0), picture("aa..", shape=9.0)])
    unsure, sure = Seeing(CONFIG).mistakes(both, asked(0).expand(2, -1)).tolist()
    assert sure < unsure < 1


def test_the_surest_of_several_objects_of_a_colour_counts() -> None:
    seen = [Seen(0, torch.tensor([0.6, 0.3, 0.1])), Seen(0, torch.tensor([0.1, 0.8, 0.1]))]
    wanted = torch.tensor([[True, True, False], [False] * 3])
    assert compared(seen, wanted) == pytest.approx(0.99 * 0.3)


def test_what_a_prompt_names_is_read_from_its_first_tokens() -> None:
    witness = Witness(CONFIG)
    for part in (witness.colour, witness.shape):
        torch.nn.init.zeros_(part.weight)
        torch.nn.init.zeros_(part.bias)
    with torch.no_grad():  # the tokens' numbers are the scores
        witness.colour.weight[:, :3] = torch.eye(3)
        witness.shape.weight[:, 3:6] = torch.eye(3)
    colour_1_shape_2, nothing = [0.0, 1, 0, 0, 0, 1, 0, 0], [0.0, 0, 1, 1, 0, 0, 0, 0]
    text = torch.tensor([[colour_1_shape_2, nothing, colour_1_shape_2], [nothing, nothing, nothing]])
    assert witness.asked(text).nonzero().tolist() == [[0, 5]]


def test_it_learns_what_stands_where() -> None:
    torch.manual_seed(0)
    witness, code = Witness(CONFIG), torch.randn(CONFIG.colours + CONFIG.shapes, CONFIG.channels)
    colour, shape = (torch.randint(3, (32, 2, 2)).repeat_interleave(4, 1).repeat_interleave(4, 2) for _ in range(2))
    there = colour != NOTHING
    shown = ((code[colour % 2] + code[2 + shape]) * there[..., None]).movedim(-1, 1)
    optimizer = torch.optim.Adam(witness.parameters(), lr=1e-2)
    for _ in range(80):
        colours, shapes = witness.look(shown)
        loss = F.cross_entropy(colours, colour) + (F.cross_entropy(shapes, shape, reduction="none") * there).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    colours, shapes = witness.look(shown)
    assert (colours.argmax(dim=1) == colour).float().mean() > 0.95
    assert (shapes.argmax(dim=1) == shape)[there].float().mean() > 0.95
