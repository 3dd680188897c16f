"""Fetching a corpus from a server on this machine: whole or not there, whatever the archive and the connection do."""

import hashlib
import io
import os
import signal
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from data_prep.corpora import catalogue
from data_prep.corpora.catalogue import CORPORA, Archive
from data_prep.download import fetch
from data_prep.errors import FetchError
from ser_sweep.cli import main
from tests.data_prep.corpus_trees import TREES

NAMES = TREES["emodb", "archive"]


def zipped(*extra: tuple[zipfile.ZipInfo | str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in NAMES:
            archive.writestr(name, b"")
        for entry, data in extra:
            archive.writestr(entry, data)
    return content.getvalue()


GOOD = zipped(("readme.txt", os.urandom(600_000)))


class Server(ThreadingHTTPServer):
    """Serves `content` at every path, as its hooks say."""

    content = GOOD
    breaks_after: int | None = None  # bytes
    waits_after: int | None = None  # bytes
    status = 200
    requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/emodb.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests += 1
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        if self.server.waits_after is not None:
            self.wfile.write(self.server.content[: self.server.waits_after])
            self.wfile.flush()
            time.sleep(30)
        self.wfile.write(self.server.content[: self.server.breaks_after])

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        running.block_on_close = False
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def offered(server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Server]:
    """Serves an archive as Emo-DB's, with its checksum."""

    def offer(content: bytes) -> Server:
        server.content = content
        emodb = replace(CORPORA["emodb"], archive=Archive(server.url, hashlib.md5(content).hexdigest()))
        monkeypatch.setitem(catalogue.CORPORA, "emodb", emodb)
        return server

    return offer


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def nothing_was_kept(out: Path) -> bool:
    return not out.exists() or not list(out.iterdir())


def test_an_archive_is_downloaded_and_unpacked(offered: Callable[[bytes], Server], tmp_path: Path) -> None:
    offered(GOOD)
    assert fetch("emodb", tmp_path / "new" / "corpora") == (tmp_path / "new" / "corpora" / "emodb", True)
    assert files(tmp_path / "new" / "corpora") == sorted(f"emodb/{name}" for name in [*NAMES, "readme.txt"])
    assert len(CORPORA["emodb"].read(tmp_path / "new" / "corpora" / "emodb", False)) == 535


def test_a_corpus_that_is_there_is_not_downloaded_again(offered: Callable[[bytes], Server], tmp_path: Path) -> None:
    server = offered(GOOD)
    fetch("emodb", tmp_path)
    assert fetch("emodb", tmp_path) == (tmp_path / "emodb", False)
    assert server.requests == 1


def test_a_folder_in_the_way_is_told_and_left_alone(offered: Callable[[bytes], Server], tmp_path: Path) -> None:
    server = offered(GOOD)
    (tmp_path / "emodb").mkdir()
    (tmp_path / "emodb" / "03a01Wa.wav").touch()
    with pytest.raises(FetchError, match=r"(?s)emodb exists and is not the whole corpus; move it away.*expected 535"):
        fetch("emodb", tmp_path)
    assert files(tmp_path) == ["emodb/03a01Wa.wav"]
    assert server.requests == 0


def test_another_checksum_is_refused_and_nothing_is_kept(offered: Callable[[bytes], Server], tmp_path: Path) -> None:
    offered(GOOD).content = GOOD[:-1] + b"x"
    with pytest.raises(FetchError, match=r"does not have the MD5 checksum .*nothing was kept"):
        fetch("emodb", tmp_path)
    assert nothing_was_kept(tmp_path)


def test_a_mirror_must_have_the_same_checksum(server: Server, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=f"{server.url} does not have the MD5 checksum 9d21362dbc567"):
        fetch("emodb", tmp_path, url=server.url)
    assert nothing_was_kept(tmp_path)


@pytest.mark.parametrize("sent", [0, 1_000, 400_000])
def test_a_broken_connection_is_told_and_the_next_call_starts_again(
    offered: Callable[[bytes], Server], tmp_path: Path, sent: int
) -> None:
    server = offered(GOOD)
    server.breaks_after = sent
    with pytest.raises(FetchError, match=r"could not be downloaded .*nothing was kept. Repeat the command"):
        fetch("emodb", tmp_path)
    assert nothing_was_kept(tmp_path)
    server.breaks_after = None
    assert fetch("emodb", tmp_path) == (tmp_path / "emodb", True)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/emodb.zip", "emodb.zip", "ftp://127.0.0.1/x.zip", "http://"])
def test_an_address_where_nothing_is_is_told(tmp_path: Path, url: str) -> None:
    with pytest.raises(FetchError, match=f"{url} could not be downloaded .*--url"):
        fetch("emodb", tmp_path, url=url)
    assert nothing_was_kept(tmp_path)


def test_a_server_that_refuses_is_told(offered: Callable[[bytes], Server], tmp_path: Path) -> None:
    offered(GOOD).status = 404
    with pytest.raises(FetchError, match=r"could not be downloaded .*404"):
        fetch("emodb", tmp_path)
    assert nothing_was_kept(tmp_path)


def link_to(target: str) -> tuple[zipfile.ZipInfo, bytes]:
    entry = zipfile.ZipInfo("link")
    entry.create_system = 3
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry, target.encode()


@pytest.mark.parametrize(
    "entry",
    [
        ("../evil.wav", b"x"),
        ("wav/../../evil.wav", b"x"),
        ("/tmp/evil-of-ser-sweep.wav", b"x"),
        ("..\\evil.wav", b"x"),
        ("C:\\evil.wav", b"x"),
        link_to("/etc"),
    ],
    ids=["up", "up inside", "absolute", "backslash", "drive", "link"],
)
def test_an_entry_that_would_be_written_outside_is_refused_and_nothing_is_unpacked(
    offered: Callable[[bytes], Server], tmp_path: Path, entry: tuple[zipfile.ZipInfo | str, bytes]
) -> None:
    offered(zipped(entry))
    out = tmp_path / "a" / "b"
    with pytest.raises(FetchError, match="1 entries would be written outside of its folder, nothing was unpacked"):
        fetch("emodb", out)
    assert files(tmp_path) == []
    assert not Path("/tmp/evil-of-ser-sweep.wav").exists()


def test_what_is_no_zip_file_is_refused(offered: Callable[[bytes], Server], tmp_path: Path) -> None:
    offered(b"<html>come back later</html>")
    with pytest.raises(FetchError, match="is not a zip file that can be unpacked"):
        fetch("emodb", tmp_path)
    assert nothing_was_kept(tmp_path)


def test_an_archive_with_a_damaged_entry_is_refused(offered: Callable[[bytes], Server], tmp_path: Path) -> None:
    content = bytearray(GOOD)
    content[GOOD.index(b"readme.txt") + 1_000] ^= 1
    offered(bytes(content))
    with pytest.raises(FetchError, match=r"is not a zip file that can be unpacked \(Bad CRC-32 .*readme.txt"):
        fetch("emodb", tmp_path)
    assert nothing_was_kept(tmp_path)


def test_a_call_cut_off_while_unpacking_goes_on_without_a_download(
    offered: Callable[[bytes], Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = offered(GOOD)

    def unpack_some(archive: zipfile.ZipFile, folder: Path) -> None:
        archive.extract(NAMES[0], folder)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extractall", unpack_some)
        with pytest.raises(KeyboardInterrupt):
            fetch("emodb", tmp_path)
    assert not (tmp_path / "emodb").exists()
    assert fetch("emodb", tmp_path) == (tmp_path / "emodb", True)
    assert server.requests == 1
    assert [path.name for path in tmp_path.iterdir()] == ["emodb"]


def test_a_killed_download_leaves_no_corpus_and_the_next_call_clears_up(
    offered: Callable[[bytes], Server], tmp_path: Path
) -> None:
    server = offered(GOOD)
    server.waits_after = 300_000
    command = [sys.executable, "-m", "ser_sweep.cli", "fetch", "emodb", "--out", str(tmp_path), "--url", server.url]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in tmp_path.glob(".emodb.fetch/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(tmp_path.glob(".emodb.fetch/*"))
    assert not (tmp_path / "emodb").exists()
    server.waits_after = None
    fetch("emodb", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["emodb"]


def test_progress_goes_from_nothing_to_all_bytes(offered: Callable[[bytes], Server], tmp_path: Path) -> None:
    offered(GOOD)
    calls: list[tuple[str, int, int]] = []
    fetch("emodb", tmp_path, progress=lambda *call: calls.append(call))
    assert calls[-1] == ("emodb.zip", len(GOOD), len(GOOD))
    done = [call[1] for call in calls]
    assert len(done) > 2 and done == sorted(done)


# The command


def test_the_command_tells_where_the_corpus_is_and_how_to_go_on(
    offered: Callable[[bytes], Server], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server = offered(GOOD)
    arguments = ["fetch", "emodb", "--out", str(tmp_path), "--url", server.url]
    assert main(arguments) == 0
    told = capfd.readouterr()
    assert told.err == ""
    folder = tmp_path / "emodb"
    assert told.out.splitlines() == [
        str(folder),
        f"prepare it with: ser-sweep prepare emodb --source {folder} --out DATA",
    ]
    assert main(arguments) == 0
    assert capfd.readouterr().out.startswith(f"{folder} (was there before)\n")


@pytest.mark.parametrize("corpus", [name for name, one in CORPORA.items() if not one.archive and name != "manifest"])
def test_of_a_corpus_that_is_not_downloaded_the_command_tells_where_to_ask(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], corpus: str
) -> None:
    assert main(["fetch", corpus, "--out", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert CORPORA[corpus].get in told.err
    assert f"ser-sweep prepare {corpus} --source DIR --out DATA" in told.err
    assert nothing_was_kept(tmp_path)


def test_a_failed_download_is_one_message_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "ravdess", "--out", str(tmp_path), "--url", "http://127.0.0.1:1/r.zip"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("ser-sweep: http://127.0.0.1:1/r.zip could not be downloaded")
    assert "Traceback" not in told


def test_other_commands_do_not_need_pooch() -> None:
    """A machine that only trains has neither pooch nor librosa."""
    script = (
        "import sys; sys.modules.update(pooch=None, requests=None, librosa=None, soundfile=None); import ser_sweep.cli"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{script}; sys.exit(ser_sweep.cli.main(['corpora']))"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
