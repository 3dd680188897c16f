"""Run what a grid misses in its store: one Ray Tune trial per chain, or one after the other in this process.

Every launch is a fresh experiment over plan = grid - store. Nothing of Ray's own state is needed to go on after a
kill: finished stages are in the store, and unfinished ones go on from their last epoch's checkpoint.
"""

import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from data_prep.cluster import ray_session
from data_prep.errors import UserError
from data_prep.shards import PreparedCorpus, SegmentCorpus, load_corpus
from sweep.grid import Resources
from sweep.progress import Display, Tally, make_display
from sweep.searcher import ChainQueue
from sweep.stages import ChainSpec, Plan
from sweep.store import Store
from sweep.trial import describe_error, run_trial

MAY_PASS_BY = (OSError, MemoryError, RuntimeError)  # torch raises RuntimeError for the device's errors
AUTO_GPU_SHARE = 0.25  # of a GPU for each trial: the networks are small


@dataclass(frozen=True)
class Outcome:
    """How a launch ended: stages trained in it, and the causes of failed chains by their label."""

    trained: int
    failures: dict[str, str]
    interrupted: bool


def launch(
    plan: Plan,
    prepared: Mapping[str, PreparedCorpus],
    store: Store,
    resources: Resources,
    *,
    inline: bool = False,
    address: str | None = None,
) -> Outcome:
    """Train the stages that `plan` misses. `prepared` maps the grid's names for corpora to what is on disk."""
    store.create()
    for one in prepared.values():
        store.add_corpus(one)
    chains = plan.unfinished
    if not chains:
        return Outcome(0, {}, False)
    needed = {chain.last.corpus for chain in chains}
    corpora = {one.name: load_corpus(one) for one in prepared.values() if one.name in needed}
    if inline:
        return _launch_inline(plan, chains, corpora, store, resources)
    with ray_session(address):
        return _launch_on_ray(plan, chains, corpora, store, resources)


def _launch_inline(
    plan: Plan,
    chains: list[ChainSpec],
    corpora: Mapping[str, SegmentCorpus],
    store: Store,
    resources: Resources,
) -> Outcome:
    tally = Tally(plan, concurrent=1)
    gpu = resources.gpu != 0
    interrupted = False
    queue = ChainQueue(chains, range(len(chains)), tally.done)
    with make_display(tally) as display:
        while issue := queue.issue("inline"):
            number, chain, cause = issue.number, chains[issue.number], None
            try:
                listener = _Listener(tally, display, number, chain)
                run_trial(chain, corpora, store, listener, threads=resources.cpu, gpu=gpu, stages=issue.stages)
            except KeyboardInterrupt:
                interrupted = True
                break
            except Exception as error:  # one trial's failure must not stop the rest
                cause = describe_error(error)
            for key in tally.done:
                queue.stage_done(key)
            queue.ended("inline")
            _end_trial(tally, display, number, chain, cause)
        if not interrupted:
            _fail_blocked(queue, tally, display, chains)
    return _outcome(tally, chains, interrupted)


def _fail_blocked(queue: ChainQueue, tally: Tally, display: Display, chains: list[ChainSpec]) -> None:
    """Note the chains that cannot go on because other folds failed."""
    for number in queue.waiting:
        iteration = next(stage.iteration for stage in chains[number].stages if stage.key == queue.first_missing(number))
        cause = f"iteration {iteration} needs iteration {iteration - 1} of every fold, and one failed"
        _end_trial(tally, display, number, chains[number], cause)


class _Listener:
    """Passes a trial's reports on to the tally and the display."""

    def __init__(self, tally: Tally, display: Display, number: int, chain: ChainSpec) -> None:
        self._tally = tally
        self._display = display
        self._number = number
        self._chain = chain

    def __call__(self, said: dict[str, Any]) -> None:
        self._tally.reported(self._number, self._chain, said)
        line = None
        if said["event"] == "trained":
            line = f"trained {self._tally.plan.label_of(said['key'])}, in {said['seconds']:.1f} s"
        self._display.update(line)


def _end_trial(tally: Tally, display: Display, number: int, chain: ChainSpec, cause: str | None) -> None:
    tally.ended(number, cause)
    display.update(None if cause is None else f"FAILED  {chain.label}: {cause}")


def _outcome(tally: Tally, chains: list[ChainSpec], interrupted: bool) -> Outcome:
    failures = {chains[number].label: cause for number, cause in sorted(tally.failures.items())}
    return Outcome(len(tally.trained), failures, interrupted)


def _launch_on_ray(
    plan: Plan,
    chains: list[ChainSpec],
    corpora: Mapping[str, SegmentCorpus],
    store: Store,
    resources: Resources,
) -> Outcome:
    # Tune reads these when it is imported: the store keeps the results, so its own logs and snapshots are not needed.
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")
    # Trials issued ahead of the resources they wait for; with a searcher, Tune's own number is one.
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "32")
    import ray
    from ray import tune

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failures are told by the display, in a line each
    share = trial_share(resources, ray.cluster_resources())
    slots = _slots(share, ray.cluster_resources(), resources.max_concurrent)
    tally = Tally(plan, concurrent=min(slots, len(chains)))
    trainable = tune.with_resources(
        tune.with_parameters(
            _tune_trial,
            chains=chains,
            corpora=corpora,
            store_uri=store.uri,
            threads=resources.cpu,
            gpu=share["gpu"] > 0,
        ),
        share,
    )
    interrupted = False
    waiting = list(range(len(chains)))
    with make_display(tally) as display:
        for _ in range(1 + resources.max_failures):
            watcher = _tune_watcher(tally, display, chains, store)
            queue = ChainQueue(chains, waiting, tally.done)
            _run_experiment(trainable, queue, watcher, resources)
            # Tune gives a trial up, whatever tries it has left, when its process dies while it is being handed over
            # from the trial before it.
            waiting = [*watcher.given_up, *queue.waiting]
            interrupted = queue.running or queue.issue("next") is not None
            if interrupted or not watcher.given_up:
                break
        if not interrupted:
            for number in watcher.given_up:
                watcher.fail(number, "its process ended again and again")
            _fail_blocked(queue, tally, display, chains)
    return _outcome(tally, chains, interrupted)


def _run_experiment(trainable: Any, queue: ChainQueue, watcher: Any, resources: Resources) -> None:
    """One Tune experiment over the chains of `queue`."""
    from ray import tune

    with tempfile.TemporaryDirectory(prefix="ser-sweep-") as scratch:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=_tune_searcher(queue),
                num_samples=-1,  # until the searcher has nothing more
                reuse_actors=True,
                max_concurrent_trials=resources.max_concurrent,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=scratch,
                callbacks=[watcher],
                failure_config=tune.FailureConfig(max_failures=resources.max_failures, fail_fast=False),
                verbose=0,
            ),
        )
        tuner.fit()


def _tune_trial(
    config: dict[str, Any],
    chains: list[ChainSpec],
    corpora: dict[str, SegmentCorpus],
    store_uri: str,
    threads: int,
    gpu: bool,
) -> None:
    """The Tune trainable. Raising an error makes Tune try the trial again: only one that may pass by is raised,
    such as a device or a file server that did not answer. Any other is reported."""
    from ray import tune

    try:
        chain, store = chains[config["number"]], Store(store_uri)
        run_trial(chain, corpora, store, tune.report, threads=threads, gpu=gpu, stages=config["stages"])
    except MAY_PASS_BY:
        raise
    except Exception as error:
        tune.report({"event": "failed", "cause": describe_error(error)})


def _tune_searcher(queue: ChainQueue) -> Any:
    """A Tune searcher that issues the chains of `queue`; a class made here, because its base needs Ray."""
    from ray.tune.search import Searcher

    class QueueSearcher(Searcher):
        def suggest(self, trial_id: str) -> Any:
            issue = queue.issue(trial_id)
            if issue is not None:
                return asdict(issue)
            return None if queue.running else Searcher.FINISHED

        def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
            if result.get("event") in ("trained", "reused"):
                queue.stage_done(result["key"])

        def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
            queue.ended(trial_id)

        def save(self, checkpoint_path: str) -> None: ...
        def restore(self, checkpoint_path: str) -> None: ...

    return QueueSearcher()


def _tune_watcher(tally: Tally, display: Display, chains: list[ChainSpec], store: Store) -> Any:
    """A Tune callback that keeps the tally; a class made here, because its base needs Ray."""
    from ray import tune

    class Watcher(tune.Callback):
        def __init__(self) -> None:
            self.given_up: list[int] = []  # trials that ended with tries left
            self._causes: dict[int, str] = {}

        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
        ) -> None:
            number = trial.config["number"]
            if result.get("event") == "failed":
                self._causes[number] = result["cause"]
            elif "event" in result:
                _Listener(tally, display, number, chains[number])(result)

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
            number = trial.config["number"]
            _end_trial(tally, display, number, chains[number], self._causes.get(number))

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
            number = trial.config["number"]
            if trial.should_recover():
                tally.ended(number)
                self.given_up.append(number)
            else:
                self.fail(number, _cause_of(trial))

        def fail(self, number: int, cause: str) -> None:
            """Note that a chain could not be finished, and at which stage."""
            done = store.done_keys()
            unfinished = next((stage for stage in chains[number].stages if stage.key not in done), None)
            if unfinished is not None:
                store.record_failure(unfinished.key, cause)
            _end_trial(tally, display, number, chains[number], cause)

        def __reduce__(self) -> tuple[Any, ...]:
            # Tune saves itself with its callbacks for a restore, which is never done here.
            return (tune.Callback, ())

    return Watcher()


def _cause_of(trial: Any) -> str:
    """The error that ended a Tune trial, without the layers of errors it was wrapped in on its way."""
    error = trial.get_pickled_error()
    while error is not None and getattr(error, "cause", None) is not None:
        error = error.cause
    return describe_error(error) if error is not None else "the trial's process ended without saying why"


def trial_share(resources: Resources, cluster: Mapping[str, float]) -> dict[str, float]:
    """CPU and GPU that one trial takes. Raises UserError where the cluster could never give that."""
    gpus = cluster.get("GPU", 0)
    gpu = (AUTO_GPU_SHARE if gpus else 0.0) if resources.gpu == "auto" else resources.gpu
    for name, asked, there in (("cpu", resources.cpu, cluster.get("CPU", 0)), ("gpu", gpu, gpus)):
        if asked > there:
            raise UserError(
                f"resources.{name}: the grid asks for {asked:g} a trial and the cluster has {there:g}; "
                f"lower it in the grid, or connect to a larger cluster with --address"
            )
    return {"cpu": resources.cpu, "gpu": gpu}


def _slots(share: Mapping[str, float], cluster: Mapping[str, float], limit: int | None) -> int:
    """Trials that can run at once."""
    fits = min(int(cluster.get(name.upper(), 0) / amount + 1e-9) for name, amount in share.items() if amount)
    return max(1, min(fits, limit or fits))
