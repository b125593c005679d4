"""TIFF files: the page meant, and layouts beyond Pillow's."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.errors import DecodeError
from pipeline.photos.decode import decode
from tests.helpers.image_files import encoded, looks_like_quadrants, quadrants, smooth_photo

REDUCED, PAGE, MASK = 1, 2, 4
RAMP = np.linspace(0, 1, 64 * 48).reshape(48, 64)
RGB = np.dstack([RAMP, RAMP[::-1], RAMP[:, ::-1]])


def decoded(data):
    return decode(io.BytesIO(data))


def reason_of(data):
    with pytest.raises(DecodeError) as caught:
        decoded(data)
    return str(caught.value)


def tiff(values, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, values, metadata=None, **options)
    return file.getvalue()


def pages(*pictures):
    """A TIFF of several pages: pairs of a picture and its NewSubfileType."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for picture, kind in pictures:
            colours = "rgb" if np.ndim(np.asarray(picture)) == 3 else "minisblack"
            writer.write(np.asarray(picture), subfiletype=kind, metadata=None, photometric=colours)
    return file.getvalue()


def of_type(dtype, values):
    """0..1 as the whole range of a type."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(values * (limits.max - limits.min) + limits.min, limits.min, limits.max * (1 - 1e-9)).astype(dtype)


# Pages


THUMBNAIL = quadrants(12, 8)
BITMAP = np.zeros((32, 48), bool)


@pytest.mark.parametrize(
    "before",
    [[(THUMBNAIL, REDUCED)], [(BITMAP, MASK)], [(THUMBNAIL, REDUCED), (BITMAP, MASK)], [(BITMAP, REDUCED | MASK)]],
    ids=["thumbnail", "mask", "both", "mask-of-a-thumbnail"],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_first_page_neither_reduced_nor_a_mask(before, dtype):
    picture = of_type(dtype, np.asarray(quadrants()) / 255)
    photo = decoded(pages(*before, (picture, 0), (THUMBNAIL, REDUCED)))
    assert (photo.width, photo.height) == (48, 32)
    assert looks_like_quadrants(Image.fromarray(photo.rgb))
    number, count = len(before) + 1, len(before) + 2
    assert photo.note == f"page {number} of {count}, the first that is no reduced copy and no mask"


def test_old_tag_of_reduced_pages():
    """SubfileType, before NewSubfileType: 1 full, 2 reduced."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for picture, kind in ((THUMBNAIL, 2), (quadrants(), 1)):
            writer.write(np.asarray(picture), photometric="rgb", metadata=None, extratags=[(255, 3, 1, kind, False)])
    assert decoded(file.getvalue()).note.startswith("page 2 of 2")


def test_pages_of_equal_rank_and_reduced_copies_behind_change_nothing():
    assert decoded(pages((quadrants(), PAGE), (THUMBNAIL, PAGE))).note == "first of 2 frames"
    assert decoded(pages((quadrants(), 0), (THUMBNAIL, REDUCED))).width == 48


def test_only_reduced_pages():
    photo = decoded(pages((quadrants(), REDUCED), (THUMBNAIL, REDUCED)))
    assert (photo.width, photo.note) == (48, "first of 2 frames")


def test_orientation_is_that_of_the_page():
    upright = np.asarray(quadrants().transpose(Image.Transpose.ROTATE_90))
    for dtype in (np.uint8, np.uint16):
        file = io.BytesIO()
        with tifffile.TiffWriter(file) as writer:
            writer.write(np.asarray(THUMBNAIL), subfiletype=REDUCED, photometric="rgb", metadata=None)
            writer.write(
                of_type(dtype, upright / 255), photometric="rgb", metadata=None, extratags=[(274, 3, 1, 6, False)]
            )
        photo = decoded(file.getvalue())
        assert (photo.width, photo.height) == (48, 32)
        assert looks_like_quadrants(Image.fromarray(photo.rgb))


def test_too_many_pixels_on_a_later_page():
    data = pages((THUMBNAIL, REDUCED), (quadrants(), 0))
    with pytest.raises(DecodeError, match="48 x 32 pixels are more than max_pixels = 1000"):
        decode(io.BytesIO(data), max_pixels=1000)


# Layouts


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"])
def test_every_type_of_grey(dtype, byteorder):
    photo = decoded(tiff(of_type(dtype, RAMP), byteorder=byteorder))
    np.testing.assert_allclose(photo.rgb[..., 0], RAMP * 255, atol=1)
    assert photo.note is None


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "f2", "f4", "f8"])
def test_every_type_of_rgb(dtype, planarconfig):
    values = RGB if planarconfig == "contig" else np.moveaxis(RGB, -1, 0)
    photo = decoded(tiff(of_type(dtype, values), photometric="rgb", planarconfig=planarconfig))
    np.testing.assert_allclose(photo.rgb, RGB * 255, atol=1)
    assert photo.note is None


@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd", "lzma", "packbits"])
@pytest.mark.parametrize("tile", [None, (16, 32)], ids=["strips", "tiles"])
@pytest.mark.parametrize("dtype", ["u2", "f4", "f8"])
def test_compressed_layouts(dtype, tile, compression):
    photo = decoded(tiff(of_type(dtype, RGB), photometric="rgb", compression=compression, tile=tile))
    np.testing.assert_allclose(photo.rgb, RGB * 255, atol=1)


@pytest.mark.parametrize("bits", [6, 10, 12, 14])
def test_packed_bits(bits):
    values = (RAMP * (2**bits - 1)).astype(np.uint8 if bits <= 8 else np.uint16)
    photo = decoded(tiff(values, bitspersample=bits))
    np.testing.assert_allclose(photo.rgb[..., 0], RAMP * 255, atol=256 / 2**bits + 0.6)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_two_samples_of_grey(dtype):
    second = of_type(dtype, np.full_like(RAMP, 0.5))
    values = np.dstack([of_type(dtype, RAMP), second])
    photo = decoded(tiff(values, photometric="minisblack", planarconfig="contig", extrasamples=["unspecified"]))
    np.testing.assert_allclose(photo.rgb[..., 0], RAMP * 255, atol=1)


@pytest.mark.parametrize("dtype", ["u2", "f4"])
@pytest.mark.parametrize(("kind", "is_alpha"), [("unassalpha", True), ("assocalpha", True), ("unspecified", False)])
def test_fourth_sample_of_deep_colours(kind, is_alpha, dtype):
    alpha = np.where(np.arange(64) < 32, 1.0, 0.0) * np.ones((48, 1))
    colours = RGB * alpha[..., None] if kind == "assocalpha" else RGB
    photo = decoded(tiff(of_type(dtype, np.dstack([colours, alpha])), photometric="rgb", extrasamples=[kind]))
    np.testing.assert_allclose(photo.rgb[:, :32], RGB[:, :32] * 255, atol=1)
    if is_alpha:
        assert (photo.rgb[:, 32:] == 255).all()
        assert photo.note is None
    else:
        np.testing.assert_allclose(photo.rgb[:, 32:], RGB[:, 32:] * 255, atol=1)
        assert photo.note == "1 of its 4 samples a pixel left out"


def test_tiles_of_separate_planes():
    """With four samples and no word about the fourth; Pillow mixes the planes up."""
    values = np.concatenate([np.asarray(quadrants()), np.zeros((32, 48, 1), np.uint8)], axis=-1)
    data = bytearray(tiff(np.moveaxis(values, -1, 0), photometric="rgb", planarconfig="separate", tile=(16, 32)))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        extra = file.pages[0].tags[338].offset
    data[extra : extra + 2] = struct.pack("<H", 65000)
    assert looks_like_quadrants(Image.fromarray(decoded(bytes(data)).rgb), tolerance=0)


def test_large_tiff():
    photo = decoded(tiff(of_type("u2", RGB), photometric="rgb", bigtiff=True))
    np.testing.assert_allclose(photo.rgb, RGB * 255, atol=1)


# Refused by name


def test_layouts_without_a_picture_are_refused_by_name():
    assert "complex" in reason_of(tiff(RAMP.astype(np.complex64)))
    assert "cielab" in reason_of(tiff(of_type("u2", RGB), photometric="cielab"))
    bands = tiff(np.zeros((4, 4, 200), np.uint16), photometric="minisblack", planarconfig="contig")
    assert "200 samples" in reason_of(bands)


@pytest.mark.parametrize("dtype", ["u2", "f4", "f8"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}], ids=["plain", "zlib", "tiles"])
def test_truncated_deep_tiffs_are_refused(options, dtype):
    data = tiff(np.random.default_rng(0).random((64, 64)).astype(dtype) * 200, **options)
    for kept in (0.9, 0.5):
        assert reason_of(data[: int(len(data) * kept)])


def test_missing_tile_is_no_black_square():
    data = bytearray(tiff(of_type("u2", RAMP), tile=(16, 16)))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        sizes = file.pages[0].tags[325]
    struct.pack_into("<I" if sizes.dtype == 4 else "<H", data, sizes.valueoffset, 0)
    assert "outside the file" in reason_of(bytes(data))


def test_tiff_with_damaged_later_pages_is_read():
    data = pages((of_type("u2", RAMP), 0), (of_type("u2", RAMP), 0))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        second = file.pages[1].offset
    photo = decoded(data[: second + 10] + bytes(len(data) - second - 10))
    np.testing.assert_allclose(photo.rgb[..., 0], RAMP * 255, atol=1)


def test_remarks_of_tifffile_stay_off_the_terminal(caplog):
    data = encoded(smooth_photo(20, 20), "TIFF")
    sizes_of_strips = struct.pack("<HH", 279, 4)
    assert sizes_of_strips in data
    decoded(data.replace(sizes_of_strips, struct.pack("<HH", 65000, 4)))
    assert caplog.records == []
