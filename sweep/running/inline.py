"""The executor without Ray: trials one after the other, in this process."""

import os
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from data_prep.errors import describe_error
from data_prep.shards import SegmentCorpus
from data_prep.signals import raise_lost
from sweep.running.task import MAY_PASS_BY
from sweep.running.trials import LOOK_ELSEWHERE_SECONDS, Trials

TRIAL = "inline"


class ThisProcess:
    """Of trials one after the other: it cannot be ended without the launch."""

    place = f"in this process ({os.getpid()})"
    after = "the same command goes on from the last checkpoint"

    def end(self) -> bool:
        """False: it was not ended."""
        return False


def run_inline(trials: Trials, corpora: Mapping[str, SegmentCorpus]) -> None:
    """Have every task done that `trials` issues. `corpora` maps full names to corpora in memory."""
    from sweep.running.trial import train  # a launch that leaves training to others needs no torch

    while True:
        task = trials.issue(TRIAL)
        if task is None and trials.over:
            if trials.next_rung():
                continue
            return
        if task is None:
            time.sleep(LOOK_ELSEWHERE_SECONDS)
            continue
        trials.began(TRIAL, ThisProcess())
        tell = partial(_pass_on, trials, task.number)
        try:
            raise_lost()
            train(task, corpora, trials.store, tell)
        except KeyboardInterrupt:
            trials.interrupted = True
            return
        except MAY_PASS_BY as error:  # one trial's failure must not stop the rest
            tell({"events": [{"event": "failed", "cause": describe_error(error)}]})
        trials.ended(TRIAL)
        trials.completed(task.number)


def _pass_on(trials: Trials, number: int, said: dict[str, Any]) -> None:
    raise_lost()
    for event in said["events"]:
        trials.on_event(TRIAL, number, event)
