"""The fields of a grid file: the types of its axes, and what stands below `training`, `features`, `resources` and
`tracking`. docs/grids.md describes every field.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from data_prep.features import FeatureSettings
from dsl.backbones import BACKBONES
from dsl.labels import ALIASES, BASELINE, LABEL_SOURCES, RULES
from dsl.settings import OTHER_EPOCHS, PAPER_EPOCHS, Layout, Precision, TrainingSettings, ValidationBy
from dsl.splits import SPLITS, canonical_training


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
    """Fields and no others. docs/grids.md and the JSON Schema show the string below each field."""

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
    """A number in [0, 1], or a list of them, one an iteration. Raises ValueError for anything else."""
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
    """Maximum number of epochs; `paper` is 20 for CASIA, 8 for SAVEE and 12 for any other corpus."""
    every: Count = 1
    """Use only every n-th segment of an utterance; the shards stay whole."""
    batch_size: Annotated[int, Field(ge=2, le=10**9)] = 128
    """Segments in a batch."""
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    """Adam's learning rate in the first epoch."""
    decay: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Factor on the learning rate every `decay_epochs` epochs."""
    decay_epochs: Count = 2
    """Epochs before each decay of the learning rate."""
    patience: Count = 3
    """Epochs without a lower validation loss before the training ends."""
    validation_share: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """Share of the training utterances held out for early stopping; 0 needs `early_stopping: false`."""
    validation_by: ValidationBy = "split"
    """Hold out single utterances, whole speakers or whole texts; `split`: the same units as the grid's split."""
    early_stopping: bool = True
    """If false, all epochs are trained and the last weights are kept."""
    precision: Precision = "float32"
    """Number format of convolutions and matrix products in training; weights and predictions are always float32."""
    layout: Layout = "channels_last"
    """Memory layout of feature maps. The faster one depends on the GPU (see `plan --probe`). Changes the last bits."""

    def of_chain(self, corpus: str, split: str) -> TrainingSettings:
        """Of a chain of this corpus and split, canonical."""
        epochs = PAPER_EPOCHS.get(corpus, OTHER_EPOCHS) if self.epochs == "paper" else self.epochs
        return canonical_training(TrainingSettings(**{**self.model_dump(), "epochs": epochs}), split)


class FeatureChoice(Strict):
    """What the shards must have been made with; a setting left out may be anything."""

    sample_rate: int | None = None
    """Samples per second after resampling: 16000."""
    window: int | None = None
    """Samples in a frame: 400."""
    shift: int | None = None
    """Samples from the start of a frame to the next: 160."""
    fft: int | None = None
    """Points of the Fourier transform: 512."""
    mels: int | None = None
    """Mel bands: 64."""
    low_hz: float | None = None
    """Lower end of the lowest band: 125."""
    high_hz: float | None = None
    """Upper end of the highest band: 7500."""
    floor: float | None = None
    """Lower limit of the power, before the logarithm."""
    segment_frames: int | None = None
    """Frames in a segment: 32 unless prepared with `--segment-ms`."""
    segment_hop: int | None = None
    """Frames from the start of a segment to the next: 1 unless prepared with `--hop-ms`; 3 for CASIA."""

    def differences(self, settings: FeatureSettings) -> list[str]:
        """A line for each setting that the shards were made with otherwise than the grid asks for."""
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
