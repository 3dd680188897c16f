"""Every network beside its baseline, and the iteration that validation chooses, from hand-made decisions."""

import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_by_hand import decisions_of, first_right

from analysis import comparisons, score_networks, to_csv, to_json, to_latex, to_markdown
from analysis.listings import Listing
from analysis.networks import chosen_listings, networks_listings
from analysis.sources import sources_listings

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
    annealed = {"rule": "wdsl", "alpha": "0.5→0.2", "validation_wa": 55.0, "folds_done": 7}
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


def test_label_sources_are_compared_in_pairs() -> None:
    frame = pd.concat([grid(), decisions(12, rule="bdsl", iteration=1, label_source="cross_fit")])
    (listing,) = sources_listings(frame)
    assert [group.name for group in listing.groups] == [
        "in_fold − cross_fit",
        "global_oof (leaky) − cross_fit",
        "global_oof (leaky) − in_fold",
    ]
    (row,) = listing.rows
    assert str(row.label) == "DenseNet22 bdsl, t = 1"
    # 14, 12 and 19 of 20 right: those that the worse has right, the better has too.
    assert [texts[0].split()[0] for texts in row.texts.values()] == ["+10.00", "+35.00", "+25.00"]
    assert row.texts["global_oof (leaky) − cross_fit"][0].endswith("p 0.047")  # 3 times 2 / 2 ** 7
    record = row.records[0]
    assert (record["label_source"], record["other_source"], record["source_difference"]) == ("in_fold", "cross_fit", 10)


def test_one_label_source_is_compared_with_nothing() -> None:
    assert sources_listings(decisions(14, rule="bdsl", iteration=1)) == []


def test_missing_folds_are_said_where_label_sources_are_compared() -> None:
    half = decisions(12, rule="bdsl", iteration=1, label_source="cross_fit", folds_done=5)
    (listing,) = sources_listings(pd.concat([decisions(14, rule="bdsl", iteration=1), half]))
    assert listing.rows[0].texts["in_fold − cross_fit"][0].endswith("(incomplete)")
    assert listing.footnotes


def listed(make: Callable[..., list[Listing]], frame: pd.DataFrame, **options: Any) -> list[Listing]:
    return make(score_networks(frame), comparisons(frame), **options)


def texts(listing: Listing, source: str) -> dict[str, list[str]]:
    """Row -> what the group of a label source shows of it."""
    return {str(row.label): list(row.texts[source]) for row in listing.rows if source in row.texts}


@pytest.mark.parametrize("name", RENDERERS)
def test_rendering_equals_the_golden_file(name: str) -> None:
    """Set UPDATE_GOLDEN=1 to write the files anew, then read their difference."""
    made = [*listed(networks_listings, grid()), *listed(chosen_listings, grid())]
    rendered = RENDERERS[name](made)
    if os.environ.get("UPDATE_GOLDEN") == "1":
        (GOLDEN / name).write_text(rendered, encoding="utf-8")
    assert rendered == (GOLDEN / name).read_text(encoding="utf-8")


# Every network


def test_every_network_is_a_row_with_a_group_for_each_label_source() -> None:
    (one,) = listed(networks_listings, grid())
    assert [group.name for group in one.groups] == ["in_fold", "global_oof"]
    assert list(texts(one, "in_fold")) == [
        "DenseNet22, t = 0",
        "DenseNet22 bdsl, t = 1",
        "DenseNet22 bdsl, t = 2",
        "DenseNet22 wdsl 0.5, t = 1",
        "DenseNet22 wdsl 0.5→0.2, t = 2",
    ]
    assert list(texts(one, "global_oof")) == ["DenseNet22, t = 0", "DenseNet22 bdsl, t = 1"]


def test_a_row_shows_rates_and_the_difference_to_the_baseline() -> None:
    (one,) = listed(networks_listings, grid())
    row = texts(one, "in_fold")["DenseNet22 bdsl, t = 1"]
    assert [text.split(" ")[0] for text in row] == ["70.00", "70.00", "60.00", "60.00", "+20.00", "+20.00"]
    # Four utterances more right of which none is lost: p = 2 / 2^4, beside 0.25, 0.5 and 0.5 of the others.
    assert row[4].endswith("p 0.50")
    assert texts(one, "in_fold")["DenseNet22, t = 0"][4:] == ["—", "—"]


def test_a_leaky_label_source_is_marked_in_its_heading() -> None:
    made = listed(networks_listings, grid())
    assert "\nglobal_oof (leaky)\n" in to_markdown(made)
    assert r"\caption{All networks: Emo-DB, global\_oof (leaky).}" in to_latex(made)
    leaky = {record["label_source"]: record["leaky"] for row in made[0].rows for record in row.records}
    assert leaky == {"": False, "in_fold": False, "global_oof": True}


def test_incomplete_folds_are_marked() -> None:
    (one,) = listed(networks_listings, grid())
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
    captions = [one.caption for one in listed(networks_listings, frame)]
    assert [caption.partition(" Recognition")[0] for caption in captions] == [
        "Emo-DB. Split: speaker (the random forest, too, learns from no speaker that it decides on).",
        "CASIA. Split: stratified.",
        "Emo-DB. Split: stratified.",
        "Emo-DB. Labels are permuted: nothing is comparable with the paper, and more than chance is a leak. "
        "Split: stratified.",
    ]


def test_a_part_of_a_corpus_is_called_not_comparable() -> None:
    for make in (networks_listings, chosen_listings):
        (one,) = listed(make, decisions(10, partial=True))
        assert [note.text for note in one.footnotes] == [
            "Emo-DB: every segment, at most 12 epochs, 10 folds, stratified split, 1 training seed.",
            "Emo-DB: only part of the corpus, 20 utterances: not comparable.",
        ]


def test_backbones_come_in_the_papers_order() -> None:
    frame = pd.concat([decisions(10, backbone=name) for name in ("a_net", "efficientnet_b0", "vgg19")])
    (one,) = listed(networks_listings, frame)
    assert list(texts(one, "")) == ["VGG19, t = 0", "EfficientNet-B0, t = 0", "a_net, t = 0"]


# The iteration that is chosen


def chosen(frame: pd.DataFrame, **options: Any) -> dict[str, str]:
    (one,) = listed(chosen_listings, frame, **options)
    return {name: row[0] for name, row in texts(one, "in_fold").items()}


def test_the_iteration_with_the_highest_validation_rate_is_chosen() -> None:
    assert chosen(grid()) == {"DenseNet22 bdsl": "1", "DenseNet22 wdsl 0.5→0.2": "2"}


def test_what_is_chosen_stands_beside_the_baseline() -> None:
    (one,) = listed(chosen_listings, grid())
    row = texts(one, "in_fold")["DenseNet22 bdsl"]
    assert [text.split(" ")[0] for text in row] == ["1", "60.00", "70.00", "70.00", "50.00", "50.00", "+20.00"]


def test_of_equals_the_earlier_iteration_is_chosen() -> None:
    frame = pd.concat([decisions(10), decisions(14, rule="gsl", iteration=1), decisions(16, rule="gsl", iteration=2)])
    assert chosen(frame) == {"DenseNet22 gsl": "0"}


def test_the_test_folds_choose_only_where_asked_and_under_a_heading_that_says_so() -> None:
    frame = pd.concat([decisions(10), decisions(14, rule="gsl", iteration=1), decisions(16, rule="gsl", iteration=2)])
    assert chosen(frame, by_test=True) == {"DenseNet22 gsl": "2"}
    (one,) = listed(chosen_listings, frame, by_test=True)
    assert one.title == "Iteration chosen on the test folds (optimistic)"


def test_an_iteration_whose_validation_rate_is_not_known_is_not_chosen() -> None:
    frame = pd.concat([decisions(10, validation_wa=np.nan), decisions(14, rule="gsl", iteration=1)])
    assert chosen(frame) == {"DenseNet22 gsl": "1"}
    assert chosen(frame.assign(validation_wa=np.nan)) == {}


def test_validation_rates_are_averaged_over_training_seeds() -> None:
    frame = pd.concat(
        [
            decisions(10, seeds=2, validation_wa=50.0),
            decisions(10, seeds=2, validation_wa=60.0, seed=1),
            decisions(10, seeds=2, validation_wa=70.0, rule="gsl", iteration=1),
            decisions(10, seeds=2, validation_wa=30.0, rule="gsl", iteration=1, seed=1),
        ]
    )
    (one,) = listed(chosen_listings, frame)
    assert texts(one, "in_fold")["DenseNet22 gsl"][:2] == ["0", "55.00"]


# For machines


def test_csv_and_json_say_the_same() -> None:
    made = listed(networks_listings, grid())
    lines = list(csv.DictReader(io.StringIO(to_csv(made))))
    records = json.loads(to_json(made))["tables"][0]["records"]
    assert len(lines) == len(records) == 24  # of six networks, each WA, UA and the recall of two classes
    assert {line["metric"] for line in lines if line["class"]} == {"recall anger", "recall fear"}
    for line, record in zip(lines, records, strict=True):
        assert {key: value for key, value in line.items() if value} == {
            key: str(value) for key, value in record.items() if value not in (None, "", [])
        }
