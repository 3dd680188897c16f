"""What is wrong with a grid as a whole: fields that do not go together, whatever each of them says."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from data_prep.text import counted
from dsl.labels import BASELINE
from dsl.splits import GROUPED_BY, LISTED
from sweep.planning.products import Product

if TYPE_CHECKING:
    from sweep.planning.grid import GridSpec

LARGEST_GRID = 200_000  # chains; the paper's has about a thousand


def problems_of_the_whole(grid: "GridSpec") -> list[str]:
    """What is wrong with a grid that no field alone can tell."""
    products = grid.products()
    problems = [problem for product in products for problem in _of_product(product)]
    problems += _labels_known_by_speaker(grid, products) + _nothing_to_draw(grid, products)
    problems += _not_to_be_halved(grid, products) + _split_otherwise(grid)
    chains = sum(product.size for product in products)
    if chains > LARGEST_GRID:
        problems += [f"it asks for up to {chains:,} chains, more than {LARGEST_GRID:,}; split it"]
    return problems


def _of_product(product: Product) -> Iterator[str]:
    """What is wrong with a product alone."""
    axes, training = product.axes, product.training
    where = "" if product.number is None else f"chains.{product.number}."
    for axis in ("corpora", "backbones", "rules"):
        if not getattr(axes, axis):
            yield f"{where}{axis}: missing; give at least one"
    for choice in axes.rules or ():
        for alpha in choice.alphas:
            if isinstance(alpha, tuple) and len(alpha) != axes.iterations:
                yield (
                    f"rules: {choice.rule} has {counted(len(alpha), 'alpha')}, one for each iteration, {list(alpha)}, "
                    f"but iterations is {axes.iterations}"
                )
    if 0 in training.values_named("validation_share") and True in training.values_named("early_stopping"):
        yield (
            "training.validation_share: 0 leaves early stopping no utterances; write early_stopping: false beside it, "
            "or a share above 0"
        )
    if product.draws and axes.samples is None:
        kinds = {"training": training.drawn, "features": product.features.drawn}
        first = next((f"{part}.{name}" for part, drawn in kinds.items() for name in drawn), "rules")
        yield f"{where}samples: missing, but {first} is drawn from a distribution; write samples: 16, say"


def _labels_known_by_speaker(grid: "GridSpec", products: Sequence[Product]) -> list[str]:
    """Labels that mean another thing for each speaker, beside splits under which a network knows the speaker."""
    if grid.labels != "permuted_by_speaker":
        return []
    splits = dict.fromkeys(split for product in products for split in product.axes.splits or ())
    return [
        f"labels: {grid.labels} can be learnt under splits: {split}, where a speaker is in both training and test; "
        "use splits: speaker or speaker_text"
        for split in splits
        if split != LISTED and "speaker" not in GROUPED_BY[split]  # what a list separates is to be seen
    ]


def _not_to_be_halved(grid: "GridSpec", products: Sequence[Product]) -> list[str]:
    """What keeps the settings of a grid from being stopped after some folds."""
    halving, problems = grid.scheduler.halving, []
    if halving is None:
        return []
    if isinstance(grid.folds, int) and halving.first_folds >= grid.folds:
        problems.append(
            f"scheduler.halving.first_folds: {halving.first_folds}, but folds is {grid.folds}: nothing is left to be "
            "stopped; write fewer"
        )
    learns = [any(choice.rule != BASELINE for choice in product.axes.rules or ()) for product in products]
    sources = [product.axes.label_sources or () for product in products]
    if any(whether and "global_oof" in own for whether, own in zip(learns, sources, strict=True)):
        problems.append(
            "scheduler.halving: trains some folds first, and label_sources: global_oof needs every fold of an "
            "iteration for the next one; use in_fold or cross_fit, or leave halving out"
        )
    if any(0 in product.training.values_named("validation_share") for product in products):
        problems.append(
            "scheduler.halving: compares by validation utterances, and training.validation_share: 0 leaves none; write "
            "a share above 0, or leave halving out"
        )
    return problems


def _split_otherwise(grid: "GridSpec") -> list[str]:
    """Splits beside folds that are listed."""
    if isinstance(grid.folds, int):
        return []
    own = [f"chains.{number}.splits" for number, each in enumerate(grid.chains or ()) if each.splits is not None]
    return [
        f"{where}: leave it out; folds says how utterances are split"
        for where in [*(["splits"] if "splits" in grid.model_fields_set else []), *own]
    ]


def _nothing_to_draw(grid: "GridSpec", products: Sequence[Product]) -> list[str]:
    """Samples where there is no distribution that they are of."""
    own = [number for number, each in enumerate(grid.chains or ()) if each.samples and not products[number].draws]
    problems = [f"chains.{number}.samples" for number in own]
    if grid.samples and not any(product.draws for product in products):
        problems.append("samples")
    return [
        f"{where}: there is no distribution to draw from; write one, such as training: "
        "{learning_rate: {log_uniform: [0.0001, 0.01]}}"
        for where in problems
    ]
