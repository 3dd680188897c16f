"""Data frames of decisions and of scores, made by hand: what stands in all of them unless a test says otherwise."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.identity import Treatment
from analysis.scoring.setup import Setup, setup_of
from data_prep.corpora import settings_for
from dsl.labels import LabelUpdate
from dsl.settings import OTHER_EPOCHS, PAPER_EPOCHS, ChainSettings, TrainingSettings

PAPER_HAS = {"casia": 7200, "emodb": 535, "savee": 480}  # utterances


def setup_with(corpus: str = "emodb", split: str = "stratified", folds: int = 10, **others: Any) -> Setup:
    """The paper's set-up, with two classes, but for what is given: labels, utterances, training settings, features."""
    labels, utterances = others.pop("labels", "given"), others.pop("utterances", PAPER_HAS.get(corpus, 100))
    features = {name: others.pop(name, value) for name, value in settings_for(corpus).as_dict().items()}
    about = {"corpus": corpus, "fingerprint": "f", "utterances": utterances, "settings": features}
    about |= {"classes": {"anger": 1, "fear": 1}, "speakers": 2, "partial": others.pop("partial", True)}
    training = TrainingSettings(**{"epochs": PAPER_EPOCHS.get(corpus, OTHER_EPOCHS)} | others)
    return setup_of(ChainSettings(corpus, "tiny", split, folds, 0, 0, None, (), training, labels=labels), about)


def network(rule: str = "none", iteration: int | None = None, **about: Any) -> dict[str, Any]:
    """The columns that tell a network: a complete one of DenseNet22 on Emo-DB.

    Its updates are all of `rule` and `alpha`, or `updates` where these change.
    """
    iteration = int(rule != "none") if iteration is None else iteration
    alpha, backbone = about.get("alpha", ""), about.get("backbone", "densenet22")
    updates = about.pop("updates", (LabelUpdate(rule, float(alpha) if alpha else None),) * iteration)
    made = {
        "corpus": "emodb",
        "partial": False,
        **Treatment.after(backbone, updates)._asdict(),
        "updates": updates,
        "label_source": "in_fold" if iteration else "",
        "split": "stratified",
        "labels": "given",
        "seeds": 1,
        "folds_done": 10,
        "folds": 10,
        "decision": "forest",
    } | about
    return {"setup": setup_with(made["corpus"], made["split"], labels=made["labels"])} | made


def decisions_of(
    predicted: ArrayLike,
    label: ArrayLike,
    speakers: str | Sequence[str],
    of_row: str = "forest_seed",
    **about: Any,
) -> pd.DataFrame:
    """A network's decisions [U] on utterances 00, 01, ... of two classes, or [R, U] with a seed a row.

    `of_row` is what numbers the rows; `about` as in `network`, and other columns.
    """
    utterances = np.arange(len(np.asarray(label)))
    cell: dict[str, Any] = {"validation_wa": 50.0, "seed": 0, "forest_seed": 0, "classes": 2}
    cell |= {"intervals": "utterance", "training_ratio": 0.9}
    cell |= {"utterance": [f"{row:02}" for row in utterances], "fold": utterances * 10 // len(utterances)}
    cell |= network(about.pop("rule", "none"), about.pop("iteration", None), **about)
    updates = cell.pop("updates")
    about.pop("updates", None)
    frames = [
        pd.DataFrame({"speaker": speakers, "label": label, "predicted": row}).assign(**cell | {of_row: number} | about)
        for number, row in enumerate(np.atleast_2d(np.asarray(predicted)))
    ]
    made = pd.concat(frames)
    return made.assign(updates=[updates] * len(made))


def first_right(right: int, label: np.ndarray) -> np.ndarray:
    """Decisions of which the first `right` are."""
    return np.where(np.arange(len(label)) < right, label, 1 - label)


def scores_of(**about: Any) -> dict[str, Any]:
    """A network's line of scores; `about` as in `network`, and other columns."""
    cell = network(about.pop("rule", "none"), about.pop("iteration", None), **about)
    del cell["updates"]
    rates = {"utterances": 535, "intervals": "utterance", "wa": 75.0, "ua": 74.0, "f1": 73.0, "recall": [80.0, 68.0]}
    return cell | rates | spreads() | about


def spreads(
    forests: tuple[float, float] = (0.0, 0.0), trainings: tuple[float, float] = (math.nan, math.nan)
) -> dict[str, float]:
    """Standard deviations of WA and UA over forest seeds and over training seeds, NaN where there is one; F1
    has UA's."""
    known = {"forest": forests, "training": trainings}
    return {
        f"{metric}_sd_{kind}_seeds": spread
        for kind, of in known.items()
        for metric, spread in zip(("wa", "ua", "f1"), (*of, of[1]), strict=True)
    }
