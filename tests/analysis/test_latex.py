"""Tables as LaTeX: what a real LaTeX makes of them, in a class of one column and in one of two."""

import os
import re
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest

from analysis.tables.latex import escape

GOLDEN = Path(__file__).parent / "golden"
DOCUMENTS = {
    "one column": r"\documentclass[10pt]{article}",
    "two columns": r"\documentclass[10pt,twocolumn]{article}\usepackage[margin=19mm]{geometry}",
}
MISSING = "no pdflatex and pdftotext here: apt-get install texlive-latex-recommended poppler-utils"


def typeset(folder: Path, preamble: str, body: str) -> tuple[str, str]:
    """The log, and the text of the pages."""
    if not (shutil.which("pdflatex") and shutil.which("pdftotext")):
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    packages = r"\usepackage{booktabs,graphicx}"
    (folder / "main.tex").write_text(
        f"{preamble}\n{packages}\n\\begin{{document}}\n{body}\n\\end{{document}}\n", "utf-8"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "main.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]
    shown = subprocess.run(["pdftotext", "-layout", "main.pdf", "-"], cwd=folder, capture_output=True, text=True)
    return (folder / "main.log").read_text(encoding="utf-8", errors="replace"), shown.stdout


def overfull(log: str) -> float:
    """By how many points the worst box is too large."""
    return max(map(float, re.findall(r"Overfull \\[hv]box \(([\d.]+)pt", log)), default=0.0)


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("name", ["tables", "recorded", "listings"])
def test_tables_compile_and_fit_the_page(tmp_path: Path, document: str, name: str) -> None:
    log, _ = typeset(tmp_path, DOCUMENTS[document], (GOLDEN / f"{name}.tex").read_text(encoding="utf-8"))
    assert overfull(log) < 2
    assert "Float too large" not in log
    assert "multiply defined" not in log


@pytest.mark.parametrize("name", ["tables", "recorded", "listings"])
def test_no_table_is_shrunk_beyond_reading(tmp_path: Path, name: str) -> None:
    """Across two columns, without the box that shrinks them, tables are too wide by a tenth at most."""
    body = (GOLDEN / f"{name}.tex").read_text(encoding="utf-8")
    unshrunk, count = re.subn(r"\\resizebox\{.*\}\{!\}\{%", "{%", body)
    assert count == body.count(r"\begin{tabular}")
    log, _ = typeset(tmp_path, DOCUMENTS["two columns"], unshrunk)
    assert overfull(log) < 50


def test_pages_show_values_intervals_marks_and_published_rates(tmp_path: Path) -> None:
    _, shown = typeset(tmp_path, DOCUMENTS["one column"], (GOLDEN / "tables.tex").read_text(encoding="utf-8"))
    assert "DSL-BDSL by backbone: Emo-DB (Table II of the paper)." in shown
    assert re.search(
        r"DenseNet22\s?0?\s+76\.23 ± 0\.25 ± 1\.10\s+75\.59 ± 0\.50 ± 1\.20\s+"
        r"\d\d\.\d\d ± \d\.\d\d ± \d\.\d\d\s+75\.23\s+74\.59\s+\d\d\.\d\d\s+80\.37\s+79\.99",
        shown,
    )
    assert "[73.2, 79.2]" in shown
    assert "No count out of 535 utterances rounds to 83.00" in shown


def test_names_of_all_kinds_compile_and_are_shown(tmp_path: Path) -> None:
    name = r"50% R&D_{#1}$^~\end{table} <größe> Žlutý 悲しみ é|[x] “quoted” \input{x}"
    _, shown = typeset(tmp_path, DOCUMENTS["one column"], escape(name))
    shown = unicodedata.normalize("NFKC", shown)
    # An underscore is a drawn line, and no text.
    assert "50% R&D {#1}$" in shown and r"\end{table} <größe> Žlutý U+60B2" in shown
    assert "é|[x]" in shown and r"\input{x}" in shown
