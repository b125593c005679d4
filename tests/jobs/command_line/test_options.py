"""Options from settings; `tests/test_config.py` tries every option of a run."""

from typing import Annotated, Literal

import click
import pytest
from click.testing import CliRunner
from pydantic import Field

from jobs.command_line.decorator import command
from jobs.command_line.options import given_options, settings_options, shown_default
from pipeline.settings import Settings, changes_numbers


class Recipe(Settings):
    """Settings of every kind."""

    data: str = Field(description="the argument")
    size: int | None = Field(None, description="a number or none", json_schema_extra=changes_numbers())
    blocks: int | None = Field(None, description="a number or all", json_schema_extra={"none": "all"})
    speed: Literal["low", "high"] = Field("low", description="a choice")
    share: float = Field(0.5, description="a share")
    names: Annotated[tuple[str, ...], Field()] = Field(("a", "b"), description="several")
    empty: str = Field("", description="a text")
    fast: bool = Field(False, description="a switch")
    safe: bool = Field(True, description="a switch, on by default")
    out: str = Field(description="the folder")


@pytest.fixture
def called_with():
    """Call the command, and return its options."""
    calls = []

    @command("Cook.")
    @settings_options(Recipe, argument="data")
    def cook_command(**options):
        calls.append(given_options(options))

    def call(*arguments):
        result = CliRunner().invoke(cook_command, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return calls.pop() if calls else result.output

    return call


def test_only_given_options_are_passed_on(called_with):
    assert called_with("photos", "--out", "o") == {"data": "photos", "out": "o"}
    options = called_with("photos", "--out", "o", "--no-safe", "--names", "c", "--names", "d", "--size", "none")
    assert options == {"data": "photos", "out": "o", "safe": False, "names": ("c", "d"), "size": "none"}


def test_help_lists_out_first_and_then_the_fields_in_their_order(called_with):
    lines = called_with("--help").splitlines()
    options = [line.split("  ")[1] for line in lines if line.startswith("  --")]
    assert options == [
        "--out TEXT", "--size N", "--blocks N", "--speed [low|high]", "--share X", "--names TEXT", "--empty TEXT",
        "--fast", "--safe / --no-safe", "--help",
    ]  # fmt: skip


def test_defaults_are_shown_as_they_can_be_typed():
    fields = Recipe.model_fields
    shown = {name: shown_default(fields[name]) for name in ("size", "blocks", "speed", "share", "names", "empty")}
    assert shown == {
        "size": "none", "blocks": "all", "speed": "low", "share": "0.5", "names": "a,b", "empty": "empty",
    }  # fmt: skip


def test_argument_is_required():
    @click.command()
    @settings_options(Recipe, argument="data")
    def cook_command(**options):
        raise AssertionError(options)

    assert "Missing argument 'DATA'" in CliRunner().invoke(cook_command, ["--out", "o"]).output
