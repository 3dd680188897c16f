"""A small synthetic corpus, prepared once, and grids over it that train in seconds."""

import logging
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings

from data_prep.corpora import read_manifest
from data_prep.prepare import prepare
from data_prep.synthetic import SyntheticCorpus, read_truth, write_corpus

settings.register_profile("patient", deadline=None)  # a busy machine is no failure
settings.load_profile("patient")

LONGEST = (
    *("test_kill.py", "test_rented_gpu.py", "test_signals.py", "test_chaos.py", "test_slurm.py", "test_stalls.py"),
    *("test_left_over.py", "test_launches.py", "sweep/test_run.py", "test_doctor_nodes.py", "test_job_submit.py"),
    *("test_halving.py", "test_limits.py"),
)
SLOW = (
    *LONGEST,
    *("test_kernel_cache.py", "test_docs.py", "test_label_sources.py", "test_small_corpora.py", "test_fuzz.py"),
    *("analysis/test_audit.py", "test_report_page.py", "test_report.py", "test_simulation.py", "test_s3.py"),
    *(
        "test_results_only.py",
        "test_damaged_results.py",
        "test_surroundings.py",
        "test_start_up.py",
        "test_silence.py",
        "test_own_corpus.py",
    ),
    *("test_fuse.py", "test_recorded.py", "test_cost.py", "test_places.py", "test_cli.py", "test_cluster.py"),
    *("test_listed_names.py", "test_replayed_trainings.py", "test_door.py", "test_exact_audit.py"),
    *("test_corpus_readers.py", "test_gpu_layers.py", "test_step_operations.py", "test_audio.py"),
    *("test_figures.py", "test_figure_files.py", "test_figures_of_stores.py"),
    *("test_backbones.py", "test_side_by_side.py", "test_upkeep.py", "test_commands.py"),
    *("test_networks.py", "test_claims.py", "test_training_choices.py", "test_published_folds.py", "test_tracking.py"),
    *("test_parts.py", "test_settings_shown.py", "test_interval_coverage.py", "test_intervals.py"),
    *("test_predict.py", "test_prepare.py", "test_prepare_changes.py", "test_prepare_notices.py"),
)


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a prepared synthetic corpus: 4 emotions x 2 speakers x 2 texts x 2 takes."""
    folder = tmp_path_factory.mktemp("small")
    manifest = write_corpus(folder / "audio", SyntheticCorpus(speakers=2, texts=2, takes=2))
    truth = read_truth(folder / "audio" / "truth.csv")
    prepare("synthetic", read_manifest(manifest), folder / "data", truth=truth, inline=True)
    return folder / "data"


def pytest_configure() -> None:
    """What a shell starts in the background, or nohup, inherits a deaf ear, and so would all that tests start."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest go first, so that two workers are done at about the same time; slow ones are not in
    `make test-fast`."""
    for item in items:
        if item.path.as_posix().endswith(SLOW):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONGEST))


@pytest.fixture
def write_grid(tmp_path: Path) -> Callable[..., Path]:
    """Writes a grid over the small corpus; keyword arguments replace its fields."""

    def write(**fields: Any) -> Path:
        grid = {
            "corpora": ["synthetic"],
            "backbones": ["tiny"],
            "rules": ["none", "bdsl", {"wdsl": [0, 0.2, 1]}, "gsl", "hdl"],
            "folds": 2,
            "training": {"epochs": 2, "every": 16},
            **fields,
        }
        path = tmp_path / "grid.yaml"
        path.write_text(yaml.safe_dump(grid), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server on this machine."""
    from moto.moto_server import threaded_moto_server as moto
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication

    from tests.s3_server import in_order

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(moto, "DomainDispatcherApplication", in_order(DomainDispatcherApplication))
        server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_bucket(s3_server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """s3://<a new bucket>, with an environment in which it is found by this process and those it starts."""
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{abs(hash(request.node.nodeid))}"
    boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1").create_bucket(Bucket=bucket)
    return f"s3://{bucket}"
