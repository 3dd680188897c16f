"""`ser-sweep prepare`: a summary and 0, or one clear message and 2, with nothing left behind."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.corpora import CORPORA
from ser_sweep.cli import main
from tests.data_prep.corpus_files import BAD_AUDIO, emodb_names, noise, write_emodb, write_manifest, write_sound

NAMES = emodb_names()
Arguments = list[str]


def prepare_emodb(*names: str) -> Callable[[Path], Arguments]:
    return lambda folder: ["emodb", "--source", str(write_emodb(folder / "wav", names))]


def prepare_manifest(*lines: str, header: str = "path,emotion,speaker") -> Callable[[Path], Arguments]:
    """A manifest of `lines` beside the sounds a.wav and b.wav."""

    def write(folder: Path) -> Arguments:
        for number, name in enumerate("ab"):
            write_sound(folder / f"{name}.wav", noise(0.5, seed=number))
        return ["manifest", "--source", str(write_manifest(folder, *lines, header=header))]

    return write


def prepare_content(content: bytes) -> Callable[[Path], Arguments]:
    def write(folder: Path) -> Arguments:
        (folder / "manifest.csv").write_bytes(content)
        return ["manifest", "--source", str(folder / "manifest.csv")]

    return write


def prepare_audio(spoil: Callable[[Path], object]) -> Callable[[Path], Arguments]:
    def write(folder: Path) -> Arguments:
        arguments = good(folder)
        (folder / "b.wav").unlink()
        spoil(folder / "b.wav")
        return arguments

    return write


def into_a_file(folder: Path) -> Arguments:
    (folder / "file").touch()
    return [*good(folder), "--out", str(folder / "file")]


def a_file_as_emodb(folder: Path) -> Arguments:
    (folder / "emodb.zip").touch()
    return ["emodb", "--source", str(folder / "emodb.zip")]


good = prepare_manifest("a.wav,anger,anna", "b.wav,joy,berta")

BAD_INPUT: dict[str, tuple[Callable[[Path], Arguments], str]] = {
    "emodb-without-source": (lambda folder: ["emodb"], "prepare emodb needs --source"),
    "emodb-missing": (lambda folder: ["emodb", "--source", str(folder / "nowhere")], "nowhere does not exist"),
    "emodb-a-file": (a_file_as_emodb, "is a file, not a folder"),
    "emodb-empty": (prepare_emodb(), "no .wav files in"),
    "emodb-534": (prepare_emodb(*NAMES[1:]), "534 utterances in .*, expected 535"),
    "emodb-foreign-name": (prepare_emodb(*NAMES, "song.wav"), "1 foreign file name"),
    "emodb-empty-files": (prepare_emodb(*NAMES), "535 of 535 audio files cannot be used"),
    "manifest-without-source": (lambda folder: ["manifest"], "prepare manifest needs --source"),
    "manifest-missing": (lambda folder: ["manifest", "--source", str(folder / "no.csv")], "no.csv is not a file"),
    "manifest-a-folder": (lambda folder: ["manifest", "--source", str(folder)], "is not a file"),
    "manifest-columns": (prepare_manifest("a.wav,anger", header="path,emotion"), "missing columns speaker"),
    "manifest-header-only": (prepare_manifest(), "no utterances"),
    "manifest-empty": (prepare_content(b""), "the header has nothing"),
    "manifest-not-utf8": (prepare_content(b"path,emotion,speaker\n\xe4.wav,a,b\n"), "is not UTF-8 on line 2"),
    "manifest-unknown-path": (prepare_manifest("c.wav,anger,anna"), "line 2: no file"),
    "manifest-climbs-out": (prepare_manifest("../a.wav,anger,anna"), "leads out of"),
    "manifest-absolute": (prepare_manifest("/a/../a.wav,anger,anna"), "leads out of"),
    "manifest-long-path": (prepare_manifest(f"{'a' * 300}.wav,anger,anna"), "File name too long"),
    "manifest-empty-emotion": (prepare_manifest("a.wav,,anna"), "line 2: empty emotion"),
    "manifest-too-many-values": (prepare_manifest("a.wav,anger,anna,t1"), "more than the header has columns for"),
    "manifest-same-id": (
        prepare_manifest("a.wav,anger,anna,x", "b.wav,joy,anna,x", header="path,emotion,speaker,id"),
        "id 'x' stands on more than one line",
    ),
    "one-emotion": (prepare_manifest("a.wav,joy,anna", "b.wav,joy,anna"), "at least two are needed"),
    "too-short": (prepare_audio(lambda path: write_sound(path, noise(0.3))), "0.300 s of sound is shorter"),
    **{name: (prepare_audio(write), message) for name, (write, message) in BAD_AUDIO.items()},
    "negative-seed": (lambda folder: ["synthetic", "--seed", "-1"], "seed: -1 given, it must not be negative"),
    "bad-name": (lambda folder: [*good(folder), "--name", "../up"], "corpus name '../up' cannot name a folder"),
    "into-a-file": (into_a_file, "is a file; give a folder"),
}


def run(arguments: Arguments, out: Path) -> int:
    return main(["prepare", "--inline", "--out", str(out), *arguments])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.mark.parametrize(("write", "message"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_gives_one_message_and_status_2_and_leaves_nothing(
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    write: Callable[[Path], Arguments],
    message: str,
) -> None:
    arguments = write(source)
    before = sorted(tmp_path.rglob("*"))
    assert run(arguments, tmp_path / "data") == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("ser-sweep: ")
    assert told.err.count("ser-sweep: ") == 1
    assert re.search(message, told.err)
    assert "Traceback" not in told.err
    assert sorted(tmp_path.rglob("*")) == before


def test_debug_shows_the_traceback_before_the_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["emodb", "--source", str(tmp_path / "nowhere"), "--debug"], tmp_path / "data") == 2
    told = capsys.readouterr().err
    assert told.startswith("Traceback (most recent call last)")
    assert told.splitlines()[-1].startswith("ser-sweep: emodb: source ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["iemocap", "--out", "data"], "argument corpus: invalid choice: 'iemocap'"),
        (["synthetic"], "the following arguments are required: --out"),
        (["synthetic", "--out", "data", "--seed", "x"], "argument --seed: invalid int value: 'x'"),
    ],
)
def test_bad_usage_gives_status_2(capsys: pytest.CaptureFixture[str], arguments: Arguments, message: str) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["prepare", *arguments])
    assert raised.value.code == 2
    assert message in capsys.readouterr().err


def test_success_prints_what_there_is_and_what_was_made(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = good(source)
    assert run(arguments, tmp_path / "data") == 0
    told = capsys.readouterr()
    assert told.err == ""
    (folder,) = (tmp_path / "data").iterdir()
    first, *rest = told.out.splitlines()
    assert first == str(folder)
    assert rest[:3] == [
        "  utterances  2 by 2 speakers, 1 s",
        "  classes     anger 1, joy 1",
        "  segments    34",
    ]
    assert rest[3].endswith(" MB): 1 made, 0 kept")
    assert run(arguments, tmp_path / "data") == 0
    assert capsys.readouterr().out.endswith(" MB): 0 made, 1 kept\n")


def test_notices_come_before_the_summary(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = good(source)
    write_sound(source / "a.wav", noise(0.5, rate=8_000), 8_000)
    assert run(arguments, tmp_path / "data") == 0
    assert capsys.readouterr().out.startswith("notice: 1 file at 8000 Hz resampled to 16000 Hz\n")


def test_a_corpus_may_have_another_name(source: Path, tmp_path: Path) -> None:
    assert run([*good(source), "--name", "mine"], tmp_path / "data") == 0
    (folder,) = (tmp_path / "data").iterdir()
    assert folder.name.startswith("mine-")


@pytest.mark.parametrize("name", [*(name for name in CORPORA if name != "manifest"), "Emo-DB", "RAVDESS"])
def test_the_name_of_a_known_corpus_is_kept_for_it(
    source: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*good(source), "--name", name], tmp_path / "data") == 2
    assert f"corpus name {name!r} is reserved for the " in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_no_other_corpus_may_have_the_name_of_a_known_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for corpus in ("synthetic", "tess"):
        assert run([corpus, "--source", str(tmp_path), "--name", "emodb"], tmp_path / "data") == 2
        assert "give another --name" in capsys.readouterr().err


def test_a_part_of_emodb_is_prepared_where_that_is_allowed(tmp_path: Path) -> None:
    for number, name in enumerate(("03a01Wa", "03a01Fa")):
        write_sound(tmp_path / "wav" / f"{name}.wav", noise(0.5, seed=number))
    arguments = ["emodb", "--source", str(tmp_path)]
    assert run(arguments, tmp_path / "data") == 2
    assert run([*arguments, "--allow-partial"], tmp_path / "data") == 0
    (manifest,) = (tmp_path / "data").glob("emodb-*/manifest.json")
    assert '"partial": true' in manifest.read_text()


def test_synthetic_speech_for_an_object_store_needs_a_local_folder_for_its_audio(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["prepare", "synthetic", "--inline", "--out", "s3://bucket/data"]) == 2
    assert "prepare synthetic --out s3://bucket/data needs --source: a local folder" in capsys.readouterr().err
