"""Asking trained networks about recordings: the same answers as in training, on any recording, or one clear message."""

import csv
import json
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import soundfile
import yaml

from data_prep.corpora import read_corpus
from data_prep.prepare import prepare
from dsl.backbones import VERSIONS
from ser_sweep.cli import main
from sweep.inference import load_network, predict_recording
from sweep.storage.store import Store

EMODB = os.environ.get("SER_SWEEP_EMODB")


def write_grid(folder: Path, **fields: Any) -> Path:
    grid = {
        "corpora": ["synthetic"],
        "backbones": ["tiny"],
        "rules": ["bdsl"],
        "folds": 2,
        "training": {"epochs": 1, "every": 8},
        "weights": "all",
        **fields,
    }
    (folder / "grid.yaml").write_text(yaml.safe_dump(grid), encoding="utf-8")
    return folder / "grid.yaml"


def train(grid: Path, data: Path, store: Path) -> Store:
    assert main(["run", str(grid), "--data", str(data), "--store", str(store), "--inline"]) == 0
    return Store(store)


@pytest.fixture(scope="module")
def store(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two folds of a chain with one update, whose networks are all kept."""
    folder = tmp_path_factory.mktemp("networks")
    return train(write_grid(folder), small_data, folder / "store")


@pytest.fixture(scope="module")
def stages(store: Store) -> dict[tuple[int, int], str]:
    """(fold, iteration) -> key."""
    return {(record["identity"]["fold"], record["iteration"]): record["key"] for record in store.records()}


@pytest.fixture(scope="module")
def recording(small_data: Path) -> Path:
    """One of the recordings that the networks learnt from or were tested on."""
    return sorted((small_data.parent / "audio").rglob("*.wav"))[5]


@pytest.fixture
def ask(store: Store, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What `ser-sweep predict` says."""

    def said(key: str, *arguments: str | Path) -> str:
        capsys.readouterr()
        assert main(["predict", "--store", store.uri, "--stage", key, *map(str, arguments)]) == 0
        return capsys.readouterr().out

    return said


@pytest.fixture
def refused(store: Store, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The one message with which it is refused."""

    def said(key: str, *arguments: str | Path, of: Store = store) -> str:
        capsys.readouterr()
        assert main(["predict", "--store", of.uri, "--stage", key, *map(str, arguments)]) == 2
        out, message = capsys.readouterr()
        assert out == ""
        assert message.startswith("ser-sweep: ")
        assert "unexpected" not in message
        return message

    return said


def held_by(store: Store, key: str, utterance_id: str) -> tuple[np.ndarray, np.ndarray]:
    """The segments of an utterance that a stage of the store has predictions of, and these."""
    _, utterances = store.read_corpus(store.corpora()[0])
    row = utterances.index[utterances["id"] == utterance_id][0]
    predictions = store.read_predictions(key)
    assert predictions is not None
    own = predictions.utterance == row
    return predictions.segment[own], predictions.q[own]


@pytest.mark.parametrize("stage", [(0, 0), (1, 1)])
def test_a_recording_of_the_corpus_gets_the_probabilities_that_the_store_holds(
    store: Store, stages: dict[tuple[int, int], str], recording: Path, stage: tuple[int, int]
) -> None:
    spoken = predict_recording(load_network(store, stages[stage]), recording)
    segments, q = held_by(store, stages[stage], recording.stem)
    assert segments[1] == 8  # the grid thins the corpus, and predict asks about every segment
    assert len(spoken.q) > 8 * len(segments) - 8
    np.testing.assert_allclose(spoken.q[segments], q, atol=1e-6)
    assert spoken.known is not None
    assert spoken.known.id == recording.stem
    assert spoken.known.difference < 1e-6


@pytest.mark.parametrize("standardisation", ["overall", "utterance", "none"])
def test_so_does_one_whatever_input_is_standardised_by(
    standardisation: str, small_data: Path, recording: Path, tmp_path: Path
) -> None:
    training = {"epochs": 1, "every": 8, "standardisation": standardisation}
    trained = train(write_grid(tmp_path, rules=["none"], training=training), small_data, tmp_path / "store")
    network = load_network(trained, next(record["key"] for record in trained.records()))
    spoken = predict_recording(network, recording)
    assert spoken.known is not None
    assert spoken.known.difference < 1e-5


def test_it_says_whether_the_network_has_learnt_from_the_recording(
    store: Store, stages: dict[tuple[int, int], str], recording: Path, ask: Callable[..., str]
) -> None:
    words = [ask(stages[fold, 0], recording) for fold in (0, 1)]
    assert sorted("was tested on it" in one for one in words) == [False, True]
    assert sorted("has learnt from it" in one for one in words) == [False, True]


def test_the_decision_is_the_class_of_the_highest_mean(
    stages: dict[tuple[int, int], str], recording: Path, ask: Callable[..., str]
) -> None:
    told = json.loads(ask(stages[0, 1], recording, "--json"))
    (said,) = told["recordings"][0]["networks"]
    q = np.array(said["q"])
    assert said["decision"] == told["classes"][q.mean(axis=0).argmax()]
    np.testing.assert_allclose(said["means"], q.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(q.sum(axis=1), 1, atol=1e-5)
    assert f"decision  {said['decision']}, by mean pooling" in ask(stages[0, 1], recording)


def test_another_rate_and_stereo_are_read_as_prepare_reads_them(
    store: Store, stages: dict[tuple[int, int], str], recording: Path, tmp_path: Path
) -> None:
    samples, rate = soundfile.read(recording, dtype="float32")
    faster = librosa.resample(samples, orig_sr=rate, target_sr=44_100)
    soundfile.write(tmp_path / "stereo.flac", np.stack([faster, faster], axis=1), 44_100)
    network = load_network(store, stages[0, 1])
    spoken, original = (predict_recording(network, path) for path in (tmp_path / "stereo.flac", recording))
    assert (spoken.source_rate, spoken.channels, spoken.known) == (44_100, 2, None)
    assert len(spoken.q) == len(original.q)
    np.testing.assert_allclose(spoken.means, original.means, atol=0.02)


def test_the_table_has_some_segments_or_all(
    stages: dict[tuple[int, int], str], recording: Path, ask: Callable[..., str]
) -> None:
    def rows(said: str) -> list[int]:
        return [int(line.split()[0]) for line in said.splitlines() if line[:7].strip().isdigit()]

    some, every = rows(ask(stages[0, 1], recording)), rows(ask(stages[0, 1], recording, "--all"))
    assert len(some) == 20
    assert (some[0], some[-1]) == (0, every[-1])
    assert every == list(range(len(every)))


def test_a_csv_file_has_a_row_for_each_recording_network_and_segment(
    stages: dict[tuple[int, int], str], recording: Path, ask: Callable[..., str], tmp_path: Path
) -> None:
    ask(stages[0, 1], recording, recording, "--chain", "--csv", tmp_path / "new" / "q.csv")
    with (tmp_path / "new" / "q.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    told = json.loads(ask(stages[0, 1], recording, "--json"))["recordings"][0]["networks"][0]["q"]
    assert len(rows) == 2 * 2 * len(told)
    last = [row for row in rows if row["stage"] == stages[0, 1]]
    assert [float(row["q_anger"]) for row in last[: len(told)]] == [q[0] for q in told]


def test_a_chain_is_asked_at_every_iteration_that_is_kept(
    stages: dict[tuple[int, int], str], recording: Path, ask: Callable[..., str]
) -> None:
    told = json.loads(ask(stages[1, 1], recording, "--chain", "--json"))["recordings"][0]["networks"]
    assert [one["stage"] for one in told] == [stages[1, 0], stages[1, 1]]
    assert [one["iteration"] for one in told] == [0, 1]


def test_the_figure_has_a_panel_for_each_iteration_and_names_the_label(
    stages: dict[tuple[int, int], str], recording: Path, ask: Callable[..., str], tmp_path: Path
) -> None:
    ask(stages[0, 1], recording, "--chain", "--figure", tmp_path / "contour.svg")
    ask(stages[0, 1], recording, "--figure", tmp_path / "contour.png")
    texts = [node.text for node in ElementTree.parse(tmp_path / "contour.svg").iter() if node.tag.endswith("text")]
    assert {"Iteration 0", "Iteration 1"} <= set(texts)
    assert sum(text is not None and text.endswith("(label)") for text in texts) == 1
    assert (tmp_path / "contour.png").read_bytes().startswith(b"\x89PNG")


def test_networks_lists_the_keys_that_predict_takes(
    store: Store, stages: dict[tuple[int, int], str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["networks", "--store", store.uri]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines[:-1]} == set(stages.values())
    assert lines[-1] == "4 networks"
    assert main(["networks", "--store", store.uri, "--json"]) == 0
    assert {one["stage"] for one in json.loads(capsys.readouterr().out)} == set(stages.values())


def test_a_key_may_be_cut_as_long_as_it_is_unique(
    stages: dict[tuple[int, int], str], recording: Path, ask: Callable[..., str], refused: Callable[..., str]
) -> None:
    key = stages[0, 1]
    assert key in ask(key[:12], recording)
    assert "4 stages have keys that begin with ''; give more characters of it" in refused("", recording)
    for unknown in ("zz", "../stages/" + key, key + "0"):
        assert f"has no stage whose key begins with {unknown!r}" in refused(unknown, recording)


def test_a_stage_without_weights_is_refused_with_what_to_do(
    small_data: Path, recording: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    bare = train(write_grid(tmp_path, weights="none", rules=["none"]), small_data, tmp_path / "store")
    (first, *_) = bare.keys_like("")
    message = refused(first, recording, of=bare)
    assert f"stage {first} keeps no network" in message
    assert "Write weights: last" in message


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "the file is empty"),
        (b"no sound", "not an audio file that can be decoded"),
    ],
)
def test_a_file_that_is_no_recording_is_named(
    stages: dict[tuple[int, int], str], refused: Callable[..., str], tmp_path: Path, content: bytes | None, part: str
) -> None:
    if content is not None:
        (tmp_path / "given.wav").write_bytes(content)
    assert f"given.wav: {part}" in refused(stages[0, 0], tmp_path / "given.wav")


def test_a_recording_shorter_than_a_segment_is_refused(
    stages: dict[tuple[int, int], str], refused: Callable[..., str], tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "short.wav", np.linspace(0, 0.5, 1600), 16_000)
    said = refused(stages[0, 0], tmp_path / "short.wav")
    assert "0.100 s of sound is shorter than one segment (0.335 s)" in said


def test_every_recording_that_cannot_be_used_is_named(
    stages: dict[tuple[int, int], str], refused: Callable[..., str], tmp_path: Path, recording: Path
) -> None:
    samples, rate = soundfile.read(recording)
    soundfile.write(tmp_path / "cut.aiff", samples, rate)
    (tmp_path / "cut.aiff").write_bytes((tmp_path / "cut.aiff").read_bytes()[:9000])
    soundfile.write(tmp_path / "loud.wav", samples * 2**15, rate, subtype="FLOAT")
    soundfile.write(tmp_path / "inverted.wav", np.stack([samples, -samples], axis=1), rate)
    bad = [tmp_path / name for name in ("cut.aiff", "loud.wav", "inverted.wav")]
    first, *lines = refused(stages[0, 0], bad[0], recording, *bad[1:]).splitlines()
    assert first == "ser-sweep: 3 of 4 recordings cannot be used"
    assert [line.split(": ")[0] for line in lines] == [f"  - {path}" for path in bad]


def test_a_recording_of_the_corpus_is_known_in_another_container(
    stages: dict[tuple[int, int], str], ask: Callable[..., str], tmp_path: Path, recording: Path
) -> None:
    samples, rate = soundfile.read(recording)
    soundfile.write(tmp_path / "copy.flac", samples, rate)
    (told,) = json.loads(ask(stages[0, 0], tmp_path / "copy.flac", "--json"))["recordings"]
    assert told["networks"][0]["known"]["id"] in recording.with_suffix("").as_posix()
    assert told["networks"][0]["known"]["difference"] < 1e-5


def test_what_is_odd_about_a_recording_is_told(
    store: Store, stages: dict[tuple[int, int], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
    soundfile.write(tmp_path / "dead.wav", np.stack([sound, 0 * sound], axis=1), 16_000)
    soundfile.write(tmp_path / "phone.wav", sound, 8_000, subtype="GSM610")
    files = [str(tmp_path / name) for name in ("dead.wav", "phone.wav")]
    assert main(["predict", "--store", store.uri, "--stage", stages[0, 0], *files, "--json"]) == 0
    said = capsys.readouterr()
    remark = "channel 2 of 2 is silent; mixed down, it loses 6.0 dB"
    assert said.err == f"{files[0]}: {remark}\n"
    assert [one["remarks"] for one in json.loads(said.out)["recordings"]] == [[remark], []]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("contour.pdf", "must end with .png or .svg"),
        ("contour.svg", "draws one recording, and 2 are given"),
    ],
)
def test_a_figure_that_cannot_be_drawn_is_refused_before_anything_is_computed(
    stages: dict[tuple[int, int], str], refused: Callable[..., str], tmp_path: Path, name: str, part: str
) -> None:
    files = [tmp_path / "a.wav", tmp_path / "b.wav"]
    assert part in refused(stages[0, 0], *files, "--figure", tmp_path / name)


def test_a_network_of_another_version_of_its_backbone_is_one_message(
    stages: dict[tuple[int, int], str], recording: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(VERSIONS, "tiny", 2)
    said = refused(stages[0, 0], recording)
    assert f"stage {stages[0, 0]} keeps a network of version 1 of tiny, and this ser-sweep builds version 2" in said


def test_damaged_weights_are_one_message(
    small_data: Path, recording: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    damaged = train(write_grid(tmp_path, rules=["none"]), small_data, tmp_path / "store")
    (first, *_) = damaged.keys_like("")
    (weights,) = (tmp_path / "store" / "stages" / first).glob("weights-*")
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert f"stage {first} in store {damaged.uri} is damaged" in refused(first, recording, of=damaged)


@pytest.mark.skipif(EMODB is None, reason="SER_SWEEP_EMODB does not name the folder of Emo-DB's wav files")
def test_emodb_s_recordings_get_the_probabilities_that_the_store_holds(tmp_path: Path) -> None:
    utterances, _ = read_corpus("emodb", Path(str(EMODB)))
    few = [one for emotion in ("anger", "sadness") for one in [u for u in utterances if u.emotion == emotion][:6]]
    prepare("emodb", few, tmp_path / "data", partial=True, inline=True)
    training = {"epochs": 1, "every": 16}
    grid = write_grid(tmp_path, corpora=["emodb"], backbones=["densenet22"], training=training, weights="last")
    store = train(grid, tmp_path / "data", tmp_path / "store")
    network = load_network(store, next(r["key"] for r in store.records() if r["iteration"] == 1))
    for utterance in few[::4]:
        spoken = predict_recording(network, utterance.path)
        assert spoken.known is not None
        assert (spoken.known.id, spoken.known.emotion) == (utterance.id, utterance.emotion)
        assert spoken.known.compared == -(-len(spoken.q) // 16)
        assert spoken.known.difference < 1e-6
