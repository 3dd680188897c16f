"""The recognition rates the paper prints in Tables II-V, as data.

`published.csv` has one printed value per line. A `note` says why a value cannot be right as printed: no count
of utterances gives it, or another table of the paper contradicts it. Iteration 0 of every rule is the
baseline, so it carries rule `none`; rows quoted from the literature have no backbone and no rule.
"""

from dataclasses import dataclass
from importlib.resources import files

import pandas as pd

from analysis.columns import ALPHA, BACKBONE, CORPUS, ITERATION, RULE
from analysis.scoring.scores import Score

TABLE = "table"
ROW = "row"
METRIC = "metric"
VALUE = "value"
NOTE = "note"


@dataclass(frozen=True)
class PublishedValue:
    """One printed recognition rate, in percent."""

    value: float
    backbone: str
    """Empty for a row quoted from the literature."""
    note: str
    """Why the value cannot be right as printed; empty if nothing speaks against it."""


def load_published() -> pd.DataFrame:
    """Every value of Tables II-V, one per line, in the paper's order.

    Columns: `table`, `row` (as printed, superscripts as `^0`), `corpus`, `metric` (WA or UA), `value`
    (percent), `backbone`, `rule`, `alpha` (NaN where the rule takes none), `iteration` (<NA> for the
    literature), `note`.
    """
    text = (TABLE, ROW, CORPUS, METRIC, BACKBONE, RULE, NOTE)
    dtypes = dict.fromkeys(text, "str") | {VALUE: "float64", ALPHA: "float64", ITERATION: "Int64"}
    with files("analysis.paper").joinpath("published.csv").open(encoding="utf-8") as file:
        empty = {ALPHA: [""], ITERATION: [""]}
        return pd.read_csv(file, dtype=dtypes, keep_default_na=False, na_values=empty)


def index_published(published: pd.DataFrame) -> dict[tuple[str, str, str, str], PublishedValue]:
    """The values of `load_published` by (table, row, corpus, metric)."""
    keys = zip(published[TABLE], published[ROW], published[CORPUS], published[METRIC], strict=True)
    values = zip(published[VALUE], published[BACKBONE], published[NOTE], strict=True)
    return {key: PublishedValue(*value) for key, value in zip(keys, values, strict=True)}


def comparable(score: Score, backbone: str, published: PublishedValue) -> bool:
    """Whether a difference of the two means something: all folds of the whole corpus, in the paper's set-up, and the
    same backbone."""
    whole = score.complete and not score.partial
    return whole and not score.setup.departures and published.backbone == backbone
