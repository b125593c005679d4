"""A decision chosen on validation photos, and judged on others."""

from collections.abc import Sequence

import numpy as np

from pipeline.decision import OUTCOMES, ChosenOn, Decision
from pipeline.errors import DataError
from pipeline.evaluation.band import BandCosts, Cost, choose_band
from pipeline.evaluation.config import EvaluateConfig
from pipeline.evaluation.metrics import Ids
from pipeline.evaluation.result import ScoredPhotos
from pipeline.evaluation.threshold import Flags, describe_unproven_recall, estimate_share
from pipeline.intervals import trials_to_show
from pipeline.labelled.splits import LabelledPhoto
from pipeline.model.open import OpenedModel
from pipeline.results.run_record import current_time


def choose_validation_photos(
    config: EvaluateConfig, everything: Sequence[LabelledPhoto], photos: Sequence[LabelledPhoto]
) -> list[LabelledPhoto]:
    """Choose the photos for the choice of a decision, apart from those to judge it on.

    Raises:
        DataError: there are none, or the photos to evaluate are not all test photos.
    """
    validation = [photo for photo in everything if photo.split == "validation"]
    if not validation:
        raise DataError(
            f"save_decision: {config.data} has no validation photos, by its own splits or the model's split.csv; mark "
            "some as validation, as test photos are there to judge the decision"
        )
    if any(photo.split != "test" for photo in photos):
        raise DataError(
            f"save_decision: a decision is judged on test photos, and split = {config.split} takes others of "
            f"{config.data}; use --split test, and mark some photos as test if there are none"
        )
    return validation


def choose_decision(
    photos: ScoredPhotos, config: EvaluateConfig, model: OpenedModel, tile: int | None = None
) -> Decision:
    """Choose the band for the recall and the false alarms of the settings.

    Args:
        photos: validation photos.
        config: the settings.
        model: the one that scored them.
        tile: side of the windows it saw, pixels; None: whole photos.

    Raises:
        DataError: there is no defect or no good photo among them.
    """
    is_defect = photos.is_defect
    defects, good = int(is_defect.sum()), int((~is_defect).sum())
    if not defects or not good:
        missing = "good photo" if defects else "defect"
        raise DataError(
            f"save_decision: no {missing} is among the {len(is_defect)} validation photos; add some, or name the "
            "classes of defects with --positive"
        )
    score = photos.defect_score.astype(np.float32)
    pass_below, reject_from = choose_band(is_defect, score, config.recall, config.false_alarms)
    origin = ChosenOn(
        data=str(config.data),
        split=photos.split,
        photos=len(is_defect),
        defects=defects,
        good=good,
        wanted_recall=config.recall,
        wanted_false_alarms=config.false_alarms,
        chosen_at=current_time(),
        model_digest=model.checkpoint.digest(),
        input_size=model.input_size,
        precision=model.precision,
        tile=tile,
    )
    return Decision(photos.positive, pass_below, reject_from, origin)


def measure_costs(decision: Decision, photos: ScoredPhotos, cautions: tuple[str, ...] = ()) -> BandCosts:
    """Judge photos with known labels.

    Args:
        decision: the thresholds.
        photos: readable photos; their own defect classes don't count.
        cautions: further cautions, about these photos.
    """
    score = decision.defect_score(photos.probabilities, photos.labels, photos.scoring)  # (n,)
    outcomes = np.array([OUTCOMES.index(decision.decide(value)) for value in score.tolist()])
    passed, reviewed, rejected = (outcomes == number for number in range(len(OUTCOMES)))
    is_defect = np.isin(np.array(photos.labels)[photos.truth], decision.positive)
    families = np.arange(len(score)) if photos.families is None else photos.families
    escapes = _count_share(passed[is_defect], families[is_defect])
    false_alarms = _count_share(rejected[~is_defect], families[~is_defect])
    origin = decision.chosen_on
    beyond = [
        f"More {name} than wanted: at least {cost.share.low:.2%} of the {kind}, not {wanted:.2%}"
        for name, kind, cost, wanted in (
            ("escapes", "defects", escapes, 1 - origin.wanted_recall),
            ("false alarms", "good photos", false_alarms, origin.wanted_false_alarms),
        )
        if cost.share.low > wanted  # never for NaN, without a photo of the kind
    ]
    to_review = _count_share(reviewed, families)
    return BandCosts(decision, escapes, false_alarms, to_review, (*_describe_too_few(origin), *beyond, *cautions))


def find_cautions(config: EvaluateConfig, photos: Sequence[LabelledPhoto]) -> tuple[str, ...]:
    """Return the reasons for costs of a decision unlike those of a run on other photos."""
    cautions = []
    if count := sum(photo.split in ("train", "validation") for photo in photos):
        cautions.append(f"{count} of these photos are for training or validation, and look too good")
    if config.average_turns:
        cautions.append("These scores are averages over turns; those of a run are not")
    return tuple(cautions)


def _describe_too_few(origin: ChosenOn) -> list[str]:
    """Return the cautions about a choice on few photos: its wanted shares are beyond what they can show."""
    cautions = [describe_unproven_recall(origin.wanted_recall, origin.defects, "validation defects")]
    needed = trials_to_show(1 - origin.wanted_false_alarms)
    if needed is None or origin.good < needed:
        shown = 1 - 0.05 ** (1 / origin.good)
        step = f"{needed} are needed" if needed else "no number of photos shows a share of 0"
        cautions.append(
            f"A share of {origin.wanted_false_alarms:.4g} false alarms is less than {origin.good} good validation "
            f"photos can show: even without any, it may be as high as {shown:.3f} (rule of three); {step}"
        )
    return [caution for caution in cautions if caution]


def _count_share(is_hit: Flags, families: Ids) -> Cost:
    return Cost(int(is_hit.sum()), len(is_hit), estimate_share(is_hit, families))
