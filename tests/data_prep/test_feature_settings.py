"""Lengths in ms -> frames (§VI), and the two framings of SAVEE against the formula for the paper's 51,027 segments."""

import math
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.audio import read_audio
from data_prep.corpora import CORPORA, settings_for
from data_prep.errors import SettingError
from data_prep.features import FeatureSettings, LogMel, feature_settings
from data_prep.segments import cut_segments, frame_count, segment_count
from tests.data_prep.corpus_files import noise, write_sound

COUNTED = feature_settings(framing="counted")
SHORTEST = 40_716  # samples at 44.1 kHz of one segment of counted frames


def counted_segments(samples: int) -> int:
    """Segments of a SAVEE file of so many samples at 44.1 kHz, as the paper counts them."""
    at_16_khz = math.ceil(Fraction(samples * 16_000, 44_100))
    return 1 + (at_16_khz - 1102) // 441 - 31


def test_the_defaults_are_the_papers() -> None:
    assert feature_settings() == FeatureSettings()


@pytest.mark.parametrize(("segment_ms", "frames"), [(215, 20), (225, 21), (335, 32), (405, 39), (415, 40)])
def test_a_segment_of_f_frames_lasts_10_f_and_15_ms(segment_ms: int, frames: int) -> None:
    made = feature_settings(segment_ms)
    assert made.segment_frames == frames
    assert (frames - 1) * made.shift + made.window == segment_ms * 16


@pytest.mark.parametrize(("hop_ms", "hop"), [(10, 1), (20, 2), (30, 3), (1_000, 100)])
def test_a_frame_begins_every_10_ms(hop_ms: int, hop: int) -> None:
    assert feature_settings(hop_ms=hop_ms).segment_hop == hop


@pytest.mark.parametrize("segment_ms", [-335, 0, 205, 214, 216, 330, 340, 425])
def test_a_segment_that_is_no_whole_number_of_frames_or_too_long_or_short_is_refused(segment_ms: int) -> None:
    with pytest.raises(SettingError, match=rf"--segment-ms {segment_ms}: .*give one of 215, 225, \.\.\. 415"):
        feature_settings(segment_ms)


@pytest.mark.parametrize("hop_ms", [-10, 0, 5, 15, 100_010])
def test_a_hop_that_is_no_whole_number_of_frames_is_refused(hop_ms: int) -> None:
    with pytest.raises(SettingError, match=f"--hop-ms {hop_ms}: .*give 10, 20, 30, ... 100000"):
        feature_settings(hop_ms=hop_ms)


def test_all_settings_that_cannot_be_are_told_at_once() -> None:
    with pytest.raises(SettingError) as raised:
        feature_settings(330, 5, "else")
    assert [line.split(":")[0] for line in str(raised.value).splitlines()[1:]] == [
        "  - --segment-ms 330",
        "  - --hop-ms 5",
        "  - --framing else",
    ]


# Of a corpus


def test_casia_has_a_hop_of_30_ms_and_all_others_one_of_10() -> None:
    hops = {name: settings_for(name).segment_hop for name in (*CORPORA, "synthetic")}
    assert hops == {name: 3 if name == "casia" else 1 for name in hops}


def test_what_is_asked_for_goes_before_the_papers() -> None:
    made = settings_for("casia", segment_ms=215, hop_ms=10)
    assert (made.segment_frames, made.segment_hop) == (20, 1)


@pytest.mark.parametrize("corpus", [*(name for name in CORPORA if name != "savee"), "synthetic"])
def test_counted_frames_are_for_savee_only(corpus: str) -> None:
    with pytest.raises(SettingError, match=f"--framing counted is for savee only, not for {corpus}; give .*described"):
        settings_for(corpus, framing="counted")
    assert settings_for(corpus, framing="described") == settings_for(corpus)


# Counted frames


def test_counted_frames_are_those_of_44100_hz_with_an_fft_that_holds_them() -> None:
    made = settings_for("savee", framing="counted")
    assert (made.window, made.shift, made.fft) == (1102, 441, 2048)
    assert (made.sample_rate, made.segment_frames, made.segment_hop) == (16_000, 32, 1)


@given(lengths=st.lists(st.integers(SHORTEST, 10_000_000), max_size=480))
def test_counted_segments_are_the_formulas_for_any_list_of_lengths(lengths: list[int]) -> None:
    resampled = [-(-length * 160 // 441) for length in lengths]
    ours = sum(segment_count(frame_count(length, COUNTED), COUNTED) for length in resampled)
    assert ours == sum(map(counted_segments, lengths))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(samples=st.integers(SHORTEST, 90_000) | st.integers(SHORTEST // 441 + 1, 200).map(lambda n: 441 * n))
def test_a_file_at_44100_hz_has_the_formulas_segments(tmp_path: Path, samples: int) -> None:
    path = write_sound(tmp_path / "DC_a01.wav", noise(samples / 44_100, rate=44_100), 44_100)
    segments = cut_segments(LogMel(COUNTED)(read_audio(path, 16_000).samples), COUNTED)
    assert segments.shape == (counted_segments(samples), 32, 64)


def test_a_file_a_sample_shorter_than_a_counted_segment_has_none() -> None:
    assert counted_segments(SHORTEST) == 1
    assert segment_count(frame_count(-(-(SHORTEST - 1) * 160 // 441), COUNTED), COUNTED) == 0
