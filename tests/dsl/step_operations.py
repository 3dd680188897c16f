"""What a training step asks of a GPU, operation by operation, on tensors that have a shape and no content.

torch's autograd engine wants a real GPU for tensors that say they lie on one. So the whole step is taken on tensors of
a CPU, with the layers of a GPU; and what comes before the backward pass once more on tensors of a GPU, where it shows
whether any goes to the host or comes from there. The kernels of `dsl.acceleration.gpu_kernels` are noted and not run.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dsl import steps
from dsl.acceleration import gpu_layers, recording
from dsl.acceleration.layers import use_gpu_layers
from dsl.acceleration.recording import SWITCH
from dsl.segments import Segments
from dsl.settings import Layout, Precision, TrainingSettings
from dsl.steps import MEMORY_FORMATS, TrainingRun
from tests.dsl.honest_recorder import Stream
from tests.dsl.lessons import paper_sized

BATCH = 128
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
Build = Callable[[], nn.Module]


class Noting(TorchDispatchMode):
    """Counts operations by name. A copy is a `clone`, or `contiguous` if to another layout."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counted: Counter[str] = Counter()

    def __torch_dispatch__(
        self, called: Any, types: Any, given: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        named = named or {}
        namespace, _, name = called._schema.name.partition("::")
        if namespace == "aten" and not called.is_view:
            to_another = name == "clone" and named.get("memory_format") not in (None, torch.preserve_format)
            self.counted["contiguous" if to_another else name] += 1
        made = called(*given, **named)
        if name in ("_to_copy", "copy_") and len({tensor.device for tensor in _tensors((given, made))}) > 1:
            self.counted["between host and device"] += 1
        return made


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


class Kernels:
    """In the place of `dsl.acceleration.gpu_kernels`: `counted` are the kernels that were started."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        kernels = self

        class Kernel:
            def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
                def start(*given: Any, **named: Any) -> None:
                    kernels.counted[name] += 1

                return start

        return Kernel()


@dataclass(frozen=True)
class Asked:
    """What a step asked for: operations by name, and kernels of our own."""

    operations: Counter[str]
    kernels: Counter[str]


def asked_by_a_step(build: Build, precision: Precision = "float32", layout: Layout = "channels_last") -> Asked:
    kernels = Kernels()
    settings = TrainingSettings(batch_size=BATCH, precision=precision, layout=layout)
    with _pretending() as patch:
        patch.setattr(gpu_layers, "kernels", kernels)
        whole = _operations_on(CPU, build, settings, kernels)
        patch.setattr(gpu_layers, "kernels", Kernels())
        patch.setattr(torch.Tensor, "backward", lambda loss: None)
        patch.setattr(torch.optim.Adam, "step", lambda adam: None)
        before_backward = _operations_on(GPU, build, settings, Kernels())
    return Asked(whole | before_backward, kernels.counted)


@contextmanager
def _pretending() -> Iterator[pytest.MonkeyPatch]:
    """A block in which runs on any device are a GPU's, and no GPU is needed for that."""

    def adam(run: TrainingRun) -> torch.optim.Optimizer:
        made = torch.optim.Adam(run.network.parameters(), 1e-3, eps=1e-7, fused=True)
        made.param_groups[0]["lr"] = torch.empty((), device=run._device)
        return made

    @contextmanager
    def reduced(device_type: str, dtype: torch.dtype = torch.bfloat16, enabled: bool = True) -> Iterator[None]:
        """Automatic mixed precision, which torch leaves out where there is no GPU."""
        torch.set_autocast_dtype(device_type, dtype)
        before = torch.is_autocast_enabled(device_type)
        torch.set_autocast_enabled(device_type, enabled)
        yield
        torch.set_autocast_enabled(device_type, before)
        torch.clear_autocast_cache()

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SWITCH, "0")
        patch.setattr(steps, "use_cpu_layers", use_gpu_layers)
        patch.setattr(recording, "_state_of_draws", lambda device: None)
        patch.setattr(TrainingRun, "_new_optimizer", adam)
        patch.setattr(torch, "autocast", reduced)
        patch.setattr(torch.cuda, "Stream", lambda device: Stream())
        patch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
        patch.setattr(torch.cuda, "current_stream", lambda device: None)
        patch.setattr(torch.cuda, "manual_seed", lambda seed: None)
        yield patch


def _operations_on(device: torch.device, build: Build, settings: TrainingSettings, kernels: Kernels) -> Counter[str]:
    noting = Noting()
    with FakeTensorMode(allow_non_fake_inputs=True), device:
        corpus = paper_sized(2 * BATCH)
        segments = Segments(corpus, np.zeros(64), np.ones(64), device)
        target = torch.rand(len(corpus), 3, device=device)
        run = TrainingRun(lambda: _laid_out(build(), settings.layout), settings, 0, segments, target)
        run.network.train()
        index = torch.arange(BATCH, device=device)
        try:
            run._step(index)
            kernels.counted.clear()
            with noting:
                run._step(index)
        except (DataDependentOutputException, DynamicOutputShapeException) as waits:
            noting.counted[waits.func._schema.name.partition("::")[2]] += 1
    return noting.counted


def _laid_out(network: nn.Module, layout: Layout) -> nn.Module:
    """As `TrainingRun` does, which tensors without content do not let it."""
    for module in network.modules():
        for name, weight in module._parameters.items():
            if weight is not None and weight.dim() == 4:
                own = weight.detach().contiguous(memory_format=MEMORY_FORMATS[layout])
                module._parameters[name] = nn.Parameter(own)
    network.to = lambda *_, **__: network  # type: ignore[method-assign]
    return network
