"""A grid file (YAML) -> the chains it asks for.

    name: table3
    corpora: [emodb]
    backbones: [efficientnet_b0]
    rules: [none, bdsl, {wdsl: [0.2, 0.5]}, gsl, hdl]
    folds: 10

Every combination of the axes is one chain. Where one product is not enough, `chains` lists several, each of which
may set its own axes and takes the rest from the top. docs/grids.md describes every field.
"""

import itertools
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from data_prep.errors import UserError, bulleted
from data_prep.features import FeatureSettings
from data_prep.shards import PreparedCorpus, find_prepared
from data_prep.text import counted
from dsl.backbones import BACKBONES
from dsl.labels import ALIASES, BASELINE, LABEL_SOURCES, LABELS, RULES, labels_of
from dsl.settings import OTHER_EPOCHS, PAPER_EPOCHS, Layout, Precision, TrainingSettings, ValidationBy
from dsl.splits import GROUPED_BY, SPLITS, canonical_training, impossible_parts, kept_whole
from sweep.planning.stages import ChainSpec, StageSpec, canonical_updates, distinct

WEIGHTS = ("none", "last", "all")  # networks to keep in the store: none, each chain's last one, all
LARGEST_FILE = 200_000  # bytes; a grid is a page of text
LARGEST_CONTENT = 50_000  # values, each as often as aliases repeat it
LARGEST_GRID = 200_000  # chains; the paper's has about a thousand
LONGEST_PROBLEM = 300  # characters


class GridError(UserError):
    """A grid file that cannot be used: every problem at once, each with its field."""


def one_of(names: Sequence[str]) -> Callable[[str], str]:
    """A validator that takes only `names`."""

    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"{value!r} is not known; allowed: {', '.join(names)}")
        return value

    return check


def number_or(word: str, kind: type, least: float) -> Callable[[Any], Any]:
    """A validator that takes `word`, or a number of at least `least`; whole where `kind` is int."""

    def check(value: Any) -> Any:
        number = isinstance(value, int) if kind is int else isinstance(value, int | float)
        if value == word or (number and not isinstance(value, bool) and least <= value < float("inf")):
            return value
        raise ValueError(
            f"{value!r} is neither {word} nor a {'whole ' if kind is int else ''}number of at least {least}"
        )

    return check


class Strict(BaseModel):
    """Fields and no others; the string below a field is what docs/grids.md and the JSON Schema say of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


Alphas = float | tuple[float, ...] | None  # for all iterations; for each of them; of a rule that takes none


class RuleChoice(Strict):
    """A rule with the alphas to try."""

    rule: str
    alphas: tuple[Alphas, ...]


def parse_rule(entry: Any) -> RuleChoice:
    """`bdsl`, `{wdsl: 0.2}`, `{wdsl: [0, 0.2]}` or, with an alpha for each iteration, `{wdsl: [[0.5, 0.2]]}`.

    Raises ValueError.
    """
    if isinstance(entry, RuleChoice):
        return entry
    if isinstance(entry, Mapping):
        if len(entry) != 1:
            raise ValueError(f"{dict(entry)!r} must have one rule as its key, such as {{wdsl: 0.2}}")
        name, given = next(iter(entry.items()))
    else:
        name, given = entry, None
    names = [BASELINE, *RULES, *ALIASES]
    if name not in names:
        raise ValueError(f"{name!r} is not known; allowed: {', '.join(names)}")
    rule = ALIASES.get(str(name), str(name))
    takes_alpha = rule != BASELINE and RULES[rule].takes_alpha
    if not takes_alpha:
        if given is not None:
            takers = [each for each in RULES if RULES[each].takes_alpha]
            raise ValueError(f"{name} takes no alpha, but has {given!r}; only {', '.join(takers)} does")
        return RuleChoice(rule=rule, alphas=(None,))
    if given is None or given == []:
        raise ValueError(f"{name} needs an alpha in [0, 1]: write {{{name}: 0.2}} or {{{name}: [0, 0.2]}}")
    return RuleChoice(rule=rule, alphas=tuple(map(parse_alpha, given if isinstance(given, list) else [given])))


def parse_alpha(value: Any) -> float | tuple[float, ...]:
    if isinstance(value, list) and value and not any(isinstance(each, list) for each in value):
        return tuple(float(parse_alpha(each)) for each in value)  # type: ignore[arg-type]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"alpha {value!r} is not a number in [0, 1]")
    return float(value)


def named(names: Sequence[str]) -> WithJsonSchema:
    """What the JSON Schema says of one of `names`."""
    return WithJsonSchema({"type": "string", "enum": list(names)})


def rule_schema() -> dict[str, Any]:
    """What `parse_rule` takes, as JSON Schema."""
    takers = [name for name, rule in RULES.items() if rule.takes_alpha]
    others = [name for name in (BASELINE, *RULES, *ALIASES) if name not in takers]
    alpha = {"type": "number", "minimum": 0, "maximum": 1}
    each = {"type": "array", "items": alpha, "minItems": 1}  # an alpha for each iteration
    alphas = {"anyOf": [alpha, {"type": "array", "items": {"anyOf": [alpha, each]}, "minItems": 1}]}
    of_takers = {"type": "object", "properties": dict.fromkeys(takers, alphas), "minProperties": 1, "maxProperties": 1}
    return {"anyOf": [{"enum": others}, {**of_takers, "additionalProperties": False}]}


Count = Annotated[int, Field(ge=1, le=10**9)]
Corpora = Annotated[tuple[str, ...], Field(min_length=1)]
Backbone = Annotated[str, AfterValidator(one_of(list(BACKBONES))), named(list(BACKBONES))]
Backbones = Annotated[tuple[Backbone, ...], Field(min_length=1)]
Rule = Annotated[RuleChoice, BeforeValidator(parse_rule), WithJsonSchema(rule_schema())]
Rules = Annotated[tuple[Rule, ...], Field(min_length=1)]
LabelSource = Annotated[str, AfterValidator(one_of(LABEL_SOURCES)), named(LABEL_SOURCES)]
LabelSources = Annotated[tuple[LabelSource, ...], Field(min_length=1)]
Split = Annotated[str, AfterValidator(one_of(SPLITS)), named(SPLITS)]
Splits = Annotated[tuple[Split, ...], Field(min_length=1)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], Field(min_length=1)]
Folds = Annotated[int, Field(ge=2, le=1000)]
Iterations = Annotated[int, Field(ge=1, le=100)]
InnerFolds = Annotated[int, Field(ge=2, le=1000)]


class Axes(Strict):
    """The axes of a product of chains. What is left out comes from the grid's own axes."""

    name: str | None = None
    corpora: Corpora | None = None
    backbones: Backbones | None = None
    rules: Rules | None = None
    iterations: Iterations | None = None
    label_sources: LabelSources | None = None
    splits: Splits | None = None
    seeds: Seeds | None = None


class TrainingChoice(Strict):
    """How a stage is trained; the defaults are the paper's (§VIII-A)."""

    epochs: Annotated[Count | Literal["paper"], BeforeValidator(number_or("paper", int, 1))] = "paper"
    """At most so many; `paper` is 20 for CASIA, 8 for SAVEE and 12 for any other corpus."""
    every: Count = 1
    """Thin the corpus to every n-th segment of an utterance; the shards stay whole."""
    batch_size: Annotated[int, Field(ge=2, le=10**9)] = 128
    """Segments of a batch."""
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    """Adam's, in the first epoch."""
    decay: Annotated[float, Field(gt=0, le=1)] = 0.8
    """What the learning rate is multiplied by every `decay_epochs`."""
    decay_epochs: Count = 2
    """Epochs with one learning rate."""
    patience: Count = 3
    """Epochs without a better validation loss before the training ends."""
    validation_share: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """Part of the training utterances held out for early stopping; 0 is none, and needs `early_stopping: false`."""
    validation_by: ValidationBy = "split"
    """What is held out: single utterances, whole speakers or whole texts; `split`: what the grid's split divides."""
    early_stopping: bool = True
    """Without it all epochs are trained, and the last weights kept."""
    precision: Precision = "float32"
    """Of convolutions and products while a network learns; weights and predictions are float32 with either."""
    layout: Layout = "channels_last"
    """Of maps in memory; which is the faster depends on the GPU (`plan --probe` measures it), and last bits do."""

    def of_chain(self, corpus: str, split: str) -> TrainingSettings:
        """Of a chain of this corpus and split, canonical."""
        epochs = PAPER_EPOCHS.get(corpus, OTHER_EPOCHS) if self.epochs == "paper" else self.epochs
        return canonical_training(TrainingSettings(**{**self.model_dump(), "epochs": epochs}), split)


class FeatureChoice(Strict):
    """What the shards must have been made with; a setting left out may be anything."""

    sample_rate: int | None = None
    """Samples a second, to which recordings are brought: 16000."""
    window: int | None = None
    """Samples of a frame: 400."""
    shift: int | None = None
    """Samples from a frame to the next: 160."""
    fft: int | None = None
    """Points of the Fourier transform: 512."""
    mels: int | None = None
    """Mel bands: 64."""
    low_hz: float | None = None
    """Lower end of the lowest band: 125."""
    high_hz: float | None = None
    """Upper end of the highest band: 7500."""
    floor: float | None = None
    """Least power, before the logarithm."""
    segment_frames: int | None = None
    """Frames of a segment: 32 unless prepared with `--segment-ms`."""
    segment_hop: int | None = None
    """Frames from a segment to the next: 1 unless prepared with `--hop-ms`; 3 for CASIA."""

    def differences(self, settings: FeatureSettings) -> list[str]:
        wanted = self.model_dump(exclude_none=True)
        made = settings.as_dict()
        return [
            f"{name}: the grid asks for {value}, the shards have {made[name]}"
            for name, value in wanted.items()
            if made[name] != value
        ]


class Resources(Strict):
    """What one trial takes, and how many run at once. None of it is part of a stage's identity."""

    cpu: Count = 1
    """CPU cores of a trial, and threads it trains with; another number rounds sums differently, so last bits change."""
    gpu: Annotated[Annotated[float, Field(ge=0)] | Literal["auto"], BeforeValidator(number_or("auto", float, 0))] = (
        "auto"
    )
    """Share of a GPU that a trial takes; `auto` is 0 where the cluster has no GPU and 0.25 elsewhere."""
    max_concurrent: Count | None = None
    """Trials at once; without it as many as fit."""
    max_failures: Annotated[int, Field(ge=0, le=10**9)] = 2
    """Times that a trial whose process or machine died is tried again."""
    checkpoint_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 60.0
    """A training's state is written after an epoch that ends so long or longer after the last time; 0: after each."""
    stalled_after_minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    """A trial that finishes no epoch for so long is told, with where its process is; give more than an epoch takes."""
    restart_stalled: bool = False
    """Whether its process is then ended, to be tried again from its last checkpoint, as one that died; on Ray alone."""


class Tracking(Strict):
    """Experiment trackers that get the learning curves of every stage while the sweep runs."""

    tensorboard: str | None = None
    """Folder of TensorBoard's event files; needs the extra `tensorboard`."""
    mlflow: str | None = None
    """Address of an MLflow server or store; needs the extra `mlflow`."""


class GridSpec(Strict):
    """A grid file. The axes hold for the whole grid, or are the defaults of the products in `chains`."""

    name: str = "grid"
    """For people."""
    corpora: Corpora | None = None
    """Names of prepared corpora: `emodb`, or in full (`emodb-d47d293dc766`) where there are several of one."""
    backbones: Backbones | None = None
    """Networks to train; `tiny` is for trying things out."""
    rules: Rules | None = None
    """Update rules, with their alphas where they take one: `bdsl`, `{wdsl: 0.2}`, `{wdsl: [0, 0.2]}`."""
    iterations: Iterations = 1
    """Iterations of self-learning, after iteration 0."""
    label_sources: LabelSources = ("in_fold",)
    """Whose predictions relabel the training segments; `global_oof` leaks test labels."""
    inner_folds: InnerFolds = 5
    """Under `cross_fit`, the networks that relabel one another's segments: so many more trainings for each update."""
    labels: Annotated[str, AfterValidator(one_of(LABELS)), named(LABELS)] = "given"
    """For `ser-sweep audit`: `permuted` deals labels out anew; `permuted_by_speaker` renames classes by speaker."""
    splits: Splits = ("stratified",)
    """How utterances are split into folds."""
    folds: Folds = 10
    """Folds of the cross-validation; at most the number of utterances of the rarest class."""
    seeds: Seeds = (0,)
    """Each is a whole repetition, with its own folds."""
    training: TrainingChoice = TrainingChoice()
    """How a stage is trained."""
    features: FeatureChoice = FeatureChoice()
    """What the shards must have been made with."""
    resources: Resources = Resources()
    """What a trial takes, and how many run at once."""
    fuse: Annotated[int, Field(ge=1, le=64)] = 1
    """Chains of one corpus and backbone that one trial trains, their networks side by side: up to so many."""
    tracking: Tracking = Tracking()
    """Experiment trackers to follow the sweep with."""
    weights: Annotated[str, AfterValidator(one_of(WEIGHTS)), named(WEIGHTS)] = "none"
    """Networks to keep in the store, as safetensors; `ser-sweep predict` needs them. No part of a stage's identity."""
    chains: Annotated[tuple[Axes, ...], Field(min_length=1)] | None = None
    """Several products instead of one; each may set axes of its own, and takes the rest from the top."""

    def products(self) -> list[Axes]:
        """The products of the grid, with every axis filled in."""
        names = list(Axes.model_fields)
        own = Axes.model_construct(**{name: getattr(self, name) for name in names})
        return [
            own.model_copy(update={name: getattr(each, name) for name in names if getattr(each, name) is not None})
            for each in self.chains or (Axes(),)
        ]

    def largest_count(self) -> int:
        """Chains of the grid, those that are the same counted as often as they are asked for."""
        return sum(
            math.prod(map(len, (each.corpora or (), each.seeds or (), each.splits or (), each.backbones or ())))
            * len(each.label_sources or ())
            * sum(len(choice.alphas) for choice in each.rules or ())
            * self.folds
            for each in self.products()
        )

    def corpus_names(self) -> list[str]:
        return list(dict.fromkeys(name for product in self.products() for name in product.corpora or ()))

    def expand(self, prepared: Mapping[str, PreparedCorpus]) -> list[ChainSpec]:
        """Every chain of the grid once, canonical. `prepared` maps the grid's names for corpora to what is on disk."""
        return distinct(chain for product in self.products() for chain in self._chains_of(product, prepared))

    def _chains_of(self, axes: Axes, prepared: Mapping[str, PreparedCorpus]) -> list[ChainSpec]:
        assert axes.corpora and axes.backbones and axes.rules and axes.iterations is not None
        chains = []
        for corpus, seed, split, backbone, source, choice in itertools.product(
            axes.corpora,
            axes.seeds or (),
            axes.splits or (),
            axes.backbones,
            axes.label_sources or (),
            axes.rules,
        ):
            found = prepared[corpus]
            training = self.training.of_chain(found.corpus, split)
            for alpha, fold in itertools.product(choice.alphas, range(self.folds)):
                updates = canonical_updates(choice.rule, alpha, axes.iterations)
                label_source = source if updates else None
                stage = StageSpec(
                    found.name,
                    backbone,
                    split,
                    self.folds,
                    fold,
                    seed,
                    label_source,
                    updates,
                    training,
                    inner_folds=self.inner_folds if label_source == "cross_fit" else None,
                    labels=self.labels,
                )
                chains.append(ChainSpec(stage))
        return chains


def grid_schema() -> dict[str, Any]:
    """The JSON Schema of a grid file, for editors. What takes more than a look at one field only `load_grid` finds."""
    schema = GridSpec.model_json_schema()
    for name, axis in schema["$defs"]["Axes"]["properties"].items():
        axis["description"] = schema["properties"][name]["description"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def load_grid(path: Path) -> GridSpec:
    """Read and check a grid file. Raises GridError with every problem at once, each with the path of its field."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise GridError(f"grid {path} has {path.stat().st_size} bytes, more than {LARGEST_FILE}: not a grid file")
        content = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except FileNotFoundError as error:
        raise GridError(f"grid file {path} does not exist; see configs/ for grids to start from") from error
    except OSError as error:
        raise GridError(f"grid file {path} cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # Values that are not what their tags say, such as !!bool x, raise whatever it comes to.
        raise GridError(f"grid {path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise GridError(f"grid {path} must be a mapping of fields such as corpora, backbones and rules")
    return parse_grid(content, str(path))


def parse_grid(content: Mapping[str, Any], origin: str) -> GridSpec:
    """Check a grid's content; `origin` names it in errors. Raises GridError."""
    try:
        grid = GridSpec.model_validate(content)
    except ValidationError as error:
        raise _unusable(origin, _problems(error)) from error
    problems = _missing_axes(grid) + _unequal_alphas(grid) + _labels_known_by_speaker(grid) + _nothing_to_stop_by(grid)
    if not problems and grid.largest_count() > LARGEST_GRID:
        problems = [f"it asks for up to {grid.largest_count():,} chains, more than {LARGEST_GRID:,}; split it"]
    if problems:
        raise _unusable(origin, problems)
    return grid


def _unusable(origin: str, problems: list[str]) -> GridError:
    return GridError(f"grid {origin} cannot be used: {counted(len(problems), 'problem')}\n" + bulleted(problems))


def resolve_corpora(grid: GridSpec, data: str | Path) -> dict[str, PreparedCorpus]:
    """The prepared corpora that a grid names, checked against what it asks of them. Raises GridError, ShardError."""
    prepared = {name: find_prepared(data, name) for name in grid.corpus_names()}
    problems = [
        f"{one.folder}: {difference}"
        for one in prepared.values()
        for difference in grid.features.differences(one.settings)
    ]
    problems = problems or _split_problems(grid, prepared)
    if problems:
        raise GridError(f"grid {grid.name} does not fit the prepared data\n" + bulleted(problems))
    return prepared


def _split_problems(grid: GridSpec, prepared: Mapping[str, PreparedCorpus]) -> list[str]:
    """What keeps folds, inner folds and validation parts from being made: all that differ are tried, and of what is the
    matter with several seeds, folds and inner folds the first is told."""
    corpora = {one.name: (list(one.classes), one.utterances()) for one in prepared.values()}
    tried: dict[Hashable, StageSpec] = {}
    for last in sorted((chain.last for chain in grid.expand(prepared)), key=lambda one: one.inner_folds is None):
        tried.setdefault((last.corpus, last.split, last.training, last.seed), last)  # with inner folds where there are
    problems: dict[tuple[str, str], str] = {}
    for last in tried.values():
        for where, problem, remedy in _problems_of_split(last, *corpora[last.corpus]):
            problems.setdefault((where, remedy), f"{where}: {problem}; {remedy}")
    return list(problems.values())


def _problems_of_split(
    last: StageSpec, classes: Sequence[str], utterances: pd.DataFrame
) -> Iterator[tuple[str, str, str]]:
    """What keeps a chain's cross-validation from being made of a corpus: what is asked for, what is there, a remedy."""
    by = last.training.validation_by if last.training.validation_share else None
    asked = {"splits": last.split, "folds": last.folds, "inner_folds": last.inner_folds, "training.validation_by": by}
    where = ", ".join([last.corpus, *(f"{name}: {value}" for name, value in asked.items() if value is not None)])
    for column in dict.fromkeys([*GROUPED_BY[last.split], kept_whole(last.split, by or "split")]):
        unknown = 0 if column is None else (utterances[column] == "").sum()
        if unknown:
            yield where, f"{unknown} of {len(utterances)} utterances have no {column}", "use another split"
            return
    relabelled = utterances.assign(label=labels_of(utterances, last.labels, last.seed))
    for one in impossible_parts(last, relabelled):
        yield where, f"{one.whose} {_counted(relabelled[one.among], classes)}: {one.cause}", one.remedy


def _counted(utterances: pd.DataFrame, classes: Sequence[str]) -> str:
    """`24 utterances by 2 speakers, of 3 texts (anger 12, neutral 12)`."""
    of_class = np.bincount(utterances["label"], minlength=len(classes))
    texts = utterances.loc[utterances["text"] != "", "text"].nunique()
    words = [
        f"{_numbered(len(utterances), 'utterance')} by {_numbered(utterances['speaker'].nunique(), 'speaker')}",
        *([f"of {_numbered(texts, 'text')}"] if texts else []),
    ]
    return f"{', '.join(words)} ({', '.join(f'{name} {count}' for name, count in zip(classes, of_class, strict=True))})"


def _numbered(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _problems(error: ValidationError) -> list[str]:
    """One line a problem, without the complaint that a list is empty because each of its entries was refused."""
    found = error.errors()
    inside = {each["loc"][:-1] for each in found}
    return [_problem(each) for each in found if each["type"] != "too_short" or each["loc"] not in inside]


def _problem(error: Any) -> str:
    field = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        allowed = _fields_at(error["loc"][:-1])
        return f"{field}: unknown field; allowed: {', '.join(allowed)}"
    message = error["msg"].removeprefix("Value error, ")
    shown = "" if repr(error["input"]) in message or error["type"] == "value_error" else f" (got {error['input']!r})"
    problem = f"{field}: {message}{shown}"
    return problem if len(problem) <= LONGEST_PROBLEM else f"{problem[:LONGEST_PROBLEM]}…"


def _fields_at(location: Sequence[int | str]) -> list[str]:
    models: dict[str, type[Strict]] = {
        "training": TrainingChoice,
        "features": FeatureChoice,
        "resources": Resources,
        "tracking": Tracking,
        "chains": Axes,
    }
    return list((models[str(location[0])] if location else GridSpec).model_fields)


def _missing_axes(grid: GridSpec) -> list[str]:
    problems = []
    for number, product in enumerate(grid.products()):
        where = f"chains.{number}." if grid.chains else ""
        problems += [
            f"{where}{axis}: missing; give at least one"
            for axis in ("corpora", "backbones", "rules")
            if not getattr(product, axis)
        ]
    return problems


def _unequal_alphas(grid: GridSpec) -> list[str]:
    """Alphas given for each iteration, but for another number of iterations than there are."""
    return [
        f"rules: {choice.rule} has {len(alpha)} alphas, one for each iteration, {list(alpha)}, but iterations is "
        f"{product.iterations}"
        for product in grid.products()
        for choice in product.rules or ()
        for alpha in choice.alphas
        if isinstance(alpha, tuple) and len(alpha) != product.iterations
    ]


def _labels_known_by_speaker(grid: GridSpec) -> list[str]:
    """Labels that mean another thing for each speaker, beside splits under which a network knows the speaker."""
    if grid.labels != "permuted_by_speaker":
        return []
    splits = dict.fromkeys(split for product in grid.products() for split in product.splits or ())
    return [
        f"labels: {grid.labels} can be learnt under splits: {split}, where a speaker is in both training and test; "
        "use splits: speaker or speaker_text"
        for split in splits
        if "speaker" not in GROUPED_BY[split]
    ]


def _nothing_to_stop_by(grid: GridSpec) -> list[str]:
    """Early stopping without utterances that could tell when."""
    if grid.training.validation_share or not grid.training.early_stopping:
        return []
    return [
        "training.validation_share: 0 leaves early stopping nothing to go by; write early_stopping: false beside it, "
        "or a share above 0"
    ]


class _UniqueKeys(yaml.SafeLoader):
    """Safe YAML in which a key that stands twice is an error, not silently the last one, and aliases make no more of
    a page than a page."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _count_nodes(node, {})
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", node.start_mark)
                seen.add(key)
        return super().construct_mapping(node, deep)


def _count_nodes(node: yaml.Node, known: dict[int, int]) -> int:
    """The nodes in `node`, each as often as it stands there. Raises ComposerError for too many, or for endlessly many.

    `known` are those that were counted, by id; 0 for those of which the count is not finished.
    """
    if id(node) not in known:
        known[id(node)] = 0
        inside = [one for pair in node.value for one in pair] if isinstance(node, yaml.MappingNode) else node.value
        children = inside if isinstance(node, yaml.CollectionNode) else ()
        known[id(node)] = 1 + sum(_count_nodes(child, known) for child in children)
    count = known[id(node)]
    if count == 0 or count > LARGEST_CONTENT:
        size = f"more than {LARGEST_CONTENT:,} values" if count else "itself as a part of it"
        raise yaml.composer.ComposerError(None, None, f"aliases make this {size}", node.start_mark)
    return count
