"""Batch norm and its activation on one CPU thread, compiled by numba: as few passes over memory as there can be.

torch reads a map three times to normalise it and again for the activation, and writes it twice; these read it twice and
write it once. On the way back it is four reads and one write, of seven and two. Maps are matrices [rows, channels] of
float32, with a row for each place of each segment. Sums are float32 over blocks of rows, and float64 over blocks.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

# No `fastmath`: what it leaves to the compiler comes out otherwise when a function is compiled than when it is found
# in numba's cache. Rounding is that of IEEE 754, operation by operation, and fused where the code says so (`_fma`).
OPTIONS = {"nogil": True, "error_model": "numpy"}
BLOCK = 65536  # values in a block of rows
WIDE = 128  # values that a loop should find in a row
ZERO, ONE = np.float32(0), np.float32(1)


@intrinsic
def _fused(typing, a, b, c):
    """a * b + c of float32, rounded once."""

    def generate(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return types.float32(types.float32, types.float32, types.float32), generate


_fma: Any = _fused  # as it is called: with three values


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as machine code, kept in numba's cache where there is a place for it."""
    compile_as: Any = njit
    try:
        made: Callable[..., Any] = compile_as(cache=True, **OPTIONS)(function)
    except RuntimeError:  # nowhere to keep what is compiled
        made = compile_as(**OPTIONS)(function)
    return made


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as a part of each compiled one that calls it: what a call costs shows in the innermost loops."""
    compile_as: Any = njit
    made: Callable[..., Any] = compile_as(inline="always", **OPTIONS)(function)
    return made


@compiled
def normalise(x, weight, bias, eps, silu, low, high, out, mean, variance):
    """Normalise x [rows, channels] into `out`, by its own `mean` and `variance` [channels], which are written too.

    The activation is SiLU, or the values are clamped to between `low` and `high`.
    """
    rows, channels = x.shape
    fold = _fold(rows, channels)
    sums = _moments(_folded(x, fold), _tiled(x[0], fold))
    for c in range(channels):
        total, square = 0.0, 0.0
        for k in range(c, fold * channels, channels):
            total += sums[0, k]
            square += sums[1, k]
        above = total / rows
        spread = square / rows - above * above
        mean[c] = x[0, c] + above
        variance[c] = 0.0 if spread < 0.0 else spread
    scale = weight / np.sqrt(variance + eps).astype(np.float32)
    vectors = _tiled(mean, fold), _tiled(scale, fold), _tiled(bias, fold)
    _apply(_folded(x, fold), *vectors, silu, low, high, _folded(out, fold))


@compiled
def normalise_backward(x, gradient, weight, bias, eps, silu, low, high, mean, variance, out, of_weight, of_bias):
    """From the gradient of what `normalise` wrote to those of x, into `out`, of the weight and of the bias."""
    rows, channels = x.shape
    fold = _fold(rows, channels)
    inverse = ONE / np.sqrt(variance + eps).astype(np.float32)
    scale = weight * inverse
    vectors = _tiled(mean, fold), _tiled(scale, fold), _tiled(bias, fold)
    sums = _sums(_folded(x, fold), _folded(gradient, fold), *vectors, silu, low, high)
    by_above, constant = np.empty(channels, np.float32), np.empty(channels, np.float32)
    for c in range(channels):
        total, moment = 0.0, 0.0
        for k in range(c, fold * channels, channels):
            total += sums[0, k]
            moment += sums[1, k]
        of_bias[c] = total
        of_weight[c] = moment * inverse[c]
        by_above[c] = -scale[c] * inverse[c] * (of_weight[c] / rows)
        constant[c] = -scale[c] * (of_bias[c] / rows)
    more = _tiled(by_above, fold), _tiled(constant, fold)
    _back(_folded(x, fold), _folded(gradient, fold), *vectors, *more, silu, low, high, _folded(out, fold))


@compiled
def _fold(rows, channels):
    """How many rows to take as one: short rows are slow."""
    fold = 1
    while fold * channels < WIDE and rows % (2 * fold) == 0:
        fold *= 2
    return fold


@compiled
def _folded(x, fold):
    rows, channels = x.shape
    return x.reshape(rows // fold, fold * channels)


@compiled
def _tiled(vector, fold):
    channels = len(vector)
    tiled = np.empty(fold * channels, np.float32)
    for k in range(fold):
        tiled[k * channels : (k + 1) * channels] = vector
    return tiled


@compiled
def _moments(x, pivot):
    """Sums over rows, float64 [2, channels], of what x is above `pivot` and of its square."""
    rows, channels = x.shape
    sums, block = np.zeros((2, channels)), np.empty((2, channels), np.float32)
    step = max(1, BLOCK // channels)
    for start in range(0, rows, step):
        block[:] = ZERO
        for r in range(start, min(start + step, rows)):
            for c in range(channels):
                above = x[r, c] - pivot[c]
                block[0, c] += above
                block[1, c] = _fma(above, above, block[1, c])
        sums += block
    return sums


@compiled
def _apply(x, mean, scale, bias, silu, low, high, out):
    rows, channels = x.shape
    for r in range(rows):
        for c in range(channels):
            y = _fma(x[r, c] - mean[c], scale[c], bias[c])
            out[r, c] = y * _sigmoid(y) if silu else (low if y < low else (high if y > high else y))


@compiled
def _sums(x, gradient, mean, scale, bias, silu, low, high):
    """Sums over rows, float64 [2, channels], of the normalised values' gradient and of that by x above the mean."""
    rows, channels = x.shape
    sums, block = np.zeros((2, channels)), np.empty((2, channels), np.float32)
    step = max(1, BLOCK // channels)
    for start in range(0, rows, step):
        block[:] = ZERO
        for r in range(start, min(start + step, rows)):
            for c in range(channels):
                above = x[r, c] - mean[c]
                inner = gradient[r, c] * _slope(_fma(above, scale[c], bias[c]), silu, low, high)
                block[0, c] += inner
                block[1, c] = _fma(inner, above, block[1, c])
        sums += block
    return sums


@compiled
def _back(x, gradient, mean, scale, bias, by_above, constant, silu, low, high, out):
    rows, channels = x.shape
    for r in range(rows):
        for c in range(channels):
            above = x[r, c] - mean[c]
            inner = gradient[r, c] * _slope(_fma(above, scale[c], bias[c]), silu, low, high)
            out[r, c] = _fma(inner, scale[c], _fma(above, by_above[c], constant[c]))


@compiled
def _slope(y, silu, low, high):
    if silu:
        sigmoid = _sigmoid(y)
        return sigmoid * _fma(y, ONE - sigmoid, ONE)
    return ZERO if (y <= low) | (y >= high) else ONE


@compiled
def _sigmoid(y):
    return ONE / (ONE + _exp(-y))


@compiled
def _exp(x):
    """exp of a float32, to float32's precision, without a branch: a library's would be called value by value.

    It is 2^k, put together from its bits, times exp of a rest within ln 2 / 2 of zero, by its Taylor polynomial.
    """
    x = np.float32(88) if x > np.float32(88) else x
    x = np.float32(-87) if x < np.float32(-87) else x
    k = np.floor(_fma(x, np.float32(1.44269504), np.float32(0.5)))
    rest = _fma(k, np.float32(-0.693359375), x)  # less k ln 2, in two parts
    rest = _fma(k, np.float32(2.12194440e-4), rest)
    power = np.float32(1 / 5040)
    power = _fma(power, rest, np.float32(1 / 720))
    power = _fma(power, rest, np.float32(1 / 120))
    power = _fma(power, rest, np.float32(1 / 24))
    power = _fma(power, rest, np.float32(1 / 6))
    power = _fma(power, rest, np.float32(1 / 2))
    power = _fma(power, rest, ONE)
    power = _fma(power, rest, ONE)
    return power * _float_of_bits(np.int32((np.int32(k) + np.int32(127)) << np.int32(23)))


@intrinsic
def _float_of_bits(typing, bits):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.int32), generate
