"""Whole corpora as paths of files, in every layout they are known to come in."""

from collections.abc import Iterable
from itertools import islice, product
from pathlib import Path

from tests.data_prep.corpus_files import emodb_names, noise, write_sound

SAVEE_SPEAKERS = ("DC", "JE", "JK", "KL")
SAVEE_CODES = {"a": 15, "d": 15, "f": 15, "h": 15, "n": 30, "sa": 15, "su": 15}
CASIA_SPEAKERS = ("liuchanhg", "wangzhe", "zhaoquanyin", "ZhaoZuoxiang")
CASIA_EMOTIONS = ("angry", "fear", "happy", "neutral", "sad", "surprise")
CASIA_DOTTED = ("Chang.Liu", "Zhe.Wang", "Quanyin.Zhao", "Zuoxiang.Zhao")
TESS_FOLDERS = {  # as in the corpus, where the two speakers' are not written alike
    "angry": ("OAF_angry", "YAF_angry"),
    "disgust": ("OAF_disgust", "YAF_disgust"),
    "fear": ("OAF_Fear", "YAF_fear"),
    "happy": ("OAF_happy", "YAF_happy"),
    "neutral": ("OAF_neutral", "YAF_neutral"),
    "ps": ("OAF_Pleasant_surprise", "YAF_pleasant_surprised"),
    "sad": ("OAF_Sad", "YAF_sad"),
}
WORDS = tuple(f"{a}{b}{c}" for a, b, c in islice(product("bcdfglmnprstw", "aeiou", "bdgkn"), 200))
SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")
CREMAD_CODES = {"ANG": 1_271, "DIS": 1_271, "FEA": 1_271, "HAP": 1_271, "SAD": 1_271, "NEU": 1_087}


def savee_sentences() -> Iterable[tuple[str, str]]:
    """Speaker and sentence, such as sa01."""
    for speaker, (code, count) in product(SAVEE_SPEAKERS, SAVEE_CODES.items()):
        yield from ((speaker, f"{code}{number:02d}") for number in range(1, count + 1))


def casia_same(layout: str, numbers: Iterable[int] = range(201, 501)) -> list[str]:
    every = product(CASIA_SPEAKERS, CASIA_EMOTIONS, numbers)
    return [
        layout.format(speaker=speaker, emotion=emotion, Emotion=emotion.capitalize(), number=number)
        for speaker, emotion, number in every
    ]


def casia_different() -> list[str]:
    emotions = [emotion.replace("neutral", "normal") for emotion in CASIA_EMOTIONS]
    return [f"不同文本100/{s}/{e}/{n}.wav" for s, e, n in product(CASIA_DOTTED, emotions, range(1, 101))]


def ravdess_names() -> list[str]:
    numbers = product(range(1, 25), range(1, 9), (1, 2), (1, 2), (1, 2))
    return [
        f"Actor_{actor:02d}/03-01-{emotion:02d}-{strength:02d}-{text:02d}-{take:02d}-{actor:02d}.wav"
        for actor, emotion, strength, text, take in numbers
        if (emotion, strength) != (1, 2)
    ]


def cremad_names() -> list[str]:
    """As many of every emotion as there are, of all actors; the levels do not matter but for the odd one."""
    names = []
    for code, count in CREMAD_CODES.items():
        every = product(("XX", "HI"), SENTENCES, range(1_001, 1_092))
        names += [f"{actor}_{sentence}_{code}_{level}.wav" for level, sentence, actor in islice(every, count)]
    return [name.replace("1040_ITH_SAD_XX", "1040_ITH_SAD_X") for name in names]


def tess_names() -> list[str]:
    names = []
    for emotion, folders in TESS_FOLDERS.items():
        for speaker, folder in zip(("OAF", "YAF"), folders, strict=True):
            names += [f"{folder}/{speaker}_{word}_{emotion}.wav" for word in WORDS]
    return [name.replace(f"OAF_{WORDS[0]}_neutral", f"OA_{WORDS[0]}_neutral") for name in names]


# Corpus, layout -> every file of the corpus, below the folder that --source names.
TREES: dict[tuple[str, str], list[str]] = {
    ("emodb", "flat"): emodb_names(),
    ("emodb", "wav"): [f"wav/{name}" for name in emodb_names()],
    ("emodb", "archive"): [f"emodb/wav/{name}" for name in emodb_names()],
    ("savee", "nested"): [f"AudioData/{speaker}/{text}.wav" for speaker, text in savee_sentences()],
    ("savee", "speakers"): [f"{speaker}/{text}.wav" for speaker, text in savee_sentences()],
    ("savee", "flat"): [f"{speaker}_{text}.wav" for speaker, text in savee_sentences()],
    ("casia", "full"): casia_same("相同文本300/{speaker}/{emotion}/{number}.wav") + casia_different(),
    ("casia", "same"): casia_same("{speaker}/{emotion}/{number}.wav"),
    ("casia", "dashes"): casia_same("{number}-{emotion}-{speaker}.wav"),
    ("casia", "underscores"): casia_same("CASIA/{Emotion}_{speaker}_{number}.wav"),
    ("ravdess", "actors"): ravdess_names(),
    ("ravdess", "flat"): [name.partition("/")[2] for name in ravdess_names()],
    ("cremad", "flat"): cremad_names(),
    ("cremad", "repository"): [f"AudioWAV/{name}" for name in cremad_names()],
    ("tess", "classes"): tess_names(),
    ("tess", "flat"): [name.partition("/")[2] for name in tess_names()],
}


def plant(folder: Path, names: Iterable[str]) -> Path:
    """A folder of empty files called `names`."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def plant_sounds(folder: Path, names: Iterable[str], rate: int, seconds: float = 0.5) -> Path:
    """A folder of files called `names`, of noise that differs from one to the next."""
    for seed, name in enumerate(names):
        write_sound(folder / name, noise(seconds, seed, rate), rate)
    return folder
