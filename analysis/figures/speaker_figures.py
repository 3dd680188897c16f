"""Figures made from decisions on the utterances of each speaker, and from how sure decisions are."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis import columns
from analysis.figures.calibration import draw_reliability
from analysis.figures.save import Drawing
from analysis.figures.score_figures import Classes, listed, rows_of, titled
from analysis.figures.speakers import SPEAKERS_WITH_NUMBERS, draw_speaker_recall, draw_speakers
from analysis.figures.subject import Subject, notes_on, subjects_of
from analysis.identity import Network
from analysis.paper.methods import Method, by_method
from analysis.scoring.calibration import bins_of, calibration, sure_decisions
from analysis.scoring.comparisons import of_networks, one_decision
from analysis.scoring.speakers import score_speakers
from data_prep.text import counted, plain

RELIABILITY = "calibration"
MOST_SPEAKERS = 100  # that a figure shows; of more, half that have the lowest and half that have the highest rates
_SHOWN = "No DSL is iteration 0; other methods are at iteration 1."


def speakers(pooled: pd.DataFrame, decisions: pd.DataFrame, classes: Classes) -> Iterator[Drawing]:
    """Rates by speaker for each subject, then the recall of each class by each speaker for each of its methods."""
    known, seen = of_networks(decisions), set()
    for subject, group in subjects_of(pooled):
        decision, lines = one_decision(group)
        lines = by_method(lines)
        networks = {Network.of(line): line for line in rows_of(lines)}
        own = score_speakers(pd.concat([known[network] for network in networks]))
        of_network = of_networks(own[own[columns.DECISION] == decision])
        shown = _shown(next(iter(of_network.values())))
        yield _speakers(subject, lines, of_network, shown)
        for network, line in networks.items():
            of_source = subject.of_source(network.label_source)
            if (of_source, network) not in seen:
                seen.add((of_source, network))
                names = classes[subject.condition.corpus]
                yield _recall(of_source, line, of_network[network], shown, names)


def _shown(lines: pd.DataFrame) -> list[str]:
    """The speakers to draw, from the lowest WA to the highest: all of them, unless there are too many."""
    ordered = lines.sort_values([columns.WA, columns.SPEAKER])[columns.SPEAKER].tolist()
    half = MOST_SPEAKERS // 2
    return ordered if len(ordered) <= MOST_SPEAKERS else [*ordered[:half], *ordered[-half:]]


def _left_out(lines: pd.DataFrame, shown: Sequence[str]) -> list[str]:
    if len(lines) <= len(shown):
        return []
    half = len(shown) // 2
    return [f"Of {counted(len(lines), 'speaker')} the {half} with the lowest and the {half} with the highest WA."]


def _speakers(
    subject: Subject, lines: pd.DataFrame, of_network: Mapping[Network, pd.DataFrame], shown: Sequence[str]
) -> Drawing:
    rows = rows_of(lines)
    decided_by = columns.DECISION_NAMES[rows[0][columns.DECISION]]
    by_name = {Method.of(line).name: of_network[Network.of(line)] for line in rows}
    first = next(iter(by_name.values()))
    notes = [*notes_on(lines), *_left_out(first, shown)]
    told = [f"{name} from {own[columns.WA].min():.0f} to {own[columns.WA].max():.0f}" for name, own in by_name.items()]
    drawn = {plain(name): own[own[columns.SPEAKER].isin(shown)] for name, own in by_name.items()}
    overall = {plain(Method.of(line).name): line[columns.WA] for line in rows}
    return Drawing(
        "speakers",
        subject.parts,
        f"WA and UA by speaker, decided by {decided_by}, with the number of utterances; speakers are in the order of "
        f"WA in the first panel. Rates of speakers have Wilson's 95% interval. {_SHOWN} {subject.sentences(notes)}",
        f"Dot plot of rates by speaker. WA of speakers in percent: {', '.join(told)}.",
        draw_speakers(
            drawn, overall, titled(f"{subject.title}, by speaker, {decided_by}", notes), len(first) - len(shown)
        ),
    )


def _recall(
    subject: Subject, line: Mapping[Any, Any], lines: pd.DataFrame, shown: Sequence[str], names: Sequence[str]
) -> Drawing:
    method = Method.of(line)
    decided_by = columns.DECISION_NAMES[line[columns.DECISION]]
    of_shown = lines.set_index(columns.SPEAKER).reindex([one for one in shown if one in set(lines[columns.SPEAKER])])
    recall, utterances = (
        np.array(of_shown[name].tolist(), dtype=float) for name in (columns.RECALL, columns.CLASS_UTTERANCES)
    )
    notes = [*notes_on(pd.DataFrame([line])), *_left_out(lines, shown)]
    spread = [f"{plain(name)} {_reach(values)}" for name, values in zip(names, recall.T, strict=True)]
    number = (
        "above the number of utterances"
        if len(of_shown) <= SPEAKERS_WITH_NUMBERS
        else f"of {_reach(utterances)} utterances each"
    )
    return Drawing(
        "speaker-recall",
        (*subject.parts, *method.parts),
        f"Recall of each class by speaker in percent, {number}: {method.name}, iteration {line[columns.ITERATION]}, by "
        f"{decided_by}. Speakers are in the order of their WA without DSL; a grey field is a class that a speaker does "
        f"not have. {subject.sentences(notes)}",
        f"Heat map. Over all speakers {listed(names, line[columns.RECALL])}; by speaker {', '.join(spread)}.",
        draw_speaker_recall(
            recall,
            utterances,
            list(of_shown.index),
            names,
            titled(f"{subject.title}, {method.name}, {decided_by}", notes),
        ),
    )


def _reach(values: Any) -> str:
    """`33 to 100`."""
    known = np.asarray(values)[~np.isnan(values)]
    return f"{known.min():.0f} to {known.max():.0f}" if known.size else "none"


def reliabilities(pooled: pd.DataFrame, decisions: pd.DataFrame) -> Iterator[Drawing]:
    """A reliability diagram of mean pooling for each subject; none where no confidence is known."""
    sure = sure_decisions(decisions)
    known = of_networks(sure)
    for subject, group in subjects_of(pooled):
        lines = by_method(group[group[columns.DECISION] == columns.MEAN_POOLING])
        rows = [line for line in rows_of(lines) if Network.of(line) in known]
        if rows:
            yield _reliability(subject, pd.DataFrame(rows), {Method.of(one): known[Network.of(one)] for one in rows})


def _reliability(subject: Subject, lines: pd.DataFrame, known: Mapping[Method, pd.DataFrame]) -> Drawing:
    errors = {plain(method.name): calibration(own)[columns.ECE].iloc[0] for method, own in known.items()}
    bins = {plain(method.name): bins_of(own) for method, own in known.items()}
    notes = notes_on(lines)
    told = [f"{name} {error:.1f}" for name, error in errors.items()]
    return Drawing(
        RELIABILITY,
        subject.parts,
        "Reliability of mean pooling: of the decisions in each of 15 bins of confidence, the share that is right, at "
        "their mean confidence, with Wilson's 95% interval; in grey the share of all decisions. Training seeds are "
        f"taken together. ECE is the expected calibration error in points. {_SHOWN} {subject.sentences(notes)}",
        f"Reliability diagram. Expected calibration error in points: {', '.join(told)}.",
        draw_reliability(bins, errors, titled(f"{subject.title}, mean pooling", notes)),
    )
