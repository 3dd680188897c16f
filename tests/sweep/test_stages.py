"""Identity of stages, launch order and plans."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dsl.labels import LabelUpdate
from dsl.settings import TrainingSettings
from sweep.planning.stages import ChainSpec, Plan, StageSpec, canonical_updates, distinct, launch_order

STAGE = StageSpec(
    corpus="emodb-0123456789ab",
    backbone="densenet22",
    split="stratified",
    folds=10,
    fold=3,
    seed=0,
    label_source="in_fold",
    updates=(LabelUpdate("wdsl", 0.2),) * 2,
    training=TrainingSettings(),
)


def chain(rule: str, fold: int, alpha: float | None = None, iterations: int = 1, seed: int = 0) -> ChainSpec:
    updates = canonical_updates(rule, alpha, iterations)
    source = "in_fold" if updates else None
    return ChainSpec(replace(STAGE, fold=fold, seed=seed, updates=updates, label_source=source))


chains = st.builds(
    chain,
    rule=st.sampled_from(["none", "bdsl", "gsl", "hdl", "wdsl"]),
    fold=st.integers(0, 3),
    alpha=st.sampled_from([0.0, 0.2, 1.0]),
    iterations=st.integers(1, 3),
    seed=st.integers(0, 1),
)


def test_a_key_never_changes_by_accident() -> None:
    # Stores on disk are found by these. A change here orphans them: raise METHOD_VERSION and mean it.
    assert STAGE.key == "9e6bf238d79275a83963"
    assert STAGE.at(0).key == "3efb23ce7931772fbf1f"


def test_iteration_0_is_the_same_stage_for_every_rule_alpha_and_label_source() -> None:
    first = {chain(rule, 3, alpha).stages[0].key for rule in ("none", "bdsl", "wdsl", "gsl") for alpha in (0.2, 0.5)}
    assert first == {STAGE.at(0).key}
    assert replace(STAGE, label_source="other").at(0).key == STAGE.at(0).key


def test_a_longer_chain_contains_the_shorter_one() -> None:
    assert chain("gsl", 0, iterations=3).stages[:2] == chain("gsl", 0, iterations=1).stages


@given(st.lists(chains, max_size=30))
def test_launch_order_keeps_every_chain_once(listed: list[ChainSpec]) -> None:
    listed = distinct(listed)
    assert sorted(c.last.key for c in launch_order(listed)) == sorted(c.last.key for c in listed)


@given(st.lists(chains, max_size=30))
def test_owners_of_an_iteration_0_start_before_all_that_share_one(listed: list[ChainSpec]) -> None:
    ordered = launch_order(distinct(listed))
    first_stages = [c.stages[0].key for c in ordered]
    owners = len(set(first_stages))
    assert len(set(first_stages[:owners])) == owners


def test_a_baseline_chain_owns_its_iteration_0() -> None:
    ordered = launch_order([chain("bdsl", 0), chain("bdsl", 1), chain("none", 0), chain("none", 1)])
    assert [c.last.rule for c in ordered] == ["none", "none", "bdsl", "bdsl"]


def test_a_plan_counts_done_missing_and_failed_stages() -> None:
    wanted = [chain("none", 0), chain("bdsl", 0), chain("gsl", 0)]
    done = {wanted[0].last.key, "another grid's stage"}
    plan = Plan.of(wanted, done, {wanted[1].last.key: "loss became NaN", "another grid's failure": "x"})
    assert plan.counts() == {"total": 3, "done": 1, "missing": 1, "failed": 1}
    assert plan.naive_stages == 5
    assert [c.last.rule for c in plan.unfinished] == ["bdsl", "gsl"]
    assert plan.as_dict()["failures"][0]["cause"] == "loss became NaN"


def test_a_stage_that_was_trained_after_all_is_not_failed() -> None:
    one = chain("none", 0)
    plan = Plan.of([one], [one.last.key], {one.last.key: "worker died"})
    assert plan.counts() == {"total": 1, "done": 1, "missing": 0, "failed": 0}
