"""EmoBox's folds: which utterances its lists name, and what they are."""

import json
from pathlib import Path

import pytest

from data_prep.emobox import emobox_corpora, notices_of, read_emobox
from data_prep.fold_lists import FoldListError
from tests.emobox_lists import FILES, write_list, write_lists


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    return write_lists(tmp_path / "EmoBox")


def test_lists_are_found_from_a_checkout_its_data_or_one_corpus(lists: Path) -> None:
    assert set(emobox_corpora(lists)) == set(emobox_corpora(lists / "data")) == set(FILES)
    assert emobox_corpora(lists / "data" / "savee") == {"savee": lists / "data" / "savee"}
    with pytest.raises(FoldListError, match="has no lists of EmoBox's"):
        emobox_corpora(lists / "data" / "savee" / "fold_1")


@pytest.mark.parametrize(
    ("corpus", "said"),
    [
        (
            "emodb",
            "emodb: 40 utterances, 5 folds; speakers are mixed: 40 of 40 are tested by networks that train on their "
            "speaker",
        ),
        ("savee", "savee: 24 utterances, 4 folds; each fold leaves out 1 speaker (DC; JE; JK; KL)"),
        (
            "ravdess",
            "ravdess: 96 utterances, 6 folds; each fold leaves out 4 speakers (01 02 03 04; 05 06 07 08; 09 10 11 12; "
            "13 14 15 16; 17 18 19 20; 21 22 23 24)",
        ),
    ],
)
def test_the_protocol_is_told(lists: Path, corpus: str, said: str) -> None:
    found = read_emobox(lists / "data" / corpus, corpus)
    assert found.text == said
    assert found.folds.is_partition and not list(notices_of(found))


@pytest.mark.parametrize(
    ("corpus", "wav", "utterance"),
    [
        ("emodb", "emodb/wav/03a02Wb.wav", "03a02Wb"),
        ("savee", "savee/JE_n23.wav", "JE_n23"),
        ("ravdess", "ravdess/audio/Audio_Speech_Actors_01-24/Actor_11/03-01-07-02-02-02-11.wav", None),
        ("casia", "casia/wangzhe/sad/237.wav", "wangzhe_sad_237"),
        ("tess", "tess/OAF_Fear/OAF_back_fear.wav", "OAF_back_fear"),
        ("cremad", "cremad/AudioWAV/1001_DFA_ANG_XX.wav", "1001_DFA_ANG_XX"),
    ],
)
def test_a_path_is_the_utterance_that_the_reader_makes_of_it(
    tmp_path: Path, corpus: str, wav: str, utterance: str | None
) -> None:
    """A single fold with a part that trains and one that tests, as some corpora have."""
    others = {"casia": "casia/wangzhe/sad/238.wav", "tess": "YAF_bar_sad.wav", "cremad": "1002_DFA_ANG_XX.wav"}
    other = others.get(corpus) or next(iter(FILES[corpus]))
    write_list(tmp_path, corpus, 1, "test", [wav])
    write_list(tmp_path, corpus, 1, "train", [other])
    found = read_emobox(tmp_path / "data" / corpus, corpus).folds
    assert (utterance or Path(wav).stem, "t") in found.parts
    assert [letters for _, letters in sorted(found.parts, key=lambda one: one[1])] == ["l", "t"]


def test_what_does_not_match_is_left_out_and_named(lists: Path) -> None:
    paths = list(FILES["savee"])
    write_list(lists, "savee", 1, "test", [*paths[:6], "savee/XX_a01.wav"])
    prepared = {Path(path).stem for path in paths[1:]} | {"KL_n30"}
    found = read_emobox(lists / "data" / "savee", "savee", prepared)
    assert list(notices_of(found)) == [
        "savee: 1 line (savee-XX-a01) of no utterance that ser-sweep prepare reads, left out",
        "savee: 1 utterance (DC_a01) not in the prepared corpus, left out",
        "savee: 1 utterance (KL_n30) of the prepared corpus in no fold; a grid refuses them until listed",
    ]
    assert len(found.folds.parts) == 23
    with pytest.raises(FoldListError, match="no utterance of EmoBox's lists of savee is in the prepared corpus"):
        read_emobox(lists / "data" / "savee", "savee", {"something else"})


def test_a_list_from_windows_is_read(lists: Path) -> None:
    expected = read_emobox(lists / "data" / "savee", "savee")
    for path in (lists / "data" / "savee").rglob("*.jsonl"):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        text = "\r\n".join(json.dumps({**one, "wav": one["wav"].replace("/", "\\")}) for one in lines)
        path.write_text(f"\ufeff{text}\r\n", encoding="utf-8", newline="")
    assert read_emobox(lists / "data" / "savee", "savee") == expected


def test_lists_of_no_utterance_say_so_without_prepared_data(tmp_path: Path) -> None:
    write_list(tmp_path, "savee", 1, "test", ["savee/XX_a01.wav"])
    write_list(tmp_path, "savee", 1, "train", ["savee/XX_a02.wav"])
    with pytest.raises(FoldListError, match="name no utterance that ser-sweep prepare reads") as refused:
        read_emobox(tmp_path / "data" / "savee", "savee")
    assert "--data" not in str(refused.value)


def test_the_recording_of_cremad_without_sound_is_no_utterance(tmp_path: Path) -> None:
    write_list(tmp_path, "cremad", 1, "test", ["1076_MTI_SAD_XX.wav", "1001_DFA_ANG_XX.wav"])
    write_list(tmp_path, "cremad", 1, "train", ["1002_DFA_ANG_XX.wav"])
    assert read_emobox(tmp_path / "data" / "cremad", "cremad").foreign == ("cremad-1076-MTI-SAD-XX",)


def test_a_validation_part_is_taken(tmp_path: Path) -> None:
    for part, path in zip(("train", "valid", "test"), FILES["emodb"], strict=False):
        write_list(tmp_path, "emodb", 1, part, [path])
    protocol = read_emobox(tmp_path / "data" / "emodb", "emodb")
    assert protocol.folds.validates and "emodb: 1 of 3 utterances are tested" in notices_of(protocol)


def test_lists_that_overlap_or_are_not_whole_are_refused(lists: Path) -> None:
    paths = list(FILES["savee"])
    overlapping = write_list(lists, "savee", 2, "train", paths)
    with pytest.raises(FoldListError) as refused:
        read_emobox(lists / "data" / "savee", "savee")
    assert "6 utterances (JE_a01, JE_a02, JE_a03, …) in test and train of fold 2" in str(refused.value)
    for content, said in (
        (b'{"key": "a", "wav": "DC_a01.wav"}\n{"key": "a"}\n', "is damaged: line 2 has no wav; each is like"),
        (b"\n[1]\n", "is damaged: line 2 is no JSON object"),
        (b"DC_a01.wav\n", "is damaged: line 1 is no JSON object"),
        ('{"key": "a"}'.encode("utf-16"), "cannot be read: it is UTF-16; write it in UTF-8"),
        (b'{"key": "\xff"}', "cannot be read: it is not UTF-8 on line 1 (byte 0xff); write it in UTF-8"),
    ):
        overlapping.write_bytes(content)
        with pytest.raises(FoldListError) as refused:
            read_emobox(lists / "data" / "savee", "savee")
        assert f"{overlapping} {said}" in str(refused.value)
    overlapping.unlink()
    with pytest.raises(FoldListError, match="is missing"):
        read_emobox(lists / "data" / "savee", "savee")


def drop(path: Path, name: str) -> None:
    """Take the lines out of a list that hold `name`."""
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if name not in line]
    assert len(kept) == len(lines) - 1
    path.write_text("\n".join(kept), encoding="utf-8")


def test_an_utterance_that_no_fold_tests_is_named_and_refused(lists: Path) -> None:
    first = sorted((lists / "data" / "savee" / "fold_1").glob("*test*"))[0]
    name = read_emobox(lists / "data" / "savee", "savee").folds.parts[0][0]
    drop(first, name)
    with pytest.raises(FoldListError, match=rf"1 utterance \({name}\) tested in no fold"):
        read_emobox(lists / "data" / "savee", "savee")


def test_an_utterance_that_a_fold_does_not_train_on_is_named(lists: Path) -> None:
    name = read_emobox(lists / "data" / "savee", "savee").folds.parts[0][0]
    drop(sorted((lists / "data" / "savee" / "fold_2").glob("*train*"))[0], name)
    told = list(notices_of(read_emobox(lists / "data" / "savee", "savee")))
    assert told == [f"savee: 1 utterance ({name}) in no list of some folds: neither trained on nor tested there"]
