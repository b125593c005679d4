"""Decisions of a model, without an evaluation."""

from dataclasses import replace
from pathlib import Path

from pipeline.decision import ChosenOn, Decision, write_decision
from pipeline.model.checkpoint import resolve_checkpoint

ORIGIN = ChosenOn(
    data="labelled",
    split="validation, by the data",
    photos=700,
    defects=300,
    good=400,
    wanted_recall=0.99,
    wanted_false_alarms=0.01,
    chosen_at="2026-01-01T00:00:00+00:00",
    model_digest="00" * 16,
    input_size=None,
    precision="fp32",
)


def make_decision(**changes) -> Decision:
    """Return a decision; `changes` replace its fields."""
    return replace(Decision(("class-1",), pass_below=0.2, reject_from=0.8, chosen_on=ORIGIN), **changes)


def save_decision(model: Path, **changes) -> Decision:
    """Write a decision for the model of a folder into it, and return it."""
    origin = replace(ORIGIN, model_digest=resolve_checkpoint(str(model)).digest())
    decision = make_decision(**{"chosen_on": origin} | changes)
    write_decision(decision, model)
    return decision
