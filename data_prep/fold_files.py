"""Reading lists of folds, and writing them.

A list is a CSV file with the columns utterance, fold and, where it tells more, part and corpus, or the column `fold` of
a manifest. It is checked against the corpus before it is used.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from data_prep.corpora import CORPORA
from data_prep.csv_files import QUOTED, CsvError, misnamed, misnamed_text, read_csv
from data_prep.files import write_new
from data_prep.fold_lists import TEST, TRAIN, UNUSED, VALID, FoldList, FoldListError
from data_prep.text import clean, counted, skeleton, some

PARTS = {"train": TRAIN, "valid": VALID, "test": TEST, "unused": UNUSED}  # in a file -> its letter
COLUMNS, MORE_COLUMNS = ("utterance", "fold"), ("part", "corpus")
ALSO_CALLED = {"id": "utterance", "path": "utterance"}
FILE_NAMES = ("file", "filename", "file_name", "wav", "name")
# What others call columns and parts, which is not taken for them without asking.
MEANT = {**dict.fromkeys(("split", "set", "subset", "partition"), "part"), "dataset": "corpus", "database": "corpus"}
MEANT |= dict.fromkeys(FILE_NAMES, "utterance")
MEANT_PARTS = {"training": "train", **dict.fromkeys(("dev", "val", "validation", "eval"), "valid"), "testing": "test"}
MOST_FOLDS = 1000
WHOLE, FRACTION, BELOW = (re.compile(one, re.ASCII) for one in (r"\d{1,9}", r"\d+\.0*", r"-\d+"))


def read_fold_file(path: Path) -> pd.DataFrame:
    """The lines of a file: the columns utterance, fold, part and corpus, text each; empty where a file has none.

    It is a CSV file, or the JSON file of a store. Raises FoldListError where it is neither, or lacks a column.
    """
    if path.suffix == ".json":
        return _read_kept_list(path)
    try:
        header, rows = read_csv(path)
    except OSError as error:
        raise FoldListError(
            f"folds.file {path} cannot be read ({error.strerror}); give a CSV file, or the list that a store keeps: "
            "STORE/corpora/NAME/folds-DIGEST.json"
        ) from error
    except CsvError as error:
        whose = f"folds.file {path}"
        raise FoldListError(f"{whose} {error}") from error
    if header and header[0].startswith("#"):
        raise FoldListError(f"folds.file {path} begins with a comment; take it out, so that the header comes first")
    known = (*COLUMNS, *MORE_COLUMNS)
    names = [ALSO_CALLED.get(skeleton(name), skeleton(name)) for name in header]
    wrong = misnamed(names, known, MEANT)
    surplus = [str(number) for number, values in rows if any(values[len(names) :])]
    if surplus:
        raise FoldListError(
            f"folds.file {path}: {some(surplus, 'line')} with more values than the header has columns; {QUOTED}"
        )
    missing = [name for name in COLUMNS if name not in names]
    twice = [name for name in known if names.count(name) > 1]
    if missing or twice or not rows:
        said = f"has no column {', '.join(missing)}" if missing else "has no lines"
        said = f"has {', '.join(twice)} more than once" if twice else said
        if header and len(missing) == len(COLUMNS) and any(WHOLE.fullmatch(one.strip()) for one in header):
            said = f"has no header: its first line is {','.join(header)}"
        raise FoldListError(
            f"folds.file {path} {said}; it needs a line for each utterance below the header utterance,fold, and may "
            "have part and corpus" + "".join(f"; {one} may be {_in_words(name)}" for one, name in wrong.items())
        )
    if wrong:
        raise FoldListError(f"folds.file {path} has a column {misnamed_text(wrong)}")
    lines = [dict(zip(names, map(clean, values), strict=False)) for _, values in rows]
    return pd.DataFrame([{name: line.get(name, "") for name in known} for line in lines], columns=list(known))


def _in_words(column: str) -> str:
    return "utterance or path" if column == "utterance" else column


def _read_kept_list(path: Path) -> pd.DataFrame:
    try:
        found = FoldList.of_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise FoldListError(f"folds.file {path} is no list of folds that a store keeps ({error})") from error
    return lines_of(found, "").astype(str)


def lines_of_corpus(lines: pd.DataFrame, names: Iterable[str], alone: bool) -> pd.DataFrame:
    """The lines of a file that are of the corpus with these names; all of a file that names none, where the corpus is
    `alone` in the grid. Raises FoldListError."""
    if not lines["corpus"].any():
        if alone:
            return lines
        raise FoldListError(
            "the file has no column corpus, and the grid has several corpora; add one that says of which each line is"
        )
    own = lines[lines["corpus"].map(skeleton).isin(set(map(skeleton, names)))]
    if own.empty:
        there = sorted(set(lines["corpus"]))
        raise FoldListError(f"the file has no line of the corpus; its column corpus has {', '.join(there)}")
    return own


def fold_list(name: str, lines: pd.DataFrame, utterances: pd.DataFrame, corpus: str = "") -> FoldList:
    """The list that `lines` (columns utterance, fold and part) are, of a corpus with these `utterances` (column id, and
    file where it is known). An utterance goes by its id, or by a path in the corpus.

    Raises FoldListError with all that is wrong.
    """
    ids = _ids_of(lines["utterance"], utterances, corpus)
    lines = lines.assign(part=lines["part"].map(skeleton))
    told = pd.DataFrame({"id": ids, "fold": lines["fold"], "part": lines["part"]})
    unknown = sorted(set(lines.loc[ids.isna(), "utterance"]))
    problems = [f"{some(unknown)} not in the corpus; {_remedy(unknown, utterances['id'])}"] if unknown else []
    wrong = list(_wrong_words(lines))
    told = told.dropna(subset="id")
    whole = told["fold"].str.fullmatch(WHOLE) & told["part"].isin(["", *PARTS])
    sound = told[whole].assign(fold=told.loc[whole, "fold"].astype(int))  # lines of which more can be said
    if len(sound) and (sound["part"] == "").nunique() == 1:
        if not wrong:
            problems += _wrong_numbers(sound["fold"])
        mentioned = sound, utterances.loc[~utterances["id"].isin(told.loc[~whole, "id"]), "id"], len(utterances)
        problems += _wrong_assignment(*mentioned)
    if problems or wrong:
        raise FoldListError("\n".join([*problems, *wrong]))
    found = FoldList(name, _letters(sound, utterances["id"]))
    problems = list(_wrong_folds(found))
    if problems:
        raise FoldListError("\n".join(problems))
    return found


def fold_list_of_column(name: str, utterances: pd.DataFrame, column: str = "fold") -> FoldList:
    """The list that a column of `utterances` is: the fold that tests each. Raises FoldListError as `fold_list`."""
    told: Any = utterances.get(column, pd.Series("", index=utterances.index))
    if (told == "").all():
        raise FoldListError("its utterances have no fold; write a column fold in the manifest, and prepare it again")
    lines = pd.DataFrame({"utterance": utterances["id"], "fold": told, "part": ""})[told != ""]
    return fold_list(name, lines, utterances)


def _ids_of(given: pd.Series, utterances: pd.DataFrame, corpus: str) -> pd.Series:
    """The id of the utterance that each of the names or paths `given` means; NaN where there is none."""
    known = set(utterances["id"])
    files = utterances["file"].value_counts() if "file" in utterances else pd.Series(dtype=int)
    only = files.index[files == 1]
    by_file = dict(utterances.loc[utterances["file"].isin(only), ["file", "id"]].to_numpy()) if len(only) else {}
    read = CORPORA[corpus].utterance if corpus in CORPORA else None

    def found(name: str) -> str | None:
        path = PurePosixPath(name.replace("\\", "/"))
        told = read(Path(path)) if read is not None else None
        tried = (name, str(path.with_suffix("")) if path.name else name, told.id if told is not None else name)
        return next((one for one in tried if one in known), by_file.get(path.name))

    return given.map({name: found(name) for name in given.unique()})


def _remedy(unknown: Sequence[str], ids: pd.Series) -> str:
    """What to do about names that no utterance has: the first that looks like one's id, as `A` does like `a`."""
    alike = {skeleton(one): one for one in ids}
    for name in unknown:
        near = alike.get(skeleton(name)) or alike.get(skeleton(PurePosixPath(name.replace("\\", "/")).stem))
        if near is not None:
            return f"correct their names: {name} looks like {near}"
    return "take them out, or correct their names"


def _wrong_words(lines: pd.DataFrame) -> Iterator[str]:
    """Folds that are no numbers, parts of another name, and parts that some lines have and others not."""
    empty = sorted(set(lines.loc[lines["fold"] == "", "utterance"]))
    if empty:
        yield f"{some(empty)} without a fold; fill it in, or take the line out"
    wrong = sorted(set(lines.loc[~lines["fold"].str.fullmatch(WHOLE), "fold"]) - {""})
    fractions = [one for one in wrong if FRACTION.fullmatch(one)]
    if fractions:
        whole = fractions[0].partition(".")[0]
        yield f"{some(fractions, 'fold')} written with a fraction; write whole numbers: {whole} for {fractions[0]}"
    for said, of in (("below 0", BELOW.fullmatch), ("not a whole number", lambda one: not BELOW.fullmatch(one))):
        others = [one for one in wrong if one not in fractions and of(one)]
        if others:
            yield f"{some(others, 'fold')} {said}; number the folds 0, 1, 2 or 1, 2, 3"
    foreign = sorted(set(lines["part"]) - {"", *PARTS})
    if foreign:
        meant = [f"; {one} may be {MEANT_PARTS[one]}" for one in foreign if one in MEANT_PARTS]
        yield f"{some(foreign, 'part')} not known; allowed: {', '.join(PARTS)}{''.join(meant)}"
    without = int((lines["part"] == "").sum())
    if 0 < without < len(lines):
        yield f"{counted(without, 'line')} of {len(lines):,} without a part; give each line one, or none"


def _wrong_numbers(folds: "pd.Series[int]") -> Iterator[str]:
    there = set(map(int, folds))
    first, last = min(there), max(there)
    if first > 1:
        yield f"folds begin with {first}; number them from 0 or from 1"
    if last - first >= MOST_FOLDS:
        yield f"fold numbers from {first} to {last}; a list has at most {MOST_FOLDS:,} folds"
        return
    gaps = [number for number in range(first, last) if number not in there]
    if gaps:
        told = some([str(one) for one in gaps], "fold")
        yield f"{told} missing between {first} and {last}; number the folds without gaps"


def _wrong_assignment(told: pd.DataFrame, ids: pd.Series, utterances: int) -> Iterator[str]:
    """Utterances that are listed twice, tested twice, in two parts of a fold, or, of `ids`, in none."""
    absent = sorted(set(ids) - set(told["id"]))
    simple = not told["part"].any()
    remedy = "list them" if simple else "list them, as unused where that is meant"
    if absent:
        yield f"{some(absent)} of {utterances:,} in no fold; {remedy}"
    repeated = told[told.duplicated(keep=False)]["id"].unique()
    if len(repeated):
        yield f"{some(sorted(repeated))} listed more than once in a fold; leave one line of each"
    distinct = told.drop_duplicates()
    tested = distinct[(distinct["part"] == "test") | (distinct["part"] == "")]
    twice = tested[tested["id"].duplicated(keep=False)]["id"].unique()
    if len(twice):
        yield f"{some(sorted(twice))} tested in more than one fold; leave each in one"
    for fold, own in distinct.groupby("fold"):
        kinds = own.groupby("id")["part"].agg(lambda parts: " and ".join(sorted(parts)))
        for both, names in kinds[own["id"].value_counts()[kinds.index] > 1].groupby(kinds):
            yield f"{some(sorted(names.index))} in {both} of fold {fold}; leave each in one part"


def _letters(told: pd.DataFrame, ids: pd.Series) -> tuple[tuple[str, str], ...]:
    first = told["fold"].min()
    letters = np.full((len(ids), told["fold"].max() - first + 1), UNUSED if told["part"].any() else TRAIN)
    row = pd.Series(range(len(ids)), index=ids)[told["id"]].to_numpy()
    letters[row, (told["fold"] - first).to_numpy()] = told["part"].map({**PARTS, "": TEST}).to_numpy()
    return tuple(zip(map(str, ids), map("".join, letters.tolist()), strict=True))


def _wrong_folds(found: FoldList) -> Iterator[str]:
    """Folds that test or train nothing, and a validation part that some folds have and others not."""
    of_fold = list(zip(*(letters for _, letters in found.parts), strict=True))
    for words, letter in (("test", TEST), ("train", TRAIN)):
        without = [str(fold) for fold, letters in enumerate(of_fold) if letter not in letters]
        if without:
            yield f"{some(without, 'fold')} (counted from 0) without an utterance to {words}; list some"
    validating = [VALID in letters for letters in of_fold]
    if any(validating) and not all(validating):
        without = [str(fold) for fold, has in enumerate(validating) if not has]
        told = some(without, "fold")
        yield f"{told} (counted from 0) without the part valid, which others have; give it to all or none"


# Writing


def lines_of(found: FoldList, corpus: str) -> pd.DataFrame:
    """The lines of a file that is the list: an utterance each, or one for each fold that it is of a part in."""
    if found.is_partition:
        rows = [(corpus, one, letters.index(TEST), "") for one, letters in found.parts]
    else:
        word = {letter: name for name, letter in PARTS.items()}
        rows = [
            (corpus, one, fold, word[letter])
            for one, letters in found.parts
            for fold, letter in enumerate(letters)
            if letter != UNUSED or (fold == 0 and set(letters) == {UNUSED})
        ]
    return pd.DataFrame(rows, columns=["corpus", "utterance", "fold", "part"])


def fold_file(lists: Mapping[str, FoldList]) -> str:
    """A file of the lists of several corpora, by their names."""
    lines = pd.concat([lines_of(found, corpus) for corpus, found in lists.items()], ignore_index=True)
    kept: Any = lines if lines["part"].any() else lines.drop(columns="part")
    return str(kept.to_csv(index=False, lineterminator="\n"))


def write_fold_file(path: Path, text: str) -> None:
    """Write a file that is not there yet, or is the same. Raises FoldListError where another one is in its place."""
    if path.is_dir():
        raise FoldListError(f"--out {path} is a folder; name a file in it, such as {path / 'emobox.csv'}")
    another = FoldListError(f"{path} is there already, and has other folds than would be written; give another --out")
    write_new(path, text, another)
