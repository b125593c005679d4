"""The model of a run, with all settings that decide its numbers and pictures."""

from dataclasses import dataclass

from pipeline.config import RunConfig
from pipeline.decision import Decision, add_decision
from pipeline.errors import ConfigError
from pipeline.model.choose_method import MethodChoice, choose_method
from pipeline.model.choose_tile import TileChoice, choose_tile, find_window_defects
from pipeline.model.familiarity import Familiarity
from pipeline.model.map_scale import Span
from pipeline.model.open import OpenedModel, open_model
from pipeline.model.targets import Targets
from pipeline.overlays.choice import OverlayChoice
from pipeline.overlays.scale import find_model_span
from pipeline.planning.fingerprint import fingerprint, photo_fingerprint
from pipeline.planning.targets import choose_targets
from pipeline.results.rows import RowBuilder


@dataclass(frozen=True)
class RunModel:
    """The model of a run, and all that decides its numbers; the weights are not loaded yet.

    Attributes:
        config: all settings; a method left open is chosen.
        method: the methods in them, and where they come from.
        opened: the checkpoint, with its device and precision.
        targets: labels to explain; those expected of each photo come with the plan.
        base_fingerprint: of all settings with an effect on the numbers.
        decision: saved with the model, or None.
        familiarity: statistics of the training photos saved with the model, or None.
        overlays: the photos to draw.
        span: map values drawn as the coldest and the hottest; None: each photo's own, or measured by the run.
        tile: how photos are cut into windows.
        defect_ids: ids of the classes counted as defects in windows; empty: nothing tells defects from good, or photos
            are not cut.
    """

    config: RunConfig
    method: MethodChoice
    opened: OpenedModel
    targets: Targets
    base_fingerprint: str
    decision: Decision | None
    familiarity: Familiarity | None
    overlays: OverlayChoice
    span: Span | None
    tile: TileChoice
    defect_ids: tuple[int, ...]

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the run, with its decision."""
        return add_decision(self.base_fingerprint, self.decision)

    def fingerprint_of(self, path: str) -> str:
        """Return the fingerprint of one photo."""
        return add_decision(photo_fingerprint(self.base_fingerprint, self.targets, path), self.decision)

    def build_rows(self, run_id: str) -> RowBuilder:
        """Return the builder of the rows of a run."""
        config, head = self.config, self.opened.checkpoint.read_head()
        return RowBuilder(
            head.labels, config.model, config.method[0], run_id, self.fingerprint_of, self.targets,
            head.scoring, self.decision, self.familiarity, config.embeddings,
            self.tile.size, config.keep_tiles,
        )  # fmt: skip


def open_run_model(config: RunConfig, *, computes_here: bool = True) -> RunModel:
    """Find the model of a run, its map method, its labels to explain, its decision and its statistics.

    Args:
        config: all settings.
        computes_here: False: the devices are on other machines, so nothing is asked of this one's.

    Raises:
        ConfigError: a label is unknown, or the device or precision is not to be had on this machine.
        ModelError: the model can't be reached or used.
    """
    opened = open_model(config, computes_here=computes_here)
    decision = opened.read_decision()
    choice = choose_method(config.method, opened, target=config.target, versus=config.versus)
    tile = choose_tile(config.tile, config.tile_overlap, opened.checkpoint, decision)
    tile.check_decision(decision)
    config = config.model_copy(update={"method": choice.methods, "tile": tile.size})
    positive = decision.positive if decision else ()
    targets = choose_targets(config, opened.checkpoint, positive)
    defect_ids = find_window_defects(opened.checkpoint.labels, positive) if tile.tiling else ()
    familiarity = opened.read_familiarity()
    digest = familiarity.digest() if familiarity else None
    base = fingerprint(config, opened.checkpoint, opened.precision, targets, digest, defect_ids)
    try:
        overlays = config.overlay_choice.resolve_labels(opened.checkpoint.labels)
    except ValueError as error:
        raise ConfigError(f"overlays = {config.overlays}: {error}") from None
    span = None if overlays.kind == "none" else find_model_span(config.scale, config.method[0], targets, opened)
    return RunModel(config, choice, opened, targets, base, decision, familiarity, overlays, span, tile, defect_ids)
