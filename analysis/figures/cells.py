"""The chains of a grid as figures show them: all folds and seeds of a method together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from analysis.figures.evidence import Method, Setting, shown_methods
from sweep.stages import ChainSpec, StageSpec


@dataclass(frozen=True)
class ChainCell:
    """The chains that differ in nothing but fold and seed: one curve, or one row of panels.

    `setting` calls the corpus by its name in scores; `about` is the last stage of any of the chains.
    """

    setting: Setting
    about: StageSpec
    chains: tuple[ChainSpec, ...]

    @property
    def method(self) -> Method:
        return Method(self.about.rule, self.about.alpha)

    @property
    def parts(self) -> tuple[str, ...]:
        """What a file name tells of it."""
        return (*self.setting.parts, *self.method.parts)

    @property
    def title(self) -> str:
        return f"{self.setting.title}, {self.method.name}"

    @property
    def iterations(self) -> range:
        return range(self.about.iteration + 1)

    @property
    def first_seed(self) -> int:
        return min(chain.last.seed for chain in self.chains)

    def at(self, iteration: int) -> list[StageSpec]:
        """The stages of all folds and seeds at an iteration."""
        return [chain.last.at(iteration) for chain in self.chains]


def shown_cells(chains: Sequence[ChainSpec], names: Mapping[str, str]) -> list[ChainCell]:
    """The cells of the methods that figures show, by setting and in the paper's order of methods.

    `names` are those of corpora in scores, by their full names.
    """
    members: dict[StageSpec, list[ChainSpec]] = {}
    for chain in chains:
        members.setdefault(replace(chain.last, fold=0, seed=0), []).append(chain)
    of_setting: dict[Setting, list[ChainCell]] = {}
    for about, own in members.items():
        setting = Setting(names[about.corpus], about.backbone, about.split, about.labels, about.label_source or "")
        of_setting.setdefault(setting, []).append(ChainCell(setting, about, tuple(own)))
    return [cell for setting in sorted(of_setting) for cell in _shown(of_setting[setting])]


def _shown(cells: Sequence[ChainCell]) -> list[ChainCell]:
    """One cell a method; of several that differ in training or in iterations, the one that goes furthest."""
    furthest: dict[Method, ChainCell] = {}
    for cell in sorted(cells, key=lambda cell: cell.about.iteration):
        furthest[cell.method] = cell
    return [furthest[method] for method in shown_methods(furthest)]
