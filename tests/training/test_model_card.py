"""The model card: its contents, its front matter, and no call to any hub."""

import dataclasses
import json
import socket
from types import SimpleNamespace

import pytest
import yaml

from pipeline.markdown import replace_evaluation_section
from pipeline.training.model_card import CardFacts, write_model_card
from pipeline.training.recipe import plain_recipe
from pipeline.training.validation import Metrics


@pytest.fixture
def write_card(finished, tmp_path):
    """A function to write the card of the finished training with changed facts; returns the card."""

    def write(*, config=None, result=None, classifier=None, **changes):
        config = finished.config.model_copy(update=config or {})
        classifier = classifier or SimpleNamespace(blocks=3, blocks_before=3, head_kept=False)
        facts = CardFacts(
            config=config,
            start_config={"model_type": "vit"},
            ready=SimpleNamespace(classifier=classifier, recipe=plain_recipe(config)),
            result=dataclasses.replace(finished.result, **result or {}),
            history=[Metrics(0.5, 0.25, 1.0), Metrics(0.75, 0.5, 0.125)],
            machine="a machine",
        )
        write_model_card(dataclasses.replace(facts, **changes), tmp_path / "README.md")
        return (tmp_path / "README.md").read_text()

    return write


def front_matter_of(card):
    front_matter, _, body = card.removeprefix("---\n").partition("\n---\n")
    return yaml.safe_load(front_matter), body


def test_card_of_a_training(finished):
    card = (finished.out / "README.md").read_text()
    front_matter, body = front_matter_of(card)
    assert front_matter == {
        "license": "mit",
        "library_name": "transformers",
        "pipeline_tag": "image-classification",
        "tags": ["vitrollout", "image-classification", "fine-tuned"],
    }
    for words in (
        *("tells marks apart", "| bar | 6 | 2 | 2 |", "| all | 18 | 6 | 6 |", "| learning_rate | 0.001 |", "CPU cores"),
        *("(vit)", "a new head for 3 classes", "| validation | ", "from the third line", "Licence: mit"),
    ):
        assert words in body
    assert json.loads((finished.out / "config.json").read_text())["vitrollout_purpose"] == "tells marks apart"


def test_settings_are_written_as_the_command_takes_them(write_card):
    card = write_card(config={"patience": None, "blocks": None, "averaging": 0.5})
    for row in ("| patience | none |", "| blocks | all |", "| averaging | 0.5 |", "| resize | stretch |"):
        assert row in card
    assert "judges_start" not in card  # not a setting


def test_every_section_in_its_order(write_card):
    _, body = front_matter_of(write_card())
    headings = [line for line in body.splitlines() if line.startswith("#")]
    assert headings == ["# out", "## Origin", "## Data", "## Settings", "## Results", "## Use", "## Note"]
    assert "\n\n\n" not in body
    assert body.startswith("\n# out\n")
    assert body.endswith("from the third line\n")


def test_history_is_a_row_per_epoch(write_card):
    card = write_card()
    assert "| 1 | 0.5000 | 0.2500 | 1.0000 |\n| 2 | 0.7500 | 0.5000 | 0.1250 |" in card
    assert "the one with the best macro_f1 was saved:" in card


def test_origin_says_what_was_kept(write_card):
    assert "with all 3 encoder blocks and a new head for 3 classes." in write_card()
    shortened = SimpleNamespace(blocks=2, blocks_before=3, head_kept=True)
    assert "with the first 2 of 3 encoder blocks and its own head." in write_card(classifier=shortened)
    for blocks, before, words in ((1, 1, "its only encoder block"), (1, 3, "the first of 3 encoder blocks")):
        classifier = SimpleNamespace(blocks=blocks, blocks_before=before, head_kept=False)
        assert f"with {words} and a new head" in write_card(classifier=classifier)


@pytest.mark.parametrize(
    ("seconds", "words"), [(5, "less than a minute"), (61, "1 minute"), (95, "2 minutes"), (3600, "60 minutes")]
)
def test_time_in_words(write_card, seconds, words):
    assert f"in {words} on a machine." in write_card(result={"seconds": seconds})


def test_classes_without_a_test_photo_are_named(write_card):
    assert "has no photo" not in write_card()
    counts = {"train": {"bar": 2, "dot": 2, "ok": 2}, "validation": {"bar": 1, "dot": 1, "ok": 1}, "test": {"bar": 1}}
    f1 = {"validation": {"bar": 0.5, "dot": 1.0, "ok": 0.25}, "test": {"bar": 1.0, "dot": None, "ok": None}}
    card = write_card(result={"counts": counts, "f1": f1})
    assert "**The test split has no photo of dot, ok**: its figures say nothing of these classes." in card
    assert "| class | F1, validation | F1, test |" in card
    assert "| bar | 0.5000 | 1.0000 |\n| dot | 1.0000 |  |\n| ok | 0.2500 |  |" in card


def test_unreadable_photos_are_counted(write_card):
    assert "Unreadable photos" not in write_card()
    assert "leads to the photos. Unreadable photos left out: 4.\n" in write_card(result={"unreadable": 4})


def test_without_purpose_and_notes(write_card):
    card = write_card(config={"purpose": "", "notes": None})
    assert "\n\nSorts photos into 3 classes.\n\n" in card
    assert card.endswith("`unfamiliar` in the table tells such photos.\n")


@pytest.mark.parametrize("licence", ["yes", "1.0", "other: see #3", "'quoted'", "- a\n---\nb: c", "ünïcode {{ 7 }}"])
def test_odd_licences_are_escaped(write_card, licence):
    front_matter, body = front_matter_of(write_card(config={"licence": licence}))
    assert front_matter["license"] == licence
    assert front_matter["library_name"] == "transformers"
    assert f"Licence: {licence}." in body


def test_words_of_the_user_are_no_template(write_card):
    assert "\n\n{{ result }} {% if %}\n\n" in write_card(config={"purpose": "{{ result }} {% if %}"})


def test_card_takes_an_evaluation(write_card):
    card = replace_evaluation_section(write_card(), "## Evaluation\n\nfine")
    assert card.index("## Results") < card.index("## Evaluation") < card.index("## Use")


def test_no_network(write_card, monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    write_card()
