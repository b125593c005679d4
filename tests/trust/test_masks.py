"""Masks as annotation tools, converters and label images write them: each means the same defect."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.errors import DecodeError
from pipeline.trust.masks import read_mask, read_mask_picture, shrink_mask
from tests.helpers.image_files import png_bytes
from tests.trust.areas import area_of

DEFECT = area_of((30, 10, 50, 20), size=(48, 64))
GREY = DEFECT.astype(np.uint8) * 255
COLOURED = np.where(DEFECT[..., None], np.uint8([200, 0, 40]), np.uint8(0))
HALVES = area_of((30, 10, 40, 20), size=(48, 64)).astype(np.uint8)  # labels: 0, 3 and 4
LABELS = DEFECT * 4 - HALVES


def save(pixels, kind="PNG", mode=None, **options):
    stream = io.BytesIO()
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(stream, kind, **options)
    return stream.getvalue()


def paint(*entries, colours, **options):
    """Return a palette picture: one entry for the background, one or two for the halves of the defect."""
    background, first, *second = entries
    indices = np.where(DEFECT, np.where(HALVES, first, (second or [first])[0]), background).astype(np.uint8)
    picture = Image.frombytes("P", (64, 48), indices.tobytes())
    picture.putpalette([value for colour in colours for value in colour])
    return save(picture, **options)


def with_alpha(colours, alpha):
    return save(np.dstack([np.broadcast_to(colours, (48, 64, 3)).astype(np.uint8), alpha]))


def save_tiff(values, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, **options)
    return stream.getvalue()


def save_deep_png(colour_type, *channels):
    """A PNG of 16 bits, with the label 3 in its first channel."""
    values = np.dstack([np.where(DEFECT, 3, 0), *channels]).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    return png_bytes(64, 48, bit_depth=16, colour_type=colour_type, rows=rows)


NOTHING, OPAQUE = np.zeros((48, 64)), np.full((48, 64), 65535)
BLACK, WHITE, RED, BLUE = (0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 0, 255)
SPREAD = np.where(DEFECT, 1 + np.arange(64) % 50 * 1000, 0).astype(np.uint16)  # an id for each column
SMOOTH = Image.fromarray(GREY).resize((256, 192), Image.Resampling.BICUBIC)
ONCE_JPEG = Image.open(io.BytesIO(save(GREY, "JPEG", quality=40)))

MASKS = {
    "16 bits, full": save((DEFECT * 65535).astype(np.uint16)),
    "16 bits, colours": save_deep_png(2, NOTHING, NOTHING),
    "16 bits, colours, opaque": save_deep_png(6, NOTHING, NOTHING, OPAQUE),
    "16 bits, colours on a clear ground": save_deep_png(6, NOTHING, NOTHING, DEFECT * 65535),
    "16 bits, opaque greys": save_deep_png(4, OPAQUE),
    "16 bits, colours, TIFF": save_tiff(np.dstack([LABELS] * 3).astype(np.uint16), photometric="rgb"),
    "64 bits": save_tiff(LABELS.astype(np.int64), photometric="minisblack"),
    "float64": save_tiff(LABELS.astype(np.float64), photometric="minisblack"),
    "float16": save_tiff(LABELS.astype(np.float16), photometric="minisblack"),
    "16 bits, many ids": save(SPREAD, "TIFF"),
    "16 bits, labels": save(LABELS.astype(np.uint16)),
    "32 bits, background below 0": save(np.where(DEFECT, 7, -1).astype(np.int32), "TIFF"),
    "float": save(DEFECT.astype(np.float32), "TIFF"),
    "float with nan": save(np.where(DEFECT, 0.25, np.nan).astype(np.float32), "TIFF"),
    "labels 3 and 4": save(LABELS.astype(np.uint8)),
    "1 bit, BMP": save(DEFECT, "BMP"),
    "1 bit, TIFF G4": save(DEFECT, "TIFF", compression="group4"),
    "GIF": save(GREY, "GIF"),
    "colour": save(COLOURED),
    "opaque alpha": with_alpha(COLOURED, np.full((48, 64), 255, np.uint8)),
    "no alpha at all": with_alpha(COLOURED, np.zeros((48, 64), np.uint8)),
    "black paint on a clear ground": with_alpha(BLACK, GREY),
    "white paper under a clear ground": with_alpha(WHITE, GREY),
    "half transparent paint on black": with_alpha(COLOURED, np.where(DEFECT, 100, 255).astype(np.uint8)),
    "LA": save(np.dstack([GREY, GREY])),
    "grey with a clear value": save(np.where(DEFECT, np.uint8(90), np.uint8(255)), transparency=255),
    "palette, red and blue": paint(0, 1, 2, colours=[BLACK, RED, BLUE]),
    "palette, entry 0 white": paint(0, 1, 2, colours=[WHITE, RED, BLUE]),
    "palette, black at the end": paint(2, 1, 0, colours=[WHITE, RED, BLACK]),
    "palette, all black": paint(0, 1, 2, colours=[BLACK] * 3),
    "palette, clear entry": paint(1, 0, 2, colours=[RED, WHITE, BLUE], transparency=1),
}
LOSSY = {
    "JPEG, grey": save(GREY, "JPEG", quality=60),
    "JPEG, red": save(COLOURED, "JPEG", quality=75, subsampling=0),
    "WebP": save(GREY, "WEBP", mode="RGB", quality=60),
    "JPEG saved as PNG": save(ONCE_JPEG),
    "JPEG saved as TIFF": save(ONCE_JPEG, "TIFF"),
}


@pytest.mark.parametrize("name", MASKS)
def test_the_defect_is_found_exactly(name):
    np.testing.assert_array_equal(read_mask_picture(MASKS[name]), DEFECT)


@pytest.mark.parametrize("name", LOSSY)
def test_noise_of_lossy_formats_is_background(name):
    differing = read_mask_picture(LOSSY[name]) != DEFECT
    assert differing.sum() <= 20  # at the edge; the noise reaches 140 pixels and more


def test_smooth_edges_do_not_count():
    assert read_mask_picture(save(SMOOTH)).mean() == pytest.approx(DEFECT.mean(), rel=0.05)
    scores = np.asarray(SMOOTH, np.float32) / 1000
    assert read_mask_picture(save(scores, "TIFF")).mean() == pytest.approx(DEFECT.mean(), rel=0.05)


@pytest.mark.parametrize(
    "pixels", [np.zeros((48, 64), np.uint16), np.full((48, 64), 3, np.uint8), np.zeros((9, 9, 4), np.uint8)]
)
def test_empty_and_full_masks(pixels):
    assert read_mask_picture(save(pixels)).mean() == (1 if pixels.any() else 0)


def test_empty_palette_and_lossy_masks():
    assert not read_mask_picture(paint(0, 0, colours=[WHITE, RED])).any()
    assert not read_mask_picture(paint(1, 1, colours=[WHITE, BLACK])).any()
    assert not read_mask_picture(save(np.zeros((48, 64), np.uint8), "JPEG")).any()


def test_no_defect_vanishes_in_a_smaller_mask():
    mask = np.zeros((997, 1501), bool)
    mask[500, 700] = mask[996, 1500] = True
    small = shrink_mask(mask, (50, 33))
    assert small.shape == (33, 50)
    assert np.argwhere(small).tolist() == [[16, 23], [32, 49]]
    np.testing.assert_array_equal(shrink_mask(mask, (1501, 997)), mask)


def test_unusable_masks_are_named(tmp_path):
    (tmp_path / "photo.png").write_bytes(save(COLOURED))
    (tmp_path / "copy.png").write_bytes(save(COLOURED))
    (tmp_path / "half.png").write_bytes(save(GREY)[:60])
    (tmp_path / "text.png").write_text("a mask")
    for name, reason in (
        ("copy", "is the photo itself"),
        ("half", "can't be read"),
        ("text", "can't be read: "),
        ("no", "No such file"),
    ):
        with pytest.raises(DecodeError, match=reason) as caught:
            read_mask(tmp_path / f"{name}.png", tmp_path / "photo.png")
        assert f"{name}.png" in str(caught.value)
        assert "<_io" not in str(caught.value)
