"""Data and store in an object store, end to end, with a real server over a socket."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.errors import FolderError
from data_prep.folders import Folder
from data_prep.synthetic import SyntheticCorpus, write_corpus
from ser_sweep.cli import main
from sweep.storage.store import Store

WriteGrid = Callable[..., Path]
GRID = {"rules": ["none", "bdsl"], "weights": "last"}


def test_prepare_run_kill_resume_and_tables_on_s3(
    s3_bucket: str, write_grid: WriteGrid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, store = f"{s3_bucket}/data", f"{s3_bucket}/deep/store"
    manifest = write_corpus(tmp_path / "audio", SyntheticCorpus(speakers=2, texts=2, takes=2))
    prepare = ["prepare", "manifest", "--name", "synthetic", "--source", str(manifest), "--inline", "--out"]
    assert main([*prepare, data]) == 0
    training = {"epochs": 8, "every": 2, "patience": 8}
    grid = write_grid(**GRID, training=training, resources={"checkpoint_seconds": 0})
    place = [str(grid), "--data", data, "--store", store]
    command = [sys.executable, "-m", "ser_sweep.cli", "run", *place, "--inline"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 120
    while not (Store(store).done_keys() and Folder(store).entries("checkpoints")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    done = Store(store).done_keys()
    assert 0 < len(done) < 4

    assert main(["run", *place, "--inline"]) == 0
    assert f"{4 - len(done)} trained, {len(done)} were there before" in capsys.readouterr().out
    assert max(record["timing"]["resumed_at_epoch"] for record in Store(store).records()) >= 1
    assert main(["store", "verify", "--store", store]) == 0
    assert main(["tables", *place, "--format", "json", "--no-forests"]) == 0
    on_s3 = capsys.readouterr().out.partition("[")[2]

    here = ["--data", str(tmp_path / "data"), "--store", str(tmp_path / "store")]
    assert main([*prepare, str(tmp_path / "data")]) == 0
    assert main(["run", str(grid), *here, "--inline"]) == 0
    capsys.readouterr()
    assert main(["tables", str(grid), *here, "--format", "json", "--no-forests"]) == 0
    assert on_s3 == capsys.readouterr().out.partition("[")[2]


def test_the_event_log_is_on_s3_when_a_launch_has_ended(
    s3_bucket: str, write_grid: WriteGrid, small_data: Path
) -> None:
    store = f"{s3_bucket}/store"
    assert main(["run", str(write_grid(**GRID)), "--data", str(small_data), "--store", store, "--inline"]) == 0
    (entry,) = Folder(store).entries("events")
    lines = (Folder(store).read(str(entry.path)) or b"").decode().splitlines()
    assert [json.loads(lines[place])["event"] for place in (0, -1)] == ["launched", "finished"]
    assert Folder(store).entries("leases") == []


# Folders


def test_a_folder_on_s3_reads_what_it_wrote(s3_bucket: str) -> None:
    folder = Folder(f"{s3_bucket}/some") / "where"
    assert folder.read("a/b.json") is None
    assert folder.entries(recursive=True) == []
    folder.write("a/b.json", b"hello")
    assert folder.read("a/b.json") == b"hello"
    (entry,) = folder.entries(recursive=True)
    assert (str(entry.path), entry.size) == ("a/b.json", 5)
    assert abs(entry.modified - time.time()) < 60
    assert folder.folders() == ["a"]
    folder.delete("a/b.json")
    folder.delete("a/b.json")
    assert folder.entries(recursive=True) == []


def test_what_is_read_at_once_comes_in_order_and_only_so_much_is_held(s3_bucket: str) -> None:
    folder = Folder(f"{s3_bucket}/many")
    for number in range(9):
        folder.write(str(number), bytes([number]))
    begun = []

    def read(name: str) -> bytes | None:
        begun.append(name)
        return folder.read(name)

    contents = folder.each(read, map(str, range(9)), at_once=3)
    assert next(contents) == bytes([0])
    assert len(begun) <= 4
    assert list(contents) == [bytes([number]) for number in range(1, 9)]


def test_a_bucket_that_is_not_there_is_told(s3_bucket: str, small_data: Path, write_grid: WriteGrid) -> None:
    assert main(["run", str(write_grid()), "--data", str(small_data), "--store", "s3://no-such-bucket/x"]) == 2


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://key:secret@bucket/store", "contains keys"),
        ("s3://bucket/store?regoin=eu", "unknown option regoin; allowed: endpoint_override, scheme, region"),
    ],
)
def test_addresses_that_cannot_be_meant_are_refused(address: str, said: str) -> None:
    with pytest.raises(FolderError, match=said) as refused:
        Folder(address)
    assert "secret" not in str(refused.value)
