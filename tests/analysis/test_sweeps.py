"""Paired tests between the networks of two sweeps."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import columns
from analysis.sweep_comparison import CHOSEN, SECOND_SPLIT, SECOND_WA, compare_sweeps, compared_records, compared_text
from data_prep.errors import UserError
from ser_sweep.cli import main
from tests.analysis.made_by_hand import decisions_of, first_right, setup_with

LABEL = np.arange(40) % 2
SPEAKERS = [f"s{row % 4}" for row in range(40)]


def sweep(**networks: int | tuple[int, dict[str, Any]]) -> pd.DataFrame:
    """Decisions of networks, rule -> utterances that are right, of the first so many; and other columns."""
    frames = []
    for rule, given in networks.items():
        right, about = given if isinstance(given, tuple) else (given, {})
        frames.append(decisions_of(first_right(right, LABEL), LABEL, SPEAKERS, rule=rule, **about))
    return pd.concat(frames, ignore_index=True)


def test_networks_of_one_name_are_tested_on_the_same_utterances() -> None:
    lines = compare_sweeps(sweep(none=20, bdsl=30), sweep(none=20, bdsl=20, gsl=40)).lines
    bdsl = lines[lines[columns.RULE] == "bdsl"].iloc[0]
    assert (bdsl[columns.WA], bdsl[SECOND_WA], bdsl[columns.DIFFERENCES["WA"].value]) == (75, 50, 25)
    assert (bdsl[columns.FIRST_AHEAD], bdsl[columns.SECOND_AHEAD]) == (10, 0)
    assert bdsl[columns.P] == pytest.approx(2 * 0.5**10)


def test_rates_are_of_the_same_seeds_and_utterances_as_the_difference() -> None:
    first = pd.concat([sweep(bdsl=(right, {"seed": seed, "seeds": 2})) for seed, right in enumerate((30, 12))])
    second = sweep(bdsl=20).iloc[:36]
    compared = compare_sweeps(first, second)
    (line,) = compared.lines.to_dict("records")
    assert (line[columns.WA], line[SECOND_WA]) == (pytest.approx(100 * 30 / 36), pytest.approx(100 * 20 / 36))
    assert line[columns.WA] - line[SECOND_WA] == pytest.approx(line[columns.DIFFERENCES["WA"].value])
    text = compared_text(compared)
    assert "83.33 |   55.56 | +27.78 [" in text
    row = next(text_line for text_line in text.splitlines() if "55.56" in text_line)
    assert [cell.strip() for cell in row.split("|")][-3:-1] == ["36", "1"]


def test_the_difference_by_speaker_is_beside_that_by_utterance() -> None:
    compared = compare_sweeps(sweep(bdsl=40), sweep(bdsl=20))
    (line,) = compared.lines.to_dict("records")
    assert line[columns.P_SPEAKER] == 2 / 2**4
    assert "WA by speaker" in compared_text(compared) and "{50.0, 50.0} p 0.12 |" in compared_text(compared)


def test_lists_of_folds_that_say_something_else_are_told() -> None:
    def listed(digest: str, split: str = "folds.csv") -> pd.DataFrame:
        setup = replace(setup_with("emodb", split), fold_list=digest)
        return sweep(bdsl=(30, {"split": split})).assign(setup=pd.Series([setup] * len(LABEL), dtype=object))

    assert compare_sweeps(listed("one"), listed("two")).differ == {"list of folds of Emo-DB": ("one", "two")}
    assert compare_sweeps(listed("one"), listed("one")).differ == {}
    assert compare_sweeps(listed("one"), listed("one", "other.csv")).differ == {
        "split": ("folds.csv", "other.csv"),
        "list of folds of Emo-DB": ("one", "the same"),
    }
    others = listed("two").assign(utterance=lambda lines: lines["utterance"] + "x")
    with pytest.raises(
        UserError, match=r"no network and utterance in common: .*; list of folds of Emo-DB: one and two"
    ):
        compare_sweeps(listed("one"), others)


def test_p_is_adjusted_for_all_that_is_compared() -> None:
    lines = compare_sweeps(sweep(none=20, bdsl=30), sweep(none=20, bdsl=20)).lines
    assert lines[columns.P_HOLM].min() == pytest.approx(2 * lines[columns.P].min())


def test_a_sweep_with_itself_differs_in_nothing() -> None:
    same = sweep(none=20, bdsl=30)
    lines = compare_sweeps(same, same).lines
    assert (lines[columns.DIFFERENCES["WA"].value] == 0).all() and (lines[columns.P] == 1).all()


def test_what_validation_chooses_in_each_fold_of_either_is_compared_and_marked() -> None:
    """In the second sweep the first half of the folds chooses the one network, the other half the other."""
    halves = [{"validation_wa": np.repeat(rates, 20)} for rates in ((80.0, 20.0), (20.0, 80.0))]
    first = sweep(none=(20, {"validation_wa": 80.0}), bdsl=30)
    second = sweep(none=(10, halves[0]), gsl=(36, halves[1]))
    compared = compare_sweeps(first, second)
    (chosen,) = compared.lines[compared.lines[CHOSEN]].to_dict("records")
    assert (chosen[columns.WA], chosen[SECOND_WA]) == (50, 65)  # 20 of 40; 10 of 20 and 16 of 20
    assert chosen[columns.DIFFERENCES["WA"].value] == pytest.approx(-15)
    assert "| DenseNet22, t = 0 \\* | chosen in each fold |" in compared_text(compared)


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ("backbone", ("densenet22", "vgg19")),
        ("split", ("stratified", "speaker")),
        ("label_source", ("in_fold", "cross_fit")),
    ],
)
def test_networks_are_paired_across_the_axis_on_which_the_sweeps_have_nothing_in_common(
    axis: str, values: tuple[str, str]
) -> None:
    compared = compare_sweeps(*(sweep(bdsl=(30 - 10 * n, {axis: value})) for n, value in enumerate(values)))
    assert compared.differ == {axis: values}
    assert compared.lines[columns.DIFFERENCES["WA"].value].tolist() == [25]
    assert values[1] in compared_text(compared)


def test_an_axis_with_several_values_and_none_in_common_cannot_be_paired() -> None:
    first = pd.concat([sweep(bdsl=(30, {"backbone": name})) for name in ("densenet22", "vgg19")])
    with pytest.raises(UserError, match="backbone: the first sweep has densenet22, vgg19, the second mobilenetv2"):
        compare_sweeps(first, sweep(bdsl=(30, {"backbone": "mobilenetv2"})))


def test_sweeps_of_other_training_seeds_are_compared_seed_by_seed_in_order() -> None:
    lines = compare_sweeps(sweep(bdsl=(30, {"seed": 0})), sweep(bdsl=(20, {"seed": 7}))).lines
    assert lines[columns.DIFFERENCES["WA"].value].tolist() == [25]


def test_utterances_that_have_another_class_elsewhere_are_refused() -> None:
    other = sweep(bdsl=20).assign(label=1 - np.asarray(LABEL))
    with pytest.raises(UserError, match="utterance '00' and 39 more have other labels"):
        compare_sweeps(sweep(bdsl=30), other)


def test_sweeps_without_a_network_in_common_are_refused_by_name() -> None:
    with pytest.raises(UserError, match="Emo-DB DenseNet22 bdsl t = 1 against CASIA DenseNet22 bdsl t = 1"):
        compare_sweeps(sweep(bdsl=30), sweep(bdsl=(30, {"corpus": "casia"})))
    with pytest.raises(UserError, match="the second sweep has no finished stage"):
        compare_sweeps(sweep(bdsl=30), sweep(bdsl=30).iloc[:0])


def test_records_have_null_where_there_is_no_number() -> None:
    (record,) = compared_records(compare_sweeps(sweep(bdsl=30), sweep(bdsl=20)))
    assert json.loads(json.dumps(record, allow_nan=False))["wa_difference"] == 25


def test_the_command_compares_two_stores(
    small_data: Path, tmp_path: Path, write_grid: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    grid = str(write_grid(rules=["none"]))
    stores = [str(tmp_path / name) for name in ("a", "b")]
    assert main(["run", grid, "--data", str(small_data), "--store", stores[0], "--inline"]) == 0
    shutil.copytree(stores[0], stores[1])
    capsys.readouterr()
    places = ["--data", str(small_data), "--store", stores[0], "--other-store", stores[1]]
    command = ["compare", grid, grid, *places, "--no-forests"]
    assert main([*command, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [one["store"] for one in said["sweeps"]] == stores
    assert {one["wa_difference"] for one in said["comparisons"]} == {0}
    assert main(command) == 0
    assert "by mean pooling" in capsys.readouterr().out


def test_what_validation_chooses_is_paired_on_the_splits_that_both_have_whichever_comes_first() -> None:
    """Another split of one of them is set beside nothing."""
    splits = [
        sweep(**{rule: (right, {"split": split, columns.VALIDATION_WA: right}) for rule, right in networks.items()})
        for split, networks in (("stratified", {"none": 30, "bdsl": 25}), ("speaker", {"none": 20, "bdsl": 28}))
    ]
    both, one = pd.concat(splits, ignore_index=True), splits[0]
    for first, second in ((both, one), (one, both)):
        lines = compare_sweeps(first, second).lines
        assert set(lines[columns.SPLIT]) == {"stratified"}
        (chosen,) = lines[lines[CHOSEN]].to_dict("records")
        assert chosen[SECOND_SPLIT] == "stratified"


def test_training_seeds_that_stand_beside_others_are_told_and_leave_nothing_incomplete() -> None:
    second = pd.concat([sweep(bdsl=(20, {"seed": seed, "seeds": 2})) for seed in (1, 2)], ignore_index=True)
    compared = compare_sweeps(sweep(bdsl=30), second)
    text = compared_text(compared)
    assert "training seeds, in order: A 0, B 1" in text
    assert "incomplete" not in text
