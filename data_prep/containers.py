"""Containers of sound: whether all that a file promises is there, and the file as a decoder reads the whole of it.

Decoders pass in silence over a file that was cut off, and stumble over headers of encoders that wrote to a pipe or were
killed, and so could not say how long the sound became.
"""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from data_prep.errors import AudioError

W64_RIFF = re.escape(b"riff.\x91\xcf\x11\xa5\xd6(\xdb\x04\xc1\x00\x00")
# What encoders write that do not know the length: the largest a field holds, or that less a header, in whole blocks.
ENDLESS = 0x7F00_0008, 2**31, 2**32, 2**63
ENDLESS_LESS = 4_096
FLAC_FRAME = 1 << 17  # bytes, far more than one of speech has
MPEG_KBPS = {  # of layer III
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
MPEG_TAGS = b"TAG", b"APETAGEX", b"LYRICSBEGIN"
MPEG_HZ = 44_100, 48_000, 32_000  # of version 1; a half in version 2, a quarter in 2.5


@dataclass(frozen=True)
class Container:
    """A file as a decoder reads all of it.

    `states_length`: whether it says how long its sound is, so that it is known to be whole; `unread`: bytes of
    something unknown behind the sound, where they are many: a tenth of it and more.
    """

    content: bytes
    states_length: bool = True
    unread: int = 0


@dataclass(frozen=True)
class _Layout:
    """How a container writes the name and the size of a chunk."""

    header: str  # struct's
    align: int
    own: int = 0  # bytes of the header that a size counts

    @property
    def length(self) -> int:
        return struct.calcsize(self.header)


RIFF, RIFX, CAF, W64 = _Layout("<4sI", 2), _Layout(">4sI", 2), _Layout(">4sq", 1), _Layout("<16sq", 8, own=24)


@dataclass(frozen=True)
class _Sound:
    """Where the sound of a file begins, how many bytes of it are promised, and the field that says so."""

    begins: int
    promised: int
    field: int
    field_format: str
    own: int = 0


def read_container(content: bytes) -> Container:
    """`content` with the length of its sound where its header does not know it.

    Raises AudioError, without a path, for a file that ends before its sound does.
    """
    read = next((read for begins, read in CONTAINERS if re.match(begins, content, re.DOTALL)), _read_mp3)
    return read(content)


def _read_chunks(layout: _Layout, first: int, sound: bytes, content: bytes) -> Container:
    """A container of chunks from `first` on, one of which, whose name begins with `sound`, has the sound."""
    for position, name, size in _chunks(content, layout, first):
        if name.startswith(sound):
            size_format = layout.header[0] + layout.header[-1]
            field = position + layout.length - struct.calcsize(size_format)
            found = _Sound(position + layout.length, size, field, size_format, layout.own)
            return _measured(content, _of_rf64(content, found), layout)
    raise AudioError("truncated, it has no data chunk")


def _chunks(content: bytes, layout: _Layout, position: int) -> Iterator[tuple[int, bytes, int]]:
    """Where each chunk begins, its name, and the bytes it promises behind its header."""
    while position + layout.length <= len(content):
        name, size = struct.unpack_from(layout.header, content, position)
        yield position, name, size - layout.own
        position += layout.length + max(0, size - layout.own)
        position += -position % layout.align


def _are_chunks(content: bytes, layout: _Layout, position: int) -> bool:
    """Whether what is left from `position` on is chunks and nothing else."""
    end = position
    for begins, name, size in _chunks(content, layout, position):
        if size < 0 or not name[:4].isascii():
            return False
        end = begins + layout.length + size
    return 0 <= len(content) - end <= -end % layout.align


def _of_rf64(content: bytes, sound: _Sound) -> _Sound:
    """The length of an RF64's sound stands in its first chunk, where the sound's own has no room for it."""
    if content[:4] != b"RF64" or content[12:16] != b"ds64" or len(content) < 36:
        return sound
    if sound.promised != 2**32 - 1:
        return sound
    return _Sound(sound.begins, struct.unpack_from("<q", content, 28)[0], 28, "<q")


def _read_au(content: bytes) -> Container:
    order = ">" if content[:1] == b"." else "<"
    if len(content) < 24:
        raise AudioError("truncated, it has no data chunk")
    begins, promised = struct.unpack_from(f"{order}II", content, 4)
    return _measured(content, _Sound(begins, promised, 8, f"{order}I"))


def _measured(content: bytes, sound: _Sound, layout: _Layout | None = None) -> Container:
    """A container of which `sound` is known, with its length where only the file's end tells it.

    What is behind the sound and is no chunk is cut off: some decoders would take it for sound.
    """
    held = max(0, len(content) - sound.begins)
    empty = sound.promised == 0 and layout is not None and _are_chunks(content, layout, sound.begins)
    if held and _is_unknown(sound.promised) and not empty:
        known = struct.pack(sound.field_format, held + sound.own)
        return Container(content[: sound.field] + known + content[sound.field + len(known) :], states_length=False)
    _check_held(sound.promised, held)
    end = sound.begins + sound.promised
    if layout is not None and _are_chunks(content, layout, end + -end % layout.align):
        return Container(content)
    return _up_to(end, content)


def _up_to(end: int, content: bytes) -> Container:
    unread = len(content[end:].strip(b"\0"))
    return Container(content[:end], unread=unread if 10 * unread >= end else 0)


def _is_unknown(promised: int) -> bool:
    return promised <= 0 or any(most - ENDLESS_LESS <= promised <= most for most in ENDLESS)


def _check_held(promised: int, held: int) -> None:
    if promised > held:
        raise AudioError(f"truncated, its header promises {promised} bytes of sound and it holds {held}")


def _read_nist(content: bytes) -> Container:
    """Its header is text: `sample_count -i 16000`."""
    fields = {line[0]: line[2] for line in map(bytes.split, content[:1024].splitlines()) if len(line) == 3}
    try:
        begins = int(content[8:16])
        samples, width = int(fields.get(b"sample_count", b"0")), int(fields.get(b"sample_n_bytes", b"1"))
        promised = samples * width * int(fields.get(b"channel_count", b"1"))
    except ValueError:
        return Container(content, states_length=False)
    if promised <= 0 or b"," in fields.get(b"sample_coding", b""):  # compressed
        return Container(content, states_length=False)
    return _measured(content, _Sound(begins, promised, 0, ""))


def _read_ogg(content: bytes) -> Container:
    """Every stream ends with a page that says so."""
    position = 0
    unfinished: set[bytes] = set()
    while content.startswith(b"OggS", position):
        header = content[position : position + 27]
        lacing = content[position + 27 : position + 27 + header[-1]]
        end = position + 27 + len(lacing) + sum(lacing)
        if len(header) < 27 or len(lacing) < header[26] or end > len(content):
            raise AudioError(f"truncated, its last page ends after {end} bytes and it holds {len(content)}")
        serial, last = header[14:18], header[5] & 4
        (unfinished.discard if last else unfinished.add)(serial)
        position = end
    if unfinished:
        raise AudioError("truncated, its last page is not the end of its stream")
    return _up_to(position, content)


def _read_flac(content: bytes) -> Container:
    """A decoder finds one cut off where it says how many samples it has; from a pipe, it says 0."""
    if len(content) < 42 or int.from_bytes(content[21:26]) % 2**36:
        return Container(content)
    total = (content[21] << 32 | _flac_samples(content)).to_bytes(5)
    return Container(content[:21] + total + content[26:], states_length=False)


def _flac_samples(content: bytes) -> int:
    """The samples of a FLAC file, by its last frame. Raises AudioError where none ends with the file (RFC 9639, 9)."""
    position, least = len(content), max(42, len(content) - FLAC_FRAME)
    while (position := content.rfind(b"\xff", least, position)) >= 0:
        if content[position + 1 : position + 2] not in (b"\xf8", b"\xf9") or _crc16(content[position:]):
            continue
        code, lead = content[position + 2] >> 4, content[position + 4]
        own = (lead ^ 0xFF).bit_length()  # the number is coded as in UTF-8
        more, number = max(0, 7 - own), lead & (1 << own >> 1) - 1
        for byte in content[position + 5 : position + 5 + more]:
            number = number << 6 | byte & 0x3F
        behind = content[position + 5 + more :]
        sizes = {1: 192, 6: behind[0] + 1, 7: int.from_bytes(behind[:2]) + 1}
        block = sizes.get(code) or (576 << code - 2 if code < 6 else 256 << code - 8)
        fixed = content[position + 1] == 0xF8
        return number * (int.from_bytes(content[8:10]) if fixed else 1) + block
    raise AudioError("truncated, no frame ends where the file does")


def _crc16(content: bytes) -> int:
    """FLAC's, of polynomial 0x8005: 0 for a frame with its own checksum."""
    found = 0
    for byte in content:
        found = found << 8 & 0xFF00 ^ CRC16[found >> 8 ^ byte]
    return found


def _crc16_of(byte: int) -> int:
    found = byte << 8
    for _ in range(8):
        found = (found << 1 ^ (0x8005 if found & 0x8000 else 0)) & 0xFFFF
    return found


CRC16 = tuple(map(_crc16_of, range(256)))


def _read_mp3(content: bytes) -> Container:
    """Without a Xing frame that counts the others, decoders guess a length by the first frame; it gets one. Frames have
    no magic number: what has none is something else, whose length is not known."""
    first = 10 + sum(byte << 7 * place for place, byte in enumerate(content[9:5:-1])) if content[:3] == b"ID3" else 0
    frames, position = 0, first
    while (length := _mpeg_frame(content, position)) and position + length <= len(content):
        frames, position = frames + 1, position + length
    if length:
        raise AudioError(f"truncated, its last frame ends after {position + length} bytes and it holds {len(content)}")
    behind = content[position:].strip(b"\0")
    if not frames or (behind and not behind.startswith(MPEG_TAGS)):
        return Container(content, states_length=False)
    xing = first + 4 + _side_information(content, first)
    tag, flags = content[xing : xing + 4], int.from_bytes(content[xing + 4 : xing + 8])
    if tag in (b"Xing", b"Info"):
        if flags & 2:
            at = xing + 8 + 4 * (flags & 1)
            _check_held(int.from_bytes(content[at : at + 4]), len(content) - first)
        return Container(content, states_length=bool(flags & 2))
    if content[first + 36 : first + 40] == b"VBRI":
        _check_held(int.from_bytes(content[first + 46 : first + 50]), len(content) - first)
        return Container(content)
    header = bytes([content[first], content[first + 1] | 1, content[first + 2] & 0x0C | 0x80, content[first + 3]])
    counting = header + bytes(_side_information(content, first)) + b"Xing" + struct.pack(">II", 1, frames)
    counting = counting.ljust(_mpeg_frame(header, 0), b"\0")
    return Container(content[:first] + counting + content[first:], states_length=False)


def _mpeg_frame(content: bytes, position: int) -> int:
    """The length in bytes of the frame of layer III that begins at `position`; 0 where none does."""
    header = int.from_bytes(content[position : position + 4])
    version, layer, rate, hertz = header >> 19 & 3, header >> 17 & 3, header >> 12 & 15, header >> 10 & 3
    if header >> 21 != 0x7FF or version == 1 or layer != 1 or not 0 < rate < 15 or hertz == 3:
        return 0
    kbps = MPEG_KBPS[1 if version == 3 else 2][rate]
    slots = 144_000 if version == 3 else 72_000
    return slots * kbps // (MPEG_HZ[hertz] >> (3 - version + 1) // 2) + (header >> 9 & 1)


def _side_information(content: bytes, position: int) -> int:
    """Bytes between the header of the frame at `position` and its data."""
    mono = content[position + 3] >> 6 == 3
    return (17 if mono else 32) if content[position + 1] >> 3 & 3 == 3 else (9 if mono else 17)


CONTAINERS: tuple[tuple[bytes, Callable[[bytes], Container]], ...] = (  # by what a file begins with
    (rb"(RIFF|RF64).{4}WAVE", partial(_read_chunks, RIFF, 12, b"data")),
    (rb"RIFX.{4}WAVE", partial(_read_chunks, RIFX, 12, b"data")),
    (W64_RIFF, partial(_read_chunks, W64, 40, b"data")),
    (rb"FORM.{4}(AIFF|AIFC)", partial(_read_chunks, RIFX, 12, b"SSND")),
    (rb"FORM.{4}(8SVX|16SV)", partial(_read_chunks, RIFX, 12, b"BODY")),
    (rb"caff", partial(_read_chunks, CAF, 8, b"data")),
    (rb"\.snd|dns\.", _read_au),
    (rb"NIST_1A", _read_nist),
    (rb"OggS", _read_ogg),
    (rb"fLaC", _read_flac),
)
