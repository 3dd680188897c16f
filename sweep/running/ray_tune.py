"""The executor on Ray: one Ray Tune trial for each task. The only module of the room that knows Ray Tune.

Every launch is a fresh Tune experiment. Nothing of Ray's own state is needed to go on after a kill.
"""

import gc
import logging
import os
import pickle
from collections.abc import Callable, Mapping
from typing import Any

from data_prep.errors import describe_error
from data_prep.scratch import scratch_folder
from data_prep.shards import SegmentCorpus
from data_prep.signals import handlers_kept, lost_signals
from sweep.running.rounds import run_rounds
from sweep.running.trials import Trials
from sweep.running.tune_trial import tune_trial


def import_tune(address: str | None) -> None:
    """Import Ray Tune, set up for a launch on the cluster at `address`, or on a local runtime."""
    # Tune reads these when it is imported: the store keeps the results, so its own logs and snapshots are not needed.
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")
    from ray.air._internal import usage
    from ray.tune.execution import class_cache

    # Tune would count the callbacks by kind, for which it imports wandb and the like, wherever they are installed.
    usage.tag_callbacks = lambda callbacks: False
    if address is None:
        # A local runtime's processes have this one's environment. Tune would ask for those of a few variables of its
        # own, which none of them is when it starts: all that were started ahead would end for others to be started.
        class_cache.DEFAULT_ENV_VARS = {}
        class_cache.ENV_VARS_TO_PROPAGATE = set()


def run_on_ray(trials: Trials, corpora: Mapping[str, SegmentCorpus], at_once: int) -> None:
    """Have every task done that `trials` issues, by `at_once` Tune trials at a time, on the Ray runtime that is up.
    `corpora` maps full names to corpora in memory."""
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(at_once)  # with a searcher, Tune's own number is one
    from ray import tune

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failures are told by the display, in a line each
    threads = trials.threads
    trainable = tune.with_resources(
        tune.with_parameters(tune_trial, corpora=corpora, store_uri=trials.store.uri),
        lambda config: tune.PlacementGroupFactory([{"CPU": threads, "GPU": config["gpu"]}]),
    )
    gc.freeze()  # the plan stays to the end: the collector need not go through it again and again
    run_rounds(trials, lambda: _run_experiment(trainable, trials, at_once))


def _run_experiment(trainable: Any, trials: Trials, at_once: int) -> str | None:
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
                search_alg=_searcher(trials),
                num_samples=-1,  # until the searcher has nothing more
                reuse_actors=True,
                max_concurrent_trials=trials.resources.max_concurrent or at_once,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=str(scratch.folder),
                callbacks=[_watcher(trials, lost_signals())],
                failure_config=tune.FailureConfig(max_failures=trials.resources.max_failures, fail_fast=False),
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
        """On which node and in which process it runs, in words."""
        from ray._private import state

        about = state.actors(self._actor._actor_id.hex())
        if not about:
            return "in a process that Ray knows nothing of any more"
        return f"on node {about['Address']['IPAddress']} (process {about['Pid']})"

    def end(self) -> bool:
        """Kill the actor; True, as it is then ended."""
        import ray

        ray.kill(self._actor)
        return True


def _searcher(trials: Trials) -> Any:
    """A Tune searcher that issues the tasks of a launch; a class made here, because its base needs Ray."""
    from ray.tune.search import Searcher

    class QueueSearcher(Searcher):
        def suggest(self, trial_id: str) -> Any:
            task = trials.issue(trial_id)
            if task is None:
                return Searcher.FINISHED if trials.over else None
            # Tune copies configurations, again and again, and a string is cheaply copied.
            return {"number": task.number, "gpu": task.gpu, "task": pickle.dumps(task).hex()}

        def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
            trials.ended(trial_id)

        def save(self, checkpoint_path: str) -> None: ...
        def restore(self, checkpoint_path: str) -> None: ...

    return QueueSearcher()


def _watcher(of_launch: Trials, send_lost_signals: Callable[[], None]) -> Any:
    """A Tune callback that tells a launch of its trials; a class made here, because its base needs Ray."""
    from ray import tune

    class Watcher(tune.Callback):
        def __init__(self) -> None:
            self._seen = 0
            self._without_process: list[Any] = []

        def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
            send_lost_signals()
            # A trial has its process before Tune takes it to have started, which may hang, too.
            self._without_process += trials[self._seen :]
            self._seen = len(trials)
            for trial in [one for one in self._without_process if one.temporary_state.ray_actor is not None]:
                self._without_process.remove(trial)
                self.on_trial_start(iteration, trials, trial)

        def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
            of_launch.began(trial.trial_id, ActorProcess(trial.temporary_state.ray_actor))

        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
        ) -> None:
            for event in result.get("events", ()):
                of_launch.on_event(trial.trial_id, trial.config["number"], event)

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
            of_launch.completed(trial.config["number"])

        def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
            of_launch.died(trial.trial_id)
            self._without_process.append(trial)

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
            if trial.should_recover():
                of_launch.lost(trial.config["number"])
            else:
                of_launch.fail(trial.config["number"], _cause_of(trial))

    return Watcher()


def _cause_of(trial: Any) -> str:
    """The error that ended a Tune trial, without the layers of errors it was wrapped in on its way."""
    error = trial.get_pickled_error()
    while error is not None and getattr(error, "cause", None) is not None:
        error = error.cause
    return describe_error(error) if error is not None else "the trial's process ended without saying why"
