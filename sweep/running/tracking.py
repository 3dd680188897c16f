"""Learning curves for experiment trackers while a sweep runs: TensorBoard and MLflow, as the grid's `tracking` says.

They get what every trial tells, on Ray and in one process alike. The store does not depend on them: a tracker that
fails is told once and left alone.
"""

import sys
from collections.abc import Callable
from typing import Any, Protocol

from data_prep.errors import UserError
from sweep.planning.stages import Plan, StageSpec

CURVES = ("loss", "validation_loss", "validation_accuracy", "rate")


class Tracker(Protocol):
    """Where curves go. A stage is known by its key."""

    def epoch(self, key: str, number: int, values: dict[str, float]) -> None:
        """A stage has done epoch `number`, with these metrics."""

    def ended(self, key: str) -> None:
        """A stage is trained."""

    def close(self) -> None:
        """The launch is over, whatever is still under way."""


class TensorBoard:
    """A folder of event files for each stage, below `folder`; `tensorboard --logdir` shows them."""

    def __init__(self, plan: Plan, folder: str) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise UserError(
                "tracking.tensorboard needs tensorboardX: pip install 'ser-dsl-sweep[tensorboard]'"
            ) from error
        self._plan = plan
        self._folder = folder
        self._make: Callable[..., Any] = SummaryWriter
        self._writers: dict[str, Any] = {}

    def epoch(self, key: str, number: int, values: dict[str, float]) -> None:
        """Add a point to each of the stage's curves."""
        if key not in self._writers:
            self._writers[key] = self._make(f"{self._folder}/{self._plan.label_of(key)}")
        for name, value in values.items():
            self._writers[key].add_scalar(name, value, number)
        self._writers[key].flush()

    def ended(self, key: str) -> None:
        """Close the stage's file."""
        writer = self._writers.pop(key, None)
        if writer is not None:
            writer.close()

    def close(self) -> None:
        """Close all files."""
        for key in list(self._writers):
            self.ended(key)


class MLflow:
    """A run for each stage, in an experiment of the grid's name, at the tracking server `uri`."""

    def __init__(self, plan: Plan, uri: str, experiment: str) -> None:
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise UserError("tracking.mlflow needs MLflow: pip install 'ser-dsl-sweep[mlflow]'") from error
        try:
            self._client = MlflowClient(uri)
            found = self._client.get_experiment_by_name(experiment)
            self._experiment = found.experiment_id if found else self._client.create_experiment(experiment)
        except Exception as error:
            raise UserError(f"tracking.mlflow: {uri} cannot be used: {error}") from error
        self._plan = plan
        self._runs: dict[str, str] = {}

    def epoch(self, key: str, number: int, values: dict[str, float]) -> None:
        """Log metrics to the stage's run, which is made, with its settings, at the first epoch."""
        if key not in self._runs:
            run = self._client.create_run(self._experiment, run_name=self._plan.label_of(key))
            self._runs[key] = run.info.run_id
            for name, value in _params(self._plan.stages[key]).items():
                self._client.log_param(run.info.run_id, name, value)
        for name, value in values.items():
            self._client.log_metric(self._runs[key], name, value, step=number)

    def ended(self, key: str) -> None:
        """End the stage's run as finished."""
        run = self._runs.pop(key, None)
        if run is not None:
            self._client.set_terminated(run)

    def close(self) -> None:
        """End the runs that are left as killed."""
        for run in self._runs.values():
            self._client.set_terminated(run, status="KILLED")
        self._runs.clear()


def _params(stage: StageSpec) -> dict[str, Any]:
    names = ("corpus", "backbone", "rule", "alpha", "iteration", "label_source", "split", "fold", "seed", "inner_fold")
    return {"stage": stage.key, **{name: getattr(stage, name) for name in names}}


class Trackers:
    """All trackers of a launch; one that fails is told to the user once and then left out."""

    def __init__(self, trackers: list[Tracker]) -> None:
        self._trackers = trackers

    @classmethod
    def of(cls, plan: Plan, grid: Any) -> "Trackers":
        """Those that the grid asks for. Raises UserError where one cannot be used."""
        found: list[Tracker] = []
        if grid.tracking.tensorboard is not None:
            found.append(TensorBoard(plan, grid.tracking.tensorboard))
        if grid.tracking.mlflow is not None:
            found.append(MLflow(plan, grid.tracking.mlflow, grid.name))
        return cls(found)

    def took(self, event: dict[str, Any]) -> None:
        """Pass an event of a trial on."""
        if event["event"] == "epoch":
            values = {name: float(event[name]) for name in CURVES if event[name] is not None}
            self._each(lambda one: one.epoch(event["key"], event["number"], values))
        elif event["event"] == "trained":
            self._each(lambda one: one.ended(event["key"]))

    def close(self) -> None:
        """Close each tracker."""
        self._each(lambda one: one.close())

    def _each(self, act: Callable[[Tracker], None]) -> None:
        for one in list(self._trackers):
            try:
                act(one)
            except Exception as error:  # trackers raise all kinds, and none of them may stop a sweep
                self._trackers.remove(one)
                print(f"notice: {type(one).__name__} is left out from here on: {error}", file=sys.stderr)
