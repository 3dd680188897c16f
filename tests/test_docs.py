"""Pages say what the committed results say, link to what is there, and tell people to type what works."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from ser_sweep.cli import build_parser, main

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]
GRIDS = sorted((ROOT / "configs").glob("*.yaml"))
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def test_what_is_made_from_something_else_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, "docs/figures.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


# The site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does: strictly, so that a dead link or anchor fails."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    return folder


def test_the_site_has_every_page_in_its_menu(site: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    for page in DOCS:
        assert f'href="{page.stem}.html' in home or page.stem == "index", page.name


def test_the_site_loads_nothing_from_the_network(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"""<(?:script|link|img|iframe)[^>]*(?:src|href)=["']?(?:https?:)?//[^>]*>""", text), page
        assert "unpkg.com" not in text


def test_the_site_shows_what_pages_link_to_in_the_repository(site: Path) -> None:
    assert (site / "repository/configs/demo.yaml").read_bytes() == (ROOT / "configs/demo.yaml").read_bytes()
    assert 'href="repository/configs/demo.yaml"' in (site / "grids.html").read_text(encoding="utf-8")


def test_the_site_shows_notebooks_with_their_outputs(site: Path) -> None:
    page = (site / "notebooks/redraw_a_table.html").read_text(encoding="utf-8")
    assert "48.96" in page and "read_parquet" in page


# What people are told to type


def indented_commands(page: Path) -> list[list[str]]:
    """The words of every ser-sweep command in the blocks of a page, or in the header of a grid."""
    marks = r"^(?: {4})?" if page.suffix == ".md" else r"^# {3}"
    lines = re.findall(rf"{marks}(ser-sweep .+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    # [OPTION] in a page is what may be left out.
    return [shlex.split(re.sub(r"[\[\]]", "", line), comments=True) for line in lines]


@pytest.mark.parametrize("page", [*PAGES, *GRIDS], ids=lambda page: page.name)
def test_commands_in_pages_are_ones_that_the_program_knows(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in indented_commands(page):
        try:
            options = build_parser().parse_args([word for word in words[1:] if word != "..."])
        except SystemExit as ended:
            if ended.code == 0:  # --version, --help
                continue
            pytest.fail(f"{page.name}: {' '.join(words)}\n{capsys.readouterr().err}")
        grid = str(getattr(options, "grid", None) or "")
        assert not grid.startswith("configs/") or (ROOT / grid).is_file(), grid


def test_every_page_with_commands_is_looked_at() -> None:
    assert sum(len(indented_commands(page)) for page in PAGES) > 30


def test_getting_started_works_as_it_is_written(tmp_path: Path) -> None:
    """Its `sh` blocks, pasted one after the other into a shell in an empty folder."""
    page = (ROOT / "docs/getting_started.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "bin").mkdir()
    for name, command in {"ser-sweep": "-m ser_sweep.cli", "python": ""}.items():
        program = tmp_path / "bin" / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    (tmp_path / "here").mkdir()
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", "\n".join(blocks)],
        cwd=tmp_path / "here",
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "6 of 6 stages done: 6 trained" in done.stdout
    assert "**Table II.**" in done.stdout
    assert "DSL-BDSL" in (tmp_path / "here/REPORT/index.html").read_text(encoding="utf-8")


def run_blocks(page: str, folder: Path, before: str = "", after: str = "") -> str:
    """What the Python blocks of a page print, pasted one after the other in a folder; they check themselves."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert any("assert" in block for block in blocks)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "\n".join([before, *blocks, after])]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


CALLS = """
import sys, threading
called = set()
def call(frame, event, argument):
    called.add(frame.f_code.co_qualname)
sys.settrace(call), threading.settrace(call)
"""


def test_the_walk_from_a_wav_to_a_table_works_as_it_is_written(tmp_path: Path) -> None:
    after = "sys.settrace(None)\nprint(row.label)\nprint(*sorted(called), sep='\\n')"
    label, *called = run_blocks("walk.md", tmp_path, before=CALLS, after=after).splitlines()
    assert label == "NO DSL (baseline)"
    prose = re.sub(r"^```python\n.*?^```", "", (ROOT / "docs/walk.md").read_text("utf-8"), flags=re.M | re.S)
    sources = [
        file.read_text("utf-8")
        for room in ("sweep", "dsl", "data_prep", "analysis", "ser_sweep")
        for file in (ROOT / room).rglob("*.py")
    ]
    defined = {name for text in sources for name in re.findall(r"^ *(?:def|class) (\w+)", text, re.MULTILINE)}
    named = {name for name in re.findall(r"`([\w.]+)(?:\(.*?\))?`", prose) if name.rpartition(".")[2] in defined}
    assert len(named) >= 15
    passed = {part for name in called for part in name.split(".")}
    assert sorted(name for name in named if name.rpartition(".")[2] not in passed) == []


def test_what_is_done_in_python_works_as_it_is_written(small_data: Path, tmp_path: Path) -> None:
    (tmp_path / "DATA").symlink_to(small_data)
    training = "training: {epochs: 1, every: 16, early_stopping: false}"
    (tmp_path / "grid.yaml").write_text(
        f"{{corpora: [synthetic], backbones: [tiny], rules: [none, bdsl], folds: 2, {training}}}"
    )
    said = run_blocks("api.md", tmp_path, after="print(len(decisions), len(scores), len(differences))")
    assert "**Table II.**" in said
    assert (tmp_path / "REPORT" / "index.html").is_file()


def test_the_words_of_a_plan_and_of_a_status_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that only this project, or only who trains networks, uses."""
    grid = tmp_path / "grid.yaml"
    grid.write_text("{corpora: [synthetic], backbones: [tiny], rules: [none, bdsl], folds: 3, training: {every: 64}}")
    place = ["--data", str(tmp_path / "data"), "--store", str(tmp_path / "store")]
    assert main(["prepare", "synthetic", "--out", place[1], "--inline", "--quiet"]) == 0
    assert main(["plan", str(grid), *place, "--probe"]) == 0
    assert main(["status", str(grid), *place]) == 0
    said = capsys.readouterr().out
    explained = re.findall(
        r"^\| \*\*(.+?)\*\* \|", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    known = {word for entry in explained for word in entry.split(", ")}
    assert list(known) and explained == sorted(explained, key=str.lower)
    used = ("trial", "stage", "chain", "done", "missing", "failed", "network", "segment update", "predictions", "probe")
    for word in (*used, "device-hour", "iteration"):
        assert re.search(rf"{word}", said, re.IGNORECASE), f"{word} is not said any more"
        assert word in known


def test_the_grids_of_pages_load() -> None:
    from sweep.planning.grid import parse_grid

    found = [
        text
        for page in DOCS
        for text in re.findall(r"^```yaml\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    ]
    grids = [grid for text in found if isinstance(grid := yaml.safe_load(text), dict)]
    assert len(grids) >= 2
    for grid in grids:
        parse_grid(grid, "a page")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_and_shows_what_it_was_saved_with(path: Path) -> None:
    saved = nbformat.read(path, as_version=4)
    run = nbformat.read(path, as_version=4)
    NotebookClient(run, timeout=120, resources={"metadata": {"path": str(path.parent)}}).execute()
    assert outputs_of(run) == outputs_of(saved)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_needs_nothing_of_ours_but_the_way_in(path: Path) -> None:
    code = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    imported = [
        ast.unparse(node) for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    rooms = ("ser_sweep", "analysis", "sweep", "dsl", "data_prep")
    assert [line for line in imported if line.split()[1].split(".")[0] in rooms] == ["from ser_sweep import open_sweep"]
    assert "subprocess" not in code


def outputs_of(notebook: nbformat.NotebookNode) -> list[str]:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.get("text") or output.data["text/plain"] for output in outputs]
