"""The command line: what a user sees, and the exit status a script sees."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_prep.data_folder import find_prepared
from data_prep.files import write_json
from ser_sweep.cli import main
from sweep.storage.store import Store

WriteGrid = Callable[..., Path]


@pytest.fixture
def place(small_data: Path, write_grid: WriteGrid, tmp_path: Path) -> Callable[..., list[str]]:
    """Arguments that name a grid over the small corpus, its data and a store."""

    def arguments(**fields: Any) -> list[str]:
        return [str(write_grid(**fields)), "--data", str(small_data), "--store", str(tmp_path / "store")]

    return arguments


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one message with which `arguments` are refused."""
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("ser-sweep: ")
    assert "Traceback" not in said.err
    return said.err


COMMANDS = ["plan", "run", "status", "tables", "claims"]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"corpora": ["emodb"]}, "corpus 'emodb' is not in"),
        ({"backbones": ["resnet"]}, "backbones.0: 'resnet' is not known; allowed: vgg19"),
        ({"rules": ["sdsl"]}, "rules.0: 'sdsl' is not known; allowed: none, bdsl"),
        ({"rules": [{"wdsl": 1.2}]}, "alpha 1.2 is not a number in [0, 1]"),
        ({"rules": [{"hdl": 0.2}]}, "hdl takes no alpha, but has 0.2"),
        ({"folds": 9}, "sadness 8): a class has 8 utterances, fewer than the 9 folds"),
        ({"features": {"segment_frames": 40}}, "segment_frames: the grid asks for 40, the shards have 32"),
        ({"fold": 3}, "fold: unknown field"),
    ],
)
def test_a_bad_grid_is_one_message_and_leaves_no_store(
    place: Callable[..., list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    fields: dict[str, Any],
    part: str,
) -> None:
    assert part in refused([command, *place(**fields)], capsys)
    assert not (tmp_path / "store").exists()


def test_data_that_is_not_there_is_named_with_the_command_that_makes_it(
    write_grid: WriteGrid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["plan", str(write_grid()), "--data", str(tmp_path / "none"), "--store", str(tmp_path / "store")]
    assert "none does not exist; make it with: ser-sweep prepare" in refused(arguments, capsys)


def test_two_preparations_of_a_corpus_are_listed_and_can_be_told_apart(
    small_data: Path, write_grid: WriteGrid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = find_prepared(small_data, "synthetic")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / one.name).symlink_to(str(one.folder))
    other = {**one.manifest, "fingerprint": "f" * 12, "settings": {**one.manifest["settings"], "segment_hop": 3}}
    (tmp_path / "data" / "synthetic-ffffffffffff").mkdir()
    write_json(tmp_path / "data" / "synthetic-ffffffffffff" / "manifest.json", other)
    place = ["--data", str(tmp_path / "data"), "--store", str(tmp_path / "store")]
    said = refused(["plan", str(write_grid()), *place], capsys)
    assert "corpus 'synthetic' is ambiguous" in said
    assert f"{one.name} (32 utterances" in said
    assert "segment_hop 3" in said
    assert main(["plan", str(write_grid(corpora=[one.name])), *place]) == 0


def test_a_store_of_other_data_is_refused(
    place: Callable[..., list[str]], small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = find_prepared(small_data, "synthetic")
    store = Store(tmp_path / "store")
    store.create()
    other = {**one.manifest, "fingerprint": "f" * 12}
    store.add_corpus(type(one)(one.folder, other))
    for command in COMMANDS:
        said = refused([command, *place()], capsys)
        assert f"belongs to other data: it holds synthetic-ffffffffffff, and {small_data} holds {one.name}" in said


@pytest.mark.parametrize("command", ["plan", "status"])
def test_plan_and_status_are_one_json_object_and_write_nothing(
    place: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main([command, *place(), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    # none, bdsl (which is wdsl 0), wdsl 0.2, wdsl 1, gsl, hdl in two folds
    assert told["trials"] == 12
    assert told["stages"] == {"total": 12, "done": 0, "missing": 12, "failed": 0}
    assert told["naive_stages"] == 22
    assert not (tmp_path / "store").exists()


def test_run_status_and_tables_follow_a_sweep(
    place: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = place(rules=["none", "gsl"])
    assert main(["run", *arguments, "--inline"]) == 0
    said = capsys.readouterr()
    assert "4 of 4 stages done: 4 trained, 0 were there before" in said.out
    assert "trained synthetic tiny none fold 0 seed 0, t=0" in said.err
    assert main(["status", *arguments]) == 0
    assert "tiny gsl t=1      2 of 2" in capsys.readouterr().out
    assert main(["tables", *arguments]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("**Table I.**")
    assert "**Table II.**" in said.out
    assert "**Iteration chosen by validation.**" in said.out
    assert "test folds (optimistic)" not in said.out
    assert "DSL-GSL" in said.out
    for form, start in (("latex", "\\begin"), ("csv", "table,"), ("json", "{")):
        file = tmp_path / "out" / f"tables.{form}"
        assert main(["tables", *arguments, "--format", form, "--out", str(file)]) == 0
        assert start in file.read_text(encoding="utf-8").splitlines()[0]
    assert capsys.readouterr().out == ""
    assert main(["tables", *arguments, "--test-chosen"]) == 0
    assert "**Iteration chosen on the test folds (optimistic).**" in capsys.readouterr().out
    assert main(["claims", *arguments]) == 0
    assert "DSL-BDSL improves on no DSL. (Table II, §VIII-B (1))" in capsys.readouterr().out
    assert main(["claims", *arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["level"] == 0.05


def test_tables_of_an_empty_store_name_the_command_that_fills_it(
    place: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("tables", "claims"):
        assert "holds no stage of" in refused([command, *place()], capsys)


def test_tables_of_a_half_done_sweep_say_so(
    place: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = place(rules=["none"])
    assert main(["run", *arguments, "--inline"]) == 0
    store = Path(arguments[-1])
    next((store / "stages").glob("*/stage.json")).unlink()
    capsys.readouterr()
    assert main(["tables", *arguments]) == 0
    said = capsys.readouterr().out
    assert "(1/2 folds)" in said
    assert "incomplete folds" in said


def test_a_store_that_cannot_be_written_is_one_message(
    place: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "store").write_text("not a folder")
    assert "is a file; give a folder" in refused(["run", *place(), "--inline"], capsys)


def test_a_cluster_that_is_not_there_is_one_message(
    place: Callable[..., list[str]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    said = refused(["run", *place(), "--address", "127.0.0.1:1"], capsys)
    assert "no Ray cluster at address '127.0.0.1:1'" in said
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # of a head that is gone
    said = refused(["run", *place(), "--address", "auto"], capsys)
    assert "no Ray cluster at address 'auto' (" in said and "Connection refused" in said


def test_debug_shows_the_traceback(place: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *place(corpora=["emodb"]), "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["train"], ["run"], ["tables", "g.yaml", "--data", "d", "--store", "s", "--format", "x"]]
)
def test_bad_usage_ends_with_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


STORE_COMMANDS = ["store verify", "store gc", "store export"]


@pytest.mark.parametrize("command", ["corpora", "fetch", "prepare", *COMMANDS, "demo", *STORE_COMMANDS])
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    assert f"example: ser-sweep {command}" in capsys.readouterr().out
