"""Results that were exported alone and are not whole: each message names the file and how to get it back, none advises
to train, and nothing is written to them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis import keep_results
from data_prep.data_folder import find_prepared
from ser_sweep.cli import main
from sweep.planning.grid import load_grid
from sweep.storage.export import results_folder
from sweep.storage.store import Store

RECORDED = Path(__file__).parents[1] / "analysis" / "recorded"
GRID = """
corpora: [synthetic]
backbones: [tiny]
rules: [none, hdl]
folds: 3
training: {epochs: 12, every: 48, batch_size: 32, learning_rate: 0.01}
"""
ALONE = ["--no-forests", "--quiet"]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a part of the recorded sweep."""
    folder = tmp_path_factory.mktemp("exported")
    shutil.copytree(RECORDED / "store", folder / "store")
    (folder / "grid.yaml").write_text(GRID, encoding="utf-8")
    prepared = {"synthetic": find_prepared(RECORDED / "data", "synthetic")}
    chains = load_grid(folder / "grid.yaml").expand(prepared)
    with results_folder(folder / "RESULTS", GRID, prepared.values()) as kept:
        assert len(keep_results(Store(folder / "store"), chains, kept)) == 5  # of 6: one is not in the store
    return folder / "RESULTS"


@pytest.fixture
def results(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "RESULTS"))


@pytest.fixture
def earlier(results: Path) -> Path:
    """As a version exported them that listed no files."""
    (results / "SHA256SUMS").unlink()
    Store(results / "store").create_results_only({"scikit-learn": "1.7.2"})
    return results


def parts(results: Path) -> list[str]:
    return [str(results / "grid.yaml"), "--data", str(results / "data"), "--store", str(results / "store")]


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def garbled(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"\x00\xff" + content[len(content) // 2 + 2 :])


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def removed(path: Path) -> None:
    path.unlink()
    if not any(path.parent.iterdir()):
        path.parent.rmdir()  # as version control has none that is empty


def refused(results: Path, command: list[str], capsys: Capture) -> str:
    """The message of a command that fails and leaves what it was given as it is."""
    before = contents(results)
    assert main(command) == 2
    assert contents(results) == before
    return capsys.readouterr().err


FILES = (
    *("grid.yaml", "data/*/manifest.json", "data/*/utterances.parquet"),
    *("store/store.json", "store/corpora/*/corpus.json", "store/corpora/*/utterances.parquet"),
    *("store/stages/*/stage.json", "store/decisions/*"),
)
DAMAGE = (removed, cut_off, garbled)


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda one: one.__name__)
@pytest.mark.parametrize(
    ("kind", "pattern"), [*(("results", one) for one in (*FILES, "SHA256SUMS")), *(("earlier", one) for one in FILES)]
)
def test_a_damaged_file_is_named(
    kind: str, pattern: str, damage: Callable[[Path], None], request: pytest.FixtureRequest, capsys: Capture
) -> None:
    results: Path = request.getfixturevalue(kind)
    file = sorted(results.glob(pattern))[0]
    damage(file)
    said = refused(results, ["tables", "--from", str(results), *ALONE], capsys)
    assert str(file.relative_to(results)) in said
    assert "restore the export, for example from version control" in said
    assert not any(advice in said for advice in ("ser-sweep run", "ser-sweep prepare", "prepare the corpus"))


@pytest.mark.parametrize("pattern", FILES)
@pytest.mark.parametrize(
    "command", [["run", "--inline"], ["store", "gc", "--delete"], ["audit", "--exact", "--inline"]]
)
def test_nothing_is_written_to_damaged_results(
    command: list[str], pattern: str, results: Path, capsys: Capture
) -> None:
    removed(sorted(results.glob(pattern))[0])
    said = refused(results, [*command, *parts(results)], capsys)
    assert not any(advice in said for advice in ("notice:", "ser-sweep run", "ser-sweep prepare", "prepare the corpus"))


@pytest.mark.parametrize("mark", [None, "{", '{"kind": "ser-sweep store", "schema": 1}'], ids=["none", "cut", "other"])
@pytest.mark.parametrize(
    "command",
    [["verify", "--repair"], ["launches"], ["networks"], ["predict", "--stage", "0", "a.wav"]],
    ids=lambda one: one[0],
)
def test_an_export_without_its_mark_is_told_by_its_stages(
    command: list[str], mark: str | None, results: Path, capsys: Capture
) -> None:
    store = results / "store"
    (store / "store.json").unlink() if mark is None else (store / "store.json").write_text(mark, encoding="utf-8")
    group = ["store"] if command[0] == "verify" else []
    said = refused(results, [*group, *command, "--store", str(store)], capsys)
    assert "holds stages without predictions" in said
    assert "restore the export" in said


def test_every_file_is_named_at_once_and_others_are_told(results: Path, capsys: Capture) -> None:
    removed(results / "grid.yaml")
    lost = sorted(results.glob("store/stages/*"))[:2]
    for stage in lost:
        shutil.rmtree(stage)
    (results / "store" / "failures").mkdir()
    (results / "store" / "failures" / "0.json").write_text("{}", encoding="utf-8")
    (results / "store" / ".DS_Store").write_text("", encoding="utf-8")
    said = refused(results, ["tables", "--from", str(results)], capsys)
    wrong = [line for line in said.splitlines() if line.startswith("  - ")]
    assert wrong == [
        "  - grid.yaml: missing",
        "  - store/failures/0.json: not part of the export",
        *(f"  - store/stages/{stage.name}/stage.json: missing" for stage in lost),
    ]


def test_line_ends_of_another_system_are_no_damage(results: Path, capsys: Capture) -> None:
    assert main(["tables", "--from", str(results), *ALONE]) == 0
    said = capsys.readouterr().out
    for path in (results / "SHA256SUMS", results / "grid.yaml", *results.glob("store/stages/*/stage.json")):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert main(["tables", "--from", str(results), *ALONE]) == 0
    assert capsys.readouterr().out == said


def test_another_grid_in_its_place_is_told(earlier: Path, capsys: Capture) -> None:
    grid = earlier / "grid.yaml"
    for text, message in (
        (GRID.replace("epochs: 12", "epochs: 11"), "5 of 5 stages are of no chain of grid.yaml: another grid is in"),
        (GRID.replace("synthetic", "emodb"), "grid.yaml is damaged, or not that of these results (corpus 'emodb' is"),
    ):
        grid.write_text(text, encoding="utf-8")
        said = refused(earlier, ["tables", "--from", str(earlier)], capsys)
        assert message in said
        assert "ser-sweep run" not in said and "ser-sweep prepare" not in said


def test_a_network_of_which_all_stages_are_lost_is_told(earlier: Path, capsys: Capture) -> None:
    lost = [record["key"] for record in Store(earlier / "store").records() if record["iteration"]]
    for key in lost:
        shutil.rmtree(earlier / "store" / "stages" / key)
    said = refused(earlier, ["tables", "--from", str(earlier), *ALONE], capsys)
    assert all(f"store/stages/{key}/stage.json: missing" in said for key in lost)


def test_corpora_without_sound_are_not_trained_on_or_added_to(results: Path, tmp_path: Path, capsys: Capture) -> None:
    own = [str(results / "grid.yaml"), "--data", str(results / "data"), "--store", str(tmp_path / "own")]
    assert "has no sound: it belongs to results alone" in refused(results, ["run", *own, "--inline"], capsys)
    assert not (tmp_path / "own").exists()
    for out in (results / "data", results):
        made = ["prepare", "synthetic", "--out", str(out), "--inline"]
        assert f"{out} belongs to results alone" in refused(results, made, capsys)


def test_a_report_of_them_has_no_launches_and_no_costs(results: Path, tmp_path: Path) -> None:
    assert main(["report", "--from", str(results), "--out", str(tmp_path / "report"), *ALONE]) == 0
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "Launches and their costs are in the store that they are from." in page
    assert "device-hours in all launches" not in page
    assert f"--data {results}" not in page
