"""Why a stage is to be trained: what the store holds instead, told in words."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from data_prep.errors import UserError
from dsl.labels import LabelUpdate
from dsl.settings import Alteration, TrainingSettings
from ser_sweep.cli import main
from sweep.planning.explain import DAMAGED, DONE, FAILED, MISSING, Reason, named, reasons, values_of
from sweep.planning.in_view import ALONE
from sweep.planning.stages import ChainSpec, Plan, StageSpec
from sweep.storage.store import Store
from tests.sweep.test_fuse import run
from tests.sweep.test_grid import plan_of
from tests.sweep.test_stages import STAGE

RATES = {"learning_rate": [0.001, 0.0003]}


def record(stage: StageSpec, **versions: int) -> dict[str, Any]:
    """Its stage.json, as far as reasons need it."""
    identity = {**stage.identity, **versions}
    return {"key": stage.key if not versions else "f" * 20, "identity": identity}


def why(stage: StageSpec, *stored: dict[str, Any], **about: Any) -> Reason:
    """Why the last stage of a chain is to be trained beside what is stored."""
    plan = Plan.of([ChainSpec(stage)], [one["key"] for one in stored], about.pop("failures", {}))
    (reason,) = reasons(plan, [stage], stored, **about)
    return reason


def told(stored: StageSpec, asked: StageSpec, **about: Any) -> list[str]:
    found = why(asked, record(stored), **about)
    assert found.state == MISSING and found.nearest == stored.key
    return [one.text for one in found.differences]


def test_a_stage_that_is_there_is_done() -> None:
    found = why(STAGE, record(STAGE))
    assert (found.state, found.text) == (DONE, "done: it is in the store, and is not trained again")


def test_a_stage_that_failed_has_its_cause() -> None:
    found = why(STAGE, failures={STAGE.key: "loss became NaN"})
    assert (found.state, found.text) == (FAILED, "failed, and will be tried again: loss became NaN")


def test_a_damaged_stage_is_told_and_is_nobodys_nearest() -> None:
    other = replace(STAGE, fold=4)
    assert why(STAGE, record(STAGE), damaged=[STAGE.key]).state == DAMAGED
    assert why(other, record(STAGE), damaged=[STAGE.key]).nearest is None


def test_in_an_empty_store_there_is_nothing_near() -> None:
    assert why(STAGE).text == "missing: the store holds no stage yet"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"corpus": "emodb-bbb"}, "the corpus was prepared anew: emodb-0123456789ab, now emodb-bbb"),
        ({"corpus": "savee-bbb"}, "another corpus: emodb-0123456789ab, now savee-bbb"),
        ({"backbone": "vgg19"}, "backbone densenet22, now vgg19"),
        ({"split": "speaker"}, "split stratified, now speaker"),
        ({"folds": 5}, "folds 10, now 5"),
        ({"fold": 4}, "fold 3, now 4"),
        ({"seed": 7}, "training seed 0, now 7"),
        ({"label_source": "global_oof"}, "label source in_fold, now global_oof"),
        ({"labels": "permuted"}, "labels given, now permuted"),
        ({"updates": (LabelUpdate("wdsl", 0.5),) * 2}, "rule wdsl 0.2, now wdsl 0.5"),
        (
            {"updates": (LabelUpdate("bdsl"), LabelUpdate("wdsl", 0.2))},
            "rule wdsl 0.2, now bdsl, then wdsl 0.2",
        ),
        ({"altered": Alteration(3, "labels")}, "for an exact audit: none altered, now labels of fold 3"),
        ({"training": TrainingSettings(learning_rate=0.0003)}, "learning_rate 0.001, now 0.0003"),
        ({"training": TrainingSettings(learning_rate=0.00100000001)}, "learning_rate 0.001, now 0.00100000001"),
        ({"training": TrainingSettings(early_stopping=False)}, "early_stopping true, now false"),
        ({"training": TrainingSettings(precision="bfloat16")}, "precision float32, now bfloat16"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_one_difference_is_told_with_both_values(change: dict[str, Any], text: str) -> None:
    assert told(STAGE, replace(STAGE, **change)) == [text]


def test_every_field_of_an_identity_is_compared() -> None:
    compared = set(values_of(STAGE.identity))
    written = {one.name for one in fields(StageSpec)} - {"updates", "training"}
    assert written | {"rule", "iteration"} | {one.name for one in fields(TrainingSettings)} <= compared


def test_other_versions_of_method_and_backbone_are_told() -> None:
    found = why(STAGE, record(STAGE, method=1, backbone_version=7))
    assert [one.text for one in found.differences] == [
        "the method has another version: 1, now 2",
        "the backbone has another version: 7, now 1",
    ]
    assert "no stage in the store has its settings" in found.text


def test_a_preparation_is_told_with_how_it_was_cut() -> None:
    cut = {STAGE.corpus: {"segment_frames": 32, "mels": 64}, "emodb-bbb": {"segment_frames": 20, "mels": 64}}
    (text,) = told(STAGE, replace(STAGE, corpus="emodb-bbb"), cut=cut)
    assert text.endswith("emodb-0123456789ab, now emodb-bbb (segment_frames 32, now 20)")


def test_the_nearest_has_the_same_backbone_and_step_and_then_fewest_differences() -> None:
    far = [
        replace(STAGE, backbone="vgg19"),
        STAGE.at(1),
        replace(STAGE, training=TrainingSettings(epochs=3, batch_size=64, learning_rate=0.1)),
    ]
    near = replace(STAGE, split="speaker", folds=5)
    asked = replace(STAGE, seed=0)
    found = why(asked, *map(record, [*far, near]))
    assert found.nearest == near.key
    assert found.nearest_label == "emodb densenet22 wdsl 0.2 speaker split fold 3 seed 0, t=2"


def test_of_those_as_near_the_same_fold_is_nearest() -> None:
    """What changed is more to the point than that other folds are there."""
    other_fold, other_rate = replace(STAGE, fold=0), replace(STAGE, training=TrainingSettings(learning_rate=0.1))
    assert why(STAGE, record(other_fold), record(other_rate)).nearest == other_rate.key
    assert "only others of its cell are in the store" in why(STAGE, record(other_fold)).text


def test_what_only_a_newer_version_understands_is_not_compared() -> None:
    newer = {"key": "e" * 20, "identity": {**STAGE.identity, "colour": "red"}}
    assert why(replace(STAGE, fold=4), newer).nearest is None


def test_a_reason_reads_as_a_text() -> None:
    asked = replace(STAGE, training=TrainingSettings(learning_rate=0.0003, batch_size=64))
    assert why(asked, record(STAGE)).text == (
        "missing: no stage in the store has its settings. The nearest is emodb densenet22 wdsl 0.2 (batch_size 128, "
        f"learning_rate 0.001) fold 3 seed 0, t=2 ({STAGE.key}); what differs:\n"
        "- batch_size 128, now 64\n- learning_rate 0.001, now 0.0003"
    )


# Names


def test_a_chain_is_named_as_it_is_shown() -> None:
    plan = plan_of(training=RATES, rules=["none", "bdsl"], folds=2)
    for chain in plan.chains:
        label = chain.label_in(plan.view)
        assert named(plan, label) == list(chain.stages)
        assert named(plan, f" {label} and 3 more") == list(chain.stages)
    for key, stage in plan.stages.items():
        assert named(plan, plan.label_of(key)) == named(plan, key) == named(plan, key[:12].upper()) == [stage]


def test_a_label_may_leave_out_what_all_chains_have() -> None:
    plan = plan_of(splits=["speaker"], folds=2)
    assert named(plan, plan.chains[0].label_in(ALONE)) == list(plan.chains[0].stages)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "emodb densnet22 bdsl (learning_rate 0.001) fold 1 seed 0",
            "- emodb densenet22 bdsl (learning_rate 0.001) fold 1",
        ),
        ("emodb densenet22 bdsl fold 1 seed 0", "2 have that name; say which is meant:"),
        ("zzz", "the grid has no such chain or stage"),
        ("", "the grid has no such chain or stage"),
        ("0" * 20, "the grid has no such chain or stage"),
    ],
)
def test_a_name_that_is_none_is_refused_with_near_ones(name: str, said: str) -> None:
    plan = plan_of(training=RATES, rules=["none", "bdsl"], folds=2)
    with pytest.raises(UserError) as caught:
        named(plan, name)
    assert said in str(caught.value)
    assert 1 < len(str(caught.value).splitlines()) <= 6


def test_a_key_of_which_more_is_needed_is_refused() -> None:
    plan = plan_of()
    first = next(key[0] for key in plan.stages if sum(other[0] == key[0] for other in plan.stages) > 1)
    with pytest.raises(UserError, match="stages have keys that begin so; give more of it"):
        named(plan, first)


# The command


def test_plan_says_why_a_changed_grid_trains_again(
    small_data: Path, write_grid: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = {"epochs": 1, "every": 32}
    place = ["--data", str(small_data), "--store", str(tmp_path / "store")]
    assert run(write_grid(rules=["bdsl"], training=training), small_data, tmp_path / "store", "--inline") == 0
    capsys.readouterr()
    label = "synthetic tiny bdsl fold 1 seed 0"
    assert main(["plan", str(tmp_path / "grid.yaml"), *place, "--why", label]) == 0
    assert capsys.readouterr().out.count("done: it is in the store") == 2
    changed = str(write_grid(rules=["bdsl"], training={**training, "batch_size": 64}))
    assert main(["plan", changed, *place, "--why", label]) == 0
    said = capsys.readouterr().out
    assert said.count("missing: no stage in the store has its settings") == 2
    assert said.count("    - batch_size 128, now 64\n") == 2
    assert main(["plan", changed, *place, "--why", label, "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["why"]
    assert first["differences"] == [
        {"field": "batch_size", "stored": 128, "asked": 64, "text": "batch_size 128, now 64"}
    ]
    assert second["label"] == f"{label}, t=1" and second["nearest"]["stage"] in Store(tmp_path / "store").done_keys()
    assert main(["plan", changed, *place, "--why", "synthetic tiny bdsl fold 9 seed 0"]) == 2
    assert f"- {label}" in capsys.readouterr().err


@pytest.mark.parametrize("at", [0, 200], ids=["cut off", "changed"])
def test_plan_says_that_a_stage_is_damaged(
    at: int, small_data: Path, write_grid: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = write_grid(rules=["none"], training={"epochs": 1, "every": 32})
    assert run(grid, small_data, tmp_path / "store", "--inline") == 0
    key = sorted(Store(tmp_path / "store").done_keys())[0]
    file = next((tmp_path / "store").rglob(f"{key}/predictions*"))
    content = file.read_bytes()
    file.write_bytes(content[:at] + bytes(len(content) - at) if at else b"")
    capsys.readouterr()
    place = [str(grid), "--data", str(small_data), "--store", str(tmp_path / "store")]
    assert main(["plan", *place, "--why", key[:8]]) == 0
    assert "damaged: its files are not those that were committed" in capsys.readouterr().out
