"""The null-label test: what it finds out, what it acquits, and that label sources do what they promise."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.audit import ABOVE_CHANCE, INCOMPLETE, WITHIN_CHANCE, audit, conclusions, permutation_test, to_text
from analysis.scoring.statistics import rate_intervals
from data_prep.synthetic import SyntheticCorpus, write_corpus
from ser_sweep.cli import main
from tests.analysis.made_by_hand import decisions_of

RNG = np.random.default_rng(0)
LABEL = np.arange(120) % 3


def decisions(predicted: Sequence[np.ndarray], label: np.ndarray = LABEL, **about: Any) -> pd.DataFrame:
    """A network's decisions by mean pooling, an array [U] for each training seed."""
    cell = {"backbone": "tiny", "rule": "bdsl", "labels": "permuted", "seeds": len(predicted), "classes": 3}
    cell |= {"folds_done": 5, "folds": 5, "fold": 0, "validation_wa": 30.0, "decision": "mean"}
    return decisions_of(np.array(predicted), label, "s", of_row="seed", **cell | about)


def half_right(seed: int = 0) -> np.ndarray:
    """Decisions of which about two thirds are right: half, and by chance a third of the rest."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(LABEL)) < 0.5, LABEL, rng.integers(0, 3, len(LABEL)))


def at_random(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, len(LABEL))


# The test


def test_ua_is_the_mean_recall_over_rows() -> None:
    label = np.array([[0, 0, 0, 1]] * 2)
    ua, _ = permutation_test(label, np.array([[0, 0, 1, 1], [0, 0, 0, 0]]))
    assert ua == pytest.approx(((2 / 3 + 1) / 2 + (1 + 0) / 2) / 2)


def test_saying_one_class_is_chance_however_the_labels_are_dealt() -> None:
    ua, null = permutation_test(LABEL[None], np.zeros((1, len(LABEL)), dtype=int))
    assert ua == pytest.approx(1 / 3)
    np.testing.assert_allclose(null, 1 / 3)


def test_dealt_labels_keep_their_numbers_and_average_to_chance() -> None:
    label = np.repeat([0, 1], [30, 10])[None]
    _, null = permutation_test(label, np.tile([0, 1], 20)[None])
    assert null.mean() == pytest.approx(0.5, abs=0.01)
    assert null.std() > 0.01


def test_utterances_that_a_seed_does_not_have_do_not_count() -> None:
    label = np.array([[0, 1, -1, -1], [-1, -1, 0, 1]])
    ua, null = permutation_test(label, np.array([[0, 1, -1, -1], [-1, -1, 1, 0]]))
    assert ua == pytest.approx(0.5)
    assert len(set(np.round(null, 6))) == 3


def test_false_alarms_are_as_rare_as_said() -> None:
    p = []
    for seed in range(100):
        ua, null = permutation_test(LABEL[None], at_random(seed)[None], permutations=400)
        p.append(np.mean(null >= ua - 1e-12))
    assert np.mean(np.array(p) < 0.05) < 0.13
    assert 0.3 < np.median(p) < 0.7


def by_speaker(seed: int, speakers: int = 8, classes: int = 4, takes: int = 4) -> tuple[np.ndarray, ...]:
    """Names of classes drawn anew for each speaker, what the nearest other speaker calls them, and the speakers."""
    rng = np.random.default_rng(seed)
    names = rng.permuted(np.tile(np.arange(classes), (speakers, 1)), axis=1)
    label, nearest = (np.repeat(each, takes, axis=1).ravel() for each in (names, names[np.arange(speakers) ^ 1]))
    return label, nearest, np.repeat(np.arange(speakers), classes * takes)


@pytest.mark.parametrize(("within_speakers", "most"), [(True, 0.1), (False, 1.0)])
def test_speakers_that_decide_one_another_give_no_false_alarms(within_speakers: bool, most: float) -> None:
    """Names are dealt by speaker: dealt to single utterances they would make each speaker's luck a finding."""
    p = []
    for seed in range(200):
        label, said, speaker = by_speaker(seed)
        within = speaker if within_speakers else None
        ua, null = permutation_test(label[None], said[None], permutations=200, within=within)
        p.append(np.mean(null >= ua - 1e-12))
    alarms = np.mean(np.array(p) < 0.05)
    assert alarms < most and (within_speakers or alarms > 0.2)


def test_who_knows_the_speaker_is_found_out_where_names_are_permuted_by_speaker() -> None:
    label, _, speaker = by_speaker(0)
    ua, null = permutation_test(label[None], label[None], within=speaker)
    assert ua == 1
    assert np.quantile(null, 0.95) < 0.6
    assert null.mean() == pytest.approx(1 / 4, abs=0.01)


def test_utterances_that_decide_one_another_give_no_false_alarms() -> None:
    """The nearest neighbour in another fold, on labels dealt at random: pairs are right or wrong together."""
    p = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        label = rng.permutation(LABEL)
        decided = label.reshape(-1, 2)[:, ::-1].ravel()  # each pair has one utterance in each of two folds
        ua, null = permutation_test(label[None], decided[None], permutations=400)
        p.append(np.mean(null >= ua - 1e-12))
    assert np.mean(np.array(p) < 0.05) < 0.1


# Verdicts


def test_what_is_recognised_above_chance_leaks() -> None:
    (found,) = audit(decisions([half_right()]))
    assert found.verdict == ABOVE_CHANCE
    assert found.ua > found.found_from > found.chance == pytest.approx(100 / 3)
    assert found.low < found.ua < found.high
    assert found.p == pytest.approx(1 / 10_001)
    assert found.unexpected


def rates_of(label: np.ndarray, said: np.ndarray, speaker: np.ndarray | None = None) -> np.ndarray:
    """The 95% interval of UA in percent, over speakers where they are given, widened by the root of 2."""
    value, low, high = rate_intervals(label, said, cluster=speaker).ua
    found: np.ndarray = 100 * (value + np.sqrt(2) * (np.array([low, high]) - value))
    return found


def test_the_interval_is_as_wide_as_the_test() -> None:
    (found,) = audit(decisions([half_right()]))
    assert [found.low, found.high] == pytest.approx(rates_of(LABEL, half_right()))
    assert "UA [widened 95% interval]" in to_text([found])


def test_the_interval_is_over_speakers_where_names_were_exchanged_for_each_of_them() -> None:
    label, said, speaker = by_speaker(0)
    frame = decisions([said], label, speaker=speaker, labels="permuted_by_speaker", classes=4)
    (found,) = audit(frame)
    assert [found.low, found.high] == pytest.approx(rates_of(label, said, speaker).clip(0, 100))
    assert found.high - found.low > np.ptp(rates_of(label, said))


def test_the_interval_does_not_leave_what_a_rate_can_be() -> None:
    nearly = LABEL.copy()
    nearly[:2] = 1 - nearly[:2]
    (found,) = audit(decisions([nearly]))
    assert found.high == 100 < rates_of(LABEL, nearly)[1]


def test_a_leaky_source_above_chance_is_expected() -> None:
    (found,) = audit(decisions([half_right()], label_source="global_oof"))
    assert found.verdict == ABOVE_CHANCE
    assert not found.unexpected


def test_decisions_at_random_are_within_chance() -> None:
    (found,) = audit(decisions([at_random(), at_random(1)]))
    assert found.verdict == WITHIN_CHANCE


def test_missing_folds_give_no_verdict() -> None:
    (found,) = audit(decisions([half_right()], folds_done=4))
    assert found.verdict == INCOMPLETE
    assert np.isnan(found.p_holm)
    assert "incomplete folds (4/5)" in to_text([found])


def test_p_values_are_adjusted_for_all_findings() -> None:
    one = decisions([half_right()])
    others = [decisions([at_random(seed)], rule=rule) for seed, rule in enumerate(("gsl", "hdl", "confidence"))]
    found = audit(pd.concat([one, *others]))
    assert found[0].p_holm == pytest.approx(4 * found[0].p)


def test_given_labels_are_not_audited() -> None:
    assert audit(decisions([half_right()], labels="given")) == []


def test_an_audit_that_misses_the_known_leak_says_that_it_is_too_weak() -> None:
    missed = audit(decisions([at_random()], label_source="global_oof"))
    assert "too weak to clear" in " ".join(conclusions(missed))
    seen = audit(decisions([half_right()], label_source="global_oof"))
    assert conclusions(seen) == ["global_oof: 1 of 1 above chance."]


# Label sources, trained on labels that have nothing to do with the speech


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Grid, data and store of networks that learnt permuted labels by heart."""
    folder = tmp_path_factory.mktemp("audit")
    (folder / "grid.yaml").write_text(
        "{corpora: [synthetic], labels: permuted, backbones: [tiny], rules: [none, bdsl], folds: 4, inner_folds: 2,"
        " label_sources: [in_fold, cross_fit, global_oof],"
        " training: {epochs: 24, every: 48, batch_size: 16, learning_rate: 0.01, decay_epochs: 4,"
        " early_stopping: false}}"
    )
    assert main(["prepare", "synthetic", "--out", str(folder / "data"), "--inline"]) == 0
    place = [str(folder / "grid.yaml"), "--data", str(folder / "data"), "--store", str(folder / "store")]
    assert main(["run", *place, "--inline"]) == 0
    return place


def test_only_global_oof_recognises_what_cannot_be_known(place: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", *place, "--json"]) == 0
    found = {(one["label_source"], one["decision"]): one for one in json.loads(capsys.readouterr().out)}
    assert len(found) == 8
    for (source, _), one in found.items():
        assert one["verdict"] == (ABOVE_CHANCE if source == "global_oof" else WITHIN_CHANCE), one
    assert found["global_oof", "mean"]["ua"] > 40
    assert found["in_fold", "mean"]["chance"] == 25


def test_nothing_is_known_of_speakers_who_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Networks and forests know what the names mean for other speakers, and this speaker's are others."""
    corpus = write_corpus(tmp_path / "corpus", SyntheticCorpus(speakers=8, texts=2, takes=1))
    assert main(["prepare", "manifest", "--source", str(corpus), "--out", str(tmp_path / "data"), "--inline"]) == 0
    grid = tmp_path / "grid.yaml"
    grid.write_text(
        "{corpora: [manifest], labels: permuted_by_speaker, backbones: [tiny], rules: [none], folds: 4,"
        " splits: [speaker], training: {epochs: 16, every: 48, batch_size: 16, learning_rate: 0.01, decay_epochs: 4,"
        " early_stopping: false}}"
    )
    place = [str(grid), "--data", str(tmp_path / "data"), "--store", str(tmp_path / "store")]
    assert main(["run", *place, "--inline"]) == 0
    capsys.readouterr()
    assert main(["audit", *place, "--json"]) == 0
    found = {one["decision"]: one for one in json.loads(capsys.readouterr().out)}
    assert {one["verdict"] for one in found.values()} == {WITHIN_CHANCE}
    assert all(one["ua"] < 45 for one in found.values())


def test_a_leak_where_none_may_be_ends_with_status_1(
    place: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.audit.LEAKY_LABEL_SOURCES", ())
    assert main(["audit", *place]) == 1
    assert "global_oof: 2 of 2 above chance." in capsys.readouterr().out


def test_an_audit_of_given_labels_is_refused(
    place: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = tmp_path / "given.yaml"
    grid.write_text(
        "{corpora: [synthetic], backbones: [tiny], rules: [none], folds: 2, training: {epochs: 1, every: 99}}"
    )
    other = [str(grid), *place[1:3], "--store", str(tmp_path / "store")]
    assert main(["run", *other, "--inline"]) == 0
    assert main(["audit", *other]) == 2
    assert "labels: permuted" in capsys.readouterr().err
