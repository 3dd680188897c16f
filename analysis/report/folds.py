"""What training and test of each fold have in common, for a report."""

from collections.abc import Iterator, Sequence

from analysis.tables.blocks import Block
from analysis.tables.folds_table import folds_block, folds_of, totals_of
from sweep.planning.stages import ChainSpec
from sweep.storage.store import Store


def folds_shown(chains: Sequence[ChainSpec], store: Store) -> Iterator[tuple[Block, list[str]]]:
    """A line for each fold, and what they come to: of the first training seed of each corpus and split, of the corpora
    that the store holds."""
    held = {name: store.read_corpus(name)[1] for name in store.corpora()}
    known = [one for one in chains if one.last.corpus in held]
    first: dict[tuple[str, str], int] = {}
    for chain in known:
        first.setdefault((chain.last.corpus, chain.last.split_name), chain.last.seed)
    shown = [one for one in known if first[one.last.corpus, one.last.split_name] == one.last.seed]
    for stage, parts in folds_of(shown, held):
        yield folds_block(stage, parts), totals_of(parts)
