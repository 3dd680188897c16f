"""Results without predictions: small enough to be committed, and every table can be made of them."""

import json
import shutil
from pathlib import Path

import pytest

from analysis.columns import CONFIDENCE
from data_prep.checked import read_frame
from ser_sweep.cli import main
from sweep.storage.store import Store

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    """A folder with a grid, its finished store, and its RESULTS."""
    folder = tmp_path_factory.mktemp("results")
    axes = {"rules": ["none", "bdsl"], "label_sources": ["in_fold", "global_oof"], "folds": 3}
    training = {"epochs": 1, "every": 64}
    grid = {"corpora": ["synthetic"], "backbones": ["tiny"], **axes, "weights": "last", "training": training}
    (folder / "grid.yaml").write_text(json.dumps(grid), encoding="utf-8")
    place = [str(folder / "grid.yaml"), "--data", str(small_data), "--store", str(folder / "store")]
    assert main(["run", *place, "--inline"]) == 0
    assert main(["store", "export", *place, "--decisions", "--out", str(folder / "RESULTS")]) == 0
    return folder


@pytest.fixture
def place(folder: Path, small_data: Path) -> list[str]:
    return [str(folder / "grid.yaml"), "--data", str(small_data), "--store", str(folder / "store")]


@pytest.fixture
def results(folder: Path) -> list[str]:
    return ["--from", str(folder / "RESULTS")]


@pytest.fixture
def exported_place(folder: Path) -> list[str]:
    """Its three parts, where a command takes no --from."""
    parts = folder / "RESULTS"
    return [str(parts / "grid.yaml"), "--data", str(parts / "data"), "--store", str(parts / "store")]


def as_of_an_earlier_version(results: Path) -> Path:
    """The same export without its list of files."""
    (results / "SHA256SUMS").unlink()
    Store(results / "store").create_results_only({"scikit-learn": "1.7.2"})
    return results


@pytest.mark.parametrize(
    "command",
    [["tables"], ["tables", "--format", "csv", "--no-forests"], ["claims", "--json"]],
    ids=" ".join,
)
def test_they_say_what_the_store_says(
    command: list[str], place: list[str], results: list[str], capsys: Capture
) -> None:
    said = []
    for where in (place, results):
        assert main([*command, *where, "--quiet"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert "tiny" in said[0].lower()


def test_no_prediction_and_no_sound_is_among_them(folder: Path) -> None:
    files = {path.relative_to(folder / "RESULTS").parts for path in (folder / "RESULTS").rglob("*") if path.is_file()}
    stages = {parts[2] for parts in files if parts[:2] == ("store", "stages")}
    assert stages == Store(folder / "store").done_keys()
    assert {parts[3] for parts in files if parts[:2] == ("store", "stages")} == {"stage.json"}
    assert {parts[0] for parts in files if len(parts) == 1} == {"grid.yaml", "SHA256SUMS"}
    assert {parts[-1] for parts in files if parts[0] == "data"} == {"manifest.json", "utterances.parquet"}


def test_they_do_not_need_the_scikit_learn_that_decided(
    results: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    assert main(["claims", *results, "--quiet"]) == 0
    before = capsys.readouterr().out
    monkeypatch.setattr("analysis.scoring.results.version", lambda package: "99.0")
    assert main(["claims", *results, "--quiet"]) == 0
    assert capsys.readouterr().out == before


def test_another_version_of_the_method_is_told(
    results: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("analysis.scoring.results.DECISION_VERSION", {"stratified": 99})
    assert main(["tables", *results, "--quiet"]) == 2
    assert "another version of the method: read them with that version, or restore" in capsys.readouterr().err


def test_results_that_were_exported_without_confidences_say_so(
    folder: Path, results: list[str], tmp_path: Path, capsys: Capture
) -> None:
    older = as_of_an_earlier_version(Path(shutil.copytree(folder / "RESULTS", tmp_path / "RESULTS")))
    store = Store(older / "store")
    for path in (older / "store" / "decisions").iterdir():
        decided = read_frame(store.read_decisions(path.name) or b"")
        store.write_decisions(path.name, decided.drop(columns=CONFIDENCE).to_parquet(index=False))
    said = []
    for where in (results, ["--from", str(older)]):
        assert main(["tables", *where, "--no-forests", "--quiet"]) == 0
        said.append(capsys.readouterr().out.partition("**Calibration of mean pooling.**"))
    assert said[0][0] == said[1][0]
    assert "| tiny, t = 0 " in said[0][2] and "networks are without calibration" not in said[0][2]
    assert "- 3 networks are without calibration: the store holds decisions that were exported before" in said[1][2]


def test_a_part_of_a_sweep_has_results(folder: Path, place: list[str], tmp_path: Path, capsys: Capture) -> None:
    store = Store(shutil.copytree(folder / "store", tmp_path / "store"))
    late = next(record["key"] for record in store.records() if record["iteration"] == 1)
    store.delete_stage(late)
    partly = [*place[:-1], str(tmp_path / "store")]
    assert main(["store", "export", *partly, "--decisions", "--out", str(tmp_path / "RESULTS")]) == 0
    assert "results of 8 of 9 stages" in capsys.readouterr().out
    assert main(["tables", *partly, "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "2/3 folds" in said
    assert main(["tables", "--from", str(tmp_path / "RESULTS"), "--quiet"]) == 0
    assert capsys.readouterr().out == said


@pytest.mark.parametrize("command", [["run"], ["store", "verify"], ["store", "gc"], ["store", "export"]], ids=" ".join)
def test_nothing_else_is_done_with_them(
    command: list[str], folder: Path, exported_place: list[str], tmp_path: Path, capsys: Capture
) -> None:
    places = {"run": exported_place, "verify": exported_place[-2:], "gc": exported_place}
    before = {path: path.read_bytes() for path in (folder / "RESULTS").rglob("*") if path.is_file()}
    more = ["--inline"] if command == ["run"] else ["--out", str(tmp_path / "out")] if command[-1] == "export" else []
    assert main([*command, *places.get(command[-1], exported_place[-2:]), *more]) == 2
    assert "holds results only" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (folder / "RESULTS").rglob("*") if path.is_file()} == before


def test_figures_and_a_report_are_made_of_them(results: list[str], tmp_path: Path, capsys: Capture) -> None:
    assert main(["figures", *results, "--out", str(tmp_path / "figures"), "--format", "svg", "--quiet"]) == 0
    drawn = {path.name.partition("-synthetic")[0] for path in (tmp_path / "figures").glob("*.svg")}
    assert {"class-recall", "learning-curves"} <= drawn
    assert main(["report", *results, "--out", str(tmp_path / "report"), "--quiet"]) == 0
    assert "9 of 9 stages" in capsys.readouterr().out
    again = ["figures", *results, "--out", str(tmp_path / "contour"), "--utterance", "s01_t01_anger_1"]
    assert main(again) == 2
    assert "holds results only" in capsys.readouterr().err


def test_a_command_is_told_where_its_results_are_once(
    place: list[str], results: list[str], tmp_path: Path, capsys: Capture
) -> None:
    assert main(["tables", place[0], "--data", place[2]]) == 2
    assert "missing: --store; give all of GRID.yaml, --data, --store, or --from RESULTS" in capsys.readouterr().err
    assert main(["tables", place[0], *results]) == 2
    assert "--from RESULTS replaces GRID.yaml; give one or the other" in capsys.readouterr().err
    assert main(["tables", "--from", str(tmp_path)]) == 2
    assert f"{tmp_path} holds no grid.yaml" in capsys.readouterr().err


def test_two_folders_of_results_are_compared(results: list[str], place: list[str], capsys: Capture) -> None:
    quick = ["--no-forests", "--quiet", "--json"]
    said = []
    for where in ([place[0], *place], [*results, "--other-from", results[1]], [*place, "--other-from", results[1]]):
        assert main(["compare", *where, *quick]) == 0
        said.append(json.loads(capsys.readouterr().out)["comparisons"])
    assert said[0] == said[1] == said[2]
    for where, message in (
        (results, "compare has one sweep only"),
        ([*results, place[0]], "missing: --other-data, --other-store; give all of GRID.yaml, --other-data"),
        ([place[0], *results, "--other-from", results[1]], "--from RESULTS replaces GRID.yaml"),
        ([place[0], *place, "--other-from", results[1]], "--other-from RESULTS replaces GRID.yaml"),
    ):
        assert main(["compare", *where]) == 2
        assert message in capsys.readouterr().err


def test_the_best_of_results_is_that_of_the_store(
    results: list[str], place: list[str], tmp_path: Path, capsys: Capture
) -> None:
    said = []
    for where in (place, results):
        assert main(["best", *where, "--no-forests", "--quiet"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert main(["best", *results, "--no-forests", "--quiet", "--write", str(tmp_path / "best.yaml")]) == 0
    assert "--data DATA --store STORE" in capsys.readouterr().out


def test_results_are_of_a_grid(place: list[str], tmp_path: Path, capsys: Capture) -> None:
    assert main(["store", "export", *place[-2:], "--decisions", "--out", str(tmp_path / "out")]) == 2
    assert "store export --decisions exports one grid" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
