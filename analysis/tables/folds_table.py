"""What training and test of each fold have in common, as a reviewer reads it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.tables.blocks import Block, Line
from analysis.tables.cells import NumberCell, TextCell
from analysis.tables.listings import Heading
from analysis.tables.render import aligned
from data_prep.fold_lists import tested_text
from data_prep.text import counted
from dsl.labels import labels_of
from dsl.overlaps import COLUMNS, FoldParts, Overlap, fold_parts
from sweep.planning.stages import ChainSpec, StageSpec

Folds = tuple[StageSpec, list[FoldParts]]
OF_A_FOLD = {  # column -> its heading
    "speaker": "speakers in both",
    "session": "sessions in both",
    "text": "texts in both",
    "sound": "same recording",
}
IN_WORDS = {
    "speaker": "by a speaker whom training or validation has, too",
    "session": "of a session that training or validation has, too",
    "text": "of a text that training or validation has, too",
    "sound": "the same recording as one of training or validation",
}
UNKNOWN = "not told"
SELDOM = ("session",)  # columns that few corpora have, and tables only where they do


def folds_of(chains: Iterable[ChainSpec], utterances: Mapping[str, pd.DataFrame]) -> list[Folds]:
    """For each corpus, split and training seed of `chains`, a stage of it and the parts of its folds in their order.

    `utterances` are those of each corpus, by its full name.
    """
    found: dict[tuple[Any, ...], tuple[StageSpec, dict[int, FoldParts]]] = {}
    for chain in chains:
        first = chain.last.at(0)
        split = (first.corpus, first.split, first.listed, first.folds, first.seed, first.labels)
        validation = first.training.validation_share, first.training.validation_by
        _, folds = found.setdefault((*split, *validation), (first, {}))
        if first.fold not in folds:
            own = utterances[first.corpus]
            folds[first.fold] = fold_parts(first, own.assign(label=labels_of(own, first.labels, first.seed)))
    return [(stage, [folds[fold] for fold in sorted(folds)]) for stage, folds in found.values()]


def title_of(stage: StageSpec) -> str:
    """`emodb-d47d293dc766, speaker split, 10 folds, seed 0`; with the digest of the list where they are listed."""
    listed = "" if stage.listed is None else f" (list {stage.listed.digest})"
    return f"{stage.corpus}, {stage.split_name} split{listed}, {counted(stage.folds, 'fold')}, seed {stage.seed}"


def folds_block(stage: StageSpec, parts: Sequence[FoldParts]) -> Block:
    """A line for each fold."""
    shown = [column for column in COLUMNS if column not in SELDOM or any(column in one.overlaps for one in parts)]
    counted_parts = ["training", "validation", "test", *(["unused"] if any(one.unused for one in parts) else [])]
    head = ["fold", *counted_parts, *(OF_A_FOLD[column] for column in shown)]
    lines = []
    for one in parts:
        counts = (NumberCell(getattr(one, part), grouped=True) for part in counted_parts)
        shared = (TextCell(_shared_text(one.overlaps.get(column))) for column in shown)
        lines.append(Line(str(one.fold), (*counts, *shared)))
    return Block(title_of(stage), tuple(map(Heading, head)), tuple(lines))


def _shared_text(found: Overlap | None) -> str:
    """`2 of 3`, or `2 of 3, 1 not told` where an utterance of the fold has no value."""
    if found is None:
        return UNKNOWN
    return f"{found.shared:,} of {found.values:,}" + (f", {found.untold:,} {UNKNOWN}" if found.untold else "")


def totals_of(parts: Sequence[FoldParts]) -> list[str]:
    """What all folds together come to: a sentence where not all utterances are tested, and one for each column that the
    corpus tells, with how many utterances have no value there."""
    tested, utterances = sum(one.test for one in parts), parts[0].utterances
    told = {column: [one.overlaps[column] for one in parts if column in one.overlaps] for column in COLUMNS}
    partly = [f"{tested_text(tested, utterances)}: all rates are of these alone"] if tested < utterances else []
    return partly + [
        f"{sum(one.utterances for one in found):,} of {counted(tested, 'test utterance')}: {IN_WORDS[column]}"
        + _untold_text(column, max(one.untold for one in found))
        for column, found in told.items()
        if found
    ]


def _untold_text(column: str, untold: int) -> str:
    """How many utterances have no value of a column, and so may share one that nobody knows."""
    what = "recording" if column == "sound" else column
    return f"; {what} of {counted(untold, 'utterance')} {UNKNOWN}" if untold else ""


def copies_text(stage: StageSpec, parts: Sequence[FoldParts]) -> str | None:
    """`..., 10 folds, seed 0: 3 test recordings of 2 folds have copies in training or validation`; None without any."""
    copied = [one.overlaps["sound"].utterances for one in parts if "sound" in one.overlaps]
    folds = sum(count > 0 for count in copied)
    if not folds:
        return None
    have = "has copies" if sum(copied) == 1 else "have copies"
    counts = f"{counted(sum(copied), 'test recording')} of {counted(folds, 'fold')}"
    return f"{title_of(stage)}: {counts} {have} in training or validation"


def folds_text(stage: StageSpec, parts: Sequence[FoldParts]) -> str:
    """The same as a table in Markdown, with its title and totals."""
    block = folds_block(stage, parts)
    table = aligned([[one.text for one in block.head], *(line.texts for line in block.lines)])
    return "\n".join([block.heading, "", table, *totals_of(parts)]) + "\n"
