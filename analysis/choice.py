"""Which network a sweep would be judged by: the one that recognises most validation utterances.

The test folds choose nothing. Networks of a leaky label source are chosen only where there is no other, and those with
folds missing only where none has all of them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from analysis import columns
from analysis.comparisons import Network
from analysis.layouts import Treatment
from analysis.listings import treatment_order
from analysis.tables import source_order
from dsl.labels import LEAKY_LABEL_SOURCES

_OF_NETWORK = (columns.CORPUS, columns.SPLIT, columns.LABELS, columns.LABEL_SOURCE)


class Candidate(NamedTuple):
    """A network, its WA on validation utterances in percent, and whether all its folds are done."""

    network: Network
    validation: float
    complete: bool

    @property
    def leaky(self) -> bool:
        return self.network.label_source in LEAKY_LABEL_SOURCES


def candidates(scores: pd.DataFrame) -> list[Candidate]:
    """Every network of `scores` (`score_networks`) with a known rate on validation utterances, once."""
    sources = source_order(scores[columns.LABEL_SOURCE])
    found: dict[Network, Candidate] = {}
    for line in scores[scores[columns.VALIDATION_WA].notna()].to_dict("records"):
        corpus, split, labels, source = (line[name] for name in _OF_NETWORK)
        network = Network(corpus, split, labels, source, Treatment.of(line))
        complete = line[columns.FOLDS_DONE] >= line[columns.FOLDS]
        found[network] = Candidate(network, float(line[columns.VALIDATION_WA]), bool(complete))

    def place(one: Candidate) -> tuple[int, object]:
        source = one.network.label_source
        return sources.index(source) if source else 0, treatment_order(one.network.treatment)

    return sorted(found.values(), key=place)


def choose(known: Sequence[Candidate]) -> Candidate | None:
    """The best on validation utterances of one corpus, split and kind of labels, the first of equals."""
    honest = [one for one in known if not one.leaky] or known
    eligible = [one for one in honest if one.complete] or honest
    return max(eligible, key=lambda one: one.validation, default=None)
