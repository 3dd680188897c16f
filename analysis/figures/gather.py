"""From a store and the scores of a grid to every figure for which there is data."""

from collections.abc import Iterator, Sequence

import pandas as pd

from analysis import columns
from analysis.figures import score_figures, speaker_figures, stage_figures
from analysis.figures.cells import shown_cells
from analysis.figures.save import Drawing
from analysis.figures.settings_figures import settings_figures
from analysis.scoring.correction import label_correction
from analysis.scoring.ranking import BySetting
from analysis.scoring.scores import score_networks
from analysis.scoring.stored import corpus_names
from data_prep.errors import UserError
from sweep.planning.stages import ChainSpec
from sweep.storage.store import Store


def figures_of(
    store: Store,
    chains: Sequence[ChainSpec],
    decisions: pd.DataFrame,
    utterances: Sequence[str] = (),
    by_setting: BySetting | None = None,
) -> Iterator[Drawing]:
    """Every figure of a grid for which there is data, one after the other.

    `decisions` is what `decide` makes of `store` and `chains`. `utterances` are the ids to draw contours along; by
    default the longest one of each corpus that was tested. `by_setting` has all settings of a grid that has several.
    Raises UserError where nothing is trained, and for ids that none of the corpora has.
    """
    if decisions.empty:
        raise UserError(f"store {store.uri} has no training of the grid to draw; train with: ser-sweep run")
    scores = score_networks(decisions)
    known = sorted(corpus_names(store, chains).items())
    names = {full: name for full, name in known if (scores[columns.CORPUS] == name).any()}
    corpora = {full: store.read_corpus(full) for full in names}
    classes = {names[full]: list(about["classes"]) for full, (about, _) in corpora.items()}
    cells = shown_cells([chain for chain in chains if chain.last.corpus in corpora], names)
    stage_figures.check_ids(store, cells, corpora, utterances)
    yield from score_figures.class_recall(scores, classes)
    yield from score_figures.alpha_curves(scores)
    yield from score_figures.label_sources(scores, cells, classes)
    yield from stage_figures.label_corrections(label_correction(store, chains))
    yield from stage_figures.contours(store, cells, corpora, utterances)
    yield from score_figures.confusions(scores, decisions, classes)
    yield from speaker_figures.speakers(scores, decisions, classes)
    yield from speaker_figures.reliabilities(scores, decisions)
    yield from stage_figures.learning_curves(store, cells)
    if by_setting is not None:
        segments = {names[full]: held["segments"].to_numpy() for full, (_, held) in corpora.items()}
        yield from settings_figures(by_setting, segments)
