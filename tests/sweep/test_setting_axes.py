"""Every field of `training` and `features` as an axis of a grid: one value, a list, or a distribution."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.errors import UserError
from data_prep.features import FeatureSettings, feature_settings
from data_prep.shards import PreparedCorpus
from sweep.planning.grid import load_grid, parse_grid
from sweep.planning.grid_fields import FeatureChoice, TrainingChoice
from sweep.planning.stages import Plan
from sweep.storage.store import Store
from tests.sweep.test_fuse import run
from tests.sweep.test_grid import CONFIGS, CORPORA, chains_of, grid_of, plan_of, problems_of

SHIPPED = json.loads((Path(__file__).parent / "shipped_keys.json").read_text(encoding="utf-8"))
LISTS: dict[str, list[Any]] = {
    "epochs": ["paper", 3],
    "every": [1, 16],
    "batch_size": [64, 128],
    "learning_rate": [0.001, 0.0003],
    "decay": [0.8, 1.0],
    "decay_epochs": [1, 2],
    "staircase": [True, False],
    "patience": [2, 3],
    "validation_share": [0.1, 0.2],
    "validation_by": ["split", "speaker"],
    "early_stopping": [True, False],
    "restore_best_weights": [True, False],
    "precision": ["float32", "bfloat16"],
    "layout": ["channels_last", "contiguous"],
    "standardisation": ["band", "overall", "utterance", "none"],
    "batch_norm_momentum": [0.1, 0.01],
    "initialisation": ["backbone", "glorot_uniform"],
}
DRAWN: dict[str, dict[str, Any]] = {
    "epochs": {"int_uniform": [4, 12]},
    "every": {"choice": [4, 8]},
    "batch_size": {"choice": [32, 64, 128]},
    "learning_rate": {"log_uniform": [1e-4, 1e-2]},
    "decay": {"uniform": [0.5, 1]},
    "decay_epochs": {"int_uniform": [1, 4]},
    "staircase": {"choice": [True, False]},
    "patience": {"int_uniform": [2, 5]},
    "validation_share": {"uniform": [0.05, 0.3]},
    "validation_by": {"choice": ["split", "speaker"]},
    "early_stopping": {"choice": [True, False]},
    "restore_best_weights": {"choice": [True, False]},
    "precision": {"choice": ["float32", "bfloat16"]},
    "layout": {"choice": ["channels_last", "contiguous"]},
    "standardisation": {"choice": ["band", "none"]},
    "batch_norm_momentum": {"log_uniform": [0.01, 0.1]},
    "initialisation": {"choice": ["backbone", "glorot_uniform"]},
}


def values_of(field: str, **fields: Any) -> list[Any]:
    """The values of a field of the training of chains, each once, in order."""
    return list(dict.fromkeys(getattr(chain.last.training, field) for chain in chains_of(**fields)))


# Lists


def test_every_field_is_tried() -> None:
    assert list(LISTS) == list(DRAWN) == list(TrainingChoice.model_fields)


@pytest.mark.parametrize("field", LISTS)
def test_a_list_is_an_axis(field: str) -> None:
    found = values_of(field, training={field: LISTS[field]})
    assert found == [12 if value == "paper" else value for value in LISTS[field]]
    assert len(chains_of(training={field: LISTS[field]})) == len(LISTS[field]) * len(chains_of())


@pytest.mark.parametrize("field", LISTS)
def test_a_list_has_the_keys_of_a_grid_for_each_value(field: str) -> None:
    listed = plan_of(training={field: LISTS[field]}).stages.keys()
    assert listed == set().union(*(plan_of(training={field: value}).stages for value in LISTS[field]))


def test_a_list_of_one_value_is_that_value_and_a_repeated_value_counts_once() -> None:
    assert chains_of(training={"every": [4]}) == chains_of(training={"every": 4})
    assert chains_of(training={"learning_rate": [0.001, 1e-3]}) == chains_of()


def test_lists_are_a_product() -> None:
    rates, sizes = [0.01, 0.001, 0.0003], [64, 128]
    training = {"learning_rate": rates, "batch_size": sizes}
    chains = chains_of(training=training, rules=["bdsl", "gsl"], folds=2)
    assert len(chains) == 3 * 2 * 2 * 2
    pairs = {(chain.last.training.learning_rate, chain.last.training.batch_size) for chain in chains}
    assert pairs == {(rate, size) for rate in rates for size in sizes}


RULES_ADDED_SINCE = {"consensus", "top_two", "extrapolated"}


@pytest.mark.parametrize("grid", SHIPPED)
def test_the_keys_of_shipped_grids_are_those_that_they_had_when_they_were_first_shipped(grid: str) -> None:
    plan = Plan.of(load_grid(CONFIGS / f"{grid}.yaml").expand(CORPORA), (), {})
    stages = sorted(key for key, stage in plan.stages.items() if stage.rule not in RULES_ADDED_SINCE)
    found = {"stages": len(stages), "sha256": hashlib.sha256("\n".join(stages).encode()).hexdigest()}
    assert found == SHIPPED[grid]


# Distributions


@pytest.mark.parametrize("field", DRAWN)
def test_a_distribution_is_an_axis(field: str) -> None:
    found = values_of(field, training={field: DRAWN[field]}, samples=8)
    (kind, named), *_ = DRAWN[field].items()
    assert 1 < len(found) <= 8
    assert set(found) <= set(named) if kind == "choice" else min(named) <= min(found) <= max(found) <= max(named)


@pytest.mark.parametrize("field", DRAWN)
def test_drawn_values_have_the_keys_of_listed_ones(field: str) -> None:
    drawn = {"training": {field: DRAWN[field]}, "samples": 6}
    assert plan_of(**drawn).stages.keys() == plan_of(training={field: values_of(field, **drawn)}).stages.keys()


def test_whole_numbers_that_are_drawn_for_a_field_of_any_number_have_the_keys_of_listed_ones() -> None:
    drawn = plan_of(training={"learning_rate": {"int_uniform": [1, 2]}}, samples=8)
    assert drawn.stages.keys() == plan_of(training={"learning_rate": [1, 2]}).stages.keys()
    rules = plan_of(rules=[{"wdsl": {"int_uniform": [0, 1]}}], samples=8)
    assert rules.stages.keys() == plan_of(rules=[{"wdsl": [0, 1]}]).stages.keys()
    chosen = plan_of(rules=[{"wdsl": {"choice": [0, 1]}}], samples=8)
    assert rules.stages.keys() == chosen.stages.keys()


def test_more_samples_keep_the_stages_of_fewer() -> None:
    drawn = {"learning_rate": {"log_uniform": [1e-4, 1e-2]}, "batch_size": {"int_uniform": [16, 64]}}
    eight, sixteen = (plan_of(training=drawn, samples=samples) for samples in (8, 16))
    assert eight.stages.keys() < sixteen.stages.keys()
    assert (len(eight.stages), len(sixteen.stages)) == (8 * 20, 16 * 20)


def test_two_machines_draw_the_same_keys() -> None:
    plan = plan_of(training={"learning_rate": {"log_uniform": [1e-4, 1e-2]}}, samples=8, rules=["none"])
    assert values_of("learning_rate", training={"learning_rate": {"log_uniform": [1e-4, 1e-2]}}, samples=8) == [
        *(0.0026, 0.00026, 0.00821, 0.000821, 0.00146, 0.000146, 0.00462, 0.000462),
    ]
    assert hashlib.sha256("\n".join(sorted(plan.stages)).encode()).hexdigest()[:16] == "cf559ea8f85b74ce"


def test_another_sampling_seed_draws_other_values_for_the_same_training_seeds() -> None:
    drawn = {"training": {"learning_rate": {"log_uniform": [1e-4, 1e-2]}}, "samples": 4}
    one, other = (chains_of(**drawn, sampling_seed=seed) for seed in (0, 1))
    assert {chain.last.seed for chain in [*one, *other]} == {0}
    assert not {chain.last.key for chain in one} & {chain.last.key for chain in other}


def test_samples_stand_beside_lists() -> None:
    training = {"learning_rate": {"log_uniform": [1e-4, 1e-2]}, "batch_size": [64, 128]}
    pairs = {
        (c.last.training.learning_rate, c.last.training.batch_size) for c in chains_of(training=training, samples=3)
    }
    assert len(pairs) == 3 * 2 and len({rate for rate, _ in pairs}) == 3


def test_a_drawn_alpha_shares_its_iteration_0() -> None:
    plan = plan_of(rules=["none", {"wdsl": {"uniform": [0, 1]}}], samples=5, folds=2)
    assert [stage.iteration for stage in plan.stages.values()].count(0) == 2
    assert len(plan.stages) == 2 * (1 + 5)


def test_alphas_and_training_are_drawn_together() -> None:
    drawn = {"rules": [{"wdsl": {"uniform": [0, 1]}}], "training": {"decay": {"uniform": [0.5, 1]}}, "samples": 5}
    pairs = {(chain.last.alpha, chain.last.training.decay) for chain in chains_of(**drawn)}
    assert len(pairs) == 5


def test_two_drawn_alphas_are_drawn_apart() -> None:
    drawn = {"wdsl": [{"uniform": [0, 1]}, {"uniform": [0, 1]}]}
    assert len({chain.last.alpha for chain in chains_of(rules=[drawn], samples=4)}) == 8


# Products


def test_entries_of_chains_override_the_grid_field_by_field() -> None:
    chains = chains_of(
        training={"learning_rate": [0.01, 0.001], "epochs": 4, "every": 8},
        chains=[{"rules": ["bdsl"]}, {"rules": ["gsl"], "training": {"learning_rate": 0.0003}}],
    )
    found = {
        (c.last.rule, c.last.training.learning_rate, c.last.training.epochs, c.last.training.every) for c in chains
    }
    assert found == {("bdsl", 0.01, 4, 8), ("bdsl", 0.001, 4, 8), ("gsl", 0.0003, 4, 8)}


def test_an_entry_may_draw_where_the_grid_does_not_and_have_samples_of_its_own() -> None:
    drawn = {"training": {"learning_rate": {"log_uniform": [1e-4, 1e-2]}}, "samples": 3}
    chains = chains_of(rules=["bdsl"], chains=[{"rules": ["none"]}, drawn])
    assert len({c.last.training.learning_rate for c in chains if c.last.rule == "bdsl"}) == 3
    assert {c.last.training.learning_rate for c in chains if c.last.rule == "none"} == {0.001}


# Features

CUT = {
    f"{name} segment_frames {frames}": PreparedCorpus(
        Path(name),
        {"corpus": name, "fingerprint": f"{frames:012}", "settings": FeatureSettings(segment_frames=frames).as_dict()},
    )
    for name in ("emodb", "savee")
    for frames in (20, 32, 40)
}


def test_features_pick_preparations() -> None:
    grid = parse_grid(grid_of(corpora=["emodb", "savee"], features={"segment_frames": [20, 40]}), "test")
    assert [request.key for request in grid.corpus_requests()] == [
        f"{name} segment_frames {frames}" for frames in (20, 40) for name in ("emodb", "savee")
    ]
    found = {chain.last.corpus for chain in grid.expand(CUT)}
    assert found == {f"{name}-{frames:012}" for name in ("emodb", "savee") for frames in (20, 40)}


def test_features_may_be_drawn() -> None:
    drawn = parse_grid(grid_of(features={"segment_frames": {"choice": [20, 32, 40]}}, samples=8), "test")
    assert len({chain.last.corpus for chain in drawn.expand(CUT)}) == 3


def test_one_value_of_a_feature_tells_no_preparations_apart() -> None:
    (request,) = parse_grid(grid_of(features={"segment_frames": 20}), "test").corpus_requests()
    assert (request.key, request.features) == ("emodb", (("segment_frames", 20),))


def test_every_feature_takes_a_list() -> None:
    made = FeatureSettings().as_dict()
    for field in FeatureChoice.model_fields:
        grid = parse_grid(grid_of(features={field: [made[field], made[field] + 1]}), "test")
        assert len(grid.corpus_requests()) == 2, field


# What is refused


def test_every_mistake_in_settings_is_told_at_once_with_its_field() -> None:
    said = problems_of(
        folds=[5, 10],
        resources={"cpu": [1, 2]},
        training={
            "learning_rate": {"uniform": [0.01, 0.001]},
            "decay": {"log_uniform": [0, 1]},
            "batch_size": {"uniform": [16, 64]},
            "epochs": [],
            "patience": [3, 0],
            "batchsize": 32,
        },
        features={"segment_frame": 20},
        chains=[{"iterations": [1, 2], "training": {"validation_share": {"loguniform": [0.1, 0.2]}}}],
    )
    assert "11 problems" in said
    for problem in (
        "folds: takes one value; lists are for axes, and for the fields of training and features (got [5, 10])",
        "resources.cpu: takes one value",
        "training.learning_rate: uniform needs a lower bound and then a higher one, not [0.01, 0.001]",
        "training.decay: log_uniform needs bounds above 0, not [0, 1]",
        "training.batch_size: batch_size takes whole numbers; write {int_uniform: [16, 64]}, or a list",
        "training.epochs: needs at least one value",
        "training.patience.1: Input should be greater than or equal to 1 (got 0)",
        "training.batchsize: unknown field; did you mean batch_size? allowed: epochs, every",
        "features.segment_frame: unknown field; did you mean segment_frames? allowed:",
        "chains.0.iterations: takes one value",
        "chains.0.training.validation_share.loguniform: unknown field; did you mean log_uniform? allowed: uniform,",
    ):
        assert f"- {problem}" in said, said


def test_what_only_the_whole_grid_can_tell_is_told_at_once() -> None:
    many = {"every": list(range(1, 501)), "patience": list(range(1, 501))}
    said = problems_of(
        chains=[
            {"training": {"learning_rate": {"uniform": [0.1, 0.2]}}},
            {"samples": 4},
            {"rules": [{"wdsl": {"uniform": [0, 1]}}]},
            {"training": many},
        ]
    )
    assert "4 problems" in said
    for problem in (
        "chains.0.samples: missing, but training.learning_rate is drawn from a distribution; write samples: 16, say",
        "chains.1.samples: there is no distribution to draw from; write one, such as training: {learning_rate: ",
        "chains.2.samples: missing, but rules is drawn from a distribution",
        "it asks for up to 5,000,050 chains, more than 200,000; split it",
    ):
        assert f"- {problem}" in said, said


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"samples": 4}, "samples: there is no distribution to draw from"),
        (
            {"training": {"epochs": {"uniform": [1, 5]}}},
            "training.epochs: epochs takes whole numbers; write {int_uniform: [1, 5]}, or a list",
        ),
        ({"samples": [8, 16]}, "samples: takes one value"),
        ({"list": 1}, "list: unknown field; "),
        ({"training": {"one": 1}}, "training.one: unknown field; "),
        ({"samples": 0}, "samples: Input should be greater than or equal to 1"),
        ({"rules": [{"wdsl": {"uniform": [0, 1.5]}}]}, "rules.0: alpha 1.5 is not a number in [0, 1]"),
        ({"rules": [{"wdsl": -0.2}]}, "rules.0: alpha -0.2 is not a number in [0, 1]; write {extrapolated: 0.2}"),
        ({"rules": [{"wdsl": {"unifrm": [0, 1]}}]}, "rules.0.unifrm: unknown field; did you mean uniform? allowed"),
    ],
    ids=str,
)
def test_a_mistake_in_samples_or_a_drawn_alpha_is_named(fields: dict[str, Any], problem: str) -> None:
    assert f"- {problem}" in problems_of(**fields)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("learning_rate", {"choice": [0.1, -1]}, ": Input should be greater than 0 (got -1)"),
        ("decay", {"uniform": [0.5, 1.2]}, ": Input should be less than or equal to 1 (got 1.2)"),
        ("batch_size", {"int_uniform": [1, 8]}, ": Input should be greater than or equal to 2 (got 1)"),
        ("early_stopping", {"uniform": [0, 1]}, ": early_stopping takes no range of numbers; write a list"),
        ("precision", {"uniform": [0, 1]}, ": Input should be 'float32' or 'bfloat16'"),
        ("learning_rate", None, ": Input should be a valid number"),
        ("learning_rate", [[0.1, 0.2]], ".0: takes one value"),
        ("validation_share", [0, 0.1], ": 0 leaves early stopping no utterances"),
    ],
    ids=str,
)
def test_a_mistake_in_a_field_of_training_is_named(field: str, value: Any, problem: str) -> None:
    assert f"- training.{field}{problem}" in problems_of(training={field: value})


# Trained


@pytest.fixture(scope="module")
def cut_twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with two preparations of one synthetic corpus, of segments of 20 and of 32 frames."""
    from data_prep.corpora import read_manifest
    from data_prep.prepare import prepare
    from data_prep.synthetic import SyntheticCorpus, read_truth, write_corpus

    folder = tmp_path_factory.mktemp("cut")
    utterances = read_manifest(write_corpus(folder / "audio", SyntheticCorpus(speakers=2, texts=2, takes=2)))
    truth = read_truth(folder / "audio" / "truth.csv")
    for settings in (feature_settings(segment_ms=215), feature_settings(segment_ms=335)):
        prepare("synthetic", utterances, folder / "data", settings, truth=truth, inline=True)
    return folder / "data"


def test_a_sweep_over_segment_lengths_trains_on_each_preparation(
    cut_twice: Path, write_grid: Callable[..., Path], tmp_path: Path
) -> None:
    from ser_sweep import open_sweep

    grid = write_grid(rules=["none", "bdsl"], features={"segment_frames": [20, 32]})
    assert run(grid, cut_twice, tmp_path / "store", "--inline") == 0
    sweep = open_sweep(grid, cut_twice, tmp_path / "store")
    assert sweep.plan.counts() == {"total": 8, "done": 8, "missing": 0, "failed": 0}
    assert [setting.text for setting in sweep.settings] == ["segment_frames 20", "segment_frames 32"]
    assert sweep.shown.text == "segment_frames 32"
    labels = {chain.label_in(sweep.plan.view) for chain in sweep.chains}
    assert "synthetic tiny bdsl (segment_frames 20) fold 1 seed 0" in labels and len(labels) == 8
    rates = {one.text: sweep.at({"segment_frames": str(one.by_field["segment_frames"])}) for one in sweep.settings}
    assert all(len(other.scores(forests=False)) == 2 for other in rates.values())
    longer = write_grid(rules=["none", "bdsl"], features={"segment_frames": [20, 32, 40]})
    with pytest.raises(UserError, match=r"none of its 2 preparations in .* has segment_frames 40; prepare it so"):
        open_sweep(longer, cut_twice, tmp_path / "store")


def test_networks_with_other_learning_rates_side_by_side_have_the_bits_of_each_alone(
    small_data: Path, write_grid: Callable[..., Path], tmp_path: Path
) -> None:
    training = {"epochs": 2, "every": 16, "learning_rate": [0.001, 0.003]}
    stores = {fuse: Store(tmp_path / f"store{fuse}") for fuse in (1, 4)}
    for fuse in stores:
        grid = write_grid(rules=["bdsl"], training=training, fuse=fuse)
        assert run(grid, small_data, tmp_path / f"store{fuse}", "--inline") == 0
    assert {record["device"]["fused"] for record in stores[4].records()} == {4}
    assert stores[1].done_keys() == stores[4].done_keys() and len(stores[1].done_keys()) == 8
    for key in stores[1].done_keys():
        alone, beside = (store.read_predictions(key) for store in stores.values())
        assert alone is not None and beside is not None
        np.testing.assert_array_equal(alone.q, beside.q)


def test_a_sweep_that_is_extended_trains_what_is_new(
    small_data: Path, write_grid: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = {"epochs": 1, "every": 32, "learning_rate": {"log_uniform": [1e-4, 1e-2]}}
    for samples, said in ((2, "4 of 4 stages done: 4 trained"), (4, "8 of 8 stages done: 4 trained")):
        grid = write_grid(rules=["none"], training=drawn, samples=samples)
        assert run(grid, small_data, tmp_path / "store", "--inline") == 0
        assert said in capsys.readouterr().out
