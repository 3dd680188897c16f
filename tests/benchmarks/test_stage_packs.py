"""Stages on their way home: none is lost to a disk that is full for a while, to a file that is there, or to damage."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from sweep.storage.store import Store

ROOT = Path(__file__).parents[2]
STORE = ROOT / "tests" / "analysis" / "recorded" / "store"


@pytest.fixture
def packs(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import stage_packs

    yield stage_packs
    del sys.modules["stage_packs"]


def packed(packs: ModuleType, out: Path) -> set[str]:
    """The keys of the stages in the packs of a folder."""
    names = [name for path in out.glob("*.tar") for name in packs.read_pack(path)]
    return {name.split("/")[1] for name in names if name.endswith("stage.json")}


def test_a_pack_that_cannot_be_written_is_written_the_next_time(
    packs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packer = packs.Packer(STORE, tmp_path)
    told = packer.pack()
    assert {facts["stage"] for facts in told} == Store(STORE).done_keys()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(packs, "write_pack", full)
        with pytest.raises(OSError, match="No space left"):
            packer.write()
    assert packer.pack() == []
    packer.write()
    assert packed(packs, tmp_path) == Store(STORE).done_keys()


def test_packs_that_are_there_stay(packs: ModuleType, tmp_path: Path) -> None:
    for call in (1, 2):
        packer = packs.Packer(STORE, tmp_path)
        assert {facts["pack"] for facts in packer.pack()} == {f"stages-{call}.tar"}
        packer.write()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stages-1.tar", "stages-2.tar"]


def test_what_is_damaged_costs_nothing_else(packs: ModuleType, tmp_path: Path) -> None:
    packer = packs.Packer(STORE, tmp_path)
    packer.pack()
    packer.write()
    members = packs.read_pack(tmp_path / "stages-1.tar")
    spoilt = next(name for name in members if name.endswith(".parquet") and name.startswith("stages/"))
    packs.write_pack({**members, spoilt: bytes(100)}, tmp_path / "stages-1.tar")
    (tmp_path / "stages-2.tar").write_bytes(b"cut off")
    files = sorted(tmp_path.glob("*.tar"))
    keys, problems = packs.unpack(files, tmp_path / "store")
    damaged = spoilt.split("/")[1]
    assert set(keys) == Store(STORE).done_keys() - {damaged} == Store(tmp_path / "store").done_keys()
    assert len(problems) == 2
    assert "stages-2.tar is no pack of stages" in problems[0]
    assert problems[1] == f"stage {damaged} is damaged, and was left out"


def test_stages_are_fetched_once_while_a_sweep_goes_on(packs: ModuleType, tmp_path: Path) -> None:
    """Of a store that grows: what came from home stays there, and each call brings what is new."""
    fetch, note_fetched = packs.fetch, packs.note_fetched
    store = Store(shutil.copytree(STORE, tmp_path / "store"))
    keys = sorted(store.done_keys())
    note_fetched(Path(store.uri), keys[:2])
    late = shutil.move(tmp_path / "store" / "stages" / keys[2], tmp_path / "late")
    first = fetch([tmp_path / "store"], tmp_path / "first", seconds=0.0, stages=100)
    assert {facts["stage"] for facts in first} == packed(packs, tmp_path / "first") == set(keys[3:])
    shutil.move(late, tmp_path / "store" / "stages" / keys[2])
    again = fetch([tmp_path / "store"], tmp_path / "second", seconds=60.0, stages=1)
    assert {facts["stage"] for facts in again} == packed(packs, tmp_path / "second") == {keys[2]}


def test_what_launches_did_comes_home(packs: ModuleType, tmp_path: Path) -> None:
    shutil.copytree(STORE, tmp_path / "store")
    (tmp_path / "store" / "events").mkdir()
    (tmp_path / "store" / "events" / "20261126T1-ab.jsonl").write_text('{"event": "launched"}\n')
    packs.fetch([tmp_path / "store"], tmp_path / "out", seconds=0.0, stages=1)
    packs.unpack(sorted((tmp_path / "out").glob("*.tar")), tmp_path / "home")
    log = tmp_path / "home" / "events" / "20261126T1-ab.jsonl"
    assert log.read_text() == '{"event": "launched"}\n'
