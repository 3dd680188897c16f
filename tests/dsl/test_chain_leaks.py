"""Nothing of a fold's test utterances reaches its trainings but where a label source says so."""

from dataclasses import replace

import numpy as np
import pytest

from data_prep.shards import SegmentCorpus
from dsl.segments import band_statistics
from dsl.training import Lesson
from tests.dsl.chains import (
    CROSS_FIT,
    FOLDS,
    LEAK_FREE,
    WARNINGS_OF_RULES,
    assert_same_networks,
    every_leak_free_source,
    every_rule,
    folds_of,
    run,
    timeless,
    update,
)

pytestmark = pytest.mark.filterwarnings(*WARNINGS_OF_RULES)


@pytest.mark.parametrize("fold", range(FOLDS))
def test_training_validation_and_test_are_whole_utterances_apart(
    corpus: SegmentCorpus, fits: list[Lesson], fold: int
) -> None:
    test = run(corpus, fold=fold).saved[0].test
    parts = [fits[0].training, fits[0].validation, np.flatnonzero(test)]
    assert sorted(np.concatenate(parts)) == list(range(len(corpus)))
    utterances = [set(corpus.utterance[part]) for part in parts]
    assert all(utterances)
    assert sum(len(part) for part in utterances) == len(corpus.utterances)


def test_every_iteration_has_the_same_training_and_validation_part(corpus: SegmentCorpus, fits: list[Lesson]) -> None:
    run(corpus, update("bdsl"), update("bdsl"))
    for later in fits[1:]:
        np.testing.assert_array_equal(later.training, fits[0].training)
        np.testing.assert_array_equal(later.validation, fits[0].validation)


@every_rule
@every_leak_free_source
def test_labels_of_test_utterances_do_not_matter(spoken: SegmentCorpus, rule: str, source: str) -> None:
    test = (spoken.utterances["speaker"] == "s0").to_numpy()
    relabelled = with_labels_rolled(spoken, test)
    settings = {"split": "speaker", "folds": 6, **LEAK_FREE[source]}
    expected = run(spoken, update(rule), update(rule), **settings)
    np.testing.assert_array_equal(expected.saved[0].test, test[spoken.utterance])
    assert_same_networks(run(relabelled, update(rule), update(rule), **settings), expected)


@every_leak_free_source
def test_labels_of_training_utterances_do_matter(spoken: SegmentCorpus, source: str) -> None:
    """Or the test before this one would show nothing."""
    relabelled = with_labels_rolled(spoken, (spoken.utterances["speaker"] != "s0").to_numpy())
    settings = {"split": "speaker", "folds": 6, **LEAK_FREE[source]}
    found, expected = (run(each, update("bdsl"), **settings) for each in (relabelled, spoken))
    for step, result in expected.trained.items():
        assert (found.trained[step].q != result.q)[result.test].any()


def with_labels_rolled(corpus: SegmentCorpus, chosen: np.ndarray) -> SegmentCorpus:
    """The labels of the utterances `chosen` handed on from one to the next."""
    label = corpus.utterances["label"].to_numpy().copy()
    label[chosen] = np.roll(label[chosen], 1)
    assert (label != corpus.utterances["label"])[chosen].all()
    return replace(corpus, utterances=corpus.utterances.assign(label=label))


@every_rule
@every_leak_free_source
def test_the_sound_of_test_utterances_does_not_matter_to_the_others(
    corpus: SegmentCorpus, fits: list[Lesson], rule: str, source: str
) -> None:
    """Nor does it to how they are standardised, or to their targets."""
    test = (folds_of(corpus) == 0)[corpus.utterance]
    frames = corpus.frames.copy()
    frames[corpus.start[test, None] + np.arange(corpus.segment_frames)] *= -3
    expected = run(corpus, update(rule), update(rule), **LEAK_FREE[source])
    found = run(replace(corpus, frames=frames), update(rule), update(rule), **LEAK_FREE[source])
    for step, result in expected.trained.items():
        np.testing.assert_array_equal(found.trained[step].q[~test], result.q[~test])
        assert timeless(found.trained[step]) == timeless(result)
        assert step.inner_fold is not None or (found.trained[step].q[test] != result.q[test]).any()
    for first, second in zip(fits[: len(fits) // 2], fits[len(fits) // 2 :], strict=True):
        np.testing.assert_array_equal(first.targets, second.targets)


@every_leak_free_source
def test_test_segments_have_no_targets(corpus: SegmentCorpus, fits: list[Lesson], source: str) -> None:
    test = run(corpus, update("gsl"), update("gsl"), **LEAK_FREE[source]).saved[0].test
    for fit in fits:
        assert np.isnan(fit.targets[test]).all()
        assert np.isfinite(fit.targets[~test]).all()


def test_frames_are_brought_to_the_device_once_for_all_networks(
    corpus: SegmentCorpus, fits: list[Lesson], standardised: list[np.ndarray]
) -> None:
    run(corpus, update("bdsl"), **CROSS_FIT)
    assert len({fit.segments.frames.data_ptr() for fit in fits}) == 1
    for fit, used in zip(fits, standardised, strict=True):
        np.testing.assert_array_equal(used, fit.training)
        np.testing.assert_array_equal(fit.segments.statistics, band_statistics(corpus, fit.training))
