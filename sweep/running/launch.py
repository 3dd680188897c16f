"""Run what a grid misses in its store: one Ray Tune trial per chain or few, or one after the other in this process.

Every launch is a fresh experiment over plan = grid - store. Nothing of Ray's own state is needed to go on after a
kill: finished stages are in the store, and unfinished ones go on from their last checkpoint.
"""

import gc
import importlib
import logging
import os
import pickle
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from data_prep.cluster import breaks_off_without_ray, cluster_resources, ray_session
from data_prep.errors import describe_error
from data_prep.folders import Folder
from data_prep.scratch import scratch_folder
from data_prep.shards import PreparedCorpus, SegmentCorpus, load_corpus
from data_prep.signals import handlers_kept
from data_prep.surroundings import settle_in
from data_prep.text import duration
from sweep.machine import THIS_MACHINE, Machine
from sweep.planning.grid import GridSpec
from sweep.planning.stages import Bundle, ChainSpec, Plan, bundled, kind_of
from sweep.running.chain_queue import ChainQueue, Issue
from sweep.running.progress import Display, Tally, make_display
from sweep.running.resources import GpuShares, slots, trial_share
from sweep.running.stalls import Stalls
from sweep.running.tracking import Trackers
from sweep.storage.events import EventLog, new_launch, user
from sweep.storage.lease import UPKEEP, Lease, LeaseCheck, SupersededError
from sweep.storage.provenance import code_revision, versions
from sweep.storage.store import Store, StoreError

if TYPE_CHECKING:
    from sweep.running.trial import Report

TRAINING = "sweep.running.trial"  # the module that imports torch
MAY_PASS_BY = (OSError, MemoryError, RuntimeError)  # torch raises RuntimeError for the device's errors
LOOK_ELSEWHERE_SECONDS = 2.0  # between looks at what other launches have done
PENDING_ON_A_CLUSTER = 32  # trials issued ahead of the machines that an autoscaler is to start for them


@dataclass(frozen=True)
class Outcome:
    """How a launch ended: stages trained in it, and the causes of failed chains by their label."""

    launch: str
    trained: int
    failures: dict[str, str]
    interrupted: bool
    training_seconds: float = 0.0  # of the stages trained, one after the other
    seconds: float = 0.0
    slots: int = 1


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
) -> Outcome:
    """Train the stages that `plan` misses. `prepared` maps the grid's names for corpora to what is on disk. A `quiet`
    launch shows no progress; `expected` are the seconds of training that another knows of, one after the other."""
    store.create()
    for one in prepared.values():
        store.add_corpus(one)
    bundles = bundled(plan.unfinished, grid.fuse)
    if not bundles:
        return Outcome("", 0, {}, False)
    store.check_writable()
    names = {chain.last.corpus for chain in plan.unfinished}
    # By whole addresses: Ray is started in another folder.
    needed = [replace(one, folder=Folder(one.folder)) for one in prepared.values() if one.name in names]

    def load() -> dict[str, SegmentCorpus]:
        return {one.name: load_corpus(one) for one in needed}

    with ThreadPoolExecutor(2) as beside:
        loading = beside.submit(load)  # while torch is imported, or Ray starts
        if inline:
            importlib.import_module(TRAINING)
            whole = {"cpu": float(grid.resources.cpu), "gpu": float(grid.resources.gpu != 0)}
            corpora = loading.result()
            with _launch(plan, bundles, store, grid, whole, 1, quiet, expected) as running:
                _run_inline(running, corpora)
            return running.outcome
        importing = beside.submit(_import_tune, address)
        at_once = min(len(bundles), grid.resources.max_concurrent or len(bundles))
        all_train = at_once * grid.resources.cpu >= (os.cpu_count() or 1)
        with ray_session(address, preload=TRAINING if all_train else ""):
            importing.result()
            cluster = cluster_resources(address)
            share = trial_share(grid.resources, cluster)
            fit = slots(share, cluster, grid.resources.max_concurrent)
            corpora = loading.result()
            with (
                _launch(plan, bundles, store, grid, share, min(fit, len(bundles)), quiet, expected) as running,
                breaks_off_without_ray(running.break_off),
            ):
                _run_on_ray(running, corpora, fit if address is None else max(fit, PENDING_ON_A_CLUSTER))
            return running.outcome


@contextmanager
def _launch(
    plan: Plan,
    bundles: list[Bundle],
    store: Store,
    grid: GridSpec,
    share: Mapping[str, float],
    slots: int,
    quiet: bool = False,
    expected: float | None = None,
) -> Iterator["Launch"]:
    """A launch with its lease, event log and display."""
    name = new_launch()
    tally = Tally(plan, slots, expected)
    begun = time.monotonic()
    with EventLog(store.folder, name) as events:
        events.write(
            "launched",
            grid=grid.name,
            user=user(),
            host=socket.gethostname(),
            plan=plan.counts(),
            share=dict(share),
            slots=slots,
            versions=versions(),
            revision=code_revision(),
        )
        interrupted = True

        def took_over(lost: str) -> None:
            events.write("took_over", launch=lost)

        try:
            with (
                Lease(store.folder, name, took_over, ahead=plan.to_train) as lease,
                make_display(tally, quiet) as display,
            ):
                check_plan_holds(plan, store, lease)
                running = Launch(name, bundles, store, grid, share, events, lease, tally, display)
                with running.stalls:
                    yield running
                running.close()
                interrupted = running.interrupted
        finally:
            seconds = time.monotonic() - begun
            events.write("finished", trained=len(tally.trained), interrupted=interrupted, seconds=round(seconds, 3))


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


@dataclass(frozen=True)
class Task:
    """What a trial is to do: the first `stages` of a bundle, `at_once` networks side by side on a share of a GPU, and
    which networks to keep, for as long as the launch has its `lease`."""

    number: int
    bundle: Bundle
    stages: int
    gpu: float
    at_once: int
    lease: str | None
    keep_weights: list[str]
    checkpoint_seconds: float


class Process(Protocol):
    """The process of a trial."""

    @property
    def place(self) -> str:
        """Where it is, in words."""
        ...

    @property
    def after(self) -> str:
        """What becomes of its work once it has ended, in words."""
        ...

    def end(self) -> bool:
        """End it, whatever it does; False where that would end this process."""
        ...


class Launch:
    """What a launch knows of its trials; the same for those on Ray and those in this process."""

    def __init__(
        self,
        name: str,
        bundles: list[Bundle],
        store: Store,
        grid: GridSpec,
        share: Mapping[str, float],
        events: EventLog,
        lease: Lease,
        tally: Tally,
        display: Display,
        machine: Machine = THIS_MACHINE,
    ) -> None:
        self.name = name
        self.bundles = bundles
        self.store = store
        self.resources = grid.resources
        self.cpus = int(share["cpu"])
        self.interrupted = False
        self.given_up: list[int] = []  # bundles whose trial ended with tries left
        self.stalls = Stalls(60 * grid.resources.stalled_after_minutes, self._stalled, machine)
        self._processes: dict[str, Process] = {}
        self._keep_weights = _keep_weights(grid.weights, tally.plan.chains)
        self._trackers = Trackers.of(tally.plan, grid)
        self._shares = GpuShares(share["gpu"], store)
        self._events = events
        self._lease = lease
        self._tally = tally
        self._display = display
        self._again: set[str] = set()  # trials whose bundle is to be issued anew
        self._causes: dict[int, str] = {}
        self._errors: dict[int, str] = {}  # of trials that Tune may try again
        self._failed: dict[str, str] = {}  # key of a stage that cannot be trained -> cause
        self._not_recorded: set[tuple[str, str]] = set()  # kinds of trainings and causes that were said
        self._machine = machine
        self._looked = machine.monotonic()
        self.queue = self._queue_of(range(len(bundles)))

    def __reduce__(self) -> tuple[Any, ...]:
        # Tune saves itself, with its searcher and callbacks, for a restore, which is never done here.
        return (object, ())

    def start_over(self, numbers: list[int]) -> None:
        """Issue these bundles anew."""
        self.given_up = []
        self.queue = self._queue_of(numbers)

    def _queue_of(self, numbers: Any) -> ChainQueue:
        return ChainQueue(self.bundles, numbers, self._tally.done, self._lease.claim, self._lease.release, self._failed)

    @property
    def trained(self) -> int:
        """How many stages were trained so far."""
        return len(self._tally.trained)

    @property
    def outcome(self) -> Outcome:
        failures = {self.bundles[number].label: cause for number, cause in sorted(self._tally.failures.items())}
        trained = self._tally.trained
        seconds = time.monotonic() - self._tally.started
        at_once = self._tally.concurrent
        return Outcome(self.name, len(trained), failures, self.interrupted, sum(trained.values()), seconds, at_once)

    # Trials begin

    def issue(self, trial: str) -> "Task | None":
        """What `trial` is to do; None while there is nothing that can be done."""
        issue = self.queue.issue(trial)
        if issue is None and self.queue.elsewhere and self._since_a_look >= LOOK_ELSEWHERE_SECONDS:
            self._look_elsewhere()
            issue = self.queue.issue(trial)
        return None if issue is None else self._task(trial, issue)

    @property
    def over(self) -> bool:
        """Whether nothing runs, and nothing is left to issue."""
        return not (self.queue.running or self.queue.elsewhere)

    def _task(self, trial: str, issue: Issue) -> "Task":
        bundle = self.bundles[issue.number]
        kind = _kind_of(bundle)
        gpu, at_once = self._shares.of(kind), self._shares.at_once(kind, len(bundle.chains))
        keep = [stage.key for stage in bundle.stages if stage.key in self._keep_weights]
        self._events.write("issued", trial=trial, chain=bundle.label, stages=issue.stages, gpu=gpu)
        seconds = self.resources.checkpoint_seconds
        return Task(issue.number, bundle.bare, issue.stages, gpu, at_once, self._lease.name, keep, seconds)

    @property
    def _since_a_look(self) -> float:
        return self._machine.monotonic() - self._looked

    def _look_elsewhere(self) -> None:
        """Note what other launches have done of what this one waits for."""
        for key in sorted(self.queue.elsewhere):
            if self.store.has(key):
                self._tally.done.add(key)
                self.queue.stage_done(key)
        self.queue.look_elsewhere()
        self._looked = self._machine.monotonic()

    def began(self, trial: str, process: Process) -> None:
        """A trial is at work, as it may be again after its process ended."""
        self._processes[trial] = process
        self.stalls.heard_of(trial)

    def _stalled(self, trial: str, seconds: float) -> None:
        """Tell that a trial makes no progress and, where the user wants that, end its process."""
        number, process = self.queue.running.get(trial), self._processes.get(trial)
        if number is None or process is None:  # it has ended meanwhile
            return
        bundle = self.bundles[number]
        place = process.place
        restarted = self.resources.restart_stalled and process.end()
        facts = {"trial": trial, "chain": bundle.label, "seconds": round(seconds), "place": place}
        self._events.write("stalled", **facts, restarted=restarted)
        remedy = (
            f"its process was ended; {process.after}"
            if restarted
            else f"look whether it waits for a disk, a GPU or memory; if it is ended, {process.after}. "
            "resources.restart_stalled: true in the grid ends it on Ray; resources.stalled_after_minutes says how long "
            "to wait"
        )
        self._display.update(f"STALLED {bundle.label}: no progress for {duration(seconds)}, {place}: {remedy}")

    # Trials report

    def reported(self, trial: str, number: int, event: dict[str, Any]) -> None:
        """Take in an event of a trial (`sweep.running.trial.run_trial`)."""
        self.stalls.heard_of(trial)
        bundle, kind, line = self.bundles[number], event["event"], None
        if kind in ("steps", "epoch", "trained", "reused"):
            self._tally.reported(number, bundle, event)
        self._trackers.took(event)
        if kind in ("trained", "reused"):
            self.queue.stage_done(event["key"])
        if kind == "trained":
            line = f"trained {self._tally.plan.label_of(event['key'])}, in {event['seconds']:.1f} s"
        if kind == "failed":
            self._causes[number] = event["cause"]
        if kind == "error":
            self._errors[number] = event["cause"]
        if kind == "superseded":
            self._again.add(trial)
        if kind == "fewer_at_once":
            line = self._trains_fewer(bundle, event)
        if kind == "resumed_elsewhere":
            line = _resumed_words(self._tally.plan.label_of(event["key"]), event["under"])
        if kind == "not_recorded":
            line = self._does_not_record(bundle, event["cause"])
        if kind == "out_of_memory":
            line = self._ran_out_of_memory(trial, number, event)
        if kind not in ("steps", "epoch"):
            self._events.write(**{"trial": trial, "chain": bundle.label, **event})
        self._display.update(line)

    def _trains_fewer(self, bundle: Bundle, event: dict[str, Any]) -> str:
        """Note that a share of a GPU holds fewer networks side by side than it was given."""
        kind, share, at_once = _kind_of(bundle), event["gpu"], event["at_once"]
        self._shares.held(kind, share, at_once)
        return f"{bundle.label} ran out of memory; {share:g} of a GPU trains {at_once} of {kind} at once from now on"

    def _does_not_record(self, bundle: Bundle, cause: str) -> str | None:
        """Said once for each kind of training and cause."""
        said = _kind_of(bundle), cause
        if said in self._not_recorded:
            return None
        self._not_recorded.add(said)
        return f"{said[0]} is trained step by step, not as recorded CUDA graphs, which are faster: {cause}"

    def _ran_out_of_memory(self, trial: str, number: int, event: dict[str, Any]) -> str | None:
        """Give trainings of this kind more of a GPU from now on, and this one another try."""
        bundle = self.bundles[number]
        larger = self._shares.ran_out(_kind_of(bundle), event["gpu"])
        if larger is None:
            self._causes[number] = f"{event['cause']}; lower training.batch_size, or use a GPU with more memory"
            return None
        self._again.add(trial)
        return f"{bundle.label} ran out of memory on {event['gpu']:g} of a GPU; its kind gets {larger:g} from now on"

    # Trials end

    def ended(self, trial: str) -> None:
        """A trial is over: what it had is free for others."""
        self._forget(trial)
        self.queue.ended(trial, again=trial in self._again)
        self._again.discard(trial)

    def _forget(self, trial: str) -> None:
        self.stalls.ended(trial)
        self._processes.pop(trial, None)

    def died(self, trial: str) -> None:
        """The process of a trial ended; it may begin again."""
        self._forget(trial)

    def completed(self, number: int) -> None:
        """A trial came to its end; its chain failed if it said so."""
        cause = self._causes.pop(number, None)
        if cause is not None:
            self._give_up(number, cause)
        self._end(number, cause)

    def lost(self, number: int) -> None:
        """A trial ended before its tries were used up."""
        self.given_up.append(number)
        self._errors.pop(number, None)
        self._tally.ended(number)

    def broken(self, cause: str) -> None:
        """All trials ended before their tries were used up."""
        for trial, number in self.queue.running.items():
            self._events.write("lost", trial=trial, chain=self.bundles[number].label, cause=cause)
            self.lost(number)
        self._display.update(f"all trials ended, and go on from their checkpoints: {cause}")

    def fail(self, number: int, cause: str) -> None:
        """Note that a chain could not be finished, and at which stage. What its trial said of its error comes before
        `cause`."""
        cause = self._errors.pop(number, cause)
        key = self._give_up(number, cause)
        if key is not None:
            self.store.record_failure(key, cause)
        self._events.write("failed", chain=self.bundles[number].label, cause=cause)
        self._end(number, cause)

    def _give_up(self, number: int, cause: str) -> str | None:
        """The key of the stage at which a chain failed, which no other is to try again; None where all are done."""
        key = next((stage.key for stage in self.bundles[number].stages if not self.store.has(stage.key)), None)
        if key is not None:
            self._failed[key] = cause
            self.queue.stage_failed(key)
        return key

    def break_off(self, cause: str) -> None:
        """Note that this process is about to end, and let go of all chains."""
        self._events.write("finished", trained=self.trained, interrupted=True, cause=cause)
        self._lease.give_back()

    def close(self) -> None:
        """Note the chains that could not go on, and end what trackers still show as running."""
        self._fail_blocked()
        self._trackers.close()

    def _fail_blocked(self) -> None:
        """Note the chains that cannot go on because of stages that failed in others."""
        if self.interrupted:
            return
        for number, key in self.queue.blocked.items():
            self._tally.ended(number, self._failed[key])
        for number in self.queue.waiting:
            missing = self.queue.first_missing(number)
            iteration = next(stage.iteration for stage in self.bundles[number].stages if stage.key == missing)
            self._end(number, f"iteration {iteration} needs iteration {iteration - 1} of every fold, and one failed")

    def _end(self, number: int, cause: str | None) -> None:
        self._tally.ended(number, cause)
        self._display.update(None if cause is None else f"FAILED  {self.bundles[number].label}: {cause}")


def _resumed_words(label: str, under: Mapping[str, tuple[str, str]]) -> str:
    changes = ", ".join(f"{name} {before} -> {now}" for name, (before, now) in under.items())
    return f"{label} goes on under other conditions than it began, and may come to other last bits: {changes}"


def _kind_of(bundle: Bundle) -> str:
    return kind_of(bundle.chains[0].last)


def _keep_weights(policy: str, chains: Sequence[ChainSpec]) -> frozenset[str]:
    """The keys of stages whose networks are kept."""
    if policy == "none":
        return frozenset()
    listed = [chain.stages if policy == "all" else (chain.last,) for chain in chains]
    return frozenset(stage.key for stages in listed for stage in stages)


def train(task: Task, corpora: Mapping[str, SegmentCorpus], store: Store, cpus: int, report: "Report") -> None:
    """Do a task that `Launch.issue` gave. An error that may pass by, such as that of a device or a file server that
    does not answer, is raised; any other is reported."""
    from sweep.running.trial import run_trial  # a launch that leaves training to others needs no torch

    with errors_reported(task, report):
        run_trial(
            task.bundle,
            corpora,
            store,
            report,
            threads=cpus,
            gpu=task.gpu,
            stages=task.stages,
            at_once=task.at_once,
            keep_weights=task.keep_weights,
            checkpoint_seconds=task.checkpoint_seconds,
            check=LeaseCheck(store.folder, task.lease),
        )


@contextmanager
def errors_reported(task: Task, report: "Report") -> Iterator[None]:
    """Report what ends a trial before its time, and raise what may pass by."""
    from sweep.running.trial import OutOfMemory

    try:
        yield
    except SupersededError:
        report({"events": [{"event": "superseded"}]})
    except OutOfMemory as error:
        said = {"event": "out_of_memory", "key": error.stage.key, "gpu": task.gpu, "cause": str(error)}
        report({"events": [said]})
    except MAY_PASS_BY as error:
        report({"events": [{"event": "error", "cause": describe_error(error)}]})
        raise
    except Exception as error:
        report({"events": [{"event": "failed", "cause": describe_error(error)}]})


def until_nothing_is_left(launch: Launch, experiment: Callable[[], str | None]) -> None:
    """Run experiments over a launch's queue until every chain was done or has failed. An experiment returns what broke
    it off, with trials that have tries left; None where each came to its end."""
    tries, trained = 0, 0
    while True:
        broken = experiment()
        # Tune gives a trial up, whatever tries it has left, when its process dies while it is being handed over
        # from the trial before it.
        if broken is not None:
            launch.broken(broken)
        else:
            launch.interrupted = bool(launch.queue.running) or launch.queue.ready
        if launch.interrupted or not launch.given_up:
            return
        tries, trained = (tries + 1 if launch.trained == trained else 0), launch.trained
        left = [*launch.given_up, *launch.queue.waiting]
        if tries > launch.resources.max_failures:
            break
        launch.start_over(left)
    for number in launch.given_up if broken is None else left:
        launch.fail(number, broken or "its process ended again and again")


# In this process


class ThisProcess:
    """Of trials one after the other: it cannot be ended without the launch."""

    place = f"in this process ({os.getpid()})"
    after = "the same command goes on from the last checkpoint"

    def end(self) -> bool:
        return False


def _run_inline(launch: Launch, corpora: Mapping[str, SegmentCorpus]) -> None:
    trial = "inline"
    while True:
        task = launch.issue(trial)
        if task is None and launch.over:
            return
        if task is None:
            time.sleep(LOOK_ELSEWHERE_SECONDS)
            continue
        number = task.number
        launch.began(trial, ThisProcess())

        def report(said: dict[str, Any], number: int = number) -> None:
            for event in said["events"]:
                launch.reported(trial, number, event)

        try:
            train(task, corpora, launch.store, launch.cpus, report)
        except KeyboardInterrupt:
            launch.interrupted = True
            return
        except MAY_PASS_BY as error:  # one trial's failure must not stop the rest
            report({"events": [{"event": "failed", "cause": describe_error(error)}]})
        launch.ended(trial)
        launch.completed(number)


# On Ray


def _import_tune(address: str | None) -> None:
    # Tune reads these when it is imported: the store keeps the results, so its own logs and snapshots are not needed.
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")
    from ray.tune.execution import class_cache

    if address is None:
        # A local runtime's processes have this one's environment. Tune would ask for those of a few variables of its
        # own, which none of them is when it starts: all that were started ahead would end for others to be started.
        class_cache.DEFAULT_ENV_VARS = {}
        class_cache.ENV_VARS_TO_PROPAGATE = set()


def _run_on_ray(launch: Launch, corpora: Mapping[str, SegmentCorpus], at_once: int) -> None:
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(at_once)  # with a searcher, Tune's own number is one
    from ray import tune

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failures are told by the display, in a line each
    cpus = launch.cpus
    trainable = tune.with_resources(
        tune.with_parameters(_tune_trial, corpora=corpora, store_uri=launch.store.uri, cpus=cpus),
        lambda config: tune.PlacementGroupFactory([_bundle(cpus, config["gpu"])]),
    )
    gc.freeze()  # the plan stays to the end: the collector need not go through it again and again
    until_nothing_is_left(launch, lambda: _run_experiment(trainable, launch, at_once))


def _bundle(cpus: int, gpu: float) -> dict[str, float]:
    return {"CPU": cpus, "GPU": gpu} if gpu else {"CPU": cpus}


def _run_experiment(trainable: Any, launch: Launch, at_once: int) -> str | None:
    """One Tune experiment over the bundles of the launch's queue, `at_once` trials issued at a time; what broke it off.

    One that is issued beyond what the machines hold has a place made for it that it then does not use, because it gets
    the process of a trial that ended: no more are issued, but where an autoscaler is to see them waiting.
    """
    from ray import tune
    from ray.exceptions import RayError

    with scratch_folder() as scratch:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=_tune_searcher(launch),
                num_samples=-1,  # until the searcher has nothing more
                reuse_actors=True,
                max_concurrent_trials=launch.resources.max_concurrent or at_once,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=str(scratch.folder),
                callbacks=[_tune_watcher(launch)],
                failure_config=tune.FailureConfig(max_failures=launch.resources.max_failures, fail_fast=False),
                verbose=0,
            ),
        )
        try:
            with handlers_kept():
                tuner.fit()
        except RuntimeError as error:
            # Tune knows of processes that die, but not of those that Ray ends because a machine's memory is full.
            if not isinstance(error.__cause__, RayError):
                raise
            return str(error.__cause__).partition(". ")[0]
    return None


class ActorProcess:
    """Of a trial that Tune runs, in an actor of Ray's."""

    after = "the trial is tried again from its last checkpoint"

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    @property
    def place(self) -> str:
        from ray._private import state

        about = state.actors(self._actor._actor_id.hex())
        if not about:
            return "in a process that Ray knows nothing of any more"
        return f"on node {about['Address']['IPAddress']} (process {about['Pid']})"

    def end(self) -> bool:
        import ray

        ray.kill(self._actor)
        return True


def _tune_trial(config: dict[str, Any], corpora: dict[str, SegmentCorpus], store_uri: str, cpus: int) -> None:
    """The Tune trainable. Raising an error makes Tune try the trial again."""
    from ray import tune

    settle_in()
    task = pickle.loads(bytes.fromhex(config["task"]))
    train(task, corpora, Store(store_uri), cpus, tune.report)


def _tune_searcher(launch: Launch) -> Any:
    """A Tune searcher that issues the chains of a launch; a class made here, because its base needs Ray."""
    from ray.tune.search import Searcher

    class QueueSearcher(Searcher):
        def suggest(self, trial_id: str) -> Any:
            task = launch.issue(trial_id)
            if task is None:
                return Searcher.FINISHED if launch.over else None
            # Tune copies configurations, again and again, and a string is cheaply copied.
            return {"number": task.number, "gpu": task.gpu, "task": pickle.dumps(task).hex()}

        def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
            launch.ended(trial_id)

        def save(self, checkpoint_path: str) -> None: ...
        def restore(self, checkpoint_path: str) -> None: ...

    return QueueSearcher()


def _tune_watcher(launch: Launch) -> Any:
    """A Tune callback that tells a launch of its trials; a class made here, because its base needs Ray."""
    from ray import tune

    class Watcher(tune.Callback):
        def __init__(self) -> None:
            self._seen = 0
            self._without_process: list[Any] = []

        def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
            # A trial has its process before Tune takes it to have started, which may hang, too.
            self._without_process += trials[self._seen :]
            self._seen = len(trials)
            for trial in [one for one in self._without_process if one.temporary_state.ray_actor is not None]:
                self._without_process.remove(trial)
                self.on_trial_start(iteration, trials, trial)

        def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
            launch.began(trial.trial_id, ActorProcess(trial.temporary_state.ray_actor))

        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
        ) -> None:
            for event in result.get("events", ()):
                launch.reported(trial.trial_id, trial.config["number"], event)

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
            launch.completed(trial.config["number"])

        def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
            launch.died(trial.trial_id)
            self._without_process.append(trial)

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
            if trial.should_recover():
                launch.lost(trial.config["number"])
            else:
                launch.fail(trial.config["number"], _cause_of(trial))

    return Watcher()


def _cause_of(trial: Any) -> str:
    """The error that ended a Tune trial, without the layers of errors it was wrapped in on its way."""
    error = trial.get_pickled_error()
    while error is not None and getattr(error, "cause", None) is not None:
        error = error.cause
    return describe_error(error) if error is not None else "the trial's process ended without saying why"
