"""The command `ser-sweep`: parses, calls, prints.

Exit status: 0 when everything asked for is done, 1 when some trials failed, an audit finds a leak or a store has
problems, 2 for bad usage or input, 130 when interrupted.
"""

import argparse
import errno
import json
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from data_prep.shards import PreparedCorpus
    from sweep.cost import Estimate, Rate
    from sweep.grid import GridSpec
    from sweep.probe import Probe
    from sweep.stages import ChainSpec, Plan
    from sweep.store import Store

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except UserError as error:
        return _fail(options, str(error))
    except OSError as error:
        if error.errno == errno.EPIPE:  # the reader of a pipe, such as head, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return DONE
        where = f" ({error.filename})" if error.filename else ""
        return _fail(options, f"{error.strerror or error}{where}")
    except Exception as error:
        return _fail(options, f"unexpected {type(error).__name__}: {error}\n--debug shows where it was raised")
    except KeyboardInterrupt:
        print("\ninterrupted; repeat the command to go on", file=sys.stderr)
        return INTERRUPTED


def _fail(options: argparse.Namespace, message: str) -> int:
    if options.debug:
        traceback.print_exc()
    print(f"ser-sweep: {message}", file=sys.stderr)
    return BAD_INPUT


# Commands


def run_prepare(options: argparse.Namespace) -> int:
    import pandas as pd

    from data_prep.corpora import read_corpus, settings_for
    from data_prep.prepare import prepare
    from data_prep.synthetic import SyntheticCorpus, read_truth, write_corpus

    truth: pd.DataFrame | None = None
    settings = settings_for(options.corpus, options.segment_ms, options.hop_ms, options.framing)
    if options.corpus == "synthetic":
        if options.source is None and "://" in options.out:
            raise UserError(f"prepare synthetic --out {options.out} needs --source: a folder here for its audio files")
        source = options.source or Path(options.out) / "audio" / f"synthetic-seed{options.seed}"
        utterances, partial = read_corpus("manifest", write_corpus(source, SyntheticCorpus(seed=options.seed)))
        truth = read_truth(source / "truth.csv")
    elif options.source is None:
        raise UserError(f"prepare {options.corpus} needs --source: the corpus's folder, or the manifest's CSV file")
    else:
        utterances, partial = read_corpus(options.corpus, options.source, options.allow_partial)
    name = options.name or options.corpus
    with _progress_bar() as progress:
        done = prepare(
            name,
            utterances,
            options.out,
            settings,
            truth=truth,
            partial=partial,
            inline=options.inline,
            address=options.address,
            progress=progress,
        )
    manifest = done.corpus.manifest
    for notice in done.notices:
        print(f"notice: {notice}")
    if partial:
        print(f"notice: {options.corpus} is a part of the corpus here, not to be compared with figures for all of it")
    print(f"{done.corpus.folder}")
    print(f"  utterances  {manifest['utterances']:,} by {manifest['speakers']} speakers, {manifest['seconds']:,.0f} s")
    print("  classes     " + ", ".join(f"{emotion} {count}" for emotion, count in manifest["classes"].items()))
    print(f"  segments    {manifest['segments']:,}")
    size = sum(shard["bytes"] for shard in manifest["shards"]) / 1e6
    print(f"  shards      {len(manifest['shards'])} ({size:.1f} MB): {done.made} made, {done.kept} kept")
    return DONE


def run_corpora(options: argparse.Namespace) -> int:
    from data_prep.corpora.overview import corpora_table, table_1
    from data_prep.shards import list_prepared

    table = table_1(None if options.data is None else list_prepared(options.data))
    print(corpora_table(), table, sep="\n\n")
    return DONE


def run_fetch(options: argparse.Namespace) -> int:
    from data_prep.download import fetch

    with _progress_bar() as progress:
        folder, made = fetch(options.corpus, options.out, options.url, progress)
    print(f"{folder}{'' if made else ' (was there before)'}")
    print(f"prepare it with: ser-sweep prepare {options.corpus} --source {folder} --out DATA")
    return DONE


def run_plan(options: argparse.Namespace) -> int:
    from analysis.needs import stages_by_table

    sweep = _open(options)
    plan = sweep.plan
    probes = _probe_unknown(sweep) if options.probe else {}
    estimated = _estimate(sweep, {kind: one.rate for kind, one in probes.items()})
    concurrency = options.concurrency or _slots_here(sweep.grid)
    needed = stages_by_table(plan.chains)
    times = Counter(key for keys in needed.values() for key in keys)
    tables = {
        number: {**plan.counts_of(keys), "shared": sum(times[key] > 1 for key in keys)}
        for number, keys in needed.items()
    }
    if options.json:
        about = {"tables": tables, "estimate": estimated.as_dict(concurrency, options.price_per_hour)}
        print(json.dumps({**plan.as_dict(), **about, "probes": {k: asdict(p) for k, p in probes.items()}}, indent=2))
        return DONE
    print(f"trials  {len(plan.chains)}, of which {len(plan.unfinished)} have something left to train")
    print(f"stages  {len(plan.stages)} ({plan.naive_stages} if no chain shared any)")
    _print_counts(plan)
    for number, counts in tables.items():
        print(
            f"  Table {number:3} needs {counts['total']:5,}: {counts['done']:,} done, {counts['missing']:,} missing; "
            f"{counts['shared']:,} are in other tables, too"
        )
    elsewhere = len(plan.stages) - len(times)
    if elsewhere:
        print(f"  {elsewhere:,} are in none of them, and in the tables of all networks")
    for kind, one in probes.items():
        print(f"probe   {kind}: {one.segments_per_second:,.0f} segments/s on {one.device}{_memory_words(one)}")
    if estimated.stages:
        _print_estimate(estimated, concurrency, options.price_per_hour)
    return DONE


def _memory_words(probe: "Probe") -> str:
    if probe.memory is None:
        return ""
    return f", {probe.memory / 1e6:,.0f} MB: resources.gpu: {probe.gpu_share:.4g} would do"


def _print_estimate(estimated: "Estimate", concurrency: int, per_hour: float | None) -> None:
    from sweep.progress import duration

    print(f"missing {'at most ' if estimated.at_most else ''}{estimated.updates:,} segment updates")
    print(f"        {estimated.bytes / 1e6:,.1f} MB of predictions")
    if estimated.unknown:
        kinds = ", ".join(estimated.unknown)
        print(f"        hours and price unknown: no stage of {kinds} is in the store yet; --probe measures them")
        return
    print(
        f"        {estimated.device_seconds / 3600:,.2f} device-hours, "
        f"{duration(estimated.wall_seconds(concurrency))} with {concurrency} trials at once"
    )
    if per_hour is not None:
        print(f"        price {estimated.price(per_hour):,.2f}, at {per_hour:g} a device-hour")
    for kind, basis in estimated.basis.items():
        print(f"        from {basis} ({kind})")


def _estimate(sweep: "_Sweep", rates: "dict[str, Rate] | None" = None) -> "Estimate":
    """What the missing stages come to, by what the store's own say, and by `rates` for kinds it has none of."""
    from sweep.cost import bytes_per_segment, estimate, rates_of
    from sweep.shares import AUTO_GPU_SHARE

    share = sweep.grid.resources.gpu
    known = {**(rates or {}), **rates_of(sweep.records)}
    gpu = AUTO_GPU_SHARE if share == "auto" else float(share)
    return estimate(sweep.plan, sweep.prepared.values(), known, gpu, bytes_per_segment(sweep.records))


def _probe_unknown(sweep: "_Sweep") -> "dict[str, Probe]":
    """A probe of each kind of training that is missing and of which the store holds no stage."""
    from sweep.cost import rates_of
    from sweep.probe import probe
    from sweep.shares import kind_of

    known = rates_of(sweep.records)
    by_name = {one.name: one for one in sweep.prepared.values()}
    found: dict[str, Probe] = {}
    for key, stage in sweep.plan.stages.items():
        if key not in sweep.plan.done and kind_of(stage) not in {*known, *found}:
            one = by_name[stage.corpus]
            found[kind_of(stage)] = probe(stage, len(one.classes), one.settings, sweep.grid.resources.cpu)
    return found


def _slots_here(grid: "GridSpec") -> int:
    """Trials that run at once if the grid is run on this machine."""
    import torch

    from sweep.shares import slots, trial_share

    here = {"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}
    try:
        return slots(trial_share(grid.resources, here), here, grid.resources.max_concurrent)
    except UserError:  # the grid is for a larger machine
        return grid.resources.max_concurrent or 1


def run_status(options: argparse.Namespace) -> int:
    if options.json:
        return _print_json(_open(options).plan)
    if not options.watch:
        _print_status(_open(options))
        return DONE
    while True:
        sweep = _open(options)
        if sys.stdout.isatty():
            print("\033[H\033[2J", end="")  # to the top of a cleared screen
        _print_status(sweep)
        sys.stdout.flush()
        stages = sweep.plan.counts()
        if stages["done"] == stages["total"]:
            return DONE
        time.sleep(options.every)


def _print_status(sweep: "_Sweep") -> None:
    from sweep.events import launches_of, read_events
    from sweep.progress import duration
    from sweep.upkeep import running_launches

    cells = sweep.plan.progress_by_cell()
    width = max(map(len, cells))
    for cell, (done, total) in cells.items():
        print(f"{cell:{width}}  {done:4} of {total}")
    _print_counts(sweep.plan)
    running = running_launches(sweep.store)
    for one in launches_of(read_events(sweep.store.folder, running)):
        print(
            f"running {one.launch} by {one.user} on {one.host}: {one.trained} trained in {duration(one.seconds)}, "
            f"{one.running} running"
        )


def run_launches(options: argparse.Namespace) -> int:
    from sweep.events import launches_of, read_events

    store = _existing_store(options)
    launches = launches_of(read_events(store.folder))
    if options.json:
        print(json.dumps([asdict(one) for one in launches], indent=2))
        return DONE
    print(
        f"{'launch':26} {'by':10} {'grid':16} {'trained':>7} {'reused':>6} {'failed':>6} {'hours':>7} {'device-h':>8}"
    )
    for one in launches:
        who, hours, device = one.user[:10], one.seconds / 3600, one.device_seconds / 3600
        print(
            f"{one.launch:26} {who:10} {one.grid[:16]:16} {one.trained:7,} {one.reused:6,} {one.failed:6,} "
            f"{hours:7.2f} {device:8.2f}{'' if one.finished else '  did not end by itself, or runs'}"
        )
    total = sum(one.device_seconds for one in launches) / 3600
    price = "" if options.price_per_hour is None else f", price {total * options.price_per_hour:,.2f}"
    print(f"{len(launches)} launches, {total:,.2f} device-hours in all{price}")
    return DONE


def run_sweep(options: argparse.Namespace) -> int:
    from sweep.cost import estimate_beside_truth
    from sweep.launch import launch

    sweep = _open(options)
    damaged = sweep.store.discard_damaged(sweep.plan.done)
    if damaged:
        print(f"notice: {len(damaged)} damaged stages are trained again: {', '.join(damaged)}", file=sys.stderr)
        sweep = _open(options)
    sweep.store.discard_leftovers(sweep.plan.done)
    outcome = launch(
        sweep.plan, sweep.prepared, sweep.store, sweep.grid, inline=options.inline, address=options.address
    )
    if outcome.interrupted:
        print("interrupted; finished stages are kept. Go on with the same command:", file=sys.stderr)
        print(f"  ser-sweep {' '.join(sys.argv[1:])}", file=sys.stderr)
        return INTERRUPTED
    estimated = _estimate(sweep)
    stages = _open(options).plan.counts()
    reused = len(sweep.plan.done)
    print(f"{stages['done']} of {stages['total']} stages done: {outcome.trained} trained, {reused} were there before")
    if outcome.trained:
        print(estimate_beside_truth(estimated, outcome.training_seconds, outcome.seconds, outcome.slots))
    _print_failures(outcome.failures)
    return DONE if stages["done"] == stages["total"] else FAILED


def run_tables(options: argparse.Namespace) -> int:
    from analysis import collect_tables, to_csv, to_json, to_latex, to_markdown

    sweep, decisions = _decided(options, forests=not options.no_forests)
    tables = collect_tables(sweep.store, sweep.plan.chains, decisions, options.test_chosen)
    render: Callable[..., str] = {"md": to_markdown, "latex": to_latex, "csv": to_csv, "json": to_json}[options.format]
    text = render(tables).rstrip()
    if options.out is None:
        print(text)
    else:
        from data_prep.files import atomic_path

        options.out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(options.out) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
        print(f"wrote {options.out}", file=sys.stderr)
    return DONE


def run_figures(options: argparse.Namespace) -> int:
    from analysis.figures import figures_of, save_figures

    sweep, decisions = _decided(options)
    drawings = figures_of(sweep.store, sweep.plan.chains, decisions, options.utterance)
    saved = save_figures(drawings, options.out, options.format)
    print(f"{len(saved)} figures in {options.out}, described in {options.out / 'index.json'}")
    return DONE


def run_audit(options: argparse.Namespace) -> int:
    from analysis.audit import audit, to_text

    sweep, decisions = _decided(options)
    if sweep.grid.labels != "permuted":
        raise UserError(
            f"grid {options.grid} has the corpus's own labels, and an audit needs labels: permuted; see "
            "configs/leakage_audit.yaml"
        )
    findings = audit(decisions)
    print(json.dumps([one.as_dict() for one in findings], indent=2) if options.json else to_text(findings), end="")
    return FAILED if any(one.unexpected for one in findings) else DONE


def run_claims(options: argparse.Namespace) -> int:
    from analysis.claims import claims_json, claims_text, evaluate_claims

    _, decisions = _decided(options)
    findings = evaluate_claims(decisions)
    print((claims_json if options.json else claims_text)(findings).rstrip())
    return DONE


def run_demo(options: argparse.Namespace) -> int:
    """Prepare, run and tables on the synthetic corpus, as a user would call them."""
    data, store = str(options.out / "data"), str(options.out / "store")
    with as_file(files("configs") / "demo.yaml") as grid:
        steps = [
            ["prepare", "synthetic", "--out", data],
            ["run", str(grid), "--data", data, "--store", store],
            ["tables", str(grid), "--data", data, "--store", store],
        ]
        for step in steps:
            print(f"\n$ ser-sweep {' '.join(step)}", flush=True)
            status = main([*step, "--debug"] if options.debug else step)
            if status != DONE:
                return status
    return DONE


def run_store_verify(options: argparse.Namespace) -> int:
    from sweep.upkeep import repair, verify

    store = _existing_store(options)
    with _progress_bar() as progress:
        problems = verify(store, progress)
    if options.json:
        print(json.dumps([asdict(problem) for problem in problems], indent=2))
    else:
        for problem in problems:
            print(f"{problem.path}: {problem.what}")
        print(f"problems: {len(problems)}" if problems else "everything in the store is whole")
    if not (options.repair and problems):
        return FAILED if problems else DONE
    left = repair(store, problems)
    for problem in problems:
        if problem not in left:
            print(f"removed {problem.path}", file=sys.stderr)
    stages = sum(problem.remedy == "train" for problem in problems)
    print(f"stages that the next ser-sweep run trains again: {stages}", file=sys.stderr)
    if left:
        print(f"problems that the store alone cannot make good: {len(left)}", file=sys.stderr)
    return FAILED if left else DONE


def run_store_gc(options: argparse.Namespace) -> int:
    from analysis import usable_decisions
    from sweep.upkeep import delete_garbage, find_garbage

    store = _existing_store(options)
    grids = [_expand(path, options.data, store) for path in options.grids]
    needed = {stage.key: stage for _, _, chains in grids for chain in chains for stage in chain.stages}
    corpora = {one.name for _, prepared, _ in grids for one in prepared.values()}
    records = list(store.records())
    decisions = {key for _, _, chains in grids for key in usable_decisions(records, chains)}
    garbage = find_garbage(store, needed, decisions, corpora)
    for kind, found in garbage.files.items():
        print(f"{kind:12} {len(found):9,}  {garbage.size(kind) / 1e6:10,.1f} MB")
    if not garbage:
        print("the grids need all that the store holds")
    elif options.delete:
        with _progress_bar() as progress:
            delete_garbage(store, garbage, progress)
        print("deleted")
    else:
        print("nothing was deleted; repeat the command with --delete to delete this")
    return DONE


def run_store_export(options: argparse.Namespace) -> int:
    from sweep.export import export

    if (options.grid is None) != (options.data is None):
        raise UserError("store export of one grid needs both the grid file and --data")
    store = _existing_store(options)
    plan = None if options.grid is None else _open(options).plan
    with _progress_bar() as progress:
        count = export(store, options.out, None if plan is None else plan.done, progress)
    of_grid = "" if plan is None else f" of the grid's {len(plan.stages)}"
    print(f"{count} stages{of_grid} in {options.out}: stages.parquet and predictions/")
    return DONE


# Shared by the commands


def _existing_store(options: argparse.Namespace) -> "Store":
    from sweep.store import Store

    store = Store(options.store)
    if not store.exists:
        raise UserError(f"there is no store at {options.store}; ser-sweep run makes one")
    return store


class _Sweep:
    """A grid with its data and its store, and the plan they give."""

    def __init__(
        self,
        grid: "GridSpec",
        prepared: "dict[str, PreparedCorpus]",
        store: "Store",
        plan: "Plan",
        records: "list[dict[str, Any]]",
    ) -> None:
        self.grid = grid
        self.prepared = prepared
        self.store = store
        self.plan = plan
        self.records = records  # stage.json of all that the store holds


def _open(options: argparse.Namespace) -> _Sweep:
    from sweep.stages import Plan
    from sweep.store import Store

    store = Store(options.store)
    grid, prepared, chains = _expand(options.grid, options.data, store)
    records = list(store.records())
    plan = Plan.of(chains, (record["key"] for record in records), store.failures())
    return _Sweep(grid, prepared, store, plan, records)


def _expand(path: Path, data: str, store: "Store") -> "tuple[GridSpec, dict[str, PreparedCorpus], list[ChainSpec]]":
    """A grid file, its data and its chains. Raises UserError, also where the store is of other data."""
    from sweep.grid import load_grid, resolve_corpora

    grid = load_grid(path)
    prepared = resolve_corpora(grid, data)
    for name, one in prepared.items():
        store.check_corpus(one, asked_for=name)
    return grid, prepared, grid.expand(prepared)


def _decided(options: argparse.Namespace, forests: bool = True) -> "tuple[_Sweep, pd.DataFrame]":
    """A grid, and the decisions on utterances of what its store holds. Raises UserError where that is nothing."""
    from analysis import decide

    sweep = _open(options)
    if not sweep.plan.done:
        raise UserError(
            f"store {options.store} holds no stage of {options.grid}; train them with: ser-sweep run {options.grid} "
            f"--data {options.data} --store {options.store}"
        )
    decisions = decide(sweep.store, sweep.plan.chains, **({} if forests else {"forest_seeds": 0}))
    if decisions.empty:
        raise UserError(
            f"all stages of {options.grid} in store {options.store} are damaged; ser-sweep run repairs them"
        )
    return sweep, decisions


def _print_json(plan: "Plan") -> int:
    print(json.dumps(plan.as_dict(), indent=2))
    return DONE


def _print_counts(plan: "Plan") -> None:
    stages = plan.counts()
    print(f"        {stages['done']} done, {stages['missing']} missing, {stages['failed']} failed")
    _print_failures({plan.label_of(key): cause for key, cause in plan.failed.items()})


def _print_failures(failures: dict[str, str]) -> None:
    if failures:
        print(f"{len(failures)} failed:")
    for label, cause in failures.items():
        print(f"  {label}: {cause}")


class _progress_bar:  # noqa: N801
    """Progress of what takes long in a terminal that has rich; nothing elsewhere."""

    def __enter__(self) -> Callable[[str, int, int], None]:
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}
        if sys.stderr.isatty():
            try:
                from rich.console import Console
                from rich.progress import Progress

                self._bar = Progress(console=Console(stderr=True), transient=True)
                self._bar.__enter__()
            except ImportError:
                pass
        return self._update

    def __exit__(self, *raised: Any) -> None:
        if self._bar is not None:
            self._bar.__exit__(*raised)

    def _update(self, what: str, done: int, total: int) -> None:
        if self._bar is None:
            return
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what, total=total)
        self._bar.update(self._tasks[what], completed=done)


def build_parser() -> argparse.ArgumentParser:
    from data_prep.corpora import CORPORA

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    sweep = argparse.ArgumentParser(add_help=False, parents=[common])
    sweep.add_argument("grid", type=Path, metavar="GRID.yaml", help="the grid file; see configs/")
    sweep.add_argument("--data", required=True, help="folder of prepared corpora: a path or an address")
    sweep.add_argument("--store", required=True, help="stage store: a folder or an address such as s3://bucket/folder")
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument("--inline", action="store_true", help="work in this process, without Ray")
    place.add_argument("--address", help="a Ray cluster's address, or auto; a local runtime is started otherwise")

    parser = argparse.ArgumentParser(
        prog="ser-sweep",
        description="Sweeps of deep self-learning for segment-based speech emotion recognition.",
    )
    parser.add_argument("--version", action="version", version=f"ser-sweep {_version()}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(
        name: str, run: Callable[..., int], help: str, example: str, *parents: Any, group: Any = commands
    ) -> argparse.ArgumentParser:
        command = group.add_parser(
            name,
            help=help,
            description=help,
            epilog="example: " + example.replace("\n", "\n         "),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=list(parents),
        )
        command.set_defaults(run=run)
        return command

    corpora = add(
        "corpora",
        run_corpora,
        "corpora, how to get them, and the paper's Table I beside what is prepared",
        "ser-sweep corpora --data DATA",
        common,
    )
    corpora.add_argument("--data", help="folder of prepared corpora (default: the paper's lines only)")
    fetch = add(
        "fetch",
        run_fetch,
        "download a corpus whose licence allows it, or tell where to ask for it",
        "ser-sweep fetch emodb --out ~/corpora",
        common,
    )
    fetch.add_argument("corpus", choices=[name for name in CORPORA if name != "manifest"])
    fetch.add_argument("--out", type=Path, required=True, help="folder in which the corpus gets a folder of its name")
    fetch.add_argument("--url", help="a mirror of the archive; its checksum must be the same")
    prepare = add(
        "prepare",
        run_prepare,
        "turn a corpus into Parquet shards of segment spectrograms",
        "ser-sweep prepare emodb --source ~/corpora/emodb --out DATA\n"
        "ser-sweep prepare savee --source ~/corpora/SAVEE --out DATA --framing counted\n"
        "ser-sweep prepare manifest --source mine.csv --name mine --out DATA --segment-ms 215",
        common,
        place,
    )
    prepare.add_argument("corpus", choices=[*CORPORA, "synthetic"])
    prepare.add_argument("--source", type=Path, help="the corpus's folder; for manifest, the CSV file")
    prepare.add_argument("--out", required=True, help="folder of prepared corpora: a path or an address (s3://...)")
    prepare.add_argument("--name", help="another name for the corpus, for manifests (default: manifest)")
    prepare.add_argument("--allow-partial", action="store_true", help="accept a corpus of which files are missing")
    prepare.add_argument(
        "--segment-ms", type=int, help="length of a segment: 215, 225, ... 415 (default: 335, 32 frames)"
    )
    prepare.add_argument(
        "--hop-ms", type=int, help="from a segment to the next one: 10, 20, ... (default: 10; casia: 30)"
    )
    prepare.add_argument(
        "--framing",
        choices=["described", "counted"],
        help="savee: frames as the paper describes them (default), or those that give its number of segments",
    )
    prepare.add_argument("--seed", type=int, default=0, help="of the synthetic corpus (default: 0)")

    same = "GRID.yaml --data DATA --store STORE"
    plan = add(
        "plan",
        run_plan,
        "what a grid comes to: trials, stages, what is shared and missing, hours and money",
        f"ser-sweep plan {same} --probe --price-per-hour 2.50",
        sweep,
    )
    plan.add_argument("--json", action="store_true", help="one JSON object")
    plan.add_argument("--concurrency", type=_count, help="trials at once (default: as many as this machine holds)")
    plan.add_argument("--price-per-hour", type=_price, help="of a GPU, or without any of a trial's CPUs")
    plan.add_argument(
        "--probe", action="store_true", help="train a few batches of each backbone that the store has no stage of"
    )
    status = add("status", run_status, "how far a grid is, and what failed", f"ser-sweep status {same} --watch", sweep)
    status.add_argument("--json", action="store_true", help="one JSON object")
    status.add_argument("--watch", action="store_true", help="again and again, until all is done")
    status.add_argument("--every", type=_count, default=5, metavar="SECONDS", help="between looks (default: 5)")
    launches = add(
        "launches",
        run_launches,
        "who has run what on a store, what came of it and what it cost",
        "ser-sweep launches --store STORE --price-per-hour 2.50",
        common,
    )
    launches.add_argument("--store", required=True, help="stage store: a folder or an address")
    launches.add_argument(
        "--price-per-hour", type=_price, help="of a device: a GPU, or without any the CPUs of a trial"
    )
    launches.add_argument("--json", action="store_true", help="a JSON list")
    add("run", run_sweep, "train what a grid misses in its store", f"ser-sweep run {same}", sweep, place)
    tables = add(
        "tables",
        run_tables,
        "the paper's Tables I to V, ours beside the published values, and every network beside its baseline",
        f"ser-sweep tables {same} --format latex --out tables.tex",
        sweep,
    )
    tables.add_argument("--format", choices=["md", "latex", "csv", "json"], default="md")
    tables.add_argument("--out", type=Path, help="write to this file instead of the terminal")
    tables.add_argument(
        "--test-chosen", action="store_true", help="show the iterations that the test folds would choose, too"
    )
    tables.add_argument(
        "--no-forests",
        action="store_true",
        help="mean pooling only, for a quick look: forests take seconds for each network and seed, the first time",
    )
    figures = add(
        "figures",
        run_figures,
        "recall by class, contours, learning curves and what else there is to see, as PNG and SVG",
        f"ser-sweep figures {same} --out FIGURES --utterance 03a01Fa",
        sweep,
    )
    figures.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write figures to")
    figures.add_argument(
        "--utterance",
        nargs="+",
        default=[],
        metavar="ID",
        help="utterances to draw contours along (default: the longest of each corpus that was tested)",
    )
    figures.add_argument(
        "--format", nargs="+", choices=["png", "svg"], default=["png", "svg"], help="(default: png svg)"
    )
    audit = add(
        "audit",
        run_audit,
        "the null-label test: whether anything is recognised above chance where labels are permuted",
        "ser-sweep audit configs/leakage_audit.yaml --data DATA --store STORE",
        sweep,
    )
    audit.add_argument("--json", action="store_true", help="a JSON list")
    claims = add(
        "claims",
        run_claims,
        "what the paper says, tested on a grid's results: supported, contradicted or undecided",
        f"ser-sweep claims {same} --json",
        sweep,
    )
    claims.add_argument("--json", action="store_true", help="one JSON object")
    _add_store_commands(commands, add, common)
    demo = add("demo", run_demo, "prepare, run and tables on synthetic speech, in minutes", "ser-sweep demo", common)
    demo.add_argument("--out", type=Path, default=Path("demo-output"), help="folder (default: demo-output)")
    return parser


def _add_store_commands(commands: Any, add: Callable[..., argparse.ArgumentParser], common: Any) -> None:
    help = "look after a store: verify, gc, export"
    store = commands.add_parser("store", help=help, description=help)
    group = store.add_subparsers(metavar="COMMAND", required=True)
    where = argparse.ArgumentParser(add_help=False, parents=[common])
    where.add_argument("--store", required=True, help="stage store: a folder or an address such as s3://bucket/folder")
    verify = add(
        "verify",
        run_store_verify,
        "read the whole store and tell what is damaged or does not belong there (exit status 1 if anything)",
        "ser-sweep store verify --store STORE --repair",
        where,
        group=group,
    )
    verify.add_argument("--repair", action="store_true", help="remove it, so that ser-sweep run trains it again")
    verify.add_argument("--json", action="store_true", help="a JSON list")
    gc = add(
        "gc",
        run_store_gc,
        "what none of the given grids needs, and with --delete away with it",
        "ser-sweep store gc configs/paper.yaml configs/emodb_lite.yaml --data DATA --store STORE",
        where,
        group=group,
    )
    gc.add_argument("grids", type=Path, nargs="+", metavar="GRID.yaml", help="the grids whose stages are kept")
    gc.add_argument("--data", required=True, help="folder of prepared corpora: a path or an address")
    gc.add_argument("--delete", action="store_true", help="really delete it")
    export = add(
        "export",
        run_store_export,
        "predictions of all stages, or of one grid, as a Parquet data set for DuckDB, polars or pandas",
        "ser-sweep store export --store STORE --out EXPORT",
        where,
        group=group,
    )
    export.add_argument("grid", type=Path, nargs="?", metavar="GRID.yaml", help="only the stages of this grid")
    export.add_argument("--data", help="folder of prepared corpora, with GRID.yaml")
    export.add_argument("--out", required=True, metavar="DIR", help="a new folder, or an address (s3://...)")


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _price(text: str) -> float:
    try:
        price = float(text)
    except ValueError:
        price = -1.0
    if not 0 <= price < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a price: a number of at least 0")
    return price


def _version() -> str:
    from importlib.metadata import version

    return version("ser-dsl-sweep")


if __name__ == "__main__":
    sys.exit(main())
