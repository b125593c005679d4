"""Every setting of an evaluation, checked once, with all errors at once."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from pipeline.setting_types import AutoCount, OutFolder, PositiveLabels, is_model_folder, none_or
from pipeline.settings import BatchSettings, GroupedDataSettings, TileSettings


class EvaluateConfig(TileSettings, BatchSettings, GroupedDataSettings):
    """The settings of one evaluation. Every option of `vitrollout evaluate` is a field here."""

    out: OutFolder = Field(Path("evaluation"), description="for metrics.json, predictions.parquet and figure.png")
    split: Literal["auto", "train", "validation", "test", "all"] = Field(
        "auto",
        description="photos to measure on; auto: the test split of the data or of the model's split.csv, or else all",
    )
    against: Annotated[str | None, BeforeValidator(none_or)] = Field(
        None,
        description="a second model, as for --model: which of the two is better on the same photos, and which photos "
        "changed sides",
    )
    positive: PositiveLabels = Field(
        (),
        json_schema_extra={"none": "auto"},
        description="LABEL[,LABEL...]: classes counted as defects; auto: those of the model's decision, or all but "
        "ok, good, normal, functional",
    )
    recall: float = Field(0.99, gt=0, le=1, description="share of defects to find; the threshold for it is reported")
    false_alarms: float = Field(0.01, ge=0, lt=1, description="share of good photos that --save-decision may reject")
    detect_from: float = Field(
        0.5,
        ge=0,
        le=1,
        description="with --tile and boxes in the data: score from which a detection counts as one; metrics.json has "
        "the figures for all others",
    )
    average_turns: bool = Field(False, description="average over the eight turns and mirrorings of each photo; slower")
    resamples: int = Field(1000, ge=0, description="bootstrap resamples for the 95% intervals; 0: no intervals")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the bootstrap and of the folds")
    workers: AutoCount = Field("auto", description="processes for decoding photos; auto: one per core")
    update_card: bool = Field(False, description="put the results into the README.md of the model's folder")
    save_decision: bool = Field(
        False,
        description="choose two thresholds on validation photos, for --recall and --false-alarms, and save them with "
        "the model: runs then write pass, review or reject for each photo",
    )

    @field_validator("save_decision")
    @classmethod
    def _check_save_decision(cls, save_decision: bool, info: ValidationInfo) -> bool:
        if save_decision and not is_model_folder(info.data.get("model", "bundled")):
            raise ValueError("a decision can only be saved into a model folder of yours; name it with --model")
        if save_decision and info.data.get("average_turns"):
            raise ValueError("a run averages no turns, so its scores would differ; turn --average-turns off")
        return save_decision

    @field_validator("update_card")
    @classmethod
    def _check_update_card(cls, update_card: bool, info: ValidationInfo) -> bool:
        if update_card and not is_model_folder(info.data.get("model", "bundled")):
            raise ValueError("only the card of a model folder of yours can be written; name it with --model")
        return update_card
