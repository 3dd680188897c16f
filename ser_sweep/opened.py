"""A grid with its corpora and its store: what it asks for, what is there, and which of its settings is shown."""

import contextlib
import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from data_prep.addresses import is_address, local_path
from data_prep.errors import UserError, bulleted

if TYPE_CHECKING:
    from data_prep.shards import PreparedCorpus
    from ser_sweep.shown import Shown
    from sweep.planning.differences import Change
    from sweep.planning.explain import Reason
    from sweep.planning.grid import GridSpec
    from sweep.planning.halving import Halved
    from sweep.planning.settings import Setting, Settings
    from sweep.planning.stages import ChainSpec, Plan
    from sweep.storage.snapshot import Snapshot
    from sweep.storage.store import Store

Place = str | Path


def place_of(given: Place) -> str:
    """An address as it is, and a path of this machine in full."""
    text = str(given)
    return text if is_address(text) else str(local_path(text))


class OpenedSweep:
    """`grid_file`, `data` and `place` are as given; `prepared` maps the keys of the grid's requests for corpora to what
    is on disk, and `chains` are what it asks for, in its order.
    """

    def __init__(self, grid_file: Path, data: str, place: str | None) -> None:
        from sweep.planning.grid import load_grid, resolve_corpora
        from sweep.storage.store import Store

        self.grid_file, self.data, self.place = grid_file, data, place
        opened = None if place is None else Store(place)
        if opened is not None:
            opened.check_results()
        self.grid: GridSpec = load_grid(grid_file)
        self.prepared: dict[str, PreparedCorpus] = resolve_corpora(self.grid, data)
        self.requests = {self.prepared[one.key].name: one for one in self.grid.corpus_requests()}
        if opened is not None:
            for one in self.prepared.values():
                asked = self.requests[one.name]
                opened.check_corpus(one, asked_for=one.name if asked.told else asked.name)
        self._store = opened
        self._asked: Setting | None = None
        self.chains: list[ChainSpec] = self.grid.expand(self.prepared)

    @property
    def store(self) -> "Store":
        """Raises UserError where the sweep was opened without one."""
        if self._store is None:
            raise UserError(f"grid {self.grid_file} was opened without a store; give one to open_sweep")
        return self._store

    # What there is

    @cached_property
    def seen(self) -> "Snapshot":
        """The store as it is from now on for this sweep: each stage.json is read once."""
        from sweep.storage.snapshot import Snapshot

        return Snapshot(self.store.folder)

    @property
    def records(self) -> "list[dict[str, Any]]":
        """stage.json of every stage that the store holds, of this grid and others."""
        return list(self.seen.records())

    @cached_property
    def plan(self) -> "Plan":
        """The grid's stages: which are done, missing and failed."""
        from sweep.planning.stages import Plan

        return Plan.of(self.chains, self.seen.done_keys(), self.seen.failures(), self._features)

    @property
    def _features(self) -> "dict[str, dict[str, Any]]":
        """Those by which the grid picks each preparation, by its full name."""
        return {name: dict(request.features) for name, request in self.requests.items()}

    @cached_property
    def halved(self) -> "Halved | None":
        """What successive halving comes to so far; None where the grid does not ask for it."""
        from sweep.planning.halving import halve, validation_of

        halving = self.grid.scheduler.halving
        if halving is None:
            return None
        names = {name: asked.name for name, asked in self.requests.items()}
        return halve(self.plan, validation_of(self.seen.read_stage), self.plan.failed, halving, names)

    @property
    def due(self) -> "Plan":
        """The part of the plan that is to be trained: all of it or, with halving, that of the rungs so far."""
        return self.plan if self.halved is None else self.plan.of_chains(self.halved.chains)

    @property
    def at_most(self) -> "Plan":
        """The same with all that halving can still come to."""
        return self.plan if self.halved is None else self.plan.of_chains(self.halved.at_most)

    def refresh(self) -> None:
        """Look at the store anew."""
        for name in ("seen", "plan", "halved", "_chosen", "_decided"):
            self.__dict__.pop(name, None)

    def leave_damaged_out(self) -> list[str]:
        """Go on as if the stages were not there whose predictions are not what was committed; returns their keys."""
        damaged = self.seen.damaged(sorted(self.plan.done))
        if damaged:
            self.plan = self.plan.without(damaged)
            for name in ("halved", "_chosen"):
                self.__dict__.pop(name, None)
            self.seen.leave_out(damaged)
        return damaged

    def why(self, name: str) -> "list[Reason]":
        """Why a stage, by the beginning of its key, or each stage of a chain, by its label, is to be trained.

        Raises UserError where the grid has none of that name.
        """
        from sweep.planning.explain import named, reasons

        wanted = named(self.plan, name)
        damaged = self._damaged_among([stage.key for stage in wanted])
        cut = {one.name: one.settings.as_dict() for one in self.prepared.values()}
        for corpus in set(self.seen.corpora()) - cut.keys():
            with contextlib.suppress(UserError):  # a damaged one is told by its name only
                cut[corpus] = self.seen.read_corpus(corpus)[0]["settings"]
        return reasons(self.plan, wanted, self.records, damaged, cut)

    def _damaged_among(self, keys: Sequence[str]) -> list[str]:
        """Those that are there, and not whole."""
        if self.store.results_only:
            return []
        there, other = ([key for key in keys if (key in self.plan.done) is done] for done in (True, False))
        broken = [key for key in other if self.store.read_stage_file(key, "stage.json") is not None]
        return [*self.seen.damaged(there), *broken]

    def changed_to(self, other: "OpenedSweep") -> "Change":
        """What `other`, a changed grid on the same data and store, adds to this one, keeps and leaves unused."""
        from sweep.planning.differences import change
        from sweep.planning.stages import Plan

        features = {**self._features, **other._features}
        together = Plan.of([*self.chains, *other.chains], self.seen.done_keys(), self.seen.failures(), features)
        return change(self.grid, other.grid, self.plan.stages.keys(), other.plan.stages.keys(), together)

    # Settings

    @cached_property
    def settings(self) -> "Settings":
        """The grid's settings, each with its chains; one with nothing to tell where all are trained alike."""
        from sweep.planning.products import paper_epochs
        from sweep.planning.settings import PAPER, settings_of

        cut = {one.name: one.settings for one in self.prepared.values()}
        asked = {name: request.name for name, request in self.requests.items()}
        says_paper = any(PAPER in product.training.values_named("epochs") for product in self.grid.products())
        epochs = {one.name: paper_epochs(one.corpus) for one in self.prepared.values()} if says_paper else None
        return settings_of(self.chains, asked, cut, epochs)

    @property
    def shown(self) -> "Setting":
        """The setting whose results are told: the one asked for (`at`), or the one that `choose_shown` chooses."""
        return self._chosen.setting if self._asked is None else self._asked

    @property
    def why_shown(self) -> str:
        """Which of how many the shown setting is, in words."""
        return self._chosen.why if self._asked is None else f"one of {len(self.settings)}"

    @cached_property
    def _chosen(self) -> "Shown":
        from analysis.scoring.setup import setup_of
        from data_prep.features import FeatureSettings
        from dsl.settings import TrainingSettings
        from ser_sweep.shown import Shown, choose_shown, progress_of
        from sweep.planning.in_view import training_values
        from sweep.planning.settings import distance

        if len(self.settings) == 1:
            return Shown(next(iter(self.settings)), "the only one")
        about = {one.name: one.manifest for one in self.prepared.values()}
        papers = {**training_values(TrainingSettings()), **FeatureSettings().as_dict()}

        def departure(setting: "Setting") -> tuple[int, float]:
            chains = self.settings.chains[setting]
            fields = max(len(setup_of(chain.last, about[chain.last.corpus]).departures) for chain in chains)
            return fields, distance(setting, papers)

        done = self.plan.done if self.place is not None else frozenset[str]()
        return choose_shown(progress_of(self.settings, done), departure)

    @property
    def shown_chains(self) -> "tuple[ChainSpec, ...]":
        """The chains of the setting that is shown."""
        return self.settings.chains[self.shown]

    def at(self, values: Mapping[str, str]) -> Self:
        """The same sweep with another setting shown: the one whose fields have these `values`, as a grid's file has
        them. Raises UserError where none has them, or more than one.
        """
        from sweep.planning.in_view import value_text

        if not self.settings.fields:
            raise UserError(f"grid {self.grid_file} has one setting only: every chain of a network is trained alike")
        for field in values:
            if field not in self.settings.fields:
                raise UserError(
                    f"--setting {field}: the grid's settings do not differ in that; they differ in "
                    f"{', '.join(self.settings.fields)}"
                )
        fitting = [
            one
            for one in self.settings
            if all(value_text(one.by_field[field]) == normal(value) for field, value in values.items())
        ]
        asked = " ".join(f"{field}={value}" for field, value in values.items())
        if not fitting:
            there = bulleted([one.text for one in self.settings])
            raise UserError(f"--setting {asked} fits no setting; there are:\n{there}")
        if len(fitting) > 1:
            told = bulleted([one.text for one in fitting])
            raise UserError(f"--setting {asked} fits {len(fitting)} settings; tell more of:\n{told}")
        other = copy.copy(self)
        other._asked = fitting[0]
        return other


def normal(value: str) -> str:
    """The value of a field as `value_text` writes it: `1e-3` is `0.001`, and `True` is `true`."""
    try:
        return f"{float(value):g}"
    except ValueError:
        return value.lower()
