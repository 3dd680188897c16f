"""The thinning curve: rates by how many segments of a corpus are used, beside the paper's, which used all of them."""

import pandas as pd
from matplotlib.figure import Figure

from analysis import columns
from analysis.columns import ALPHA, BACKBONE, CORPUS, ITERATION, RULE
from analysis.figures.rates import METRICS, draw_intervals
from analysis.figures.save import Drawing
from analysis.figures.score_figures import intervals_of, rows_of, titled
from analysis.figures.style import ONE_COLUMN, REFERENCE, in_style, legend_below, panels, series_style
from analysis.figures.subject import Subject, deciders, notes_on
from analysis.paper.layouts import TABLE_2
from analysis.paper.methods import Method
from analysis.paper.published import METRIC, TABLE, VALUE, load_published
from analysis.scoring.setup import Setup, stands_beside_paper
from data_prep.arrays import Ints
from data_prep.text import plain

THINNING = "thinning"  # the kind of figure
HOLLOW = {"linestyle": "none", "markerfacecolor": "white"}  # points with folds missing
MOST_TICKS = 6  # steps between the first and the last
EVERY = "every"  # the field of training, and a column of `lines`
SEGMENTS, SERIES, PUBLISHED = "segments", "series", "published_"  # columns of points; the last before a metric's


def thinning_curve(subject: Subject, lines: pd.DataFrame, segments: Ints) -> Drawing:
    """WA and UA by the segments that are used. `lines` are of scores, with `every`; `segments` [U] of each utterance
    without thinning."""
    points = _points(subject, lines, segments)
    first: Setup = lines[columns.SETUP].iloc[0]
    alike, decided_by, notes = first.without([EVERY]), deciders(lines), notes_on(lines)
    published = f"{PUBLISHED}{columns.WA}"
    papers = points.dropna(subset=published).drop_duplicates(SERIES)
    if len(papers) and alike.departures:
        notes.append(f"Not the paper's set-up: {', '.join(alike.departures)}.")
    told = [f"{line[SERIES]}, {line[SEGMENTS]:,} segments: {line[columns.WA]:.1f}" for line in rows_of(points)]
    told += [f"{line[SERIES]}, published: {line[published]:.2f}" for line in rows_of(papers)]
    hollow = "" if points[columns.COMPLETE].all() else "Hollow points have folds missing, and no line leads to them. "
    across = "Lines across are the paper's Table II, with all segments. " if len(papers) else ""
    return Drawing(
        THINNING,
        subject.parts,
        f"WA and UA, decided by {decided_by},{intervals_of(lines)} by the number of segments that are used: every n-th "
        f"of an utterance; update rules at iteration 1. {hollow}{across}"
        f"{subject.sentences([f'Set-up: {alike.text(lines[columns.SEEDS])}.', *notes])}",
        f"Line chart of WA in percent. {'; '.join(told)}.",
        draw_thinning_curve(points, titled(f"{subject.title}, thinned, {decided_by}", notes)),
    )


def _points(subject: Subject, lines: pd.DataFrame, segments: Ints) -> pd.DataFrame:
    """The lines with their series and their segments, and the published rates where there are any."""
    corpus, split, labels, *_ = subject.condition
    paper = load_published()
    known = (
        (paper[TABLE] == TABLE_2.number) & (paper[CORPUS] == corpus) & (paper[BACKBONE] == subject.condition.backbone)
    )
    paper = paper[known & stands_beside_paper(split, labels)]
    of_papers = {(one[RULE], one[ITERATION], one[METRIC]): one[VALUE] for one in rows_of(paper)}
    rows = []
    for line in rows_of(lines):
        published = {
            f"{PUBLISHED}{name}": of_papers.get((line[RULE], line[ITERATION], name.upper()), float("nan"))
            for name in METRICS
        }
        used = int((-(-segments // line[EVERY])).sum())
        complete = line[columns.FOLDS_DONE] >= line[columns.FOLDS]
        own = {SERIES: Method(line[RULE], line[ALPHA]).name, SEGMENTS: used, columns.COMPLETE: complete}
        rows.append({**line, **own, **published})
    return pd.DataFrame(rows).sort_values([ITERATION, SERIES, SEGMENTS], kind="stable")


@in_style
def draw_thinning_curve(points: pd.DataFrame, title: str) -> Figure:
    """WA and UA by the number of segments, on a logarithmic axis, a line for each series; published rates across.

    `points` has the columns `series`, `every`, `segments`, `complete`, `wa`, `ua`, `published_wa` and `published_ua` in
    percent, of which the last two may be NaN, and `wa_low`, `wa_high`, `ua_low`, `ua_high`, which may be NaN or
    missing. Points that are not `complete` are hollow, and no line leads to them.
    """
    figure, rows = panels(2, 1, 1.5, ONE_COLUMN, title, sharex=True, sharey=True)
    for axes, (metric, label) in zip(rows[:, 0], METRICS.items(), strict=True):
        for position, (series, line) in enumerate(points.groupby(SERIES, sort=False)):
            look = series_style(position)
            whole, other = line[line[columns.COMPLETE]], line[~line[columns.COMPLETE]]
            axes.plot(whole[SEGMENTS], whole[metric], label=plain(str(series)), **look)
            axes.plot(other[SEGMENTS], other[metric], **look | HOLLOW)
            draw_intervals(axes, line[SEGMENTS].to_numpy(float), line, metric, look["color"])
            published = float(line[f"{PUBLISHED}{metric}"].iloc[0])
            if published == published:
                across = REFERENCE | {"marker": "", "color": look["color"] if position else REFERENCE["color"]}
                axes.axhline(published, **across, label=plain(f"{series}, published"))
        if not points[columns.COMPLETE].all():
            axes.plot([], [], **{"color": REFERENCE["color"], "marker": "o"} | HOLLOW, label="folds missing")
        axes.set(ylabel=label, xscale="log")
    ticks = _ticks(points)
    rows[-1, 0].set_xticks(list(ticks), ticks.values())
    rows[-1, 0].set_xticks([], minor=True)
    rows[-1, 0].set_xlabel("Segments, and their share")
    legend_below(figure, *rows[0, 0].get_legend_handles_labels())
    return figure


def _ticks(points: pd.DataFrame) -> dict[int, str]:
    """Segments, and what stands below them: of values that are close to one another the higher."""
    named: dict[int, str] = {}
    values = sorted({*zip(points[SEGMENTS], points[EVERY], strict=True)}, reverse=True)
    apart = (values[0][0] / values[-1][0]) ** (1 / MOST_TICKS)
    for segments, every in values:
        if not named or min(named) >= 0.9 * apart * segments:
            named[segments] = f"{segments:,}\n" + (f"1/{every}" if every > 1 else "all")
    return dict(sorted(named.items()))
