"""Measured maps -> where the evidence for each class lies, and the classes suspected of a shortcut."""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from pipeline.intervals import Estimate, normal_mean_interval
from pipeline.maps.methods import METHODS
from pipeline.trust.evidence import ClassEvidence, EvidenceReport
from pipeline.trust.result import MeasuredMap, TrustReport
from pipeline.trust.shortcuts import count_testable_classes, find_fixed_places, find_repeated_patches


def locate_evidence(report: TrustReport, seed: int) -> EvidenceReport:
    """Tell how much evidence lies outside the marks; without any marks, look for shortcuts.

    Args:
        report: with the maps of all methods and baselines.
        seed: of the tests.
    """
    method = choose_evidence_method(report)
    maps = [measured for measured in report.maps if measured.method == method]
    if any(measured.on_grid for measured in maps):
        return EvidenceReport(method, outside=_measure_outside(maps))
    labels = np.array([measured.target for measured in maps])
    random_maps = [measured for measured in report.maps if measured.method == "random"]
    heat = np.stack([measured.evidence.heat for measured in maps])  # (n, grid_h, grid_w)
    patches, random_patches = (
        np.stack([measured.evidence.hot_patch for measured in chosen]) for chosen in (maps, random_maps)
    )
    suspects = [
        *find_fixed_places(heat, labels, seed),
        *find_repeated_patches(patches, random_patches, labels, seed),
    ]
    return EvidenceReport(method, suspects=suspects, tested=count_testable_classes(labels))


def choose_evidence_method(report: TrustReport) -> str:
    """Choose the method of the maps: the best trusted one that explains labels, or the best trusted, or the best."""
    trusted = report.trusted
    explaining = [method for method in trusted if METHODS[method].explains_label]
    if trusted:
        return (explaining or trusted)[0]
    return max(report.seconds, key=lambda method: report.estimates[method]["faithfulness"].value)


def _measure_outside(maps: Sequence[MeasuredMap]) -> list[ClassEvidence]:
    """Measure the evidence outside the marks by class, most first; photos with a wrong label are left out."""
    outside, marked = defaultdict(list), defaultdict(list)
    for measured in maps:
        inside = measured.metrics()["mass_grid"]
        if not math.isnan(inside):
            outside[measured.target].append(1 - inside)
            marked[measured.target].append(measured.evidence.marked_share)
    classes = [
        ClassEvidence(
            label,
            len(values),
            Estimate(float(np.mean(values))).widen(normal_mean_interval(np.array(values), (0, 1))),
            float(np.mean(marked[label])),
        )
        for label, values in outside.items()
    ]
    return sorted(classes, key=lambda one: -one.outside.value)
