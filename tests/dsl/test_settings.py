"""Settings: the steps of a chain, how rule and alpha are written, and what identifies a training."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pytest

from dsl.labels import LABEL_SOURCES, LabelUpdate
from dsl.settings import ChainSettings, Step, TrainingSettings, identity_of


def chain(*updates: LabelUpdate, **settings: Any) -> ChainSettings:
    basic = ChainSettings("toy", "tiny", "stratified", 10, 3, 7, "in_fold", updates, TrainingSettings())
    return replace(basic, **settings)


BDSL, HDL = LabelUpdate("bdsl"), LabelUpdate("hdl")


# Steps


@pytest.mark.parametrize("source", LABEL_SOURCES)
def test_a_chain_without_updates_is_one_step(source: str) -> None:
    assert chain(label_source=source, inner_folds=3).steps == (Step(0),)


@pytest.mark.parametrize("source", ["in_fold", "global_oof"])
def test_a_chain_has_a_step_for_each_iteration(source: str) -> None:
    assert chain(BDSL, HDL, label_source=source, inner_folds=3).steps == (Step(0), Step(1), Step(2))


def test_a_cross_fit_chain_has_a_step_for_each_inner_fold_before_each_update() -> None:
    steps = chain(BDSL, HDL, label_source="cross_fit", inner_folds=3).steps
    first, second = ((Step(t), Step(t, 0), Step(t, 1), Step(t, 2)) for t in range(2))
    assert steps == (*first, *second, Step(2))


# Texts


@pytest.mark.parametrize(
    ("updates", "rule", "alpha"),
    [
        ((), "none", ""),
        ((BDSL, BDSL), "bdsl", ""),
        ((BDSL, HDL), "bdsl→hdl", ""),
        ((LabelUpdate("wdsl", 0.2),), "wdsl", "0.2"),
        ((LabelUpdate("wdsl", 0.2), LabelUpdate("wdsl", 0.2)), "wdsl", "0.2"),
        ((LabelUpdate("ema", 0.9), LabelUpdate("ema", 0.5)), "ema", "0.9→0.5"),
        ((LabelUpdate("wdsl", 1.0), BDSL), "wdsl→bdsl", "1→-"),
        ((LabelUpdate("wdsl", 0.2), LabelUpdate("ema", 0.2)), "wdsl→ema", "0.2"),
    ],
)
def test_rule_and_alpha_are_written_once_where_they_stay_the_same(
    updates: tuple[LabelUpdate, ...], rule: str, alpha: str
) -> None:
    assert (chain(*updates).rule, chain(*updates).alpha) == (rule, alpha)


def test_a_chain_has_as_many_iterations_as_updates() -> None:
    assert [chain(*[BDSL] * count).iteration for count in range(3)] == [0, 1, 2]


# Identity

SINCE: dict[str, Any] = {  # what trainings can do since the first keys, and another value than the default
    "early_stopping": False,
    "precision": "bfloat16",
    "layout": "contiguous",
    "validation_by": "utterance",
    "standardisation": "overall",
    "staircase": False,
    "restore_best_weights": False,
    "batch_norm_momentum": 0.01,
    "initialisation": "glorot_uniform",
}


@dataclass(frozen=True)
class Old:
    name: str = "old"


@dataclass(frozen=True)
class Later(Old):
    extra: int = field(default=1, metadata={"later": True})
    inside: tuple[Old, ...] = ()


def test_an_identity_has_every_field_at_its_default_or_not() -> None:
    assert identity_of(Old()) == {"name": "old"}
    assert identity_of(Old("new")) == {"name": "new"}


def test_a_field_that_was_added_later_is_left_out_at_its_default() -> None:
    assert identity_of(Later()) == {"name": "old", "inside": []}


def test_a_field_that_was_added_later_is_there_otherwise() -> None:
    assert identity_of(Later(extra=2)) == {"name": "old", "extra": 2, "inside": []}


def test_an_identity_goes_into_settings_and_lists_of_them() -> None:
    nested = Later(inside=(Old("a"), Later()))
    assert identity_of(nested)["inside"] == [{"name": "a"}, {"name": "old", "inside": []}]


def test_a_chain_of_before_has_the_identity_it_had() -> None:
    """Before inner folds, permuted labels, and what trainings can do since."""
    training = asdict(TrainingSettings())
    for later in SINCE:
        del training[later]
    assert identity_of(chain(LabelUpdate("wdsl", 0.2))) == {
        "corpus": "toy",
        "backbone": "tiny",
        "split": "stratified",
        "folds": 10,
        "fold": 3,
        "seed": 7,
        "label_source": "in_fold",
        "updates": [{"rule": "wdsl", "alpha": 0.2}],
        "training": training,
    }


@pytest.mark.parametrize(("name", "value"), [("inner_folds", 5), ("labels", "permuted")])
def test_what_chains_can_do_since_is_part_of_their_identity(name: str, value: Any) -> None:
    assert identity_of(chain(**{name: value})) == {**identity_of(chain()), name: value}


@pytest.mark.parametrize(
    ("name", "value"),
    SINCE.items(),
)
def test_what_trainings_can_do_since_is_part_of_their_identity(name: str, value: Any) -> None:
    found = identity_of(TrainingSettings(**{name: value}))
    assert found == {**identity_of(TrainingSettings()), name: value}
