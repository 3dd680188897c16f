"""The backbone networks (§VII), built for one-channel segments of 64 Mel bands x 32 frames.

Adding a backbone takes one function from the number of classes to a network, and one line in `BACKBONES`. Changing one
takes a version in `VERSIONS`: it is part of a stage's identity, so that stages of before are kept and not mixed in.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the names of the backbones are wanted by programs that never build one
    from torch import nn


def build_vgg19(classes: int, narrowed: int = 1) -> nn.Module:
    """VGG19 with batch normalisation behind each hidden layer, for segments of 32 to 63 frames: 41 M weights.

    Its sixteen convolutions leave 512 maps of 2 x 1, which the dense layers take as they are. Weights are drawn as He
    et al. do for ReLU ("Delving Deep into Rectifiers", ICCV 2015), those of the last layer near zero. `narrowed`
    divides the width of every other layer.
    """
    from timm.layers.norm_act import BatchNormAct2d
    from torch import nn

    layers: list[nn.Module] = []
    before = 1
    for convolutions, wide in ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512)):
        for _ in range(convolutions):
            width = wide // narrowed
            layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), BatchNormAct2d(width)]
            before = width
        layers.append(nn.MaxPool2d(2))
    layers.append(nn.Flatten())
    before *= 2
    for _ in range(2):
        width = 4096 // narrowed
        layers += [nn.Linear(before, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
        before = width
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    last = nn.Linear(before, classes)
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


def build_densenet22(classes: int) -> nn.Module:
    """DenseNet with 22 weighted layers: stem, three blocks of three bottlenecks, two transitions, classifier.

    Growth rate 12; the paper names only the depth (§VII).
    """
    import timm

    return timm.models.DenseNet(growth_rate=12, block_config=(3, 3, 3), in_chans=1, num_classes=classes)


def build_timm(name: str, classes: int) -> nn.Module:
    """The network that timm builds by this name, with weights drawn at random."""
    import timm

    return timm.create_model(name, pretrained=False, in_chans=1, num_classes=classes)


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
    "mobilenetv2": partial(build_timm, "mobilenetv2_100"),
    "efficientnet_b0": partial(build_timm, "efficientnet_b0"),
    "tiny": build_tiny,
}

VERSIONS = {"vgg19": 2}  # raise that of a backbone when its code changes what it learns; 1 where there is none


def version_of(backbone: str) -> int:
    """Which version of a backbone this is: 1 unless VERSIONS says more."""
    return VERSIONS.get(backbone, 1)
