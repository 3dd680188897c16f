"""A corpus of one's own, as odd as they come, through the commands that people type."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_prep.data_folder import find_prepared
from ser_sweep.cli import main

EMOTIONS = ("joie", "悲しみ", "ärger & wut")
SPEAKERS = ("Zoë", "O'Brien", "<b>3</b>", '4 "IV"')
ODD = (  # folder, ending, sampling rate, channels, subtype
    ("flat", "wav", 16_000, 1, "PCM_16"),
    ("with spaces/of two levels", "wav", 44_100, 2, "PCM_24"),
    ("größer", "flac", 22_050, 1, "PCM_16"),
    ("$math$ 100% [x]", "wav", 11_025, 2, "FLOAT"),
    ("emoji 🎙", "wav", 96_000, 1, "PCM_U8"),
)


def write_corpus(folder: Path) -> Path:
    """A manifest of 60 recordings: every emotion, speaker and kind of file once. An emotion has a pitch of its own."""
    rng = np.random.default_rng(0)
    rows = []
    for pitch, emotion in enumerate(EMOTIONS):
        for speaker in SPEAKERS:
            for kind, ending, rate, channels, subtype in ODD:
                path = Path(kind) / f"{emotion} – {SPEAKERS.index(speaker)}.{ending}"
                time = np.arange(round(0.6 * rate)) / rate
                sound = 0.4 * np.sin(2 * np.pi * 300 * (1 + pitch) * time) + rng.normal(0, 0.05, len(time))
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                samples = np.repeat(sound[:, None], channels, axis=1)
                soundfile.write(folder / path, samples, rate, subtype=subtype)
                rows.append({"path": str(path), "emotion": emotion, "speaker": speaker, "text": f"text, of {kind}"})
    manifest = folder / "my corpus.csv"
    with manifest.open("w", newline="", encoding="utf-8-sig") as file:  # as spreadsheets write it
        writer = csv.DictWriter(file, ["speaker", "emotion", "path", "text"])
        writer.writeheader()
        writer.writerows(rows)
    return manifest


def test_an_odd_corpus_goes_through_every_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_corpus(tmp_path / "corpus of mine")
    data, store, grid = tmp_path / "da ta", tmp_path / "sto re", tmp_path / "my grid.yaml"
    grid.write_text(
        "{corpora: [mine], backbones: [tiny], rules: [none, {wdsl: [[0.5, 0.1]]}],"
        " label_sources: [cross_fit], inner_folds: 2, iterations: 2,"
        " folds: 3, training: {epochs: 2, every: 4}}",
        encoding="utf-8",
    )
    place = [str(grid), "--data", str(data), "--store", str(store)]
    prepare = ["prepare", "manifest", "--source", str(manifest), "--name", "mine", "--out", str(data), "--inline"]
    assert main(prepare) == 0
    prepared = find_prepared(data, "mine")
    assert list(prepared.classes) == sorted(EMOTIONS)
    assert set(prepared.utterances()["speaker"]) == set(SPEAKERS)
    assert len(prepared.utterances()) == len(EMOTIONS) * len(SPEAKERS) * len(ODD)

    assert main(["plan", *place, "--json"]) == 0
    said = capsys.readouterr().out
    plan = json.loads(said[said.index("{") :])
    assert main(["run", *place, "--inline"]) == 0
    assert f"{plan['stages']['total']} of {plan['stages']['total']} stages done" in capsys.readouterr().out
    assert main(["status", *place, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stages"]["missing"] == 0
    for form in ("md", "latex", "csv", "json"):
        assert main(["tables", *place, "--format", form]) == 0
        assert "mine" in capsys.readouterr().out


@pytest.mark.parametrize("split", ["speaker", "text", "speaker_text"])
def test_each_split_runs_on_it(tmp_path: Path, split: str, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_corpus(tmp_path / "corpus")
    grid = tmp_path / "grid.yaml"
    folds = 4 if split == "speaker_text" else 3
    grid.write_text(
        f"{{corpora: [mine], backbones: [tiny], rules: [bdsl], splits: [{split}], folds: {folds},"
        " training: {epochs: 1, every: 8}}"
    )
    data, store = str(tmp_path / "data"), str(tmp_path / "store")
    prepare = ["prepare", "manifest", "--source", str(manifest), "--name", "mine", "--out", data, "--inline"]
    assert main(prepare) == 0
    assert main(["run", str(grid), "--data", data, "--store", store, "--inline"]) == 0
    assert f"{2 * folds} of {2 * folds} stages done" in capsys.readouterr().out
