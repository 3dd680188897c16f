"""What programs call: a sweep that is opened, run, and asked for its results."""

import json
import pickle
from collections import Counter
from pathlib import Path

import pytest
import yaml

from analysis import to_markdown
from data_prep.errors import UserError
from data_prep.folders import Folder
from ser_sweep import Sweep, open_results, open_sweep
from ser_sweep.cli import main
from sweep.storage.store import Store

GRID = {
    "name": "door",
    "corpora": ["synthetic"],
    "backbones": ["tiny"],
    "rules": ["none", "bdsl"],
    "folds": 2,
    "training": {"epochs": 1, "every": 16, "early_stopping": False},
}
STAGES = 4


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("door")
    (folder / "grid.yaml").write_text(yaml.safe_dump(GRID), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(small_data: Path, place: Path) -> Sweep:
    sweep = open_sweep(place / "grid.yaml", small_data, place / "store")
    assert len(sweep.plan.to_train) == STAGES
    ran = sweep.run(inline=True, quiet=True)
    assert (ran.before, ran.outcome.trained, ran.done, ran.total, ran.gone) == (0, STAGES, STAGES, STAGES, 0)
    return sweep


def again(sweep: Sweep) -> Sweep:
    assert sweep.place is not None
    return open_sweep(sweep.grid_file, sweep.data, sweep.place)


def test_a_sweep_that_was_run_knows_that_it_is_done(trained: Sweep) -> None:
    assert len(trained.plan.done) == STAGES
    assert trained.run(inline=True, quiet=True).outcome.trained == 0


def test_tables_are_those_of_the_command(trained: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    options = [str(trained.grid_file), "--data", trained.data, "--store", str(trained.place)]
    assert main(["tables", *options]) == 0
    assert capsys.readouterr().out.rstrip() == to_markdown(again(trained).tables()).rstrip()


def test_scores_and_comparisons_are_of_the_same_decisions(trained: Sweep) -> None:
    sweep = again(trained)
    assert sweep.decisions() is sweep.decisions()
    assert set(sweep.scores()["rule"]) == {"none", "bdsl"}
    assert len(sweep.comparisons())
    assert set(sweep.decisions(forests=False)["decision"]) == {"mean"}


def test_figures_report_and_results_are_written(trained: Sweep, tmp_path: Path) -> None:
    sweep = again(trained)
    drawn = sweep.figures(tmp_path / "figures", formats=["svg"])
    assert {path.name for path in (tmp_path / "figures").glob("*.svg")} == {
        file for one in drawn for file in one["files"]
    }
    assert sweep.report(tmp_path / "report", forests=False).done == STAGES
    assert len(sweep.export_results(tmp_path / "results")) == STAGES
    kept = open_results(tmp_path / "results")
    assert to_markdown(kept.tables()) == to_markdown(sweep.tables())


def test_a_report_reads_every_stage_json_once(trained: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: Counter[str] = Counter()
    plain_read = Folder.read

    def counted(folder: Folder, name: str) -> bytes | None:
        read[name] += name.endswith("stage.json")
        return plain_read(folder, name)

    monkeypatch.setattr(Folder, "read", counted)
    options = [str(trained.grid_file), "--data", trained.data, "--store", str(trained.place)]
    assert main(["report", *options, "--out", str(tmp_path / "report"), "--quiet"]) == 0
    stages = {name: times for name, times in read.items() if times}
    assert stages == {f"stages/{key}/stage.json": 1 for key in trained.plan.done}


def test_what_another_trained_is_seen_after_a_look(trained: Sweep, tmp_path: Path) -> None:
    sweep = open_sweep(trained.grid_file, trained.data, tmp_path / "store")
    assert not sweep.plan.done
    open_sweep(trained.grid_file, trained.data, tmp_path / "store").run(inline=True, quiet=True)
    assert not sweep.plan.done
    sweep.refresh()
    assert len(sweep.plan.done) == STAGES


def test_a_damaged_stage_is_told_and_trained_again(trained: Sweep, tmp_path: Path) -> None:
    sweep = open_sweep(trained.grid_file, trained.data, tmp_path / "store")
    sweep.run(inline=True, quiet=True)
    victim = sorted(sweep.plan.done)[0]
    (file,) = (tmp_path / "store" / "stages" / victim).glob("predictions-*")
    file.write_bytes(b"?" * file.stat().st_size)
    told: list[str] = []
    ran = again(sweep).run(inline=True, quiet=True, notice=told.append)
    assert (ran.before, ran.outcome.trained, ran.done) == (STAGES - 1, 1, STAGES)
    assert f"1 damaged stage to be trained again: {victim}" in told[0]


def test_without_a_store_there_are_chains_and_folds_only(trained: Sweep) -> None:
    sweep = open_sweep(trained.grid_file, trained.data)
    ((stage, parts),) = sweep.folds()
    assert len(parts) == stage.folds == 2
    with pytest.raises(UserError, match="was opened without a store"):
        _ = sweep.plan


def test_an_empty_store_has_no_results(trained: Sweep, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no stage of"):
        open_sweep(trained.grid_file, trained.data, tmp_path / "store").decisions()


def test_what_is_no_folder_of_results_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="store export --decisions writes such folders"):
        open_results(tmp_path)


def test_a_mistyped_address_is_no_folder(trained: Sweep) -> None:
    with pytest.raises(UserError, match="write s3://"):
        open_sweep(trained.grid_file, trained.data, "s3:/bucket/store")


def test_a_snapshot_that_is_sent_to_another_process_is_small(trained: Sweep) -> None:
    assert list(trained.seen.records())
    sent = pickle.dumps(trained.seen)
    assert len(sent) < len(pickle.dumps(Store(trained.store.folder))) + 500
    assert json.dumps(sorted(pickle.loads(sent).done_keys())) == json.dumps(sorted(trained.plan.done))
