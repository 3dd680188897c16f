"""Whether anything leaks from test utterances into what is tested on them: estimated, or seen to the last bit.

ser-sweep audit configs/leakage_audit.yaml --data DATA --store STORE
ser-sweep audit GRID.yaml --data DATA --store AUDIT --exact --folds 0 3
"""

import argparse
import json
from typing import TYPE_CHECKING, Any

from data_prep.errors import UserError
from ser_sweep.commands.arguments import DONE, FAILED, add_command, of_place, of_results, quietly
from ser_sweep.commands.sweeps import open_decided, open_sweep
from ser_sweep.commands.terminal import ProgressBar, print_failures

if TYPE_CHECKING:
    from sweep.planning.stages import ChainSpec

ALTERED = ("labels", "sound")  # dsl.settings.Altered, which takes long to import
IDENTICAL = "identical"


def add(commands: Any) -> None:
    audit = add_command(
        commands,
        "audit",
        run_audit,
        "the null-label test: whether anything is recognised above chance where labels are permuted; or, with --exact, "
        "whether networks come to other bits where the utterances they are tested on are others",
        "ser-sweep audit configs/leakage_audit.yaml --data DATA --store STORE\n"
        "ser-sweep audit GRID.yaml --data DATA --store AUDIT --exact --folds 0 3",
        of_results(),
        of_place(),
        quietly(),
    )
    audit.add_argument("--json", action="store_true", help="a JSON list")
    audit.add_argument(
        "--exact",
        action="store_true",
        help="train chains of the grid, and again with other labels, and with another sound, of their test utterances",
    )
    audit.add_argument(
        "--folds", type=fold, nargs="+", default=[0], metavar="FOLD", help="with --exact: whose chains (default: 0)"
    )


def fold(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a fold: 0, 1 and so on")
    return int(text)


def run_audit(options: argparse.Namespace) -> int:
    return _run_exact(options) if options.exact else _run_null_label_test(options)


def _run_null_label_test(options: argparse.Namespace) -> int:
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


def _run_exact(options: argparse.Namespace) -> int:
    from dsl.labels import LEAKY_LABEL_SOURCES
    from sweep.exact_audit import check_networks_kept, checks_of, needed_chains, parting
    from sweep.planning.label_flow import labels_reaching
    from sweep.planning.stages import Plan
    from sweep.running.launch import launch

    if options.results is not None:
        raise UserError("audit --exact trains: give GRID.yaml, --data and --store instead of --from")
    sweep = open_sweep(options)
    beyond = [one for one in options.folds if one >= sweep.grid.folds]
    if beyond:
        raise UserError(f"--folds {beyond[0]}: the grid has folds 0 to {sweep.grid.folds - 1}")
    checks = checks_of(sweep.plan.chains, set(options.folds))
    keeping = sweep.grid.model_copy(update={"weights": "all"})
    chains, done = needed_chains(checks), sweep.store.done_keys()
    check_networks_kept(sweep.store, chains, done)
    plan = Plan.of(chains, done, sweep.store.failures())
    place = {"inline": options.inline, "address": options.address, "quiet": options.quiet}
    outcome = launch(plan, sweep.prepared, sweep.store, keeping, **place)
    if outcome.interrupted:
        raise KeyboardInterrupt
    if outcome.failures:
        print_failures(outcome.failures)
        return FAILED
    flow = labels_reaching([check.chain for check in checks], sweep.prepared.values())
    found: dict[ChainSpec, dict[str, Any]] = {}
    for check in checks:
        last, parted = check.chain.last, parting(sweep.store, check)
        reaching, tested = flow[last.key]
        about = {
            "network": sweep.plan.cell_of(last),
            "split": last.split,
            "fold": last.fold,
            "seed": last.seed,
            "leaky_source": last.label_source in LEAKY_LABEL_SOURCES,
            "labels_reaching": reaching,
            "test_utterances": tested,
        }
        found.setdefault(check.chain, about)[check.alteration.what] = parted.text if parted else IDENTICAL
    lines = list(found.values())
    print(json.dumps(lines, indent=2) if options.json else _exact_text(lines))
    return FAILED if any(_parts(one) and not one["leaky_source"] for one in lines) else DONE


def _parts(line: dict[str, Any]) -> bool:
    return any(line[what] != IDENTICAL for what in ALTERED)


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
