"""Everything that changes what a training learns: how it is trained (§VIII-A), and which training of a chain it is."""

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from dsl.labels import BASELINE, LabelUpdate

# At most so many epochs for each of the paper's corpora (§VIII-A); Emo-DB's for any other.
PAPER_EPOCHS = {"casia": 20, "emodb": 12, "savee": 8}
OTHER_EPOCHS = 12
Precision = Literal["float32", "bfloat16"]
Layout = Literal["channels_last", "contiguous"]
ValidationBy = Literal["split", "utterance", "speaker", "text", "session"]
Standardisation = Literal["band", "overall", "utterance", "none"]
Initialisation = Literal["backbone", "glorot_uniform"]
Altered = Literal["labels", "sound"]
# Raise when `dsl.alterations` makes others. Version 1 of the sound was not louder, so a mean over all bands stayed.
ALTERATION_VERSION: dict[Altered, int] = {"labels": 1, "sound": 2}


@dataclass(frozen=True)
class TrainingSettings:
    """The defaults are the paper's.

    `every` thins the corpus to every n-th segment of an utterance; the learning rate is multiplied by `decay` every
    `decay_epochs`; `patience` epochs without a better validation loss end the training; `validation_share` is the
    part of the training utterances held out for that, which may be 0 without early stopping, and `validation_by` what
    is held out whole (`dsl.splits.kept_whole`). Without `early_stopping` all epochs are trained and the last
    weights kept, whatever the validation part says; with it those of the lowest validation loss or, without
    `restore_best_weights`, those of the epoch that it stopped after. `precision` is that of convolutions and products
    while a network learns; weights and predictions are float32 with either. `layout` is that of maps in memory:
    devices compute either with kernels of their own, which round differently.

    `standardisation` says by which mean and deviation input is shifted and scaled: those of a Mel band or of all bands
    together (`overall`) over the training part's frames, those of a band over the utterance's own frames, or none. The
    rate decays in a `staircase`, or else a little at each step. `batch_norm_momentum` is the weight of a batch in the
    running statistics, as in PyTorch: Keras' momentum is 1 minus that, 0.99 by default. `initialisation` is that of
    the backbone's code, or Keras' default (`dsl.building`).
    """

    epochs: int = OTHER_EPOCHS
    every: int = 1
    batch_size: int = 128
    learning_rate: float = 1e-3
    decay: float = 0.8
    decay_epochs: int = 2
    patience: int = 3
    validation_share: float = 0.1
    early_stopping: bool = field(default=True, metadata={"later": True})
    precision: Precision = field(default="float32", metadata={"later": True})
    layout: Layout = field(default="channels_last", metadata={"later": True})
    validation_by: ValidationBy = field(default="split", metadata={"later": True})
    standardisation: Standardisation = field(default="band", metadata={"later": True})
    staircase: bool = field(default=True, metadata={"later": True})
    restore_best_weights: bool = field(default=True, metadata={"later": True})
    batch_norm_momentum: float = field(default=0.1, metadata={"later": True})
    initialisation: Initialisation = field(default="backbone", metadata={"later": True})


@dataclass(frozen=True)
class Step:
    """One training of a chain: iteration t on the fold's training part or, within that, on an inner fold's."""

    iteration: int
    inner_fold: int | None = None


@dataclass(frozen=True)
class Alteration:
    """What is not as in the corpus: `what` the utterances that fold `fold` tests have, their labels or their sound.

    Everything else, folds and validation parts among it, stays as it is. What a training then comes to tells whether it
    knew anything of these utterances (`dsl.alterations`).
    """

    fold: int
    what: Altered
    version: int = field(default=1, metadata={"later": True})

    @classmethod
    def of(cls, fold: int, what: Altered) -> "Alteration":
        """The alteration as it is made now."""
        return cls(fold, what, ALTERATION_VERSION[what])

    @property
    def text(self) -> str:
        """`labels of fold 3`."""
        return f"{self.what} of fold {self.fold}"


@dataclass(frozen=True)
class Listed:
    """A list of folds: the `digest` of what it says, and the `name` that people call it by, which changes nothing."""

    digest: str
    name: str = field(default="", compare=False)


@dataclass(frozen=True)
class ChainSettings:
    """A chain (Algorithm 1): one fold's network of iteration 0, and those that follow from it by `updates`.

    `corpus` is a prepared corpus's full name. `updates` has one entry for each iteration after 0. `label_source` is
    one of LABEL_SOURCES, or None where there is no update; `inner_folds` is the number of networks that relabel one
    another's segments under `cross_fit`, and None elsewhere. `labels` is one of LABELS. With `altered`, the corpus is
    not the one that was prepared, but one that an audit compares it with. Under the split `listed`, `listed` says by
    which list, which is a column of the corpus's utterances (`data_prep.fold_lists`).
    """

    corpus: str
    backbone: str
    split: str
    folds: int
    fold: int
    seed: int
    label_source: str | None
    updates: tuple[LabelUpdate, ...]
    training: TrainingSettings
    inner_folds: int | None = field(default=None, kw_only=True, metadata={"later": True})
    labels: str = field(default="given", kw_only=True, metadata={"later": True})
    altered: Alteration | None = field(default=None, kw_only=True, metadata={"later": True})
    listed: Listed | None = field(default=None, kw_only=True, metadata={"later": True})

    @property
    def split_name(self) -> str:
        """What people call the split: `speaker`, and `folds.csv` where its folds are listed there."""
        return self.split if self.listed is None else self.listed.name or f"list {self.listed.digest}"

    @property
    def iteration(self) -> int:
        """The number of the last iteration."""
        return len(self.updates)

    @property
    def rule(self) -> str:
        """The rule of the updates, `none` without any; joined by arrows where they differ."""
        names = [update.rule for update in self.updates] or [BASELINE]
        return "→".join(names if len(set(names)) > 1 else names[:1])

    @property
    def alpha(self) -> str:
        """`0.2`; joined by arrows where it changes from one iteration to the next; empty where the rule has none."""
        if all(update.alpha is None for update in self.updates):
            return ""
        alphas = ["-" if update.alpha is None else f"{update.alpha:g}" for update in self.updates]
        return "→".join(alphas if len(set(alphas)) > 1 else alphas[:1])

    @property
    def steps(self) -> tuple[Step, ...]:
        """The trainings of the chain in order; under `cross_fit` each iteration needs inner ones of the one before."""
        inner = range((self.inner_folds or 0) if self.label_source == "cross_fit" else 0)
        steps = [Step(0)]
        for iteration in range(1, self.iteration + 1):
            steps += [*(Step(iteration - 1, fold) for fold in inner), Step(iteration)]
        return tuple(steps)


def identity_of(settings: Any) -> dict[str, Any]:
    """A dataclass of settings as JSON values: what a stage's key is made of.

    A field that was added later is left out at its default, so that stages trained before it are still found. One by
    which settings are not compared is left out, too.
    """
    return {
        one.name: _identity_value(getattr(settings, one.name))
        for one in fields(settings)
        if one.compare and not (one.metadata.get("later") and getattr(settings, one.name) == one.default)
    }


def _identity_value(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_identity_value(each) for each in value]
    return identity_of(value) if hasattr(value, "__dataclass_fields__") else value
