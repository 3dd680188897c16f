"""How well mean pooling knows how sure it can be, as a listing."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from analysis import columns
from analysis.identity import (
    Condition,
    Network,
    Treatment,
    conditions,
    corpus_name,
    treatment_name,
)
from analysis.scoring.calibration import calibration
from analysis.tables.captions import OF_CALIBRATION, Caption, Footnote, conditions_text, footnotes_on
from analysis.tables.cells import NumberCell, RateCell, TableCell, points_cell
from analysis.tables.entries import Entry, network_entry, setup_entry
from analysis.tables.listings import Group, Heading, Listing, treatment_rows

CALIBRATION = "Calibration of mean pooling"
_HEADINGS = (
    Heading("utterances"),
    Heading("WA mean"),
    Heading("confidence"),
    Heading("− WA"),
    Heading("ECE"),
    Heading("adaptive ECE"),
    Heading("ECE if calibrated"),
)
_UNKNOWN = (
    "{networks} without calibration: the store holds decisions that were exported before their confidence was kept. "
    "Export them again with: ser-sweep store export --decisions"
)


def calibration_listings(decisions: pd.DataFrame, scores: pd.DataFrame) -> list[Listing]:
    """A listing for each corpus, split and kind of labels; `scores` is what `score_networks` makes of `decisions`.

    One whose decisions have no confidence, as in older exports, has no rows and says so.
    """
    lines = calibration(decisions)
    by = [columns.CORPUS, columns.SPLIT, columns.LABELS]
    pooled = scores[scores[columns.DECISION] == columns.MEAN_POOLING]
    return [
        _listing(Condition(*map(str, key)), lines[(lines[by] == list(key)).all(axis=1)], own)
        for key, own in pooled.groupby(by)
    ]


def _listing(condition: Condition, lines: pd.DataFrame, scores: pd.DataFrame) -> Listing:
    known = {
        one.label_source: {Treatment.of(line): line for line in own.to_dict("records")}
        for one, own in conditions(lines)
    }
    rows = treatment_rows(
        known,
        treatment_name,
        lambda source, treatment: {source: _cells(known[source][treatment])},
        lambda source, treatment: _entries(known[source][treatment]),
    )
    groups = tuple(Group.of_source(source, _HEADINGS) for source in known)
    unknown = len(scores) - len(lines)
    told = "A network is" if unknown == 1 else f"{unknown} networks are"
    notes = [Footnote("", _UNKNOWN.format(networks=told))] if unknown else []
    about = Caption.filled(corpus_name(condition.corpus), OF_CALIBRATION, conditions=conditions_text(condition))
    footnotes = (*notes, *footnotes_on(condition.corpus, scores))
    return Listing(CALIBRATION, about, "Network", groups, rows, footnotes, condition)


def _cells(line: Mapping[Any, Any]) -> list[TableCell]:
    folds = line[columns.FOLDS_DONE], line[columns.FOLDS]
    return [
        NumberCell(line[columns.UTTERANCES], grouped=True),
        RateCell(line[columns.WA], folds=folds),
        RateCell(line[columns.CONFIDENCE], folds=folds),
        points_cell(line[columns.CONFIDENCE] - line[columns.WA], folds),
        RateCell(line[columns.ECE], (line[columns.ECE_SD],), folds=folds),
        RateCell(line[columns.ECE_ADAPTIVE], folds=folds),
        RateCell(line[columns.ECE_IF_CALIBRATED], folds=folds),
    ]


_METRICS = {
    "confidence": columns.CONFIDENCE,
    "ECE": columns.ECE,
    "ECE adaptive": columns.ECE_ADAPTIVE,
    "ECE if calibrated": columns.ECE_IF_CALIBRATED,
}


def _entries(line: Mapping[Any, Any]) -> Iterator[Entry]:
    network = Network.of(line)
    about = network_entry(CALIBRATION, treatment_name(network.treatment), network)
    for metric, column in _METRICS.items():
        deviation = line[columns.ECE_SD] if metric == "ECE" else float("nan")
        yield {
            **about,
            "metric": metric,
            "mean_pooling": round(line[column], 4),
            **({"mean_pooling_sd_training_seeds": round(deviation, 4)} if deviation == deviation else {}),
            "folds_done": line[columns.FOLDS_DONE],
            "folds": line[columns.FOLDS],
            "utterances": line[columns.UTTERANCES],
            "partial": line[columns.PARTIAL],
            **setup_entry(line[columns.SETUP], line[columns.SEEDS]),
        }
