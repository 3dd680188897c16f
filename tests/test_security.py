"""What is read may be anybody's: nothing in it runs, fills the memory or leads elsewhere, and no secret gets out.

tests/fuzz looks for more of this kind; what it found stands here by name.
"""

import ast
import hashlib
import io
import json
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import soundfile
import torch
from torch import nn

from data_prep.addresses import without_secrets
from data_prep.audio import read_audio
from data_prep.checked import parse_json, read_frame, read_utterances
from data_prep.data_folder import find_prepared, list_prepared
from data_prep.errors import AudioError, FolderError, ShardError
from data_prep.folders import Folder
from data_prep.shards import load_corpus, sha256
from dsl.segments import Segments
from dsl.settings import TrainingSettings
from dsl.steps import TrainingRun, resumed
from ser_sweep.cli import main
from sweep.planning.grid import GridError, load_grid
from sweep.storage.events import launches_of, read_events
from sweep.storage.predictions import decode_predictions
from sweep.storage.store import Store, StoreError

ROOT = Path(__file__).parents[1]
ROOMS = ("data_prep", "dsl", "sweep", "analysis", "ser_sweep")
SECRET = "wJalrXUtnFEMI-bPxRfiCY"

Train = Callable[[Path], Store]


@pytest.fixture
def train(small_data: Path, write_grid: Callable[..., Path]) -> Train:
    """A store with two stages of the small corpus."""

    def trained(path: Path) -> Store:
        grid = write_grid(rules=["none"], training={"epochs": 1, "every": 32})
        assert main(["run", str(grid), "--data", str(small_data), "--store", str(path), "--inline"]) == 0
        return Store(path)

    return trained


# Nothing runs


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Every call in the code of the rooms: file, name, call."""
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield str(path.relative_to(ROOT)), ast.unparse(node.func), node


def test_nothing_that_is_read_is_unpickled_or_evaluated() -> None:
    unsafe = {"eval", "exec", "np.load", "joblib.load", "pd.read_pickle", "yaml.unsafe_load", "yaml.full_load"}
    for file, name, call in calls():
        keywords = {one.arg: ast.unparse(one.value) for one in call.keywords}
        assert name not in unsafe, f"{file} calls {name}"
        if name == "torch.load":
            assert keywords.get("weights_only") == "True", f"{file} calls torch.load"
        if name == "yaml.load":
            assert ast.unparse(call.args[1]) == "UniqueKeys", f"{file} calls yaml.load"
        if name in ("pickle.loads", "pickle.load"):  # of what a launch itself has sent to its own trials
            assert file == "sweep/running/tune_trial.py", f"{file} calls {name}"


def test_a_checkpoint_with_code_in_it_begins_the_training_anew_and_runs_nothing(
    small_data: Path, tmp_path: Path
) -> None:
    touched = tmp_path / "touched"

    class Code:
        def __reduce__(self) -> Any:
            return Path.touch, (touched,)

    buffer = io.BytesIO()
    torch.save({"network": Code()}, buffer)
    corpus = load_corpus(find_prepared(small_data, "synthetic"))
    segments = Segments(corpus, np.zeros(64), np.ones(64), torch.device("cpu"))
    target = torch.zeros(len(corpus), 2)
    for content in (buffer.getvalue(), b"no checkpoint", b""):
        run = resumed(lambda: TrainingRun(lambda: nn.Linear(2, 2), TrainingSettings(), 0, segments, target), content)
        assert run.history == []
    assert not touched.exists()


def test_what_parquet_says_to_pandas_is_not_looked_at() -> None:
    table = pa.table({"id": ["a", "b"]}).replace_schema_metadata({"pandas": b'{"index_columns": ["__import__"]}'})
    buffer = pa.BufferOutputStream()
    pa.parquet.write_table(table, buffer)
    pd.testing.assert_frame_equal(read_frame(buffer.getvalue().to_pybytes()), pd.DataFrame({"id": ["a", "b"]}))


def test_text_that_is_not_utf_8_is_refused() -> None:
    offsets, text = pa.py_buffer(np.array([0, 1], np.int32).data), pa.py_buffer(b"\xff")
    table = pa.table({"id": pa.StringArray.from_buffers(1, offsets, text)})
    buffer = pa.BufferOutputStream()
    pa.parquet.write_table(table, buffer)
    with pytest.raises(ValueError, match="UTF"):
        read_frame(buffer.getvalue().to_pybytes())


# Nothing fills the memory or goes on without end


def bomb() -> str:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join(['*' + a] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (bomb(), "aliases make this more than 50,000 values"),
        ("corpora: &a [*a]", "aliases make this itself as a part of it"),
        ("folds: !!bool x", "is not valid YAML"),
        ("folds: " + "9" * 5000, "is not valid YAML"),
        ("rules: " + "[" * 5000, "is not valid YAML"),
        ("x" * 200_001, "more than 200000"),
        ("corpora: [a]\nbackbones: [tiny]\nrules: [none]\nfolds: 1000000000", "folds: Input should be less than"),
        (
            f"corpora: [a]\nbackbones: [tiny]\nrules: [{{wdsl: {[n / 1000 for n in range(1000)]}}}]\n"
            f"seeds: {list(range(100))}",
            "asks for up to 1,000,000 chains",
        ),
        ("corpora: [a]\nbackbones: [" + "x" * 5000 + "]\nrules: [none]", "…"),
    ],
)
def test_a_grid_that_would_grow_without_end_is_one_short_message(tmp_path: Path, text: str, part: str) -> None:
    (tmp_path / "grid.yaml").write_text(text)
    with pytest.raises(GridError) as refused:
        load_grid(tmp_path / "grid.yaml")
    assert part in str(refused.value)
    assert len(str(refused.value)) < 2000


@pytest.mark.parametrize("text", [b"[" * 100_000, b"NaN", b'"\\ud800"', b'"\xed\xa0\x80"', b'{"a": Infinity}', b""])
def test_json_that_no_file_of_ours_holds_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(text)


def test_a_pair_of_half_characters_is_a_character() -> None:
    assert parse_json(b'"\\ud83d\\ude00"') == "\U0001f600"


@pytest.mark.parametrize(("rate", "part"), [(1, "1 Hz, and speech is recorded at"), (2**31 - 1, "2147483647 Hz")])
def test_a_sound_file_with_a_rate_that_cannot_be_is_refused(tmp_path: Path, rate: int, part: str) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(8000, 0.1), 16_000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    struct.pack_into("<I", content, 24, rate)
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(AudioError, match=part):
        read_audio(tmp_path / "a.wav", 16_000)


def test_a_sound_file_that_says_it_is_days_long_is_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", np.full(8000, 0.1), 16_000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[21] |= 0x0F  # the upper bits of the number of samples, which has 36
    (tmp_path / "a.flac").write_bytes(content)
    with pytest.raises(AudioError, match="cut it into utterances"):
        read_audio(tmp_path / "a.flac", 16_000)


# Damaged, or not ours


@pytest.fixture
def copied(small_data: Path, tmp_path: Path) -> Path:
    """The folder of the small corpus, to be spoilt."""
    shutil.copytree(small_data, tmp_path / "data")
    return Path(str(find_prepared(tmp_path / "data", "synthetic").folder))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("settings", {}),
        ("settings", None),
        ("classes", {"anger": "many"}),
        ("corpus", "../outside"),
        ("shards", [{"file": "../../etc/passwd", "sha256": "", "bytes": 0, "segments": 0}]),
        ("segments", -1),
    ],
)
def test_a_manifest_with_a_field_that_cannot_be_is_damaged(copied: Path, field: str, value: Any) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps({**manifest, field: value}))
    assert f"manifest.json is damaged ({field}" in str(list_prepared(copied.parent)[1][copied.name])


def test_a_manifest_that_says_nothing_of_what_came_later_is_read(copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    del manifest["partial"]
    (copied / "manifest.json").write_text(json.dumps(manifest))
    assert list_prepared(copied.parent)[0][0].manifest["partial"] is False


@pytest.mark.parametrize(
    ("column", "value", "part"),
    [
        ("label", 99, "labels beyond the 4 classes"),
        ("id", "same", "of 1 ids"),
        ("speaker", 3, "column speaker is not all text"),
        ("frames", -5, "column frames is not all whole numbers"),
        ("source_rate", float("nan"), "column source_rate is not all whole numbers"),
        ("segments", 1, "segments are not those of the frames"),
    ],
)
def test_utterances_that_cannot_be_are_damaged(copied: Path, column: str, value: Any, part: str) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    frame = pd.read_parquet(copied / "utterances.parquet").assign(**{column: value})
    with pytest.raises(ValueError, match=part):
        read_utterances(frame.to_parquet(index=False), manifest)


@pytest.mark.parametrize("true_labels", [lambda count: np.full(count, 4), lambda count: np.zeros(count + 1, int)])
def test_true_labels_that_cannot_be_are_damaged(copied: Path, true_labels: Callable[[int], Any]) -> None:
    """Beyond the four classes, and of more segments than there are."""
    manifest = json.loads((copied / "manifest.json").read_text())
    frame = pd.read_parquet(copied / "utterances.parquet")
    frame = frame.assign(true_labels=[true_labels(count) for count in frame["segments"]])
    with pytest.raises(ValueError, match="true labels that are not those of the segments"):
        read_utterances(frame.to_parquet(index=False), manifest)


def test_utterances_of_another_number_of_segments_than_the_manifests_are_damaged(copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_text()) | {"segments": 1}
    with pytest.raises(ValueError, match=r"\d+ segments, not 1$"):
        read_utterances((copied / "utterances.parquet").read_bytes(), manifest)


def test_columns_of_the_same_name_are_damaged() -> None:
    buffer = pa.BufferOutputStream()
    pa.parquet.write_table(pa.table([pa.array([1]), pa.array([2])], names=["label", "label"]), buffer)
    with pytest.raises(ValueError, match="columns of the same name"):
        read_frame(buffer.getvalue().to_pybytes())


def spoil_shard(folder: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change a corpus's shard, and its checksum with it."""
    manifest = json.loads((folder / "manifest.json").read_text())
    path = folder / "shards" / manifest["shards"][0]["file"]
    buffer = pa.BufferOutputStream()
    pa.parquet.write_table(change(pa.parquet.read_table(path)), buffer)
    content = buffer.getvalue().to_pybytes()
    path.write_bytes(content)
    manifest["shards"][0] |= {"sha256": sha256(content), "bytes": len(content)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop_columns("segment"),
        lambda table: table.set_column(3, "spectrogram", pa.array([1.0] * len(table))),
        lambda table: table.set_column(1, "segment", pa.nulls(len(table), pa.int32())),
    ],
    ids=["no column", "another type", "nulls"],
)
def test_a_shard_whose_checksum_fits_and_that_is_none_is_damaged(
    copied: Path, change: Callable[[pa.Table], pa.Table]
) -> None:
    spoil_shard(copied, change)
    with pytest.raises(ShardError, match="a shard is damaged"):
        load_corpus(find_prepared(copied.parent, "synthetic"))


def test_a_manifest_without_shards_is_damaged(copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps({**manifest, "shards": []}))
    with pytest.raises(ShardError, match="damaged"):
        load_corpus(find_prepared(copied.parent, "synthetic"))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet"])
def test_predictions_that_are_none_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        decode_predictions(content)


def test_a_stage_whose_json_says_what_cannot_be_is_trained_again(train: Train, tmp_path: Path) -> None:
    store = train(tmp_path / "store")
    first, second = store.keys_like("")
    for key, field, value in ((first, "metrics", [1]), (second, "device", None)):
        path = tmp_path / "store" / "stages" / key / "stage.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    assert store.done_keys() == set()
    assert train(tmp_path / "store").done_keys() == {first, second}


def test_predictions_of_other_utterances_than_the_corpus_has_are_damage(train: Train, tmp_path: Path) -> None:
    store = train(tmp_path / "store")
    key = store.keys_like("")[0]
    folder = tmp_path / "store" / "stages" / key
    record = json.loads((folder / "stage.json").read_text())
    file = folder / record["predictions"]["file"]
    table = pa.parquet.read_table(file)
    far = pa.array(np.full(len(table), 10_000), pa.int32())
    pa.parquet.write_table(table.set_column(0, "utterance", far), file)
    content = file.read_bytes()
    record["predictions"] |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / "stage.json").write_text(json.dumps(record))
    assert Store(store.uri).read_predictions(key) is None


def test_a_setting_too_large_for_a_column_is_exported_as_text(train: Train, tmp_path: Path) -> None:
    store = train(tmp_path / "store")
    path = tmp_path / "store" / "stages" / store.keys_like("")[0] / "stage.json"
    record = json.loads(path.read_text())
    record["identity"]["training"]["patience"] = 10**30
    path.write_text(json.dumps(record))
    assert main(["store", "export", "--store", store.uri, "--out", str(tmp_path / "export")]) == 0
    assert str(10**30) in set(pd.read_parquet(tmp_path / "export" / "stages.parquet")["setting_patience"])


def test_an_epoch_that_says_nothing_of_something_is_exported(train: Train, tmp_path: Path) -> None:
    store = train(tmp_path / "store")
    for path in (tmp_path / "store" / "stages").glob("*/stage.json"):
        record = json.loads(path.read_text())
        record["history"][0]["more"] = {}
        path.write_text(json.dumps(record))
    assert main(["store", "export", "--store", store.uri, "--out", str(tmp_path / "export")]) == 0


def test_contours_of_iterations_that_do_not_have_the_same_segments_are_damage(
    small_data: Path, write_grid: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = [str(write_grid(rules=["bdsl"])), "--data", str(small_data), "--store", str(tmp_path / "store")]
    assert main(["run", *place, "--inline"]) == 0
    for path in (tmp_path / "store" / "stages").glob("*/stage.json"):
        record = json.loads(path.read_text())
        if record["iteration"] == 1:
            file = path.with_name(record["predictions"]["file"])
            table = pa.parquet.read_table(file)
            pa.parquet.write_table(table.filter(pc.field("segment") != 0), file)
            content = file.read_bytes()
            record["predictions"] |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            path.write_text(json.dumps(record))
    assert main(["figures", *place, "--out", str(tmp_path / "figures"), "--format", "svg"]) == 2
    assert "has predictions that are not of its corpus's segments" in capsys.readouterr().err


def test_a_corpus_that_is_damaged_in_the_store_is_one_message(train: Train, tmp_path: Path) -> None:
    store = train(tmp_path / "store")
    (name,) = store.corpora()
    (tmp_path / "store" / "corpora" / name / "utterances.parquet").write_bytes(b"")
    with pytest.raises(StoreError, match="is damaged"):
        store.read_corpus(name)


def test_lines_of_a_log_that_are_no_events_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    good = {"time": "2026-05-04T10:11:12.345Z", "event": "launched", "grid": "g", "user": "u", "host": "h"}
    bad = [{}, {"event": []}, {**good, "time": "9"}, {**good, "grid": 1}, {**good, "event": "ended", "seconds": "x"}]
    lines = [json.dumps(one) for one in [good, *bad]]
    (tmp_path / "events" / "one.jsonl").write_text("\n".join(lines))
    (summary,) = launches_of(read_events(Folder(tmp_path)))
    assert (summary.grid, summary.seconds) == ("g", 0)


# Nothing is written elsewhere


def test_a_link_in_a_store_is_not_followed_when_it_is_written_or_deleted(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "stage.json").write_text("{}")
    (tmp_path / "store" / "stages").mkdir(parents=True)
    (tmp_path / "store" / "stages" / "key").symlink_to(tmp_path / "outside")
    folder = Folder(tmp_path / "store")
    with pytest.raises(FolderError, match="leads out of"):
        folder.write("stages/key/new", b"")
    folder.delete("stages/key/stage.json")
    folder.delete_folder("stages/key")
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["stage.json"]
    assert not (tmp_path / "store" / "stages" / "key").is_symlink()


def test_a_store_that_is_a_link_itself_is_used(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    Folder(tmp_path / "store").write("a/b", b"x")
    assert (tmp_path / "disk" / "a" / "b").read_bytes() == b"x"


# No secret gets out


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        (f"s3://key:{SECRET}@bucket/folder", "s3://bucket/folder"),
        (f"s3://bucket/folder?secret_key={SECRET}", "s3://bucket/folder?..."),
        ("/folder", "/folder"),
    ],
)
def test_an_address_is_shown_without_its_secrets(uri: str, shown: str) -> None:
    assert without_secrets(uri) == shown


@pytest.mark.parametrize("uri", [f"s3://key:{SECRET}@bucket/folder", f"s3://bucket/x?secret_key={SECRET}"])
def test_keys_in_an_address_are_refused_without_being_shown(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["launches", "--store", uri]) == 2
    assert SECRET not in "".join(capsys.readouterr())


def test_no_variable_of_the_environment_gets_into_a_store(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "MLFLOW_TRACKING_PASSWORD", "SOMEONES_TOKEN"):
        monkeypatch.setenv(name, SECRET)
    train(tmp_path / "store")
    files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert any(path.suffix == ".jsonl" for path in files)
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert SECRET not in "".join(capsys.readouterr())


def test_what_cannot_be_printed_does_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "\x1b[2J.yaml", "--data", "d", "--store", "s"]) == 2
    assert "\x1b" not in capsys.readouterr().err
