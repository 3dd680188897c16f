"""What a process that trains makes of its device's errors and memory."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from dsl.process import float32_means, free_device_memory, give_memory_back, is_out_of_memory

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported asynchronously"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        RuntimeError("FIND was unable to find an engine to execute this computation"),
    ],
    ids=str,
)
def test_want_of_memory_is_recognised(error: RuntimeError) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shape mismatch"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        MemoryError(),
        ValueError("out of memory"),
    ],
    ids=repr,
)
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    assert not is_out_of_memory(error)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a GPU that is in use was asked for."""
    asked: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: asked.append("memory"))
    monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: asked.append("work space"), raising=False)
    return asked


def test_memory_is_given_back_but_no_work_space_that_a_recorded_step_may_use(asked: list[str]) -> None:
    free_device_memory(idle=False)
    assert asked == ["memory"]


def test_work_space_is_given_back_when_nothing_is_recorded_any_more(asked: list[str]) -> None:
    free_device_memory(idle=True)
    give_memory_back()
    assert asked == ["work space", "memory"] * 2


@pytest.mark.parametrize(
    "give_back", [partial(free_device_memory, False), partial(free_device_memory, True), give_memory_back]
)
def test_memory_that_cannot_be_given_back_is_no_error(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, give_back: Callable[[], None]
) -> None:
    """As after a recording that broke off."""

    def refuse() -> None:
        asked.append("memory, in vain")
        raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")

    monkeypatch.setattr(torch.cuda, "empty_cache", refuse)
    give_back()
    assert asked[-1] == "memory, in vain"


def test_a_process_without_a_gpu_asks_nothing_of_one(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    free_device_memory(idle=True)
    assert asked == []


def test_float32_is_what_it_says_on_a_cpu() -> None:
    assert float32_means(CPU) == "float32"


@pytest.mark.parametrize(
    ("convolutions", "products", "said"),
    [
        (True, True, "TF32"),
        (True, False, "TF32 convolutions, float32 products"),
        (False, True, "float32 convolutions, TF32 products"),
        (False, False, "float32"),
    ],
)
def test_what_float32_means_on_a_gpu_is_said(
    monkeypatch: pytest.MonkeyPatch, convolutions: bool, products: bool, said: str
) -> None:
    monkeypatch.setattr(torch.backends, "cudnn", SimpleNamespace(allow_tf32=convolutions))
    monkeypatch.setattr(torch.backends.cuda, "matmul", SimpleNamespace(allow_tf32=products))
    assert float32_means(GPU) == said
