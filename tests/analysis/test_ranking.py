"""Which setting and network is the best: by validation alone, and which may be chosen at all."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.scoring.ranking import BySetting, Ranking, candidates_of, rankings
from analysis.tables.settings_tables import ranking_listings, ranking_record
from sweep.planning.settings import Setting
from tests.analysis.made_by_hand import decisions_of, first_right

LABEL = np.arange(40) % 2
SPEAKERS = [f"s{row % 4}" for row in range(40)]
FAST, SLOW = (Setting((("learning_rate", rate),)) for rate in (0.01, 0.001))
ORDER = (SLOW, FAST)  # as settings come: by their values


def decided(validation: float = 50.0, right: int = 20, **about: Any) -> pd.DataFrame:
    """Decisions of a network of which `right` are, with its rate on validation utterances in every fold."""
    return decisions_of(first_right(right, LABEL), LABEL, SPEAKERS, validation_wa=validation, **about)


def ranked(by_setting: Mapping[Setting, list[pd.DataFrame]]) -> Ranking:
    (ranking,) = rankings(candidates_of({one: pd.concat(own) for one, own in by_setting.items()}))
    return ranking


def names(ranking: Ranking) -> list[tuple[float, str]]:
    return [(one.setting.by_field["learning_rate"], one.network.treatment.rule) for one in ranking.ranked]


def test_candidates_are_ranked_by_validation_whatever_the_test_folds_say() -> None:
    ranking = ranked(
        {
            SLOW: [decided(60, right=40), decided(70, right=0, rule="bdsl")],
            FAST: [decided(65, right=39), decided(40, right=40, rule="bdsl")],
        }
    )
    assert names(ranking) == [(0.001, "bdsl"), (0.01, "none"), (0.001, "none"), (0.01, "bdsl")]
    assert ranking.chosen is not None and ranking.chosen.score.value == 0


@pytest.mark.parametrize("seed", range(5))
def test_permuting_test_labels_changes_nothing_that_is_chosen(seed: int) -> None:
    random = np.random.default_rng(seed)
    rates = random.uniform(40, 80, (2, 3)).round(1)
    made = {
        setting: [decided(rate, 30, rule=rule) for rate, rule in zip(own, ("none", "bdsl", "gsl"), strict=True)]
        for setting, own in zip(ORDER, rates, strict=True)
    }
    permuted = {
        setting: [one.assign(label=random.permutation(one["label"])) for one in own] for setting, own in made.items()
    }
    assert names(ranked(made)) == names(ranked(permuted))


def test_the_rate_is_the_mean_over_folds_and_seeds_and_its_spread_is_over_both() -> None:
    folds = np.repeat([50.0, 60.0, 70.0, 80.0, 90.0, 50.0, 60.0, 70.0, 80.0, 90.0], 4)
    seeds = [decided(rule="bdsl", seed=seed, seeds=2).assign(validation_wa=folds + 10 * seed) for seed in (0, 1)]
    (one,) = ranked({SLOW: seeds}).ranked
    assert one.validation == 75
    assert one.spread == pytest.approx(np.std([*folds[::4], *(folds[::4] + 10)], ddof=1))


def test_of_equals_the_first_in_the_order_of_settings_and_networks_is_the_best() -> None:
    """Whatever the order in which rates of folds are added up."""
    rates = np.repeat([0.1, 0.2, 0.3, 0.7, 0.9, 0.1, 0.4, 0.2, 0.3, 0.6], 4)
    ranking = ranked(
        {
            SLOW: [decided(rule="gsl").assign(validation_wa=rates), decided(rule="bdsl").assign(validation_wa=rates)],
            FAST: [decided().assign(validation_wa=rates[::-1])],
        }
    )
    assert names(ranking) == [(0.001, "bdsl"), (0.001, "gsl"), (0.01, "none")]


def test_a_leaky_label_source_is_chosen_only_where_there_is_no_other() -> None:
    leaky = decided(90, rule="bdsl", label_source="global_oof")
    ranking = ranked({SLOW: [leaky], FAST: [decided(50, rule="bdsl")]})
    assert ranking.chosen is not None and ranking.chosen.setting == FAST
    assert [one.is_leaky for one in ranking.others] == [True]
    alone = ranked({SLOW: [leaky]})
    assert alone.chosen is not None and alone.chosen.is_leaky


def test_what_is_incomplete_is_marked_and_not_chosen_where_something_is_complete() -> None:
    part = decided(90, rule="bdsl", folds_done=7)
    ranking = ranked({SLOW: [part], FAST: [decided(50, rule="bdsl")]})
    assert ranking.chosen is not None and ranking.chosen.setting == FAST
    by = BySetting({SLOW: part, FAST: decided(50, rule="bdsl")}, SLOW, "one of 2")
    (listing,) = ranking_listings(by)
    assert [row.texts[""][0] for row in listing.rows] == ["1", "—"]
    assert "(7/10 folds)" in listing.rows[1].texts[""][2]
    assert any("Without a rank" in note.text for note in listing.footnotes)


def test_where_nothing_is_complete_the_one_with_most_folds_is_the_best_so_far() -> None:
    first = decided(90, rule="bdsl", folds_done=1).query("fold < 1")
    second = decided(50, rule="bdsl", folds_done=3).query("fold < 3")
    ranking = ranked({SLOW: [first], FAST: [second]})
    assert ranking.chosen is not None and ranking.chosen.setting == FAST


def test_without_validation_nothing_is_chosen() -> None:
    ranking = ranked({SLOW: [decided(math.nan)], FAST: [decided(math.nan)]})
    assert ranking.chosen is None and len(ranking.others) == 2
    (listing,) = ranking_listings(BySetting({SLOW: decided(math.nan)}, SLOW))
    assert any("nothing is chosen" in note.text for note in listing.footnotes)


def test_a_candidate_of_which_a_fold_has_no_rate_is_not_chosen() -> None:
    partly = decided(90).assign(validation_wa=lambda lines: lines["validation_wa"].where(lines["fold"] > 0))
    ranking = ranked({SLOW: [partly], FAST: [decided(50)]})
    assert ranking.chosen is not None and ranking.chosen.setting == FAST


def test_each_corpus_split_and_kind_of_labels_has_a_ranking_of_its_own() -> None:
    made = pd.concat([decided(), decided(corpus="casia"), decided(split="speaker")])
    found = rankings(candidates_of({SLOW: made}))
    assert {(one.condition.corpus, one.condition.split) for one in found} == {
        *(("emodb", "stratified"), ("casia", "stratified"), ("emodb", "speaker"))
    }
    assert all(len(one.ranked) == 1 for one in found)


def test_rates_on_test_utterances_are_the_forests_where_there_is_one() -> None:
    forest, pooled = decided(right=30), decided(right=10, decision="mean")
    (one,) = ranked({SLOW: [pooled, forest]}).ranked
    assert (one.decision, one.test["WA"].value) == ("forest", 75)
    (alone,) = ranked({SLOW: [pooled]}).ranked
    assert (alone.decision, alone.test["WA"].value) == ("mean", 25)


def test_a_record_has_what_is_chosen_and_the_first_candidates() -> None:
    ranking = ranked({SLOW: [decided(60), decided(70, rule="bdsl")], FAST: [decided(math.nan)]})
    record = ranking_record(ranking, top=3)
    assert record["chosen"]["setting"] == {"learning_rate": 0.001} and record["chosen"]["rule"] == "bdsl"
    assert [one["rank"] for one in record["candidates"]] == [1, 2, None]
    assert record["candidates"][2]["validation_wa"] is None
    assert record["candidates"][0]["test"]["wa"]["low"] < record["candidates"][0]["test"]["wa"]["high"]
    assert (len(ranking_record(ranking, top=1)["candidates"]), record["of"]) == (1, 3)
