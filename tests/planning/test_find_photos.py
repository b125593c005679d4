"""An input without photos is refused before anything is written; one with photos is listed once."""

import pytest

from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from pipeline.planning.find_photos import find_photos


@pytest.fixture
def config(tmp_path):
    (tmp_path / "photos").mkdir()

    def config(**settings):
        return RunConfig(input=tmp_path / "photos", out=tmp_path / "out", **settings)

    return config


@pytest.mark.parametrize(
    ("names", "settings", "reason"),
    [
        ([], {}, "no photos in .*photos; vitrollout run --help lists"),
        (["a.txt", ".b.jpg"], {}, r"no photos in .* \(left out: 1 \.\* \(hidden file\)\); "),
        (["a.jpg"], {"pattern": "*.png"}, r"no photos in .* matching \*\.png; "),
    ],
)
def test_an_input_without_photos(names, settings, reason, config, tmp_path):
    for name in names:
        (tmp_path / "photos" / name).touch()
    with pytest.raises(ConfigError, match=reason):
        find_photos(config(**settings))
    assert not (tmp_path / "out").exists()


def test_an_input_out_of_reach(config, tmp_path, file_permissions_hold):
    (tmp_path / "photos").chmod(0)
    try:
        with (
            file_permissions_hold(),
            pytest.raises(ConfigError, match=r"folder \. can't be read \(Permission denied\)"),
        ):
            find_photos(config())
    finally:
        (tmp_path / "photos").chmod(0o700)


def test_folders_are_listed_once(config, tmp_path, monkeypatch):
    """A photo that comes after the first look is in no chunk of the same listing, but in the next one."""
    monkeypatch.setattr("pipeline.photos.discover._CHUNK", 2)
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / "photos" / name).touch()
    source = find_photos(config())
    (tmp_path / "photos" / "aa.jpg").touch()
    assert source.name == str(tmp_path / "photos")
    found = [[[ref.path for ref in chunk] for chunk in source.chunks()] for _ in range(2)]
    assert found == [[["a.jpg", "b.jpg"], ["c.jpg"]], [["a.jpg", "aa.jpg"], ["b.jpg", "c.jpg"]]]
    assert source.is_gone(["a.jpg", "d.jpg"], [None, None]) == [False, True]
