"""What utterances are called: it is told where two names look the same, and where one stands for none."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from data_prep.corpora.utterances import Utterance
from data_prep.errors import CorpusError, bulleted
from data_prep.text import counted, quoted, skeleton

NAMES = ("emotion", "speaker")  # of which two make other classes, or other people
NOTES = ("text", "id", "session", "gender")
MAY_BE_EMPTY = ("text", "session", "gender")
# What pandas, numpy, Python, SQL, R and spreadsheets write where there is nothing, and their errors and formulas.
MISSING = re.compile(
    r"[+-]?(?:nan|NaN|NAN)|None|NONE|NULL|null|NA|N/A|n/a|<NA>|NaT|undefined|#N/A|#(?:REF|NAME|VALUE|NULL|NUM|DIV/0)[!?]|=\".*\""
)


def check_names(utterances: Sequence[Utterance]) -> tuple[str, ...]:
    """Notices of texts and ids that look the same as others, or as a missing value.

    Raises CorpusError for emotions and speakers of which that is so, and for ids that are there twice.
    """
    problems = [said for field in NAMES for said in _said(utterances, field)]
    problems += _of_two_genders(utterances)
    counts = Counter(utterance.id for utterance in utterances)
    problems += [f"id {quoted(name)} is there {count} times" for name, count in counts.items() if count > 1]
    problems += [f"file name {u.path.name!a} is not UTF-8" for u in utterances if not _is_utf8(u.path.name)]
    if problems:
        raise CorpusError(
            f"{counted(len(problems), 'name')} of utterances cannot be used, nothing was prepared; correct them:",
            problems,
        )
    told = {field: list(_said(utterances, field)) for field in NOTES}
    return tuple(
        f"{counted(len(said), field)} kept as written, to be looked at:\n" + bulleted(said)
        for field, said in told.items()
        if said
    )


def _said(utterances: Sequence[Utterance], field: str) -> Iterator[str]:
    """What is to be told of the values of a field, each with how many utterances have it and one of these."""
    alike: dict[str, dict[str, list[str]]] = {}
    for utterance in utterances:
        value = getattr(utterance, field)
        alike.setdefault(skeleton(value), {}).setdefault(value, []).append(utterance.id)
    for values in alike.values():
        told = _with_examples(values)
        if len(values) > 1:
            yield f"{field}s {' and '.join(told)} look the same: write equal names alike and different ones differently"
            continue
        (value,) = values
        if MISSING.fullmatch(value) or not (value or field in MAY_BE_EMPTY):
            yield f"{field} {told[0]} stands for a missing value: fill it in, or write a name in another way"
        elif not _is_utf8(value):
            yield f"{field} {told[0]} is not UTF-8: write it as UTF-8"


def _with_examples(values: Mapping[str, Sequence[str]]) -> list[str]:
    """Each value with how many utterances have it, of these ids, and one of them."""
    return [
        f"{quoted(value)} ({counted(len(ids), 'utterance')}, such as {ids[0]})" for value, ids in sorted(values.items())
    ]


def _of_two_genders(utterances: Sequence[Utterance]) -> Iterator[str]:
    """Speakers to whom some utterances give another gender than others."""
    found: dict[str, dict[str, list[str]]] = {}
    for one in utterances:
        if one.gender:
            found.setdefault(one.speaker, {}).setdefault(one.gender, []).append(one.id)
    for speaker, genders in found.items():
        if len(genders) > 1:
            yield f"speaker {quoted(speaker)} has the genders {' and '.join(_with_examples(genders))}: give each one"


def _is_utf8(text: str) -> bool:
    return text == text.encode(errors="replace").decode()
