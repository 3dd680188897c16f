"""The files that start clusters: Ray and Kubernetes would take them, and they are as safe and as pinned as they say."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import cli as ray_cli

from data_prep.folders import Folder
from ser_sweep.cli import build_parser
from tests.clusters.cluster_files import (
    LAUNCHED,
    MPS,
    RAYJOB,
    ROOT,
    SLURM,
    WITH_HEADERS,
    after,
    commands_in,
    documents,
    load,
    shell_commands,
)

SHELLCHECK = Path(sys.executable).with_name("shellcheck")
SCRIPTS = [*(ROOT / "clusters").glob("*.sh"), ROOT / ".ci/run"]


@pytest.fixture(scope="module")
def locked_ray() -> str:
    """The version of Ray that requirements.lock installs."""
    found = re.search(r"^ray==(\S+)", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    assert found
    return found[1]


@pytest.fixture(params=list(LAUNCHED.values()), ids=list(LAUNCHED))
def launched(request: pytest.FixtureRequest) -> dict[str, Any]:
    return load(request.param)


@pytest.fixture
def aws() -> dict[str, Any]:
    return load(ROOT / "ray_cluster.yaml")


@pytest.fixture
def rayjob() -> dict[str, Any]:
    return documents(RAYJOB)["RayJob"]


def head_of(rayjob: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = rayjob["spec"]["rayClusterSpec"]["headGroupSpec"]
    return found


def workers_of(rayjob: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    return found


def container_of(group: dict[str, Any]) -> dict[str, Any]:
    [container] = group["template"]["spec"]["containers"]
    found: dict[str, Any] = container
    return found


# Files are what they must be


def test_ray_s_own_launcher_takes_the_file(launched: dict[str, Any]) -> None:
    validate_config(prepare_config(launched))


def test_a_field_that_ray_does_not_know_would_be_found(launched: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError, match="worker_start_commands"):
        validate_config(prepare_config({**launched, "worker_start_commands": []}))


@pytest.fixture(scope="module")
def rayjob_schema() -> dict[str, Any]:
    """Names and types of the fields of KubeRay's v1 RayJob that the file could need; others are refused."""
    found: dict[str, Any] = json.loads((Path(__file__).parent / "rayjob_schema.json").read_text())
    return found


def test_the_rayjob_has_the_fields_and_types_of_kuberay_s_definition(
    rayjob: dict[str, Any], rayjob_schema: dict[str, Any]
) -> None:
    jsonschema.Draft202012Validator.check_schema(rayjob_schema)
    jsonschema.validate(rayjob, rayjob_schema)


@pytest.mark.parametrize(
    ("break_it", "complaint"),
    [
        (lambda job: job["spec"].update(shutdownAfterJobFinish=True), "shutdownAfterJobFinish"),
        (lambda job: job["spec"].update(backoffLimit="2"), "not of type 'integer'"),
        (lambda job: head_of(job)["rayStartParams"].update({"num-cpus": 0}), "not of type 'string'"),
        (lambda job: workers_of(job)[0].pop("groupName"), "'groupName' is a required property"),
        (lambda job: job["spec"]["rayClusterSpec"].pop("headGroupSpec"), "'headGroupSpec' is a required property"),
        (lambda job: container_of(head_of(job)).update(environment=[]), "environment"),
    ],
    ids=["unknown field", "text for a number", "number for text", "no name", "no head", "unknown container field"],
)
def test_a_mistake_in_the_rayjob_would_be_found(
    rayjob: dict[str, Any], rayjob_schema: dict[str, Any], break_it: Any, complaint: str
) -> None:
    break_it(rayjob)
    with pytest.raises(jsonschema.ValidationError, match=complaint):
        jsonschema.validate(rayjob, rayjob_schema)


def shellcheck(script: str, *flags: str) -> str:
    done = subprocess.run(
        [SHELLCHECK, "--shell=bash", *flags, "-"], input=script, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_pass_shellcheck(path: Path) -> None:
    assert shellcheck(path.read_text()) == ""


def test_shell_commands_of_the_launcher_s_files_pass_shellcheck(launched: dict[str, Any]) -> None:
    commands = shell_commands(launched)
    assert len(commands) >= 8
    # SC1090, SC2016: mps.sh is checked by itself, and .bashrc is to expand what is written to it.
    said = {name: shellcheck(line, "--exclude=SC1090,SC2016") for name, line in commands.items()}
    assert not any(said.values()), said


def test_the_image_installs_the_lock_and_nothing_else(locked_ray: str) -> None:
    dockerfile = (ROOT / "clusters/Dockerfile").read_text()
    assert f"FROM rayproject/ray:{locked_ray}-py311\n" in dockerfile
    installs = [line for line in dockerfile.splitlines() if "pip install" in line]
    assert len(installs) == 2
    assert all("--require-hashes -r requirements.lock" in line or "--no-deps" in line for line in installs)


# The project reaches the machines, in one version


def test_every_machine_gets_the_locked_version_of_ray(
    launched: dict[str, Any], rayjob: dict[str, Any], locked_ray: str
) -> None:
    setup = "\n".join(launched["setup_commands"])
    assert "pip install --quiet --require-hashes -r ~/ser-dsl-sweep/requirements.lock" in setup
    assert f'"ray, version {locked_ray}"' in launched["setup_commands"][-1]
    assert rayjob["spec"]["rayClusterSpec"]["rayVersion"] == locked_ray


def test_what_the_project_consists_of_is_copied_to_the_machines(launched: dict[str, Any]) -> None:
    mounts = launched["file_mounts"]
    installed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    needed = {name.partition(".")[0] for name in installed}
    for name in (*needed, "pyproject.toml", "requirements.lock", "README.md", "LICENSE", "clusters"):
        assert mounts[f"~/ser-dsl-sweep/{name}"] == name
        assert (ROOT / name).exists()


def test_the_image_holds_what_the_launcher_s_files_copy(aws: dict[str, Any]) -> None:
    dockerfile = (ROOT / "clusters/Dockerfile").read_text()
    for name in aws["file_mounts"].values():
        assert name.startswith("~") or re.search(rf"^COPY .*\b{re.escape(name)} ", dockerfile, flags=re.MULTILINE), name


# Nobody else gets in


def test_the_dashboard_is_on_the_head_s_loopback_only(launched: dict[str, Any]) -> None:
    [start] = [line for line in launched["head_start_ray_commands"] if "ray start" in line]
    assert "--dashboard-host=127.0.0.1" in start.split()
    assert not re.search(r"0\.0\.0\.0|dashboard-port|8265", json.dumps(launched))


def test_aws_opens_no_port_beside_ssh_and_the_cluster_s_own(aws: dict[str, Any]) -> None:
    assert aws["provider"]["security_group"] == {"GroupName": "ser-sweep"}


def test_kubernetes_exposes_the_head_to_its_own_cluster_only(rayjob: dict[str, Any]) -> None:
    head = head_of(rayjob)
    assert (head["serviceType"], head["enableIngress"]) == ("ClusterIP", False)
    assert "hostNetwork" not in json.dumps(rayjob)


def test_ray_starts_with_token_authentication_everywhere(launched: dict[str, Any], rayjob: dict[str, Any]) -> None:
    for line in (*launched["head_start_ray_commands"], *launched["worker_start_ray_commands"]):
        if "ray start" in line:
            assert "RAY_AUTH_MODE=token" in line[: line.index("ray start")]
    assert launched["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert rayjob["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    script = SLURM.read_text()
    assert script.index("export RAY_AUTH_MODE=token") < script.index("ray start --block")


def test_no_file_holds_keys() -> None:
    for path in (*LAUNCHED.values(), RAYJOB, SLURM, ROOT / "clusters/Dockerfile"):
        assert not re.search(
            r"(AKIA|ASIA)[A-Z0-9]{16}|aws_secret_access_key\s*[:=]", path.read_text(), flags=re.IGNORECASE
        )


def test_aws_machines_use_the_bucket_by_their_role(aws: dict[str, Any]) -> None:
    profiles = {
        name: one["node_config"]["IamInstanceProfile"]["Name"] for name, one in aws["available_node_types"].items()
    }
    assert profiles == {"head": "ser-sweep-head", "gpu": "ser-sweep-worker"}
    for one in aws["available_node_types"].values():
        assert one["node_config"]["MetadataOptions"] == {"HttpTokens": "required"}


# Machines come with the work, and GPUs are shared


def test_aws_heads_stay_and_gpu_workers_are_spot_machines_from_none_up(aws: dict[str, Any]) -> None:
    head, gpu = aws["available_node_types"]["head"], aws["available_node_types"]["gpu"]
    assert aws["head_node_type"] == "head"
    assert "InstanceMarketOptions" not in head["node_config"]
    assert gpu["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert gpu["min_workers"] == 0
    assert gpu["max_workers"] == aws["max_workers"] > 1


def test_the_sweep_is_told_what_aws_workers_come_to(aws: dict[str, Any]) -> None:
    gpu = aws["available_node_types"]["gpu"]
    total = {name: amount * gpu["max_workers"] for name, amount in gpu["resources"].items()}
    start = aws["head_start_ray_commands"][-1]
    assert f"SER_SWEEP_GROWS_TO=CPU={total['CPU']},GPU={total['GPU']};" in start
    assert "--num-cpus=0 --num-gpus=0" in start


def test_the_sweep_is_told_what_kubernetes_workers_come_to(rayjob: dict[str, Any]) -> None:
    assert rayjob["spec"]["rayClusterSpec"]["enableInTreeAutoscaling"] is True
    [group] = workers_of(rayjob)
    limits = container_of(group)["resources"]["limits"]
    cpus, gpus = (int(limits[name]) * group["maxReplicas"] for name in ("cpu", "nvidia.com/gpu"))
    assert container_of(head_of(rayjob))["env"] == [{"name": "SER_SWEEP_GROWS_TO", "value": f"CPU={cpus},GPU={gpus}"}]
    assert head_of(rayjob)["rayStartParams"]["num-cpus"] == "0"


def test_mps_is_started_in_the_shell_that_starts_ray_on_gpu_machines(
    launched: dict[str, Any], rayjob: dict[str, Any]
) -> None:
    source = "source ~/ser-dsl-sweep/clusters/mps.sh"
    starts = [line for line in launched["worker_start_ray_commands"] if "ray start" in line]
    if launched["provider"]["type"] == "local":
        starts += [line for line in launched["head_start_ray_commands"] if "ray start" in line]
    assert starts and all(source in line[: line.index("ray start")] for line in starts)
    for group in workers_of(rayjob):
        assert container_of(group)["command"] == ["source /home/ray/ser-dsl-sweep/clusters/mps.sh"]
    assert "source clusters/mps.sh; exec ray start" in SLURM.read_text()


def test_pods_take_the_store_s_keys_from_a_secret_or_a_role(rayjob: dict[str, Any]) -> None:
    account = documents(RAYJOB)["ServiceAccount"]["metadata"]["name"]
    for group in (head_of(rayjob), *workers_of(rayjob)):
        assert group["template"]["spec"]["serviceAccountName"] == account
        assert container_of(group)["envFrom"] == [{"secretRef": {"name": "ser-sweep-s3", "optional": True}}]


def test_a_finished_rayjob_leaves_no_cluster_behind(rayjob: dict[str, Any]) -> None:
    assert rayjob["spec"]["shutdownAfterJobFinishes"] is True


# What people are told to type


@pytest.mark.parametrize("path", WITH_HEADERS, ids=lambda path: path.name)
def test_commands_in_headers_and_pages_are_ones_that_the_programs_know(path: Path) -> None:
    commands = commands_in(path)
    assert commands
    for words in commands:
        if words[0] in ("ser-sweep", "ray", "sbatch"):
            check_ser_sweep(words)
        if words[0] == "ray":
            check_ray(words[1 : words.index(">")] if ">" in words else words[1:])


def check_ser_sweep(words: list[str]) -> None:
    """Parse the ser-sweep command in `words`, and what sbatch passes on to one; argparse exits where it cannot."""
    arguments = after(words, "ser-sweep") or after(words, "clusters/slurm.sh")
    if arguments is None:
        return
    options = build_parser().parse_args(arguments)
    grid = getattr(options, "grid", None)
    if grid is not None:
        assert any((folder / grid).is_file() for folder in (ROOT, ROOT / "configs")), grid


def check_ray(arguments: list[str]) -> None:
    """Let Ray's own command line parse `arguments`, without running anything; click raises where it cannot."""
    command: click.Command = ray_cli
    context = None
    while isinstance(command, click.Group):
        name, found, arguments = command.resolve_command(click.Context(command, parent=context), arguments)
        assert found is not None, name
        command = found
    command.make_context(command.name, arguments)
    for word in arguments:
        if word.endswith((".yaml", ".sh")) and "/" not in word.partition("clusters/")[0]:
            assert any((folder / word).is_file() for folder in (ROOT, ROOT / "configs")), word


@pytest.mark.parametrize("path", WITH_HEADERS[:-2], ids=lambda path: path.name)
def test_every_sweep_has_its_store_where_all_machines_reach_it(path: Path) -> None:
    runs = [words for words in commands_in(path) if "run" in words]
    if path == RAYJOB:
        runs = [documents(path)["RayJob"]["spec"]["entrypoint"].split()]
    assert runs
    for words in runs:
        arguments = after(words, "ser-sweep") or after(words, "clusters/slurm.sh")
        options = build_parser().parse_args(arguments)
        for place in (options.data, options.store):
            assert place.startswith(("s3://", "/mnt/", "/shared/")), place
            Folder(place.replace("BUCKET", "bucket") + "?region=us-east-1" if place.startswith("s3:") else place)


def test_the_shared_mount_is_checked_before_anything_is_set_up() -> None:
    config = load(LAUNCHED["clusters/on_premises.yaml"])
    assert config["initialization_commands"] == ["mountpoint -q /mnt/ser-sweep"]


# mps.sh, with a daemon that only notes that it was called

DAEMON = """#!/bin/bash
if [ "$*" = -d ]; then
    echo "started at $CUDA_MPS_PIPE_DIRECTORY" >> "$FAKE/log"
    touch "$FAKE/running"
else
    test -e "$FAKE/running"
fi
"""


def source_mps(times: int, **environment: str) -> subprocess.CompletedProcess[str]:
    script = f'set -eu; for _ in {" ".join("x" * times)}; do source {MPS}; done; echo "pipe $CUDA_MPS_PIPE_DIRECTORY"'
    return subprocess.run(
        ["bash", "-c", script], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_mps_is_started_once_however_often_it_is_asked_for(tmp_path: Path) -> None:
    daemon = tmp_path / "nvidia-cuda-mps-control"
    daemon.write_text(DAEMON)
    daemon.chmod(0o755)
    places = {"CUDA_MPS_PIPE_DIRECTORY": str(tmp_path / "pipe"), "CUDA_MPS_LOG_DIRECTORY": str(tmp_path / "log-folder")}
    done = source_mps(3, FAKE=str(tmp_path), PATH=f"{tmp_path}:{os.environ['PATH']}", **places)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "log").read_text() == f"started at {tmp_path}/pipe\n"
    assert (tmp_path / "pipe").is_dir() and (tmp_path / "log-folder").is_dir()


def test_a_machine_without_a_driver_goes_on_without_mps(tmp_path: Path) -> None:
    for name in ("bash", "mkdir"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    done = source_mps(1, PATH=str(tmp_path))
    assert done.returncode == 0
    assert "used without MPS" in done.stderr
    assert done.stdout == "pipe /tmp/nvidia-mps\n"


def test_a_daemon_that_does_not_start_is_told_and_survived(tmp_path: Path) -> None:
    daemon = tmp_path / "nvidia-cuda-mps-control"
    daemon.write_text("#!/bin/bash\nexit 1\n")
    daemon.chmod(0o755)
    places = {"CUDA_MPS_PIPE_DIRECTORY": str(tmp_path / "pipe"), "CUDA_MPS_LOG_DIRECTORY": str(tmp_path / "log-folder")}
    done = source_mps(1, PATH=f"{tmp_path}:{os.environ['PATH']}", **places)
    assert done.returncode == 0
    assert "trials take turns" in done.stderr
