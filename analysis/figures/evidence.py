"""What a figure is of: the methods it shows, their lines of scores, and what a reader must know about them."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pandas as pd

from analysis import columns
from analysis.figures.style import plain
from analysis.paper.layouts import BEST_ALPHA, backbone_name
from analysis.paper.setup import PAPER_SPLIT
from analysis.tables.paper_tables import corpus_name, labels_name
from dsl.labels import BASELINE, LEAKY_LABEL_SOURCES

PAPER_RULES = (BASELINE, "bdsl", "wdsl", "gsl", "hdl")  # as Figures 7-9 order them
LISTED = 4  # cells with missing folds that a note names
INTERVALS = (columns.WA_LOW, columns.WA_HIGH, columns.UA_LOW, columns.UA_HIGH)


class Method(NamedTuple):
    """An update rule and its alpha, as text that is empty where it takes none."""

    rule: str
    alpha: str = ""

    @property
    def name(self) -> str:
        if self.rule == BASELINE:
            return "No DSL"
        rule = self.rule.upper() if self.rule in PAPER_RULES else self.rule
        return f"{rule} (α = {self.alpha})" if self.alpha else rule

    @property
    def parts(self) -> tuple[str, ...]:
        """What a file name tells of it."""
        return (self.rule, self.alpha) if self.alpha else (self.rule,)

    @property
    def position(self) -> tuple[int, str, float | str]:
        """For sorting: the paper's rules come first."""
        known = self.rule in PAPER_RULES
        return PAPER_RULES.index(self.rule) if known else len(PAPER_RULES), self.rule, self.alpha


class Setting(NamedTuple):
    """What the lines of a figure have in common. `label_source` is empty where there is only iteration 0.

    `beside_others` says whether figures of other splits are made, too.
    """

    corpus: str
    backbone: str
    split: str
    labels: str
    label_source: str
    beside_others: bool = False

    @property
    def title(self) -> str:
        """`Emo-DB, DenseNet22, label source global_oof (leaky)`, and the split where that is not the paper's, or not
        the only one."""
        return self._joined(self.split if self.beside_others or self.split != PAPER_SPLIT else "")

    @property
    def sentence(self) -> str:
        """The title and the split, whatever it is."""
        return f"{self._joined(self.split)}."

    def _joined(self, split: str) -> str:
        source = f"label source {source_name(self.label_source)}" if self.label_source else ""
        names = (corpus_name(self.corpus), backbone_name(self.backbone), source, split and f"split {split}")
        return plain(", ".join(filter(None, names)))

    @property
    def parts(self) -> tuple[str, ...]:
        """What a file name tells of it."""
        labels = "" if self.labels == "given" else self.labels
        return tuple(filter(None, (self.corpus, self.backbone, self.split, self.label_source, labels)))


def source_name(label_source: str) -> str:
    """A label source, and that it is leaky where it is."""
    return f"{label_source} (leaky)" if label_source in LEAKY_LABEL_SOURCES else label_source


def leaky_last(label_source: str) -> tuple[bool, str]:
    """For sorting label sources."""
    return label_source in LEAKY_LABEL_SOURCES, label_source


def shown_methods(methods: Iterable[Method]) -> list[Method]:
    """One method a rule, in the paper's order: of several alphas the one nearest to the paper's best.

    Chosen by name alone: to show what scores best on the test folds would be to choose on them.
    """
    chosen: dict[str, Method] = {}
    for method in sorted(set(methods), key=_distance):
        chosen.setdefault(method.rule, method)
    return sorted(chosen.values(), key=lambda method: method.position)


def _distance(method: Method) -> tuple[float, str]:
    """How far the method's last alpha is from the paper's best."""
    last = method.alpha.rpartition("→")[2]
    try:
        return abs(float(last or BEST_ALPHA) - float(BEST_ALPHA)), method.alpha
    except ValueError:  # an iteration without an alpha
        return 1.0, method.alpha


def settings_of(lines: pd.DataFrame) -> Iterator[tuple[Setting, pd.DataFrame]]:
    """Each setting and its lines; those of iteration 0, which no label source has touched, are in every source's."""
    shared = [columns.CORPUS, columns.BACKBONE, columns.SPLIT, columns.LABELS]
    several = lines[columns.SPLIT].nunique() > 1
    for (corpus, backbone, split, labels), group in lines.groupby(shared, sort=True):
        sources = set(group[columns.LABEL_SOURCE]) - {""} or {""}
        for source in sorted(sources, key=leaky_last):
            yield (
                Setting(corpus, backbone, split, labels, source, several),
                group[group[columns.LABEL_SOURCE].isin([source, ""])],
            )


def notes_on(lines: pd.DataFrame) -> list[str]:
    """What a reader must know about `lines` beside their title: a part of a corpus, permuted labels, missing folds."""
    notes = []
    if lines[columns.PARTIAL].any():
        notes.append("A part of the corpus.")
    for labels in sorted(set(lines[columns.LABELS]) - {"given"}):
        notes.append(f"Labels {labels_name(labels)}: anything above chance is a leak.")
    return notes + _folds_note(lines)


def _folds_note(lines: pd.DataFrame) -> list[str]:
    counts = list(zip(lines[columns.FOLDS_DONE], lines[columns.FOLDS], strict=True))
    if all(done >= folds for done, folds in counts):
        return []
    if len(set(counts)) == 1:
        return ["{} of {} folds.".format(*counts[0])]
    missing = dict.fromkeys(
        f"{Method(line[columns.RULE], line[columns.ALPHA]).name} at t = {line[columns.ITERATION]} has "
        f"{line[columns.FOLDS_DONE]} of {line[columns.FOLDS]}"
        for line in lines.to_dict("records")
        if line[columns.FOLDS_DONE] < line[columns.FOLDS]
    )
    more = [f"{len(missing) - LISTED} more have less than all"] if len(missing) > LISTED else []
    return [f"Folds missing: {'; '.join([*list(missing)[:LISTED], *more])}."]
