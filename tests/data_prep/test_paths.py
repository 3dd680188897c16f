"""Files are found however their paths are written, ids do not tell where they lie, and what is left out is told."""

import os
from pathlib import Path

import pytest

from data_prep.corpora import read_corpus, read_emodb, read_manifest
from data_prep.errors import CorpusError
from data_prep.features import FeatureSettings
from data_prep.prepare import prepare
from ser_sweep.cli import main
from tests.data_prep.corpus_files import emodb_names, noise, write_emodb, write_manifest, write_sound
from tests.data_prep.corpus_trees import TREES, plant


def ids(manifest: Path, allow_partial: bool = False) -> list[str]:
    return [utterance.id for utterance in read_manifest(manifest, allow_partial)]


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """A folder with wav/u0.wav ... wav/u3.wav."""
    for n in range(4):
        write_sound(tmp_path / "sounds" / "wav" / f"u{n}.wav", noise(1, n))
    return tmp_path / "sounds"


# Slashes


@pytest.mark.parametrize("allow_partial", [False, True])
def test_backslashes_are_slashes_also_in_half_a_manifest(sounds: Path, allow_partial: bool) -> None:
    lines = [f"wav{slash}u{n}.wav,anger,anna" for n, slash in enumerate("/\\/\\")]
    assert ids(write_manifest(sounds, *lines), allow_partial) == [f"wav/u{n}" for n in range(4)]


def test_a_backslash_in_a_files_own_name_is_one(tmp_path: Path) -> None:
    write_emodb(tmp_path / "x", ["a\\1.wav"])
    (said,) = read_manifest(write_manifest(tmp_path / "x", "a\\1.wav,anger,anna"))
    assert (said.id, said.path.name) == ("a\\1", "a\\1.wav")


@pytest.mark.parametrize("path", ["..\\sounds\\wav\\u0.wav", "wav\\..\\..\\sounds\\wav/u0.wav"])
def test_backslashes_do_not_lead_out(sounds: Path, path: str) -> None:
    with pytest.raises(CorpusError, match="leads out of"):
        read_manifest(write_manifest(sounds, f"{path},anger,anna"))


# Other writings of a name


@pytest.mark.parametrize(
    ("written", "on_disk"),
    [
        ("t\u00f6ne/\u00e9.wav", "to\u0308ne/e\u0301.wav"),
        ("to\u0308ne/e\u0301.wav", "t\u00f6ne/\u00e9.wav"),
        ("wav\u200b/1\ufeff.wav", "wav/1.wav"),
        ("a b/1.wav", "a\u00a0b/1.wav"),
        ("to\u0308ne\\1.wav", "t\u00f6ne/1.wav"),
    ],
    ids=ascii,
)
def test_a_file_is_found_whose_name_is_the_same_text(tmp_path: Path, written: str, on_disk: str) -> None:
    path = tmp_path / on_disk
    path.parent.mkdir()
    path.touch()
    (said,) = read_manifest(write_manifest(tmp_path, f"{written},anger,anna"))
    assert said.path == path
    assert said.id in ("t\u00f6ne/\u00e9", "wav/1", "a b/1", "t\u00f6ne/1")


def test_of_two_files_with_the_same_text_as_a_name_the_one_that_is_written_is_meant(tmp_path: Path) -> None:
    for name in ("\u00e9.wav", "e\u0301.wav"):
        (tmp_path / name).touch()
    for name in ("\u00e9.wav", "e\u0301.wav"):
        assert read_manifest(write_manifest(tmp_path, f"{name},anger,anna"))[0].path.name == name
    with pytest.raises(CorpusError, match="no file"):
        read_manifest(write_manifest(tmp_path, "\u200b\u00e9.wav,anger,anna"))


def test_a_file_with_nearly_the_name_is_told(sounds: Path) -> None:
    with pytest.raises(CorpusError, match=f"line 2: no file {sounds}/wav/U0.WAV; there is {sounds}/wav/u0.wav"):
        read_manifest(write_manifest(sounds, "wav/U0.WAV,anger,anna"))


# Absolute paths


def test_ids_do_not_tell_where_absolute_paths_lead(sounds: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "read" / "only"
    elsewhere.mkdir(parents=True)
    (sounds / "more").mkdir()
    (sounds / "wav" / "u3.wav").rename(sounds / "more" / "u3.wav")
    files = [*(f"wav/u{n}.wav" for n in range(3)), "more/u3.wav"]
    names = set()
    for number, place in enumerate([sounds, elsewhere]):
        if place == elsewhere:
            for folder in ("wav", "more"):
                (sounds / folder).rename(elsewhere / folder)
        manifests = tmp_path / f"manifests{number}"
        lines = [f"{place / path},{['anger', 'joy'][n % 2]},anna" for n, path in enumerate(files)]
        said = read_manifest(write_manifest(manifests, *lines))
        assert [one.id for one in said] == ["wav/u0", "wav/u1", "wav/u2", "more/u3"]
        assert [one.path for one in said] == [place / path for path in files]
        names.add(prepare("mine", said, tmp_path / "data", inline=True).corpus.name)
    assert len(names) == 1


def test_an_id_beside_an_absolute_path_is_kept_and_relative_paths_keep_theirs(sounds: Path, tmp_path: Path) -> None:
    lines = [f"{sounds}/wav/u0.wav,anger,anna,first", "wav/u1.wav,anger,anna,", f"{sounds}/wav/u2.wav,anger,anna,"]
    assert ids(write_manifest(sounds, *lines, header="path,emotion,speaker,id")) == ["first", "wav/u1", "u2"]


def test_lines_that_are_left_out_do_not_change_the_ids_of_others(sounds: Path) -> None:
    lines = [f"{sounds}/{path},anger,anna" for path in ("wav/u0.wav", "wav/u1.wav", "more/u9.wav")]
    assert ids(write_manifest(sounds, *lines), allow_partial=True) == ["wav/u0", "wav/u1"]


# What is left out


def test_lines_that_are_left_out_are_told_with_their_number(sounds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"wav/u{n}.wav,{['anger', 'joy'][n % 2]},anna" for n in range(4)] + ["wav/v0.wav,joy,anna"] * 30
    place = ["--source", str(write_manifest(sounds, *lines)), "--out", str(sounds / "data"), "--inline"]
    assert main(["prepare", "manifest", *place, "--allow-partial"]) == 0
    told = capsys.readouterr().out
    assert "manifest is only a part of the corpus" in told
    assert f"left out or missing, 30 in total:\n  - line 6: no file {sounds}/wav/v0.wav\n" in told
    assert "  … and 10 more" in told


def test_what_a_known_corpus_lacks_is_told(tmp_path: Path) -> None:
    plant(tmp_path, TREES["savee", "flat"][1:])
    utterances, lacking = read_corpus("savee", tmp_path, allow_partial=True)
    assert len(utterances) == 479
    assert len(lacking) == 2
    assert "utterances, expected" in lacking[0]


# Links


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    names = emodb_names()
    write_emodb(tmp_path / "disk1", names[:300])
    write_emodb(tmp_path / "disk2", names[300:])
    (tmp_path / "corpus").mkdir()
    for name in ("disk1", "disk2"):
        (tmp_path / "corpus" / name).symlink_to(tmp_path / name)
    (tmp_path / "link").symlink_to("corpus")
    assert len(read_emodb(tmp_path / "corpus")) == len(read_emodb(tmp_path / "link")) == 535


def test_links_in_a_circle_and_to_what_is_there_anyway_read_each_file_once(tmp_path: Path) -> None:
    folder = write_emodb(tmp_path / "corpus" / "wav", emodb_names())
    (folder / "again").symlink_to(folder)
    (folder / "up").symlink_to(tmp_path / "corpus")
    (tmp_path / "corpus" / "all").symlink_to("wav")
    (tmp_path / "corpus" / "a").symlink_to("b")
    (tmp_path / "corpus" / "b").symlink_to("wav")
    utterances = read_emodb(tmp_path / "corpus")
    assert [one.path for one in utterances] == [folder / name for name in emodb_names()]


@pytest.mark.parametrize("allow_partial", [False, True])
@pytest.mark.parametrize("name", ["Actor_05", "03a01Wa.wav"])
def test_links_that_lead_nowhere_are_told(tmp_path: Path, name: str, allow_partial: bool) -> None:
    folder = write_emodb(tmp_path / "wav", [one for one in emodb_names() if one != name])
    (folder / name).symlink_to(tmp_path / "not mounted")
    (folder / ".#lock").symlink_to("anna@host.1")
    with pytest.raises(CorpusError, match=f"(?s)1 broken link in {folder}; mount .*  - {name}$"):
        read_emodb(folder, allow_partial)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_folder_that_is_closed_is_told(tmp_path: Path) -> None:
    folder = write_emodb(tmp_path / "wav" / "closed", emodb_names())
    folder.chmod(0)
    try:
        with pytest.raises(PermissionError):
            read_emodb(tmp_path / "wav", allow_partial=True)
    finally:
        folder.chmod(0o700)


# Names of known corpora's files


@pytest.mark.parametrize(
    ("corpus", "name"),
    [
        ("emodb", "\uff10\uff13a01Wa.wav"),
        ("emodb", "03a01Wa\n.wav"),
        ("savee", "DC_sa\u0660\u0661.wav"),
        ("ravdess", "03-01-05-02-01-02-1\u0662.wav"),
        ("cremad", "10\uff10\uff11_DFA_ANG_XX.wav"),
        ("tess", "OAF_bac\u212a_angry.wav"),
        ("tess", "OAF_back_\u017fad.wav"),
        ("casia", "liuchanhg/angry/\uff12\uff10\uff11.wav"),
    ],
    ids=ascii,
)
def test_digits_and_letters_that_only_look_like_a_corpuss_own_are_foreign(
    tmp_path: Path, corpus: str, name: str
) -> None:
    plant(tmp_path, [name])
    with pytest.raises(CorpusError, match="1 foreign file name in"):
        read_corpus(corpus, tmp_path, allow_partial=True)


def test_the_one_file_of_cremad_has_its_id_under_either_name(tmp_path: Path) -> None:
    for name in ("1040_ITH_SAD_X.wav", "1040_ITH_SAD_XX.wav"):
        plant(tmp_path / name, [name])
        (said,), _ = read_corpus("cremad", tmp_path / name, allow_partial=True)
        assert said.id == "1040_ITH_SAD_XX"
    plant(tmp_path / "1040_ITH_SAD_X.wav", ["1040_ITH_SAD_XX.wav"])
    with pytest.raises(CorpusError, match=r"1040_ITH_SAD_XX: .* and "):
        read_corpus("cremad", tmp_path / "1040_ITH_SAD_X.wav", allow_partial=True)


@pytest.mark.parametrize("name", ["007.wav", "7.wav"])
def test_leading_zeros_do_not_change_a_text_of_casia(tmp_path: Path, name: str) -> None:
    plant(tmp_path, [f"wangzhe/angry/{name}"])
    (said,), _ = read_corpus("casia", tmp_path, allow_partial=True)
    assert (said.id, said.text) == ("wangzhe_angry_7", "7")


# Names of folders that are not UTF-8


def test_a_corpus_in_a_folder_whose_name_is_not_utf_8_is_prepared(tmp_path: Path) -> None:
    place = tmp_path / "caf\udce9"
    for n in range(2):
        write_sound(tmp_path / "x" / f"{n}.wav", noise(1, n))
    (tmp_path / "x").rename(place)
    manifest = write_manifest(place, "0.wav,anger,anna", "1.wav,joy,anna")
    out = ["--out", str(tmp_path / "data"), "--inline"]
    assert main(["prepare", "manifest", "--source", str(manifest), *out]) == 0


def test_an_out_whose_name_is_not_utf_8_is_one_message(sounds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_manifest(sounds, "wav/u0.wav,anger,anna", "wav/u1.wav,joy,anna")
    out = ["--out", str(sounds / "caf\udce9"), "--inline"]
    assert main(["prepare", "manifest", "--source", str(manifest), *out]) == 2
    assert "caf\\xe9' is not UTF-8" in capsys.readouterr().err


def test_a_foreign_file_whose_name_is_not_utf_8_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_emodb(tmp_path / "wav", ["caf\udce9.wav"])
    out = ["--out", str(tmp_path / "data"), "--inline"]
    assert main(["prepare", "emodb", "--source", str(tmp_path / "wav"), *out]) == 2
    assert "caf\ufffd.wav" in capsys.readouterr().err


# What no command could read is not prepared


@pytest.mark.parametrize(
    "name", ["emo\u00b2", "\uff45mo", "\u2460", "a" * 201, "\u00e4" * 101, "a b", "a?", ".a", "a\n"]
)
def test_a_name_that_is_not_read_everywhere_is_refused(sounds: Path, name: str) -> None:
    manifest = write_manifest(sounds, "wav/u0.wav,anger,anna", "wav/u1.wav,joy,anna")
    with pytest.raises(CorpusError, match=r"corpus name .* cannot name a folder: use only letters, digits"):
        prepare(name, read_manifest(manifest), sounds / "data", inline=True)
    assert not (sounds / "data").exists()


@pytest.mark.parametrize("name", ["a" * 200, "\u00c4rger", "\u6012\u308a", "A\u0308rger", "x.1-y_2"])
def test_a_name_that_is_accepted_is_read_again(sounds: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_manifest(sounds, "wav/u0.wav,anger,anna", "wav/u1.wav,joy,anna")
    out = ["--out", str(sounds / "data"), "--inline"]
    assert main(["prepare", "manifest", "--source", str(manifest), "--name", name, *out]) == 0
    assert main(["corpora", "--data", str(sounds / "data")]) == 0
    assert "notice" not in capsys.readouterr().err


@pytest.mark.parametrize("settings", [FeatureSettings(segment_hop=10_001), FeatureSettings(mels=2_000, fft=2**13)])
def test_settings_that_no_command_reads_are_refused_before_anything_is_written(
    sounds: Path, settings: FeatureSettings
) -> None:
    manifest = write_manifest(sounds, "wav/u0.wav,anger,anna", "wav/u1.wav,joy,anna")
    with pytest.raises(CorpusError, match=r"no command could read a corpus mine: settings\.(seg|mels)"):
        prepare("mine", read_manifest(manifest), sounds / "data", settings, inline=True)
    assert not (sounds / "data").exists()
