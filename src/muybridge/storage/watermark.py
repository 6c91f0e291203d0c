"""A message of 32 bits hidden in the pixels: read back from the clip alone, after H.264 and after any resizing.

A spread-spectrum mark (Cox et al. 1997, "Secure spread spectrum watermarking for multimedia") on the cosine transform
of the whole frame. The waves are counted in half periods a frame, not in pixels: a clip that was made larger or smaller
has the same ones. Each of the 40 bits (32 of the message, 8 to check them) is said by some 47 waves at once; a secret
key decides which, and with which signs. What is looked at is the fine detail, of which more than a few levels are not
believed: those are edges, and the mark is fainter. Where the picture itself speaks against a bit, its waves are pushed
harder (the host's interference is partly taken back: Malvar and Florêncio 2003, "Improved spread spectrum"), and where
there is texture to hide in, the mark is stronger.

Reading is a test with a known rate of false alarms. In a clip without this mark the key's signs have nothing to do with
the picture, so by Hoeffding's inequality a message's correlation exceeds z with a probability of at most exp(-z²/2),
and the best of all 2^40 messages with at most 2^40 exp(-z²/2).
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from einops import einsum, rearrange
from jaxtyping import Float, Int, UInt8

VERSION = 1
"""Of the mark. What is below decides what older marks are read with: another mark is another version."""

PUBLIC_KEY = b"muybridge"
"""The key that everybody has: anybody can read such a mark, and anybody who cares to can imitate or remove it."""

SMALLEST = 64
"""Pixels of the shorter side. The finest wave has 54 half periods in it."""

MESSAGE, CHECK = 32, 8
FALSE_ALARM = 1e-6
"""A mark counts as found if a clip without one would look like it at most this often."""

NEEDED = math.sqrt(2 * ((MESSAGE + CHECK) * math.log(2) - math.log(FALSE_ALARM)))
"""The score from which on that is so: 9.1."""

_SILENCE = 1e-6  # rounding errors of flat pictures

_BITS = MESSAGE + CHECK
_COARSEST, _FINEST = 20, 54  # half periods a frame: coarser ones are seen as clouds, finer ones die when it is resized
_STRENGTH = 0.7  # levels of 255, root mean square, before the picture's interference is taken back
_TAKEN_BACK, _MOST = 0.5, 3.0  # the share of the interference, and the strengths up to which it counts
_DETAIL = 2.0  # levels up to which detail is believed, unless half of all pixels have more
_TEXTURE, _LOUDER = 8.0, 1.5  # levels of detail that hide the most, and by how much louder the mark is there
_BLUR = 32  # what is coarser than two 32nds of a side is no detail
_LUMA = np.array([0.2126, 0.7152, 0.0722])  # ITU-R BT.709-6


@dataclass(frozen=True)
class Reading:
    """What was read of a clip's pixels.

    score         correlation with the likeliest message, in standard deviations
    log10_chance  the probability that a clip without this mark scores as high is at most 10 to this power
    message       32 bits; None if the check bits do not fit, or if no mark was found
    """

    score: float
    log10_chance: float
    message: int | None

    @property
    def found(self) -> bool:
        """Whether there is a mark: the score is `NEEDED` or more."""
        return self.score >= NEEDED


def fits(height: int, width: int) -> bool:
    """Whether frames of this size, in pixels, can carry the mark."""
    return min(height, width) >= SMALLEST


def embed(frames: UInt8[np.ndarray, "t h w 3"], message: int, key: bytes = PUBLIC_KEY) -> UInt8[np.ndarray, "t h w 3"]:
    """The frames, each with the mark in it: the same frames, message and key give the same pixels.

    Every frame carries the whole message, so what is left of a clip that is cut in time still says it. A mark that is
    there already, with the same key, is overwritten. ValueError for frames that are too small.
    """
    assert 0 <= message < 2**MESSAGE, f"{message} is no number of {MESSAGE} bits"
    if not fits(*frames.shape[1:3]):
        size = f"{frames.shape[2]}x{frames.shape[1]}"
        raise ValueError(f"frames of {size} are too small for the watermark: {SMALLEST} pixels a side are the least")
    signs = _signs(key) * (2 * _bits_of(message) - 1)[_bit_of_wave(key)]
    return np.stack([_marked(frame, signs) for frame in frames])


def read(frames: Iterable[UInt8[np.ndarray, "h w 3"]], key: bytes = PUBLIC_KEY) -> Reading:
    """Looks for a mark in the mean of all frames. Frames that are too small or too few to tell have none."""
    waves = _mean_waves(frames)
    if waves is None or np.median(np.abs(waves)) < _SILENCE:
        return Reading(0.0, 0.0, None)
    limit = float(np.median(np.abs(waves)))  # no wave is heard louder than half of them are
    votes = np.clip(waves, -limit, limit) * _signs(key)
    tally = np.bincount(_bit_of_wave(key), votes, _BITS)
    score = float(np.abs(tally).sum() / np.linalg.norm(votes))
    log10_chance = min(0.0, (_BITS * math.log(2) - score**2 / 2) / math.log(10))
    reading = Reading(score, log10_chance, _message_in(tally > 0))
    return reading if reading.found else Reading(score, log10_chance, None)


def _marked(frame: UInt8[np.ndarray, "h w 3"], signs: Int[np.ndarray, " waves"]) -> UInt8[np.ndarray, "h w 3"]:
    height, width = frame.shape[:2]
    detail = _detail(frame)
    strength = _STRENGTH * math.sqrt(height * width / len(signs))
    agreeing = np.clip(_waves(detail) * signs, -_MOST * strength, _MOST * strength)
    added = np.zeros((_FINEST, _FINEST))
    added[_band()] = signs * np.maximum(0.0, strength - _TAKEN_BACK * agreeing)
    light = _cosines(height).T @ added @ _cosines(width) * _room(detail)
    pixels: UInt8[np.ndarray, "h w 3"] = np.clip(np.rint(frame + light[..., None]), 0, 255).astype(np.uint8)
    return pixels


def _mean_waves(frames: Iterable[UInt8[np.ndarray, "h w 3"]]) -> Float[np.ndarray, " waves"] | None:
    """The waves of the mean frame; None if there are no frames, or if they are too small."""
    total, count = None, 0
    for frame in frames:
        if not fits(*frame.shape[:2]):
            return None
        waves = _waves(_detail(frame))
        total, count = waves if total is None else total + waves, count + 1
    return None if total is None else total / count


def _detail(frame: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w"]:
    """What differs from its surroundings, in levels of luma."""
    luma = frame.astype(np.float64) @ _LUMA
    detail: Float[np.ndarray, "h w"] = luma - _blurred(luma)
    return detail


def _waves(detail: Float[np.ndarray, "h w"]) -> Float[np.ndarray, " waves"]:
    """The cosine transform of the detail, without its edges, at the waves that carry the mark."""
    limit = max(_DETAIL, float(np.median(np.abs(detail))))
    height, width = detail.shape
    everything = _cosines(height) @ np.clip(detail, -limit, limit) @ _cosines(width).T
    found: Float[np.ndarray, " waves"] = everything[_band()]
    return found


def _room(detail: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """How much louder than on a flat wall the mark may be at each pixel: a lone edge hides little, texture a lot."""
    return 1 + _LOUDER * _blurred(np.minimum(np.abs(detail), _TEXTURE)) / _TEXTURE


def _blurred(picture: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """The mean of every pixel's neighbourhood, a box of about a 16th of each side."""
    return _mean_of_rows(_mean_of_rows(picture).T).T


def _mean_of_rows(picture: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n m"]:
    reach = max(1, round(len(picture) / _BLUR))
    sums = np.cumsum(np.pad(picture, ((reach + 1, reach), (0, 0)), mode="edge"), axis=0)
    mean: Float[np.ndarray, "n m"] = (sums[2 * reach + 1 :] - sums[: -2 * reach - 1]) / (2 * reach + 1)
    return mean


@lru_cache(maxsize=16)
def _cosines(length: int) -> Float[np.ndarray, "u n"]:
    """Rows of the orthonormal DCT-II of so many pixels, the first `_FINEST`."""
    u, x = np.arange(_FINEST), (np.arange(length) + 0.5) / length
    rows: Float[np.ndarray, "u n"] = math.sqrt(2 / length) * np.cos(math.pi * einsum(u, x, "u, n -> u n"))
    return rows


@lru_cache(maxsize=1)
def _band() -> tuple[Int[np.ndarray, " waves"], Int[np.ndarray, " waves"]]:
    """Vertical and horizontal half periods of each wave: neither all level nor all upright, as edges of things are."""
    u = np.arange(_FINEST)
    radius = np.hypot(rearrange(u, "u -> u 1"), u)
    taken = (radius >= _COARSEST) & (radius < _FINEST) & (rearrange(u, "u -> u 1") >= 2) & (u >= 2)
    rows, columns = np.nonzero(taken)
    return rows, columns


@lru_cache(maxsize=16)
def _signs(key: bytes) -> Int[np.ndarray, " waves"]:
    """A fair coin for each wave. SHAKE-256, not a library's generator, whose streams change between versions."""
    count = len(_band()[0])
    drawn = np.frombuffer(hashlib.shake_256(b"signs" + key).digest(-(-count // 8)), np.uint8)
    return 2 * np.unpackbits(drawn)[:count].astype(np.int64) - 1


@lru_cache(maxsize=16)
def _bit_of_wave(key: bytes) -> Int[np.ndarray, " waves"]:
    """Which bit each wave says: dealt out by a shuffle of the key."""
    count = len(_band()[0])
    drawn = np.frombuffer(hashlib.shake_256(b"order" + key).digest(8 * count), ">u8")
    return np.argsort(np.argsort(drawn, kind="stable"), kind="stable") % _BITS


def _bits_of(message: int) -> Int[np.ndarray, " bits"]:
    """The message, most significant bit first, and the check bits."""
    word = message << CHECK | _check_of(message)
    return np.array([word >> place & 1 for place in reversed(range(_BITS))])


def _message_in(bits: Iterable[bool]) -> int | None:
    word = sum(int(bit) << place for place, bit in enumerate(reversed(list(bits))))
    message, check = divmod(word, 1 << CHECK)
    return message if _check_of(message) == check else None


def _check_of(message: int) -> int:
    return zlib.crc32(message.to_bytes(MESSAGE // 8, "big")) % (1 << CHECK)
