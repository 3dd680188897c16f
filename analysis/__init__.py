"""From the stage store to the paper's tables; nothing but the store is read.

    decisions = decide(store, chains)
    print(to_markdown(collect_tables(store, chains, decisions)))

`decide` turns predictions on segments into decisions on utterances, `score_networks` those into recognition rates,
`comparisons` into differences and tests, and `build_tables` sets the rates beside the published ones. Column names are
in `analysis.columns`, and what networks, treatments and conditions are in `analysis.identity`.
"""

from analysis.scoring.calibration import calibration
from analysis.scoring.comparisons import compare, comparisons
from analysis.scoring.correction import label_correction
from analysis.scoring.results import decide, keep_results, lost_results, usable_decisions
from analysis.scoring.scores import score, score_networks
from analysis.scoring.speakers import score_speakers
from analysis.tables.collection import collect_tables
from analysis.tables.latex import to_latex
from analysis.tables.paper_tables import build_tables
from analysis.tables.render import to_csv, to_json, to_markdown

__all__ = [
    "build_tables",
    "calibration",
    "collect_tables",
    "compare",
    "comparisons",
    "decide",
    "keep_results",
    "label_correction",
    "lost_results",
    "score",
    "score_networks",
    "score_speakers",
    "to_csv",
    "to_json",
    "to_latex",
    "to_markdown",
    "usable_decisions",
]
