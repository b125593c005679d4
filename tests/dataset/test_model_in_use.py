"""The model of the newest run."""

from pipeline.dataset.model_in_use import choose_model
from pipeline.evaluation.config import EvaluateConfig
from pipeline.results.folder import ResultsFolder
from tests.helpers.reviewed_folders import save_results_folder
from tests.helpers.tables import make_record


def add_record(out, model):
    photos = out.parent / "photos"
    with ResultsFolder(out, photos) as results:
        results.write_record(make_record(photos, run_id=results.run_id, settings={"model": model}))


def test_the_model_of_the_newest_run_unless_one_is_named(tmp_path, tiny_vit, caplog):
    caplog.set_level("INFO")
    out = save_results_folder(tmp_path, ["a.png"])
    config = EvaluateConfig(data=out)
    assert choose_model(config, out).model == "bundled"
    add_record(out, str(tiny_vit))
    assert choose_model(config, out).model == str(tiny_vit)
    assert f"model = {tiny_vit}: that of the newest run" in caplog.text
    assert choose_model(EvaluateConfig(data=out, model="bundled"), out).model == "bundled"
    add_record(out, "google/vit-base-patch16-224")
    assert choose_model(config, out).model == "bundled"
    assert "used --model google/vit-base-patch16-224, not a folder here" in caplog.text


def test_other_data_start_with_the_default(tmp_path):
    assert choose_model(EvaluateConfig(data=tmp_path), tmp_path).model == "bundled"
