"""Recognition rates of utterance decisions (§VIII-A): pure functions on arrays of class indices.

All rates are fractions in [0, 1]; tables and reports print them in percent.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def weighted_accuracy(label: ArrayLike, predicted: ArrayLike) -> float:
    """Weighted accuracy (WA, §VIII-A): the share of all utterances that are recognized correctly.

    Each class weighs as much as it has utterances. `label` and `predicted` hold one class each per utterance,
    shape [N]. Raises ValueError if they are empty or differ in shape.
    """
    label, predicted = _checked(label, predicted)
    return float((label == predicted).mean())


def unweighted_accuracy(label: ArrayLike, predicted: ArrayLike) -> float:
    """Unweighted accuracy (UA, §VIII-A): the mean of the recalls of the classes that occur in `label`.

    Each class weighs the same, so UA equals WA where classes are balanced, as in CASIA. `label` and
    `predicted` hold one class each per utterance, shape [N]. Raises ValueError if they are empty or differ in
    shape.
    """
    label, predicted = _checked(label, predicted)
    _, position = np.unique(label, return_inverse=True)
    return float((np.bincount(position, label == predicted) / np.bincount(position)).mean())


def macro_f1(label: ArrayLike, predicted: ArrayLike) -> float:
    """Macro-averaged F1: the mean over classes of the harmonic mean of precision and recall.

    The classes are those that occur in `label` or `predicted`; one of which no decision is right counts as 0, as in
    scikit-learn's `f1_score(average="macro")`. Shapes and errors as in `weighted_accuracy`.
    """
    label, predicted = _checked(label, predicted)
    classes, position = np.unique(np.concatenate([label, predicted]), return_inverse=True)
    there, said = (np.bincount(part, minlength=len(classes)) for part in np.split(position, 2))
    right = np.bincount(position[: len(label)], label == predicted, minlength=len(classes))
    return float((2 * right / (there + said)).mean())


def class_recall(label: ArrayLike, predicted: ArrayLike, classes: int) -> NDArray[np.float64]:
    """Recall of each class 0 ... `classes` - 1, shape [classes]: what Figures 7-9 draw.

    A class without an utterance in `label` gets NaN. Raises ValueError if the arrays are empty or differ in
    shape, or if one holds a class outside the range.
    """
    label, predicted = _checked(label, predicted)
    for name, values in (("label", label), ("predicted", predicted)):
        if values.min() < 0 or values.max() >= classes:
            raise ValueError(f"{name}: classes {values.min()} to {values.max()}, expected 0 to {classes - 1}")
    with np.errstate(invalid="ignore"):
        return np.bincount(label, label == predicted, minlength=classes) / np.bincount(label, minlength=classes)


def _checked(label: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both as arrays of the same shape [N] with N >= 1."""
    label, predicted = np.asarray(label), np.asarray(predicted)
    if label.ndim != 1:
        raise ValueError(f"label: shape {label.shape}, expected one class per utterance, [N]")
    if label.shape != predicted.shape:
        raise ValueError(f"predicted: shape {predicted.shape}, expected the shape of label, {label.shape}")
    if label.size == 0:
        raise ValueError("label: no utterances, expected at least one")
    return label, predicted
