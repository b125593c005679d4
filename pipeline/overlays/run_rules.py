"""The rules of a past run for decoding and drawing: a picture made from its row is then the same, byte for byte."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.decision import without_decision
from pipeline.errors import ConfigError, ModelError
from pipeline.model.map_scale import Span
from pipeline.overlays.config import OverlaysConfig
from pipeline.overlays.draw import OverlayLook
from pipeline.overlays.scale import Kept, read_kept_span
from pipeline.photos.limits import DECODE_SECONDS, MAX_PIXELS
from pipeline.photos.load_photo import LoadSpec, NoModelInput
from pipeline.results.open_run import read_open_runs
from pipeline.results.run_record import RunRecord, newest_run_records

log = logging.getLogger(__name__)

_OVERLAY_SIZE = 1024  # after a run without overlays


@dataclass(frozen=True)
class DrawingRules:
    """How to decode and draw a photo.

    Attributes:
        spec: instructions for decoding.
        decode_seconds: time limit for one photo.
        look: style, opacity and colours.
    """

    spec: LoadSpec
    decode_seconds: float
    look: OverlayLook


class RunRules:
    """The rules of the runs of one results folder, from their records."""

    def __init__(self, config: OverlaysConfig) -> None:
        """Read the records.

        Args:
            config: names the folder; settings of the look given there go before those of a run.
        """
        records = [run.record for run in read_open_runs(config.out)] + list(newest_run_records(config.out))
        self._out, self._newest = config.out, records[0] if records else None
        self._by_run = {record.summary.run_id: record for record in records}
        self._by_fingerprint = {without_decision(one.fingerprint): one for one in reversed(records)}
        self._given = {
            name: getattr(config, name) for name in ("overlay_size", "overlay_opacity", "colormap", "style", "scale")
        }
        self._rules: dict[tuple[str, str, str], DrawingRules] = {}
        self._drafts: dict[tuple[str, str], int | None] = {}

    def rules_of(self, run_id: str, fingerprint: str, model: str) -> DrawingRules:
        """Return the rules for a row by its columns; without a record of its run, those of a run like it."""
        key = run_id, fingerprint, model
        if key not in self._rules:
            like_it = self._by_fingerprint.get(without_decision(fingerprint), self._newest)
            self._rules[key] = self._make_rules(self._by_run.get(run_id, like_it), model)
        return self._rules[key]

    def _make_rules(self, record: RunRecord | None, model: str) -> DrawingRules:
        settings: Mapping[str, Any] = record.settings if record else {}
        looks = {name: settings.get(name) if given is None else given for name, given in self._given.items()}
        size = int(looks["overlay_size"] or _OVERLAY_SIZE)
        draft = None if settings.get("exact_decode") else self._find_draft(model, settings.get("input_size"))
        max_pixels = settings.get("max_pixels", MAX_PIXELS)
        default = OverlayLook()
        return DrawingRules(
            LoadSpec(
                NoModelInput(), draft, size, max_pixels, settings.get("white_level"), draft_up_to=settings.get("tile")
            ),
            settings.get("decode_seconds", DECODE_SECONDS),
            OverlayLook(
                style=looks["style"] or default.style,
                opacity=default.opacity if looks["overlay_opacity"] is None else looks["overlay_opacity"],
                colormap=looks["colormap"] or default.colormap,
                span=self._find_span(looks["scale"], record),
            ),
        )

    def _find_span(self, scale: str | float | None, record: RunRecord | None) -> Span | None:
        """Return the map values drawn as the coldest and the hottest; None: each photo's own, as in older runs."""
        if scale is None or scale == "photo":
            return None
        if not isinstance(scale, str):
            return 0.0, float(scale)
        kept: Kept = "run" if scale == "run" else "model"
        span = read_kept_span(self._out, without_decision(record.fingerprint), kept) if record else None
        if span is None and self._given["scale"] in ("model", "run"):
            raise ConfigError(f"scale = {scale}: no run has kept such a scale in {self._out}; name photo or a number")
        return span

    def _find_draft(self, model: str, input_size: Any) -> int | None:
        """Return the size at which the run's model takes JPEGs, from its image processor alone; no weights are read."""
        key = model, str(input_size)
        if key not in self._drafts:
            from pipeline.model.checkpoint import resolve_checkpoint
            from pipeline.model.input_geometry import read_input_geometry
            from pipeline.model.processor import load_processor  # imports transformers: seconds

            try:
                size = None if input_size is None else (int(input_size[0]), int(input_size[1]))
                processor = load_processor(resolve_checkpoint(model), size)
                self._drafts[key] = read_input_geometry(processor, patch_size=1).draft_size
            except ModelError as error:
                log.warning("large JPEGs are decoded in full, and may differ slightly from those of the run: %s", error)
                self._drafts[key] = None
        return self._drafts[key]
