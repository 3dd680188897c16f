"""Everything that changes what a training learns (§VIII-A). Part of a stage's identity."""

from dataclasses import asdict, dataclass
from typing import Any

# At most so many epochs for each of the paper's corpora (§VIII-A); Emo-DB's for any other.
PAPER_EPOCHS = {"casia": 20, "emodb": 12, "savee": 8}
OTHER_EPOCHS = 12


@dataclass(frozen=True)
class TrainingSettings:
    """The defaults are the paper's.

    `every` thins the corpus to every n-th segment of an utterance; the learning rate is multiplied by `decay` every
    `decay_epochs`; `patience` epochs without a better validation loss end the training; `validation_share` is the
    part of the training utterances held out for that.
    """

    epochs: int = OTHER_EPOCHS
    every: int = 1
    batch_size: int = 128
    learning_rate: float = 1e-3
    decay: float = 0.8
    decay_epochs: int = 2
    patience: int = 3
    validation_share: float = 0.1

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
