"""Results by speaker, and the recall of each class by each speaker, as listings.

They are of the networks that figures of recall by class show: no DSL, and each rule at iteration 1.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from analysis import columns
from analysis.columns import METRICS
from analysis.identity import Condition, Network, backbone_name, conditions, corpus_name, network_name, treatment_name
from analysis.paper.layouts import RowLabel
from analysis.paper.methods import Method, by_method
from analysis.scoring.comparisons import of_networks, one_decision
from analysis.scoring.setup import Setup
from analysis.scoring.speakers import score_speakers
from analysis.tables.captions import (
    OF_CLASSES_BY_SPEAKER,
    OF_SPEAKERS,
    Caption,
    Footnote,
    conditions_text,
    footnotes_on,
)
from analysis.tables.cells import NumberCell, RateCell, TableCell, TextCell, share_cell
from analysis.tables.entries import Entry, network_entry
from analysis.tables.listings import Group, Heading, Listing, ListingRow
from data_prep.text import counted

BY_SPEAKER = "Results by speaker"
CLASSES_BY_SPEAKER = "Recall by class and speaker"
MOST_SPEAKERS = 24  # that a table shows; of more, half that have the lowest and half that have the highest rates
Line = Mapping[Hashable, Any]


def speaker_listings(decisions: pd.DataFrame, scores: pd.DataFrame) -> list[Listing]:
    """Both listings for each corpus, split and kind of labels; `scores` is what `score_networks` makes of
    `decisions`."""
    known = of_networks(decisions)
    by = (columns.CORPUS, columns.SPLIT, columns.LABELS)
    found = []
    for key, lines in scores.groupby(list(by)):
        subjects = list(_subjects(lines))
        networks = dict.fromkeys(network for one in subjects for network in one.methods)
        of_speakers = score_speakers(pd.concat([known[network] for network in networks]))
        people = _People(Condition(*map(str, key)), subjects, of_speakers, lines)
        found += [_rates_listing(people), _classes_listing(people)]
    return found


WILSON = "wilson"  # the intervals of a speaker, whatever those of rates are


@dataclass(frozen=True)
class _Subject:
    """A backbone and label source, and the networks that are shown of it, by method."""

    condition: Condition
    methods: Mapping[Network, Method]


def _subjects(scores: pd.DataFrame) -> Iterator[_Subject]:
    by = (columns.CORPUS, columns.BACKBONE, columns.SPLIT, columns.LABELS)
    for condition, own in conditions(scores, by=by):
        lines = by_method(one_decision(own)[1]).to_dict("records")
        yield _Subject(condition, {Network.of(line): Method.of(line) for line in lines})


@dataclass(frozen=True)
class _People:
    """The speakers of a corpus under one split and kind of labels, as the networks of `subjects` recognise them."""

    condition: Condition
    subjects: Sequence[_Subject]
    lines: pd.DataFrame  # of `score_speakers`
    scores: pd.DataFrame  # of `score_networks`

    @cached_property
    def decision(self) -> str:
        """Who decided what is shown."""
        return one_decision(self.lines)[0]

    @cached_property
    def of_speaker(self) -> dict[tuple[Network, str, str], Line]:
        """By network, decision and speaker."""
        records = self.lines.to_dict("records")
        return {(Network.of(line), line[columns.DECISION], line[columns.SPEAKER]): line for line in records}

    @cached_property
    def of_network(self) -> dict[tuple[Network, str], Line]:
        """The scores of each network by each decision, over all speakers."""
        return {(Network.of(line), line[columns.DECISION]): line for line in self.scores.to_dict("records")}

    @cached_property
    def speakers(self) -> list[str]:
        """All of them, by name."""
        return sorted(set(self.lines[columns.SPEAKER]))

    @cached_property
    def shown(self) -> list[str]:
        """Those that a table shows, from the lowest WA to the highest where it does not show all."""
        if len(self.speakers) <= MOST_SPEAKERS:
            return self.speakers
        own = self.lines[self.lines[columns.DECISION] == self.decision]
        ordered = list(own.groupby(columns.SPEAKER)[columns.WA].mean().sort_values(kind="stable").index)
        half = MOST_SPEAKERS // 2
        return [*ordered[:half], *ordered[-half:]]

    @property
    def classes(self) -> tuple[str, ...]:
        setup: Setup = self.lines[columns.SETUP].iloc[0]
        return setup.classes

    @property
    def networks(self) -> list[Network]:
        """Each once, iteration 0 of all label sources before them."""
        return list(dict.fromkeys(network for one in self.subjects for network in one.methods))

    def line(self, network: Network, speaker: str) -> Line | None:
        """The rates of a speaker; None where nothing of theirs is decided."""
        return self.of_speaker.get((network, self.decision, speaker))

    def by_decision(self, network: Network, speaker: str) -> dict[str, Line]:
        """The same by each kind of decision that there is, as CSV and JSON call it."""
        known = ((name, self.of_speaker.get((network, one, speaker))) for name, one in _DECISIONS.items())
        return {name: line for name, line in known if line is not None}

    def score(self, network: Network) -> Line:
        """The rates over all speakers."""
        return self.of_network[network, self.decision]

    def folds(self, network: Network) -> tuple[int, int]:
        """How many folds of a network are done, of all."""
        score = self.score(network)
        return score[columns.FOLDS_DONE], score[columns.FOLDS]

    def caption(self, template: str) -> Caption:
        left_out = ""
        if len(self.shown) < len(self.speakers):
            half = len(self.shown) // 2
            left_out = (
                f"Of {counted(len(self.speakers), 'speaker')} the {half} with the lowest and the {half} with the "
                "highest WA are shown, by the mean over all networks here. CSV and JSON have all of them."
            )
        return Caption.filled(
            corpus_name(self.condition.corpus),
            template,
            conditions=conditions_text(self.condition),
            decision=columns.DECISION_NAMES[self.decision],
            speakers=left_out,
        )

    @property
    def footnotes(self) -> tuple[Footnote, ...]:
        own = self.scores[[Network.of(line) in self.networks for line in self.scores.to_dict("records")]]
        return footnotes_on(self.condition.corpus, own)


def _speaker_rows(
    people: _People,
    cells: Callable[[str], dict[str, list[TableCell]]],
    entries: Callable[[_People, Network, str], Iterator[Entry]],
) -> Iterator[ListingRow]:
    """One for each speaker; those that are not shown have no cells."""
    for speaker in [*people.shown, *(one for one in people.speakers if one not in people.shown)]:
        own = tuple(entry for network in people.networks for entry in entries(people, network, speaker))
        yield ListingRow(RowLabel(speaker), cells(speaker) if speaker in people.shown else {}, own)


# Rates


def _rates_listing(people: _People) -> Listing:
    of_group: dict[Group, tuple[_Subject, str]] = {}
    for subject, metric in product(people.subjects, METRICS):
        headings = (Heading("utterances"), *(Heading(method.name) for method in subject.methods.values()))
        before = f"{metric}, {backbone_name(subject.condition.backbone)}"
        of_group[Group.of_source(subject.condition.label_source, headings, before=before)] = subject, metric
    means = {group.name: _mean_cells(people, *of) for group, of in of_group.items()}
    rows = (
        *_speaker_rows(
            people,
            lambda speaker: {group.name: _rate_cells(people, *of, speaker) for group, of in of_group.items()},
            _rate_entries,
        ),
        ListingRow(RowLabel(f"mean of {counted(len(people.speakers), 'speaker')}"), means, ()),
    )
    about = people.caption(OF_SPEAKERS)
    return Listing(BY_SPEAKER, about, "Speaker", tuple(of_group), rows, people.footnotes, people.condition)


def _rate_cells(people: _People, subject: _Subject, metric: str, speaker: str) -> list[TableCell]:
    lines = [people.line(network, speaker) for network in subject.methods]
    number = max((line[columns.UTTERANCES] for line in lines if line is not None), default=None)
    of_network = zip(lines, map(people.folds, subject.methods), strict=True)
    return [NumberCell(number, grouped=True), *(_rate_cell(line, metric, folds) for line, folds in of_network)]


def _rate_cell(line: Line | None, metric: str, folds: tuple[int, int]) -> TableCell:
    if line is None:
        return TextCell()
    names = columns.RATES[metric]
    low, high = names.interval
    return RateCell(line[names.value], interval=(line[low], line[high]) if metric == "WA" else None, folds=folds)


def _mean_cells(people: _People, subject: _Subject, metric: str) -> list[TableCell]:
    """The mean over speakers, each with the same weight, and its standard deviation."""
    cells: list[TableCell] = [TextCell()]
    for network in subject.methods:
        lines = (people.line(network, speaker) for speaker in people.speakers)
        rates = pd.Series([line[columns.RATES[metric].value] for line in lines if line is not None])
        cells.append(RateCell(float(rates.mean()), (float(rates.std()),), folds=people.folds(network)))
    return cells


def _about(people: _People, network: Network, title: str, speaker: str) -> Entry:
    score = people.score(network)
    return {
        **dict.fromkeys(("table", "rule", "alpha", "iteration")),  # the first keys
        **network_entry(title, speaker, network),
        "speaker": speaker,
        "folds_done": score[columns.FOLDS_DONE],
        "folds": score[columns.FOLDS],
        "partial": score[columns.PARTIAL],
    }


_DECISIONS = {"forest": columns.FOREST, "mean_pooling": columns.MEAN_POOLING}  # as CSV and JSON call them


def _rate_entries(people: _People, network: Network, speaker: str) -> Iterator[Entry]:
    known = people.by_decision(network, speaker)
    for metric in METRICS if known else ():
        names = columns.RATES[metric]
        entry = {**_about(people, network, BY_SPEAKER, speaker), "metric": metric}
        for name, line in known.items():
            values = {name: line[names.value]}
            if metric == "WA":
                values |= {
                    f"{name}_{end}": line[bound] for end, bound in zip(("low", "high"), names.interval, strict=True)
                }
                entry["intervals"] = WILSON
            entry |= {**_rounded(values), "utterances": line[columns.UTTERANCES]}
        yield entry


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    """To four decimals, without what is not known."""
    return {name: round(float(value), 4) for name, value in values.items() if value == value}


# Recall by class


def _classes_listing(people: _People) -> Listing:
    def cells(speaker: str) -> dict[str, list[TableCell]]:
        lines = {network: people.line(network, speaker) for network in people.networks}
        known = {network: line for network, line in lines.items() if line is not None}
        return {network_name(network): _recall_cells(line, people.folds(network)) for network, line in known.items()}

    totals = {network_name(network): _all_cells(people, network) for network in people.networks}
    last = ListingRow(RowLabel(f"all {counted(len(people.speakers), 'speaker')}"), totals, ())
    rows = (*_speaker_rows(people, cells, _recall_entries), last)
    headings = [Heading(name) for name in people.classes]
    groups = tuple(
        Group.of_source(one.label_source, headings, before=treatment_name(one.treatment)) for one in people.networks
    )
    about = people.caption(OF_CLASSES_BY_SPEAKER)
    return Listing(CLASSES_BY_SPEAKER, about, "Speaker", groups, rows, people.footnotes, people.condition)


def _recall_cells(line: Line, folds: tuple[int, int]) -> list[TableCell]:
    return [share_cell(*each, folds) for each in zip(line[columns.RECALL], line[columns.CLASS_UTTERANCES], strict=True)]


def _all_cells(people: _People, network: Network) -> list[TableCell]:
    """The recall of each class over all speakers."""
    lines = [line for speaker in people.speakers if (line := people.line(network, speaker)) is not None]
    utterances = np.sum([line[columns.CLASS_UTTERANCES] for line in lines], axis=0)
    recall, folds = people.score(network)[columns.RECALL], people.folds(network)
    return [share_cell(*each, folds) for each in zip(recall, utterances, strict=True)]


def _recall_entries(people: _People, network: Network, speaker: str) -> Iterator[Entry]:
    for number, label in enumerate(people.classes):
        about = _about(people, network, CLASSES_BY_SPEAKER, speaker)
        entry = {**about, "metric": f"{columns.RECALL} {label}", "class": label}
        for name, line in people.by_decision(network, speaker).items():
            if not line[columns.CLASS_UTTERANCES][number]:
                continue
            bounds = {name: columns.RECALL, f"{name}_low": columns.RECALL_LOW, f"{name}_high": columns.RECALL_HIGH}
            values = {key: line[column][number] for key, column in bounds.items()}
            about_class = {"utterances": round(line[columns.CLASS_UTTERANCES][number], 4), "intervals": WILSON}
            entry |= _rounded(values) | about_class
        if "utterances" in entry:
            yield entry
