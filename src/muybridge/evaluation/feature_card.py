"""The figures on the card of the features:  python -m muybridge.evaluation.feature_card  (half a minute on one core).

How much of held-out clips the network recognises, and how far sets of clips that are broken on purpose are from true
ones in what it sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from jaxtyping import UInt8
from scipy.ndimage import gaussian_filter

from muybridge.evaluation.feature_training import Labels, sample_windows
from muybridge.evaluation.features import SIDE, FeatureNet, Features, Frames, as_input, clip_features, load_features
from muybridge.evaluation.frechet import frechet_distance
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.simulation.clip import simulate

Change = Callable[[Frames], Frames]


@torch.inference_mode()
def accuracy(net: FeatureNet, frames: UInt8[np.ndarray, "n 16 64 64 3"], labels: Labels) -> dict[str, float]:
    """Shares that are right, of all windows: things and motions as sets (Jaccard), the others by their best guess.

    `shift` is the mean error of a colour's way over the window, in pixels of 64.
    """
    parts = [net.seen(net(as_input(part))) for part in np.array_split(frames, max(1, len(frames) // 64))]
    seen = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    found: dict[str, float] = {}
    for name in ("subject", "count", "camera"):
        found[name] = float((seen[name].argmax(-1) == labels[name]).float().mean())
    for name in ("thing", "motion"):
        guess, true = seen[name] > 0, labels[name] > 0
        found[name] = float(((guess & true).sum(-1) / (guess | true).sum(-1).clamp(min=1)).mean())
    found["shift"] = (
        float(((seen["shift"] - labels["shift"]).abs() * labels["moved"]).sum() / labels["moved"].sum()) * SIDE
    )
    return found


def blurred(sigma: float) -> Change:
    """By so many pixels, of 64."""
    return lambda frames: np.rint(gaussian_filter(frames.astype(np.float32), (0, sigma, sigma, 0))).astype(np.uint8)


def noisy(levels: float) -> Change:
    """Other noise in every frame, of so many levels."""

    def change(frames: Frames) -> Frames:
        noise = np.random.default_rng(0).normal(0, levels, frames.shape)
        return np.rint(frames + noise).clip(0, 255).astype(np.uint8)

    return change


def shuffled(share: float) -> Change:
    """So large a share of the frames in a random order, the others in their places."""

    def change(frames: Frames) -> Frames:
        rng, order = np.random.default_rng(0), np.arange(len(frames))
        some = rng.choice(len(frames), round(share * len(frames)), replace=False)
        order[some] = rng.permutation(some)
        return frames[order]

    return change


def frozen(share: float) -> Change:
    """Standing still from so large a share before the end."""
    return lambda frames: frames[np.minimum(np.arange(len(frames)), round((1 - share) * (len(frames) - 1)))]


CHANGES: Mapping[str, tuple[Change, Change]] = {
    "blur of 0.5 and 1.5 pixels": (blurred(0.5), blurred(1.5)),
    "noise of 8 and 16 levels": (noisy(8), noisy(16)),
    "a quarter of the frames shuffled, all": (shuffled(0.25), shuffled(1.0)),
    "three quarters frozen, all (a static copy)": (frozen(0.75), frozen(1.0)),
}
"""A little and a lot of each."""


def distances(
    features: Features, real: Iterable[Frames], clips: Iterable[Frames]
) -> dict[str, tuple[float, float, float]]:
    """Of true clips from other true ones, and of the same a little and very much broken, for each way to break them."""
    true, made = np.concatenate([features(clip) for clip in real]), list(clips)

    def distance(change: Change) -> float:
        return frechet_distance(np.concatenate([features(change(clip)) for clip in made]), true)

    unbroken = distance(lambda frames: frames)
    return {name: (unbroken, distance(little), distance(much)) for name, (little, much) in CHANGES.items()}


def held_out(first: int, clips: int) -> list[Frames]:
    """Clips of 33 frames of 64x64 that nothing was trained on."""
    return [simulate(seed, height=SIDE, width=SIDE).rgb for seed in range(HELD_OUT + first, HELD_OUT + first + clips)]


def main() -> None:
    torch.set_num_threads(1)
    net, first = load_features(), 700_000
    for name, value in accuracy(net, *sample_windows(range(HELD_OUT + first, HELD_OUT + first + 200))).items():
        print(f"{name:44} {value:.3f}")
    found = distances(clip_features(net), held_out(first, 100), held_out(first + 200, 100))
    for name, (none, little, much) in found.items():
        print(f"{name:44} {none:.3f} {little:.3f} {much:.3f}")


if __name__ == "__main__":
    main()
