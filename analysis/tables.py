"""The paper's Tables II-V from scores of this project, side by side with the published values.

`build_tables` decides what is shown: rows, cells, marks and footnotes. The renderers `to_markdown`,
`to_latex`, `to_csv` and `to_json` only format it.
"""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any, NamedTuple

import pandas as pd

from analysis.published import PAPER_UTTERANCES, PublishedValue, index_published, load_published

CORPUS = "corpus"
BACKBONE = "backbone"
RULE = "rule"
ALPHA = "alpha"
ITERATION = "iteration"
LABEL_SOURCE = "label_source"
SPLIT = "split"
SEED = "seed"
FOLDS_DONE = "folds_done"
FOLDS = "folds"
UTTERANCES = "utterances"
DECISION = "decision"
WA, UA = "wa", "ua"
WA_SD, UA_SD = "wa_sd", "ua_sd"
SCORE_COLUMNS = (
    *(CORPUS, BACKBONE, RULE, ALPHA, ITERATION, LABEL_SOURCE, SPLIT, SEED),
    *(FOLDS_DONE, FOLDS, UTTERANCES, DECISION, WA, UA, WA_SD, UA_SD),
)
_CELL_COLUMNS = [CORPUS, BACKBONE, RULE, ALPHA, ITERATION, DECISION]
FOREST, MEAN_POOLING = "forest", "mean"
LEAKY_LABEL_SOURCE = "global_oof"

METRICS = ("WA", "UA")
CORPUS_NAMES = {"casia": "CASIA", "emodb": "Emo-DB", "savee": "SAVEE"}
BACKBONE_NAMES = {
    "vgg19": "VGG19",
    "mobilenetv2": "MobileNetV2",
    "densenet22": "DenseNet22",
    "efficientnet_b0": "EfficientNet-B0",
}
PAPER_BACKBONE = "EfficientNet-B0"
PAPER_ITERATIONS = 3
PAPER_ALPHAS = ("0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1")
BEST_ALPHA = "0.2"


class Treatment(NamedTuple):
    """How a network came about. `alpha` is its shortest decimal form, empty for rules that take none."""

    backbone: str
    rule: str
    alpha: str
    iteration: int


class ScoreKey(NamedTuple):
    """What one score is of; `metric` is WA or UA."""

    treatment: Treatment
    corpus: str
    decision: str
    metric: str


@dataclass(frozen=True)
class Score:
    """A recognition rate in percent: mean and spread (standard deviation) over forest and training seeds."""

    value: float
    spread: float
    folds_done: int
    folds: int
    utterances: int

    @property
    def complete(self) -> bool:
        """Whether every fold of every training seed is in it."""
        return self.folds_done >= self.folds


@dataclass(frozen=True)
class Cell:
    """One row, corpus and metric: our score by either utterance decision, and the paper's."""

    forest: Score | None = None
    mean_pooling: Score | None = None
    published: PublishedValue | None = None

    @property
    def scores(self) -> tuple[Score, ...]:
        """Our scores that are there."""
        return tuple(score for score in (self.forest, self.mean_pooling) if score is not None)

    @property
    def difference(self) -> float | None:
        """Random forest minus published, in percentage points."""
        if self.forest is None or self.published is None:
            return None
        return self.forest.value - self.published.value


@dataclass(frozen=True)
class RowLabel:
    """A row's name, with the iteration as superscript where the paper prints one."""

    name: str
    iteration: int | None = None

    def __str__(self) -> str:
        return self.name if self.iteration is None else f"{self.name}^{self.iteration}"


@dataclass(frozen=True)
class Row:
    """One line of a table: a cell for every (corpus, metric). `backbone` is empty for the literature."""

    label: RowLabel
    backbone: str
    cells: Mapping[tuple[str, str], Cell]


@dataclass(frozen=True)
class Footnote:
    """A note below a table; `mark` is the letter that refers to it, empty for a note to the whole table."""

    mark: str
    text: str


@dataclass(frozen=True)
class Table:
    """One of the paper's tables for one label source and split; `backbone` is None if rows differ in it."""

    number: str
    caption: str
    row_heading: str
    backbone: str | None
    label_source: str
    split: str
    corpora: tuple[str, ...]
    rows: tuple[Row, ...]
    footnotes: tuple[Footnote, ...]

    def has_published(self, corpus: str) -> bool:
        """Whether the paper prints any value of this table for `corpus`."""
        return _any_published(self.rows, corpus)

    def mark(self, cell: Cell) -> str:
        """The letter of the footnote to the published value of `cell`, or an empty string."""
        if cell.published is None or not cell.published.note:
            return ""
        return next(footnote.mark for footnote in self.footnotes if footnote.text == cell.published.note)


@dataclass(frozen=True)
class _RowPlan:
    """What a row shows: scores of `treatment` and the paper's row `published_row`, where there is one."""

    label: RowLabel
    treatment: Treatment | None
    published_row: str | None


@dataclass(frozen=True)
class _Evidence:
    """Everything the tables of one label source and split are made of."""

    label_source: str
    split: str
    corpora: tuple[str, ...]
    scores: Mapping[ScoreKey, Score]
    published: Mapping[tuple[str, str, str, str], PublishedValue]

    @property
    def treatments(self) -> set[Treatment]:
        return {key.treatment for key in self.scores}

    @property
    def backbones(self) -> list[str]:
        """The paper's backbones in its order, then any other that has a score."""
        others = {treatment.backbone for treatment in self.treatments} - set(BACKBONE_NAMES)
        return [*BACKBONE_NAMES, *sorted(others)]


@dataclass(frozen=True)
class _Layout:
    """What one of the paper's tables looks like; `plan` gives its rows for a backbone."""

    number: str
    row_heading: str
    caption: str
    plan: Callable[[str, _Evidence], list[_RowPlan]]


def build_tables(scores: pd.DataFrame, corpora: Sequence[str], published: pd.DataFrame | None = None) -> list[Table]:
    """The paper's Tables II-V for every label source and split in `scores`.

    `scores` has one line per cell, training seed and utterance decision, with the columns `SCORE_COLUMNS`;
    rates and spreads are in percent. Several training seeds are averaged, and the spread then covers them
    too. `corpora` are the short names to show; the paper's come first, in its order. `published` replaces
    `load_published()`.

    Rows with neither a score nor a published value are left out. Tables III-V appear for each backbone that
    has a score there which Table II does not already show. Raises ValueError if `corpora` is empty, a column
    is missing or two lines are for the same cell, seed and decision.
    """
    if not corpora:
        raise ValueError("corpora: empty, expected at least one corpus to show")
    _check_columns(scores)
    shown = scores[scores[CORPUS].isin(list(corpora))]
    shown = shown.assign(**{ALPHA: _alpha_names(shown)})
    _check_duplicates(shown)
    ordered = tuple(sorted(dict.fromkeys(corpora), key=_paper_position))
    values = index_published(load_published() if published is None else published)
    tables = []
    for label_source, split, lines in _groups(shown):
        evidence = _Evidence(label_source, split, ordered, _index_scores(lines), values)
        tables += _tables_of_group(evidence)
    return tables


def _check_columns(scores: pd.DataFrame) -> None:
    missing = [column for column in SCORE_COLUMNS if column not in scores.columns]
    if missing:
        raise ValueError(f"scores: no column {', '.join(missing)}; has {', '.join(map(str, scores.columns))}")


def _check_duplicates(scores: pd.DataFrame) -> None:
    identity = [*_CELL_COLUMNS, LABEL_SOURCE, SPLIT, SEED]
    repeated = scores[scores.duplicated(identity)]
    if len(repeated):
        first = ", ".join(f"{column} {repeated.iloc[0][column]}" for column in identity)
        raise ValueError(f"scores: {len(repeated)} lines repeat another, the first: {first}; expected one line each")


def _alpha_names(scores: pd.DataFrame) -> list[str]:
    """Alpha as text where the rule takes one: floats that differ by rounding become the same."""
    alphas = zip(scores[RULE], scores[ALPHA], strict=True)
    return [f"{alpha:g}" if rule == "wdsl" else "" for rule, alpha in alphas]


def _paper_position(corpus: str) -> int:
    names = list(CORPUS_NAMES)
    return names.index(corpus) if corpus in names else len(names)


def _groups(scores: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Label source, split and their lines; iteration 0 takes no label source, so all of them share it."""
    for split in sorted(scores[SPLIT].unique()):
        lines = scores[scores[SPLIT] == split]
        is_baseline = lines[ITERATION] == 0
        of_chains = lines.loc[~is_baseline, LABEL_SOURCE]
        known = (of_chains if len(of_chains) else lines[LABEL_SOURCE]).dropna().unique()
        for label_source in sorted(known, key=lambda name: (name == LEAKY_LABEL_SOURCE, name)) or [""]:
            chosen = lines[is_baseline | (lines[LABEL_SOURCE] == label_source)]
            yield label_source, split, chosen.drop_duplicates([*_CELL_COLUMNS, SEED])


def _index_scores(lines: pd.DataFrame) -> dict[ScoreKey, Score]:
    index = {}
    for _, seeds in lines.groupby(_CELL_COLUMNS, sort=False):
        line = seeds.iloc[0]
        treatment = Treatment(line[BACKBONE], line[RULE], line[ALPHA], int(line[ITERATION]))
        for metric, value, spread in (("WA", WA, WA_SD), ("UA", UA, UA_SD)):
            key = ScoreKey(treatment, line[CORPUS], line[DECISION], metric)
            index[key] = _pool_seeds(seeds, value, spread)
    return index


def _pool_seeds(seeds: pd.DataFrame, value: str, spread: str) -> Score:
    """One score from a line per training seed; variance = mean within a seed + variance between seeds."""
    variance = (seeds[spread] ** 2).mean() + seeds[value].var(ddof=0)
    return Score(
        value=float(seeds[value].mean()),
        spread=math.sqrt(variance),
        folds_done=int(seeds[FOLDS_DONE].sum()),
        folds=int(seeds[FOLDS].sum()),
        utterances=int(seeds[UTTERANCES].max()),
    )


def _tables_of_group(evidence: _Evidence) -> list[Table]:
    plans = [plan for backbone in evidence.backbones for plan in _plan_table_2(backbone, evidence)]
    tables = [_build(_TABLE_2, None, plans, evidence)]
    for layout in _TABLES_OF_ONE_BACKBONE:
        for backbone in evidence.backbones:
            plans = layout.plan(backbone, evidence)
            if _adds_to_table_2(plans, evidence.treatments):
                tables.append(_build(layout, backbone, plans, evidence))
    return tables


def _adds_to_table_2(plans: list[_RowPlan], scored: Collection[Treatment]) -> bool:
    return any(
        plan.treatment in scored and plan.treatment.rule not in ("none", "bdsl")
        for plan in plans
        if plan.treatment is not None
    )


def _rows(number: str, plans: list[_RowPlan], evidence: _Evidence) -> tuple[Row, ...]:
    rows = []
    for plan in plans:
        cells = {
            (corpus, metric): _cell(number, plan, corpus, metric, evidence)
            for corpus in evidence.corpora
            for metric in METRICS
        }
        row = Row(plan.label, plan.treatment.backbone if plan.treatment else "", cells)
        if any(_shows_anything(row, corpus) for corpus in evidence.corpora):
            rows.append(row)
    return tuple(rows)


def _shows_anything(row: Row, corpus: str) -> bool:
    return any(row.cells[corpus, metric] != Cell() for metric in METRICS)


def _cell(number: str, plan: _RowPlan, corpus: str, metric: str, evidence: _Evidence) -> Cell:
    published = None
    if plan.published_row is not None:
        published = evidence.published.get((number, plan.published_row, corpus, metric))
    if plan.treatment is None:
        return Cell(published=published)
    forest, mean_pooling = (
        evidence.scores.get(ScoreKey(plan.treatment, corpus, decision, metric)) for decision in (FOREST, MEAN_POOLING)
    )
    return Cell(forest, mean_pooling, published)


def _build(layout: _Layout, backbone: str | None, plans: list[_RowPlan], evidence: _Evidence) -> Table:
    rows = _rows(layout.number, plans, evidence)
    return Table(
        number=layout.number,
        caption=_caption(layout.caption, backbone, rows, evidence),
        row_heading=layout.row_heading,
        backbone=backbone,
        label_source=evidence.label_source,
        split=evidence.split,
        corpora=evidence.corpora,
        rows=rows,
        footnotes=_footnotes(rows, evidence.corpora),
    )


def _caption(caption: str, backbone: str | None, rows: Sequence[Row], evidence: _Evidence) -> str:
    sentences = [caption]
    if backbone is not None:
        name = f"Backbone: {_backbone_name(backbone)}"
        published = any(_any_published(rows, corpus) for corpus in evidence.corpora)
        sentences.append(f"{name}; the published column is {PAPER_BACKBONE}." if published else f"{name}.")
    leaky = " (leaky: saw test labels)" if evidence.label_source == LEAKY_LABEL_SOURCE else ""
    source = f"Label source: {evidence.label_source}{leaky}; split" if evidence.label_source else "Split"
    sentences.append(f"{source}: {evidence.split}.")
    sentences.append("Recognition rate in percent, ± standard deviation over forest and training seeds.")
    return " ".join(sentences)


def _footnotes(rows: Sequence[Row], corpora: Sequence[str]) -> tuple[Footnote, ...]:
    cells = [cell for row in rows for cell in row.cells.values()]
    notes = dict.fromkeys(cell.published.note for cell in cells if cell.published and cell.published.note)
    footnotes = [Footnote(mark, note) for mark, note in zip(ascii_lowercase, notes, strict=False)]
    if any(not score.complete for cell in cells for score in cell.scores):
        text = "Cells marked (done/all folds) are from incomplete folds, summed over training seeds."
        footnotes.append(Footnote("", text))
    return (*footnotes, *(note for corpus in corpora for note in _size_footnotes(rows, corpus)))


def _size_footnotes(rows: Sequence[Row], corpus: str) -> Iterator[Footnote]:
    """A warning where complete cells rest on another number of utterances than the paper's (Table I)."""
    expected = PAPER_UTTERANCES.get(corpus)
    scored = {
        score.utterances
        for row in rows
        for metric in METRICS
        for score in row.cells[corpus, metric].scores
        if score.complete
    }
    for utterances in sorted(scored - {expected}) if expected else ():
        text = f"{utterances:,} utterances scored, {expected:,} in the paper: not comparable."
        yield Footnote("", f"{_corpus_name(corpus)}: {text}")


def _any_published(rows: Sequence[Row], corpus: str) -> bool:
    return any(row.cells[corpus, metric].published for row in rows for metric in METRICS)


def _corpus_name(corpus: str) -> str:
    return CORPUS_NAMES.get(corpus, corpus)


def _backbone_name(backbone: str) -> str:
    return BACKBONE_NAMES.get(backbone, backbone)


def _plan_table_2(backbone: str, evidence: _Evidence) -> list[_RowPlan]:
    """Iterations 0, 1, 2 of BDSL, and any further ones that were trained."""
    name = _backbone_name(backbone)
    trained = [t.iteration for t in evidence.treatments if t.backbone == backbone and t.rule == "bdsl"]
    plans = []
    for iteration in range(max([PAPER_ITERATIONS - 1, *trained]) + 1):
        label = RowLabel(name, iteration)
        treatment = Treatment(backbone, "bdsl" if iteration else "none", "", iteration)
        plans.append(_RowPlan(label, treatment, str(label)))
    return plans


def _plan_table_3(backbone: str, evidence: _Evidence) -> list[_RowPlan]:
    names = {"none": "No DSL", "gsl": "DSL-GSL", "hdl": "DSL-HDL", "bdsl": "DSL-BDSL"}
    return [_RowPlan(RowLabel(name), _treatment(backbone, rule), name) for rule, name in names.items()]


def _plan_table_4(backbone: str, evidence: _Evidence) -> list[_RowPlan]:
    """The paper's alphas and any others in order; last, the control that retrains on the inherited labels."""
    weighted = {t.alpha for t in evidence.treatments if t.backbone == backbone and t.rule == "wdsl"}
    plans = []
    for alpha in sorted({*PAPER_ALPHAS, *weighted}, key=float):
        treatment = _treatment(backbone, {"0": "bdsl", "1": "none"}.get(alpha, "wdsl"), alpha)
        plans.append(_RowPlan(RowLabel(alpha), treatment, alpha))
    control = _treatment(backbone, "wdsl", "1")
    if control in evidence.treatments:
        plans.append(_RowPlan(RowLabel("1 (retraining control)"), control, None))
    return plans


def _plan_table_5(backbone: str, evidence: _Evidence) -> list[_RowPlan]:
    literature = dict.fromkeys(
        row for (table, row, _, _), value in evidence.published.items() if table == "V" and not value.backbone
    )
    plans = [_RowPlan(RowLabel(row), None, row) for row in literature]
    plans.append(_RowPlan(RowLabel("NO DSL (baseline)"), _treatment(backbone, "none"), "NO DSL (baseline)"))
    for rule in ("bdsl", "wdsl", "gsl", "hdl"):
        name = f"DSL-{rule.upper()}"
        label = RowLabel(f"{name} (α = {BEST_ALPHA})" if rule == "wdsl" else name)
        plans.append(_RowPlan(label, _treatment(backbone, rule, BEST_ALPHA), f"{name} (ours)"))
    return plans


def _treatment(backbone: str, rule: str, alpha: str = "") -> Treatment:
    """What Tables III-V show of a rule: iteration 1, or iteration 0 for no rule."""
    return Treatment(backbone, rule, alpha if rule == "wdsl" else "", 0 if rule == "none" else 1)


_TABLE_2 = _Layout(
    number="II",
    row_heading="Model",
    caption="DSL-BDSL by backbone. Superscript: iteration of self-learning, 0 is without DSL.",
    plan=_plan_table_2,
)
_TABLES_OF_ONE_BACKBONE = (
    _Layout("III", "Method", "DSL-GSL, DSL-HDL and DSL-BDSL at iteration 1.", _plan_table_3),
    _Layout(
        number="IV",
        row_heading="α",
        caption="DSL-WDSL by weight α at iteration 1. α = 0 is DSL-BDSL; α = 1 is iteration 0, without DSL.",
        plan=_plan_table_4,
    ),
    _Layout("V", "Method", "DSL methods at iteration 1, and the literature.", _plan_table_5),
)

_COLUMN_GROUPS = ("forest", "mean pooling", "published")
_MISSING = "—"
_PLAIN = "0123456789abcdefghijklmnop"
_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖ"
_SUPERSCRIPT = str.maketrans(_PLAIN, _RAISED)
_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"[": "{[}", "]": "{]}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    | {"—": "---", "±": r"$\pm$", "α": r"$\alpha$"}
    | {raised: f"$^{{{plain}}}$" for plain, raised in zip(_PLAIN, _RAISED, strict=True)}
)
_CELL_FIELDS = (
    *("forest", "forest_sd", "mean_pooling", "published", "published_backbone"),
    *("difference", "folds_done", "folds", "note"),
)
_CSV_COLUMNS = ("table", "backbone", "label_source", "split", "row", "corpus", "metric", *_CELL_FIELDS)


def to_markdown(tables: Sequence[Table]) -> str:
    """Each table as aligned Markdown, one block of rows per corpus so that lines fit a terminal."""
    return "\n".join(_markdown_table(table) for table in tables)


def to_latex(tables: Sequence[Table]) -> str:
    """Each table as a `table*` environment in the paper's layout; needs packages booktabs and graphicx."""
    return "\n".join(_latex_table(table) for table in tables)


def to_csv(tables: Sequence[Table]) -> str:
    """One line per table, row, corpus and metric; rates in percent, missing ones empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for table in tables:
        for row in table.rows:
            for (corpus, metric), cell in row.cells.items():
                keys = {
                    "table": table.number,
                    "backbone": table.backbone or row.backbone,
                    "label_source": table.label_source,
                    "split": table.split,
                    "row": str(row.label),
                    "corpus": corpus,
                    "metric": metric,
                }
                writer.writerow(keys | _cell_record(cell))
    return text.getvalue()


def to_json(tables: Sequence[Table]) -> str:
    """An object `{tables: [{number, caption, ..., rows: [{row, cells: {corpus: {WA: {...}}}}]}]}`.

    Rates are in percent, missing ones null.
    """
    return json.dumps({"tables": [_json_table(table) for table in tables]}, indent=2, ensure_ascii=False) + "\n"


def _label_text(label: RowLabel) -> str:
    return label.name if label.iteration is None else label.name + str(label.iteration).translate(_SUPERSCRIPT)


def _cell_text(table: Table, cell: Cell, group: str) -> str:
    if group == "published":
        if cell.published is None:
            return _MISSING
        return f"{cell.published.value:.2f}{table.mark(cell).translate(_SUPERSCRIPT)}"
    score = cell.forest if group == "forest" else cell.mean_pooling
    if score is None:
        return _MISSING
    spread = f" ± {score.spread:.2f}" if group == "forest" else ""
    folds = "" if score.complete else f" ({score.folds_done}/{score.folds} folds)"
    return f"{score.value:.2f}{spread}{folds}"


def _column_groups(table: Table, corpus: str) -> tuple[str, ...]:
    return _COLUMN_GROUPS if table.has_published(corpus) else _COLUMN_GROUPS[:-1]


def _corpus_texts(table: Table, row: Row, corpus: str) -> list[str]:
    """What a row shows of a corpus: WA and UA of each column group."""
    groups = _column_groups(table, corpus)
    return [_cell_text(table, row.cells[corpus, metric], group) for group in groups for metric in METRICS]


def _markdown_table(table: Table) -> str:
    parts = [f"**Table {table.number}.** {_escape_markdown(table.caption)}\n"]
    for corpus in table.corpora:
        headings = [f"{metric} {group}" for group in _column_groups(table, corpus) for metric in METRICS]
        lines = [[table.row_heading, *headings]]
        rows = [row for row in table.rows if _shows_anything(row, corpus)]
        lines += [[_label_text(row.label), *_corpus_texts(table, row, corpus)] for row in rows]
        parts.append(f"{_escape_markdown(_corpus_name(corpus))}\n\n{_aligned(lines)}")
    notes = [f"- {footnote.mark.translate(_SUPERSCRIPT)} {footnote.text}" for footnote in table.footnotes]
    if notes:
        parts.append("".join(f"{_escape_markdown(' '.join(note.split()))}\n" for note in notes))
    return "\n".join(parts)


def _aligned(lines: list[list[str]]) -> str:
    """A Markdown table, its first column flush left, the others flush right; `lines[0]` is the head."""
    escaped = [[_escape_markdown(text) for text in line] for line in lines]
    widths = [max(3, *map(len, column)) for column in zip(*escaped, strict=True)]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [
        [
            line[0].ljust(widths[0]),
            *(text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True)),
        ]
        for line in escaped
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in [padded[0], rule, *padded[1:]])


def _escape_markdown(text: str) -> str:
    """Escapes what Markdown would read as markup; an underscore inside a word is none."""
    return re.sub(r"([\\|*`<>~]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", " ".join(text.split()))


def _latex_table(table: Table) -> str:
    columns = [2 * len(_column_groups(table, corpus)) for corpus in table.corpora]
    lines = [
        r"\begin{table*}[t]",
        r"\centering",
        rf"\caption{{{_escape_latex(f'Table {table.number} of the paper. {table.caption}')}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * sum(columns)}}}",
        r"\toprule",
        *_latex_head(table, columns),
        *_latex_rows(table),
        r"\bottomrule",
        r"\end{tabular}}",
    ]
    for footnote in table.footnotes:
        text = f"{footnote.mark.translate(_SUPERSCRIPT)} {footnote.text}".strip()
        lines.append(rf"\par\smallskip{{\footnotesize {_escape_latex(text)}}}")
    return "\n".join([*lines, r"\end{table*}", ""])


def _latex_head(table: Table, columns: list[int]) -> list[str]:
    """Three lines - corpora, column groups, metrics - with a rule under each corpus."""
    corpora, rules, groups = [""], [], [""]
    start = 2
    for corpus, width in zip(table.corpora, columns, strict=True):
        corpora.append(rf"\multicolumn{{{width}}}{{c}}{{{_escape_latex(_corpus_name(corpus))}}}")
        rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
        groups += [rf"\multicolumn{{2}}{{c}}{{{name.capitalize()}}}" for name in _column_groups(table, corpus)]
        start += width
    metrics = [_escape_latex(table.row_heading), *METRICS * (sum(columns) // 2)]
    heads = [" & ".join(texts) + r" \\" for texts in (corpora, groups, metrics)]
    return [heads[0], " ".join(rules), *heads[1:]]


def _latex_rows(table: Table) -> Iterator[str]:
    """The rows, with a rule wherever the backbone changes."""
    previous = None
    for row in table.rows:
        if row.backbone != previous:
            yield r"\midrule"
        previous = row.backbone
        texts = [text for corpus in table.corpora for text in _corpus_texts(table, row, corpus)]
        yield " & ".join(_escape_latex(text) for text in [_label_text(row.label), *texts]) + r" \\"


def _escape_latex(text: str) -> str:
    return " ".join(text.split()).translate(_LATEX)


def _json_table(table: Table) -> dict[str, Any]:
    return {
        "number": table.number,
        "caption": table.caption,
        "backbone": table.backbone,
        "label_source": table.label_source,
        "split": table.split,
        "rows": [{"row": str(row.label), "cells": _json_cells(row)} for row in table.rows],
        "footnotes": [{"mark": footnote.mark, "text": footnote.text} for footnote in table.footnotes],
    }


def _json_cells(row: Row) -> dict[str, dict[str, dict[str, Any]]]:
    cells: dict[str, dict[str, dict[str, Any]]] = {}
    for (corpus, metric), cell in row.cells.items():
        cells.setdefault(corpus, {})[metric] = _cell_record(cell)
    return cells


def _cell_record(cell: Cell) -> dict[str, float | str | None]:
    """A cell's values for machines: percent to four decimals, None where there is none."""
    record: dict[str, float | str | None] = dict.fromkeys(_CELL_FIELDS)
    if cell.forest:
        record |= {"forest": round(cell.forest.value, 4), "forest_sd": round(cell.forest.spread, 4)}
    if cell.mean_pooling:
        record |= {"mean_pooling": round(cell.mean_pooling.value, 4)}
    if cell.published:
        published = cell.published
        record |= {"published": published.value, "published_backbone": published.backbone or None}
        record |= {"note": published.note or None}
    if cell.difference is not None:
        record |= {"difference": round(cell.difference, 4)}
    if cell.scores:
        record |= {"folds_done": cell.scores[0].folds_done, "folds": cell.scores[0].folds}
    return record
