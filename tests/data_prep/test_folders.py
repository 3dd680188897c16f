"""Places: any character in a path, and what is no address is refused before a folder of an odd name is made."""

import pickle
from pathlib import Path

import pytest

from data_prep.data_folder import data_folder
from data_prep.errors import FolderError
from data_prep.folders import Folder

NAMES = [
    "what?",
    "exp#1",
    "100%",
    "a%20b",
    "a b",
    "a:b",
    "a&b=c",
    "[a]",
    "{x}",
    "~x",
    "a\\b",
    "'q'",
    "\u00fc",
    "a;b",
    "?",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_path_may_hold_any_character(tmp_path: Path, name: str) -> None:
    folder = Folder(str(tmp_path / name))
    (folder / "inner?").write("file#1", b"content")
    assert (tmp_path / name / "inner?" / "file#1").read_bytes() == b"content"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (folder / "inner?").parent == folder
    assert (folder.name, folder.folders()) == (name, ["inner?"])
    assert pickle.loads(pickle.dumps(folder / "inner?")).read("file#1") == b"content"


@pytest.mark.parametrize("make", [Folder, data_folder])
def test_a_tilde_is_a_home_as_it_is_in_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: type) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert str(make("~/x")) == str(tmp_path / "x")
    assert str(make("~")) == str(tmp_path)
    with pytest.raises(FolderError, match=r"no user here has such a home; write \./~nobody-of-this-name/x"):
        make("~nobody-of-this-name/x")


@pytest.mark.parametrize("make", [Folder, data_folder])
@pytest.mark.parametrize(
    ("given", "scheme"),
    [
        ("s3:/x", "s3"),
        ("s3:x", "s3"),
        ("s3//bucket/x", "s3"),
        ("S3:/x", "S3"),
        ("gs:/x", "gs"),
        ("file:/x", "file"),
        ("https:/x/y", "https"),
        ("scheme:/x", "scheme"),
    ],
)
def test_what_looks_like_a_mistyped_address_is_refused(make: type, given: str, scheme: str) -> None:
    with pytest.raises(FolderError, match=f"{given} is not an address, .*write {scheme}://"):
        make(given)


def test_the_folder_of_such_a_name_can_be_had_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Folder("./s3:/x").write("a", b"")
    assert (tmp_path / "s3:" / "x" / "a").exists()


@pytest.mark.parametrize("name", ["s3.old/x", "s3/x", "c:/x", "a/b://c", "run:1"])
def test_what_only_resembles_an_address_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Folder(name).write("a", b"")
    assert (tmp_path / name / "a").exists()


def test_the_address_of_a_file_is_its_path(tmp_path: Path) -> None:
    assert Folder((tmp_path / "a b#\u00fc").as_uri()) == Folder(tmp_path / "a b#\u00fc")


@pytest.mark.parametrize("uri", ["file:///x#1", "file:///x?y", "file://host/x", "gs://bucket/exp#1"])
def test_an_address_of_which_a_part_would_be_cut_off_is_refused(uri: str) -> None:
    with pytest.raises(FolderError, match=r"without file://|write %23 instead"):
        Folder(uri)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("name", ["exp#1", "a%20b", "a b", "a;b", "a\tb", "[a]", "\u00fc", "a/b#c"])
def test_an_s3_folder_may_have_any_name_without_a_question_mark(name: str) -> None:
    folder = Folder(f"s3://bucket/{name}?region=eu-west-1")
    assert folder._root == f"bucket/{name}"
    assert (folder / "x")._root == f"bucket/{name}/x"
    assert (folder / "x").uri == f"s3://bucket/{name}/x?region=eu-west-1"
    assert (folder / "x").parent == folder


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://bucket/what?", r"s3://bucket/what\?...: unknown option without a name; allowed: "),
        ("s3://bucket/exp?#1", "unknown option #1; allowed"),
        ("s3://bucket/exp?old", "unknown option old; allowed"),
        ("s3:///exp", "names no bucket; write s3://BUCKET/FOLDER"),
        ("s3://", "names no bucket"),
    ],
)
def test_an_s3_address_of_which_a_part_means_nothing_is_refused(uri: str, message: str) -> None:
    with pytest.raises(FolderError, match=message):
        Folder(uri)


def test_a_name_that_is_not_utf_8_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"caf\\xe9' is not UTF-8"):
        Folder(str(tmp_path / "caf\udce9"))
    (tmp_path / "caf\udce9").touch()
    with pytest.raises(FolderError, match=r"caf\\xe9'; rename it"):
        Folder(tmp_path).entries()
