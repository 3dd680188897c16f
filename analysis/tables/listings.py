"""Tables that the paper does not have, or not in this form, as text: `render` writes them in each format.

Here are the paper's Table I beside what a store holds, and how many labels are right; `networks` has those of
networks' rates.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis import columns
from analysis.paper.layouts import BACKBONE_NAMES, RowLabel, Treatment, backbone_name
from analysis.scoring.formats import MISSING, deviation_text
from analysis.tables.paper_tables import (
    OF_EVERYTHING,
    About,
    Footnote,
    conditions,
    corpus_name,
    paper_order,
    setup_record,
    setup_texts,
    source_name,
    source_order,
)
from data_prep.corpora import known_name
from data_prep.corpora.overview import TABLE_1_HEADINGS, held_name, held_row, paper_rows
from dsl.labels import BASELINE, LEAKY_LABEL_SOURCES
from sweep.planning.stages import ChainSpec
from sweep.storage.store import Store

Record = dict[str, Any]


@dataclass(frozen=True)
class Group:
    """Columns that belong together: those of a label source, or all of a listing, and then without a name."""

    name: str
    headings: tuple[str, ...]


@dataclass(frozen=True)
class ListingRow:
    """One line: the texts of each group by its name, and the same for machines.

    A group that is missing has nothing to say of this row. `records` have keys of `analysis.tables.render.CSV_COLUMNS`.
    """

    label: RowLabel
    texts: Mapping[str, Sequence[str]]
    records: tuple[Record, ...]
    backbone: str = ""


@dataclass(frozen=True)
class Listing:
    """A table; `title` is what comes before its caption, as `Table I` does."""

    title: str
    caption: str
    row_heading: str
    groups: tuple[Group, ...]
    rows: tuple[ListingRow, ...]
    footnotes: tuple[Footnote, ...] = ()
    about: About = OF_EVERYTHING


def treatment_order(treatment: Treatment) -> tuple[int, str, bool, str, str, int]:
    """By backbone as in the paper, then iteration 0, then by rule, alpha and iteration."""
    backbone, rule, alpha, iteration = treatment
    names = list(BACKBONE_NAMES)
    place = names.index(backbone) if backbone in names else len(names)
    return place, backbone, rule != BASELINE, rule, alpha, iteration


def chain_name(treatment: Treatment) -> str:
    """Backbone, rule and alpha: `DenseNet22 wdsl 0.2`, or just the backbone without a rule."""
    rule = "" if treatment.rule == BASELINE else treatment.rule
    return " ".join(part for part in (backbone_name(treatment.backbone), rule, treatment.alpha) if part)


def last_of_chains(treatments: Collection[Treatment]) -> list[Treatment]:
    """The networks after iteration 0 that no other one goes on from, in order."""
    later = {one for one in treatments if one.iteration > 0}
    earlier = {one.at(iteration) for one in later for iteration in range(1, one.iteration)}
    return sorted(later - earlier, key=treatment_order)


# The paper's Table I


def corpora_listing(store: Store, chains: Sequence[ChainSpec]) -> Listing:
    """The paper's Table I with the segments of §VI, each line followed by what the store holds of that corpus.

    Of the store's corpora those of `chains`. Raises StoreError where one is not there.
    """
    held = {name: store.read_corpus(name) for name in sorted({chain.last.corpus for chain in chains})}
    published = paper_rows()
    rows = []
    for corpus in paper_order([*published, *(known_name(about) for about, _ in held.values())]):
        if corpus in published:
            rows.append(_corpus_row(corpus, f"{corpus_name(corpus)}, paper", published[corpus]))
        for name, (about, utterances) in held.items():
            if known_name(about) == corpus:
                rows.append(_corpus_row(corpus, held_name(name, about), held_row(about, utterances)))
    caption = "The paper's corpora, with the segments of its §VI, and those of this store."
    return Listing("Table I", caption, "Corpus", (Group("", TABLE_1_HEADINGS),), tuple(rows))


def _corpus_row(corpus: str, label: str, texts: Sequence[str]) -> ListingRow:
    about = {"table": "I", "row": label, "corpus": corpus}
    records = [
        about | {"metric": heading, "value": text} for heading, text in zip(TABLE_1_HEADINGS, texts, strict=True)
    ]
    return ListingRow(RowLabel(label), {"": texts}, tuple(records))


# Labels that are right

CORRECTION = "Targets that are right"


def correction_listings(corrected: pd.DataFrame) -> list[Listing]:
    """How many training targets are right, by iteration; `corrected` is what `label_correction` returns.

    One listing for each corpus, split and kind of labels.
    """
    keys = [columns.CORPUS, columns.SPLIT, columns.LABELS]
    found = [
        _correction_listing(corpus, split, labels, lines) for (corpus, split, labels), lines in corrected.groupby(keys)
    ]
    return [listing for listing in found if listing.rows]


def _correction_listing(corpus: str, split: str, labels: str, lines: pd.DataFrame) -> Listing:
    found = {(line[columns.LABEL_SOURCE], Treatment.of(line)): line for line in lines.to_dict("records")}
    sources = source_order(lines[columns.LABEL_SOURCE])
    iterations = range(1, int(lines[columns.ITERATION].max()) + 1)
    rows = []
    for chain in last_of_chains({treatment for _, treatment in found}):
        texts: dict[str, list[str]] = {}
        records: list[Record] = []
        for source in sources:
            if not any((source, chain.at(iteration)) in found for iteration in iterations[: chain.iteration]):
                continue
            steps = [("", chain.at(0)), *((source, chain.at(iteration)) for iteration in iterations[: chain.iteration])]
            shares = [found.get(step) for step in steps]
            texts[source] = [*map(_share_text, shares), *[MISSING] * (len(iterations) - chain.iteration)]
            records += [_share_record(chain, source, share) for share in shares if share is not None]
        rows.append(ListingRow(RowLabel(chain_name(chain)), texts, tuple(records), chain.backbone))
    caption = (
        f"{corpus_name(corpus)}. {conditions('', split, labels)} Training segments whose most likely target is their "
        "true class, in percent, ± standard deviation over folds and training seeds; inherited: the labels of the "
        "utterances, the targets of iteration 0."
    )
    headings = ("inherited", *(f"t = {iteration}" for iteration in iterations))
    groups = tuple(Group(source, headings) for source in sources)
    trained = zip(lines[columns.SETUP], lines[columns.SEEDS], strict=True)
    notes = tuple(Footnote("", text) for text in setup_texts(corpus, trained))
    of = About.named(corpus=corpus, split=split, labels=labels)
    return Listing(CORRECTION, caption, "Chain", groups, tuple(rows), notes, of)


def _share_text(line: Mapping[Any, Any] | None) -> str:
    if line is None:
        return MISSING
    done, folds = line[columns.FOLDS_DONE], line[columns.FOLDS]
    part = "" if done >= folds else f" ({done}/{folds} folds)"
    return f"{line[columns.TARGETS_RIGHT]:.2f}{deviation_text(line[columns.TARGETS_RIGHT_SD])}{part}"


def _share_record(chain: Treatment, source: str, line: Mapping[Any, Any]) -> Record:
    deviation = line[columns.TARGETS_RIGHT_SD]
    return {
        "table": CORRECTION,
        "labels": line[columns.LABELS],
        "backbone": chain.backbone,
        "label_source": source,
        "leaky": source in LEAKY_LABEL_SOURCES,
        "split": line[columns.SPLIT],
        "row": chain_name(chain),
        "iteration": line[columns.ITERATION],
        "corpus": line[columns.CORPUS],
        "metric": columns.TARGETS_RIGHT,
        "value": round(line[columns.TARGETS_RIGHT], 4),
        "value_sd": None if deviation != deviation else round(deviation, 4),
        "folds_done": line[columns.FOLDS_DONE],
        "folds": line[columns.FOLDS],
        "partial": line[columns.PARTIAL],
        **setup_record(line[columns.SETUP], line[columns.SEEDS]),
    }


def group_heading(group: Group) -> str:
    """A group's name as people read it: a label source is marked where it is leaky."""
    return source_name(group.name)
