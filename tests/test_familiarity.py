"""Stills a model knows and stills it does not, by the latents of the real autoencoder kind."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_models import autoencoder
from torch import Tensor

from muybridge.conditioning.familiarity import Familiarity, doubts, features
from muybridge.storage.checkpoint import load_tensors, save_tensors


def tables(count: int, seed: int, size: int = 64) -> Tensor:
    """Stills of one kind: soft light from above, a ball in the middle region, every one with colours of its own."""
    generator = torch.Generator().manual_seed(seed)
    down = torch.linspace(0, 1, size)[:, None].expand(size, size)
    colour = torch.rand(count, 2, 3, 1, 1, generator=generator)
    place = torch.randint(size // 4, 3 * size // 4, (count, 2, 1, 1), generator=generator)
    rows, columns = torch.arange(size)[:, None], torch.arange(size)
    ball = ((rows - place[:, 0]) ** 2 + (columns - place[:, 1]) ** 2 < (size // 6) ** 2)[:, None]
    ground = 0.3 * colour[:, 0] + 0.5 * down
    return torch.where(ball, colour[:, 1], ground) * 2 - 1


def encoded(stills: Tensor) -> tuple[Tensor, Tensor]:
    """Latents, and how many dB of each still the autoencoder keeps."""
    model = autoencoder()
    with torch.no_grad():
        latents, _ = model.encode(stills[:, None])
        kept = model.decode(latents)[0][:, 0]
    return latents[:, 0], 10 * torch.log10(4 / (kept - stills).square().mean(dim=(1, 2, 3)))


@pytest.fixture(scope="module")
def known() -> Familiarity:
    return Familiarity.fit(*encoded(tables(300, seed=1)))


STRANGE = {
    "noise": torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1,
    "black": torch.full((3, 64, 64), -1.0),
    "a gradient across": torch.linspace(-1, 1, 64).expand(3, 64, 64),
    "a chessboard": (((torch.arange(64)[:, None] // 4 + torch.arange(64) // 4) % 2) * 2.0 - 1).expand(3, 64, 64),
    "lines of text": torch.where(
        (torch.arange(64)[:, None] % 8 < 4) & (torch.rand(64, 64, generator=torch.Generator().manual_seed(1)) < 0.5),
        -1.0,
        1.0,
    ).expand(3, 64, 64),
    "a negative": -tables(1, seed=3)[0],
}


@pytest.mark.parametrize("name", STRANGE)
def test_other_pictures_are_unfamiliar(known: Familiarity, name: str) -> None:
    latents, psnrs = encoded(STRANGE[name][None])
    assert known.score(latents[0]) > 1
    assert len(doubts(known, latents[0], float(psnrs[0]), "nano", "tables")) == 1


def test_stills_of_the_kind_are_familiar(known: Familiarity) -> None:
    latents, _ = encoded(tables(200, seed=2))
    scores = torch.tensor([known.score(latent) for latent in latents])
    assert float((scores <= 1).float().mean()) >= 0.98
    assert 0.3 < float(scores.median()) < 0.9


def test_the_score_is_the_mahalanobis_distance_over_the_limit() -> None:
    """In closed form, where the features are independent: the root of the sum of squared deviations."""
    channels = 2
    one = Familiarity(
        torch.zeros(4 * channels), torch.diag(torch.full((4 * channels,), 4.0)), torch.tensor(3.0), torch.tensor(30.0)
    )
    latent = torch.randn(channels, 5, 6, generator=torch.Generator().manual_seed(0))
    feature = features(latent[None])[0]
    assert one.score(latent) == pytest.approx(2 * float(feature.norm()) / 3, rel=1e-5)


def test_features_in_closed_form() -> None:
    ramp = 3.0 * torch.arange(4.0)[:, None].expand(4, 5) + 1
    found = features(torch.stack([ramp, ramp.flip(0)])[None])[0]
    deviation = float(ramp.std())
    expected = [5.5, 5.5] + [math.log(value + 1e-3) for value in (deviation, deviation, 3.0, 3.0, 0.0, 0.0)]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_the_limit_is_measured_outside_the_fit() -> None:
    """Fewer stills than features: within the fit all would seem near, outside it they are as far as they are."""
    latents = torch.randn(60, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    few = Familiarity.fit(latents, torch.full((60,), 30.0))
    inside = torch.tensor([few.score(latent) for latent in latents])
    new = torch.randn(200, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    outside = torch.tensor([few.score(latent) for latent in new])
    assert inside.max() < 0.8
    assert float((outside <= 1).float().mean()) > 0.9


def test_a_channel_that_never_changes_is_no_obstacle() -> None:
    latents = torch.randn(100, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    latents[:, 1] = 0.5
    fitted = Familiarity.fit(latents, torch.full((100,), 30.0))
    assert fitted.score(latents[0]) <= 1.1
    changed = latents[0].clone()
    changed[1] = 1
    assert fitted.score(changed) > 10


def test_size_and_aspect_may_differ(known: Familiarity) -> None:
    wide, _ = encoded(tables(1, seed=4, size=96)[..., :64, :])
    assert known.score(wide[0]) < 2


def test_it_comes_back_from_a_file(known: Familiarity, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("known") / "familiarity.safetensors"
    save_tensors(path, known.tensors())
    again = Familiarity.from_tensors(load_tensors(path)[0])
    latent = encoded(STRANGE["noise"][None])[0][0]
    assert again.score(latent) == known.score(latent)


def test_doubts_say_what_and_the_mend(known: Familiarity) -> None:
    familiar = encoded(tables(1, seed=9))[0][0]
    least = float(known.least_psnr)
    suits = "plain tabletop scenes with balls, boxes and cylinders"
    assert doubts(known, familiar, least + 1, "nano", suits) == []
    (sentence,) = doubts(known, familiar, least - 5, "nano", suits)
    assert f"keeps {least - 5:.1f} dB of it, {least:.1f} or more" in sentence
    strange = encoded(STRANGE["black"][None])[0][0]
    (sentence,) = doubts(known, strange, least + 9, "nano", suits)
    assert sentence.startswith(f"the still is unlike what nano knows (score {known.score(strange):.2f}, at most 1")
    assert sentence.endswith(f": it suits {suits}")


def test_misuse_is_told() -> None:
    with pytest.raises(AssertionError, match="20 stills"):
        Familiarity.fit(torch.randn(20, 2, 4, 4), torch.zeros(20))
    fitted = Familiarity.fit(torch.randn(60, 2, 4, 4), torch.zeros(60))
    with pytest.raises(AssertionError, match="3 channels, but fitted to 2"):
        fitted.score(torch.randn(3, 4, 4))
    with pytest.raises(AssertionError, match="no neighbours"):
        fitted.score(torch.randn(2, 1, 4))
