"""The public names of the package: all there, and nothing imported before it is used."""

import json
import subprocess
import sys
from types import ModuleType

import pytest

import pipeline
from pipeline.errors import ConfigError
from tests.helpers.photos import save_photos


@pytest.mark.parametrize("name", pipeline.__all__)
def test_every_public_name_is_there(name):
    assert name in dir(pipeline)
    value = getattr(pipeline, name)
    assert isinstance(value, ModuleType) if name == "analysis" else callable(value)


def test_import_alone_brings_nothing_heavy():
    script = "import json, sys, pipeline, pipeline.errors; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"torch", "pandas", "pyarrow", "numpy", "pydantic", "transformers"} & set(json.loads(done.stdout))


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'pipeline' has no attribute 'runn'"):
        pipeline.runn  # noqa: B018


def test_a_run_with_keyword_arguments(tmp_path, tiny_vit):
    """The module run.py is imported by then, and is still the function."""
    import pipeline.run as module

    save_photos(tmp_path / "photos", 2)
    summary = pipeline.run(input=tmp_path / "photos", out=tmp_path / "out", model=str(tiny_vit), report=False)
    assert (summary.ok, summary.failed) == (2, 0)
    assert module.run is not module
    again = pipeline.run(pipeline.RunConfig(input=tmp_path / "photos", out=tmp_path / "out", model=str(tiny_vit)))
    assert (again.processed, again.done_before) == (0, 2)
    assert pipeline.compact(out=str(tmp_path / "out")).rows == 2


def test_stop_reaches_the_command(tmp_path, tiny_vit):
    save_photos(tmp_path / "photos", 3)
    settings = {"input": tmp_path / "photos", "out": tmp_path / "out", "model": str(tiny_vit)}
    assert pipeline.run(**settings, stop=lambda: True).interrupted


@pytest.mark.parametrize("command", ["run", "explain", "finetune", "evaluate", "trust"])
def test_unknown_settings_are_refused_by_every_command(command):
    with pytest.raises(ConfigError, match=r"modle: no such setting; did you mean model\?"):
        getattr(pipeline, command)(modle="bundled")


def test_settings_come_one_way_only(tmp_path, tiny_vit):
    config = pipeline.RunConfig(input=tmp_path, out=tmp_path.parent / "out")
    with pytest.raises(TypeError, match="either an object of settings or keyword arguments"):
        pipeline.run(config, model=str(tiny_vit))


def test_explain_and_evaluate_with_keyword_arguments(tmp_path, tiny_vit):
    names = save_photos(tmp_path / "photos", 4)
    explanation = pipeline.explain(image=tmp_path / "photos" / names[0], model=str(tiny_vit))
    csv = tmp_path / "labels.csv"
    csv.write_text("path,label\n" + "".join(f"photos/{name},{explanation.labels[0]}\n" for name in names))
    found = pipeline.evaluate(data=csv, model=str(tiny_vit), out=tmp_path / "evaluation", resamples=0)
    assert len(found.truth) == 4
    assert pipeline.explain is sys.modules["pipeline.explain"]
