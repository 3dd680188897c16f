"""What a sweep found, in a few numbers: what validation chooses in each fold, beside the baseline and the paper."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import pandas as pd

from analysis import columns
from analysis.columns import METRICS
from analysis.identity import (
    GIVEN,
    Network,
    Treatment,
    backbone_name,
    chain_name,
    corpus_name,
    corpus_order,
    network_name,
    treatment_order,
)
from analysis.paper.layouts import TABLE_2, TABLES_OF_ONE_BACKBONE
from analysis.paper.published import PublishedValue, comparable, index_published, load_published
from analysis.scoring.comparisons import Pair, comparison, is_complete, of_networks
from analysis.scoring.differences import Difference, by_speaker_text, difference_text
from analysis.scoring.formats import LEVEL, interval_text, joined, number, p_text, signed, speaker_interval_text
from analysis.scoring.scores import Score, ScoreKey, index_scores, score_networks
from analysis.scoring.selection import Chosen, choose_by_fold, eligible
from analysis.scoring.setup import stands_beside_paper
from analysis.tables.captions import setup_notes
from data_prep.text import counted


@dataclass(frozen=True)
class RateCard:
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
    kind: str  # chosen, baseline, other or paper
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
    """What is chosen of one corpus and split. `choice` says how, and `decided` what its rates are of; `verdict` says in
    words what the test against the baseline says.

    Where that is the baseline itself, `rival` tells what the best later networks are from it.
    """

    where: str
    network: str
    choice: str
    decided: str
    rates: tuple[RateCard, ...]
    verdict: str
    rival: str
    tested: bool
    axis: Axis
    leaky: bool
    notes: tuple[str, ...]


def headlines(decisions: pd.DataFrame) -> list[Headline]:
    """One for each corpus and split with labels as given; `decisions` is what `decide` returns."""
    given = decisions[decisions[columns.LABELS] == GIVEN]
    found = []
    for split, of_split in given.groupby(columns.SPLIT):
        for corpus in corpus_order(of_split[columns.CORPUS]):
            known = of_networks(of_split[of_split[columns.CORPUS] == corpus])
            headline = _headline(str(split), known)
            found += [headline] if headline is not None else []
    return found


def _headline(split: str, known: Mapping[Network, pd.DataFrame]) -> Headline | None:
    candidates = eligible(known)
    shown = _Shown.best(candidates)
    if shown is None:
        return None
    baseline = _Shown.best(_baselines(candidates)) or _Shown.best(_baselines(known))
    later = _Shown.best({network: one for network, one in candidates.items() if network.treatment.iteration})
    rival = later if shown.is_baseline else None
    compared = [one for one in (shown, baseline, rival) if one is not None]
    decision = next(kind for kind in columns.DECISION_NAMES if all(kind in one.decided_by for one in compared))
    shown = shown.by(decision)
    baseline, rival = (one and one.by(decision) for one in (baseline, rival))
    tested = (rival or shown).difference(baseline, "WA")
    return Headline(
        where=f"{corpus_name(shown.network.corpus)}, {split} split",
        network=shown.name,
        choice=_choice(shown, candidates, known),
        decided=f"The rates below are by {columns.DECISION_NAMES[decision]}, on the test folds, which chose nothing.",
        rates=tuple(_rate(shown, baseline, metric) for metric in METRICS),
        verdict=_verdict(shown, baseline, tested),
        rival="" if rival is None or tested is None else _rival_text(rival, tested),
        tested=tested is not None,
        axis=_axis(shown, baseline, rival),
        leaky=shown.network.is_leaky,
        notes=tuple(_notes(shown, tested, candidates, known)),
    )


def _baselines(known: Mapping[Network, pd.DataFrame]) -> dict[Network, pd.DataFrame]:
    return {network: one for network, one in known.items() if not network.treatment.iteration}


@dataclass(frozen=True)
class _Shown:
    """What is chosen fold by fold, and its line of `score_networks` for each kind of decision, or for one."""

    chosen: Chosen
    lines: pd.DataFrame

    @classmethod
    def best(cls, candidates: Mapping[Network, pd.DataFrame]) -> "_Shown | None":
        """The best of the candidates; None where there is none."""
        ordered = sorted(candidates, key=lambda one: (one.label_source != "", treatment_order(one.treatment)))
        chosen = choose_by_fold({network: candidates[network] for network in ordered})
        return None if chosen is None else cls(chosen, score_networks(chosen.under(chosen.counts[0][0])))

    @property
    def decided_by(self) -> list[str]:
        """The kinds of decision that there are."""
        return self.lines[columns.DECISION].tolist()

    def by(self, decision: str) -> "_Shown":
        """The same by one kind of decision alone."""
        decided, lines = (one[one[columns.DECISION] == decision] for one in (self.chosen.decisions, self.lines))
        return _Shown(replace(self.chosen, decisions=decided), lines)

    @property
    def network(self) -> Network:
        """The one that is chosen in most folds."""
        return self.chosen.counts[0][0]

    @property
    def only(self) -> Treatment | None:
        """What is chosen, where that is the same in all folds."""
        return self.network.treatment if len(self.chosen.counts) == 1 else None

    @property
    def is_baseline(self) -> bool:
        """Whether no later iteration is chosen in any fold."""
        return not any(network.treatment.iteration for network, _ in self.chosen.counts)

    @property
    def name(self) -> str:
        name = network_name(self.network)
        if self.only:
            return name
        return f"{name}, in {self.chosen.counts[0][1]} of {counted(len(self.chosen.of_fold), 'fold')}"

    @property
    def validation(self) -> float:
        return float(self.lines[columns.VALIDATION_WA].iloc[0])

    def score(self, metric: str) -> Score:
        (decision,) = self.decided_by
        return index_scores(self.lines)[ScoreKey(self.network.treatment, self.network.corpus, decision, metric)]

    def difference(self, baseline: "_Shown | None", metric: str) -> Difference | None:
        """To the baseline; None where that is not known, and of the baseline itself."""
        if baseline is None or self.is_baseline:
            return None
        (decision,) = self.decided_by
        pair = Pair(self.network, baseline.network)
        line = comparison(pair, decision, self.chosen.decisions, baseline.chosen.decisions)
        return None if line is None else Difference.of(line | {columns.P_HOLM: line[columns.P]}, metric)

    def published(self, metric: str) -> tuple[str, PublishedValue] | None:
        """As in `published_rate`; None by mean pooling, under a split that the paper does not have, and where folds
        differ."""
        if self.only is None or columns.FOREST not in self.decided_by:
            return None
        if not stands_beside_paper(self.network.split, self.network.labels):
            return None
        return published_rate(self.only, self.network.corpus, metric)


def _choice(shown: _Shown, candidates: Collection[Network], known: Mapping[Network, pd.DataFrame]) -> str:
    """How it was chosen, in a sentence or two."""
    there = f"by WA of mean pooling on its validation utterances: {number(shown.validation, 2)}%, mean over folds"
    missing = sum(not is_complete(one) for one in known.values())
    if missing == len(known):
        best = f"Provisional, as no network has all its folds: the best so far in each fold, {there}."
    else:
        others = f"; {missing} more {'has' if missing == 1 else 'have'} folds missing" if missing else ""
        best = f"Best of {counted(len(candidates), 'network')} in each fold, {there}{others}."
    rest = [f"{network_name(network)} in {folds}" for network, folds in shown.chosen.counts[1:]]
    return f"{best} In the other folds: {', '.join(rest)}." if rest else best


def _rate(shown: _Shown, baseline: _Shown | None, metric: str) -> RateCard:
    score = shown.score(metric)
    published = shown.published(metric)
    difference = shown.difference(baseline, metric)
    return RateCard(
        metric=metric,
        value=f"{score.value:.2f}",
        interval=interval_text(*score.interval),
        by_speaker=speaker_interval_text(*score.beside),
        baseline="" if difference is None else f"{difference_text(difference)}{by_speaker_text(difference)}",
        paper="" if published is None else _paper_text(score, shown.network.treatment.backbone, *published),
    )


def _paper_text(score: Score, backbone: str, table: str, published: PublishedValue) -> str:
    named = f"({published.value:.2f} in Table {table}, {backbone_name(published.backbone)})"
    like = comparable(score, backbone, published)
    return f"{signed(score.value - published.value) if like else 'not comparable'} {named}"


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
    return min(found, key=lambda one: (one[1].backbone != treatment.backbone, bool(one[1].note)), default=None)


def _verdict(shown: _Shown, baseline: _Shown | None, difference: Difference | None) -> str:
    if shown.is_baseline:
        return "The baseline itself: no round of self-learning does better on validation utterances."
    if baseline is None:
        return "The baseline is not trained yet."
    if difference is None:
        return "This network and the baseline have no decided utterance in common yet."
    if difference.p_holm != difference.p_holm:
        return "No test against the baseline."
    if difference.p_holm >= LEVEL:
        return "Within chance of the baseline."
    p_speaker = p_text(difference.p_speaker)
    speakers = "" if difference.p_speaker < LEVEL else f", but not across speakers ({p_speaker})"
    return f"{'Better' if difference.value > 0 else 'Worse'} than the baseline beyond chance{speakers}."


def _rival_text(rival: _Shown, difference: Difference) -> str:
    return f"The best later one, {rival.name}: {difference_text(difference)} to it{by_speaker_text(difference)}."


def _notes(
    shown: _Shown, difference: Difference | None, candidates: Collection[Network], known: Collection[Network]
) -> Iterator[str]:
    score = shown.score("WA")
    leaky = sum(one.is_leaky for one in known)
    if any(one.is_leaky for one in candidates):
        yield "Every network here is of a leaky label source: its networks saw test labels."
    elif leaky:
        yield f"{counted(leaky, 'network')} of a leaky label source could not be chosen: test labels leak to them."
    if not score.complete:
        yield f"{score.folds_done} of {counted(score.folds, 'fold')}."
    if difference is not None and not difference.complete:
        yield "The difference to the baseline is of the utterances and training seeds that both have."
    about = setup_notes(shown.network.corpus, [score], published=shown.published("WA") is not None)
    yield from (note.text for note in about)


def _axis(shown: _Shown, baseline: _Shown | None, rival: _Shown | None) -> Axis:
    """What is chosen, what it is tested against, and the paper's value of it, on an axis of multiples of 5."""
    wa = shown.score("WA")
    rates: list[tuple[str, str, float, tuple[float, ...]]] = [(shown.name, "chosen", wa.value, wa.interval)]
    if baseline is not None and not shown.is_baseline:
        score = baseline.score("WA")
        rates.append((f"{chain_name(baseline.network.treatment)}, baseline", "baseline", score.value, score.interval))
    if rival is not None:
        later = rival.score("WA")
        rates.append((rival.name, "other", later.value, later.interval))
    published = shown.published("WA")
    if published is not None and comparable(wa, shown.network.treatment.backbone, published[1]):
        table, value = published
        label = f"Paper, Table {table}, {backbone_name(value.backbone)}"
        rates.append((label, "paper", value.value, ()))
    known = [each for _, _, rate, interval in rates for each in (rate, *interval) if each == each]
    first, last = 5 * int(min(known) // 5), 5 * -int(-max(known) // 5)
    first, last = (first - 5, last + 5) if first == last else (first, last)

    def place(value: float) -> float:
        return round(100 * (value - first) / (last - first), 2)

    bars = []
    for label, kind, rate, interval in rates:
        text = joined(f"{rate:.2f}", interval_text(*interval) if interval else "")
        bars.append(Bar(label, text, kind, place(rate), *(place(end) for end in interval if end == end)))
    step = 5 if last - first <= 25 else 10 if last - first <= 50 else 20
    ticks = tuple((place(tick), str(tick)) for tick in range(first, last + 1, step))
    return Axis(tuple(bars), ticks)
