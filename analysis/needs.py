"""Which stages each of the paper's tables needs, before anything is trained."""

from collections.abc import Sequence

from analysis.layouts import TABLE_2, TABLES_OF_ONE_BACKBONE, Treatment
from dsl.settings import ChainSettings
from sweep.stages import ChainSpec


def stages_by_table(chains: Sequence[ChainSpec]) -> dict[str, set[str]]:
    """Number of the table -> keys of the stages that its rows show, and of those they are made from.

    A stage in several tables, such as iteration 0, is trained once.
    """
    stages = [(stage, chain) for chain in chains for stage in chain.stages if stage.inner_fold is None]
    scored = {_treatment_of(stage) for stage, _ in stages}
    backbones = dict.fromkeys(stage.backbone for stage, _ in stages)
    needed: dict[str, set[str]] = {}
    for layout in (TABLE_2, *TABLES_OF_ONE_BACKBONE):
        shown = {row.treatment for backbone in backbones for row in layout.plan(backbone, scored)}
        keys: set[str] = set()
        for stage, chain in stages:
            if _treatment_of(stage) in shown:
                place = chain.stages.index(stage)
                keys.update(one.key for one in chain.stages[: place + 1])
        needed[layout.number] = keys
    return needed


def _treatment_of(stage: ChainSettings) -> Treatment:
    return Treatment(stage.backbone, stage.rule, stage.alpha, stage.iteration)
