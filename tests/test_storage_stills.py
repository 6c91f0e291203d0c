"""Real pictures of every kind that cameras and programs write, damaged ones, and hostile ones."""

from __future__ import annotations

import io
import os
import resource
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from muybridge.storage import stills
from muybridge.storage.stills import contact_sheet, fit, read_still

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)


def stored(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def as_bytes(path: Path) -> np.ndarray:
    """What `read_still` reads, as uint8 (h, w, 3)."""
    still = read_still(path)
    assert still.dtype == torch.float32
    assert still.abs().max() <= 1
    return ((still + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.ppm", "a.webp"])
def test_lossless_kinds_are_read_exactly(tmp_path: Path, name: str) -> None:
    path = stored(tmp_path / name, Image.fromarray(COLOURS), **({"lossless": True} if name == "a.webp" else {}))
    assert np.array_equal(as_bytes(path), COLOURS)


def test_one_pixel(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.png", Image.new("RGB", (1, 1), (255, 0, 128)))
    assert as_bytes(path).tolist() == [[[255, 0, 128]]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_says_which_way_is_up(tmp_path: Path, orientation: int) -> None:
    """The eight orientations of EXIF 2.32, 4.6.4: stored = what the sensor saw; upright = what people see."""
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a.swapaxes(0, 1), 2),
        8: lambda a: np.rot90(a, 1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = stored(tmp_path / "a.png", Image.fromarray(COLOURS), exif=exif)
    assert np.array_equal(as_bytes(path), undo[orientation](COLOURS))


def test_greys(tmp_path: Path) -> None:
    grey = COLOURS[..., 0]
    assert np.array_equal(as_bytes(stored(tmp_path / "l.png", Image.fromarray(grey))), np.stack([grey] * 3, -1))
    bits = stored(tmp_path / "1.png", Image.fromarray(grey > 127))
    assert np.array_equal(as_bytes(bits)[..., 1], np.where(grey > 127, 255, 0))


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_sixteen_bit_greys_are_rounded(tmp_path: Path, name: str) -> None:
    deep = np.random.default_rng(1).integers(0, 65536, (6, 8)).astype(np.uint16)
    deep[0, :4] = [0, 65535, 128, 129]  # 128 is nearer to 0 of 255, 129 to 1
    back = as_bytes(stored(tmp_path / name, Image.fromarray(deep)))
    assert np.array_equal(back[..., 0], np.rint(deep / 257).astype(np.uint8))
    assert back[0, :4, 2].tolist() == [0, 255, 0, 1]


def png(header: bytes, *data: bytes) -> bytes:
    """A PNG by hand, for what Pillow does not write."""
    chunks = [(b"IHDR", header), *((b"IDAT", part) for part in data), (b"IEND", b"")]
    packed = [struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def test_sixteen_bit_colours(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in COLOURS.astype(np.uint16) * 257)
    (tmp_path / "a.png").write_bytes(png(struct.pack(">IIBBBBB", 8, 6, 16, 2, 0, 0, 0), zlib.compress(rows)))
    assert np.array_equal(as_bytes(tmp_path / "a.png"), COLOURS)


def test_cmyk(tmp_path: Path) -> None:
    inks = Image.merge("CMYK", [Image.new("L", (8, 8), ink) for ink in (0, 255, 255, 0)])
    for name in ("a.jpg", "a.tiff"):
        assert np.abs(as_bytes(stored(tmp_path / name, inks)).astype(int) - [255, 0, 0]).max() <= 3


def test_what_is_transparent_lies_over_white(tmp_path: Path) -> None:
    half = np.full((4, 4, 4), (255, 0, 0, 51), np.uint8)  # a fifth red, four fifths white
    for name in ("a.png", "a.tiff"):
        assert np.abs(as_bytes(stored(tmp_path / name, Image.fromarray(half))) - [255, 204, 204]).max() <= 1
    grey = Image.fromarray(np.full((4, 4, 2), (0, 51), np.uint8), "LA")
    assert np.abs(as_bytes(stored(tmp_path / "la.png", grey)).astype(int) - 204).max() <= 1
    palette = Image.fromarray(COLOURS).quantize(8)
    opaque = np.asarray(palette.convert("RGB"))
    assert np.array_equal(as_bytes(stored(tmp_path / "p.png", palette)), opaque)
    index = np.asarray(palette)[0, 0]
    clear = as_bytes(stored(tmp_path / "p.gif", palette, transparency=int(index)))
    assert (clear[np.asarray(palette) == index] == 255).all()
    assert np.array_equal(clear[np.asarray(palette) != index], opaque[np.asarray(palette) != index])


def test_colour_profiles_are_honoured(tmp_path: Path) -> None:
    """L*a*b* of a known red through a Lab profile is that red in sRGB; a profile of no meaning is said to be one."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = stored(tmp_path / "a.png", Image.fromarray(COLOURS), icc_profile=srgb)
    assert np.abs(as_bytes(path).astype(int) - COLOURS).max() <= 1
    path = stored(tmp_path / "b.png", Image.fromarray(COLOURS), icc_profile=swapped(srgb))
    assert np.abs(as_bytes(path).astype(int) - COLOURS[..., [1, 0, 2]]).max() <= 2
    path = stored(tmp_path / "c.png", Image.fromarray(COLOURS), icc_profile=b"no profile at all")
    with pytest.warns(UserWarning, match=r"the colour profile in .*c\.png cannot be used"):
        assert np.array_equal(as_bytes(path), COLOURS)


def swapped(profile: bytes) -> bytes:
    """The profile of a device whose red is green: the two tags change their names."""
    return profile.replace(b"rXYZ", b"@@@@").replace(b"gXYZ", b"rXYZ").replace(b"@@@@", b"gXYZ")


def test_animations_give_their_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime")]
    path = stored(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert as_bytes(path)[0, 0].tolist() == [255, 0, 0]


def test_stills_too_large_for_any_model_are_reduced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stills, "LONGEST", 64)
    fine = Image.fromarray(np.indices((160, 320)).sum(0) % 2 == 0)  # a chequerboard that averages to grey
    deep = Image.fromarray(np.asarray(fine).astype(np.uint16) * 65535)
    pictures = [fine, deep, *(fine.convert("L").convert(mode) for mode in ("L", "P", "LA", "RGB", "RGBA", "CMYK"))]
    for picture in pictures:
        for name in ("a.jpg", "a.tiff") if picture.mode in ("L", "RGB", "CMYK") else ("a.tiff",):
            still = read_still(stored(tmp_path / name, picture))
            assert still.shape == (3, 32, 64)
            assert still.abs().max() < 0.2, (name, picture.mode)


def test_files_that_are_no_still(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a picture, they said")
    (tmp_path / "empty.png").write_bytes(b"")
    stored(tmp_path / "float.tiff", Image.fromarray(np.zeros((4, 4), np.float32)))
    for path, sentence in {
        tmp_path: "it is a folder: give the name of a picture",
        tmp_path / "none.png": "it does not exist",
        tmp_path / "a.txt": "it is no picture of a known kind: save it as one of PNG, JPEG",
        tmp_path / "empty.png": "it is no picture of a known kind",
        tmp_path / "float.tiff": "floating-point pixels have no known white",
    }.items():
        with pytest.raises(ValueError, match=sentence):
            read_still(path)


@pytest.mark.parametrize("side", [8_001, 9_500, 20_000, 100_000])
def test_bombs_are_seen_by_their_header(tmp_path: Path, side: int) -> None:
    """Decoded, the smallest would take 192 MB; refusing them must not add to the peak of this process."""
    packer = zlib.compressobj(9)
    line = b"\0" + b"\0" * (side * 3)
    data = b"".join(packer.compress(line) for _ in range(min(side, 300))) + packer.flush()
    path = tmp_path / "a.png"
    path.write_bytes(png(struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0), data))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="it has over 64,000,000 pixels: make it smaller first"):
        read_still(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB on Linux, bytes on macOS


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(COLOURS.repeat(8, 0).repeat(8, 1)).save(buffer, kind)
    return buffer.getvalue()


KINDS = {kind: encoded(kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM")}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(sorted(KINDS)), data=st.data())
def test_damaged_stills_are_read_or_refused(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    content = bytearray(KINDS[kind])
    for _ in range(data.draw(st.integers(0, 10))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    read, refused = attempt(tmp_path / "a")
    assert refused.startswith(f"cannot read {tmp_path / 'a'}: ") if read is None else read.isfinite().all()


def attempt(path: Path) -> tuple[torch.Tensor | None, str]:
    try:
        return read_still(path), ""
    except ValueError as error:
        return None, str(error)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "PPM"])
def test_stills_cut_off_are_refused(tmp_path: Path, kind: str) -> None:
    for part in (0.3, 0.6, 0.9):
        (tmp_path / "a").write_bytes(KINDS[kind][: int(len(KINDS[kind]) * part)])
        with pytest.raises(ValueError, match=r"cannot read .*: .*:"):
            read_still(tmp_path / "a")


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_fit_keeps_flat_colours(rows: int, columns: int, height: int, width: int) -> None:
    still = torch.tensor([-1.0, 0.25, 1.0])[:, None, None].expand(3, rows, columns)
    fitted = fit(still, height, width)
    assert fitted.shape == (3, height, width)
    torch.testing.assert_close(fitted, still[:, :1, :1].expand(3, height, width), atol=1e-5, rtol=0)


def test_fit_takes_the_middle_and_does_not_alias() -> None:
    still = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(fit(still, 16, 16), still)
    torch.testing.assert_close(fit(still, 16, 8), still[:, :, 4:12])
    torch.testing.assert_close(fit(still, 4, 16), still[:, 6:10])
    stripes = torch.tensor([-1.0, 1.0]).repeat(32)[None, None].expand(3, 64, 64)  # finer than 16 columns can show
    assert fit(stripes, 16, 16)[:, 4:-4, 4:-4].abs().max() < 0.1


def test_contact_sheet(tmp_path: Path) -> None:
    frames = np.stack([np.full((90, 160, 3), 7 * i, np.uint8) for i in range(33)])
    contact_sheet(frames, tmp_path / "a.png", fps=15.0, columns=4, title="a small red ball 🔴 " * 500)
    with Image.open(tmp_path / "a.png") as image:
        sheet = np.asarray(image)
    cells = [7 * round(i * 32 / 11) for i in range(12)]
    shown = {int(v) for v in np.unique(sheet.reshape(-1, 3)[(np.ptp(sheet.reshape(-1, 3), axis=1) == 0)][:, 0])}
    assert set(cells) <= shown
    assert sheet.shape[1] == 2 * 24 + 4 * 160 + 3 * 12
    for value in cells:
        assert (sheet == value).all(-1).sum() >= 160 * 90
    assert os.listdir(tmp_path) == ["a.png"]


def test_contact_sheets_of_all_sizes(tmp_path: Path) -> None:
    for shape in ((1, 16, 16, 3), (2, 1, 1, 3), (5, 720, 1280, 3), (3, 8, 400, 3)):
        contact_sheet(np.full(shape, 99, np.uint8), tmp_path / "a.png", captions=["😀" * 200] * shape[0])
        with Image.open(tmp_path / "a.png") as sheet:
            assert max(sheet.size) < 2000


def test_sheets_that_cannot_be_made(tmp_path: Path) -> None:
    frames = np.zeros((2, 16, 16, 3), np.uint8)
    with pytest.raises(ValueError, match="at least one frame"):
        contact_sheet(frames[:0], tmp_path / "a.png", fps=15.0)
    with pytest.raises(ValueError, match="1 captions for 2 frames"):
        contact_sheet(frames, tmp_path / "a.png", fps=15.0, captions=["one"])
    with pytest.raises(ValueError, match="it is a folder"):
        contact_sheet(frames, tmp_path, fps=15.0)
