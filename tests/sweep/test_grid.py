"""Grid files: what they expand to, and what is wrong with bad ones."""

import random
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from data_prep.errors import UserError
from data_prep.features import FeatureSettings
from data_prep.files import write_json
from data_prep.shards import PreparedCorpus
from dsl.settings import TrainingSettings
from dsl.splits import SPLITS
from sweep.planning.grid import GridError, load_grid, parse_grid, resolve_corpora
from sweep.planning.stages import ChainSpec, Plan

CONFIGS = Path(__file__).parents[2] / "configs"
CORPORA = {
    name: PreparedCorpus(Path(name), {"corpus": name, "fingerprint": "0" * 12, "classes": {"a": 50, "b": 50}})
    for name in ("emodb", "casia", "savee", "synthetic")
}


def grid_of(**fields: Any) -> dict[str, Any]:
    return {"corpora": ["emodb"], "backbones": ["densenet22"], "rules": ["none", "bdsl"], **fields}


def chains_of(**fields: Any) -> list[ChainSpec]:
    return parse_grid(grid_of(**fields), "test").expand(CORPORA)


def plan_of(**fields: Any) -> Plan:
    return Plan.of(chains_of(**fields), (), {})


def problems_of(**fields: Any) -> str:
    with pytest.raises(GridError) as caught:
        parse_grid(grid_of(**fields), "bad.yaml")
    return str(caught.value)


def test_one_chain_for_each_combination_and_fold() -> None:
    chains = chains_of(backbones=["densenet22", "tiny"], rules=["bdsl", {"wdsl": [0.2, 0.5]}], seeds=[0, 1], folds=3)
    assert len(chains) == 2 * 3 * 2 * 3
    assert {(c.last.backbone, c.last.rule, c.last.alpha, c.last.seed, c.last.fold) for c in chains} == {
        (backbone, rule, alpha, seed, fold)
        for backbone in ("densenet22", "tiny")
        for rule, alpha in (("bdsl", ""), ("wdsl", "0.2"), ("wdsl", "0.5"))
        for seed in (0, 1)
        for fold in range(3)
    }


def test_wdsl_with_alpha_0_is_bdsl() -> None:
    assert chains_of(rules=[{"wdsl": 0}]) == chains_of(rules=["bdsl"])


def test_wdsl_with_alpha_1_is_a_chain_of_its_own() -> None:
    control = chains_of(rules=[{"wdsl": 1}])
    assert {chain.last.iteration for chain in control} == {1}
    assert not set(control) & set(chains_of(rules=["none", "bdsl"]))


def test_dhl_is_hdl() -> None:
    assert chains_of(rules=["dhl"]) == chains_of(rules=["hdl"])


def test_the_plan_of_all_rules_shares_iteration_0_and_the_equal_chains() -> None:
    plan = plan_of(rules=["none", "bdsl", {"wdsl": [0, 0.2, 1]}, "gsl", "hdl"], folds=10)
    # none, bdsl = wdsl 0, wdsl 0.2, wdsl 1, gsl and hdl: six chains a fold, five of them with an iteration 1.
    assert len(plan.chains) == 60
    assert plan.counts() == {"total": 10 * (1 + 5), "done": 0, "missing": 60, "failed": 0}
    assert plan.naive_stages == 10 * (1 + 5 * 2)


@pytest.mark.parametrize(("grid", "shared", "naive"), [("paper", 1020, 1380), ("emodb_paper", 340, 460)])
def test_the_paper_grids_have_the_known_number_of_trainings(grid: str, shared: int, naive: int) -> None:
    plan = Plan.of(load_grid(CONFIGS / f"{grid}.yaml").expand(CORPORA), (), {})
    assert (len(plan.stages), plan.naive_stages) == (shared, naive)


def test_the_ablation_shares_the_stages_of_one_setting_with_emodb_lite() -> None:
    """So the hour that its header tells is what two cores take for 120 such stages."""
    ablation, lite = (
        Plan.of(load_grid(CONFIGS / f"{grid}.yaml").expand(CORPORA), (), {}) for grid in ("ablation", "emodb_lite")
    )
    assert (len(ablation.chains), len(ablation.stages)) == (120, 120)
    assert len(ablation.stages.keys() & lite.stages.keys()) == 20


def test_the_order_in_a_grid_changes_no_key() -> None:
    fields: dict[str, list[Any]] = {
        "rules": ["none", "bdsl", {"wdsl": [0.1, 0.2]}, "gsl"],
        "seeds": [0, 1],
        "backbones": ["tiny", "vgg19"],
    }
    shuffled = {name: random.Random(1).sample(values, len(values)) for name, values in fields.items()}
    assert plan_of(**fields).stages.keys() == plan_of(**shuffled).stages.keys()


def test_resources_change_no_key() -> None:
    resources = {"cpu": 2, "gpu": 0.5, "max_concurrent": 3, "checkpoint_seconds": 5}
    assert plan_of().stages.keys() == plan_of(resources=resources).stages.keys()


def test_how_many_chains_a_trial_trains_changes_no_key() -> None:
    assert plan_of().stages.keys() == plan_of(fuse=8).stages.keys()


def test_the_usual_precision_and_layout_change_no_key_when_they_are_written() -> None:
    training = {"precision": "float32", "layout": "channels_last"}
    assert plan_of().stages.keys() == plan_of(training=training).stages.keys()


def keys_of(split: str, **training: Any) -> set[str]:
    return set(plan_of(splits=[split], training=training).stages)


def test_what_validates_changes_no_key_where_it_is_what_validates_anyway() -> None:
    for split, by in (
        *((split, "split") for split in SPLITS),
        ("stratified", "utterance"),
        ("speaker", "speaker"),
        ("text", "text"),
        ("speaker_text", "speaker"),
    ):
        assert keys_of(split, validation_by=by) == keys_of(split), (split, by)


def test_what_validates_changes_every_key_where_it_is_something_else() -> None:
    for split, others in {
        "stratified": ["speaker", "text"],
        "speaker": ["utterance", "text"],
        "text": ["utterance", "speaker"],
        "speaker_text": ["utterance", "text"],
    }.items():
        keys = [keys_of(split, validation_by=by) for by in ("split", *others)]
        assert len(set().union(*keys)) == sum(map(len, keys)) == 3 * len(keys[0])


def test_without_validation_it_does_not_matter_what_would_validate() -> None:
    without = {"validation_share": 0, "early_stopping": False}
    assert keys_of("speaker", **without) == keys_of("speaker", **without, validation_by="utterance")
    assert not keys_of("speaker", **without) & keys_of("speaker", early_stopping=False)


def test_settings_that_have_no_effect_change_no_key() -> None:
    def keys(**training: Any) -> set[str]:
        return set(plan_of(training=training).stages)

    assert keys(early_stopping=False, restore_best_weights=False) == keys(early_stopping=False)
    assert keys(decay=1, staircase=False) == keys(decay=1)
    assert not keys(restore_best_weights=False) & keys()
    assert not keys(staircase=False) & keys()


def test_the_stages_on_every_segment_of_the_thinning_curve_are_those_of_the_papers_baseline() -> None:
    thinning = load_grid(CONFIGS / "thinning.yaml").expand(CORPORA)
    whole = {chain.last.key for chain in thinning if chain.last.training.every == 1}
    baseline = {chain.last.key for chain in load_grid(CONFIGS / "emodb_densenet.yaml").expand(CORPORA)}
    assert len(whole) == 10 and len(thinning) == 60
    assert whole <= baseline


def test_each_factor_of_the_remaining_gap_stands_alone_beside_the_default() -> None:
    chains = load_grid(CONFIGS / "remaining_gap.yaml").expand(CORPORA)
    assert len(chains) == 100
    usual = replace(TrainingSettings(), every=16)
    departures = {
        tuple(field for field, value in asdict(chain.last.training).items() if value != asdict(usual)[field])
        for chain in chains
    }
    assert departures == {
        (),
        ("standardisation",),
        ("staircase",),
        ("restore_best_weights",),
        ("early_stopping",),
        ("validation_share", "early_stopping"),
        ("batch_norm_momentum",),
        ("initialisation",),
    }


def test_a_state_is_written_once_a_minute_unless_the_grid_says_otherwise() -> None:
    assert parse_grid(grid_of(), "test").resources.checkpoint_seconds == 60
    assert parse_grid(grid_of(resources={"checkpoint_seconds": 0}), "test").resources.checkpoint_seconds == 0


def test_everything_that_changes_a_training_changes_its_key() -> None:
    base = set(plan_of().stages)
    for change in (
        {"training": {"epochs": 3}},
        {"training": {"every": 2}},
        {"training": {"learning_rate": 0.01}},
        {"training": {"precision": "bfloat16"}},
        {"training": {"layout": "contiguous"}},
        {"seeds": [1]},
        {"folds": 5},
        {"backbones": ["tiny"]},
        {"corpora": ["savee"]},
    ):
        assert not base & set(plan_of(**change).stages), change


def test_products_take_what_they_leave_out_from_the_grid() -> None:
    grid = parse_grid(
        {
            "corpora": ["emodb"],
            "iterations": 3,
            "chains": [
                {"backbones": ["tiny"], "rules": ["bdsl"]},
                {"backbones": ["vgg19"], "rules": ["gsl"], "iterations": 2},
            ],
        },
        "test",
    )
    chains = grid.expand(CORPORA)
    assert {(c.last.backbone, c.last.rule, c.last.iteration) for c in chains} == {
        ("tiny", "bdsl", 3),
        ("vgg19", "gsl", 2),
    }


def test_epochs_follow_the_paper_for_each_corpus() -> None:
    epochs = {c.last.corpus.split("-")[0]: c.last.training.epochs for c in chains_of(corpora=list(CORPORA))}
    assert epochs == {"casia": 20, "emodb": 12, "savee": 8, "synthetic": 12}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_grids_load_expand_and_name_the_commands_that_run_them(path: Path) -> None:
    assert load_grid(path).expand(CORPORA)
    header = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    for command in ("prepare", "(run|audit .*--exact)", "(tables|audit)"):
        assert re.search(f"ser-sweep {command}", "\n".join(header))


def test_every_problem_is_reported_at_once_with_its_field() -> None:
    said = problems_of(
        backbones=["densenet23"],
        rules=["bdls", {"wdsl": 1.5}],
        folds=1,
        training={"epochs": 0, "epoch": 3},
        colour="red",
    )
    assert "7 problems" in said
    for field in ("backbones.0", "rules.0", "rules.1", "folds", "training.epochs", "training.epoch:", "colour"):
        assert f"- {field}" in said, said


def test_problems_of_the_whole_grid_are_reported_beside_those_of_fields() -> None:
    said = problems_of(
        training={"epochs": 0, "validation_share": 0, "learning_rate": {"log_uniform": [1e-4, 1e-2]}},
        labels="permuted_by_speaker",
        rules=["bdls"],
        scheduler={"halving": {"first_folds": 10}},
        resources={"cpu": 0},
    )
    assert "8 problems" in said, said
    for field in (
        *("training.epochs", "rules.0", "resources.cpu"),
        *(
            "training.validation_share: 0",
            "samples: missing",
            "labels: permuted_by_speaker",
            "scheduler.halving.first",
            "scheduler.halving: ",
        ),
    ):
        assert f"- {field}" in said, said
    assert "rules: missing" not in said, "there is one, which is not known"


def test_problems_of_an_entry_of_chains_leave_the_others_to_be_checked() -> None:
    said = problems_of(chains=[{"rules": ["bdls"]}, {"backbones": []}, {"training": {"validation_share": 0}}])
    for field in ("chains.0.rules.0", "chains.1.backbones", "training.validation_share: 0"):
        assert f"- {field}" in said, said


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"backbones": ["resnet"]}, ["backbones.0", "'resnet'", "vgg19, densenet22, mobilenetv2, efficientnet_b0"]),
        ({"rules": ["sdsl"]}, ["rules.0", "'sdsl'", "none, bdsl, wdsl, gsl, hdl"]),
        ({"rules": [{"wdsl": 1.01}]}, ["rules.0", "1.01", "[0, 1]"]),
        ({"rules": [{"wdsl": [0.2, -0.1]}]}, ["rules.0", "-0.1", "[0, 1]"]),
        ({"rules": [{"wdsl": float("nan")}]}, ["rules.0", "nan", "[0, 1]"]),
        ({"rules": [{"wdsl": True}]}, ["rules.0", "True", "[0, 1]"]),
        ({"rules": [{"wdsl": "0.2"}]}, ["rules.0", "'0.2'", "[0, 1]"]),
        ({"rules": ["wdsl"]}, ["rules.0", "needs an alpha", "{wdsl: 0.2}"]),
        ({"rules": [{"gsl": 0.3}]}, ["rules.0", "gsl takes no alpha", "0.3"]),
        ({"rules": [{"none": 0.3}]}, ["rules.0", "none takes no alpha"]),
        ({"rules": [{"wdsl": 0.2, "gsl": None}]}, ["rules.0", "one rule as its key"]),
        ({"rules": [7]}, ["rules.0", "7", "allowed"]),
        ({"rules": [["bdsl"]]}, ["rules.0", "allowed"]),
        ({"label_sources": ["out_of_fold"]}, ["label_sources.0", "in_fold"]),
        ({"splits": ["random"]}, ["splits.0", "stratified"]),
        ({"resources": {"gpus": 1}}, ["resources.gpus", "unknown field", "cpu, gpu, max_concurrent, max_failures"]),
        ({"training": {"learning_rate": -1}}, ["training.learning_rate", "-1"]),
        ({"chains": [{"rule": ["bdsl"]}]}, ["chains.0.rule", "unknown field", "rules"]),
        ({"corpora": None}, ["corpora: missing"]),
        ({"corpora": []}, ["corpora"]),
        ({"seeds": [-1]}, ["seeds.0", "-1"]),
        ({"training": {"epochs": 0}}, ["training.epochs: 0 is neither paper nor a whole number of at least 1"]),
        ({"training": {"epochs": 1.5}}, ["training.epochs: 1.5 is neither paper nor a whole number of at least 1"]),
        ({"resources": {"gpu": "all"}}, ["resources.gpu: 'all' is neither auto nor a number of at least 0"]),
        ({"resources": {"checkpoint_seconds": -1}}, ["resources.checkpoint_seconds:", "(got -1)"]),
        ({"resources": {"checkpoint_seconds": "inf"}}, ["resources.checkpoint_seconds:"]),
        ({"training": {"validation_by": "singer"}}, ["training.validation_by:", "'utterance'", "(got 'singer')"]),
        ({"training": {"validation_share": -0.1}}, ["training.validation_share:", "(got -0.1)"]),
        (
            {"training": {"validation_share": 0}},
            ["training.validation_share: 0 leaves early stopping no utterances; write early_stopping: false"],
        ),
        ({"training": {"standardisation": "cmvn"}}, ["training.standardisation:", "'utterance'", "(got 'cmvn')"]),
        ({"training": {"staircase": 2}}, ["training.staircase:", "(got 2)"]),
        ({"training": {"restore_best_weights": "last"}}, ["training.restore_best_weights:", "(got 'last')"]),
        ({"training": {"batch_norm_momentum": 0}}, ["training.batch_norm_momentum:", "greater than 0"]),
        ({"training": {"batch_norm_momentum": 1.5}}, ["training.batch_norm_momentum:", "(got 1.5)"]),
        ({"training": {"batch_norm_momentum": float("nan")}}, ["training.batch_norm_momentum:"]),
        ({"training": {"initialisation": "he"}}, ["training.initialisation:", "'glorot_uniform'", "(got 'he')"]),
        ({"training": {"layout": "nhwc"}}, ["training.layout:", "'channels_last' or 'contiguous'", "(got 'nhwc')"]),
    ],
)
def test_a_bad_field_is_named_with_its_value_and_what_is_allowed(fields: dict[str, Any], parts: list[str]) -> None:
    said = problems_of(**fields)
    for part in parts:
        assert part in said, said


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("rules: [none\n", "not valid YAML"),
        ("- a\n- b\n", "must be a mapping"),
        ("", "must be a mapping"),
        ("rules: [none]\nrules: [bdsl]\n", "'rules' stands twice"),
        ("!!python/object/apply:os.system ['true']\n", "not valid YAML"),
        ("[" * 3000, "not valid YAML"),
        ("#" * 1_000_001, "not a grid file"),
    ],
)
def test_a_file_that_is_no_grid_is_refused(tmp_path: Path, content: str, part: str) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(GridError, match="grid") as caught:
        load_grid(path)
    assert part in str(caught.value)


def test_a_grid_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(GridError, match=r"none\.yaml does not exist"):
        load_grid(tmp_path / "none.yaml")


def test_an_unknown_corpus_is_refused_with_what_there_is(small_data: Path, write_grid: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match=r"'emodb' is not in .* \(there: synthetic-"):
        resolve_corpora(load_grid(write_grid(corpora=["emodb"])), small_data)


def test_a_class_with_fewer_utterances_than_folds_is_refused(small_data: Path, write_grid: Callable[..., Path]) -> None:
    assert resolve_corpora(load_grid(write_grid(folds=8)), small_data)
    with pytest.raises(GridError) as caught:
        resolve_corpora(load_grid(write_grid(folds=9)), small_data)
    assert (
        "splits: stratified, folds: 9, training.validation_by: split: the corpus has 32 utterances by 2 speakers, of 2 "
        "texts (anger 8, happiness 8, neutral 8, sadness 8): a class has 8 utterances, fewer than the 9 folds; ask for "
        "other folds or another split"
    ) in str(caught.value)


def refusal_of(path: Path, data: Path) -> str | None:
    """Why prepared data are not enough for a grid; None where they are."""
    try:
        resolve_corpora(load_grid(path), data)
    except GridError as error:
        return str(error)
    return None


def prepared(folder: Path, **columns: list[Any]) -> Path:
    """A data folder with utterances of which `columns` are some: enough to plan with, not to train on."""
    count = len(columns["emotion"])
    own = {"id": [f"u{n:03}" for n in range(count)], "speaker": ["s"] * count, "text": ["t"] * count, **columns}
    classes = sorted(set(own["emotion"]))
    label = [classes.index(emotion) for emotion in own["emotion"]]
    frames = {"frames": [40] * count, "segments": [9] * count}
    utterances = pd.DataFrame({**own, "file": own["id"], "label": label, "sha256": ["0"] * count, **frames})
    about = {"schema": 1, "corpus": "synthetic", "fingerprint": "0", "settings": FeatureSettings().as_dict()}
    counts = {"classes": {name: own["emotion"].count(name) for name in classes}, "utterances": count}
    (folder / "synthetic-0").mkdir(parents=True)
    utterances.to_parquet(folder / "synthetic-0" / "utterances.parquet", index=False)
    write_json(folder / "synthetic-0" / "manifest.json", {**about, **counts, "segments": 9 * count})
    return folder


def test_a_class_with_one_training_utterance_is_enough_where_another_validates(
    tmp_path: Path, write_grid: Callable[..., Path]
) -> None:
    rare = prepared(tmp_path / "rare", emotion=["anger"] * 9 + ["fear"] * 2)
    assert refusal_of(write_grid(), rare) is None
    single = prepared(tmp_path / "single", emotion=["anger"] * 2 + ["fear"] * 2)
    said = refusal_of(write_grid(), single)
    assert (
        said
        and "fold 0 may learn from 2 utterances by 1 speaker, of 1 text (anger 1, fear 1): no class has two" in said
    )
    assert "use training.validation_share: 0 with training.early_stopping: false" in said
    without = {"epochs": 2, "validation_share": 0, "early_stopping": False}
    assert refusal_of(write_grid(training=without), single) is None


def test_a_class_with_fewer_utterances_than_folds_of_speakers_is_no_problem(
    tmp_path: Path, write_grid: Callable[..., Path]
) -> None:
    """It is tested where its speakers are."""
    speakers = [f"s{n % 4}" for n in range(20)]
    data = prepared(tmp_path, emotion=["anger"] * 17 + ["fear"] * 3, speaker=speakers)
    assert refusal_of(write_grid(splits=["speaker"], folds=4), data) is None
    assert refusal_of(write_grid(splits=["stratified"], folds=4), data) is not None


def test_two_speakers_are_enough_where_utterances_validate(small_data: Path, write_grid: Callable[..., Path]) -> None:
    grid = {"splits": ["speaker"], "folds": 2}
    said = refusal_of(write_grid(**grid), small_data)
    assert said is not None
    assert (
        "splits: speaker, folds: 2, training.validation_by: split: fold 0 may learn from 16 utterances by 1 speaker, "
        "of 2 texts (anger 4, happiness 4, neutral 4, sadness 4): they are a single group, of which none can be held "
        "out for validation; use training.validation_by: utterance, or training.validation_share: 0 with "
        "training.early_stopping: false"
    ) in said
    for training in ({"validation_by": "utterance"}, {"validation_share": 0, "early_stopping": False}):
        assert refusal_of(write_grid(**grid, training=training), small_data) is None
    assert "by 1 speaker" in str(refusal_of(write_grid(**grid, training={"validation_by": "speaker"}), small_data))
    assert refusal_of(write_grid(**grid, training={"validation_by": "text"}), small_data) is None


def test_more_folds_than_speakers_are_refused_whatever_validates(
    small_data: Path, write_grid: Callable[..., Path]
) -> None:
    for by in ("split", "utterance"):
        said = refusal_of(write_grid(splits=["speaker"], folds=3, training={"validation_by": by}), small_data)
        assert said and "32 utterances by 2 speakers" in said and "2 groups, fewer than the 3 folds" in said


def test_everything_that_is_the_matter_is_told_once(small_data: Path, write_grid: Callable[..., Path]) -> None:
    """Of both splits, of validation and of inner folds, for every seed, rule and label source alike."""
    sources = {"label_sources": ["in_fold", "cross_fit"], "inner_folds": 2, "seeds": [0, 1]}
    said = refusal_of(write_grid(splits=["speaker", "text"], folds=2, **sources), small_data)
    assert said is not None
    _, *found = said.splitlines()
    assert len(found) == 4
    for split in ("speaker", "text"):
        one, other = (line for line in found if f"splits: {split}, folds: 2, inner_folds: 2" in line)
        assert "fold 0 may learn from" in one and "; use training.validation_by: utterance" in one
        assert "for inner folds, 1 group, fewer than the 2 folds; ask for fewer inner_folds" in other


def test_what_validates_must_be_known(tmp_path: Path, write_grid: Callable[..., Path]) -> None:
    data = prepared(tmp_path, emotion=["anger", "fear"] * 8, text=[""] * 3 + ["t"] * 13)
    assert refusal_of(write_grid(training={"validation_by": "utterance"}), data) is None
    said = refusal_of(write_grid(training={"validation_by": "text"}), data)
    assert said and "training.validation_by: text: 3 of 16 utterances have no text; use another" in said
    said = refusal_of(write_grid(splits=["text"]), data)
    assert said and "splits: text, folds: 2, training.validation_by: split: 3 of 16 utterances have no text" in said


def test_shards_made_with_other_settings_are_refused(small_data: Path, write_grid: Callable[..., Path]) -> None:
    assert resolve_corpora(load_grid(write_grid(features={"segment_hop": 1, "mels": 64})), small_data)
    with pytest.raises(GridError, match="segment_hop: the grid asks for 3, the shards have 1"):
        resolve_corpora(load_grid(write_grid(features={"segment_hop": 3})), small_data)


# Label sources and annealed alphas


def test_an_alpha_for_each_iteration_is_one_chain() -> None:
    chains = chains_of(rules=[{"wdsl": [0.2, [0.5, 0.2]]}], iterations=2, folds=2)
    assert [chain.last.alpha for chain in chains] == ["0.2", "0.2", "0.5→0.2", "0.5→0.2"]


def test_an_annealed_chain_shares_what_equals_another_chain() -> None:
    plan = plan_of(rules=["bdsl", {"wdsl": [[0, 0.2], [0.5, 0.2], 0.5]}], iterations=2, folds=2)
    # iteration 0; bdsl's two; wdsl 0.2 after bdsl's first; wdsl 0.5's two; wdsl 0.2 after its first
    assert len(plan.stages) == 2 * (1 + 2 + 1 + 2 + 1)


def test_alphas_for_another_number_of_iterations_are_refused() -> None:
    said = problems_of(rules=[{"wdsl": [[0.5, 0.2]]}], iterations=3)
    assert "wdsl has 2 alphas, one for each iteration, [0.5, 0.2], but iterations is 3" in said


def test_inner_folds_are_part_of_cross_fit_alone() -> None:
    fields = {"rules": ["bdsl"], "label_sources": ["in_fold", "cross_fit"]}
    two, five = (chains_of(**fields, inner_folds=count) for count in (2, 5))
    assert [chain.last.label_source for chain in two if chain in five] == ["in_fold"] * 10
    assert len(plan_of(**fields, inner_folds=2).stages) == 10 * (1 + 1 + 2 + 1)


def test_permuted_labels_share_nothing_with_given_ones() -> None:
    assert not set(plan_of(labels="permuted").stages) & set(plan_of().stages)
    assert plan_of(labels="given").stages == plan_of().stages


def test_names_permuted_by_speaker_ask_for_splits_that_leave_speakers_out() -> None:
    said = problems_of(labels="permuted_by_speaker", splits=["stratified", "speaker", "text", "speaker_text"])
    for split in ("stratified", "text"):
        assert f"labels: permuted_by_speaker can be learnt under splits: {split}, where" in said
    assert "under splits: speaker" not in said
    assert plan_of(labels="permuted_by_speaker", splits=["speaker"]).stages


def test_what_is_not_known_of_label_sources_and_labels_is_refused() -> None:
    said = problems_of(label_sources=["out_of_thin_air"], labels="none", inner_folds=1)
    assert "'out_of_thin_air' is not known; allowed: in_fold, cross_fit, global_oof" in said
    assert "'none' is not known; allowed: given, permuted, permuted_by_speaker" in said
    assert "inner_folds" in said


def test_intervals_have_a_kind_and_change_no_stage() -> None:
    assert "intervals: 'wald' is not known; allowed: utterance, speaker, speaker_t, corrected_t" in problems_of(
        intervals="wald"
    )
    assert plan_of(intervals="corrected_t").stages == plan_of().stages


def test_inner_folds_that_a_corpus_is_too_small_for_are_refused(
    small_data: Path, write_grid: Callable[..., Path]
) -> None:
    path = write_grid(rules=["bdsl"], label_sources=["cross_fit"], inner_folds=5, folds=2)
    said = refusal_of(path, small_data)
    assert said and "inner_folds: 5" in said and "fold 0 may learn from 16 utterances by 2 speakers" in said
    assert "for inner folds, a class has 4 utterances, fewer than the 5 folds; ask for fewer inner_folds" in said


def test_speaker_text_needs_a_product_of_folds(small_data: Path, write_grid: Callable[..., Path]) -> None:
    resolve_corpora(load_grid(write_grid(rules=["bdsl"], folds=2)), small_data)
    with pytest.raises(GridError, match="3 folds are no product of at most 2 parts of the speakers"):
        resolve_corpora(load_grid(write_grid(rules=["bdsl"], splits=["speaker_text"], folds=3)), small_data)
