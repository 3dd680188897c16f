"""Tables II-V from hand-made scores: golden files for what people look at, and one behaviour per test."""

import csv
import io
import json
import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.columns import NETWORK_SCORE_COLUMNS
from analysis.tables.latex import to_latex
from analysis.tables.paper_tables import Table, build_tables
from analysis.tables.render import to_csv, to_json, to_markdown
from tests.analysis.made_by_hand import scores_of, setup_with, spreads

GOLDEN = Path(__file__).parent / "golden"
RENDERERS: dict[str, Callable[[Sequence[Table]], str]] = {
    "tables.md": to_markdown,
    "tables.tex": to_latex,
    "tables.csv": to_csv,
    "tables.json": to_json,
}


def score(**columns: Any) -> dict[str, Any]:
    """One line of scores: by default a complete Emo-DB baseline of DenseNet22."""
    line = scores_of(**{"validation_wa": 70.0} | columns)
    return line | intervals(line["wa"], line["ua"])


def intervals(wa: float, ua: float) -> dict[str, float]:
    """Of three points to either side over utterances, and of five over speakers."""
    return {
        f"{metric}{unit}_{end}": value + sign * width
        for metric, value in (("wa", wa), ("ua", ua))
        for unit, width in (("", 3), ("_speaker", 5))
        for end, sign in (("low", -1), ("high", 1))
    }


def both_decisions(**columns: Any) -> list[dict[str, Any]]:
    """A line by the random forest and one by mean pooling, which is a point lower and has no spread over forests."""
    forest = score(**spreads((0.25, 0.5)) | columns)
    rates = {"wa": forest["wa"] - 1, "ua": forest["ua"] - 1}
    none = {f"{metric}_sd_forest_seeds": math.nan for metric in ("wa", "ua", "f1")}
    mean = forest | {"decision": "mean", "f1": forest["f1"] - 1} | none | rates | intervals(**rates)
    return [forest, mean]


def frame(*lines: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(lines, columns=list(NETWORK_SCORE_COLUMNS))


def table(tables: Sequence[Table], number: str, backbone: str | None = None) -> Table:
    (found,) = (each for each in tables if each.number == number and each.backbone in (None, backbone))
    return found


def labels(one: Table) -> list[str]:
    return [str(row.label) for row in one.rows]


def cell(one: Table, label: str, corpus: str = "emodb", metric: str = "WA") -> Any:
    (row,) = (row for row in one.rows if str(row.label) == label)
    return row.cells[corpus, metric]


@pytest.fixture(scope="module")
def recorded() -> list[Table]:
    """A sweep half done: incomplete folds, cells not begun, a part of a corpus, one that the paper does not have."""
    synthetic = {"corpus": "synthetic", "utterances": 60}
    return build_tables(
        frame(
            *both_decisions(wa=76.23, ua=75.59, seeds=2, folds_done=20, folds=20, **spreads((0.25, 0.5), (1.1, 1.2))),
            *both_decisions(rule="bdsl", wa=76.51, ua=75.9, folds_done=7),
            *both_decisions(rule="wdsl", alpha="0.2", wa=78.0, ua=77.5),
            *both_decisions(rule="wdsl", alpha="1", wa=76.1, ua=75.5),
            *both_decisions(backbone="vgg19", wa=82.5, ua=81.5),
            *both_decisions(
                corpus="casia",
                utterances=1200,
                partial=True,
                setup=setup_with("casia", utterances=1200, every=16),
                wa=90.0,
                ua=90.0,
            ),
            *both_decisions(**synthetic, wa=50.0, ua=50.0),
            *both_decisions(**synthetic, rule="gsl", wa=55.0, ua=55.0),
            *both_decisions(**synthetic, rule="wdsl", alpha="0.25", wa=58.33, ua=58.33),
        ),
        ["synthetic", "casia", "emodb"],
    )


@pytest.mark.parametrize("name", RENDERERS)
def test_rendering_equals_the_golden_file(recorded: list[Table], name: str) -> None:
    """Set UPDATE_GOLDEN=1 to write the files anew, then read their difference."""
    rendered = RENDERERS[name](recorded)
    if os.environ.get("UPDATE_GOLDEN") == "1":
        (GOLDEN / name).write_text(rendered, encoding="utf-8")
    assert rendered == (GOLDEN / name).read_text(encoding="utf-8")


def test_corpora_come_in_the_papers_order_and_others_after() -> None:
    (one,) = build_tables(frame(score()), ["tess", "savee", "ravdess", "emodb", "casia"])
    assert one.corpora == ("casia", "emodb", "savee", "tess", "ravdess")


def test_table_2_lists_the_papers_backbones_before_others() -> None:
    (one,) = build_tables(frame(score(), score(backbone="a_net")), ["emodb"])
    assert labels(one)[::3] == ["VGG19^0", "MobileNetV2^0", "DenseNet22^0", "EfficientNet-B0^0", "a_net^0"]


def test_table_2_goes_on_after_the_papers_iterations() -> None:
    (one,) = build_tables(frame(score(rule="bdsl", iteration=3)), ["emodb"])
    assert [label for label in labels(one) if label.startswith("Dense")] == [f"DenseNet22^{t}" for t in range(4)]


def test_rows_with_neither_score_nor_published_value_are_left_out() -> None:
    tables = build_tables(frame(score(corpus="synthetic"), score(corpus="synthetic", rule="gsl")), ["synthetic"])
    assert labels(table(tables, "II")) == ["DenseNet22^0"]
    assert labels(table(tables, "V", "densenet22")) == ["NO DSL (baseline)", "DSL-GSL"]


def test_tables_3_to_5_need_a_score_that_table_2_does_not_show() -> None:
    lines = [
        score(),
        score(rule="bdsl"),
        score(backbone="vgg19"),
        score(backbone="vgg19", rule="wdsl", alpha="0.5"),
    ]
    assert [(one.number, one.backbone) for one in build_tables(frame(*lines), ["emodb"])] == [
        ("II", None),
        ("IV", "vgg19"),
    ]


def test_table_3_names_both_backbones_in_its_caption() -> None:
    one = table(build_tables(frame(score(rule="hdl")), ["emodb"]), "III", "densenet22")
    assert "Backbone: DenseNet22. The paper's columns are of EfficientNet-B0: no difference to them is shown." in (
        one.caption
    )
    assert cell(one, "DSL-HDL").published.value == 91.03
    assert cell(one, "DSL-HDL").published.backbone == "efficientnet_b0"


def test_table_4_shows_bdsl_as_alpha_0_and_iteration_0_as_alpha_1() -> None:
    lines = [score(wa=70), score(rule="bdsl", wa=71), score(rule="wdsl", alpha="0.3", wa=72)]
    one = table(build_tables(frame(*lines), ["emodb"]), "IV", "densenet22")
    assert [cell(one, alpha).forest.value for alpha in ("1", "0", "0.3")] == [70, 71, 72]


def test_table_4_puts_other_alphas_in_order_and_the_retraining_control_last() -> None:
    lines = [score(), *(score(rule="wdsl", alpha=alpha) for alpha in ("1", "0.25"))]
    one = table(build_tables(frame(*lines), ["emodb"]), "IV", "densenet22")
    assert labels(one)[2:5] == ["0.2", "0.25", "0.3"]
    assert labels(one)[-2:] == ["1", "1 (retraining control)"]
    assert cell(one, "1 (retraining control)").published is None


def test_table_5_starts_with_the_literature_which_has_no_scores_of_ours() -> None:
    one = table(build_tables(frame(score(rule="gsl")), ["casia", "emodb"]), "V", "densenet22")
    assert labels(one)[0] == "Li et al. [51]"
    assert cell(one, "Li et al. [51]").scores == ()
    assert cell(one, "DSL-BDSL").published.value == 91.78


def test_difference_is_forest_minus_published_in_the_papers_set_up() -> None:
    (one,) = build_tables(frame(score(wa=75.0)), ["emodb"])
    assert cell(one, "DenseNet22^0").difference == pytest.approx(75.0 - 80.37)
    assert cell(one, "VGG19^0").difference is None
    assert "| WA − paper | UA − paper |" in to_markdown([one]) and "| −5.37 |" in re.sub(" +", " ", to_markdown([one]))
    assert "− paper is the forest's rate minus the published one" in one.caption
    assert "every segment, at most 12 epochs, 10 folds, stratified split, 1 training seed." in to_markdown([one])


UNLIKE_THE_PAPER = {
    "thinned": ({"setup": setup_with(every=16)}, "every 16th segment (paper: every), at most 12 epochs"),
    "other epochs": ({"setup": setup_with(epochs=8)}, "at most 8 epochs (paper: 12)"),
    "other folds": ({"setup": setup_with(folds=5)}, "5 folds (paper: 10)"),
    "another setting": ({"setup": setup_with(early_stopping=False)}, "no early stopping (paper: early stopping)"),
    "another size": ({"setup": setup_with(utterances=400)}, "400 utterances (paper: 535)"),
    "a part": ({"partial": True}, "Emo-DB: only part of the corpus"),
    "folds missing": ({"folds_done": 9}, "(9/10 folds)"),
}


@pytest.mark.parametrize(("unlike", "named"), UNLIKE_THE_PAPER.values(), ids=UNLIKE_THE_PAPER)
def test_what_is_not_the_papers_is_named_and_has_no_difference(unlike: dict[str, Any], named: str) -> None:
    """The published value stays beside it."""
    (one,) = build_tables(frame(score(wa=75.0, **unlike)), ["emodb"])
    assert cell(one, "DenseNet22^0").published.value == 80.37
    assert "− paper" not in to_markdown([one]) and "Paper" in to_latex([one])
    assert named in to_markdown([one])
    (line,) = (each for each in csv_lines([one]) if (each["row"], each["metric"]) == ("DenseNet22^0", "WA"))
    assert (line["published"], line["difference"]) == ("80.37", "")
    assert "minus the published one" not in one.caption


def test_what_departs_is_told_to_machines() -> None:
    tables = build_tables(
        frame(score(setup=setup_with(every=16, epochs=8), seeds=3, folds_done=30, folds=30)), ["emodb"]
    )
    said = "every 16th segment, at most 8 epochs, 10 folds, stratified split, 3 training seeds"
    departures = ["every 16th segment (paper: every)", "at most 8 epochs (paper: 12)"]
    line = next(each for each in csv_lines(tables) if each["forest"])
    assert (line["setup"], line["departures"]) == (said, "; ".join(departures))
    (one,) = json.loads(to_json(tables))["tables"]
    by_row = {row["row"]: row["cells"]["emodb"]["UA"] for row in one["rows"]}
    assert (by_row["DenseNet22^0"]["setup"], by_row["DenseNet22^0"]["departures"]) == (said, departures)
    assert by_row["VGG19^0"]["departures"] is None


def test_another_backbone_than_the_papers_column_has_no_difference() -> None:
    lines = [score(rule="gsl", backbone=backbone) for backbone in ("densenet22", "efficientnet_b0")]
    tables = build_tables(frame(*lines), ["emodb"])
    assert cell(table(tables, "III", "densenet22"), "DSL-GSL").difference is None
    assert cell(table(tables, "III", "efficientnet_b0"), "DSL-GSL").difference == pytest.approx(75.0 - 84.11)
    assert "no difference to them" not in table(tables, "III", "efficientnet_b0").caption


def test_each_set_up_of_a_corpus_is_told_once_with_its_numbers_of_seeds() -> None:
    three = {"seeds": 3, "folds_done": 30, "folds": 30}
    lines = [score(), score(rule="bdsl", **three), score(corpus="savee", setup=setup_with("savee", every=2))]
    one = build_tables(frame(*lines), ["emodb", "savee"])[0]
    notes = [footnote.text for footnote in one.footnotes if not footnote.mark]
    assert notes == [
        "Emo-DB: every segment, at most 12 epochs, 10 folds, stratified split, 1 or 3 training seeds.",
        "SAVEE: every 2nd segment (paper: every), at most 8 epochs, 10 folds, stratified split, 1 training seed. "
        "Not the paper's set-up: no difference to it is shown.",
    ]
    latex = to_latex([one]).split(r"\end{table*}")
    assert ["Emo-DB: every" in part for part in latex[:2]] == [True, False]


def test_another_split_stands_beside_nothing_published() -> None:
    lines = [score(split="speaker"), score(split="speaker", rule="gsl")]
    tables = build_tables(frame(*lines), ["emodb"])
    assert [one.number for one in tables] == ["II", "III", "V"]
    for one in tables:
        assert not one.has_published("emodb")
        assert "paper" not in to_markdown([one]).replace("Table", "")
    assert labels(tables[2]) == ["NO DSL (baseline)", "DSL-GSL"]


def test_incomplete_folds_are_marked_and_explained() -> None:
    (one,) = build_tables(frame(score(folds_done=7, wa=75.96, **spreads((0.2, 0.2)))), ["emodb"])
    assert "75.96 ± 0.20 [73.0, 79.0] {71.0, 81.0} (7/10 folds)" in to_markdown([one])
    assert any("incomplete folds" in footnote.text for footnote in one.footnotes)


def test_complete_tables_have_no_footnote_on_folds() -> None:
    (one,) = build_tables(frame(score(corpus="synthetic", setup=setup_with("synthetic", every=2))), ["synthetic"])
    assert [footnote.text for footnote in one.footnotes] == [
        "synthetic: every 2nd segment, at most 12 epochs, 10 folds, stratified split, 1 training seed."
    ]


def test_published_values_that_cannot_be_right_have_a_footnote_each() -> None:
    (one,) = build_tables(frame(score()), ["emodb", "savee"])
    marks = [footnote.mark for footnote in one.footnotes]
    assert marks[:4] == ["a", "b", "c", "d"]
    assert "83.00ᵃ" in to_markdown([one])
    assert r"83.00\rlap{$^{a}$}" in to_latex([one])


def test_each_label_source_and_split_has_tables_of_its_own() -> None:
    lines = [
        score(rule="bdsl", label_source=source, split=split)
        for source, split in [("global_oof", "stratified"), ("in_fold", "stratified"), ("in_fold", "speaker")]
    ]
    groups = [(one.label_source, one.split) for one in build_tables(frame(*lines), ["emodb"])]
    assert groups == [("in_fold", "speaker"), ("in_fold", "stratified"), ("global_oof", "stratified")]


def test_iteration_0_is_shared_by_all_label_sources() -> None:
    lines = [score(wa=70)]
    lines += [score(rule="bdsl", label_source=source) for source in ("in_fold", "global_oof")]
    tables = build_tables(frame(*lines), ["emodb"])
    assert [cell(one, "DenseNet22^0").forest.value for one in tables] == [70, 70]


def test_leaky_label_source_is_marked_in_the_caption() -> None:
    (one,) = build_tables(frame(score(rule="bdsl", label_source="global_oof")), ["emodb"])
    assert "Label source: global_oof (leaky: saw test labels)" in one.caption


def test_no_scores_make_no_tables() -> None:
    assert build_tables(frame(), ["emodb"]) == []
    assert build_tables(frame(), []) == []


def test_missing_columns_are_named() -> None:
    with pytest.raises(ValueError, match="scores: no column wa, wa_sd_forest_seeds"):
        build_tables(frame(score()).drop(columns=["wa", "wa_sd_forest_seeds"]), ["emodb"])


def test_repeated_lines_are_refused_rather_than_averaged() -> None:
    with pytest.raises(ValueError, match="1 lines repeat another, the first: corpus emodb, backbone densenet22"):
        build_tables(frame(score(), score()), ["emodb"])


def test_markdown_columns_are_aligned(recorded: list[Table]) -> None:
    for block in re.split(r"\n\n", to_markdown(recorded)):
        widths = {len(line) for line in block.splitlines() if line.startswith("|")}
        assert len(widths) <= 1


def test_markdown_escapes_names() -> None:
    (one,) = build_tables(frame(score(corpus="a|b", backbone="*x_y*")), ["a|b"])
    text = to_markdown([one])
    assert "\na\\|b\n" in text
    assert "| \\*x_y\\*⁰ |" in text


def test_latex_escapes_names() -> None:
    (one,) = build_tables(frame(score(corpus="R&D_50%", backbone="[a]_{b}\\c#$")), ["R&D_50%"])
    text = to_latex([one])
    assert r"\caption{DSL-BDSL by backbone: R\&D\_50\% (Table II of the paper).}" in text
    assert r"{[}a{]}\_\{b\}\textbackslash{}c\#\$$^{0}$ & " in text


def test_latex_lines_have_as_many_columns_as_the_tabular(recorded: list[Table]) -> None:
    for environment in to_latex(recorded).split(r"\end{table*}")[:-1]:
        (columns,) = re.findall(r"\\begin{tabular}{@{}(\w+)@{}}", environment)
        for line in re.findall(r"^(.*) \\\\(?:\[-2pt\])?$", environment, flags=re.MULTILINE):
            spans = [re.match(r"\s*\\multicolumn{(\d+)}", text) for text in line.split(" & ")]
            assert sum(int(span[1]) if span else 1 for span in spans) == len(columns)


def test_latex_braces_and_environments_balance(recorded: list[Table]) -> None:
    text = to_latex(recorded)
    assert text.count("{") == text.count("}")
    blocks = sum(len(table.corpora) for table in recorded)
    for environment in ("table*", "tabular"):
        assert text.count(f"\\begin{{{environment}}}") == text.count(f"\\end{{{environment}}}") == blocks


def csv_lines(tables: Sequence[Table]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(tables))))


def test_csv_leaves_missing_values_empty() -> None:
    lines = csv_lines(build_tables(frame(score()), ["emodb"]))
    by_key = {(line["row"], line["metric"]): line for line in lines}
    scored, missing = by_key["DenseNet22^0", "WA"], by_key["VGG19^1", "WA"]
    assert (scored["forest"], scored["mean_pooling"], scored["difference"]) == ("75.0", "", "-5.37")
    assert (missing["forest"], missing["folds_done"], missing["published"]) == ("", "", "83.74")


def test_json_has_null_for_missing_values() -> None:
    (one,) = json.loads(to_json(build_tables(frame(score()), ["emodb"])))["tables"]
    cells = {row["row"]: row["cells"]["emodb"]["UA"] for row in one["rows"]}
    assert cells["DenseNet22^0"]["forest"] == 74.0
    assert cells["VGG19^1"]["forest"] is None
    assert cells["VGG19^1"]["note"] is None


def test_recall_of_each_class_is_told_to_machines_by_name() -> None:
    mean = score(decision="mean", recall=[70.0, math.nan], **spreads(forests=(math.nan, math.nan)))
    tables = build_tables(frame(score(recall=[90.0, 61.23456]), mean), ["emodb"])
    lines = [line for line in csv_lines(tables) if line["class"]]
    assert [(line["row"], line["metric"], line["class"], line["forest"], line["mean_pooling"]) for line in lines] == [
        ("DenseNet22^0", "recall anger", "anger", "90.0", "70.0"),
        ("DenseNet22^0", "recall fear", "fear", "61.2346", ""),
    ]
    (one,) = json.loads(to_json(tables))["tables"]
    recall = {row["row"]: row["cells"]["emodb"]["recall"] for row in one["rows"]}
    assert recall["DenseNet22^0"] == [
        {"class": "anger", "forest": 90.0, "mean_pooling": 70.0},
        {"class": "fear", "forest": 61.2346, "mean_pooling": None},
    ]
    assert recall["VGG19^0"] == []


def test_permuted_labels_have_tables_of_their_own_and_nothing_published() -> None:
    lines = [score(labels=labels, rule=rule) for labels in ("given", "permuted") for rule in ("none", "gsl")]
    given, given_3, given_5, permuted, permuted_3, permuted_5 = build_tables(frame(*lines), ["emodb"])
    assert [one.labels for one in (given, given_3, given_5)] == ["given"] * 3
    for one in (permuted, permuted_3, permuted_5):
        assert one.labels == "permuted"
        assert "Labels are permuted: nothing is comparable with the paper" in one.caption
        assert not one.has_published("emodb")
        assert "(paper:" not in to_markdown([one])
    assert labels(permuted) == ["DenseNet22^0"]
    assert "permuted" not in given.caption


def test_a_part_of_a_corpus_is_called_not_comparable_in_every_table() -> None:
    lines = [score(partial=True, utterances=100, folds_done=9), score(partial=True, utterances=100, rule="gsl")]
    tables = build_tables(frame(*lines), ["emodb"])
    assert [one.number for one in tables] == ["II", "III", "V"]
    for one in tables:
        assert one.footnotes[-1].text == "Emo-DB: only part of the corpus, 100 utterances: not comparable."
    assert cell(tables[0], "DenseNet22^0").difference is None


def test_every_row_of_a_leaky_source_but_iteration_0_is_marked() -> None:
    lines = [score(), score(rule="gsl", label_source="global_oof")]
    one = table(build_tables(frame(*lines), ["emodb"]), "III", "densenet22")
    assert [str(row.label) for row in one.rows if row.label.leaky] == ["DSL-GSL", "DSL-HDL", "DSL-BDSL"]
    text = to_markdown([one])
    assert "| DSL-GSL (leaky) " in text
    assert "| No DSL  " in text


def test_an_interval_that_is_not_known_is_a_dash() -> None:
    lines = frame(score(utterances=1)).assign(
        **{f"wa{unit}_{end}": math.nan for unit in ("", "_speaker") for end in ("low", "high")}
    )
    assert "| 75.00 ± 0.00 [—] | 74.00 ± 0.00 [71.0, 77.0] {69.0, 79.0} |" in re.sub(
        " +", " ", to_markdown(build_tables(lines, ["emodb"]))
    )
    assert json.loads(to_json(build_tables(lines, ["emodb"])))


@pytest.mark.parametrize(
    ("trainings", "text"),
    [
        ((math.nan, math.nan), "75.00 ± 0.24 [72.0, 78.0] {70.0, 80.0}"),
        ((1.1, 2.2), "75.00 ± 0.24 ± 1.10 [72.0, 78.0] {70.0, 80.0}"),
    ],
)
def test_the_spread_over_training_seeds_comes_second_where_there_are_several(
    trainings: tuple[float, float], text: str
) -> None:
    (one,) = build_tables(frame(score(**spreads((0.24, 0.5), trainings))), ["emodb"])
    assert f"| {text} |" in re.sub(" +", " ", to_markdown([one]))
    assert "± its standard deviation over forest seeds, a second ± over training seeds if there are several" in (
        one.caption
    )


def test_the_spread_over_training_seeds_is_never_taken_for_that_over_forests() -> None:
    (one,) = build_tables(frame(score(**spreads((math.nan, math.nan), (1.1, 2.2)))), ["emodb"])
    assert "| 75.00 ± — ± 1.10 [72.0, 78.0] {70.0, 80.0} |" in re.sub(" +", " ", to_markdown([one]))


def test_csv_and_json_have_both_spreads_by_name(recorded: list[Table]) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(recorded))))
    pooled = next(line for line in lines if line["forest"] == "76.23")
    spread = {name: pooled[name] for name in pooled if "_sd_" in name}
    assert spread == {
        "forest_sd_forest_seeds": "0.25",
        "forest_sd_training_seeds": "1.1",
        "mean_pooling_sd_training_seeds": "1.1",
    }
    text = to_json(recorded)
    assert '"forest_sd_forest_seeds": 0.25' in text and '"forest_sd_training_seeds": 1.1' in text


def test_scores_of_single_training_seeds_are_refused() -> None:
    lines = pd.concat([frame(score(seeds=2)).assign(seed=seed) for seed in range(2)])
    with pytest.raises(ValueError, match="expected one line each, as score_networks makes them"):
        build_tables(lines, ["emodb"])
