"""Data frames of decisions and of scores, made by hand: what stands in all of them unless a test says otherwise."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd


def network(rule: str = "none", iteration: int | None = None, **about: Any) -> dict[str, Any]:
    """The columns that tell a network: a complete one of DenseNet22 on Emo-DB."""
    iteration = int(rule != "none") if iteration is None else iteration
    return {
        "corpus": "emodb",
        "partial": False,
        "backbone": "densenet22",
        "rule": rule,
        "alpha": "",
        "iteration": iteration,
        "label_source": "in_fold" if iteration else "",
        "split": "stratified",
        "labels": "given",
        "seeds": 1,
        "folds_done": 10,
        "folds": 10,
        "decision": "forest",
    } | about


def decisions_of(predicted: np.ndarray, label: np.ndarray, speakers: Sequence[str], **about: Any) -> pd.DataFrame:
    """A network's decisions on utterances 00, 01, ... of two classes; `about` as in `network`, and other columns."""
    names = [f"{row:02}" for row in range(len(label))]
    fold = np.arange(len(label)) * 10 // len(label)
    frame = pd.DataFrame(
        {"utterance": names, "speaker": speakers, "label": label, "predicted": predicted, "fold": fold}
    )
    cell = network(about.pop("rule", "none"), about.pop("iteration", None))
    return frame.assign(**cell | {"validation_wa": 50.0, "seed": 0, "forest_seed": 0, "classes": 2} | about)


def first_right(right: int, label: np.ndarray) -> np.ndarray:
    """Decisions of which the first `right` are."""
    return np.where(np.arange(len(label)) < right, label, 1 - label)


def scores_of(**about: Any) -> dict[str, Any]:
    """A network's line of scores; `about` as in `network`, and other columns."""
    cell = network(about.pop("rule", "none"), about.pop("iteration", None))
    rates = {"utterances": 535, "wa": 75.0, "ua": 74.0}
    return cell | rates | spreads() | about


def spreads(
    forests: tuple[float, float] = (0.0, 0.0), trainings: tuple[float, float] = (math.nan, math.nan)
) -> dict[str, float]:
    """Standard deviations of WA and UA over forest seeds and over training seeds, NaN where there is one."""
    known = {"forest": forests, "training": trainings}
    return {
        f"{metric}_sd_{kind}_seeds": spread
        for kind, of in known.items()
        for metric, spread in zip(("wa", "ua"), of, strict=True)
    }
