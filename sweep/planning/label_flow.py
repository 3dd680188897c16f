"""Which labels can reach a network, through the labels it learns from and through the networks that relabel for it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from data_prep.arrays import Bools
from data_prep.shards import PreparedCorpus
from dsl.labels import LEAKY_LABEL_SOURCES, labels_of
from dsl.splits import parts_of
from sweep.planning.stages import ChainSpec, StageSpec


@dataclass(frozen=True)
class Leak:
    """Of how many of the `tested` utterances of a corpus the labels reach the networks that predict them."""

    corpus: str
    split: str
    label_source: str
    reaching: int
    tested: int

    @property
    def text(self) -> str:
        """The leak in a sentence, for a notice."""
        return (
            f"{self.label_source}, {self.corpus}, {self.split} split: the labels of {self.reaching:,} of "
            f"{self.tested:,} test utterances reach the networks that predict them"
        )


def leaks_of(chains: Iterable[ChainSpec], prepared: Iterable[PreparedCorpus]) -> list[Leak]:
    """What leaks by the label sources of `chains`: for each corpus and split, over the folds that are there. Backbones,
    rules and seeds do not matter to that, so one chain is looked at for each."""
    one_of: dict[tuple[str, str, str], dict[int, ChainSpec]] = {}
    for chain in chains:
        last = chain.last
        if last.label_source in LEAKY_LABEL_SOURCES and last.iteration:
            folds = one_of.setdefault((last.corpus, last.split_name, str(last.label_source)), {})
            folds.setdefault(last.fold, chain)
    found = labels_reaching([chain for folds in one_of.values() for chain in folds.values()], prepared)
    counts = {asked: [found[chain.last.key] for chain in folds.values()] for asked, folds in one_of.items()}
    return [Leak(*asked, *map(sum, zip(*numbers, strict=True))) for asked, numbers in counts.items()]


def labels_reaching(chains: Iterable[ChainSpec], prepared: Iterable[PreparedCorpus]) -> dict[str, tuple[int, int]]:
    """The key of each chain's last stage -> of how many of its test utterances labels can reach it, and how many there
    are. Nothing is trained."""
    utterances = {one.name: one.utterances() for one in prepared}

    @cache
    def learnt_and_tested(stage: StageSpec) -> tuple[Bools, Bools]:
        """Of the training that `stage` is of its fold, or inner fold: bool [U] each."""
        own = utterances[stage.corpus]
        labelled = own.assign(label=labels_of(own, stage.labels, stage.seed))
        parts = parts_of(stage, labelled, stage.inner_fold)
        return parts.training | parts.validation, parts.tested

    @cache
    def reaching(stage: StageSpec) -> Bools:
        reached, _ = learnt_and_tested(stage.at(0, stage.inner_fold))
        for one in relabelled_by(stage):
            reached = reached | reaching(one)
        return reached

    def counted(last: StageSpec) -> tuple[int, int]:
        _, tested = learnt_and_tested(last.at(0))
        return int((reaching(last) & tested).sum()), int(tested.sum())

    return {chain.last.key: counted(chain.last) for chain in chains}


def relabelled_by(stage: StageSpec) -> Iterator[StageSpec]:
    """The stages whose predictions relabel what `stage` learns from."""
    for iteration in range(stage.iteration):
        if stage.label_source == "global_oof":
            yield from stage.at(iteration).out_of_fold
        elif stage.label_source == "cross_fit":
            yield from (stage.at(iteration, inner) for inner in range(stage.inner_folds or 0))
        else:
            yield stage.at(iteration)
