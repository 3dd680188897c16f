"""Successive halving: which chains are trained, by what the store holds and by nothing else."""

import json
import random
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.cluster import ray_session
from dsl.settings import TrainingSettings
from ser_sweep import Sweep, open_sweep
from ser_sweep.cli import main
from sweep.planning.grid import GridError, GridSpec, parse_grid
from sweep.planning.grid_fields import Halving, Scheduler
from sweep.planning.halving import Halved, halve, rungs_of
from sweep.planning.stages import ChainSpec, Plan, StageSpec, canonical_updates
from sweep.running.display import NoDisplay
from sweep.running.inline import run_inline
from sweep.running.journal import Journal
from sweep.running.rounds import run_rounds
from sweep.running.rungs import Rungs
from sweep.running.tally import Tally
from sweep.running.tracking import Trackers
from sweep.running.trials import Trials, Work
from sweep.storage.events import EventLog, read_events
from sweep.storage.lease import Lease
from sweep.storage.store import Store

WriteGrid = Callable[..., Path]
NAMES = {"emodb-0": "emodb", "emodb-1": "emodb", "savee-0": "savee"}
HALVING = Halving()


def chain(
    rate: float = 1e-3, fold: int = 0, rule: str = "none", folds: int = 10, alpha: float | None = None, **others: Any
) -> ChainSpec:
    updates = canonical_updates(rule, alpha, 1)
    source = others.pop("source", "in_fold") if updates else None
    training = TrainingSettings(learning_rate=rate, batch_size=others.pop("batch_size", 128))
    corpus, seed = others.pop("corpus", "emodb-0"), others.pop("seed", 0)
    return ChainSpec(StageSpec(corpus, "tiny", "stratified", folds, fold, seed, source, updates, training, **others))


def grid_of(folds: int = 10, rules: Collection[str] = ("none", "bdsl")) -> list[ChainSpec]:
    """3 learning rates x 2 batch sizes x rules."""
    return [
        chain(rate, fold, rule, folds, batch_size=size)
        for rate in (1e-2, 1e-3, 1e-4)
        for size in (64, 128)
        for rule in rules
        for fold in range(folds)
    ]


class Trained:
    """A simulated store: `wa` is the validation WA that every stage has, `fails` those that cannot be trained."""

    def __init__(self, chains: list[ChainSpec], seed: int, failing: float = 0.0) -> None:
        rng = random.Random(seed)
        keys = dict.fromkeys(stage.key for one in chains for stage in one.stages)
        self.wa = {key: rng.randrange(5) / 4 for key in keys}
        self.fails = {key for key in keys if rng.random() < failing}
        self.chains = chains
        self.done: set[str] = set()
        self.failures: set[str] = set()
        self.trainings = 0

    def halved(self, failed: Collection[str], halving: Halving = HALVING) -> Halved:
        plan = Plan.of(self.chains, self.done, {})
        return halve(plan, lambda key: self.wa[key] if key in self.done else None, failed, halving, NAMES)

    def launch(self, rng: random.Random, steps: float, halving: Halving = HALVING) -> bool:
        """Train in any order, for so many steps at most; whether it came to its end. What failed is tried again."""
        failed: set[str] = set()
        while True:
            halved = self.halved(failed, halving)
            left = [one for one in halved.chains if self._next(one, failed) is not None]
            if not left:
                self.failures = failed
                return True
            while left:
                if steps <= 0:
                    return False
                one = rng.choice(left)
                stage = self._next(one, failed)
                if stage is None:
                    left.remove(one)
                    continue
                steps -= 1
                if stage in self.fails:
                    failed.add(stage)
                else:
                    self.done.add(stage)
                    self.trainings += 1

    def _next(self, one: ChainSpec, failed: Collection[str]) -> str | None:
        """The stage that a chain trains next."""
        missing = next((stage.key for stage in one.stages if stage.key not in self.done), None)
        return None if missing in failed else missing


def decisions(halved: Halved) -> tuple[list[str], list[tuple[str, int, float | None, bool]]]:
    stopped = [(one.last.key, one.folds, one.wa, one.failed) for one in halved.stopped]
    return [one.last.key for one in halved.chains], sorted(stopped)


# The decisions


def test_rungs_have_more_folds_by_the_reduction_factor_and_the_last_has_all() -> None:
    assert rungs_of(Halving(), 10) == [1, 3, 9, 10]
    assert rungs_of(Halving(first_folds=2, reduction_factor=2), 10) == [2, 4, 8, 10]
    assert rungs_of(Halving(first_folds=2, reduction_factor=5), 10) == [2, 10]


@given(st.integers(0, 10**6), st.integers(2, 7), st.sampled_from([0.0, 0.1]), st.data())
@settings(deadline=None, max_examples=60)
def test_killed_and_resumed_at_any_moment_and_in_any_order_it_decides_the_same(
    seed: int, folds: int, failing: float, data: st.DataObject
) -> None:
    first = data.draw(st.integers(1, folds - 1))
    halving = Halving(first_folds=first, reduction_factor=data.draw(st.integers(2, 4)))
    chains = grid_of(folds)
    undisturbed, killed = (Trained(chains, seed, failing) for _ in range(2))
    assert undisturbed.launch(random.Random(0), float("inf"), halving)
    rng = random.Random(data.draw(st.integers(0, 10**6)))
    for _ in range(data.draw(st.integers(0, 5))):
        killed.launch(rng, rng.randrange(40), halving)
    assert killed.launch(rng, float("inf"), halving)
    assert killed.done == undisturbed.done
    assert killed.trainings == len(killed.done), "nothing is trained twice"
    found, expected = (one.halved(one.failures, halving) for one in (killed, undisturbed))
    assert decisions(found) == decisions(expected)
    assert len(undisturbed.done) <= len({stage.key for one in found.at_most for stage in one.stages})


@given(st.integers(0, 10**6))
@settings(deadline=None, max_examples=30)
def test_what_it_comes_to_is_never_more_than_was_said_before(seed: int) -> None:
    """And the most is what it comes to where those that take most trainings are the best."""
    trained = Trained(grid_of(), seed)
    most = {stage.key for one in trained.halved(()).at_most for stage in one.stages}
    assert trained.launch(random.Random(0), float("inf"))
    assert len(trained.done) <= len(most) == 12 + 4 * 2 * 2 + 7 * 2


def test_a_grid_of_three_by_two_by_two_comes_to_less_than_half_of_the_trainings() -> None:
    chains = grid_of()
    trained = Trained(chains, seed=1)
    trained.launch(random.Random(0), float("inf"))
    every = {stage.key for one in chains for stage in one.stages}
    most = {stage.key for one in Trained(chains, 1).halved(()).at_most for stage in one.stages}
    assert (len(every), len(most)) == (120, 42)
    assert len(trained.done) <= len(most) <= 0.5 * len(every)


def test_the_best_by_validation_go_on_and_of_equals_the_first() -> None:
    rates = [1e-2, 1e-3, 1e-4]
    chains = [chain(rate, fold, folds=3) for rate in rates for fold in range(3)]
    trained = Trained(chains, seed=0)
    trained.wa = {one.last.key: {1e-2: 0.5, 1e-3: 0.75, 1e-4: 0.75}[one.last.training.learning_rate] for one in chains}
    trained.launch(random.Random(0), float("inf"))
    halved = trained.halved(())
    assert {one.last.training.learning_rate: (one.folds, one.wa) for one in halved.stopped} == {
        1e-2: (1, 50.0),
        1e-4: (1, 75.0),
    }
    assert [one.words for one in halved.stopped] == [
        "stopped after 1 of 3 folds by halving (validation WA 50.00)",
        "stopped after 1 of 3 folds by halving (validation WA 75.00)",
    ]
    assert len(trained.done) == 3 + 2


def test_of_a_rung_that_is_not_complete_nothing_is_decided() -> None:
    chains = [chain(rate, fold) for rate in (1e-2, 1e-3, 1e-4) for fold in range(10)]
    trained = Trained(chains, seed=0)
    first = [one for one in chains if one.last.fold == 0]
    trained.done = {one.last.key for one in first[:2]}
    assert trained.halved(()).chains == tuple(first) and not trained.halved(()).stopped
    trained.done.add(first[2].last.key)
    assert len(trained.halved(()).stopped) == 2


def test_a_candidate_that_failed_is_the_worst_and_where_all_failed_there_is_no_next_rung() -> None:
    chains = [chain(rate, fold) for rate in (1e-2, 1e-3, 1e-4) for fold in range(10)]
    first = [one for one in chains if one.last.fold == 0]
    trained = Trained(chains, seed=0)
    trained.wa = dict.fromkeys(trained.wa, 0.0)
    trained.fails = {one.last.key for one in first[:2]}
    trained.launch(random.Random(0), float("inf"))
    halved = trained.halved(trained.failures)
    assert [(one.failed, one.wa) for one in halved.stopped] == [(True, None), (True, None)]
    assert "(failed)" in halved.stopped[0].words
    assert len(trained.done) == 10
    trained = Trained(chains, seed=0, failing=1.0)
    trained.launch(random.Random(0), float("inf"))
    assert not trained.done and len(trained.halved(trained.failures).stopped) == 3


def test_candidates_compete_within_a_corpus_a_split_and_labels() -> None:
    """Of two preparations of a corpus the better one goes on."""
    corpora = ("emodb-0", "emodb-1", "savee-0")
    chains = [chain(fold=fold, folds=3, corpus=corpus) for corpus in corpora for fold in range(3)]
    trained = Trained(chains, seed=3)
    trained.launch(random.Random(0), float("inf"))
    (stopped,) = trained.halved(()).stopped
    assert NAMES[stopped.last.corpus] == "emodb"
    assert len(trained.done) == 3 + 1 + 3


def test_seeds_are_no_candidates() -> None:
    chains = [chain(rate, fold, folds=3, seed=seed) for rate in (1e-2, 1e-3) for fold in range(3) for seed in (0, 1)]
    trained = Trained(chains, seed=0)
    assert len(trained.halved(()).chains) == 4
    trained.launch(random.Random(0), float("inf"))
    assert len(trained.done) == 4 + 4


def test_a_setting_that_is_added_is_compared_with_the_others_and_nothing_is_trained_twice() -> None:
    chains = grid_of()
    trained = Trained(chains, seed=5)
    trained.launch(random.Random(0), float("inf"))
    before = set(trained.done)
    more = [chain(3e-3, fold) for fold in range(10)]
    trained.chains = [*chains, *more]
    trained.wa |= {one.last.key: 1.0 for one in more}
    trained.launch(random.Random(0), float("inf"))
    assert before <= trained.done and trained.trainings == len(trained.done)
    assert more[0].last.key in trained.done


# In a launch, without training


@pytest.mark.parametrize(("by_inline", "fuse"), [(False, 1), (True, 1), (True, 2)])
def test_a_launch_goes_from_rung_to_rung_and_tells_of_it(
    tmp_path: Path, by_inline: bool, fuse: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chains = [chain(rate, fold, rule, 4) for rate in (1e-2, 1e-3) for rule in ("none", "bdsl") for fold in range(4)]
    trained = Trained(chains, seed=2)
    fails = chain(1e-2, 0, "bdsl", 4).last.key
    store, plan = Store(tmp_path / "store"), Plan.of(chains, (), {})
    halving = Halving(reduction_factor=2)
    rungs = Rungs(plan, halving, lambda key: trained.wa[key], NAMES, fuse)
    bundles = rungs.bundles(rungs.halved((), ()), (), ())
    assert {stage.fold for bundle in bundles for stage in bundle.stages} == {0}

    def do(task: Any, tell: Callable[[dict[str, Any]], None]) -> None:
        for stage in task.bundle.stages[: task.stages]:
            if stage.key == fails:
                return tell({"events": [{"event": "failed", "cause": "a cause"}]})
            if stage.key not in trained.done:
                trained.done.add(stage.key)
                said = {"event": "trained", "iteration": stage.iteration, "key": stage.key, "seconds": 1.0}
                tell({"events": [said]})
        return None

    monkeypatch.setattr("sweep.running.trial.train", lambda task, corpora, store, tell: do(task, tell))
    with EventLog(store.folder, "a launch") as events, Lease(store.folder, "a launch") as lease:
        journal = Journal(events, Tally(plan, 1), NoDisplay(), Trackers([]))
        grid = GridSpec(folds=4, scheduler=Scheduler(halving=halving))
        work = Work(grid, plan, bundles, store, {"cpu": 1.0, "gpu": 0.0}, rungs=rungs)
        trials = Trials(work, lease, journal)

        def run_round() -> None:
            while (task := trials.issue("one")) is not None:
                said: list[dict[str, Any]] = []
                do(task, said.append)
                for event in [event for each in said for event in each["events"]]:
                    trials.on_event("one", task.number, event)
                trials.ended("one")
                trials.completed(task.number)

        monkeypatch.setattr(store, "has", lambda key: key in trained.done)
        if by_inline:
            run_inline(trials, {})
        else:
            run_rounds(trials, run_round)
        trials.close()
    expected = Trained(chains, seed=2)
    expected.fails = {fails}
    expected.launch(random.Random(0), float("inf"), halving)
    assert trained.done == expected.done
    (log,) = read_events(store.folder).values()
    told = [label for event in log if event["event"] == "halved" for label in event["stopped"]]
    assert len(told) == len(set(told)) == 3
    assert len(journal.tally.failures) == 1
    assert (journal.tally.missing, journal.tally.total) == (1, len(trained.done) + 1)


# The grid


GRID = {"corpora": ["emodb"], "backbones": ["tiny"], "rules": ["none", "bdsl"]}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"scheduler": {"halving": {"first_folds": 10}}}, "first_folds: 10, but folds is 10"),
        ({"scheduler": {"halving": {"first_folds": 0}}}, "scheduler.halving.first_folds: "),
        ({"scheduler": {"halving": {"reduction_factor": 1}}}, "scheduler.halving.reduction_factor: "),
        ({"scheduler": {"halving": {"eta": 3}}}, "scheduler.halving.eta: unknown field; "),
        ({"scheduler": {"halvin": {}}}, "did you mean halving?"),
        ({"scheduler": {"halving": {}}, "label_sources": ["global_oof"]}, "global_oof needs every fold"),
        (
            {"scheduler": {"halving": {}}, "training": {"validation_share": [0, 0.1], "early_stopping": False}},
            "training.validation_share: 0 leaves none",
        ),
    ],
)
def test_a_grid_that_cannot_be_halved_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(GridError, match="cannot be used") as error:
        parse_grid({**GRID, **fields}, "grid.yaml")
    assert said in str(error.value)


def test_halving_is_off_by_default_and_its_fields_have_defaults() -> None:
    assert parse_grid(GRID, "grid.yaml").scheduler.halving is None
    assert parse_grid({**GRID, "scheduler": {"halving": {}}}, "grid.yaml").scheduler.halving == Halving()


# A run


@pytest.fixture
def halved_grid(write_grid: WriteGrid) -> Path:
    training = {"epochs": 1, "every": 16, "learning_rate": [0.01, 0.003, 0.001], "batch_size": [32, 64]}
    halving = {"first_folds": 1, "reduction_factor": 3}
    return write_grid(rules=["none", "bdsl"], folds=4, training=training, scheduler={"halving": halving})


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Interrupts a run after so many commits."""
    commit = Store.commit

    def after(commits: int) -> None:
        left = iter(range(commits))

        def stop(self: Store, *arguments: Any) -> bool:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return commit(self, *arguments)

        monkeypatch.setattr(Store, "commit", stop)

    return after


def test_a_run_that_was_interrupted_ends_with_the_stages_of_one_that_was_not(
    small_data: Path,
    halved_grid: Path,
    tmp_path: Path,
    interrupt: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = open_sweep(halved_grid, small_data, tmp_path / "whole")
    ran = whole.run(inline=True, quiet=True)
    assert ran.done == ran.total == ran.outcome.trained == len(whole.plan.done)
    assert ran.total <= len(whole.at_most.stages) <= 0.5 * len(whole.plan.stages) == 24

    again = open_sweep(halved_grid, small_data, tmp_path / "again")
    for commits in (0, 5, 8):
        interrupt(commits)
        with pytest.raises(KeyboardInterrupt):
            again.run(inline=True, quiet=True)
        again.refresh()
    interrupt(10**6)
    limited = again.run(inline=True, quiet=True, max_trials=1)
    assert limited.outcome.limited is not None or limited.done == limited.total
    assert again.run(inline=True, quiet=True).outcome.limited is None
    assert again.plan.done == whole.plan.done
    assert decisions(stopped_of(again)) == decisions(stopped_of(whole))
    assert again.run(inline=True, quiet=True).outcome.trained == 0

    place = [str(halved_grid), "--data", str(small_data), "--store", str(tmp_path / "again")]
    assert main(["status", *place]) == 0
    said = capsys.readouterr().out
    assert "stopped after 1 of 4 folds by halving (validation WA " in said
    assert "halving 11 candidates stopped; at most " in said
    assert main(["plan", *place]) == 0 and main(["run", *place, "--inline"]) == 0
    assert main(["tables", *place, "--no-forests"]) == 0
    told = capsys.readouterr().out
    assert "**Stopped by halving.**" in told and "1 of 4" in told
    for kind in ("csv", "json", "latex"):
        assert main(["tables", *place, "--no-forests", "--format", kind]) == 0
        assert "Stopped by halving" in capsys.readouterr().out
    assert main(["report", *place, "--no-forests", "--watch", "--every", "1", "--out", str(tmp_path / "page")]) == 0
    page = (tmp_path / "page" / "index.html").read_text()
    assert "Stopped by halving" in page and "stages missing" not in page
    capsys.readouterr()
    for command in ("status", "plan"):
        assert main([command, *place, "--json"]) == 0
        assert len(json.loads(capsys.readouterr().out)["halving"]["stopped"]) == 11


def test_on_ray_all_rungs_are_of_one_launch_and_the_stages_are_those_of_a_run_in_this_process(
    small_data: Path, halved_grid: Path, tmp_path: Path
) -> None:
    here, on_ray = (open_sweep(halved_grid, small_data, tmp_path / name) for name in ("here", "ray"))
    here.run(inline=True, quiet=True)
    with ray_session():
        ran = on_ray.run(quiet=True)
    assert ran.done == ran.total == ran.outcome.trained
    assert on_ray.plan.done == here.plan.done
    (events,) = read_events(on_ray.store.folder).values()
    assert sum(event["event"] == "halved" for event in events) == 2


def stopped_of(sweep: Sweep) -> Halved:
    assert sweep.halved is not None
    return sweep.halved
