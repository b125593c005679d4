"""PCA beside scikit-learn's, on embeddings of any shape."""

import numpy as np
import pytest

from pipeline.report.projection import compute_pca, project_embeddings


def make_embeddings(count, width, seed=0):
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32) * np.linspace(3, 1, width)


@pytest.mark.parametrize(("count", "width"), [(200, 40), (30, 64), (3, 5), (50, 2)])
def test_pca_is_that_of_scikit_learn_up_to_the_sign(count, width):
    PCA = pytest.importorskip("sklearn.decomposition").PCA  # noqa: N806
    embeddings = make_embeddings(count, width)
    points, share = compute_pca(embeddings)
    expected = PCA(2).fit(embeddings)
    np.testing.assert_allclose(np.abs(points), np.abs(expected.transform(embeddings)), atol=1e-4)
    assert share == pytest.approx(expected.explained_variance_ratio_.sum(), abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_largest_weight_of_each_component_is_positive(seed):
    embeddings = make_embeddings(60, 8, seed)
    points, _ = compute_pca(embeddings)
    weights = (embeddings - embeddings.mean(axis=0)).T @ points  # (8, 2), each component times its variance
    assert (weights[np.abs(weights).argmax(axis=0), [0, 1]] > 0).all()


def test_embeddings_stay_as_they_are():
    embeddings = make_embeddings(10, 4)
    before = embeddings.copy()
    compute_pca(embeddings)
    np.testing.assert_array_equal(embeddings, before)


@pytest.mark.parametrize("embeddings", [np.ones((1, 6), np.float32), np.full((20, 6), 3, np.float32)])
def test_one_photo_and_equal_photos_lie_in_one_place(embeddings):
    points, share = compute_pca(embeddings)
    np.testing.assert_array_equal(points, np.zeros((len(embeddings), 2)))
    assert share == 1


def test_embeddings_of_one_value():
    points, share = compute_pca(np.array([[1], [2], [6]], np.float32))
    np.testing.assert_allclose(np.abs(points), [[2, 0], [1, 0], [3, 0]])
    assert share == pytest.approx(1)


def test_few_photos_need_no_umap():
    projection = project_embeddings(np.array([[0, 0], [10, 0], [0, 1]], np.float32))
    assert projection.method == "PCA, 100% of the variance"


def test_many_photos_by_umap_if_it_is_installed():
    pytest.importorskip("umap", reason="the extra umap")
    groups = np.repeat([[0.0] * 8, [9.0] * 8], 40, axis=0)
    projection = project_embeddings((groups + make_embeddings(80, 8) / 10).astype(np.float32))
    assert projection.method == "UMAP"
    first, second = projection.points[:40], projection.points[40:]
    assert np.linalg.norm(first.mean(axis=0) - second.mean(axis=0)) > 2 * first.std()


def test_many_photos_by_pca_without_umap(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "umap", None)  # as if it were not installed
    assert project_embeddings(make_embeddings(80, 8)).method.startswith("PCA, ")
