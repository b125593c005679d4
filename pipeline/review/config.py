"""The settings of a review."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from pipeline.results.where_setting import NoneOrCondition
from pipeline.review.class_names import clean_class_name
from pipeline.setting_types import NoneOrPath, OutFolder, none_or, resolve_file, split_at_commas
from pipeline.settings import Settings

Order = Literal[
    "mixed", "margin", "score", "suspects", "contradicted", "changed", "methods", "drift", "outdated", "disputed",
    "unsure", "random", "audit"
]  # fmt: skip

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ReviewConfig(Settings):
    """The settings of one review. Every option of `vitrollout review` is a field here, and the other way round."""

    out: OutFolder = Field(description="results folder of a run")
    order: Order = Field("mixed", description="order of the photos; mixed: by margin, with a tenth for the audit")
    audit: float = Field(0.1, ge=0, le=1, description="share of all photos in the blind audit; 0: none")
    labels: NoneOrPath = Field(None, description="CSV path,label with known labels, to find suspects among them")
    where: NoneOrCondition = Field(
        None, description='only photos with this in their row, such as "score<0.8" or "label==spur and score<0.8"'
    )
    who: Annotated[str | None, BeforeValidator(none_or)] = Field(
        None, min_length=1, max_length=100, description="name of the reviewer; none: the user of this system"
    )
    limit: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(none_or)] = Field(
        None, description="show at most this many photos"
    )
    second_opinion: bool = Field(False, description="show photos reviewed by others too")
    classes: Annotated[tuple[str, ...], BeforeValidator(split_at_commas)] = Field(
        (), description="NAME[,NAME...]: classes to add to those of the model"
    )
    boxes: bool = Field(True, description="offer boxes around defects")
    port: int = Field(0, ge=0, le=65_535, description="port of the page; 0: a free one")
    host: str = Field("127.0.0.1", description="address of the page; others than this machine can see it elsewhere")
    i_know_others_can_see_it: bool = Field(
        False, description="allow a --host that others in the network can reach, without encryption"
    )
    browser: bool = Field(True, description="open the page in a browser")

    @field_validator("labels")
    @classmethod
    def _check_labels_file(cls, file: Path | None) -> Path | None:
        return None if file is None else resolve_file(file)

    @field_validator("classes")
    @classmethod
    def _check_classes(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(clean_class_name, names))

    @field_validator("i_know_others_can_see_it")
    @classmethod
    def _check_host(cls, is_allowed: bool, info: ValidationInfo) -> bool:
        host = info.data.get("host", "")
        if host not in LOOPBACK and not is_allowed:
            raise ValueError(
                f"must be given for host = {host}: others in the network could see the photos; "
                "better keep 127.0.0.1, and reach it through ssh -L"
            )
        return is_allowed

    @property
    def person(self) -> str:
        """The reviewer's name."""
        if self.who is not None:
            return self.who
        from getpass import getuser

        try:
            return getuser()
        except (OSError, KeyError):  # a container's user without an entry and without USER
            return "reviewer"
