"""Pictures decoded by the rules of the model."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import StoppedError
from pipeline.export.encode_pictures import DecodeRules, encode_pictures
from pipeline.photos.content import hash_file
from pipeline.photos.decode import decode
from pipeline.records import ImageRef
from tests.export.archive import KINDS, PLAIN
from tests.export.test_select_photos import make_photo
from tests.helpers.image_files import encoded


def save_photo(folder, kind, number=1, content=None):
    folder.mkdir(exist_ok=True)
    file = folder / kind
    file.write_bytes(KINDS[kind](number, "short") if content is None else content)
    content_hash = hash_file(ImageRef(kind, None, str(file), 0, 0))
    return make_photo(number, path=kind, file=str(file), content_hash=content_hash, name=f"{kind}.png", is_plain=False)


def encode(tmp_path, *photos, rules=DecodeRules()):  # noqa: B008, it is frozen
    (tmp_path / "out").mkdir()
    return encode_pictures(photos, tmp_path / "out", rules)


def test_every_kind_of_photo_has_the_pixels_of_the_model(tmp_path):
    photos = [save_photo(tmp_path / "in", kind) for kind in KINDS if kind not in PLAIN]
    assert encode(tmp_path, *photos) == {}
    for photo in photos:
        with Image.open(tmp_path / "out" / photo.name) as picture, open(photo.file, "rb") as file:
            assert (picture.format, picture.size, picture.getexif()) == ("PNG", (64, 48), {})
            assert picture.mode == ("L" if photo.path.startswith("sixteen") else "RGB")
            np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), decode(file).rgb)


def test_plain_photos_are_passed_over(tmp_path):
    assert encode(tmp_path, replace(save_photo(tmp_path / "in", "plain.png"), is_plain=True)) == {}
    assert list((tmp_path / "out").iterdir()) == []


def test_windows_of_a_photo(tmp_path):
    photo = save_photo(tmp_path / "in", "exif-6.png")
    windows = [(0, 0, 32, 32), (32, 16, 64, 48)]
    tiles = [replace(photo, name=f"{number}.png", window=window) for number, window in enumerate(windows)]
    assert encode(tmp_path, *tiles) == {}
    with open(photo.file, "rb") as file:
        rgb = decode(file).rgb
    for tile, (x0, y0, x1, y1) in zip(tiles, windows, strict=True):
        with Image.open(tmp_path / "out" / tile.name) as picture:
            np.testing.assert_array_equal(np.asarray(picture), rgb[y0:y1, x0:x1])


def test_white_level_of_the_run(tmp_path):
    deep = Image.fromarray(np.full((8, 8), 4095, np.uint16))
    photo = save_photo(tmp_path / "in", "sixteen.png", content=encoded(deep, "PNG"))
    assert encode(tmp_path, photo, rules=DecodeRules(white_level=4095)) == {}
    with Image.open(tmp_path / "out" / photo.name) as picture:
        assert np.asarray(picture).min() == 255


def test_photos_that_fail_have_a_reason(tmp_path):
    good = save_photo(tmp_path / "in", "cmyk.jpg")
    broken = save_photo(tmp_path / "in", "alpha.png", content=b"no picture")
    changed = replace(save_photo(tmp_path / "in", "palette.png"), content_hash="00" * 16)
    gone = replace(save_photo(tmp_path / "in", "turned.tif"), file=str(tmp_path / "gone.tif"))
    reasons = encode(tmp_path, good, broken, changed, gone)
    assert reasons == {
        broken.content_hash: ("unreadable", "not an image of a supported format"),
        changed.content_hash: ("changed", "during the export; run again"),
        gone.content_hash: ("gone", "No such file or directory"),
    }


def test_too_many_pixels(tmp_path):
    photo = save_photo(tmp_path / "in", "cmyk.jpg")
    reasons = encode(tmp_path, photo, rules=DecodeRules(max_pixels=100))
    assert reasons[photo.content_hash][0] == "unreadable"


def test_a_stop_ends_it(tmp_path):
    photos = [save_photo(tmp_path / "in", "cmyk.jpg")]
    with pytest.raises(StoppedError):
        encode_pictures(photos, tmp_path, DecodeRules(), stop=lambda: True)


def test_a_folder_impossible_to_write(tmp_path):
    with pytest.raises(FileNotFoundError):
        encode_pictures([save_photo(tmp_path / "in", "cmyk.jpg")], tmp_path / "missing", DecodeRules())
