"""Streams: frames of a known process come out right, the whole journey's frames are the whole clip's, nothing grows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_checkpoint import build_causal_model, build_whole_model
from torch import Tensor

from muybridge.data.naming import COLOURS
from muybridge.flow.schedules import time_grid
from muybridge.generate import Model, Stream, load, to_uint8
from muybridge.sampler import Settings, stream
from muybridge.sampler.plan import Plans
from muybridge.sampler.sample import walk
from muybridge.sampler.windows import windows
from muybridge.types import Carry, Condition, Move, Sampled, Tracks

A, STD = 0.8, 0.5
CONDITION = Condition("a red ball rolls", height=32, width=48)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(build_causal_model(tmp_path_factory.mktemp("models") / "causal"))


class Autoregression:
    """The exact velocity of a stationary process: frame n is N(A frame n - 1, STD^2 (1 - A^2)), the first N(0, STD^2).

    It remembers the last frame as it was shown.
    """

    def __call__(
        self,
        latent: Tensor,
        level: Tensor,
        carry: Carry,
        *,
        span: Tensor | None = None,
        remember: bool = False,
        told: Tensor | None = None,
    ) -> tuple[Tensor, Carry]:
        mean = A * carry["last"] if carry else torch.zeros_like(latent)
        variance = STD**2 * (1 - A**2) if carry else STD**2
        t = level[..., None, None, None]
        surprise = (latent - (1 - t) * mean) / ((1 - t) ** 2 * variance + t**2)
        velocity = t * surprise - (mean + (1 - t) * variance * surprise)
        return velocity, {"last": latent.clone()} if remember else carry


def test_frames_follow_from_the_frame_before() -> None:
    nothing = torch.zeros(1, 0, 4, 16, 16)
    frames = torch.cat(list(islice(stream(Autoregression(), nothing, Settings(guidance=1), 0), 40)), dim=1)[0]
    assert frames.std(dim=(1, 2, 3)).mean() == pytest.approx(STD, rel=0.05)
    following = (frames[1:] * frames[:-1]).mean() / frames.square().mean()
    assert following == pytest.approx(A, abs=0.03)


def test_known_frames_come_first_and_are_followed() -> None:
    known = torch.full((1, 2, 4, 16, 16), 3.0)
    frames = torch.cat(list(islice(stream(Autoregression(), known, Settings(guidance=1), 0), 3)), dim=1)[0]
    assert torch.equal(frames[:2], known[0])
    assert frames[2].mean() == pytest.approx(3 * A, abs=0.05)


def test_the_same_seed_gives_the_same_stream_however_long() -> None:
    nothing = torch.zeros(1, 0, 2, 4, 4)
    settings = Settings(guidance=1, steps=2)
    long, short, other = (
        list(islice(stream(Autoregression(), nothing, settings, seed), count))
        for seed, count in ((5, 6), (5, 3), (6, 3))
    )
    assert all(torch.equal(a, b) for a, b in zip(long, short, strict=False))
    assert not torch.equal(long[0], other[0])


def test_guidance_is_refused_and_so_is_what_is_no_number() -> None:
    nothing = torch.zeros(1, 0, 2, 4, 4)
    with pytest.raises(ValueError, match="guidance is 4"):
        stream(Autoregression(), nothing, Settings(), 0)

    def broken(latent: Tensor, level: Tensor, carry: Carry, **more: object) -> tuple[Tensor, Carry]:
        return latent / 0, carry

    with pytest.raises(ValueError, match="frame 0 of seed 3"):
        next(stream(broken, nothing, Settings(guidance=1), 3))


def whole_clip(model: Model, settings: Settings, frames: int) -> Iterator[np.ndarray]:
    """The stream's frames without cache or carry: whole block-causal clips, decoded as a whole."""
    streams = model.encode([replace(CONDITION, frames=1 + 4 * (frames - 1))])
    x, level = torch.zeros_like(streams.known), torch.zeros(1, frames)
    generator = torch.Generator().manual_seed(7)
    grid = time_grid(settings.steps, settings.shift)[:, None, None]
    for number in range(frames):
        part = slice(number, number + 1)

        def velocity(frame: Tensor, here: Tensor, span: Tensor | None, part: slice = part) -> Tensor:
            x[:, part], level[:, part] = frame, here
            spans = torch.zeros_like(level)
            if span is not None:
                spans[:, part] = span
            seen = slice(0, part.stop)
            inputs = replace(streams, known=x[:, seen], is_known=streams.is_known[:, seen])
            return model.transformer(x[:, seen], level[:, seen], inputs, span=spans[:, seen])[:, part]

        noise = torch.randn(1, 1, *x.shape[2:], generator=generator)
        *_, last = walk(velocity, noise, grid, settings.solver)
        x[:, part], level[:, part] = last.x, 0
    return model.autoencoder.decode(x)[0][0]


@pytest.mark.parametrize("solver", ["euler", "jump"])
def test_streamed_is_whole(model: Model, solver: str) -> None:
    model.dtype = torch.float32
    settings = Settings(steps=2, guidance=1, solver=solver, shift=2)
    streamed = np.concatenate(list(islice(model.stream(CONDITION, 7, settings), 4)))
    assert streamed.shape == (13, 32, 48, 3)
    with torch.inference_mode():
        whole = to_uint8(whole_clip(model, settings, 4))
    assert np.abs(streamed.astype(int) - whole).max() <= 1  # a value between two whole numbers may go either way


def test_streamed_decode_is_whole_decode(model: Model) -> None:
    latent = torch.randn(1, 5, 4, 4, 6, generator=torch.Generator().manual_seed(0))
    whole, _ = model.autoencoder.decode(latent)
    carry, parts = None, []
    for frame in latent.split(1, dim=1):
        part, carry = model.autoencoder.decode(frame, carry)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=1e-4)


def test_the_prompt_may_change_while_it_runs(model: Model) -> None:
    one, other = model.stream(CONDITION, 1), model.stream(CONDITION, 1)
    assert np.array_equal(next(one), next(other))
    other.prompt = "a blue box"
    assert other.prompt == "a blue box"
    assert not np.array_equal(next(one), next(other))
    with pytest.raises(ValueError, match="holds what is no text"):
        other.prompt = "\0"
    assert other.prompt == "a blue box"


def test_settings_may_change_while_it_runs(model: Model, tiny_model: Path) -> None:
    """As the prompt may, whether frames are made one by one or window by window."""
    for one, other, alike in (
        (model.stream(CONDITION, 1), model.stream(CONDITION, 1), 1),
        (*(load(tiny_model).stream(CONDITION, 1) for _ in range(2)), 3),
    ):
        for _ in range(alike):
            assert np.array_equal(next(one), next(other))
        before = other.settings
        other.settings = replace(before, steps=5)
        assert not np.array_equal(next(one), next(other))
        with pytest.raises(ValueError, match="scheduler of its own"):
            other.settings = replace(before, solver="own")
        assert other.settings.steps == 5
    plain = load(tiny_model).stream(CONDITION, 1)
    plain.settings = replace(plain.settings, guidance=3)
    running = model.stream(CONDITION, 1)
    with pytest.raises(ValueError, match="a stream has it built in"):
        running.settings = replace(running.settings, guidance=3, solver="euler")


def test_pipelined_frames_are_those_made_in_turn(model: Model) -> None:
    in_turn = np.concatenate(list(islice(model.stream(CONDITION, 7), 5)))
    running = model.stream(CONDITION, 7, pipelined=True)
    assert np.array_equal(np.concatenate(list(islice(running, 5))), in_turn)
    before = threading.active_count()
    running.close()
    assert threading.active_count() == before - 1


def test_a_still_begins_the_stream(model: Model) -> None:
    still = torch.linspace(-1, 1, 48).expand(1, 3, 32, 48)
    begun = next(model.stream(replace(CONDITION, prefix=still), 1))
    kept = model.autoencoder.decode(model.autoencoder.encode(still[None])[0])[0]
    assert np.abs(begun.astype(int) - to_uint8(kept[0].clamp(-1, 1))).max() <= 2


def test_memory_is_flat(model: Model) -> None:
    running, sizes = model.stream(CONDITION, 1), []

    def denoise(latent: Tensor, level: Tensor, carry: Carry, **more: Any) -> tuple[Tensor, Carry]:
        velocity, after = running._denoise(latent, level, carry, **more)
        sizes.append(sum(tensor.numel() for tensor in after.values()))
        return velocity, after

    frames = list(islice(stream(denoise, torch.zeros(1, 0, 4, 4, 6), model.settings, 1), 20))
    evaluations, window = model.settings.steps + 1, model.transformer.config.window
    assert len(sizes) == 20 * evaluations
    assert len(set(sizes[window * evaluations - 1 :])) == 1
    assert all(frame.untyped_storage().nbytes() == frame.nbytes for frame in frames)
    carries = []
    for _ in range(6):
        next(running)
        carries.append(sum(tensor.numel() for tensor in (running._carry or {}).values()))
    assert len(set(carries)) == 1


def test_windows_go_on_from_the_first_frame_and_the_last_ones() -> None:
    """Of a window that counts on from what it is shown, nothing is lost, repeated or remembered for ever."""
    seen: list[tuple[list[float], int]] = []

    def count_on(shown: Tensor, seed: int) -> Tensor:
        seen.append((shown.flatten().tolist(), seed))
        more = shown[:, -1:] + torch.arange(1.0, 6 - shown.shape[1])[None, :, None, None, None]
        return torch.cat([shown, more], dim=1)

    def made(seed: int, count: int) -> list[float]:
        frames = list(islice(windows(count_on, torch.zeros(1, 1, 1, 1, 1), 2, seed), count))
        return torch.cat(frames, dim=1).flatten().tolist()

    assert made(3, 11) == [float(i) for i in range(11)]
    assert [shown for shown, _ in seen] == [[0], [0, 3, 4], [0, 5, 6], [0, 7, 8], [0, 9, 10]][: len(seen)]
    seeds = [seed for _, seed in seen]
    assert len(set(seeds)) == len(seeds)
    seen.clear()
    made(3, 5)
    assert [seed for _, seed in seen] == seeds[: len(seen)]


def test_a_model_that_looks_ahead_streams_in_windows(tiny_model: Path) -> None:
    """The first window is the clip that begins with the stream's first frame; the next one goes on from its end."""
    plain = load(tiny_model)
    frames = list(islice(plain.stream(CONDITION, 5), 5))
    assert [len(part) for part in frames] == [1, 4, 4, 4, 4]
    again = list(islice(plain.stream(CONDITION, 5), 5))
    assert all(np.array_equal(a, b) for a, b in zip(frames, again, strict=True))
    *_, still = plain.sample(replace(CONDITION, frames=1), [5], plain.settings)
    assert isinstance(still, Sampled)
    assert np.array_equal(frames[0], to_uint8(plain.decode(still.latent).frames[0]))
    assert plain.stream(CONDITION, 6).prompt == CONDITION.prompt


def test_the_prompt_of_windows_may_change_too(tiny_model: Path) -> None:
    one, other = (load(tiny_model).stream(CONDITION, 1) for _ in range(2))
    before = [(next(one), next(other)) for _ in range(3)]  # the tiny model's window: a frame and two times four
    assert all(np.array_equal(a, b) for a, b in before)
    other.prompt = "a blue box"
    assert not np.array_equal(next(one), next(other))
    with pytest.raises(ValueError, match="holds what is no text"):
        other.prompt = "\0"


@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_a_thing_takes_the_way_that_it_is_given_in_the_next_window(
    causal: bool, anew: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evenly, over the frames that are new there, whether or not the words change with it; then it is free again."""
    planned, window = list[Tracks](), Plans.window

    def noted(*given: Any) -> Tracks:
        planned.append(window(*given))
        return planned[-1]

    monkeypatch.setattr(Plans, "window", noted)
    running = load(build_whole_model(tmp_path / "whole", causal)).stream(CONDITION, 1)
    first = list(islice(running, 3))  # a frame, and the two times four of a window
    assert len(planned) == 1
    assert first
    running.moves = [Move("red ball", ((0.2, 0.25), (0.8, 0.25)))]
    if anew:
        running.prompt = "a red ball and a blue box"
    list(islice(running, 2))
    assert running.moves == ()
    red = [one.place[0, -1, :, 0, :2] for one in planned]
    assert COLOURS[0] == "red"
    torch.testing.assert_close(red[1], torch.tensor([[0.35, 0.25], [0.5, 0.25], [0.65, 0.25], [0.8, 0.25]]))
    assert not torch.allclose(red[0], red[1], atol=0.01)
    assert not torch.allclose(red[2], red[1], atol=0.01)


def test_frames_that_see_no_future_are_told_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each frame what the plan of its window has for it; a window lasts until it is over, or the words change."""
    planned, heard, window, denoise = list[Tracks](), list[Tensor](), Plans.window, Stream._denoise

    def noted(*given: Any) -> Tracks:
        planned.append(window(*given))
        return planned[-1]

    def hearing(self: Stream, *given: Any, told: Tensor, remember: bool = False, **more: Any) -> tuple[Tensor, Carry]:
        if remember:
            heard.append(told)
        return denoise(self, *given, told=told, remember=remember, **more)

    monkeypatch.setattr(Plans, "window", noted)
    monkeypatch.setattr(Stream, "_denoise", hearing)
    model = load(build_whole_model(tmp_path / "whole", causal=True), dtype=torch.float32)
    running = model.stream(CONDITION, 1)
    next(running), next(running)
    running.prompt = "a blue box"
    for _ in range(3):
        next(running)
    size = torch.zeros(1, 3, 4, 4, 6)
    plans = [model.transformer.tell(one, size) for one in planned]
    wanted = [plans[0][:, :1], plans[0][:, 1:2], *(one[:, 2:] for one in plans[1:])]
    assert len(plans) == 4
    torch.testing.assert_close(torch.cat(heard, dim=1), torch.cat(wanted, dim=1))
    assert not torch.allclose(heard[1], heard[2])
    running.settings = replace(running.settings, plan_steps=0)
    next(running)
    assert heard[-1] is None


@pytest.mark.parametrize("causal", [False, True])
def test_a_stream_begins_where_a_way_does(causal: bool, tmp_path: Path) -> None:
    model = build_whole_model(tmp_path / "whole", causal)
    way = (Move("red ball", ((0.2, 0.25), (0.8, 0.25))),)
    led, free = (load(model).stream(replace(CONDITION, moves=moves), 1) for moves in (way, ()))
    assert not np.array_equal(next(led), next(free))
    assert led.moves == (() if causal else way), "a causal model's first frame is told of its window's plan already"
    next(led)
    assert led.moves == ()


def test_ways_that_nothing_can_take(tmp_path: Path, tiny_model: Path) -> None:
    model = load(build_whole_model(tmp_path / "whole"))
    running = model.stream(CONDITION, 1)
    with pytest.raises(ValueError, match="cannot be moved: name a colour"):
        running.moves = [Move("a lamp", ((0.5, 0.5),))]
    running.settings = replace(running.settings, plan_steps=0)
    with pytest.raises(ValueError, match="nothing is planned here"):
        running.moves = [Move("red ball", ((0.5, 0.5),))]
    with pytest.raises(ValueError, match="does not take where a thing goes"):
        load(tiny_model).stream(CONDITION, 1).moves = [Move("red ball", ((0.5, 0.5),))]


def test_which_solvers_cannot_be(tiny_model: Path) -> None:
    plain = load(tiny_model)
    with pytest.raises(ValueError, match="cannot jump"):
        plain.stream(CONDITION, 1, Settings(guidance=1, solver="jump"))
    with pytest.raises(ValueError, match="cannot jump"):
        plain.generate(replace(CONDITION, frames=9), 1, Settings(guidance=1, solver="jump"))
    with pytest.raises(ValueError, match="guidance built in"):
        Settings(solver="jump")
