"""A report as HTML: one page that holds its style, its script and its figures, and asks nothing of any network.

Everything is escaped by the templates. Should something slip through, the page's own policy runs no script and applies
no style but the two whose hashes it names.
"""

import base64
import hashlib
import re
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from analysis.figures.save import slug
from analysis.identity import corpus_name
from analysis.paper.claims_text import evidence_text, explanation, setup_lines, where_of
from analysis.report.content import Report
from analysis.scoring.intervals import KINDS, by_speaker_words
from analysis.tables.blocks import Block
from data_prep.text import command, counted

GENERATOR = "ser-sweep report"
MANY_ROWS = 8  # from which on a table has a field to filter it
_RIGHT_TO_LEFT = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff"
_WORD = rf"[\w./{_RIGHT_TO_LEFT}-]*[{_RIGHT_TO_LEFT}][\w./{_RIGHT_TO_LEFT}-]*"
_NAME = re.compile(rf"{_WORD}(?: {_WORD})*(?<!\.)")


def render(report: Report, refresh: int | None = None, made: datetime | None = None) -> str:
    """The page. With `refresh` it loads itself again every so many seconds; `made` is now, unless it is given."""
    return _render(
        "page.html.jinja",
        report=report,
        refresh=refresh,
        made=(made or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC"),
        many_rows=MANY_ROWS,
        explanation=explanation(report.intervals),
        intervals=KINDS[report.intervals].words(several=True),
        paired=KINDS[report.intervals].words(paired=True, several=True),
        by_speaker=by_speaker_words(report.intervals),
    )


def render_figures(report: Report, corpus: str) -> str:
    """The page of the figures of a corpus, for a report whose page does not show them."""
    return _render("figures.html.jinja", report=report, corpus=corpus, refresh=None)


def page_of(corpus: str) -> str:
    """The file of that page, beside the report's own."""
    return f"figures-{slug(corpus)}.html"


def _render(template: str, **about: Any) -> str:
    style, script = _asset("style.css"), _asset("script.js")
    environment = Environment(
        loader=PackageLoader("analysis.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "is_numeric": is_numeric,
        "names": isolated,
        "data_uri": data_uri,
        "size": size_of,
    }
    environment.globals |= {"command": command, "counted": counted, "page_of": page_of, "corpus_name": corpus_name}
    environment.globals |= {"where_of": where_of, "evidence_text": evidence_text, "setup_lines": setup_lines}
    return environment.get_template(template).render(
        **about,
        generator=GENERATOR,
        style=Markup(style),
        script=Markup(script),
        policy=f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'",
    )


def isolated(text: str) -> Markup:
    """`text` whose names that are written from right to left leave what stands beside them in its place."""
    return Markup(_NAME.sub(lambda found: f"<bdi>{found[0]}</bdi>", str(escape(text))))


def _asset(name: str) -> str:
    return files("analysis.report").joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    """How a policy names what is inside an element."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def is_numeric(block: Block, column: int) -> bool:
    """Whether all cells of a column that are there begin with a number; never of the first one, which names rows."""
    cells = [line.cells[column - 1].printed for line in block.lines] if column else []
    return column > 0 and all(cell.number for cell in cells if not cell.is_missing)


def data_uri(svg: bytes) -> str:
    """A picture as an address: what is inside it, ids and all, stays inside."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def size_of(svg: bytes) -> tuple[int, int]:
    """Width and height of a picture of matplotlib's in pixels of CSS, so that a page keeps its place for it."""
    head = svg[: svg.find(b">", svg.find(b"<svg"))]
    width, height = (float(re.findall(rb'\b%b="([\d.]+)pt"' % name, head)[0]) for name in (b"width", b"height"))
    return round(width * 96 / 72), round(height * 96 / 72)
