"""The video transformer: rotary positions, shapes, levels, masks, batches, compilation; with every weight drawn."""

from __future__ import annotations

from dataclasses import replace

import hypothesis
import pytest
import torch
from checked import unchecked
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import TRANSFORMER, transformer
from torch import Tensor

from muybridge.transformer.model import VideoTransformer, joint_mask, nearest_known, places, positions
from muybridge.transformer.rope import rotate, rotations
from muybridge.types import Streams

WORDS = 5


@pytest.fixture(scope="module")
def model() -> VideoTransformer:
    return transformer().requires_grad_(False)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def latent(t: int = 3, h: int = 4, w: int = 6, batch: int = 2) -> Tensor:
    return normal(batch, t, TRANSFORMER.channels, h, w)


def levels(t: int = 3, batch: int = 2) -> Tensor:
    return torch.rand(batch, t, generator=torch.Generator().manual_seed(1))


def streams(x: Tensor, mask: Tensor | None = None, fps: float = 15.0) -> Streams:
    text = normal(len(x), WORDS, TRANSFORMER.text_width, seed=2)
    known = torch.zeros(x.shape[:2], dtype=torch.bool)
    return Streams(text, mask, x, known, torch.full((len(x),), fps))


@hypothesis.settings(deadline=None, max_examples=30)
@given(
    here=st.tuples(*[st.integers(0, 40)] * 3),
    apart=st.tuples(*[st.integers(-40, 40)] * 3),
    moved=st.tuples(*[st.integers(0, 40)] * 3),
    width=st.sampled_from([8, 16, 64]),
)
def test_rotary_products_depend_on_differences_only(
    here: tuple[int, ...], apart: tuple[int, ...], moved: tuple[int, ...], width: int
) -> None:
    q, k = normal(2, 1, 1, 1, width).double()

    def product(at: Tensor) -> Tensor:
        ends = torch.stack([at, at + torch.tensor(apart)])[None].float()
        turn = rotations(ends, width)
        q_turn, k_turn = [tuple(part[:, :, i : i + 1] for part in turn) for i in range(2)]
        return (rotate(q, (q_turn[0], q_turn[1])) * rotate(k, (k_turn[0], k_turn[1]))).sum()

    torch.testing.assert_close(
        product(torch.tensor(here)), product(torch.tensor(here) + torch.tensor(moved)), rtol=0, atol=1e-4 * width
    )


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("width", [8, 64])
def test_rotary_positions_keep_lengths_and_tell_every_axis(axis: int, width: int) -> None:
    at = torch.zeros(1, 5, 3)
    at[0, :, axis] = torch.arange(5.0)
    x = normal(1, 1, 1, width).expand(1, 1, 5, width)
    turned = rotate(x, rotations(at, width))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(turned[:, :, 0], x[:, :, 0])
    distances = torch.cdist(turned[0, 0], turned[0, 0]) + torch.eye(5)
    assert distances.min() > 1e-2, "two positions of the axis turn alike"


def test_positions_step_with_the_clip_s_speed() -> None:
    slow, fast = positions(3, 2, 2, torch.tensor([15.0, 30.0]))
    assert slow[:, 0].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    torch.testing.assert_close(fast[:, 0] * 2, slow[:, 0])
    assert torch.equal(slow[:, 1:], fast[:, 1:])
    assert slow[:4, 1:].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_frames_stand_where_they_are_said_to() -> None:
    fps = torch.tensor([15.0, 30.0])
    assert torch.equal(positions(3, 2, 2, fps), positions(3, 2, 2, fps, torch.arange(3).expand(2, 3)))
    some = positions(2, 2, 2, fps, torch.tensor([[0, 2], [1, 2]]))
    whole = positions(3, 2, 2, fps)
    torch.testing.assert_close(some[0], torch.cat([whole[0, :4], whole[0, 8:]]))
    torch.testing.assert_close(some[1], whole[1, 4:])


def test_places_are_told_apart_and_do_not_depend_on_resolution() -> None:
    here = places(6, 10, torch.device("cpu"))
    assert (torch.cdist(here, here) + 9 * torch.eye(60)).min() > 0.1
    corner, finer = places(1, 1, torch.device("cpu")), places(3, 3, torch.device("cpu"))
    torch.testing.assert_close(corner[0], finer[4])  # both are the middle of the picture


@pytest.mark.parametrize(("t", "h", "w"), [(1, 2, 2), (1, 4, 10), (7, 6, 4), (2, 16, 2)])
def test_any_length_size_and_aspect_in_one_model(model: VideoTransformer, t: int, h: int, w: int) -> None:
    x = latent(t, h, w)
    out = model(x, levels(t), streams(x))
    assert out.shape == x.shape
    assert out.isfinite().all()
    assert out.std() > 0.1


def test_a_patch_s_places_come_back_where_they_were() -> None:
    """Only the way in and out: without blocks a token's numbers depend on its own patch."""
    model = transformer(replace(TRANSFORMER, layers=0)).requires_grad_(False)
    x, changed = latent(), latent()
    changed[:, 1, :, 2:4, 4:6] += 1
    differs = (model(x, levels(), streams(x)) != model(changed, levels(), streams(x))).any(dim=2)
    expected = torch.zeros_like(differs)
    expected[:, 1, 2:4, 4:6] = True
    assert torch.equal(differs, expected)


def test_a_batch_is_its_clips(model: VideoTransformer) -> None:
    x, given = latent(), streams(latent())
    given = replace(given, fps=torch.tensor([15.0, 24.0]))
    both = model(x, levels(), given)
    for i in range(2):
        one = slice(i, i + 1)
        alone = Streams(given.text[one], None, given.known[one], given.is_known[one], given.fps[one])
        torch.testing.assert_close(model(x[one], levels()[one], alone), both[one], rtol=1e-4, atol=1e-4)


def test_words_and_speed_and_level_of_each_frame_matter(model: VideoTransformer) -> None:
    x, given = latent(), streams(latent())
    usual = model(x, levels(), given)
    assert not torch.allclose(model(x, levels(), replace(given, text=-given.text)), usual, atol=1e-2)
    assert not torch.allclose(model(x, levels(), replace(given, fps=given.fps * 2)), usual, atol=1e-2)
    for frame in range(3):
        level = levels()
        level[:, frame] = 1 - level[:, frame]
        assert (model(x, level, given) - usual)[:, frame].abs().max() > 0.1


def test_a_level_belongs_to_its_frame() -> None:
    """Without blocks nothing is passed on: the level of a frame changes that frame only."""
    model = transformer(replace(TRANSFORMER, layers=0)).requires_grad_(False)
    x, level = latent(), levels()
    level[:, 1] = 1 - level[:, 1]
    differs = (model(x, level, streams(x)) - model(x, levels(), streams(x))).abs().amax(dim=(0, 2, 3, 4))
    assert differs[1] > 0.1
    assert differs[0] == differs[2] == 0


@pytest.mark.parametrize("changed", [1, 2])
def test_block_causal_frames_see_no_future(model: VideoTransformer, changed: int) -> None:
    x, later, level, later_level = latent(), latent(), levels(), levels()
    later[:, changed] = -later[:, changed]
    later_level[:, changed] = 1 - level[:, changed]
    given = streams(x)
    one, other = model(x, level, given, block_causal=True), model(later, later_level, given, block_causal=True)
    torch.testing.assert_close(one[:, :changed], other[:, :changed], rtol=0, atol=1e-5)
    assert (one[:, changed:] - other[:, changed:]).abs().amax(dim=(0, 2, 3, 4)).min() > 1e-2
    seen = model(x, level, given) - model(later, later_level, given)
    assert seen[:, 0].abs().max() > 1e-2, "without the mask the future is seen"


def test_block_causal_frames_see_their_past(model: VideoTransformer) -> None:
    x, changed = latent(), latent()
    changed[:, 0] = -changed[:, 0]
    one, other = [model(clip, levels(), streams(x), block_causal=True) for clip in (x, changed)]
    assert (one[:, 2] - other[:, 2]).abs().max() > 1e-2


def test_block_causal_clip_begins_like_a_shorter_one(model: VideoTransformer) -> None:
    x = latent()
    whole = model(x, levels(), streams(x), block_causal=True)
    short = model(x[:, :2], levels()[:, :2], streams(x[:, :2]), block_causal=True)
    torch.testing.assert_close(whole[:, :2], short, rtol=0, atol=1e-4)


@pytest.mark.parametrize("block_causal", [False, True])
def test_padding_has_no_effect(model: VideoTransformer, block_causal: bool) -> None:
    x, given = latent(), streams(latent())
    usual = model(x, levels(), given, block_causal)
    mask = torch.tensor([True] * WORDS + [False] * 3).expand(2, -1)
    for filling in (0.0, 1e3):
        text = torch.cat([given.text, torch.full((2, 3, TRANSFORMER.text_width), filling)], dim=1)
        padded = model(x, levels(), replace(given, text=text, text_mask=mask), block_causal)
        torch.testing.assert_close(padded, usual, rtol=1e-4, atol=1e-4)
    masked = replace(given, text_mask=torch.tensor([[True] * 3 + [False] * 2, [True] * WORDS]))
    fewer = model(x, levels(), masked, block_causal)
    assert not torch.allclose(fewer[0], usual[0], atol=1e-2)
    torch.testing.assert_close(fewer[1], usual[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("block_causal", [False, True])
def test_a_prompt_of_padding_alone_is_no_prompt(model: VideoTransformer, block_causal: bool) -> None:
    x, given = latent(), streams(latent())
    nothing = replace(given, text_mask=torch.zeros(2, WORDS, dtype=torch.bool))
    out = model(x, levels(), nothing, block_causal)
    assert out.isfinite().all()
    torch.testing.assert_close(out, model(x, levels(), replace(nothing, text=-given.text), block_causal))


def test_the_mask_in_full() -> None:
    device = torch.device("cpu")
    assert joint_mask(3, 2, 2, None, False, device) is None
    mask = joint_mask(2, 1, 2, torch.tensor([[True, False]]), True, device)
    assert mask is not None
    assert mask[0, 0].int().tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 1, 0], [1, 0, 1, 1]]


def test_a_new_model_predicts_nothing_and_gradient_reaches_every_weight_of_a_drawn_one() -> None:
    x = latent()
    torch.manual_seed(0)
    assert VideoTransformer(TRANSFORMER)(x, levels(), streams(x)).abs().max() == 0
    model = transformer()
    model(x, levels(), streams(x)).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_bf16_is_near_float32(model: VideoTransformer) -> None:
    x = latent()
    exact = model(x, levels(), streams(x))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(x, levels(), streams(x)).float()
    assert (rounded - exact).square().mean().sqrt() < 0.03 * exact.square().mean().sqrt()


@pytest.mark.parametrize("block_causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_the_graph_is_captured_whole(
    model: VideoTransformer, masked: bool, block_causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    unchecked(monkeypatch, "muybridge.transformer.model", "muybridge.transformer.blocks", "muybridge.transformer.rope")
    torch.compiler.reset()
    x = latent()
    given = streams(x, torch.tensor([[True] * WORDS, [True] + [False] * (WORDS - 1)]) if masked else None)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(
        compiled(x, levels(), given, block_causal), model(x, levels(), given, block_causal), rtol=0, atol=1e-6
    )


@pytest.mark.slow
def test_compiled_is_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    unchecked(monkeypatch, "muybridge.transformer.model", "muybridge.transformer.blocks", "muybridge.transformer.rope")
    torch.compiler.reset()
    x, model = latent(), transformer()
    compiled = torch.compile(model, fullgraph=True)
    gradients = []
    for network in (model, compiled):
        model.zero_grad()
        out = network(x, levels(), streams(x))
        out.square().mean().backward()
        gradients.append([out.detach(), *[p.grad.clone() for p in model.parameters() if p.grad is not None]])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


ANCHORED = replace(TRANSFORMER, anchored=True)


@pytest.mark.parametrize(
    ("known", "nearest"),
    [
        ("----", [None, None, None, None]),
        ("x---", [0, 0, 0, 0]),
        ("x--x", [0, 0, 3, 3]),
        ("-x--x", [1, 1, 1, 4, 4]),
        ("x-x", [0, 0, 2]),
    ],
)
def test_every_frame_is_anchored_to_the_nearest_known_one(known: str, nearest: list[int | None]) -> None:
    found = nearest_known(torch.tensor([[letter == "x" for letter in known]]))[0]
    assert [row.nonzero().flatten().tolist() for row in found] == [[] if at is None else [at] for at in nearest]


def test_an_anchor_begins_without_effect_and_is_none_where_nothing_is_known() -> None:
    plain, x = transformer(), latent()
    anchored = VideoTransformer(ANCHORED).eval()
    anchored.load_state_dict(plain.state_dict(), strict=False)
    first = replace(streams(x), is_known=torch.tensor([[True, False, False], [False, True, False]]))
    assert torch.equal(anchored(x, levels(), first), plain(x, levels(), first))
    drawn = transformer(ANCHORED)
    drawn_plain = VideoTransformer(TRANSFORMER).eval()
    drawn_plain.load_state_dict({k: v for k, v in drawn.state_dict().items() if not k.startswith("anchor_in")})
    assert torch.equal(drawn(x, levels(), streams(x)), drawn_plain(x, levels(), streams(x)))


def test_an_anchor_tells_every_frame_of_the_known_one() -> None:
    """Without attention's help: of a model with no layers, another first frame changes the velocity of the last."""
    model, x = transformer(replace(ANCHORED, layers=0)), latent()
    first = replace(streams(x), is_known=torch.tensor([[True, False, False]] * 2))
    other = x.clone()
    other[:, 0] += 1
    change = (model(other, levels(), first) - model(x, levels(), first)).abs().amax(dim=(2, 3, 4))
    assert change.min() > 1e-3
    assert torch.equal(model(other, levels(), streams(x))[:, 1:], model(x, levels(), streams(x))[:, 1:])


def test_what_stands_where_nothing_is_known_does_not_matter_to_the_anchor() -> None:
    model, x = transformer(ANCHORED), latent()
    first = replace(streams(x), is_known=torch.tensor([[True, False, False]] * 2))
    spoilt = replace(first, known=torch.full_like(x, torch.nan))
    assert torch.equal(model(x, levels(), spoilt), model(x, levels(), first))
