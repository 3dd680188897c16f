"""The fields of a grid file: the types of its axes, and what stands below `training`, `features`, `resources` and
`tracking`. docs/grids.md describes every field.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator

from dsl.backbones import BACKBONES
from dsl.labels import ALIASES, BASELINE, LABEL_SOURCES, RULES
from dsl.settings import Initialisation, Layout, Precision, Standardisation, ValidationBy
from dsl.splits import SPLITS
from sweep.planning.sampling import LARGEST_SAMPLE, Distribution
from sweep.planning.setting_axes import Axis, SettingAxes
from sweep.planning.strict import Strict


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


# For all iterations; for each of them; drawn; of a rule that takes none.
Alphas = float | tuple[float, ...] | Distribution | None


class RuleChoice(Strict):
    """A rule with the alphas to try."""

    rule: str
    alphas: tuple[Alphas, ...]


def parse_rule(entry: Any) -> RuleChoice:
    """`bdsl`, `{wdsl: 0.2}`, `{wdsl: [0, 0.2]}`, `{wdsl: {uniform: [0, 1]}}` or, with an alpha for each iteration,
    `{wdsl: [[0.5, 0.2]]}`.

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
    listed = given if isinstance(given, list) else [given]
    below = [one for one in listed if isinstance(one, int | float) and -1 <= one < 0]
    if below and rule in ("wdsl", "extrapolated"):
        raise ValueError(f"alpha {below[0]} is not a number in [0, 1]; write {{extrapolated: {-below[0]}}}")
    return RuleChoice(rule=rule, alphas=tuple(map(parse_alpha, listed)))


def parse_alpha(value: Any) -> float | tuple[float, ...] | Distribution:
    """A number in [0, 1], a list of them, one an iteration, or a distribution. Raises ValueError for anything else."""
    if isinstance(value, Mapping):
        drawn = Distribution.model_validate(value)
        for one in drawn.named_values:
            _number(one)
        return drawn
    if isinstance(value, list) and value and not any(isinstance(each, list) for each in value):
        return tuple(map(_number, value))
    return _number(value)


def _number(value: Any) -> float:
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
    pair = {"type": "array", "items": alpha, "minItems": 2, "maxItems": 2}
    kinds = {**dict.fromkeys(("uniform", "log_uniform", "int_uniform"), pair), "choice": {**each, "items": alpha}}
    drawn = _one_property(kinds)
    alphas = {"anyOf": [alpha, {"type": "array", "items": {"anyOf": [alpha, each, drawn]}, "minItems": 1}, drawn]}
    return {"anyOf": [{"enum": others}, _one_property(dict.fromkeys(takers, alphas))]}


def _one_property(properties: Mapping[str, Any]) -> dict[str, Any]:
    """What the JSON Schema says of a mapping with one of these and nothing else."""
    about = {"properties": properties, "minProperties": 1, "maxProperties": 1, "additionalProperties": False}
    return {"type": "object", **about}


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
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1)]


class FoldsFrom(Strict):
    """Where folds are listed: one of the two."""

    file: str | None = None
    """CSV file of the columns `utterance`, `fold` and, where needed, `part` and `corpus`; relative to the grid file."""
    column: Literal["fold"] | None = None
    """`fold`: the column of the manifest that the corpus was prepared from."""

    @model_validator(mode="after")
    def _one_of_both(self) -> "FoldsFrom":
        if (self.file is None) == (self.column is None):
            raise ValueError("takes a file or a column: write {file: folds.csv} or {column: fold}")
        return self

    @property
    def name(self) -> str:
        """What people call the split: `folds.csv`, or `fold column`; never like a split of another kind."""
        if self.file is None:
            return f"{self.column} column"
        name = Path(self.file).name
        return name if "." in name else f"file {name}"

    def beside(self, folder: Path) -> "FoldsFrom":
        """The same with the file's whole path, of a grid in `folder`."""
        return self if self.file is None else self.model_copy(update={"file": str((folder / self.file).absolute())})


FOLD_SHAPES = NUMBER, LISTED = "<number>", "<listed>"  # no names of fields


def shape_of_folds(value: Any) -> str:
    """Which of FOLD_SHAPES the folds of a grid's file have."""
    return LISTED if isinstance(value, Mapping | FoldsFrom) else NUMBER


Folds = Annotated[
    Annotated[int, Field(ge=2, le=1000), Tag(NUMBER)] | Annotated[FoldsFrom, Tag(LISTED)],
    Discriminator(shape_of_folds),
]
Iterations = Annotated[int, Field(ge=1, le=100)]
InnerFolds = Annotated[int, Field(ge=2, le=1000)]
Samples = Annotated[int, Field(ge=1, le=LARGEST_SAMPLE)]
Epochs = Annotated[Count | Literal["paper"], BeforeValidator(number_or("paper", int, 1))]


class TrainingChoice(SettingAxes):
    """How a stage is trained; the defaults are the paper's (§VIII-A)."""

    epochs: Axis[Epochs] = "paper"
    """Maximum number of epochs; `paper` is 20 for CASIA, 8 for SAVEE and 12 for any other corpus."""
    every: Axis[Count] = 1
    """Use only every n-th segment of an utterance; the shards stay whole."""
    batch_size: Axis[Annotated[int, Field(ge=2, le=10**9)]] = 128
    """Segments in a batch."""
    learning_rate: Axis[Annotated[float, Field(gt=0, allow_inf_nan=False)]] = 1e-3
    """Adam's learning rate in the first epoch."""
    decay: Axis[Annotated[float, Field(gt=0, le=1)]] = 0.8
    """Factor on the learning rate every `decay_epochs` epochs."""
    decay_epochs: Axis[Count] = 2
    """Epochs before each decay of the learning rate."""
    staircase: Axis[bool] = True
    """If false, the learning rate decays at each step: by `decay` in `decay_epochs` epochs."""
    patience: Axis[Count] = 3
    """Epochs without a lower validation loss before the training ends."""
    validation_share: Axis[Annotated[float, Field(ge=0, le=0.5)]] = 0.1
    """Share of the training utterances held out for early stopping; 0 needs `early_stopping: false`."""
    validation_by: Axis[ValidationBy] = "split"
    """Hold out single utterances, whole speakers or whole texts; `split`: the same units as the grid's split."""
    early_stopping: Axis[bool] = True
    """If false, all epochs are trained and the last weights are kept."""
    restore_best_weights: Axis[bool] = True
    """If false, early stopping keeps the weights of the epoch after which it stopped, not the best ones."""
    precision: Axis[Precision] = "float32"
    """Number format of convolutions and matrix products in training; weights and predictions are always float32."""
    layout: Axis[Layout] = "channels_last"
    """Memory layout of feature maps. The faster one depends on the GPU (see `plan --probe`). Changes the last bits."""
    standardisation: Axis[Standardisation] = "band"
    """By what input is shifted and scaled: each Mel `band`, or all `overall`, in training; each `utterance`; `none`."""
    batch_norm_momentum: Axis[Annotated[float, Field(gt=0, le=1)]] = 0.1
    """Weight of a batch in batch norm's running statistics. Keras counts the other way: 0.99 there is 0.01 here."""
    initialisation: Axis[Initialisation] = "backbone"
    """Initial weights: those of the backbone's own code, or `glorot_uniform` with biases of 0, as Keras' default."""


class FeatureChoice(SettingAxes):
    """What the shards must have been made with; a setting left out may be anything, where there is one preparation."""

    sample_rate: Axis[int] | None = None
    """Samples per second after resampling: 16000."""
    window: Axis[int] | None = None
    """Samples in a frame: 400."""
    shift: Axis[int] | None = None
    """Samples from the start of a frame to the next: 160."""
    fft: Axis[int] | None = None
    """Points of the Fourier transform: 512."""
    mels: Axis[int] | None = None
    """Mel bands: 64."""
    low_hz: Axis[float] | None = None
    """Lower end of the lowest band: 125."""
    high_hz: Axis[float] | None = None
    """Upper end of the highest band: 7500."""
    floor: Axis[float] | None = None
    """Lower limit of the power, before the logarithm."""
    segment_frames: Axis[int] | None = None
    """Frames in a segment: 32 unless prepared with `--segment-ms`."""
    segment_hop: Axis[int] | None = None
    """Frames from the start of a segment to the next: 1 unless prepared with `--hop-ms`; 3 for CASIA."""


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
    training: TrainingChoice | None = None
    features: FeatureChoice | None = None
    samples: Samples | None = None

    def over(self, top: "Axes") -> "Axes":
        """The same with what it leaves out taken from `top`; of `training` and `features`, field by field."""
        own = {name: getattr(self, name) for name in type(self).model_fields}
        filled = {name: getattr(top, name) if value is None else value for name, value in own.items()}
        for name in ("training", "features"):
            if own[name] is not None and getattr(top, name) is not None:
                filled[name] = own[name].over(getattr(top, name))
        return type(self).model_construct(**filled)


class Resources(Strict):
    """What one trial takes, and how many run at once. None of it is part of a stage's identity."""

    cpu: Count = 1
    """CPU cores and threads of a trial. Another number rounds sums differently, so it changes the last bits."""
    gpu: Annotated[Annotated[float, Field(ge=0)] | Literal["auto"], BeforeValidator(number_or("auto", float, 0))] = (
        "auto"
    )
    """Share of a GPU for a trial; `auto` is 0 if the cluster has no GPU, and otherwise 0.25."""
    max_concurrent: Count | None = None
    """Maximum number of trials at a time; by default as many as fit."""
    max_failures: Annotated[int, Field(ge=0, le=10**9)] = 2
    """How often a trial is tried again after its process or machine died."""
    checkpoint_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 60.0
    """Minimum time between checkpoints of a training. They are written after epochs; 0: after every epoch."""
    stalled_after_minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    """A trial without a finished epoch for this long is reported as stalled; choose more than an epoch takes."""
    restart_stalled: bool = False
    """Whether to end the process of a stalled trial and try it again from its last checkpoint; only on Ray."""


class Tracking(Strict):
    """Experiment trackers that get the learning curves of every stage while the sweep runs."""

    tensorboard: str | None = None
    """Folder for TensorBoard's event files; needs the extra `tensorboard`."""
    mlflow: str | None = None
    """Address of an MLflow server or store; needs the extra `mlflow`."""
    wandb: str | None = None
    """Project of Weights & Biases; needs the extra `wandb`. `WANDB_MODE=offline` keeps its runs on this machine."""


class Halving(Strict):
    """Successive halving: all candidates train some folds, and only the best of them train more."""

    first_folds: Annotated[int, Field(ge=1, le=999)] = 1
    """Folds on which all candidates are trained; fewer than the grid has."""
    reduction_factor: Annotated[int, Field(ge=2, le=1000)] = 3
    """One in so many candidates goes on, to so many times the folds."""


class Scheduler(Strict):
    """Which chains of the grid are trained. Not part of a stage's identity."""

    halving: Halving | None = None
    """Stop poor settings after some folds, by their validation WA; `{}` for the defaults. See below."""
