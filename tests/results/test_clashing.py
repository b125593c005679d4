"""Photos with one name on some disk: their overlays get two."""

import random

import pyarrow as pa
import pytest

from pipeline.results.clashing import find_clashing
from pipeline.results.names import fold_name, overlay_name

CLASHES = [
    ("Board.jpg", "board.JPG"),
    ("Lot/a.png", "lot/a.png"),
    ("stra\u00dfe.png", "STRASSE.png"),
    ("u\u0308.tif", "\u00fc.tif"),
    ("\u212bngstrom.tif", "\u00e5ngstrom.tif"),
    ("lot. /a.png", "lot/a.png"),
]


def clashing(paths, *others):
    """The clashing paths among `paths`."""
    column = pa.chunked_array([paths[:1], paths[1:]], pa.string())
    marks = find_clashing(column, [pa.chunked_array([portion], pa.string()) for portion in others])
    return {path for path, clashes in zip(paths, marks, strict=True) if clashes}


@pytest.mark.parametrize("pair", CLASHES, ids=str)
def test_photos_with_one_name_on_some_disk_have_two_overlays(pair):
    assert clashing([*pair, "other.png"]) == set(pair)
    names = {fold_name(overlay_name(path, clashes=True)) for path in pair}
    assert len(names) == 2
    assert not names & {fold_name(overlay_name(path)) for path in pair}


@pytest.mark.parametrize(("old", "new"), CLASHES)
def test_a_new_photo_leaves_the_overlay_of_an_old_one_alone(old, new):
    assert clashing([new], [old, new, "other.png"]) == clashing([new], ["other.png"], [], [old]) == {new}
    assert clashing([new], [new, "other.png"]) == clashing([], [old, new]) == set()


@pytest.mark.parametrize("seed", range(5))
def test_among_many_photos(seed, monkeypatch):
    """Compared with a look at each pair."""
    monkeypatch.setattr("pipeline.results.clashing._CHUNK", 7)
    draw = random.Random(seed)

    def draw_paths(count):
        return ["".join(draw.choice("aAbB. /ü") for _ in range(draw.randint(1, 4))) for _ in range(count)]

    paths, others = list(dict.fromkeys(draw_paths(60))), draw_paths(60)
    expected = {
        path for path in paths for other in [*paths, *others] if path != other and fold_name(path) == fold_name(other)
    }
    assert expected
    assert clashing(paths, others[:20], others[20:]) == expected
