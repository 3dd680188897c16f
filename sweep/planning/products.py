"""One product of a grid: its axes, each filled in, and the combinations of settings that they come to."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from data_prep.features import FeatureSettings
from dsl.settings import OTHER_EPOCHS, PAPER_EPOCHS, TrainingSettings
from dsl.splits import canonical_training
from sweep.planning.grid_fields import Alphas, Axes, FeatureChoice, RuleChoice, TrainingChoice
from sweep.planning.sampling import Distribution, draw


class CorpusRequest(NamedTuple):
    """A corpus by its name in the grid, and the feature settings that its shards must have been made with.

    `told` are those of them by which the grid tells preparations apart.
    """

    name: str
    features: tuple[tuple[str, Any], ...] = ()
    told: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The name, with the settings that tell it from other preparations: `emodb segment_frames 20`."""
        return " ".join([self.name, *(f"{name} {value}" for name, value in self.features if name in self.told)])


def paper_epochs(corpus: str) -> int:
    """What `epochs: paper` is for a corpus."""
    return PAPER_EPOCHS.get(corpus, OTHER_EPOCHS)


def differences(request: CorpusRequest, settings: FeatureSettings) -> list[str]:
    """A line for each setting that the shards were made with otherwise than the grid asks for."""
    made = settings.as_dict()
    return [
        f"{name}: the grid asks for {value}, the shards have {made[name]}"
        for name, value in request.features
        if made[name] != value
    ]


@dataclass(frozen=True)
class Point:
    """One combination of settings: field -> value, and the value of each alpha that is drawn by its distribution."""

    training: Mapping[str, Any]
    features: Mapping[str, Any]
    alphas: tuple[tuple[Distribution, float], ...] = ()

    def training_of(self, corpus: str, split: str, validates: bool = False) -> TrainingSettings:
        """How a chain of this corpus and split is trained, canonical; `validates` says whether a list of folds says
        which utterances validate."""
        epochs = self.training["epochs"]
        known = paper_epochs(corpus) if epochs == "paper" else epochs
        return canonical_training(TrainingSettings(**{**self.training, "epochs": known}), split, validates)

    def alphas_of(self, choice: RuleChoice) -> list[float | tuple[float, ...] | None]:
        """The alphas of a rule at this point."""
        drawn = self.alphas
        return [
            next(value for own, value in drawn if own is alpha) if isinstance(alpha, Distribution) else alpha
            for alpha in choice.alphas
        ]


@dataclass(frozen=True)
class Product:
    """Axes of which none is left out, but those that a grid must give; `number` is that of its entry in `chains`."""

    axes: Axes
    folds: int
    sampling_seed: int
    number: int | None = None

    @property
    def training(self) -> TrainingChoice:
        """How its stages are trained."""
        return self.axes.training or TrainingChoice()

    @property
    def features(self) -> FeatureChoice:
        """What its shards must have been made with."""
        return self.axes.features or FeatureChoice()

    @cached_property
    def drawn_alphas(self) -> list[Distribution]:
        """The distributions of alphas, in order."""
        alphas: list[Alphas] = [alpha for choice in self.axes.rules or () for alpha in choice.alphas]
        return [alpha for alpha in alphas if isinstance(alpha, Distribution)]

    @property
    def draws(self) -> bool:
        """Whether there is a distribution."""
        return bool(self.training.drawn or self.features.drawn or self.drawn_alphas)

    @property
    def size(self) -> int:
        """Chains of the product, those that are the same counted as often as they are asked for."""
        axes = self.axes
        lists = [axes.corpora, axes.seeds, axes.splits, axes.backbones, axes.label_sources]
        lists += [*self.training.listed.values(), *self.features.listed.values()]
        rules = sum(len(choice.alphas) for choice in axes.rules or ())
        samples = (axes.samples or 1) if self.draws else 1
        return math.prod(len(each or ()) for each in lists) * rules * samples * self.folds

    def points(self) -> list[Point]:
        """Its combinations of settings: those of the lists, and within each of them the samples in order."""
        training, features = self.training.drawn, self.features.drawn
        distributions = [*training.values(), *features.values(), *self.drawn_alphas]
        rows = draw(distributions, self.axes.samples or 1, self.sampling_seed) if distributions else [()]
        samples = []
        for row in rows:
            values = iter(row)
            of_training = self.training.as_listed({name: next(values) for name in training})
            of_features = self.features.as_listed({name: next(values) for name in features})
            alphas = tuple((own, float(value)) for own, value in zip(self.drawn_alphas, values, strict=True))
            samples.append((of_training, of_features, alphas))
        return [
            Point({**listed_training, **of_training}, {**listed_features, **of_features}, alphas)
            for listed_features in self.features.points()
            for listed_training in self.training.points()
            for of_training, of_features, alphas in samples
        ]

    def request(self, corpus: str, point: Point) -> CorpusRequest:
        """What a point asks of a corpus."""
        return CorpusRequest(corpus, tuple(point.features.items()), tuple(self.features.varied))
