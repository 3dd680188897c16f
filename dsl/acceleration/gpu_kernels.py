"""Kernels for small networks on a GPU, in Triton: batch norm with its activation, and depthwise convolutions.

Maps lie channels-last, as rows [n h w, C]. Sums over rows are taken in an order that sizes alone decide: no kernel adds
up what others have done as they happen to end, so the same bits come out whatever else the device does.
"""

import triton
import triton.language as tl


@triton.jit
def _activated(z, SILU: tl.constexpr, low, high):
    if SILU:
        return z * tl.sigmoid(z)
    else:
        return tl.where(z < low, low, tl.where(z > high, high, z))  # NaN stays NaN


@triton.jit
def _led_through(gradient, z, SILU: tl.constexpr, low, high):
    """The gradient of what goes into an activation, from that of what comes out."""
    if SILU:
        s = tl.sigmoid(z)
        return gradient * s * (1 + z * (1 - s))
    else:
        return tl.where((z <= low) | (z >= high), 0.0, gradient)


@triton.jit
def _update(running_mean, running_variance, tracked, c, inside, mean, variance, rows, momentum, first):
    """Running statistics [C], of which the first block counts the batch."""
    kept = tl.load(running_mean + c, mask=inside)
    tl.store(running_mean + c, kept + momentum * (mean - kept), mask=inside)
    kept = tl.load(running_variance + c, mask=inside)
    unbiased = variance * (rows / (rows - 1.0))
    tl.store(running_variance + c, kept + momentum * (unbiased - kept), mask=inside)
    if first:
        tl.store(tracked, tl.load(tracked) + 1)


@triton.jit
def normalise_at_once(
    x, y, weight, bias, means, scales, running_mean, running_variance, tracked,
    rows, C, eps, momentum, low, high, SILU: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Batch norm and activation of all rows of a block of channels."""
    r, c = tl.arange(0, ROWS), tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = c < C
    there = (r < rows)[:, None] & inside[None, :]
    place = r[:, None] * C + c[None, :]
    value = tl.load(x + place, mask=there, other=0.0).to(tl.float32)
    mean = tl.sum(value, 0) / rows
    centred = tl.where(there, value - mean[None, :], 0.0)
    variance = tl.sum(centred * centred, 0) / rows
    scale = 1.0 / tl.sqrt(variance + eps)
    tl.store(means + c, mean, mask=inside)
    tl.store(scales + c, scale, mask=inside)
    _update(
        running_mean, running_variance, tracked, c, inside, mean, variance, rows, momentum, tl.program_id(0) == 0
    )  # fmt: skip
    w, b = tl.load(weight + c, mask=inside), tl.load(bias + c, mask=inside)
    z = centred * scale[None, :] * w[None, :] + b[None, :]
    tl.store(y + place, _activated(z, SILU, low, high).to(y.dtype.element_ty), mask=there)


@triton.jit
def lead_back_at_once(
    x, gradient, weight, bias, means, scales, of_input, of_weight, of_bias,
    rows, C, low, high, SILU: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradients of `normalise_at_once`."""
    r, c = tl.arange(0, ROWS), tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = c < C
    there = (r < rows)[:, None] & inside[None, :]
    place = r[:, None] * C + c[None, :]
    w, b = tl.load(weight + c, mask=inside), tl.load(bias + c, mask=inside)
    mean, scale = tl.load(means + c, mask=inside), tl.load(scales + c, mask=inside)
    value = tl.load(x + place, mask=there, other=0.0).to(tl.float32)
    normal = (value - mean[None, :]) * scale[None, :]
    coming = tl.load(gradient + place, mask=there, other=0.0).to(tl.float32)
    of_z = tl.where(there, _led_through(coming, normal * w[None, :] + b[None, :], SILU, low, high), 0.0)
    total, projected = tl.sum(of_z, 0), tl.sum(of_z * normal, 0)
    tl.store(of_bias + c, total, mask=inside)
    tl.store(of_weight + c, projected, mask=inside)
    left = of_z - (total[None, :] + normal * projected[None, :]) / rows
    tl.store(of_input + place, (left * (w * scale)[None, :]).to(of_input.dtype.element_ty), mask=there)


@triton.jit
def sum_up_rows(x, means, squares, rows, C, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Mean, and sum of squares about it, of each block of `ROWS` rows: [blocks, C] each."""
    r, c = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = c < C
    there = (r < rows)[:, None] & inside[None, :]
    value = tl.load(x + r[:, None] * C + c[None, :], mask=there, other=0.0).to(tl.float32)
    mean = tl.sum(value, 0) / tl.minimum(ROWS, rows - tl.program_id(0) * ROWS)
    centred = tl.where(there, value - mean[None, :], 0.0)
    tl.store(means + tl.program_id(0) * C + c, mean, mask=inside)
    tl.store(squares + tl.program_id(0) * C + c, tl.sum(centred * centred, 0), mask=inside)


@triton.jit
def normalise_rows(
    x, y, weight, bias, block_means, block_squares, means, scales, running_mean, running_variance, tracked,
    rows, blocks, C, eps, momentum, low, high, SILU: tl.constexpr,
    ROWS: tl.constexpr, BLOCKS: tl.constexpr, OWN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Batch norm and activation of `OWN` rows, from the moments of blocks of `ROWS` (`sum_up_rows`)."""
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = c < C
    k = tl.arange(0, BLOCKS)
    of_block = (k < blocks)[:, None] & inside[None, :]
    size = tl.where(k < blocks, tl.minimum(ROWS, rows - k * ROWS), 0).to(tl.float32)
    part = tl.load(block_means + k[:, None] * C + c[None, :], mask=of_block, other=0.0)
    mean = tl.sum(part * size[:, None], 0) / rows
    apart = tl.where(of_block, part - mean[None, :], 0.0)
    squares = tl.load(block_squares + k[:, None] * C + c[None, :], mask=of_block, other=0.0)
    variance = tl.sum(squares + apart * apart * size[:, None], 0) / rows
    scale = 1.0 / tl.sqrt(variance + eps)
    if tl.program_id(0) == 0:
        tl.store(means + c, mean, mask=inside)
        tl.store(scales + c, scale, mask=inside)
        _update(
            running_mean, running_variance, tracked, c, inside, mean, variance, rows, momentum, tl.program_id(1) == 0
        )  # fmt: skip
    r = tl.program_id(0) * OWN + tl.arange(0, OWN)
    there = (r < rows)[:, None] & inside[None, :]
    place = r[:, None] * C + c[None, :]
    value = tl.load(x + place, mask=there, other=0.0).to(tl.float32)
    w, b = tl.load(weight + c, mask=inside), tl.load(bias + c, mask=inside)
    z = (value - mean[None, :]) * scale[None, :] * w[None, :] + b[None, :]
    tl.store(y + place, _activated(z, SILU, low, high).to(y.dtype.element_ty), mask=there)


@triton.jit
def sum_up_gradients(
    x, gradient, weight, bias, means, scales, totals, projections,
    rows, C, low, high, SILU: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Of each block of `ROWS` rows, what `lead_rows_back` needs the sums of: [blocks, C] each."""
    r, c = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = c < C
    there = (r < rows)[:, None] & inside[None, :]
    place = r[:, None] * C + c[None, :]
    w, b = tl.load(weight + c, mask=inside), tl.load(bias + c, mask=inside)
    mean, scale = tl.load(means + c, mask=inside), tl.load(scales + c, mask=inside)
    value = tl.load(x + place, mask=there, other=0.0).to(tl.float32)
    normal = (value - mean[None, :]) * scale[None, :]
    coming = tl.load(gradient + place, mask=there, other=0.0).to(tl.float32)
    of_z = tl.where(there, _led_through(coming, normal * w[None, :] + b[None, :], SILU, low, high), 0.0)
    tl.store(totals + tl.program_id(0) * C + c, tl.sum(of_z, 0), mask=inside)
    tl.store(projections + tl.program_id(0) * C + c, tl.sum(of_z * normal, 0), mask=inside)


@triton.jit
def lead_rows_back(
    x, gradient, weight, bias, means, scales, totals, projections, of_input, of_weight, of_bias,
    rows, blocks, C, low, high, SILU: tl.constexpr, BLOCKS: tl.constexpr, OWN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradients of `normalise_rows`, for `OWN` rows."""
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = c < C
    k = tl.arange(0, BLOCKS)
    of_block = (k < blocks)[:, None] & inside[None, :]
    total = tl.sum(tl.load(totals + k[:, None] * C + c[None, :], mask=of_block, other=0.0), 0)
    projected = tl.sum(tl.load(projections + k[:, None] * C + c[None, :], mask=of_block, other=0.0), 0)
    if tl.program_id(0) == 0:
        tl.store(of_bias + c, total, mask=inside)
        tl.store(of_weight + c, projected, mask=inside)
    r = tl.program_id(0) * OWN + tl.arange(0, OWN)
    there = (r < rows)[:, None] & inside[None, :]
    place = r[:, None] * C + c[None, :]
    w, b = tl.load(weight + c, mask=inside), tl.load(bias + c, mask=inside)
    mean, scale = tl.load(means + c, mask=inside), tl.load(scales + c, mask=inside)
    value = tl.load(x + place, mask=there, other=0.0).to(tl.float32)
    normal = (value - mean[None, :]) * scale[None, :]
    coming = tl.load(gradient + place, mask=there, other=0.0).to(tl.float32)
    of_z = _led_through(coming, normal * w[None, :] + b[None, :], SILU, low, high)
    left = of_z - (total[None, :] + normal * projected[None, :]) / rows
    tl.store(of_input + place, (left * (w * scale)[None, :]).to(of_input.dtype.element_ty), mask=there)


@triton.jit
def convolve(
    x, weight, y, rows, C, height, width, to_height, to_width, stride, padding,
    K: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A depthwise convolution with kernels [C, K, K], for a block of places and channels of the output."""
    r, c = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = c < C
    column, row, n = r % to_width, (r // to_width) % to_height, r // (to_width * to_height)
    total = tl.zeros([ROWS, BLOCK], tl.float32)
    for i in tl.static_range(K):
        for j in tl.static_range(K):
            above, left = row * stride + i - padding, column * stride + j - padding
            there = (r < rows) & (above >= 0) & (above < height) & (left >= 0) & (left < width)
            place = (n * height + above) * width + left
            value = tl.load(x + place[:, None] * C + c[None, :], mask=there[:, None] & inside[None, :], other=0.0)
            tap = tl.load(weight + c * (K * K) + i * K + j, mask=inside, other=0.0)
            total += value.to(tl.float32) * tap.to(tl.float32)[None, :]
    tl.store(
        y + r[:, None] * C + c[None, :], total.to(y.dtype.element_ty), mask=(r < rows)[:, None] & inside[None, :]
    )  # fmt: skip


@triton.jit
def convolve_back(
    gradient, weight, of_input, rows, C, height, width, to_height, to_width, stride, padding,
    K: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradient of the input of `convolve`, for a block of its places and channels."""
    r, c = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = c < C
    column, row, n = r % width, (r // width) % height, r // (width * height)
    total = tl.zeros([ROWS, BLOCK], tl.float32)
    for i in tl.static_range(K):
        for j in tl.static_range(K):
            down, right = row + padding - i, column + padding - j
            to_row, to_column = down // stride, right // stride
            there = (r < rows) & (down >= 0) & (right >= 0) & (to_row < to_height) & (to_column < to_width)
            there &= (down % stride == 0) & (right % stride == 0)
            place = (n * to_height + to_row) * to_width + to_column
            value = tl.load(
                gradient + place[:, None] * C + c[None, :], mask=there[:, None] & inside[None, :], other=0.0
            )  # fmt: skip
            tap = tl.load(weight + c * (K * K) + i * K + j, mask=inside, other=0.0)
            total += value.to(tl.float32) * tap.to(tl.float32)[None, :]
    there = (r < rows)[:, None] & inside[None, :]
    tl.store(of_input + r[:, None] * C + c[None, :], total.to(of_input.dtype.element_ty), mask=there)


@triton.jit
def sum_up_taps(
    x, gradient, parts, rows, C, height, width, to_height, to_width, stride, padding,
    K: tl.constexpr, OWN: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradient of a tap of the kernels of `convolve`, for a block of channels: of each `OWN` places of the output,
    to be added up: [parts, C, K, K]."""
    tap, c = tl.program_id(1), tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = c < C
    i, j = tap // K, tap % K
    total = tl.zeros([ROWS, BLOCK], tl.float32)
    for begin in range(0, OWN, ROWS):
        r = tl.program_id(2) * OWN + begin + tl.arange(0, ROWS)
        column, row, n = r % to_width, (r // to_width) % to_height, r // (to_width * to_height)
        above, left = row * stride + i - padding, column * stride + j - padding
        there = (r < rows) & (above >= 0) & (above < height) & (left >= 0) & (left < width)
        mask = there[:, None] & inside[None, :]
        place = (n * height + above) * width + left
        value = tl.load(x + place[:, None] * C + c[None, :], mask=mask, other=0.0).to(tl.float32)
        coming = tl.load(gradient + r[:, None] * C + c[None, :], mask=mask, other=0.0).to(tl.float32)
        total += value * coming
    place = (tl.program_id(2) * C + c) * (K * K) + tap
    tl.store(parts + place, tl.sum(total, 0), mask=inside)


@triton.jit
def mean_of_places(x, means, places, C, WHOLE: tl.constexpr, PLACES: tl.constexpr, BLOCK: tl.constexpr):
    """The mean of each map: [n, C], float32."""
    n, c = tl.program_id(0), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = c < C
    total = tl.zeros([PLACES, BLOCK], tl.float32)
    for begin in range(0, WHOLE, PLACES):
        p = begin + tl.arange(0, PLACES)
        mask = (p < places)[:, None] & inside[None, :]
        total += tl.load(x + (n * places + p)[:, None] * C + c[None, :], mask=mask, other=0.0).to(tl.float32)
    tl.store(means + n * C + c, tl.sum(total, 0) / places, mask=inside)


@triton.jit
def gate(x, logits, y, places, C, WHOLE: tl.constexpr, PLACES: tl.constexpr, BLOCK: tl.constexpr):
    """Maps times the sigmoid of their `logits` [n, C]."""
    n, c = tl.program_id(0), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = c < C
    share = tl.sigmoid(tl.load(logits + n * C + c, mask=inside, other=0.0))
    for begin in range(0, WHOLE, PLACES):
        p = begin + tl.arange(0, PLACES)
        mask = (p < places)[:, None] & inside[None, :]
        place = (n * places + p)[:, None] * C + c[None, :]
        value = tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
        tl.store(y + place, (value * share[None, :]).to(y.dtype.element_ty), mask=mask)


@triton.jit
def gate_back(
    x, logits, gradient, of_logits, places, C, WHOLE: tl.constexpr, PLACES: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """The gradient of `logits`: [n, C]."""
    n, c = tl.program_id(0), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = c < C
    total = tl.zeros([PLACES, BLOCK], tl.float32)
    for begin in range(0, WHOLE, PLACES):
        p = begin + tl.arange(0, PLACES)
        mask = (p < places)[:, None] & inside[None, :]
        place = (n * places + p)[:, None] * C + c[None, :]
        value = tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
        total += value * tl.load(gradient + place, mask=mask, other=0.0).to(tl.float32)
    share = tl.sigmoid(tl.load(logits + n * C + c, mask=inside, other=0.0))
    tl.store(of_logits + n * C + c, tl.sum(total, 0) * share * (1 - share), mask=inside)


@triton.jit
def excite_back(
    logits, gradient, of_mean, of_input, places, C, WHOLE: tl.constexpr, PLACES: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """The gradient of maps that are gated, and whose means [n, C] decide about it."""
    n, c = tl.program_id(0), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = c < C
    share = tl.sigmoid(tl.load(logits + n * C + c, mask=inside, other=0.0))
    through_mean = tl.load(of_mean + n * C + c, mask=inside, other=0.0) / places
    for begin in range(0, WHOLE, PLACES):
        p = begin + tl.arange(0, PLACES)
        mask = (p < places)[:, None] & inside[None, :]
        place = (n * places + p)[:, None] * C + c[None, :]
        coming = tl.load(gradient + place, mask=mask, other=0.0).to(tl.float32)
        tl.store(
            of_input + place, (coming * share[None, :] + through_mean[None, :]).to(of_input.dtype.element_ty), mask=mask
        )  # fmt: skip
