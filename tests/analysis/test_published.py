"""The paper's numbers as data: whole, typed, and impossible only where a note says so."""

import pandas as pd
import pytest

from analysis.paper.published import index_published, load_published
from analysis.scoring.setup import PAPER_UTTERANCES

UNITS = {
    ("casia", "WA"): 7200,
    ("casia", "UA"): 7200,
    ("emodb", "WA"): 535,
    ("savee", "WA"): 480,
    # Six classes of 60 and one of 120 utterances: the mean of their recalls is a count out of 7 * 120.
    ("savee", "UA"): 840,
}
"""Published rates of a corpus and metric are counts out of this many. Emo-DB's UA has no such number."""

IMPOSSIBLE = {
    ("VGG19^0", "emodb", "WA", 83.00),
    ("DenseNet22^2", "emodb", "WA", 67.23),
    ("MobileNetV2^1", "savee", "WA", 73.29),
    ("MobileNetV2^1", "savee", "UA", 71.88),
}
CONTRADICTORY = {("DSL-BDSL (ours)", "casia", "WA", 96.67)}


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    return load_published()


@pytest.fixture(scope="module")
def ours(published: pd.DataFrame) -> pd.DataFrame:
    """The rows of the paper's own experiments, without the literature."""
    return published[published.rule != ""]


def identities(lines: pd.DataFrame) -> set[tuple[str, str, str, float]]:
    return set(zip(lines.row, lines.corpus, lines.metric, lines.value, strict=True))


def is_a_count(value: float, total: int) -> bool:
    nearest = round(value * total / 100)
    return abs(100 * nearest / total - value) <= 0.005 + 1e-9


def test_every_printed_value_is_there_once(published: pd.DataFrame) -> None:
    assert published.table.value_counts().to_dict() == {"II": 72, "III": 24, "IV": 66, "V": 45}
    assert not published.duplicated(["table", "row", "corpus", "metric"]).any()


def test_columns_are_typed(published: pd.DataFrame) -> None:
    numeric = {"value": "float64", "alpha": "float64", "iteration": "Int64"}
    others = {name: "str" for name in published.columns if name not in numeric}
    assert published.dtypes.astype(str).to_dict() == others | numeric


def test_vocabulary_is_the_projects(published: pd.DataFrame) -> None:
    assert set(published.corpus) == set(PAPER_UTTERANCES)
    assert set(published.metric) == {"WA", "UA"}
    assert set(published.backbone) == {"", "vgg19", "mobilenetv2", "densenet22", "efficientnet_b0"}
    assert set(published.rule) == {"", "none", "bdsl", "wdsl", "gsl", "hdl"}


def test_iteration_zero_and_no_rule_are_the_same(ours: pd.DataFrame) -> None:
    assert ((ours.iteration == 0) == (ours.rule == "none")).all()


def test_only_wdsl_takes_an_alpha(ours: pd.DataFrame) -> None:
    assert (ours.alpha.notna() == (ours.rule == "wdsl")).all()


def test_literature_has_neither_backbone_nor_iteration(published: pd.DataFrame) -> None:
    literature = published[published.rule == ""]
    assert literature.row.str.contains("et al.").all()
    assert (literature.backbone == "").all()
    assert literature.iteration.isna().all()


def test_rates_are_counts_of_utterances_except_the_impossible_ones(ours: pd.DataFrame) -> None:
    countable = ours[[pair in UNITS for pair in zip(ours.corpus, ours.metric, strict=True)]]
    fits = [
        is_a_count(value, UNITS[corpus, metric])
        for value, corpus, metric in zip(countable.value, countable.corpus, countable.metric, strict=True)
    ]
    assert identities(countable[[not fit for fit in fits]]) == IMPOSSIBLE


def test_the_same_model_has_the_same_rate_in_every_table_except_the_contradictory_one(
    ours: pd.DataFrame,
) -> None:
    model = ["backbone", "rule", "alpha", "iteration", "corpus", "metric"]
    usual = ours.groupby(model, dropna=False).value.transform("median")
    assert identities(ours[ours.value != usual]) == CONTRADICTORY


def test_casia_is_balanced_so_its_rates_are_the_same(ours: pd.DataFrame) -> None:
    casia = ours[(ours.corpus == "casia") & (ours.table != "V")].pivot(
        index=["table", "row"], columns="metric", values="value"
    )
    assert (casia.WA == casia.UA).all()


def test_exactly_the_values_that_cannot_be_right_carry_a_note(published: pd.DataFrame) -> None:
    assert identities(published[published.note != ""]) == IMPOSSIBLE | CONTRADICTORY


@pytest.mark.parametrize(
    ("table", "row", "corpus", "metric", "value"),
    [
        ("II", "VGG19^2", "savee", "UA", 21.07),
        ("II", "EfficientNet-B0^1", "emodb", "WA", 91.78),
        ("III", "DSL-HDL", "savee", "UA", 79.76),
        ("IV", "0.2", "casia", "WA", 96.82),
        ("V", "Mao et al. [56]", "emodb", "UA", 88.25),
        ("V", "NO DSL (baseline)", "savee", "WA", 73.75),
    ],
)
def test_printed_values_are_found_by_table_row_corpus_and_metric(
    published: pd.DataFrame, table: str, row: str, corpus: str, metric: str, value: float
) -> None:
    assert index_published(published)[table, row, corpus, metric].value == value


def test_what_the_paper_prints_as_a_dash_is_not_there(published: pd.DataFrame) -> None:
    assert ("V", "Li et al. [51]", "emodb", "WA") in index_published(published)
    assert ("V", "Li et al. [51]", "emodb", "UA") not in index_published(published)
