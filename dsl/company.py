"""Chains trained on one device: alone, or several side by side."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from data_prep.errors import UserError
from data_prep.shards import SegmentCorpus
from dsl.chain import ChainMemory, ChainRun, SharedCorpus
from dsl.process import free_device_memory, is_out_of_memory
from dsl.settings import ChainSettings
from dsl.training import CHECKPOINT_SECONDS, train_an_epoch


def run_chain(
    corpus: SegmentCorpus,
    chain: ChainSettings,
    device: torch.device,
    memory: ChainMemory,
    steps: int | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> None:
    """Do the first `steps` trainings of a chain, or all; those that `memory` holds are not done again.

    `corpus` is already thinned. The seed of a training comes from the chain's seed, fold, iteration and inner fold
    alone, so that chains which differ in rule or alpha can be compared in pairs. Raises MissingInputsError under
    `global_oof` where another fold is not far enough, and UserError where the chain cannot go on.
    """
    company = Company(device, checkpoint_seconds=checkpoint_seconds)
    (failure,) = company.run(corpus, [chain], [memory], [steps])
    if failure is not None:
        raise failure


@dataclass
class Company:
    """Trains chains of one corpus and backbone on a device, `at_once` of their networks side by side.

    Each network has its own weights, optimiser, batches, early stopping and checkpoints, and comes to the bits that it
    comes to alone. Where the device's memory does not hold so many, fewer are trained at once from then on, which
    `on_fewer` is told; a single one raises the device's error.
    """

    device: torch.device
    at_once: int = 1
    on_fewer: Callable[[int], None] = lambda at_once: None
    checkpoint_seconds: float = CHECKPOINT_SECONDS

    def run(
        self,
        corpus: SegmentCorpus,
        chains: Sequence[ChainSettings],
        memories: Sequence[ChainMemory],
        steps: Sequence[int | None] | None = None,
    ) -> list[UserError | None]:
        """`run_chain` for each chain, of which the first `steps` trainings are done, where that is given.

        What several of them share is trained once, for the first of them, and found by the others in their memories.
        Returns why each chain could not go on, where it could not: that leaves the others as they are.
        """
        shared = SharedCorpus(corpus, self.device)
        several = zip(chains, memories, steps or [None] * len(chains), strict=True)
        working = [ChainRun(shared, *each, self.checkpoint_seconds) for each in several]
        while under_way := self._begin(working):
            self._train(under_way)
        return [one.failure for one in working]

    def _begin(self, working: Sequence[ChainRun]) -> list[ChainRun]:
        """The chains that train: those that did, and as many more as may."""
        under_way = [one for one in working if one.trains]
        keys = {one.key for one in under_way}
        if not under_way and self.device.type == "cuda":
            free_device_memory(idle=True)  # the peak is to be that of these trainings, without what the last ones left
            torch.cuda.reset_peak_memory_stats(self.device)
        for one in working:
            if len(under_way) >= self.at_once:
                break
            if one.trains or not one.is_ready(keys):
                continue
            if not self._has_room(one.begin, beside=len(under_way)):
                one.drop()
                self._train_fewer(len(under_way))
            elif one.trains:
                under_way.append(one)
                keys.add(one.key)
        return under_way

    def _train(self, under_way: Sequence[ChainRun]) -> None:
        """An epoch of each."""

        def epoch() -> None:
            begun = time.perf_counter()
            failures = train_an_epoch([one.training for one in under_way])
            seconds = (time.perf_counter() - begun) / len(under_way)
            for one, failure in zip(under_way, failures, strict=True):
                one.go_on(failure, seconds, len(under_way))

        if not self._has_room(epoch, beside=len(under_way) - 1):
            for one in under_way:
                one.drop()
            self._train_fewer(len(under_way) - 1)

    def _has_room(self, work: Callable[[], None], beside: int) -> bool:
        """Do `work`; whether the device's memory held it. What has nothing `beside` it raises the device's error."""
        try:
            work()
        except Exception as error:
            if not is_out_of_memory(error) or not beside:
                raise
            return False
        return True

    def _train_fewer(self, at_once: int) -> None:
        self.at_once = at_once
        free_device_memory(idle=False)
        self.on_fewer(at_once)
