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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, Field, ValidationError

from data_prep.data_folder import find_prepared
from data_prep.errors import UserError, bulleted
from data_prep.shards import PreparedCorpus
from data_prep.text import counted
from dsl.labels import LABELS
from dsl.splits import GROUPED_BY
from sweep.planning.grid_fields import (
    Axes,
    Backbones,
    Corpora,
    FeatureChoice,
    Folds,
    InnerFolds,
    Iterations,
    LabelSources,
    Resources,
    Rules,
    Seeds,
    Splits,
    Strict,
    Tracking,
    TrainingChoice,
    named,
    one_of,
)
from sweep.planning.grid_yaml import UniqueKeys
from sweep.planning.split_problems import split_problems
from sweep.planning.stages import ChainSpec, StageSpec, canonical_updates, distinct

WEIGHTS = ("none", "last", "all")  # networks to keep in the store: none, each chain's last one, all
LARGEST_FILE = 200_000  # bytes; a grid is a page of text
LARGEST_GRID = 200_000  # chains; the paper's has about a thousand
LONGEST_PROBLEM = 300  # characters


class GridError(UserError):
    """A grid file that cannot be used: every problem at once, each with its field."""


class GridSpec(Strict):
    """A grid file. The axes hold for the whole grid, or are the defaults of the products in `chains`."""

    name: str = "grid"
    """A name for reports and logs."""
    corpora: Corpora | None = None
    """Names of prepared corpora: `emodb`, or in full (`emodb-d47d293dc766`) if there are several preparations."""
    backbones: Backbones | None = None
    """Networks to train; `tiny` is a very small one for quick checks."""
    rules: Rules | None = None
    """Update rules, with alphas for those that take one: `bdsl`, `{wdsl: 0.2}`, `{wdsl: [0, 0.2]}`."""
    iterations: Iterations = 1
    """Iterations of self-learning after iteration 0."""
    label_sources: LabelSources = ("in_fold",)
    """Whose predictions relabel the training segments; `global_oof` leaks test labels."""
    inner_folds: InnerFolds = 5
    """Under `cross_fit`: parts of the training utterances, each relabelled by a network trained on the others."""
    labels: Annotated[str, AfterValidator(one_of(LABELS)), named(LABELS)] = "given"
    """For `ser-sweep audit`: `permuted` shuffles labels; `permuted_by_speaker` permutes classes for each speaker."""
    splits: Splits = ("stratified",)
    """How utterances are split into folds."""
    folds: Folds = 10
    """Folds of the cross-validation; under `stratified` at most the number of utterances of the rarest class."""
    seeds: Seeds = (0,)
    """Training seeds. Each repeats the whole grid, with its own folds."""
    training: TrainingChoice = TrainingChoice()
    """How a stage is trained."""
    features: FeatureChoice = FeatureChoice()
    """Settings that the shards must have been made with."""
    resources: Resources = Resources()
    """What a trial takes, and how many run at a time."""
    fuse: Annotated[int, Field(ge=1, le=64)] = 1
    """Maximum number of chains that one trial trains side by side. They share corpus and backbone."""
    tracking: Tracking = Tracking()
    """Experiment trackers that record the sweep."""
    weights: Annotated[str, AfterValidator(one_of(WEIGHTS)), named(WEIGHTS)] = "none"
    """Networks to keep in the store, as safetensors, for `ser-sweep predict`. Not part of a stage's identity."""
    chains: Annotated[tuple[Axes, ...], Field(min_length=1)] | None = None
    """Several products instead of one; each may set its own axes and takes the others from the top."""

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
        """The corpora that the grid names, each once, in order."""
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
        content = yaml.load(path.read_text(encoding="utf-8"), UniqueKeys)
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
    problems = problems or split_problems(grid.expand(prepared), prepared.values())
    if problems:
        raise GridError(f"grid {grid.name} does not fit the prepared data\n" + bulleted(problems))
    return prepared


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
        "training.validation_share: 0 leaves early stopping no utterances; write early_stopping: false beside it, "
        "or a share above 0"
    ]
