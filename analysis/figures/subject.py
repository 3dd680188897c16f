"""What a figure is of: the methods it shows, their lines of scores, and what a reader must know about them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd

from analysis import columns
from analysis.identity import (
    GIVEN,
    Condition,
    backbone_name,
    conditions,
    corpus_name,
    labels_name,
    source_name,
)
from analysis.paper.methods import Method
from analysis.scoring.setup import PAPER_SPLIT
from analysis.tables.captions import decided_by
from data_prep.text import plain

SETTING = "setting"  # a column of lines: what tells their setting from others
LISTED = 4  # cells with missing folds that a note names
INTERVALS = tuple(name for metric in columns.PAPER_METRICS for name in columns.RATES[metric].interval)


class Subject(NamedTuple):
    """The condition that the lines of a figure have in common, its label source empty where there is only iteration 0.

    `beside_others` says whether figures of other splits are made, too.
    """

    condition: Condition
    beside_others: bool = False

    @property
    def position(self) -> tuple[str, str, str, str, str]:
        """For sorting."""
        corpus, split, labels, source, backbone = self.condition
        return corpus, backbone, split, labels, source

    def of_source(self, label_source: str) -> "Subject":
        """The same of another label source."""
        return self._replace(condition=self.condition._replace(label_source=label_source))

    @property
    def title(self) -> str:
        """`Emo-DB, DenseNet22, label source global_oof (leaky)`, and the split where that is not the paper's, or not
        the only one."""
        split = self.condition.split
        return self._joined(split if self.beside_others or split != PAPER_SPLIT else "")

    def sentences(self, notes: Iterable[str] = ()) -> str:
        """The title with the split, whatever it is, and the `notes`, as a caption ends."""
        return " ".join([f"{self._joined(self.condition.split)}.", *notes])

    def _joined(self, split: str) -> str:
        corpus, _, _, source, backbone = self.condition
        told = f"label source {source_name(source)}" if source else ""
        names = (corpus_name(corpus), backbone_name(backbone), told, split and f"split {split}")
        return plain(", ".join(filter(None, names)))

    @property
    def parts(self) -> tuple[str, ...]:
        """What a file name tells of it."""
        corpus, split, labels, source, backbone = self.condition
        return tuple(filter(None, (corpus, backbone, split, source, "" if labels == GIVEN else labels)))


def subjects_of(lines: pd.DataFrame) -> Iterator[tuple[Subject, pd.DataFrame]]:
    """Each subject and its lines; those of iteration 0 are in every label source's."""
    several = lines[columns.SPLIT].nunique() > 1
    for condition, own in conditions(lines, by=(columns.CORPUS, columns.BACKBONE, columns.SPLIT, columns.LABELS)):
        yield Subject(condition, several), own


def notes_on(lines: pd.DataFrame) -> list[str]:
    """What a reader must know about `lines` beside their title: a part of a corpus, permuted labels, missing folds.

    Lines of several settings tell theirs in the column SETTING.
    """
    notes = []
    if lines[columns.PARTIAL].any():
        notes.append("A part of the corpus.")
    for labels in sorted(set(lines[columns.LABELS]) - {GIVEN}):
        notes.append(f"Labels {labels_name(labels)}: anything above chance is a leak.")
    return notes + _folds_note(lines)


def _folds_note(lines: pd.DataFrame) -> list[str]:
    counts = list(zip(lines[columns.FOLDS_DONE], lines[columns.FOLDS], strict=True))
    if all(done >= folds for done, folds in counts):
        return []
    if len(set(counts)) == 1:
        return ["{} of {} folds.".format(*counts[0])]
    missing = dict.fromkeys(
        f"{Method.of(line).name} at t = {line[columns.ITERATION]}{_setting_text(line)} has "
        f"{line[columns.FOLDS_DONE]} of {line[columns.FOLDS]}"
        for line in lines.to_dict("records")
        if line[columns.FOLDS_DONE] < line[columns.FOLDS]
    )
    more = [f"{len(missing) - LISTED} more are incomplete"] if len(missing) > LISTED else []
    return [f"Folds missing: {'; '.join([*list(missing)[:LISTED], *more])}."]


def _setting_text(line: Mapping[Any, Any]) -> str:
    return f" ({line[SETTING]})" if line.get(SETTING) else ""


def deciders(lines: pd.DataFrame) -> str:
    """Who decided in `lines`, as a caption and a title say it."""
    return decided_by(set(lines[columns.DECISION]))
