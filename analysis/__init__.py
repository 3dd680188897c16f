"""From the stage store to the paper's tables; nothing but the store is read.

    decisions = decide(store, chains)
    print(to_markdown(collect_tables(store, chains, decisions)))

`decide` turns predictions on segments into decisions on utterances, `score_networks` those into recognition rates,
`comparisons` into differences and tests, and `build_tables` sets the rates beside the published ones. Column names are
in `analysis.columns`.
"""

from analysis.collection import collect_tables
from analysis.comparisons import compare, comparisons
from analysis.latex import to_latex
from analysis.render import to_csv, to_json, to_markdown
from analysis.results import decide, keep_results, label_correction, score, score_networks, usable_decisions
from analysis.tables import build_tables

__all__ = [
    "build_tables",
    "collect_tables",
    "compare",
    "comparisons",
    "decide",
    "keep_results",
    "label_correction",
    "score",
    "score_networks",
    "to_csv",
    "to_json",
    "to_latex",
    "to_markdown",
    "usable_decisions",
]
