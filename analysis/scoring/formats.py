"""How numbers look in tables."""

import math

from analysis.tables.paper_tables import Score

MISSING = "—"
MINUS = "−"
LEVEL = 0.05  # of tests


def score_text(score: Score | None, spread: bool = False, interval: bool = True) -> str:
    """`74.95 ± 0.24 ± 1.10 [71.2, 78.5] (7/10 folds)`, of which what is asked for, known and needed."""
    if score is None:
        return MISSING
    deviation = _spread_text(score) if spread else ""
    bounds = interval_text(*score.interval) if interval else ""
    folds = "" if score.complete else f" ({score.folds_done}/{score.folds} folds)"
    return f"{score.value:.2f}{deviation}{bounds}{folds}"


def _spread_text(score: Score) -> str:
    """` ± 0.24`, over forest seeds, and ` ± 1.10`, over training seeds where there are several."""
    forests, trainings = (deviation_text(one) for one in (score.forest_spread, score.training_spread))
    return f"{forests or f' ± {MISSING}'}{trainings}" if trainings else forests


def deviation_text(deviation: float) -> str:
    """` ± 0.24`, or nothing where it is not known."""
    return "" if math.isnan(deviation) else f" ± {deviation:.2f}"


def interval_text(low: float, high: float) -> str:
    """` [71.2, 78.5]`, or nothing where it is not known."""
    return "" if math.isnan(low) else f" [{number(low)}, {number(high)}]"


def number(value: float, digits: int = 1) -> str:
    """With a minus that is one, and no negative zero."""
    return f"{value:z.{digits}f}".replace("-", MINUS)


def signed(value: float) -> str:
    """A difference in points: `+0.69`, `−5.37`, `0.00`."""
    return number(value, 2) if round(value, 2) <= 0 else f"+{value:.2f}"


def p_text(p: float) -> str:
    """` p 0.04`, or nothing where there is no test."""
    if math.isnan(p):
        return ""
    if p < 0.001:
        return " p < 0.001"
    # With as many digits as it takes to tell which side of the level it is on.
    digits = next((d for d in range(2, 7) if (float(f"{p:.{d}g}") < LEVEL) == (p < LEVEL)), 7)
    return f" p {p:.{digits}g}" if p < 0.1 else f" p {p:.2f}"
