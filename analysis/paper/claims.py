"""What the paper says of networks: each claim is a list of pairs, of which the first is said to be better."""

from collections.abc import Callable
from dataclasses import dataclass

from analysis.identity import BACKBONE_NAMES, Treatment
from analysis.paper.layouts import BEST_ALPHA, PAPER_ALPHAS, PAPER_BACKBONE, paper_treatment
from dsl.labels import BASELINE

Better = tuple[Treatment, Treatment]  # the first is said to be better than the second


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, the `passage` where it stands, and the pairs it comes to for a backbone.

    A claim `across` backbones is one for all of them: `pairs` is then called with an empty name.
    """

    name: str
    statement: str
    passage: str
    pairs: Callable[[str], list[Better]]
    across: bool = False


def _at(backbone: str, rule: str, alpha: str = "", iteration: int = 1) -> Treatment:
    return Treatment(backbone, rule, alpha, iteration)


def _none(backbone: str) -> Treatment:
    return _at(backbone, BASELINE, iteration=0)


def _wdsl(backbone: str) -> Treatment:
    return _at(backbone, "wdsl", BEST_ALPHA)


def _best_alpha(backbone: str) -> list[Better]:
    others = [paper_treatment(backbone, alpha) for alpha in PAPER_ALPHAS if alpha != BEST_ALPHA]
    return [(_wdsl(backbone), other) for other in others]


def _best_backbone(_: str) -> list[Better]:
    others = [name for name in BACKBONE_NAMES if name != PAPER_BACKBONE]
    return [(_at(PAPER_BACKBONE, "bdsl"), _at(other, "bdsl")) for other in others]


def _inverted_bottlenecks(_: str) -> list[Better]:
    light, heavy = ("mobilenetv2", "efficientnet_b0"), ("vgg19", "densenet22")
    return [(_at(one, "bdsl"), _at(other, "bdsl")) for one in light for other in heavy]


CLAIMS = (
    Claim(
        "bdsl_improves",
        "One round of DSL-BDSL improves on no DSL.",
        "Table II, §VIII-B (1)",
        lambda b: [(_at(b, "bdsl"), _none(b))],
    ),
    Claim(
        "second_round_falls",
        "A second round of DSL-BDSL falls below the first.",
        "Table II, §VIII-B (2)",
        lambda b: [(_at(b, "bdsl"), _at(b, "bdsl", iteration=2))],
    ),
    Claim(
        "best_backbone",
        "With DSL-BDSL, EfficientNet-B0 is better than every other backbone.",
        "Table II, §VIII-B (3)",
        _best_backbone,
        across=True,
    ),
    Claim(
        "inverted_bottlenecks",
        "With DSL-BDSL, MobileNetV2 and EfficientNet-B0 are better than VGG19 and DenseNet22.",
        "§VIII-B (3), of Emo-DB",
        _inverted_bottlenecks,
        across=True,
    ),
    Claim(
        "gsl_and_hdl_improve",
        "DSL-GSL and DSL-HDL each improve on no DSL.",
        "Table III, §VIII-C",
        lambda b: [(_at(b, "gsl"), _none(b)), (_at(b, "hdl"), _none(b))],
    ),
    Claim(
        "order_of_rules",
        "DSL-GSL is below DSL-HDL, and DSL-HDL below DSL-BDSL.",
        "Table III, §VIII-C",
        lambda b: [(_at(b, "hdl"), _at(b, "gsl")), (_at(b, "bdsl"), _at(b, "hdl"))],
    ),
    Claim(
        "label_keeps_second_round",
        "With the inherited label as part of the target, the second round no longer collapses: DSL-WDSL (α = 0.5) is "
        "above DSL-BDSL there.",
        "§VIII-D, Figure 6",
        lambda b: [(_at(b, "wdsl", "0.5", 2), _at(b, "bdsl", iteration=2))],
    ),
    Claim(
        "best_alpha",
        "α = 0.2 is better than every other α of DSL-WDSL, α = 0 (DSL-BDSL) and 1 (no DSL) among them.",
        "Table IV, §VIII-E",
        _best_alpha,
    ),
    Claim(
        "wdsl_improves",
        "DSL-WDSL (α = 0.2) improves on no DSL.",
        "Table V, §VIII-F (2)",
        lambda b: [(_wdsl(b), _none(b))],
    ),
    Claim(
        "dynamic_beats_static",
        "The dynamic methods DSL-BDSL, DSL-WDSL (α = 0.2) and DSL-HDL are better than the static DSL-GSL.",
        "Table V, §VIII-F (3)",
        lambda b: [(one, _at(b, "gsl")) for one in (_at(b, "bdsl"), _wdsl(b), _at(b, "hdl"))],
    ),
    Claim(
        "wdsl_beats_bdsl",
        "DSL-WDSL (α = 0.2) is better than DSL-BDSL.",
        "Table V, §VIII-F (4)",
        lambda b: [(_wdsl(b), _at(b, "bdsl"))],
    ),
)
