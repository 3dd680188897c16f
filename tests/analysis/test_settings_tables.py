"""Tables of a grid with several settings: which one they are of, and all of them beside one another."""

import csv
import io
import json
from typing import Any

import numpy as np
import pandas as pd

from analysis import columns, comparisons, score_networks, to_csv, to_json, to_latex, to_markdown
from analysis.scoring.ranking import BySetting
from analysis.tables.blocks import as_texts
from analysis.tables.listings import Listing
from analysis.tables.networks import networks_listings
from analysis.tables.paper_tables import Table, build_tables
from analysis.tables.settings_compared import SETTINGS_COMPARED, compared_listings
from analysis.tables.settings_tables import SETTINGS, in_settings, ranking_listings, settings_listings
from sweep.planning.settings import Setting
from tests.analysis.made_by_hand import decisions_of, first_right, setup_with

LABEL = np.arange(40) % 2
SPEAKERS = [f"s{row % 4}" for row in range(40)]
OF_SETTINGS = {SETTINGS, SETTINGS_COMPARED}
SLOW, FAST = (Setting((("learning_rate", rate), ("batch_size", 64))) for rate in (0.001, 0.01))


def decided(right: int, **about: Any) -> pd.DataFrame:
    made = [
        decisions_of(first_right(right - shift, LABEL), LABEL, SPEAKERS, validation_wa=50.0 + right, rule=rule, **about)
        for rule, shift in (("none", 0), ("bdsl", 5))
    ]
    return pd.concat(made)


BY = BySetting({SLOW: decided(30), FAST: decided(20, folds_done=7)}, SLOW, "the nearest to the paper's of 2")


def shown() -> list[Table | Listing]:
    decisions = BY.decisions[SLOW]
    scores = score_networks(decisions)
    return [*build_tables(scores, ["emodb"]), *networks_listings(scores, comparisons(decisions))]


def test_a_grid_of_one_setting_has_the_tables_that_it_had() -> None:
    tables = shown()
    alone = in_settings(tables, BySetting({Setting(): BY.decisions[SLOW]}, Setting()))
    for render in (to_markdown, to_latex, to_csv, to_json):
        assert render(alone) == render(tables)


def test_captions_say_which_setting_a_table_is_of() -> None:
    tables = in_settings(shown(), BY)
    said = "Setting: learning_rate 0.001, batch_size 64 (the nearest to the paper's of 2)."
    assert [said in table.caption for table in tables] == [table.title not in OF_SETTINGS for table in tables]
    assert to_markdown(tables).count(said) == len(tables) - 2
    floats = sum(len(table.blocks) for table in as_texts(tables) if table.title not in OF_SETTINGS)
    assert to_latex(tables).count(r"Setting: learning\_rate 0.001, batch\_size 64") == floats


def test_settings_stand_in_their_order_and_networks_in_theirs() -> None:
    (listing,) = settings_listings(BY)
    head = [one.text for one in listing.groups[0].headings]
    assert head == ["learning_rate", "batch_size", "WA validation", "WA test", "UA test", "F1 test"]
    rows = [(row.label.name.split(",")[0], row.texts[""][0]) for row in listing.rows]
    assert rows == [
        *(("DenseNet22", "0.001"), ("DenseNet22 bdsl", "0.001")),
        *(("DenseNet22", "0.01"), ("DenseNet22 bdsl", "0.01")),
    ]
    assert listing.rows[0].texts[""][2] == "80.00 ± 0.00"
    assert listing.rows[2].texts[""][2] == "70.00 ± 0.00 (7/10 folds)"
    assert any("incomplete folds" in note.text for note in listing.footnotes)


def test_csv_has_the_fields_that_vary_as_columns() -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(in_settings(shown(), BY)))))
    assert {(line["learning_rate"], line["batch_size"]) for line in lines} == {("0.001", "64"), ("0.01", "64")}
    assert {line["learning_rate"] for line in lines if line["table"] not in OF_SETTINGS} == {"0.001"}
    own = [line for line in lines if line["table"] == SETTINGS]
    assert len(own) == 2 * 2 * 3
    assert {line["validation_wa_sd"] for line in own} == {"0.0"}


def test_json_says_the_setting_of_each_table() -> None:
    tables = json.loads(to_json(in_settings(shown(), BY)))["tables"]
    *others, own, _ = tables
    assert all(one["setting"] == {"learning_rate": 0.001, "batch_size": 64} for one in others)
    assert "setting" not in own and own["records"][0]["learning_rate"] == 0.001


def test_each_condition_has_a_listing_of_its_own() -> None:
    both = pd.concat([decided(30), decided(30, split="speaker")])
    found = settings_listings(BySetting({SLOW: both, FAST: both}, SLOW, "one of 2"))
    assert [one.condition.split for one in found] == ["speaker", "stratified"]
    assert all(len(one.rows) == 4 for one in found)


def test_each_setting_is_compared_with_the_one_shown_on_the_same_utterances() -> None:
    (listing,) = compared_listings(BY)
    assert [row.texts[""][0] for row in listing.rows] == ["learning_rate 0.01", "learning_rate 0.01"]
    for row, rule in zip(listing.rows, ("none", "bdsl"), strict=True):
        first, second = (one[one[columns.RULE] == rule] for one in (BY.decisions[FAST], BY.decisions[SLOW]))
        right = [(one[columns.PREDICTED] == one[columns.LABEL]).mean() for one in (first, second)]
        wa = next(entry for entry in row.entries if entry["metric"] == "WA")
        assert wa["setting_difference"] == round(100 * (right[0] - right[1]), 6) == -25
        # Ten utterances that the shown setting alone has right.
        assert wa["p"] == round(2 * 0.5**10, 6) and wa["p_holm"] == round(4 * 0.5**10, 6)
        assert wa["learning_rate"] == 0.01 and "(incomplete)" in row.texts[""][1]
        assert all("(incomplete)" in text for text in row.texts[""][1:])
    assert any("missing" in note.text for note in listing.footnotes)
    assert (
        listing.footnotes[0].text == "Reference: learning_rate 0.001, batch_size 64 (the nearest to the paper's of 2)."
    )
    assert "learning_rate" not in listing.caption


def test_tables_of_settings_say_how_all_are_trained_but_for_their_columns() -> None:
    def trained(rate: float, early_stopping: bool) -> pd.DataFrame:
        setup = setup_with(every=16, learning_rate=rate, early_stopping=early_stopping)
        return decided(30, setup=setup)

    settings = [Setting((("learning_rate", one), ("early_stopping", one == 0.001))) for one in (0.001, 0.01)]
    by = BySetting({one: trained(*one.by_field.values()) for one in settings}, settings[0], "one of 2")
    told = "Emo-DB: every 16th segment, at most 12 epochs, 10 folds, stratified split, 1 training seed."
    listings = [*settings_listings(by), *compared_listings(by), *ranking_listings(by)]
    assert [one.footnotes[-1].text for one in listings] == [told] * 3
    for render in (to_markdown, to_latex):
        assert render(listings).count("every 16th segment, at most 12 epochs") == 3
    setups = {entry["setup"] for row in listings[1].rows for entry in row.entries}
    assert all("learning rate 0.01" in setup and "no early stopping" in setup for setup in setups)


def test_settings_of_other_seeds_and_of_no_network_in_common_are_not_compared() -> None:
    other = BY.decisions[FAST].assign(seed=7)
    assert compared_listings(BySetting({SLOW: BY.decisions[SLOW], FAST: other}, SLOW, "")) == []
    assert compared_listings(BySetting({SLOW: BY.decisions[SLOW], FAST: decided(20, split="speaker")}, SLOW, "")) == []
