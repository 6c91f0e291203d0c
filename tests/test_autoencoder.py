"""The video autoencoder: shapes, causality, chunks with a carry, translation, refusals; with every weight drawn."""

from __future__ import annotations

import pytest
import torch
from tiny_models import AUTOENCODER, autoencoder
from torch import Tensor

from muybridge.tokenizer.autoencoder import AutoencoderConfig, VideoAutoencoder
from muybridge.types import Carry


@pytest.fixture(scope="module")
def model() -> VideoAutoencoder:
    return autoencoder().requires_grad_(False)


def video(frames: int, height: int = 16, width: int = 24, batch: int = 2) -> Tensor:
    return torch.rand(batch, frames, 3, height, width, generator=torch.Generator().manual_seed(frames)) * 2 - 1


def latent(frames: int, rows: int = 2, columns: int = 3, batch: int = 2) -> Tensor:
    shape = (batch, frames, AUTOENCODER.channels, rows, columns)
    return torch.randn(shape, generator=torch.Generator().manual_seed(frames))


@pytest.mark.parametrize("k", [0, 1, 3])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 40)])
def test_shapes(model: VideoAutoencoder, k: int, height: int, width: int) -> None:
    encoded, _ = model.encode(video(1 + 4 * k, height, width))
    assert encoded.shape == (2, 1 + k, AUTOENCODER.channels, height // 8, width // 8)
    decoded, _ = model.decode(encoded)
    assert decoded.shape == (2, 1 + 4 * k, 3, height, width)


@pytest.mark.parametrize("chunks", [(1, 4, 4, 4), (5, 8), (9, 4), (1, 12)])
def test_encoding_in_chunks_is_encoding(model: VideoAutoencoder, chunks: tuple[int, ...]) -> None:
    whole, _ = model.encode(video(13))
    carry: Carry | None = None
    parts = []
    for chunk in video(13).split(chunks, dim=1):
        part, carry = model.encode(chunk, carry)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize("chunks", [(1, 1, 1, 1), (2, 2), (3, 1), (1, 3)])
def test_decoding_in_chunks_is_decoding(model: VideoAutoencoder, chunks: tuple[int, ...]) -> None:
    whole, _ = model.decode(latent(4))
    carry: Carry | None = None
    parts = []
    for chunk in latent(4).split(chunks, dim=1):
        part, carry = model.decode(chunk, carry)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=1e-4)


def test_the_past_is_read(model: VideoAutoencoder) -> None:
    """Else the tests of chunks would hold without any carry."""
    second = video(9)[:, 5:]
    _, carry = model.encode(video(9)[:, :5])
    forgotten = {name: torch.zeros_like(value) for name, value in carry.items()}
    assert not torch.allclose(model.encode(second, carry)[0], model.encode(second, forgotten)[0], atol=1e-2)
    _, carry = model.decode(latent(3)[:, :2])
    forgotten = {name: torch.zeros_like(value) for name, value in carry.items()}
    assert not torch.allclose(model.decode(latent(3)[:, 2:], carry)[0], model.decode(latent(3)[:, 2:], forgotten)[0])


def test_a_carry_is_one_frame_however_long_the_clip(model: VideoAutoencoder) -> None:
    short, long = model.encode(video(5))[1], model.encode(video(13))[1]
    assert {name: value.shape for name, value in short.items()} == {name: value.shape for name, value in long.items()}
    assert all(value.shape[1] == 1 for value in short.values())


@pytest.mark.parametrize("changed", [1, 4, 5, 8])
def test_a_later_frame_changes_no_earlier_latent(model: VideoAutoencoder, changed: int) -> None:
    before, after = video(9), video(9)
    after[:, changed] = -after[:, changed]
    group = 1 + (changed - 1) // 4
    one, other = model.encode(before)[0], model.encode(after)[0]
    torch.testing.assert_close(one[:, :group], other[:, :group], rtol=0, atol=1e-6)
    assert (one[:, group] - other[:, group]).abs().max() > 1e-2


@pytest.mark.parametrize("changed", [1, 3])
def test_a_later_latent_changes_no_earlier_pixel(model: VideoAutoencoder, changed: int) -> None:
    before, after = latent(4), latent(4)
    after[:, changed] = -after[:, changed]
    first = 1 + 4 * (changed - 1)
    one, other = model.decode(before)[0], model.decode(after)[0]
    torch.testing.assert_close(one[:, :first], other[:, :first], rtol=0, atol=1e-6)
    assert (one[:, first] - other[:, first]).abs().max() > 1e-2


def test_clips_of_a_batch_do_not_meet(model: VideoAutoencoder) -> None:
    both, _ = model.encode(video(5))
    alone, _ = model.encode(video(5)[1:])
    torch.testing.assert_close(both[1:], alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(model.decode(both)[0][1:], model.decode(alone)[0], rtol=0, atol=1e-5)


def test_eight_pixels_are_one_place_away_from_borders(model: VideoAutoencoder) -> None:
    """The widest reach is the decoder's: 7 convolutions of 3x3 at 8 pixels a place and 3 at 4, 68 pixels in all."""
    wide, border = video(5, 24, 184, batch=1), 9
    here, shifted = model.encode(wide[..., :-8])[0], model.encode(wide[..., 8:])[0]
    torch.testing.assert_close(here[..., border + 1 : -border], shifted[..., border : -border - 1], rtol=0, atol=1e-5)
    here, shifted = model.decode(latent(2, 3, 23)[..., :-1])[0], model.decode(latent(2, 3, 23)[..., 1:])[0]
    border *= 8
    torch.testing.assert_close(here[..., border + 8 : -border], shifted[..., border : -border - 8], rtol=0, atol=1e-5)


def test_mean_and_std_move_latents_and_not_pixels() -> None:
    plain, moved = autoencoder(), autoencoder()
    plain.mean.zero_()
    plain.std.fill_(1)
    with torch.no_grad():
        raw, _ = plain.encode(video(5))
        normal, _ = moved.encode(video(5))
        torch.testing.assert_close(normal * moved.std + moved.mean, raw, rtol=0, atol=1e-5)
        torch.testing.assert_close(moved.decode(normal)[0], plain.decode(raw)[0], rtol=0, atol=1e-4)


def test_bf16_is_near_float32(model: VideoAutoencoder) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        rounded, carry = model.encode(video(5))
        more, _ = model.encode(video(13)[:, 5:9], carry)
    exact, carry = model.encode(video(5))
    further, _ = model.encode(video(13)[:, 5:9], carry)
    for one, other in ((rounded, exact), (more, further)):
        assert (one.float() - other).square().mean().sqrt() < 0.03 * other.square().mean().sqrt()


def test_training_starts_linear_and_gradient_reaches_every_weight() -> None:
    torch.manual_seed(0)
    fresh = VideoAutoencoder(AUTOENCODER)
    with torch.no_grad():
        one, other = video(5), video(5).flip(0)
        halfway = fresh.decode(fresh.encode((one + other) / 2)[0])[0]
        mean = (fresh.decode(fresh.encode(one)[0])[0] + fresh.decode(fresh.encode(other)[0])[0]) / 2
        torch.testing.assert_close(halfway, mean, rtol=0, atol=1e-5)
    perturbed = autoencoder()
    perturbed.decode(perturbed.encode(video(9))[0])[0].square().mean().backward()
    for name, parameter in perturbed.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ((1, 4, 3, 16, 16), "take 1 or 5"),
        ((1, 0, 3, 16, 16), "take 1 or 5"),
        ((1, 5, 3, 12, 16), "multiples of 8"),
        ((1, 5, 3, 16, 20), "multiples of 8"),
        ((1, 5, 3, 16, 0), "multiples of 8"),
        ((1, 5, 4, 16, 16), "3 colours"),
        ((1, 5, 1, 16, 16), "3 colours"),
    ],
)
def test_what_cannot_be_encoded_is_refused(model: VideoAutoencoder, shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        model.encode(torch.zeros(shape))


@pytest.mark.parametrize("frames", [0, 1, 5, 7])
def test_a_chunk_that_goes_on_has_4k_frames(model: VideoAutoencoder, frames: int) -> None:
    _, carry = model.encode(video(5))
    with pytest.raises(ValueError, match="a chunk has 4k frames"):
        model.encode(video(9)[:, :frames], carry)


@pytest.mark.parametrize("shape", [(1, 2, 3, 2, 2), (1, 0, 4, 2, 2), (1, 2, 4, 0, 2)])
def test_what_cannot_be_decoded_is_refused(model: VideoAutoencoder, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="of 4 channels"):
        model.decode(torch.zeros(shape))


def test_the_usual_size_compresses_48_times() -> None:
    """4 x 8 x 8 pixels of 3 colours in 16 numbers."""
    config = AutoencoderConfig()
    assert 4 * config.spatial_stride**2 * 3 / config.channels == 48
