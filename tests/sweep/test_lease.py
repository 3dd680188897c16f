"""Leases: two launches on one store do not compute the same, and one that is lost holds nobody up."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.folders import Folder
from sweep.machine import THIS_MACHINE, Machine
from sweep.storage import lease
from sweep.storage.lease import Lease, LeaseCheck, SupersededError


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_key_is_one_launchs_at_a_time(folder: Folder) -> None:
    with Lease(folder, "one") as one, Lease(folder, "two") as two:
        assert one.claim({"a", "b"}) == set()
        assert two.claim({"b", "c"}) == {"b"}
        assert two.claim({"c"}) == set()
        one.release({"a", "b"})
        one.claim(set())  # what was let go is told with the next thing that is written
        assert two.claim({"b"}) == set()


def test_of_two_that_take_a_key_at_the_same_time_at_most_one_has_it(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two looks at the leases before either was written, the worst order there is."""
    with Lease(folder, "one") as one, Lease(folder, "two") as two:
        write = Lease._write
        interrupted: list[set[str]] = []

        def write_after_the_other(self: Lease) -> None:
            if self is one and not interrupted:
                interrupted.append(set())
                interrupted[0] = two.claim({"a"})
            write(self)

        monkeypatch.setattr(Lease, "_write", write_after_the_other)
        assert one.claim({"a"}) == {"a"}
        assert interrupted == [set()]


def test_a_launch_that_is_alone_takes_all_at_once(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lease(folder, "one", ahead={"a", "b"}) as one:
        assert json.loads(folder.local_path("leases/one.json").read_text())["keys"] == ["a", "b"]
        with monkeypatch.context() as asking:
            asking.setattr(Folder, "entries", no_asking)
            assert one.claim({"a"}) == set()
        assert one.claim({"c"}) == set()
        with Lease(folder, "two") as two:
            assert two.claim({"a"}) == {"a"}
            assert two.claim({"b"}) == {"b"}
            assert two.claim({"c"}) == {"c"}
            assert two.claim({"d"}) == set()


def no_asking(*_: object) -> None:
    raise AssertionError("the store was asked")


def test_a_launch_that_is_no_longer_alone_keeps_what_it_computes(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.01)
    with Lease(folder, "one", ahead={"a", "b"}) as one:
        assert one.claim({"a"}) == set()
        with Lease(folder, "two", ahead={"a", "b"}) as two:
            deadline = time.monotonic() + 20
            while two.claim({"b"}) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert two.claim({"b"}) == set()
            assert two.claim({"a"}) == {"a"}
            assert one.claim({"b"}) == {"b"}


def test_of_two_that_start_at_the_same_time_neither_takes_all(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each wrote down what it takes before it looked."""
    look = Lease._look
    started: list[Lease] = []

    def start_another_first(self: Lease) -> None:
        if not started:
            started.append(self)
            started.append(Lease(folder, "two", ahead={"a", "b"}).__enter__())
        look(self)

    monkeypatch.setattr(Lease, "_look", start_another_first)
    with Lease(folder, "one", ahead={"a", "b"}) as one:
        two = started[1]
        monkeypatch.setattr(Lease, "_look", look)
        assert one.claim({"a"}) == set()
        assert two.claim({"a", "b"}) == {"a"}
        assert two.claim({"b"}) == set()
        two.__exit__()


def test_a_launch_gives_its_lease_back_at_its_end(folder: Folder) -> None:
    with Lease(folder, "one") as one:
        one.claim({"a"})
    with Lease(folder, "two") as two:
        assert two.claim({"a"}) == set()


def test_a_launch_that_is_interrupted_as_it_begins_leaves_no_lease(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: Lease) -> None:
        assert folder.entries("leases")
        raise KeyboardInterrupt

    monkeypatch.setattr(Lease, "_look", interrupted)
    with pytest.raises(KeyboardInterrupt), Lease(folder, "a"):
        pass
    assert not folder.entries("leases")


def test_a_lease_that_is_not_renewed_is_over_after_a_minute(folder: Folder) -> None:
    taken_over: list[str] = []
    elsewhere = {**THIS_MACHINE.process(), "machine": ["another", "machine"]}
    path = write_lease(folder, "one", {"launch": "one", "process": elsewhere, "keys": ["a"]})
    with Lease(folder, "two", taken_over.append) as two:
        assert two.claim({"a"}) == {"a"}
        os.utime(path, (time.time() - 61, time.time() - 61))
        assert two.claim({"a"}) == set()
    assert taken_over == ["one"]
    assert not path.exists()


def write_lease(folder: Folder, launch: str, content: object) -> Path:
    folder.write(f"leases/{launch}.json", json.dumps(content).encode())
    return folder.local_path(f"leases/{launch}.json")


def test_a_lease_is_renewed_while_its_launch_lives(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.01)
    with Lease(folder, "one") as one:
        one.claim({"a"})
        path = folder.local_path("leases/one.json")
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 20
        while path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 0
        assert json.loads(path.read_text())["keys"] == ["a"]


def test_the_lease_of_a_process_that_is_gone_from_this_machine_is_over_at_once(folder: Folder) -> None:
    """Killed, as with SIGKILL: nothing was given back."""
    code = (
        "import os, sys; from data_prep.folders import Folder; from sweep.storage.lease import Lease;"
        "lease = Lease(Folder(sys.argv[1]), 'killed').__enter__(); lease.claim({'a'}); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, folder.uri], check=False, timeout=60)
    assert folder.local_path("leases/killed.json").exists()
    with Lease(folder, "next") as following:
        assert following.claim({"a"}) == set()


@pytest.mark.parametrize("content", [b"", b"{", b'{"keys": 1}', b"[]", b'{"keys": [], "process": 3}'])
def test_a_damaged_lease_holds_nobody_up(folder: Folder, content: bytes) -> None:
    folder.write("leases/damaged.json", content)
    with Lease(folder, "next") as following:
        assert following.claim({"a"}) == set()


class Patient(Machine):
    """A machine on which time passes when it is told to."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def test_where_no_lease_can_be_written_for_a_minute_work_goes_on(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Folder, "swap", no_space)
    machine = Patient()
    with Lease(folder, "one", machine=machine) as one:
        assert one.claim({"a"}) == {"a"}
        machine.seconds = 61
        assert one.claim({"a"}) == set()
        assert one.name is None


# A lease is swapped for what was seen


def test_a_launch_that_wakes_up_too_late_lets_go_and_begins_anew(folder: Folder) -> None:
    with Lease(folder, "one") as one:
        assert one.claim({"a"}) == set()
        path = folder.local_path("leases/one.json")
        path.write_text(json.dumps({**json.loads(path.read_text()), "process": {}}))  # on another machine
        os.utime(path, (time.time() - 61, time.time() - 61))
        with Lease(folder, "two") as two:
            assert two.claim({"a"}) == set()
            assert one.claim({"b"}) == {"b"}
            assert one.name == "one~1"
            assert one.claim({"a"}) == {"a"}
            assert one.claim({"b"}) == set()
            with pytest.raises(SupersededError, match="one"):
                check_of(folder, "one")


def test_a_lease_that_is_renewed_while_it_is_looked_at_is_not_taken_away(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lease(folder, "one") as one, Lease(folder, "two") as two:
        one.claim({"a"})
        path = folder.local_path("leases/one.json")
        os.utime(path, (time.time() - 61, time.time() - 61))
        read = Folder.read

        def renew_then_read(self: Folder, name: str) -> bytes | None:
            monkeypatch.undo()
            one._write()
            return read(self, name)

        monkeypatch.setattr(Folder, "read", renew_then_read)
        assert two.claim({"a"}) == {"a"}
        assert one.name == "one" and path.exists()


# Trials that outlive their launch


def check_of(folder: Folder, launch: str | None) -> Callable[[], None]:
    check = LeaseCheck(folder, launch)
    return lambda: check(now=True)


def test_a_trial_whose_launch_was_taken_over_stops(folder: Folder) -> None:
    gone = {**THIS_MACHINE.process(), "started": "1"}
    write_lease(folder, "lost", {"launch": "lost", "process": gone, "keys": ["a"]})
    check = check_of(folder, "lost")
    check()
    with Lease(folder, "next") as following:
        following.claim({"a"})
        with pytest.raises(SupersededError, match="lost"):
            check()


def test_a_trial_under_no_lease_goes_on(folder: Folder) -> None:
    check_of(folder, None)()


def test_a_trial_whose_lease_is_gone_before_it_begins_stops(folder: Folder) -> None:
    with pytest.raises(SupersededError, match="lost"):
        check_of(folder, "lost")


def test_the_store_is_asked_only_now_and_then(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_lease(folder, "one", {})
    check = LeaseCheck(folder, "one")
    path.unlink()
    check()
    monkeypatch.setattr(lease, "CHECK_SECONDS", 0.0)
    with pytest.raises(SupersededError):
        check()
