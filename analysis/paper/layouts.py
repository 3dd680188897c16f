"""Which rows the paper's Tables II-V have: the networks of ours that a row shows, and the row's name in the paper."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import product

from analysis.identity import BACKBONE_NAMES, Treatment, backbone_name, backbone_order
from dsl.labels import BASELINE

PAPER_BACKBONE = "efficientnet_b0"  # of Tables III-V
LAST_PAPER_ITERATION = 2
PAPER_ALPHAS = ("0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1")
BEST_ALPHA = "0.2"


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
    """What a row shows: scores of `treatment` (None for the literature) and the paper's row `published_row`.

    `alpha` is where Table IV's row stands on the curve of alphas, and `is_control` whether it is of the retraining
    control.
    """

    label: RowLabel
    treatment: Treatment | None
    published_row: str | None
    alpha: float | None = None
    is_control: bool = False


@dataclass(frozen=True)
class Layout:
    """What a table looks like: its caption says what its `subject` is, and what there is to explain.

    `plan` gives its rows for a backbone, given what there are scores of.
    """

    number: str
    row_heading: str
    subject: str
    plan: Callable[[str, Collection[Treatment]], list[RowPlan]]
    explanation: str = ""

    @property
    def title(self) -> str:
        """`Table II`, with the number that the paper gives it."""
        return f"Table {self.number}"


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
        plans.append(RowPlan(RowLabel(alpha), paper_treatment(backbone, alpha), alpha, float(alpha)))
    control = _treatment(backbone, "wdsl", "1")
    if control in scored:
        plans.append(RowPlan(RowLabel("1 (retraining control)"), control, None, 1.0, is_control=True))
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
    subject="DSL-BDSL by backbone",
    plan=_plan_table_2,
    explanation="Superscript: iteration of self-learning, 0 is without DSL.",
)
TABLE_4 = Layout(
    number="IV",
    row_heading="α",
    subject="DSL-WDSL by weight α at iteration 1",
    plan=_plan_table_4,
    explanation="α = 0 is DSL-BDSL; α = 1 is iteration 0, without DSL.",
)
TABLES_OF_ONE_BACKBONE = (
    Layout("III", "Method", "DSL-GSL, DSL-HDL and DSL-BDSL at iteration 1", _plan_table_3),
    TABLE_4,
    Layout("V", "Method", "DSL methods at iteration 1, and the literature", _plan_table_5),
)


def layouts_of(treatments: Collection[Treatment]) -> Iterator[tuple[Layout, str | None, list[RowPlan]]]:
    """The paper's tables that networks of one label source, split and kind of labels come to: the backbone where a
    table is of one, and its rows. The paper's backbones come first, in its order."""
    backbones = backbone_order({*BACKBONE_NAMES, *(one.backbone for one in treatments)})
    yield TABLE_2, None, [plan for backbone in backbones for plan in TABLE_2.plan(backbone, treatments)]
    for layout, backbone in product(TABLES_OF_ONE_BACKBONE, backbones):
        plans = layout.plan(backbone, treatments)
        shown = {plan.treatment for plan in plans if plan.treatment in treatments}
        if any(treatment is not None and treatment.rule not in (BASELINE, "bdsl") for treatment in shown):
            yield layout, backbone, plans
