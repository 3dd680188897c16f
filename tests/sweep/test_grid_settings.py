"""Settings of a grid, what labels tell of them, and which of them is shown."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_prep.errors import UserError
from data_prep.features import FeatureSettings
from data_prep.shards import PreparedCorpus
from dsl.settings import TrainingSettings
from ser_sweep import open_sweep
from ser_sweep.cli import main
from sweep.planning.grid import parse_grid
from sweep.planning.in_view import InView, value_text
from sweep.planning.products import paper_epochs
from sweep.planning.settings import Setting, settings_of
from sweep.planning.stages import ChainSpec
from tests.sweep.test_grid import chains_of, plan_of
from tests.sweep.test_stages import STAGE

CUT = FeatureSettings()
RATES = {"learning_rate": [0.001, 0.0003]}


def chain(**training: Any) -> ChainSpec:
    return ChainSpec(replace(STAGE, training=replace(TrainingSettings(), **training)))


def texts_of(chains: list[ChainSpec], features: dict[str, FeatureSettings] | None = None) -> list[str]:
    corpora = {one.last.corpus for one in chains}
    asked = {corpus: corpus.rpartition("-")[0] for corpus in corpora}
    found = settings_of(chains, asked, features or dict.fromkeys(corpora, CUT))
    assert sum(len(each) for each in found.chains.values()) == len(chains)
    return [setting.text for setting in found]


# Settings


def test_a_grid_whose_chains_are_trained_alike_has_one_setting_without_a_word() -> None:
    assert texts_of(chains_of(rules=["none", {"wdsl": [0.2, 0.5]}], seeds=[0, 1], splits=["stratified"])) == [""]
    assert Setting().options == ""


def test_settings_tell_only_what_differs_and_are_sorted_by_value() -> None:
    assert texts_of(chains_of(training={**RATES, "every": 8})) == ["learning_rate 0.0003", "learning_rate 0.001"]
    both = {"batch_size": [128, 64], "early_stopping": [True, False]}
    assert texts_of(chains_of(training=both)) == [
        "batch_size 64, early_stopping false",
        "batch_size 64, early_stopping true",
        "batch_size 128, early_stopping false",
        "batch_size 128, early_stopping true",
    ]


def test_a_setting_is_told_as_a_command_takes_it() -> None:
    setting = Setting((("learning_rate", 0.001), ("early_stopping", False)))
    assert setting.options == "--setting learning_rate=0.001 early_stopping=false"


def test_epochs_that_differ_by_corpus_are_no_settings() -> None:
    assert texts_of(chains_of(corpora=["emodb", "casia", "savee"])) == [""]


def test_preparations_of_one_corpus_are_settings_where_the_grid_asks_for_them_by_their_features() -> None:
    corpora = {f"emodb-{frames:012}": FeatureSettings(segment_frames=frames) for frames in (40, 20)}
    chains = [ChainSpec(replace(STAGE, corpus=corpus)) for corpus in corpora]
    assert texts_of(chains, corpora) == ["segment_frames 20", "segment_frames 40"]
    by_name = settings_of(chains, {corpus: corpus for corpus in corpora}, corpora)
    assert [setting.text for setting in by_name] == [""]


@pytest.mark.parametrize(
    ("value", "text"), [(1e-3, "0.001"), (0.0003, "0.0003"), (2.0, "2"), (True, "true"), (12, "12"), ("text", "text")]
)
def test_values_are_written_as_in_a_grid(value: Any, text: str) -> None:
    assert value_text(value) == text


# Labels


def test_labels_tell_what_differs_in_training() -> None:
    plan = plan_of(training=RATES, rules=["bdsl"], folds=2)
    labels = [one.label_in(plan.view) for one in plan.chains]
    assert labels == [
        f"emodb densenet22 bdsl (learning_rate {rate}) fold {fold} seed 0"
        for rate in (0.001, 0.0003)
        for fold in (0, 1)
    ]
    cells = plan.progress_by_cell()
    assert "emodb-000000000000 densenet22 bdsl (learning_rate 0.0003) t=1" in cells and len(cells) == 4


def test_labels_of_a_grid_with_one_setting_are_as_ever() -> None:
    plan = plan_of(rules=["bdsl"], training={"learning_rate": 0.01}, folds=2)
    assert plan.chains[0].label_in(plan.view) == "emodb densenet22 bdsl fold 0 seed 0"


def test_labels_tell_all_chains_of_a_grid_apart() -> None:
    plan = plan_of(
        rules=["none", "bdsl", {"wdsl": [0.2, 0.5]}],
        splits=["stratified", "speaker"],
        label_sources=["in_fold", "cross_fit"],
        seeds=[0, 1],
        training={**RATES, "batch_size": [64, 128]},
        folds=2,
    )
    assert len({one.label_in(plan.view) for one in plan.chains}) == len(plan.chains)
    assert len({stage.label_in(plan.view) for stage in plan.stages.values()}) == len(plan.stages)


def test_preparations_of_one_corpus_go_by_their_full_names() -> None:
    stages = [replace(STAGE, corpus=corpus) for corpus in ("emodb-000000000020", "emodb-000000000040")]
    view = InView.of(stages)
    assert view.in_full and view.fields == ()
    assert ChainSpec(stages[0]).label_in(view).startswith("emodb-000000000020 densenet22 wdsl 0.2 fold 3")
    assert not InView.of([STAGE, replace(STAGE, corpus="savee-000000000000")]).in_full


def test_preparations_that_a_grid_picks_by_their_features_go_by_these() -> None:
    stages = [replace(STAGE, corpus=corpus) for corpus in ("emodb-000000000020", "emodb-000000000040")]
    features = {stage.corpus: {"segment_frames": int(stage.corpus[-2:]), "hop_ms": 10} for stage in stages}
    view = InView.of(stages, features)
    assert view.setting(stages[0]) == "segment_frames 20"
    assert ChainSpec(stages[1]).label_in(view).startswith("emodb densenet22 wdsl 0.2 (segment_frames 40) fold 3")
    assert InView.of(stages, dict.fromkeys(features, features[stages[0].corpus])).in_full
    assert ChainSpec(stages[0]).label_in(InView.of(stages[:1], features)).startswith("emodb densenet22 wdsl 0.2 fold")


def test_a_field_that_differs_between_corpora_only_is_not_told() -> None:
    view = InView.of(chain.last for chain in chains_of(corpora=["emodb", "savee"], training=RATES))
    assert view.fields == ("learning_rate",)


def test_an_ablation_of_one_factor_at_a_time_is_told_by_what_is_changed() -> None:
    changed: list[dict[str, Any]] = [
        {"learning_rate": [0.003, 0.01]},
        {"batch_size": 64},
        {"staircase": False},
        {"every": 8, "epochs": 6},
    ]
    entries = [{"name": "base"}, *({"name": str(one), "training": one} for one in changed)]
    plan = plan_of(training={"every": 16}, rules=["none"], folds=2, chains=entries)
    assert {plan.view.network(chain.last) for chain in plan.chains} == {
        "densenet22 none",
        "densenet22 none (learning_rate 0.003)",
        "densenet22 none (learning_rate 0.01)",
        "densenet22 none (batch_size 64)",
        "densenet22 none (staircase false)",
        "densenet22 none (epochs 6, every 8)",
    }
    assert {plan.view.setting(chain.last) for chain in plan.chains} >= {
        "epochs 12, every 16, batch_size 128, learning_rate 0.001, staircase true"
    }


def test_a_product_of_settings_is_told_in_full() -> None:
    plan = plan_of(training={**RATES, "batch_size": [64, 128], "every": [8, 16]}, folds=2)
    assert "densenet22 none (every 16, batch_size 128, learning_rate 0.001)" in {
        plan.view.network(chain.last) for chain in plan.chains
    }


# Which is shown


@pytest.fixture
def opened(write_grid: Callable[..., Path], small_data: Path) -> Any:
    training = {"epochs": 2, "every": 16, "learning_rate": [0.001, 0.003], "early_stopping": [True, False]}
    return open_sweep(write_grid(rules=["none"], training=training), small_data)


def test_of_several_settings_the_one_nearest_to_the_papers_is_shown(opened: Any) -> None:
    assert len(opened.settings) == 4
    assert opened.shown.text == "learning_rate 0.001, early_stopping true"


def test_another_setting_is_shown_where_it_is_asked_for(opened: Any) -> None:
    other = opened.at({"learning_rate": "3e-3", "early_stopping": "False"})
    assert other.shown.text == "learning_rate 0.003, early_stopping false"
    assert {one.last.training.learning_rate for one in other.shown_chains} == {0.003}
    assert opened.shown.text == "learning_rate 0.001, early_stopping true"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"batch_size": "64"},
            "--setting batch_size: the grid's settings do not differ in that; they differ in learning_rate, "
            "early_stopping",
        ),
        (
            {"learning_rate": "0.01"},
            "--setting learning_rate=0.01 fits no setting; there are:\n"
            "  - learning_rate 0.001, early_stopping false\n  - learning_rate 0.001, early_stopping true\n"
            "  - learning_rate 0.003, early_stopping false\n  - learning_rate 0.003, early_stopping true",
        ),
        (
            {"learning_rate": "0.001"},
            "--setting learning_rate=0.001 fits 2 settings; tell more of:\n"
            "  - learning_rate 0.001, early_stopping false\n  - learning_rate 0.001, early_stopping true",
        ),
    ],
)
def test_a_setting_that_is_not_one_is_refused(opened: Any, asked: dict[str, str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        opened.at(asked)
    assert str(caught.value) == said


def test_a_grid_of_one_setting_has_no_other(write_grid: Callable[..., Path], small_data: Path) -> None:
    with pytest.raises(UserError, match="has one setting only: every chain of a network is trained alike"):
        open_sweep(write_grid(rules=["none"]), small_data).at({"learning_rate": "0.1"})


def test_tables_show_the_setting_that_is_asked_for(
    write_grid: Callable[..., Path], small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = write_grid(rules=["none"], training={"epochs": 1, "every": 32, "learning_rate": [0.001, 0.003]})
    place = [str(grid), "--data", str(small_data), "--store", str(tmp_path / "store")]
    assert main(["run", *place, "--inline"]) == 0
    for rate in ("0.001", "0.003"):
        assert main(["tables", *place, "--no-forests", "--setting", f"learning_rate={rate}"]) == 0
    capsys.readouterr()
    assert main(["tables", *place, "--no-forests", "--setting", "learning_rate=0.002"]) == 2
    assert "--setting learning_rate=0.002 fits no setting" in capsys.readouterr().err


def test_the_papers_epochs_of_several_corpora_are_one_setting() -> None:
    grid = parse_grid(
        {
            "corpora": ["savee", "synthetic"],
            **{"backbones": ["tiny"], "rules": ["none"], "folds": 2, "training": {"epochs": ["paper", 4]}},
        },
        "here",
    )
    about = {"settings": FeatureSettings().as_dict(), "fingerprint": "f" * 12}
    corpora = {name: PreparedCorpus(Path(name), {"corpus": name, **about}) for name in ("savee", "synthetic")}
    asked = {one.name: name for name, one in corpora.items()}
    cut = dict.fromkeys(asked, FeatureSettings())
    found = settings_of(
        grid.expand(corpora), asked, cut, {name: paper_epochs(corpus) for name, corpus in asked.items()}
    )
    assert [setting.by_field for setting in found] == [{"epochs": 4}, {"epochs": "paper"}]
    (*_, paper) = found
    assert {chain.last.training.epochs for chain in found.chains[paper]} == {8, 12}
