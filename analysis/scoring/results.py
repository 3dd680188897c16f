"""Stage store -> decisions on utterances, from the store alone."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import version
from itertools import chain, combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis import columns
from analysis.frames import checked
from analysis.scoring.cores import on_all_cores
from analysis.scoring.intervals import DEFAULT
from analysis.scoring.setup import setup_of
from analysis.scoring.stored import about_network, cells_of, corpus_names, record_of
from data_prep.arrays import Bools, Floats, Ints
from data_prep.attributes import IN_RESULTS
from data_prep.checked import read_frame
from data_prep.files import canonical_hash
from data_prep.progress import Progress, no_progress
from data_prep.shards import RESTORE
from dsl.labels import labels_of
from dsl.settings import ChainSettings
from dsl.splits import may_train
from dsl.utterances import ForestFold, forest_decisions, mean_pooled, second_cross_validation, utterance_features
from sweep.planning.stages import KEY_LENGTH, ChainSpec, StageSpec
from sweep.storage.predictions import Predictions
from sweep.storage.store import Store, StoreError

Records = dict[StageSpec, dict[str, Any]]  # the stages of a cell that are in the store, and what stage.json says
Corpora = Callable[[str], tuple[dict[str, Any], pd.DataFrame]]  # full name -> manifest and utterances

FOREST_FOLDS = 10  # "another 10-fold stratified cross-validation" (§VIII-A), of the paper's split
FOREST_SEEDS = 10
SECOND_CROSS_VALIDATED = "stratified"  # the split under which that is made
# Raise when the code decides otherwise on the same predictions. Under every split, version 1 had the second
# cross-validation of the paper's; since version 3, the others have a forest for each fold's own network.
DECISION_VERSION = {"stratified": 1}
DECISION_VERSION_ELSE = 3
MOST_LOST = 3  # stages of a cell whose loss decisions tell of


def decide(
    store: Store,
    chains: Sequence[ChainSpec],
    forest_seeds: int = FOREST_SEEDS,
    progress: Progress = no_progress,
    intervals: str = DEFAULT,
) -> pd.DataFrame:
    """One row for each cell, decision, forest seed and utterance: what was said and what was decided.

    A cell is what folds together: everything that identifies a stage but its fold. The columns are
    `columns.DECISION_COLUMNS`, and those of IN_RESULTS that a corpus tells. Folds whose stage is not in the store, or
    damaged there, are left out and show in `folds_done`. Decisions are kept in the store and made once. What is made of
    them has `intervals` of that kind, one of `analysis.scoring.intervals.KINDS`. Raises StoreError where the store has
    stages of a corpus but not the corpus.
    """
    short = corpus_names(store, chains)
    cells = cells_of(chains)
    seeds = Counter(replace(stages[0], fold=0, seed=0) for stages in cells)
    corpora = cache(store.read_corpus)
    frames, abouts = [], []
    done_cells = _done(cells, partial(record_of, store))
    for records, decided, done in _decided(store, corpora, done_cells, forest_seeds, progress):
        if decided is None:
            continue
        cell = next(iter(records))
        manifest, utterances = corpora(cell.corpus)
        fold_of = decided.drop_duplicates(columns.UTTERANCE).set_index(columns.UTTERANCE)[columns.FOLD]
        about_cell = {
            **about_network(manifest, cell, short),
            columns.SEED: cell.seed,
            columns.SEEDS: seeds[replace(cell, fold=0, seed=0)],
            columns.FOLDS_DONE: len(done),
            columns.FOLDS: cell.folds,
            columns.SETUP: setup_of(cell, manifest, utterances),
            columns.INTERVALS: intervals,
            columns.TRAINING_RATIO: training_ratio(done, utterances, fold_of),
        }
        shares = {stage.fold: records[stage].get("metrics", {}).get("validation_wa") for stage in done}
        percent = 100 * decided[columns.FOLD].map(shares).astype(float)
        frames.append(_with_attributes(decided.assign(**{columns.VALIDATION_WA: percent}), utterances))
        abouts.append(about_cell)
    if not frames:
        return pd.DataFrame(columns=list(columns.DECISION_COLUMNS))
    cell_of = np.repeat(np.arange(len(frames)), [len(decided) for decided in frames])
    about = pd.DataFrame(abouts).iloc[cell_of].reset_index(drop=True)
    made = pd.concat([pd.concat(frames, ignore_index=True), about], axis=1)
    known = [name for name in IN_RESULTS.values() if name in made]
    made = made[[*columns.DECISION_COLUMNS, *known]].fillna(dict.fromkeys(known, ""))
    return checked(made, "decisions", columns.DECISION_COLUMNS)


def training_ratio(folds: Iterable[ChainSettings], utterances: pd.DataFrame, fold_of: "pd.Series[int]") -> float:
    """How many utterances the network of a fold may learn from, the mean over `folds`, for each one that they test
    together; `fold_of` tells the fold that tests each of these, by id."""
    tested = utterances["id"].map(fold_of).to_numpy()
    trained = np.mean([may_train(one, utterances, tested == one.fold).sum() for one in folds])
    return float(trained / len(fold_of))


def _with_attributes(decided: pd.DataFrame, utterances: pd.DataFrame) -> pd.DataFrame:
    """`decided`, with what the corpus tells of each utterance beside its speaker."""
    of = utterances.set_index("id")
    told = {column: name for name, column in IN_RESULTS.items() if name in of}
    return decided.assign(**{column: decided[columns.UTTERANCE].map(of[name]) for column, name in told.items()})


# From predictions to decisions


def _done(cells: list[list[StageSpec]], read: Callable[[StageSpec], dict[str, Any] | None]) -> list[Records]:
    """The stages of each cell of which `read` finds a record, with it; cells without one are left out."""
    found = [{stage: record for stage in stages if (record := read(stage)) is not None} for stages in cells]
    return [records for records in found if records]


def _decided(
    store: Store, corpora: Corpora, cells: Sequence[Records], forest_seeds: int, progress: Progress
) -> Iterator[tuple[Records, pd.DataFrame | None, list[StageSpec]]]:
    """Each of `cells` with what `_decide_cell` says of it."""
    utterances = [corpora(next(iter(records)).corpus)[1] for records in cells]
    decided_cells = on_all_cores(partial(_decide_cell, store, forest_seeds), cells, utterances)
    for number, (records, decided) in enumerate(zip(cells, decided_cells, strict=True), start=1):
        progress("decisions", number, len(cells))
        yield records, *decided


def _decide_cell(
    store: Store, forest_seeds: int, records: Records, utterances: pd.DataFrame
) -> tuple[pd.DataFrame | None, list[StageSpec]]:
    """The decisions of one cell, and the stages they are from; None where the predictions of all are damaged.

    Decisions that the store holds are of predictions that were whole when they were made. Where they were made before
    confidences were kept, these are added.
    """
    if store.results_only:
        return _kept_results(store, forest_seeds, records), list(records)
    key = _decision_key(records, forest_seeds)
    kept = _read_decisions(store, key)
    if kept is not None and columns.CONFIDENCE in kept:
        return kept, list(records)
    read = {stage: store.read_predictions(stage.key, record) for stage, record in records.items()}
    found = {stage: predictions for stage, predictions in read.items() if predictions is not None}
    if kept is not None:
        decided, done = _with_confidence(kept, found, utterances), list(records)
    elif found:
        cell = next(iter(found))
        utterances = utterances.assign(label=labels_of(utterances, cell.labels, cell.seed))
        decided, done = pd.concat(_decisions(found, utterances, forest_seeds), ignore_index=True), list(found)
    else:
        return None, []
    if len(found) == len(records):
        store.write_decisions(key, decided.to_parquet(index=False))
    return decided, done


def keep_results(store: Store, chains: Sequence[ChainSpec], kept: Store, progress: Progress = no_progress) -> set[str]:
    """Make `kept` a store of the results of `chains` without their predictions; the keys of their stages.

    `kept` is a new store, of which `decide` comes to the same decisions as of `store`. Raises StoreError for a stage
    whose predictions are damaged.
    """
    records = {record["key"]: record for record in store.records()}
    cells = _done(cells_of(chains), lambda stage: records.get(stage.key))
    kept.create_results_only({"scikit-learn": version("scikit-learn")})
    for stages, decided, whole in _decided(store, cache(store.read_corpus), cells, FOREST_SEEDS, progress):
        if decided is None or len(whole) < len(stages):
            like = next(iter(stages)).label
            raise StoreError(f"a stage like {like} is damaged; repair the store with: ser-sweep store verify --repair")
        kept.write_decisions(_results_key(stages), decided.to_parquet(index=False))
    keys = {stage.key for chain in chains for stage in chain.stages} & records.keys()
    store.copy_results(sorted(keys), {next(iter(stages)).corpus for stages in cells}, kept)
    return keys


def _kept_results(store: Store, forest_seeds: int, records: Records) -> pd.DataFrame:
    """The decisions of a cell in a store of results. Raises StoreError where they are not there."""
    decided = _read_decisions(store, _results_key(records))
    if decided is None:
        raise StoreError(
            f"store {store.uri}: the decisions on {next(iter(records)).label} (decisions/{_results_key(records)}) are "
            "missing, of stages that are lost, or made by another version of the method: read them with that version, "
            f"or {RESTORE}"
        )
    if columns.CONFIDENCE not in decided:  # exported before confidences were kept
        decided = decided.assign(**{columns.CONFIDENCE: np.nan})
    pooled = decided[columns.DECISION] == columns.MEAN_POOLING
    return decided[pooled | (decided[columns.FOREST_SEED] < forest_seeds)].reset_index(drop=True)


def lost_results(store: Store, chains: Sequence[ChainSpec]) -> dict[str, str]:
    """What is missing in a store of results, by its path: a stage.json where decisions are there that are of its stage
    too, and decisions where there are none that could be theirs.

    Of a cell, up to MOST_LOST stages are found in this way; of more, the decisions are told when they are asked for."""
    unused = store.decision_keys()
    incomplete = []
    for stages in cells_of(chains):
        there = [stage for stage in stages if record_of(store, stage) is not None]
        if there and _results_key(there) in unused:
            unused.discard(_results_key(there))
        else:
            incomplete.append((stages, there))
    lost: dict[str, str] = {}
    for stages, there in incomplete:
        absent = [stage for stage in stages if stage not in there] if unused else []
        for more in chain.from_iterable(combinations(absent, size) for size in range(1, MOST_LOST + 1)):
            if _results_key(stage for stage in stages if stage in there or stage in more) in unused:
                lost |= {f"stages/{stage.key}/stage.json": "missing" for stage in more}
                break
        if there and not unused:
            lost[f"decisions/{_results_key(there)}"] = "missing"
    return lost


def _results_key(stages: Iterable[StageSpec]) -> str:
    """What decisions go by where nothing can be decided anew: whatever scikit-learn is there, they are those that were
    made."""
    listed = list(stages)
    return canonical_hash({"method": _method(listed[0]), "stages": [stage.key for stage in listed]}, KEY_LENGTH)


def _decision_key(records: Records, forest_seeds: int) -> str:
    """The hash of everything that decisions follow from."""
    identity = {
        "method": _method(next(iter(records))),
        "scikit-learn": version("scikit-learn"),
        "forest_seeds": forest_seeds,
        "stages": [[stage.key, record["predictions"].get("sha256")] for stage, record in records.items()],
    }
    return canonical_hash(identity, KEY_LENGTH)


def _method(stage: StageSpec) -> int:
    return DECISION_VERSION.get(stage.split, DECISION_VERSION_ELSE)


def usable_decisions(records: Iterable[dict[str, Any]], chains: Iterable[ChainSpec]) -> set[str]:
    """The keys under which `decide` keeps decisions on `chains`, with forests and without.

    `records` are those of the store: the keys change when another stage of a cell is done.
    """
    known = {record["key"]: record for record in records}
    done = _done(cells_of(chains), lambda stage: known.get(stage.key))
    return {_decision_key(stages, forest_seeds) for stages in done for forest_seeds in (0, FOREST_SEEDS)}


def _read_decisions(store: Store, key: str) -> pd.DataFrame | None:
    content = store.read_decisions(key)
    try:
        frame = None if content is None else read_frame(content)
    except ValueError:
        return None
    known = frame is not None and set(frame) - {columns.CONFIDENCE} == set(columns.DECIDED_COLUMNS)
    return frame if known else None


class _Tested(NamedTuple):
    """The utterances that folds test, as positions [U] in order, with what is known of each: the fold [U], the features
    of its segments' predictions [U, F] and, as the first of these, the mean probability of each class [U, K]."""

    utterance: Ints
    fold: Ints
    features: Floats
    mean: Floats
    known: pd.DataFrame

    @classmethod
    def of(cls, folds: dict[StageSpec, Predictions], utterances: pd.DataFrame) -> "_Tested":
        q = np.concatenate([predictions.q[predictions.test] for predictions in folds.values()])
        utterance = np.concatenate([predictions.utterance[predictions.test] for predictions in folds.values()])
        fold = np.repeat([stage.fold for stage in folds], [predictions.test.sum() for predictions in folds.values()])
        tested, first, position = np.unique(utterance, return_index=True, return_inverse=True)
        features = utterance_features(q, position)
        return cls(tested, fold[first], features, features[:, : q.shape[1]], utterances.iloc[tested])

    @property
    def confidence(self) -> Floats:
        """The highest mean probability of each utterance [U]."""
        highest: Floats = self.mean.max(axis=1)
        return highest


def _with_confidence(
    decided: pd.DataFrame, folds: dict[StageSpec, Predictions], utterances: pd.DataFrame
) -> pd.DataFrame:
    """Decisions that were kept without the confidence of mean pooling, with it; NaN for utterances of other folds."""
    if not folds:
        return decided.assign(**{columns.CONFIDENCE: np.nan})
    tested = _Tested.of(folds, utterances)
    of_utterance = pd.Series(tested.confidence, tested.known["id"].to_numpy())
    pooled = decided[columns.DECISION] == columns.MEAN_POOLING
    return decided.assign(**{columns.CONFIDENCE: decided[columns.UTTERANCE].map(of_utterance).where(pooled)})


def _decisions(
    folds: dict[StageSpec, Predictions], utterances: pd.DataFrame, forest_seeds: int
) -> Iterable[pd.DataFrame]:
    """A frame of decisions on the test utterances of `folds` for mean pooling and for each forest seed."""
    tested = _Tested.of(folds, utterances)
    label = tested.known["label"].to_numpy()
    classes = tested.mean.shape[1]
    decided = [(columns.MEAN_POOLING, 0, mean_pooled(tested.features, classes), tested.confidence)]
    if next(iter(folds)).split != SECOND_CROSS_VALIDATED:
        own = [_own_network_fold(*one, utterances, tested.utterance) for one in folds.items() if forest_seeds]
        learnt = [own] * forest_seeds
    else:
        learnt = [second_cross_validation(tested.features, label, seed, FOREST_FOLDS) for seed in range(forest_seeds)]
    if learnt and all(learnt):  # with a few folds done, there may not be enough for a second cross-validation
        unknown = np.full(len(label), np.nan)
        by_forest = enumerate(forest_decisions(learnt))
        decided += [(columns.FOREST, seed, predicted, unknown) for seed, predicted in by_forest]
    for decision, seed, predicted, confidence in decided:
        yield pd.DataFrame(
            {
                columns.DECISION: decision,
                columns.FOREST_SEED: seed,
                columns.FOLD: tested.fold,
                columns.UTTERANCE: tested.known["id"].to_numpy(),
                columns.SPEAKER: tested.known["speaker"].to_numpy(),
                columns.LABEL: label,
                columns.PREDICTED: predicted,
                columns.CLASSES: classes,
                columns.CONFIDENCE: confidence,
            }
        )


def _own_network_fold(stage: StageSpec, predictions: Predictions, utterances: pd.DataFrame, tested: Ints) -> ForestFold:
    """What a fold's network says of the utterances that it learnt from, for a forest that decides on those it is
    tested on: neither has met a label of the groups that the split keeps apart. `tested` are those of all folds.
    """
    of_fold = np.zeros(len(utterances), dtype=bool)
    of_fold[predictions.utterance[predictions.test]] = True
    learnt, features = _features_of(predictions, may_train(stage, utterances, of_fold))
    asked_of, asked = _features_of(predictions, of_fold)
    return ForestFold(features, utterances["label"].to_numpy()[learnt], asked, np.searchsorted(tested, asked_of))


def _features_of(predictions: Predictions, part: Bools) -> tuple[Ints, Floats]:
    """The utterances of `part` bool [U], as positions [n], and their features [n, F]."""
    rows = part[predictions.utterance]
    found, position = np.unique(predictions.utterance[rows], return_inverse=True)
    return found, utterance_features(predictions.q[rows], position)
