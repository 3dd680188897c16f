"""What a sweep found, in a few numbers: the network that validation chooses, beside its baseline and the paper."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis import columns
from analysis.choice import Candidate, candidates, choose
from analysis.claims import LEVEL
from analysis.comparisons import Network
from analysis.formats import interval_text, number, p_text, signed
from analysis.layouts import TABLE_2, TABLES_OF_ONE_BACKBONE, Treatment, backbone_name
from analysis.listings import chain_name
from analysis.networks import Block, Difference, blocks
from analysis.published import PublishedValue, index_published, load_published
from analysis.setup import stands_beside_paper
from analysis.tables import METRICS, Score, comparable, corpus_name, setup_notes


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
    """The chosen network of one corpus and split. `verdict` says in words what the test against the baseline says.

    Where that is the baseline itself, `rival` tells what the best later iteration is from it.
    """

    where: str
    network: str
    choice: str
    rates: tuple[Rate, ...]
    verdict: str
    rival: str
    tested: bool
    axis: Axis
    leaky: bool
    notes: tuple[str, ...]


def headlines(scores: pd.DataFrame, compared: pd.DataFrame) -> list[Headline]:
    """One for each corpus and split with labels as given; `scores` and `compared` as for `networks_listings`."""
    known = candidates(scores)
    found = []
    for block in blocks(scores, compared):
        own = [one for one in known if one.network[:3] == (block.corpus, block.split, block.labels)]
        chosen = choose(own)
        if block.labels == "given" and chosen is not None:
            later = choose([one for one in own if _is_later(one.network, chosen.network)])
            rival = None if later is None else _Shown(block, later.network)
            found.append(_headline(_Shown(block, chosen.network), rival, own, chosen))
    return found


def _is_later(network: Network, chosen: Network) -> bool:
    """Whether a network is a later iteration than the chosen one, where that is a baseline; of the same backbone."""
    iterations = chosen.treatment.iteration, network.treatment.iteration
    return iterations[0] == 0 < iterations[1] and network.baseline == chosen


@dataclass(frozen=True)
class _Shown:
    """A network and what is known of it."""

    block: Block
    network: Network

    @property
    def treatment(self) -> Treatment:
        return self.network.treatment

    @property
    def source(self) -> str:
        """A label source under which its scores are found."""
        return self.network.label_source or self.block.sources[0]

    @property
    def name(self) -> str:
        by = f", {self.network.label_source}" if self.network.label_source else ""
        return f"{chain_name(self.treatment)}, t = {self.treatment.iteration}{by}"

    def score(self, metric: str) -> Score:
        """By the random forest, or by mean pooling where there are too few utterances for one."""
        by_either = (
            self.block.score(self.source, self.treatment, decision, metric)
            for decision in (columns.FOREST, columns.MEAN_POOLING)
        )
        return next(score for score in by_either if score is not None)

    def difference(self, metric: str) -> Difference | None:
        """To the baseline."""
        return self.block.differences.get((self.source, self.treatment, metric))

    def published(self, metric: str) -> tuple[str, PublishedValue] | None:
        """As in `published_rate`; None under a split that the paper does not have."""
        if not stands_beside_paper(self.block.split, self.block.labels):
            return None
        return published_rate(self.treatment, self.block.corpus, metric)


def _headline(shown: _Shown, rival: _Shown | None, known: Sequence[Candidate], chosen: Candidate) -> Headline:
    """`rival` is the best of a baseline's later iterations, where a baseline is shown."""
    return Headline(
        where=f"{corpus_name(shown.block.corpus)}, {shown.block.split} split",
        network=shown.name,
        choice=_choice(known, chosen),
        rates=tuple(_rate(shown, metric) for metric in METRICS),
        verdict=_verdict(shown),
        rival=_rival_text(rival),
        tested=(rival or shown).difference("WA") is not None,
        axis=_axis(shown, rival),
        leaky=chosen.leaky,
        notes=tuple(_notes(shown, known, chosen)),
    )


def _choice(known: Sequence[Candidate], chosen: Candidate) -> str:
    """How it was chosen, in a sentence."""
    there = f"{number(chosen.validation, 2)} % WA on validation utterances"
    complete = sum(one.complete for one in known)
    if not complete:
        return f"Provisional, as no network has all its folds: the best so far with {there}."
    rest = len(known) - complete
    others = f"; {rest} more {'has' if rest == 1 else 'have'} folds missing" if rest else ""
    return f"Best of {complete} {'network' if complete == 1 else 'networks'} with {there}{others}."


def _rate(shown: _Shown, metric: str) -> Rate:
    score = shown.score(metric)
    published = shown.published(metric)
    return Rate(
        metric=metric,
        value=f"{score.value:.2f}",
        interval=interval_text(*score.interval).strip(),
        by_speaker=interval_text(*score.by_speaker).strip(),
        baseline=_difference_text(shown.difference(metric)),
        paper="" if published is None else _paper_text(score, shown.treatment.backbone, *published),
    )


def _difference_text(difference: Difference | None) -> str:
    if difference is None:
        return ""
    return f"{signed(difference.value)}{interval_text(difference.low, difference.high)}{p_text(difference.p)}"


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


def _verdict(shown: _Shown) -> str:
    difference = shown.difference("WA")
    if shown.treatment.iteration == 0:
        return "The baseline itself: no round of self-learning does better on validation utterances."
    if difference is None:
        return "The baseline is not trained yet."
    if difference.p != difference.p:
        return "No test against the baseline."
    if difference.p >= LEVEL:
        return "Within chance of the baseline."
    return f"{'Better' if difference.value > 0 else 'Worse'} than the baseline beyond chance."


def _rival_text(rival: _Shown | None) -> str:
    difference = None if rival is None else rival.difference("WA")
    if rival is None or difference is None:
        return ""
    return f"The best later network, {rival.name}: {_difference_text(difference)} to it."


def _notes(shown: _Shown, known: Sequence[Candidate], chosen: Candidate) -> Iterator[str]:
    score = shown.score("WA")
    leaky = sum(one.leaky for one in known)
    if chosen.leaky:
        yield "Every network here is of a leaky label source: its networks saw test labels."
    elif leaky:
        count = f"{leaky} {'network' if leaky == 1 else 'networks'}"
        yield f"{count} of a leaky label source could not be chosen: theirs saw test labels."
    if not score.complete:
        yield f"{score.folds_done} of {score.folds} folds."
    yield from setup_notes(shown.block.corpus, [score], published=shown.published("WA") is not None)


def _axis(shown: _Shown, rival: _Shown | None) -> Axis:
    """The chosen network, what it is tested against, and the paper's value of it, on an axis of multiples of 5."""
    wa = shown.score("WA")
    rates: list[tuple[str, str, float, tuple[float, float]]] = [(shown.name, "chosen", wa.value, wa.interval)]
    if shown.treatment.iteration:
        baseline = shown.treatment.at(0)
        score = shown.block.score(shown.source, baseline, columns.FOREST, "WA")
        if score is not None:
            rates.append((f"{chain_name(baseline)}, baseline", "baseline", score.value, score.interval))
    if rival is not None:
        later = rival.score("WA")
        rates.append((rival.name, "other", later.value, later.interval))
    published = shown.published("WA")
    if published is not None and comparable(wa, shown.treatment.backbone, published[1]):
        table, value = published
        label = f"Paper, Table {table}, {backbone_name(value.backbone)}"
        rates.append((label, "paper", value.value, (float("nan"), float("nan"))))
    known = [each for _, _, value, interval in rates for each in (value, *interval) if each == each]
    first, last = 5 * int(min(known) // 5), 5 * -int(-max(known) // 5)
    first, last = (first - 5, last + 5) if first == last else (first, last)

    def place(value: float) -> float:
        return round(100 * (value - first) / (last - first), 2)

    bars = tuple(
        Bar(label, f"{value:.2f}{interval_text(*interval)}", kind, place(value), *map(place, _known(interval)))
        for label, kind, value, interval in rates
    )
    step = 5 if last - first <= 25 else 10 if last - first <= 50 else 20
    ticks = tuple((place(tick), str(tick)) for tick in range(first, last + 1, step))
    return Axis(bars, ticks)


def _known(interval: tuple[float, float]) -> tuple[float, ...]:
    return interval if interval[0] == interval[0] else ()
