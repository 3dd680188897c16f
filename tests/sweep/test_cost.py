"""A plan with a price: what is missing, from what was measured, and nothing made up."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.tables.table_stages import stages_by_table
from data_prep.data_folder import find_prepared
from data_prep.shards import PreparedCorpus
from dsl.backbones import VERSIONS
from dsl.settings import TrainingSettings
from ser_sweep.cli import main
from sweep.planning.cost import (
    Estimate,
    TrainingSpeed,
    bytes_per_segment,
    estimate,
    estimate_beside_truth,
    speeds_of,
    suggested_share,
)
from sweep.planning.grid import GridSpec, load_grid
from sweep.planning.probe import probe
from sweep.planning.stages import Plan, StageSpec
from sweep.storage.store import Store

WriteGrid = Callable[..., Path]
PAPER = Path(__file__).parents[2] / "configs" / "paper.yaml"
CORPORA = ("casia", "emodb", "savee")
KIND = "tiny-batch128"
TRAINED = {"epochs": 1, "every": 16, "validation_by": "utterance"}


@pytest.fixture
def done(write_grid: WriteGrid, small_data: Path, tmp_path: Path) -> tuple[GridSpec, PreparedCorpus, Store]:
    """A grid that was run, with its data and its store."""
    path = write_grid(rules=["none", "bdsl"], training={"epochs": 3, "every": 16, "patience": 3})
    place = ["--data", str(small_data), "--store", str(tmp_path / "store")]
    assert main(["run", str(path), *place, "--inline"]) == 0
    return load_grid(path), find_prepared(small_data, "synthetic"), Store(tmp_path / "store")


def plan_of(grid: GridSpec, prepared: PreparedCorpus, done: frozenset[str] = frozenset()) -> Plan:
    return Plan.of(grid.expand({"synthetic": prepared}), done, {})


def test_segments_are_counted_as_they_are_trained(done: tuple[GridSpec, PreparedCorpus, Store]) -> None:
    grid, prepared, store = done
    records = list(store.records())
    found = estimate(plan_of(grid, prepared), [prepared], speeds_of(records), 0.25, bytes_per_segment(records))
    assert found.updates == sum(r["metrics"]["training_segments"] * r["metrics"]["epochs"] for r in records)
    assert found.bytes == pytest.approx(sum(r["predictions"]["bytes"] for r in records), abs=4)
    assert found.stages == 4 and not found.unknown and not found.at_most


def test_inner_networks_are_counted_by_what_they_train_on(
    write_grid: WriteGrid, small_data: Path, tmp_path: Path
) -> None:
    path = write_grid(rules=["bdsl"], label_sources=["cross_fit"], inner_folds=2)
    assert main(["run", str(path), "--data", str(small_data), "--store", str(tmp_path / "s"), "--inline"]) == 0
    records = list(Store(tmp_path / "s").records())
    prepared = find_prepared(small_data, "synthetic")
    found = estimate(plan_of(load_grid(path), prepared), [prepared], {KIND: TrainingSpeed(1.0, 1.0, "hand")}, 1)
    assert found.stages == 8  # iteration 0, two inner networks and iteration 1, in two folds
    assert found.updates == sum(2 * r["metrics"]["training_segments"] for r in records)


def test_hours_and_money_follow_from_rates(done: tuple[GridSpec, PreparedCorpus, Store]) -> None:
    grid, prepared, _ = done
    plan = plan_of(grid, prepared)
    on_gpu = estimate(plan, [prepared], {KIND: TrainingSpeed(0.5, 1.0, "hand", on_gpu=True)}, 0.25)
    assert on_gpu.seconds == pytest.approx(on_gpu.updates * 0.5)
    assert on_gpu.device_seconds == pytest.approx(on_gpu.seconds / 4)
    assert on_gpu.wall_seconds(8) == pytest.approx(on_gpu.seconds / 8)
    assert on_gpu.price(3.6) == pytest.approx(on_gpu.device_seconds / 1000)
    on_cpu = estimate(plan, [prepared], {KIND: TrainingSpeed(0.5, 1.0, "hand")}, 0.25)
    assert on_cpu.device_seconds == on_cpu.seconds
    stopped_early = estimate(plan, [prepared], {KIND: TrainingSpeed(0.5, 1 / 3, "hand")}, 0.25)
    assert stopped_early.seconds == pytest.approx(on_cpu.seconds / 3)


def test_only_what_is_missing_costs(done: tuple[GridSpec, PreparedCorpus, Store]) -> None:
    grid, prepared, store = done
    everything = plan_of(grid, prepared, frozenset(store.done_keys()))
    assert estimate(everything, [prepared], {}, 1) == Estimate()


def test_what_nothing_is_known_of_stays_unknown(done: tuple[GridSpec, PreparedCorpus, Store]) -> None:
    grid, prepared, _ = done
    found = estimate(plan_of(grid, prepared), [prepared], {}, 1)
    assert found.unknown == (KIND,) and found.at_most
    told = found.as_dict(concurrency=2, per_hour=3.0)
    assert (told["device_hours"], told["wall_seconds"], told["price"]) == (None, None, None)
    assert told["updates"] > 0


def test_a_resumed_stage_tells_no_rate(done: tuple[GridSpec, PreparedCorpus, Store]) -> None:
    records = [{**r, "timing": {**r["timing"], "resumed_at_epoch": 1}} for r in done[2].records()]
    assert speeds_of(records) == {}


def test_an_earlier_version_of_a_backbone_tells_no_rate(
    done: tuple[GridSpec, PreparedCorpus, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    records = list(done[2].records())
    assert list(speeds_of(records)) == [KIND]
    monkeypatch.setitem(VERSIONS, "tiny", 2)
    assert speeds_of(records) == {}


def test_a_speed_is_of_the_device_that_was_used_last(done: tuple[GridSpec, PreparedCorpus, Store]) -> None:
    old = list(done[2].records())
    new = [
        {
            **r,
            "device": {"type": "cuda", "name": "new", "peak_memory_bytes": 7},
            "timing": {**r["timing"], "seconds": r["metrics"]["training_segments"] * 3.0, "finished": "9999"},
        }
        for r in old
    ]
    (speed,) = speeds_of([*old, *new]).values()
    assert speed.seconds_per_update == pytest.approx(1.0)  # three epochs
    assert (speed.on_gpu, speed.memory) == (True, 7)
    assert "on new" in speed.basis


@pytest.mark.parametrize(("memory", "share"), [(1, 1 / 16), (10, 1 / 8), (20, 1 / 4), (45, 1), (90, 1)])
def test_the_share_suggested_holds_the_memory_with_a_fifth_to_spare(memory: int, share: float) -> None:
    assert suggested_share(memory, 100) == share


def test_a_probe_trains(done: tuple[GridSpec, PreparedCorpus, Store]) -> None:
    grid, prepared, _ = done
    stage = next(iter(plan_of(grid, prepared).stages.values()))
    found = probe(stage, 4, prepared.settings, threads=1)
    assert found.segments_per_second > 0
    assert found.speed.seconds_per_update == pytest.approx(1 / found.segments_per_second)
    assert (found.memory, found.gpu_share) == (None, None)


def test_the_papers_grid_is_1020_stages_that_its_tables_share(small_data: Path) -> None:
    prepared = find_prepared(small_data, "synthetic")
    named = {name: PreparedCorpus(prepared.folder, {**prepared.manifest, "corpus": name}) for name in CORPORA}
    plan = Plan.of(load_grid(PAPER).expand(named), (), {})
    needed = stages_by_table(plan.chains, {one.name: name for name, one in named.items()})
    assert (len(plan.stages), plan.naive_stages) == (1020, 1380)
    of_paper = {heading: keys for heading, keys in needed.items() if heading.startswith("Table")}
    shown_nowhere = plan.stages.keys() - set().union(*of_paper.values())
    assert {plan.stages[key].iteration for key in shown_nowhere} == {2}  # of all rules but BDSL
    assert len(shown_nowhere) == 3 * 10 * 11
    assert len(needed["Table II"]) == 3 * 10 * 4 * 3  # corpora, folds, backbones, iterations 0 to 2
    assert len(needed["Table III"]) == 3 * 10 * 4  # iteration 0, and iteration 1 of three rules
    assert len(needed["Table IV"]) == 3 * 10 * 11  # iteration 0, BDSL, and nine weights between
    assert len(needed["Table V"]) == 3 * 10 * 5
    assert {len(keys) for heading, keys in needed.items() if heading.startswith("All networks")} == {340}


# As commands


def run_plan(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert main(["plan", *arguments]) == 0
    return capsys.readouterr().out


def test_a_plan_tells_hours_and_price_once_something_is_measured(
    write_grid: WriteGrid, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--data", str(small_data), "--store", str(tmp_path / "store")]
    path = str(write_grid(rules=["none"]))
    before = run_plan(capsys, path, *place, "--price-per-hour", "2")
    assert f"hours and price unknown: no stage of {KIND}" in before
    assert re.search(r"missing at most [\d,]+ segment updates", before)
    assert re.search(r"Table II +2: 0 done, 2 missing", before) and "Table III" not in before
    assert main(["run", path, *place, "--inline"]) == 0
    path = str(write_grid(rules=["none", "bdsl"]))
    after = run_plan(capsys, path, *place, "--price-per-hour", "2", "--concurrency", "4")
    assert re.search(r"[\d.]+ device-hours, .* with 4 trials at once", after)
    assert re.search(r"price [\d.]+, at 2 a device-hour", after)
    assert "from 2 stages of this store on" in after
    told = json.loads(run_plan(capsys, path, *place, "--json"))
    assert told["estimate"]["stages"] == 2
    assert told["tables"]["Table II"] == {"total": 4, "done": 2, "missing": 2}


@pytest.mark.parametrize(
    "fields",
    [
        {"rules": ["none"]},
        {"rules": ["none", "bdsl"], "labels": "permuted"},
        {"rules": ["bdsl", {"wdsl": 0.2}], "splits": ["stratified", "speaker"], "training": TRAINED},
        {"rules": ["bdsl", "gsl"], "label_sources": ["in_fold", "global_oof"]},
    ],
)
def test_a_plan_lists_the_tables_that_there_are_once_all_is_trained(
    write_grid: WriteGrid,
    small_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    fields: dict[str, Any],
) -> None:
    arguments = [str(write_grid(**fields)), "--data", str(small_data), "--store", str(tmp_path / "store")]
    planned = list(json.loads(run_plan(capsys, *arguments, "--json"))["tables"])
    assert main(["run", *arguments, "--inline", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["tables", *arguments, "--no-forests"]) == 0
    printed = re.findall(r"^\*\*(.+?)\.\*\*", capsys.readouterr().out, re.MULTILINE)
    assert sorted(printed) == sorted(["Table I", *planned])


def test_a_plan_can_probe(
    write_grid: WriteGrid, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = run_plan(capsys, str(write_grid()), "--data", str(small_data), "--store", str(tmp_path / "store"), "--probe")
    assert re.search(rf"probe   {KIND}: [\d,]+ segments/s on this machine's CPU", said)
    assert "device-hours" in said
    assert not (tmp_path / "store").exists()


def test_a_run_prints_the_estimate_beside_the_truth(
    write_grid: WriteGrid, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--data", str(small_data), "--store", str(tmp_path / "store"), "--inline"]
    assert main(["run", str(write_grid(rules=["none"])), *place]) == 0
    assert "there was no measurement for an estimate" in capsys.readouterr().out
    assert main(["run", str(write_grid(rules=["none", "bdsl"])), *place]) == 0
    assert re.search(r"took \d+ s of training.*estimated: \d+ s in .*2 stages", capsys.readouterr().out)


def test_truth_and_estimate_are_in_the_same_unit() -> None:
    expected = Estimate(stages=1, seconds=7200, device_seconds=1800, basis={"k": "a probe"})
    said = estimate_beside_truth(expected, training_seconds=3600, seconds=1800, slots=2)
    assert said == "took 60 min of training, in 30 min; estimated: 2 h 00 min in 60 min, from a probe"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--price-per-hour", "-1"], "'-1' is not a price"),
        (["--price-per-hour", "cheap"], "'cheap' is not a price"),
        (["--concurrency", "0"], "'0' is not a whole number of at least 1"),
    ],
)
def test_bad_options_are_refused(flags: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["plan", "grid.yaml", "--data", "d", "--store", "s", *flags])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_a_stage_that_does_not_say_how_long_it_took_is_no_measure() -> None:
    metrics = {"training_segments": 10, "epochs": 1}
    stage = StageSpec("a-0", "tiny", "stratified", 2, 0, 0, None, (), TrainingSettings())
    record = {"identity": stage.identity, "metrics": metrics, "timing": {"resumed_at_epoch": 0}, "device": {}}
    assert speeds_of([record]) == {}
