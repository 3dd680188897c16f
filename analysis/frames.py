"""What data frames must be where they cross from one room to another: their columns, and of which kind each is."""

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
from pandas.api import types

from analysis import columns

_TEXT = (columns.CORPUS, columns.BACKBONE, columns.RULE, columns.ALPHA, columns.LABEL_SOURCE, columns.SPLIT)
_WHOLE = (columns.ITERATION, columns.SEED, columns.SEEDS, columns.FOLDS_DONE, columns.FOLDS, columns.FOREST_SEED)
_RATES = (columns.WA, columns.UA, columns.F1, columns.VALIDATION_WA)
_NUMBERS = (*_RATES, columns.TRAINING_RATIO, columns.CONFIDENCE, *columns.TESTS)
_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys((*_TEXT, columns.LABELS, columns.DECISION, columns.INTERVALS), ("text", types.is_string_dtype)),
    **dict.fromkeys((*_WHOLE, columns.LABEL, columns.PREDICTED), ("whole numbers", types.is_integer_dtype)),
    **dict.fromkeys(_NUMBERS, ("numbers", types.is_numeric_dtype)),
    **dict.fromkeys((columns.PARTIAL, columns.COMPLETE), ("true or false", types.is_bool_dtype)),
}


def checked(frame: pd.DataFrame, name: str, expected: Iterable[str]) -> pd.DataFrame:
    """`frame` itself. Raises ValueError where a column is missing or of another kind than `analysis.columns` says.

    A frame without a line has no kinds.
    """
    missing = [column for column in expected if column not in frame]
    if missing:
        raise ValueError(f"{name}: no column {', '.join(missing)}; has {', '.join(map(str, frame.columns))}")
    for column in expected if len(frame) else ():
        kind, holds = _KINDS.get(column, ("", None))
        if holds is not None and not holds(frame[column]):
            raise ValueError(f"{name}: column {column} is {frame[column].dtype}, expected {kind}")
    return frame
