"""What makes a network, a treatment and a condition, in which order they come, and what people call them.

A *treatment* is how a network came about: backbone, rule, alpha and iteration. A *condition* is what it was used on:
corpus, split, kind of labels and label source. Both together are a *network*, of any number of training seeds.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from analysis import columns
from dsl.labels import BASELINE, LEAKY_LABEL_SOURCES, LabelUpdate
from dsl.settings import ChainSettings, TrainingSettings

CORPUS_NAMES = {"casia": "CASIA", "emodb": "Emo-DB", "savee": "SAVEE"}
BACKBONE_NAMES = {
    "vgg19": "VGG19",
    "mobilenetv2": "MobileNetV2",
    "densenet22": "DenseNet22",
    "efficientnet_b0": "EfficientNet-B0",
}
GIVEN = "given"  # labels as the corpus has them

Updates = tuple[LabelUpdate, ...]  # one for each iteration after 0


class Treatment(NamedTuple):
    """How a network came about. `alpha` is its shortest decimal form, empty for rules that take none.

    Where rule or alpha change from one iteration to the next, each names them all, as in `0.5→0.2`.
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

    @classmethod
    def after(cls, backbone: str, updates: Updates) -> "Treatment":
        """That of the network that these updates lead to, named as a stage's is."""
        chain = ChainSettings("", backbone, "", 0, 0, 0, None, updates, TrainingSettings())
        return cls(backbone, chain.rule, chain.alpha, chain.iteration)

    @property
    def baseline(self) -> "Treatment":
        """Iteration 0 of the same backbone, which all rules share."""
        return Treatment(self.backbone, BASELINE, "", 0)


IN_EACH_FOLD = Treatment("", "chosen in each fold", "", 0)  # stands for whatever network a fold has chosen


class Network(NamedTuple):
    """Everything that identifies a network but its training seed. `label_source` is empty for iteration 0."""

    corpus: str
    split: str
    labels: str
    label_source: str
    treatment: Treatment

    @classmethod
    def of(cls, line: Mapping[Any, Any]) -> "Network":
        """That of a data frame's line, as a record."""
        corpus, split, labels, source = (line[name] for name in OF_CONDITION)
        return cls(corpus, split, labels, source, Treatment.of(line))

    @property
    def baseline(self) -> "Network":
        """Iteration 0 of the same backbone, which all rules and label sources share."""
        return self._replace(label_source="", treatment=self.treatment.baseline)

    @property
    def condition(self) -> "Condition":
        """What it is used on, whatever its label source."""
        return Condition(self.corpus, self.split, self.labels)

    @property
    def is_leaky(self) -> bool:
        """Whether it saw labels of test utterances."""
        return self.label_source in LEAKY_LABEL_SOURCES


class Condition(NamedTuple):
    """What networks are used on. A field is empty where it does not matter, or differs."""

    corpus: str = ""
    split: str = ""
    labels: str = ""
    label_source: str = ""
    backbone: str = ""

    def network(self, treatment: Treatment) -> Network:
        """The network of a treatment here; iteration 0 has no label source."""
        source = self.label_source if treatment.iteration else ""
        return Network(self.corpus, self.split, self.labels, source, treatment)


OF_CONDITION = (columns.CORPUS, columns.SPLIT, columns.LABELS, columns.LABEL_SOURCE)
OF_TREATMENT = (columns.BACKBONE, columns.RULE, columns.ALPHA, columns.ITERATION)
OF_NETWORK = (*OF_CONDITION, *OF_TREATMENT)


# Conditions


def conditions(
    lines: pd.DataFrame, by: Sequence[str] = (columns.CORPUS, columns.SPLIT, columns.LABELS)
) -> Iterator[tuple[Condition, pd.DataFrame]]:
    """Each condition and its lines of a data frame, in the order of `by`, then of label sources.

    `by` are the columns that tell conditions apart beside the label source. Iteration 0, which no label source has
    touched, is in every source's condition, and in one without a source where there is nothing else.
    """
    for key, group in lines.groupby(list(by)):
        for source in source_order(group[columns.LABEL_SOURCE]):
            own = [one for one in set(group[columns.LABEL_SOURCE]) if has_source(one, source)]
            shown = group[group[columns.LABEL_SOURCE].isin(own)]
            yield Condition(**dict(zip(by, map(str, key), strict=True)), label_source=source), shown


def has_source(own: str | None, label_source: str) -> bool:
    """Whether a network of the label source `own` belongs to the condition of `label_source`: iteration 0, which has
    none, belongs to all."""
    return not own or own == label_source


# Networks of a frame


def updates_of(lines: pd.DataFrame) -> dict[Treatment, Updates]:
    """The updates that each treatment of a frame of decisions or of label correction came about by."""
    distinct = lines.drop_duplicates(list(OF_TREATMENT))
    return {Treatment.of(line): line[columns.UPDATES] for line in distinct.to_dict("records")}


def iterations_of(treatment: Treatment, updates: Updates) -> list[Treatment]:
    """The treatments of a chain from iteration 0 to its last, `treatment`."""
    return [Treatment.after(treatment.backbone, updates[:iteration]) for iteration in range(len(updates) + 1)]


def last_of_chains(updates: Mapping[Treatment, Updates]) -> list[Treatment]:
    """The treatments after iteration 0 that no other one goes on from, in order."""
    earlier = {one for treatment, own in updates.items() for one in iterations_of(treatment, own)[:-1]}
    return sorted({one for one in updates if one.iteration} - earlier, key=treatment_order)


# Orders


def corpus_order(corpora: Iterable[str]) -> tuple[str, ...]:
    """Each corpus once, the paper's first, in its order."""
    return tuple(sorted(dict.fromkeys(corpora), key=lambda name: _place(name, CORPUS_NAMES)))


def backbone_order(backbones: Collection[str]) -> list[str]:
    """Each backbone once, the paper's first, in its order."""
    return sorted(set(backbones), key=lambda name: (_place(name, BACKBONE_NAMES), name))


def source_order(label_sources: Iterable[str]) -> list[str]:
    """Label sources of networks after iteration 0; just the empty one where there is none. Leaky ones come last."""
    named = set(label_sources) - {""} or {""}
    return sorted(named, key=lambda name: (name in LEAKY_LABEL_SOURCES, name))


def treatment_order(treatment: Treatment) -> tuple[int, str, bool, str, str, int]:
    """For sorting: by backbone as in the paper, then iteration 0, then by rule, alpha and iteration."""
    backbone, rule, alpha, iteration = treatment
    return _place(backbone, BACKBONE_NAMES), backbone, rule != BASELINE, rule, alpha, iteration


def _place(name: str, papers: Collection[str]) -> int:
    """For sorting: the paper's names as it has them, and then all others."""
    return list(papers).index(name) if name in papers else len(papers)


# Names


def corpus_name(corpus: str) -> str:
    """A corpus as people write it."""
    return CORPUS_NAMES.get(corpus, corpus)


def backbone_name(backbone: str) -> str:
    """A backbone as the paper writes it."""
    return BACKBONE_NAMES.get(backbone, backbone)


def labels_name(labels: str) -> str:
    """A kind of labels in words."""
    return labels.replace("_", " ")


def source_name(label_source: str, why: str = "") -> str:
    """A label source as tables name it, marked where it is leaky."""
    return f"{label_source} (leaky{why})" if label_source in LEAKY_LABEL_SOURCES else label_source


def chain_name(treatment: Treatment) -> str:
    """Backbone, rule and alpha: `DenseNet22 wdsl 0.2`, or just the backbone without a rule."""
    rule = "" if treatment.rule == BASELINE else treatment.rule
    return " ".join(part for part in (backbone_name(treatment.backbone), rule, treatment.alpha) if part)


def treatment_name(treatment: Treatment, between: str = ", ") -> str:
    """The chain and the iteration: `DenseNet22 wdsl 0.2, t = 1`."""
    return f"{chain_name(treatment)}{between}t = {treatment.iteration}"


def network_name(network: Network) -> str:
    """The treatment and the label source: `DenseNet22 bdsl, t = 1, in_fold`."""
    return ", ".join(filter(None, (treatment_name(network.treatment), network.label_source)))
