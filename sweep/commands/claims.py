"""What the paper says, tested on a sweep's results, and whether labels leak into them.

ser-sweep claims GRID.yaml --data DATA --store STORE
ser-sweep audit configs/leakage_audit.yaml --data DATA --store STORE
"""

import argparse
import json
from typing import Any

from data_prep.errors import UserError
from sweep.commands.arguments import DONE, FAILED, GRID_DATA_STORE, add_command, of_grid, quietly
from sweep.commands.sweeps import open_decided
from sweep.commands.terminal import ProgressBar


def add(commands: Any) -> None:
    audit = add_command(
        commands,
        "audit",
        run_audit,
        "the null-label test: whether anything is recognised above chance where labels are permuted",
        "ser-sweep audit configs/leakage_audit.yaml --data DATA --store STORE",
        of_grid(),
        quietly(),
    )
    audit.add_argument("--json", action="store_true", help="a JSON list")
    claims = add_command(
        commands,
        "claims",
        run_claims,
        "what the paper says, tested on a grid's results: supported, contradicted, undecided or not tested",
        f"ser-sweep claims {GRID_DATA_STORE} --json",
        of_grid(),
        quietly(),
    )
    claims.add_argument("--json", action="store_true", help="one JSON object")


def run_audit(options: argparse.Namespace) -> int:
    sweep, decisions = open_decided(options)
    from analysis.audit import audit, to_text

    if sweep.grid.labels == "given":
        raise UserError(
            f"grid {options.grid} has the corpus's own labels, and an audit needs labels: permuted or, where "
            "speakers are left out, permuted_by_speaker; see "
            "configs/leakage_audit.yaml"
        )
    with ProgressBar(options) as progress:
        progress("intervals and tests", 0, None)
        findings = audit(decisions)
    print(json.dumps([one.as_dict() for one in findings], indent=2) if options.json else to_text(findings), end="")
    return FAILED if any(one.unexpected for one in findings) else DONE


def run_claims(options: argparse.Namespace) -> int:
    _, decisions = open_decided(options)
    from analysis.claims import claims_json, claims_text, evaluate_claims

    with ProgressBar(options) as progress:
        progress("intervals and tests", 0, None)
        findings = evaluate_claims(decisions)
    print((claims_json if options.json else claims_text)(findings).rstrip())
    return DONE
