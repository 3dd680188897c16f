"""Learning curves for experiment trackers while a sweep runs: TensorBoard, MLflow and Weights & Biases, as the grid's
`tracking` says.

They get what every trial reports, on Ray and in one process alike, and names by which a sweep's runs sort by setting.
The store does not depend on them: a tracker that fails is told once and left alone.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from data_prep.errors import UserError
from sweep.planning.in_view import training_values
from sweep.planning.stages import Plan, StageSpec

CURVES = ("loss", "validation_loss", "validation_accuracy", "rate")
LONGEST_NAME, LONGEST_TAG = 128, 64  # characters that Weights & Biases takes


class Tracker(ABC):
    """Where curves go: a run for each stage, which is known by its key."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._runs: dict[str, Any] = {}  # of the stages under way

    def epoch(self, key: str, number: int, values: dict[str, float]) -> None:
        """A stage has done epoch `number`, with these metrics. At the first its run is made, with its settings."""
        if key not in self._runs:
            self._runs[key] = self._begin(key, self._plan.stages[key])
        self._log(self._runs[key], number, values)

    def ended(self, key: str) -> None:
        """A stage is trained."""
        if key in self._runs:
            self._end(self._runs.pop(key), whole=True)

    def close(self) -> None:
        """The launch is over, whatever is still under way."""
        for key in list(self._runs):
            self._end(self._runs.pop(key), whole=False)

    @abstractmethod
    def _begin(self, key: str, stage: StageSpec) -> Any:
        """A new run for a stage."""

    @abstractmethod
    def _log(self, run: Any, number: int, values: dict[str, float]) -> None:
        """Add an epoch to a run."""

    @abstractmethod
    def _end(self, run: Any, whole: bool) -> None:
        """End the run of a stage that is trained or, if it is not `whole`, was cut off."""

    def _cell(self, stage: StageSpec) -> str:
        """What a stage shares with those of other folds, seeds and iterations."""
        return f"{self._plan.view.corpus(stage)} {self._plan.view.network(stage)}"

    def _tags(self, stage: StageSpec) -> dict[str, str]:
        """By what runs are picked."""
        tags = {
            "corpus": self._plan.view.corpus(stage),
            "backbone": stage.backbone,
            "rule": " ".join(filter(None, (stage.rule, stage.alpha))),
            "split": stage.split_name,
            "label_source": stage.label_source or "",
            "setting": self._plan.view.setting(stage),
        }
        return {name: value for name, value in tags.items() if value}


class TensorBoard(Tracker):
    """A folder of event files for each stage, below `folder`, where settings vary in one for each of them; `tensorboard
    --logdir` shows them."""

    def __init__(self, plan: Plan, folder: str) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise UserError(
                "tracking.tensorboard needs tensorboardX: pip install 'ser-dsl-sweep[tensorboard]'"
            ) from error
        super().__init__(plan)
        self._folder = folder
        self._make: Callable[..., Any] = SummaryWriter

    def _begin(self, key: str, stage: StageSpec) -> Any:
        below = (self._plan.view.setting(stage), self._plan.label_of(key))
        return self._make("/".join([self._folder, *filter(None, below)]))

    def _log(self, run: Any, number: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            run.add_scalar(name, value, number)
        run.flush()

    def _end(self, run: Any, whole: bool) -> None:
        run.close()


class MLflow(Tracker):
    """A run for each stage, in an experiment of the grid's name, at the tracking server `uri`; those that were cut off
    end as killed."""

    def __init__(self, plan: Plan, uri: str, experiment: str) -> None:
        try:
            from mlflow import MlflowClient
            from mlflow.entities import Param
        except ImportError as error:
            raise UserError("tracking.mlflow needs MLflow: pip install 'ser-dsl-sweep[mlflow]'") from error
        try:
            self._client = MlflowClient(uri)
            found = self._client.get_experiment_by_name(experiment)
            self._experiment = found.experiment_id if found else self._client.create_experiment(experiment)
        except Exception as error:
            raise UserError(f"tracking.mlflow: {uri} cannot be used: {error}") from error
        super().__init__(plan)
        self._param: Callable[[str, str], Any] = Param

    def _begin(self, key: str, stage: StageSpec) -> Any:
        tags = {**self._tags(stage), "cell": self._cell(stage)}
        run = self._client.create_run(self._experiment, run_name=self._plan.label_of(key), tags=tags).info.run_id
        about = {**_params(stage), **training_values(stage.training)}
        self._client.log_batch(run, params=[self._param(name, str(each)) for name, each in about.items()])
        return run

    def _log(self, run: Any, number: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._client.log_metric(run, name, value, step=number)

    def _end(self, run: Any, whole: bool) -> None:
        self._client.set_terminated(run, status="FINISHED" if whole else "KILLED")


class WeightsAndBiases(Tracker):
    """A run for each stage in the project `project`; those of a network with one setting, of all folds and seeds, are a
    group, and those that were cut off end as failed. WANDB_MODE, WANDB_DIR and the like say where runs go, as ever."""

    def __init__(self, plan: Plan, project: str) -> None:
        try:
            import wandb
        except ImportError as error:
            raise UserError("tracking.wandb needs Weights & Biases: pip install 'ser-dsl-sweep[wandb]'") from error
        try:
            online = wandb.setup().settings.mode in ("online", "run", "shared")
            logged_in = not online or wandb.login(prompt=False)
        except Exception as error:
            raise UserError(f"tracking.wandb: Weights & Biases cannot be used: {error}") from error
        if not logged_in:
            raise UserError(
                "tracking.wandb: this machine is not logged in; run wandb login, set WANDB_API_KEY, or set "
                "WANDB_MODE=offline to keep the runs here"
            )
        super().__init__(plan)
        # Nothing of the machine, the code or what is printed: a launch trains on other machines, and prints for people.
        self._settings = wandb.Settings(
            silent=True, console="off", disable_git=True, save_code=False, x_disable_stats=True
        )
        self._init: Callable[..., Any] = wandb.init
        self._project = project

    def _begin(self, key: str, stage: StageSpec) -> Any:
        return self._init(
            project=self._project,
            name=self._plan.label_of(key)[:LONGEST_NAME],
            group=self._cell(stage)[:LONGEST_NAME],
            job_type=f"t={stage.iteration}",
            tags=list(dict.fromkeys(tag[:LONGEST_TAG] for tag in self._tags(stage).values())),
            config={**stage.identity, **_params(stage), "training": training_values(stage.training)},
            reinit="create_new",
            settings=self._settings,
        )

    def _log(self, run: Any, number: int, values: dict[str, float]) -> None:
        run.log(values, step=number)

    def _end(self, run: Any, whole: bool) -> None:
        run.finish(exit_code=0 if whole else 1)


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
        if grid.tracking.wandb is not None:
            found.append(WeightsAndBiases(plan, grid.tracking.wandb))
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
