"""Corpus readers: who said what with which emotion, and which folders and files are refused."""

from collections import Counter
from pathlib import Path

import pytest

from data_prep.corpora import Utterance, known_name, read_emodb, read_manifest
from data_prep.corpora.emodb import EMODB_COUNTS
from data_prep.corpora.manifest import unread_columns
from data_prep.errors import CorpusError
from tests.data_prep.corpus_files import emodb_names, write_emodb, write_manifest

NAMES = emodb_names()


@pytest.fixture(scope="module")
def emodb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `wav/` of 535 files."""
    return write_emodb(tmp_path_factory.mktemp("emodb") / "corpus" / "wav", NAMES).parent


# Emo-DB


@pytest.mark.parametrize(
    ("name", "speaker", "text", "emotion"),
    [
        ("03a01Wa", "03", "a01", "anger"),
        ("08a02La", "08", "a02", "boredom"),
        ("10b03Eb", "10", "b03", "disgust"),
        ("11a05Ac", "11", "a05", "fear"),
        ("14b10Fd", "14", "b10", "happiness"),
        ("15b09Nf", "15", "b09", "neutral"),
        ("16a07Ta", "16", "a07", "sadness"),
    ],
)
def test_an_emodb_file_name_tells_speaker_text_and_emotion(
    tmp_path: Path, name: str, speaker: str, text: str, emotion: str
) -> None:
    folder = write_emodb(tmp_path / "wav", [f"{name}.wav"])
    assert read_emodb(folder, allow_partial=True) == [Utterance(name, folder / f"{name}.wav", speaker, text, emotion)]


def test_emodb_is_whole_with_the_known_number_of_utterances_of_every_emotion(emodb: Path) -> None:
    utterances = read_emodb(emodb / "wav")
    assert [utterance.path.name for utterance in utterances] == NAMES
    assert Counter(utterance.emotion for utterance in utterances) == EMODB_COUNTS
    assert EMODB_COUNTS == {
        "anger": 127,
        "boredom": 81,
        "disgust": 46,
        "fear": 69,
        "happiness": 71,
        "neutral": 79,
        "sadness": 62,
    }


def test_the_folder_above_the_wav_files_does_as_well(emodb: Path) -> None:
    assert read_emodb(emodb) == read_emodb(emodb / "wav")


def test_other_files_beside_the_wav_files_do_not_matter(tmp_path: Path) -> None:
    folder = write_emodb(tmp_path / "wav", [*NAMES, "erklaerung.txt", "03a01Wa.lab"])
    assert len(read_emodb(folder)) == 535


def test_a_missing_emodb_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"emodb: source .*nowhere does not exist; .*--source"):
        read_emodb(tmp_path / "nowhere")


def test_a_file_instead_of_the_emodb_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "download.zip").touch()
    with pytest.raises(CorpusError, match=r"download.zip is a file, not a folder; .*--source"):
        read_emodb(tmp_path / "download.zip")


@pytest.mark.parametrize("inside", [".", "wav"])
def test_an_emodb_folder_without_wav_files_is_refused(tmp_path: Path, inside: str) -> None:
    (tmp_path / inside).mkdir(exist_ok=True)
    with pytest.raises(CorpusError, match=r"no .wav files in .*--source must name the folder that holds 03a01Fa.wav"):
        read_emodb(tmp_path)


def test_an_emodb_folder_with_534_files_is_refused_with_the_emotion_that_misses_one(tmp_path: Path) -> None:
    folder = write_emodb(tmp_path / "wav", [name for name in NAMES if name != "03a01Wa.wav"])
    with pytest.raises(CorpusError) as raised:
        read_emodb(folder)
    message, *details = str(raised.value).splitlines()
    assert message.startswith(f"emodb: 534 utterances in {folder}, expected 535")
    assert "--allow-partial" in message
    assert details == ["  - anger: 126 utterances, expected 127"]


def test_535_files_with_other_numbers_of_emotions_are_refused(tmp_path: Path) -> None:
    names = [name for name in NAMES if name != "03a01Wa.wav"] + ["16b10Nz.wav"]
    folder = write_emodb(tmp_path / "wav", names)
    with pytest.raises(CorpusError, match=r"(?s)anger: 126 utterances.*neutral: 80 utterances, expected 79"):
        read_emodb(folder)


def test_a_part_of_emodb_is_read_where_that_is_allowed(tmp_path: Path) -> None:
    folder = write_emodb(tmp_path / "wav", NAMES[:3])
    assert len(read_emodb(folder, allow_partial=True)) == 3


@pytest.mark.parametrize("name", ["03a01Xa.wav", "3a01Fa.wav", "03c01Fa.wav", "03a01F.wav", "03a01Fa copy.wav"])
@pytest.mark.parametrize("allow_partial", [False, True])
def test_a_foreign_file_name_is_refused_by_name(tmp_path: Path, name: str, allow_partial: bool) -> None:
    folder = write_emodb(tmp_path / "wav", ["03a01Fa.wav", name])
    with pytest.raises(CorpusError, match=rf"(?s)1 foreign file name in .* \(Emo-DB's are like.*  - {name}"):
        read_emodb(folder, allow_partial)


# Any corpus, through a CSV file


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """A folder with the files wav/1.wav and wav/2.wav."""
    write_emodb(tmp_path / "wav", ["1.wav", "2.wav"])
    return tmp_path


def problems(manifest: Path) -> list[str]:
    """The lines below the first of the error `manifest` is refused with."""
    with pytest.raises(CorpusError) as raised:
        read_manifest(manifest)
    return str(raised.value).splitlines()[1:]


def test_a_manifest_tells_path_emotion_speaker_text_and_id(sounds: Path) -> None:
    manifest = write_manifest(sounds, "t1,anna,anger,wav/1.wav,first", header="text,speaker,emotion,path,id")
    assert read_manifest(manifest) == [Utterance("first", sounds / "wav" / "1.wav", "anna", "t1", "anger")]


def test_text_and_id_may_be_left_out_and_the_id_is_the_path_without_its_ending(sounds: Path) -> None:
    manifest = write_manifest(sounds, "wav/1.wav,anger,anna")
    assert read_manifest(manifest) == [Utterance("wav/1", sounds / "wav" / "1.wav", "anna", "", "anger")]


def test_an_empty_id_is_the_path_without_its_ending(sounds: Path) -> None:
    manifest = write_manifest(sounds, "wav/1.wav,anger,anna,", header="path,emotion,speaker,id")
    assert read_manifest(manifest)[0].id == "wav/1"


def test_other_columns_blank_lines_and_spaces_around_values_do_not_matter(sounds: Path) -> None:
    manifest = write_manifest(sounds, "", "7, wav/1.wav ,anger, anna", "", header=",path, emotion,speaker")
    assert read_manifest(manifest) == [Utterance("wav/1", sounds / "wav" / "1.wav", "anna", "", "anger")]


def test_unicode_names_and_spaces_in_paths_are_read(tmp_path: Path) -> None:
    write_emodb(tmp_path / "Töne 1", ["怒り é.wav"])
    manifest = write_manifest(tmp_path, "Töne 1/怒り é.wav,Ärger,Zoë")
    path = tmp_path / "Töne 1" / "怒り é.wav"
    assert read_manifest(manifest) == [Utterance("Töne 1/怒り é", path, "Zoë", "", "Ärger")]


def test_a_quoted_path_may_hold_a_comma(tmp_path: Path) -> None:
    write_emodb(tmp_path / "a,b", ["1.wav"])
    assert read_manifest(write_manifest(tmp_path, '"a,b/1.wav",anger,anna'))[0].id == "a,b/1"


def test_a_byte_order_mark_as_spreadsheets_write_it_is_accepted(sounds: Path) -> None:
    manifest = write_manifest(sounds, "wav/1.wav,anger,anna", header="\ufeffpath,emotion,speaker")
    assert len(read_manifest(manifest)) == 1


def test_lines_that_end_as_on_windows_are_accepted(sounds: Path) -> None:
    manifest = write_manifest(sounds)
    manifest.write_bytes(b"path,emotion,speaker\r\nwav/1.wav,anger,anna\r\n")
    assert read_manifest(manifest)[0].speaker == "anna"


@pytest.mark.parametrize("name", ["nowhere.csv", "wav"])
def test_a_manifest_that_is_no_file_is_refused(sounds: Path, name: str) -> None:
    with pytest.raises(CorpusError, match=f"{name} is not a file; give a CSV file with --source"):
        read_manifest(sounds / name)


def test_a_manifest_without_a_column_it_needs_is_refused_with_the_columns_it_has(sounds: Path) -> None:
    manifest = write_manifest(sounds, "wav/1.wav,anger", header="path,label")
    with pytest.raises(
        CorpusError, match=r"missing columns emotion, speaker; the header has path, label, .*; label may be emotion"
    ):
        read_manifest(manifest)


def test_a_column_given_twice_is_refused(sounds: Path) -> None:
    manifest = write_manifest(sounds, "wav/1.wav,anger,joy,anna", header="path,emotion,emotion,speaker")
    with pytest.raises(CorpusError, match="the header has emotion more than once"):
        read_manifest(manifest)


def test_an_empty_manifest_is_refused(sounds: Path) -> None:
    (sounds / "manifest.csv").touch()
    with pytest.raises(CorpusError, match="missing columns path, emotion, speaker; the header has nothing"):
        read_manifest(sounds / "manifest.csv")


def test_a_manifest_with_a_header_only_is_refused(sounds: Path) -> None:
    with pytest.raises(CorpusError, match="no utterances; it needs one line per audio file below the header"):
        read_manifest(write_manifest(sounds))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_manifest_that_is_not_utf8_is_refused(sounds: Path, encoding: str) -> None:
    manifest = write_manifest(sounds)
    manifest.write_bytes("path,emotion,speaker\nwav/1.wav,Ärger,anna\n".encode(encoding))
    with pytest.raises(CorpusError, match=r"is (not UTF-8 on line 2 .*|UTF-16); save it as CSV in UTF-8"):
        read_manifest(manifest)


def test_a_quote_that_is_never_closed_is_refused(sounds: Path) -> None:
    with pytest.raises(CorpusError, match="has a quote on line 2 that is never closed"):
        read_manifest(write_manifest(sounds, '"wav/1.wav,anger,anna'))


@pytest.mark.parametrize("column", ["path", "emotion", "speaker"])
def test_an_empty_value_is_refused(sounds: Path, column: str) -> None:
    line = {"path": "wav/1.wav", "emotion": "anger", "speaker": "anna"} | {column: " "}
    assert problems(write_manifest(sounds, ",".join(line.values()))) == [f"  - line 2: empty {column}"]


def test_a_line_that_is_too_short_is_refused(sounds: Path) -> None:
    assert problems(write_manifest(sounds, "wav/1.wav,anger")) == ["  - line 2: empty speaker"]


def test_a_line_with_more_values_than_columns_is_refused(sounds: Path) -> None:
    (problem,) = problems(write_manifest(sounds, "wav/1.wav,anger,anna,berlin"))
    assert problem.startswith("  - line 2: 'berlin' is more than the header has columns for")


def test_commas_after_the_last_value_do_not_matter(sounds: Path) -> None:
    assert read_manifest(write_manifest(sounds, "wav/1.wav,anger,anna,,"))[0].speaker == "anna"


def test_a_path_without_a_file_is_refused(sounds: Path) -> None:
    assert problems(write_manifest(sounds, "wav/3.wav,anger,anna")) == [f"  - line 2: no file {sounds}/wav/3.wav"]


def test_a_path_to_a_folder_is_refused(sounds: Path) -> None:
    assert problems(write_manifest(sounds, "wav,anger,anna")) == [f"  - line 2: no file {sounds}/wav"]


@pytest.mark.parametrize("path", ["../wav/1.wav", "wav/../../wav/1.wav", "..\\wav\\1.wav", "{folder}/../wav/1.wav"])
def test_a_path_that_leads_out_of_the_manifests_folder_is_refused(sounds: Path, path: str) -> None:
    inner = sounds / "inner"
    inner.mkdir()
    (inner / "wav").symlink_to(sounds / "wav")
    (problem,) = problems(write_manifest(inner, f"{path.format(folder=inner)},anger,anna"))
    assert "leads out of" in problem
    assert problem.startswith("  - line 2: path ")


def test_a_nul_character_is_refused(sounds: Path) -> None:
    with pytest.raises(CorpusError, match="holds a NUL character on line 2"):
        read_manifest(write_manifest(sounds, "wav/\0.wav,anger,anna"))


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("path;emotion;speaker", "has semicolons between its values; save it as CSV with commas"),
        ("path,emotion,speaker,Genders", "the header has Genders, which is not read: call it gender, or take it out"),
        ("path,emotion,speaker,sex", "the header has sex, which is not read: call it gender, or take it out"),
    ],
)
def test_a_header_that_is_nearly_one_is_refused_with_what_is_meant(sounds: Path, header: str, said: str) -> None:
    with pytest.raises(CorpusError, match=said):
        read_manifest(write_manifest(sounds, "wav/1.wav,anger,anna,f", header=header))


def test_other_columns_are_told_and_not_read(sounds: Path) -> None:
    manifest = write_manifest(sounds, "wav/1.wav,anger,anna,30,x", header="path,emotion,speaker,age,Note")
    assert len(read_manifest(manifest)) == 1 and unread_columns(manifest) == ["age", "Note"]


def test_an_id_on_two_lines_is_refused(sounds: Path) -> None:
    manifest = write_manifest(
        sounds, "wav/1.wav,anger,anna,x", "wav/2.wav,joy,anna,x", header="path,emotion,speaker,id"
    )
    assert problems(manifest) == ["  - id 'x' stands on more than one line; ids must be unique"]


def test_all_problems_are_told_at_once_with_their_lines(sounds: Path) -> None:
    manifest = write_manifest(
        sounds, "wav/1.wav,anger,anna", "wav/3.wav,anger,anna", "", "../1.wav,joy,anna", "wav/2.wav,,anna"
    )
    with pytest.raises(CorpusError, match=f"manifest {manifest}: 3 problems, nothing was prepared"):
        read_manifest(manifest)
    assert [line.split(":")[0] for line in problems(manifest)] == ["  - line 3", "  - line 5", "  - line 6"]


def test_of_many_problems_the_first_twenty_are_told_and_the_rest_counted(sounds: Path) -> None:
    told = problems(write_manifest(sounds, *[f"wav/{i}.wav,anger,anna" for i in range(100, 125)]))
    assert len(told) == 21
    assert told[-1] == "  … and 5 more"


def test_lines_without_a_file_are_left_out_where_a_part_is_allowed(sounds: Path) -> None:
    manifest = write_manifest(sounds, "wav/3.wav,anger,anna", "wav/2.wav,anger,anna")
    assert [utterance.id for utterance in read_manifest(manifest, allow_partial=True)] == ["wav/2"]


# Names


@pytest.mark.parametrize(
    ("about", "name"),
    [
        ({}, "emodb"),
        ({"speakers": 0}, "emodb"),  # an old manifest, which did not say
        ({"classes": {"anger": 3, "fear": 69}, "speakers": 2, "partial": True}, "emodb"),
        ({"classes": {"anger": 3, "fear": 69}, "speakers": 2}, "emodb-f"),
        ({"classes": EMODB_COUNTS | {"anger": 126, "fear": 70}}, "emodb-f"),
        ({"speakers": 9}, "emodb-f"),
        ({"classes": {"anger": 3, "joy": 69}, "partial": True}, "emodb-f"),
        ({"classes": {"anger": 300}, "partial": True}, "emodb-f"),
        ({"classes": {"anger": 3}, "speakers": 11, "partial": True}, "emodb-f"),
        ({"corpus": "mine", "classes": {"anger": 3}}, "mine"),
        ({"corpus": "tess", "classes": {"anger": 3}}, "tess"),  # of which the paper says nothing
    ],
)
def test_a_prepared_corpus_has_the_name_of_the_papers_only_if_it_holds_what_that_does(
    about: dict[str, object], name: str
) -> None:
    whole = {"corpus": "emodb", "fingerprint": "f", "classes": EMODB_COUNTS, "speakers": 10, "partial": False}
    assert known_name(whole | about) == name
