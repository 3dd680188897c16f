"""What is spoilt, kind by kind, and the commands that meet it. A kind is a function of the ground and of Hypothesis."""

import csv
import hashlib
import io
import json
import shutil
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from safetensors.numpy import load, save

from data_prep.files import canonical_hash
from tests.fuzz.ground import GRID, Ground
from tests.fuzz.mutations import (
    VALUES,
    WORDS,
    spoilt_bytes,
    spoilt_json,
    spoilt_parquet,
    spoilt_value,
)

FULL_GRID: dict[str, Any] = {
    **GRID,
    "name": "fuzz",
    "iterations": 2,
    "rules": ["none", {"wdsl": [0, [0.5, 0.2]]}, "gsl"],
    "label_sources": ["in_fold", "cross_fit"],
    "inner_folds": 2,
    "labels": "given",
    "splits": ["stratified"],
    "seeds": [0, 1],
    "training": {
        "epochs": "paper",
        "every": 32,
        "learning_rate": 0.001,
        "patience": 2,
        "early_stopping": True,
        "precision": "float32",
    },
    "features": {"segment_frames": 32},
    "resources": {"cpu": 1, "gpu": "auto", "max_concurrent": 2, "max_failures": 1},
    "fuse": 2,
    "tracking": {"tensorboard": None},
    "chains": [{"rules": ["hdl"], "seeds": [3]}, {"name": "b", "iterations": 1, "rules": ["bdsl"]}],
}
BOMBS = [
    "a: &a [x]\n"
    + "".join(f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "&a [*a]",
    "corpora: &a [*a]\nbackbones: *a\nrules: *a",
    "rules: " + "[" * 5000,
    "x: " * 1000,
    "".join(f"k{n}: 1\n" for n in range(20_000)),
    "!!python/object/apply:os.system ['touch /tmp/outside']",
    "!!python/name:os.system",
    "folds: 1000000000\ncorpora: [synthetic]\nbackbones: [tiny]\nrules: [none]",
    yaml.safe_dump({**GRID, "inner_folds": 10**9, "label_sources": ["cross_fit"]}),
    yaml.safe_dump({**GRID, "seeds": list(range(10_000)), "rules": [{"wdsl": [n / 1000 for n in range(1000)]}]}),
    "corpora: 2001-01-01\nbackbones: {? [a] : b}\nrules: 0o777",
    "? {a: b}\n: c",
    "<<: [1]",
    "<<: {a: 1}\na: 2",
    "--- a\n--- b\n",
    "%YAML 3.0\n---\n{}",
    "corpora: !!binary 'zz'",
    "corpora: !!set {a}",
    "training: {epochs: 1_0}\nseeds: [190:20:30]",
]


def grids(ground: Ground, data: st.DataObject) -> None:
    """Grid files: values, text, and bombs."""
    how = data.draw(st.sampled_from(["value", "value", "value", "text", "bomb", "any"]))
    if how == "value":
        content = _yaml(data.draw(spoilt_value(FULL_GRID)))
    elif how == "text":
        content = data.draw(spoilt_bytes(yaml.safe_dump(FULL_GRID).encode()))
    elif how == "bomb":
        content = data.draw(st.sampled_from(BOMBS)).encode()
    else:
        content = _yaml(data.draw(VALUES))
    case = ground.fresh()
    (case / "in").mkdir()
    grid = case / "in" / "grid.yaml"
    grid.write_bytes(content)
    place: list[str | Path] = ["--data", ground.whole / "data", "--store", ground.whole / "store"]
    command = data.draw(
        st.sampled_from([["plan"], ["plan", "--json"], ["status"], ["store", "gc"], ["tables", "--no-forests"]])
    )
    empty = command[0] == "tables"  # decisions are kept in a store
    arguments: list[str | Path] = [*command, grid, *place[:3], case / "store" if empty else place[3]]
    ground.play(arguments, inputs=[case / "in"])


def _yaml(value: Any) -> bytes:
    """JSON is YAML, and has no trouble with what safe_dump refuses."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def manifests(ground: Ground, data: st.DataObject) -> None:
    """A user's CSV file of recordings."""
    case = ground.copy("audio")
    rows = list(csv.reader((case / "audio" / "manifest.csv").open(newline="", encoding="utf-8")))
    if data.draw(st.booleans()):
        for _ in range(data.draw(st.integers(1, 3))):
            row = data.draw(st.sampled_from(rows))
            text = data.draw(
                WORDS
                | st.text(max_size=6)
                | st.sampled_from(["../../../outside.txt", str(ground.root / "outside.txt")])
            )
            row[data.draw(st.integers(0, len(row) - 1))] = text
        if data.draw(st.booleans()):
            rows.append(data.draw(st.sampled_from(rows)))
        content = "\n".join(",".join(_quoted(cell) for cell in row) for row in rows).encode("utf-8", "surrogatepass")
    else:
        content = data.draw(spoilt_bytes((case / "audio" / "manifest.csv").read_bytes()))
    (case / "audio" / "manifest.csv").write_bytes(content)
    name = data.draw(st.sampled_from(["mine"]) | WORDS)
    more = data.draw(st.sampled_from([[], ["--allow-partial"], ["--segment-ms", "215"], ["--hop-ms", "1000000000"]]))
    place: list[str | Path] = ["--source", case / "audio" / "manifest.csv", f"--name={name}", "--out", case / "data"]
    ground.play(["prepare", "manifest", *place, "--inline", *more], inputs=[case / "audio"])


def _quoted(cell: str) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow([cell])
    return buffer.getvalue().rstrip("\r\n")


def recordings(ground: Ground, data: st.DataObject) -> None:
    """Sound files, met by prepare and by predict."""
    content = ground.recording.read_bytes()
    if data.draw(st.booleans()):
        header = bytearray(content[:44])
        for _ in range(data.draw(st.integers(1, 3))):  # sizes, format, channels, rate, bits
            at, form = data.draw(
                st.sampled_from([(4, "<I"), (16, "<I"), (20, "<H"), (22, "<H"), (24, "<I"), (34, "<H"), (40, "<I")])
            )
            limit = 2**16 - 1 if form == "<H" else 2**32 - 1
            struct.pack_into(
                form, header, at, data.draw(st.integers(0, limit) | st.sampled_from([0, 1, 3, 8, 24, 32, 48000, limit]))
            )
        content = bytes(header) + content[44:]
    else:
        content = data.draw(spoilt_bytes(content))
    case = ground.copy("audio")
    file = case / "audio" / ground.recording.relative_to(ground.whole / "audio")
    file.write_bytes(content)
    if data.draw(st.booleans()):
        place: list[str | Path] = [
            "--source",
            case / "audio" / "manifest.csv",
            "--name",
            "mine",
            "--out",
            case / "data",
        ]
        ground.play(["prepare", "manifest", *place, "--inline"], inputs=[case / "audio"])
    else:
        key = sorted(path.name for path in (ground.whole / "store" / "stages").iterdir())[0]
        ground.play(["predict", "--store", ground.whole / "store", "--stage", key, file], inputs=[case / "audio"])


def prepared(ground: Ground, data: st.DataObject) -> None:
    """A folder of prepared corpora: manifest, utterances and shards, with checksums that fit."""
    case = ground.copy("data")
    (folder,) = (case / "data").iterdir()
    manifest = json.loads((folder / "manifest.json").read_text())
    what = data.draw(st.sampled_from(["manifest", "manifest", "utterances", "shard", "shard"]))
    if what == "utterances":
        content = data.draw(spoilt_parquet((folder / "utterances.parquet").read_bytes()))
        (folder / "utterances.parquet").write_bytes(content)
        manifest["utterances_sha256"] = hashlib.sha256(content).hexdigest()
    elif what == "shard":
        shard = folder / "shards" / manifest["shards"][0]["file"]
        content = data.draw(spoilt_parquet(shard.read_bytes()))
        shard.write_bytes(content)
        manifest["shards"][0] |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    text = data.draw(spoilt_json(manifest)) if what == "manifest" else json.dumps(manifest).encode()
    (folder / "manifest.json").write_bytes(text)
    place: list[str | Path] = [ground.grid, "--data", case / "data", "--store", case / "store"]
    command = ["run", *place, "--inline"]
    if what != "shard":
        command = data.draw(
            st.sampled_from([command, ["corpora", "--data", case / "data"], ["plan", *place], ["status", *place]])
        )
    ground.play(command, inputs=[case / "data"])


def stages(ground: Ground, data: st.DataObject) -> None:
    """A stage's folder: stage.json, predictions and weights, with checksums that fit."""
    case = ground.copy("store")
    folder = data.draw(st.sampled_from(sorted((case / "store" / "stages").iterdir())))
    record = json.loads((folder / "stage.json").read_text())
    what = data.draw(st.sampled_from(["record", "record", "identity", "predictions", "weights", "link"]))
    if what in ("predictions", "weights"):
        file = folder / record[what]["file"]
        content = file.read_bytes()
        if what == "predictions":
            content = data.draw(spoilt_parquet(content))
        else:
            content = data.draw(spoilt_bytes(content) | _spoilt_weights(content))
        file.write_bytes(content)
        record[what] |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    if what == "identity":
        record["identity"] = data.draw(spoilt_value(record["identity"]))
    text = data.draw(spoilt_json(record)) if what == "record" else json.dumps(record).encode("utf-8", "surrogatepass")
    (folder / "stage.json").write_bytes(text)
    key = folder.name
    if what == "identity" and data.draw(st.booleans()):
        try:
            key = canonical_hash(record["identity"], 20)
        except (ValueError, UnicodeEncodeError):
            pass
        else:
            folder.rename(folder.with_name(key))
    if what == "link":
        shutil.rmtree(folder)
        folder.symlink_to(ground.root / "outside", target_is_directory=True)
    _play_on_store(ground, data, case, key)


@st.composite
def _spoilt_weights(draw: st.DrawFn, content: bytes) -> bytes:
    """Weights that are whole, and not those of the network."""
    tensors = load(content)
    name = draw(st.sampled_from(sorted(tensors)))
    how = draw(st.sampled_from(["remove", "rename", "flat", "nan", "type"]))
    value = tensors.pop(name)
    if how == "rename":
        tensors[draw(st.text(max_size=5))] = value
    elif how == "flat":
        tensors[name] = value.reshape(-1)
    elif how == "nan":
        tensors[name] = value * float("nan")
    elif how == "type":
        tensors[name] = value.astype("int64")
    return save(tensors)


def stores(ground: Ground, data: st.DataObject) -> None:
    """The rest of a store: corpora, checkpoints, leases, events, failures, shares, decisions, foreign files."""
    case = ground.copy("store")
    store = case / "store"
    key = data.draw(st.sampled_from(sorted(path.name for path in (store / "stages").iterdir())))
    (corpus,) = (store / "corpora").iterdir()
    what = data.draw(
        st.sampled_from(
            ["corpus", "utterances", "checkpoint", "lease", "event", "failure", "share", "decision", "store", "foreign"]
        )
    )
    if what == "corpus":
        (corpus / "corpus.json").write_bytes(data.draw(spoilt_json(json.loads((corpus / "corpus.json").read_text()))))
    elif what == "utterances":
        (corpus / "utterances.parquet").write_bytes(
            data.draw(spoilt_parquet((corpus / "utterances.parquet").read_bytes()))
        )
    elif what == "checkpoint":
        shutil.rmtree(store / "stages" / key)
        _write(
            store / "checkpoints" / key,
            _checked(data.draw(st.binary(max_size=40) | st.just(_pickled()) | spoilt_bytes(b"PK\3\4" + bytes(60)))),
        )
    elif what == "lease":
        lease = {
            "launch": "x",
            "process": {"host": "h", "pid": 1, "started": "1", "machine": ["a", "b"]},
            "keys": [key],
        }
        _write(store / "leases" / "x.json", data.draw(spoilt_json(lease)))
    elif what == "event":
        (log,) = (store / "events").iterdir()
        lines = log.read_bytes().splitlines()
        at = data.draw(st.integers(0, len(lines) - 1))
        lines[at] = data.draw(spoilt_json(json.loads(lines[at])))
        log.write_bytes(b"\n".join(lines))
    elif what == "failure":
        shutil.rmtree(store / "stages" / key)
        _write(store / "failures" / f"{key}.json", data.draw(spoilt_json({"cause": "CUDA out of memory"})))
    elif what == "share":
        _write(store / "shares" / "densenet22.json", data.draw(spoilt_json({"gpu": 0.5})))
    elif what == "decision":
        for found in (ground.whole / "store" / "decisions").glob("*"):
            _write(store / "decisions" / found.name, data.draw(spoilt_bytes(found.read_bytes())))
    elif what == "store":
        (store / "store.json").write_bytes(data.draw(spoilt_json({"kind": "ser-sweep store", "schema": 1})))
    else:
        name = data.draw(
            st.sampled_from(
                [
                    "stages/x",
                    "corpora/x",
                    "x",
                    "stages/x/y/z.json",
                    "leases/x",
                    "events/x.jsonl",
                    "stages/x/stage.json",
                    "corpora/x/corpus.json",
                ]
            )
        )
        if data.draw(st.booleans()):
            _write(store / name, data.draw(st.binary(max_size=10) | st.just(b"{}")))
        else:
            (store / name).parent.mkdir(parents=True, exist_ok=True)
            (store / name).symlink_to(ground.root / data.draw(st.sampled_from(["outside", "outside.txt", "nowhere"])))
    _play_on_store(ground, data, case, key)


def names(ground: Ground, data: st.DataObject) -> None:
    """Arguments: keys, addresses, names, numbers and files that are none."""
    case = ground.copy("store")
    store, word = case / "store", data.draw((WORDS | st.text(max_size=6)).filter(lambda text: "://" not in text))
    grid = [ground.grid, "--data", ground.whole / "data", "--store", store]
    command: Sequence[str | Path] = data.draw(
        st.sampled_from(
            [
                ["predict", "--store", store, f"--stage={word}", ground.recording],
                ["predict", "--store", store, "--stage", "0", "--", word],
                ["networks", "--store", store, word],
                ["plan", "--", word],
                ["plan", *grid, f"--concurrency={word}"],
                ["plan", *grid, f"--price-per-hour={word}"],
                ["status", *grid, f"--every={word}"],
                ["prepare", "emodb", f"--source={word}", "--out", case / "data", "--inline"],
                ["prepare", "manifest", f"--source={word}", "--out", case / "data", "--inline"],
                ["prepare", "synthetic", f"--seed={word}", "--out", case / "data", f"--segment-ms={word}", "--inline"],
                ["figures" if ground.forests else "plan", *grid, "--out", case / "figures", f"--utterance={word}"],
                ["tables", *grid, "--no-forests", f"--format={word}"],
                [word],
            ]
        )
    )
    ground.play(command)


def _play_on_store(ground: Ground, data: st.DataObject, case: Path, key: str) -> None:
    store = case / "store"
    grid = [ground.grid, "--data", ground.whole / "data", "--store", store]
    commands: list[list[Any]] = [
        ["plan", *grid],
        ["status", *grid],
        ["status", *grid, "--json"],
        ["launches", "--store", store],
        ["networks", "--store", store],
        ["networks", "--store", store, "--json"],
        ["predict", "--store", store, "--stage", key, ground.recording],
        ["predict", "--store", store, "--stage", key, ground.recording, "--chain", "--json"],
        ["tables", *grid, "--no-forests"],
        ["claims", *grid],
        ["figures", *grid, "--out", case / "figures", "--format", "svg"],
        ["store", "verify", "--store", store],
        ["store", "verify", "--store", store, "--repair"],
        ["store", "gc", *grid, "--delete"],
        ["store", "export", "--store", store, "--out", case / "export"],
        ["run", *grid, "--inline"],
    ]
    often = {"claims": int(ground.forests), "figures": int(ground.forests), "run": 8}
    listed = [command for command in commands for _ in range(often.get(command[0], 6))]
    ground.play(data.draw(st.sampled_from(listed)))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _checked(content: bytes) -> bytes:
    return hashlib.sha256(content).digest() + content


def _pickled() -> bytes:
    """A checkpoint that would, unpickled, touch a file."""
    import torch

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (Path("/tmp/outside"),)

    buffer = io.BytesIO()
    torch.save({"network": Evil()}, buffer)
    return buffer.getvalue()


KINDS: dict[str, Callable[[Ground, st.DataObject], None]] = {
    "grids": grids,
    "manifests": manifests,
    "recordings": recordings,
    "prepared corpora": prepared,
    "stage folders": stages,
    "stores": stores,
    "arguments": names,
}
