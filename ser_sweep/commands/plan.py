"""What a grid comes to, before it is run.

ser-sweep plan GRID.yaml --data DATA --store STORE --probe --price-per-hour 2.50
ser-sweep plan GRID.yaml --data DATA --store STORE --why 'emodb densenet22 wdsl 0.2 fold 3 seed 0'
ser-sweep plan GRID.yaml --data DATA --store STORE --diff CHANGED.yaml
"""

import argparse
import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from data_prep.errors import UserError
from data_prep.text import counted
from ser_sweep.commands.arguments import add_command, count, of_grid, path, price
from ser_sweep.commands.sweeps import opened
from ser_sweep.commands.terminal import halving_json, print_counts, print_halving
from ser_sweep.sweeps import Sweep, open_sweep

if TYPE_CHECKING:
    from sweep.planning.cost import Estimate
    from sweep.planning.differences import Change
    from sweep.planning.explain import Reason
    from sweep.planning.grid import GridSpec
    from sweep.planning.probe import Probe
    from sweep.planning.stages import StageSpec


def add(commands: Any) -> None:
    plan = add_command(
        commands,
        "plan",
        run_plan,
        "show how much work a grid is: trials, stages, shared and missing ones, hours and cost",
        of_grid,
    )
    plan.add_argument("--json", action="store_true", help="print one JSON object")
    plan.add_argument(
        "--concurrency", type=count, help="number of trials at a time (default: as many as this machine holds)"
    )
    plan.add_argument("--price-per-hour", type=price, help="price of a GPU or, without GPUs, of a trial's CPUs")
    plan.add_argument(
        "--probe", action="store_true", help="measure speeds by training a few batches of each new backbone"
    )
    instead = plan.add_mutually_exclusive_group()
    instead.add_argument(
        "--why",
        metavar="NAME",
        help="say why a stage (the beginning of its key) or the stages of a chain (its label) are to be trained",
    )
    instead.add_argument(
        "--diff",
        type=path,
        metavar="OTHER.yaml",
        help="say what this changed grid adds to GRID.yaml, keeps of it and leaves unused",
    )


def run_plan(options: argparse.Namespace) -> None:
    sweep = opened(options)
    if options.why is not None:
        _print_reasons(sweep.why(options.why), options.json)
    elif options.diff is not None:
        _print_change(sweep.changed_to(open_sweep(options.diff, options.data, options.store)), options.json)
    else:
        _print_plan(sweep, options)


def _print_plan(sweep: Sweep, options: argparse.Namespace) -> None:
    from sweep.planning.label_flow import leaks_of
    from sweep.planning.stages import kind_of

    plan = sweep.plan
    leaks = leaks_of(plan.chains, sweep.prepared.values())
    probes = _probe_unknown(sweep) if options.probe else {}
    estimated = sweep.estimate({kind: one.speed for kind, one in probes.items()})
    concurrency = options.concurrency or _slots_here(sweep.grid)
    tables = {heading: plan.counts_of(keys) for heading, keys in _needed(sweep).items()}
    if options.json:
        about = {
            "leaks": [asdict(one) for one in leaks],
            "notices": sweep.notices,
            "tables": tables,
            "estimate": estimated.as_dict(concurrency, options.price_per_hour),
        }
        about |= halving_json(sweep)
        print(json.dumps({**plan.as_dict(), **about, "probes": {k: asdict(p) for k, p in probes.items()}}, indent=2))
        return
    print(f"trials  {len(plan.chains)}, of which {len(plan.unfinished)} have something left to train")
    print(f"stages  {len(plan.stages)} ({plan.naive_stages} if no chain shared any)")
    print_counts(plan)
    print_halving(sweep)
    if sweep.settings.fields:
        print(f"setting {sweep.shown.text} ({sweep.why_shown}): what tables show")
    print("tables  and the stages that each needs; one that several need is trained once")
    width = max(map(len, tables))
    for heading, counts in tables.items():
        print(f"        {heading:{width}} {counts['total']:6,}: {counts['done']:,} done, {counts['missing']:,} missing")
    for leak in leaks:
        print(f"leak    {leak.text}")
    for told in (*sweep.notices, *estimated.untaught):
        print(f"notice  {told}")
    for kind, one in probes.items():
        _print_probe(kind, one, next(stage for stage in plan.to_train.values() if kind_of(stage) == kind))
    if estimated.stages:
        _print_estimate(estimated, concurrency, options.price_per_hour)


def _print_reasons(reasons: "list[Reason]", as_json: bool) -> None:
    if as_json:
        print(json.dumps({"why": [one.as_dict() for one in reasons]}, indent=2))
        return
    for one in reasons:
        told = one.text.replace("\n", "\n    ")
        print(f"{one.label} ({one.key})\n  {told}")


def _print_change(change: "Change", as_json: bool) -> None:
    if as_json:
        print(json.dumps(change.as_dict(), indent=2))
        return
    print("fields  in which the grids differ" if change.fields else "fields  the grids differ in none")
    for field, (before, after) in change.fields.items():
        print(f"        {field}: {before}, now {after}")
    for kind, one in change.in_all.items():
        print(f"{kind:13}  {counted(one.stages, 'stage'):>12}, of which {one.done:,} done")
    width = max(map(len, change.cells))
    for cell, by_kind in change.cells.items():
        told = [f"{kind} {one.stages:,} ({one.done:,} done)" for kind, one in by_kind.items() if one.stages]
        print(f"        {cell:{width}}  {', '.join(told)}")


def _needed(sweep: Sweep) -> dict[str, set[str]]:
    """Heading of each table that `tables` will have -> keys of the stages that it needs."""
    from analysis.scoring.stored import told_by_name
    from analysis.tables.settings_compared import SETTINGS_COMPARED
    from analysis.tables.settings_tables import SETTINGS
    from analysis.tables.table_stages import stages_by_table, stages_compared
    from data_prep.corpora import known_name

    shown = {chain.last.corpus for chain in sweep.shown_chains}
    corpora = {one.name: one for one in sweep.prepared.values() if one.name in shown}
    names = told_by_name({name: known_name(one.manifest) for name, one in corpora.items()})
    with_truth = [name for name, one in corpora.items() if "true_labels" in one.utterances()]
    found = stages_by_table(sweep.shown_chains, names, with_truth)
    if not sweep.settings.fields:
        return found
    others = [chain for setting in sweep.settings if setting != sweep.shown for chain in sweep.settings.chains[setting]]
    of_all = {one.name: known_name(one.manifest) for one in sweep.prepared.values()}
    compared = stages_compared(sweep.shown_chains, others, of_all)
    return {**found, SETTINGS: set(sweep.plan.stages), **({SETTINGS_COMPARED: compared} if compared else {})}


def _print_probe(kind: str, probe: "Probe", stage: "StageSpec") -> None:
    """How fast a kind is, and what a GPU makes of layouts, precisions and several networks side by side."""
    from sweep.planning.probe import advice

    memory = ""
    if probe.memory is not None:
        memory = f", {probe.memory / 1e6:,.0f} MB: resources.gpu: {probe.gpu_share:.4g} would do"
    print(f"probe   {kind}: {probe.segments_per_second:,.0f} segments/s on {probe.device}{memory}")
    for one in probe.choices:
        print(
            f"        {one.layout:13}  {one.precision:8}  {counted(one.at_once, 'network'):11}  "
            f"{one.segments_per_second:>9,.0f} segments/s"
            f"  {one.memory / 1e6:>8,.0f} MB  recorded: {one.recorded}"
        )
    said = advice(probe, stage)
    if said is not None:
        print(f"        the fastest with precision {stage.training.precision}: write {said} in the grid")


def _print_estimate(estimated: "Estimate", concurrency: int, per_hour: float | None) -> None:
    from data_prep.text import duration

    print(f"missing {'at most ' if estimated.at_most else ''}{counted(estimated.updates, 'segment update')}")
    print(f"        {estimated.bytes / 1e6:,.1f} MB of predictions")
    if estimated.unknown:
        kinds = ", ".join(estimated.unknown)
        print(f"        hours and price unknown: no stage of {kinds} is in the store yet; --probe measures them")
        return
    print(
        f"        {estimated.device_seconds / 3600:,.2f} device-hours, "
        f"{duration(estimated.wall_seconds(concurrency))} with {counted(concurrency, 'trial')} at once"
    )
    if per_hour is not None:
        print(f"        price {estimated.price(per_hour):,.2f}, at {per_hour:g} a device-hour")
    for kind, basis in estimated.basis.items():
        print(f"        from {basis} ({kind})")


def _probe_unknown(sweep: Sweep) -> "dict[str, Probe]":
    """A probe of each kind of training that is missing and of which the store holds no stage."""
    from sweep.planning.cost import speeds_of
    from sweep.planning.probe import probe
    from sweep.planning.stages import kind_of

    known = speeds_of(sweep.records)
    by_name = {one.name: one for one in sweep.prepared.values()}
    found: dict[str, Probe] = {}
    for key, stage in sweep.plan.stages.items():
        if key not in sweep.plan.done and kind_of(stage) not in {*known, *found}:
            one = by_name[stage.corpus]
            found[kind_of(stage)] = probe(stage, len(one.classes), one.settings, sweep.grid.resources.cpu)
    return found


def _slots_here(grid: "GridSpec") -> int:
    """Trials that run at once if the grid is run on this machine."""
    from sweep.running.resources import gpus_here, slots, trial_share

    here = {"CPU": float(os.cpu_count() or 1), "GPU": float(gpus_here())}
    try:
        return slots(trial_share(grid.resources, here), here, grid.resources.max_concurrent)
    except UserError:  # the grid is for a larger machine
        return grid.resources.max_concurrent or 1
