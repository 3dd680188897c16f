"""What a reader gives, and what all readers share: finding files, reading their names, counting."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.attributes import MORE_TEXTS
from data_prep.errors import CorpusError, bulleted
from data_prep.text import clean, counted


@dataclass(frozen=True)
class Utterance:
    """One recording of a corpus: `path` of its audio file, and who said what with which emotion.

    `text` is the identity of the spoken sentence, empty where it is not known, and so are those of MORE_TEXTS: the
    `session` of the recording, the speaker's `gender`, and the `fold` that tests the utterance. All but `path` is kept
    as `clean` text.
    """

    id: str
    path: Path
    speaker: str
    text: str
    emotion: str
    session: str = ""
    gender: str = ""
    fold: str = ""

    def __post_init__(self) -> None:
        for name in ("id", "speaker", "text", "emotion", *MORE_TEXTS):
            object.__setattr__(self, name, clean(getattr(self, name)))


@dataclass(frozen=True)
class Known:
    """What a whole corpus is known to hold, and an `example` of how its files are called, by the name of the corpus.

    `emotions` are utterances of every emotion, `speakers` how many there are, and with `even` each of them says as many
    of an emotion as any other.
    """

    name: str
    example: str
    emotions: Mapping[str, int]
    speakers: int
    even: bool = False

    @property
    def utterances(self) -> int:
        """How many utterances there are of all emotions."""
        return sum(self.emotions.values())

    @property
    def each_speaker(self) -> Mapping[str, int]:
        """The utterances of every emotion by every speaker; empty where they are not the same for all."""
        return {emotion: count // self.speakers for emotion, count in self.emotions.items() if self.even}


def wav_files(corpus: str, folder: Path) -> list[Path]:
    """Every wav file in `folder` and the folders below it, sorted, without the hidden ones that archivers add.

    Links to folders are followed, each folder is read once: as itself where it is below `folder`. Raises CorpusError
    where it is no folder and where links lead nowhere, and OSError where a folder cannot be read.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise CorpusError(f"{corpus}: source {folder} {what}; give the folder of the corpus with --source")
    return sorted(path for path in _files_below(folder) if path.suffix.lower() == ".wav")


def _files_below(folder: Path) -> Iterator[Path]:
    waiting, links, read, broken = deque([folder]), deque[Path](), set(), []
    while waiting or links:
        here = waiting.popleft() if waiting else links.popleft()
        if (whereabouts := here.resolve()) in read:
            continue
        read.add(whereabouts)
        for path in sorted(here.iterdir()):
            if path.name.startswith((".", "__MACOSX")):
                continue
            if path.is_dir():
                (links if path.is_symlink() else waiting).append(path)
            elif path.is_symlink() and not path.exists():
                broken.append(str(path.relative_to(folder)))
            else:
                yield path
    if broken:
        raise CorpusError(
            f"{counted(len(broken), 'broken link')} in {folder}; mount their targets, or remove them:",
            broken,
        )


def read_names(
    corpus: str,
    folder: Path,
    read: Callable[[Path], Utterance | None],
    known: Known,
    allow_partial: bool,
    files: Sequence[Path] | None = None,
) -> list[Utterance]:
    """The utterances that `read` makes of the names of the wav files in `folder`, or of these `files` in it. It gives
    None for a name it does not know.

    Raises CorpusError naming all of those, for no files at all, where an utterance is there twice, and where the
    utterances are not what the corpus is known to hold. With `allow_partial`, less is accepted; more never is: it is
    another corpus, or another version of it.
    """
    found = {path: read(path) for path in (wav_files(corpus, folder) if files is None else files)}
    if not found:
        raise CorpusError(
            f"{corpus}: no .wav files in {folder}; --source must name the folder that holds {known.example}"
        )
    foreign = [str(path.relative_to(folder)) for path, utterance in found.items() if utterance is None]
    if foreign:
        raise CorpusError(
            f"{corpus}: {counted(len(foreign), 'foreign file name')} in {folder} ({known.name}'s are like "
            f"{known.example}); move these files away:\n" + bulleted(foreign)
        )
    utterances = [utterance for utterance in found.values() if utterance is not None]
    _check_once(corpus, folder, utterances)
    _check_known(corpus, folder, utterances, known, allow_partial)
    return utterances


def _check_known(corpus: str, folder: Path, utterances: list[Utterance], known: Known, allow_partial: bool) -> None:
    """Raise CorpusError with every count that is off."""

    def differs(found: int, expected: int) -> bool:
        return found > expected if allow_partial else found != expected

    by_emotion = Counter(utterance.emotion for utterance in utterances)
    off = [
        f"{emotion}: {counted(by_emotion[emotion], 'utterance')}, expected {expected:,}"
        for emotion, expected in known.emotions.items()
        if differs(by_emotion[emotion], expected)
    ]
    speakers = sorted({utterance.speaker for utterance in utterances})
    if differs(len(speakers), known.speakers):
        off.append(f"{counted(len(speakers), 'speaker')}, expected {known.speakers:,}")
    by_both = Counter((utterance.speaker, utterance.emotion) for utterance in utterances)
    off += [
        f"speaker {speaker}, {emotion}: {counted(by_both[speaker, emotion], 'utterance')}, expected {expected:,}"
        for speaker in speakers
        for emotion, expected in known.each_speaker.items()
        if differs(by_both[speaker, emotion], expected)
    ]
    if off:
        remedy = (
            "take away what is not of this corpus or of another version of it"
            if allow_partial or len(utterances) > known.utterances
            else "complete the corpus, or accept a part of it with --allow-partial"
        )
        raise CorpusError(
            f"{corpus}: {counted(len(utterances), 'utterance')} in {folder}, expected {known.utterances:,}; {remedy}",
            off,
        )


def _check_once(corpus: str, folder: Path, utterances: list[Utterance]) -> None:
    paths: dict[str, list[str]] = {}
    for utterance in utterances:
        paths.setdefault(utterance.id, []).append(str(utterance.path.relative_to(folder)))
    repeated = [f"{name}: {' and '.join(where)}" for name, where in paths.items() if len(where) > 1]
    if repeated:
        raise CorpusError(
            f"{corpus}: {counted(len(repeated), 'utterance')} more than once in {folder}; "
            "let --source name the folder of one copy:\n" + bulleted(repeated)
        )
