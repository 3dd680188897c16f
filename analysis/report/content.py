"""What a report shows, as data: gathered from a sweep by the functions that tables, figures, claims and audits use."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from analysis import audit
from analysis.figures.settings_figures import AXES, PARALLEL
from analysis.figures.speaker_figures import RELIABILITY
from analysis.figures.thinning import THINNING
from analysis.identity import GIVEN, corpus_name
from analysis.paper.findings import VERDICTS, Finding, evaluate_claims
from analysis.report import runs
from analysis.report.folds import folds_shown
from analysis.report.headline import Headline, headlines
from analysis.report.reproduce import Ground, Recipe, recipes
from analysis.report.runs import Fact, without_secrets
from analysis.scoring.comparisons import comparisons
from analysis.scoring.intervals import DEFAULT
from analysis.scoring.ranking import BySetting
from analysis.scoring.results import FOREST_SEEDS, decide
from analysis.scoring.scores import score_networks
from analysis.scoring.setup import PAPER_UTTERANCES
from analysis.tables.blocks import Block, Line, TextTable, as_texts
from analysis.tables.calibration_table import CALIBRATION
from analysis.tables.cells import NumberCell, TextCell
from analysis.tables.collection import tables_of
from analysis.tables.correction_table import CORRECTION
from analysis.tables.label_source_tables import SOURCES_COMPARED
from analysis.tables.listings import Listing
from analysis.tables.paper_tables import Table
from analysis.tables.settings_compared import SETTINGS_COMPARED
from analysis.tables.settings_tables import SETTINGS, in_settings, ranking_listings
from analysis.tables.speaker_tables import BY_SPEAKER, CLASSES_BY_SPEAKER
from data_prep.corpora import known_name
from data_prep.corpora.overview import held_name
from data_prep.shards import PreparedCorpus
from dsl.labels import LEAKY_LABEL_SOURCES
from sweep.planning.stages import ChainSpec, Plan
from sweep.storage.events import launches_of, read_events
from sweep.storage.store import Store

MOST_ON_ONE_PAGE = 8_000_000  # bytes of figures, where there are several corpora
OF_SPEAKERS = ("speakers", "speaker-recall")
OF_SETTINGS = (THINNING, AXES, PARALLEL)
ELSEWHERE = ("label-sources", "label-correction", *OF_SPEAKERS, RELIABILITY, *OF_SETTINGS)  # in sections of their own

TABLES_OF_SETTINGS = (SETTINGS, SETTINGS_COMPARED)
TABLES_ELSEWHERE = (SOURCES_COMPARED, CORRECTION, *TABLES_OF_SETTINGS, BY_SPEAKER, CLASSES_BY_SPEAKER, CALIBRATION)


@dataclass(frozen=True)
class Place:
    """The grid's file, data, store and the report's folder as they were given: what commands on the page say."""

    grid: str
    data: str
    store: str
    out: str


@dataclass(frozen=True)
class ReportInput:
    """What a report is made from.

    `settings` are the fields of the grid's file and `text` is the file; `chains` are those of the plan whose results
    are shown, `records` stage.json of what the store holds, and `beside` further tables. `forest_seeds` is as in
    `decide`. `by_setting` has all settings of a grid that has several, and `settings_fact` says what they are.
    """

    name: str
    settings: Mapping[str, Any]
    text: str
    place: Place
    plan: Plan
    chains: Sequence[ChainSpec]
    corpora: Sequence[PreparedCorpus]
    store: Store
    records: Sequence[Mapping[str, Any]]
    beside: Sequence[Listing] = ()
    forest_seeds: int = FOREST_SEEDS
    by_setting: BySetting | None = None
    settings_fact: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure and its files; `svg` is what a page shows."""

    name: str
    kind: str
    corpus: str
    caption: str
    alt: str
    svg: bytes
    files: Mapping[str, str]  # by format


@dataclass(frozen=True)
class CellProgress:
    """How far a cell is: stages done and in all."""

    cell: str
    done: int
    total: int
    leaky: bool


@dataclass(frozen=True)
class Failure:
    """A stage that could not be trained: its label, its key, and the error that its last try ended with."""

    stage: str
    key: str
    cause: str


@dataclass(frozen=True)
class Audit:
    """The null-label test: empty where labels are as given."""

    block: Block
    conclusions: tuple[str, ...]
    unexpected: bool


@dataclass(frozen=True)
class Report:
    """Everything on the page, in its order."""

    name: str
    place: Place
    version: str
    permuted: bool
    done: int
    total: int
    progress: tuple[CellProgress, ...]
    headlines: tuple[Headline, ...]
    facts: tuple[Fact, ...]
    grid: str
    corpora: Block
    classes: tuple[Fact, ...]
    folds: tuple[tuple[Block, list[str]], ...]  # what training and test of each fold share, and in all
    software: tuple[Fact, ...]
    devices: Block
    results_only: bool  # without launches, and without data to train on
    launches: Block
    hours: float  # of devices, that the grid's own stages took
    device_hours: float  # of all launches on the store
    price: float | None
    tables: tuple[TextTable, ...]
    figures: tuple[Figure, ...]
    claims: tuple[Finding, ...]
    sources: tuple[TextTable, ...]
    audit: Audit | None
    correction: tuple[TextTable, ...]
    speakers: tuple[TextTable, ...]
    classes_by_speaker: tuple[TextTable, ...]
    calibration: tuple[TextTable, ...]
    settings: tuple[TextTable, ...]
    shown_setting: str  # which one the results are of, as a sentence; empty where there is one
    costs: Block
    stages: Block
    failures: tuple[Failure, ...]
    recipes: tuple[Recipe, ...]
    leaky_sources: tuple[str, ...]
    intervals: str  # of which kind they are, one of KINDS

    @property
    def complete(self) -> bool:
        """Whether every stage of the grid is done."""
        return self.done == self.total

    @property
    def verdicts(self) -> dict[str, int]:
        """How many claims are supported, contradicted, undecided and not tested."""
        count = Counter(one.verdict for one in self.claims)
        return {verdict: count[verdict] for verdict in VERDICTS}

    @property
    def sections(self) -> frozenset[str]:
        """The sections that have something to show, by their ids."""
        found = {
            "tables": self.tables,
            "settings": self.settings,
            "figures": self.pages or [one for one in self.figures if one.kind not in ELSEWHERE],
            "claims": self.claims,
            "sources": self.sources or self.figures_of("label-sources") or self.audit or self.leaky_sources,
            "speakers": self.speakers,
            "calibration": self.calibration,
            "correction": self.correction or self.figures_of("label-correction"),
            "cost": self.launches.lines or self.stages.lines,
            "failures": self.failures,
        }
        return frozenset({"summary", "run", "reproduce"} | {id for id, there in found.items() if there})

    def figures_of(self, kind: str) -> list[Figure]:
        """Those that the page itself shows: all of them, or none where they have pages of their own."""
        return [] if self.pages else [figure for figure in self.figures if figure.kind == kind]

    @cached_property
    def pages(self) -> dict[str, list[Figure]]:
        """Corpus -> its figures, for a page each, where there are several corpora and one page would be too large."""
        of_corpus: dict[str, list[Figure]] = defaultdict(list)
        for figure in self.figures:
            of_corpus[figure.corpus].append(figure)
        size = sum(len(figure.svg) for figure in self.figures)
        return dict(of_corpus) if len(of_corpus) > 1 and size > MOST_ON_ONE_PAGE else {}


@dataclass(frozen=True)
class Results:
    """What the decisions on a sweep's utterances come to; nothing where no stage is done."""

    tables: tuple[Table | Listing, ...] = ()
    ranking: tuple[Listing, ...] = ()
    headlines: tuple[Headline, ...] = ()
    findings: tuple[Finding, ...] = ()
    audited: tuple[audit.AuditFinding, ...] = ()


def decisions_of(inputs: ReportInput) -> pd.DataFrame:
    """The decisions on the utterances that finished stages have tested; none before the first is done."""
    there = any(stage.key in inputs.plan.done for chain in inputs.chains for stage in chain.stages)
    chains = inputs.chains if there else []
    return decide(inputs.store, chains, inputs.forest_seeds, intervals=_intervals(inputs))


def _intervals(inputs: ReportInput) -> str:
    kind: str = inputs.settings.get("intervals", DEFAULT)
    return kind


def results_of(inputs: ReportInput, decisions: pd.DataFrame) -> Results:
    """Tables, headlines, findings on claims and audits of `decisions`; none of each where there are no decisions."""
    if decisions.empty:
        return Results()
    held = set(inputs.store.corpora())
    chains = [chain for chain in inputs.chains if chain.last.corpus in held]
    scores, compared = score_networks(decisions), comparisons(decisions)
    tables, by = tables_of(inputs.store, chains, decisions, scores, compared), inputs.by_setting
    return Results(
        (*(tables if by is None else in_settings(tables, by)), *inputs.beside),
        () if by is None else tuple(ranking_listings(by)),
        tuple(headlines(decisions)),
        tuple(evaluate_claims(decisions)),
        tuple(audit.audit(decisions)),
    )


def gather(
    inputs: ReportInput,
    results: Results,
    figures: Sequence[Figure],
    version: str,
    price_per_hour: float | None = None,
) -> Report:
    """The content of a report. Nothing in it is markup yet, and addresses have lost their passwords."""
    plan = inputs.plan
    place = Place(*map(without_secrets, astuple(inputs.place)))
    records = {record["key"]: record for record in inputs.records if record["key"] in plan.done}
    launches = launches_of(read_events(inputs.store.folder))
    device_hours = sum(one.device_seconds for one in launches) / 3600
    tables = as_texts(results.tables)
    lists = {one.fold_list.digest: one.fold_list for one in inputs.corpora if one.fold_list is not None}
    return Report(
        name=inputs.name,
        place=place,
        version=version,
        permuted=inputs.settings.get("labels", GIVEN) != GIVEN,
        done=len(plan.done),
        total=len(plan.stages),
        progress=tuple(_progress(plan)),
        headlines=results.headlines,
        facts=tuple(runs.grid_facts(plan, inputs.chains, inputs.settings_fact)),
        grid=without_secrets(inputs.text),
        corpora=_corpora(inputs.corpora),
        classes=tuple(
            (one.name, ", ".join(f"{emotion} {count}" for emotion, count in one.classes.items()))
            for one in inputs.corpora
        ),
        folds=tuple(folds_shown(inputs.chains, inputs.store)),
        software=tuple(runs.software(records.values())),
        devices=runs.devices(records.values()),
        results_only=bool(inputs.store.results_only),
        launches=runs.launches_block(launches, price_per_hour),
        hours=runs.device_hours(records.values()),
        device_hours=device_hours,
        price=None if price_per_hour is None else device_hours * price_per_hour,
        tables=tuple(table for table in tables if table.title not in TABLES_ELSEWHERE),
        figures=tuple(figures),
        claims=results.findings,
        sources=_titled(tables, SOURCES_COMPARED),
        audit=_audit(results.audited),
        correction=_titled(tables, CORRECTION),
        speakers=_titled(tables, BY_SPEAKER),
        classes_by_speaker=_titled(tables, CLASSES_BY_SPEAKER),
        calibration=_titled(tables, CALIBRATION),
        settings=(*as_texts(results.ranking), *_titled(tables, *TABLES_OF_SETTINGS)),
        shown_setting="" if inputs.by_setting is None else inputs.by_setting.text,
        costs=runs.costs(plan, records),
        stages=runs.stages_block(plan, records),
        failures=tuple(
            Failure(plan.label_of(key), key, without_secrets(cause)) for key, cause in sorted(plan.failed.items())
        ),
        recipes=tuple(recipes(plan, Ground(inputs.settings, lists, place.out, place.data, place.store))),
        leaky_sources=tuple(sorted({*LEAKY_LABEL_SOURCES}.intersection(c.last.label_source for c in plan.chains))),
        intervals=_intervals(inputs),
    )


def _titled(tables: Sequence[TextTable], *titles: str) -> tuple[TextTable, ...]:
    return tuple(table for table in tables if table.title in titles)


def _progress(plan: Plan) -> Iterator[CellProgress]:
    leaky = {plan.cell_of(one) for one in plan.stages.values() if one.label_source in LEAKY_LABEL_SOURCES}
    for cell, (done, total) in plan.progress_by_cell().items():
        yield CellProgress(cell, done, total, cell in leaky)


def _corpora(corpora: Sequence[PreparedCorpus]) -> Block:
    """What was prepared, beside what the paper had."""
    lines = []
    for one in corpora:
        about = one.manifest
        corpus, settings = known_name(about), one.settings
        cells = (
            TextCell(corpus_name(corpus)),
            NumberCell(about["utterances"], grouped=True),
            NumberCell(PAPER_UTTERANCES.get(corpus), grouped=True),
            NumberCell(about["speakers"]),
            NumberCell(about["segments"], grouped=True),
            NumberCell(about["seconds"] / 60, 1),
            TextCell(f"of {settings.segment_frames} frames, hop {settings.segment_hop}"),
        )
        lines.append(Line(held_name(one.name, about), cells))
    names = ("Data", "Corpus", "Utterances", "In the paper", "Speakers", "Segments", "Minutes", "Segment")
    return Block("Data", runs.headings(*names), tuple(lines))


def _audit(audited: Sequence[audit.AuditFinding]) -> Audit | None:
    if not audited:
        return None
    block = Block("Null-label test", runs.headings(*audit.HEADINGS), tuple(map(audit.line_of, audited)))
    return Audit(block, tuple(audit.conclusions(audited)), any(one.unexpected for one in audited))
