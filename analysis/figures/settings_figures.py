"""Figures of the settings of a grid, from what there is to choose from."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis import columns
from analysis.figures.save import Drawing
from analysis.figures.score_figures import rows_of, titled
from analysis.figures.settings import MOST_TICKS, SERIES, TEST, VALIDATION, draw_parallel, draw_setting_axes
from analysis.figures.subject import SETTING, Subject, deciders, notes_on, subjects_of
from analysis.figures.thinning import EVERY, thinning_curve
from analysis.paper.methods import Method, by_method
from analysis.scoring.ranking import BySetting, Candidate
from data_prep.arrays import Ints
from sweep.planning.in_view import value_text
from sweep.planning.settings import in_order, names_apart

AXES, PARALLEL = "settings-axes", "settings-parallel"
_NUMBER = "number"  # of a line's candidate
_VALIDATED_BY = f"by {columns.DECISION_NAMES[columns.MEAN_POOLING]}"


def settings_figures(by: BySetting, segments: Mapping[str, Ints] | None = None) -> Iterator[Drawing]:
    """Rates by each field, and parallel coordinates, for each subject; none where the grid has one setting. Where
    settings differ in thinning alone, also the thinning curve: `segments` [U] are those of each utterance, by the name
    of the corpus in scores.

    They show iteration 0 and, of each rule, iteration 1, as figures of recall by class do.
    """
    if not by.fields:
        return
    lines = pd.DataFrame([{**one.line, _NUMBER: number} for number, one in enumerate(by.candidates)])
    names = names_apart(by.decisions)
    for subject, own in subjects_of(lines):
        settings = [by.candidates[number].setting for number in own[_NUMBER]]
        own = own.assign(**{SETTING: [names[one] for one in settings]})
        shown = pd.concat([by_method(of_one) for _, of_one in own.groupby([settings.index(one) for one in settings])])
        points = _points(shown, by.candidates)
        fields = [field for field in by.fields if points[field].nunique() > 1]
        notes = notes_on(shown)
        known = (segments or {}).get(subject.condition.corpus)
        if fields == [EVERY] and known is not None:
            every = [by.candidates[number].setting.by_field[EVERY] for number in shown[_NUMBER]]
            yield thinning_curve(subject, shown.assign(**{EVERY: every}), known)
        if fields:
            yield _axes(subject, points, fields, notes, deciders(shown))
        if fields and points[VALIDATION].notna().any():
            yield _parallel(subject, points, fields, notes)


def _points(lines: pd.DataFrame, candidates: Sequence[Candidate]) -> pd.DataFrame:
    """A line for each setting and method; methods of a rule whose alpha differs by setting are one series."""
    methods = [Method.of(line) for line in rows_of(lines)]
    alphas = {rule: {one.alpha for one in methods if one.rule == rule} for rule, _ in methods}
    rows: list[Mapping[str, Any]] = []
    for line, method in zip(rows_of(lines), methods, strict=True):
        one = candidates[line[_NUMBER]]
        series = method.name if len(alphas[method.rule]) == 1 else f"{Method(method.rule).name} (any α)"
        rates = {SERIES: series, VALIDATION: one.validation, TEST: one.score.value}
        rows.append({**one.setting.by_field, **rates, "position": method.position[:2]})
    points = pd.DataFrame(rows)
    return points.sort_values("position", kind="stable")


def _axes(
    subject: Subject, points: pd.DataFrame, fields: Sequence[str], notes: Sequence[str], decided_by: str
) -> Drawing:
    told = [text for field in fields for text in _means(points, field)]
    return Drawing(
        AXES,
        subject.parts,
        f"WA on validation utterances, {_VALIDATED_BY}, and on test utterances, by {decided_by}, for each field in "
        "which the grid's settings differ; update rules at iteration 1. A small point is one setting, whatever its "
        "other fields, and a line leads through the means of settings with the same value. "
        f"{subject.sentences(notes)}",
        f"Line charts of mean WA in percent. {'; '.join(told)}.",
        draw_setting_axes(
            points,
            fields,
            titled(f"{subject.title}, by setting, validation {_VALIDATED_BY}, test by {decided_by}", notes),
        ),
    )


def _means(points: pd.DataFrame, field: str) -> Iterator[str]:
    """What each value of a field comes to, over series and settings; of many values the ends of each half."""
    values = in_order(points[field].tolist())
    step = -(-len(values) // MOST_TICKS)
    for start in range(0, len(values), step):
        part = values[start : start + step]
        own = points[points[field].isin(part)]
        name = value_text(part[0]) + (f" to {value_text(part[-1])}" if len(part) > 1 else "")
        rates = ", ".join(f"{rate} {own[rate].mean():.1f}" for rate in (VALIDATION, TEST))
        yield f"{field} {name}: {rates}"


def _parallel(subject: Subject, points: pd.DataFrame, fields: Sequence[str], notes: Sequence[str]) -> Drawing:
    known = points[points[VALIDATION].notna()].sort_values(VALIDATION, kind="stable")
    ends = {"Highest": known.iloc[-1], "lowest": known.iloc[0]}
    told = [
        f"{which} {line[VALIDATION]:.1f}: {line[SERIES]}, "
        + ", ".join(f"{field} {value_text(line[field])}" for field in fields)
        for which, line in ends.items()
    ]
    return Drawing(
        PARALLEL,
        subject.parts,
        "Settings and networks as lines, each through its values and its WA on validation utterances, "
        f"{_VALIDATED_BY}; update rules at iteration 1. The higher the rate, the darker and thicker the line. "
        f"{subject.sentences(notes)}",
        f"Parallel coordinates of {len(known)} lines, WA on validation utterances in percent. {'; '.join(told)}.",
        draw_parallel(points, fields, titled(f"{subject.title}, by setting, {_VALIDATED_BY}", notes)),
    )
