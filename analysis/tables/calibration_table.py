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
    treatment_order,
)
from analysis.paper.layouts import RowLabel
from analysis.scoring.calibration import calibration
from analysis.tables.captions import OF_CALIBRATION, Caption, Footnote, conditions_text, setup_footnotes
from analysis.tables.cells import NumberCell, PointsCell, RateCell, TableCell
from analysis.tables.entries import Entry, setup_entry
from analysis.tables.listings import Group, Heading, Listing, ListingRow

CALIBRATION = "Calibration"
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


def calibration_listings(decisions: pd.DataFrame) -> list[Listing]:
    """A listing for each corpus, split and kind of labels; `decisions` is what `decide` returns.

    One whose decisions have no confidence, as in older exports, has no rows and says so.
    """
    lines = calibration(decisions)
    decided = decisions[list(columns.NETWORK_IDENTITY)].drop_duplicates()
    found = []
    for key, all_networks in decided.groupby([columns.CORPUS, columns.SPLIT, columns.LABELS]):
        condition = Condition(*map(str, key))
        same = (lines[[columns.CORPUS, columns.SPLIT, columns.LABELS]] == list(key)).all(axis=1)
        found.append(_listing(condition, lines[same], len(all_networks)))
    return found


def _listing(condition: Condition, lines: pd.DataFrame, networks: int) -> Listing:
    rows: dict[Treatment, ListingRow] = {}
    groups = []
    for of_source, own in conditions(lines):
        group = Group.of_source(of_source.label_source, _HEADINGS)
        groups.append(group)
        for line in own.to_dict("records"):
            treatment = Treatment.of(line)
            row = rows.setdefault(
                treatment, ListingRow(RowLabel(treatment_name(treatment)), {}, (), treatment.backbone)
            )
            cells = {**row.cells, group.name: _cells(line)}
            known = row.entries if treatment.iteration or not row.entries else ()
            entries = (*known, *_entries(line))  # iteration 0 is the same for all sources
            rows[treatment] = ListingRow(row.label, cells, entries, row.backbone)
    unknown = networks - len(lines)
    told = {0: "", 1: "A network is"}.get(unknown, f"{unknown} networks are")
    notes = [Footnote("", _UNKNOWN.format(networks=told))] if unknown else []
    trained = zip(lines[columns.SETUP], lines[columns.SEEDS], strict=True)
    about = Caption.filled(corpus_name(condition.corpus), OF_CALIBRATION, conditions=conditions_text(condition))
    ordered = tuple(rows[treatment] for treatment in sorted(rows, key=treatment_order))
    footnotes = (*notes, *setup_footnotes(condition.corpus, trained))
    return Listing(CALIBRATION, about, "Network", tuple(groups), ordered, footnotes, condition)


def _cells(line: Mapping[Any, Any]) -> list[TableCell]:
    folds = {"folds_done": line[columns.FOLDS_DONE], "folds": line[columns.FOLDS]}
    return [
        NumberCell(line[columns.UTTERANCES], grouped=True),
        RateCell(line[columns.WA], **folds),
        NumberCell(line[columns.CONFIDENCE], 2),
        PointsCell(line[columns.CONFIDENCE] - line[columns.WA]),
        RateCell(line[columns.ECE], (line[columns.ECE_SD],)),
        NumberCell(line[columns.ECE_ADAPTIVE], 2),
        NumberCell(line[columns.ECE_IF_CALIBRATED], 2),
    ]


_METRICS = {
    "confidence": columns.CONFIDENCE,
    "ECE": columns.ECE,
    "ECE adaptive": columns.ECE_ADAPTIVE,
    "ECE if calibrated": columns.ECE_IF_CALIBRATED,
}


def _entries(line: Mapping[Any, Any]) -> Iterator[Entry]:
    network = Network.of(line)
    for metric, column in _METRICS.items():
        deviation = line[columns.ECE_SD] if metric == "ECE" else float("nan")
        yield {
            "table": CALIBRATION,
            "labels": network.labels,
            "backbone": network.treatment.backbone,
            "label_source": network.label_source,
            "leaky": network.is_leaky,
            "split": network.split,
            "row": treatment_name(network.treatment),
            "rule": network.treatment.rule,
            "alpha": network.treatment.alpha,
            "iteration": network.treatment.iteration,
            "corpus": network.corpus,
            "metric": metric,
            "mean_pooling": round(line[column], 4),
            **({"mean_pooling_sd_training_seeds": round(deviation, 4)} if deviation == deviation else {}),
            "folds_done": line[columns.FOLDS_DONE],
            "folds": line[columns.FOLDS],
            "utterances": line[columns.UTTERANCES],
            "partial": line[columns.PARTIAL],
            **setup_entry(line[columns.SETUP], line[columns.SEEDS]),
        }
