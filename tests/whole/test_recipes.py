"""docs/recipes.md and the README: each block of code is run, on results of two nights with stale and failed rows."""

import ast
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from pipeline.results.read import part_files, read_part
from pipeline.results.schema import Row
from tests.helpers.tables import FAILED, make_row, write_run

ROOT = Path(__file__).parents[2]
LABELS = ["ok", "short", "open"]
Rows = list[dict[str, Any]]


def photo(chance: random.Random, path: str) -> Row:
    """A row as a run writes it; one in ten failed."""
    if chance.random() < 0.1:
        return make_row(path, **FAILED | {"error": chance.choice(["the file is empty", "Truncated File Read"])})
    labels, score = chance.sample(LABELS, 3), chance.uniform(0.5, 1)
    scores = np.array([score, 1 - score, 0], np.float32)
    attention = np.array([chance.random() for _ in range(12)], np.float32)
    logits = np.array([chance.uniform(-3, 3) for _ in LABELS], np.float32)
    return make_row(
        path,
        grid=(3, 4),
        logits=logits,
        label=labels[0],
        score=score,
        top_labels=labels,
        top_scores=scores,
        attention=attention,
        defect_score=1 - score,
        decision="reject" if score < 0.7 else "pass",
        unfamiliar=min(score + 0.1, 1.0),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the recipes run: results/photos of two nights, the second with half of the photos again, and truth.csv."""
    folder = tmp_path_factory.mktemp("recipes")
    photos, out = folder / "photos", folder / "results" / "photos"
    chance = random.Random(3)
    names = [f"line-{number % 2}/board-{number:03d}.png" for number in range(100)]
    write_run(out, photos, [photo(chance, name) for name in names[:60]], [photo(chance, name) for name in names[60:]])
    oldest = part_files(out)[0]
    pq.write_table(pq.read_table(oldest).drop_columns(["overlay"]), oldest)  # as of a version that had no such column
    (out / "runs" / "20990101T000000Z.json").write_text(json.dumps({"input": str(photos)}))  # the next run is later
    write_run(out, photos, [photo(chance, name) for name in names[::2]])
    truth = [f"{name},{chance.choice(LABELS)}" for name in names]
    (folder / "truth.csv").write_text("\n".join(["path,label", *truth]))
    return folder


@pytest.fixture(scope="module")
def rows(folder) -> Rows:
    """The newest row of each path, by plain Python."""
    newest: dict[str, dict] = {}
    written = 0
    for part in part_files(folder / "results" / "photos"):
        for row in read_part(part).to_pylist():
            written += 1
            if row["path"] not in newest or row["run_id"] > newest[row["path"]]["run_id"]:
                newest[row["path"]] = row
    assert (len(newest), written) == (100, 150)
    return list(newest.values())


@pytest.fixture
def in_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    if not Path("sample_images").exists():
        Path("sample_images").symlink_to(ROOT / "sample_images")


def blocks(document: str, language: str) -> dict[str, str]:
    """The code in this language under each heading; one block each, in the recipes."""
    text = (ROOT / document).read_text()
    sections = re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return {
        title: "\n".join(re.findall(rf"^```{language}\n(.*?)^```", body, re.DOTALL | re.MULTILINE))
        for title, body in sections
    }


def run_python(code: str, names: dict[str, Any]) -> Any:
    """Run code; the value of its last line, as a notebook shows it."""
    *statements, last = ast.parse(code).body
    exec(compile(ast.Module([*statements], []), "<recipe>", "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), "<recipe>", "eval"), names)
    return exec(compile(ast.Module([last], []), "<recipe>", "exec"), names)


def by_duckdb(title: str) -> Rows | None:
    with duckdb.connect() as connection:
        sql = blocks("docs/recipes.md", "sql")
        connection.sql(sql["The newest row of each photo"])
        found = connection.sql(sql[title])
        return found.pl().to_dicts() if found is not None else None


def by_polars(title: str) -> Rows | None:
    names: dict[str, Any] = {}
    python = blocks("docs/recipes.md", "python")
    run_python(python["The newest row of each photo"], names)
    found = run_python(python[title], names)
    return found.to_dicts() if isinstance(found, pl.DataFrame) else None


def failures(rows: Rows) -> Rows:
    paths = defaultdict(list)
    for row in rows:
        if row["status"] == "failed":
            paths[row["error"]].append(row["path"])
    counted = sorted((-len(some), error, min(some)) for error, some in paths.items())
    assert len(counted) == 2
    return [{"error": error, "photos": -count, "example": example} for count, error, example in counted]


def low_scores(rows: Rows) -> Rows:
    low = sorted((row for row in rows if row["score"] is not None and row["score"] < 0.8), key=lambda row: row["score"])
    assert len(low) > 20
    return [
        {
            "path": row["path"],
            "label": row["label"],
            "score": row["score"],
            "second": row["top_labels"][1],
            "second_score": row["top_scores"][1],
        }
        for row in low[:20]
    ]


def unlike_the_training_photos(rows: Rows) -> Rows:
    unlike = [row for row in rows if row["unfamiliar"] is not None and row["unfamiliar"] > 0.99]
    unlike.sort(key=lambda row: (-row["unfamiliar"], row["path"]))
    assert 5 < len(unlike) < 50
    return [{name: row[name] for name in ("path", "label", "score", "unfamiliar")} for row in unlike[:20]]


def shares(rows: Rows) -> Rows:
    counts = Counter((row["run_id"][:8], row["label"]) for row in rows if row["status"] == "ok")
    photos = Counter(row["run_id"][:8] for row in rows if row["status"] == "ok")
    assert len(photos) == 2
    return [
        {"day": day, "label": label, "photos": count, "share": count / photos[day]}
        for (day, label), count in sorted(counts.items())
    ]


def against_truth(rows: Rows) -> Rows:
    truth = dict(line.split(",") for line in Path("truth.csv").read_text().splitlines()[1:])
    counts = Counter((truth[row["path"]], row["label"]) for row in rows if row["path"] in truth)
    ordered = sorted(counts.items(), key=lambda item: (item[0][0], item[0][1] is None, item[0][1] or ""))
    assert None in {found for (_, found), _ in ordered}
    return [{"truth": label, "found": found, "photos": count} for (label, found), count in ordered]


def mean_maps(rows: Rows) -> Rows:
    maps = defaultdict(list)
    for row in rows:
        if row["status"] == "ok":
            maps[row["label"]].append(row["attention"])
    assert len(maps) == 3
    return [{"label": label, "mean_map": np.mean(maps[label], axis=0).tolist()} for label in sorted(maps)]


RECIPES: dict[str, Callable[[Rows], Rows]] = {
    "What failed, by reason": failures,
    "Low scores first": low_scores,
    "Photos unlike the training photos": unlike_the_training_photos,
    "Label shares, day by day": shares,
    "Against the truth": against_truth,
    "The mean map of each label": mean_maps,
}


@pytest.mark.parametrize("run", [by_duckdb, by_polars])
@pytest.mark.parametrize(("title", "expected"), RECIPES.items(), ids=RECIPES.keys())
@pytest.mark.usefixtures("in_folder")
def test_recipe_gives(title, expected, run, rows):
    found = run(title)
    assert found is not None
    assert [list(row) for row in found] == [list(row) for row in expected(rows)]
    for row, wanted in zip(found, expected(rows), strict=True):
        assert row == {
            name: pytest.approx(value) if isinstance(value, float | list) else value for name, value in wanted.items()
        }


@pytest.mark.usefixtures("in_folder")
def test_newest_rows(rows):
    expected = sorted((row["path"], row["run_id"]) for row in rows)
    names: dict[str, Any] = {}
    run_python(blocks("docs/recipes.md", "python")["The newest row of each photo"], names)
    assert sorted(names["newest"].select("path", "run_id").collect().rows()) == expected
    with duckdb.connect() as connection:
        connection.sql(blocks("docs/recipes.md", "sql")["The newest row of each photo"])
        assert sorted(connection.sql("SELECT path, run_id FROM newest").fetchall()) == expected
        overlays = dict(connection.sql("SELECT path, overlay FROM newest").fetchall())
    assert overlays == {row["path"]: row.get("overlay") for row in rows}


@pytest.mark.parametrize("run", [by_duckdb, by_polars])
@pytest.mark.usefixtures("in_folder")
def test_export(rows, run):
    Path("short.csv").unlink(missing_ok=True)
    run("The paths of a label, as CSV")
    header, *lines = Path("short.csv").read_text().splitlines()
    assert header == "path,score"
    assert [line.split(",")[0] for line in lines] == sorted(row["path"] for row in rows if row["label"] == "short")
    assert lines


def test_every_recipe_is_tested_in_both_languages():
    tested = {"The newest row of each photo", *RECIPES, "The paths of a label, as CSV"}
    for language in ("sql", "python"):
        found = blocks("docs/recipes.md", language)
        assert set(found) == tested
        assert all(found.values()), language


@pytest.mark.usefixtures("in_folder")
def test_readme(rows):
    names: dict[str, Any] = {}
    for code in blocks("README.md", "python").values():
        if code:
            run_python(code, names)
    assert len(names["frame"]) == len(rows)
    assert set(names["doubtful"]["path"]) == {row["path"] for row in rows if (row["score"] or 1) < 0.8}
    assert len(names["maps"]) == sum(row["status"] == "ok" for row in rows)
    rejects = {row["path"] for row in rows if row.get("decision") == "reject"}
    assert 0 < len(rejects) < len(rows)
    assert set(names["rejects"]["path"]) == rejects
