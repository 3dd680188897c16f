"""One trial: a bundle of chains run against the store. The same function for Ray Tune and for a run in this process."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import torch

from data_prep.errors import describe_error
from data_prep.shards import SegmentCorpus
from dsl.chain import MissingInputsError
from dsl.company import Company
from dsl.process import configure_process, give_memory_back, is_out_of_memory
from sweep.planning.stages import StageSpec
from sweep.running.resources import cap_memory
from sweep.running.store_memory import StoreMemory, TrialContext
from sweep.running.task import MAY_PASS_BY, Task
from sweep.storage.lease import LeaseCheck, SupersededError
from sweep.storage.store import Store

Listener = Callable[[dict[str, Any]], None]  # told {"events": [{"event": ..., ...}]}
SECONDS_BETWEEN_MESSAGES = 2.0
SECONDS_TO_THE_FIRST = 0.2  # a trial that takes no longer tells everything in one message


class OutOfMemory(Exception):  # noqa: N818
    """A training needs more memory than its share of the GPU has."""

    def __init__(self, stage: StageSpec, cause: str) -> None:
        super().__init__(cause)
        self.stage = stage


def train(task: Task, corpora: Mapping[str, SegmentCorpus], store: Store, tell: Listener) -> None:
    """Do a task that `Trials.issue` gave. An error that may pass by, such as that of a device or a file server that
    does not answer, is raised; any other is told."""
    with errors_told(task, tell):
        run_trial(task, corpora, store, tell, LeaseCheck(store.folder, task.lease))


@contextmanager
def errors_told(task: Task, tell: Listener) -> Iterator[None]:
    """Tell what ends a trial before its time, and raise what may pass by."""
    try:
        yield
    except SupersededError:
        tell({"events": [{"event": "superseded"}]})
    except OutOfMemory as error:
        said = {"event": "out_of_memory", "key": error.stage.key, "gpu": task.gpu, "cause": str(error)}
        tell({"events": [said]})
    except MAY_PASS_BY as error:
        tell({"events": [{"event": "error", "cause": describe_error(error)}]})
        raise
    except Exception as error:
        tell({"events": [{"event": "failed", "cause": describe_error(error)}]})


def run_trial(
    task: Task,
    corpora: Mapping[str, SegmentCorpus],
    store: Store,
    tell: Listener,
    check: Callable[[bool], None] = lambda now: None,
) -> None:
    """Train what the store does not hold of a task's stages. The others of its bundle need what other folds have not
    trained yet.

    `corpora` maps full names to corpora in memory. `tell` is told what happened since it was last told, as
    {"events": [{"event": "steps" | "epoch" | "trained" | "reused" | "ended", ...}]}, and the last time, unless an error
    is raised, with "done": True. `check` is called with whether a commit is next, and raises SupersededError to stop
    the trial. On another error the stages that failed are noted in the store, and it is raised when the chains that can
    go on have come to their ends.
    """
    began = time.time()
    configure_process(task.threads)
    device = torch.device("cuda" if task.gpu and torch.cuda.is_available() else "cpu")
    cap_memory(task.gpu)
    last = task.bundle.chains[0].last
    within = dict.fromkeys(stage.key for stage in task.bundle.stages[: task.stages])
    events = _EventSender(tell, last_key=next(reversed(within)))
    corpus = corpora[last.corpus].thinned(last.training.every)
    context = TrialContext(task, store, corpus, device, events, check)
    memories = [StoreMemory(chain, context) for chain in task.bundle.chains]
    done = False
    try:
        _run_chains(context, memories, within)
        done = True
    finally:
        memories.clear()
        del corpus, context
        give_memory_back()
        events.end({"event": "ended", "began": began, "seconds": time.time() - began}, done)


def _run_chains(context: TrialContext, memories: Sequence[StoreMemory], within: Collection[str]) -> None:
    """Train the stages `within` (keys). Note in the store those that failed, and raise the first error."""
    task = context.task

    def tell_fewer(at_once: int) -> None:
        context.tell({"event": "fewer_at_once", "at_once": at_once, "gpu": task.gpu})

    chains = task.bundle.chains
    company = Company(context.device, task.at_once or len(chains), tell_fewer, task.checkpoint_seconds)
    steps = [sum(stage.key in within for stage in chain.stages) for chain in chains]
    try:
        failures = company.run(context.corpus, [chain.last for chain in chains], memories, steps)
    except (MissingInputsError, SupersededError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            open_one = next((memory.current for memory in memories if memory.is_open), memories[0].current)
            raise OutOfMemory(open_one, describe_error(error)) from error
        for memory in memories:
            memory.note_failure(error)
        raise
    for memory, failure in zip(memories, failures, strict=True):
        if failure is not None:
            memory.note_failure(failure)
    for failure in filter(None, failures):
        raise failure


class _EventSender:
    """A trial's events, sent together where nobody waits for them: each message costs the launch some milliseconds. How
    many steps are done is told no more often than that."""

    def __init__(self, send: Listener, last_key: str) -> None:
        self._send = send
        self._last_key = last_key
        self._waiting: list[dict[str, Any]] = []
        self._next = time.monotonic() + SECONDS_TO_THE_FIRST

    @property
    def _due(self) -> bool:
        """Whether it is time to send what waits."""
        return time.monotonic() >= self._next

    def __call__(self, event: dict[str, Any]) -> None:
        if event["event"] == "steps" and not self._due:
            return
        self._waiting.append(event)
        others_wait = event["event"] == "trained" and event["key"] != self._last_key
        if self._due or others_wait:
            self._flush()

    def end(self, event: dict[str, Any], done: bool) -> None:
        """Send the last message. With `done`, Tune ends the trial without asking for more, which would take it as
        long as the message did."""
        self._waiting.append(event)
        self._flush({"done": True} if done else {})

    def _flush(self, more: Mapping[str, Any] = MappingProxyType({})) -> None:
        events, self._waiting = self._waiting, []
        self._next = time.monotonic() + SECONDS_BETWEEN_MESSAGES
        self._send({"events": events, **more})
