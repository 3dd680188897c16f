"""Stage store -> decisions on utterances -> scores: tidy data frames, from the store alone."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from analysis import columns
from analysis.paper.setup import setup_of
from analysis.scoring.cores import on_all_cores
from analysis.scoring.metrics import class_recall, macro_f1, unweighted_accuracy, weighted_accuracy
from analysis.scoring.statistics import UNDECIDED, rate_intervals
from data_prep.checked import read_frame
from data_prep.corpora import known_name
from data_prep.files import canonical_hash
from dsl.labels import labels_of
from dsl.splits import GROUPED_BY, may_train
from dsl.utterances import ForestFold, forest_decisions, mean_pooled, second_cross_validation, utterance_features
from sweep.planning.stages import KEY_LENGTH, ChainSpec, StageSpec
from sweep.storage.store import Predictions, Store, StoreError

FOREST_FOLDS = 10  # "another 10-fold stratified cross-validation" (§VIII-A), of the paper's split
FOREST_SEEDS = 10
Progress = Callable[[str, int, int], None]
# Raise when the code decides otherwise on the same predictions. Under every split, version 1 had the second
# cross-validation of the paper's; since version 3, the others have a forest for each fold's own network.
DECISION_VERSION = {"stratified": 1}
DECISION_VERSION_ELSE = 3


def decide(
    store: Store,
    chains: Sequence[ChainSpec],
    forest_seeds: int = FOREST_SEEDS,
    progress: Progress = lambda what, done, total: None,
) -> pd.DataFrame:
    """One row for each cell, decision, forest seed and utterance: what was said and what was decided.

    A cell is what folds together: everything that identifies a stage but its fold. The columns are
    `columns.DECISION_COLUMNS`. Folds whose stage is not in the store, or damaged there, are left out and show in
    `folds_done`. Decisions are kept in the store and made once. Raises StoreError where the store has stages of a
    corpus but not the corpus.
    """
    short = corpus_names(store, chains)
    cells = _cells(chains)
    seeds = Counter(replace(stages[0], fold=0, seed=0) for stages in cells)
    corpora = cache(store.read_corpus)
    found = [{stage: record for stage in stages if (record := _record(store, stage)) is not None} for stages in cells]
    found = [records for records in found if records]
    utterances = [corpora(next(iter(records)).corpus)[1] for records in found]
    frames, abouts = [], []
    decide_cell = partial(_decide_cell, store, forest_seeds)
    decided_cells = zip(found, on_all_cores(decide_cell, found, utterances), strict=True)
    for number, (records, (decided, done)) in enumerate(decided_cells, start=1):
        progress("decisions", number, len(found))
        if decided is None:
            continue
        cell = next(iter(records))
        about_cell = {
            **_about_network(corpora(cell.corpus)[0], cell, short),
            columns.SEED: cell.seed,
            columns.SEEDS: seeds[replace(cell, fold=0, seed=0)],
            columns.FOLDS_DONE: len(done),
            columns.FOLDS: cell.folds,
            columns.SETUP: setup_of(cell, corpora(cell.corpus)[0]),
        }
        validation = {stage.fold: _validation_percent(records[stage]) for stage in done}
        frames.append(decided.assign(**{columns.VALIDATION_WA: decided[columns.FOLD].map(validation)}))
        abouts.append(about_cell)
    if not frames:
        return pd.DataFrame(columns=list(columns.DECISION_COLUMNS))
    cell_of = np.repeat(np.arange(len(frames)), [len(decided) for decided in frames])
    about = pd.DataFrame(abouts).iloc[cell_of].reset_index(drop=True)
    return pd.concat([pd.concat(frames, ignore_index=True), about], axis=1)[list(columns.DECISION_COLUMNS)]


def score(decisions: pd.DataFrame) -> pd.DataFrame:
    """One row for each cell and decision: WA, UA, macro-F1 and per-class recall in percent, means over forest seeds.

    `decisions` is what `decide` returns; the columns are `columns.SCORE_COLUMNS`.
    """
    identity = [*columns.CELL_COLUMNS, columns.DECISION]
    rows = [rates for rates, _ in _with_rates(decisions, identity)]
    return pd.DataFrame(rows, columns=list(columns.SCORE_COLUMNS))


def score_networks(decisions: pd.DataFrame) -> pd.DataFrame:
    """One row for each network and decision, over its training seeds: what tables show.

    Rates are means over training and forest seeds, the spreads over either stand apart, and intervals are of the mean.
    The columns are `columns.NETWORK_SCORE_COLUMNS`.
    """
    identity = [*columns.NETWORK_IDENTITY, columns.DECISION]
    rows = [rates | _pooled(group) for rates, group in _with_rates(decisions, identity)]
    return pd.DataFrame(rows, columns=list(columns.NETWORK_SCORE_COLUMNS))


def label_correction(store: Store, chains: Sequence[ChainSpec]) -> pd.DataFrame:
    """One row for each network of whose training segments the true class is known: how many targets are right.

    The columns are `columns.CORRECTION_COLUMNS`; shares are in percent, mean and standard deviation over folds and
    training seeds. The targets of iteration 0 are the inherited labels. Empty where the store knows no true class.
    """
    short = corpus_names(store, chains)
    networks: dict[StageSpec, list[StageSpec]] = {}
    for stages in _cells(chains):
        networks.setdefault(replace(stages[0], fold=0, seed=0), []).extend(stages)
    corpora = cache(store.read_corpus)
    rows = []
    for stages in networks.values():
        found = [_metrics(record).get(columns.TARGETS_RIGHT) for stage in stages if (record := _record(store, stage))]
        right = np.array([100 * share for share in found if share is not None])
        if not len(right):
            continue
        rows.append(
            {
                **_about_network(corpora(stages[0].corpus)[0], stages[0], short),
                columns.SETUP: setup_of(stages[0], corpora(stages[0].corpus)[0]),
                columns.SEEDS: len({stage.seed for stage in stages}),
                columns.FOLDS_DONE: len(right),
                columns.FOLDS: len(stages),
                columns.TARGETS_RIGHT: right.mean(),
                columns.TARGETS_RIGHT_SD: pd.Series(right).std(),
            }
        )
    return pd.DataFrame(rows, columns=list(columns.CORRECTION_COLUMNS))


def decision_arrays(decisions: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """The decisions of one network in the shapes of `analysis.scoring.statistics`: labels, decisions, speakers.

    The first two have a row for each training and forest seed and a column for each utterance, with UNDECIDED where a
    training seed does not have it; the speakers are those of the columns.
    """
    seeds, seed = np.unique(decisions[columns.SEED], return_inverse=True)
    forests, forest = np.unique(decisions[columns.FOREST_SEED], return_inverse=True)
    rows, row = np.unique(seed * len(forests) + forest, return_inverse=True)
    column, utterances = pd.factorize(decisions[columns.UTTERANCE], sort=True)
    index = pd.MultiIndex.from_arrays(
        [seeds[rows // len(forests)], forests[rows % len(forests)]], names=[columns.SEED, columns.FOREST_SEED]
    )
    wide = []
    for name in (columns.LABEL, columns.PREDICTED):
        values = np.full((len(rows), len(utterances)), UNDECIDED, dtype=np.int64)
        values[row, column] = decisions[name]
        wide.append(pd.DataFrame(values, index, utterances))
    label, predicted = wide
    first = np.unique(column, return_index=True)[1]
    return label, predicted, decisions[columns.SPEAKER].iloc[first].set_axis(utterances)


# From the store


def _cells(chains: Iterable[ChainSpec]) -> list[list[StageSpec]]:
    """The distinct stages of `chains` that are tested, those that differ in nothing but the fold together."""
    cells: dict[StageSpec, dict[int, StageSpec]] = {}
    for chain in chains:
        for stage in chain.stages:
            if stage.inner_fold is not None:
                continue
            cells.setdefault(replace(stage, fold=0), {})[stage.fold] = stage
    return [[folds[fold] for fold in sorted(folds)] for folds in cells.values()]


def corpus_names(store: Store, chains: Iterable[ChainSpec]) -> dict[str, str]:
    """Full name -> what to call each corpus of `chains`: as `known_name` does, or in full where two are called so."""
    full, held = {chain.last.corpus for chain in chains}, store.corpora()
    short = {name: known_name(store.read_corpus(name)[0]) for name in full.intersection(held)}
    return told_by_name(short | {name: name.rpartition("-")[0] for name in full.difference(held)})


def told_by_name(short: Mapping[str, str]) -> dict[str, str]:
    """Full name -> short name, or the full one where two are called so."""
    shared = list(short.values())
    return {name: one if shared.count(one) == 1 else name for name, one in short.items()}


def _about_network(about_corpus: dict[str, Any], stage: StageSpec, short: dict[str, str]) -> dict[str, Any]:
    """The columns of NETWORK_IDENTITY for the network that `stage` is a fold of."""
    return {
        columns.CORPUS: short[stage.corpus],
        columns.PARTIAL: bool(about_corpus.get("partial", False)),
        columns.BACKBONE: stage.backbone,
        columns.RULE: stage.rule,
        columns.ALPHA: stage.alpha,
        columns.ITERATION: stage.iteration,
        columns.LABEL_SOURCE: stage.label_source or "",
        columns.SPLIT: stage.split,
        columns.LABELS: stage.labels,
    }


def _record(store: Store, stage: StageSpec) -> dict[str, Any] | None:
    """What stage.json says; None where it is missing, or says nothing of predictions."""
    record = store.read_stage(stage.key)
    return record if record is not None and isinstance(record.get("predictions"), dict) else None


def _metrics(record: dict[str, Any]) -> dict[str, Any]:
    return record.get("metrics", {})


def _validation_percent(record: dict[str, Any]) -> float:
    """WA on a stage's validation utterances; NaN where it has none."""
    share = _metrics(record).get("validation_wa")
    return np.nan if share is None else 100 * share


# From predictions to decisions


def _decide_cell(
    store: Store, forest_seeds: int, records: dict[StageSpec, dict[str, Any]], utterances: pd.DataFrame
) -> tuple[pd.DataFrame | None, list[StageSpec]]:
    """The decisions of one cell, and the stages they are from; None where the predictions of all are damaged.

    Decisions that the store holds are of predictions that were whole when they were made.
    """
    if store.results_only:
        return _kept_results(store, forest_seeds, records), list(records)
    key = _decision_key(records, forest_seeds)
    kept = _read_decisions(store, key)
    if kept is not None:
        return kept, list(records)
    read = {stage: store.read_predictions(stage.key, record) for stage, record in records.items()}
    found = {stage: predictions for stage, predictions in read.items() if predictions is not None}
    if not found:
        return None, []
    cell = next(iter(found))
    utterances = utterances.assign(label=labels_of(utterances, cell.labels, cell.seed))
    decided = pd.concat(_decisions(found, utterances, forest_seeds), ignore_index=True)
    if len(found) == len(records):
        store.write_decisions(key, decided.to_parquet(index=False))
    return decided, list(found)


def keep_results(
    store: Store, chains: Sequence[ChainSpec], kept: Store, progress: Progress = lambda what, done, total: None
) -> set[str]:
    """Make `kept` a store of the results of `chains` without their predictions; the keys of their stages.

    `kept` is a new store, of which `decide` comes to the same decisions as of `store`. Raises StoreError for a stage
    whose predictions are damaged.
    """
    records = {record["key"]: record for record in store.records()}
    done = [{one: records[one.key] for one in stages if one.key in records} for stages in _cells(chains)]
    cells = [stages for stages in done if stages]
    kept.create_results_only({"scikit-learn": version("scikit-learn")})
    utterances = {name: store.read_corpus(name)[1] for name in {next(iter(stages)).corpus for stages in cells}}
    of_cells = [utterances[next(iter(stages)).corpus] for stages in cells]
    decided_cells = zip(cells, on_all_cores(partial(_decide_cell, store, FOREST_SEEDS), cells, of_cells), strict=True)
    for number, (stages, (decided, whole)) in enumerate(decided_cells, start=1):
        if decided is None or len(whole) < len(stages):
            like = next(iter(stages)).label
            raise StoreError(
                f"a stage like {like} is damaged; find and remove such with: ser-sweep store verify --repair"
            )
        kept.write_decisions(_results_key(stages), decided.to_parquet(index=False))
        progress("decisions", number, len(cells))
    keys = {stage.key for chain in chains for stage in chain.stages} & records.keys()
    store.copy_results(sorted(keys), utterances, kept)
    return keys


def _kept_results(store: Store, forest_seeds: int, records: dict[StageSpec, dict[str, Any]]) -> pd.DataFrame:
    """The decisions of a cell in a store of results. Raises StoreError where they are not there."""
    decided = _read_decisions(store, _results_key(records))
    if decided is None:
        raise StoreError(
            f"store {store.uri}: the decisions on {next(iter(records)).label} are missing, damaged, or made by "
            "another version of the method; export them again with: ser-sweep store export --decisions"
        )
    pooled = decided[columns.DECISION] == columns.MEAN_POOLING
    return decided[pooled | (decided[columns.FOREST_SEED] < forest_seeds)].reset_index(drop=True)


def _results_key(stages: Iterable[StageSpec]) -> str:
    """What decisions go by where nothing can be decided anew: whatever scikit-learn is there, they are those that were
    made."""
    listed = list(stages)
    return canonical_hash({"method": _method(listed[0]), "stages": [stage.key for stage in listed]}, KEY_LENGTH)


def _decision_key(records: dict[StageSpec, dict[str, Any]], forest_seeds: int) -> str:
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
    keys = set()
    for stages in _cells(chains):
        done = {stage: known[stage.key] for stage in stages if stage.key in known}
        keys |= {_decision_key(done, forest_seeds) for forest_seeds in (0, FOREST_SEEDS) if done}
    return keys


def _read_decisions(store: Store, key: str) -> pd.DataFrame | None:
    content = store.read_decisions(key)
    try:
        frame = None if content is None else read_frame(content)
    except ValueError:
        return None
    return frame if frame is not None and set(frame) == set(columns.DECIDED_COLUMNS) else None


def _decisions(
    folds: dict[StageSpec, Predictions], utterances: pd.DataFrame, forest_seeds: int
) -> Iterable[pd.DataFrame]:
    """A frame of decisions on the test utterances of `folds` for mean pooling and for each forest seed."""
    split = next(iter(folds)).split
    q = np.concatenate([predictions.q[predictions.test] for predictions in folds.values()])
    utterance = np.concatenate([predictions.utterance[predictions.test] for predictions in folds.values()])
    fold = np.repeat([stage.fold for stage in folds], [predictions.test.sum() for predictions in folds.values()])
    tested, first, position = np.unique(utterance, return_index=True, return_inverse=True)
    known = utterances.iloc[tested]
    label = known["label"].to_numpy()
    features = utterance_features(q, position)
    decided = [(columns.MEAN_POOLING, 0, mean_pooled(features, q.shape[1]))]
    if GROUPED_BY[split]:
        own = [_own_network_fold(split, one, utterances, tested) for one in folds.values() if forest_seeds]
        learnt = [own] * forest_seeds
    else:
        learnt = [second_cross_validation(features, label, seed, FOREST_FOLDS) for seed in range(forest_seeds)]
    if learnt and all(learnt):  # with a few folds done, there may not be enough for a second cross-validation
        decided += [(columns.FOREST, seed, predicted) for seed, predicted in enumerate(forest_decisions(learnt))]
    for decision, seed, predicted in decided:
        yield pd.DataFrame(
            {
                columns.DECISION: decision,
                columns.FOREST_SEED: seed,
                columns.FOLD: fold[first],
                columns.UTTERANCE: known["id"].to_numpy(),
                columns.SPEAKER: known["speaker"].to_numpy(),
                columns.LABEL: label,
                columns.PREDICTED: predicted,
                columns.CLASSES: q.shape[1],
            }
        )


def _own_network_fold(split: str, predictions: Predictions, utterances: pd.DataFrame, tested: np.ndarray) -> ForestFold:
    """What a fold's network says of the utterances that it learnt from, for a forest that decides on those it is
    tested on: neither has met a label of the groups that `split` keeps apart. `tested` are those of all folds.
    """
    of_fold = np.zeros(len(utterances), dtype=bool)
    of_fold[predictions.utterance[predictions.test]] = True
    learnt, features = _features_of(predictions, may_train(split, utterances, of_fold))
    asked_of, asked = _features_of(predictions, of_fold)
    return ForestFold(features, utterances["label"].to_numpy()[learnt], asked, np.searchsorted(tested, asked_of))


def _features_of(predictions: Predictions, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The utterances of `part` bool [U], as positions [n], and their features [n, F]."""
    rows = part[predictions.utterance]
    found, position = np.unique(predictions.utterance[rows], return_inverse=True)
    return found, utterance_features(predictions.q[rows], position)


# From decisions to scores


def _with_rates(decisions: pd.DataFrame, identity: list[str]) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Each group of decisions that are equal in `identity`, with its rates and what it was on validation utterances."""
    groups = list(decisions.groupby(identity, dropna=False, sort=False))
    rates = on_all_cores(_rates_of, [group for _, group in groups])
    for (key, group), found in zip(groups, rates, strict=True):
        about = {columns.SETUP: group[columns.SETUP].iloc[0], columns.VALIDATION_WA: _validation_wa(group)}
        yield dict(zip(identity, key, strict=True)) | about | found, group


def _validation_wa(group: pd.DataFrame) -> float:
    """The mean over training seeds of the mean over their folds; NaN where one does not know it."""
    of_folds = group.drop_duplicates([columns.SEED, columns.FOLD]).groupby(columns.SEED)[columns.VALIDATION_WA]
    return float(of_folds.mean(skipna=False).mean(skipna=False))


def _pooled(group: pd.DataFrame) -> dict[str, Any]:
    """What a network's training seeds come to: folds of all seeds that are asked for."""
    seeds = group.drop_duplicates(columns.SEED)
    asked = int(seeds[columns.SEEDS].max())
    return {
        columns.SEEDS: asked,
        columns.FOLDS_DONE: int(seeds[columns.FOLDS_DONE].sum()),
        columns.FOLDS: int(seeds[columns.FOLDS].max()) * asked,
    }


def _rates_of(group: pd.DataFrame) -> dict[str, Any]:
    """Rates of one cell or network by one decision, with spreads and intervals, in percent."""
    seeds, rates, recalls = [], [], []
    for seed, decided in group.groupby([columns.SEED, columns.FOREST_SEED]):
        label, predicted = decided[columns.LABEL].to_numpy(), decided[columns.PREDICTED].to_numpy()
        seeds.append(seed)
        rates.append([100 * rate(label, predicted) for rate in (weighted_accuracy, unweighted_accuracy, macro_f1)])
        recalls.append(100 * class_recall(label, predicted, int(decided[columns.CLASSES].iloc[0])))
    by_seed = pd.DataFrame(rates, pd.MultiIndex.from_tuples(seeds), [columns.WA, columns.UA, columns.F1])
    trainings = by_seed.groupby(level=0)
    over_forests, over_trainings = trainings.std().mean(), trainings.mean().std()
    return {
        columns.UTTERANCES: group[columns.UTTERANCE].nunique(),
        **by_seed.mean(),
        columns.WA_SD_FOREST_SEEDS: over_forests[columns.WA],
        columns.UA_SD_FOREST_SEEDS: over_forests[columns.UA],
        columns.F1_SD_FOREST_SEEDS: over_forests[columns.F1],
        columns.WA_SD_TRAINING_SEEDS: over_trainings[columns.WA],
        columns.UA_SD_TRAINING_SEEDS: over_trainings[columns.UA],
        columns.F1_SD_TRAINING_SEEDS: over_trainings[columns.F1],
        **_intervals_of(group),
        columns.RECALL: pd.DataFrame(recalls).mean().tolist(),  # of the seeds that have the class
    }


def _intervals_of(group: pd.DataFrame) -> dict[str, float]:
    """95% bootstrap intervals of WA, UA and macro-F1, over utterances and over speakers, in percent."""
    label, predicted, speaker = decision_arrays(group)
    by_utterance = rate_intervals(label, predicted)
    by_speaker = rate_intervals(label, predicted, cluster=speaker)
    return {
        columns.WA_LOW: 100 * by_utterance.wa.low,
        columns.WA_HIGH: 100 * by_utterance.wa.high,
        columns.UA_LOW: 100 * by_utterance.ua.low,
        columns.UA_HIGH: 100 * by_utterance.ua.high,
        columns.F1_LOW: 100 * by_utterance.f1.low,
        columns.F1_HIGH: 100 * by_utterance.f1.high,
        columns.WA_SPEAKER_LOW: 100 * by_speaker.wa.low,
        columns.WA_SPEAKER_HIGH: 100 * by_speaker.wa.high,
        columns.UA_SPEAKER_LOW: 100 * by_speaker.ua.low,
        columns.UA_SPEAKER_HIGH: 100 * by_speaker.ua.high,
        columns.F1_SPEAKER_LOW: 100 * by_speaker.f1.low,
        columns.F1_SPEAKER_HIGH: 100 * by_speaker.f1.high,
    }
