"""What docs/performance.md says of GPUs: from results that may be missing, or of jobs that failed."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))

import gpu_figures
from gpu_figures import FILES, GPU_BLOCKS, NO_CARD, NO_PROCESSES, NOT_YET

CARD = {"job": "versions", "gpu": "NVIDIA A1", "torch": "2.11.0", "cudnn": 91900}
OTHER_CARD = {**CARD, "gpu": "NVIDIA B2"}
END = {"job": "end", "ok": 1, "failed": 1, "skipped": 1, "seconds": 30.0}
RATES = {"job": "rates tiny", "backbone": "tiny"}
PLAIN = {**RATES, "way": "plain", "rate": 1000.0}
RECORDED = {**RATES, "way": "recorded", "precision": "float32", "networks": 1, "rate": 5000.0}
BESIDE = {**RECORDED, "networks": 8, "rate": 15000.0, "memory": {"allocated": 1, "reserved": 7_000_000}}
PARITY = {"job": "parity tiny", "backbone": "tiny", "precision": "float32"}


@pytest.fixture(autouse=True)
def _results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_figures, "RESULTS", tmp_path)


def write(folder: Path, *lines: dict[str, Any], call: str = "2") -> None:
    text = "".join(json.dumps({"call": call, **line}) + "\n" for line in lines)
    (folder / FILES[int(call) - 1]).write_text(text, encoding="utf-8")


def unmeasured(block: str) -> str:
    return NO_PROCESSES if block == "gpu_processes" else NOT_YET


@pytest.mark.parametrize("block", GPU_BLOCKS)
def test_what_no_call_has_measured_is_said_as_such(block: str) -> None:
    assert GPU_BLOCKS[block]() == unmeasured(block)


@pytest.mark.parametrize("block", sorted({*GPU_BLOCKS} - {"gpu_calls"}))
def test_so_is_what_a_call_had_no_jobs_for(block: str, tmp_path: Path) -> None:
    write(tmp_path, CARD, END)
    assert GPU_BLOCKS[block]() == unmeasured(block)


def test_rates_stand_beside_a_plain_loops(tmp_path: Path) -> None:
    write(tmp_path, CARD, PLAIN, RECORDED, BESIDE, END)
    assert "**NVIDIA A1**, call 2" in GPU_BLOCKS["gpu_rates"]()
    assert "| tiny | float32 | 1,000 | — | 5,000 | 15,000 | 5.0 | 15.0 | 7 |" in GPU_BLOCKS["gpu_rates"]()


def test_each_table_names_the_card_of_its_call(tmp_path: Path) -> None:
    write(tmp_path, CARD, PLAIN, END, call="1")
    write(tmp_path, OTHER_CARD, PLAIN, END, PLAIN, END)
    said = GPU_BLOCKS["gpu_rates"]()
    assert [said.count(card) for card in ("NVIDIA A1", "NVIDIA B2", NO_CARD)] == [1, 1, 1]


def test_jobs_that_failed_or_were_skipped_are_said_with_the_cause(tmp_path: Path) -> None:
    about = {**RATES, "way": "recorded", "precision": "float32", "networks": 11}
    part = {**about, "error": "OutOfMemoryError: no room. Tried to allocate"}
    lines = [
        {**RATES, "ended": "failed", "error": "not within 45 s"},
        {"job": "rates vgg19", "backbone": "vgg19", "skipped": "no time left"},
    ]
    write(tmp_path, CARD, PLAIN, part, *lines, END)
    said = GPU_BLOCKS["gpu_rates"]()
    assert "| 1,000 |" in said
    assert "`rates tiny` (recorded, float32, 11): OutOfMemoryError: no room" in said and "allocate" not in said
    assert "`rates tiny`: not within 45 s" in said
    assert "`rates vgg19`: skipped, no time left" in said


def test_bits_that_differ_are_not_passed_over(tmp_path: Path) -> None:
    recording = {**PARITY, "of": "recording"}
    lines: list[dict[str, Any]] = [
        {**recording, "way": "recorded", "recorded": "no: a cause", "memory": None},
        {**recording, "same_bits": True},
        {**PARITY, "of": "side_by_side", "same_bits": False, "recorded": ["exact", "exact"]},
        {**PARITY, "of": "resume", "error": "it fell over"},
    ]
    write(tmp_path, CARD, *lines, END)
    said = GPU_BLOCKS["gpu_parity"]()
    assert "| tiny | float32 | yes, not recorded: a cause | no | failed |" in said
    assert "it fell over" in said
