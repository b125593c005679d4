"""The README.md of a fine-tuned model: where it comes from, what it saw, how good it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.markdown import EVALUATION_BEGIN, EVALUATION_END, markdown_table
from pipeline.training.backbone import TrainableClassifier
from pipeline.training.config import FinetuneConfig
from pipeline.training.result import FinetuneResult


@dataclass(frozen=True)
class CardFacts:
    """What a model card is written from.

    Attributes:
        config: the settings, as given.
        start_config: config.json of the checkpoint that the training began with.
        classifier: how the model was made from it.
        result: what came of it.
        history: the trainer's log, one entry a validation among others.
        machine: what it was trained on, in words.
    """

    config: FinetuneConfig
    start_config: dict[str, Any]
    classifier: TrainableClassifier
    result: FinetuneResult
    history: Sequence[dict[str, Any]]
    machine: str


def write_model_card(facts: CardFacts, file: Path) -> None:
    """Write the card in Markdown, with the front matter that model hubs read."""
    sections = [
        _front_matter(facts),
        f"# {facts.result.out.name}",
        facts.config.purpose or f"Tells photos of {len(facts.result.labels)} classes apart.",
        _origin(facts),
        _data(facts),
        _settings(facts),
        _results(facts),
        f"{EVALUATION_BEGIN}\n{EVALUATION_END}",
        _use(facts),
    ]
    if facts.config.notes is not None:
        sections.append(facts.config.notes.read_text(encoding="utf-8").strip())
    file.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def _front_matter(facts: CardFacts) -> str:
    lines = [
        "---",
        f"license: {facts.config.licence}",
        "library_name: transformers",
        "pipeline_tag: image-classification",
        "tags: [vitrollout, image-classification, fine-tuned]",
        "---",
    ]
    return "\n".join(lines)


def _origin(facts: CardFacts) -> str:
    classifier = facts.classifier
    head = "its head was kept" if classifier.head_kept else f"a new head for {len(facts.result.labels)} classes"
    kept = f"its first {classifier.blocks} of {classifier.blocks_before} encoder blocks"
    if classifier.blocks == classifier.blocks_before:
        kept = f"all of its {classifier.blocks} encoder blocks"
    family = facts.start_config.get("model_type", "unknown")
    name = Path(facts.config.model).name if Path(facts.config.model).is_dir() else facts.config.model
    return (
        f"## Where it comes from\n\nFine-tuned with `vitrollout finetune` from `{name}` ({family}): {kept}, {head}. "
        f"Licence: {facts.config.licence}."
    )


def _data(facts: CardFacts) -> str:
    counts = facts.result.counts
    rows = [[label, *(counts[split].get(label, 0) for split in counts)] for label in facts.result.labels]
    rows.append(["all", *(sum(per_label.values()) for per_label in counts.values())])
    left_out = (
        f" {facts.result.unreadable} photos could not be read and were left out." if facts.result.unreadable else ""
    )
    return (
        f"## Data\n\n{markdown_table(['class', *counts], rows)}\n\n"
        f"Which photo was in which split: `split.csv`.{left_out}"
    )


def _settings(facts: CardFacts) -> str:
    rows = [(name, value) for name, value in facts.config.recipe().items() if name != "model"]
    minutes = facts.result.seconds / 60
    return (
        f"## Settings\n\n{markdown_table(['setting', 'value'], rows)}\n\n"
        f"{facts.result.epochs} epochs were trained, in {minutes:.0f} minutes on {facts.machine}."
    )


def _results(facts: CardFacts) -> str:
    epochs = [
        (f"{entry['epoch']:.0f}", *(f"{entry[f'eval_{name}']:.4f}" for name in ("accuracy", "macro_f1", "loss")))
        for entry in facts.history
        if "eval_loss" in entry
    ]
    saved = [
        (split, *(f"{metrics[name]:.4f}" for name in ("accuracy", "macro_f1", "loss")))
        for split, metrics in facts.result.metrics.items()
    ]
    return (
        f"## Results\n\n{markdown_table(['split', 'accuracy', 'macro F1', 'loss'], saved)}\n\n"
        f"Measured on the saved files, loaded anew. Validation after each epoch; the one with the best "
        f"{facts.config.best_by} was saved:\n\n"
        f"{markdown_table(['epoch', 'accuracy', 'macro F1', 'loss'], epochs)}"
    )


def _use(facts: CardFacts) -> str:
    size = facts.config.input_size
    return (
        "## Use\n\n    vitrollout run PHOTOS/ --model THIS_FOLDER\n\n"
        "or with transformers: `AutoModelForImageClassification` and `AutoImageProcessor`. "
        f"A photo is stretched to {size} x {size} pixels as a whole; nothing is cropped, since a defect may be at "
        "the border. It was made to tell the classes above apart on photos like those it was trained on, and has "
        "no class for anything else."
    )
