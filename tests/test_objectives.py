"""What is learnt: whose the random numbers are, what counts in a loss, how levels are drawn, what a sentence names."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mentions import mentioned
from tiny_models import TEXT, TRANSFORMER, autoencoder, drawn, text_encoder, transformer
from torch import Tensor, nn

from muybridge.conditioning.text import TextConfig, TextEncoder
from muybridge.conditioning.vocabulary import Vocabulary
from muybridge.conditioning.witness import Witness, WitnessConfig
from muybridge.data.crops import Crops, cache_pixels
from muybridge.data.material import Shape, Simulated, classes_of_places
from muybridge.data.naming import COLOURS, OBJECTS, SHAPES, SIZES, named
from muybridge.data.sentences import Sentences
from muybridge.flow.paths import expand_level
from muybridge.simulation import VOCABULARY, describe
from muybridge.training.objectives import (
    OF_OBJECTS,
    FlowMatching,
    LevelSettings,
    Reader,
    Reading,
    Recogniser,
    Reconstruction,
    Witnessing,
    charbonnier,
    psnr,
    seeded_normal,
    seeded_uniform,
    to_pixels,
)
from muybridge.transformer.model import TransformerConfig, VideoTransformer
from muybridge.types import Batch, Streams

CLASSES = (len(COLOURS), len(SHAPES), len(SIZES))
FRAMES = 5
KINDS = 3


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def parts(batch: Batch, clips: list[int]) -> Batch:
    """The batch of some clips of a batch."""
    values = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return Batch(**{name: None if value is None else value[clips] for name, value in values.items()})


def of_latents(clips: int = 4) -> Batch:
    return Batch(
        latent=torch.randn(clips, FRAMES, TRANSFORMER.channels, 4, 4, generator=draw()),
        text=torch.randint(1, TEXT.vocabulary, (clips, 6), generator=draw()),
        fps=torch.tensor([15.0, 24.0, 15.0, 30.0])[:clips],
        seed=torch.tensor([11, 22, 33, 2**62 + 5])[:clips],
    )


def of_pixels(clips: int = 3) -> Batch:
    moving = torch.zeros(clips, 5, 16, 16, dtype=torch.bool)
    moving[1, :, 4:12, 4:12] = True
    return Batch(
        video=torch.randint(0, 256, (clips, 5, 3, 16, 16), generator=draw(), dtype=torch.uint8),
        moving=moving,
        seed=torch.tensor([5, 6, 7])[:clips],
    )


def of_places() -> Batch:
    return replace(of_latents(), classes=torch.randint(0, KINDS + 1, (4, FRAMES, 4, 4), generator=draw(1)))


def of_glimpses() -> Batch:
    when = torch.tensor([[0, 1, 4], [0, 2, 3], [0, 1, 2], [0, 3, 4]])
    whole, each = of_places(), torch.arange(4)[:, None]
    assert whole.latent is not None
    assert whole.classes is not None
    return replace(whole, latent=whole.latent[each, when], classes=whole.classes[each, when], when=when)


def witnessing() -> Witnessing:
    config = WitnessConfig(TRANSFORMER.channels, TEXT.width, len(COLOURS), len(SHAPES), OBJECTS, width=8, blocks=1)
    module = drawn(Witness(config))
    assert isinstance(module, Witness)
    return Witnessing(module, text_encoder(), autoencoder())


def of_pictures() -> Batch:
    """Pictures with what stands where, and what their words name."""
    kinds = torch.randint(0, len(COLOURS) * len(SHAPES) + 1, (4, FRAMES, 4, 4), generator=draw(1))
    return replace(of_words(), classes=kinds)


def recogniser() -> Recogniser:
    module = drawn(Recogniser(TRANSFORMER, KINDS))
    assert isinstance(module, Recogniser)
    return module


def of_sentences() -> Batch:
    vocabulary = Vocabulary.of(VOCABULARY)
    return Sentences(8, vocabulary.ids).batch(0)


def flow(**changes: float) -> FlowMatching:
    return FlowMatching(transformer(), text_encoder(), LevelSettings(**changes))


def reading() -> Reading:
    torch.manual_seed(0)
    text = text_encoder(replace(TEXT, vocabulary=len(Vocabulary.of(VOCABULARY))))
    return Reading(text, reader(text.config))


def reader(config: TextConfig = TEXT) -> Reader:
    module = drawn(Reader(config, CLASSES, OBJECTS))
    assert isinstance(module, Reader)
    return module


def of_words() -> Batch:
    """Latents, and what their words name."""
    return replace(of_latents(), named=of_sentences().named[:4])  # type: ignore[index]


@pytest.mark.parametrize(
    ("objective", "batch"),
    [
        (flow(prefix=0.7, per_frame=0.5), of_latents()),
        (FlowMatching(transformer(), text_encoder(), LevelSettings(), recogniser()), of_places()),
        (FlowMatching(transformer(), text_encoder(), LevelSettings(), recogniser()), of_glimpses()),
        (FlowMatching(transformer(), text_encoder(), LevelSettings(drop_text=0.5), reader=reader()), of_words()),
        (witnessing(), of_pictures()),
        (Reconstruction(autoencoder()), of_pixels()),
        (reading(), of_sentences()),
    ],
    ids=[
        "FlowMatching",
        "FlowMatching and Recogniser",
        "FlowMatching of glimpses",
        "FlowMatching and Reader",
        "Witnessing",
        "Reconstruction",
        "Reading",
    ],
)
def test_a_clip_s_share_is_the_same_in_any_batch(objective: nn.Module, batch: Batch) -> None:
    """The loss of a batch is the mean of its clips' losses, whatever is known, moving or named in the others."""
    with torch.no_grad():
        whole, _ = objective(batch)
        alone = torch.stack([objective(parts(batch, [i]))[0] for i in range(len(batch))])
        turned, _ = objective(parts(batch, list(reversed(range(len(batch))))))
    assert alone.std() > 1e-3 * alone.mean(), "the clips are too alike to tell"
    torch.testing.assert_close(whole, alone.mean(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(whole, turned, rtol=1e-4, atol=1e-6)


def test_draws_belong_to_the_seed() -> None:
    for one in (seeded_normal, seeded_uniform):
        together = one(torch.tensor([1, 2, 1, 2**63 - 1]), (3, 4))
        assert torch.equal(together[0], together[2])
        assert torch.equal(together[1:2], one(torch.tensor([2]), (3, 4)))
        assert not torch.equal(together[0], together[1])
        assert not torch.equal(together, one(torch.tensor([1, 2, 1, 2**63 - 1]), (3, 4), salt=1))
    many = seeded_normal(torch.arange(500), (20,))
    assert abs(float(many.mean())) < 0.05
    assert abs(float(many.std()) - 1) < 0.05
    assert abs(float(torch.corrcoef(torch.stack([many[:-1].flatten(), many[1:].flatten()]))[0, 1])) < 0.05


def test_a_glimpse_of_every_frame_is_the_clip() -> None:
    batch, objective = of_places(), FlowMatching(transformer(), text_encoder(), LevelSettings(), recogniser())
    with torch.no_grad():
        whole, _ = objective(batch)
        all_frames, _ = objective(replace(batch, when=torch.arange(FRAMES).expand(len(batch), -1)))
    torch.testing.assert_close(whole, all_frames)


class Exact(VideoTransformer):
    """Knows the velocity: it is handed the data as `known`, and noise = (x - (1 - t) data) / t."""

    def __init__(self, wrong_where_known: bool) -> None:
        super().__init__(TransformerConfig(channels=4, width=8, layers=0, heads=1))
        self.wrong_where_known = wrong_where_known

    def forward(self, latent: Tensor, level: Tensor, streams: Streams, block_causal: bool = False) -> Tensor:
        velocity = (latent - streams.known) / expand_level(level, latent)
        if self.wrong_where_known:
            velocity = torch.where(expand_level(streams.is_known, latent), torch.full_like(latent, 1e3), velocity)
        return velocity


@pytest.mark.parametrize("wrong_where_known", [False, True])
def test_perfect_velocity_costs_nothing_and_known_frames_never_do(wrong_where_known: bool) -> None:
    objective = FlowMatching(Exact(wrong_where_known), text_encoder(), LevelSettings(prefix=1.0))
    loss, metrics = objective(of_latents())
    assert loss.item() < 1e-9
    assert torch.equal(metrics["loss"], loss)


def test_the_loss_of_a_new_transformer_is_the_size_of_the_velocity() -> None:
    """It predicts 0, so each unknown number costs (noise - data)^2, 2 in the mean."""
    torch.manual_seed(0)
    objective = FlowMatching(VideoTransformer(TRANSFORMER), text_encoder(), LevelSettings(prefix=0.0))
    assert abs(float(objective(of_latents())[1]["loss"]) - 2) < 0.2


def test_a_recogniser_that_is_sure_and_right_costs_nothing() -> None:
    """Features are one-hot in the class of each of a token's four places, which the head copies."""
    config = TransformerConfig(channels=4, width=16, layers=2, heads=1)
    classes = of_places().classes
    assert classes is not None
    module = Recogniser(config, KINDS).requires_grad_(False)
    with torch.no_grad():
        module.head.weight.copy_(20 * torch.eye(16))
        module.head.bias.zero_()
    onehot = torch.nn.functional.one_hot(classes, KINDS + 1)  # b t h w c -> b t (h w) (c p q), as tokens of frames are
    features = onehot.reshape(4, FRAMES, 2, 2, 2, 2, 4).permute(0, 1, 2, 4, 6, 3, 5).reshape(4, FRAMES, 4, 16).float()
    assert float(module(features, classes).max()) < 1e-6
    other = (classes + 1) % (KINDS + 1)
    wrong = module(features, other)
    assert float(wrong.min()) > 10
    torch.testing.assert_close(wrong[other > 0].mean(), OF_OBJECTS * wrong[other == 0].mean())


def test_recognition_adds_its_share_and_leaves_the_flow_as_it_is() -> None:
    objective = FlowMatching(transformer(), text_encoder(), LevelSettings(prefix=0.0), recogniser(), recognition=0.25)
    loss, metrics = objective(of_places())
    alone, _ = objective(of_latents())
    torch.testing.assert_close(metrics["flow"], alone)
    torch.testing.assert_close(loss, metrics["flow"] + 0.25 * metrics["recognition"])


def test_reading_adds_its_share_where_the_words_are_kept() -> None:
    batch, text, reads = of_words(), text_encoder(), reader()
    assert batch.text is not None
    assert batch.named is not None
    flow_alone, _ = FlowMatching(transformer(), text, LevelSettings(drop_text=0.0))(of_latents())
    loss, metrics = FlowMatching(transformer(), text, LevelSettings(drop_text=0.0), reader=reads)(batch)
    wrong, _ = reads(text(batch.text), batch.named)
    torch.testing.assert_close(metrics["flow"], flow_alone)
    torch.testing.assert_close(loss, flow_alone + wrong.mean())
    loss, metrics = FlowMatching(transformer(), text, LevelSettings(drop_text=1.0), reader=reads)(batch)
    torch.testing.assert_close(loss, metrics["flow"])


def test_a_place_shows_what_most_of_it_shows_and_small_things_count_threefold() -> None:
    pixels = np.zeros((5, 16, 16), np.uint8)
    pixels[0, :8, :8][:, :3] = 7  # 24 of 64 pixels
    pixels[0, 8:, :8][:, :1] = 7  # 8 of 64
    pixels[0, :8, 8:], pixels[0, 6:8, 8:] = 2, 9
    pixels[4] = 5
    assert classes_of_places(pixels, 4, 8).tolist() == [[[7, 2], [0, 0]], [[5, 5], [5, 5]]]
    seen = Simulated().clip(3, Shape(1, 64, 64, 15.0))
    assert seen.classes is not None
    assert seen.classes.max() <= Simulated().classes
    assert ((seen.classes > 0) <= seen.moving).all()


def test_words_are_dropped_in_their_share_only() -> None:
    batch = of_latents()
    other = replace(batch, text=batch.text.flip(1) if batch.text is not None else None)
    for share, differs in ((0.0, True), (1.0, False)):
        objective = flow(drop_text=share)
        assert (objective(batch)[0].item() != objective(other)[0].item()) == differs


def test_levels_are_drawn_as_said() -> None:
    settings = LevelSettings(shift=2.0, per_frame=0.2, prefix=0.3, context_noise=0.1, drop_text=0.1)
    clips, frames = 4000, 9
    level, is_known, keeps_text = (
        flow().__class__(transformer(), text_encoder(), settings).draw(torch.arange(clips), frames)
    )
    known = is_known.sum(dim=1)
    assert torch.equal(is_known, torch.arange(frames) < known[:, None]), "what is known is a prefix"
    assert abs(float((known > 0).float().mean()) - 0.3) < 0.03
    assert abs(float(keeps_text.float().mean()) - 0.9) < 0.02
    lengths = torch.bincount(known[known > 0], minlength=frames) / (known > 0).sum()
    assert lengths[1] > 0.5
    assert lengths[1:].min() > 0.03, "any prefix comes up that leaves a frame to make"
    assert len(lengths) == frames

    last_two = level[known <= frames - 2][:, -2:]
    differ = (last_two[:, 0] != last_two[:, 1]).float().mean()
    assert abs(float(differ) - 0.2) < 0.03
    assert level[~is_known].min() > 0
    assert level[~is_known].max() < 1
    assert abs(float(level[:, -1].median()) - 2 / 3) < 0.02, "the shift moves the median from 1/2 to s / (1 + s)"
    assert level[is_known].max() <= settings.context_noise
    assert level[is_known].min() < 0.001


def test_a_still_has_no_prefix() -> None:
    level, is_known, _ = flow(prefix=1.0).draw(torch.arange(50), 1)
    assert not is_known.any()
    assert level.min() > 0


def test_objects_weigh_more() -> None:
    """An error inside the mask (or two pixels about it) costs as many times more as is said."""
    batch = of_pixels()
    plain = Reconstruction(autoencoder(), object_weight=1.0, edge_weight=0.0, price=0.0)
    heavy = Reconstruction(autoencoder(), object_weight=3.0, edge_weight=0.0, price=0.0)
    assert batch.video is not None
    assert batch.seed is not None
    video, model = to_pixels(batch.video), plain.autoencoder
    with torch.no_grad():
        latent, _ = model.encode(video)
        noisy = latent + model.config.noise * seeded_normal(batch.seed, tuple(latent.shape[1:]))
        cost = charbonnier(model.decode(noisy)[0] - video)
        mask = torch.zeros(5, 1, 16, 16)
        mask[:, :, 2:14, 2:14] = 1
        weight = torch.stack([torch.ones_like(mask), 1 + 2 * mask, torch.ones_like(mask)])
        expected = (weight * cost).mean(dim=(1, 2, 3, 4)) / weight.mean(dim=(1, 2, 3, 4))
        torch.testing.assert_close(heavy(batch)[0], expected.mean())
        torch.testing.assert_close(plain(batch)[0], cost.mean())
        torch.testing.assert_close(plain(replace(batch, moving=None))[0], cost.mean())


def test_gradient_reaches_all_that_is_trained() -> None:
    cases: list[tuple[nn.Module, Batch]] = [(flow(), of_latents()), (Reconstruction(autoencoder()), of_pixels())]
    for objective, batch in cases:
        objective(batch)[0].backward()
        for name, parameter in objective.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_closed_forms() -> None:
    assert float(charbonnier(torch.zeros(3)).sum()) == 0
    torch.testing.assert_close(charbonnier(torch.tensor([1e-3])), torch.tensor([1e-5]), rtol=1e-2, atol=0)
    torch.testing.assert_close(charbonnier(torch.tensor([-5.0])), torch.tensor([4.95]), rtol=1e-3, atol=0)
    torch.testing.assert_close(psnr(torch.full((9,), 0.2)), torch.tensor(20.0))
    assert to_pixels(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1, 1]


class HasRead(TextEncoder):
    """Has read the sentence before: its features are one-hot rows of what is named, with the answers at hand."""

    def __init__(self, answers: Tensor) -> None:
        super().__init__(replace(TEXT, width=sum(CLASSES) + 2, heads=1))
        self.answers = answers

    def forward(self, ids: Tensor) -> Tensor:
        sizes = (CLASSES[0] + 1, CLASSES[1], CLASSES[2] + 1)
        rows = [nn.functional.one_hot(self.answers[:, :, i], size) for i, size in enumerate(sizes)]
        return torch.cat(rows, dim=-1).float()


def perfect(answers: Tensor) -> Reading:
    text = HasRead(answers)
    objective = Reading(text, Reader(text.config, CLASSES, OBJECTS))
    with torch.no_grad():
        at = 0
        for head in objective.reader.heads:
            assert isinstance(head, nn.Linear)
            head.weight.zero_()
            head.bias.zero_()
            head.weight[:, at : at + len(head.weight)] = 50 * torch.eye(len(head.weight))
            at += len(head.weight)
    return objective


def test_perfect_reading_is_possible() -> None:
    batch = of_sentences()
    assert batch.named is not None
    loss, metrics = perfect(batch.named)(batch)
    assert loss.item() < 1e-6
    assert float(metrics["sentences_read"]) == 1


def test_one_mistake_spoils_a_sentence_and_nothing_s_shape_counts_for_nothing() -> None:
    batch = of_sentences()
    assert batch.named is not None
    answers = batch.named.clone()
    answers[3, 0, 0] = (answers[3, 0, 0] + 1) % CLASSES[0]
    assert float(perfect(answers)(batch)[1]["sentences_read"]) == pytest.approx(7 / 8)
    answers = batch.named.clone()
    nothing = answers[:, :, 0] == CLASSES[0]
    answers[..., 1][nothing] = 2
    loss, metrics = perfect(answers)(batch)
    assert loss.item() < 1e-6
    assert float(metrics["sentences_read"]) == 1


def test_sentences_that_name_nothing_can_be_read() -> None:
    batch = replace(of_sentences(), named=named("").expand(8, -1, -1))
    loss, _ = reading()(batch)
    assert loss.isfinite()


def rows(*objects: tuple[str, str, str | None]) -> list[list[int]]:
    found = [
        [COLOURS.index(colour), SHAPES.index(shape), SIZES.index(size) if size else len(SIZES)]
        for colour, shape, size in objects
    ]
    return found + [[len(COLOURS), 0, len(SIZES)]] * (OBJECTS - len(found))


@pytest.mark.parametrize(
    ("text", "objects"),
    [
        ("a red ball", [("red", "ball", None)]),
        ("a small red ball rolls behind a tall blue box", [("red", "ball", "small"), ("blue", "box", "tall")]),
        (
            "the tiny violet sphere hits a mid-sized turquoise cube",
            [("purple", "ball", "small"), ("teal", "box", "medium")],
        ),
        ("a red ball meets a red box, then the red ball stops", [("red", "ball", None), ("red", "box", None)]),
        ("a green can; a big green can", [("green", "cylinder", None)]),
        ("two balls and a box", []),
        ("a red thing on a ball", []),
        ("the camera pans left", []),
        ("", []),
    ],
)
def test_named(text: str, objects: list[tuple[str, str, str | None]]) -> None:
    assert named(text).tolist() == rows(*objects)


def test_named_agrees_with_the_captions_own_reading() -> None:
    for seed in range(150):
        for caption in describe(seed)[0]:
            facts = mentioned(caption)
            assert named(caption).tolist() == rows(*[(f.colour or "", f.shape or "", f.size) for f in facts]), caption


def test_sentences_are_a_function_of_the_step() -> None:
    vocabulary = Vocabulary.of(VOCABULARY)
    source = Sentences(4, vocabulary.ids, seed=3, text_length=48)
    whole, again, other = source.batch(5), source.batch(5), source.batch(6)
    halves = [source.batch(5, rank, 2) for rank in range(2)]
    for name in ("text", "named", "seed"):
        assert torch.equal(getattr(whole, name), getattr(again, name))
        assert torch.equal(getattr(whole, name), torch.cat([getattr(half, name) for half in halves]))
    assert whole.text is not None
    assert other.text is not None
    assert whole.text.shape == (4, 48)
    assert not torch.equal(whole.text, other.text)


@pytest.fixture(scope="module")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pixels")
    for number in range(2):
        cache_pixels(folder, number, 2, Simulated(), Shape(9, 64, 96, 15.0))
    return folder


def test_crops_are_a_function_of_the_step(pixels: Path) -> None:
    source = Crops(pixels, files=2, batch=4, frames=5, side=32, seed=9)
    whole, again, other = (
        source.batch(3),
        Crops(pixels, files=2, batch=4, frames=5, side=32, seed=9).batch(3),
        source.batch(4),
    )
    halves = [source.batch(3, rank, 2) for rank in range(2)]
    for name in ("video", "moving", "seed"):
        assert torch.equal(getattr(whole, name), getattr(again, name))
        assert torch.equal(getattr(whole, name), torch.cat([getattr(half, name) for half in halves]))
    assert whole.video is not None
    assert other.video is not None
    assert whole.moving is not None
    assert whole.video.shape == (4, 5, 3, 32, 32)
    assert whole.video.dtype == torch.uint8
    assert whole.moving.shape == (4, 5, 32, 32)
    assert not torch.equal(whole.video, other.video)


def test_crops_are_cut_from_the_clips_with_their_masks(pixels: Path) -> None:
    clips = np.concatenate([np.load(pixels / f"clips-0000{number}.npy") for number in range(2)])
    batch = Crops(pixels, files=2, batch=3, frames=5, side=32).batch(0)
    assert batch.video is not None
    assert batch.moving is not None
    windows = np.lib.stride_tricks.sliding_window_view(clips[..., 0], (5, 32, 32), axis=(1, 2, 3))
    for video, moving in zip(batch.video.numpy(), batch.moving.numpy(), strict=True):
        corner = video[:, 0, ::8, ::8]
        clip, start, top, left = np.argwhere((windows[..., ::8, ::8] == corner).all(axis=(4, 5, 6)))[0]
        cut = clips[clip, start : start + 5, top : top + 32, left : left + 32]
        assert np.array_equal(cut[..., :3], video.transpose(0, 2, 3, 1))
        assert np.array_equal(cut[..., 3] > 0, moving)


def test_crops_look_for_objects(pixels: Path) -> None:
    batch = Crops(pixels, files=2, batch=60, frames=1, side=16).batch(0)
    assert batch.moving is not None
    everywhere = float((np.load(pixels / "clips-00000.npy")[..., 3] > 0).mean())
    assert float(batch.moving.float().mean()) > 1.5 * everywhere


def test_crops_look_for_what_is_fast(tmp_path: Path) -> None:
    """A flash of two pictures in a corner of a large clip is in most windows, and not in all."""
    clip = np.zeros((1, 33, 128, 128, 4), np.uint8)
    clip[0, 20:22, 96:112, 100:116, :3] = 255
    np.save(tmp_path / "clips-00000.npy", clip)
    batch = Crops(tmp_path, files=1, batch=200, frames=9, side=32).batch(0)
    assert batch.video is not None
    assert 0.5 < float(batch.video.flatten(1).any(dim=1).float().mean()) < 0.8


def test_files_that_exist_are_not_written_again(pixels: Path) -> None:
    path = pixels / "clips-00000.npy"
    before = path.stat().st_mtime_ns
    cache_pixels(pixels, 0, 2, Simulated(), Shape(9, 64, 96, 15.0))
    assert path.stat().st_mtime_ns == before


def test_a_witness_that_is_right_loses_nothing() -> None:
    objective, batch = witnessing(), of_pictures()
    sees, reads = objective.witness, batch.named
    assert batch.classes is not None
    assert reads is not None
    kinds = batch.classes[:, 0].long()
    colour, shape = (kinds - 1) // len(SHAPES), (kinds - 1) % len(SHAPES)
    known = F.one_hot(torch.where(kinds > 0, colour, len(COLOURS)), len(COLOURS) + 1).movedim(-1, 1) * 50.0
    sees.look = lambda picture: (known, F.one_hot(shape, len(SHAPES)).movedim(-1, 1) * 50.0)  # type: ignore[method-assign]
    sees.read = lambda text: (F.one_hot(reads[..., 0], 9) * 50.0, F.one_hot(reads[..., 1], 3) * 50.0)  # type: ignore[method-assign]
    loss, metrics = objective(batch)
    assert float(loss) < 1e-6
    assert float(metrics["sentences_read"]) == 1
    known.copy_(known.roll(1, dims=1))
    assert float(objective(batch)[0]) > 10


@pytest.mark.parametrize(("frames", "shift"), [(1, 2.0), (9, 2.0 * 3.0)])
def test_the_shift_grows_with_the_frames(frames: int, shift: float) -> None:
    seeds = torch.arange(2000)
    grown = flow(shift=2.0, growth=0.5, per_frame=0.0, prefix=0.0).draw(seeds, frames)[0]
    given = flow(shift=shift, per_frame=0.0, prefix=0.0).draw(seeds, frames)[0]
    torch.testing.assert_close(grown, given)
