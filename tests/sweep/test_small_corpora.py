"""Corpora of few speakers and texts: what they are enough for is trained, and what not is refused with the counts."""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from data_prep.cluster import ray_session
from data_prep.corpora import read_manifest
from data_prep.data_folder import find_prepared
from data_prep.prepare import prepare
from data_prep.shards import load_corpus
from data_prep.synthetic import SyntheticCorpus, read_truth, write_corpus
from dsl.labels import LABEL_SOURCES
from dsl.splits import SPLITS, parts_of
from ser_sweep.cli import main
from sweep.planning.grid import load_grid, resolve_corpora
from sweep.planning.stages import StageSpec
from sweep.storage.store import Store

SIZES = [(speakers, texts) for speakers in (2, 3, 4) for texts in (2, 3)]
EVERY = {"in_fold", "cross_fit", "global_oof"}
# By validation_by, the label sources that a corpus of so many speakers and texts is too small for, where everybody says
# everything once with each of two emotions: 2 folds of `stratified`, a speaker or a text a fold, and 2 inner folds.
TOO_SMALL = {
    "split": {
        (2, 2): {"stratified": {"cross_fit"}, "speaker": EVERY, "text": EVERY, "speaker_text": EVERY},
        (2, 3): {"speaker": EVERY, "text": {"cross_fit"}, "speaker_text": EVERY},
        (3, 2): {"speaker": {"cross_fit"}, "text": EVERY, "speaker_text": {"cross_fit"}},
        (3, 3): {"speaker": {"cross_fit"}, "text": {"cross_fit"}, "speaker_text": {"cross_fit"}},
        (4, 2): {"speaker": {"cross_fit"}, "text": EVERY, "speaker_text": {"cross_fit"}},
        (4, 3): {"speaker": {"cross_fit"}, "text": {"cross_fit"}, "speaker_text": {"cross_fit"}},
    },
    "utterance": {
        (2, 2): {"stratified": {"cross_fit"}, "speaker": {"cross_fit"}, "text": {"cross_fit"}, "speaker_text": EVERY},
        (2, 3): {"speaker": {"cross_fit"}, "speaker_text": {"cross_fit"}},
        (3, 2): {"text": {"cross_fit"}, "speaker_text": {"cross_fit"}},
        (3, 3): {},
        (4, 2): {"text": {"cross_fit"}, "speaker_text": {"cross_fit"}},
        (4, 3): {},
    },
}


@pytest.fixture(scope="module")
def data_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int], Path]:
    """Makes a data folder with a corpus of so many speakers and texts, once."""
    made: dict[tuple[int, int], Path] = {}

    def data(speakers: int, texts: int) -> Path:
        if (speakers, texts) not in made:
            folder = tmp_path_factory.mktemp(f"{speakers}-{texts}")
            about = SyntheticCorpus(speakers=speakers, texts=texts, takes=1, emotions=("anger", "neutral"))
            manifest = write_corpus(folder / "audio", about)
            truth = read_truth(folder / "audio" / "truth.csv")
            prepare("synthetic", read_manifest(manifest), folder / "data", truth=truth, inline=True)
            made[speakers, texts] = folder / "data"
        return made[speakers, texts]

    return data


@pytest.fixture
def grid_of(tmp_path: Path) -> Callable[..., Path]:
    """Writes a grid of one split; keyword arguments replace its fields."""

    def write(split: str, folds: int, label_sources: Iterable[str] = ("in_fold",), **fields: Any) -> Path:
        grid = {
            "corpora": ["synthetic"],
            "backbones": ["tiny"],
            "rules": ["bdsl"],
            "splits": [split],
            "folds": folds,
            "label_sources": list(label_sources),
            "inner_folds": 2,
            **fields,
            "training": {"epochs": 1, "every": 64, **fields.get("training", {})},
        }
        path = tmp_path / "grid.yaml"
        path.write_text(yaml.safe_dump(grid), encoding="utf-8")
        return path

    return write


def command(name: str, grid: Path, data: Path, store: Path, *flags: str) -> int:
    return main([name, str(grid), "--data", str(data), "--store", str(store), *flags])


def folds_of(split: str, speakers: int, texts: int) -> int:
    return {"stratified": 2, "speaker": speakers, "text": texts, "speaker_text": speakers * texts}[split]


@pytest.mark.parametrize("split", [split for split in SPLITS if split != "session"])  # which no corpus here tells
@pytest.mark.parametrize(("speakers", "texts"), SIZES)
@pytest.mark.parametrize("by", TOO_SMALL)
def test_what_a_corpus_is_enough_for_is_trained_and_the_rest_refused_with_the_counts(
    data_of: Callable[[int, int], Path],
    grid_of: Callable[..., Path],
    tmp_path: Path,
    by: str,
    speakers: int,
    texts: int,
    split: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, folds = data_of(speakers, texts), folds_of(split, speakers, texts)
    training = {"validation_by": by}
    refused = TOO_SMALL[by][speakers, texts].get(split, set())
    for source in refused:
        grid = grid_of(split, folds, [source], training=training)
        for name in ("plan", "run"):
            assert command(name, grid, data, tmp_path / "store") == 2
            said = capsys.readouterr().err
            assert f"splits: {split}, folds: {folds}" in said
            assert ("inner_folds: 2" in said) == (source == "cross_fit")
            assert "may learn from" in said and "(anger " in said and "speaker" in said
            assert "use " in said or "ask for " in said
    possible = [source for source in LABEL_SOURCES if source not in refused]
    if possible:
        grid = grid_of(split, folds, possible, training=training)
        assert command("plan", grid, data, tmp_path / "store") == 0
        assert command("run", grid, data, tmp_path / "store", "--inline") == 0
        stages = {"in_fold": 1, "global_oof": 1, "cross_fit": 3}  # beside iteration 0, which they share
        total = folds * (1 + sum(stages[source] for source in possible))
        assert f"{total} of {total} stages done: {total} trained" in capsys.readouterr().out


def trained_on(store: Path, data: Path) -> dict[int, tuple[set[str], set[str], int]]:
    """Of each fold's network of iteration 0: the speakers that train, those that validate, and the training segments
    of those, counted from the corpus. What stage.json says it learnt is checked against the latter."""
    corpus = load_corpus(find_prepared(data, "synthetic"))
    found = {}
    for record in Store(store).records():
        if record["iteration"] or "inner_fold" in record["identity"]:
            continue
        stage = StageSpec.of_identity(record["identity"])
        parts = parts_of(stage, corpus.utterances)
        speaker = corpus.utterances["speaker"]
        segments = int(parts.training[corpus.thinned(stage.training.every).utterance].sum())
        assert record["metrics"]["training_segments"] == segments
        found[stage.fold] = set(speaker[parts.training]), set(speaker[parts.validation]), segments
    return found


@pytest.mark.parametrize("by", ["split", "utterance"])
def test_leaving_one_of_four_speakers_out_trains_on_the_other_three_where_utterances_validate(
    data_of: Callable[[int, int], Path], grid_of: Callable[..., Path], tmp_path: Path, by: str
) -> None:
    data, grid = data_of(4, 3), grid_of("speaker", 4, rules=["none"], training={"validation_by": by})
    assert command("run", grid, data, tmp_path / "store", "--inline") == 0
    everybody = set(load_corpus(find_prepared(data, "synthetic")).utterances["speaker"])
    found = trained_on(tmp_path / "store", data)
    assert len(found) == 4
    left_out = set()
    for training, validating, _ in found.values():
        if by == "split":
            assert len(training) == 2 and len(validating) == 1 and not training & validating
        else:
            assert len(training) == 3 and validating <= training
            left_out |= everybody - training
    assert left_out == (everybody if by == "utterance" else set())


def test_what_validates_by_utterance_is_a_tenth_of_the_training_utterances_with_every_class(
    data_of: Callable[[int, int], Path], grid_of: Callable[..., Path]
) -> None:
    data, grid = data_of(4, 3), load_grid(grid_of("speaker", 4, training={"validation_by": "utterance"}))
    utterances = load_corpus(find_prepared(data, "synthetic")).utterances
    for chain in grid.expand(resolve_corpora(grid, data)):
        parts = parts_of(chain.last, utterances)
        assert utterances["emotion"][parts.validation].value_counts().to_dict() == {"anger": 1, "neutral": 1}
        assert parts.training.sum() == 3 * 3 * 2 - 2


@pytest.fixture(scope="module")
def unvalidated(tmp_path_factory: pytest.TempPathFactory, data_of: Callable[[int, int], Path]) -> tuple[Path, Path]:
    """A folder with grid.yaml, without validation and with every label source, its store, and small.yaml with one of
    them; and the data."""
    folder, data = tmp_path_factory.mktemp("unvalidated"), data_of(3, 2)
    small = {
        "corpora": ["synthetic"],
        "backbones": ["tiny"],
        "rules": ["bdsl"],
        "splits": ["speaker"],
        "folds": 3,
        "training": {"epochs": 2, "every": 16, "validation_share": 0, "early_stopping": False},
    }
    whole = {**small, "rules": ["bdsl", "cleanlab"], "label_sources": list(LABEL_SOURCES), "inner_folds": 2}
    for name, grid in (("small", small), ("grid", whole)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(grid), encoding="utf-8")
    assert command("run", folder / "grid.yaml", data, folder / "store", "--inline") == 0
    return folder, data


def test_without_validation_all_training_utterances_train_and_what_is_unknown_is_null(
    unvalidated: tuple[Path, Path],
) -> None:
    folder, data = unvalidated
    corpus = load_corpus(find_prepared(data, "synthetic")).thinned(16)
    of_segment = corpus.utterances["speaker"].to_numpy()[corpus.utterance]
    for training, validating, segments in trained_on(folder / "store", data).values():
        assert len(training) == 2 and not validating
        assert segments == np.isin(of_segment, list(training)).sum()
    for record in Store(folder / "store").records():
        metrics = record["metrics"]
        assert metrics["validation_loss"] is None and metrics["validation_wa"] is None
        assert (metrics["epochs"], metrics["kept_epoch"]) == (2, 1)
        for epoch in record["history"]:
            assert epoch["validation_loss"] is None and epoch["validation_accuracy"] is None
            assert epoch["loss"] > 0


def test_without_validation_every_command_shows_what_there_is(
    unvalidated: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, data = unvalidated

    def said(name: str, *flags: str) -> str:
        assert command(name, folder / "small.yaml", data, folder / "store", *flags) == 0
        return capsys.readouterr().out

    assert "0 missing, 0 failed" in said("status")
    assert "0 missing, 0 failed" in said("plan")
    tables = said("tables")
    assert "No rate on validation utterances is known, as with validation_share: 0: no iteration is chosen." in tables
    for shown in (tables, *(said("tables", "--format", form) for form in ("csv", "json", "latex"))):
        assert "nan" not in shown.lower()
    said("claims")
    said("report", "--out", str(tmp_path / "report"), "--no-forests")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "rate on validation utterances is known" in page and "no part for validation" in page
    assert "Training loss by epoch" in page
    (curves,) = re.findall(r'alt="(Line chart of cross-entropies[^"]*)"', page)
    assert "iteration 1: training" in curves and "nan" not in curves and "validation" not in curves
    assert main(["store", "export", "--store", str(folder / "store"), "--out", str(tmp_path / "export")]) == 0
    assert main(["store", "verify", "--store", str(folder / "store")]) == 0


def test_without_validation_the_test_folds_choose_where_they_are_asked(
    unvalidated: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, data = unvalidated
    assert command("tables", folder / "small.yaml", data, folder / "store", "--test-chosen") == 0
    assert "Iteration chosen on the test folds (optimistic)" in capsys.readouterr().out


def test_without_validation_ray_trains_to_the_same_bits(unvalidated: tuple[Path, Path], tmp_path: Path) -> None:
    folder, data = unvalidated
    with ray_session():
        assert command("run", folder / "small.yaml", data, tmp_path / "store") == 0
    whole = {record["key"]: record["predictions"]["sha256"] for record in Store(folder / "store").records()}
    found = {record["key"]: record["predictions"]["sha256"] for record in Store(tmp_path / "store").records()}
    assert len(found) == 6 and found.items() <= whole.items()


@pytest.fixture(scope="module")
def one_angry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with three speakers, of whom the first alone is ever angry."""
    folder = tmp_path_factory.mktemp("angry")
    manifest = write_corpus(folder / "audio", SyntheticCorpus(speakers=3, texts=2, takes=1))
    lines = manifest.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if ",anger," not in line or ",s01," in line]
    manifest.write_text("\n".join(kept) + "\n", encoding="utf-8")
    prepare("synthetic", read_manifest(manifest), folder / "data", inline=True)
    return folder / "data"


def test_folds_that_test_a_class_they_never_learn_are_told_and_trained(
    one_angry: Path, grid_of: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "splits: speaker: folds test a class that none of their training utterances is of, and cannot recognise it"
    grid, store = grid_of("speaker", 3, training={"validation_by": "utterance"}), tmp_path / "store"
    assert command("plan", grid, one_angry, store) == 0
    assert f"{told}: fold 0 seed 0 (anger)\n" in capsys.readouterr().out
    assert command("plan", grid, one_angry, store, "--json") == 0
    said = capsys.readouterr().out
    assert "fold 0 seed 0 (anger)" in json.loads(said)["estimate"]["untaught"][0]
    assert command("run", grid, one_angry, store, "--inline") == 0
    err = capsys.readouterr()
    assert f"{told}: fold 0 seed 0 (anger)\n" in err.err and "6 of 6 stages done" in err.out
    crossed = grid_of("speaker", 3, ["cross_fit"], training={"validation_by": "utterance"})
    assert command("plan", crossed, one_angry, store) == 0
    said = capsys.readouterr().out
    assert re.findall(r"((?:inner fold \d of )?fold \d) seed 0 \(anger\)", said) == [
        "fold 0",
        "inner fold 0 of fold 1",
        "inner fold 0 of fold 2",
    ]


def test_nothing_is_told_of_folds_that_learn_every_class(
    data_of: Callable[[int, int], Path],
    grid_of: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command("plan", grid_of("speaker", 3), data_of(3, 3), tmp_path / "store") == 0
    assert "notice" not in capsys.readouterr().out


def test_a_plan_counts_what_each_kind_of_validation_leaves_to_train(
    data_of: Callable[[int, int], Path],
    grid_of: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, updates = data_of(4, 3), []
    for number, training in enumerate(
        [{}, {"validation_by": "utterance"}, {"validation_share": 0, "early_stopping": False}]
    ):
        grid, store = grid_of("speaker", 4, rules=["none"], training=training), tmp_path / str(number)
        assert command("plan", grid, data, store, "--json") == 0
        updates.append(json.loads(capsys.readouterr().out)["estimate"]["updates"])
        assert command("run", grid, data, store, "--inline") == 0
        capsys.readouterr()
        assert updates[-1] == sum(record["metrics"]["training_segments"] for record in Store(store).records())
    assert updates[0] < updates[1] < updates[2]
