"""The backbone networks (§VII), built for one-channel segments of 64 Mel bands x 32 frames.

Adding a backbone takes one function from the number of classes to a network, and one line in `BACKBONES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the names of the backbones are wanted by programs that never build one
    from torch import nn


def build_vgg19(classes: int) -> nn.Module:
    """VGG19 without batch normalisation, as the paper cites it: 140 M weights, nearly all in its dense layers."""
    return _timm("vgg19", classes)


def build_densenet22(classes: int) -> nn.Module:
    """DenseNet with 22 weighted layers: stem, three blocks of three bottlenecks, two transitions, classifier.

    Growth rate 12; the paper names only the depth (§VII).
    """
    import timm

    return timm.models.DenseNet(growth_rate=12, block_config=(3, 3, 3), in_chans=1, num_classes=classes)


def build_mobilenetv2(classes: int) -> nn.Module:
    return _timm("mobilenetv2_100", classes)


def build_efficientnet_b0(classes: int) -> nn.Module:
    return _timm("efficientnet_b0", classes)


def build_tiny(classes: int) -> nn.Module:
    """Three small convolutions, 6 k weights: for trying out a grid or a cluster in seconds. Not in the paper."""
    from torch import nn

    layers: list[nn.Module] = []
    for width, wider in ((1, 8), (8, 16), (16, 32)):
        layers += [
            nn.Conv2d(width, wider, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(wider),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, classes))


BACKBONES: dict[str, Callable[[int], nn.Module]] = {
    "vgg19": build_vgg19,
    "densenet22": build_densenet22,
    "mobilenetv2": build_mobilenetv2,
    "efficientnet_b0": build_efficientnet_b0,
    "tiny": build_tiny,
}


def _timm(name: str, classes: int) -> nn.Module:
    import timm

    return timm.create_model(name, pretrained=False, in_chans=1, num_classes=classes)
