"""What a launch knows of its trials, and what each of them is to do: the same on Ray and in one process.

An executor (`sweep.running.inline`, `sweep.running.ray_tune`) asks for tasks, has them done, and tells what becomes of
their trials.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from sweep.machine import THIS_MACHINE, Machine
from sweep.planning.grid import GridSpec
from sweep.planning.stages import Bundle, ChainSpec, Plan, kind_of
from sweep.running.chain_queue import ChainQueue
from sweep.running.journal import Journal
from sweep.running.limits import Budget, Limited
from sweep.running.rungs import Rungs
from sweep.running.stalls import Stalls
from sweep.running.task import Task
from sweep.storage.lease import Lease
from sweep.storage.shares import GpuShares
from sweep.storage.store import Store

LOOK_ELSEWHERE_SECONDS = 2.0  # between looks at what other launches have done


@dataclass(frozen=True)
class Work:
    """What a launch is to do: train the `bundles` that a `plan` of `grid` leaves, into `store`. A trial takes a `share`
    of a machine, {"cpu": threads, "gpu": share of a GPU}; all of them have to fit the `budget`. With `rungs`, the
    bundles are those of the first of them."""

    grid: GridSpec
    plan: Plan
    bundles: list[Bundle]
    store: Store
    share: Mapping[str, float]
    budget: Budget = field(default_factory=Budget)
    rungs: Rungs | None = None


class Process(Protocol):
    """The process of a trial."""

    @property
    def place(self) -> str:
        """Where it is, in words."""

    @property
    def after(self) -> str:
        """What becomes of its work once it has ended, in words."""

    def end(self) -> bool:
        """End it, whatever it does; False where that would end this process."""


class Trials:
    """The trials of a launch, those under way and those to come."""

    def __init__(self, work: Work, lease: Lease, journal: Journal, machine: Machine = THIS_MACHINE) -> None:
        self.bundles = work.bundles
        self.store = work.store
        self.resources = work.grid.resources
        self.threads = int(work.share["cpu"])
        self.interrupted = False
        self.given_up: list[int] = []  # bundles whose trial ended with tries left
        self.stalls = Stalls(60 * self.resources.stalled_after_minutes, self._stalled, machine)
        self._processes: dict[str, Process] = {}
        self._keep_weights = _keep_weights(work.grid.weights, work.plan.chains)
        self._shares = GpuShares(work.share["gpu"], work.store)
        self._plan = work.plan
        self._budget = work.budget
        self._budget.slots = journal.tally.concurrent
        self._rungs = work.rungs
        self._lease = lease
        self._journal = journal
        self._again: set[str] = set()  # trials whose bundle is to be issued anew
        self._causes: dict[int, str] = {}
        self._errors: dict[int, str] = {}  # of trials that may be tried again
        self._failed: dict[str, str] = {}  # key of a stage that cannot be trained -> cause
        self._machine = machine
        self._looked = machine.monotonic()
        self.queue = self._queue_of(range(len(self.bundles)))

    def __reduce__(self) -> tuple[Any, ...]:
        # Tune saves itself, with its searcher and callbacks, for a restore, which is never done here.
        return (object, ())

    def start_over(self, numbers: Iterable[int]) -> None:
        """Issue these bundles anew."""
        self.given_up = []
        self.queue = self._queue_of(numbers)

    def next_rung(self) -> bool:
        """Go on to what halving trains next, now that all that was issued has its end; False where that is nothing."""
        if self._rungs is None or self.interrupted or self.limited:
            return False
        self._fail_blocked()
        done = self._journal.tally.done
        halved = self._rungs.halved(done, self._failed)
        bundles = self._rungs.bundles(halved, done, self._failed)
        self._journal.halved(self._rungs.news(halved), halved.chains)
        first = len(self.bundles)
        self.bundles.extend(bundles)
        self.start_over(range(first, len(self.bundles)))
        return bool(bundles)

    def _queue_of(self, numbers: Iterable[int]) -> ChainQueue:
        done = self._journal.tally.done
        return ChainQueue(self.bundles, numbers, done, self._lease.claim, self._lease.release, self._failed)

    @property
    def trained(self) -> int:
        """How many stages were trained so far."""
        return len(self._journal.tally.trained)

    # They begin

    def issue(self, trial: str) -> Task | None:
        """What `trial` is to do; None while there is nothing that can be done."""
        if self.limited:
            return None
        task = self.queue.issue(trial, self._fits)
        if task is None and self.queue.elsewhere and self._machine.monotonic() - self._looked >= LOOK_ELSEWHERE_SECONDS:
            self._look_elsewhere()
            task = self.queue.issue(trial, self._fits)
            if task is None:
                self._budget.waits()
        if task is None and self.limited:
            self._journal.reached(self._budget.reached or "")
        return None if task is None else self._equipped(trial, task)

    def _fits(self, keys: Iterable[str]) -> bool:
        """Whether a trial that trains these stages may be issued."""
        stages = [self._plan.stages[key] for key in keys]
        return self._budget.fits(stages, lambda: self._shares.of(kind_of(stages[0])) or 1.0)

    @property
    def limited(self) -> bool:
        """Whether no more trials are issued, because the next would not fit the launch's limits."""
        return self._budget.reached is not None

    @property
    def over(self) -> bool:
        """Whether nothing runs, and nothing is left that may be issued."""
        return not (self.queue.running or (self.queue.elsewhere and not self.limited))

    @property
    def left(self) -> Limited | None:
        """What is left of the plan where a limit was reached; None where that is nothing."""
        if not self.limited:
            return None
        done = self._journal.tally.done
        chains = self._rungs.halved(done, self._failed).at_most if self._rungs else self._plan.chains
        stages = [stage for key, stage in self._plan.of_chains(chains).stages.items() if key not in done]
        return Limited(self._budget.reached or "", len(stages), self._budget.seconds_of(stages)) if stages else None

    def _equipped(self, trial: str, task: Task) -> Task:
        """The task with what it may take, and what it needs to know."""
        bundle = task.bundle
        gpu, at_once = self._shares.of(bundle.kind), self._shares.at_once(bundle.kind, len(bundle.chains))
        self._journal.issued(trial, bundle, task.stages, gpu)
        done = self._journal.tally.done
        missing = [stage for stage in bundle.stages[: task.stages] if stage.key not in done]
        self._budget.issued(trial, missing, gpu or 1.0)
        return replace(
            task,
            bundle=bundle.bare,
            threads=self.threads,
            gpu=gpu,
            at_once=at_once,
            lease=self._lease.name,
            keep_weights=tuple(stage.key for stage in bundle.stages if stage.key in self._keep_weights),
            checkpoint_seconds=self.resources.checkpoint_seconds,
        )

    def _look_elsewhere(self) -> None:
        """Note what other launches have done of what this one waits for."""
        for key in sorted(self.queue.elsewhere):
            if self.store.has(key):
                self._journal.tally.done.add(key)
                self.queue.stage_done(key)
        self.queue.look_elsewhere()
        self._looked = self._machine.monotonic()

    def began(self, trial: str, process: Process) -> None:
        """A trial is at work, as it may be again after its process ended."""
        self._processes[trial] = process
        self._budget.began(trial)
        self.stalls.heard_of(trial)

    def _stalled(self, trial: str, seconds: float) -> None:
        """Tell that a trial makes no progress and, where the user wants that, end its process."""
        number, process = self.queue.running.get(trial), self._processes.get(trial)
        if number is None or process is None:  # it has ended meanwhile
            return
        place = process.place
        restarted = self.resources.restart_stalled and process.end()
        self._journal.stalled(trial, self.bundles[number], seconds, place, process.after, restarted)

    # They tell

    def on_event(self, trial: str, number: int, event: dict[str, Any]) -> None:
        """Take in an event of a trial (`sweep.running.trial.run_trial`)."""
        self.stalls.heard_of(trial)
        bundle, kind, line = self.bundles[number], event["event"], None
        if kind in ("trained", "reused"):
            self.queue.stage_done(event["key"])
            if kind == "trained" and not event.get("resumed_at_epoch"):
                self._budget.learn(self._plan.stages[event["key"]], event["seconds"])
        elif kind == "failed":
            self._causes[number] = event["cause"]
        elif kind == "error":
            self._errors[number] = event["cause"]
        elif kind == "superseded":
            self._again.add(trial)
        elif kind == "fewer_at_once":
            self._shares.held(bundle.kind, event["gpu"], event["at_once"])
        elif kind == "out_of_memory":
            line = self._ran_out_of_memory(trial, number, event)
        self._journal.on_event(trial, number, bundle, event, line)

    def _ran_out_of_memory(self, trial: str, number: int, event: dict[str, Any]) -> str | None:
        """Give trainings of this kind more of a GPU from now on, and this one another try."""
        bundle = self.bundles[number]
        larger = self._shares.ran_out(bundle.kind, event["gpu"])
        if larger is None:
            self._causes[number] = f"{event['cause']}; lower training.batch_size, or use a GPU with more memory"
            return None
        self._again.add(trial)
        return f"{bundle.label} ran out of memory on {event['gpu']:g} of a GPU; its kind gets {larger:g} from now on"

    # They end

    def ended(self, trial: str) -> None:
        """A trial is over: what it had is free for others."""
        self.died(trial)
        again = trial in self._again
        self._budget.ended(trial, again or self.queue.running.get(trial) in self.given_up)
        self.queue.ended(trial, again)
        self._again.discard(trial)

    def died(self, trial: str) -> None:
        """The process of a trial ended; it may begin again."""
        self.stalls.ended(trial)
        self._processes.pop(trial, None)

    def completed(self, number: int) -> None:
        """A trial came to its end; its bundle failed if it said so."""
        cause = self._causes.pop(number, None)
        if cause is not None:
            self._give_up(number, cause)
        self._end(number, cause)

    def lost(self, number: int) -> None:
        """A trial ended before its tries were used up."""
        self.given_up.append(number)
        self._errors.pop(number, None)
        self._journal.tally.ended(number)

    def broken(self, cause: str) -> None:
        """All trials ended before their tries were used up."""
        for trial, number in self.queue.running.items():
            self._journal.lost(trial, self.bundles[number], cause)
            self._budget.ended(trial, again=True)
            self.lost(number)
        self._journal.broken(cause)

    def fail(self, number: int, cause: str) -> None:
        """Note that a bundle could not be finished, and at which stage. What its trial said of its error comes before
        `cause`."""
        cause = self._errors.pop(number, cause)
        key = self._give_up(number, cause)
        if key is not None:
            self.store.note_failure(key, cause)
        self._journal.failed(self.bundles[number], cause)
        self._end(number, cause)

    def _give_up(self, number: int, cause: str) -> str | None:
        """The key of the stage at which a bundle failed, which no other is to try again; None where all are done."""
        key = next((stage.key for stage in self.bundles[number].stages if not self.store.has(stage.key)), None)
        if key is not None:
            self._failed[key] = cause
            self.queue.stage_failed(key)
        return key

    def break_off(self, cause: str) -> None:
        """Note that this process is about to end, and let go of all chains."""
        self._journal.broken_off(cause)
        self._lease.give_back()

    def close(self) -> None:
        """Note the bundles that could not go on because of stages that failed in others, and end the journal."""
        if not self.interrupted:
            self._fail_blocked()
        left = self.left
        if left is not None and not self.interrupted:
            self._journal.limited(left)
        self._journal.close()

    def _fail_blocked(self) -> None:
        for number, key in self.queue.blocked.items():
            self._journal.tally.ended(number, self._failed[key])
        for number in () if self.limited else self.queue.waiting:
            done = self._journal.tally.done
            iteration = next(stage.iteration for stage in self.bundles[number].stages if stage.key not in done)
            self._end(number, f"iteration {iteration} needs iteration {iteration - 1} of every fold, and one failed")

    def _end(self, number: int, cause: str | None) -> None:
        self._journal.ended(number, self.bundles[number], cause)


def _keep_weights(policy: str, chains: Sequence[ChainSpec]) -> frozenset[str]:
    """The keys of stages whose networks are kept."""
    if policy == "none":
        return frozenset()
    listed = [chain.stages if policy == "all" else (chain.last,) for chain in chains]
    return frozenset(stage.key for stages in listed for stage in stages)
