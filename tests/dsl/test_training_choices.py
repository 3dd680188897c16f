"""What the paper leaves open of a training: each setting changes what it says, and nothing at its default."""

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from data_prep.errors import UserError
from data_prep.shards import SegmentCorpus
from dsl.acceleration.recording import EXACT
from dsl.backbones import BACKBONES
from dsl.building import batch_norms, built
from dsl.company import Company
from dsl.segments import Segments, input_statistics, standardised_by_utterance
from dsl.settings import Layout, Step, TrainingSettings
from dsl.steps import Epoch, kept_epoch
from dsl.training import Lesson
from tests.dsl.chains import run, settings_of
from tests.dsl.dsl_toys import CPU, SETTINGS, KillError, MemoryCheckpoint, MemoryStages, timeless
from tests.dsl.honest_recorder import a_gpu
from tests.dsl.lessons import EPOCHS, bits_of, build_tiny, lessons_of, teach, teach_alone

CHOICES: list[dict[str, Any]] = [
    {"standardisation": "overall"},
    {"standardisation": "utterance"},
    {"standardisation": "none"},
    {"staircase": False},
    {"restore_best_weights": False},
    {"batch_norm_momentum": 0.01},
    {"initialisation": "glorot_uniform"},
]
OF_A_NETWORK = CHOICES[3:]  # what a lesson's segments do not show
STOPPING = replace(SETTINGS, epochs=6, patience=1, learning_rate=0.03)


def named(choice: dict[str, Any]) -> str:
    return " ".join(f"{name} {value}" for name, value in choice.items())


every_choice = pytest.mark.parametrize("choice", CHOICES, ids=named)


# Standardisation


def frames_seen(lesson: Lesson, index: np.ndarray) -> np.ndarray:
    """The segments `index` as the network sees them: float32 [n, mels, frames]."""
    return lesson.segments.batch(torch.from_numpy(index))[:, 0].numpy()


def lesson_of(corpus: SegmentCorpus, fits: list[Lesson], **choice: Any) -> Lesson:
    """What the network of fold 0 is to learn."""
    run(corpus, training=replace(SETTINGS, epochs=1, **choice))
    return fits[-1]


def test_overall_all_bands_are_shifted_and_scaled_alike(corpus: SegmentCorpus, fits: list[Lesson]) -> None:
    lesson = lesson_of(corpus, fits, standardisation="overall")
    rows = np.unique(corpus.start[lesson.training, None] + np.arange(corpus.segment_frames))
    frames = corpus.frames[rows].astype(np.float64)
    whole = np.arange(len(corpus))
    expected = (corpus.spectrograms(whole) - frames.mean()) / frames.std()
    np.testing.assert_allclose(frames_seen(lesson, whole), expected.transpose(0, 2, 1), rtol=1e-5, atol=1e-5)
    assert np.ptp(frames.mean(axis=0)) > 0.1, "bands differ, or this would be standardised by band"


def test_by_utterance_each_has_a_mean_of_0_and_a_deviation_of_1_in_each_band(
    corpus: SegmentCorpus, fits: list[Lesson]
) -> None:
    lesson = lesson_of(corpus, fits, standardisation="utterance")
    for utterance in range(len(corpus.utterances)):
        own = np.flatnonzero(corpus.utterance == utterance)
        seen = frames_seen(lesson, own)
        frames = np.concatenate([seen[0].T, *(each.T[-1:] for each in seen[1:])])  # segments begin a frame apart
        np.testing.assert_allclose(frames.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(frames.std(axis=0), 1, atol=1e-5)


def test_thinning_does_not_change_what_an_utterance_is_standardised_by(corpus: SegmentCorpus) -> None:
    whole = standardised_by_utterance(corpus)
    np.testing.assert_array_equal(standardised_by_utterance(corpus.thinned(3)).frames, whole.frames)


def test_what_is_silent_throughout_an_utterance_is_standardised_to_zero(corpus: SegmentCorpus) -> None:
    frames = corpus.frames.copy()
    frames[:, 3] = -7
    assert not standardised_by_utterance(replace(corpus, frames=frames)).frames[:, 3].any()


def test_without_standardisation_segments_are_as_they_are(corpus: SegmentCorpus, fits: list[Lesson]) -> None:
    whole = np.arange(len(corpus))
    seen = frames_seen(lesson_of(corpus, fits, standardisation="none"), whole)
    np.testing.assert_array_equal(seen, corpus.spectrograms(whole).transpose(0, 2, 1))


@pytest.mark.parametrize("how", ["overall", "utterance", "none"])
def test_the_sound_of_test_utterances_reaches_no_training(corpus: SegmentCorpus, how: Any) -> None:
    settings = replace(SETTINGS, epochs=1, standardisation=how)
    expected = run(corpus, training=settings).saved[0]
    frames = corpus.frames.copy()
    frames[corpus.start[expected.test, None] + np.arange(corpus.segment_frames)] **= 2
    found = run(replace(corpus, frames=frames), training=settings).saved[0]
    assert [found.weights[name].tobytes() for name in found.weights] == [
        expected.weights[name].tobytes() for name in expected.weights
    ]
    np.testing.assert_array_equal(found.q[~found.test], expected.q[~found.test])
    assert (found.q[found.test] != expected.q[found.test]).any()


# Learning rate


@pytest.fixture
def rates() -> Iterator[list[float]]:
    """The learning rate of every step that an optimiser takes."""
    taken: list[float] = []
    handle = register_optimizer_step_pre_hook(
        lambda optimizer, *_: taken.append(float(optimizer.param_groups[0]["lr"]))
    )
    yield taken
    handle.remove()


def exponential_decay(steps: int, an_epoch: int, settings: TrainingSettings) -> list[float]:
    """TensorFlow's tf.keras.optimizers.schedules.ExponentialDecay, step by step."""
    decay_steps = settings.decay_epochs * an_epoch
    return [settings.learning_rate * settings.decay ** (step / decay_steps) for step in range(steps)]


CONTINUOUS = replace(EPOCHS, staircase=False, decay_epochs=2, epochs=4, patience=4)


def test_the_rate_decays_at_each_step_and_goes_on_where_it_was(corpus: SegmentCorpus, rates: list[float]) -> None:
    lesson = lessons_of(corpus, CONTINUOUS)[0]
    an_epoch = -(-len(lesson.training) // CONTINUOUS.batch_size)
    expected = exponential_decay(4 * an_epoch, an_epoch, CONTINUOUS)
    teach([lesson])
    assert rates == pytest.approx(expected, rel=1e-12)
    rates.clear()
    checkpoint = MemoryCheckpoint()
    with pytest.raises(KillError):
        teach([lesson], [checkpoint], killed_in=1)
    teach([lesson], [checkpoint])
    assert rates == pytest.approx(expected, rel=1e-12)


def test_a_staircase_meets_it_where_a_step_is_taken(corpus: SegmentCorpus, rates: list[float]) -> None:
    lesson = lessons_of(corpus, replace(CONTINUOUS, staircase=True))[0]
    an_epoch = -(-len(lesson.training) // CONTINUOUS.batch_size)
    teach([lesson])
    continuous = exponential_decay(4 * an_epoch, an_epoch, CONTINUOUS)
    assert rates[:: 2 * an_epoch] == pytest.approx(continuous[:: 2 * an_epoch], rel=1e-12)
    assert set(rates) == set(rates[:: 2 * an_epoch])


# Weights that are kept


def test_the_weights_of_the_epoch_that_training_stopped_after_are_kept(corpus: SegmentCorpus) -> None:
    lessons = lessons_of(corpus, replace(STOPPING, restore_best_weights=False))
    restored = teach_alone([replace(one, settings=STOPPING) for one in lessons])
    differs = []
    for lesson, found, best in zip(lessons, teach_alone(lessons), restored, strict=True):
        history: list[Epoch] = found[0]  # type: ignore[assignment]
        assert history == best[0], "it stops as before"
        to_there = replace(STOPPING, early_stopping=False, epochs=len(history))
        assert teach_alone([replace(lesson, settings=to_there)]) == [found]
        assert kept_epoch(history, lesson.settings).number == len(history) - 1
        differs.append(found[1] != best[1])
    assert any(differs)


# Batch norm


class BatchesOf(Segments):
    """Notes what a network sees of each batch that it learns from."""

    seen: list[np.ndarray]

    def batch(self, index: torch.Tensor, layout: Layout = "channels_last") -> torch.Tensor:
        windows = super().batch(index, layout)
        if torch.is_grad_enabled():
            self.seen.append(windows.numpy().astype(np.float64))
        return windows


@pytest.mark.parametrize("momentum", [0.1, 0.01, 1.0])
def test_running_statistics_take_in_so_much_of_each_batch(corpus: SegmentCorpus, momentum: float) -> None:
    lesson = lessons_of(
        corpus,
        replace(EPOCHS, epochs=1, batch_norm_momentum=momentum),
        lambda: nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 3)),
    )[0]
    segments = BatchesOf(corpus, *lesson.segments.statistics, CPU)
    segments.seen = []
    checkpoint = MemoryCheckpoint()
    run = teach([replace(lesson, segments=segments, settings=replace(lesson.settings, epochs=2))], [checkpoint])
    assert run and checkpoint.content is not None
    mean, variance = 0.0, 1.0
    for batch in segments.seen[: len(segments.seen) // 2]:  # the checkpoint is that of the first of two epochs
        mean = (1 - momentum) * mean + momentum * batch.mean()
        variance = (1 - momentum) * variance + momentum * batch.var(ddof=1)
    state = torch.load(io.BytesIO(checkpoint.content))["network"]
    assert state["0.running_mean"].item() == pytest.approx(mean, abs=1e-6)
    assert state["0.running_var"].item() == pytest.approx(variance, rel=1e-5)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_momentum_is_that_of_every_batch_norm(backbone: str) -> None:
    with torch.device("meta"):
        for momentum in (0.1, 0.01):
            network = built(lambda: BACKBONES[backbone](7), TrainingSettings(batch_norm_momentum=momentum))
            assert {norm.momentum for norm in batch_norms(network)} == {momentum}


# Initial weights


def keras_limit(layer: nn.Module) -> float:
    """Keras' glorot_uniform for a kernel as Keras has it: [..., channels in, channels out], of a depthwise convolution
    [..., channels, 1]."""
    if isinstance(layer, nn.Linear):
        return float(np.sqrt(6 / (layer.in_features + layer.out_features)))
    assert isinstance(layer, nn.Conv2d)
    places = int(np.prod(layer.kernel_size))
    depthwise = layer.groups == layer.in_channels > 1
    into, out = (layer.in_channels, 1) if depthwise else (layer.in_channels, layer.out_channels)
    return float(np.sqrt(6 / (places * (into + out))))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_glorot_uniform_draws_as_keras_does(backbone: str) -> None:
    torch.manual_seed(0)
    network = built(lambda: BACKBONES[backbone](7), TrainingSettings(initialisation="glorot_uniform"))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight, limit = module.weight.detach(), keras_limit(module)
            assert weight.abs().max() <= limit
            if weight.numel() > 1000:
                assert weight.abs().max() > 0.98 * limit
                assert weight.std().item() == pytest.approx(limit / np.sqrt(3), rel=0.1)
            assert module.bias is None or not module.bias.any()
    for norm in batch_norms(network):
        assert (norm.weight == 1).all() and not norm.bias.any()


@pytest.mark.parametrize("backbone", ["densenet22", "mobilenetv2", "tiny"])
def test_a_backbone_is_as_it_is_at_the_defaults(backbone: str) -> None:
    networks = []
    for build in (BACKBONES[backbone], lambda classes: built(lambda: BACKBONES[backbone](classes), SETTINGS)):
        torch.manual_seed(3)
        networks.append(bits_of(build(4)))
    assert networks[0] == networks[1]


def test_layers_that_keras_weights_are_not_known_for_are_refused(
    corpus: SegmentCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        BACKBONES, "tiny", lambda classes: nn.Sequential(nn.Flatten(), nn.Linear(64, classes), nn.PReLU())
    )
    with pytest.raises(UserError, match=r"glorot_uniform is for convolutions, .* the network has a PReLU; use"):
        run(corpus, training=replace(SETTINGS, initialisation="glorot_uniform"))


# The same bits


def outcome(memory: MemoryStages) -> tuple[Any, ...]:
    result = memory.saved[0]
    weights = b"".join(value.tobytes() for value in result.weights.values())
    return tuple(timeless(result.history)), weights, result.q.tobytes(), np.array(result.band_statistics).tobytes()


@every_choice
def test_a_choice_changes_what_is_learnt_and_a_killed_training_goes_on_to_the_same_bits(
    corpus: SegmentCorpus, choice: dict[str, Any]
) -> None:
    settings = replace(STOPPING, epochs=4, **choice)
    expected = outcome(run(corpus, training=settings))
    usual = outcome(run(corpus, training=replace(STOPPING, epochs=4)))
    assert expected != usual
    for killed in range(len(expected[0])):
        memory = MemoryStages()

        def die(step: Step, epoch: Epoch, at: int = killed) -> None:
            if epoch.number == at:
                raise KillError

        with pytest.raises(KillError):
            run(corpus, training=settings, memory=memory, on_epoch=die)
        assert outcome(run(corpus, training=settings, memory=memory)) == expected


def test_networks_of_all_choices_side_by_side_come_to_what_they_do_alone(corpus: SegmentCorpus) -> None:
    trainings = [replace(STOPPING, epochs=4, **choice) for choice in ({}, *CHOICES)]
    alone = [outcome(run(corpus, training=one)) for one in trainings]
    memories = [MemoryStages() for _ in trainings]
    chains = [settings_of(training=one) for one in trainings]
    assert Company(CPU, at_once=len(chains)).run(corpus, chains, memories) == [None] * len(chains)
    assert [outcome(memory) for memory in memories] == alone
    assert len(set(alone)) == len(alone)


def test_frames_are_brought_to_the_device_once_and_once_more_by_utterance(
    corpus: SegmentCorpus, fits: list[Lesson]
) -> None:
    trainings = [replace(SETTINGS, epochs=1, **choice) for choice in (*CHOICES[:3], {}, CHOICES[1])]
    chains = [settings_of(training=one, fold=number % 3) for number, one in enumerate(trainings)]
    Company(CPU, at_once=5).run(corpus, chains, [MemoryStages() for _ in chains])
    places = [fit.segments.frames.data_ptr() for fit in fits]
    assert places[0] == places[2] == places[3] != places[1] == places[4]


@pytest.mark.parametrize("choice", OF_A_NETWORK, ids=named)
def test_replayed_side_by_side_they_come_to_the_bits_of_steps(corpus: SegmentCorpus, choice: dict[str, Any]) -> None:
    """Each beside a network of the usual settings. A recorded step would repeat a learning rate that it looked up."""
    settings = [replace(EPOCHS, **one) for one in (choice, {}, choice)]
    lessons = [replace(one, settings=own) for one, own in zip(lessons_of(corpus), settings, strict=True)]
    with a_gpu(record=None):
        expected = teach_alone(lessons)
    with a_gpu() as gpu:
        assert teach(lessons) == expected
    assert gpu.recorder is not None and gpu.recorder.replayed
    assert set(gpu.recorder.found.values()) == {EXACT}
    assert len(gpu.recorder.found) == (2 if "batch_norm_momentum" in choice else 1), "a kind has one momentum"


def test_a_rate_that_a_replay_finds_in_its_place_decays(corpus: SegmentCorpus) -> None:
    """Or the test before this one would show nothing."""

    def taught(build: Callable[[], nn.Module], settings: TrainingSettings) -> Any:
        with a_gpu():
            return teach_alone(lessons_of(corpus, settings, build)[:1])

    assert taught(build_tiny, EPOCHS) != taught(build_tiny, replace(EPOCHS, staircase=False))


def test_input_statistics_say_what_is_kept_with_the_weights(corpus: SegmentCorpus) -> None:
    index = np.arange(20)
    for how in ("utterance", "none"):
        mean, deviation = input_statistics(corpus, index, how)
        assert not mean.any() and (deviation == 1).all()
    mean, deviation = input_statistics(corpus, index, "overall")
    assert len(set(mean)) == len(set(deviation)) == 1 and mean.shape == deviation.shape == (8,)
