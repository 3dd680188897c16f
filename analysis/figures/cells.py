"""The chains of a grid as figures show them: all folds and seeds of a method together."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from analysis.figures.subject import Subject
from analysis.identity import Condition
from analysis.paper.methods import Method, shown_methods
from sweep.planning.stages import ChainSpec, StageSpec


@dataclass(frozen=True)
class ChainCell:
    """The chains that differ in nothing but fold and seed: one curve, or one row of panels.

    `subject` calls the corpus by its name in scores; `about` is the last stage of any of the chains. Figures of single
    trainings begin at iteration `first`: 1 where others share iteration 0, which then is a cell of its own.
    """

    subject: Subject
    about: StageSpec
    chains: tuple[ChainSpec, ...]
    first: int = 0

    @property
    def method(self) -> Method:
        """The rule and alpha of its last iteration."""
        return Method(self.about.rule, self.about.alpha)

    @property
    def parts(self) -> tuple[str, ...]:
        """What a file name tells of it."""
        return (*self.subject.parts, *self.method.parts)

    @property
    def title(self) -> str:
        """The subject and the method, as a figure's title begins."""
        return f"{self.subject.title}, {self.method.name}"

    @property
    def iterations(self) -> range:
        """All iterations of its chains, from 0 to the last."""
        return range(self.about.iteration + 1)

    @property
    def shown(self) -> range:
        """The iterations that figures of single trainings show."""
        return self.iterations[self.first :]

    @property
    def first_seed(self) -> int:
        """The lowest training seed of its chains: what is drawn for one seed is drawn for this one."""
        return min(chain.last.seed for chain in self.chains)

    def at(self, iteration: int) -> list[StageSpec]:
        """The stages of all folds and seeds at an iteration."""
        return [chain.last.at(iteration) for chain in self.chains]


def shown_cells(chains: Sequence[ChainSpec], names: Mapping[str, str]) -> list[ChainCell]:
    """The cells of the methods that figures show, by subject and in the paper's order of methods.

    `names` are those of corpora in scores, by their full names. Where cells share iteration 0, that is one of them.
    """
    splits = {chain.last.split_name for chain in chains}
    members: dict[StageSpec, list[ChainSpec]] = {}
    for chain in chains:
        members.setdefault(replace(chain.last, fold=0, seed=0), []).append(chain)
    of_subject: dict[Subject, list[ChainCell]] = {}
    for about, own in members.items():
        source = about.label_source or ""
        condition = Condition(names[about.corpus], about.split_name, about.labels, source, about.backbone)
        subject = Subject(condition, len(splits) > 1)
        of_subject.setdefault(subject, []).append(ChainCell(subject, about, tuple(own)))
    ordered = sorted(of_subject, key=lambda subject: subject.position)
    return _apart([cell for subject in ordered for cell in _shown(of_subject[subject])])


def _apart(cells: Sequence[ChainCell]) -> list[ChainCell]:
    """The cells, with an iteration 0 that several share before the first of these, and in it alone."""
    sharing = Counter(cell.about.at(0) for cell in cells)
    found: dict[StageSpec, ChainCell] = {}
    for cell in cells:
        beginning = cell.about.at(0)
        if sharing[beginning] == 1:
            found[cell.about] = cell
            continue
        found.setdefault(beginning, _beginning(cell))
        if cell.about.iteration:
            found[cell.about] = replace(cell, first=1)
    return list(found.values())


def _beginning(cell: ChainCell) -> ChainCell:
    """Iteration 0 of a cell, which knows no label source."""
    chains = (ChainSpec(stage) for stage in cell.at(0))
    return ChainCell(cell.subject.of_source(""), cell.about.at(0), tuple(chains))


def _shown(cells: Sequence[ChainCell]) -> list[ChainCell]:
    """One cell a method; of several that differ in training or in iterations, the one that goes furthest."""
    furthest = {cell.method: cell for cell in sorted(cells, key=lambda cell: cell.about.iteration)}
    updates = {method: cell.about.updates for method, cell in furthest.items()}
    last_alphas = {method: own[-1].alpha if own else None for method, own in updates.items()}
    return [furthest[method] for method in shown_methods(last_alphas)]
