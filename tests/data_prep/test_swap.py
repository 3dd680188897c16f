"""Files that are written only if they are still what was seen: the same on a disk and on S3."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from data_prep.conditional import ConditionalWrites
from data_prep.folders import LOCK, Folder

WRITERS, ROUNDS = 3, 10
COUNT_UP = """
import sys
from data_prep.folders import Folder
folder, rounds = Folder(sys.argv[1]), int(sys.argv[2])
for _ in range(rounds):
    while True:
        seen = folder.read("count")
        number = int((seen or b"0").split()[0]) + 1
        if folder.swap("count", b"%d %s" % (number, sys.argv[3].encode()), seen):
            break
"""


@pytest.fixture(params=["disk", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(tmp_path if request.param == "disk" else f"{request.getfixturevalue('s3_bucket')}/here")


def test_a_file_is_made_once(folder: Folder) -> None:
    assert folder.swap("a/b", b"first", None)
    assert not folder.swap("a/b", b"second", None)
    assert folder.read("a/b") == b"first"


def test_a_file_is_replaced_only_as_it_was_seen(folder: Folder) -> None:
    folder.swap("a", b"first", None)
    assert folder.swap("a", b"second", b"first")
    assert not folder.swap("a", b"third", b"first")
    assert folder.read("a") == b"second"


def test_what_another_has_written_is_seen_by_its_content(folder: Folder) -> None:
    folder.swap("a", b"first", None)
    folder.write("a", b"another's")
    assert not folder.swap("a", b"second", b"first")
    assert folder.swap("a", b"second", b"another's")


def test_a_file_that_is_gone_is_not_replaced(folder: Folder) -> None:
    folder.swap("a", b"first", None)
    folder.delete("a")
    assert not folder.swap("a", b"second", b"first")
    assert folder.read("a") is None


def test_a_swap_whose_answer_was_lost_can_be_tried_again(folder: Folder) -> None:
    folder.swap("a", b"first", None)
    assert folder.swap("a", b"first", None)
    folder.swap("a", b"second", b"first")
    assert folder.swap("a", b"second", b"first")


def test_processes_that_count_up_together_lose_no_number(folder: Folder) -> None:
    """Each writes what it saw and one more: a swap that was not one would lose some."""
    command = [sys.executable, "-c", COUNT_UP, folder.uri, str(ROUNDS)]
    counting = [subprocess.Popen([*command, str(number)], env=dict(os.environ)) for number in range(WRITERS)]
    assert [one.wait(timeout=300) for one in counting] == [0] * WRITERS
    assert (folder.read("count") or b"").split()[0] == b"%d" % (WRITERS * ROUNDS)


def test_a_disk_is_left_with_the_file_and_its_lock_alone(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.swap("a", b"first", None)
    folder.swap("a", b"second", b"first")
    folder.swap("a", b"third", b"first")
    assert sorted(path.name for path in tmp_path.iterdir()) == [LOCK, "a"]
    assert [str(entry.path) for entry in folder.entries()] == ["a"]
    assert folder.unfinished() == []


def test_a_server_that_knows_no_conditions_is_written_to_all_the_same(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ClientError

    def refuse(*_: object) -> bool:
        answer: Any = {"Error": {"Code": "NotImplemented"}, "ResponseMetadata": {"HTTPStatusCode": 501}}
        raise ClientError(answer, "PutObject")

    monkeypatch.setattr(ConditionalWrites, "_put", refuse)
    folder = Folder(f"{s3_bucket}/here")
    assert folder.swap("a", b"first", None)
    assert not folder.swap("a", b"second", None)
    assert folder.swap("a", b"second", b"first")
    assert folder.read("a") == b"second"


def test_a_server_that_does_not_answer_is_an_os_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "tests")
    folder = Folder("s3://bucket/here?endpoint_override=127.0.0.1:9&scheme=http")
    with pytest.raises(OSError, match="s3://bucket/here/a"):
        folder.swap("a", b"first", None)
