"""How a network was trained and tested, in words, and where that departs from the paper (§VI, §VIII-A).

Every field of `dsl.settings.TrainingSettings` and `data_prep.features.FeatureSettings` counts: one that has another
value than the paper's, or than the default where the paper leaves it open, is a departure. The number of training seeds
is none, for the paper does not tell it, and neither is what changes last bits alone.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import pandas as pd

from data_prep.corpora import CORPORA, known_name, settings_for
from data_prep.features import FeatureSettings
from data_prep.fold_lists import UNUSED, column_of, tested_by, tested_text
from data_prep.text import counted
from dsl.settings import PAPER_EPOCHS, ChainSettings, TrainingSettings

PAPER_SPLIT, PAPER_FOLDS = "stratified", 10
PAPER_UTTERANCES = {"casia": 7200, "emodb": 535, "savee": 480}  # of each corpus (Table I)
_ROUNDING = ("layout",)
_NOT_SAID = ("standardisation", "staircase", "restore_best_weights", "batch_norm_momentum", "initialisation")
_ALWAYS_SAID = ("every", "epochs", "folds", "split")


class Aspect(NamedTuple):
    """One thing about a set-up in words, `every 16th segment`, and the paper's, `every`; empty where it is the same.
    `field` is the setting's that it tells."""

    text: str
    paper: str = ""
    field: str = ""

    @property
    def departure(self) -> str:
        """`every 16th segment (paper: every)`, or the text alone."""
        return f"{self.text} (paper: {self.paper})" if self.paper else self.text


@dataclass(frozen=True)
class Setup:
    """How a network was trained and tested: the settings that are always told and those that depart from the paper's.

    `classes` are the names of its classes, in the order of labels, and `fold_list` is the digest of the list of its
    folds, empty where they are not listed.
    """

    settings: tuple[Aspect, ...]
    classes: tuple[str, ...]
    fold_list: str = ""

    @property
    def departures(self) -> tuple[str, ...]:
        """The settings that are not the paper's, each beside the paper's."""
        return tuple(one.departure for one in self.settings if one.paper)

    def without(self, fields: Collection[str]) -> "Setup":
        """The same, but for the settings `fields`, which are told elsewhere."""
        return replace(self, settings=tuple(one for one in self.settings if one.field not in fields))

    def text(self, seeds: Iterable[int], beside_paper: bool = False) -> str:
        """All settings and the numbers of training `seeds`; with the paper's where they are shown beside it."""
        said = [one.departure if beside_paper else one.text for one in self.settings]
        return ", ".join([*said, _seeds_text(sorted(set(seeds)))])


def setup_of(stage: ChainSettings, about: Mapping[str, Any], corpus_utterances: pd.DataFrame | None = None) -> Setup:
    """The set-up of the network that `stage` is a fold of, on a prepared corpus with the manifest `about`. With the
    `corpus_utterances`, it tells how many of them a list of folds tests, where that is not all.

    Of a corpus that the paper does not have, any number of epochs and of utterances is as good as another.
    """
    corpus, held = known_name(about), FeatureSettings(**about["settings"])
    training, utterances = stage.training, about["utterances"]
    readings = [_beside(held, papers) for papers in _paper_features(corpus)]
    features = min(readings, key=lambda settings: sum(bool(one.paper) for one in settings.values()))
    found = {
        **_beside(training, TrainingSettings(epochs=PAPER_EPOCHS.get(corpus, training.epochs))),
        "folds": _setting("folds", stage.folds, PAPER_FOLDS),
        "split": _setting("split", stage.split_name, PAPER_SPLIT),
        "labels": _setting("labels", stage.labels, "given"),
        **features,
        "utterances": _setting("utterances", utterances, PAPER_UTTERANCES.get(corpus, utterances)),
    }
    always = [found.pop(name) for name in _ALWAYS_SAID]
    digest = "" if stage.listed is None else stage.listed.digest
    if corpus_utterances is not None and column_of(digest) in corpus_utterances:
        tested = len(tested_by(corpus_utterances, digest))
        if tested < utterances:
            always.append(Aspect(tested_text(tested, utterances), "all"))
        unused = corpus_utterances[column_of(digest)].map(list).tolist()
        left_out = sorted({sum(letter == UNUSED for letter in fold) for fold in zip(*unused, strict=True)})
        if any(left_out):
            told = " to ".join(f"{one:,}" for one in dict.fromkeys((left_out[0], left_out[-1])))
            always.append(Aspect(f"{told} of {counted(utterances, 'utterance')} unused in a fold", "none"))
    return Setup((*always, *(one for one in found.values() if one.paper)), tuple(about["classes"]), digest)


def joint_setup(setups: Iterable[Setup], told: Collection[str]) -> Setup:
    """What set-ups on one corpus have in common, but for the settings `told` elsewhere; `8 folds or 10 folds` of what
    differs all the same, and `at most 12 epochs` where some train no less."""
    listed = [one.without(told) for one in setups]
    texts: dict[str, dict[str, None]] = {}
    for aspect in (aspect for one in listed for aspect in one.settings):
        texts.setdefault(aspect.field or aspect.text, {})[aspect.text] = None
    apart = {field: [one for one in own if f"at most {one}" not in own] for field, own in texts.items()}
    return replace(listed[0], settings=tuple(Aspect(" or ".join(own), field=field) for field, own in apart.items()))


def training_text(training: TrainingSettings) -> str:
    """All training settings in words."""
    return ", ".join(one.text for one in _beside(training, training).values())


def stands_beside_paper(split: str, labels: str) -> bool:
    """Whether published values may stand beside networks of this split and kind of labels at all."""
    return (split, labels) == (PAPER_SPLIT, "given")


def _paper_features(corpus: str) -> list[FeatureSettings]:
    """The features of a corpus as the paper describes them, and those that it seems to have counted."""
    framings = CORPORA[corpus].framings if corpus in CORPORA else ("described",)
    return [settings_for(corpus, framing=framing) for framing in framings]


def _beside(ours: Any, papers: Any) -> dict[str, Aspect]:
    """Each field of a dataclass of settings in words, beside the paper's."""
    names = [one.name for one in fields(ours) if one.name not in _ROUNDING]
    found = {name: _setting(name, getattr(ours, name), getattr(papers, name)) for name in names}
    if not getattr(ours, "early_stopping", True):
        found["epochs"] = _setting("all_epochs", ours.epochs, papers.epochs)
        del found["restore_best_weights"]
    return found


def _setting(name: str, ours: Any, papers: Any) -> Aspect:
    sentence, value = _WORDS.get(name, (f"{name.replace('_', ' ')} {{}}", str))
    text = sentence.format(value(ours), s="" if ours == 1 else "s")
    beside = "not said" if name in _NOT_SAID else value(papers)
    return Aspect(text, "" if ours == papers else beside, "epochs" if name == "all_epochs" else name)


def _every(count: int) -> str:
    if count == 1:
        return "every"
    ending = "th" if count % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"every {count}{ending}"


def _seeds_text(seeds: Collection[int]) -> str:
    return f"{' or '.join(map(str, seeds))} training {'seed' if list(seeds) == [1] else 'seeds'}"


_STANDARDISED = {
    "band": "standardised by Mel band",
    "overall": "standardised over all Mel bands",
    "utterance": "standardised by utterance",
    "none": "not standardised",
}
_WORDS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "every": ("{} segment", _every),
    "epochs": ("at most {} epoch{s}", str),
    "all_epochs": ("{} epoch{s}", str),
    "folds": ("{} fold{s}", str),
    "split": ("{} split", str),
    "labels": ("labels {}", lambda labels: labels.replace("_", " ")),
    "batch_size": ("batches of {}", str),
    "learning_rate": ("learning rate {}", "{:g}".format),
    "decay": ("rate × {} at each step", "{:g}".format),
    "decay_epochs": ("a rate step every {} epoch{s}", str),
    "validation_share": ("{} for validation", lambda share: f"{100 * share:g}%" if share else "no part"),
    "early_stopping": ("{}", lambda on: "early stopping" if on else "no early stopping"),
    "precision": ("{}", str),
    "standardisation": ("input {}", _STANDARDISED.__getitem__),
    "staircase": ("{}", lambda steps: "decay in steps" if steps else "continuous decay"),
    "restore_best_weights": ("{} weights kept", lambda best: "best" if best else "last"),
    "batch_norm_momentum": ("batch norm momentum {}", "{:g}".format),
    "initialisation": (
        "{} initial weights",
        {"backbone": "backbone's", "glorot_uniform": "Glorot uniform"}.__getitem__,
    ),
    "utterances": ("{} utterance{s}", "{:,}".format),
}
