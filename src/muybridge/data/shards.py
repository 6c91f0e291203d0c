"""The latent cache: clips encoded once, read many times.

A folder of `shard-00000.safetensors`, …: `latent` fp16 (n t c h w), `fps` (n), optionally `classes` uint8 (n t h w),
and as JSON the captions of each clip and the origin of them all. A shard holds clips of one shape and is written as a
whole or not at all, so an interrupted cache goes on after its last whole shard. Readers map the files and take only the
slices they need.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from muybridge.data.epochs import Epochs
from muybridge.data.source import Encode, choose, clip_seeds, draw, share, token_ids
from muybridge.storage.atomic import new_file
from muybridge.types import Batch


@dataclass(frozen=True)
class EncodedClip:
    """A clip as the cache keeps it: see `Batch` for what `classes`, `place` and `kind` say.

    Of a clip that nobody renders there is no latent, and where things go is all there is.
    """

    latent: Float[Tensor, "t c h w"] | None
    captions: Sequence[str]
    fps: float
    classes: UInt8[Tensor, "t h w"] | None = None
    place: Float[Tensor, "t p k 5"] | None = None
    kind: Int64[Tensor, "k 2"] | None = None


_TOLD = ("latent", "classes", "place", "kind")
"""What a shard may hold of clips, beside their captions and speed."""


@dataclass(frozen=True)
class Shard:
    """One file of the cache: where it is, its clips' captions, the shape of their latents (t c h w), or of their
    tracks where nobody rendered them (t p k 5), their origin.

    told  what it holds of them, of `_TOLD`
    """

    path: Path
    captions: tuple[tuple[str, ...], ...]
    shape: tuple[int, ...]
    origin: str
    told: frozenset[str]


def read_index(folder: Path) -> list[Shard]:
    """The shards in `folder`, in the order in which they were written. ValueError names a file that is none."""
    paths = sorted(folder.glob("shard-*.safetensors"))
    shards = [_open(path) for path in paths]
    for number, path in enumerate(paths):
        if path.name != _name(number):
            raise ValueError(f"{folder} lacks {_name(number)} but has {path.name}: put it back, or make the cache anew")
    if len({shard.origin for shard in shards}) > 1:
        raise ValueError(f"the shards in {folder} are of different origin: make the cache anew in an empty folder")
    return shards


def cached_clips(folder: Path | str) -> int:
    """Clips in the whole shards of `folder`: where an interrupted cache goes on."""
    return sum(len(shard.captions) for shard in read_index(Path(folder)))


def write_shards(
    folder: Path | str, clips: Iterable[EncodedClip], origin: str = "", per_shard: int = 256
) -> Iterator[int]:
    """Appends `clips` to the cache in `folder`; yields how many it holds, before the first shard and after each.

    To go on with an interrupted cache, pass the clips from number `cached_clips(folder)` on. `origin` says what made
    the latents (autoencoder and clips); a cache of another origin is a ValueError. A shard ends early where the shape
    changes.
    """
    folder = Path(folder)
    shards = read_index(folder)
    if shards and shards[0].origin != origin:
        raise ValueError(
            f"{folder} caches latents of {shards[0].origin!r}, not of {origin!r}: take another folder (-o)"
        )
    number, held = len(shards), sum(len(shard.captions) for shard in shards)
    yield held
    for _, row in groupby(clips, key=lambda clip: (_shape_of(clip), _told_of(clip))):
        while some := list(islice(row, per_shard)):
            _write(folder / _name(number), some, origin)
            number, held = number + 1, held + len(some)
            yield held


class Shards:
    """A source of latents from a cache, every clip once an epoch, each time with one of its captions.

    frames                     serve only so many latent frames, the first (a causal latent's prefix is a clip itself)
    glimpses                   or the first and so many others less one, drawn anew each time, in order: what comes of
                               an object in the end, at a fraction of the cost of all that lies between
    encode_text, text_length   captions to ids, and the length they are padded to; without the former, no text
    name                       what a caption names, see `Batch.named`; without it nobody is told
    """

    def __init__(
        self,
        folder: Path | str,
        batch: int,
        seed: int = 0,
        encode_text: Encode | None = None,
        text_length: int = 64,
        frames: int | None = None,
        glimpses: int | None = None,
        name: Callable[[str], Int64[Tensor, "k 3"]] | None = None,
    ) -> None:
        self.name, self.glimpses = name, glimpses
        self.folder, self.clips, self.seed, self.frames = Path(folder), batch, seed, frames
        self.encode_text, self.text_length = encode_text, text_length
        self.shards = read_index(self.folder)
        if not self.shards:
            raise ValueError(f"{folder} holds no latent cache (no {_name(0)}): write one first")
        self._check_length()
        self._groups = self._by_shape()
        self._epochs = Epochs(tuple(len(group) for group in self._groups), batch, seed)
        self._files: dict[Path, Any] = {}

    @property
    def origin(self) -> str:
        """What made these latents."""
        return self.shards[0].origin

    def __len__(self) -> int:
        return sum(len(group) for group in self._groups)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": {}}  # open files stay with their process

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        places = share(self.clips, rank, world)
        group, members = self._epochs.at(step)
        chosen = [self._groups[group][int(members[place])] for place in places]
        seeds = clip_seeds(self.seed, step, places)
        captions = [
            choose(shard.captions[row], seed) for (shard, row), seed in zip(chosen, seeds.tolist(), strict=True)
        ]
        told = frozenset.intersection(*(shard.told for shard, _ in chosen))
        when = None if self.glimpses is None else torch.stack([self._glimpses(seed) for seed in seeds.tolist()])
        shown = [slice(self.frames)] * len(chosen) if when is None else list(when)

        def frames(name: str) -> Tensor:
            return torch.stack(
                [self._read(shard, name, row)[which] for (shard, row), which in zip(chosen, shown, strict=True)]
            )

        return Batch(
            latent=frames("latent").float() if "latent" in told else None,
            classes=frames("classes") if "classes" in told else None,
            place=frames("place") if "place" in told else None,
            kind=torch.stack([self._read(shard, "kind", row) for shard, row in chosen]) if "kind" in told else None,
            when=when,
            text=token_ids(captions, self.encode_text, self.text_length) if self.encode_text else None,
            named=torch.stack([self.name(caption) for caption in captions]) if self.name else None,
            fps=torch.stack([self._read(shard, "fps", row) for shard, row in chosen]),
            seed=seeds,
            common=torch.full_like(seeds, draw(self.seed, step)),
        )

    def _glimpses(self, seed: int) -> Int64[Tensor, " t"]:
        """The first latent frame of a clip and others, drawn by the clip's seed."""
        assert self.glimpses is not None, "no glimpses"
        generator = torch.Generator().manual_seed(draw(seed, 3))
        others = 1 + torch.randperm(self._length() - 1, generator=generator)[: self.glimpses - 1]
        return torch.cat([torch.zeros(1, dtype=torch.int64), others.sort().values])

    def _length(self) -> int:
        """Latent frames of the shortest clip."""
        return min(shard.shape[0] for shard in self.shards)

    def _read(self, shard: Shard, name: str, row: int) -> Tensor:
        if shard.path not in self._files:
            self._files[shard.path] = safe_open(shard.path, framework="pt")
        tensor: Tensor = self._files[shard.path].get_slice(name)[row : row + 1]
        return tensor[0]

    def _by_shape(self) -> list[list[tuple[Shard, int]]]:
        groups: dict[tuple[int | str, ...], list[tuple[Shard, int]]] = {}
        for shard in self.shards:
            rows = groups.setdefault((*shard.shape, *sorted(shard.told)), [])
            rows.extend((shard, row) for row in range(len(shard.captions)))
        return list(groups.values())

    def _check_length(self) -> None:
        assert self.frames is None or self.glimpses is None, "the first frames or glimpses, not both"
        wanted = self.frames or self.glimpses or 1
        if not 1 <= wanted <= self._length():
            raise ValueError(f"{self.folder} holds clips of {self._length()} latent frames: {wanted} cannot be served")


def _shape_of(clip: EncodedClip) -> tuple[int, ...]:
    shown = clip.place if clip.latent is None else clip.latent
    assert shown is not None, "a clip of which nothing is known"
    return tuple(shown.shape)


def _told_of(clip: EncodedClip) -> frozenset[str]:
    return frozenset(name for name in _TOLD if getattr(clip, name) is not None)


def _name(number: int) -> str:
    return f"shard-{number:05d}.safetensors"


def _write(path: Path, clips: Sequence[EncodedClip], origin: str) -> None:
    tensors = {"fps": torch.tensor([clip.fps for clip in clips], dtype=torch.float32)}
    for name in _told_of(clips[0]):
        tensors[name] = torch.stack([getattr(clip, name).detach().cpu() for clip in clips]).contiguous()
    if "latent" in tensors:
        tensors["latent"] = tensors["latent"].half()
        if not tensors["latent"].isfinite().all():
            raise ValueError(
                f"{path} would hold latents that are not finite in fp16: the autoencoder is broken or unscaled"
            )
    about = {"origin": origin, "captions": [list(clip.captions) for clip in clips]}
    with new_file(path) as temporary:
        save_file(tensors, temporary, {"cache": json.dumps(about, ensure_ascii=False)})


def _open(path: Path) -> Shard:
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["cache"])
            captions = tuple(tuple(row) for row in about["captions"])
            told = frozenset(_TOLD).intersection(file.keys())
            shape = tuple(file.get_slice("latent" if "latent" in told else "place").get_shape())[1:]
            return Shard(path, captions, shape, about["origin"], told)
    except (SafetensorError, KeyError) as error:
        raise ValueError(
            f"{path} is damaged or no shard of a latent cache: remove it and make the cache anew"
        ) from error
