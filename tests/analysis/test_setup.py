"""What a set-up is in words, and what of it is not the paper's."""

from dataclasses import fields
from typing import Any

import pytest

from analysis.scoring.setup import joint_setup, stands_beside_paper, training_text
from data_prep.corpora import settings_for
from data_prep.features import FeatureSettings
from dsl.settings import TrainingSettings
from tests.analysis.made_by_hand import setup_with

OTHER_TRAINING: dict[str, Any] = {  # another value than the paper's for every training setting
    **{
        "epochs": 7,
        "every": 16,
        "batch_size": 32,
        "learning_rate": 0.01,
        "decay": 0.5,
        "decay_epochs": 3,
        "patience": 9,
    },
    **{"validation_share": 0.125, "early_stopping": False, "precision": "bfloat16", "layout": "contiguous"},
    "validation_by": "speaker",
    "standardisation": "none",
    "staircase": False,
    "restore_best_weights": False,
    "batch_norm_momentum": 0.01,
    "initialisation": "glorot_uniform",
}


def test_the_papers_set_up_of_each_corpus_departs_in_nothing() -> None:
    for corpus, epochs in (("casia", 20), ("emodb", 12), ("savee", 8)):
        found = setup_with(corpus, epochs=epochs)
        assert found.departures == ()
        assert found.text([1]) == f"every segment, at most {epochs} epochs, 10 folds, stratified split, 1 training seed"


def test_thinning_epochs_folds_split_and_seeds_are_always_told() -> None:
    found = setup_with(every=16, epochs=8, folds=5, split="speaker")
    assert (
        found.text([3, 1, 3]) == "every 16th segment, at most 8 epochs, 5 folds, speaker split, 1 or 3 training seeds"
    )
    assert found.departures == (
        "every 16th segment (paper: every)",
        "at most 8 epochs (paper: 12)",
        "5 folds (paper: 10)",
        "speaker split (paper: stratified)",
    )
    assert found.text([2], beside_paper=True) == f"{', '.join(found.departures)}, 2 training seeds"


def test_without_early_stopping_the_epochs_are_not_at_most_so_many() -> None:
    assert setup_with(epochs=8, early_stopping=False).departures[:2] == (
        "8 epochs (paper: 12)",
        "no early stopping (paper: early stopping)",
    )


@pytest.mark.parametrize("setting", [one.name for one in fields(TrainingSettings)])
def test_each_training_setting_that_is_not_the_papers_is_a_departure_and_told(setting: str) -> None:
    """One that is added later and forgotten here has no other value, and fails."""
    found = setup_with(**{setting: OTHER_TRAINING[setting]})
    if setting == "layout":  # rounds otherwise, and no more
        assert found == setup_with()
        return
    (departure,) = found.departures
    assert departure.endswith(")") and "(paper: " in departure
    assert departure.partition(" (paper")[0] in found.text([1])


@pytest.mark.parametrize(
    ("given", "departure"),
    [
        ({"every": 2}, "every 2nd segment (paper: every)"),
        ({"every": 11}, "every 11th segment (paper: every)"),
        ({"every": 33}, "every 33rd segment (paper: every)"),
        ({"epochs": 1}, "at most 1 epoch (paper: 12)"),
        ({"batch_size": 32}, "batches of 32 (paper: 128)"),
        ({"learning_rate": 0.01}, "learning rate 0.01 (paper: 0.001)"),
        ({"decay": 0.5}, "rate × 0.5 at each step (paper: 0.8)"),
        ({"decay_epochs": 3}, "a rate step every 3 epochs (paper: 2)"),
        ({"patience": 9}, "patience 9 (paper: 3)"),
        ({"validation_share": 0.125}, "12.5% for validation (paper: 10%)"),
        ({"early_stopping": False}, "no early stopping (paper: early stopping)"),
        ({"precision": "bfloat16"}, "bfloat16 (paper: float32)"),
        ({"standardisation": "overall"}, "input standardised over all Mel bands (paper: not said)"),
        ({"standardisation": "utterance"}, "input standardised by utterance (paper: not said)"),
        ({"standardisation": "none"}, "input not standardised (paper: not said)"),
        ({"staircase": False}, "continuous decay (paper: not said)"),
        ({"restore_best_weights": False}, "last weights kept (paper: not said)"),
        ({"batch_norm_momentum": 0.01}, "batch norm momentum 0.01 (paper: not said)"),
        ({"initialisation": "glorot_uniform"}, "Glorot uniform initial weights (paper: not said)"),
        ({"segment_frames": 20}, "segment frames 20 (paper: 32)"),
        ({"labels": "permuted_by_speaker"}, "labels permuted by speaker (paper: given)"),
        ({"utterances": 434}, "434 utterances (paper: 535)"),
    ],
)
def test_departures_stand_beside_what_the_paper_has(given: dict[str, Any], departure: str) -> None:
    assert setup_with(**given).departures == (departure,)


@pytest.mark.parametrize("setting", [one.name for one in fields(FeatureSettings)])
def test_each_feature_that_is_not_the_papers_is_a_departure(setting: str) -> None:
    assert len(setup_with(**{setting: getattr(FeatureSettings(), setting) + 1}).departures) == 1


def test_the_hop_is_that_of_the_corpus() -> None:
    assert setup_with("casia", segment_hop=3).departures == ()
    assert setup_with("casia", segment_hop=1).departures == ("segment hop 1 (paper: 3)",)
    assert setup_with("emodb", segment_hop=3).departures == ("segment hop 3 (paper: 1)",)


def test_savees_frames_may_be_as_described_or_as_counted() -> None:
    counted = settings_for("savee", framing="counted").as_dict()
    assert setup_with("savee", **counted).departures == ()
    assert setup_with("savee", **counted | {"mels": 40}).departures == ("mels 40 (paper: 64)",)
    assert len(setup_with("emodb", **counted).departures) == 3


def test_a_corpus_that_the_paper_does_not_have_has_no_epochs_and_no_size_of_its_own() -> None:
    assert setup_with("mine", epochs=3, utterances=60).departures == ()
    assert setup_with("mine", epochs=3, every=2).departures == ("every 2nd segment (paper: every)",)


def test_a_corpus_that_only_has_the_name_of_the_papers_is_one_that_the_paper_does_not_have() -> None:
    assert setup_with("emodb", epochs=3, utterances=60, partial=False).departures == ()


def test_published_values_stand_beside_the_papers_split_and_labels_alone() -> None:
    assert stands_beside_paper("stratified", "given")
    assert not stands_beside_paper("speaker", "given")
    assert not stands_beside_paper("stratified", "permuted")


def test_all_training_settings_in_words() -> None:
    assert training_text(TrainingSettings(every=3, early_stopping=False)) == (
        "12 epochs, every 3rd segment, batches of 128, learning rate 0.001, rate × 0.8 at each step, a rate "
        "step every 2 epochs, patience 3, 10% for validation, no early stopping, float32, validation by split, input "
        "standardised by Mel band, decay in steps, batch norm momentum 0.1, backbone's initial weights"
    )


def test_of_several_set_ups_what_stands_elsewhere_is_left_out_and_the_rest_told_once() -> None:
    slow, fast = (setup_with(every=16, learning_rate=rate, early_stopping=rate > 0.01) for rate in (0.003, 0.03))
    assert slow.without(["every", "early_stopping"]).text([1]).startswith("12 epochs, 10 folds")
    joint = joint_setup([slow, fast], ["learning_rate", "early_stopping"])
    told = "every 16th segment, at most 12 epochs, 10 folds, stratified split, 1 training seed"
    assert joint.text([1]) == told
