"""Which tables a grid comes to, and which stages each of them needs, before anything is trained."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

from analysis.identity import Condition, Treatment, corpus_order, has_source, source_order
from analysis.paper.layouts import layouts_of
from analysis.paper.methods import Method, shown_methods
from analysis.scoring.stored import network_of
from analysis.tables.calibration_table import CALIBRATION
from analysis.tables.captions import told_apart
from analysis.tables.correction_table import CORRECTION
from analysis.tables.label_source_tables import SOURCES_COMPARED
from analysis.tables.networks import ALL_NETWORKS, CHOSEN_BY_VALIDATION
from analysis.tables.speaker_tables import BY_SPEAKER, CLASSES_BY_SPEAKER
from sweep.planning.stages import ChainSpec, StageSpec


class _Tested(NamedTuple):
    """A stage that is tested, and the chain that trains it."""

    stage: StageSpec
    chain: ChainSpec

    @property
    def treatment(self) -> Treatment:
        return Treatment(self.stage.backbone, self.stage.rule, self.stage.alpha, self.stage.iteration)

    @property
    def keys(self) -> set[str]:
        """Those of the stage, and of all that it is made from."""
        stages = self.chain.stages
        return {one.key for one in stages[: stages.index(self.stage) + 1]}


def stages_by_table(
    chains: Sequence[ChainSpec], names: Mapping[str, str], with_truth: Collection[str] = ()
) -> dict[str, set[str]]:
    """Heading of each table that `ser-sweep tables` has once a grid is trained, but Table I -> keys of the stages that
    its rows show, and of those they are made from.

    `names` are those of corpora in scores, by their full names; of `with_truth` the true class of each segment is
    known. A stage in several tables, such as iteration 0, is trained once.
    """
    tested = _tested(chains)
    tables = [*_paper_tables(tested), *_listings(tested, names, with_truth)]
    apart = told_apart([(title, condition) for title, condition, _ in tables])
    return {
        ", ".join([title, *own]): set().union(*(one.keys for one in shown))
        for (title, _, shown), own in zip(tables, apart, strict=True)
    }


def stages_compared(shown: Sequence[ChainSpec], others: Sequence[ChainSpec], names: Mapping[str, str]) -> set[str]:
    """Keys of the stages that the networks of the setting `shown` are compared by with those of other settings, as
    `stages_by_table` has them; empty where no network and training seed is in both."""
    own, theirs = (
        [(one, (network_of(one.stage, names), one.stage.seed)) for one in _tested(chains)] for chains in (shown, others)
    )
    both = {network for _, network in own} & {network for _, network in theirs}
    return set().union(*(one.keys for one, network in (*own, *theirs) if network in both))


_Table = tuple[str, Condition, list[_Tested]]


def _tested(chains: Iterable[ChainSpec]) -> list[_Tested]:
    return [_Tested(stage, chain) for chain in chains for stage in chain.stages if stage.inner_fold is None]


def _conditions(tested: Iterable[_Tested]) -> list[tuple[str, str]]:
    return sorted({(one.stage.split_name, one.stage.labels) for one in tested})


def _paper_tables(tested: Sequence[_Tested]) -> Iterator[_Table]:
    for split, labels in _conditions(tested):
        alike = [one for one in tested if (one.stage.split_name, one.stage.labels) == (split, labels)]
        for source in source_order(one.stage.label_source or "" for one in alike):
            own = [one for one in alike if has_source(one.stage.label_source, source)]
            for layout, backbone, plans in layouts_of({one.treatment for one in own}):
                shown = {plan.treatment for plan in plans}
                condition = Condition("", split, labels, source, backbone or "")
                yield layout.title, condition, [one for one in own if one.treatment in shown]


def _listings(tested: Sequence[_Tested], names: Mapping[str, str], with_truth: Collection[str]) -> Iterator[_Table]:
    with_iteration_0 = (ALL_NETWORKS, BY_SPEAKER, CLASSES_BY_SPEAKER, CALIBRATION)  # which is enough for them
    titles = (*with_iteration_0, SOURCES_COMPARED, CHOSEN_BY_VALIDATION, CORRECTION)
    corpora = corpus_order(names[one.stage.corpus] for one in tested)
    for title, (split, labels), corpus in product(titles, _conditions(tested), corpora):
        condition = Condition(corpus, split, labels)
        alike = [one for one in tested if condition == _condition(one.stage, names)]
        later = [one for one in alike if one.stage.iteration]
        if title == SOURCES_COMPARED:
            used = {(one.treatment, one.stage.label_source) for one in later}
            alike = [one for one in later if sum(treatment == one.treatment for treatment, _ in used) > 1]
        if title in (BY_SPEAKER, CLASSES_BY_SPEAKER):
            alike = list(_of_shown_methods(alike))
        if title == CORRECTION:
            alike = [one for one in alike if one.stage.corpus in with_truth]
        if alike and (later or title in with_iteration_0):
            yield title, condition, alike


def _of_shown_methods(tested: Sequence[_Tested]) -> Iterator[_Tested]:
    """Iteration 0, and iteration 1 of a method for each rule, of each backbone and label source."""
    early = [one for one in tested if one.stage.iteration <= 1]
    groups: dict[tuple[str, str | None], list[_Tested]] = {}
    for one in early:
        groups.setdefault((one.stage.backbone, one.stage.label_source if one.stage.iteration else None), []).append(one)
    for own in groups.values():
        methods = {Method(one.stage.rule, one.stage.alpha) for one in own}
        shown = set(shown_methods({one: float(one.alpha) if one.alpha else None for one in methods}))
        yield from (one for one in own if Method(one.stage.rule, one.stage.alpha) in shown)


def _condition(stage: StageSpec, names: Mapping[str, str]) -> Condition:
    return Condition(names[stage.corpus], stage.split_name, stage.labels)
