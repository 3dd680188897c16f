"""Methods as the paper's Figures 7 to 9 set them beside one another: no DSL, and each rule after one update."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from analysis import columns
from analysis.paper.layouts import BEST_ALPHA
from dsl.labels import BASELINE

PAPER_RULES = (BASELINE, "bdsl", "wdsl", "gsl", "hdl")  # in the order of these figures


class Method(NamedTuple):
    """An update rule and its alpha, as text that is empty where it takes none."""

    rule: str
    alpha: str = ""

    @classmethod
    def of(cls, line: Mapping[Any, Any]) -> "Method":
        """That of a data frame's line, as a record."""
        return cls(line[columns.RULE], line[columns.ALPHA])

    @property
    def name(self) -> str:
        """As figures and the paper call it: `WDSL (α = 0.2)`, or `No DSL`."""
        if self.rule == BASELINE:
            return "No DSL"
        rule = self.rule.upper() if self.rule in PAPER_RULES else self.rule
        return f"{rule} (α = {self.alpha})" if self.alpha else rule

    @property
    def parts(self) -> tuple[str, ...]:
        """What a file name tells of it."""
        return (self.rule, self.alpha) if self.alpha else (self.rule,)

    @property
    def position(self) -> tuple[int, str, float | str]:
        """For sorting: the paper's rules come first."""
        known = self.rule in PAPER_RULES
        return PAPER_RULES.index(self.rule) if known else len(PAPER_RULES), self.rule, self.alpha


def shown_methods(last_alphas: Mapping[Method, float | None]) -> list[Method]:
    """One method a rule, in the paper's order: of several alphas the one nearest to the paper's best.

    `last_alphas` are those of the methods' last iterations; None where that takes none. Chosen by name alone: to show
    what scores best on the test folds would be to choose on them.
    """
    chosen: dict[str, Method] = {}
    for method in sorted(last_alphas, key=lambda method: _distance(method, last_alphas[method])):
        chosen.setdefault(method.rule, method)
    return sorted(chosen.values(), key=lambda method: method.position)


def _distance(method: Method, last_alpha: float | None) -> tuple[float, str]:
    """How far the method's last alpha is from the paper's best."""
    if last_alpha is not None:
        return abs(last_alpha - float(BEST_ALPHA)), method.alpha
    return 1.0 if method.alpha else 0.0, method.alpha


def by_method(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines of iteration 0 and those of the shown methods at iteration 1, in the paper's order."""
    early = lines[lines[columns.ITERATION] <= 1]
    methods = [Method.of(line) for line in early.to_dict("records")]
    shown = shown_methods({method: float(method.alpha) if method.alpha else None for method in methods})
    return early.iloc[[methods.index(method) for method in shown]]
