"""A grid file (YAML) -> the chains it asks for.

    name: table3
    corpora: [emodb]
    backbones: [efficientnet_b0]
    rules: [none, bdsl, {wdsl: [0.2, 0.5]}, gsl, hdl]
    folds: 10

Every combination of the axes is one chain. Where one product is not enough, `chains` lists several, each of which
may set its own axes and takes the rest from the top. docs/grids.md describes every field.
"""

import copy
import difflib
import itertools
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
from dsl.settings import Listed
from dsl.splits import LISTED
from sweep.planning.grid_fields import (
    FOLD_SHAPES,
    Axes,
    Backbones,
    Corpora,
    FeatureChoice,
    Folds,
    FoldsFrom,
    Halving,
    InnerFolds,
    Iterations,
    LabelSources,
    Resources,
    Rules,
    Samples,
    Scheduler,
    Seed,
    Seeds,
    Splits,
    Tracking,
    TrainingChoice,
    named,
    one_of,
)
from sweep.planning.grid_problems import problems_of_the_whole
from sweep.planning.grid_yaml import UniqueKeys
from sweep.planning.intervals import INTERVALS
from sweep.planning.listed_folds import listed_problems, with_fold_lists
from sweep.planning.products import CorpusRequest, Point, Product, differences
from sweep.planning.sampling import Distribution
from sweep.planning.setting_axes import SHAPES
from sweep.planning.split_problems import split_problems
from sweep.planning.stages import ChainSpec, StageSpec, canonical_updates, distinct
from sweep.planning.strict import Strict

WEIGHTS = ("none", "last", "all")  # networks to keep in the store: none, each chain's last one, all
LARGEST_FILE = 200_000  # bytes; a grid is a page of text
LONGEST_PROBLEM = 300  # characters
IN_WORDS = {"tuple_type": "takes a list", "too_short": "needs at least one value"}  # of what pydantic says of types
OF_ONE_VALUE = {"int_type", "float_type", "bool_type", "string_type", "int_parsing", "literal_error"}  # not of lists


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
    """Folds of the cross-validation, or where they are listed: `{file: folds.csv}` or `{column: fold}`."""
    seeds: Seeds = (0,)
    """Training seeds. Each repeats the whole grid, with its own folds."""
    training: TrainingChoice = TrainingChoice()
    """How a stage is trained."""
    features: FeatureChoice = FeatureChoice()
    """Settings that the shards must have been made with."""
    samples: Samples | None = None
    """How many points to draw from the distributions of a product; a higher number keeps those that were drawn."""
    sampling_seed: Seed = 0
    """Another seed draws other points."""
    scheduler: Scheduler = Scheduler()
    """Whether poor settings are stopped; by default, all chains are trained."""
    resources: Resources = Resources()
    """What a trial takes, and how many run at a time."""
    fuse: Annotated[int, Field(ge=1, le=64)] = 1
    """Maximum number of chains that one trial trains side by side. They share corpus and backbone."""
    tracking: Tracking = Tracking()
    """Experiment trackers that record the sweep."""
    weights: Annotated[str, AfterValidator(one_of(WEIGHTS)), named(WEIGHTS)] = "none"
    """Networks to keep in the store, as safetensors, for `ser-sweep predict`. Not part of a stage's identity."""
    intervals: Annotated[str, AfterValidator(one_of(INTERVALS)), named(INTERVALS)] = INTERVALS[0]
    """Kind of the 95% intervals that results have; statistics.md has them. Not part of a stage's identity."""
    chains: Annotated[tuple[Axes, ...], Field(min_length=1)] | None = None
    """Several products instead of one; each may set its own axes and takes the others from the top."""

    def products(self) -> list[Product]:
        """The products of the grid, with every axis filled in."""
        top = Axes.model_construct(**{name: getattr(self, name) for name in Axes.model_fields})
        folds = self.folds if isinstance(self.folds, int) else 1  # of each corpus: what its list says
        if not isinstance(self.folds, int):
            top = top.model_copy(update={"splits": (LISTED,)})
        return [
            Product(each.over(top), folds, self.sampling_seed, number if self.chains else None)
            for number, each in enumerate(self.chains or (Axes(),))
        ]

    def corpus_requests(self) -> list[CorpusRequest]:
        """The preparations that the grid asks for, each once, in order."""
        return list(
            dict.fromkeys(
                product.request(corpus, point)
                for product in self.products()
                for point in product.points()
                for corpus in product.axes.corpora or ()
            )
        )

    def names_of(self, prepared: Mapping[str, PreparedCorpus]) -> dict[str, str]:
        """Full name of each prepared corpus -> what the grid calls it; `prepared` is as for `expand`."""
        return {prepared[request.key].name: request.name for request in self.corpus_requests()}

    def expand(self, prepared: Mapping[str, PreparedCorpus]) -> list[ChainSpec]:
        """Every chain of the grid once, canonical. `prepared` maps the key of each of its requests for a corpus to what
        is on disk."""
        return distinct(
            chain
            for product in self.products()
            for point in product.points()
            for chain in self._chains_of(product, point, prepared)
        )

    def _chains_of(self, product: Product, point: Point, prepared: Mapping[str, PreparedCorpus]) -> list[ChainSpec]:
        axes = product.axes
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
            found = prepared[product.request(corpus, point).key]
            known = found.fold_list
            folds = self.folds if isinstance(self.folds, int) else known.folds if known else 0
            training = point.training_of(found.corpus, split, known is not None and known.validates)
            for alpha, fold in itertools.product(point.alphas_of(choice), range(folds)):
                updates = canonical_updates(choice.rule, alpha, axes.iterations)
                label_source = source if updates else None
                stage = StageSpec(
                    found.name,
                    backbone,
                    split,
                    folds,
                    fold,
                    seed,
                    label_source,
                    updates,
                    training,
                    inner_folds=self.inner_folds if label_source == "cross_fit" else None,
                    labels=self.labels,
                    listed=None if known is None else Listed(known.digest, known.name),
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
    grid = parse_grid(content, str(path))
    return grid if isinstance(grid.folds, int) else grid.model_copy(update={"folds": grid.folds.beside(path.parent)})


def parse_grid(content: Mapping[str, Any], origin: str) -> GridSpec:
    """Check a grid's content; `origin` names it in errors. Raises GridError."""
    try:
        grid = GridSpec.model_validate(content)
    except ValidationError as error:
        raise _unusable(origin, _problems(error) + _problems_beside(error, content)) from error
    problems = problems_of_the_whole(grid)
    if problems:
        raise _unusable(origin, problems)
    return grid


def _problems_beside(error: ValidationError, content: Mapping[str, Any]) -> list[str]:
    """What is wrong with a grid as a whole beside the `error` of some of its fields, as far as the others can tell."""
    rest = copy.deepcopy(dict(content))
    wrong = [_take_out(rest, each["loc"]) for each in error.errors()]
    try:
        grid = GridSpec.model_validate(rest)
    except ValidationError:
        return []
    return [problem for problem in problems_of_the_whole(grid) if not any(field in problem for field in wrong)]


def _take_out(content: dict[str, Any], location: Sequence[int | str]) -> str:
    """Take the field of a grid's file out that a `location` is in; returns its name."""
    part: Any = content
    while len(location) > 1 and (location[0] in _PARTS or isinstance(part, list)):
        inner = part[location[0]]
        if not isinstance(inner, dict | list):
            break
        part, location = inner, location[1:]
    if isinstance(part, dict):
        part.pop(location[0], None)
    return str(location[0])


def _unusable(origin: str, problems: list[str]) -> GridError:
    return GridError(f"grid {origin} cannot be used: {counted(len(problems), 'problem')}\n" + bulleted(problems))


def resolve_corpora(grid: GridSpec, data: str | Path) -> dict[str, PreparedCorpus]:
    """The prepared corpora that a grid asks for by the keys of its requests, checked against what it asks of them.

    Raises GridError, ShardError.
    """
    asked, problems = {}, []
    for request in grid.corpus_requests():
        found = find_prepared(data, request.name, dict(request.features))
        asked[request] = found
        problems += [f"{found.folder}: {difference}" for difference in differences(request, found.settings)]
    if not isinstance(grid.folds, int) and not problems:
        asked, problems = with_fold_lists(grid.folds, asked)
    prepared = {request.key: found for request, found in asked.items()}
    if not problems:
        chains = grid.expand(prepared)
        problems = listed_problems(chains, prepared.values(), grid.scheduler.halving)
        problems = problems or split_problems(chains, prepared.values())
    if problems:
        raise GridError(f"grid {grid.name} does not fit the prepared data\n" + bulleted(problems))
    return prepared


def _problems(error: ValidationError) -> list[str]:
    """One line a problem, without the complaint that a list is empty because each of its entries was refused."""
    found = error.errors()
    inside = {each["loc"][:depth] for each in found for depth in range(len(each["loc"]))}
    return [_problem(each) for each in found if each["type"] != "too_short" or each["loc"] not in inside]


def _problem(error: Any) -> str:
    # Where a grid's file has it: pydantic names the shape of a value behind the field.
    location = [*error["loc"][:1], *(part for part in error["loc"][1:] if part not in (*SHAPES, *FOLD_SHAPES))]
    field = ".".join(map(str, location))
    if error["type"] == "extra_forbidden":
        allowed = _fields_at(location[:-1])
        meant = difflib.get_close_matches(str(location[-1]), allowed, n=1)
        nearest = f"did you mean {meant[0]}? " if meant else ""
        return f"{field}: unknown field; {nearest}allowed: {', '.join(allowed)}"
    message = IN_WORDS.get(error["type"]) or error["msg"].removeprefix("Value error, ")
    if isinstance(error["input"], list) and error["type"] in OF_ONE_VALUE:
        message = "takes one value; lists are for axes, and for the fields of training and features"
    shown = "" if repr(error["input"]) in message or error["type"] == "value_error" else f" (got {error['input']!r})"
    problem = f"{field}: {message}{shown}"
    return problem if len(problem) <= LONGEST_PROBLEM else f"{problem[:LONGEST_PROBLEM]}…"


def _fields_at(location: Sequence[int | str]) -> list[str]:
    """The fields of the part of a grid's file at `location`."""
    part: Any = GridSpec
    for step in location:
        part = _PARTS.get(str(step), Distribution if not isinstance(step, int) else part)
    return list(part.model_fields)


_PARTS: dict[str, type[Strict]] = {
    "training": TrainingChoice,
    "folds": FoldsFrom,
    "features": FeatureChoice,
    "scheduler": Scheduler,
    "halving": Halving,
    "resources": Resources,
    "tracking": Tracking,
    "chains": Axes,
}
