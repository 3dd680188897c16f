"""Readers of the corpora with known file names: every layout, whole or in part, and what is refused."""

from collections import Counter
from pathlib import Path

import pytest

from data_prep.corpora import CORPORA, Utterance, read_corpus
from data_prep.errors import CorpusError
from tests.data_prep.corpus_trees import CASIA_EMOTIONS, TREES, casia_different, casia_same, plant

KNOWN = {name: corpus.known for name, corpus in CORPORA.items() if corpus.known}
SIZES = {  # utterances, speakers, and of each emotion
    "casia": (7_200, 4, {1_200}),
    "emodb": (535, 10, {127, 81, 46, 69, 71, 79, 62}),
    "savee": (480, 4, {60, 120}),
    "ravdess": (1_440, 24, {96, 192}),
    "cremad": (7_442, 91, {1_271, 1_087}),
    "tess": (2_800, 2, {400}),
}


def layouts(corpus: str) -> list[str]:
    return [layout for name, layout in TREES if name == corpus]


def read(corpus: str, folder: Path, allow_partial: bool = False) -> list[Utterance]:
    return CORPORA[corpus].read(folder, allow_partial)


def told(utterances: list[Utterance]) -> list[tuple[str, str, str, str]]:
    return sorted((u.id, u.speaker, u.text, u.emotion) for u in utterances)


@pytest.mark.parametrize(("corpus", "layout"), TREES, ids=lambda value: value)
def test_a_whole_corpus_is_read_in_every_layout(tmp_path: Path, corpus: str, layout: str) -> None:
    utterances, partial = read_corpus(corpus, plant(tmp_path, TREES[corpus, layout]))
    size, speakers, counts = SIZES[corpus]
    if corpus == "cremad":  # one of its files holds no sound
        size, counts = 7_441, {1_271, 1_270, 1_087}
    assert len(utterances) == len({u.id for u in utterances}) == size
    assert len({u.speaker for u in utterances}) == speakers
    assert set(Counter(u.emotion for u in utterances).values()) == counts
    assert not partial


@pytest.mark.parametrize("corpus", ["casia", "savee", "ravdess", "tess", "cremad"])
def test_all_layouts_of_a_corpus_give_the_same_utterances(tmp_path: Path, corpus: str) -> None:
    read_in = [told(read(corpus, plant(tmp_path / one, TREES[corpus, one]))) for one in layouts(corpus)]
    assert all(other == read_in[0] for other in read_in[1:])


@pytest.mark.parametrize("corpus", SIZES)
def test_what_is_known_of_a_corpus_sums_up(corpus: str) -> None:
    known = KNOWN[corpus]
    assert (known.utterances, known.speakers) == SIZES[corpus][:2]
    if known.each_speaker:
        assert known.emotions == {e: known.speakers * n for e, n in known.each_speaker.items()}


@pytest.mark.parametrize(
    ("corpus", "name", "expected"),
    [
        ("savee", "AudioData/DC/sa01.wav", ("DC_sa01", "DC", "sa01", "sadness")),
        ("savee", "JE/su15.wav", ("JE_su15", "JE", "su15", "surprise")),
        ("savee", "JK_a03.wav", ("JK_a03", "JK", "a03", "anger")),
        ("savee", "KL_n30.wav", ("KL_n30", "KL", "n30", "neutral")),
        ("savee", "DC/h07.WAV", ("DC_h07", "DC", "h07", "happiness")),
        ("casia", "liuchanhg/angry/201.wav", ("liuchanhg_angry_201", "liuchanhg", "201", "anger")),
        ("casia", "liuchanghg/Sad/250.wav", ("liuchanhg_sad_250", "liuchanhg", "250", "sadness")),
        ("casia", "201-angry-liuchanhg.wav", ("liuchanhg_angry_201", "liuchanhg", "201", "anger")),
        ("casia", "Happy_liuchanhg_382.wav", ("liuchanhg_happy_382", "liuchanhg", "382", "happiness")),
        ("casia", "zhaozuoxiang/surprise/1.wav", ("ZhaoZuoxiang_surprise_1", "ZhaoZuoxiang", "1", "surprise")),
        ("casia", "WANGZHE/neutral/7.wav", ("wangzhe_neutral_7", "wangzhe", "7", "neutral")),
        ("ravdess", "Actor_12/03-01-05-02-01-02-12.wav", ("03-01-05-02-01-02-12", "12", "01", "anger")),
        ("ravdess", "03-01-01-01-02-01-24.wav", ("03-01-01-01-02-01-24", "24", "02", "neutral")),
        ("ravdess", "03-01-02-01-02-01-01.wav", ("03-01-02-01-02-01-01", "01", "02", "calm")),
        ("cremad", "1001_DFA_ANG_XX.wav", ("1001_DFA_ANG_XX", "1001", "DFA", "anger")),
        ("cremad", "1040_ITH_SAD_X.wav", ("1040_ITH_SAD_XX", "1040", "ITH", "sadness")),
        ("cremad", "1091_IEO_HAP_LO.wav", ("1091_IEO_HAP_LO", "1091", "IEO", "happiness")),
        ("tess", "OAF_angry/OAF_back_angry.wav", ("OAF_back_angry", "OAF", "back", "anger")),
        ("tess", "YAF_pleasant_surprised/YAF_witch_ps.wav", ("YAF_witch_ps", "YAF", "witch", "surprise")),
        ("tess", "OAF_neutral/OA_bite_neutral.wav", ("OAF_bite_neutral", "OAF", "bite", "neutral")),
    ],
)
def test_a_name_tells_speaker_text_and_emotion(
    tmp_path: Path, corpus: str, name: str, expected: tuple[str, str, str, str]
) -> None:
    (utterance,) = read(corpus, plant(tmp_path, [name]), allow_partial=True)
    assert told([utterance]) == [expected]
    assert utterance.path == tmp_path / name


def test_names_are_read_below_a_relative_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, ["DC/sa01.wav", "liuchanhg/angry/201.wav"])
    monkeypatch.chdir(tmp_path / "DC")
    assert read("savee", Path(), allow_partial=True)[0].speaker == "DC"
    monkeypatch.chdir(tmp_path / "liuchanhg" / "angry")
    assert read("casia", Path(), allow_partial=True)[0].id == "liuchanhg_angry_201"


@pytest.mark.parametrize(
    ("corpus", "name"),
    [
        ("emodb", "03a01Xa.wav"),
        ("savee", "AudioData/DC/x01.wav"),
        ("savee", "AudioData/XY/a01.wav"),
        ("savee", "sa01.wav"),
        ("savee", "DC_a16.wav"),
        ("savee", "DC_n31.wav"),
        ("savee", "DC_a00.wav"),
        ("casia", "liuchanhg/bored/201.wav"),
        ("casia", "somebody/angry/201.wav"),
        ("casia", "201.wav"),
        ("ravdess", "03-02-05-02-01-02-12.wav"),
        ("ravdess", "01-01-05-02-01-02-12.wav"),
        ("ravdess", "03-01-01-02-01-02-12.wav"),
        ("ravdess", "03-01-09-02-01-02-12.wav"),
        ("ravdess", "03-01-05-02-01-02-25.wav"),
        ("cremad", "1000_DFA_ANG_XX.wav"),
        ("cremad", "1092_DFA_ANG_XX.wav"),
        ("cremad", "1001_ABC_ANG_XX.wav"),
        ("cremad", "1001_DFA_CAL_XX.wav"),
        ("tess", "MAF_back_angry.wav"),
        ("tess", "OAF_back_surprised.wav"),
    ],
)
@pytest.mark.parametrize("allow_partial", [False, True])
def test_a_foreign_name_is_refused_by_name(tmp_path: Path, corpus: str, name: str, allow_partial: bool) -> None:
    with pytest.raises(CorpusError) as raised:
        read(corpus, plant(tmp_path, [name]), allow_partial)
    first, *names = str(raised.value).splitlines()
    assert first.startswith(f"{corpus}: 1 foreign file name in {tmp_path} (")
    assert "move these files away" in first
    assert names == [f"  - {name}"]


@pytest.mark.parametrize("corpus", SIZES)
def test_a_missing_file_is_told_by_what_it_is_missing_from(tmp_path: Path, corpus: str) -> None:
    tree = TREES[corpus, layouts(corpus)[0]]
    plant(tmp_path, tree[1:])
    size = SIZES[corpus][0]
    refusal = f"{corpus}: {size - 1:,} utterances in .*, expected {size:,}; .*--allow-partial"
    with pytest.raises(CorpusError, match=refusal) as raised:
        read_corpus(corpus, tmp_path)
    utterances, lacking = read_corpus(corpus, tmp_path, allow_partial=True)
    assert len(utterances) == (size - 2 if corpus == "cremad" else size - 1)
    assert lacking == raised.value.problems != ()


def test_speaker_and_emotion_of_what_is_missing_are_told(tmp_path: Path) -> None:
    plant(tmp_path, [name for name in TREES["savee", "flat"] if name != "JK_su04.wav"])
    with pytest.raises(CorpusError) as raised:
        read_corpus("savee", tmp_path)
    assert str(raised.value).splitlines()[1:] == [
        "  - surprise: 59 utterances, expected 60",
        "  - speaker JK, surprise: 14 utterances, expected 15",
    ]


def test_a_missing_speaker_is_told(tmp_path: Path) -> None:
    plant(tmp_path, [name for name in TREES["tess", "flat"] if name.startswith("YAF")])
    with pytest.raises(CorpusError, match="1 speaker, expected 2"):
        read_corpus("tess", tmp_path)


@pytest.mark.parametrize("corpus", SIZES)
def test_a_whole_corpus_is_not_a_part_even_where_a_part_is_allowed(tmp_path: Path, corpus: str) -> None:
    plant(tmp_path, TREES[corpus, layouts(corpus)[0]])
    assert read_corpus(corpus, tmp_path, allow_partial=True)[1] == ()


def test_a_manifest_is_a_part_where_files_were_left_out(tmp_path: Path) -> None:
    plant(tmp_path, ["1.wav", "2.wav"])
    (tmp_path / "m.csv").write_text("path,emotion,speaker\n1.wav,anger,a\n2.wav,joy,a\n")
    assert read_corpus("manifest", tmp_path / "m.csv", allow_partial=True)[1] == ()
    (tmp_path / "2.wav").unlink()
    assert read_corpus("manifest", tmp_path / "m.csv", allow_partial=True)[1] == (f"line 3: no file {tmp_path}/2.wav",)


@pytest.mark.parametrize("allow_partial", [False, True])
def test_more_than_a_corpus_holds_is_another_corpus(tmp_path: Path, allow_partial: bool) -> None:
    plant(tmp_path, [*TREES["emodb", "flat"], "16b10Wz.wav"])
    with pytest.raises(CorpusError, match=r"(?s)536 utterances in .*, expected 535; take away .*anger: 128 utterances"):
        read_corpus("emodb", tmp_path, allow_partial)


@pytest.mark.parametrize("corpus", ["tess", "savee"])
def test_two_copies_of_a_corpus_are_refused_with_both_places(tmp_path: Path, corpus: str) -> None:
    tree = TREES[corpus, "flat"]
    plant(tmp_path, tree)
    plant(tmp_path / "again", tree)
    with pytest.raises(CorpusError, match=f"{len(tree):,} utterances more than once in .*one copy") as raised:
        read_corpus(corpus, tmp_path, allow_partial=True)
    assert f"{tree[0]} and again/{tree[0]}" in str(raised.value)


@pytest.mark.parametrize("corpus", SIZES)
def test_a_folder_without_wav_files_is_refused_with_what_it_should_hold(tmp_path: Path, corpus: str) -> None:
    with pytest.raises(CorpusError, match=rf"{corpus}: no .wav files in .*--source must name the folder that holds \w"):
        read_corpus(corpus, tmp_path, allow_partial=True)
    with pytest.raises(CorpusError, match=f"{corpus}: source .*nowhere does not exist"):
        read_corpus(corpus, tmp_path / "nowhere")


def test_the_file_of_cremad_that_holds_no_sound_is_left_out(tmp_path: Path) -> None:
    assert "1076_MTI_SAD_XX.wav" in TREES["cremad", "flat"]
    plant(tmp_path, TREES["cremad", "flat"])
    assert "1076_MTI_SAD_XX" not in {u.id for u in read("cremad", tmp_path)}


def test_hidden_files_of_archivers_do_not_matter(tmp_path: Path) -> None:
    plant(tmp_path, [*TREES["savee", "flat"], "._DC_a01.wav", "__MACOSX/DC_a01.wav", "Info.txt"])
    assert len(read_corpus("savee", tmp_path)[0]) == 480


# CASIA's two sets of texts


def test_the_100_different_texts_are_left_out(tmp_path: Path) -> None:
    plant(tmp_path, TREES["casia", "full"])
    assert len(casia_different()) == 2_400
    assert not any("不同" in str(u.path) for u in read("casia", tmp_path))


def test_the_100_different_texts_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"all 2400 files in .* are of the 100 different texts"):
        read("casia", plant(tmp_path, casia_different()), allow_partial=True)


@pytest.mark.parametrize("layout", ["{speaker}/{emotion}/{number}.wav", "{number}-{emotion}-{speaker}.wav"])
def test_the_public_subset_is_a_part_of_1200(tmp_path: Path, layout: str) -> None:
    plant(tmp_path, casia_same(layout, range(201, 251)))
    with pytest.raises(CorpusError, match=r"casia: 1,200 utterances in .*, expected 7,200; .*--allow-partial"):
        read_corpus("casia", tmp_path)
    utterances, partial = read_corpus("casia", tmp_path, allow_partial=True)
    assert partial
    assert len({u.text for u in utterances}) == 50
    assert Counter(u.emotion for u in utterances) == dict.fromkeys(
        ("anger", "fear", "happiness", "neutral", "sadness", "surprise"), 200
    )
    assert len(CASIA_EMOTIONS) == 6
