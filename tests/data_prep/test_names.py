"""Names of utterances: one person is one speaker, one emotion one class, whatever a table was written with."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.corpora import Utterance, check_name, read_manifest
from data_prep.errors import CorpusError
from data_prep.names import check_names
from data_prep.prepare import prepare
from tests.data_prep.corpus_files import format_chunk, noise, riff, write_manifest, write_sound

HEADER = "path,emotion,speaker,text,id"


def utterances(field: str, *values: Any) -> list[Utterance]:
    """One for each value, that differ in nothing but `field`, the path and, unless it is that, the id."""
    plain = {"speaker": "anna", "text": "", "emotion": "anger"}
    given: list[dict[str, Any]] = [
        {"id": f"u{n}", "path": Path(f"{n}.wav"), **plain, field: v} for n, v in enumerate(values)
    ]
    return [Utterance(**one) for one in given]


def refusal(field: str, *values: Any) -> list[str]:
    with pytest.raises(CorpusError) as raised:
        check_names(utterances(field, *values))
    return list(raised.value.problems)


SAME = [
    ("\u00c4rger", "A\u0308rger"),
    ("joy", "joy\u200b"),
    ("joy", "jo\u00ady"),
    ("very happy", "very\u00a0happy"),
    ("joy", "\u202bjoy\u202c"),
    ("joy", "\ufeffjoy"),
]


@pytest.mark.parametrize("field", ["emotion", "speaker", "text", "id"])
@pytest.mark.parametrize("same", SAME, ids=ascii)
def test_an_utterance_keeps_text_that_is_the_same_in_one_way(field: str, same: tuple[str, str]) -> None:
    first, second = utterances(field, *same)
    assert getattr(first, field) == getattr(second, field) == same[0]


def test_a_speaker_has_one_gender() -> None:
    given = utterances("gender", "f", "", "m", "f")
    with pytest.raises(CorpusError) as raised:
        check_names(given)
    (said,) = raised.value.problems
    assert said.startswith(
        "speaker 'anna' has the genders 'f' (2 utterances, such as u0) and 'm' (1 utterance, such as u2)"
    )
    assert check_names([*utterances("gender", "f", ""), *utterances("id", "x")]) == ()


def test_sessions_that_look_the_same_are_told() -> None:
    (said,) = check_names(utterances("session", "s1", "S1", ""))
    assert "sessions 'S1' (1 utterance, such as u1) and 's1'" in said


@pytest.mark.parametrize("same", SAME, ids=ascii)
def test_a_manifest_with_one_text_in_two_ways_has_it_once(tmp_path: Path, same: tuple[str, str]) -> None:
    for name in ("0.wav", "1.wav"):
        (tmp_path / name).touch()
    lines = [f"{n}.wav,{value},{value},{value},{n}" for n, value in enumerate(same)]
    first, second = read_manifest(write_manifest(tmp_path, *lines, header=HEADER))
    for field in ("emotion", "speaker", "text"):
        assert getattr(first, field) == getattr(second, field) == same[0]


@pytest.mark.parametrize("same", SAME, ids=ascii)
def test_one_id_in_two_ways_stands_on_two_lines(tmp_path: Path, same: tuple[str, str]) -> None:
    for name in ("0.wav", "1.wav"):
        (tmp_path / name).touch()
    lines = [f"{n}.wav,joy,anna,,{value}" for n, value in enumerate(same)]
    with pytest.raises(CorpusError, match="stands on more than one line"):
        read_manifest(write_manifest(tmp_path, *lines, header=HEADER))


@pytest.mark.parametrize("value", ["\u200b", "\u00a0", "\ufeff\u00ad", "\x01"])
def test_a_value_of_which_nothing_is_seen_is_empty(tmp_path: Path, value: str) -> None:
    (tmp_path / "0.wav").touch()
    with pytest.raises(CorpusError, match="line 2: empty emotion, speaker"):
        read_manifest(write_manifest(tmp_path, f"0.wav,{value},{value}"))
    assert read_manifest(write_manifest(tmp_path, f"0.wav,joy,anna,{value},{value}", header=HEADER))[0].id == "0"


@pytest.mark.parametrize(
    "header", ["Path,EMOTION, Speaker", "path\u200b,\ufeffemotion,\uff53peaker", "path,emotion\u00a0,speaker"]
)
def test_columns_may_be_written_in_any_case_and_width(tmp_path: Path, header: str) -> None:
    (tmp_path / "0.wav").touch()
    assert read_manifest(write_manifest(tmp_path, "0.wav,joy,anna", header=header))[0].speaker == "anna"


def test_a_column_in_two_cases_is_there_twice(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="the header has emotion more than once"):
        read_manifest(write_manifest(tmp_path, header="path,emotion,Emotion,speaker"))


LOOK_ALIKES = [
    ("anger", "Anger"),
    ("anger", "\uff41\uff4e\uff47\uff45\uff52"),
    ("anger", "\u0430nger"),
    ("03", '="03"', "3", "03.0"),
    ("s1", "s 1", "S1"),
    ("a-b", "a\u2013b"),
]


@pytest.mark.parametrize("field", ["emotion", "speaker"])
@pytest.mark.parametrize("alike", LOOK_ALIKES, ids=ascii)
def test_emotions_and_speakers_that_look_the_same_are_refused_by_name(field: str, alike: tuple[str, ...]) -> None:
    (problem,) = refusal(field, *alike, "else", alike[0])
    assert problem.startswith(f"{field}s ")
    assert problem.endswith("look the same: write equal names alike and different ones differently")
    assert all(repr(value) in problem for value in alike)
    assert f"{alike[0]!r} (2 utterances, such as u0)" in problem
    assert all(value.isascii() or ascii(value) in problem for value in alike)


@pytest.mark.parametrize("field", ["text", "id"])
@pytest.mark.parametrize("alike", LOOK_ALIKES, ids=ascii)
def test_texts_and_ids_that_look_the_same_are_told_by_name(field: str, alike: tuple[str, ...]) -> None:
    (notice,) = check_names(utterances(field, *alike, "else"))
    assert f"{field}s " in notice.partition("\n")[2]
    assert all(repr(value) in notice for value in alike)
    assert "else'" not in notice


MISSING = [
    "nan",
    "NaN",
    "None",
    "NULL",
    "null",
    "NA",
    "N/A",
    "<NA>",
    "NaT",
    "#N/A",
    "#REF!",
    "#DIV/0!",
    "undefined",
    '="03"',
]


@pytest.mark.parametrize("field", ["emotion", "speaker"])
@pytest.mark.parametrize("value", MISSING)
def test_what_a_table_writes_for_nothing_is_no_class_and_no_speaker(field: str, value: str) -> None:
    (problem,) = refusal(field, "joy", value, value)
    assert problem.startswith(f"{field} {value!r} (2 utterances, such as u1) stands for a missing value: fill it in")


@pytest.mark.parametrize("field", ["text", "id"])
@pytest.mark.parametrize("value", MISSING)
def test_as_a_text_or_an_id_it_is_told(field: str, value: str) -> None:
    (notice,) = check_names(utterances(field, "joy", value))
    assert f"{field} {value!r} (1 utterance, such as" in notice
    assert "stands for a missing value" in notice


@pytest.mark.parametrize("name", ["Nan", "Na", "none", "Null", "nana", "3", "03", "s1", "\u6012\u308a", "m-1", "NaNa"])
def test_what_may_be_a_name_is_one(name: str) -> None:
    for field in ("emotion", "speaker", "text", "id"):
        assert check_names(utterances(field, name, "else")) == ()


def test_clean_names_are_no_notice() -> None:
    assert check_names(utterances("text", "", "", "a", "b")) == ()


def test_an_id_that_is_there_twice_or_a_name_that_is_not_utf_8_is_refused() -> None:
    assert refusal("id", "x", "x", "y") == ["id 'x' is there 2 times"]
    assert refusal("speaker", "anna", "caf\udce9")[0].startswith("speaker 'caf\\udce9' ")
    (problem,) = refusal("path", Path("caf\udce9.wav"))
    assert problem == "file name 'caf\\udce9.wav' is not UTF-8"


def test_nothing_is_written_of_a_corpus_whose_names_are_refused(tmp_path: Path) -> None:
    sounds = [write_sound(tmp_path / f"{n}.wav", noise(1, n)) for n in range(2)]
    said = [Utterance(str(n), path, "anna", "", ["anger", "Anger"][n]) for n, path in enumerate(sounds)]
    with pytest.raises(CorpusError, match="1 name of utterances cannot be used, nothing was prepared"):
        prepare("mine", said, tmp_path / "data", inline=True)
    assert not (tmp_path / "data").exists()


def test_notices_of_names_are_among_those_of_a_preparation(tmp_path: Path) -> None:
    sounds = [write_sound(tmp_path / f"{n}.wav", noise(1, n)) for n in range(2)]
    said = [Utterance(str(n), p, "anna", ["a", "A"][n], ["anger", "joy"][n]) for n, p in enumerate(sounds)]
    (notice,) = prepare("mine", said, tmp_path / "data", inline=True).notices
    assert "texts 'A' (1 utterance, such as 1) and 'a' (1 utterance, such as 0) look the same" in notice


@pytest.mark.parametrize("name", ["Emo-DB", "\uff25mo-DB", "\u0435modb", "EMO\u200bDB", "Cas\u0131a", "emo\u2013db"])
def test_the_name_of_a_known_corpus_is_kept_for_it_however_written(name: str) -> None:
    with pytest.raises(CorpusError, match="is reserved for the"):
        check_name(name, "manifest")


# A corpus whose text is clean keeps its name


def test_a_corpus_of_clean_text_has_the_name_it_always_had(tmp_path: Path) -> None:
    rows = []
    for n, (emotion, speaker, text) in enumerate(
        [
            ("\u00c4rger", "Zo\u00eb", "Guten Tag, wie geht\u2019s?"),
            ("Freude", "03", "\u4f60\u597d\uff0c\u5403\u4e86\u5417\uff1f"),
            ("Freude", "M\u00fcller-2", "Ma\u00dfe"),
            ("\u6012\u308a", "s 1", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ]
    ):
        samples = np.random.default_rng(n).integers(-9_000, 9_000, 16_000).astype("<i2")
        (tmp_path / f"t\u00f6n {n}.wav").write_bytes(riff(format_chunk(), (b"data", samples.tobytes())))
        rows.append(f'"t\u00f6n {n}.wav",{emotion},{speaker},"{text}"')
    said = read_manifest(write_manifest(tmp_path, *rows, header="path,emotion,speaker,text"))
    assert prepare("clean", said, tmp_path / "data", inline=True).corpus.name == "clean-c8bb6f5e0bb1"


@pytest.mark.parametrize(
    ("emotions", "speakers"),
    [
        (
            ("\u00c4rger", "A\u0308rger", "Tr\u00fcbsinn", "Tru\u0308bsinn"),
            ("Zo\u00eb", "Zoe\u0308", "J\u00fcrgen", "Ju\u0308rgen"),
        ),
        (("anger", "anger\u200b", "joy", "joy\u200b"), ("s1", "s1\u200b", "s2", "s2\u2060")),
    ],
    ids=["Unicode forms", "invisible"],
)
def test_four_ways_of_writing_are_two_classes_and_two_speakers(
    tmp_path: Path, emotions: tuple[str, ...], speakers: tuple[str, ...]
) -> None:
    for n in range(4):
        write_sound(tmp_path / f"{n}.wav", noise(1, n))
    lines = [f"{n}.wav,{emotions[n]},{speakers[n]}" for n in range(4)]
    done = prepare("mine", read_manifest(write_manifest(tmp_path, *lines)), tmp_path / "data", inline=True)
    assert list(done.corpus.classes.items()) == [(name, 2) for name in sorted(emotions[::2])]
    assert done.corpus.manifest["speakers"] == 2
    assert sorted(set(done.corpus.utterances()["speaker"])) == sorted(speakers[::2])
    assert done.notices == ()
