"""Every container: a file that was cut off is told from a whole one, and a length that is not known is found."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_prep.audio import read_audio
from data_prep.containers import read_container
from data_prep.errors import AudioError
from tests.data_prep.corpus_files import RATE, format_chunk, noise, riff, write_sound

CONTAINERS = {
    "wav": ("WAV", "PCM_16", "FILE"),
    "wav, extensible": ("WAVEX", "PCM_16", "FILE"),
    "wav, mu-law": ("WAV", "ULAW", "FILE"),
    "wav, ADPCM": ("WAV", "IMA_ADPCM", "FILE"),
    "wav, GSM": ("WAV", "GSM610", "FILE"),
    "RIFX": ("WAV", "PCM_16", "BIG"),
    "RF64": ("RF64", "PCM_16", "FILE"),
    "W64": ("W64", "PCM_16", "FILE"),
    "AIFF": ("AIFF", "PCM_16", "FILE"),
    "AIFC": ("AIFF", "ULAW", "FILE"),
    "SVX": ("SVX", "PCM_16", "FILE"),
    "AU": ("AU", "PCM_16", "FILE"),
    "AU, little endian": ("AU", "PCM_16", "LITTLE"),
    "AU, G.721": ("AU", "G721_32", "FILE"),
    "CAF": ("CAF", "PCM_16", "FILE"),
    "CAF, ALAC": ("CAF", "ALAC_16", "FILE"),
    "NIST": ("NIST", "PCM_16", "FILE"),
    "NIST, mu-law": ("NIST", "ULAW", "FILE"),
    "FLAC": ("FLAC", "PCM_16", "FILE"),
    "Ogg Vorbis": ("OGG", "VORBIS", "FILE"),
    "Ogg Opus": ("OGG", "OPUS", "FILE"),
    "MP3": ("MP3", "MPEG_LAYER_III", "FILE"),
}
NOT_BYTES = {"FLAC", "MP3"}  # whose decoders find the end of the sound themselves


def written(container: str, seconds: float = 1.0, rate: int = RATE) -> bytes:
    """A second of noise in one of CONTAINERS."""
    format, subtype, endian = CONTAINERS[container]
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(seconds, rate=rate), rate, format=format, subtype=subtype, endian=endian)
    return buffer.getvalue()


def read(folder: Path, content: bytes) -> np.ndarray:
    (folder / "a").write_bytes(content)
    return read_audio(folder / "a", RATE).samples


def remarks(folder: Path, content: bytes) -> list[str]:
    (folder / "a").write_bytes(content)
    return [remark.detail for remark in read_audio(folder / "a", RATE).remarks]


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_whole_file_is_read_without_a_remark(tmp_path: Path, container: str) -> None:
    content = written(container)
    assert RATE <= len(read(tmp_path, content)) < 1.03 * RATE  # codecs fill their last block
    assert remarks(tmp_path, content) == []


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("kept", [0.25, 0.5, 0.93, 0.999])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, container: str, kept: float) -> None:
    content = written(container)
    with pytest.raises(AudioError, match=rf"^{tmp_path}/a: (truncated, its|.*flac decoder lost sync)"):
        read(tmp_path, content[: int(kept * len(content))])


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_last_byte_may_not_miss(tmp_path: Path, container: str) -> None:
    with pytest.raises(AudioError, match=r"truncated, its|flac decoder lost sync"):
        read(tmp_path, written(container)[:-1])


@pytest.mark.parametrize("container", CONTAINERS)
def test_bytes_behind_the_sound_are_no_sound(tmp_path: Path, container: str) -> None:
    content = written(container)
    np.testing.assert_array_equal(read(tmp_path, content + bytes(3)), read(tmp_path, content))
    behind = b"more " * len(content)
    np.testing.assert_array_equal(read(tmp_path, content + behind), read(tmp_path, content))
    if container not in NOT_BYTES:
        assert remarks(tmp_path, content + behind) == [f"{len(behind)} bytes behind its sound were not read"]


@pytest.mark.parametrize("container", ["Ogg Vorbis", "Ogg Opus"])
def test_an_ogg_file_that_ends_between_two_pages_is_refused(tmp_path: Path, container: str) -> None:
    content = written(container, seconds=4.0)
    with pytest.raises(AudioError, match="truncated, its last page is not the end of its stream"):
        read(tmp_path, content[: content.rfind(b"OggS")])


# Lengths that are not known

SIZES = {  # where each container says how long its sound is: behind these bytes, so many further on
    "wav": (b"data", 4, "<I"),
    "wav, mu-law": (b"data", 4, "<I"),
    "wav, GSM": (b"data", 4, "<I"),
    "RIFX": (b"data", 4, ">I"),
    "RF64": (b"ds64", 16, "<q"),
    "W64": (b"data", 16, "<q"),
    "AIFF": (b"SSND", 4, ">I"),
    "SVX": (b"BODY", 4, ">I"),
    "AU": (b".snd", 8, ">I"),
    "AU, little endian": (b"dns.", 8, "<I"),
    "CAF": (b"data", 4, ">q"),
}
UNKNOWN = (0, -1, 0x7FFFF000, 0x7FFFFFFF, 0x7FFFFF00, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFF - 36)


def with_size(container: str, size: int) -> bytes:
    """A file with `size` where it says how long its sound is."""
    name, further, layout = SIZES[container]
    content = bytearray(written(container))
    bits = 8 * struct.calcsize(layout)
    size = size % 2**bits if layout.endswith("I") else size
    struct.pack_into(layout, content, content.index(name) + further, size)
    return bytes(content)


@pytest.mark.parametrize("size", UNKNOWN)
@pytest.mark.parametrize("container", SIZES)
def test_a_header_that_does_not_know_the_length_is_read_to_the_end(tmp_path: Path, container: str, size: int) -> None:
    if container == "W64" and size == 0x7FFFF000:
        size += 24  # it counts the header
    content = with_size(container, size)
    np.testing.assert_array_equal(read(tmp_path, content), read(tmp_path, written(container)))
    assert remarks(tmp_path, content) == ["its header does not say how long it is: it was read to its end"]


def test_a_writer_that_was_killed_leaves_a_file_that_is_read_to_its_end(tmp_path: Path) -> None:
    sound = np.arange(1, 10_000, dtype="<i2").tobytes()
    for of_riff in (0, 36, 2**32 - 1):
        content = bytearray(riff(format_chunk(), (b"data", b"")) + sound)
        struct.pack_into("<I", content, 4, of_riff)
        np.testing.assert_array_equal(read(tmp_path, bytes(content)) * 32768, np.frombuffer(sound, "<i2"))


def test_chunks_behind_a_sound_of_no_samples_are_no_sound(tmp_path: Path) -> None:
    content = riff(format_chunk(), (b"data", b""), (b"LIST", b"INFOIART\x05\0\0\0Anna\0\0"), (b"note", b"x" * 31))
    with pytest.raises(AudioError, match="the file holds no samples"):
        read(tmp_path, content)


@pytest.mark.parametrize("count", [b"sample_count -i 0    \n", b"sample_counts -i 9999\n"])
def test_a_nist_file_without_a_count_is_read_to_its_end(tmp_path: Path, count: bytes) -> None:
    content = written("NIST").replace(b"sample_count -i 16000\n", count)
    assert len(read(tmp_path, content)) == RATE
    assert remarks(tmp_path, content) == ["its header does not say how long it is: it was read to its end"]


def flac_from_a_pipe(seconds: float, channels: int = 1) -> bytes:
    buffer = io.BytesIO()
    samples = np.stack([noise(seconds, seed) for seed in range(channels)], axis=1)
    soundfile.write(buffer, samples, RATE, format="FLAC", subtype="PCM_16")
    content = bytearray(buffer.getvalue())
    content[21] &= 0xF0
    content[22:42] = bytes(20)  # neither a length nor an MD5 of the sound
    return bytes(content)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("seconds", [0.1, 1.0, 36.0])
def test_a_flac_file_from_a_pipe_is_read_to_its_end(tmp_path: Path, seconds: float, channels: int) -> None:
    content = flac_from_a_pipe(seconds, channels)
    whole = np.stack([noise(seconds, seed) for seed in range(channels)], axis=1).mean(axis=1)
    np.testing.assert_allclose(read(tmp_path, content), whole, rtol=0, atol=2**-14)
    assert remarks(tmp_path, content) == ["its header does not say how long it is: it was read to its end"]


@pytest.mark.parametrize("kept", [0.5, 0.9999])
def test_a_flac_file_from_a_pipe_that_was_cut_off_is_refused(tmp_path: Path, kept: float) -> None:
    content = flac_from_a_pipe(2.0)
    with pytest.raises(AudioError, match="truncated, no frame ends where the file does"):
        read(tmp_path, content[: int(kept * len(content))])


def mp3_without_count(rate: int) -> bytes:
    """Without its first frame, which counts the others."""
    content = written("MP3", seconds=1.0, rate=rate)
    return content[content.index(content[:2], 2) :]


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_an_mp3_file_that_does_not_count_its_frames_is_read_to_its_end(tmp_path: Path, rate: int) -> None:
    """Of such a file a decoder guesses the length by its first frame, and leaves out what is behind that."""
    content = mp3_without_count(rate)
    samples = read(tmp_path, content)
    assert RATE <= len(samples) < 1.3 * RATE  # a decoder's delay is not known
    counted = read(tmp_path, written("MP3", seconds=1.0, rate=rate))
    delay = int(np.correlate(samples, counted[: RATE // 2]).argmax())
    assert np.corrcoef(samples[delay : delay + RATE], counted[: len(samples) - delay])[0, 1] > 0.9
    assert remarks(tmp_path, content) == ["its header does not say how long it is: it was read to its end"]
    with pytest.raises(AudioError, match="truncated, its last frame ends after"):
        read(tmp_path, content[:-10])


def test_tags_around_an_mp3_file_do_not_matter(tmp_path: Path) -> None:
    content = written("MP3")
    tagged = b"ID3\x04\0\0\0\0\x01\x0a" + bytes(138) + content + b"TAG" + b"x" * 125
    np.testing.assert_array_equal(read(tmp_path, tagged), read(tmp_path, content))
    with pytest.raises(AudioError, match="truncated"):
        read(tmp_path, tagged[: len(tagged) // 2])


@pytest.mark.parametrize("format", ["VOC", "AVR", "IRCAM", "PVF", "MAT5", "PAF", "WVE"])
def test_what_no_length_is_known_of_is_remarked(tmp_path: Path, format: str) -> None:
    subtype = "ALAW" if format == "WVE" else "PCM_16"
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(1.0, rate=8_000), 8_000, format=format, subtype=subtype)
    for content in (buffer.getvalue(), buffer.getvalue()[:-4_000]):
        assert remarks(tmp_path, content) == ["its header does not say how long it is: it was read to its end"]


def test_a_file_that_is_read_as_it_is_is_not_copied() -> None:
    content = written("wav")
    assert read_container(content).content is content


def test_other_chunks_before_and_behind_the_sound_of_an_aiff_file_are_kept(tmp_path: Path) -> None:
    content = written("AIFF")
    common = content.index(b"COMM")
    chunk, rest = content[common : common + 26], content[12:common] + content[common + 26 :]
    body = b"AIFF" + rest + chunk  # the rate stands behind the sound
    np.testing.assert_array_equal(
        read(tmp_path, struct.pack(">4sI", b"FORM", len(body)) + body), read(tmp_path, content)
    )


def test_a_path_stands_before_what_is_wrong_once(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.aiff", noise(1.0))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(AudioError) as raised:
        read_audio(path, RATE)
    assert str(raised.value).count(str(path)) == 1
