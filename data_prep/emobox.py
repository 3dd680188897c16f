"""EmoBox's lists of folds (Ma et al., "EmoBox: Multilingual Multi-corpus Speech Emotion Recognition Toolkit and
Benchmark", Interspeech 2024).

They are `data/<corpus>/fold_<k>/<corpus>_<part>_fold_<k>.jsonl` in https://github.com/emo-box/EmoBox, with k from 1 and
the parts train, test and, of few corpora, valid. A line is a JSON object; `key` names the utterance and `wav` is the
path of its file. Readers here know the path, and so the utterance.
"""

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from data_prep.corpora import CORPORA, Utterance
from data_prep.corpora.cremad import CREMAD_WITHOUT_SOUND
from data_prep.csv_files import CsvError, decoded
from data_prep.fold_files import fold_list
from data_prep.fold_lists import TEST, TRAIN, UNUSED, VALID, FoldList, FoldListError
from data_prep.text import counted, some

PARTS = ("train", "valid", "test")
NEEDED = ("train", "test")
NAMED = 8  # speakers


@dataclass(frozen=True)
class Protocol:
    """EmoBox's folds of a corpus, and the speaker of each utterance by its id. `foreign` are keys of lines that are no
    utterances here, and `left_out` and `absent` ids that only the lists, or only the prepared corpus, have."""

    corpus: str
    folds: FoldList
    speakers: dict[str, str]
    foreign: tuple[str, ...]
    left_out: tuple[str, ...]
    absent: tuple[str, ...]

    @property
    def text(self) -> str:
        """What the folds are, in a sentence: how many, and whether speakers are left out."""
        utterances = counted(len(self.folds.parts), "utterance")
        return f"{self.corpus}: {utterances}, {counted(self.folds.folds, 'fold')}; {self._of_speakers()}"

    def _of_speakers(self) -> str:
        mixed, out, tested = 0, [], 0
        for fold in range(self.folds.folds):
            of_part = {letter: [one for one, own in self.folds.parts if own[fold] == letter] for letter in "tlv"}
            known = {self.speakers[one] for one in (*of_part[TRAIN], *of_part[VALID])}
            mixed += sum(self.speakers[one] in known for one in of_part[TEST])
            tested += len(of_part[TEST])
            out.append(sorted({self.speakers[one] for one in of_part[TEST]}))
        if mixed:
            return f"speakers are mixed: {mixed:,} of {tested:,} are tested by networks that train on their speaker"
        sizes = sorted({len(own) for own in out})
        many = counted(sizes[0], "speaker") if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} speakers"
        told = "; ".join(" ".join(own) for own in out) if sum(map(len, out)) <= 3 * NAMED else ""
        return f"each fold leaves out {many}" + (f" ({told})" if told else "")


def emobox_corpora(folder: Path) -> dict[str, Path]:
    """The corpora read here for which EmoBox has folds, each with the folder of its lists; `folder` is a checkout, its
    folder `data`, or the folder of one corpus in it. Raises FoldListError where there is none."""
    known = [name for name, one in CORPORA.items() if one.utterance is not None]
    places = [folder.parent] if folder.name in known else [folder, folder / "data"]
    wanted = [folder.name] if folder.name in known else known
    found = {name: place / name for place in places for name in wanted if _fold_folders(place / name)}
    if not found:
        raise FoldListError(
            f"{folder} has no lists of EmoBox's, such as data/emodb/fold_1/emodb_test_fold_1.jsonl; give a checkout of "
            "https://github.com/emo-box/EmoBox"
        )
    return found


def read_emobox(folder: Path, corpus: str, prepared: Collection[str] | None = None) -> Protocol:
    """The folds of a corpus, whose lists are in `folder`; of those utterances only that are `prepared` (ids), if these
    are given. Raises FoldListError where the lists are not whole, or contradict each other."""
    read = CORPORA[corpus].utterance
    assert read is not None
    rows: list[tuple[str, str, str]] = []
    found: dict[str, Utterance] = {}
    foreign: dict[str, None] = {}
    for fold, part, key, wav in _lines(folder, corpus):
        told = found.get(wav) or read(Path(wav))
        if told is None or told.id == CREMAD_WITHOUT_SOUND:
            foreign[key] = None
            continue
        found[wav] = told
        rows.append((told.id, fold, part))
    lines = pd.DataFrame(rows, columns=["utterance", "fold", "part"])
    listed = set(lines["utterance"])
    held = listed if prepared is None else set(prepared)
    lines = lines[lines["utterance"].isin(held)]
    if lines.empty and prepared is None:
        raise FoldListError(
            f"EmoBox's lists of {corpus} name no utterance that ser-sweep prepare reads "
            f"({some(list(foreign), 'line')}); "
            "their wav are paths in the corpus: check the lists out again"
        )
    if lines.empty:
        raise FoldListError(f"no utterance of EmoBox's lists of {corpus} is in the prepared corpus; check --data")
    try:
        folds = fold_list("EmoBox", lines, pd.DataFrame({"id": sorted(set(lines["utterance"]))}))
    except FoldListError as error:
        raise FoldListError(f"EmoBox's folds of {corpus} cannot be used:\n{error}") from error
    untested = [one for one, parts in folds.parts if TEST not in parts]
    if untested and folds.folds > 1:
        raise FoldListError(
            f"EmoBox's folds of {corpus} cannot be used:\n  - {some(untested)} tested in no fold, and each of a "
            "cross-validation is tested in one; give a whole checkout"
        )
    speakers = {one.id: one.speaker for one in found.values()}
    return Protocol(corpus, folds, speakers, tuple(foreign), tuple(sorted(listed - held)), tuple(sorted(held - listed)))


def notices_of(protocol: Protocol) -> Iterator[str]:
    """What of the lists is not in the corpus, and what of the corpus is not in the lists."""
    corpus = protocol.corpus
    missing = [one for one, parts in protocol.folds.parts if UNUSED in parts]
    if missing:
        yield f"{corpus}: {some(missing)} in no list of some folds: neither trained on nor tested there"
    if protocol.folds.untested:
        yield f"{corpus}: {protocol.folds.tested_text}"
    if protocol.foreign:
        yield f"{corpus}: {some(protocol.foreign, 'line')} of no utterance that ser-sweep prepare reads, left out"
    if protocol.left_out:
        yield f"{corpus}: {some(protocol.left_out)} not in the prepared corpus, left out"
    if protocol.absent:
        yield f"{corpus}: {some(protocol.absent)} of the prepared corpus in no fold; a grid refuses them until listed"


def _fold_folders(folder: Path) -> dict[int, Path]:
    """The folders fold_1, fold_2, ... by their numbers."""
    found = {path: re.fullmatch(r"fold_(\d{1,4})", path.name) for path in folder.glob("fold_*")}
    return {int(match[1]): path for path, match in sorted(found.items()) if match}


def _lines(folder: Path, corpus: str) -> Iterator[tuple[str, str, str, str]]:
    """Fold, part, key and path of every line. Raises FoldListError."""
    for fold, place in sorted(_fold_folders(folder).items()):
        for part in PARTS:
            path = place / f"{corpus}_{part}_fold_{fold}.jsonl"
            if not path.is_file():
                if part in NEEDED:
                    raise FoldListError(f"EmoBox's list {path} is missing; give a whole checkout")
                continue
            for key, wav in _read_list(path):
                yield str(fold), part, key, wav


def _read_list(path: Path) -> Iterator[tuple[str, str]]:
    """Key and path of every line of a list, with slashes. Raises FoldListError that names the line."""
    try:
        text = decoded(path.read_bytes(), "write it")
    except OSError as error:
        raise FoldListError(f"EmoBox's list {path} cannot be read ({error.strerror}); give a whole checkout") from error
    except CsvError as error:
        raise FoldListError(f"EmoBox's list {path} cannot be read: it {error}") from error
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            about = json.loads(line)
        except ValueError:
            about = None
        if not isinstance(about, dict):
            raise _damaged(path, number, "is no JSON object")
        lacking = [name for name in ("key", "wav") if not isinstance(about.get(name), str) or not about[name]]
        if lacking:
            raise _damaged(path, number, f"has no {' and no '.join(lacking)}")
        yield about["key"], about["wav"].replace("\\", "/")


def _damaged(path: Path, number: int, said: str) -> FoldListError:
    return FoldListError(
        f"EmoBox's list {path} is damaged: line {number} {said}; each is like "
        '{"key": "emodb-03a01Fa", "wav": "emodb/wav/03a01Fa.wav"}: check the list out again'
    )
