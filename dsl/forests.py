"""Random forests that decide as scikit-learn's do, several times faster.

The same trees, of the same draws: `RandomForestClassifier(random_state=seed)` with its defaults (100 trees, Gini
impurity, the square root of the features at a split) and `forest_classes(..., seed)` say the same of every utterance.
What is faster is how a split is found. scikit-learn sorts a node's samples by each feature that is tried; here a
feature's values are ranked once, and a node's samples are put in order by marking their ranks.
"""

from functools import lru_cache

import numpy as np

from data_prep.arrays import Floats, Ints
from dsl.acceleration.kernels import compiled, inlined

TREES = 100
LARGEST_SEED = 2**31 - 1
TIED = np.float32(1e-7)  # values no further apart than this count as equal
EPSILON = float(np.finfo(np.float64).eps)
SLACK = 1 - 1e-9  # far more than rounding takes
SPREAD = np.uint64(0x03F79D71B4CB0A89)  # a de Bruijn sequence: times a power of two, its upper six bits tell which
PLACES = np.empty(64, dtype=np.int64)
PLACES[[(int(SPREAD) << place) % 2**64 >> 58 for place in range(64)]] = range(64)


def forest_classes(features: Floats, label: Ints, asked: Floats, seed: int) -> Ints:
    """The classes that a forest decides for, int64 [m], having learnt `features` [n, F] with `label` int [n].

    `asked` is [m, F]; no value may be missing. Of classes that are equally likely, the lowest is taken.
    """
    classes, known = np.unique(label, return_inverse=True)
    values = np.ascontiguousarray(features.T, dtype=np.float32)
    distinct, rank = _ranked(values)
    asked = np.ascontiguousarray(asked, dtype=np.float32)
    said = np.zeros((len(asked), len(classes)))
    tried = max(1, int(np.sqrt(len(values))))
    for weight, state in zip(*_drawn(seed, len(label)), strict=True):
        _grow_and_ask(distinct, rank, known.astype(np.int32), len(classes), weight, tried, state, asked, said)
    likeliest: Ints = (said / TREES).argmax(axis=1)
    return classes[likeliest]


@lru_cache(maxsize=64)  # the networks of a sweep are decided on by forests of the same draws
def _drawn(seed: int, samples: int) -> tuple[Ints, list[int]]:
    """How often each tree of a forest has each sample, int32 [TREES, samples], and where it begins to draw features."""
    draw = np.random.RandomState(seed)
    seeds = [draw.randint(LARGEST_SEED) for _ in range(TREES)]
    sampled = (np.random.RandomState(one).randint(0, samples, samples) for one in seeds)
    weights = np.array([np.bincount(each, minlength=samples) for each in sampled], dtype=np.int32)
    return weights, [np.random.RandomState(one).randint(0, LARGEST_SEED) or 1 for one in seeds]


def _ranked(values: Floats) -> tuple[Floats, Ints]:
    """The values of each feature in order, float32 [F, n], and each sample's rank among the distinct, int32 [F, n].

    The first of each row of values are the distinct ones; what comes after is not used.
    """
    distinct, rank = np.empty_like(values), np.empty(values.shape, dtype=np.int32)
    for feature, row in enumerate(values):
        found, rank[feature] = np.unique(row, return_inverse=True)
        distinct[feature, : len(found)] = found
    return distinct, rank


# Compiled: numba finds their types.


@inlined
def _count_classes(above, members, label, weight):  # type: ignore[no-untyped-def]
    """Weight of each class among `members`, into `above` [classes]; their sum, and the sum of their squares."""
    above[:] = 0
    for one in members:
        above[label[one]] += weight[one]
    whole, square = 0, 0
    for k in range(len(above)):
        whole += above[k]
        square += above[k] * above[k]
    return whole, square


@inlined
def _mark_ranks(members, ranks, marks, chain, after):  # type: ignore[no-untyped-def]
    """Mark the ranks that `members` have of a feature, each with a chain of its members; the lowest and the highest."""
    lowest, highest = len(ranks), -1
    for one in members:
        r = ranks[one]
        lowest, highest = min(lowest, r), max(highest, r)
        bit = np.uint64(1) << np.uint64(r & 63)
        after[one] = chain[r] if marks[r >> 6] & bit else -1
        marks[r >> 6] |= bit
        chain[r] = one
    return lowest, highest


@inlined
def _best_cut(marked, of_classes, sums, best, bar):  # type: ignore[no-untyped-def]
    """The best cut between two marked ranks of a feature, if it gains more than `best`: its gain, rank, threshold,
    impurities left and right, weight on the left, and the bar for the next. The marks are cleared."""
    lowest, highest, value, marks, chain, after = marked
    label, weight, above, below = of_classes
    whole, square = sums
    best_rank, best_threshold, best_left, best_right, best_whole = -1, 0.0, 0.0, 0.0, 0
    below[:] = 0
    weight_below, square_below, square_above, before = 0, 0, square, lowest
    for word in range(lowest >> 6, (highest >> 6) + 1):
        bits = marks[word]
        marks[word] = np.uint64(0)
        while bits:
            low = bits & (~bits + np.uint64(1))
            bits ^= low
            r = (word << 6) + PLACES[(low * SPREAD) >> np.uint64(58)]
            w, v = float(weight_below), float(whole - weight_below)
            # Without a division: whether the gain, square_below / w + square_above / v - whole, may be larger.
            if square_below * v + square_above * w > bar * (w * v) and value[r] > value[before] + TIED:
                gini_below = 1.0 - square_below / (w * w)
                gini_above = 1.0 - square_above / (v * v)
                gain = -v * gini_above - w * gini_below
                if gain > best:
                    middle = value[before] / 2.0 + value[r] / 2.0
                    if middle == value[r]:
                        middle = np.float64(value[before])
                    best, best_rank, best_threshold = gain, before, middle
                    best_left, best_right, best_whole = gini_below, gini_above, weight_below
                    bar = (gain + whole) * SLACK
            one = chain[r]
            while one >= 0:
                k, w_one = label[one], weight[one]
                square_below += w_one * (2 * below[k] + w_one)
                square_above -= w_one * (2 * (above[k] - below[k]) - w_one)
                below[k] += w_one
                weight_below += w_one
                one = after[one]
            before = r
    return best, best_rank, best_threshold, best_left, best_right, best_whole, bar


@inlined
def _part(members, moved, ranks, best_rank):  # type: ignore[no-untyped-def]
    """Order `members` so that those up to `best_rank` come first, each half as it was; how many those are."""
    low, high = 0, 0
    for one in members:
        if ranks[one] <= best_rank:
            members[low] = one
            low += 1
        else:
            moved[high] = one
            high += 1
    members[low:] = moved[:high]
    return low


@compiled
def _ask(asked, said, tree):  # type: ignore[no-untyped-def]
    """Add what a tree says of `asked` [m, F] to `said` [m, classes]."""
    split_feature, threshold, right, share = tree
    for row in range(len(asked)):
        node = 0
        while split_feature[node] >= 0:
            node = node + 1 if asked[row, split_feature[node]] <= threshold[node] else right[node]
        for k in range(said.shape[1]):
            said[row, k] += share[node, k]


@inlined
def _best_split(members, draw, values, marking, of_classes, sums):  # type: ignore[no-untyped-def]
    """Draw features until enough were tried, and take the best cut of any: the state of the draws, how many features
    were found to be constant, and the feature (-1 where none splits), rank, threshold, impurities left and right, and
    weight on the left. `order` is that of the draws, `known` how many features are known to be constant."""
    order, known, tried, state = draw
    distinct, rank = values
    marks, chain, after = marking
    best, best_feature, best_rank, best_threshold, bar = -np.inf, -1, -1, 0.0, 0.0
    best_left, best_right, best_whole = 0.0, 0.0, 0
    left_to_draw, seen, found, drawn = len(order), 0, 0, 0
    while left_to_draw > known + found and (seen < tried or seen <= found + drawn):
        seen += 1
        state ^= (state << 13) & 0xFFFFFFFF  # a xorshift of 32 bits
        state ^= state >> 17
        state ^= (state << 5) & 0xFFFFFFFF
        at = drawn + (state & 0x7FFFFFFF) % (left_to_draw - found - drawn)
        if at < known:
            order[drawn], order[at] = order[at], order[drawn]
            drawn += 1
            continue
        at += found
        feature = order[at]
        ranks, value = rank[feature], distinct[feature]
        lowest, highest = _mark_ranks(members, ranks, marks, chain, after)
        if value[highest] <= value[lowest] + TIED:
            marks[lowest >> 6 : (highest >> 6) + 1] = 0
            order[at], order[known + found] = order[known + found], order[at]
            found += 1
            continue
        left_to_draw -= 1
        order[left_to_draw], order[at] = order[at], order[left_to_draw]
        cut = _best_cut((lowest, highest, value, marks, chain, after), of_classes, sums, best, bar)
        if cut[0] > best:
            best, best_rank, best_threshold, best_left, best_right, best_whole, bar = cut
            best_feature = feature
    return state, found, best_feature, best_rank, best_threshold, best_left, best_right, best_whole


@compiled
def _grow_and_ask(distinct, rank, label, classes, weight, tried, state, asked, said):  # type: ignore[no-untyped-def]
    """Grow a tree on the samples of weight above 0, and add what it says of `asked` to `said` [m, classes]."""
    features, count = rank.shape
    members = np.flatnonzero(weight).astype(np.int32)
    moved = np.empty_like(members)
    nodes = 2 * len(members)
    split_feature = np.full(nodes, -1)
    threshold = np.empty(nodes)
    right = np.empty(nodes, dtype=np.int64)  # the left child comes next
    share = np.zeros((nodes, classes))
    order = np.arange(features)
    constant = np.empty(features, dtype=np.int64)
    marks = np.zeros(count // 64 + 1, dtype=np.uint64)
    chain = np.empty(count, dtype=np.int32)  # the first member of each rank that is marked
    after = np.empty(count, dtype=np.int32)  # and the next of the same rank
    above = np.empty(classes, dtype=np.int64)
    below = np.empty(classes, dtype=np.int64)
    # A node that is still to be made: members from, to, features known to be constant, and whose right child it is.
    waiting = np.empty((features + nodes, 4), dtype=np.int64)
    waiting[0] = 0, len(members), 0, -1
    impurities = np.empty(features + nodes)
    impurities[0] = np.inf
    depth, made = 1, 0
    total = float(weight.sum())
    while depth:
        depth -= 1
        start, end, known, parent = waiting[depth]
        impurity = impurities[depth]
        node = made
        made += 1
        if parent >= 0:
            right[parent] = node
        whole, square = _count_classes(above, members[start:end], label, weight)
        if node == 0:
            impurity = 1.0 - square / (float(whole) * float(whole))
        share[node] = above / float(whole)
        if end - start < 2 or impurity <= EPSILON:
            continue
        state, found, best_feature, best_rank, best_threshold, best_left, best_right, best_whole = _best_split(
            members[start:end],
            (order, known, tried, state),
            (distinct, rank),
            (marks, chain, after),
            (label, weight, above, below),
            (whole, square),
        )
        order[:known] = constant[:known]
        constant[known : known + found] = order[known : known + found]
        gained = impurity - (whole - best_whole) / float(whole) * best_right - best_whole / float(whole) * best_left
        if best_feature < 0 or whole / total * gained + EPSILON < 0:
            continue
        split_feature[node], threshold[node] = best_feature, best_threshold
        middle_place = start + _part(members[start:end], moved, rank[best_feature], best_rank)
        waiting[depth] = middle_place, end, known + found, node
        impurities[depth] = best_right
        waiting[depth + 1] = start, middle_place, known + found, -1
        impurities[depth + 1] = best_left
        depth += 2
    _ask(asked, said, (split_feature, threshold, right, share))
