"""The settings of a grid beside one another, as they come and ranked by validation; which one other tables are of."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from analysis import columns
from analysis.columns import METRICS
from analysis.identity import Condition, corpus_name, network_name
from analysis.paper.layouts import RowLabel
from analysis.scoring.formats import joined
from analysis.scoring.ranking import BySetting, Candidate, Ranking, rankings
from analysis.tables.captions import (
    INTERVALS,
    Caption,
    Footnote,
    conditions_text,
    decided_by,
    interval_parts,
    score_footnotes,
    setup_notes,
)
from analysis.tables.cells import NumberCell, QuantityCell, RateCell, TableCell, TextCell
from analysis.tables.entries import Entry, candidate_entry, score_entry
from analysis.tables.listings import Group, Heading, Listing, ListingRow
from analysis.tables.paper_tables import Table
from analysis.tables.settings_compared import compared_listings
from sweep.planning.in_view import value_text

SETTINGS, RANKING = "Settings", "Ranking by validation"
ALL = 10**9
_VALIDATION = (
    "WA validation is by mean pooling on the folds' validation utterances, in percent, the mean over folds and "
    "training seeds ± the standard deviation over them."
)
_RANKED = "Each line is a network at one setting. They are ranked by it alone, equals in the order of settings."
_NOTHING = "No rate on validation utterances is known, as with validation_share: 0, so nothing is chosen."
_NOT_CHOSEN = (
    "Without a rank: not chosen, as a leaky label source, missing folds or an unknown rate on validation utterances "
    "stand against it."
)


def in_settings(tables: Sequence[Table | Listing], by: BySetting) -> list[Table | Listing]:
    """`tables`, which are of the shown setting, and the listings of all settings and of each against it; no more than
    `tables` where the grid has one setting."""
    if not by.fields:
        return list(tables)
    shown: list[Table | Listing] = [_of_setting(table, by) for table in tables]
    return [*shown, *settings_listings(by), *compared_listings(by)]


def settings_listings(by: BySetting) -> list[Listing]:
    """Every network at every setting: a listing for each corpus, split and kind of labels."""
    of_condition: dict[Condition, list[Candidate]] = {}
    for one in by.candidates:
        of_condition.setdefault(one.network.condition, []).append(one)
    found = []
    for condition, own in of_condition.items():
        explanation = joined(conditions_text(condition), _VALIDATION, _test_text(own))
        about = Caption(f"{corpus_name(condition.corpus)}, every network at every setting", explanation)
        found.append(_listing(about, condition, own, by.fields))
    return found


def ranking_listings(by: BySetting, top: int = ALL) -> list[Listing]:
    """The first `top` candidates of each corpus, split and kind of labels, the best by validation first."""
    return [_ranking_listing(one, by.fields, top) for one in rankings(by.candidates)]


def _ranking_listing(ranking: Ranking, fields: Sequence[str], top: int) -> Listing:
    ranks = {one: rank for rank, one in enumerate(ranking.ranked, start=1)}
    everything = [*ranking.ranked, *ranking.others]
    shown = everything[:top]
    left = f"The first {len(shown)} of {len(everything)}." if len(shown) < len(everything) else ""
    explanation = joined(conditions_text(ranking.condition), _VALIDATION, _RANKED, _test_text(shown), left)
    about = Caption(corpus_name(ranking.condition.corpus), explanation)
    notes = [_NOTHING] if not ranking.ranked else [_NOT_CHOSEN] if any(one not in ranks for one in shown) else []
    listing = _listing(about, ranking.condition, shown, fields, ranks)
    return replace(listing, footnotes=(*(Footnote("", note) for note in notes), *listing.footnotes))


def _listing(
    about: Caption,
    condition: Condition,
    own: Sequence[Candidate],
    fields: Sequence[str],
    ranks: Mapping[Candidate, int] | None = None,
) -> Listing:
    """A row for each candidate; `ranks` are those of a ranking."""
    values = fields if ranks is None else ("rank", *fields)
    tests = (Heading("test", metric) for metric in METRICS)
    group = Group("", (*map(Heading, values), Heading("validation", "WA"), *tests))
    rows = tuple(_row(one, fields, ranks) for one in own)
    scores = [one.score for one in own]
    notes = (*score_footnotes(scores), *setup_notes(condition.corpus, scores, fields=fields))
    return Listing(SETTINGS if ranks is None else RANKING, about, "Network", (group,), rows, notes, condition)


def _test_text(own: Sequence[Candidate]) -> str:
    by = decided_by({one.decision for one in own})
    told = INTERVALS.format(**interval_parts(own[0].score.intervals))
    return f"Test rates are by {by}, with {told}. They choose nothing."


def _row(one: Candidate, fields: Sequence[str], ranks: Mapping[Candidate, int] | None) -> ListingRow:
    score = one.score
    cells: list[TableCell] = [] if ranks is None else [NumberCell(ranks.get(one))]
    cells += [_value_cell(one.setting.by_field.get(name)) for name in fields]
    validation = RateCell(one.validation, (one.spread,), folds=(score.folds_done, score.folds))
    cells += [validation, *(RateCell.of(one.test[metric]) for metric in METRICS)]
    label = RowLabel(network_name(one.network), leaky=one.is_leaky)
    entries = tuple(_entries(str(label), one, ranks))
    return ListingRow(label, {"": cells}, entries, one.network.treatment.backbone)


def _value_cell(value: Any) -> TableCell:
    """The value of a field, as a number where it is one; nothing where the setting has none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return QuantityCell(value_text(value))
    return TextCell() if value is None else TextCell(value_text(value))


def _entries(name: str, one: Candidate, ranks: Mapping[Candidate, int] | None) -> Iterator[Entry]:
    """One for each metric, with the values of the setting under their fields."""
    about = candidate_entry(SETTINGS if ranks is None else RANKING, name, one)
    about |= {} if ranks is None else {"rank": ranks.get(one)}
    by_forest = one.decision == columns.FOREST
    for metric, score in one.test.items():
        either = (score, None) if by_forest else (None, score)
        yield {**about, "metric": metric, **validation_entry(one), **score_entry(*either)}


def validation_entry(one: Candidate) -> Entry:
    """For machines: the rate on validation utterances and its spread, in percent; None where not known."""
    return {"validation_wa": _known(one.validation), "validation_wa_sd": _known(one.spread)}


def ranking_record(ranking: Ranking, top: int = ALL) -> dict[str, Any]:
    """A ranking for machines: what is chosen, and the first `top` candidates; rates in percent."""
    everything = [*ranking.ranked, *ranking.others]
    condition, chosen = ranking.condition, ranking.chosen
    return {
        "corpus": condition.corpus,
        "split": condition.split,
        "labels": condition.labels,
        "chosen": None if chosen is None else _record(chosen, 1),
        "candidates": [
            _record(one, rank if rank <= len(ranking.ranked) else None)
            for rank, one in enumerate(everything[:top], start=1)
        ],
        "of": len(everything),
    }


def _record(one: Candidate, rank: int | None) -> dict[str, Any]:
    network, score = one.network, one.score
    test = {
        metric.lower(): dict(zip(("value", "low", "high"), map(_known, (rate.value, *rate.interval)), strict=True))
        for metric, rate in one.test.items()
    }
    return {
        "rank": rank,
        "setting": one.setting.by_field,
        **network.treatment._asdict(),
        "label_source": network.label_source or None,
        "leaky": one.is_leaky,
        **validation_entry(one),
        "folds_done": score.folds_done,
        "folds": score.folds,
        "test": {"decision": one.decision, **test},
    }


def _known(value: float) -> float | None:
    return None if value != value else round(value, 4)


def _of_setting(table: Table | Listing, by: BySetting) -> Table | Listing:
    about = replace(table.about, explanation=joined(table.about.explanation, by.text))
    return replace(table, about=about, setting=by.shown.by_field)
