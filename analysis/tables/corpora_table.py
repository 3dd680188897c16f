"""The paper's Table I beside what a store holds."""

from collections.abc import Sequence

from analysis.identity import corpus_name, corpus_order
from analysis.paper.layouts import RowLabel
from analysis.tables.captions import Caption
from analysis.tables.cells import QuantityCell
from analysis.tables.listings import Group, Heading, Listing, ListingRow
from data_prep.corpora import known_name
from data_prep.corpora.overview import TABLE_1_HEADINGS, Quantity, held_name, held_row, paper_rows
from sweep.planning.stages import ChainSpec
from sweep.storage.store import Store


def corpora_listing(store: Store, chains: Sequence[ChainSpec]) -> Listing:
    """The paper's Table I with the segments of §VI, each line followed by what the store holds of that corpus.

    Of the store's corpora those of `chains`. Raises StoreError where one is not there.
    """
    held = {name: store.read_corpus(name) for name in sorted({chain.last.corpus for chain in chains})}
    published = paper_rows()
    rows = []
    for corpus in corpus_order([*published, *(known_name(about) for about, _ in held.values())]):
        if corpus in published:
            rows.append(_corpus_row(corpus, f"{corpus_name(corpus)}, paper", published[corpus]))
        for name, (about, utterances) in held.items():
            if known_name(about) == corpus:
                rows.append(_corpus_row(corpus, held_name(name, about), held_row(about, utterances)))
    caption = Caption("The paper's corpora, with the segments of its §VI, and those of this store")
    group = Group("", tuple(map(Heading, TABLE_1_HEADINGS)))
    return Listing("Table I", caption, "Corpus", (group,), tuple(rows), of_paper=True)


def _corpus_row(corpus: str, label: str, quantities: Sequence[Quantity]) -> ListingRow:
    about = {"table": "I", "row": label, "corpus": corpus}
    entries = [
        about | {"metric": heading, "value": one.text}
        for heading, one in zip(TABLE_1_HEADINGS, quantities, strict=True)
    ]
    return ListingRow(RowLabel(label), {"": [QuantityCell(*one) for one in quantities]}, tuple(entries))
