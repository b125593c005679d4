"""The verdict file beside a model: written, read, refused where it doesn't fit."""

import json

import pytest

from pipeline.errors import ModelError
from pipeline.model.open import open_model
from pipeline.model.verdict import VERDICT_FILE, read_verdict, write_verdict
from pipeline.settings import ModelSettings
from tests.helpers.models import save_tiny_vit
from tests.helpers.verdicts import make_verdict, save_verdict


def test_it_is_read_as_written(tmp_path):
    for verdict in (make_verdict("attention", "libragrad"), make_verdict()):
        assert write_verdict(verdict, tmp_path) == tmp_path / VERDICT_FILE
        assert read_verdict(tmp_path) == verdict
    assert read_verdict(tmp_path / "nowhere") is None


def test_it_is_described_by_its_photos():
    words = "measured on 200 photos of windows/labels.csv"
    assert make_verdict("attention").describe() == f"{words}, points inside the marked defect in 97% of 180"
    assert make_verdict().describe() == words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "gradcam"}, "method: must be 'rollout', "),
        ({"method": "libragrad"}, "method = libragrad is not one of the trusted: attention"),
        ({"method": None}, "method = None is not one of the trusted: attention"),
        ({"trusted": []}, "method = attention is not one of the trusted: none"),
        ({"version": 2}, "version: must be 1"),
    ],
    ids=str,
)
def test_a_damaged_file_is_named_with_the_next_step(tmp_path, change, words):
    file = write_verdict(make_verdict("attention"), tmp_path)
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ModelError) as caught:
        read_verdict(tmp_path)
    assert str(caught.value).startswith(f"{file}: {words}")
    again = f"measure it again with vitrollout trust DATA --model {tmp_path} --save, or remove the file"
    assert str(caught.value).endswith(again)


def test_a_half_written_file_is_named(tmp_path):
    (tmp_path / VERDICT_FILE).write_text('{"method": "atten')
    with pytest.raises(ModelError, match=r"verdict\.json: Invalid JSON"):
        read_verdict(tmp_path)


def test_it_belongs_to_its_weights(tmp_path):
    save_verdict(save_tiny_vit(tmp_path), "attention")
    assert open_model(ModelSettings(model=str(tmp_path))).read_verdict() is not None
    save_tiny_vit(tmp_path, seed=1)
    with pytest.raises(ModelError, match=r"verdict\.json: it was measured with other weights or another preprocessing"):
        open_model(ModelSettings(model=str(tmp_path))).read_verdict()


def test_another_input_size_is_said(tmp_path, caplog):
    save_verdict(save_tiny_vit(tmp_path), "attention")
    open_model(ModelSettings(model=str(tmp_path), precision="bf16")).read_verdict()
    assert not caplog.messages
    open_model(ModelSettings(model=str(tmp_path), input_size=64)).read_verdict()
    assert "was measured with --input-size none: with --input-size 64x64 maps differ" in caplog.text
