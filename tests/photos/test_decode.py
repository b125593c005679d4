"""One file -> upright RGB with its contrast kept, or a reason."""

import importlib.util
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageCms

from pipeline.errors import DecodeError
from pipeline.photos.decode import EXTENSIONS, HEIF_EXTENSIONS, decode, extensions, register_heif
from tests.helpers.image_files import (
    QUADRANTS,
    encoded,
    frames,
    looks_like_quadrants,
    png_bomb,
    png_bytes,
    quadrants,
    smooth_photo,
    tiff_bytes,
    with_orientation,
)

HAS_HEIF = importlib.util.find_spec("pillow_heif") is not None
needs_heif = pytest.mark.skipif(not HAS_HEIF, reason="the extra heif is not installed")

LOSSLESS = {"PNG": {}, "TIFF": {}, "BMP": {}, "PPM": {}, "TGA": {}, "JPEG2000": {}, "WEBP": {"lossless": True}}
LOSSY = {"JPEG": {"quality": 95, "subsampling": 0}, "AVIF": {"quality": 95}, "GIF": {}}


def decode_bytes(data, **settings):
    return decode(io.BytesIO(data), **settings)


def picture(photo):
    return Image.fromarray(photo.rgb)  # mode RGB, or it is not (h, w, 3)


def pixels_of(data):
    return decode_bytes(data).rgb


def reason_of(data, **settings):
    with pytest.raises(DecodeError) as caught:
        decode_bytes(data, **settings)
    reason = str(caught.value)
    assert reason == " ".join(reason.split()), "one line"
    assert "0x" not in reason, "memory addresses differ from run to run"
    return reason


@pytest.mark.parametrize("file_format", [*LOSSLESS, *LOSSY])
def test_every_format_gives_its_picture(file_format):
    options = (LOSSLESS | LOSSY)[file_format]
    photo = decode_bytes(encoded(quadrants(), file_format, **options))
    assert (picture(photo).mode, picture(photo).size, photo.width, photo.height) == ("RGB", (48, 32), 48, 32)
    assert photo.note is None
    assert looks_like_quadrants(picture(photo), tolerance=0 if file_format in LOSSLESS else 12)


# Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}),
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
        ("AVIF", {"quality": 95}),
    ],
    ids=["jpeg", "png", "tiff", "tiff-lzw", "webp", "avif"],
)
def test_orientation_is_applied_once(file_format, options, orientation):
    photo = decode_bytes(with_orientation(quadrants(), file_format, orientation, **options))
    assert (picture(photo).size, photo.width, photo.height) == ((48, 32), 48, 32)
    assert looks_like_quadrants(picture(photo))
    assert photo.note is None


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_orientation_is_applied_to_jpegs_decoded_at_a_reduced_scale(orientation):
    data = with_orientation(quadrants(1200, 800), "JPEG", orientation)
    photo = decode_bytes(data, draft_size=(100, 200))
    assert (photo.width, photo.height) == (1200, 800)
    assert picture(photo).size == (300, 200)
    assert looks_like_quadrants(picture(photo))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientation_that_does_not_exist_is_left_out(orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    photo = decode_bytes(encoded(quadrants(), "PNG", exif=exif))
    assert (photo.width, photo.height) == (48, 32)
    assert looks_like_quadrants(picture(photo))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif",
    [b"nonsense, not a TIFF header", b"II*\0\x08\0\0\0\xff\xff", b"II*\0\xff\xff\xff\xff", b"MM\0*"],
    ids=["header", "count", "offset", "cut"],
)
def test_broken_exif_does_not_lose_the_photo(file_format, exif):
    marker = b"" if file_format == "PNG" else b"Exif\0\0"
    photo = decode_bytes(encoded(quadrants(), file_format, exif=marker + exif))
    assert (photo.width, photo.height) == (48, 32)
    assert looks_like_quadrants(picture(photo), tolerance=20)
    if file_format != "JPEG":  # of which Pillow forgives some without a word
        assert "EXIF" in photo.note


def test_exif_that_can_be_read_but_not_written_still_turns_the_photo():
    """Writing EXIF back, as ImageOps.exif_transpose does, fails on values that cameras really write."""
    orientation = b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
    text_where_numbers_belong = b"\x1b\x01\x02\0\x04\0\0\0abc\0"  # YResolution as text
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + orientation + text_where_numbers_belong + b"\0\0\0\0"
    stored = quadrants().transpose(Image.Transpose.ROTATE_90)
    photo = decode_bytes(encoded(stored, "JPEG", exif=exif, quality=95, subsampling=0))
    assert (photo.width, photo.height) == (48, 32)
    assert looks_like_quadrants(picture(photo))


# Modes


def as_lab(image):
    lab = ImageCms.createProfile("LAB")
    return ImageCms.applyTransform(image, ImageCms.buildTransform(ImageCms.createProfile("sRGB"), lab, "RGB", "LAB"))


@pytest.mark.parametrize(
    ("image", "file_format"),
    [
        (quadrants().convert("CMYK"), "TIFF"),
        (quadrants().convert("CMYK"), "JPEG"),  # stored inverted, as Adobe does
        (quadrants().convert("YCbCr"), "TIFF"),
        (as_lab(quadrants()), "TIFF"),
        (quadrants().quantize(4), "PNG"),
        (quadrants().quantize(4), "GIF"),
        (quadrants().quantize(4), "BMP"),
        (quadrants().quantize(4), "TIFF"),
    ],
    ids=["cmyk-tiff", "cmyk-jpeg", "ycbcr", "lab", "palette-png", "palette-gif", "palette-bmp", "palette-tiff"],
)
def test_colours_survive_the_conversion_to_rgb(image, file_format):
    photo = decode_bytes(encoded(image, file_format))
    assert picture(photo).mode == "RGB"
    assert looks_like_quadrants(picture(photo), tolerance=40 if image.mode == "LAB" else 16)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "PPM", "WEBP"])
def test_greyscale_becomes_equal_channels(file_format):
    grey = Image.fromarray(np.tile(np.arange(0, 256, 4, dtype=np.uint8), (16, 1)))
    pixels = pixels_of(encoded(grey, file_format)).astype(int)
    assert np.ptp(pixels, axis=2).max() <= 1
    assert np.abs(pixels[..., 0] - np.asarray(grey)).max() <= 4


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM", "BMP", "GIF"])
def test_one_bit_becomes_black_and_white(file_format):
    bits = Image.fromarray(np.tile([False, True], (8, 4)))
    pixels = pixels_of(encoded(bits, file_format))
    assert pixels[0, :4, 0].tolist() == [0, 255, 0, 255]


# Deep integers and floats: scaled, never clipped


def ramp(dtype, low, high):
    return np.linspace(low, high, 64 * 48).reshape(48, 64).astype(dtype)


EIGHT_BIT_RAMP = np.linspace(0, 255, 64 * 48).reshape(48, 64)


@pytest.mark.parametrize("big_endian", [False, True], ids=["little", "big"])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.uint32, np.int32])
def test_integer_tiffs_are_scaled_by_the_range_of_their_type(dtype, big_endian):
    limits = np.iinfo(dtype)
    values = np.clip(ramp(np.float64, limits.min, limits.max), limits.min, limits.max - 512 * (limits.bits == 32))
    data = tiff_bytes(values.astype(dtype), big_endian=big_endian)
    pixels = pixels_of(data)
    np.testing.assert_allclose(pixels[..., 0], EIGHT_BIT_RAMP, atol=0.51)
    assert np.ptp(pixels, axis=2).max() == 0


def test_integers_are_not_stretched_to_their_own_range():
    pixels = pixels_of(tiff_bytes(ramp(np.uint16, 10_000, 20_000)))
    assert (pixels.min(), pixels.max()) == (39, 78)


def test_white_is_zero_is_not_a_negative():
    dark_is_high = ramp(np.uint16, 65535, 0)
    np.testing.assert_allclose(pixels_of(tiff_bytes(dark_is_high, photometric=0))[..., 0], EIGHT_BIT_RAMP, atol=0.51)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate", "packbits"])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_compressed_deep_tiffs_keep_their_contrast(dtype, compression):
    low, high = (-3.0, 4.0) if dtype is np.float32 else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    values = ramp(np.float64, low, high).clip(low, high - (512 if dtype is np.int32 else 0))
    pixels = pixels_of(encoded(Image.fromarray(values.astype(dtype)), "TIFF", compression=compression))
    np.testing.assert_allclose(pixels[..., 0], EIGHT_BIT_RAMP, atol=0.51)


def test_16_bit_png_keeps_its_contrast():
    pixels = pixels_of(encoded(Image.fromarray(ramp(np.uint16, 0, 65535)), "PNG"))
    np.testing.assert_allclose(pixels[..., 0], EIGHT_BIT_RAMP, atol=0.51)


def test_16_bit_rgb_png_keeps_its_contrast():
    values = np.linspace(0, 65535, 3 * 8).astype(">u2").reshape(1, 8, 3)
    data = png_bytes(8, 1, bit_depth=16, colour_type=2, rows=b"\0" + values.tobytes())
    np.testing.assert_allclose(pixels_of(data), values / 65535 * 255, atol=1)


@pytest.mark.parametrize("largest", [1000, 4095, 65535])
def test_deep_pgm_is_scaled_by_its_own_maximum(largest):
    data = f"P5 64 48 {largest}\n".encode() + ramp(np.uint16, 0, largest).astype(">u2").tobytes()
    np.testing.assert_allclose(pixels_of(data)[..., 0], EIGHT_BIT_RAMP, atol=0.51 + 255 / largest)  # steps of the file


@pytest.mark.parametrize("big_endian", [False, True], ids=["little", "big"])
@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 4), (1e-6, 2e-6), (-1e30, 1e30)])
def test_floats_are_scaled_by_the_picture_s_own_range(low, high, big_endian):
    pixels = pixels_of(tiff_bytes(ramp(np.float32, low, high), big_endian=big_endian))
    np.testing.assert_allclose(pixels[..., 0], EIGHT_BIT_RAMP, atol=0.51)


def test_floats_that_are_no_numbers_do_not_disturb_the_others():
    values = ramp(np.float32, -3, 4)
    values[0, :4] = [np.nan, np.inf, -np.inf, np.nan]
    pixels = pixels_of(tiff_bytes(values))[..., 0]
    assert pixels[0, :4].tolist() == [0, 255, 0, 0]
    np.testing.assert_allclose(pixels[1:], EIGHT_BIT_RAMP[1:], atol=1)


@pytest.mark.parametrize("value", [0.0, 3.5, -7.0, np.nan, np.inf])
def test_constant_float_picture_is_one_even_grey(value):
    photo = decode_bytes(tiff_bytes(np.full((8, 8), value, np.float32)))
    assert np.ptp(photo.rgb) == 0
    assert photo.note is None, "as a division by zero would leave one"


# Alpha on white


def half_transparent():
    """Left opaque, right fully transparent, one pixel in between."""
    rgba = np.dstack([np.asarray(quadrants()), np.zeros((32, 48), np.uint8)])
    rgba[:, :24, 3] = 255
    rgba[0, 0, 3] = 128
    return Image.fromarray(rgba)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP", "TGA", "JPEG2000"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_laid_on_white(file_format, mode):
    image = half_transparent().convert(mode)
    options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
    pixels = pixels_of(encoded(image, file_format, **options)).astype(int)
    opaque = np.asarray(quadrants().convert("RGB" if mode == "RGBA" else "L").convert("RGB")).astype(int)
    assert (pixels[:, 24:] == 255).all()
    assert (pixels[1:, :24] == opaque[1:, :24]).all()
    np.testing.assert_allclose(pixels[0, 0], opaque[0, 0] * 128 / 255 + 255 * 127 / 255, atol=1)


def test_transparent_palette_entries_are_white():
    palette = quadrants().quantize(4)
    colours = palette.convert("RGB")
    hidden = palette.getpixel((0, 0))  # the red quarter
    strengths = bytes(0 if index == hidden else 255 for index in range(4))
    for data in (
        encoded(palette, "PNG", transparency=strengths),
        encoded(palette, "PNG", transparency=hidden),
        encoded(palette, "GIF", transparency=hidden),
    ):
        pixels = pixels_of(data)
        assert (pixels[:16, :24] == 255).all()
        assert (pixels[16:] == np.asarray(colours)[16:]).all()


@pytest.mark.parametrize(("mode", "hidden"), [("RGB", (255, 0, 0)), ("L", 76), ("1", 0)])
def test_transparent_colour_is_white(mode, hidden):
    image = quadrants().convert(mode, dither=Image.Dither.NONE)
    assert image.getpixel((0, 0)) == hidden
    pixels = pixels_of(encoded(image, "PNG", transparency=hidden))
    assert (pixels[:16, :24] == 255).all()
    if mode != "1":
        assert (pixels[16:] == np.asarray(image.convert("RGB"))[16:]).all()


# Several frames


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "TIFF", "PNG", "AVIF", "MPO"])
def test_first_frame_is_taken_and_noted(file_format):
    photo = decode_bytes(frames(file_format))
    assert photo.note == "first of 3 frames"
    np.testing.assert_allclose(photo.rgb.mean((0, 1)), [255, 0, 0], atol=4)


def test_broken_later_frame_does_not_lose_the_first():
    pages = [Image.new("RGB", (20 + 10 * page, 10), (255 - page, 0, 0)) for page in range(3)]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    for cut in range(10, len(data) // 2, 50):
        photo = decode_bytes(data[:-cut])
        assert picture(photo).size == (photo.width, photo.height) == (20, 10)
        assert (photo.rgb == [255, 0, 0]).all()


def test_warnings_of_the_decoder_become_the_note():
    broken = b"Exif\0\0II*\0\x08\0\0\0\xff\xff"
    assert "Corrupt EXIF" in decode_bytes(encoded(quadrants(), "JPEG", exif=broken)).note


# Reasons


def test_reason_for_an_empty_file():
    assert reason_of(b"") == "empty file (0 bytes)"


@pytest.mark.parametrize(
    "data",
    [
        b"hello, this is text",
        bytes(1000),
        b"%PDF-1.4\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS\nshowpage\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
    ],
    ids=["text", "zeros", "pdf", "svg", "ps", "eps", "jpeg-start", "png-start"],
)
def test_reason_for_what_is_no_image(data):
    assert reason_of(data).startswith("not an image of a supported format")


@pytest.mark.parametrize("file_format", ["EPS", "PDF", "ICO", "PCX", "SGI", "DDS", "ICNS"])
def test_formats_that_are_not_in_the_list_are_not_decoded(file_format):
    assert reason_of(encoded(quadrants(), file_format)).startswith("not an image of a supported format")


def test_formats_that_start_programs_are_never_tried(monkeypatch):
    tried = []
    monkeypatch.setattr(Image, "open", lambda file, formats=None: tried.extend(formats) or quadrants())
    decode_bytes(b"")
    assert set(tried) <= set("JPEG PNG TIFF BMP DIB WEBP GIF AVIF JPEG2000 PPM TGA HEIF".split())
    assert len(tried) >= 11


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "GIF", "WEBP", "BMP", "JPEG2000", "PPM", "TGA", "AVIF"])
def test_truncated_files_are_refused(file_format, kept):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8))
    data = encoded(noise, file_format)
    assert reason_of(data[: int(len(data) * kept)])


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "JPEG2000"])
def test_corrupt_files_are_refused(file_format):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8))
    data = bytearray(encoded(noise, file_format))
    middle = len(data) // 2
    data[middle : middle + 60] = b"\xff" * 60
    assert reason_of(bytes(data))


@pytest.mark.parametrize("lost", [30, 400, 3000])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "JPEG2000"])
def test_files_that_end_in_zeros_are_refused(file_format, lost):
    """What a power cut leaves of a file: its length, but not its last blocks. Zeros decode as some pixels or other."""
    data = encoded(smooth_photo(90, 90), file_format)
    lost = min(lost, len(data) // 2)
    assert reason_of(data[:-lost] + bytes(lost))


@pytest.mark.parametrize("place", [-30, -400, 100, 2000])
def test_one_wrong_bit_in_a_png_is_noticed(place):
    data = bytearray(encoded(smooth_photo(90, 90), "PNG"))
    data[place] ^= 1
    assert "PNG" in reason_of(bytes(data))


@pytest.mark.parametrize("seed", range(40))
def test_random_damage_gives_a_picture_or_a_reason(seed):
    random = np.random.default_rng(seed)
    for file_format in ("JPEG", "PNG", "TIFF", "GIF", "WEBP", "BMP", "JPEG2000", "PPM", "TGA", "AVIF"):
        data = bytearray(with_orientation(smooth_photo(40, 30, seed), file_format, 6))
        for place in random.integers(0, min(len(data), 400), 6):
            data[place] = random.integers(256)
        try:
            photo = decode_bytes(bytes(data), max_pixels=1_000_000)
        except DecodeError:
            continue
        assert picture(photo).mode == "RGB"
        assert picture(photo).size == (photo.width, photo.height)


@pytest.mark.parametrize(("limit", "refused"), [(48 * 32 - 1, True), (48 * 32, False)])
def test_more_pixels_than_allowed_are_refused(limit, refused):
    data = encoded(quadrants(), "PNG")
    if refused:
        assert reason_of(data, max_pixels=limit) == f"48 x 32 pixels are more than max_pixels = {limit}"
    else:
        assert decode_bytes(data, max_pixels=limit).width == 48


def test_bomb_is_refused_before_it_is_decoded(monkeypatch):
    bomb = png_bomb(15_811, 15_811)
    assert len(bomb) < 40_000
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # as in the workers: the limit here is the pipeline's own
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", lambda self: pytest.fail("it was decoded"))
    assert "15811 x 15811 pixels are more than max_pixels" in reason_of(bomb)


# Reduced decoding of JPEGs


@pytest.mark.parametrize("size", [(4000, 3000), (3000, 4000), (4001, 2999), (2047, 2047), (5000, 300), (1025, 800)])
@pytest.mark.parametrize("draft_size", [(448, 1024), (768, 1024), (100, 1024), (1, 512), (896, 896)])
def test_draft_is_never_smaller_than_asked(size, draft_size):
    data = encoded(Image.new("RGB", size, "gray"), "JPEG")
    photo = decode_bytes(data, draft_size=draft_size)
    assert (photo.width, photo.height) == size
    assert min(picture(photo).size) >= min(draft_size[0], min(size))
    assert max(picture(photo).size) >= min(draft_size[1], max(size))


def test_draft_is_as_small_as_libjpeg_can_make_it():
    data = encoded(Image.new("RGB", (4096, 3072), "gray"), "JPEG")
    assert picture(decode_bytes(data, draft_size=(448, 1024))).size == (1024, 768)
    assert picture(decode_bytes(data, draft_size=(448, 1025))).size == (2048, 1536)
    assert picture(decode_bytes(data, draft_size=(769, 1024))).size == (2048, 1536)


def test_without_draft_the_photo_is_exact():
    data = encoded(smooth_photo(2400, 1600), "JPEG")
    with Image.open(io.BytesIO(data)) as expected:
        assert (decode_bytes(data).rgb == np.asarray(expected)).all()


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
def test_draft_leaves_other_formats_alone(file_format):
    assert picture(decode_bytes(encoded(smooth_photo(900, 600), file_format), draft_size=(10, 10))).size == (900, 600)


def test_draft_works_for_the_first_picture_of_an_mpo():
    pictures = [smooth_photo(1600, 1200, seed) for seed in (1, 2)]
    data = encoded(pictures[0], "MPO", save_all=True, append_images=pictures[1:])
    photo = decode_bytes(data, draft_size=(100, 200))
    assert (picture(photo).size, photo.width, photo.note) == ((200, 150), 1600, "first of 2 frames")
    difference = photo.rgb.astype(int) - np.asarray(pictures[0].resize((200, 150)))
    assert np.abs(difference).mean() < 2


# What counts as an image


def test_extensions_are_those_of_the_contract():
    listed = "jpg jpeg jpe jfif mpo png apng tif tiff bmp dib webp gif avif avifs jp2 j2k jpx ppm pgm pbm pnm tga"
    assert set(listed.split()) == EXTENSIONS
    assert extensions() == EXTENSIONS | (HEIF_EXTENSIONS if HAS_HEIF else set())
    assert {"heic", "heif"} == HEIF_EXTENSIONS


def test_extensions_leave_heif_out_without_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    register_heif.cache_clear()
    assert extensions() == EXTENSIONS
    register_heif.cache_clear()


@needs_heif
def test_heic_is_decoded_in_a_process_that_only_decodes(tmp_path):
    """A worker that is spawned has discovered nothing before, so nothing has registered HEIF there."""
    import pillow_heif

    file = tmp_path / "photo.heic"
    pillow_heif.from_pillow(quadrants(96, 64)).save(file, quality=95)
    script = "import sys; from pipeline.photos.decode import decode; print(decode(open(sys.argv[1], 'rb')).rgb.shape)"
    done = subprocess.run([sys.executable, "-c", script, file], capture_output=True, text=True)
    assert done.stdout == "(64, 96, 3)\n", done.stderr
    with file.open("rb") as stream:
        assert looks_like_quadrants(picture(decode(stream)), tolerance=40)


@needs_heif
def test_heic_of_several_pictures_gives_the_first():
    import pillow_heif

    pictures = pillow_heif.from_pillow(Image.new("RGB", (64, 64), QUADRANTS[0]))
    pictures.add_from_pillow(Image.new("RGB", (64, 64), QUADRANTS[1]))
    buffer = io.BytesIO()
    pictures.save(buffer, quality=95)
    photo = decode_bytes(buffer.getvalue())
    assert photo.note == "first of 2 frames"
    np.testing.assert_allclose(photo.rgb.mean((0, 1)), QUADRANTS[0], atol=6)
