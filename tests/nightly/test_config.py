"""The configuration of a night: paths, defaults, and every mistake in it at once."""

from datetime import timedelta

import pytest

from pipeline.errors import ConfigError
from pipeline.nightly.config import read_config
from tests.helpers.archives import archive


def test_paths_are_relative_to_the_file_and_defaults_hold(tmp_path, write_config, monkeypatch):
    monkeypatch.chdir("/")
    config = read_config(
        write_config(archive("cells", overlay_size=512), archive("x", name="boards"), top='stop_after="90min"')
    )
    cells, boards = config.archive
    assert (config.stop_after, config.compact_above) == (timedelta(minutes=90), 50)
    assert (cells.name, cells.input, cells.out) == ("cells", tmp_path / "archives/cells", tmp_path / "results/cells")
    assert (boards.name, cells.overlay_size, boards.overlay_size, boards.workers) == ("boards", 512, None, 1)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize(("newline", "folder"), [("\r\n", "Prüfstand"), ("\n", "boards")])
def test_files_of_windows_editors_are_read(write_config, encoding, newline, folder):
    file = write_config(archive(folder))
    file.write_text(file.read_text(), encoding=encoding, newline=newline)
    assert [archive.name for archive in read_config(file).archive] == [folder]


def test_the_csv_of_expected_labels_is_relative_to_the_file_too(tmp_path, write_config, monkeypatch):
    monkeypatch.chdir("/")
    (tmp_path / "labels.csv").write_text("path,label\n")
    explained = {"method": ["legrad", "rollout"], "target": "expected", "labels": "labels.csv", "versus": 3}
    (cells,) = read_config(write_config(archive("cells", **explained))).archive
    assert (cells.method, cells.labels, cells.versus) == (("legrad", "rollout"), tmp_path / "labels.csv", "3")


def test_a_model_folder_beside_the_file(tmp_path, write_config, monkeypatch):
    monkeypatch.chdir("/")
    (tmp_path / "models" / "mine").mkdir(parents=True)
    named = ("models/mine", "org/model", "bundled")
    archives = read_config(write_config(*(archive(f"a{n}", model=it) for n, it in enumerate(named)))).archive
    assert [it.model for it in archives] == [str(tmp_path / "models/mine"), "org/model", "bundled"]


def test_all_errors_at_once_with_the_nearest_key(write_config):
    file = write_config(
        {"input": "a", "out": "b", "max_faild_share": 0.1, "method": "rolout"},
        {"name": "boards", "input": "c", "batch_sise": 3, "out": "b"},
        {"input": "d", "out": "e", "name": "f"},
        {"input": "d", "out": "g", "name": "f"},
        top='stop_afte = "5h"\nkeep_runs = 0\nmetrics_file = "metrics.txt"',
    )
    with pytest.raises(ConfigError) as caught:
        read_config(file)
    assert caught.value.exit_code == 2
    found = "\n".join(caught.value.problems)
    for words in (
        "stop_afte: no such setting; did you mean stop_after?",
        "keep_runs = 0: must be greater than or equal to 1",
        "metrics_file = ",
        "must end in .prom",
        "archive a: max_faild_share: no such setting; did you mean max_failed_share?",
        "archive a: method = rolout: must be 'rollout', 'article', ",
        "archive boards: batch_sise: no such setting; did you mean batch_size?",
        "name = f: 2 archives have it",
    ):
        assert words in found


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        ("stop_after = ", "is not valid TOML"),
        ("", "archive: there is none"),
        ("archive = 3", r"archives must be tables \[\[archive\]\]"),
        ('stop_after = "soon"\n[[archive]]\ninput="a"\nout="b"', "must be a duration such as 5h"),
        ('stop_after = 18000\n[[archive]]\ninput="a"\nout="b"', "must be a duration such as 5h"),
        ('stop_after = "1.5"\n[[archive]]\ninput="a"\nout="b"', "must be a duration such as 5h"),
        ('stop_after = "NaT"\n[[archive]]\ninput="a"\nout="b"', "must be a duration such as 5h"),
        ('stop_after = "-5h"\n[[archive]]\ninput="a"\nout="b"', "must be positive"),
        ('[[archive]]\ninput="a"', "archive a: out: must be given"),
        ('[[archive]]\nout="a"', "archive 1: input: must be given"),
    ],
)
def test_wrong_files(tmp_path, content, words):
    file = tmp_path / "nightly.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=words):
        read_config(file)


def test_two_archives_must_not_share_a_results_folder(write_config):
    with pytest.raises(ConfigError, match="results: 2 archives have it"):
        read_config(write_config({"input": "a", "out": "results"}, {"input": "b", "out": "results"}))
