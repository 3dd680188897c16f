"""Finished stages on their way home: from a store into a few files of limited size, and from those into another store.

A pack is a tar file with stage.json and predictions of some stages, the corpora they are of and the event logs of
launches, as they are named in a store; nothing is compressed, as predictions are already.
"""

import io
import json
import re
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from data_prep.errors import UserError
from sweep.planning.stages import StageSpec
from sweep.storage.store import Store

LARGEST = 15_000_000  # bytes of a pack
MOST = 6  # packs
ALL = 56_000_000  # bytes of all packs
NAME = re.compile(
    r"stages/[0-9a-f]+/(stage\.json|predictions-[0-9a-f]+\.parquet)"
    r"|corpora/\w[\w.-]*/(corpus\.json|utterances\.parquet)"
    r"|events/[\w-]+\.jsonl"
)

Members = dict[str, bytes]  # name in the store -> content


class PackError(UserError):
    """A file is no pack of stages."""


class Packer:
    """Packs what is new in a store, each stage once: OUT/stages-1.tar, OUT/stages-2.tar and so on, after the packs that
    are there already."""

    def __init__(self, store: Path, out: Path) -> None:
        self._store = Store(store)
        self._out = out
        self._seen: set[str] = set()
        there = [int(found[1]) for path in out.glob("stages-*.tar") if (found := re.search(r"-(\d+)$", path.stem))]
        self._before = max(there, default=0)
        self._bytes_before = sum(path.stat().st_size for path in out.glob("stages-*.tar"))
        self._packs: list[Members] = []
        self._unwritten: set[int] = set()

    def leave_out(self, keys: Iterable[str] | None = None) -> None:
        """Never pack the stages `keys`, or those that are in the store now."""
        self._seen |= self._store.done_keys() if keys is None else set(keys)

    def pack(self) -> list[dict[str, Any]]:
        """Add what is new to the last pack, or to another one; a fact for each stage, also of one that does not fit.
        `write` is to follow."""
        found = []
        for record in sorted(self._store.records(), key=lambda one: one["timing"]["finished"]):
            if record["key"] not in self._seen:
                number = self._add(self._members(record))
                self._seen.add(record["key"])
                found.append({**_facts(record), "pack": self._name(number) if number else None})
        return found

    def write(self) -> None:
        """Write the packs that have something new. One that cannot be written now is tried again the next time."""
        for number in sorted(self._unwritten):
            write_pack(self._packs[number - 1], self._out / self._name(number))
            self._unwritten.discard(number)

    def _add(self, members: Members) -> int | None:
        """The number of the pack that a stage goes to; None where none has room for it."""
        size = _size(members)
        if self._bytes_before + sum(map(_size, self._packs)) + size > ALL:
            return None
        if not self._packs or _size(self._packs[-1]) + size > LARGEST:
            if self._before + len(self._packs) == MOST or size > LARGEST:
                return None
            self._packs.append({})
        self._packs[-1].update(members)
        self._unwritten.add(len(self._packs))
        return len(self._packs)

    def _name(self, number: int) -> str:
        return f"stages-{self._before + number}.tar"

    def _members(self, record: dict[str, Any]) -> Members:
        key, corpus = record["key"], record["identity"]["corpus"]
        names = [f"corpora/{corpus}/{file}" for file in ("utterances.parquet", "corpus.json")]
        names += [f"stages/{key}/{file}" for file in (record["predictions"]["file"], "stage.json")]
        names += [entry.path.as_posix() for entry in self._store.folder.entries("events")]
        return {name: self._store.folder.read(name) or b"" for name in names}


def fetch(stores: Sequence[Path], out: Path, seconds: float, stages: int) -> list[dict[str, Any]]:
    """Pack what `stores`, which may grow meanwhile, have finished and no earlier call has fetched: when that are
    `stages` or more, or after `seconds`. A fact for each, also of one for which `out` has no room left."""
    until = time.monotonic() + seconds
    out.mkdir(parents=True, exist_ok=True)
    while _waiting(stores) < stages and time.monotonic() < until:
        time.sleep(0.5)
    found = []
    for uri in stores:
        packer = Packer(uri, out)
        packer.leave_out(fetched(uri))
        found += (told := packer.pack())
        packer.write()
        note_fetched(uri, [facts["stage"] for facts in told if facts["pack"]])
    return found


def _waiting(stores: Iterable[Path]) -> int:
    return sum(len(Store(uri).done_keys() - fetched(uri)) for uri in stores)


def fetched(store: Path) -> set[str]:
    """The stages of a store that have come home, or came from there."""
    return set(json.loads(_notes(store).read_text(encoding="utf-8"))) if _notes(store).exists() else set()


def note_fetched(store: Path, keys: Iterable[str]) -> None:
    _notes(store).write_text(json.dumps(sorted(fetched(store) | set(keys))), encoding="utf-8")


def _notes(store: Path) -> Path:
    return store.with_name(f"{store.name}.fetched.json")


def _size(members: Members) -> int:
    """Bytes of a pack: each file has a header and is filled up to whole blocks, as is the pack."""
    return tarfile.RECORDSIZE + sum(1024 + len(content) for content in members.values())


def _facts(record: dict[str, Any]) -> dict[str, Any]:
    stage = StageSpec.of_record(record)
    facts = {name: record.get(name) for name in ("metrics", "timing", "device")}
    return {"stage": record["key"], "label": stage.label if stage else None, **facts}


def write_pack(members: Members, path: Path) -> None:
    """The file appears whole; meanwhile it is in a folder that stays here."""
    with tempfile.TemporaryDirectory() as folder:
        begun = Path(folder) / path.name
        with tarfile.open(begun, "w") as pack:
            for name, content in members.items():
                about = tarfile.TarInfo(name)
                about.size = len(content)
                pack.addfile(about, io.BytesIO(content))
        try:
            begun.replace(path)
        except OSError:  # another file system
            shutil.move(begun, path)


def read_pack(path: Path) -> Members:
    """Raises PackError for what is none, or names a file that is none of a stage."""
    found: Members = {}
    try:
        with tarfile.open(path, "r:") as pack:
            for member in pack:
                if not member.isfile() or not NAME.fullmatch(member.name):
                    raise PackError(f"{path} is no pack of stages: it holds {member.name!r}")
                content = pack.extractfile(member)
                assert content is not None  # it is a file
                found[member.name] = content.read()
    except (tarfile.TarError, EOFError) as error:
        raise PackError(f"{path} is no pack of stages: {error}") from error
    return found


def unpack(packs: Iterable[Path], uri: Path) -> tuple[list[str], list[str]]:
    """Take the stages of `packs` into a store: their keys, and what could not be taken, in words. One that is there
    stays as it is; one that is damaged is not kept, and of a file that is no pack nothing is."""
    members: Members = {}
    problems: list[str] = []
    for path in packs:
        try:
            members |= read_pack(path)
        except (PackError, OSError) as error:
            problems.append(str(error))
    if not members:
        return [], problems
    store = Store(uri)
    store.create()
    there = store.done_keys()
    written = []
    for name in sorted(members, key=_comes_last):
        kind, owner = name.split("/")[:2]
        if owner in there or (kind == "corpora" and store.folder.read(name) is not None):
            continue
        store.folder.write(name, members[name])
        written += [owner] if name.endswith("stage.json") else []
    damaged = store.damaged(written)
    problems += [f"stage {key} is damaged, and was left out" for key in damaged]
    return [key for key in written if key not in damaged], problems


def _comes_last(name: str) -> bool:
    """What is there with its corpus.json or stage.json comes before that."""
    return name.endswith(".json")
