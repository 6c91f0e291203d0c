"""The sampler, with a 'model' that is right by construction: the exact velocity field of Gaussian clips.

A clip is four frames that follow each other as a random walk does, about a mean that the text names. Because the
covariance over frames is known, so is the distribution of the frames to be made given those that are known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from muybridge.sampler import Denoiser, Settings, sample
from muybridge.types import Condition, Event, Latent, Progress, Sampled, Streams

FRAMES, CHANNELS, SIDE = 4, 2, 4
COVARIANCE = 0.25 * torch.tensor([[0.8 ** abs(i - j) for j in range(FRAMES)] for i in range(FRAMES)])
SHAPE = (FRAMES, CHANNELS, SIDE, SIDE)


class GaussianClips:
    """E[noise - data | x] for data N(mean, COVARIANCE) over frames, each with a level of its own; mean = text[0, 0]."""

    def __init__(self) -> None:
        self.seen: list[tuple[Tensor, Streams]] = []

    def __call__(self, latent: Tensor, level: Tensor, streams: Streams) -> Tensor:
        self.seen.append((level, streams))
        mean = streams.text[:, 0, 0][:, None, None, None, None]
        signal, noise = torch.diag_embed(1 - level), torch.diag_embed(level)
        offset = latent - (1 - level)[..., None, None, None] * mean
        precision = torch.linalg.inv(signal @ COVARIANCE @ signal + noise @ noise)
        data = mean + torch.einsum("bij,bjchw->bichw", COVARIANCE @ signal @ precision, offset)
        return torch.einsum("bij,bjchw->bichw", noise @ precision, offset) - data


def streams(clips: int, mean: float = 0.0, known: int = 0) -> Streams:
    is_known = torch.zeros(clips, FRAMES, dtype=torch.bool)
    is_known[:, :known] = True
    given = torch.randn(clips, *SHAPE, generator=torch.Generator().manual_seed(99))
    return Streams(
        text=torch.full((clips, 1, 1), mean),
        text_mask=torch.ones(clips, 1, dtype=torch.bool),
        known=given.masked_fill(~is_known[..., None, None, None], torch.nan),
        is_known=is_known,
        fps=torch.full((clips,), 15.0),
    )


def finish(events: Iterator[Event]) -> Latent:
    *_, last = events
    assert isinstance(last, Sampled)
    return last.latent


def run(model: Denoiser, of: Streams, settings: Settings, negative: Streams | None = None) -> Tensor:
    return finish(sample(model, of, negative, settings, range(len(of.known)))).frames


@pytest.mark.parametrize("solver", ["euler", "heun", "multistep"])
def test_samples_have_the_mean_and_the_covariance_of_the_data(solver: str) -> None:
    clips = 200
    frames = run(GaussianClips(), streams(clips, mean=0.5), Settings(guidance=1, solver=solver))
    draws = frames.movedim(1, 0).flatten(1)
    standard_error = (0.25 / (clips * CHANNELS * SIDE * SIDE)) ** 0.5
    assert draws.mean(1).tolist() == pytest.approx([0.5] * FRAMES, abs=5 * standard_error + 0.01)
    torch.testing.assert_close(torch.cov(draws), COVARIANCE, atol=0.03, rtol=0)


def test_each_clip_is_the_exact_flow_of_its_noise() -> None:
    """The flow of Gaussian data is data = mean + sqrt(COVARIANCE) noise: the solver's steps are the only error."""
    frames = run(GaussianClips(), streams(3, mean=0.5), Settings(guidance=1, steps=1000))
    noise = torch.stack([torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)) for seed in range(3)])
    values, vectors = torch.linalg.eigh(COVARIANCE)
    root = vectors @ values.sqrt().diag() @ vectors.T
    torch.testing.assert_close(frames, 0.5 + torch.einsum("ij,bjchw->bichw", root, noise), atol=2e-5, rtol=0)


@pytest.mark.parametrize("known", [1, 3])
def test_frames_to_be_made_follow_from_the_known_ones(known: int) -> None:
    clips = 200
    of = streams(clips, mean=0.5, known=known)
    frames = run(GaussianClips(), of, Settings(guidance=1))
    assert torch.equal(frames[:, :known], of.known[:, :known])
    gain = COVARIANCE[known:, :known] @ torch.linalg.inv(COVARIANCE[:known, :known])
    expected = 0.5 + torch.einsum("ij,bjchw->bichw", gain, of.known[:, :known] - 0.5)
    rest = (frames[:, known:] - expected).movedim(1, 0).flatten(1)
    left = COVARIANCE[known:, known:] - gain @ COVARIANCE[:known, known:]
    assert rest.mean(1).tolist() == pytest.approx([0] * (FRAMES - known), abs=0.04)
    torch.testing.assert_close(torch.cov(rest).reshape(left.shape), left, atol=0.03, rtol=0)


def test_context_noise_is_shown_to_the_model_and_gone_from_the_clip() -> None:
    model, of = GaussianClips(), streams(2, known=2)
    clean = run(GaussianClips(), of, Settings(guidance=1, steps=8))
    noisy = run(model, of, Settings(guidance=1, steps=8, context_noise=0.2))
    for step, (level, _) in enumerate(model.seen):
        assert torch.equal(level[:, :2], torch.full((2, 2), 0.2))
        assert torch.equal(level[:, 2:], torch.full((2, 2), 1 - step / 8))
    assert torch.equal(noisy[:, :2], of.known[:, :2])
    assert not torch.allclose(noisy[:, 2:], clean[:, 2:], atol=1e-3)


def test_shift_is_that_of_the_grid() -> None:
    model = GaussianClips()
    run(model, streams(1), Settings(guidance=1, steps=4, shift=3))
    torch.testing.assert_close(torch.stack([level[0, 0] for level, _ in model.seen]), torch.tensor([1, 0.9, 0.75, 0.5]))


def test_known_frames_may_lie_anywhere() -> None:
    of = streams(2, known=FRAMES)
    of = replace(of, is_known=torch.tensor([[True, False, False, True], [True] * FRAMES]))
    frames = run(GaussianClips(), of, Settings(guidance=1, steps=8))
    assert torch.equal(frames[of.is_known], of.known[of.is_known])
    assert not torch.equal(frames[0, 1], of.known[0, 1])


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_guidance_pushes_the_mean_from_the_negative_past_the_prompt(scale: float) -> None:
    """The field is linear in the mean, so guidance by w samples exactly the mean neg + w (pos - neg)."""
    guided = run(GaussianClips(), streams(3, 0.5), Settings(guidance=scale), streams(3, -0.25))
    pushed = run(GaussianClips(), streams(3, -0.25 + scale * 0.75), Settings(guidance=1))
    torch.testing.assert_close(guided, pushed, atol=1e-4, rtol=1e-4)


def test_rescale_takes_back_the_contrast_that_guidance_adds() -> None:
    class Contrast(GaussianClips):
        """The text names the standard deviation of clips of one colour pattern instead."""

        def __call__(self, latent: Tensor, level: Tensor, streams: Streams) -> Tensor:
            data = streams.text[:, :1, :1, None, None] * torch.linspace(-1, 1, SIDE).expand(1, *SHAPE)
            return (latent - data) / level[..., None, None, None]

    plain = run(Contrast(), streams(1, 0.5), Settings(guidance=1))
    strong = run(Contrast(), streams(1, 0.5), Settings(guidance=4), streams(1, 0.25))
    tamed = run(Contrast(), streams(1, 0.5), Settings(guidance=4, guidance_rescale=1), streams(1, 0.25))
    torch.testing.assert_close(strong, plain * 2.5, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(tamed, plain, atol=1e-5, rtol=1e-5)


def test_negative_reads_its_own_text_and_the_known_frames_of_the_clip() -> None:
    model, of = GaussianClips(), streams(1, 0.5, known=1)
    unaware = streams(1, -0.5)
    frames = run(model, of, Settings(steps=2), unaware)
    assert torch.equal(frames[:, :1], of.known[:, :1])
    assert [seen.text.item() for _, seen in model.seen] == [0.5, -0.5, 0.5, -0.5]
    assert all(seen.is_known is of.is_known and seen.known is of.known for _, seen in model.seen)


@pytest.mark.parametrize(
    ("settings", "evaluations"),
    [
        (Settings(steps=10), 20),
        (Settings(steps=10, solver="euler"), 20),
        (Settings(steps=10, solver="heun"), 38),
        (Settings(steps=10, guidance=1), 10),
        (Settings(steps=10, guidance=1, solver="heun"), 19),
        (Settings(steps=10, guidance=1, solver="heun", context_noise=0.1), 19),
        (Settings(steps=10, guidance_interval=(0.15, 0.75)), 16),
        (Settings(steps=10, guidance_interval=(0.0, 0.55), context_noise=0.1), 15),
    ],
)
def test_evaluations_are_no_more_than_needed(settings: Settings, evaluations: int) -> None:
    model = GaussianClips()
    run(model, streams(1, known=1), settings, streams(1))
    assert len(model.seen) == evaluations


def test_events_count_the_steps_and_show_previews() -> None:
    of = streams(2, 0.5, known=1)
    settings = Settings(steps=12, preview_every=4, guidance=1)
    *steps, last = sample(GaussianClips(), of, None, settings, [1, 2])
    assert isinstance(last, Sampled)
    progress = [event for event in steps if isinstance(event, Progress)]
    assert [event.step for event in progress] == list(range(1, 13))
    assert {event.steps for event in progress} == {12}
    assert [event.seconds for event in progress] == sorted(event.seconds for event in progress)
    previews = {event.step: event.preview for event in progress if event.preview is not None}
    assert list(previews) == [4, 8]
    off = [(preview.frames - last.latent.frames).square().mean().item() for preview in previews.values()]
    assert off[1] < off[0]
    for latent in (*previews.values(), last.latent):
        assert torch.equal(latent.frames[:, :1], of.known[:, :1])
        assert latent.fps == 15


def test_no_previews_where_none_are_wanted() -> None:
    events = sample(GaussianClips(), streams(1), None, Settings(steps=4, guidance=1, preview_every=0), [0])
    assert all(event.preview is None for event in events if isinstance(event, Progress))


def test_to_stop_iterating_is_to_cancel() -> None:
    model = GaussianClips()
    events = sample(model, streams(1), streams(1), Settings(), [0])
    assert len(model.seen) == 0
    for event in events:
        if isinstance(event, Progress) and event.step == 3:
            break
    del events
    assert len(model.seen) == 6


def test_inference_mode_holds_inside_and_does_not_leak_between_the_steps() -> None:
    inside = []

    def watching(latent: Tensor, level: Tensor, streams: Streams) -> Tensor:
        inside.append(torch.is_inference_mode_enabled())
        return latent

    for _ in sample(watching, streams(1), None, Settings(steps=3, guidance=1), [0]):
        assert not torch.is_inference_mode_enabled()
    assert inside == [True] * 3


class Mixer(nn.Module):
    """A small network that mixes frames, pixels, level and text."""

    def __init__(self) -> None:
        super().__init__()
        width = CHANNELS * SIDE * SIDE
        self.read, self.write = nn.Linear(width + 2, 64), nn.Linear(64, width)
        self.attend = nn.MultiheadAttention(64, 4, batch_first=True)

    def forward(self, latent: Tensor, level: Tensor, streams: Streams) -> Tensor:
        text = streams.text[:, :1, 0].expand_as(level)
        tokens = self.read(torch.cat([latent.flatten(2), torch.stack([level, text], -1)], -1)).tanh()
        tokens = tokens + self.attend(tokens, tokens, tokens, need_weights=False)[0]
        velocity: Tensor = self.write(tokens).reshape(latent.shape)
        return velocity


def take(whole: Streams, clip: int) -> Streams:
    return Streams(**{name: value if value is None else value[clip : clip + 1] for name, value in vars(whole).items()})


def test_a_seed_gives_the_same_clip_whatever_the_batch() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Mixer().eval()
    whole, negative, seeds = streams(3, 0.5, known=1), streams(3, -0.5), [7, 2**64 - 1, 0]
    settings = Settings(steps=8, guidance_rescale=0.5, shift=2.0, context_noise=0.05)
    together = finish(sample(model, whole, negative, settings, seeds)).frames
    for clip, seed in enumerate(seeds):
        alone = finish(sample(model, take(whole, clip), take(negative, clip), settings, [seed])).frames
        torch.testing.assert_close(alone[0], together[clip], atol=1e-5, rtol=1e-5)
    again = finish(sample(model, whole, negative, settings, seeds)).frames
    assert torch.equal(again, together)
    other = finish(sample(model, whole, negative, settings, [8, 2**64 - 1, 0])).frames
    assert not torch.allclose(other[0], together[0])
    torch.testing.assert_close(other[1:], together[1:], atol=1e-5, rtol=1e-5)


def test_global_randomness_is_neither_read_nor_moved() -> None:
    before = torch.random.get_rng_state()
    run(GaussianClips(), streams(1), Settings(steps=2, guidance=1))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_model_in_half_precision_is_followed_and_guided_in_single() -> None:
    exact = GaussianClips()

    def half(latent: Tensor, level: Tensor, streams: Streams) -> Tensor:
        assert latent.dtype == torch.float32
        return exact(latent, level, streams).bfloat16()

    def single(latent: Tensor, level: Tensor, streams: Streams) -> Tensor:
        return half(latent, level, streams).float()

    frames, expected = (run(model, streams(2, 0.5), Settings(), streams(2)) for model in (half, single))
    assert frames.dtype == torch.float32
    assert torch.equal(frames, expected)


def test_a_clip_that_is_not_finite_is_named() -> None:
    def damaged(latent: Tensor, level: Tensor, streams: Streams) -> Tensor:
        velocity = latent.clone()
        velocity[1] = torch.nan
        return velocity

    with pytest.raises(ValueError, match=r"seeds \[12\] came out with values that are not finite"):
        list(sample(damaged, streams(2), None, Settings(steps=2, guidance=1), [11, 12]))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("solver", "midpoint"),
        ("guidance", -1.0),
        ("guidance", float("nan")),
        ("guidance_interval", (0.5, 0.2)),
        ("guidance_interval", (0.0, 1.5)),
        ("guidance_rescale", 1.5),
        ("shift", 0.0),
        ("context_noise", 1.0),
        ("preview_every", -1),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{field} is .*take"):
        replace(Settings(), **{field: value})


def test_what_cannot_be_sampled_is_refused_at_once() -> None:
    model, settings = GaussianClips(), Settings(guidance=1)
    with pytest.raises(ValueError, match="seed -1 is out of range"):
        sample(model, streams(1), None, settings, [-1])
    with pytest.raises(ValueError, match="fps: sample those of one speed together"):
        sample(model, replace(streams(2), fps=torch.tensor([15.0, 24.0])), None, settings, [0, 1])
    with pytest.raises(ValueError, match="given frames hold values that are not finite"):
        sample(model, replace(streams(1), is_known=torch.ones(1, FRAMES, dtype=torch.bool)), None, settings, [0])
    with pytest.raises(AssertionError, match="1 clips, 2 seeds"):
        sample(model, streams(1), None, settings, [0, 1])
    with pytest.raises(AssertionError, match="without negative"):
        sample(model, streams(1), None, Settings(guidance=2), [0])
    assert not model.seen


def test_clips_that_are_given_frames_have_a_guidance_of_their_own() -> None:
    settings = Settings(guidance=3.0, given_guidance=1.0)
    words, image = Condition("a ball"), Condition("a ball", prefix=torch.zeros(1, 3, 128, 128))
    assert [settings.of(condition).guidance for condition in (words, image)] == [3.0, 1.0]
    assert [Settings(guidance=3.0).of(condition).guidance for condition in (words, image)] == [3.0, 3.0]
    assert settings.of(image).of(words) == settings.of(image), "what is settled stays"
    with pytest.raises(ValueError, match="given_guidance is -1"):
        Settings(given_guidance=-1)
