"""What the paper says, tested on a sweep's results.

ser-sweep claims GRID.yaml --data DATA --store STORE --json
"""

import argparse
from typing import Any

from ser_sweep.commands.arguments import add_command, of_decisions, of_shown_results, quietly
from ser_sweep.commands.sweeps import decided, opened
from ser_sweep.commands.terminal import progress_bar


def add(commands: Any) -> None:
    claims = add_command(
        commands,
        "claims",
        run_claims,
        "test the paper's claims on a grid's results: supported, contradicted, undecided or not tested",
        of_shown_results,
        of_decisions,
        quietly,
    )
    claims.add_argument(
        "--all-metrics",
        action="store_true",
        help="also show each pair's differences in UA and macro-F1 (JSON has them)",
    )
    claims.add_argument("--json", action="store_true", help="print one JSON object")


def run_claims(options: argparse.Namespace) -> None:
    sweep = opened(options)
    decided(options, sweep, options.forests)
    from analysis.paper.claims_text import claims_json_by_setting, claims_text_by_setting

    with progress_bar(options, "intervals and tests"):
        if options.setting:
            found = {sweep.shown: sweep.claims(forests=options.forests)}
        else:
            found = sweep.claims_by_setting(forests=options.forests)
    told = claims_json_by_setting(found) if options.json else claims_text_by_setting(found, options.all_metrics)
    print(told.rstrip())
