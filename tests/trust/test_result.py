"""The advice drawn from measured methods."""

from pipeline.intervals import Estimate
from pipeline.trust.baselines import BASELINES
from pipeline.trust.result import TrustReport


def make_estimates(**faithfulness):
    """Return estimates of methods that pass the sanity checks, with intervals of ± 0.01."""
    passing = {"shuffled_weights": Estimate(0.1), "other_label": Estimate(0.1), "hit_grid": Estimate(float("nan"))}
    return {
        name.replace("_", "-"): passing | {"faithfulness": Estimate(value, value - 0.01, value + 0.01)}
        for name, value in faithfulness.items()
    }


def make_report(estimates):
    seconds = {method: 0.1 for method in estimates if method not in BASELINES}
    return TrustReport([], estimates, seconds, photos=9, failed=0, pointed=0)


def test_the_sentence_names_the_best_method_and_its_equals():
    estimates = make_estimates(
        rollout=0.5, relevance=0.7, libragrad=0.71, legrad=0.2, random=0, gaussian=0.3, edges=0.4
    )
    report = make_report(estimates)
    assert report.trusted == ["libragrad", "relevance", "rollout"]
    assert report.sentence == (
        "Use libragrad: of 4 methods it ranks the patches best (insertion - deletion 0.710 (0.700 to 0.720); "
        "the best baseline, edges: 0.400 (0.390 to 0.410)), and takes 0.100 s an image; "
        "relevance is not significantly different."
    )
    estimates |= make_estimates(attention=0.705)
    assert "; attention, relevance are not significantly different." in make_report(estimates).sentence


def test_no_method_is_named_if_none_beats_the_baselines():
    report = make_report(make_estimates(rollout=0.41, relevance=0.405, random=0, gaussian=0.3, edges=0.4))
    assert report.trusted == []
    assert report.sentence.startswith("None of the 2 methods ranks the patches better than the baselines (edges: 0.400")


def test_a_method_that_fails_a_sanity_check_is_not_named():
    estimates = make_estimates(relevance=0.9, rollout=0.8, libragrad=0.7, random=0, gaussian=0.3, edges=0.4)
    estimates["relevance"]["other_label"] = Estimate(0.99)
    estimates["rollout"]["shuffled_weights"] = Estimate(0.8)
    report = make_report(estimates)
    assert report.trusted == ["libragrad"]
    assert "relevance does not depend on the label." in report.sentence
    assert "rollout does not depend on what the model has learnt." in report.sentence
