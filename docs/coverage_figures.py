"""Blocks on how often intervals hold the true rate, from benchmarks/results/coverage.json."""

import json
import statistics
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from analysis.tables.render import aligned

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "coverage.json"
QUESTIONS = ("other speakers", "the same speakers", "these networks")
WHAT = {"rate": "rate", "difference": "difference"}
DIFFER = {0.0: "no", 0.5: "weakly", 1.0: "strongly"}
NOMINAL = 0.95


def found() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return content


def shares(conditions: list[dict[str, Any]], kind: str, what: str, question: str) -> list[float]:
    """The coverage of WA, UA and F1 in each condition, in percent."""
    return [100 * held / one["corpora"] for one in conditions for held in one["found"][kind][what]["held"][question]]


def coverage_by_kind() -> str:
    """For each kind of interval and each question, the lowest, the median and the highest coverage."""
    conditions = found()["conditions"]
    rows = [["intervals", "of a", *QUESTIONS]]
    for kind in conditions[0]["found"]:
        for what in WHAT:
            by_question = [sorted(shares(conditions, kind, what, question)) for question in QUESTIONS]
            cells = [f"{statistics.median(one):.0f} ({one[0]:.0f} – {one[-1]:.0f})" for one in by_question]
            rows.append([kind, what, *cells])
    return f"{aligned(rows).rstrip()}\n\n{_how_sure(conditions)}"


def _how_sure(conditions: list[dict[str, Any]]) -> str:
    corpora = conditions[0]["corpora"]
    near = binomtest(round(NOMINAL * corpora), corpora).proportion_ci(method="wilson")
    return (
        "Percent of 95% intervals of WA, UA and macro-F1 that hold the true value: the median, and in parentheses the "
        f"lowest and the highest of {len(conditions)} conditions, each of {corpora} simulated corpora. They are "
        f"uncertain, too: 95% of {corpora} corpora have Wilson's 95% interval from "
        f"{100 * near.low:.1f} to {100 * near.high:.1f}."
    )


def coverage_of_rates() -> str:
    return _by_condition("rate")


def coverage_of_differences() -> str:
    return _by_condition("difference")


def _by_condition(what: str) -> str:
    """The coverage for other speakers, and the mean width, in each condition."""
    conditions = found()["conditions"]
    kinds = list(conditions[0]["found"])
    rows = [["split", "speakers", "utterances", "differ", *kinds]]
    for one in conditions:
        cells = []
        for kind in kinds:
            own = one["found"][kind][what]
            share = 100 * own["held"]["other speakers"][0] / one["corpora"]
            cells.append(f"{share:.0f} (±{own['width'][0] / 2:.1f})")
        rows.append(
            [
                f"{one['split']}{_special(one)}",
                str(one["speakers"]),
                str(one["utterances"]),
                DIFFER[one["differ"]],
                *cells,
            ]
        )
    return aligned(rows).rstrip()


def _special(condition: dict[str, Any]) -> str:
    """What a condition has that others have not."""
    balanced = ", all say the same" if condition["balanced"] else ""
    return balanced + (f", {condition['seeds']} seeds" if condition["seeds"] > 1 else "")
