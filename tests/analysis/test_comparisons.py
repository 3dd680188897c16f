"""Differences between networks on hand-made decisions of ten utterances, five of each class."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from analysis import compare, score_networks
from analysis.columns import COMPARISON_COLUMNS
from analysis.identity import Network, Treatment, conditions, iterations_of
from analysis.scoring.comparisons import Pair, comparisons, networks
from analysis.scoring.statistics import difference_intervals
from dsl.labels import LabelUpdate
from tests.analysis.made_by_hand import decisions_of

UTTERANCES = 10
LABEL = np.arange(UTTERANCES) % 2


def decisions(rule: str, wrong: list[int], **about: Any) -> pd.DataFrame:
    """One forest's decisions for a network, complete and right but for the utterances `wrong`; two of each speaker."""
    predicted = LABEL.copy()
    predicted[wrong] = 1 - predicted[wrong]
    return decisions_of(predicted, LABEL, [f"s{row // 2}" for row in range(UTTERANCES)], rule=rule, **about)


def compared(*frames: pd.DataFrame) -> list[dict[Any, Any]]:
    found = comparisons(pd.concat(frames))
    assert tuple(found.columns) == COMPARISON_COLUMNS
    return found.to_dict("records")


def test_a_network_is_compared_with_iteration_0_of_its_backbone() -> None:
    (line,) = compared(decisions("none", [0, 1, 2, 3, 4, 5]), decisions("bdsl", [5, 6]))
    assert (line["rule"], line["second_rule"]) == ("bdsl", "none")
    assert (line["utterances"], line["complete"]) == (10, True)
    assert line["wa_difference"] == pytest.approx(40)
    assert line["ua_difference"] == pytest.approx(40)
    assert (line["first_ahead"], line["second_ahead"]) == (5, 1)
    assert line["p"] == line["p_holm"] == pytest.approx(binomtest(5, 6).pvalue)
    assert line["wa_difference_low"] < 40 < line["wa_difference_high"]


def test_speakers_are_resampled_and_tested_beside_utterances() -> None:
    """Three speakers have both utterances gained, and two have none: resamples of five speakers."""
    (line,) = compared(decisions("none", [0, 1, 2, 3, 4, 5]), decisions("bdsl", []))
    assert line["speakers"] == 5
    assert line["p_speaker"] == 2 / 2**3
    label, none, bdsl = LABEL, LABEL.copy(), LABEL
    none[:6] = 1 - none[:6]
    by_speaker = difference_intervals(label, bdsl, none, cluster=np.arange(UTTERANCES) // 2)
    for metric, rate in (("wa", by_speaker.wa), ("ua", by_speaker.ua)):
        shown = [line[f"{metric}_difference_speaker_{end}"] for end in ("low", "high")]
        assert shown == pytest.approx([100 * rate.low, 100 * rate.high])
    assert line["wa_difference_speaker_high"] - line["wa_difference_speaker_low"] > (
        line["wa_difference_high"] - line["wa_difference_low"]
    )


def test_rates_are_of_the_utterances_and_seeds_of_the_difference() -> None:
    base = [decisions("none", wrong, seed=seed, seeds=2) for seed, wrong in enumerate(([0], [0, 1, 2, 3]))]
    half = decisions("bdsl", [0, 1, 8], seed=1, seeds=2, folds_done=5).iloc[:5]
    (line,) = compared(*base, half)
    assert (line["wa"], line["second_wa"]) == (pytest.approx(60), pytest.approx(20))
    assert line["wa_difference"] == pytest.approx(line["wa"] - line["second_wa"])
    assert line["ua_difference"] == pytest.approx(line["ua"] - line["second_ua"])
    assert line["shared_seeds"] == 1


def test_a_network_that_decides_the_same_is_no_different() -> None:
    (line,) = compared(decisions("none", [1]), decisions("bdsl", [1]))
    assert (line["wa_difference"], line["wa_difference_low"], line["wa_difference_high"]) == (0, 0, 0)
    assert line["p"] == 1


def test_the_networks_of_a_label_source_are_one_family() -> None:
    base = decisions("none", list(range(8)))
    lines = compared(
        base,
        decisions("bdsl", []),
        decisions("gsl", [0]),
        decisions("gsl", [], backbone="vgg19"),
        decisions("none", list(range(7)), backbone="vgg19"),
        decisions("hdl", [], label_source="global_oof"),
    )
    family = [line for line in lines if line["label_source"] == "in_fold"]
    p = [2 / 2**8, 2 / 2**7, 2 / 2**7]
    assert [line["p"] for line in family] == pytest.approx(p)
    assert [line["p_holm"] for line in family] == pytest.approx([3 * p[0], 2 * p[1], 2 * p[1]])
    (alone,) = (line for line in lines if line["label_source"] == "global_oof")
    assert alone["p_holm"] == alone["p"]


def test_all_decisions_over_forest_and_training_seeds_are_tested() -> None:
    base = [decisions("none", [0, 1], seed=seed, seeds=3) for seed in range(3)]
    wrong = ([0], [0, 1, 2], [2])
    first = [decisions("bdsl", each, seed=seed, seeds=3) for seed, each in enumerate(wrong)]
    (line,) = compared(*base, *first)
    assert line["wa_difference"] == pytest.approx(100 * (1 - 1 + 1) / 3 / 10)
    # Of three decisions, one more than the baseline's is right on 0, two on 1, and two fewer on 2.
    assert (line["first_ahead"], line["second_ahead"], line["p"]) == (2, 1, 1)


def test_missing_folds_leave_what_both_have() -> None:
    half = decisions("bdsl", [0], folds_done=5).iloc[:5]
    (line,) = compared(decisions("none", [0, 1, 8]), half)
    assert (line["utterances"], line["complete"], line["first_ahead"]) == (5, False, 1)
    assert line["wa_difference"] == pytest.approx(20)


def test_training_seeds_that_only_one_has_are_left_out() -> None:
    base = [decisions("none", [0], seed=seed, seeds=2) for seed in range(2)]
    (line,) = compared(*base, decisions("bdsl", [], seed=1, seeds=2))
    assert (line["complete"], line["utterances"], line["wa_difference"]) == (False, 10, pytest.approx(10))


def test_nothing_in_common_is_no_comparison() -> None:
    assert compared(decisions("none", [], seed=0), decisions("bdsl", [], seed=1)) == []
    assert compared(decisions("bdsl", [])) == []
    assert compared(decisions("none", [])) == []


def test_labels_that_differ_from_seed_to_seed_are_tested_decision_by_decision() -> None:
    permuted = {"labels": "permuted", "seeds": 2}
    frames = [decisions(rule, wrong, **permuted) for rule, wrong in (("none", [0]), ("bdsl", []))]
    turned = [frame.assign(label=1 - frame["label"], seed=1) for frame in frames]
    (line,) = compared(*frames, *turned)
    assert line["labels"] == "permuted"
    assert line["wa_difference"] == pytest.approx((10 - 10) / 2)
    assert line["p"] == line["p_speaker"] == 1


def test_permuted_and_given_labels_are_not_compared() -> None:
    assert compared(decisions("none", []), decisions("bdsl", [], labels="permuted")) == []


def test_any_two_networks_can_be_compared() -> None:
    frame = pd.concat([decisions("bdsl", [0]), decisions("gsl", [0, 1]), decisions("hdl", [2])])
    bdsl, gsl, hdl = networks(frame)
    assert gsl == Network("emodb", "stratified", "given", "in_fold", Treatment("densenet22", "gsl", "", 1))
    lines = compare(frame, [Pair(gsl, bdsl), Pair(bdsl, hdl), Pair(gsl.baseline, bdsl)]).to_dict("records")
    assert [(line["rule"], line["second_rule"]) for line in lines] == [("gsl", "bdsl"), ("bdsl", "hdl")]
    assert lines[0]["wa_difference"] == pytest.approx(-10)


def test_each_kind_of_decision_is_compared_with_its_own() -> None:
    frames = [decisions(rule, wrong, decision="mean") for rule, wrong in (("none", [0, 1]), ("bdsl", []))]
    lines = compared(decisions("none", [0]), decisions("bdsl", []), *frames)
    assert [(line["decision"], round(line["wa_difference"])) for line in lines] == [("forest", 10), ("mean", 20)]


@pytest.mark.parametrize(
    ("updates", "iteration", "earlier"),
    [
        ([("bdsl", None)] * 3, 2, ("bdsl", "")),
        ([("wdsl", 0.2)] * 3, 1, ("wdsl", "0.2")),
        ([("wdsl", 0.5), ("wdsl", 0.2), ("wdsl", 0.1)], 2, ("wdsl", "0.5→0.2")),
        ([("wdsl", 0.5), ("wdsl", 0.5), ("wdsl", 0.1)], 2, ("wdsl", "0.5")),
        ([("bdsl", None), ("wdsl", 0.5)], 1, ("bdsl", "")),
        ([("bdsl", None), ("wdsl", 0.5)], 2, ("bdsl→wdsl", "-→0.5")),
        ([("wdsl", 0.5), ("bdsl", None)], 1, ("wdsl", "0.5")),
        ([("wdsl", 0.2)], 0, ("none", "")),
    ],
)
def test_the_networks_of_a_chain(
    updates: list[tuple[str, float | None]], iteration: int, earlier: tuple[str, str]
) -> None:
    made = tuple(LabelUpdate(*update) for update in updates)
    chain = iterations_of(Treatment.after("vgg19", made), made)
    assert len(chain) == len(updates) + 1
    assert chain[iteration] == Treatment("vgg19", *earlier, iteration)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"seed": "first"}, "decisions: column seed is .*, expected whole numbers"),
        ({"partial": "no"}, "decisions: column partial is .*, expected true or false"),
        ({"rule": 1}, "decisions: column rule is int64, expected text"),
    ],
)
def test_a_column_of_another_kind_is_refused(changed: dict[str, Any], told: str) -> None:
    frame = decisions("bdsl", []).assign(**changed)
    for taken in (comparisons, score_networks):
        with pytest.raises(ValueError, match=told):
            taken(frame)


def test_iteration_0_belongs_to_every_label_source() -> None:
    frames = [decisions("none", [])]
    assert [condition.label_source for condition, _ in conditions(frames[0])] == [""]
    frames += [decisions("bdsl", [], label_source=source) for source in ("global_oof", "cross_fit")]
    found = {condition.label_source: own for condition, own in conditions(pd.concat(frames))}
    assert list(found) == ["cross_fit", "global_oof"]  # leaky ones last
    for source, own in found.items():
        assert set(own["label_source"]) == {"", source} and set(own["iteration"]) == {0, 1}
