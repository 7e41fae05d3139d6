"""Pictures from files: decoded as a reference decodes them, and refused in one line where they do not fit."""

import io
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from streaming.errors import InputError, StreamingError
from streaming.runtime.pictures import on_white, read_picture

SHAPE = (6, 9, 3)


def pixels(seed=0, channels=3, shape=SHAPE):
    return np.random.default_rng(seed).integers(0, 256, (*shape[:2], channels)).astype(np.uint8)


def png(array, **options):
    out = io.BytesIO()
    Image.fromarray(array.squeeze() if array.shape[-1] == 1 else array).save(out, "PNG", **options)
    return out.getvalue()


def test_a_png_is_its_pixels(tmp_path):
    array = pixels()
    (tmp_path / "a.png").write_bytes(png(array))
    for source in (png(array), tmp_path / "a.png", str(tmp_path / "a.png")):
        found = read_picture(source, SHAPE)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, array)
    grey = pixels(channels=1)
    np.testing.assert_array_equal(read_picture(png(grey), SHAPE), np.repeat(grey, 3, axis=2))


def test_what_is_transparent_is_white():
    array = pixels(channels=4)
    share = array[..., 3:].astype(np.float64) / 255
    expected = share * array[..., :3] + (1 - share) * 255
    np.testing.assert_allclose(read_picture(png(array), SHAPE), expected, rtol=1e-6)
    np.testing.assert_allclose(on_white(array), expected, rtol=1e-6)
    palette = Image.fromarray(pixels()).quantize(16)
    out = io.BytesIO()
    palette.save(out, "PNG", transparency=3)
    found = read_picture(out.getvalue(), SHAPE)
    hidden = np.asarray(palette) == 3
    assert hidden.any()
    assert (found[hidden] == 255).all()
    np.testing.assert_array_equal(found[~hidden], np.asarray(palette.convert("RGB"))[~hidden])


def test_a_jpeg_is_turned_as_its_camera_says():
    flat = np.zeros((6, 9, 3), np.uint8)
    flat[:, 5:] = 250
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # the camera was turned: what is stored lies on its side
    Image.fromarray(flat).save(out, "JPEG", quality=95, exif=exif)
    assert not np.any(read_picture(out.getvalue(), (9, 6, 3))[:4] > 60)
    assert not np.any(read_picture(out.getvalue(), (9, 6, 3))[6:] < 190)
    with pytest.raises(InputError, match=r"^the picture has 6 x 9 pixels, the model takes 9 x 6"):
        read_picture(out.getvalue(), SHAPE)


@pytest.mark.parametrize("mode", ["1", "CMYK", "YCbCr", "P", "LA"])
def test_other_kinds_of_pixels_become_colours(mode):
    image = Image.fromarray(pixels()).convert(mode)
    out = io.BytesIO()
    image.save(out, "JPEG" if mode in ("CMYK", "YCbCr") else "PNG")
    assert read_picture(out.getvalue(), SHAPE).shape == SHAPE


def test_another_size_is_refused_or_resized():
    array = np.full((12, 18, 3), 77, np.uint8)
    with pytest.raises(InputError, match=r"^the picture has 18 x 12 pixels, the model takes 9 x 6; crop it, or allow"):
        read_picture(png(array), SHAPE)
    np.testing.assert_array_equal(read_picture(png(array), SHAPE, resize=True), np.full(SHAPE, 77))


def test_a_damaged_file_is_refused_wherever_it_is_cut():
    for data in (png(pixels(shape=(30, 40, 3))), png(pixels(channels=4, shape=(30, 40, 3)))):
        whole = read_picture(data, (30, 40, 3))
        for end in range(0, len(data) - 40, 37):  # in the last bytes there are only checksums and marks
            with pytest.raises(InputError, match=r"^the picture is (damaged \(.*\); write|neither PNG)"):
                read_picture(data[:end], (30, 40, 3))
        np.testing.assert_array_equal(read_picture(data + b"more", (30, 40, 3)), whole)


def test_no_flipped_bit_is_more_than_a_refusal():
    data, rng = png(pixels(shape=(30, 40, 3))), np.random.default_rng(1)
    refused = 0
    for _ in range(300):
        wrong = bytearray(data)
        wrong[rng.integers(8, len(data))] ^= 1 << rng.integers(8)
        try:
            assert read_picture(bytes(wrong), (30, 40, 3)).shape == (30, 40, 3)
        except InputError:
            refused += 1
    assert refused > 200


@pytest.mark.parametrize("data", [b"", b"GIF89a" + bytes(40), b"text"], ids=["empty", "gif", "text"])
def test_what_is_no_picture_is_named(data, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.png is neither PNG nor JPEG"):
        read_picture(path, SHAPE)


def test_a_picture_that_says_it_is_huge_is_refused():
    data = bytearray(png(pixels()))
    data[16:24] = (60000).to_bytes(4, "big") * 2  # width and height; the checksum of the header is after them
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    with pytest.raises(InputError, match=r"^the picture is too large"):
        read_picture(bytes(data), SHAPE, resize=True)


def test_sixteen_bits_and_models_without_colours_are_refused():
    out = io.BytesIO()
    Image.fromarray(np.zeros(SHAPE[:2], np.uint16)).save(out, "PNG")
    with pytest.raises(InputError, match=r"^the picture has pixels of the kind I;16, expected 8 bits"):
        read_picture(out.getvalue(), SHAPE)
    for shape in ((5, 7), (6, 9, 2)):
        with pytest.raises(InputError, match=r"^the model takes arrays of shape .* no pictures in colour"):
            read_picture(png(pixels()), shape)
    with pytest.raises(OSError, match="missing"):
        read_picture("missing.png", SHAPE)


def test_without_pillow_the_extra_is_named(monkeypatch):
    data = png(pixels())
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(StreamingError, match=r"pip install 'rnnzoo\[pictures\]'"):
        read_picture(data, SHAPE)
