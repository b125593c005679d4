"""The type of settings that are a condition on rows."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from pipeline.setting_types import none_or


def _check_condition(text: str | None) -> str | None:
    if text is not None:
        from pipeline.results.conditions import parse_where  # imports pyarrow, and help needs none

        parse_where(text)
    return text


NoneOrCondition = Annotated[str | None, BeforeValidator(none_or), AfterValidator(_check_condition)]
