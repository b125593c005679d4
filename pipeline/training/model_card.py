"""The README.md of a fine-tuned model: its origin, its data, its settings, its results."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from pipeline.markdown import EVALUATION_BEGIN, EVALUATION_END, markdown_table
from pipeline.training.backbone import TrainableClassifier
from pipeline.training.config import FinetuneConfig
from pipeline.training.prepare import PreparedTraining
from pipeline.training.recipe import format_value
from pipeline.training.result import FinetuneResult
from pipeline.training.validation import Metrics

_TEMPLATE = Path(__file__).with_name("model_card.md.j2")
_METRIC_COLUMNS = ("accuracy", "macro F1", "loss")


@dataclass(frozen=True)
class CardFacts:
    """The contents of a model card.

    Attributes:
        config: all settings.
        start_config: config.json of the starting checkpoint.
        ready: the prepared training.
        result: outcome of the training.
        history: metrics of the validation: of the starting point, if it is a candidate, and after each epoch.
        machine: hardware of the training, in words.
    """

    config: FinetuneConfig
    start_config: dict[str, Any]
    ready: PreparedTraining
    result: FinetuneResult
    history: Sequence[Metrics]
    machine: str


def write_model_card(facts: CardFacts, file: Path) -> None:
    """Write the card in Markdown, with the front matter read by model hubs."""
    config, result, start_folder = facts.config, facts.result, Path(facts.config.model)
    recipe = facts.ready.recipe
    settings = [
        (name, format_value(name, value))
        for name, value in asdict(recipe).items()
        if name in FinetuneConfig.model_fields
    ]
    first_epoch = 0 if recipe.judges_start else 1
    saved_metrics = [
        (split, Metrics(metrics["accuracy"], metrics["macro_f1"], metrics["loss"]))
        for split, metrics in result.metrics.items()
    ]
    front_matter = ModelCardData(
        license=config.licence,
        library_name="transformers",
        pipeline_tag="image-classification",
        tags=["vitrollout", "image-classification", "fine-tuned"],
    )
    card = ModelCard.from_template(
        front_matter,
        template_path=str(_TEMPLATE),
        config=config,
        classifier=facts.ready.classifier,
        recipe=recipe,
        result=result,
        machine=facts.machine,
        start_name=start_folder.name if start_folder.is_dir() else config.model,
        start_family=facts.start_config.get("model_type", "unknown"),
        blocks=_describe_blocks(facts.ready.classifier),
        duration=_describe_duration(result.seconds),
        photo_table=_photo_table(result),
        settings_table=markdown_table(["setting", "value"], settings),
        split_table=_metrics_table("split", saved_metrics),
        class_table=_class_table(result),
        epoch_table=_metrics_table("epoch", list(enumerate(facts.history, start=first_epoch))),
        evaluation_begin=EVALUATION_BEGIN,
        evaluation_end=EVALUATION_END,
        notes=None if config.notes is None else config.notes.read_text(encoding="utf-8").strip(),
    )
    file.write_text(f"{card}\n", encoding="utf-8")


def _describe_blocks(classifier: TrainableClassifier) -> str:
    """Name the encoder blocks kept, in words for any number of them."""
    blocks, before = classifier.blocks, classifier.blocks_before
    if blocks == before:
        return "its only encoder block" if blocks == 1 else f"all {blocks} encoder blocks"
    return f"the first {'' if blocks == 1 else f'{blocks} '}of {before} encoder blocks"


def _describe_duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes == 0:
        return "less than a minute"
    return "1 minute" if minutes == 1 else f"{minutes} minutes"


def _class_table(result: FinetuneResult) -> str:
    """Format the F1 of each class by split; empty for a class without photos there."""
    rows = [
        [label, *("" if (score := f1[label]) is None else f"{score:.4f}" for f1 in result.f1.values())]
        for label in result.labels
    ]
    return markdown_table(["class", *(f"F1, {split}" for split in result.f1)], rows)


def _photo_table(result: FinetuneResult) -> str:
    """Format the number of photos per class and split."""
    rows: list[list[object]] = [
        [label, *(per_label.get(label, 0) for per_label in result.counts.values())] for label in result.labels
    ]
    rows.append(["all", *(sum(per_label.values()) for per_label in result.counts.values())])
    return markdown_table(["class", *result.counts], rows)


def _metrics_table(first_column: str, rows: Sequence[tuple[object, Metrics]]) -> str:
    """Format metrics, one row each, with four decimals."""
    cells = [
        (name, *(f"{value:.4f}" for value in (metrics.accuracy, metrics.macro_f1, metrics.loss)))
        for name, metrics in rows
    ]
    return markdown_table([first_column, *_METRIC_COLUMNS], cells)
