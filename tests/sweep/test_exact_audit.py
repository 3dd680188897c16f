"""`ser-sweep audit --exact`: clean chains come to the same bits, and what leaks to others."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from data_prep.data_folder import find_prepared
from data_prep.shards import SegmentCorpus, load_corpus
from dsl import chain, fold_parts, splits
from dsl.alterations import altered
from dsl.backbones import BACKBONES
from dsl.segments import input_statistics, standardised_by_utterance
from dsl.settings import Alteration, ChainSettings, TrainingSettings
from dsl.splits import training_seed
from dsl.training import Lesson
from ser_sweep.cli import main
from sweep.planning.grid import load_grid
from sweep.planning.label_flow import labels_reaching
from sweep.storage.provenance import code_digest
from sweep.storage.store import Store

Monkey = pytest.MonkeyPatch
Audit = Callable[..., list[dict[str, Any]]]
TRAINING = {"epochs": 2, "every": 64, "validation_by": "utterance"}


def audited_store(folder: Path) -> Store:
    return Store(folder / "store" / code_digest())


@pytest.fixture
def audit(small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Audit:
    """What the audit of fold 0 says, and what it ends with."""

    def audited(expected: int = 0, **axes: Any) -> list[dict[str, Any]]:
        grid = {"corpora": ["synthetic"], "backbones": ["tiny"], "rules": ["bdsl"], "folds": 2, "training": TRAINING}
        (tmp_path / "grid.yaml").write_text(json.dumps({**grid, **axes}))
        place = [str(tmp_path / "grid.yaml"), "--data", str(small_data), "--store", str(tmp_path / "store")]
        capsys.readouterr()
        assert main(["audit", *place, "--exact", "--inline", "--quiet", "--json"]) == expected
        found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
        return found

    return audited


def test_clean_label_sources_know_nothing_of_the_test_part(audit: Audit) -> None:
    found = audit(
        rules=["none", "bdsl", {"wdsl": 0.2}, "gsl", "hdl", "confidence"],
        label_sources=["in_fold", "cross_fit"],
        inner_folds=2,
        iterations=2,
    )
    assert len(found) == 11  # `none` has no label source
    assert {(one["labels"], one["sound"]) for one in found} == {("identical", "identical")}
    assert {(one["labels_reaching"], one["test_utterances"]) for one in found} == {(0, 16)}


@pytest.mark.parametrize("split", ["speaker", "text"])
def test_neither_do_they_under_other_splits(audit: Audit, split: str) -> None:
    found = audit(splits=[split])
    assert [(one["split"], one["labels"], one["sound"]) for one in found] == [(split, "identical", "identical")]


STANDARDISED = ("overall", "utterance", "none")  # otherwise than by band


def test_neither_do_they_however_input_is_standardised(audit: Audit) -> None:
    found = audit(rules=["none"], training=TRAINING | {"standardisation": [*STANDARDISED]})
    assert [(one["labels"], one["sound"]) for one in found] == [("identical", "identical")] * len(STANDARDISED)


def test_global_oof_is_seen_to_leak_and_is_expected_to(audit: Audit) -> None:
    (one,) = audit(label_sources=["global_oof"], iterations=2)
    assert one["leaky_source"]
    assert (one["labels_reaching"], one["test_utterances"]) == (16, 16)
    assert one["labels"].startswith("first differs at iteration 1: weights, what is learnt and validated")
    assert one["sound"].startswith("first differs at iteration 1: weights")


def test_labels_that_mean_nothing_are_audited_too(audit: Audit) -> None:
    (one,) = audit(labels="permuted")
    assert (one["labels"], one["sound"]) == ("identical", "identical")


# Planted leaks. Each is a mistake that somebody has made.


class Seen:
    """The corpus that chains learn from, altered or not."""

    def __init__(self, monkeypatch: Monkey) -> None:
        self.corpus: SegmentCorpus = None  # type: ignore[assignment]
        learnt = chain.SharedCorpus.learnt

        def see(places: Any, settings: ChainSettings) -> SegmentCorpus:
            self.corpus = learnt(places, settings)
            return self.corpus

        monkeypatch.setattr(chain.SharedCorpus, "learnt", see)


def with_statistics(monkeypatch: Monkey, of: Callable[[SegmentCorpus, np.ndarray, Any], Any]) -> None:
    monkeypatch.setattr(chain, "input_statistics", of)


def all_segments(corpus: SegmentCorpus) -> np.ndarray:
    return np.arange(len(corpus))


def standardised_by_everything(monkeypatch: Monkey) -> None:
    with_statistics(monkeypatch, lambda corpus, _, how: input_statistics(corpus, all_segments(corpus), how))


def standardised_by_what_it_does_not_train_on(monkeypatch: Monkey) -> None:
    def of_others(corpus: SegmentCorpus, index: np.ndarray, how: Any) -> tuple[np.ndarray, np.ndarray]:
        return input_statistics(corpus, np.setdiff1d(all_segments(corpus), index), how)

    with_statistics(monkeypatch, of_others)


def scaled_by_everything(monkeypatch: Monkey) -> None:
    def scaled(corpus: SegmentCorpus, index: np.ndarray, how: Any) -> tuple[np.ndarray, np.ndarray]:
        return input_statistics(corpus, index, how)[0], input_statistics(corpus, all_segments(corpus), how)[1]

    with_statistics(monkeypatch, scaled)


def with_parts(monkeypatch: Monkey, change: Callable[[fold_parts.FoldPart], fold_parts.FoldPart]) -> None:
    of = fold_parts.FoldPart.of
    monkeypatch.setattr(fold_parts.FoldPart, "of", lambda *arguments: change(of(*arguments)))


def stops_early_by_the_test_part(monkeypatch: Monkey) -> None:
    with_parts(monkeypatch, lambda part: replace(part, validation=np.flatnonzero(part.test)))


def stops_early_by_the_test_part_too(monkeypatch: Monkey) -> None:
    with_parts(
        monkeypatch, lambda part: replace(part, validation=np.union1d(part.validation, np.flatnonzero(part.test)))
    )


def validates_on_one_segment_of_the_test_part(monkeypatch: Monkey) -> None:
    with_parts(monkeypatch, lambda part: replace(part, validation=np.union1d(part.validation, part.test.argmax())))


def trains_on_the_test_part(monkeypatch: Monkey) -> None:
    with_parts(monkeypatch, lambda part: replace(part, training=np.union1d(part.training, np.flatnonzero(part.test))))


def trains_on_one_segment_of_the_test_part(monkeypatch: Monkey) -> None:
    with_parts(monkeypatch, lambda part: replace(part, training=np.union1d(part.training, part.test.argmax())))


def deals_folds_by_other_labels(monkeypatch: Monkey) -> None:
    labelled = chain.SharedCorpus.labelled
    monkeypatch.setattr(
        chain.SharedCorpus, "labelled", lambda places, settings: altered(labelled(places, settings), settings)
    )


def learns_from_everything(monkeypatch: Monkey) -> None:
    monkeypatch.setattr(splits, "may_train", lambda split, utterances, tested: np.ones(len(utterances), dtype=bool))


def leaves_out_the_next_fold(monkeypatch: Monkey) -> None:
    """A list of folds that is shifted by one."""
    parts_of = splits.parts_of

    def shifted(settings: ChainSettings, *rest: Any) -> splits.Parts:
        return parts_of(replace(settings, fold=(settings.fold + 1) % settings.folds), *rest)

    monkeypatch.setattr(fold_parts, "parts_of", shifted)


def with_targets(monkeypatch: Monkey, change: Callable[[SegmentCorpus, np.ndarray], np.ndarray]) -> None:
    targets = chain.ChainRun._targets
    monkeypatch.setattr(
        chain.ChainRun,
        "_targets",
        lambda one, iteration: change(one._corpus, targets(one, iteration)).astype(np.float32),
    )


def weighs_classes_by_all_labels(monkeypatch: Monkey) -> None:
    def weighed(corpus: SegmentCorpus, targets: np.ndarray) -> np.ndarray:
        share = 1 + np.arange(len(corpus.classes)) * (corpus.utterances["label"].to_numpy() == 0).mean()
        found: np.ndarray = (
            targets * share / (targets * share).sum(axis=1, keepdims=True) * 0.9 + targets * 0.1 * share.mean()
        )
        return found

    with_targets(monkeypatch, weighed)


def smooths_labels_by_all_labels(monkeypatch: Monkey) -> None:
    def smoothed(corpus: SegmentCorpus, targets: np.ndarray) -> np.ndarray:
        found: np.ndarray = 0.9 * targets + 0.1 * (
            np.bincount(corpus.label[:1], minlength=len(corpus.classes)) + corpus.label.mean()
        )
        return found

    with_targets(monkeypatch, smoothed)


def with_seed(monkeypatch: Monkey, of: Callable[[SegmentCorpus], int]) -> None:
    seen, seed = Seen(monkeypatch), training_seed
    monkeypatch.setattr(chain, "training_seed", lambda *arguments: (seed(*arguments) + of(seen.corpus)) % 2**32)


def draws_by_all_labels(monkeypatch: Monkey) -> None:
    with_seed(monkeypatch, lambda corpus: int((corpus.label * np.arange(len(corpus))).sum()))


def draws_by_all_sound(monkeypatch: Monkey) -> None:
    with_seed(monkeypatch, lambda corpus: int(np.abs(corpus.frames[:, :8]).sum() * 1000))


def begins_with_the_mean_of_all_sound(monkeypatch: Monkey) -> None:
    seen, tiny = Seen(monkeypatch), BACKBONES["tiny"]

    def begun(classes: int) -> torch.nn.Module:
        network = tiny(classes)
        with torch.no_grad():
            next(network.parameters()).add_(1e-3 * float(seen.corpus.frames[:, 0].mean()))
        return network

    monkeypatch.setitem(BACKBONES, "tiny", begun)


def with_validation(monkeypatch: Monkey, index: Callable[[SegmentCorpus, np.ndarray], np.ndarray]) -> None:
    """What validation says of an iteration, by which one is chosen."""
    share = chain.mean_pooled_wa
    monkeypatch.setattr(chain, "mean_pooled_wa", lambda corpus, q, part: share(corpus, q, index(corpus, part)))


def chooses_the_iteration_by_everything(monkeypatch: Monkey) -> None:
    with_validation(monkeypatch, lambda corpus, part: all_segments(corpus))


def chooses_the_iteration_by_what_does_not_validate(monkeypatch: Monkey) -> None:
    with_validation(monkeypatch, lambda corpus, part: np.setdiff1d(all_segments(corpus), part))


def trains_longer_where_a_class_is_frequent(monkeypatch: Monkey) -> None:
    seen = Seen(monkeypatch)

    def longer(*arguments: Any) -> Lesson:
        lesson = Lesson(*arguments)
        more = int((seen.corpus.utterances["label"] == 0).mean() > 0.3)
        return replace(lesson, settings=replace(lesson.settings, epochs=lesson.settings.epochs + more))

    monkeypatch.setattr(chain, "Lesson", longer)


def with_predictions(monkeypatch: Monkey, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """What relabels segments."""
    predictions = chain.ChainRun._predictions
    monkeypatch.setattr(
        chain.ChainRun, "_predictions", lambda one, iteration: change(predictions(one, iteration)).astype(np.float32)
    )


def relabels_by_what_is_said_of_everything(monkeypatch: Monkey) -> None:
    def centred(q: np.ndarray) -> np.ndarray:
        odds = q / q.mean(axis=0)
        found: np.ndarray = odds / odds.sum(axis=1, keepdims=True)
        return found

    with_predictions(monkeypatch, centred)


def with_all_targets(monkeypatch: Monkey) -> None:
    """Segments of the test part have targets: as it is, they are no numbers, and a training on them fails."""

    def filled(corpus: SegmentCorpus, targets: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(targets), np.eye(len(corpus.classes))[corpus.label], targets)

    with_targets(monkeypatch, filled)


def with_inner_parts(monkeypatch: Monkey, change: Callable[[splits.Parts, np.ndarray], splits.Parts]) -> None:
    """The parts of inner networks, given the test part of their fold."""
    with_all_targets(monkeypatch)
    parts_of = splits.parts_of

    def changed(settings: ChainSettings, utterances: Any, inner_fold: int | None = None) -> splits.Parts:
        parts = parts_of(settings, utterances, inner_fold)
        return parts if inner_fold is None else change(parts, parts_of(settings, utterances).tested)

    monkeypatch.setattr(fold_parts, "parts_of", changed)


def inner_networks_learn_from_the_test_part(monkeypatch: Monkey) -> None:
    with_inner_parts(monkeypatch, lambda parts, tested: replace(parts, training=parts.training | tested))


def inner_networks_validate_on_the_test_part(monkeypatch: Monkey) -> None:
    with_inner_parts(monkeypatch, lambda parts, tested: replace(parts, validation=parts.validation | tested))


LEAKS: Sequence[Callable[[Monkey], None]] = (
    standardised_by_everything,
    standardised_by_what_it_does_not_train_on,
    scaled_by_everything,
    stops_early_by_the_test_part,
    stops_early_by_the_test_part_too,
    validates_on_one_segment_of_the_test_part,
    trains_on_the_test_part,
    trains_on_one_segment_of_the_test_part,
    deals_folds_by_other_labels,
    learns_from_everything,
    leaves_out_the_next_fold,
    weighs_classes_by_all_labels,
    smooths_labels_by_all_labels,
    draws_by_all_labels,
    draws_by_all_sound,
    begins_with_the_mean_of_all_sound,
    chooses_the_iteration_by_everything,
    chooses_the_iteration_by_what_does_not_validate,
    trains_longer_where_a_class_is_frequent,
    relabels_by_what_is_said_of_everything,
)
INNER_LEAKS = (inner_networks_learn_from_the_test_part, inner_networks_validate_on_the_test_part)


@pytest.mark.parametrize("plant", LEAKS, ids=lambda one: one.__name__)
def test_a_planted_leak_is_found(plant: Callable[[Monkey], None], audit: Audit, monkeypatch: Monkey) -> None:
    plant(monkeypatch)
    (one,) = audit(expected=1)
    assert any(one[what].startswith("first differs at iteration ") for what in ("labels", "sound"))


def test_a_leak_through_the_mean_of_all_bands_is_found(audit: Audit, monkeypatch: Monkey) -> None:
    standardised_by_everything(monkeypatch)
    (one,) = audit(expected=1, rules=["none"], training=TRAINING | {"standardisation": "overall"})
    assert one["labels"] == "identical"
    assert one["sound"].startswith("first differs at iteration 0: weights")


def test_a_leak_from_utterance_to_utterance_is_found(audit: Audit, monkeypatch: Monkey) -> None:
    def smeared(corpus: SegmentCorpus) -> SegmentCorpus:
        frames = standardised_by_utterance(corpus).frames
        return replace(corpus, frames=frames + corpus.frames[:, :8].mean())

    monkeypatch.setattr(chain, "standardised_by_utterance", smeared)
    (one,) = audit(expected=1, rules=["none"], training=TRAINING | {"standardisation": "utterance"})
    assert one["sound"].startswith("first differs at iteration 0: weights")


@pytest.mark.parametrize("plant", INNER_LEAKS, ids=lambda one: one.__name__)
def test_a_planted_leak_of_inner_networks_is_found(
    plant: Callable[[Monkey], None], audit: Audit, monkeypatch: Monkey
) -> None:
    plant(monkeypatch)
    (one,) = audit(expected=1, label_sources=["cross_fit"], inner_folds=2)
    assert one["labels"].startswith("first differs at iteration 0, inner fold 0: ")


# What it is made of


def test_nothing_but_the_test_part_is_altered(small_data: Path) -> None:
    corpus = load_corpus(find_prepared(small_data, "synthetic"))
    settings = ChainSettings(
        corpus.name, "tiny", "stratified", 2, 1, 0, None, (), TrainingSettings(), altered=Alteration(0, "labels")
    )
    tested = splits.assign_folds("stratified", corpus.utterances, 2, 0) == 0
    relabelled = altered(corpus, settings).utterances["label"].to_numpy()
    np.testing.assert_array_equal(relabelled != corpus.utterances["label"], tested)
    resounded = altered(corpus, replace(settings, altered=Alteration.of(0, "sound")))
    others = (resounded.spectrograms(all_segments(corpus)) != corpus.spectrograms(all_segments(corpus))).any(
        axis=(1, 2)
    )
    np.testing.assert_array_equal(others, tested[corpus.utterance])


def test_labels_reach_a_network_through_those_that_relabel_for_it(
    small_data: Path, write_grid: Callable[..., Path]
) -> None:
    """Under global_oof from the first update on; nothing reaches it elsewhere."""
    grid = load_grid(write_grid(rules=["bdsl"], label_sources=["in_fold", "global_oof"], folds=2, iterations=2))
    prepared = {"synthetic": find_prepared(small_data, "synthetic")}
    chains = [one for one in grid.expand(prepared) if one.last.fold == 0]
    ends = [replace(one, last=one.last.at(t)) for one in chains for t in range(3)]
    flow = labels_reaching(ends, prepared.values())
    reached = {(one.last.label_source, one.last.iteration): flow[one.last.key][0] for one in ends}
    assert reached == {
        (None, 0): 0,
        ("in_fold", 1): 0,
        ("in_fold", 2): 0,
        ("global_oof", 1): 16,
        ("global_oof", 2): 16,
    }


def test_the_plan_says_what_leaks(
    small_data: Path, write_grid: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of both folds together, whatever rules and seeds there are; nothing about a grid that does not leak."""

    def planned(*more: str, **settings: Any) -> str:
        grid = write_grid(rules=["none", "bdsl", "gsl"], seeds=[0, 1], folds=2, **settings)
        assert main(["plan", str(grid), "--data", str(small_data), "--store", str(tmp_path / "none"), *more]) == 0
        return capsys.readouterr().out

    leaky = {"label_sources": ["in_fold", "global_oof"], "splits": ["stratified", "text"], "training": TRAINING}
    told = [line for line in planned(**leaky).splitlines() if line.startswith("leak")]
    corpus = find_prepared(small_data, "synthetic").name
    reaching = "the labels of 32 of 32 test utterances reach the networks that predict them"
    assert told == [f"leak    global_oof, {corpus}, {split} split: {reaching}" for split in leaky["splits"]]
    (one, _) = json.loads(planned("--json", **leaky))["leaks"]
    assert (one["reaching"], one["tested"]) == (32, 32)
    assert "leak" not in planned(label_sources=["in_fold", "cross_fit"], inner_folds=2, training=TRAINING)


def test_altered_stages_have_keys_of_their_own_and_come_back_from_a_store(audit: Audit, tmp_path: Path) -> None:
    audit(rules=["none"])
    labels = {
        record["identity"].get("altered", {}).get("what", "nothing") for record in audited_store(tmp_path).records()
    }
    assert labels == {"nothing", "labels", "sound"}


def test_stages_without_their_networks_are_not_taken_for_leaks(
    small_data: Path, write_grid: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = write_grid(rules=["none"], folds=2, training=TRAINING)
    place = [str(grid), "--data", str(small_data), "--store", str(tmp_path / "store")]
    assert main(["run", *place, "--inline", "--quiet"]) == 0
    trained = Store(tmp_path / "store").done_keys()
    shutil.copytree(tmp_path / "store", tmp_path / "store" / code_digest())
    assert main(["audit", *place, "--exact", "--inline", "--quiet"]) == 2
    assert "holds stages without their networks; give the audit a store of its own" in capsys.readouterr().err
    assert audited_store(tmp_path).done_keys() == trained


def test_an_export_tells_altered_stages_from_the_others(audit: Audit, tmp_path: Path) -> None:
    audit(rules=["none"])
    place = ["--store", audited_store(tmp_path).uri, "--out", str(tmp_path / "EXPORT")]
    assert main(["store", "export", *place, "--quiet"]) == 0
    stages = pd.read_parquet(tmp_path / "EXPORT" / "stages.parquet")
    assert sorted(stages["altered"]) == ["", "labels of fold 0", "sound of fold 0"]


def test_people_read_a_line_for_each_chain(
    small_data: Path, write_grid: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = write_grid(rules=["bdsl"], label_sources=["in_fold", "global_oof"], folds=2, training=TRAINING)
    place = [str(grid), "--data", str(small_data), "--store", str(tmp_path / "audit")]
    assert main(["audit", *place, "--exact", "--inline", "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    verdicts = [[cell.strip() for cell in line.split("|")[-3:-1]] for line in lines[2:4]]
    assert verdicts == [["identical", "identical"], ["first differs at iteration 1", "first differs at iteration 1"]]
    assert "0 of 16" in lines[2]
    assert "16 of 16" in lines[3]
    assert "global_oof" in lines[5]
    assert "predictions, first of s01_" in lines[5]


def test_a_fold_that_the_grid_has_not_is_refused(
    small_data: Path, write_grid: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = write_grid(rules=["none"], folds=2)
    place = [str(grid), "--data", str(small_data), "--store", str(tmp_path / "audit")]
    assert main(["audit", *place, "--exact", "--folds", "2"]) == 2
    assert "--folds 2: the grid has folds 0 to 1" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["audit", *place, "--exact", "--folds", "x"])
    assert "'x' is not the number of a fold" in capsys.readouterr().err
