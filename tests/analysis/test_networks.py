"""Every network beside its baseline, and the iteration that validation chooses, from hand-made decisions."""

import csv
import io
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import score_networks, to_csv, to_json, to_latex, to_markdown
from analysis.scoring.comparisons import comparisons
from analysis.tables.blocks import as_texts
from analysis.tables.label_source_tables import sources_listings
from analysis.tables.listings import Listing
from analysis.tables.networks import chosen_listings, networks_listings
from analysis.tables.paper_tables import Table, build_tables
from dsl.labels import LabelUpdate
from tests.analysis.made_by_hand import decisions_of, first_right

GOLDEN = Path(__file__).parent / "golden"
RENDERERS: dict[str, Callable[[Sequence[Listing]], str]] = {
    "listings.md": to_markdown,
    "listings.tex": to_latex,
    "listings.csv": to_csv,
    "listings.json": to_json,
}
UTTERANCES = 20
LABEL = np.arange(UTTERANCES) % 2


def decisions(right: int, **about: Any) -> pd.DataFrame:
    """A network's decisions, of which the first `right` are."""
    speakers = [f"s{row % 4}" for row in range(UTTERANCES)]
    return decisions_of(first_right(right, LABEL), LABEL, speakers, **about)


def grid() -> pd.DataFrame:
    """Two label sources, three chains, one of them incomplete, with both decisions."""
    updates = LabelUpdate("wdsl", 0.5), LabelUpdate("wdsl", 0.2)
    annealed = {"rule": "wdsl", "updates": updates, "validation_wa": 55.0, "folds_done": 7}
    frames = []
    for decision, off in (("forest", 0), ("mean", 2)):
        frames += [
            decisions(10 - off, decision=decision),
            decisions(14 - off, rule="bdsl", iteration=1, validation_wa=60.0, decision=decision),
            decisions(8 - off, rule="bdsl", iteration=2, validation_wa=40.0, decision=decision),
            decisions(12 - off, rule="wdsl", alpha="0.5", iteration=1, validation_wa=45.0, decision=decision),
            decisions(13 - off, iteration=2, decision=decision, **annealed),
            decisions(19 - off, rule="bdsl", iteration=1, label_source="global_oof", decision=decision),
        ]
    return pd.concat(frames)


def test_tables_of_one_title_are_told_apart() -> None:
    """By label source and split, in Markdown, in captions of LaTeX and in its labels."""
    frame = pd.concat([grid(), grid().assign(split="speaker")])
    scores = score_networks(frame)
    tables: list[Table | Listing] = [*build_tables(scores, ["emodb"]), *networks_listings(scores, comparisons(frame))]
    tables += [*sources_listings(frame), *chosen_listings(frame)]
    headings = [one.heading for one in as_texts(tables)]
    assert "Table II, label source in_fold, speaker split" in headings
    assert "Table II, label source global_oof (leaky), stratified split" in headings
    assert "All networks, speaker split" in headings
    assert len(set(headings)) == len(headings)
    latex = to_latex(tables)
    for told in (re.findall(r"\\caption\{(.+)\}", latex), re.findall(r"\\label\{(.+)\}", latex)):
        assert len(set(told)) == len(told) == sum(len(one.blocks) for one in as_texts(tables))
    assert "\\label{tab:table-ii-label-source-in-fold-speaker-split-emo-db}" in latex


def test_a_table_that_is_alone_keeps_its_title() -> None:
    frame = decisions(10)
    (table,) = as_texts(build_tables(score_networks(frame), ["emodb"]))
    assert table.heading == "Table II"


def test_label_sources_are_compared_in_pairs() -> None:
    frame = pd.concat([grid(), decisions(12, rule="bdsl", iteration=1, label_source="cross_fit")])
    (listing,) = sources_listings(frame)
    assert [group.heading for group in listing.groups] == [
        "in_fold − cross_fit",
        "global_oof (leaky) − cross_fit",
        "global_oof (leaky) − in_fold",
    ]
    (row,) = listing.rows
    assert str(row.label) == "DenseNet22 bdsl, t = 1"
    # 14, 12 and 19 of 20 right: those that the worse has right, the better has too.
    assert [texts[0].split()[0] for texts in row.texts.values()] == ["+10.00", "+35.00", "+25.00"]
    assert row.texts["global_oof − cross_fit"][0].endswith("p 0.047")  # 3 times 2 / 2 ** 7
    assert row.texts["global_oof − cross_fit"][3].endswith("p 0.12")  # 2 / 2 ** 4
    record = row.entries[0]
    assert (record["label_source"], record["other_source"], record["source_difference"]) == ("in_fold", "cross_fit", 10)
    assert (record["p"], record["p_speaker"]) == (0.5, 0.5)


def test_label_sources_are_compared_without_forests() -> None:
    frame = grid()
    (listing,) = sources_listings(frame[frame["decision"] == "mean"])
    assert "The rate by mean pooling with" in listing.caption
    (texts,) = listing.rows[0].texts.values()
    assert texts[0].startswith("+25.00 ")


def test_one_label_source_is_compared_with_nothing() -> None:
    assert sources_listings(decisions(14, rule="bdsl", iteration=1)) == []


def test_missing_folds_are_said_where_label_sources_are_compared() -> None:
    half = decisions(12, rule="bdsl", iteration=1, label_source="cross_fit", folds_done=5)
    (listing,) = sources_listings(pd.concat([decisions(14, rule="bdsl", iteration=1), half]))
    assert listing.rows[0].texts["in_fold − cross_fit"][0].endswith("(incomplete)")
    assert listing.footnotes


def networks_of(frame: pd.DataFrame) -> list[Listing]:
    return networks_listings(score_networks(frame), comparisons(frame))


def texts(listing: Listing, source: str) -> dict[str, list[str]]:
    """Row -> what the group of a label source shows of it."""
    return {str(row.label): list(row.texts[source]) for row in listing.rows if source in row.texts}


@pytest.mark.parametrize("name", RENDERERS)
def test_rendering_equals_the_golden_file(name: str) -> None:
    """Set UPDATE_GOLDEN=1 to write the files anew, then read their difference."""
    made = [*networks_of(grid()), *chosen_listings(grid())]
    rendered = RENDERERS[name](made)
    if os.environ.get("UPDATE_GOLDEN") == "1":
        (GOLDEN / name).write_text(rendered, encoding="utf-8")
    assert rendered == (GOLDEN / name).read_text(encoding="utf-8")


# Every network


def test_every_network_is_a_row_with_a_group_for_each_label_source() -> None:
    (one,) = networks_of(grid())
    assert [group.name for group in one.groups] == [
        *("in_fold", "in_fold, differences to the baseline"),
        *("global_oof", "global_oof, differences to the baseline"),
    ]
    assert list(texts(one, "in_fold")) == [
        "DenseNet22, t = 0",
        "DenseNet22 bdsl, t = 1",
        "DenseNet22 bdsl, t = 2",
        "DenseNet22 wdsl 0.5, t = 1",
        "DenseNet22 wdsl 0.5→0.2, t = 2",
    ]
    assert list(texts(one, "global_oof")) == ["DenseNet22, t = 0", "DenseNet22 bdsl, t = 1"]


def test_a_row_shows_rates_and_the_difference_to_the_baseline() -> None:
    (one,) = networks_of(grid())
    row = texts(one, "in_fold")["DenseNet22 bdsl, t = 1"]
    assert [text.split(" ")[0] for text in row] == [*["70.00"] * 3, *["60.00"] * 3]
    assert row[0] == "70.00 [50.0, 90.0] {60.0, 80.0}"
    differences = texts(one, "in_fold, differences to the baseline")
    assert [text.split(" ")[0] for text in differences["DenseNet22 bdsl, t = 1"][:3]] == ["+20.00"] * 3
    # Four utterances more right of which none is lost: p = 2 / 2^4, beside 0.25, 0.5 and 0.5 of the others.
    assert differences["DenseNet22 bdsl, t = 1"][0].endswith("p 0.50")
    assert "DenseNet22, t = 0" not in differences


def test_the_difference_has_an_interval_and_a_test_by_speaker() -> None:
    """Four utterances more right, one of each of the four speakers of five utterances."""
    (one,) = networks_of(grid())
    by_speaker = texts(one, "in_fold, differences to the baseline")["DenseNet22 bdsl, t = 1"][3:]
    assert by_speaker[:2] == ["{20.0, 20.0} p 0.12", "{20.0, 20.0}"]
    by = "By speaker: the {interval over whole speakers}, and for WA p of a sign-flip test over speakers"
    assert by in one.caption
    record = next(record for row in one.rows for record in row.entries if record["iteration"] and "p" in record)
    assert (record["p"], record["p_holm"], record["p_speaker"]) == (2 / 2**4, 0.5, 2 / 2**4)
    assert (record["baseline_difference_speaker_low"], record["baseline_difference_speaker_high"]) == (20, 20)


def test_without_forests_there_is_no_difference_to_show() -> None:
    frame = grid()
    (one,) = networks_of(frame[frame["decision"] == "mean"])
    assert [group.name for group in one.groups] == ["in_fold", "global_oof"]


def test_captions_say_how_p_differs_from_that_of_claims() -> None:
    assert "The claims show the same test's p unadjusted" in networks_of(grid())[0].caption


def test_a_difference_of_less_than_the_rates_beside_it_is_marked() -> None:
    """The baseline has half of its folds: its rate is of 10 utterances, the network's of 20."""
    half = decisions(8, folds_done=5).iloc[:10]
    frame = pd.concat([half, decisions(14, rule="bdsl", iteration=1, validation_wa=60.0)])
    for make in (networks_of, chosen_listings):
        (one,) = make(frame)
        (shown,) = texts(one, "in_fold, differences to the baseline").values()
        assert shown[0].startswith("+20.00 [") and shown[0].endswith(" (incomplete)")
        assert any(
            "marked (incomplete) are of the utterances and training seeds" in note.text for note in one.footnotes
        )


def test_a_leaky_label_source_is_marked_in_its_heading() -> None:
    made = networks_of(grid())
    assert "\nglobal_oof (leaky)\n" in to_markdown(made)
    assert r"\caption{All networks: Emo-DB, global\_oof (leaky).}" in to_latex(made)
    leaky = {record["label_source"]: record["leaky"] for row in made[0].rows for record in row.entries}
    assert leaky == {"": False, "in_fold": False, "global_oof": True}


def test_incomplete_folds_are_marked() -> None:
    (one,) = networks_of(grid())
    assert texts(one, "in_fold")["DenseNet22 wdsl 0.5→0.2, t = 2"][0].endswith("(7/10 folds)")
    assert "incomplete folds" in one.footnotes[0].text


def test_corpora_splits_and_kinds_of_labels_have_listings_of_their_own() -> None:
    frame = pd.concat(
        [
            decisions(10),
            decisions(10, corpus="casia", partial=True),
            decisions(10, split="speaker"),
            decisions(10, labels="permuted"),
        ]
    )
    captions = [one.caption for one in networks_of(frame)]
    assert [caption.partition(" Rates are")[0] for caption in captions] == [
        "Emo-DB. Split: speaker (each fold has a random forest of its own, which learns from no speaker that it "
        "decides on).",
        "CASIA. Split: stratified.",
        "Emo-DB. Split: stratified.",
        "Emo-DB. Labels are permuted: nothing is comparable with the paper, and more than chance is a leak. "
        "Split: stratified.",
    ]


def test_a_part_of_a_corpus_is_called_not_comparable() -> None:
    for make in (networks_of, chosen_listings):
        (one,) = make(pd.concat([decisions(10, partial=True), decisions(9, partial=True, rule="bdsl", iteration=1)]))
        assert [note.text for note in one.footnotes] == [
            "Emo-DB: every segment, at most 12 epochs, 10 folds, stratified split, 1 training seed.",
            "Emo-DB: only part of the corpus, 20 utterances: not comparable.",
        ]


def test_backbones_come_in_the_papers_order() -> None:
    frame = pd.concat([decisions(10, backbone=name) for name in ("a_net", "efficientnet_b0", "vgg19")])
    (one,) = networks_of(frame)
    assert list(texts(one, "")) == ["VGG19, t = 0", "EfficientNet-B0, t = 0", "a_net, t = 0"]


# The iteration that is chosen


def chosen(frame: pd.DataFrame, **options: Any) -> dict[str, str]:
    (one,) = chosen_listings(frame, **options)
    return {name: row[0] for name, row in texts(one, "in_fold").items()}


def test_the_iteration_with_the_highest_validation_rate_is_chosen() -> None:
    assert chosen(grid()) == {"DenseNet22 bdsl": "1 (10)", "DenseNet22 wdsl 0.5→0.2": "2 (10)"}


def rates_of_folds(*rates: float) -> np.ndarray:
    """Validation rates for the utterances of the first, the second part of the folds, and so on."""
    return np.repeat(rates, UTTERANCES // len(rates))


def test_it_is_chosen_in_each_fold_by_the_folds_own_validation_utterances() -> None:
    """On the whole iteration 1 has the higher rate, and more utterances right: no fold chooses by what others say."""
    frame = pd.concat(
        [
            decisions(10, validation_wa=rates_of_folds(60, 50)),
            decisions(14, rule="gsl", iteration=1, validation_wa=rates_of_folds(40, 90)),
        ]
    )
    (one,) = chosen_listings(frame)
    row = texts(one, "in_fold")["DenseNet22 gsl"]
    assert [text.split(" [")[0] for text in row[:3]] == ["0 (5), 1 (5)", "75.00", "70.00"]  # 10 and 4 of 10 are right
    assert texts(one, "in_fold, differences to the baseline")["DenseNet22 gsl"][0].startswith("+20.00 ")
    assert one.rows[0].entries[0]["iterations_chosen"] == "0 (5), 1 (5)"


def test_each_training_seed_chooses_for_itself() -> None:
    frame = pd.concat(
        [
            decisions(10, seeds=2, validation_wa=50.0),
            decisions(10, seeds=2, validation_wa=60.0, seed=1),
            decisions(14, seeds=2, validation_wa=70.0, rule="gsl", iteration=1),
            decisions(14, seeds=2, validation_wa=30.0, rule="gsl", iteration=1, seed=1),
        ]
    )
    (one,) = chosen_listings(frame)
    row = texts(one, "in_fold")["DenseNet22 gsl"]
    assert [text.split(" ")[0] for text in (row[1], row[2])] == ["65.00", "60.00"]
    assert row[0] == "0 (10), 1 (10)"


def test_a_fold_that_an_iteration_has_not_come_to_is_left_out() -> None:
    later = decisions(14, rule="gsl", iteration=1, validation_wa=60.0, folds_done=3)
    (one,) = chosen_listings(pd.concat([decisions(10), later[later["fold"] < 3]]))
    row = texts(one, "in_fold")["DenseNet22 gsl"]
    assert row[0] == "1 (3)" and row[2].endswith("(3/10 folds)")


def test_what_is_chosen_stands_beside_the_baseline() -> None:
    (one,) = chosen_listings(grid())
    row = texts(one, "in_fold")["DenseNet22 bdsl"]
    assert [text.split(" ")[0] for text in row] == ["1", "60.00", *["70.00"] * 3, *["50.00"] * 3]
    differences = texts(one, "in_fold, differences to the baseline")["DenseNet22 bdsl"]
    assert [text.split(" ")[0] for text in differences[:3]] == ["+20.00"] * 3
    assert differences[3:5] == ["{20.0, 20.0} p 0.12", "{20.0, 20.0}"]


@pytest.mark.parametrize("make", [networks_of, chosen_listings, sources_listings])
def test_intervals_over_speakers_are_shown_once(make: Callable[[pd.DataFrame], list[Listing]]) -> None:
    for one in make(grid().assign(intervals="speaker")):
        shown = to_markdown([one])
        assert "{" not in shown and "WA by speaker" in shown and "UA by speaker" not in shown
        assert "By speaker: for WA p of a sign-flip test over speakers" in one.caption


def test_of_equals_the_earlier_iteration_is_chosen() -> None:
    frame = pd.concat([decisions(10), decisions(14, rule="gsl", iteration=1), decisions(16, rule="gsl", iteration=2)])
    assert chosen(frame) == {"DenseNet22 gsl": "0 (10)"}


def test_the_test_folds_choose_only_where_asked_and_under_a_heading_that_says_so() -> None:
    frame = pd.concat([decisions(10), decisions(14, rule="gsl", iteration=1), decisions(16, rule="gsl", iteration=2)])
    assert chosen(frame, by_test=True) == {"DenseNet22 gsl": "2 (10)"}
    (one,) = chosen_listings(frame, by_test=True)
    assert one.title == "Iteration chosen on the test folds (optimistic)"


def test_an_iteration_whose_validation_rate_is_not_known_is_not_chosen() -> None:
    frame = pd.concat([decisions(10, validation_wa=np.nan), decisions(14, rule="gsl", iteration=1)])
    assert chosen(frame) == {"DenseNet22 gsl": "1 (10)"}
    assert chosen(frame.assign(validation_wa=np.nan)) == {}


def test_where_no_validation_rate_is_known_a_note_says_that_nothing_is_chosen() -> None:
    frame = pd.concat([decisions(10), decisions(14, rule="gsl", iteration=1)])

    def notes(of: pd.DataFrame, **options: Any) -> list[str]:
        (one,) = chosen_listings(of, **options)
        return [note.text for note in one.footnotes]

    assert any("no iteration is chosen" in note for note in notes(frame.assign(validation_wa=np.nan)))
    assert not any("no iteration is chosen" in note for note in notes(frame))
    assert not any("no iteration is chosen" in note for note in notes(frame.assign(validation_wa=np.nan), by_test=True))


# For machines


def test_csv_and_json_say_the_same() -> None:
    made = networks_of(grid())
    lines = list(csv.DictReader(io.StringIO(to_csv(made))))
    records = json.loads(to_json(made))["tables"][0]["records"]
    assert len(lines) == len(records) == 30  # of six networks, each WA, UA, F1 and the recall of two classes
    assert {line["metric"] for line in lines if line["class"]} == {"recall anger", "recall fear"}
    for line, record in zip(lines, records, strict=True):
        assert {key: value for key, value in line.items() if value} == {
            key: str(value) for key, value in record.items() if value not in (None, "", [])
        }
