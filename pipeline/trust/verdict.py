"""A trust report -> the method that runs of the model should take, saved with the model."""

import logging
import math
from pathlib import Path

from pipeline.maps.methods import METHODS, MethodName
from pipeline.model.open import OpenedModel
from pipeline.model.verdict import MeasuredOn, TrustedMethod, Verdict, write_verdict
from pipeline.results.run_record import current_time
from pipeline.trust.config import TrustConfig
from pipeline.trust.result import FEWEST_PHOTOS, GAIN_OF_INTEREST, TrustReport

log = logging.getLogger(__name__)


def choose_run_method(report: TrustReport) -> MethodName | None:
    """Choose the method for the runs of a model: a trusted one without a gradient, unless that costs too much quality.

    Maps without a gradient come with the classification, for nothing; one with a gradient multiplies the time of each
    photo, in runs of a hundred thousand. So the choice begins with the best-ranking trusted method without a gradient
    and moves to another one only if that is clearly better: where defects are marked, it points inside them in more
    photos (95%, photo by photo) and ranks the patches no worse; where none are marked, it ranks them better by more
    than 0.02 (95%). Only gradient methods trusted: the best of them.

    Returns:
        None if no method is trusted.
    """
    trusted = report.trusted
    if not trusted:
        return None
    free = [method for method in trusted if not METHODS[method].needs_gradient]
    chosen = (free or trusted)[0]
    for method in [*free, *trusted]:  # the free ones first
        if _is_clearly_better(report, method, chosen):
            chosen = method
    return chosen


def _is_clearly_better(report: TrustReport, method: MethodName, than: MethodName) -> bool:
    if method == than:
        return False
    ranking = report.gains[method][than].mean
    if report.pointed < FEWEST_PHOTOS:
        return ranking.low > GAIN_OF_INTEREST
    return report.hit_gains[method][than].mean.low > 0 and ranking.high >= 0


def describe_choice(report: TrustReport) -> str:
    """Describe the method for runs, and the cost and the gain of the best one at another price."""
    chosen = choose_run_method(report)
    if chosen is None:
        return "verdict: no method holds for this model"
    seconds = report.seconds[chosen]
    text = f"verdict: {chosen}, {seconds:.3f} s an image{_describe_hits(report, chosen)}"
    needs_gradient = METHODS[chosen].needs_gradient
    others = [method for method in report.trusted if METHODS[method].needs_gradient != needs_gradient]
    if not others:
        return text
    other, gain = others[0], report.gains[others[0]][chosen].mean
    return (
        f"{text}; {other} would take {report.seconds[other]:.3f} s ({report.seconds[other] / seconds:.1f} times as "
        f"long){_describe_hits(report, other)}, its insertion - deletion is {gain.value:+.3f} "
        f"({gain.low:+.3f} to {gain.high:+.3f}): --method {other}"
    )


def _describe_hits(report: TrustReport, method: MethodName) -> str:
    hits = report.estimates[method]["hit_grid"].value
    return "" if math.isnan(hits) else f", points inside in {hits:.0%}"


def save_verdict(report: TrustReport, config: TrustConfig, model: OpenedModel) -> Path | None:
    """Write the verdict into the model's folder; None if too few photos were measured to tell.

    Raises:
        StoreError: the folder can't be written.
    """
    if not report.trusted and report.undecided:
        log.warning("no verdict saved: too few photos to tell; measure on more than %d", report.photos)
        return None
    log.info("%s", describe_choice(report))
    file = write_verdict(_build_verdict(report, config, model), model.checkpoint.folder)
    log.info("verdict saved: %s", file)
    return file


def _build_verdict(report: TrustReport, config: TrustConfig, model: OpenedModel) -> Verdict:
    origin = MeasuredOn(
        data="/".join(config.data.parts[-2:]),
        photos=report.photos,
        pointed=report.pointed,
        measured_at=current_time(),
        model_digest=model.checkpoint.digest(),
        input_size=model.input_size,
        precision=model.precision,
    )
    trusted = tuple(_gather_figures(report, method) for method in report.trusted)
    return Verdict(choose_run_method(report), trusted, report.sentence, origin)


def _gather_figures(report: TrustReport, method: MethodName) -> TrustedMethod:
    faithfulness, hits = (report.estimates[method][name] for name in ("faithfulness", "hit_grid"))
    return TrustedMethod(
        name=method,
        faithfulness=round(faithfulness.value, 4),
        low=round(faithfulness.low, 4),
        high=round(faithfulness.high, 4),
        points_inside=None if math.isnan(hits.value) else round(hits.value, 4),
        seconds_per_image=float(f"{report.seconds[method]:.3g}"),
    )
