"""Batch norms that are computed with the activation behind them: which can be, and what that activation is."""

import functools
import math
from typing import cast

from torch import nn

Activation = tuple[bool, float, float]  # whether it is SiLU; the bounds of values where it is not
ACTIVATIONS: dict[type, Activation] = {
    nn.Identity: (False, -math.inf, math.inf),
    nn.ReLU: (False, 0.0, math.inf),
    nn.ReLU6: (False, 0.0, 6.0),
    nn.SiLU: (True, -math.inf, math.inf),
}


def activation_of(module: nn.Module) -> Activation:
    """What timm puts behind a batch norm within the same module."""
    return ACTIVATIONS[type(getattr(module, "act", nn.Identity()))]


def normalise_by(kind: type[nn.BatchNorm2d], module: nn.Module) -> None:
    """Turn `module` into a `kind`, where it is a batch norm of the usual sort."""
    usual = (
        isinstance(module, nn.BatchNorm2d)
        and module.affine
        and module.track_running_stats
        and module.momentum is not None
        and isinstance(getattr(module, "drop", nn.Identity()), nn.Identity)
        and type(getattr(module, "act", nn.Identity())) in ACTIVATIONS
    )
    if usual and not isinstance(module, kind):
        module.__class__ = _mixed(kind, type(module))  # type: ignore[arg-type]  # hashable, as classes are


@functools.cache
def _mixed(kind: type[nn.BatchNorm2d], module: type[nn.BatchNorm2d]) -> type[nn.BatchNorm2d]:
    if module is nn.BatchNorm2d:
        return kind
    return cast(type[nn.BatchNorm2d], type(f"{kind.__name__}{module.__name__}", (kind, module), {}))
