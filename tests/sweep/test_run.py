"""Launching: the same bits in this process and on Ray, nothing trained twice, failures that stop nobody else."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from data_prep.corpora import read_manifest
from data_prep.data_folder import find_prepared
from data_prep.errors import UserError
from data_prep.features import FeatureSettings
from data_prep.files import write_json
from data_prep.folders import Folder
from data_prep.prepare import prepare
from data_prep.shards import load_corpus, write_shard
from data_prep.synthetic import SyntheticCorpus, write_corpus
from dsl import backbones
from ser_sweep.cli import main
from sweep.planning.grid_fields import Resources
from sweep.running.resources import trial_share
from sweep.storage.events import read_events
from sweep.storage.store import Store

WriteGrid = Callable[..., Path]


def run(grid: Path, data: Path, store: Path, *flags: str) -> int:
    return main(["run", str(grid), "--data", str(data), "--store", str(store), *flags])


def stages_of(store: Path) -> dict[str, dict[str, Any]]:
    """Key -> stage.json."""
    return {path.parent.name: json.loads(path.read_text()) for path in (store / "stages").glob("*/stage.json")}


def checksums(store: Path) -> dict[str, str]:
    return {key: stage["predictions"]["sha256"] for key, stage in stages_of(store).items()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    """A folder with a grid and its finished store, trained in this process."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "grid.yaml").write_text(
        "{corpora: [synthetic], backbones: [tiny], rules: [none, bdsl, {wdsl: [0, 0.2, 1]}, gsl, hdl],"
        " folds: 2, training: {epochs: 2, every: 16}}"
    )
    assert run(folder / "grid.yaml", small_data, folder / "store", "--inline") == 0
    return folder


def test_ray_and_this_process_train_the_same_bits(finished: Path, small_data: Path, tmp_path: Path, ray: None) -> None:
    assert run(finished / "grid.yaml", small_data, tmp_path / "store") == 0
    assert len(checksums(finished / "store")) == 12
    assert checksums(tmp_path / "store") == checksums(finished / "store")


def test_a_finished_sweep_trains_nothing(finished: Path, capsys: pytest.CaptureFixture[str], small_data: Path) -> None:
    before = stages_of(finished / "store")
    assert run(finished / "grid.yaml", small_data, finished / "store", "--inline") == 0
    assert "12 of 12 stages done: 0 trained, 12 were there before" in capsys.readouterr().out
    assert stages_of(finished / "store") == before


def test_a_stage_tells_where_it_came_from(finished: Path) -> None:
    stage = next(stage for stage in stages_of(finished / "store").values() if stage["iteration"] == 1)
    assert stage["identity"]["updates"][0]["rule"] in ("bdsl", "wdsl", "gsl", "hdl")
    assert len(stage["history"]) == stage["metrics"]["epochs"] == 2
    assert stage["timing"]["seconds"] > 0
    assert stage["versions"]["torch"].startswith("2.")
    assert stage["device"]["type"] == "cpu"


def test_the_test_segments_of_all_folds_cover_the_corpus_once(finished: Path, small_data: Path) -> None:
    corpus = load_corpus(find_prepared(small_data, "synthetic")).thinned(16)
    tested = np.zeros(len(corpus), dtype=int)
    for key, stage in stages_of(finished / "store").items():
        if stage["iteration"] == 0:
            predictions = Store(finished / "store").read_predictions(key)
            assert predictions is not None
            np.testing.assert_array_equal(predictions.segment, corpus.segment)
            tested += predictions.test
    assert (tested == 1).all()


def test_a_damaged_stage_is_trained_again_to_the_same_bits(
    small_data: Path, write_grid: WriteGrid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid, store = write_grid(rules=["bdsl"]), tmp_path / "store"
    assert run(grid, small_data, store, "--inline") == 0
    before = checksums(store)
    victim = sorted((store / "stages").glob("*/*.parquet"))[0]
    content = bytearray(victim.read_bytes())
    content[50] ^= 1
    victim.write_bytes(content)
    assert run(grid, small_data, store, "--inline") == 0
    said = capsys.readouterr()
    assert f"1 damaged stage to be trained again: {victim.parent.name}" in said.err
    assert "4 of 4 stages done: 1 trained, 3 were there before" in said.out
    assert checksums(store) == before


@pytest.mark.parametrize("kind", ["predictions-*.parquet", "stage.json"])
def test_a_stage_of_which_a_file_is_cut_off_is_trained_again_to_the_same_bits(
    small_data: Path, write_grid: WriteGrid, tmp_path: Path, kind: str
) -> None:
    grid, store = write_grid(rules=["bdsl"]), tmp_path / "store"
    assert run(grid, small_data, store, "--inline") == 0
    before = checksums(store)
    victim = sorted((store / "stages").glob(f"*/{kind}"))[0]
    content = victim.read_bytes()
    victim.write_bytes(content[: len(content) // 2])
    assert run(grid, small_data, store, "--inline") == 0
    assert checksums(store) == before
    assert all(Store(store).has(key) for key in before)


@pytest.fixture
def poisoned_data(small_data: Path, tmp_path: Path) -> Path:
    """A data folder with the small corpus, and one called `poisoned` whose shards hold NaN."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "small").symlink_to(str(find_prepared(small_data, "synthetic").folder))
    rows = 16
    table = pd.DataFrame({"id": [f"u{i:02}" for i in range(rows)], "speaker": "s", "text": "t"})
    table["label"] = np.arange(rows) % 2
    table["emotion"] = np.where(table["label"] == 0, "anger", "neutral")
    table["frames"], table["segments"] = 40, 9
    folder = data / "poisoned-0"
    (folder / "shards").mkdir(parents=True)
    frames = np.full((40, 64), np.nan, np.float32)
    settings = FeatureSettings()
    shard = write_shard(folder / "shards", "shard-00000.parquet", [(u, frames) for u in table["id"]], settings)
    table.to_parquet(folder / "utterances.parquet")
    about = {"schema": 1, "corpus": "poisoned", "fingerprint": "0", "settings": settings.as_dict(), "shards": [shard]}
    classes = {"anger": 8, "neutral": 8}
    write_json(folder / "manifest.json", {**about, "classes": classes, "utterances": rows, "segments": rows * 9})
    return data


@pytest.mark.parametrize("flags", [["--inline"], []], ids=["inline", "ray"])
def test_a_loss_that_turns_nan_fails_its_trials_and_no_other(
    poisoned_data: Path,
    write_grid: WriteGrid,
    tmp_path: Path,
    flags: list[str],
    ray: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    grid, store = write_grid(corpora=["poisoned", "synthetic"], rules=["none", "bdsl"]), tmp_path / "store"
    assert run(grid, poisoned_data, store, *flags) == 1
    said = capsys.readouterr()
    assert "4 failed:" in said.out
    assert said.out.count("TrainingDivergedError: loss became NaN or infinite in epoch 1") == 1, "one cause, said once"
    assert "poisoned tiny none fold 0 seed 0, " in said.out and " and 1 more: TrainingDivergedError" in said.out
    (events,) = read_events(Folder(store)).values()
    issued = [event["chain"] for event in events if event["event"] == "issued"]
    assert sum("poisoned" in one for one in issued) == 2, "a stage that cannot be trained is tried once"
    assert "4 of 8 stages done" in said.out
    assert "Traceback" not in said.out + said.err
    status = ["status", str(grid), "--data", str(poisoned_data), "--store", str(store), "--json"]
    assert main(status) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["stages"] == {"total": 8, "done": 4, "missing": 2, "failed": 2}
    assert "loss became NaN" in told["failures"][0]["cause"]


def test_an_error_in_one_backbone_stops_no_other(
    small_data: Path, write_grid: WriteGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(classes: int) -> Any:
        raise RuntimeError("no such layer")

    monkeypatch.setitem(backbones.BACKBONES, "vgg19", broken)
    grid, store = write_grid(backbones=["vgg19", "tiny"], rules=["none"]), tmp_path / "store"
    assert run(grid, small_data, store, "--inline") == 1
    assert len(stages_of(store)) == 2
    assert set(Store(store).failures().values()) == {"RuntimeError: no such layer"}


def test_a_failure_is_forgotten_once_the_stage_is_trained(
    small_data: Path, write_grid: WriteGrid, tmp_path: Path
) -> None:
    grid, store = write_grid(rules=["none"]), tmp_path / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones.BACKBONES, "tiny", None)
        assert run(grid, small_data, store, "--inline") == 1
    assert len(Store(store).failures()) == 2
    assert run(grid, small_data, store, "--inline") == 0
    assert Store(store).failures() == {}


def test_a_store_that_is_removed_under_a_run_is_told(
    small_data: Path,
    write_grid: WriteGrid,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    commit = Store.commit

    def commit_and_remove(self: Store, *arguments: Any) -> bool:
        stands = commit(self, *arguments)
        shutil.rmtree(self.uri)
        return stands

    monkeypatch.setattr(Store, "commit", commit_and_remove)
    store = tmp_path / "store"
    assert run(write_grid(rules=["none"]), small_data, store, "--inline") == 1
    said = capsys.readouterr()
    assert f"2 stages that were there or were trained are gone from {store}" in said.err
    assert "0 of 2 stages done" in said.out


def test_more_than_the_cluster_has_is_refused_and_not_waited_for() -> None:
    with pytest.raises(UserError, match=r"resources\.cpu: the grid asks for 3 a trial and the cluster has 2"):
        trial_share(Resources(cpu=3), {"CPU": 2})
    with pytest.raises(UserError, match=r"resources\.gpu: the grid asks for 0\.5 a trial and the cluster has 0"):
        trial_share(Resources(gpu=0.5), {"CPU": 2})


def test_gpu_auto_is_none_where_the_cluster_has_none() -> None:
    assert trial_share(Resources(), {"CPU": 2}) == {"cpu": 1, "gpu": 0}
    assert trial_share(Resources(), {"CPU": 2, "GPU": 1})["gpu"] > 0
    assert trial_share(Resources(gpu=0.1), {"CPU": 2, "GPU": 1})["gpu"] == 0.1


BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} is blocked in this test")
sys.meta_path.insert(0, Blocked())
from ser_sweep.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("numba", [True, False])
def test_inline_needs_neither_ray_nor_what_only_preparing_and_terminals_need(
    numba: bool, finished: Path, small_data: Path, write_grid: WriteGrid, tmp_path: Path
) -> None:
    blocked = {"ray", "librosa", "soundfile", "rich", "typer", "click", "matplotlib", "jinja2", "soxr"}
    if not numba:
        blocked.add("numba")
    grid = finished / "grid.yaml" if numba else write_grid(rules=["none"])  # it takes ten times as long without
    place = [str(grid), "--data", str(small_data), "--store", str(tmp_path / "store")]
    for command in (["run", *place, "--inline"], ["status", *place], ["tables", *place]):
        code = [sys.executable, "-c", BLOCK.format(blocked=blocked), *command]
        done = subprocess.run(code, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
    found, expected = checksums(tmp_path / "store"), checksums(finished / "store")
    assert found == expected if numba else set() < found.keys() < expected.keys()  # without it, sums round differently


def test_predictions_are_a_tidy_parquet_file(finished: Path) -> None:
    table = pq.read_table(next((finished / "store" / "stages").glob("*/*.parquet")))
    assert table.column_names == ["utterance", "segment", "test", "q"]
    q = np.array(table["q"].to_pylist())
    np.testing.assert_allclose(q.sum(axis=1), 1, atol=1e-5)


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A Ray cluster of two nodes with two CPUs and a pretended GPU each: twice as many slots as there are folds."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 1})
    cluster.add_node(num_cpus=2, num_gpus=1)
    yield cluster
    cluster.shutdown()


def test_a_cluster_of_several_nodes_trains_each_stage_once_and_to_the_same_bits(
    finished: Path, small_data: Path, tmp_path: Path, cluster: Any
) -> None:
    command = ["run", str(finished / "grid.yaml"), "--data", str(small_data), "--store", str(tmp_path / "store")]
    code = [sys.executable, "-m", "ser_sweep.cli", *command, "--address", cluster.address]
    done = subprocess.run(code, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("trained synthetic tiny") == 12  # a line for each training
    assert checksums(tmp_path / "store") == checksums(finished / "store")


@pytest.fixture(scope="module")
def three_speakers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speakers")
    manifest = write_corpus(folder / "audio", SyntheticCorpus(speakers=3, texts=2, takes=1))
    prepare("synthetic", read_manifest(manifest), folder / "data", inline=True)
    return folder / "data"


def test_a_speaker_split_tests_each_network_on_a_speaker_it_never_heard(
    three_speakers: Path, write_grid: WriteGrid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid, store = write_grid(splits=["speaker"], rules=["bdsl"], folds=3), tmp_path / "store"
    assert run(grid, three_speakers, store, "--inline") == 0
    speaker = find_prepared(three_speakers, "synthetic").utterances()["speaker"]
    for key in checksums(store):
        predictions = Store(store).read_predictions(key)
        assert predictions is not None
        heard = set(speaker[predictions.utterance[~predictions.test]])
        tested = set(speaker[predictions.utterance[predictions.test]])
        assert (len(heard), len(tested), heard & tested) == (2, 1, set())
    capsys.readouterr()
    assert main(["tables", str(grid), "--data", str(three_speakers), "--store", str(store)]) == 0
    assert "split: speaker" in capsys.readouterr().out


def test_a_split_with_too_few_groups_is_refused(
    three_speakers: Path, write_grid: WriteGrid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(write_grid(splits=["speaker"], folds=4), three_speakers, tmp_path / "store") == 2
    said = capsys.readouterr().err
    assert "24 utterances by 3 speakers, of 2 texts" in said and "3 groups, fewer than the 4 folds" in said
    assert run(write_grid(splits=["text"], folds=2), three_speakers, tmp_path / "store") == 2
    said = capsys.readouterr().err
    assert "12 utterances by 3 speakers, of 1 text" in said and "use training.validation_by: utterance" in said
