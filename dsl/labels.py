"""The update rules of labels (§IV-B3): pure functions from a network's predictions to the next one's targets.

All arrays have one row a segment of the fold's training utterances. q: predictions [N, K]; y: inherited labels, one-hot
[N, K]; g: targets of the iteration before [N, K], y at first; utterance: which utterance each segment is of [N].
Every rule returns targets [N, K] whose rows are distributions, or zeros for a segment that is to be left out.

Adding a rule takes one function, whose arguments are named as above, and one line in `RULES`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature

import numpy as np
import pandas as pd

from data_prep.arrays import Floats, Ints


def bdsl(q: Floats) -> Floats:
    """Basic dynamic soft labels: the predictions themselves (Eq. 6)."""
    return q


def wdsl(q: Floats, y: Floats, alpha: float) -> Floats:
    """Weighted dynamic soft labels: (1 - alpha) q + alpha y (Eq. 8)."""
    return (1 - alpha) * q + alpha * y


def gsl(q: Floats, utterance: Ints) -> Floats:
    """Global soft labels: the mean prediction over the segment's utterance, the same for all of it (Eq. 10)."""
    members, inverse, counts = np.unique(utterance, return_inverse=True, return_counts=True)
    sums = np.zeros((len(members), q.shape[1]), dtype=np.float64)
    np.add.at(sums, inverse, q)
    return (sums / counts[:, None])[inverse]


def hdl(q: Floats) -> Floats:
    """Dynamic hard labels: one-hot at the most likely class, the first of equals (Eq. 12)."""
    likeliest: Ints = q.argmax(axis=1)
    return np.eye(q.shape[1])[likeliest]


def ema(q: Floats, g: Floats, alpha: float) -> Floats:
    """Temporal ensembling: alpha g + (1 - alpha) q, a running mean of the predictions that begins at the labels.

    As in SELC (Lu and He, "SELC: Self-Ensemble Label Correction Improves Learning with Noisy Labels", IJCAI 2022),
    an iteration here for an epoch there.
    """
    return alpha * g + (1 - alpha) * q


def sharpened(q: Floats, alpha: float) -> Floats:
    """Sharpening: q to the power of 1 / alpha, normalised; the temperature alpha makes bdsl at 1 and hdl towards 0.

    As in MixMatch (Berthelot et al., "MixMatch: A Holistic Approach to Semi-Supervised Learning", NeurIPS 2019).
    """
    highest: Floats = q.max(axis=1, keepdims=True)
    powered: Floats = (q / highest).astype(np.float64) ** (1 / alpha)
    total: Floats = powered.sum(axis=1, keepdims=True)
    return powered / total


def confidence(q: Floats, y: Floats) -> Floats:
    """Confidence-weighted wdsl: the label counts as much as the prediction is unsure, alpha_i = 1 - max q_i (Eq. 8).

    After the dynamic bootstrapping of Arazo et al., "Unsupervised Label Noise Modeling and Loss Correction", ICML
    2019, with the prediction's own confidence for the weight.
    """
    sure: Floats = q.max(axis=1, keepdims=True)
    return sure * q + (1 - sure) * y


def gsl_bdsl(q: Floats, utterance: Ints, alpha: float) -> Floats:
    """Between bdsl and gsl: (1 - alpha) q + alpha (the mean of q over the utterance) (Eq. 6 and 10)."""
    return (1 - alpha) * q + alpha * gsl(q, utterance)


def cleanlab(q: Floats, y: Floats) -> Floats:
    """The inherited labels without the segments that cleanlab finds mislabelled (confident learning).

    Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 2021. It asks for
    predictions on segments that the network did not learn: label source cross_fit.
    """
    from cleanlab.filter import find_label_issues

    there = np.flatnonzero(y.any(axis=0))  # a fold may hold no utterance of a class
    within = np.maximum(q[:, there], 1e-30)  # all of a prediction may be for a class that is not there
    within /= within.sum(axis=1, keepdims=True)
    wrong = find_label_issues(y[:, there].argmax(axis=1), within, n_jobs=1)
    return np.where(wrong[:, None], 0, y)


def consensus(q: Floats, y: Floats) -> Floats:
    """The inherited labels of the segments whose prediction agrees with them; the others are left out.

    The consensus-based retraining of Das et al., "Retraining with Predicted Hard Labels Provably Increases Model
    Accuracy", ICML 2025 (arXiv 2406.11206).
    """
    agrees = q.argmax(axis=1) == y.argmax(axis=1)
    return np.where(agrees[:, None], y, 0)


def top_two(q: Floats) -> Floats:
    """Partial labels: one half for each of the two most likely classes, the first of equals.

    The refined targets of Jeong and Chung, "Rethinking Self-Distillation: Label Averaging and Enhanced Soft Label
    Refinement with Partial Labels", ICLR 2025 (arXiv 2402.10482).
    """
    likeliest = np.argsort(-q, axis=1, kind="stable")[:, :2]
    targets = np.zeros(q.shape)
    np.put_along_axis(targets, likeliest, 0.5, axis=1)
    return targets


def extrapolated(q: Floats, y: Floats, alpha: float) -> Floats:
    """Beyond bdsl, away from the labels: (1 + alpha) q - alpha y, which is Eq. 8 with a negative alpha.

    Das and Sanghavi, "Understanding Self-Distillation in the Presence of Label Noise", ICML 2023 (arXiv 2301.13304),
    find such weights best where many labels are wrong. What is below zero becomes zero, and the rest is normalised.
    """
    beyond: Floats = np.maximum((1 + alpha) * q.astype(np.float64) - alpha * y, 0)
    total: Floats = beyond.sum(axis=1, keepdims=True)
    return beyond / total


@dataclass(frozen=True)
class Rule:
    """An update rule: the function, and which rules it is the same as at a limit of alpha."""

    update: Callable[..., Floats]
    limits: Mapping[float, str] = field(default_factory=dict)

    @property
    def needs(self) -> tuple[str, ...]:
        """Which of q, y, g, utterance and alpha the function takes."""
        return tuple(signature(self.update).parameters)

    @property
    def takes_alpha(self) -> bool:
        """Whether the function takes alpha."""
        return "alpha" in self.needs


RULES = {
    "bdsl": Rule(bdsl),
    "wdsl": Rule(wdsl, limits={0: "bdsl"}),
    "gsl": Rule(gsl),
    "hdl": Rule(hdl),
    "ema": Rule(ema, limits={0: "bdsl"}),
    "sharpened": Rule(sharpened, limits={0: "hdl", 1: "bdsl"}),
    "confidence": Rule(confidence),
    "gsl_bdsl": Rule(gsl_bdsl, limits={0: "bdsl", 1: "gsl"}),
    "cleanlab": Rule(cleanlab),
    "consensus": Rule(consensus),
    "top_two": Rule(top_two),
    "extrapolated": Rule(extrapolated, limits={0: "bdsl"}),
}
BASELINE = "none"  # no update, no iteration after 0: the paper's "No DSL"
ALIASES = {"dhl": "hdl"}  # the paper writes both

# Whose predictions relabel the training segments of a fold: its own network's; those of networks inside the fold that
# did not learn the segment; those of the folds' networks that tested it, which learnt this fold's test labels.
LABEL_SOURCES = ("in_fold", "cross_fit", "global_oof")
LEAKY_LABEL_SOURCES = ("global_oof",)

# The corpus's own; the same ones dealt out anew to the utterances; or the classes' names exchanged for one another, for
# each speaker in another way: who knows utterances of a speaker knows what the names mean there, and who knows other
# speakers alone knows nothing.
LABELS = ("given", "permuted", "permuted_by_speaker")


@dataclass(frozen=True)
class LabelUpdate:
    """How one iteration's targets are made from the predictions before it: a key of RULES, and its alpha."""

    rule: str
    alpha: float | None = None


def updated_targets(update: LabelUpdate, q: Floats, y: Floats, g: Floats, utterance: Ints) -> Floats:
    """Targets of the next iteration, float32 [N, K]."""
    given = {"q": q, "y": y, "g": g, "utterance": utterance, "alpha": update.alpha}
    chosen = RULES[update.rule]
    return chosen.update(**{name: given[name] for name in chosen.needs}).astype(np.float32)


def one_hot(label: Ints, classes: int) -> Floats:
    """Labels [N] -> float32 [N, classes]."""
    return np.eye(classes, dtype=np.float32)[label]


def labels_of(utterances: pd.DataFrame, labels: str, seed: int) -> Ints:
    """The class of each utterance, int [U]: its own or, drawn by `seed`, another as LABELS says.

    Permuted labels have nothing to do with the speech, those by speaker nothing with the speech of others: whatever is
    then recognised above chance is a leak. `utterances` has the column label and, for the latter, speaker.
    """
    label = utterances["label"].to_numpy()
    if labels == "given":
        return label
    rng = np.random.default_rng((seed, 1))
    if labels == "permuted":
        return rng.permutation(label)
    there, known = np.unique(label, return_inverse=True)
    speakers, speaker = np.unique(utterances["speaker"].to_numpy(dtype=str), return_inverse=True)
    names = rng.permuted(np.tile(there, (len(speakers), 1)), axis=1)  # of each class, by speaker
    return names[speaker, known]
