"""From the stage store to the paper's tables; nothing but the store is read.

    scores = score(decide(store, chains))
    print(to_markdown(build_tables(scores, scores["corpus"].unique())))

`decide` turns predictions on segments into decisions on utterances, `score` those into recognition rates, and
`build_tables` sets the rates beside the published ones. Column names are in `analysis.columns`.
"""

from analysis.render import to_csv, to_json, to_latex, to_markdown
from analysis.results import decide, score
from analysis.tables import build_tables

__all__ = ["build_tables", "decide", "score", "to_csv", "to_json", "to_latex", "to_markdown"]
