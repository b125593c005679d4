"""Photos alike by their embeddings, compared with plain float64 over all pairs."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest

import pipeline
from pipeline import analysis
from pipeline.analysis import near_duplicates, nearest_photos
from pipeline.results.schema import to_table
from tests.helpers.tables import FAILED, make_row, write_run

WIDTH = 16


def frame_of(embeddings, **changes) -> pd.DataFrame:
    """A frame as of `read_results`, one photo for each row of the array."""
    halves = np.asarray(embeddings).astype(np.float32)
    return to_table(
        [make_row(f"{place:03d}.png", embedding=row, **changes) for place, row in enumerate(halves)]
    ).to_pandas()


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(60, WIDTH)).astype(np.float32)


def cosines_of(vectors):
    directions = vectors.astype(np.float64)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions @ directions.T


def test_nearest_photos_of_a_photo_in_the_table(vectors):
    frame, cosines = frame_of(vectors), cosines_of(vectors)
    found = nearest_photos(frame, "007.png", count=5)
    others = np.delete(np.arange(60), 7)
    expected = others[np.argsort(-cosines[7, others])[:5]]
    assert found.index.tolist() == expected.tolist()
    assert found["path"].tolist() == [f"{place:03d}.png" for place in expected]
    np.testing.assert_allclose(found["similarity"], cosines[7, expected], atol=1e-5)
    assert len(nearest_photos(frame, "007.png", count=1000)) == 59


def test_nearest_photos_of_another_embedding(vectors):
    frame = frame_of(vectors).set_index("path")
    found = nearest_photos(frame, 3 * vectors[11].astype(np.float32), count=1)
    assert found.index.tolist() == found["path"].tolist() == ["011.png"]
    assert found["similarity"].tolist() == pytest.approx([1])
    assert near_duplicates(pd.concat([frame, frame.rename(index="copy of {}".format)]))["path"].tolist()[:2] == [
        "000.png",
        "copy of 000.png",
    ]


def test_photos_without_an_embedding_are_left_out(tmp_path, vectors):
    (tmp_path / "photos").mkdir()
    rows = [make_row("a.png", embedding=vectors[0]), make_row("b.png", **FAILED), make_row("c.png")]
    write_run(tmp_path / "out", tmp_path / "photos", [*rows, make_row("d.png", embedding=vectors[1])])
    assert nearest_photos(tmp_path / "out", "a.png")["path"].tolist() == ["d.png"]
    with pytest.raises(ValueError, match=r"b\.png: is not in this table, or has no embedding"):
        nearest_photos(str(tmp_path / "out"), "b.png")
    assert near_duplicates(tmp_path / "out").empty


def test_a_table_without_embeddings_names_the_option(tmp_path, vectors):
    plain = to_table([make_row("a.png")]).to_pandas()
    for call in (lambda frame: nearest_photos(frame, "a.png"), near_duplicates):
        with pytest.raises(ValueError, match=r"no embeddings in this table; vitrollout run --embeddings writes them"):
            call(plain)
        with pytest.raises(ValueError, match="no column embedding"):
            call(plain.drop(columns="embedding"))
        with pytest.raises(ValueError, match=r"different models can't be compared: \[8, 16\] values"):
            call(pd.concat([frame_of(vectors), frame_of(vectors[:, :8])]))
        with pytest.raises(pipeline.VitrolloutError, match="is not a results folder"):
            call(tmp_path)
    with pytest.raises(ValueError, match=r"has the shape \(16,\), not \(8,\)"):
        nearest_photos(frame_of(vectors), vectors[0, :8])


def test_groups_are_those_of_all_pairs(vectors, monkeypatch):
    """Noisy copies of a few photos, compared with a search over the whole matrix; in one block and in many."""
    random = np.random.default_rng(1)
    copies = np.concatenate(
        [vectors[place] + random.normal(0, 0.05, (size, WIDTH)) for place, size in [(0, 4), (1, 3), (2, 2)]]
    )
    alike = np.concatenate([vectors, copies]).astype(np.float32)
    order = random.permutation(len(alike))
    frame, cosines = frame_of(alike[order]), cosines_of(alike[order])
    expected = {frozenset(np.flatnonzero(row >= 0.98).tolist()) for row in cosines}
    expected = {group for group in expected if len(group) > 1}
    assert sorted(map(len, expected)) == [3, 4, 5]
    for at_once in (2**20, 200):
        monkeypatch.setattr("pipeline.analysis.embeddings._SIMILARITIES_AT_ONCE", 2 * at_once)
        monkeypatch.setattr("pipeline.analysis.embeddings._PAIRS_AT_ONCE", at_once)
        found = near_duplicates(frame, threshold=0.98)
        assert {frozenset(group.index) for _, group in found.groupby("group")} == expected
        assert found["group"].tolist() == [0] * 5 + [1] * 4 + [2] * 3
        np.fill_diagonal(cosines, -1)
        np.testing.assert_allclose(found["similarity"], cosines.max(axis=1)[found.index], atol=1e-5)


def test_a_chain_of_similar_photos_is_one_group():
    angles = np.linspace(0, 1, 11)
    found = near_duplicates(frame_of(np.stack([np.cos(angles), np.sin(angles)], axis=1)), threshold=np.cos(0.11))
    assert set(found["group"]) == {0}
    assert len(found) == 11


def test_many_equal_photos_need_no_square_of_memory():
    rows = pd.DataFrame({"embedding": list(np.ones((12_000, 4), np.float32))})
    tracemalloc.start()
    found = near_duplicates(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 12_000
    assert set(found["group"]) == {0}
    assert peak < 12_000**2 * 4 / 2  # the matrix would have 576 MB


def test_public_names():
    assert {"nearest_photos", "near_duplicates"} <= set(analysis.__all__)
