"""`ser-sweep prepare` of sounds in every corpus's layout, with its settings; and what `ser-sweep corpora` shows."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from data_prep.corpora import CORPORA, read_manifest
from data_prep.prepare import prepare
from ser_sweep.cli import main
from tests.data_prep.corpus_files import noise, write_manifest, write_sound
from tests.data_prep.corpus_trees import plant_sounds

# Corpus, layout, sampling rate -> names, of two emotions each; half a second long.
SOUNDS: list[tuple[str, str, int, list[str]]] = [
    ("emodb", "flat", 16_000, ["03a01Wa.wav", "08a02Fa.wav"]),
    ("emodb", "wav", 16_000, ["wav/03a01Wa.wav", "wav/08a02Fa.wav"]),
    ("savee", "nested", 44_100, ["AudioData/DC/sa01.wav", "AudioData/KL/a01.wav"]),
    ("savee", "flat", 44_100, ["DC_sa01.wav", "KL_a01.wav"]),
    ("casia", "full", 16_000, ["相同文本300/liuchanhg/sad/201.wav", "相同文本300/ZhaoZuoxiang/angry/201.wav"]),
    ("casia", "public", 16_000, ["liuchanghg/sad/201.wav", "zhaozuoxiang/angry/201.wav"]),
    ("casia", "dashes", 16_000, ["201-sad-liuchanhg.wav", "201-angry-ZhaoZuoxiang.wav"]),
    ("casia", "underscores", 16_000, ["Sad_liuchanhg_382.wav", "Angry_ZhaoZuoxiang_382.wav"]),
    ("ravdess", "actors", 48_000, ["Actor_01/03-01-04-01-01-01-01.wav", "Actor_02/03-01-05-01-01-01-02.wav"]),
    ("cremad", "flat", 16_000, ["1001_DFA_ANG_XX.wav", "1091_DFA_SAD_HI.wav"]),
    ("tess", "24414", 24_414, ["OAF_angry/OAF_back_angry.wav", "YAF_sad/YAF_back_sad.wav"]),
    ("tess", "96000", 96_000, ["OAF_angry/OAF_back_angry.wav", "YAF_pleasant_surprised/YAF_back_ps.wav"]),
]


def prepared(data: Path, *arguments: str) -> dict[str, Any]:
    """The manifest of what the command makes in `data`."""
    assert main(["prepare", *arguments, "--out", str(data), "--inline"]) == 0
    (path,) = data.glob("*/manifest.json")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(("corpus", "layout", "rate", "names"), SOUNDS, ids=[f"{s[0]}-{s[1]}" for s in SOUNDS])
def test_sounds_in_a_corpus_layout_are_prepared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], corpus: str, layout: str, rate: int, names: list[str]
) -> None:
    source = plant_sounds(tmp_path / "source", names, rate)
    manifest = prepared(tmp_path / "data", corpus, "--source", str(source), "--allow-partial")
    assert (manifest["corpus"], manifest["partial"]) == (corpus, True)
    assert (manifest["utterances"], manifest["speakers"], len(manifest["classes"])) == (2, 2, 2)
    assert manifest["settings"]["segment_hop"] == (3 if corpus == "casia" else 1)
    # Half a second is 48 frames: 17 segments of 32 frames, every third one of them 6.
    assert manifest["segments"] == 2 * (6 if corpus == "casia" else 17)
    said = capsys.readouterr().out
    assert (f"2 files at {rate} Hz resampled to 16000 Hz" in said) == (rate != 16_000)
    assert f"notice: {corpus} is only a part of the corpus" in said
    table = pd.read_parquet(tmp_path / "data" / f"{corpus}-{manifest['fingerprint']}" / "utterances.parquet")
    assert table["samples"].tolist() == [8_000, 8_000]


def test_both_layouts_of_savee_give_the_same_prepared_corpus(tmp_path: Path) -> None:
    names = {layout: names for corpus, layout, _, names in SOUNDS if corpus == "savee"}
    made = []
    for layout in ("nested", "flat"):
        source = plant_sounds(tmp_path / layout, names[layout], 44_100)
        made.append(prepared(tmp_path / f"data-{layout}", "savee", "--source", str(source), "--allow-partial"))
    assert made[0]["fingerprint"] == made[1]["fingerprint"]


def test_savees_framings_lie_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = plant_sounds(tmp_path / "source", ["DC_a01.wav", "DC_n01.wav"], 44_100, seconds=2.0)
    place = ["savee", "--source", str(source), "--allow-partial"]
    described = prepared(tmp_path / "described", *place, "--framing", "described")
    counted = prepared(tmp_path / "counted", *place, "--framing", "counted")
    assert described["fingerprint"] != counted["fingerprint"]
    assert described == prepared(tmp_path / "default", *place)
    assert described["segments"] == 2 * (1 + (32_000 - 400) // 160 - 31)
    assert counted["segments"] == 2 * (1 + (32_000 - 1102) // 441 - 31)


def test_segment_length_and_hop_are_settings(tmp_path: Path) -> None:
    source = plant_sounds(tmp_path / "source", ["a.wav", "b.wav"], 16_000)
    manifest = str(write_manifest(source, "a.wav,anger,anna", "b.wav,joy,berta"))
    made = prepared(tmp_path / "data", "manifest", "--source", manifest, "--segment-ms", "215", "--hop-ms", "20")
    assert made["segments"] == 2 * (1 + (48 - 20) // 2)
    assert (made["settings"]["segment_frames"], made["settings"]["segment_hop"]) == (20, 2)
    assert made["partial"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["casia", "--segment-ms", "330", "--hop-ms", "35"], "2 settings for segments cannot be used"),
        (["emodb", "--framing", "counted"], "--framing counted is for savee only, not for emodb"),
        (["synthetic", "--hop-ms", "0"], "--hop-ms 0: "),
        (["savee"], "prepare savee needs --source"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["prepare", *arguments, "--out", str(tmp_path / "data"), "--inline"]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# What there is


def corpora(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[list[str]]:
    """The lines of `ser-sweep corpora` as cells."""
    assert main(["corpora", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    return [[cell for cell in line.split("  ") if cell] for line in lines]


def test_every_corpus_is_listed_with_language_size_licence_and_where_to_get_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = {cells[0]: [cell.strip() for cell in cells[1:]] for cells in corpora(capsys) if cells}
    assert set(CORPORA) <= set(lines)
    assert lines["savee"][:5] == ["English", "480", "4", "7", "restricted"]
    assert lines["ravdess"][4] == "CC BY-NC-SA 4.0"
    assert lines["ravdess"][5].startswith("ser-sweep fetch ravdess --out DIR (https://zenodo.org/")


def test_what_only_has_the_name_of_one_of_the_papers_corpora_does_not_stand_below_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it could be prepared before the names were kept."""
    for number, name in enumerate("ab"):
        write_sound(tmp_path / f"{name}.wav", noise(0.5, number))
    manifest = write_manifest(tmp_path, "a.wav,anger,anna", "b.wav,joy,berta")
    prepare("emodb", read_manifest(manifest), tmp_path / "data", inline=True)
    lines = [[cell.strip() for cell in cells] for cells in corpora(capsys, "--data", str(tmp_path / "data"))]
    below = [cells[0] for cells in lines[lines.index([]) + 2 :]]
    assert below[:4] == ["casia: the paper's", "casia: not prepared", "emodb: the paper's", "emodb: not prepared"]
    assert below[-1].startswith("emodb-")


def test_without_data_the_papers_table_1_stands_alone(capsys: pytest.CaptureFixture[str]) -> None:
    lines = corpora(capsys)
    table = lines[lines.index([]) + 1 :]
    assert [[cell.strip() for cell in cells] for cells in table] == [
        ["Table I", "utterances", "speakers", "emotions", "sampling rate", "segments", "segment, hop"],
        ["casia: the paper's", "7,200", "4 (2 female)", "6", "16 kHz", "418,722", "335 ms, 30 ms"],
        ["emodb: the paper's", "535", "10 (5 female)", "7", "16 kHz", "131,053", "335 ms, 10 ms"],
        ["savee: the paper's", "480", "4 (0 female)", "7", "44.1 kHz", "51,027", "335 ms, 10 ms"],
    ]


def test_what_is_prepared_stands_below_the_papers_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = plant_sounds(tmp_path / "source", ["DC_a01.wav", "JE_n01.wav"], 44_100, seconds=1.0)
    place = ["--out", str(tmp_path / "data"), "--inline", "--allow-partial"]
    assert main(["prepare", "savee", "--source", str(source), "--framing", "counted", *place]) == 0
    write_sound(tmp_path / "a.wav", noise(0.5))
    write_sound(tmp_path / "b.wav", noise(0.5, 1, rate=8_000), 8_000)
    mine = write_manifest(tmp_path, "a.wav,anger,anna", "b.wav,joy,berta")
    assert main(["prepare", "manifest", "--source", str(mine), "--name", "mine", *place]) == 0
    capsys.readouterr()
    lines = [[cell.strip() for cell in cells] for cells in corpora(capsys, "--data", str(tmp_path / "data"))][-3:]
    assert lines[0][0] == "savee: the paper's"
    assert lines[1][0].startswith("savee-") and lines[1][0].endswith(" (a part)")
    assert lines[1][1:] == ["2", "2", "2", "44.1 kHz", "6", "923 ms, 28 ms"]
    assert lines[2][0].startswith("mine-") and not lines[2][0].endswith(" (a part)")
    assert lines[2][1:] == ["2", "2", "2", "8 kHz, 16 kHz", "34", "335 ms, 10 ms"]


def test_a_data_folder_that_is_not_there_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["corpora", "--data", str(tmp_path / "none")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "none does not exist" in said.err
