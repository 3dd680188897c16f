"""Which rows the paper's Tables II-V have: the networks of ours that a row shows, and the row's name in the paper."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from analysis import columns
from dsl.labels import BASELINE

BACKBONE_NAMES = {
    "vgg19": "VGG19",
    "mobilenetv2": "MobileNetV2",
    "densenet22": "DenseNet22",
    "efficientnet_b0": "EfficientNet-B0",
}
LAST_PAPER_ITERATION = 2
PAPER_ALPHAS = ("0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1")
BEST_ALPHA = "0.2"
ARROW = "→"
NO_ALPHA = "-"  # of an iteration whose rule takes none, in a chain where another's does


class Treatment(NamedTuple):
    """How a network came about. `alpha` is its shortest decimal form, empty for rules that take none.

    Rule and alpha are joined by arrows where they change from one iteration to the next, as in `0.5→0.2`.
    """

    backbone: str
    rule: str
    alpha: str
    iteration: int

    @classmethod
    def of(cls, line: Mapping[Any, Any]) -> "Treatment":
        """That of a data frame's line, as a record."""
        backbone, rule, alpha = (line[name] for name in (columns.BACKBONE, columns.RULE, columns.ALPHA))
        return cls(backbone, rule, alpha, int(line[columns.ITERATION]))

    def at(self, iteration: int) -> "Treatment":
        """The network of the same chain at an earlier iteration."""
        if iteration == 0:
            return Treatment(self.backbone, BASELINE, "", 0)
        rule, alpha = (_first_of(text, iteration) for text in (self.rule, self.alpha))
        return Treatment(self.backbone, rule, "" if alpha == NO_ALPHA else alpha, iteration)


def _first_of(text: str, count: int) -> str:
    """The first entries of a rule or alpha; one where they are all the same, as in `dsl.settings.ChainSettings`."""
    entries = text.split(ARROW)[:count]
    return ARROW.join(entries if len(set(entries)) > 1 else entries[:1])


@dataclass(frozen=True)
class RowLabel:
    """A row's name, with the iteration as superscript where the paper prints one."""

    name: str
    iteration: int | None = None
    leaky: bool = False  # whether its networks saw test labels, which is said beside the name

    def __str__(self) -> str:
        return self.name if self.iteration is None else f"{self.name}^{self.iteration}"


@dataclass(frozen=True)
class RowPlan:
    """What a row shows: scores of `treatment` (None for the literature) and the paper's row `published_row`."""

    label: RowLabel
    treatment: Treatment | None
    published_row: str | None


@dataclass(frozen=True)
class Layout:
    """What a table looks like. `plan` gives its rows for a backbone, given what there are scores of."""

    number: str
    row_heading: str
    caption: str
    plan: Callable[[str, Collection[Treatment]], list[RowPlan]]

    @property
    def title(self) -> str:
        return f"Table {self.number}"


def backbone_name(backbone: str) -> str:
    """A backbone as the paper writes it."""
    return BACKBONE_NAMES.get(backbone, backbone)


def _plan_table_2(backbone: str, scored: Collection[Treatment]) -> list[RowPlan]:
    """The paper's iterations of BDSL, and any further ones that were trained."""
    trained = [t.iteration for t in scored if t.backbone == backbone and t.rule == "bdsl"]
    plans = []
    for iteration in range(max([LAST_PAPER_ITERATION, *trained]) + 1):
        label = RowLabel(backbone_name(backbone), iteration)
        treatment = Treatment(backbone, "bdsl" if iteration else "none", "", iteration)
        plans.append(RowPlan(label, treatment, str(label)))
    return plans


def _plan_table_3(backbone: str, scored: Collection[Treatment]) -> list[RowPlan]:
    names = {"none": "No DSL", "gsl": "DSL-GSL", "hdl": "DSL-HDL", "bdsl": "DSL-BDSL"}
    return [RowPlan(RowLabel(name), _treatment(backbone, rule), name) for rule, name in names.items()]


def _plan_table_4(backbone: str, scored: Collection[Treatment]) -> list[RowPlan]:
    """The paper's alphas and any others in order; last, the control that retrains on the inherited labels."""
    trained = {t.alpha for t in scored if t.backbone == backbone and t.rule == "wdsl" and t.iteration == 1}
    plans = []
    for alpha in sorted({*PAPER_ALPHAS, *trained}, key=float):
        plans.append(RowPlan(RowLabel(alpha), paper_treatment(backbone, alpha), alpha))
    control = _treatment(backbone, "wdsl", "1")
    if control in scored:
        plans.append(RowPlan(RowLabel("1 (retraining control)"), control, None))
    return plans


def paper_treatment(backbone: str, alpha: str) -> Treatment:
    """What the paper's Table IV shows of an alpha: 0 is DSL-BDSL, and 1 is no DSL."""
    return _treatment(backbone, {"0": "bdsl", "1": "none"}.get(alpha, "wdsl"), alpha)


def _plan_table_5(backbone: str, scored: Collection[Treatment]) -> list[RowPlan]:
    plans = [RowPlan(RowLabel("NO DSL (baseline)"), _treatment(backbone, "none"), "NO DSL (baseline)")]
    for rule in ("bdsl", "wdsl", "gsl", "hdl"):
        name = f"DSL-{rule.upper()}"
        label = RowLabel(f"{name} (α = {BEST_ALPHA})" if rule == "wdsl" else name)
        plans.append(RowPlan(label, _treatment(backbone, rule, BEST_ALPHA), f"{name} (ours)"))
    return plans


def _treatment(backbone: str, rule: str, alpha: str = "") -> Treatment:
    """What Tables III-V show of a rule: iteration 1, or iteration 0 for no rule."""
    return Treatment(backbone, rule, alpha if rule == "wdsl" else "", 0 if rule == "none" else 1)


TABLE_2 = Layout(
    number="II",
    row_heading="Model",
    caption="DSL-BDSL by backbone. Superscript: iteration of self-learning, 0 is without DSL.",
    plan=_plan_table_2,
)
TABLES_OF_ONE_BACKBONE = (
    Layout("III", "Method", "DSL-GSL, DSL-HDL and DSL-BDSL at iteration 1.", _plan_table_3),
    Layout(
        number="IV",
        row_heading="α",
        caption="DSL-WDSL by weight α at iteration 1. α = 0 is DSL-BDSL; α = 1 is iteration 0, without DSL.",
        plan=_plan_table_4,
    ),
    Layout("V", "Method", "DSL methods at iteration 1, and the literature.", _plan_table_5),
)
