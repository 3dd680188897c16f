"""Chaos in its short form, and that what looks on would notice. The long form is `make chaos`."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.chaos.experiment import KINDS, dealt
from tests.chaos.proxy import Mood, Proxy
from tests.chaos.watcher import Watcher

ROOT = Path(__file__).parents[2]


def test_a_sweep_under_faults_loses_and_repeats_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.chaos", "--small", "--grid-seeds", "1", "--faults", "3", "--seed", "4"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "report.json")], cwd=ROOT, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr
    (report,) = json.loads((tmp_path / "report.json").read_text())["runs"]
    assert report["finished"]
    assert report["same_predictions"] and report["same_tables"]
    assert (report["lost"], report["repeated"]) == (0, 0)
    assert sum(report["faults"].values()) >= 2, report


def test_a_seed_gives_the_same_faults_each_kind_as_often_as_any_other() -> None:
    assert dealt(KINDS["disk"], 14, seed=5) == dealt(KINDS["disk"], 14, seed=5)
    assert sorted(dealt(KINDS["disk"], 14, seed=5)) == sorted(2 * KINDS["disk"])
    assert dealt(KINDS["disk"], 14, seed=5) != dealt(KINDS["disk"], 14, seed=6)


# What looks on


class Stages(dict[str, str]):
    """Stages that a watcher looks at: key -> content of stage.json."""

    def __call__(self) -> dict[str, str]:
        return dict(self)


@pytest.fixture
def stages() -> Stages:
    return Stages()


@pytest.fixture
def watcher(stages: Stages) -> Watcher:
    return Watcher(stages)


def seen(watcher: Watcher) -> tuple[list[str], list[str]]:
    watcher.see()
    return watcher.lost, watcher.repeated


def test_stages_that_come_and_stay_are_neither_lost_nor_repeated(stages: Stages, watcher: Watcher) -> None:
    for key in "abc":
        stages[key] = "first"
        assert seen(watcher) == ([], [])
    assert watcher.commits == 3


def test_a_stage_that_vanishes_is_lost_and_repeated_when_it_comes_back(stages: Stages, watcher: Watcher) -> None:
    stages["a"] = "first"
    watcher.see()
    del stages["a"]
    assert seen(watcher) == (["a"], [])
    stages["a"] = "first"
    assert seen(watcher) == (["a"], ["a"])


def test_a_stage_that_is_written_anew_is_repeated(stages: Stages, watcher: Watcher) -> None:
    stages["a"] = "first"
    watcher.see()
    stages["a"] = "second"
    assert seen(watcher) == ([], ["a"])


def test_a_stage_that_a_fault_destroyed_may_be_trained_again_but_once(stages: Stages, watcher: Watcher) -> None:
    stages["a"] = "first"
    watcher.destroy("a", lambda: stages.update(a="damaged"))
    assert (watcher.intact, seen(watcher)) == ([], ([], []))
    del stages["a"]
    assert seen(watcher) == ([], [])
    stages["a"] = "second"
    assert seen(watcher) == ([], [])
    assert watcher.intact == ["a"]
    stages["a"] = "third"
    assert seen(watcher) == ([], ["a"])


def test_a_watcher_that_cannot_look_says_so() -> None:
    def look() -> dict[str, str]:
        raise OSError("the store does not answer")

    with pytest.raises(OSError, match="does not answer"), Watcher(look, seconds=0.001) as watcher:
        watcher._watching.join(timeout=10)


# What stands in the way


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    Thread(target=server.serve_forever, daemon=True).start()
    with Proxy(("127.0.0.1", server.server_port), seed=0) as proxy:
        yield proxy
    server.shutdown()
    server.server_close()


def get(proxy: Proxy) -> bytes:
    with urllib.request.urlopen(f"http://{proxy.address}/", timeout=2) as answer:
        content: bytes = answer.read()
        return content


def test_a_proxy_passes_requests_on_again_once_its_mood_is_better(proxy: Proxy) -> None:
    assert get(proxy) == b"hello"
    proxy.mood = "errors"
    with pytest.raises(urllib.error.HTTPError, match=r"50[03]"):
        get(proxy)
    proxy.mood = "passes"
    assert get(proxy) == b"hello"


@pytest.mark.parametrize(("mood", "error"), [("drops", ConnectionError), ("hangs", TimeoutError)])
def test_a_proxy_drops_connections_and_leaves_them_hanging(proxy: Proxy, mood: Mood, error: type[Exception]) -> None:
    proxy.mood = mood
    for _ in range(4):
        with pytest.raises((urllib.error.URLError, error)) as caught:
            get(proxy)
        assert isinstance(getattr(caught.value, "reason", caught.value), error)
        if mood == "hangs":
            break
    assert proxy.troubled
