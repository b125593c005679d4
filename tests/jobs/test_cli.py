"""The command as a process: exit codes, the last line, signals, the lock."""

import json
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

import jobs.cli
import pipeline
from pipeline.results.folder import ResultsFolder
from tests.helpers.commands import run_fresh_vitrollout, run_vitrollout, start_vitrollout
from tests.helpers.models import save_tiny_vit
from tests.helpers.photos import save_photos
from tests.helpers.tables import make_record


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(save_tiny_vit(tmp_path_factory.mktemp("model")))


def test_last_line_is_json_and_the_exit_code_tells_of_failed_photos(tmp_path, model):
    save_photos(tmp_path / "photos", 3)
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    done = run_fresh_vitrollout("run", tmp_path / "photos", "--out", tmp_path / "out", "--model", model)
    assert done.returncode == 3, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["found"], summary["ok"], summary["failed"]) == (4, 3, 1)
    assert summary["table"] == str(tmp_path / "out" / "table")
    assert summary["images_per_second"] > 0
    assert f"model {model}" in done.stderr.splitlines()[0]
    assert "broken.jpg" in done.stderr
    assert "Traceback" not in done.stderr

    nothing = run_fresh_vitrollout("run", tmp_path / "photos", "--out", tmp_path / "out", "--model", model)
    assert nothing.returncode == 3, "it stands failed"
    assert json.loads(nothing.stdout)["processed"] == 0


def test_busy_folder_is_75(tmp_path, model):
    save_photos(tmp_path / "photos", 1)
    with ResultsFolder(tmp_path / "out", tmp_path / "photos"):
        refused = run_vitrollout("run", tmp_path / "photos", "--out", tmp_path / "out", "--model", model)
    assert refused.returncode == 75
    assert refused.stderr.splitlines()[-1].startswith("vitrollout: ")
    assert "held by another run" in refused.stderr


def test_other_input_is_refused_with_both_names(tmp_path, model):
    for name in ("photos", "elsewhere"):
        save_photos(tmp_path / name, 1)
    with ResultsFolder(tmp_path / "out", tmp_path / "photos") as results:
        results.write_record(make_record(tmp_path / "photos"))
    refused = run_vitrollout("run", tmp_path / "elsewhere", "--out", tmp_path / "out", "--model", model)
    assert refused.returncode == 2
    assert str(tmp_path / "photos") in refused.stderr
    assert str(tmp_path / "elsewhere") in refused.stderr


@pytest.mark.parametrize(
    ("number", "to_group", "code"),
    [(signal.SIGINT, True, 130), (signal.SIGTERM, False, 143), (signal.SIGTERM, True, 143)],
    ids=["ctrl-c", "SIGTERM", "SIGTERM to the group"],
)
def test_signal_commits_the_open_part_and_the_next_run_goes_on(tmp_path, many_photos, model, number, to_group, code):
    out = tmp_path / "out"
    process = start_vitrollout("run", many_photos, "--out", out, "--model", model)
    while not (out / "overlays" / "photo-0000.png.png").exists():
        try:
            process.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail(f"ended before its first overlay: {process.stderr.read()}")
    (os.killpg if to_group else os.kill)(process.pid, number)
    stdout, stderr = process.communicate()
    assert process.returncode == code, stderr
    summary = json.loads(stdout.splitlines()[-1])
    assert summary["interrupted"]
    assert 0 < summary["processed"] < 1500
    assert summary["failed"] == 0, "a signal to the workers is no fault of a photo"
    assert len(pipeline.read_results(out)) == summary["processed"]
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # no process of its group is left

    config = pipeline.RunConfig(input=many_photos, out=out, model=model, limit=100)
    assert pipeline.run(config).done_before == summary["processed"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "INPUT"),
        (["run", "{tmp}/nowhere"], "no such folder"),
        (["run", "{tmp}/photos", "--discrad-ratio", "1"], "Did you mean '--discard-ratio'"),
        (["run", "{tmp}/photos", "--out", "{tmp}/photos/out"], "inside the input folder"),
        (["run", "{tmp}/photos", "--model", "{tmp}/nowhere"], "no such folder"),
        (
            ["run", "{tmp}/photos", "--method", "rollout", "--versus", "spur"],
            "rollout gives the same map for every label",
        ),
        (
            ["run", "{tmp}/photos", "--method", "legrad", "--target", "spurr"],
            "is not a class of the model, which knows spur",
        ),
        (["nihgtly"], "Did you mean 'nightly'?"),
        (["runn", "{tmp}/photos"], "Did you mean 'run'?"),
        (["classify"], "No such command 'classify'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_commands_are_2_with_one_clear_line(tmp_path, arguments, words):
    save_photos(tmp_path / "photos", 1)
    refused = run_vitrollout(*[argument.format(tmp=tmp_path) for argument in arguments])
    assert refused.returncode == 2
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr
    assert refused.stdout == ""


def test_all_wrong_settings_are_reported_at_once(tmp_path):
    save_photos(tmp_path / "photos", 1)
    wrong = [
        "--method",
        "foo",
        "--discard-ratio",
        "2",
        "--batch-size",
        "0",
        "--precision",
        "int3",
        "--colormap",
        "nope",
    ]
    refused = run_vitrollout("run", tmp_path / "photos", *wrong)
    assert refused.returncode == 2
    for name in ("method", "discard_ratio", "batch_size", "precision", "colormap"):
        assert f"{name} = " in refused.stderr


def test_ctrl_c_within_a_del_method_is_not_lost():
    program = """if True:
        import signal, threading, jobs.cli
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        class Interrupted:
            def __del__(self):
                raise KeyboardInterrupt
        def command(**_):
            Interrupted()
            for _ in range(2000):
                threading.Event().wait(0.01)  # in short pieces: `interrupt_main` does not end a wait
        jobs.cli.cli.main = command
        jobs.cli.main()
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "vitrollout: interrupted\n")


# the module with the interrupt in its import: needed by every command, by settings, by the model
@pytest.mark.parametrize("module", ["click", "numpy", "torch.nn"])
def test_ctrl_c_during_imports_is_one_line(tmp_path, model, module):
    save_photos(tmp_path / "photos", 1)
    program = f"""if True:
        import os, signal, sys
        signal.signal(signal.SIGINT, signal.default_int_handler)
        class InterruptedImport:
            def find_spec(self, name, path=None, target=None):
                if name == {module!r}:
                    sys.meta_path.remove(self)
                    os.kill(os.getpid(), signal.SIGINT)
        sys.meta_path.insert(0, InterruptedImport())
        from jobs.command_line.start import main
        sys.argv = ["vitrollout", "explain", "{tmp_path}/photos/photo-0000.png", "--model", {model!r}]
        main()
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    *_, last = done.stderr.splitlines()
    assert (done.returncode, last) == (130, "vitrollout: interrupted")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_help_imports_nothing_of_the_library_but_its_errors():
    """So it takes a tenth of a second; torch alone takes seconds."""
    program = """if True:
        import sys, jobs.cli
        sys.argv = ["vitrollout", "--help"]
        try:
            jobs.cli.main()
        finally:
            heavy = {"torch", "transformers", "pandas", "numpy", "pyarrow", "pydantic"}
            print(sorted(name for name in sys.modules if name.startswith("pipeline") or name in heavy))
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--help" in done.stdout
    assert done.stdout.splitlines()[-1] == "['pipeline', 'pipeline.errors']"


@pytest.mark.parametrize("name", jobs.cli.COMMANDS)
def test_every_command_has_help_with_its_examples(name):
    shown = CliRunner().invoke(jobs.cli.cli, [name, "--help"], prog_name="vitrollout")
    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith(f"Usage: vitrollout {name} ")
    assert f"\n  vitrollout {name} " in shown.output
