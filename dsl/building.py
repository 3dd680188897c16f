"""Networks as a training begins with them: with other initial weights, or another batch norm, than their backbone's."""

from collections.abc import Callable

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from data_prep.errors import UserError
from dsl.settings import TrainingSettings

_BACKBONES_MOMENTUM = TrainingSettings().batch_norm_momentum  # that all backbones here have


def built(build: Callable[[], nn.Module], settings: TrainingSettings) -> nn.Module:
    """The network that `build` makes, as `settings` want it; as it is at their defaults. Raises UserError."""
    network = build()
    if settings.initialisation == "glorot_uniform":
        draw_glorot_uniform(network)
    if settings.batch_norm_momentum != _BACKBONES_MOMENTUM:
        for norm in batch_norms(network):
            norm.momentum = settings.batch_norm_momentum
    return network


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """The batch norms of a network, in order."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


def draw_glorot_uniform(network: nn.Module) -> None:
    """Draw all weights anew as Keras does by default: those of convolutions and dense layers uniform within
    sqrt(6 / (inputs + outputs)) of a unit (Glorot and Bengio, AISTATS 2010), biases 0, scales of batch norm 1.

    Raises UserError where other layers have weights.
    """
    for module in network.modules():
        if isinstance(module, _ConvNd | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, _BatchNorm):
            module.reset_parameters()
        elif next(module.parameters(recurse=False), None) is not None:
            raise UserError(
                f"training.initialisation: glorot_uniform is for convolutions, dense layers and batch norm, and the "
                f"network has a {type(module).__name__}; use initialisation: backbone"
            )
