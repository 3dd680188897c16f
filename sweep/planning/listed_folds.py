"""Folds that a grid takes from a list: a file, or a column of the prepared corpora."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from data_prep.fold_files import fold_list, fold_list_of_column, lines_of_corpus, read_fold_file
from data_prep.fold_lists import FoldListError
from data_prep.shards import PreparedCorpus
from data_prep.text import counted, some
from sweep.planning.grid_fields import FoldsFrom, Halving
from sweep.planning.products import CorpusRequest
from sweep.planning.stages import ChainSpec


def with_fold_lists(
    folds: FoldsFrom, prepared: Mapping[CorpusRequest, PreparedCorpus]
) -> tuple[dict[CorpusRequest, PreparedCorpus], list[str]]:
    """The prepared corpora with the lists of their folds, and what is wrong with these."""
    lines = None if folds.file is None else read_fold_file(Path(folds.file))
    several = len({one.corpus for one in prepared.values()}) > 1
    found, problems = {}, []
    for request, one in prepared.items():
        try:
            if lines is None:
                listed = fold_list_of_column(folds.name, one.utterances(), str(folds.column))
            else:
                own = lines_of_corpus(lines, (request.name, one.corpus, one.name), alone=not several)
                listed = fold_list(folds.name, own, one.utterances(), one.corpus)
            found[request] = replace(one, fold_list=listed)
        except FoldListError as error:
            problems += [f"folds: {folds.name}, {one.corpus}: {problem}" for problem in str(error).splitlines()]
    return found, list(dict.fromkeys(problems))


def partly_tested(prepared: Iterable[PreparedCorpus]) -> list[str]:
    """A notice for each list of folds that tests only a part of its corpus."""
    lists = [(one.corpus, one.fold_list) for one in prepared if one.fold_list is not None]
    told = (f"{corpus}, {found.name}: {found.tested_text}" for corpus, found in lists if found.untested)
    return [f"{one}; all rates are of these alone" for one in dict.fromkeys(told)]


def listed_problems(
    chains: Iterable[ChainSpec], prepared: Iterable[PreparedCorpus], halving: Halving | None
) -> list[str]:
    """Lists of too few folds to halve the chains' settings, and lists that test too little for their label source."""
    listed = {one.name: (one.corpus, one.fold_list) for one in prepared if one.fold_list is not None}
    problems = [
        f"scheduler.halving.first_folds: {halving.first_folds}, but {found.name} has {counted(found.folds, 'fold')} of "
        f"{corpus}: nothing is left to be stopped; write fewer"
        for corpus, found in listed.values()
        if halving is not None and halving.first_folds >= found.folds
    ]
    relabelled = dict.fromkeys(one.last.corpus for one in chains if one.last.label_source == "global_oof")
    for corpus, found in (listed[name] for name in relabelled if name in listed):
        if found.untested:
            problems.append(
                f"label_sources: global_oof relabels by networks that test, and {found.name} has no test of "
                f"{some(found.untested)} of {corpus}; use in_fold or cross_fit"
            )
    return problems
