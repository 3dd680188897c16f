"""The way in: a grid with its data and its store, and all that can be asked of them.

    from ser_sweep import open_sweep

    sweep = open_sweep("configs/demo.yaml", data="DATA", store="STORE")
    sweep.run(inline=True)
    print(sweep.scores())

The commands of `ser-sweep` are made of the same calls. What takes long to import is imported when it is asked for.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.addresses import local_path
from data_prep.errors import UserError
from data_prep.progress import Progress, no_progress
from data_prep.text import counted
from ser_sweep.opened import Place, place_of
from ser_sweep.results import SweepResults

if TYPE_CHECKING:
    from dsl.overlaps import FoldParts
    from sweep.exact_audit import Parting
    from sweep.planning.cost import Estimate, TrainingSpeed
    from sweep.planning.stages import ChainSpec, StageSpec
    from sweep.running.launch import Outcome


def with_fold_file(grid: str, name: str) -> str:
    """The text of a grid whose file of folds is called `name` and lies beside it."""
    import yaml

    content = yaml.safe_load(grid)
    told = str(content["folds"]["file"])
    changed = grid.replace(told, name)
    content["folds"]["file"] = name
    return changed if yaml.safe_load(changed) == content else yaml.safe_dump(content, sort_keys=False)


def no_notice(text: str) -> None:
    """For a caller whom notices do not interest."""


@dataclass(frozen=True)
class Ran:
    """What a run came to: how the launch ended, what was estimated before, and the grid's stages: those there `before`,
    those `done` now, and all, without those that halving leaves out. `gone` are those that were there or were trained,
    and are not there any more."""

    outcome: "Outcome"
    estimate: "Estimate"
    before: int
    done: int
    total: int

    @property
    def gone(self) -> int:
        """How many stages went missing during the launch, though they were there or trained."""
        return max(self.before + self.outcome.trained - self.done, 0)


@dataclass(frozen=True)
class AuditedChain:
    """A chain of the exact audit: of how many of its test utterances a label can reach the network that is tested on
    them, by the graph of stages alone; and where the chain and its twin part, for each alteration, if they do."""

    chain: "ChainSpec"
    labels_reaching: int
    test_utterances: int
    partings: "dict[str, Parting | None]"


def open_sweep(grid: Place, data: Place, store: Place | None = None) -> "Sweep":
    """A grid file with the folder of its prepared corpora and its store: paths, or addresses such as s3://bucket/folder.

    Without a store, a sweep tells of its chains and folds only. Raises UserError where the grid, the data or the store
    cannot be used, or the store is of other data.
    """
    return Sweep(local_path(str(grid)), place_of(data), None if store is None else place_of(store))


def open_results(folder: Place) -> "Sweep":
    """What `ser-sweep store export --decisions` wrote: everything but `run` and predictions. Raises UserError."""
    from analysis import lost_results
    from data_prep.folders import Folder
    from sweep.storage.results_alone import DATA_FOLDER, GRID_FILE, STORE_FOLDER, check_results, check_together, of_grid

    results = local_path(str(folder))
    if not ((results / GRID_FILE).is_file() or (results / STORE_FOLDER).is_dir()):
        raise UserError(f"{results} holds no {GRID_FILE}: ser-sweep store export --decisions writes such folders")
    check_results(Folder(results))
    with of_grid(Folder(results)):
        sweep = Sweep(results / GRID_FILE, str(results / DATA_FOLDER), str(results / STORE_FOLDER))
    check_together(Folder(results), sweep.seen.done_keys(), sweep.plan.stages, lost_results(sweep.seen, sweep.chains))
    return sweep


class Sweep(SweepResults):
    """A grid, its corpora and its store. What it tells of the store is of when that was first asked for; `refresh`
    looks again, and so does `run`. Results are those of the setting that is shown (`shown`, `at`).
    """

    # Planning

    def estimate(self, speeds: "Mapping[str, TrainingSpeed] | None" = None) -> "Estimate":
        """What the missing stages come to, at most where the grid is halved, by what the store's own took, and by
        `speeds` for kinds it has none of."""
        from sweep.planning.cost import bytes_per_segment, estimate, speeds_of
        from sweep.running.resources import AUTO_GPU_SHARE

        share = self.grid.resources.gpu
        known = {**(speeds or {}), **speeds_of(self.records)}
        gpu = AUTO_GPU_SHARE if share == "auto" else float(share)
        return estimate(self.at_most, self.prepared.values(), known, gpu, bytes_per_segment(self.records))

    def folds(self) -> "list[tuple[StageSpec, list[FoldParts]]]":
        """For each corpus, split and training seed, a stage of it and the parts of its folds in their order."""
        from analysis.tables.folds_table import folds_of

        return folds_of(self.chains, {one.name: one.utterances() for one in self.prepared.values()})

    @property
    def notices(self) -> list[str]:
        """What to know of the grid's folds before anything is trained: lists that test only a part of their corpus, and
        test recordings of which training has copies (`copies`)."""
        from sweep.planning.listed_folds import partly_tested

        return [*partly_tested(self.prepared.values()), *self.copies]

    @property
    def copies(self) -> list[str]:
        """For each corpus, split and training seed where test recordings have copies in training or validation, how
        many have, by the recordings' checksums."""
        with_copies = {}
        for one in self.prepared.values():
            utterances = one.utterances()
            if "sound" in utterances and utterances.loc[utterances["sound"] != "", "sound"].duplicated().any():
                with_copies[one.name] = utterances
        if not with_copies:
            return []
        from analysis.tables.folds_table import copies_text, folds_of

        found = folds_of((chain for chain in self.chains if chain.last.corpus in with_copies), with_copies)
        return list(dict.fromkeys(filter(None, (copies_text(*one) for one in found))))

    # Training

    def run(
        self,
        *,
        inline: bool = False,
        address: str | None = None,
        quiet: bool = False,
        max_hours: float | None = None,
        max_price: float | None = None,
        price_per_hour: float | None = None,
        max_trials: int | None = None,
        notice: Callable[[str], object] = no_notice,
    ) -> Ran:
        """Train what is missing: on Ray, a local runtime's unless there is an `address` of a cluster, or `inline`, one
        after the other in this process. Chains that cannot be trained are in `Ran.outcome.failures`.

        It issues no trial that would not fit `max_hours` of wall clock, a `max_price` at a `price_per_hour` of a device
        (a GPU or, without GPUs, a trial's CPUs), or `max_trials`: `Ran.outcome.limited` says what is left then.

        `notice` is told of damaged stages, of what the grid has too few utterances for, and of `notices`. Raises
        UserError, and KeyboardInterrupt where a signal ended it: what is finished is kept, and the same call goes on.
        """
        from sweep.planning.cost import StageSeconds, speeds_of
        from sweep.running.launch import launch
        from sweep.running.limits import Budget, Limits

        self._require_training()
        limits = Limits(max_hours, max_price, price_per_hour, max_trials)
        damaged = self.leave_damaged_out()
        if damaged:
            notice(f"notice: {counted(len(damaged), 'damaged stage')} to be trained again: {', '.join(damaged)}")
        self.store.discard_leftovers(self.plan.done)
        estimated, before = self.estimate(), self.plan.done
        of_all = len(self.plan.to_train) / max(1, estimated.stages)  # of which halving may train but a part
        for told in (*self.notices, *estimated.untaught):
            notice(f"notice: {told}")
        outcome = launch(
            self.plan,
            self.prepared,
            self.store,
            self.grid,
            inline=inline,
            address=address,
            quiet=quiet,
            expected=None if estimated.unknown else estimated.seconds * of_all,
            budget=Budget(limits, StageSeconds(self.prepared.values(), speeds_of(self.records))),
        )
        if outcome.interrupted:
            raise KeyboardInterrupt
        self.refresh()
        due = self.due
        return Ran(outcome, estimated, len(before & due.stages.keys()), len(due.done), len(due.stages))

    def _require_training(self) -> None:
        """Raise UserError, before anything is written, where the store or the data are those of results alone."""
        self.store.require_predictions()
        for one in self.prepared.values():
            one.require_sound()

    # Audit

    @property
    def audit_place(self) -> str:
        """Where `audit_exactly` keeps its stages: a folder of the store, named by a digest of the code and of the
        versions of packages that it trains with (`sweep.storage.provenance.code_digest`)."""
        from sweep.storage.provenance import code_digest

        return (self.store.folder / code_digest()).uri

    def audit_exactly(
        self, folds: Collection[int] = (0,), *, inline: bool = False, address: str | None = None, quiet: bool = False
    ) -> "tuple[Outcome, list[AuditedChain]]":
        """Train the chains of `folds`, and again with other labels, and with another sound, of the utterances that they
        are tested on, and compare them bit by bit (`sweep.exact_audit`). Where trainings fail there is nothing to tell.

        Stages are kept in a folder of the store for this version of the code (`audit_place`), as those of another one
        tell nothing of it: the same code goes on with what is there, and changed code trains anew.

        Raises UserError where that folder holds stages without their networks, and KeyboardInterrupt after a signal.
        """
        from sweep.exact_audit import check_networks_kept, checks_of, needed_chains, parting
        from sweep.planning.grid_fields import Scheduler
        from sweep.planning.label_flow import labels_reaching
        from sweep.planning.stages import Plan
        from sweep.running.launch import launch

        self._require_training()
        own = Sweep(self.grid_file, self.data, self.audit_place)
        checks = checks_of(own.chains, set(folds))
        chains, done = needed_chains(checks), own.seen.done_keys()
        check_networks_kept(own.seen, chains, done)
        plan = Plan.of(chains, done, own.seen.failures())
        keeping = own.grid.model_copy(update={"weights": "all", "scheduler": Scheduler()})
        outcome = launch(plan, own.prepared, own.store, keeping, inline=inline, address=address, quiet=quiet)
        if outcome.interrupted:
            raise KeyboardInterrupt
        own.refresh()
        if outcome.failures:
            return outcome, []
        flow = labels_reaching([check.chain for check in checks], own.prepared.values())
        found: dict[ChainSpec, AuditedChain] = {}
        for check in checks:
            about = found.setdefault(check.chain, AuditedChain(check.chain, *flow[check.chain.last.key], {}))
            about.partings[check.what] = parting(own.seen, check)
        return outcome, list(found.values())

    # Giving away

    def export(self, out: Place, progress: Progress = no_progress) -> int:
        """Write the predictions of the grid's finished stages to a new folder or address; returns of how many stages
        (`sweep.storage.export`)."""
        from sweep.storage.export import export

        return export(self.store, place_of(out), self.plan.done, progress)

    def export_results(self, out: Place, progress: Progress = no_progress) -> set[str]:
        """Write the results alone to a new folder, small enough to be committed, for `open_results`; returns the keys
        of their stages."""
        from analysis import keep_results
        from sweep.storage.export import results_folder

        if not self.plan.done:
            raise UserError(f"store {self.place} holds no stage to export")
        text, beside = self._portable_grid()
        with results_folder(str(out), text, self.prepared.values(), beside) as kept:
            return keep_results(self.store, self.plan.chains, kept, progress)

    def _portable_grid(self) -> tuple[str, dict[str, str]]:
        """The grid's file and, by its name, a file of the folds that it lists, to lie beside it."""
        from data_prep.fold_files import fold_file

        folds = self.grid.folds
        if isinstance(folds, int) or folds.file is None:
            return self.grid_text, {}
        lists = {one.name: one.fold_list for one in self.prepared.values() if one.fold_list is not None}
        name = Path(folds.file).name
        return with_fold_file(self.grid_text, name), {name: fold_file(lists)}
