"""Run what a grid misses in its store: one Ray Tune trial per chain or few, or one after the other in this process.

Every launch works on plan = grid - store. Finished stages are in the store, and unfinished ones go on from their last
checkpoint.
"""

import importlib
import os
import socket
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from data_prep.cluster import breaks_off_without_ray, cluster_resources, ray_session
from data_prep.folders import Folder
from data_prep.shards import PreparedCorpus, SegmentCorpus, load_corpus
from data_prep.signals import held
from dsl.dealt import deal
from sweep.planning.grid import GridSpec
from sweep.planning.halving import validation_of
from sweep.planning.stages import Bundle, Plan, StageSpec, bundled
from sweep.running.display import make_display
from sweep.running.inline import run_inline
from sweep.running.journal import Journal
from sweep.running.limits import Budget, Limited
from sweep.running.ray_tune import import_tune, run_on_ray
from sweep.running.resources import slots, trial_share
from sweep.running.rungs import Rungs
from sweep.running.tally import Tally
from sweep.running.tracking import Trackers
from sweep.running.trials import Trials, Work
from sweep.storage.events import EventLog, new_launch, user
from sweep.storage.lease import UPKEEP, Lease
from sweep.storage.provenance import code_revision, versions
from sweep.storage.store import Store, StoreError

TRAINING = "sweep.running.trial"  # the module that imports torch
PENDING_ON_A_CLUSTER = 32  # trials issued ahead of the machines that an autoscaler is to start for them


@dataclass(frozen=True)
class Outcome:
    """How a launch ended: stages trained in it, the causes of failed chains by their label, and the limit that it
    reached."""

    launch: str
    trained: int
    failures: dict[str, str]
    interrupted: bool
    training_seconds: float = 0.0  # of the stages trained, one after the other
    seconds: float = 0.0
    slots: int = 1
    limited: Limited | None = None  # where a limit kept it from issuing more trials


def launch(
    plan: Plan,
    prepared: Mapping[str, PreparedCorpus],
    store: Store,
    grid: GridSpec,
    *,
    inline: bool = False,
    address: str | None = None,
    quiet: bool = False,
    expected: float | None = None,
    budget: Budget | None = None,
) -> Outcome:
    """Train the stages that `plan` misses. `prepared` maps the grid's names for corpora to what is on disk. A `quiet`
    launch shows no progress; `expected` are the seconds of training that another knows of, one after the other. Trials
    are issued within the `budget`."""
    store.create()
    for one in prepared.values():
        store.add_corpus(one)
    budget = budget or Budget()
    rungs = _rungs(plan, prepared, store, grid)
    bundles = _first_bundles(plan, grid, rungs)
    if not bundles:
        return Outcome("", 0, {}, False)
    store.check_writable()
    stages: dict[str, list[StageSpec]] = {}  # of each corpus
    for chain in plan.unfinished:
        stages.setdefault(chain.last.corpus, []).extend(chain.stages)
    # By whole addresses: Ray is started in another folder.
    needed = [replace(one, folder=Folder(one.folder)) for one in prepared.values() if one.name in stages]

    def load(dealt: bool = False) -> dict[str, SegmentCorpus]:
        corpora = {one.name: load_corpus(one) for one in needed}
        if not dealt:
            return corpora
        folds = {name: [(stage, stage.inner_fold) for stage in stages[name]] for name in corpora}
        return {name: replace(one, dealt=deal(one.utterances, folds[name])) for name, one in corpora.items()}

    with ThreadPoolExecutor(2) as beside:
        loading = beside.submit(load, dealt=not inline)  # while torch is imported, or Ray starts
        if inline:
            importlib.import_module(TRAINING)
            whole = {"cpu": float(grid.resources.cpu), "gpu": float(grid.resources.gpu != 0)}
            corpora = loading.result()
            with started(Work(grid, plan, bundles, store, whole, budget, rungs), 1, quiet, expected) as under_way:
                run_inline(under_way.trials, corpora)
            return under_way.outcome
        importing = beside.submit(import_tune, address)
        with ray_session(address, preload=TRAINING if _all_train(grid, bundles) else ""):
            importing.result()
            cluster = cluster_resources(address)
            share = trial_share(grid.resources, cluster)
            fit = slots(share, cluster, grid.resources.max_concurrent)
            corpora = loading.result()
            work = Work(grid, plan, bundles, store, share, budget, rungs)
            with (
                started(work, fit if rungs else min(fit, len(bundles)), quiet, expected) as under_way,
                breaks_off_without_ray(under_way.trials.break_off),
            ):
                run_on_ray(under_way.trials, corpora, fit if address is None else max(fit, PENDING_ON_A_CLUSTER))
            return under_way.outcome


def _rungs(plan: Plan, prepared: Mapping[str, PreparedCorpus], store: Store, grid: GridSpec) -> Rungs | None:
    """Those of the grid's halving, if it asks for that."""
    halving = grid.scheduler.halving
    if halving is None:
        return None
    return Rungs(plan, halving, validation_of(store.read_stage), grid.names_of(prepared), grid.fuse)


def _first_bundles(plan: Plan, grid: GridSpec, rungs: Rungs | None) -> list[Bundle]:
    """What a launch begins with; what failed before is tried again."""
    if rungs is None:
        return bundled(plan.unfinished, grid.fuse, plan.view)
    return rungs.bundles(rungs.halved(plan.done, ()), plan.done, ())


def _all_train(grid: GridSpec, bundles: list[Bundle]) -> bool:
    """Whether the processes of a local runtime, one for each CPU, all get a trial."""
    at_once = min(len(bundles), grid.resources.max_concurrent or len(bundles))
    return at_once * grid.resources.cpu >= (os.cpu_count() or 1)


@dataclass(frozen=True)
class UnderWay:
    """A launch that has begun: its name, its trials, and what they come to so far."""

    name: str
    trials: Trials
    tally: Tally

    @property
    def outcome(self) -> Outcome:
        """What the launch has come to so far."""
        tally = self.tally
        failures = {self.trials.bundles[number].label: cause for number, cause in sorted(tally.failures.items())}
        seconds = time.monotonic() - tally.started
        of_training = sum(tally.trained.values())
        return Outcome(
            self.name,
            len(tally.trained),
            failures,
            self.trials.interrupted,
            of_training,
            seconds,
            tally.concurrent,
            self.trials.left,
        )


@contextmanager
def started(work: Work, slots: int, quiet: bool = False, expected: float | None = None) -> Iterator[UnderWay]:
    """A launch with its lease, event log and display; `slots` trials run at once."""
    name = new_launch()
    tally = Tally(work.plan, slots, expected)
    if work.rungs is not None:
        tally.goal = frozenset(work.plan.of_chains(work.rungs.halved(work.plan.done, ()).chains).stages)
    begun = time.monotonic()
    store = work.store
    with EventLog(store.folder, name) as events:
        interrupted = True

        def took_over(lost: str) -> None:
            events.write("took_over", launch=lost)

        try:
            with held():
                events.write("launched", slots=slots, **_about(work))
            with (
                Lease(store.folder, name, took_over, ahead=work.plan.to_train) as lease,
                make_display(tally, quiet) as display,
            ):
                check_plan_holds(work.plan, store, lease)
                journal = Journal(events, tally, display, Trackers.of(work.plan, work.grid))
                trials = Trials(work, lease, journal)
                with trials.stalls:
                    yield UnderWay(name, trials, tally)
                trials.close()
                interrupted = trials.interrupted
        finally:
            seconds = time.monotonic() - begun
            with held():
                events.write("finished", trained=len(tally.trained), interrupted=interrupted, seconds=round(seconds, 3))


def _about(work: Work) -> dict[str, Any]:
    """What the event log says of a launch as it begins."""
    return {
        "grid": work.grid.name,
        "user": user(),
        "host": socket.gethostname(),
        "plan": work.plan.counts(),
        "share": dict(work.share),
        "versions": versions(),
        "revision": code_revision(),
    }


def check_plan_holds(plan: Plan, store: Store, lease: Lease) -> None:
    """Raise StoreError where the store is not to be used now, or holds less than the plan says.

    Upkeep may have removed stages since the plan was made. It writes its lease before it looks for those of launches,
    and a launch writes its own before this.
    """
    try:
        upkeep = [name for name in lease.others() if name.startswith(UPKEEP)]
    except OSError:  # a store that says nothing keeps nothing either
        return
    if upkeep:
        raise StoreError(f"store {store.uri} is being tidied up ({upkeep[0]}); launch again when that has ended")
    gone = plan.done.difference(store.keys_like(""))
    if gone:
        raise StoreError(f"{len(gone)} stages were removed from store {store.uri} as the launch began; launch again")
