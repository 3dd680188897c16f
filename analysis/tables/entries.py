"""What machines are told: lines of CSV and JSON, with keys of `analysis.tables.render.CSV_COLUMNS`."""

from collections.abc import Iterator
from typing import Any

from analysis import columns
from analysis.scoring.ranking import Candidate
from analysis.scoring.scores import Score
from analysis.scoring.setup import Setup

Entry = dict[str, Any]


def setup_entry(setup: Setup, seeds: int) -> Entry:
    """How a network was trained and tested, with so many seeds, and the digest of its list of folds if it has one."""
    listed = {"fold_list": setup.fold_list} if setup.fold_list else {}
    return {"setup": setup.text([seeds]), "departures": list(setup.departures), **listed}


def candidate_entry(title: str, name: str, one: Candidate) -> Entry:
    """Which network at which setting a row `name` of the table `title` is of, with a key for each field of the
    setting."""
    network = one.network
    return {
        "table": title,
        "labels": network.labels,
        "backbone": network.treatment.backbone,
        "label_source": network.label_source,
        "leaky": one.is_leaky,
        "split": network.split,
        "row": name,
        "rule": network.treatment.rule,
        "alpha": network.treatment.alpha,
        "iteration": network.treatment.iteration,
        "corpus": network.corpus,
        **one.setting.by_field,
    }


def score_entry(forest: Score | None, mean_pooling: Score | None) -> Entry:
    """What machines are told of a rate by either decision: percent to four decimals, without what is not known."""
    entry: Entry = {}
    for name, score in (("mean_pooling", mean_pooling), ("forest", forest)):
        if score is None:
            continue
        values = {
            name: score.value,
            f"{name}_sd_forest_seeds": score.forest_spread,
            f"{name}_sd_training_seeds": score.training_spread,
            f"{name}_low": score.interval[0],
            f"{name}_high": score.interval[1],
            f"{name}_speaker_low": score.by_speaker[0],
            f"{name}_speaker_high": score.by_speaker[1],
        }
        entry |= {key: round(value, 4) for key, value in values.items() if value == value}
        entry |= {"intervals": score.intervals, **_about_score(score)}
    return entry


def recall_entries(forest: Score | None, mean_pooling: Score | None) -> Iterator[Entry]:
    """The same of the recall of each class, whose metric is `recall anger`."""
    by_either = {"mean_pooling": mean_pooling, "forest": forest}
    known = {name: score for name, score in by_either.items() if score is not None}
    for label in dict.fromkeys(label for score in known.values() for label in score.setup.classes):
        entry: Entry = {"metric": f"{columns.RECALL} {label}", "class": label}
        for name, score in known.items():
            entry |= {name: round(score.recall[label], 4)} if label in score.recall else {}
            entry |= _about_score(score)
        yield entry


def _about_score(score: Score) -> Entry:
    return {
        "folds_done": score.folds_done,
        "folds": score.folds,
        "utterances": score.utterances,
        "partial": score.partial,
        **setup_entry(score.setup, score.seeds),
    }
