"""Label sources of a chain: inner networks of cross_fit, and the other folds' networks of global_oof."""

from dataclasses import replace

import numpy as np
import pytest

from data_prep.shards import SegmentCorpus
from dsl.chain import MissingInputsError
from dsl.settings import Step
from dsl.steps import Epoch
from dsl.training import Lesson
from tests.dsl.chains import (
    CROSS_FIT,
    WARNINGS_OF_RULES,
    assert_same_networks,
    every_rule,
    put_together,
    run,
    targets_of,
    timeless,
    update,
)
from tests.dsl.dsl_toys import KillError, MemoryStages, distributions

pytestmark = pytest.mark.filterwarnings(*WARNINGS_OF_RULES)


# Label source cross_fit


def test_a_cross_fit_chain_trains_the_inner_networks_of_an_iteration_before_the_next(
    crossed: MemoryStages,
) -> None:
    first, second = [Step(0), Step(0, 0), Step(0, 1)], [Step(1), Step(1, 0), Step(1, 1)]
    assert list(crossed.trained) == [*first, *second, Step(2)]


def test_no_inner_network_learns_validates_or_is_standardised_by_what_it_relabels(
    corpus: SegmentCorpus, fits: list[Lesson], standardised: list[np.ndarray]
) -> None:
    memory = run(corpus, update("hdl"), update("hdl"), **CROSS_FIT)
    for result, fit, used in zip(memory.trained.values(), fits, standardised, strict=True):
        np.testing.assert_array_equal(used, fit.training)
        assert not result.test[fit.training].any()
        assert not result.test[fit.validation].any()


def test_the_sound_of_what_an_inner_network_relabels_does_not_matter_to_its_training(
    corpus: SegmentCorpus, crossed: MemoryStages
) -> None:
    for step in (Step(0, 0), Step(0, 1)):
        frames = corpus.frames.copy()
        frames[corpus.start[crossed.trained[step].test, None] + np.arange(corpus.segment_frames)] *= -3
        again = run(replace(corpus, frames=frames), update("ema"), update("ema"), steps=3, **CROSS_FIT)
        assert timeless(again.trained[step]) == timeless(crossed.trained[step])
        assert timeless(again.trained[Step(0)]) != timeless(crossed.trained[Step(0)])


def test_the_inner_networks_of_an_iteration_relabel_the_folds_training_segments_once(crossed: MemoryStages) -> None:
    for t in range(2):
        relabelled = sum(crossed.trained[Step(t, inner)].test.astype(int) for inner in range(2))
        np.testing.assert_array_equal(relabelled, ~crossed.saved[0].test)


def test_an_inner_result_has_distributions_for_what_it_relabels_and_nothing_else(crossed: MemoryStages) -> None:
    for step in (Step(0, 0), Step(1, 1)):
        result = crossed.trained[step]
        np.testing.assert_allclose(result.q[result.test].sum(axis=1), 1, rtol=1e-6)
        assert np.isnan(result.q[~result.test]).all()


@every_rule
def test_targets_are_put_together_from_the_inner_networks_that_did_not_learn_the_segment(
    corpus: SegmentCorpus, fits: list[Lesson], rule: str
) -> None:
    memory = run(corpus, update(rule), update(rule), **CROSS_FIT)
    predictions = [put_together(memory, t) for t in range(2)]
    for step, fit in zip(memory.trained, fits, strict=True):
        t = step.iteration
        expected = targets_of(corpus, memory.saved[0].test, [update(rule)] * t, predictions[:t])
        np.testing.assert_array_equal(fit.targets, expected)


@pytest.mark.parametrize("done", range(1, 7))
def test_a_cross_fit_chain_taken_up_after_any_step_ends_with_the_same_bits(
    corpus: SegmentCorpus, crossed: MemoryStages, done: int
) -> None:
    memory = MemoryStages()
    memory.trained.update(list(crossed.trained.items())[:done])
    fresh = list(crossed.trained)[done:]
    run(corpus, update("ema"), update("ema"), memory=memory, **CROSS_FIT)
    assert_same_networks(memory, crossed)
    assert [step for step in memory.trained if memory.trained[step] is not crossed.trained[step]] == fresh


def test_an_interrupted_inner_training_goes_on_to_the_same_bits(corpus: SegmentCorpus, crossed: MemoryStages) -> None:
    memory = MemoryStages()

    def kill(step: Step, epoch: Epoch) -> None:
        if (step, epoch.number) == (Step(1, 0), 0):
            raise KillError

    with pytest.raises(KillError):
        run(corpus, update("ema"), update("ema"), memory=memory, on_epoch=kill, **CROSS_FIT)
    run(corpus, update("ema"), update("ema"), memory=memory, **CROSS_FIT)
    assert memory.trained[Step(1, 0)].resumed_at == 1
    assert_same_networks(memory, crossed)


# Label source global_oof


def test_global_oof_takes_its_targets_from_the_networks_that_tested_the_segments(
    corpus: SegmentCorpus, fits: list[Lesson]
) -> None:
    others = {t: distributions(len(corpus), 3, seed=t) for t in range(2)}
    updates = [update("ema"), update("ema")]
    memory = run(corpus, *updates, memory=MemoryStages(others=others), label_source="global_oof")
    for t in range(3):
        expected = targets_of(corpus, memory.saved[0].test, updates[:t], [others[0], others[1]][:t])
        np.testing.assert_array_equal(fits[t].targets, expected)


@pytest.mark.parametrize("there", [0, 1])
def test_global_oof_goes_as_far_as_the_other_folds_have_and_keeps_that(corpus: SegmentCorpus, there: int) -> None:
    memory = MemoryStages(others={t: distributions(len(corpus), 3) for t in range(there)})
    with pytest.raises(MissingInputsError, match=f"iteration {there} of another fold"):
        run(corpus, update("bdsl"), update("bdsl"), memory=memory, label_source="global_oof")
    assert list(memory.saved) == list(range(there + 1))


def test_global_oof_needs_no_other_fold_for_steps_it_is_not_asked_for(corpus: SegmentCorpus) -> None:
    assert list(run(corpus, update("bdsl"), label_source="global_oof", steps=1).saved) == [0]
