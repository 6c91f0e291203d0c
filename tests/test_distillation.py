"""Distillation: what the objectives are least for, with teachers and students whose flow is known in closed form."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import repeat
from typing import Any

import pytest
import torch
from tiny_models import TEXT, TRANSFORMER, text_encoder, transformer
from torch import Tensor, nn

from muybridge.distillation.lesson import Lesson, Teacher
from muybridge.distillation.matching import DistributionMatching, gap, rollout, sampled
from muybridge.distillation.stepwise import Imitation, ProgressiveDistillation, Shortcut, drawn_places, part
from muybridge.distillation.student import begun
from muybridge.flow.guidance import Guidance, guided_velocity
from muybridge.flow.maps import jump
from muybridge.flow.paths import data_from_velocity, interpolate
from muybridge.flow.schedules import time_grid
from muybridge.flow.solvers import euler
from muybridge.sampler import Settings, sample, stream
from muybridge.sampler.sample import _noise
from muybridge.training.objectives import LevelSettings
from muybridge.transformer.model import TransformerConfig, VideoTransformer
from muybridge.transformer.streaming import advance, read
from muybridge.types import Batch, Carry, Sampled, Streams

MEAN, STD, FRAMES = 0.7, 0.5, 3
PLAIN = LevelSettings(prefix=0.0, drop_text=0.0, per_frame=0.0)
MIXED = LevelSettings(prefix=0.6, drop_text=0.3, per_frame=0.5)


def batch(clips: int = 4, side: int = 4, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    shape = (clips, FRAMES, TRANSFORMER.channels, side, side)
    return Batch(
        latent=MEAN + STD * torch.randn(shape, generator=generator),
        text=torch.randint(1, TEXT.vocabulary, (clips, 6), generator=generator),
        fps=torch.full((clips,), 15.0),
        seed=torch.arange(clips) + 100 * seed,
    )


def parts(of: Batch, clips: list[int]) -> Batch:
    values = {f.name: getattr(of, f.name) for f in fields(of)}
    return Batch(**{name: None if value is None else value[clips] for name, value in values.items()})


def spread(t: Tensor) -> Tensor:
    return ((1 - t) ** 2 * STD**2 + t**2).sqrt()


class Gaussian(VideoTransformer):
    """The exact velocity of pixels of N(MEAN, STD^2), or with a span the exact mean velocity over it."""

    def __init__(self, spans: bool = False) -> None:
        super().__init__(TransformerConfig(channels=4, width=8, layers=0, heads=1, text_width=16, spans=spans))

    def forward(
        self, latent: Tensor, level: Tensor, streams: Streams, *rest: Any, span: Tensor | None = None
    ) -> Tensor:
        t = level[..., None, None, None]
        surprise = (latent - (1 - t) * MEAN) / spread(t) ** 2
        velocity = t * surprise - (MEAN + (1 - t) * STD**2 * surprise)
        if span is None:
            return velocity
        s = t - span[..., None, None, None]
        there = (1 - s) * MEAN + spread(s) / spread(t) * (latent - (1 - t) * MEAN)
        return torch.where(s == t, velocity, (there - latent) / torch.where(s == t, 1, s - t))


class TwoSteps(Gaussian):
    """What progressive distillation aims at: the mean velocity of two Euler steps of the Gaussian's exact one."""

    def __init__(self, steps: int, shift: float) -> None:
        super().__init__()
        self.grid = time_grid(2 * steps, shift)

    def forward(
        self, latent: Tensor, level: Tensor, streams: Streams, *rest: Any, span: Tensor | None = None
    ) -> Tensor:
        at = (level[:, 0, None] - self.grid).abs().argmin(dim=1)
        middle, after = (self.grid[at + i][:, None].expand_as(level) for i in (1, 2))
        first = super().forward(latent, level, streams)
        halfway = latent + (middle - level)[..., None, None, None] * first
        second = super().forward(halfway, middle, streams)
        share = ((middle - level) / (after - level))[..., None, None, None]
        return share * first + (1 - share) * second


class Pixelwise(VideoTransformer):
    """A small student of pixels that do not know of each other."""

    def __init__(self, spans: bool) -> None:
        super().__init__(TransformerConfig(channels=4, width=8, layers=0, heads=1, text_width=16, spans=spans))
        torch.manual_seed(0)
        self.read = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))

    def forward(
        self, latent: Tensor, level: Tensor, streams: Streams, *rest: Any, span: Tensor | None = None
    ) -> Tensor:
        told = torch.stack([level, torch.zeros_like(level) if span is None else span, level.square()], dim=-1)
        gain, offset = self.read(told)[..., None, None, None].unbind(dim=-4)
        return gain * latent + offset


def teacher(of: VideoTransformer, guidance: float = 1.0) -> Teacher:
    return Teacher(of, text_encoder(), Guidance(guidance))


def losses(objective: nn.Module, batches: int = 6) -> list[float]:
    with torch.no_grad():
        return [float(objective(batch(16, seed=seed))[0]) for seed in range(batches)]


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_student_that_is_its_teacher_imitates_it(guidance: float) -> None:
    model = transformer()
    taught = teacher(model, guidance)
    same = Imitation(begun(model, spans=True, causal=False), taught, MIXED)
    if guidance == 1:
        assert max(losses(same, 2)) < 1e-9
    else:
        assert min(losses(same, 2)) > 1e-3, "guidance is to be learnt"


def tracked_batch(clips: int = 4, seed: int = 0) -> Batch:
    place = torch.rand(clips, FRAMES, 4, 2, 5, generator=torch.Generator().manual_seed(seed))
    return replace(batch(clips, seed=seed), place=place, kind=torch.ones(clips, 2, 2, dtype=torch.int64))


def test_a_student_is_told_what_its_teacher_is_told() -> None:
    model, of = transformer(replace(TRANSFORMER, tracked=(3, 2))), tracked_batch()
    student, levels = begun(model, spans=True, causal=False), replace(MIXED, drop_tracks=0.0)
    loss, _ = Imitation(student, teacher(model), levels)(of)
    assert float(loss.detach()) < 1e-9
    told, untold = teacher(model).lesson(of, levels), teacher(model).lesson(of, replace(levels, drop_tracks=1.0))
    assert told.streams.told is not None
    assert untold.streams.told is not None
    assert not untold.streams.told.any(), "the share that is left out hears nothing"
    assert student.tracks_in is not None
    assert not any(parameter.requires_grad for parameter in student.tracks_in.parameters())


def test_the_teacher_is_guided_and_frozen() -> None:
    model, of = transformer(), batch()
    taught = teacher(model, 3.0)
    lesson = taught.lesson(of, MIXED)
    level = lesson.hold(torch.full((4, FRAMES), 0.6))
    x = interpolate(lesson.data, lesson.noise, level)
    want, unwanted = model(x, level, lesson.streams), model(x, level, lesson.negative)
    expected = guided_velocity(x, level, want, unwanted, Guidance(3.0))
    torch.testing.assert_close(taught.velocity(lesson, x, level)[~lesson.is_known], expected[~lesson.is_known])
    assert not [p for p in taught.parameters() if p.requires_grad]


@pytest.mark.parametrize("shift", [1.0, 4.0])
@pytest.mark.parametrize("steps", [1, 2, 8])
def test_progressive_distillation_is_least_for_two_steps_of_the_teacher_as_one(steps: int, shift: float) -> None:
    taught = teacher(Gaussian())
    assert max(losses(ProgressiveDistillation(TwoSteps(steps, shift), taught, steps, shift, PLAIN))) < 1e-9
    assert max(losses(ProgressiveDistillation(Gaussian(), taught, steps, shift, PLAIN))) > 1e-3


def test_halving_down_to_one_step_is_the_first_teacher_s_walk() -> None:
    """Three rounds of students that are perfect: one step of the last is the eight Euler steps of the first."""
    taught, grid = Gaussian(), time_grid(8)
    x = torch.randn(64, 1, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    nothing = torch.zeros(64, 1)
    streams = Streams(torch.zeros(64, 1, 16), None, x, nothing.bool(), nothing[:, 0] + 15)
    *_, walked = jump(lambda x, level, after: taught(x, level, streams), x, grid[:, None, None].expand(9, 64, 1))

    def student(steps: int, x: Tensor, level: Tensor) -> Tensor:
        if steps == 8:
            return taught(x, level, streams)
        fine = time_grid(2 * steps)
        at = int((fine - level[0, 0]).abs().argmin())
        half = x + (fine[at + 1] - fine[at]) * student(2 * steps, x, fine[at].expand(64, 1))
        whole = half + (fine[at + 2] - fine[at + 1]) * student(2 * steps, half, fine[at + 1].expand(64, 1))
        return (whole - x) / (fine[at + 2] - fine[at])

    torch.testing.assert_close(x - student(1, x, torch.ones(64, 1)), walked.x, rtol=0, atol=1e-5)


def test_the_exact_flow_map_has_no_inconsistency_and_all_but_no_error() -> None:
    objective = Shortcut(Gaussian(spans=True), teacher(Gaussian()), 64, 2.0, MIXED)
    with torch.no_grad():
        metrics = [objective(batch(16, seed=seed))[1] for seed in range(6)]
    assert max(float(each["consistent"]) for each in metrics if "consistent" in each) < 1e-8
    assert max(float(each["taught"]) for each in metrics if "taught" in each) < 1e-3  # of Euler's steps, h^2
    coarse = Shortcut(Gaussian(spans=True), teacher(Gaussian()), 8, 2.0, MIXED)
    with torch.no_grad():
        assert float(coarse(batch(16))[1]["taught"]) > 3 * float(metrics[0]["taught"])


def learnt(objective: nn.Module, student: nn.Module, steps: int) -> None:
    optimizer = torch.optim.Adam(student.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, steps)
    for step in range(steps):
        loss, _ = objective(batch(12, side=2, seed=step + 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def streams(x: Tensor) -> Streams:
    nothing = torch.zeros(x.shape[:2])
    return Streams(torch.zeros(len(x), 1, 16), None, x, nothing.bool(), nothing[:, 0] + 15)


@pytest.fixture(scope="module")
def shortcut() -> Pixelwise:
    student = Pixelwise(spans=True)
    learnt(Shortcut(student, teacher(Gaussian()), 16, 1.0, replace(PLAIN, per_frame=1.0)), student, 250)
    return student.requires_grad_(False)


def walked(student: nn.Module, steps: int) -> tuple[Tensor, Tensor]:
    """Noise, and what the student makes of it in so many jumps."""
    x = torch.randn(200, FRAMES, 4, 2, 2, generator=torch.Generator().manual_seed(1))
    levels = time_grid(steps)[:, None, None].expand(-1, 200, FRAMES)
    *_, last = jump(lambda x, level, after: student(x, level, streams(x), span=level - after), x, levels)
    return x, last.x


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_a_student_of_shortcuts_samples_the_data_in_any_number_of_steps(shortcut: Pixelwise, steps: int) -> None:
    """They end where the teacher's finest walk does, which is nearly where the flow does: at MEAN + STD noise."""
    noise, made = walked(shortcut, steps)
    grid = time_grid(16)[:, None, None].expand(-1, 200, FRAMES)
    *_, taught = euler(lambda x, level: Gaussian()(x, level, streams(x)), noise, grid)
    assert (made - taught.x).square().mean().sqrt() < 0.05
    assert (made - (MEAN + STD * noise)).square().mean().sqrt() < 0.08
    assert made.mean() == pytest.approx(MEAN, abs=0.03)


def test_velocities_alone_do_not() -> None:
    """So the test above says something: one step of the teacher gives the mean of all clips."""
    noise, _ = walked(Gaussian(spans=True), 1)
    *_, last = jump(
        lambda x, level, after: Gaussian()(x, level, streams(x)),
        noise,
        time_grid(1)[:, None, None].expand(-1, 200, FRAMES),
    )
    assert last.x.std() < 0.1


@pytest.mark.parametrize("kind", ["imitation", "progressive", "taught", "consistent"])
def test_a_clip_s_share_is_the_same_in_any_batch(kind: str) -> None:
    taught = teacher(transformer(), 2.0)
    student = transformer(replace(TRANSFORMER, spans=True))
    objective: nn.Module = {
        "imitation": lambda: Imitation(student, taught, MIXED),
        "progressive": lambda: ProgressiveDistillation(student, taught, 4, 2.0, MIXED),
        "taught": lambda: Shortcut(student, taught, 8, 2.0, MIXED, anchor=1.0),
        "consistent": lambda: Shortcut(student, taught, 8, 2.0, MIXED, anchor=0.0),
    }[kind]()
    whole = batch(4)
    with torch.no_grad():
        together = float(objective(whole)[0])
        alone = [float(objective(parts(whole, [clip]))[0]) for clip in range(4)]
    assert together == pytest.approx(sum(alone) / 4, rel=1e-4)


@pytest.mark.parametrize(("anchor", "count"), [(0.0, 0), (0.25, 4), (0.5, 8), (1.0, 16)])
def test_as_many_clips_of_every_batch_learn_from_the_teacher(anchor: float, count: int) -> None:
    seen: list[int] = []

    class Counted(Gaussian):
        def forward(
            self, latent: Tensor, level: Tensor, streams: Streams, *rest: Any, span: Tensor | None = None
        ) -> Tensor:
            if span is None:
                seen.append(len(latent))
            return super().forward(latent, level, streams, span=span)

    losses(Shortcut(Pixelwise(spans=True), teacher(Counted()), 8, 1.0, PLAIN, anchor), 3)
    assert set(seen) == ({count} if count else set())


@pytest.mark.parametrize("kind", ["imitation", "progressive", "shortcut"])
def test_known_frames_are_held_and_not_learnt(kind: str) -> None:
    """What the student says of a known frame is nobody's business; what it is shown there is the frame."""

    class Careless(Gaussian):
        def forward(
            self, latent: Tensor, level: Tensor, streams: Streams, *rest: Any, span: Tensor | None = None
        ) -> Tensor:
            seen.append((latent, level, span, streams))
            return super().forward(latent, level, streams, span=span) + 100 * streams.is_known[..., None, None, None]

    seen: list[tuple[Tensor, Tensor, Tensor | None, Streams]] = []
    taught, given = teacher(Gaussian()), replace(PLAIN, prefix=1.0, context_noise=0.1)
    objective: nn.Module = {
        "imitation": lambda: Imitation(Careless(), taught, given),
        "progressive": lambda: ProgressiveDistillation(Careless(), taught, 4, 1.0, given),
        "shortcut": lambda: Shortcut(Careless(spans=True), taught, 64, 1.0, given),
    }[kind]()
    assert max(losses(objective, 2)) < 1
    for latent, level, span, of in seen:
        assert of.is_known[:, 0].all()
        assert not of.is_known.all(dim=1).any()
        assert level[of.is_known].max() <= 0.1
        assert span is None or span[of.is_known].abs().max() == 0
        near = (latent - of.known)[of.is_known].abs().mean()
        assert near < 0.15


def test_places_are_even_and_each_clip_s_own() -> None:
    lesson = teacher(Gaussian()).lesson(batch(400), PLAIN)
    shared, own = drawn_places(lesson, 4, 0.0), drawn_places(lesson, 4, 1.0)
    assert bool((shared == shared[:, :1]).all())
    assert not bool((own == own[:, :1]).all())
    for places in (shared[:, 0], own[:, 1]):
        counts = places.bincount(minlength=4)
        assert len(counts) == 4
        assert counts.min() > 60


def test_a_part_of_a_lesson_is_its_clips() -> None:
    lesson = teacher(transformer()).lesson(batch(4), MIXED)
    rows = torch.tensor([True, False, True, False])
    some = part(lesson, rows)
    assert torch.equal(some.data, lesson.data[[0, 2]])
    assert torch.equal(some.streams.text, lesson.streams.text[[0, 2]])
    assert some.seed.tolist() == lesson.seed[[0, 2]].tolist()


def test_which_students_cannot_be() -> None:
    taught = teacher(Gaussian())
    with pytest.raises(AssertionError, match="takes spans"):
        Shortcut(Gaussian(), taught, 8, 1.0, PLAIN)
    with pytest.raises(AssertionError, match="cannot be halved"):
        Shortcut(Gaussian(spans=True), taught, 6, 1.0, PLAIN)
    with pytest.raises(AssertionError, match="takes spans"):
        DistributionMatching(Gaussian(), Gaussian(), taught, 4, 1.0, PLAIN)


# Distribution matching


@pytest.fixture
def causal() -> VideoTransformer:
    return transformer(replace(TRANSFORMER, causal=True, spans=True))


def test_the_gap_closes_where_the_distributions_are_one() -> None:
    made, real = torch.randn(2, 3, FRAMES, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    assert gap(made, real, real).abs().max() == 0
    far = gap(made, real, made)
    torch.testing.assert_close(far.abs().mean(dim=(1, 2, 3, 4)), torch.ones(3))


def test_following_the_gap_leads_to_the_teacher_s_distribution() -> None:
    """A generator offset + scale noise, judged by the exact scores of the data and of what it makes."""
    offset, scale = torch.zeros(()), torch.ones(())
    generator = torch.Generator().manual_seed(0)

    def data(x: Tensor, t: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        return mean + (1 - t) * std**2 / ((1 - t) ** 2 * std**2 + t**2) * (x - (1 - t) * mean)

    for step in range(400):
        noise, again = torch.randn(2, 64, 1, 4, 2, 2, generator=generator)
        made, t = offset + scale * noise, torch.rand(64, 1, 1, 1, 1, generator=generator)
        x = (1 - t) * made + t * again
        real, fake = data(x, t, torch.tensor(MEAN), torch.tensor(STD)), data(x, t, offset, scale)
        away, rate = gap(made, real, fake), 0.05 * (1 - step / 400)
        offset, scale = offset - rate * away.mean(), scale - rate * (away * noise).mean()
    assert float(offset) == pytest.approx(MEAN, abs=0.05)
    assert float(scale) == pytest.approx(STD, abs=0.05)


@pytest.mark.parametrize("tracked", [False, True])
def test_a_rollout_is_what_streams(tracked: bool, causal: VideoTransformer) -> None:
    """The student is trained on what it will do: same noise, same steps, same frames, told the same."""
    if tracked:
        causal = transformer(replace(causal.config, tracked=(3, 2))).requires_grad_(False)
    taught = teacher(transformer(replace(TRANSFORMER, tracked=(3, 2) if tracked else None)))
    lesson = taught.lesson(tracked_batch(1, seed=3), replace(PLAIN, drop_tracks=0.0))
    told = lesson.streams.told
    assert (told is not None and bool(told.any())) == tracked
    with torch.no_grad():
        made = rollout(causal, lesson, time_grid(2, 2.0), leave=1)
        words = read(causal, lesson.streams.text)

    def denoise(latent: Tensor, level: Tensor, carry: Carry, **more: Any) -> tuple[Tensor, Carry]:
        return advance(causal, latent, level, words, lesson.streams.fps, carry, **more)

    tell = iter(repeat(None) if told is None else told.split(1, dim=1)).__next__
    running = stream(denoise, torch.zeros(1, 0, 4, 4, 4), Settings(2, "jump", 1.0, shift=2.0), 3, tell)
    noises = iter(lesson.noise.split(1, dim=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randn", lambda *shape, **more: next(noises))
        streamed = torch.cat([next(running) for _ in range(FRAMES)], dim=1)
    torch.testing.assert_close(streamed, made, rtol=0, atol=1e-4)


def test_leaving_early_jumps_to_data_from_there() -> None:
    """Of a student that knows the exact map every way ends at the same clip: see the flow's closed form."""
    lesson = teacher(Gaussian()).lesson(batch(2), PLAIN)
    for leave in range(4):
        made = sampled(Gaussian(spans=True), lesson, time_grid(4, 2.0), leave)
        torch.testing.assert_close(made, MEAN + STD * lesson.noise, rtol=0, atol=1e-5)


def test_what_is_judged_is_what_is_sampled() -> None:
    """A student that sees whole clips: same noise, same known frames, same steps, same clip."""
    student = transformer(replace(TRANSFORMER, spans=True))
    lesson = teacher(transformer()).lesson(batch(4, seed=3), replace(PLAIN, prefix=1.0))
    noise = _noise(lesson.streams, range(4))
    lesson = replace(lesson, noise=noise, held=torch.zeros_like(lesson.held))
    *_, last = sample(student, lesson.streams, None, Settings(3, "jump", 1.0, shift=2.0), range(4))
    assert isinstance(last, Sampled)
    with torch.no_grad():
        made = sampled(student, lesson, time_grid(3, 2.0), leave=2)
    torch.testing.assert_close(made, last.latent.frames, rtol=0, atol=1e-5)
    assert torch.equal(made[lesson.is_known], lesson.data[lesson.is_known])


def test_a_student_of_whole_clips_learns_from_its_last_jump() -> None:
    student = transformer(replace(TRANSFORMER, spans=True))
    objective = DistributionMatching(student, transformer(seed=5), teacher(transformer(), 2.0), 2, 1.0, MIXED)
    loss, metrics = objective(batch())
    loss.backward()
    assert {"loss", "critic", "gap"} <= metrics.keys()
    assert all(p.grad is not None for p in objective.parameters() if p.requires_grad)


def test_known_frames_of_a_rollout_are_those_given(causal: VideoTransformer) -> None:
    lesson = teacher(transformer()).lesson(batch(4), replace(PLAIN, prefix=1.0))
    with torch.no_grad():
        made = rollout(causal, lesson, time_grid(2), leave=0)
    assert torch.equal(made[lesson.is_known], lesson.data[lesson.is_known])
    assert not torch.equal(made[~lesson.is_known], lesson.data[~lesson.is_known])


def test_student_and_critic_learn_from_losses_of_their_own(causal: VideoTransformer) -> None:
    critic = transformer(seed=5)
    objective = DistributionMatching(causal, critic, teacher(transformer(), 2.0), 2, 1.0, MIXED, turns=2)
    torch.manual_seed(0)
    loss, metrics = objective(batch())
    loss.backward()
    assert {"loss", "critic", "gap"} <= metrics.keys()
    gradients = {name: p.grad for name, p in objective.named_parameters() if p.requires_grad}
    missing = [name for name, gradient in gradients.items() if gradient is None]
    assert not missing
    alone = {name: gradients[name].clone() for name in gradients if name.startswith("critic.")}  # type: ignore[union-attr]

    objective.zero_grad(set_to_none=True)
    torch.manual_seed(0)
    _, second = objective(batch())
    assert "gap" not in second, "every second step is the critic's"
    objective.turn.zero_()
    objective.zero_grad(set_to_none=True)
    torch.manual_seed(0)
    for parameter in causal.parameters():
        parameter.requires_grad_(False)
    objective(batch())[0].backward()
    for name, gradient in alone.items():
        torch.testing.assert_close(dict(objective.named_parameters())[name].grad, gradient)


def test_the_student_s_gradient_is_that_of_the_judged_clip(causal: VideoTransformer) -> None:
    """d loss / d made = gap / n: checked against a student of one weight, by hand."""
    taught, critic = teacher(transformer()), transformer(seed=5)
    objective = DistributionMatching(causal, critic, taught, 1, 1.0, PLAIN)
    lesson: Lesson = taught.lesson(batch(2), PLAIN)
    made = lesson.noise.clone().requires_grad_(True)
    objective._match(lesson, made, {}).backward()
    x, level, _ = objective._noisy(lesson, made.detach(), salt=6)
    real = data_from_velocity(x, taught.velocity(lesson, x, level), level)
    with torch.no_grad():
        fake = data_from_velocity(x, critic(x, level, lesson.streams), level)
    torch.testing.assert_close(made.grad, gap(made.detach(), real, fake) / made.numel(), rtol=1e-3, atol=1e-7)
