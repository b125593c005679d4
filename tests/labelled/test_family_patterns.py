"""Patterns of names for families that look alike."""

import re

import numpy as np
import pytest

from pipeline.labelled.family_patterns import propose_pattern
from pipeline.labelled.groups import find_groups, parse_group_rule
from pipeline.labelled.similar_photos import compare_photos
from tests.labelled.test_similar_photos import draw_families

FEATURES, FAMILIES = draw_families(50, 4)
TAKES = [int((FAMILIES[:index] == family).sum()) for index, family in enumerate(FAMILIES)]
CLASSES = [("ok", "crack", "hole")[family % 3] for family in FAMILIES]


def name_photos(pattern):
    return [
        pattern.format(family=family + 100, lot=family // 5, take=take, label=label, index=index)
        for index, (family, take, label) in enumerate(zip(FAMILIES, TAKES, CLASSES, strict=True))
    ]


@pytest.mark.parametrize(
    "pattern",
    [
        "{label}/exp{take}_num_{family}.jpg",  # six exposures of a tile
        "{label}/part-{family}_{take}.png",
        "part{family}/{take}.png",
        "{label}/part{family}/side/{take}.png",
        "line-2_part_{family}_view_{take}_{index}.png",
        "{take}_{index}_{family}_x.png",
    ],
)
def test_the_pattern_behind_the_families_is_found(pattern):
    names = name_photos(pattern)
    proposed = propose_pattern(compare_photos(FEATURES), names, CLASSES)
    groups = find_groups(parse_group_rule(proposed.pattern), names)
    assert proposed.count == len(set(groups.values())) == 50
    assert len({(groups[name], family) for name, family in zip(names, FAMILIES, strict=True)}) == 50
    assert re.compile(proposed.pattern).groups == 1


@pytest.mark.parametrize(
    "pattern", ["{label}/{index}.png", "{index}.png", "lot_{take}/{label}_{index}.png", "lot-{lot}_{index}.png"]
)
def test_names_without_families_get_no_proposal(pattern):
    assert propose_pattern(compare_photos(FEATURES), name_photos(pattern), CLASSES) is None


def test_families_by_name_that_do_not_look_alike_get_no_proposal():
    names = np.random.default_rng(1).permutation(name_photos("part-{family}_{take}.png")).tolist()
    assert propose_pattern(compare_photos(FEATURES), names, CLASSES) is None


def test_without_near_duplicates_there_is_nothing_to_explain():
    alone = compare_photos(draw_families(200, 1)[0])
    assert propose_pattern(alone, name_photos("part-{family}_{take}.png"), CLASSES) is None
    assert propose_pattern(compare_photos(FEATURES[:1]), ["a.png"], ["ok"]) is None
