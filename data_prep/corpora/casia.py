"""The CASIA Chinese emotion corpus (§V)."""

import re
from pathlib import Path

from data_prep.corpora.utterances import Known, Utterance, read_names, wav_files
from data_prep.errors import CorpusError

CASIA_SPEAKERS = {name.lower(): name for name in ("liuchanhg", "wangzhe", "zhaoquanyin", "ZhaoZuoxiang")}
CASIA_SPEAKERS["liuchanghg"] = "liuchanhg"
CASIA_EMOTIONS = {
    "angry": "anger",
    "fear": "fear",
    "happy": "happiness",
    "neutral": "neutral",
    "sad": "sadness",
    "surprise": "surprise",
}
_PLAIN = re.ASCII | re.IGNORECASE
_SPEAKER, _EMOTION = "|".join(CASIA_SPEAKERS), "|".join(CASIA_EMOTIONS)
CASIA_NAMES = tuple(
    re.compile(pattern.format(speaker=rf"(?P<speaker>{_SPEAKER})", emotion=rf"(?P<emotion>{_EMOTION})"), _PLAIN)
    for pattern in (
        r"(?:^|/){speaker}/{emotion}/0*(?P<number>\d+)\Z",
        r"(?:^|/)0*(?P<number>\d+)-{emotion}-{speaker}\Z",
        r"(?:^|/){emotion}_{speaker}_0*(?P<number>\d+)\Z",
    )
)
# The 100 texts that differ from emotion to emotion lie in a folder of their own, 不同文本100 ("different texts"), and
# speakers are written with a dot there.
CASIA_DIFFERENT_TEXTS = re.compile(r"不同|different|Chang\.Liu|Zhe\.Wang|Quanyin\.Zhao|Zuoxiang\.Zhao", re.I)
CASIA_COUNTS = dict.fromkeys(CASIA_EMOTIONS.values(), 4 * 300)
CASIA = Known("CASIA", "liuchanhg/angry/201.wav", CASIA_COUNTS, speakers=4, even=True)


def read_casia(source: Path, allow_partial: bool = False) -> list[Utterance]:
    """CASIA's 300 texts that are the same for all emotions: `<speaker>/<emotion>/<number>.wav`.

    `source` is any folder above the speakers'. The other 100 texts, which the paper does not use, lie beside them in
    a folder of their own (`不同文本100/Chang.Liu/normal/1.wav`) and are left out. Names in one folder are
    read as well: `201-angry-liuchanhg.wav` and `Happy_liuchanhg_382.wav`. Speakers and emotions may be
    written in any case, and liuchanhg also liuchanghg; all ways of writing give the same utterances. The text is the
    number.

    All 7,200 must be there, 300 an emotion by each of four speakers, unless `allow_partial`: the public subset is
    1,200 of them, texts 201 to 250. Raises CorpusError otherwise.
    """
    files = wav_files("casia", source)
    used = [path for path in files if not CASIA_DIFFERENT_TEXTS.search(path.relative_to(source).as_posix())]
    if files and not used:
        raise CorpusError(
            f"casia: all {len(files)} files in {source} are of the 100 different texts, which the paper does not use; "
            "--source must name the folder of the 300 same texts, or the one above it"
        )
    return read_names("casia", source, casia_utterance, CASIA, allow_partial, used)


def casia_utterance(path: Path) -> Utterance | None:
    """What a file's name says; None where it is not one of the corpus."""
    matches = (pattern.search(path.absolute().with_suffix("").as_posix()) for pattern in CASIA_NAMES)
    match = next(filter(None, matches), None)
    if match is None:
        return None
    speaker = CASIA_SPEAKERS[match["speaker"].lower()]
    emotion = match["emotion"].lower()
    return Utterance(f"{speaker}_{emotion}_{match['number']}", path, speaker, match["number"], CASIA_EMOTIONS[emotion])
