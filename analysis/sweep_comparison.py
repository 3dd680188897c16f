"""Two sweeps side by side: paired tests of their networks on the same utterances.

A network of the first is set beside the one of the second that has the same rule, alpha and iteration, and the same
backbone, split and label source too. Where the sweeps have none of those in common, as a sweep of one backbone and a
sweep of another, that is what differs, and networks are paired across it. What validation chooses in each fold of
either is paired as well.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis import columns
from analysis.columns import METRICS
from analysis.identity import (
    IN_EACH_FOLD,
    Condition,
    Network,
    Treatment,
    chain_name,
    corpus_name,
    source_name,
    treatment_name,
)
from analysis.scoring.comparisons import Pair, by_network, holm_within, of_networks, pair_lines
from analysis.scoring.differences import Difference, difference_text
from analysis.scoring.intervals import KINDS, by_speaker_words
from analysis.scoring.selection import Chosen, choose_by_fold, eligible
from analysis.scoring.setup import PAPER_SPLIT
from analysis.tables.cells import SpeakerCell
from analysis.tables.render import aligned
from data_prep.errors import UserError
from data_prep.text import first_of

AXES = (columns.BACKBONE, columns.SPLIT, columns.LABEL_SOURCE)
SEEDS_BESIDE = "training seeds, in order"
CHOSEN = "chosen"  # whether a line is of what validation chooses in each fold of either
SECOND_SPLIT, SECOND_WA = columns.SECOND + columns.SPLIT, columns.SECOND + columns.WA
LISTED = 4  # networks that a message names


@dataclass(frozen=True)
class Compared:
    """What the sweeps differ in, axis -> (first, second), and a line for each pair and kind of decision.

    The columns of `lines` are `columns.COMPARISON_COLUMNS`, CHOSEN and SECOND_SPLIT. p values over utterances are
    adjusted by Holm's method over all lines of one kind of decision.
    """

    differ: dict[str, tuple[str, str]]
    lines: pd.DataFrame


def compare_sweeps(first: pd.DataFrame, second: pd.DataFrame) -> Compared:
    """`first` and `second` are what `decide` returns of either sweep.

    Raises UserError where no networks can be paired, and where the sweeps disagree about what was said.
    """
    for which, decisions in (("first", first), ("second", second)):
        if decisions.empty:
            raise UserError(f"the {which} sweep has no finished stage to compare; train it with: ser-sweep run")
    lists = _lists(first, second)
    differ = _differences(first, second) | lists
    beside = _seeds_beside(first, second)
    if beside:
        differ[SEEDS_BESIDE] = " and ".join(map(str, beside.values())), " and ".join(map(str, beside))
        second = _renumbered(second, beside)
    _check_labels(first, second)
    known, others = by_network(first), by_network(second)
    chosen = {pair: frames for pair, *frames in _chosen_pairs(first, second)}
    for of_first, of_second in chosen.values():
        known |= by_network(of_first)
        others |= by_network(of_second)
    pairs = dict.fromkeys([*chosen, *(Pair(network, _across(network, differ)) for network, _ in known)])
    lines = [
        {**line, CHOSEN: pair in chosen, SECOND_SPLIT: pair.second.split}
        for pair, line in pair_lines(pairs, known, others)
    ]
    if not lines:
        unlike = "".join(f"; {what}: {one} and {other}" for what, (one, other) in lists.items())
        raise UserError(
            f"the sweeps have no network and utterance in common: {_listed(known)} against {_listed(others)}{unlike}; "
            "compare sweeps of the same corpus that share a rule, alpha, iteration and tested utterances"
        )
    found = pd.DataFrame(lines)
    found[columns.P_HOLM] = holm_within([columns.DECISION], found)
    return Compared(differ, found)


# Which networks are set beside one another


def _differences(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """The axes on which the sweeps have nothing in common, and what either has there."""
    differ = {}
    for axis in AXES:
        one, other = (set(decisions[axis]) - {""} for decisions in (first, second))
        if not one or not other or one & other:
            continue
        if len(one) > 1 or len(other) > 1:
            raise UserError(
                f"{axis}: the first sweep has {', '.join(sorted(one))}, the second {', '.join(sorted(other))}; compare "
                "sweeps that share one, or that have only one each"
            )
        differ[axis] = (one.pop(), other.pop())
    return differ


def _lists(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """The digests of the lists of folds of each corpus of which the sweeps have other lists, or lists of other names.

    Lists of one name may say something else, and others the same.
    """
    of_first, of_second = (
        {
            line[columns.CORPUS]: (line[columns.SETUP].fold_list, line[columns.SPLIT])
            for line in decisions.drop_duplicates(columns.CORPUS).to_dict("records")
            if line[columns.SETUP].fold_list
        }
        for decisions in (first, second)
    )
    return {
        f"list of folds of {corpus_name(corpus)}": (own[0], "the same" if own[0] == other[0] else other[0])
        for corpus, own in of_first.items()
        if (other := of_second.get(corpus, own)) != own
    }


def _across(network: Network, differ: dict[str, tuple[str, str]]) -> Network:
    """The network of the second sweep that is set beside one of the first."""
    backbone, split, source = (differ.get(axis, ("", ""))[1] for axis in AXES)
    corpus, own_split, labels, own_source, treatment = network
    beside = Condition(corpus, split or own_split, labels, source or own_source)
    return beside.network(treatment._replace(backbone=backbone or treatment.backbone))


def _chosen_pairs(first: pd.DataFrame, second: pd.DataFrame) -> Iterator[tuple[Pair, pd.DataFrame, pd.DataFrame]]:
    """What validation chooses in each fold of either sweep, for each corpus and kind of labels that both have.

    On the splits that both have or, where there is none, on the only one of either.
    """
    chosen, others = _chosen(first), _chosen(second)
    for about, one in chosen.items():
        own, theirs = (
            [other for other in of if (other.corpus, other.labels) == (about.corpus, about.labels)]
            for of in (chosen, others)
        )
        if about in others:
            beside = about
        elif len(own) == len(theirs) == 1:
            (beside,) = theirs
        else:
            continue
        pair = Pair(one.network, others[beside].network)
        yield pair, one.under(pair.first), others[beside].under(pair.second)


def _chosen(decisions: pd.DataFrame) -> dict[Condition, Chosen]:
    known: dict[Condition, dict[Network, pd.DataFrame]] = {}
    for network, one in of_networks(decisions).items():
        known.setdefault(network.condition, {})[network] = one
    found = {about: choose_by_fold(eligible(networks)) for about, networks in known.items()}
    return {about: chosen for about, chosen in found.items() if chosen is not None}


def _seeds_beside(first: pd.DataFrame, second: pd.DataFrame) -> dict[int, int]:
    """Training seed of the second -> the one of the first that it is set beside: in order, where they share none."""
    seeds, others = (sorted(set(decisions[columns.SEED])) for decisions in (first, second))
    return {} if set(seeds) & set(others) else dict(zip(others, seeds, strict=False))


def _renumbered(decisions: pd.DataFrame, beside: Mapping[int, int]) -> pd.DataFrame:
    """The decisions of seeds that are set beside others, under the numbers of those."""
    renamed = {columns.SEED: decisions[columns.SEED].map(beside)}
    return (
        decisions.assign(**renamed, **{columns.SEEDS: len(beside)})
        .dropna(subset=[columns.SEED])
        .astype({columns.SEED: int})
    )


def _check_labels(first: pd.DataFrame, second: pd.DataFrame) -> None:
    key = [columns.CORPUS, columns.LABELS, columns.SEED, columns.UTTERANCE]
    one, other = (decisions.drop_duplicates(key)[[*key, columns.LABEL]] for decisions in (first, second))
    both = one.merge(other, on=key)
    differing = both[both[f"{columns.LABEL}_x"] != both[f"{columns.LABEL}_y"]]
    if len(differing):
        raise UserError(
            f"utterance {differing.iloc[0][columns.UTTERANCE]!r} and {len(differing) - 1} more have other labels in "
            "the second sweep than in the first; compare sweeps of the same labels"
        )


# Showing


def compared_text(compared: Compared) -> str:
    """The comparisons as an aligned Markdown table for each corpus and kind of decision, and what they are."""
    parts = [f"{axis}: A {one}, B {other}" for axis, (one, other) in compared.differ.items()]
    for (corpus, decision), lines in compared.lines.groupby([columns.CORPUS, columns.DECISION], sort=False):
        differences = (f"{metric} A − B" for metric in METRICS)
        head = ["A", "B", "WA of A", "WA of B", *differences, "WA by speaker", "utterances", "seeds"]
        several = len({*lines[columns.SPLIT], *lines[SECOND_SPLIT]}) > 1
        rows = [_row(line, several) for line in lines.to_dict("records")]
        by = columns.DECISION_NAMES[str(decision)]
        parts += [f"{corpus_name(str(corpus))}, by {by}\n\n{aligned([head, *rows])}".rstrip()]
    kind = str(compared.lines[columns.INTERVALS].iloc[0])
    interval = KINDS[kind].words(paired=True)
    explanation = EXPLANATION.replace("[interval]", f"[{interval}]").replace("[by speaker]", by_speaker_words(kind))
    return "\n\n".join([*parts, explanation + CHOSEN_EXPLAINED * bool(compared.lines[CHOSEN].any())])


EXPLANATION = (
    "Rates in percent and differences in points, A minus B, are of the utterances and training seeds that both have,\n"
    "[interval], with p of a sign-flip test of WA over utterances, adjusted by Holm's method\n"
    "for each kind of decision. F1 is macro-averaged. By speaker, of WA:\n"
    "[by speaker]p of a sign-flip test over speakers."
)
CHOSEN_EXPLAINED = "\nMarked *: what validation chooses in each fold of A against what it chooses in each fold of B."


def _row(line: dict[Any, Any], several_splits: bool) -> list[str]:
    differences = [Difference.of(line, metric) for metric in METRICS]
    mark = " *" if line[CHOSEN] else ""
    return [
        f"{_name(line, '', line[columns.SPLIT], several_splits)}{mark}",
        _name(line, columns.SECOND, line[SECOND_SPLIT], several_splits),
        f"{line[columns.WA]:.2f}",
        f"{line[SECOND_WA]:.2f}",
        *map(difference_text, differences),
        SpeakerCell(differences[0]).text,
        f"{line[columns.UTTERANCES]:,}",
        str(line[columns.SHARED_SEEDS]),
    ]


def _name(line: dict[Any, Any], of: str, split: str, several_splits: bool) -> str:
    treatment = Treatment.of({name: line[of + name] for name in columns.NETWORK})
    named = chain_name(treatment) if treatment == IN_EACH_FOLD else treatment_name(treatment)
    told = f"{split} split" if several_splits or split != PAPER_SPLIT else ""
    parts = (named, source_name(line[of + columns.LABEL_SOURCE]), told)
    return ", ".join(filter(None, parts))


def compared_records(compared: Compared) -> list[dict[str, Any]]:
    """The lines for machines: rates and differences in percent and points, None where there is none."""
    return [
        {str(name): None if value != value else value for name, value in line.items()}
        for line in compared.lines.to_dict("records")
    ]


def _listed(known: Iterable[tuple[Network, str]]) -> str:
    """The networks of a sweep, the first few by name."""
    names = dict.fromkeys(f"{corpus_name(one.corpus)} {treatment_name(one.treatment, ' ')}" for one, _ in known)
    return first_of(list(names), LISTED)
