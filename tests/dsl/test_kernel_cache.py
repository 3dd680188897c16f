"""Which process compiled the kernels does not decide the bits: not a first run's, a later one's, or one's that can keep
nothing of what it compiles."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytest.importorskip("numba")

STEPS = """
import hashlib, json, sys
import torch
from dsl.backbones import BACKBONES
from dsl.acceleration.layers import use_cpu_layers
torch.set_num_threads(1)
found = {}
for name in sys.argv[1:]:
    torch.manual_seed(0)
    network = use_cpu_layers(BACKBONES[name](7)).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, fused=True)
    for step in range(2):
        batch = torch.randn(8, 1, 64, 32).to(memory_format=torch.channels_last)
        loss = torch.nn.functional.cross_entropy(network(batch), torch.arange(8) % 7)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    digest = hashlib.sha256()
    for value in [loss.detach(), *(one.grad for one in network.parameters()), *network.state_dict().values()]:
        digest.update(value.contiguous().numpy().tobytes())
    found[name] = digest.hexdigest()
print(json.dumps(found))
"""

TRAINING = """
import hashlib, json, sys
from pathlib import Path
import torch
from dataclasses import replace
from tests.dsl.dsl_toys import CPU, SETTINGS, MemoryCheckpoint, MemoryStages, toy_corpus
from dsl.company import run_chain
from dsl.labels import LabelUpdate
from dsl.settings import ChainSettings, Step
torch.set_num_threads(1)
kept, epochs = Path(sys.argv[1]), int(sys.argv[2])

class Kept(MemoryCheckpoint):
    def read(self):
        return kept.read_bytes() if kept.exists() else None
    def write(self, content):
        kept.write_bytes(content)

class Stages(MemoryStages):
    def checkpoint(self, step):
        return Kept()
    def on_epoch(self, step, epoch):
        if epoch.number + 1 == epochs:
            sys.exit(0)

chain = ChainSettings("toy", "tiny", "stratified", 3, 0, 0, None, (), replace(SETTINGS, epochs=4, patience=4))
stages = Stages()
run_chain(toy_corpus(), chain, CPU, stages, checkpoint_seconds=0)
print(json.dumps(hashlib.sha256(stages.trained[Step(0)].q.tobytes()).hexdigest()))
"""


def run(program: str, cache: Path, *arguments: str) -> str:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A cache that another process has filled."""
    run(STEPS, tmp_path / "full", "tiny")
    assert any((tmp_path / "full").rglob("*.nbc"))
    return tmp_path / "full"


@pytest.fixture
def unwritable(tmp_path: Path) -> Path:
    """Where no cache can be kept, whoever asks."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "cache"


def test_a_step_of_each_backbone_comes_to_the_same_bits(full: Path, unwritable: Path, tmp_path: Path) -> None:
    backbones = ("tiny", "densenet22", "mobilenetv2", "efficientnet_b0")  # VGG19 has DenseNet22's norms
    first = json.loads(run(STEPS, tmp_path / "empty", *backbones))
    assert json.loads(run(STEPS, tmp_path / "empty", *backbones)) == first  # which is full now
    assert json.loads(run(STEPS, full, *backbones)) == first
    assert json.loads(run(STEPS, unwritable, *backbones)) == first


def test_a_training_goes_on_to_the_same_bits_where_kernels_are_compiled_otherwise(
    full: Path, unwritable: Path, tmp_path: Path
) -> None:
    whole = run(TRAINING, unwritable, str(tmp_path / "whole"), "9")
    for number, (begun, gone_on) in enumerate([(tmp_path / "new", full), (full, unwritable), (unwritable, full)]):
        kept = tmp_path / f"checkpoint-{number}"
        assert run(TRAINING, begun, str(kept), "2") == "" and kept.exists()
        assert run(TRAINING, gone_on, str(kept), "9") == whole
