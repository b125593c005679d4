"""The statistics beside a model: read as they were written, and refused for another model or a damaged file."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from pipeline.errors import ModelError
from pipeline.model.familiarity import fit_familiarity
from pipeline.model.familiarity_file import FAMILIARITY_FILE, read_familiarity, write_familiarity

DIGEST = "ab" * 16


def draw(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 24)).astype(np.float32)


def fit(**options):
    return fit_familiarity(draw(60), [place % 3 for place in range(60)], draw(30, seed=1), **options)


def test_a_file_is_read_as_it_was_written(tmp_path):
    familiarity = fit(input_size=(224, 160), precision="bf16")
    file = write_familiarity(familiarity, tmp_path, DIGEST)
    assert file.name == FAMILIARITY_FILE
    assert sorted(tmp_path.iterdir()) == [file]
    found = read_familiarity(tmp_path, DIGEST)
    assert found.fitted_on == familiarity.fitted_on
    assert found.fitted_on.input_size == (224, 160)
    assert (found.fitted_on.photos, found.fitted_on.held_out) == (60, 30)
    assert found.digest() == familiarity.digest()
    photos = draw(30, seed=3)
    np.testing.assert_array_equal(found.unfamiliarity(photos), familiarity.unfamiliarity(photos))


def test_a_file_for_wide_features_stays_small(tmp_path):
    random = np.random.default_rng(0)
    features = random.normal(size=(300, 768)).astype(np.float32)
    familiarity = fit_familiarity(features[:200], [place % 6 for place in range(200)], features[200:])
    assert write_familiarity(familiarity, tmp_path, DIGEST).stat().st_size < 500_000


def test_statistics_of_another_model_are_refused(tmp_path):
    write_familiarity(fit(), tmp_path, DIGEST)
    with pytest.raises(ModelError) as caught:
        read_familiarity(tmp_path, "cd" * 16)
    assert str(caught.value) == (
        f"{tmp_path / FAMILIARITY_FILE}: it was made for other weights or another preprocessing; make it again with "
        "vitrollout finetune, or remove the file: photos are then not compared with the training photos"
    )


def test_damaged_files_are_refused(tmp_path):
    file = write_familiarity(fit(), tmp_path, DIGEST)
    whole = file.read_bytes()
    arrays = load_file(file)
    with safe_open(file, framework="numpy") as content:
        metadata = content.metadata()

    def refusal():
        with pytest.raises(ModelError, match=r"make it again with vitrollout finetune, or remove the file") as caught:
            read_familiarity(tmp_path, DIGEST)
        return str(caught.value)

    for damaged in (b"", b"no tensors", whole[:-10], whole[:20]):
        file.write_bytes(damaged)
        refusal()
    for name in arrays:
        save_file({other: array for other, array in arrays.items() if other != name}, file, metadata)
        assert name in refusal()
        save_file(arrays | {name: arrays[name].T[:-1].copy()}, file, metadata)
        assert "don't fit together" in refusal()
        save_file(arrays | {name: arrays[name] * np.float32(np.nan)}, file, metadata)
        assert refusal().startswith(f"{file}: {name} is not finite")
    for changed in ({"version": "2"}, {"fitted_on": "{}"}, {"fitted_on": json.dumps({"photos": 0})}):
        save_file(arrays, file, metadata | changed)
        refusal()
    save_file(arrays, file)
    refusal()
