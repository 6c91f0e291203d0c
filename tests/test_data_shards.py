"""Sources are functions of the step, shared equally; the latent cache gives back what was put in."""

from __future__ import annotations

import multiprocessing
import pickle
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from muybridge.data import shards
from muybridge.data.epochs import Epochs
from muybridge.data.naming import named
from muybridge.data.shards import EncodedClip, Shards, _open, cached_clips, write_shards
from muybridge.data.source import clip_seeds, draw, share, token_ids
from muybridge.data.turns import InTurns
from muybridge.types import Batch


def write(folder: Path, row: Iterable[EncodedClip], origin: str = "", per_shard: int = 256) -> int:
    """Writes them all; returns how many the cache holds then."""
    return [*write_shards(folder, row, origin, per_shard)][-1]


def letters(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def clips(first: int, last: int, frames: int = 5) -> Iterator[EncodedClip]:
    for number in range(first, last):
        latent = torch.full((frames, 4, 2, 3), float(number)) + torch.arange(frames)[:, None, None, None] / 8
        yield EncodedClip(latent, (f"clip {number}", f"{number}"), fps=10.0 + number)


@hypothesis.settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4), batch=st.integers(1, 9), seed=st.integers(0, 99))
def test_an_epoch_visits_each_member_once(sizes: list[int], batch: int, seed: int) -> None:
    epochs = Epochs(tuple(sizes), batch, seed)
    met: list[Counter[int]] = [Counter() for _ in sizes]
    for step in range(epochs.batches, 2 * epochs.batches):
        group, members = epochs.at(step)
        assert len(members) == batch
        met[group].update(members.tolist())
    for size, counts in zip(sizes, met, strict=True):
        assert counts.total() == max(size - size % batch, batch)
        assert max(counts.values()) == (1 if size >= batch else -(-batch // size))


def test_epochs_differ_and_repeat_themselves() -> None:
    one, again, other = Epochs((30,), 10, 1), Epochs((30,), 10, 1), Epochs((30,), 10, 2)
    rows = [one.at(step)[1].tolist() for step in range(6)]
    assert rows == [again.at(step)[1].tolist() for step in range(6)]
    assert rows[:3] != rows[3:]
    assert rows != [other.at(step)[1].tolist() for step in range(6)]


def test_shares_tile_the_batch_or_are_refused() -> None:
    assert [place for rank in range(3) for place in share(12, rank, 3)] == list(range(12))
    with pytest.raises(ValueError, match="take a batch of 9"):
        share(10, 0, 3)
    with pytest.raises(ValueError, match="take a batch of 4"):
        share(2, 0, 4)


def test_draws_are_spread_and_fit_int64() -> None:
    draws = np.array([draw(seed, step, place) for seed in range(3) for step in range(20) for place in range(20)])
    assert len(set(draws.tolist())) == draws.size
    assert draws.min() >= 0
    assert abs(draws.astype(float).mean() / 2**63 - 0.5) < 0.05  # 5 standard errors are 0.042


@hypothesis.settings(deadline=None)
@given(seed=st.integers(0, 2**31), step=st.integers(0, 2**31))
def test_seeds_do_not_repeat_in_a_batch(seed: int, step: int) -> None:
    assert len(set(clip_seeds(seed, step, range(32)).tolist())) == 32


def test_token_ids_pad_and_refuse_to_cut() -> None:
    assert token_ids(["ab", ""], letters, 3).tolist() == [[97, 98, 0], [0, 0, 0]]
    with pytest.raises(ValueError, match="4 tokens, but text_length is 3"):
        token_ids(["abcd"], letters, 3)


def test_what_goes_into_the_cache_comes_out(tmp_path: Path) -> None:
    assert write(tmp_path, clips(0, 10), "ae-1", per_shard=4) == 10
    source = Shards(tmp_path, batch=5, seed=3, encode_text=letters, text_length=8)
    assert (len(source), source.origin) == (10, "ae-1")
    met = []
    for step in range(2):
        batch = source.batch(step)
        assert batch.latent is not None
        assert batch.fps is not None
        assert batch.text is not None
        assert batch.latent.dtype == torch.float32
        numbers = batch.latent[:, 0, 0, 0, 0]
        assert torch.equal(batch.latent[:, :, 0, 0, 0], numbers[:, None] + torch.arange(5) / 8)
        assert torch.equal(batch.fps, 10 + numbers)
        for number, text in zip(numbers.tolist(), batch.text.tolist(), strict=True):
            caption = "".join(chr(letter) for letter in text if letter)
            assert caption in (f"clip {number:.0f}", f"{number:.0f}")
        met += numbers.tolist()
    assert sorted(met) == list(range(10))


def test_processes_share_the_same_batch(tmp_path: Path) -> None:
    write(tmp_path, clips(0, 12), per_shard=5)
    source = Shards(tmp_path, batch=6, encode_text=letters)
    whole, parts = source.batch(7), [source.batch(7, rank, 3) for rank in range(3)]
    for name in ("latent", "text", "fps", "seed"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts]))


def test_every_caption_is_drawn(tmp_path: Path) -> None:
    write(tmp_path, clips(0, 1))
    source = Shards(tmp_path, batch=1, encode_text=letters)
    seen = Counter(str(source.batch(step).text) for step in range(40))
    assert len(seen) == 2
    assert min(seen.values()) > 5


def test_a_prefix_of_the_frames(tmp_path: Path) -> None:
    write(tmp_path, clips(0, 4))
    whole, prefix = Shards(tmp_path, 4).batch(0).latent, Shards(tmp_path, 4, frames=2).batch(0).latent
    assert whole is not None
    assert prefix is not None
    assert torch.equal(prefix, whole[:, :2])
    with pytest.raises(ValueError, match="5 latent frames: 6 cannot be served"):
        Shards(tmp_path, 4, frames=6)


def test_batches_are_of_one_shape(tmp_path: Path) -> None:
    write(tmp_path, [*clips(0, 4), *clips(4, 8, frames=2), *clips(8, 12)], per_shard=16)
    lengths = Counter(Shards(tmp_path, 4).batch(step).latent.shape[1] for step in range(3))  # type: ignore[union-attr]
    assert lengths == {5: 2, 2: 1}


def test_what_stands_where_travels_along(tmp_path: Path) -> None:
    classes = torch.randint(0, 25, (3, 5, 2, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    row = [
        EncodedClip(clip.latent, clip.captions, clip.fps, one) for clip, one in zip(clips(0, 3), classes, strict=True)
    ]
    write(tmp_path, row)
    batch = Shards(tmp_path, 3).batch(0)
    assert batch.latent is not None
    assert batch.classes is not None
    assert torch.equal(batch.classes, classes[batch.latent[:, 0, 0, 0, 0].long()])


def test_where_things_are_travels_along_with_the_frames_that_are_served(tmp_path: Path) -> None:
    place = torch.arange(5.0)[:, None, None, None].expand(5, 4, 2, 5)
    kind = torch.tensor([[1, 2], [-1, -1]])
    write(tmp_path, [EncodedClip(c.latent, c.captions, c.fps, None, place, kind) for c in clips(0, 3)])
    batch = Shards(tmp_path, 2, glimpses=3).batch(0)
    assert batch.place is not None
    assert batch.kind is not None
    assert batch.when is not None
    assert torch.equal(batch.place[:, :, 0, 0, 0].long(), batch.when)
    assert torch.equal(batch.kind[1], kind)


def test_clips_that_nobody_renders_are_kept_without_latents(tmp_path: Path) -> None:
    place, kind = torch.rand(5, 4, 2, 5), torch.tensor([[1, 2], [0, 0]])
    write(tmp_path, [EncodedClip(None, ("a ball",), 15.0, None, place, kind)] * 3)
    source = Shards(tmp_path, 2)
    assert source.shards[0].told == {"place", "kind"}
    batch = source.batch(0)
    assert batch.latent is None
    assert batch.place is not None
    assert torch.equal(batch.place[0], place)


def test_what_the_drawn_caption_names_is_told(tmp_path: Path) -> None:
    captions = ("a red ball", "a blue box and a green can", "no more than words")
    write(tmp_path, [EncodedClip(torch.zeros(2, 4, 3, 3), captions, 15.0)])
    source = Shards(tmp_path, 1, encode_text=letters, name=named)
    for step in range(8):
        batch = source.batch(step)
        assert batch.text is not None
        assert batch.named is not None
        (drawn,) = [caption for caption in captions if letters(caption) == batch.text[0][batch.text[0] > 0].tolist()]
        assert torch.equal(batch.named[0], named(drawn))
    assert Shards(tmp_path, 1).batch(0).named is None


def test_interrupted_caching_goes_on_after_the_last_whole_shard(tmp_path: Path) -> None:
    def stops() -> Iterator[EncodedClip]:
        yield from clips(0, 7)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "parts", stops(), per_shard=3)
    assert cached_clips(tmp_path / "parts") == 6
    write(tmp_path / "parts", clips(6, 10), per_shard=3)
    write(tmp_path / "whole", clips(0, 10), per_shard=3)
    files = [sorted((tmp_path / name).iterdir()) for name in ("parts", "whole")]
    assert [f.name for f in files[0]] == [f.name for f in files[1]]
    assert all(one.read_bytes() == other.read_bytes() for one, other in zip(*files, strict=True))


def test_shards_are_opened_once_however_many_follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    monkeypatch.setattr(shards, "_open", lambda path: (opened.append(path), _open(path))[1])
    write(tmp_path, clips(0, 4), per_shard=2)
    assert list(write_shards(tmp_path, clips(4, 9), per_shard=2)) == [4, 6, 8, 9]
    assert [path.name for path in opened] == ["shard-00000.safetensors", "shard-00001.safetensors"]


def test_caches_are_not_mixed_up(tmp_path: Path) -> None:
    write(tmp_path, clips(0, 4), "ae-1", per_shard=2)
    with pytest.raises(ValueError, match="'ae-1', not of 'ae-2'"):
        write(tmp_path, clips(4, 6), "ae-2")
    (tmp_path / "shard-00001.safetensors").write_bytes(b"cut off")
    with pytest.raises(ValueError, match=r"shard-00001.safetensors is damaged"):
        Shards(tmp_path, 2)
    (tmp_path / "shard-00001.safetensors").rename(tmp_path / "shard-00001.bad")
    (tmp_path / "shard-00000.safetensors").rename(tmp_path / "shard-00001.safetensors")
    with pytest.raises(ValueError, match=r"lacks shard-00000"):
        Shards(tmp_path, 2)
    with pytest.raises(ValueError, match="holds no latent cache"):
        Shards(tmp_path / "nowhere", 2)


def test_latents_that_overflow_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not finite in fp16"):
        write(tmp_path, [EncodedClip(torch.full((1, 1, 1, 1), 1e6), (), 10.0)])
    assert cached_clips(tmp_path) == 0


def test_a_source_in_use_can_be_sent_to_a_process(tmp_path: Path) -> None:
    write(tmp_path, clips(0, 4))
    source = Shards(tmp_path, 2, encode_text=letters)
    expected = source.batch(1)
    copy = pickle.loads(pickle.dumps(source))
    assert torch.equal(copy.batch(1).latent, expected.latent)
    assert not multiprocessing.active_children()


def test_the_first_frames_of_clips_come_with_what_stands_there(tmp_path: Path) -> None:
    write(tmp_path, placed(6))
    batch = Shards(tmp_path, batch=3, frames=1).batch(0)
    assert batch.latent is not None
    assert batch.classes is not None
    assert batch.latent.shape[:2] == batch.classes.shape[:2] == (3, 1)
    assert batch.classes.unique().tolist() == [0]
    assert batch.when is None


def test_glimpses_are_frames_of_the_clip(tmp_path: Path) -> None:
    write(tmp_path, placed(6))
    source = Shards(tmp_path, batch=6, glimpses=3)
    met = set()
    for step in range(4):
        batch = source.batch(step)
        assert batch.latent is not None
        assert batch.classes is not None
        assert batch.when is not None
        assert batch.when.shape == (6, 3)
        assert batch.when[:, 0].tolist() == [0] * 6
        assert (batch.when.diff(dim=1) > 0).all()
        assert torch.equal(batch.classes[:, :, 0, 0].long(), batch.when)
        number = batch.latent[:, :1, 0, 0, 0].floor()
        assert torch.equal((batch.latent[:, :, 0, 0, 0] - number) * 8, batch.when.float())
        met |= {tuple(row) for row in batch.when.tolist()}
        again = Shards(tmp_path, batch=6, glimpses=3).batch(step).when
        assert torch.equal(batch.when, again)  # type: ignore[arg-type]
    assert len(met) > 3, "all clips show the same frames"
    assert met <= {(0, i, j) for i in range(1, 5) for j in range(i + 1, 5)}


def test_more_frames_than_a_clip_has_are_refused(tmp_path: Path) -> None:
    write(tmp_path, placed(2))
    for wanted in ({"frames": 6}, {"glimpses": 6}):
        with pytest.raises(ValueError, match="6 cannot be served"):
            Shards(tmp_path, batch=1, **wanted)  # type: ignore[arg-type]


def placed(count: int) -> Iterator[EncodedClip]:
    """Clips whose places say which frame they are of."""
    for clip in clips(0, count):
        frame = torch.arange(len(clip.latent), dtype=torch.uint8)
        yield EncodedClip(clip.latent, clip.captions, clip.fps, frame[:, None, None].expand(-1, 2, 3).contiguous())


class Counting:
    """A source whose batches say which step of its own they are of."""

    def __init__(self, name: int) -> None:
        self.name = name

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        return Batch(seed=torch.tensor([self.name, step, rank, world]))


def test_sources_take_turns_and_count_their_own_steps() -> None:
    a, b = Counting(1), Counting(2)
    turns = InTurns([a, b, a])
    met = [turns.batch(step, 1, 2).seed for step in range(7)]
    assert [seed[:2].tolist() for seed in met if seed is not None] == [
        [1, 0],
        [2, 0],
        [1, 1],
        [1, 2],
        [2, 1],
        [1, 3],
        [1, 4],
    ]
    assert all(seed is not None and seed[2:].tolist() == [1, 2] for seed in met)
