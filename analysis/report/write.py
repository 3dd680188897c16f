"""A report as files: the page, and beside it what people take out of it."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from analysis.figures import FORMATS, figures_of, save_figures
from analysis.paper.claims_text import claims_json
from analysis.report.content import Figure, Report, ReportInput, Results, decisions_of, gather, results_of
from analysis.report.page import GENERATOR, page_of, render, render_figures
from analysis.report.reproduce import CELLS
from analysis.tables.latex import to_latex
from analysis.tables.render import to_csv, to_json, to_markdown
from data_prep.errors import UserError
from data_prep.files import write_text
from data_prep.progress import Progress, no_progress

PAGE, FIGURES, TABLES = "index.html", "figures", "tables"
STEPS = 4


def write_report(
    inputs: ReportInput,
    folder: Path,
    utterances: Sequence[str] = (),
    price_per_hour: float | None = None,
    refresh: int | None = None,
    progress: Progress = no_progress,
) -> Report:
    """Write index.html, figures/, tables/ and cells/ to `folder`; the page comes last, and needs none of the others.

    Where there are several corpora, with more than MOST_ON_ONE_PAGE bytes of figures, each has a page of its figures
    beside it, to which it links.
    `utterances` are the ids to draw contours along, as in `figures_of`. With `refresh` the page loads itself again
    every so many seconds. Raises UserError where `folder` holds a page that is no report.
    """
    _check_folder(folder)
    progress("decisions, tables, figures, page", 0, STEPS)
    decisions, by = decisions_of(inputs), inputs.by_setting
    progress("decisions, tables, figures, page", 1, STEPS)
    results = results_of(inputs, decisions)
    progress("decisions, tables, figures, page", 2, STEPS)
    drawings = () if decisions.empty else figures_of(inputs.store, inputs.chains, decisions, utterances, by)
    figures = [_figure(one, folder / FIGURES) for one in save_figures(drawings, folder / FIGURES)]
    progress("decisions, tables, figures, page", 3, STEPS)
    report = gather(inputs, results, figures, version("ser-dsl-sweep"), price_per_hour)
    _write_tables(results, folder / TABLES)
    for recipe in report.recipes:
        for name, text in {recipe.file: recipe.grid, **recipe.beside}.items():
            write_text(folder / CELLS / name, text)
    for corpus in report.pages:
        write_text(folder / page_of(corpus), render_figures(report, corpus))
    write_text(folder / PAGE, render(report, refresh))
    progress("decisions, tables, figures, page", 4, STEPS)
    return report


def _check_folder(folder: Path) -> None:
    page = folder / PAGE
    if page.exists() and GENERATOR not in page.read_text(encoding="utf-8", errors="replace"):
        raise UserError(f"{page} is a page that ser-sweep report did not write; give another --out")


def _figure(saved: dict[str, Any], folder: Path) -> Figure:
    """A figure by what `save_figures` says of it."""
    svg = (folder / f"{saved['name']}.svg").read_bytes()
    files = {name: f"{FIGURES}/{file}" for name, file in zip(FORMATS, saved["files"], strict=True)}
    return Figure(**saved | {"svg": svg, "files": files})


def _write_tables(results: Results, folder: Path) -> None:
    if not results.tables:
        return
    tables = results.tables
    if results.ranking:
        write_text(folder / "ranking.md", to_markdown(results.ranking))
    for name, text in (("md", to_markdown), ("tex", to_latex), ("csv", to_csv), ("json", to_json)):
        write_text(folder / f"tables.{name}", text(tables))
    write_text(folder / "claims.json", claims_json(results.findings))
