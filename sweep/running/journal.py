"""What a launch tells of its trials: to its event log, to experiment trackers, and to its user."""

from collections.abc import Mapping, Sequence
from typing import Any

from data_prep.text import duration
from sweep.planning.halving import Stopped
from sweep.planning.stages import Bundle, ChainSpec
from sweep.running.display import Display
from sweep.running.limits import Limited
from sweep.running.tally import Tally
from sweep.running.tracking import Trackers
from sweep.storage.events import EventLog

REMEDY = (
    "check whether it waits for a disk, a GPU or memory; if it is ended, {after}. resources.restart_stalled: true in "
    "the grid ends it on Ray; resources.stalled_after_minutes says how long to wait"
)


class Journal:
    """Where the news of a launch goes. `tally` is what they come to."""

    def __init__(self, events: EventLog, tally: Tally, display: Display, trackers: Trackers) -> None:
        self.tally = tally
        self._events = events
        self._display = display
        self._trackers = trackers
        self._not_recorded: set[tuple[str, str]] = set()  # kinds of trainings and causes that were said
        self._reached = ""  # the limit that was told of

    def issued(self, trial: str, bundle: Bundle, stages: int, gpu: float) -> None:
        """A trial has its work, and `gpu` of a device."""
        self._events.write("issued", trial=trial, chain=bundle.label, stages=stages, gpu=gpu)

    def on_event(self, trial: str, number: int, bundle: Bundle, event: dict[str, Any], line: str | None = None) -> None:
        """Pass on an event of a trial, to the user with `line` or with what is always said of such an event."""
        kind = event["event"]
        if kind in ("steps", "epoch", "trained", "reused"):
            self.tally.on_event(number, bundle, event)
        self._trackers.took(event)
        if kind not in ("steps", "epoch"):
            self._events.write(**{"trial": trial, "chain": bundle.label, **event})
        self._display.update(line or self._line_of(bundle, event))

    def _line_of(self, bundle: Bundle, event: dict[str, Any]) -> str | None:
        kind, label_of = event["event"], self.tally.plan.label_of
        if kind == "trained":
            return f"trained {label_of(event['key'])}, in {event['seconds']:.1f} s"
        if kind == "fewer_at_once":
            return (
                f"{bundle.label} ran out of memory; {event['gpu']:g} of a GPU trains {event['at_once']} of "
                f"{bundle.kind} at once from now on"
            )
        if kind == "resumed_elsewhere":
            return _resumed_words(label_of(event["key"]), event["under"])
        if kind == "not_recorded":
            return self._not_recorded_words(bundle.kind, event["cause"])
        return None

    def _not_recorded_words(self, kind: str, cause: str) -> str | None:
        """Said once for each kind of training and cause."""
        if (kind, cause) in self._not_recorded:
            return None
        self._not_recorded.add((kind, cause))
        return f"{kind} is trained step by step, not as recorded CUDA graphs, which are faster: {cause}"

    def stalled(self, trial: str, bundle: Bundle, seconds: float, place: str, after: str, restarted: bool) -> None:
        """A trial at `place` makes no progress; `after` says what becomes of its work once its process has ended."""
        facts = {"trial": trial, "chain": bundle.label, "seconds": round(seconds), "place": place}
        self._events.write("stalled", **facts, restarted=restarted)
        remedy = f"its process was ended; {after}" if restarted else REMEDY.format(after=after)
        self._display.update(f"STALLED {bundle.label}: no progress for {duration(seconds)}, {place}: {remedy}")

    def lost(self, trial: str, bundle: Bundle, cause: str) -> None:
        """A trial ended before its tries were used up, with all others."""
        self._events.write("lost", trial=trial, chain=bundle.label, cause=cause)

    def broken(self, cause: str) -> None:
        """All trials ended at once, by what `cause` says."""
        self._display.update(f"all trials ended, and go on from their checkpoints: {cause}")

    def failed(self, bundle: Bundle, cause: str) -> None:
        """A bundle of chains failed."""
        self._events.write("failed", chain=bundle.label, cause=cause)

    def ended(self, number: int, bundle: Bundle, cause: str | None) -> None:
        """A bundle is done with, for now or, with a cause, for good."""
        self.tally.ended(number, cause)
        self._display.update(None if cause is None else f"FAILED  {bundle.label}: {cause}")

    def halved(self, stopped: Sequence[Stopped], chains: Sequence[ChainSpec]) -> None:
        """Halving stopped candidates; `chains` are all that was to be trained until now, and is from here on."""
        view = self.tally.plan.view
        self.tally.goal = frozenset(self.tally.plan.of_chains(chains).stages)
        if not stopped:
            return
        told = {one.label_in(view): one.words for one in stopped}
        self._events.write("halved", stopped=told, stages=self.tally.missing)
        for label, words in told.items():
            self._display.update(f"{label}: {words}")

    def reached(self, limit: str) -> None:
        """No more trials are issued, because the next would not fit the limit; said once."""
        if limit != self._reached:
            self._reached = limit
            self._display.update(f"{limit}: no more trials are issued; those under way come to their ends")

    def limited(self, left: Limited) -> None:
        """The launch ends by a limit."""
        hours = None if left.seconds is None else round(left.seconds / 3600, 3)
        self._events.write("limited", limit=left.limit, stages=left.stages, hours=hours)

    def broken_off(self, cause: str) -> None:
        """This process is about to end."""
        self._events.write("finished", trained=len(self.tally.trained), interrupted=True, cause=cause)

    def close(self) -> None:
        """End what trackers still show as running."""
        self._trackers.close()


def _resumed_words(label: str, under: Mapping[str, tuple[str, str]]) -> str:
    changes = ", ".join(f"{name} {before} -> {now}" for name, (before, now) in under.items())
    return f"{label} continues under other conditions than it began with, so its last bits may differ: {changes}"
