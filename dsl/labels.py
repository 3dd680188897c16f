"""The update rules of labels (§IV-B3): pure functions from a network's predictions to the next one's targets.

All arrays have one row a segment. q: predictions [N, K]; y: inherited labels, one-hot [N, K]; utterance: which
utterance each segment is of [N]. Every rule returns targets g [N, K], float32, whose rows are distributions.

Adding a rule takes one function and one line in `RULES`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


def bdsl(q: np.ndarray) -> np.ndarray:
    """Basic dynamic soft labels: the predictions themselves (Eq. 6)."""
    return q


def wdsl(q: np.ndarray, y: np.ndarray, alpha: float) -> np.ndarray:
    """Weighted dynamic soft labels: (1 - alpha) q + alpha y (Eq. 8)."""
    return (1 - alpha) * q + alpha * y


def gsl(q: np.ndarray, utterance: np.ndarray) -> np.ndarray:
    """Global soft labels: the mean prediction over the segment's utterance, the same for all of it (Eq. 10)."""
    members, inverse, counts = np.unique(utterance, return_inverse=True, return_counts=True)
    sums = np.zeros((len(members), q.shape[1]), dtype=np.float64)
    np.add.at(sums, inverse, q)
    return (sums / counts[:, None])[inverse]


def hdl(q: np.ndarray) -> np.ndarray:
    """Dynamic hard labels: one-hot at the most likely class, the first of equals (Eq. 12)."""
    return np.eye(q.shape[1])[q.argmax(axis=1)]


@dataclass(frozen=True)
class Rule:
    """An update rule: the function, and which of q, y, utterance and alpha it takes."""

    update: Callable[..., np.ndarray]
    needs: tuple[str, ...]

    @property
    def takes_alpha(self) -> bool:
        return "alpha" in self.needs


RULES = {
    "bdsl": Rule(bdsl, ("q",)),
    "wdsl": Rule(wdsl, ("q", "y", "alpha")),
    "gsl": Rule(gsl, ("q", "utterance")),
    "hdl": Rule(hdl, ("q",)),
}
BASELINE = "none"  # no update, no iteration after 0: the paper's "No DSL"
ALIASES = {"dhl": "hdl"}  # the paper writes both


LABEL_SOURCES = ("in_fold",)  # whose predictions relabel the training segments


@dataclass(frozen=True)
class LabelUpdate:
    """How one iteration's targets are made from the predictions before it: a key of RULES, and its alpha."""

    rule: str
    alpha: float | None = None


def updated_targets(update: LabelUpdate, q: np.ndarray, y: np.ndarray, utterance: np.ndarray) -> np.ndarray:
    """Targets g, float32 [N, K]."""
    given = {"q": q, "y": y, "utterance": utterance, "alpha": update.alpha}
    chosen = RULES[update.rule]
    return chosen.update(**{name: given[name] for name in chosen.needs}).astype(np.float32)


def one_hot(label: np.ndarray, classes: int) -> np.ndarray:
    """Labels [N] -> float32 [N, classes]."""
    return np.eye(classes, dtype=np.float32)[label]
