"""What tables say beside their rows: conditions, footnotes, how networks were trained, and what tells tables apart."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis import columns
from analysis.identity import GIVEN, Condition, backbone_name, conditions, corpus_name, labels_name, source_name
from analysis.scoring.formats import joined, raised
from analysis.scoring.intervals import BESIDE, DEFAULT, KINDS, by_speaker_words
from analysis.scoring.scores import Score, index_scores
from analysis.scoring.setup import Setup, joint_setup
from data_prep.text import counted
from dsl.splits import GROUPED_BY

RATES, DIFFERENCES = "rates", "differences"

# What each kind of table explains below its subject: a template each, of whole sentences.

_MEAN_AND_F1 = "Mean is by mean pooling{mean} F1 is macro-averaged."
INTERVALS = "{intervals}"  # of rates, in a template
_RATES = f"Rates are in percent, {{told}} {INTERVALS}. {_MEAN_AND_F1}"
_BASELINE = (
    "− baseline is the forest's rate minus that of iteration 0 of the same backbone, with a [{paired}] and, for WA, p "
    "of a sign-flip test over utterances."
)
_BY_SPEAKER = "By speaker: {by_speaker}for WA p of a sign-flip test over speakers, not adjusted."
# What rates the intervals (`told`), or the spreads and intervals (`told_in_full`), are of, and what Mean is; with and
# without a forest.
_BY = {
    True: {
        "told": "the forest's with",
        "told_in_full": "the forest's with ± its standard deviation over forest seeds, a second ± over training seeds "
        "if there are several, and",
        "mean": ", without a forest.",
    },
    False: {
        "told": "those by mean pooling with",
        "told_in_full": "those by mean pooling with",
        "mean": "; there is no forest.",
    },
}
OF_PAPER_TABLE = (
    "{rows} {backbone} {conditions} "
    f"Rates are in percent, {{told_in_full}} {INTERVALS}. {_MEAN_AND_F1} {{difference}}"
)
OF_NETWORKS = f"{{conditions}} {_RATES}"
OF_CHOSEN_BY_VALIDATION = (
    "{conditions} In each fold, and for each training seed, the iteration t of a chain is chosen that has the highest "
    "WA of mean pooling on the validation utterances, or the earliest of equals; 0 is one of them. t (folds) says how "
    f"many folds choose it. WA validation is the mean of what is chosen. {_RATES}"
)
OF_CHOSEN_BY_TEST = (
    "{conditions} Of each chain the iteration t is chosen that has the highest WA of the forest on the test folds, or "
    f"the earliest of equals; 0 is one of them. It is the same in all folds. {_RATES}"
)
# What follows in a table that has differences to the baseline.
NETWORKS_BESIDE_BASELINE = (
    f" {_BASELINE} Holm's method adjusts p for all networks of the label source. The claims show the same test's p "
    f"unadjusted. {_BY_SPEAKER}"
)
CHAINS_BESIDE_BASELINE = f" {_BASELINE} Holm's method adjusts p for all chains of the label source. {_BY_SPEAKER}"
OF_SOURCES_COMPARED = (
    "{conditions} The rate by {decision} with the first label source minus that with the second, in points, with a "
    "[{paired}] and, for WA, p of a sign-flip test over utterances. Holm's method adjusts p for the whole table. "
    f"{_BY_SPEAKER}"
)
OF_SETTINGS_COMPARED = (
    "{conditions} Each setting of the grid beside the reference, the one that the other tables show: the rate by "
    "{decision} minus that of the same network at the reference, in points, with a [{paired}] and, for WA, p of a "
    "sign-flip test over utterances. Changed says in what a setting differs from the reference. Holm's method adjusts "
    f"p for the whole table. {_BY_SPEAKER}"
)
REFERENCE = "Reference: {setting}."
INCOMPLETE_DIFFERENCES = "Differences marked (incomplete) are of the utterances that both have, with folds missing."
_OF_SHOWN = "No DSL is iteration 0; the other methods are at iteration 1."
OF_SPEAKERS = (
    "{conditions} {speakers} Rates in percent on the utterances of each speaker by {decision}, means over seeds, WA "
    f"with [Wilson's 95% interval]. {_OF_SHOWN} The mean over speakers gives each the same weight, ± the standard "
    "deviation over them."
)
OF_CLASSES_BY_SPEAKER = (
    "{conditions} {speakers} Recall in percent of each class by speaker, decided by {decision}, means over seeds, with "
    "the number of utterances in parentheses."
)
OF_CALIBRATION = (
    "{conditions} Of decisions by mean pooling, in percent and points. The confidence is the mean probability of the "
    "decided class over the segments; − WA is its mean minus WA. ECE is the expected calibration error: the mean "
    "distance of confidence and share that is right over 15 bins of equal width, weighted by their decisions, ± its "
    "standard deviation over training seeds if there are several. The adaptive ECE has 15 bins with as many decisions "
    "each. ECE if calibrated is what these confidences would come to by chance if each were right as often as it says."
)
OF_TARGETS = (
    "{conditions} Training segments whose most likely target is their true class, in percent, ± standard deviation "
    "over folds and training seeds. Inherited targets are the labels of the utterances, those of iteration 0."
)
BACKBONE = "Backbone: {backbone}."
BACKBONE_OF_PAPER = "Backbone: {backbone}. The paper's columns are of {paper}."
BACKBONE_OF_OTHERS = "Backbone: {backbone}. The paper's columns are of {paper}: no difference to them is shown."
DIFFERENCE_TO_PAPER = "− paper is the forest's rate minus the published one, if all folds are done."
_SETUP = "{corpus}: {setup}."
_SETUP_OF_OTHERS = "{corpus}: {setup}. Not the paper's set-up: no difference to it is shown."


@dataclass(frozen=True)
class Caption:
    """What a table is of, as a sentence without its full stop, and what there is to explain."""

    subject: str
    explanation: str = ""

    @classmethod
    def filled(
        cls, subject: str, template: str, intervals: str = DEFAULT, forests: bool = True, **parts: str
    ) -> "Caption":
        """With a template of this module, whose `parts` may be empty; `intervals` is of which kind those are that it
        tells of, one of KINDS, and `forests` says whether any rate is by one."""
        told = template.format(**interval_parts(intervals), **_BY[forests], **parts)
        return cls(subject, " ".join(told.split()))

    @property
    def text(self) -> str:
        """Subject and explanation, as a text of whole sentences."""
        return joined(f"{self.subject}.", self.explanation)


def interval_parts(intervals: str) -> dict[str, str]:
    """What templates say of intervals of a kind, and of those over speakers beside them, which are always by a
    bootstrap."""
    kind = KINDS[intervals]
    others = KINDS[BESIDE].words(several=True) if kind.by_t else "over whole speakers"
    both = "" if intervals == BESIDE else f" and {{{others}}}"
    return {
        "intervals": f"[{kind.words(several=True)}]{both}",
        "paired": kind.words(paired=True),
        "by_speaker": by_speaker_words(intervals),
    }


@dataclass(frozen=True)
class Footnote:
    """A note below a table; `mark` is the letter that refers to it, empty for a note to the whole table.

    A note on incomplete `cells`, RATES or DIFFERENCES, concerns the parts of a table that have such a cell, one on a
    corpus not the parts of other corpora, and any other note all of them.
    """

    mark: str
    text: str
    corpus: str = ""
    cells: str = ""

    @property
    def marked(self) -> str:
        """The text after its mark."""
        return joined(raised(self.mark), self.text)


def decided_by(kinds: Collection[str]) -> str:
    """Who decided, of one or both kinds: `random forest or, where there is none, mean pooling`."""
    return " or, where there is none, ".join(name for kind, name in columns.DECISION_NAMES.items() if kind in kinds)


def conditions_text(condition: Condition) -> str:
    """What a caption says of where labels come from and how utterances are split; no source where there is none."""
    _, split, labels, label_source, _ = condition
    sentences = []
    if labels != GIVEN:
        sentences.append(
            f"Labels are {labels_name(labels)}: nothing is comparable with the paper, and more than chance is a leak."
        )
    source = f"Label source: {source_name(label_source, ': saw test labels')}; split" if label_source else "Split"
    sentences.append(f"{source}: {split}{_forest_folds_note(split)}.")
    return " ".join(sentences)


def _forest_folds_note(split: str) -> str:
    """After the name of a split, what it keeps from the forests; nothing of the paper's, which keeps nothing."""
    if split not in GROUPED_BY:
        return " (folds as listed; each has a random forest of its own, which learns from none of its test utterances)"
    left_out = " or ".join(f"no {column}" for column in GROUPED_BY[split])
    return (
        f" (each fold has a random forest of its own, which learns from {left_out} that it decides on)"
        if left_out
        else ""
    )


def told_apart(tables: Sequence[tuple[str, Condition]], marked: bool = True) -> list[tuple[str, ...]]:
    """What tells each table, of a title and condition, from the others of its title.

    Leaky label sources are `marked` as such.
    """
    alike: dict[str, list[Condition]] = {}
    for title, condition in tables:
        alike.setdefault(title, []).append(condition)
    return [_unlike(condition, alike[title], marked) for title, condition in tables]


def _unlike(condition: Condition, others: Sequence[Condition], marked: bool) -> tuple[str, ...]:
    """The fields of a condition that not all of `others` have, in words."""
    corpus, split, labels, source, backbone = condition
    words = {
        "corpus": corpus_name(corpus),
        "backbone": backbone_name(backbone),
        "label_source": f"label source {source_name(source) if marked else source}",
        "split": f"{split} split",
        "labels": f"labels {labels_name(labels)}",
    }
    own = condition._asdict()
    return tuple(
        told for name, told in words.items() if own[name] and any(own[name] != getattr(one, name) for one in others)
    )


# How networks were trained


def score_footnotes(scores: Iterable[Score]) -> list[Footnote]:
    """What is to be said of scores that rest on a part of the folds."""
    if all(score.complete for score in scores):
        return []
    text = "Cells marked (done/all folds) are from incomplete folds, summed over training seeds."
    return [Footnote("", text, cells=RATES)]


def difference_footnotes(lines: pd.DataFrame) -> list[Footnote]:
    """What is to be said of differences, lines of `comparison`, that rest on a part of the folds."""
    return [] if lines[columns.COMPLETE].all() else [Footnote("", INCOMPLETE_DIFFERENCES, cells=DIFFERENCES)]


def setup_footnotes(corpus: str, trained: Iterable[tuple[Setup, int]], published: bool = False) -> list[Footnote]:
    """A sentence for each set-up of networks on a corpus, with the numbers of training seeds it was used with."""
    seeds: dict[Setup, list[int]] = {}
    for setup, number in trained:
        seeds.setdefault(setup, []).append(number)
    notes = []
    for setup, own in seeds.items():
        template = _SETUP_OF_OTHERS if published and setup.departures else _SETUP
        text = template.format(corpus=corpus_name(corpus), setup=setup.text(own, published))
        notes.append(Footnote("", text, corpus))
    return notes


def setup_notes(
    corpus: str, scores: Sequence[Score], published: bool = False, fields: Collection[str] = ()
) -> list[Footnote]:
    """How the networks of `scores` on a corpus were trained and tested, and a warning where that is a part of it.

    Beside `published` values each setting that is not the paper's is told with the paper's. Where `fields` stand in
    columns of their own, the rest is told once for all.
    """
    setups = [score.setup for score in scores]
    if fields:
        setups = [joint_setup(setups, fields)] * len(scores)
    notes = setup_footnotes(corpus, zip(setups, (score.seeds for score in scores), strict=True), published)
    if any(score.partial for score in scores):
        utterances = counted(max(score.utterances for score in scores), "utterance")
        text = f"{corpus_name(corpus)}: only part of the corpus, {utterances}: not comparable."
        notes.append(Footnote("", text, corpus))
    return notes


def footnotes_on(corpus: str, lines: pd.DataFrame) -> tuple[Footnote, ...]:
    """The notes on folds and set-ups that networks need; `lines` are theirs of `score_networks`, on one corpus."""
    scores = [score for _, own in conditions(lines) for score in index_scores(own).values()]
    return (*score_footnotes(scores), *setup_notes(corpus, scores))
