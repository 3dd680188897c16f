"""What a sweep came to: decisions, rates, tables, claims, figures and the report, and which setting is the best."""

import copy
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from data_prep.addresses import local_path
from data_prep.errors import UserError
from data_prep.progress import Progress, no_progress
from data_prep.text import command, counted, plain
from ser_sweep.opened import OpenedSweep, Place

if TYPE_CHECKING:
    import pandas as pd

    from analysis.audit import AuditFinding
    from analysis.paper.findings import Finding
    from analysis.report import Report
    from analysis.scoring.ranking import BySetting, Candidate, Ranking
    from analysis.tables.listings import Listing
    from analysis.tables.paper_tables import Table
    from sweep.planning.chosen_grid import Choice
    from sweep.planning.settings import Setting


class SweepResults(OpenedSweep):
    """The results of a sweep, from its store alone. Those of one setting are of the one that is shown (`shown`,
    `at`)."""

    _intervals: str | None = None

    @cached_property
    def _decided(self) -> "dict[tuple[Setting, bool, str], pd.DataFrame]":
        return {}

    @property
    def intervals(self) -> str:
        """The kind of 95% intervals that results have: that of the grid, unless `with_intervals` asks for another."""
        return self._intervals or self.grid.intervals

    def with_intervals(self, kind: str) -> Self:
        """The same sweep with other intervals in its results: `utterance`, `speaker`, `speaker_t` or `corrected_t`, of
        which docs/statistics.md tells. Raises UserError for another name."""
        from sweep.planning.intervals import INTERVALS

        if kind not in INTERVALS:
            raise UserError(f"intervals {kind} are not known; there are {', '.join(INTERVALS)}")
        other = copy.copy(self)
        other._intervals = kind
        return other

    def decisions(self, *, forests: bool = True, progress: Progress = no_progress) -> "pd.DataFrame":
        """Decisions on utterances of all networks that are there (`analysis.decide`): what every result is made of.

        Forests take seconds for each network and training seed, the first time; without `forests` there is mean pooling
        only. Raises UserError where the store holds nothing of the grid.
        """
        decided = self._decisions_at(self.shown, forests, progress)
        if decided.empty:
            of = f" with {self.shown.text}" if self.shown.values and self.plan.done else ""
            if not any(stage.key in self.plan.done for chain in self.shown_chains for stage in chain.stages):
                train = command("run", self.grid_file, "--data", self.data, "--store", self.place)
                alone = "none was finished when these results were exported"
                remedy = alone if self.store.results_only else f"train them with: {train}"
                raise UserError(f"store {self.place} holds no stage of {self.grid_file}{of}; {remedy}")
            raise UserError(
                f"all stages of {self.grid_file}{of} in store {self.place} are damaged; ser-sweep run repairs them"
            )
        return decided

    def decisions_by_setting(
        self, *, forests: bool = True, progress: Progress = no_progress
    ) -> "dict[Setting, pd.DataFrame]":
        """The decisions of every setting of which there are any."""
        found = {one: self._decisions_at(one, forests, progress) for one in self.settings}
        return {one: decisions for one, decisions in found.items() if not decisions.empty}

    def _decisions_at(self, setting: "Setting", forests: bool, progress: Progress) -> "pd.DataFrame":
        key = setting, forests, self.intervals
        if key not in self._decided:
            from analysis import decide

            seeds = {} if forests else {"forest_seeds": 0}
            chains = self.settings.chains[setting]
            there = [chain for chain in chains if any(stage.key in self.plan.done for stage in chain.stages)]
            self._decided[key] = decide(
                self.seen, chains if there else [], progress=progress, intervals=self.intervals, **seeds
            )
        return self._decided[key]

    def by_setting(self, *, forests: bool = True, progress: Progress = no_progress) -> "BySetting":
        """The results of every setting beside one another (`analysis.scoring.ranking`). Raises UserError where the
        store holds nothing of the grid."""
        from analysis.scoring.ranking import BySetting

        found = self.decisions_by_setting(forests=forests, progress=progress)
        return BySetting(found or {self.shown: self.decisions(forests=forests)}, self.shown, self.why_shown)

    def best(self, *, forests: bool = True, progress: Progress = no_progress) -> "list[Ranking]":
        """The settings and networks of each corpus and split, ranked by validation alone; rates on test utterances
        stand beside. Raises UserError where no rate on validation utterances is known."""
        from analysis.scoring.ranking import rankings

        found = rankings(self.by_setting(forests=forests, progress=progress).candidates)
        if not any(one.chosen for one in found):
            raise UserError(
                f"nothing of grid {self.grid_file} can be chosen: no rate on validation utterances is known, as with "
                "validation_share: 0, and the test folds choose nothing"
            )
        return found

    def best_grid(self, rankings: "Sequence[Ranking]", comments: Sequence[str] = ()) -> str:
        """A grid file of what `best` has chosen, with `comments`: the store has all of its stages, but those that are
        missing of an incomplete choice."""
        from sweep.planning.chosen_grid import chosen_text

        choices = [self._choice(one, one.chosen) for one in rankings if one.chosen is not None]
        return chosen_text(self.grid, choices, comments)

    def _choice(self, ranking: "Ranking", chosen: "Candidate") -> "Choice":
        from analysis.scoring.formats import folds_text, joined
        from analysis.scoring.stored import corpus_names, network_of
        from sweep.planning.chosen_grid import Choice

        chains = self.settings.chains[chosen.setting]
        names = corpus_names(self.seen, chains)
        stages = [stage for chain in chains for stage in chain.stages if stage.inner_fold is None]
        own = [stage for stage in stages if stage.corpus in names and network_of(stage, names) == chosen.network]
        folds = folds_text(chosen.score.folds_done, chosen.score.folds)
        could, others = len(ranking.ranked), len(ranking.others)
        of = counted(could + others, "candidate") + (f", of which {could} could be chosen," if others else "")
        why = f"the best of {of} of {self.grid_file} on validation utterances, WA {chosen.validation:.2f}%"
        seeds = tuple(sorted({stage.seed for stage in own}))
        return Choice(own[0], seeds, self.requests[own[0].corpus], joined(f"{chosen.name}: {why}", folds))

    def scores(self, *, forests: bool = True) -> "pd.DataFrame":
        """Recognition rates of every network, with intervals (`analysis.score_networks`)."""
        from analysis import score_networks

        return score_networks(self.decisions(forests=forests))

    def scores_by_speaker(self, *, forests: bool = True) -> "pd.DataFrame":
        """Rates of every network on the utterances of each speaker, and of each class (`analysis.score_speakers`)."""
        from analysis import score_speakers

        return score_speakers(self.decisions(forests=forests))

    def calibration(self, *, forests: bool = False) -> "pd.DataFrame":
        """How well mean pooling knows how sure it can be, of every network (`analysis.calibration`)."""
        from analysis import calibration

        return calibration(self.decisions(forests=forests))

    def comparisons(self, *, forests: bool = True) -> "pd.DataFrame":
        """Every network beside its baseline, on the same utterances (`analysis.comparisons`)."""
        from analysis import comparisons

        return comparisons(self.decisions(forests=forests))

    def tables(self, *, forests: bool = True, test_chosen: bool = False) -> "list[Table | Listing]":
        """All that `ser-sweep tables` shows (`analysis.collect_tables`), for `analysis.to_markdown` and its like."""
        from analysis import collect_tables
        from analysis.tables.settings_tables import in_settings

        found = collect_tables(self.seen, self.shown_chains, self.decisions(forests=forests), test_chosen)
        return [*in_settings(found, self.by_setting(forests=forests)), *self._stopped()]

    def _stopped(self) -> "list[Listing]":
        """What halving stopped, as a table, if anything."""
        if self.halved is None:
            return []
        from ser_sweep.stopped import stopped_listing

        listing = stopped_listing(self.halved.stopped, self.plan.view)
        return [] if listing is None else [listing]

    def claims(self, *, forests: bool = True) -> "list[Finding]":
        """What the paper says, tested on these results (`analysis.paper.claims`)."""
        from analysis.paper.findings import evaluate_claims

        return evaluate_claims(self.decisions(forests=forests))

    def claims_by_setting(self, *, forests: bool = True) -> "dict[Setting, list[Finding]]":
        """The same of every setting that has results."""
        from analysis.paper.findings import evaluate_claims

        found = self.decisions_by_setting(forests=forests)
        return {setting: evaluate_claims(decisions) for setting, decisions in found.items()}

    def _settings_beside(self, forests: bool, progress: Progress) -> "BySetting | None":
        """All settings of a grid that has several, once there is something to tell."""
        there = self.settings.fields and any(stage.key in self.plan.done for stage in self.plan.stages.values())
        return self.by_setting(forests=forests, progress=progress) if there else None

    def audit(self) -> "list[AuditFinding]":
        """The null-label test (`analysis.audit`). Raises UserError for a grid with the corpus's own labels."""
        from analysis.audit import audit

        decisions = self.decisions()
        if self.grid.labels == "given":
            raise UserError(
                f"grid {self.grid_file} has the corpus's own labels, and an audit needs labels: permuted or, where "
                "speakers are left out, permuted_by_speaker; see configs/leakage_audit.yaml"
            )
        return audit(decisions)

    def figures(
        self,
        out: Place,
        utterances: Sequence[str] = (),
        formats: Sequence[str] = ("png", "svg"),
        *,
        forests: bool = True,
        progress: Progress = no_progress,
    ) -> list[dict[str, Any]]:
        """Draw every figure for which there is data into the folder `out`; returns what its index.json says of each.

        Contours are drawn along `utterances` (ids), by default the longest tested one of each corpus.
        """
        from analysis.figures import figures_of, save_figures

        by = self.by_setting(forests=forests) if self.settings.fields else None
        drawings = figures_of(self.seen, self.shown_chains, self.decisions(forests=forests), utterances, by)
        return save_figures(_counted(drawings, progress), local_path(str(out)), formats)

    def report(
        self,
        out: Place,
        utterances: Sequence[str] = (),
        *,
        forests: bool = True,
        price_per_hour: float | None = None,
        refresh: int | None = None,
        progress: Progress = no_progress,
    ) -> "Report":
        """Write one page of all that the sweep came to so far into the folder `out` (`analysis.report`)."""
        from analysis.report import Place as Places
        from analysis.report import ReportInput, write_report

        alone = self.store.results_only  # has no data that could be trained on
        about = ReportInput(
            name=self.grid.name,
            settings={**self.grid.model_dump(mode="json"), "intervals": self.intervals},
            text=self.grid_text,
            place=Places(*map(plain, (self.grid_file, "DATA" if alone else self.data, self.place, out))),
            plan=self.due,
            chains=self.shown_chains,
            corpora=tuple(self.prepared.values()),
            store=self.seen,
            records=self.records,
            beside=self._stopped(),
            by_setting=self._settings_beside(forests, progress),
            settings_fact=self.settings.text,
            **({} if forests else {"forest_seeds": 0}),
        )
        folder = local_path(str(out))
        return write_report(about, folder, utterances, price_per_hour, refresh, progress)

    @property
    def grid_text(self) -> str:
        """The grid's file as it is written."""
        return self.grid_file.read_text(encoding="utf-8")


def _counted(drawings: Iterable[Any], progress: Progress) -> Iterable[Any]:
    """The drawings, each told of when it is saved; how many there will be shows at the end."""
    for number, drawing in enumerate(drawings):
        progress("figures", number, None)
        yield drawing
