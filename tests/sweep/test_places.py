"""Paths and names as users give them to commands, and commands as messages give them back."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.data_folder import find_prepared
from data_prep.folders import Folder
from ser_sweep.cli import main
from sweep.storage.store import Store

WriteGrid = Callable[..., Path]
QUICK = {"rules": ["none"], "training": {"epochs": 1, "every": 32}}


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_data_store_and_export_may_hold_any_character(
    small_data: Path, write_grid: WriteGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data#1?").symlink_to(small_data)
    place = [str(write_grid(**QUICK)), "--data", "data#1?", "--store", "what?"]
    assert main(["run", *place, "--inline", "--quiet"]) == 0
    assert main(["store", "export", "--store", "what?", "--out", "exp#1?"]) == 0
    assert names_in(tmp_path) == ["data#1?", "exp#1?", "grid.yaml", "what?"]
    assert (tmp_path / "exp#1?" / "stages.parquet").exists()


def test_prepare_writes_into_the_folder_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", "synthetic", "--out", "what?", "--inline", "--quiet"]) == 0
    assert names_in(tmp_path) == ["what?"]
    assert find_prepared("what?", "synthetic").corpus == "synthetic"


def test_a_tilde_after_an_equals_sign_is_a_home(
    small_data: Path, write_grid: WriteGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "data").symlink_to(small_data)
    (home / "grid.yaml").write_bytes(write_grid(**QUICK).read_bytes())
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    place = ["~/grid.yaml", "--data=~/data", "--store=~/store"]
    assert main(["run", *place, "--inline", "--quiet"]) == 0
    assert main(["tables", *place, "--no-forests", "--quiet", "--out=~/tables.txt"]) == 0
    assert names_in(home) == ["data", "grid.yaml", "store", "tables.txt"]
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["networks", "--store=s3:/x"], "s3:/x is not an address"),
        (["prepare", "synthetic", "--out=s3:/x"], "s3:/x is not an address"),
        (["corpora", "--data=s3:/x"], "s3:/x is not an address"),
        (["demo", "--out=s3:/x"], "s3:/x is not an address"),
        (["demo", "--out=s3://bucket/x?secret=1"], "s3://bucket/x?... is an address; give a path on this machine"),
        (["prepare", "emodb", "--source=s3://bucket/x", "--out=y"], "s3://bucket/x is an address"),
        (["fetch", "emodb", "--out=s3://bucket/x"], "s3://bucket/x is an address"),
        (["predict", "--store=x", "--stage=0", "~nobody-of-this-name/a.wav"], "no user here has such a home"),
    ],
)
def test_what_is_no_place_is_refused_before_a_folder_is_made(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status: object = main(arguments)
    except SystemExit as ended:  # as argparse ends
        status = ended.code
    assert status == 2
    said = capsys.readouterr().err
    assert message in said
    assert "secret" not in said
    assert names_in(tmp_path) == []


def test_two_s3_folders_that_differ_after_a_hash_are_two(s3_bucket: str) -> None:
    first, second = Folder(f"{s3_bucket}/exp#1"), Folder(f"{s3_bucket}/exp#2")
    first.write("a", b"1")
    second.write("a", b"2")
    assert (first.read("a"), second.read("a")) == (b"1", b"2")
    assert sorted(Folder(s3_bucket).folders()) == ["exp#1", "exp#2"]


# Commands that messages propose


def proposed(text: str) -> list[str]:
    """The words of the command in a message, as a shell takes them."""
    (line,) = [line for line in text.splitlines() if "ser-sweep " in line.partition(": ")[2]]
    return shlex.split(line[line.rindex("ser-sweep ") :])


def test_commands_in_messages_can_be_pasted(
    small_data: Path,
    write_grid: WriteGrid,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my data").symlink_to(small_data)
    write_grid(**QUICK).rename(tmp_path / "it's a grid.yaml")
    place = ["it's a grid.yaml", "--data", "my data", "--store", "a $store"]
    assert main(["tables", *place]) == 2
    assert proposed(capsys.readouterr().err) == ["ser-sweep", "run", *place]
    assert main(["corpora", "--data", "no data"]) == 2
    assert proposed(capsys.readouterr().err) == ["ser-sweep", "prepare", "CORPUS", "--out", "no data"]
    write_grid(**{**QUICK, "corpora": ["emodb"]})
    assert main(["plan", "grid.yaml", *place[1:]]) == 2
    words = proposed(capsys.readouterr().err)
    assert words == ["ser-sweep", "prepare", "CORPUS", "--source", "DIR", "--out", "my data"]


def test_the_page_of_a_report_has_commands_that_can_be_pasted(
    small_data: Path, write_grid: WriteGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my data").symlink_to(small_data)
    write_grid(**{**QUICK, "rules": ["bdsl"], "label_sources": ["in_fold", "global_oof"]})
    place = ["grid.yaml", "--data", "my data", "--store", "a $store"]
    assert main(["report", *place, "--out", "report", "--no-forests", "--quiet"]) == 0
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "ser-sweep run grid.yaml --data &#39;my data&#39; --store &#39;a $store&#39;<" in page
    assert "--data &#39;my data&#39; --store STORE --out AUDIT<" in page


# Names that are not UTF-8


def test_grids_recordings_and_reports_may_have_names_that_are_not_utf_8(
    small_data: Path, write_grid: WriteGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_grid(**QUICK, weights="last").rename(tmp_path / "gr\udcffid.yaml")
    place = ["gr\udcffid.yaml", "--data", str(small_data), "--store", "store"]
    (tmp_path / "caf\udce9.wav").write_bytes(next(small_data.parent.rglob("*.wav")).read_bytes())
    key = ["--store", "store", "--stage"]

    def play(*arguments: str) -> None:
        """In a process of its own, whose output takes UTF-8 only."""
        words = [sys.executable, "-m", "ser_sweep.cli", *arguments]
        done = subprocess.run(words, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"})
        assert done.returncode == 0, done.stderr
        (done.stdout + done.stderr).decode()

    assert main(["run", *place, "--inline", "--quiet"]) == 0
    key.append(Store("store").keys_like("")[0])
    play("report", *place, "--out", "rep\udcffort", "--no-forests")
    play("predict", *key, "caf\udce9.wav", "--csv", "\udcff.csv", "--figure", "\udcff.svg")
    assert "caf\ufffd.wav" in (tmp_path / "\udcff.csv").read_text(encoding="utf-8")
    assert (tmp_path / "rep\udcffort" / "index.html").exists()
