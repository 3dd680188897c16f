"""Lists of folds: what is read, what is refused and how, and what makes two lists the same."""

from pathlib import Path

import pandas as pd
import pytest

from data_prep.fold_files import fold_file, fold_list, lines_of_corpus, read_fold_file, write_fold_file
from data_prep.fold_lists import FoldList, FoldListError, column_of, with_lists

UTTERANCES = pd.DataFrame({"id": list("abcdef"), "file": [f"{one}.wav" for one in "abcdef"]})


def lines(*rows: str) -> pd.DataFrame:
    """`a 0` or, with a part, `a 0 test`."""
    return pd.DataFrame([[*row.split(), "", ""][:3] for row in rows], columns=["utterance", "fold", "part"])


def listed(*rows: str) -> FoldList:
    return fold_list("folds.csv", lines(*rows), UTTERANCES)


WHOLE = ("a 0", "b 1", "c 2", "d 0", "e 1", "f 2")


def test_who_is_tested_in_a_fold_trains_in_the_others() -> None:
    found = listed(*WHOLE)
    assert dict(found.parts) == {"a": "tll", "b": "ltl", "c": "llt", "d": "tll", "e": "ltl", "f": "llt"}
    assert (found.folds, found.is_partition, found.validates, found.untested) == (3, True, False, [])


def test_parts_may_be_told_of_each_fold() -> None:
    found = listed("a 1 train", "b 1 valid", "c 1 test", "d 1 unused", "e 1 train", "f 1 test")
    assert [letters for _, letters in found.parts] == ["l", "v", "t", "-", "l", "t"]
    assert (found.folds, found.validates, found.untested) == (1, True, ["a", "b", "d", "e"])
    assert listed("a 1 Train", "b 1 VALID", "c 1 test", "d 1 unused", "e 1 train", "f 1 test") == found


@pytest.mark.parametrize(
    "rows",
    [
        WHOLE[::-1],
        [f"{row[0]} {int(row[2]) + 1}" for row in WHOLE],  # numbered from 1
        [f"{row[0]} {fold} {'test' if fold == int(row[2]) else 'train'}" for row in WHOLE for fold in range(3)],
        [f"wav/{row[0]}.wav {row[2]}" for row in WHOLE],
    ],
    ids=["order", "from 1", "with parts", "paths"],
)
def test_lists_that_say_the_same_are_the_same(rows: list[str]) -> None:
    assert listed(*rows).digest == listed(*WHOLE).digest


def test_lists_that_say_something_else_are_others() -> None:
    assert listed("a 1", *WHOLE[1:]).digest != listed(*WHOLE).digest


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (WHOLE[1:], "1 utterance (a) of 6 in no fold; list them"),
        ((*WHOLE, "x 0", "y 1"), "2 utterances (x, y) not in the corpus; take them out, or correct their names"),
        ((*WHOLE, "a 2"), "1 utterance (a) tested in more than one fold; leave each in one"),
        ((*WHOLE, "a 0"), "1 utterance (a) listed more than once in a fold; leave one line of each"),
        (("a 0", "b 0", "c 0", "d 2", "e 4", "f 4"), "2 folds (1, 3) missing between 0 and 4"),
        (("a 2", "b 2", "c 2", "d 3", "e 3", "f 3"), "folds begin with 2; number them from 0 or from 1"),
        (("a 0", "b 5000"), "fold numbers from 0 to 5000; a list has at most 1,000 folds"),
        ((*WHOLE[1:], "a first"), "1 fold (first) not a whole number"),
        ((*WHOLE[1:], "a -1"), "1 fold (-1) below 0; number the folds 0, 1, 2 or 1, 2, 3"),
        ((*WHOLE[1:], "a 1.0"), "1 fold (1.0) written with a fraction; write whole numbers: 1 for 1.0"),
        ((*WHOLE[1:], "a"), "1 utterance (a) without a fold; fill it in, or take the line out"),
        (
            (*WHOLE[1:], "wav/A.wav 0"),
            "1 utterance (wav/A.wav) not in the corpus; correct their names: wav/A.wav looks",
        ),
        ((*WHOLE[1:], "a 0 dev"), "1 part (dev) not known; allowed: train, valid, test, unused; dev may be valid"),
        ((*WHOLE[1:], "a 0 test"), "5 lines of 6 without a part; give each line one, or none"),
        (tuple(f"{one} 0" for one in "abcdef"), "1 fold (0) (counted from 0) without an utterance to train"),
        (("a 0 test", "a 0 train", "b 0 train"), "1 utterance (a) in test and train of fold 0; leave each in one part"),
        (("a 0 test", "b 0 train"), "4 utterances (c, d, e, …) of 6 in no fold; list them, as unused where"),
        (
            [*(f"{one} 0 train" for one in "cdef"), "a 0 test", "b 0 valid", "a 1 train", "b 1 test"],
            "1 fold (1) (counted from 0) without the part valid, which others have; give it to all or none",
        ),
    ],
)
def test_a_list_that_is_none_is_refused_with_what_is_wrong(rows: tuple[str, ...], said: str) -> None:
    with pytest.raises(FoldListError) as refused:
        listed(*rows)
    assert said in str(refused.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(FoldListError) as refused:
        listed("a 0", "a 2", "x 0", "b 0")
    assert len(str(refused.value).splitlines()) == 4


def test_a_fold_that_is_no_number_hides_nothing_of_other_lines() -> None:
    with pytest.raises(FoldListError) as refused:
        listed("a x", "b 0", "b 1", "c 0", "d 1")
    assert str(refused.value).splitlines() == [
        "2 utterances (e, f) of 6 in no fold; list them",
        "1 utterance (b) tested in more than one fold; leave each in one",
        "1 fold (x) not a whole number; number the folds 0, 1, 2 or 1, 2, 3",
    ]


def test_an_utterance_goes_by_its_id_its_path_or_the_name_of_its_file() -> None:
    utterances = pd.DataFrame({"id": ["DC_a01", "DC_a02", "JE_a01"], "file": ["a01.wav", "a02.wav", "a01.wav"]})
    given = lines("AudioData/DC/a01.wav 0", "x/a02.wav 1", "JE_a01 1")
    assert dict(fold_list("", given, utterances, "savee").parts) == {"DC_a01": "tl", "DC_a02": "lt", "JE_a01": "lt"}
    with pytest.raises(FoldListError, match=r"1 utterance \(AudioData/DC/a01.wav\) not in the corpus"):
        fold_list("", given, utterances)  # of another corpus: two files are called so


def test_a_file_is_read_with_any_heading_and_of_each_corpus(tmp_path: Path) -> None:
    path = tmp_path / "folds.csv"
    path.write_text("\ufeffCorpus, Path ,FOLD,note\none,a,0,x\nOne,b,1\n\ntwo,a,1,,\n", encoding="utf-8")
    found = read_fold_file(path)
    assert list(lines_of_corpus(found, ["one", "one-123"], alone=False)["utterance"]) == ["a", "b"]
    with pytest.raises(FoldListError, match="no line of the corpus; its column corpus has One, one, two"):
        lines_of_corpus(found, ["three"], alone=True)
    with pytest.raises(FoldListError, match="no column corpus, and the grid has several corpora"):
        lines_of_corpus(found.assign(corpus=""), ["one"], alone=False)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"utterance,part\na,test\n", "has no column fold"),
        (b"id,path,fold\na,a,0\n", "has utterance more than once"),
        (b"utterance,fold\n", "has no lines"),
        (b"", "has no column utterance, fold"),
        (b"utterance,fold\n\xff,0\n", "is not UTF-8 on line 2 (byte 0xff); save it as CSV in UTF-8"),
        ("utterance,fold\na,0\n".encode("utf-16"), "is UTF-16; save it as CSV in UTF-8"),
        (b"utterance,fold\na,0\nb\0,0\n", "holds a NUL character on line 3"),
        (b"utterance,fold\na,0\nb,0,1,2\n", "1 line (3) with more values than the header has columns; put a value"),
        (b'utterance,fold\na,0\n"b,0\nc,1\n', "has a quote on line 3 that is never closed"),
        (b'utterance,fold\na,0\n"b"c,0\n', "cannot be read from line 3 on ("),
        (b"utterance;fold\na;0\n", "has semicolons between its values; save it as CSV with commas"),
        (b"utterance\tfold\na\t0\n", "has tabs between its values; save it as CSV with commas"),
        (b"utterance,fold,split\na,0,test\n", "has a column split, which is not read: call it part, or take it out"),
        (b"utterance,folds\na,0\n", "part and corpus; folds may be fold"),
        (b"file_name,fold\na.wav,0\n", "has no column utterance; it needs a line for each"),
        (b"file_name,fold\na.wav,0\n", "; file_name may be utterance or path"),
        (b"a,0\nb,1\n", "has no header: its first line is a,0; it needs a line for each utterance below the header"),
        (b"# folds\nutterance,fold\na,0\n", "begins with a comment; take it out, so that the header comes first"),
    ],
)
def test_a_file_that_is_no_list_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "folds.csv"
    path.write_bytes(content)
    with pytest.raises(FoldListError) as refused:
        read_fold_file(path)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "found",
    [listed(*WHOLE), listed("a 0 train", "b 0 valid", "c 0 test", "d 0 unused", "e 0 train", "f 0 test")],
    ids=["simple", "with parts"],
)
def test_what_is_written_is_read_as_the_same(tmp_path: Path, found: FoldList) -> None:
    written = tmp_path / "folds.csv"
    write_fold_file(written, fold_file({"one": found, "two": listed(*WHOLE)}))
    own = lines_of_corpus(read_fold_file(written), ["one"], alone=False)
    assert fold_list("again", own, UTTERANCES) == FoldList("again", found.parts)
    kept = tmp_path / "folds-of-a-store.json"
    kept.write_bytes(found.as_json())
    assert fold_list("again", read_fold_file(kept), UTTERANCES).digest == found.digest
    assert FoldList.of_json(found.as_json(), found.digest) == found


def test_a_file_of_other_folds_is_not_overwritten(tmp_path: Path) -> None:
    write_fold_file(tmp_path / "folds.csv", "one\n")
    write_fold_file(tmp_path / "folds.csv", "one\n")
    with pytest.raises(FoldListError, match="has other folds than would be written"):
        write_fold_file(tmp_path / "folds.csv", "two\n")
    with pytest.raises(FoldListError, match="is a folder; name a file in it, such as"):
        write_fold_file(tmp_path, "one\n")


@pytest.mark.parametrize("content", [None, b"[]", b"{", b'{"name": "x", "parts": {"a": "tl"}}', b'{"parts": []}'])
def test_a_damaged_list_of_a_store_is_not_taken_for_one(content: bytes | None) -> None:
    with pytest.raises(ValueError, match="folds"):
        FoldList.of_json(content, listed(*WHOLE).digest)


def test_a_list_is_a_column_of_utterances() -> None:
    found = listed(*WHOLE)
    told = with_lists(UTTERANCES, [found])
    assert list(told[column_of(found.digest)]) == ["tll", "ltl", "llt"] * 2
