"""Whether corpora can be split as chains ask for it: every class in enough utterances, speakers and texts."""

from collections.abc import Hashable, Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from data_prep.shards import PreparedCorpus
from data_prep.text import counted
from dsl.labels import labels_of
from dsl.splits import impossible_parts, kept_apart, kept_whole
from sweep.planning.stages import ChainSpec, StageSpec


def split_problems(chains: Iterable[ChainSpec], prepared: Iterable[PreparedCorpus]) -> list[str]:
    """What keeps folds, inner folds and validation parts of `chains` from being made: all that differ are tried, and of
    what is the matter with several seeds, folds and inner folds the first is told."""
    corpora = {one.name: (list(one.classes), one.utterances()) for one in prepared}
    tried: dict[Hashable, StageSpec] = {}
    for last in sorted((chain.last for chain in chains), key=lambda one: one.inner_folds is None):
        tried.setdefault((last.corpus, last.split, last.training, last.seed), last)  # with inner folds where there are
    problems: dict[tuple[str, str], str] = {}
    for last in tried.values():
        for where, problem, remedy in _problems_of_split(last, *corpora[last.corpus]):
            problems.setdefault((where, remedy), f"{where}: {problem}; {remedy}")
    return list(problems.values())


def _problems_of_split(
    last: StageSpec, classes: Sequence[str], utterances: pd.DataFrame
) -> Iterator[tuple[str, str, str]]:
    """What keeps a chain's cross-validation from being made of a corpus: what is asked for, what is there, a remedy."""
    by = last.training.validation_by if last.training.validation_share else None
    asked = {
        "splits": last.split_name,
        "folds": last.folds,
        "inner_folds": last.inner_folds,
        "training.validation_by": by,
    }
    where = ", ".join([last.corpus, *(f"{name}: {value}" for name, value in asked.items() if value is not None)])
    apart = kept_apart(last, utterances)
    for column in dict.fromkeys([*apart, kept_whole(apart, by or "split")]):
        unknown = 0 if column is None else (utterances.get(column, pd.Series([""] * len(utterances))) == "").sum()
        if unknown:
            yield where, f"{unknown} of {len(utterances)} utterances have no {column}", "use another split"
            return
    if last.labels == "permuted_by_speaker" and last.listed is not None and "speaker" not in apart:
        yield where, f"labels: {last.labels} can be learnt, where a speaker is in training and test", "list other folds"
    relabelled = utterances.assign(label=labels_of(utterances, last.labels, last.seed))
    for one in impossible_parts(last, relabelled):
        yield where, f"{one.whose} {_counted(relabelled[one.among], classes)}: {one.cause}", one.remedy


def _counted(utterances: pd.DataFrame, classes: Sequence[str]) -> str:
    """`24 utterances by 2 speakers, of 3 texts (anger 12, neutral 12)`."""
    of_class = np.bincount(utterances["label"], minlength=len(classes))
    texts = utterances.loc[utterances["text"] != "", "text"].nunique()
    words = [
        f"{counted(len(utterances), 'utterance')} by {counted(utterances['speaker'].nunique(), 'speaker')}",
        *([f"of {counted(texts, 'text')}"] if texts else []),
    ]
    return f"{', '.join(words)} ({', '.join(f'{name} {count}' for name, count in zip(classes, of_class, strict=True))})"
