"""Everything that `ser-sweep tables` shows of a grid, in order."""

from collections.abc import Sequence

import pandas as pd

from analysis import columns
from analysis.scoring.comparisons import comparisons
from analysis.scoring.correction import label_correction
from analysis.scoring.scores import score_networks
from analysis.tables.calibration_table import calibration_listings
from analysis.tables.corpora_table import corpora_listing
from analysis.tables.correction_table import correction_listings
from analysis.tables.label_source_tables import sources_listings
from analysis.tables.listings import Listing
from analysis.tables.networks import chosen_listings, networks_listings
from analysis.tables.paper_tables import Table, build_tables
from analysis.tables.speaker_tables import speaker_listings
from sweep.planning.stages import ChainSpec
from sweep.storage.store import Store


def collect_tables(
    store: Store, chains: Sequence[ChainSpec], decisions: pd.DataFrame, test_chosen: bool = False
) -> list[Table | Listing]:
    """The paper's Tables I to V, every network, label sources, what validation chooses, results by speaker,
    calibration, and how many labels are right.

    `decisions` is what `decide` returns. With `test_chosen` also the iterations that the test folds would choose.
    """
    return tables_of(store, chains, decisions, score_networks(decisions), comparisons(decisions), test_chosen)


def tables_of(
    store: Store,
    chains: Sequence[ChainSpec],
    decisions: pd.DataFrame,
    scores: pd.DataFrame,
    compared: pd.DataFrame,
    test_chosen: bool = False,
) -> list[Table | Listing]:
    """The same where `score_networks` and `comparisons` of the decisions are known."""
    return [
        corpora_listing(store, chains),
        *build_tables(scores, scores[columns.CORPUS].unique()),
        *networks_listings(scores, compared),
        *sources_listings(decisions),
        *chosen_listings(decisions),
        *(chosen_listings(decisions, by_test=True) if test_chosen else []),
        *speaker_listings(decisions, scores),
        *calibration_listings(decisions, scores),
        *correction_listings(label_correction(store, chains)),
    ]
