"""What a sweep found, in a few numbers: the network that validation chooses, beside its baseline and the paper.

The test folds choose nothing: of all networks on a corpus and split the one that recognises most validation utterances
is shown, among those whose folds are all done and whose label source does not leak, if there is one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis import columns
from analysis.claims import LEVEL
from analysis.formats import interval_text, number, p_text, signed
from analysis.layouts import TABLE_2, TABLES_OF_ONE_BACKBONE, Treatment, backbone_name
from analysis.listings import chain_name, treatment_order
from analysis.networks import Block, Difference, blocks
from analysis.published import PAPER_UTTERANCES, PublishedValue, index_published, load_published
from analysis.tables import METRICS, Score, corpus_name, size_notes, source_name
from dsl.labels import LEAKY_LABEL_SOURCES


@dataclass(frozen=True)
class Rate:
    """A rate of the chosen network, and its distances, as text. `baseline` and `paper` are empty where not known."""

    metric: str
    value: str
    interval: str
    by_speaker: str
    baseline: str
    paper: str


@dataclass(frozen=True)
class Bar:
    """A rate on an axis: positions in percent of its width. `low` and `high` are None where there is no interval."""

    label: str
    text: str
    kind: str  # chosen, baseline or paper
    at: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Axis:
    """Rates of WA on one axis: the bars, and ticks with their positions in percent of the width."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Headline:
    """The chosen network of one corpus and split. `verdict` says in words what the test against the baseline says."""

    where: str
    network: str
    choice: str
    rates: tuple[Rate, ...]
    verdict: str
    tested: bool
    axis: Axis
    leaky: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Candidate:
    source: str
    treatment: Treatment
    validation: float
    complete: bool

    @property
    def leaky(self) -> bool:
        return self.treatment.iteration > 0 and self.source in LEAKY_LABEL_SOURCES

    @property
    def name(self) -> str:
        by = f", {source_name(self.source)}" if self.treatment.iteration and self.source else ""
        return f"{chain_name(self.treatment)}, t = {self.treatment.iteration}{by}"


def headlines(scores: pd.DataFrame, compared: pd.DataFrame) -> list[Headline]:
    """One for each corpus and split with labels as given; `scores` and `compared` as for `networks_listings`."""
    found = [_headline(block) for block in blocks(scores, compared) if block.labels == "given"]
    return [one for one in found if one is not None]


def _headline(block: Block) -> Headline | None:
    candidates = _candidates(block)
    if not candidates:
        return None
    chosen = _choose(candidates)
    scores = {metric: _forest_or_mean(block, chosen, metric) for metric in METRICS}
    wa = scores["WA"]
    difference = block.differences.get((chosen.source, chosen.treatment, "WA"))
    return Headline(
        where=f"{corpus_name(block.corpus)}, {block.split} split",
        network=chosen.name,
        choice=_choice(candidates, chosen),
        rates=tuple(_rate(block, chosen, metric, score) for metric, score in scores.items()),
        verdict=_verdict(chosen, difference),
        tested=difference is not None,
        axis=_axis(block, chosen, wa),
        leaky=chosen.leaky,
        notes=tuple(_notes(block, candidates, chosen, wa)),
    )


def _candidates(block: Block) -> list[_Candidate]:
    """Every network once: iteration 0, which all label sources share, under the first of them."""
    found: dict[tuple[str, Treatment], _Candidate] = {}
    for source in block.sources:
        for treatment in sorted(block.treatments(source), key=treatment_order):
            validation = block.validation.get((source, treatment), float("nan"))
            if validation == validation:
                score = _known_score(block, source, treatment, "WA")
                key = (source if treatment.iteration else "", treatment)
                found.setdefault(key, _Candidate(source, treatment, validation, score.complete))
    return list(found.values())


def _choose(candidates: Sequence[_Candidate]) -> _Candidate:
    """The first of those with the highest rate on validation utterances."""
    honest = [one for one in candidates if not one.leaky] or candidates
    eligible = [one for one in honest if one.complete] or honest
    return max(eligible, key=lambda one: one.validation)


def _known_score(block: Block, source: str, treatment: Treatment, metric: str) -> Score:
    """By the random forest, or by mean pooling where there are too few utterances for one."""
    score = block.score(source, treatment, columns.FOREST, metric)
    score = score or block.score(source, treatment, columns.MEAN_POOLING, metric)
    assert score is not None
    return score


def _forest_or_mean(block: Block, chosen: _Candidate, metric: str) -> Score:
    return _known_score(block, chosen.source, chosen.treatment, metric)


def _choice(candidates: Sequence[_Candidate], chosen: _Candidate) -> str:
    """How it was chosen, in a sentence."""
    there = f"{number(chosen.validation, 2)} % WA on validation utterances"
    complete = sum(one.complete for one in candidates)
    if not complete:
        return f"Provisional, as no network has all its folds: the best so far with {there}."
    rest = len(candidates) - complete
    others = f"; {rest} more {'has' if rest == 1 else 'have'} folds missing" if rest else ""
    return f"Best of {complete} {'network' if complete == 1 else 'networks'} with {there}{others}."


def _rate(block: Block, chosen: _Candidate, metric: str, score: Score) -> Rate:
    difference = block.differences.get((chosen.source, chosen.treatment, metric))
    published = published_rate(chosen.treatment, block.corpus, metric)
    return Rate(
        metric=metric,
        value=f"{score.value:.2f}",
        interval=interval_text(*score.interval).strip(),
        by_speaker=interval_text(*score.by_speaker).strip(),
        baseline=_difference_text(difference),
        paper="" if published is None else _paper_text(score, *published),
    )


def _difference_text(difference: Difference | None) -> str:
    if difference is None:
        return ""
    return f"{signed(difference.value)}{interval_text(difference.low, difference.high)}{p_text(difference.p)}"


def _paper_text(score: Score, table: str, published: PublishedValue) -> str:
    named = f"{published.value:.2f} in Table {table}, {backbone_name(published.backbone)}"
    return f"({named})" if score.partial else f"{signed(score.value - published.value)} ({named})"


def published_rate(treatment: Treatment, corpus: str, metric: str) -> tuple[str, PublishedValue] | None:
    """What the paper prints of a network, and in which table: of its own backbone if it does, or of Tables III-V.

    Values that cannot be right as printed give way to any other.
    """
    published = index_published(load_published())
    found = [
        (layout.number, published[key])
        for layout in (TABLE_2, *TABLES_OF_ONE_BACKBONE)
        for plan in layout.plan(treatment.backbone, {treatment})
        if plan.treatment == treatment
        and plan.published_row
        and (key := (layout.number, plan.published_row, corpus, metric)) in published
    ]
    return min(
        found, key=lambda one: (one[1].backbone != treatment.backbone, bool(one[1].note)), default=None
    )


def _verdict(chosen: _Candidate, difference: Difference | None) -> str:
    if chosen.treatment.iteration == 0:
        return "The baseline itself: no round of self-learning does better on validation utterances."
    if difference is None:
        return "The baseline is not trained yet."
    if difference.p != difference.p:
        return "No test against the baseline."
    if difference.p >= LEVEL:
        return "Within chance of the baseline."
    return f"{'Better' if difference.value > 0 else 'Worse'} than the baseline beyond chance."


def _notes(block: Block, candidates: Sequence[_Candidate], chosen: _Candidate, score: Score) -> Iterator[str]:
    leaky = [one for one in candidates if one.leaky]
    if chosen.leaky:
        yield "Every network here is of a leaky label source: its networks saw test labels."
    elif leaky:
        count = f"{len(leaky)} {'network' if len(leaky) == 1 else 'networks'}"
        yield f"{count} of a leaky label source could not be chosen: theirs saw test labels."
    if not score.complete:
        yield f"{score.folds_done} of {score.folds} folds."
    yield from size_notes(block.corpus, [score], published=block.corpus in PAPER_UTTERANCES)


def _axis(block: Block, chosen: _Candidate, wa: Score) -> Axis:
    """The chosen network, its baseline and the paper's value of it, on an axis from one multiple of 5 to another."""
    shown: list[tuple[str, str, float, tuple[float, float]]] = [(chosen.name, "chosen", wa.value, wa.interval)]
    if chosen.treatment.iteration:
        baseline = chosen.treatment.at(0)
        score = block.score(chosen.source, baseline, columns.FOREST, "WA")
        if score is not None:
            shown.append((f"{chain_name(baseline)}, baseline", "baseline", score.value, score.interval))
    published = published_rate(chosen.treatment, block.corpus, "WA")
    if published is not None and not wa.partial:
        table, value = published
        label = f"Paper, Table {table}, {backbone_name(value.backbone)}"
        shown.append((label, "paper", value.value, (float("nan"), float("nan"))))
    known = [each for _, _, value, interval in shown for each in (value, *interval) if each == each]
    first, last = 5 * int(min(known) // 5), 5 * -int(-max(known) // 5)
    first, last = (first - 5, last + 5) if first == last else (first, last)

    def place(value: float) -> float:
        return round(100 * (value - first) / (last - first), 2)

    bars = tuple(
        Bar(label, f"{value:.2f}{interval_text(*interval)}", kind, place(value), *map(place, _known(interval)))
        for label, kind, value, interval in shown
    )
    step = 5 if last - first <= 25 else 10 if last - first <= 50 else 20
    ticks = tuple((place(tick), str(tick)) for tick in range(first, last + 1, step))
    return Axis(bars, ticks)


def _known(interval: tuple[float, float]) -> tuple[float, ...]:
    return interval if interval[0] == interval[0] else ()
