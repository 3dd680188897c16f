"""What a trial is to do. It is sent to the process of the trial, which may be on another machine."""

from dataclasses import dataclass

from sweep.planning.stages import Bundle

MAY_PASS_BY = (OSError, MemoryError, RuntimeError)  # torch raises RuntimeError for the device's errors


@dataclass(frozen=True)
class Task:
    """The first `stages` stages of a bundle, which is the launch's `number`th; those that are done are not done again.

    They are trained on `threads` CPU threads and the share `gpu` of a GPU, `at_once` networks (all, if None) side by
    side, for as long as the launch has its `lease`, if it has one. The networks of the stages `keep_weights` (keys) are
    kept. The state of a training is written every `checkpoint_seconds`.
    """

    number: int
    bundle: Bundle
    stages: int
    threads: int = 1
    gpu: float = 0.0
    at_once: int | None = None
    lease: str | None = None
    keep_weights: tuple[str, ...] = ()
    checkpoint_seconds: float = 60.0
