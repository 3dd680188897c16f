"""What is looked at in audio files before anything is made of them: sound, levels, and copies of one another."""

import os
import platform
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.audio import Remark
from data_prep.corpora import Utterance
from data_prep.errors import AudioError, CorpusError, bulleted
from data_prep.features import FeatureSettings
from data_prep.recordings import read_recording
from data_prep.text import counted


@dataclass(frozen=True)
class Inspected:
    """What the first look at an audio file found, and on which `machine`; `problem` where it cannot be used."""

    sha256: str = ""
    sound: str = ""
    source_rate: int = 0
    channels: int = 0
    samples: int = 0
    remarks: tuple[Remark, ...] = ()
    machine: str = ""
    problem: str | None = None


def inspect_file(path: Path, settings: FeatureSettings) -> Inspected:
    """Decode a recording as far as `settings` ask for; what is wrong with it becomes `problem`, and is not raised."""
    try:
        audio = read_recording(path, settings)
    except AudioError as error:
        return Inspected(problem=str(error))
    return Inspected(
        audio.sha256,
        audio.sound,
        audio.source_rate,
        audio.channels,
        len(audio.samples),
        audio.remarks,
        platform.node(),
    )


def notices_of(
    utterances: Sequence[Utterance], inspected: Sequence[Inspected], settings: FeatureSettings
) -> tuple[str, ...]:
    """What a user is told of the recordings: how they were converted, what is odd about them, which are copies."""
    notices = []
    mixed = sum(one.channels > 1 for one in inspected)
    if mixed:
        notices.append(f"{mixed} of {counted(len(inspected), 'file')} with more than one channel, mixed down to mono")
    rates = Counter(one.source_rate for one in inspected if one.source_rate != settings.sample_rate)
    notices += [
        f"{counted(n, 'file')} at {rate} Hz resampled to {settings.sample_rate} Hz" for rate, n in sorted(rates.items())
    ]
    names = _short_names(utterances)
    by_kind: defaultdict[str, list[str]] = defaultdict(list)
    for name, one in zip(names, inspected, strict=True):
        for remark in one.remarks:
            by_kind[remark.kind].append(f"{name}: {remark.detail}")
    notices += [
        f"{len(files)} of {counted(len(inspected), 'file')} {kind}\n{bulleted(files)}"
        for kind, files in by_kind.items()
    ]
    copies = _copies(inspected)
    if copies:
        notices.append(
            f"{sum(map(len, copies))} files have the same sound as another; copies in training and test leak labels\n"
            + bulleted([_said_of_copies(copy, utterances, names, "speaker") for copy in copies])
        )
    return tuple(notices)


def check_copies(utterances: Sequence[Utterance], inspected: Sequence[Inspected]) -> None:
    """Raise CorpusError where one sound stands under more than one emotion."""
    torn = [copy for copy in _copies(inspected) if len({utterances[i].emotion for i in copy}) > 1]
    if torn:
        names = _short_names(utterances)
        raise CorpusError(
            f"{counted(len(torn), 'sound')} under more than one emotion, nothing was prepared; remove the wrong "
            "copies:\n" + bulleted([_said_of_copies(copy, utterances, names, "emotion") for copy in torn])
        )


def _copies(inspected: Sequence[Inspected]) -> list[list[int]]:
    """The recordings that have a sound which another has, too, by sound."""
    by_sound: defaultdict[str, list[int]] = defaultdict(list)
    for number, one in enumerate(inspected):
        by_sound[one.sound].append(number)
    return [numbers for numbers in by_sound.values() if len(numbers) > 1]


def _said_of_copies(copies: Sequence[int], utterances: Sequence[Utterance], names: Sequence[str], of: str) -> str:
    """`a.wav = b.flac`, each with its speaker or emotion where they differ."""
    values = [getattr(utterances[number], of) for number in copies]
    differ = len(set(values)) > 1
    told = zip(copies, values, strict=True)
    return " = ".join(names[number] + (f" ({of} {value})" if differ else "") for number, value in told)


def _short_names(utterances: Sequence[Utterance]) -> list[str]:
    """The files of `utterances`, from the folder on that all of them lie in."""
    paths = [utterance.path.absolute() for utterance in utterances]
    folder = os.path.commonpath([path.parent for path in paths])
    return [str(path.relative_to(folder)) for path in paths]
