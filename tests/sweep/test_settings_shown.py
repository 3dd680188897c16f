"""Commands that show results of a grid with several settings: which one they show, and all of them."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_prep.errors import UserError
from ser_sweep import open_sweep
from ser_sweep.cli import main
from ser_sweep.commands.figures import settings_told
from ser_sweep.shown import Progress, Shown, choose_shown
from sweep.planning.settings import Setting

SLOW, PAPERS = 0.0001, 0.001


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> list[str]:
    """Those that name a trained grid of two learning rates."""
    folder = tmp_path_factory.mktemp("settings")
    grid = {
        **{"corpora": ["synthetic"], "backbones": ["tiny"], "rules": ["none", "bdsl"], "folds": 2},
        "training": {"epochs": 1, "every": 64, "learning_rate": [SLOW, PAPERS]},
    }
    (folder / "grid.yaml").write_text(yaml.safe_dump(grid))
    found = [str(folder / "grid.yaml"), "--data", str(small_data), "--store", str(folder / "store")]
    assert main(["run", *found, "--inline", "--quiet"]) == 0
    return found


def said(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    capsys.readouterr()
    assert main(list(words)) == status
    found = capsys.readouterr()
    return found.err if status else found.out


def test_the_nearest_to_the_papers_is_shown_unless_another_is_asked_for(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Setting: learning_rate 0.001 (the nearest to the paper's of 2)." in said(
        capsys, "tables", *arguments, "--no-forests"
    )
    asked = said(capsys, "tables", *arguments, "--no-forests", "--setting", "learning_rate=1e-4")
    assert "Setting: learning_rate 0.0001 (one of 2)." in asked
    assert "**Settings.**" in asked and "**Settings compared.**" in asked


def test_a_setting_with_all_folds_is_shown_before_a_nearer_one_without(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    shutil.copytree(arguments[-1], store)
    sweep = open_sweep(arguments[0], arguments[2], store)
    nearest = sweep.shown
    missing = sweep.shown_chains[-1].last.key
    (found,) = store.glob(f"**/{missing}")
    shutil.rmtree(found)
    sweep.refresh()
    assert nearest.text == "learning_rate 0.001" and sweep.shown.text == "learning_rate 0.0001"
    why = "of 2 the one with all folds so far; learning_rate 0.001 is nearer, with 3 of 4 stages"
    own = [*arguments[:-1], str(store)]
    assert f"setting learning_rate 0.0001 ({why}): what tables show" in said(capsys, "plan", *own)
    text = said(capsys, "tables", *own, "--no-forests")
    assert f"Setting: learning_rate 0.0001 ({why})." in text
    assert (
        f"- Reference: learning\\_rate 0.0001 ({why})." in text or f"- Reference: learning_rate 0.0001 ({why})." in text
    )
    drawn = said(capsys, "figures", *own, "--no-forests", "--out", str(tmp_path / "figures"), "--format", "svg")
    assert f"setting learning_rate 0.0001 ({why}): what figures of one setting show" in drawn
    assert "thinning" not in drawn


RATES = [Setting((("learning_rate", rate),)) for rate in (0.001, 0.003, 0.01)]


@pytest.mark.parametrize(
    ("done", "shown", "why"),
    [
        ((0, 0, 0), 0, "the nearest to the paper's of 3"),
        ((6, 6, 6), 0, "the nearest to the paper's of 3"),
        (
            (2, 6, 6),
            1,
            "the nearest to the paper's of the 2 of 3 with all folds so far; learning_rate 0.001 is nearer, with 2 of "
            "6 stages",
        ),
        ((6, 2, 0), 0, "of 3 the one with all folds so far"),
        ((2, 2, 2), 0, "the nearest to the paper's of 3; none has all folds, this one has 2 of 6 stages"),
        (
            (1, 2, 4),
            2,
            "of 3 the one furthest along, with 4 of 6 stages; learning_rate 0.001 is nearer, with 1 of 6 stages",
        ),
        ((2, 1, 2), 0, "the nearest to the paper's of the 2 of 3 furthest along, with 2 of 6 stages"),
    ],
)
def test_the_setting_that_is_shown_follows_from_what_is_done(done: tuple[int, ...], shown: int, why: str) -> None:
    progress = {one: Progress(count, 6) for one, count in zip(RATES, done, strict=True)}
    assert choose_shown(progress, RATES.index) == Shown(RATES[shown], why)


def test_figures_say_why_there_is_no_thinning_curve(tmp_path: Path, small_data: Path) -> None:
    def told(**training: Any) -> list[str]:
        grid = {"corpora": ["synthetic"], "backbones": ["tiny"], "rules": ["none"], "folds": 2, "training": training}
        (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
        return list(settings_told(open_sweep(tmp_path / "grid.yaml", small_data), set()))

    assert told(every=16) == []
    assert told(every=[16, 8]) == [
        "setting every 8 (the nearest to the paper's of 2): what figures of one setting show"
    ]
    assert told(every=[16, 8], learning_rate=[SLOW, PAPERS])[1:] == [
        "no thinning curve: settings differ in learning_rate, too, not in every alone"
    ]


def test_two_settings_of_one_grid_are_compared(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    other = ["--other-setting", f"learning_rate={SLOW}", "--no-forests"]
    text = said(capsys, "compare", *arguments, *other)
    assert re.search(r"^A .*, learning_rate 0.001 \(the nearest to the paper's of 2\)$", text, re.MULTILINE)
    assert re.search(r"^B .*, learning_rate 0.0001 \(one of 2\)$", text, re.MULTILINE)
    found = json.loads(said(capsys, "compare", *arguments, *other, "--json"))
    assert [one["setting"] for one in found["sweeps"]] == [{"learning_rate": PAPERS}, {"learning_rate": SLOW}]
    assert {"none", "bdsl"} <= {one["rule"] for one in found["comparisons"]}
    turned = ["--setting", f"learning_rate={SLOW}", "--other-setting", f"learning_rate={PAPERS}", "--no-forests"]
    again = json.loads(said(capsys, "compare", arguments[0], *arguments, *turned, "--json"))
    differences, others = (
        {one["rule"]: one["wa_difference"] for one in of["comparisons"] if not one["chosen"]} for of in (found, again)
    )
    assert differences == {rule: -value for rule, value in others.items()}


@pytest.mark.parametrize("command", ["tables", "claims", "best", "compare"])
def test_other_intervals_are_asked_for_and_named(
    arguments: list[str], capsys: pytest.CaptureFixture[str], command: str
) -> None:
    words = [command, *arguments, *([] if command == "claims" else ["--no-forests"])]
    words += ["--other-setting", f"learning_rate={SLOW}"] if command == "compare" else []
    assert re.search(r"bootstrap intervals? over utterances\]", said(capsys, *words))
    text = said(capsys, *words, "--intervals", "corrected_t")
    assert re.search(r" t intervals? over speakers, corrected for training data\]", text)
    assert "over utterances]" not in text


def test_intervals_that_are_not_known_are_refused(arguments: list[str]) -> None:
    sweep = open_sweep(*arguments[::2])
    assert sweep.intervals == "utterance" and sweep.with_intervals("speaker").intervals == "speaker"
    with pytest.raises(UserError, match="intervals wald are not known; there are utterance, speaker, speaker_t"):
        sweep.with_intervals("wald")


def test_a_comparison_needs_two_sweeps(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "compare has one sweep only" in said(capsys, "compare", *arguments, status=2)
    same = ["--setting", "learning_rate=0.001", "--other-setting", "learning_rate=1e-3"]
    assert "both of the setting learning_rate 0.001" in said(capsys, "compare", *arguments, *same, status=2)
    grids = [arguments[0]] * 2
    assert "one grid file or two, not 3" in said(capsys, "compare", *grids, *arguments, status=2)


def test_claims_are_tested_at_each_setting(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "claims", *arguments)
    assert re.findall("^# .*", text, re.MULTILINE) == ["# learning_rate 0.0001", "# learning_rate 0.001"]
    assert text.count("Differences are in points") == 1
    claims = json.loads(said(capsys, "claims", *arguments, "--json"))["claims"]
    assert [one["setting"]["learning_rate"] for one in claims] == sorted(
        one["setting"]["learning_rate"] for one in claims
    )
    one = json.loads(said(capsys, "claims", *arguments, "--json", "--setting", "learning_rate=0.001"))["claims"]
    assert {each["setting"]["learning_rate"] for each in one} == {PAPERS} and 2 * len(one) == len(claims)


def test_the_report_has_a_section_of_settings(arguments: list[str], tmp_path: Path) -> None:
    report = open_sweep(*arguments[::2]).report(tmp_path, forests=False)
    facts = dict(report.facts)
    assert facts["Settings"] == "2, which differ in learning_rate (0.0001, 0.001)"
    assert "learning rate 0.001" in facts["Training"] and "0.0001" not in facts["Training"]
    assert "settings" in report.sections
    assert [one.title for one in report.settings] == ["Ranking by validation", "Settings", "Settings compared"]
    assert {"settings-axes", "settings-parallel"} <= {one.kind for one in report.figures}
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert page.count('id="settings"') == 1 and 'href="#settings"' in page
    assert "Setting: learning_rate 0.001 (the nearest to the paper&#39;s of 2)." in page
    assert (tmp_path / "tables" / "ranking.md").is_file()
