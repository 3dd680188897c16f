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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from data_prep.errors import UserError, bulleted
from data_prep.features import FeatureSettings
from data_prep.shards import PreparedCorpus, find_prepared
from dsl.backbones import BACKBONES
from dsl.labels import ALIASES, BASELINE, LABEL_SOURCES, LABELS, RULES, labels_of
from dsl.settings import OTHER_EPOCHS, PAPER_EPOCHS, TrainingSettings
from dsl.splits import GROUPED_BY, SPLITS, parts_of
from sweep.stages import ChainSpec, StageSpec, canonical_updates, distinct

WEIGHTS = ("none", "last", "all")  # networks to keep in the store: none, each chain's last one, all
LARGEST_FILE = 1_000_000  # bytes; a grid is a page of text


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
    model_config = ConfigDict(extra="forbid", frozen=True)


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


Count = Annotated[int, Field(ge=1)]
Corpora = Annotated[tuple[str, ...], Field(min_length=1)]
Backbones = Annotated[tuple[Annotated[str, AfterValidator(one_of(list(BACKBONES)))], ...], Field(min_length=1)]
Rules = Annotated[tuple[Annotated[RuleChoice, BeforeValidator(parse_rule)], ...], Field(min_length=1)]
LabelSources = Annotated[tuple[Annotated[str, AfterValidator(one_of(LABEL_SOURCES))], ...], Field(min_length=1)]
Splits = Annotated[tuple[Annotated[str, AfterValidator(one_of(SPLITS))], ...], Field(min_length=1)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], Field(min_length=1)]
Folds = Annotated[int, Field(ge=2)]
Iterations = Annotated[int, Field(ge=1, le=100)]
InnerFolds = Annotated[int, Field(ge=2)]


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
    """How a stage is trained (§VIII-A); `epochs: paper` is 20 for CASIA, 8 for SAVEE and 12 for any other corpus."""

    epochs: Annotated[int | Literal["paper"], BeforeValidator(number_or("paper", int, 1))] = "paper"
    every: Count = 1
    batch_size: Annotated[int, Field(ge=2)] = 128
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    decay: Annotated[float, Field(gt=0, le=1)] = 0.8
    decay_epochs: Count = 2
    patience: Count = 3
    validation_share: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    early_stopping: bool = True

    def for_corpus(self, corpus: str) -> TrainingSettings:
        epochs = PAPER_EPOCHS.get(corpus, OTHER_EPOCHS) if self.epochs == "paper" else self.epochs
        return TrainingSettings(**{**self.model_dump(), "epochs": epochs})


class FeatureChoice(Strict):
    """What the shards must have been made with; a setting left out may be anything."""

    sample_rate: int | None = None
    window: int | None = None
    shift: int | None = None
    fft: int | None = None
    mels: int | None = None
    low_hz: float | None = None
    high_hz: float | None = None
    floor: float | None = None
    segment_frames: int | None = None
    segment_hop: int | None = None

    def differences(self, settings: FeatureSettings) -> list[str]:
        wanted = self.model_dump(exclude_none=True)
        made = settings.as_dict()
        return [
            f"{name}: the grid asks for {value}, the shards have {made[name]}"
            for name, value in wanted.items()
            if made[name] != value
        ]


class Resources(Strict):
    """What one trial takes, and how many run at once. None of it changes a result but `cpu`: sums of another number
    of threads round differently."""

    cpu: Annotated[int, Field(ge=1)] = 1
    gpu: Annotated[float | Literal["auto"], BeforeValidator(number_or("auto", float, 0))] = "auto"
    max_concurrent: Count | None = None
    max_failures: Annotated[int, Field(ge=0)] = 2


class Tracking(Strict):
    """Experiment trackers that get learning curves while the sweep runs."""

    tensorboard: str | None = None
    mlflow: str | None = None


class GridSpec(Strict):
    """A grid file. The axes hold for the whole grid, or are the defaults of the products in `chains`."""

    name: str = "grid"
    corpora: Corpora | None = None
    backbones: Backbones | None = None
    rules: Rules | None = None
    iterations: Iterations = 1
    label_sources: LabelSources = ("in_fold",)
    inner_folds: InnerFolds = 5
    labels: Annotated[str, AfterValidator(one_of(LABELS))] = "given"
    splits: Splits = ("stratified",)
    folds: Folds = 10
    seeds: Seeds = (0,)
    training: TrainingChoice = TrainingChoice()
    features: FeatureChoice = FeatureChoice()
    resources: Resources = Resources()
    fuse: Annotated[int, Field(ge=1, le=64)] = 1
    tracking: Tracking = Tracking()
    weights: Annotated[str, AfterValidator(one_of(WEIGHTS))] = "none"
    chains: Annotated[tuple[Axes, ...], Field(min_length=1)] | None = None

    def products(self) -> list[Axes]:
        """The products of the grid, with every axis filled in."""
        names = list(Axes.model_fields)
        own = Axes.model_construct(**{name: getattr(self, name) for name in names})
        return [
            own.model_copy(update={name: getattr(each, name) for name in names if getattr(each, name) is not None})
            for each in self.chains or (Axes(),)
        ]

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
            training = self.training.for_corpus(found.corpus)
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
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise GridError(f"grid {path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise GridError(f"grid {path} must be a mapping of fields such as corpora, backbones and rules")
    return parse_grid(content, str(path))


def parse_grid(content: Mapping[str, Any], origin: str) -> GridSpec:
    """Check a grid's content; `origin` names it in errors. Raises GridError."""
    try:
        grid = GridSpec.model_validate(content)
    except ValidationError as error:
        problems = _problems(error)
        raise GridError(f"grid {origin}: {len(problems)} problems\n" + bulleted(problems)) from error
    problems = _missing_axes(grid) + _unequal_alphas(grid)
    if problems:
        raise GridError(f"grid {origin}: {len(problems)} problems\n" + bulleted(problems))
    return grid


def resolve_corpora(grid: GridSpec, data: str | Path) -> dict[str, PreparedCorpus]:
    """The prepared corpora that a grid names, checked against what it asks of them. Raises GridError, ShardError."""
    prepared = {name: find_prepared(data, name) for name in grid.corpus_names()}
    problems = []
    for name, one in prepared.items():
        problems += [f"{one.folder}: {difference}" for difference in grid.features.differences(one.settings)]
        problems += [
            f"folds: {grid.folds} folds, but class {emotion!r} of {name} has {count} utterances; each fold needs one "
            "to test, one to train and one to validate"
            for emotion, count in one.classes.items()
            if count < grid.folds or count - math.ceil(count / grid.folds) < 2
        ]
        problems += _group_problems(grid, name, one)
    problems = problems or _split_problems(grid, prepared)
    if problems:
        raise GridError(f"grid {grid.name} does not fit the prepared data\n" + bulleted(problems))
    return prepared


def _split_problems(grid: GridSpec, prepared: Mapping[str, PreparedCorpus]) -> list[str]:
    """What keeps folds and inner folds from being made: each is tried, for the splits that have more to ask for than
    enough utterances."""
    utterances: dict[str, pd.DataFrame] = {}
    tried = set()
    problems: dict[str, None] = {}
    for chain in grid.expand(prepared):
        last = chain.last
        inner = range(last.inner_folds or 0)
        wanted = (last.corpus, last.split, last.fold, last.seed, last.inner_folds)
        if wanted in tried or not (inner or last.split == "speaker_text"):
            continue
        tried.add(wanted)
        if last.corpus not in utterances:
            utterances |= {one.name: one.utterances() for one in prepared.values() if one.name == last.corpus}
        own = utterances[last.corpus]
        relabelled = own.assign(label=labels_of(own, last.labels, last.seed))
        try:
            for inner_fold in (None, *inner):
                parts_of(last, relabelled, inner_fold)
        except ValueError as error:
            where = f"{last.corpus}, splits: {last.split}, folds: {last.folds}"
            within = f", inner_folds: {last.inner_folds}" if inner else ""
            problems[f"{where}{within}: {error}; ask for fewer folds or another split"] = None
    return list(problems)


def _group_problems(grid: GridSpec, name: str, prepared: PreparedCorpus) -> list[str]:
    """What keeps a corpus from the splits that the grid asks of it."""
    products = [product for product in grid.products() if name in (product.corpora or ())]
    problems = []
    splits = dict.fromkeys(split for product in products for split in product.splits or ())
    for split, column in ((name, column) for name in splits for column in GROUPED_BY[name]):
        known = prepared.utterances()[column]
        if (known == "").any():
            problems.append(f"splits: {split}, but {(known == '').sum()} utterances of {name} have no {column}")
        elif split != "speaker_text" and known.nunique() < max(grid.folds, 3):
            # one group to test, one to train and one to validate
            problems.append(
                f"splits: {split} with {grid.folds} folds, but {name} has {known.nunique()} different values of "
                f"{column}; it needs as many as folds, and at least 3"
            )
    return problems


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
    return f"{field}: {message}{shown}"


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


class _UniqueKeys(yaml.SafeLoader):
    """Safe YAML in which a key that stands twice is an error, not silently the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)
