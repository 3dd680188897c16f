"""Whether anything leaks from test utterances into what is tested on them: estimated, or seen to the last bit.

ser-sweep audit configs/leakage_audit.yaml --data DATA --store STORE
ser-sweep audit GRID.yaml --data DATA --store AUDIT --exact --folds 0 3
"""

import argparse
import json
from typing import Any

from data_prep.addresses import without_secrets
from data_prep.errors import UserError
from ser_sweep.commands.arguments import DONE, FAILED, add_command, of_place, of_shown_results, quietly
from ser_sweep.commands.sweeps import decided, opened
from ser_sweep.commands.terminal import notice, print_failures, progress_bar
from ser_sweep.sweeps import AuditedChain, Sweep

ALTERED = ("labels", "sound")  # dsl.settings.Altered, which takes long to import
IDENTICAL = "identical"


def add(commands: Any) -> None:
    audit = add_command(
        commands,
        "audit",
        run_audit,
        "test whether permuted labels are recognised above chance or, with --exact, whether networks change when "
        "their test utterances change",
        of_shown_results,
        of_place,
        quietly,
    )
    audit.add_argument("--json", action="store_true", help="print a JSON list")
    audit.add_argument(
        "--exact",
        action="store_true",
        help="train chains of the grid, then again with other labels, and with another sound, of their test "
        "utterances; each version of the code has its own folder in the store",
    )
    audit.add_argument(
        "--folds",
        type=fold,
        nargs="+",
        default=[0],
        metavar="FOLD",
        help="with --exact: the folds whose chains are trained (default: 0)",
    )


def fold(text: str) -> int:
    """The number of a fold, from 0."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a fold: 0, 1 and so on")
    return int(text)


def run_audit(options: argparse.Namespace) -> int:
    return _run_exact(options) if options.exact else _run_null_label_test(options)


def _run_null_label_test(options: argparse.Namespace) -> int:
    sweep = opened(options)
    decided(options, sweep)
    from analysis.audit import to_text

    with progress_bar(options, "intervals and tests"):
        findings = sweep.audit()
    print(json.dumps([one.as_dict() for one in findings], indent=2) if options.json else to_text(findings), end="")
    return FAILED if any(one.unexpected for one in findings) else DONE


def _run_exact(options: argparse.Namespace) -> int:
    if options.results is not None:
        raise UserError("audit --exact trains: give GRID.yaml, --data and --store instead of --from")
    sweep = opened(options)
    folds = max(chain.last.folds for chain in sweep.chains)
    beyond = [one for one in options.folds if one >= folds]
    if beyond:
        raise UserError(f"--folds {beyond[0]}: the grid has folds 0 to {folds - 1}")
    for told in sweep.copies:
        notice(options, f"notice: {told}; the audit alters the test recordings alone, and does not see their copies")
    kept = without_secrets(sweep.audit_place)
    notice(options, f"notice: networks of this version of the code are kept in {kept}; any other version trains anew")
    place = {"inline": options.inline, "address": options.address, "quiet": options.quiet}
    outcome, found = sweep.audit_exactly(options.folds, **place)
    if outcome.failures:
        print_failures(outcome.failures)
        return FAILED
    lines = [_line(sweep, check) for check in found]
    print(json.dumps(lines, indent=2) if options.json else _exact_text(lines))
    leaks = any(one[what] != IDENTICAL for one in lines if not one["leaky_source"] for what in ALTERED)
    return FAILED if leaks else DONE


def _line(sweep: Sweep, audited: AuditedChain) -> dict[str, Any]:
    from dsl.labels import LEAKY_LABEL_SOURCES

    last = audited.chain.last
    return {
        "network": sweep.plan.cell_of(last),
        "split": last.split_name,
        "label_source": last.label_source,
        "fold": last.fold,
        "seed": last.seed,
        "leaky_source": last.label_source in LEAKY_LABEL_SOURCES,
        "labels_reaching": audited.labels_reaching,
        "test_utterances": audited.test_utterances,
        **{what: parted.text if parted else IDENTICAL for what, parted in audited.partings.items()},
    }


def _exact_text(lines: list[dict[str, Any]]) -> str:
    """A line for each chain, then where those part that do."""
    from analysis.tables.render import aligned

    head = ["network", "split", "fold", "seed", "test labels that reach it", *(f"other {what}" for what in ALTERED)]
    rows = [
        [
            *(str(one[name]) for name in ("network", "split", "fold", "seed")),
            f"{one['labels_reaching']:,} of {one['test_utterances']:,}",
            *(one[what].partition(":")[0] for what in ALTERED),
        ]
        for one in lines
    ]
    details = [
        f"{one['network']}, {one['split']} split, fold {one['fold']}, seed {one['seed']}, other {what}: {one[what]}"
        for one in lines
        for what in ALTERED
        if one[what] != IDENTICAL
    ]
    return "\n".join([aligned([head, *rows]), *details]).rstrip()
