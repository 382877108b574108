"""A few of many: the same ones every time, and of each class alike.

Owns the choices of a limit and of a share to judge by, and the chance behind them. Knows labels
only. Every reader of ``datasets`` imports it. All functions are pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming_net_ros.errors import ParameterError


def balanced(
    labels: Sequence[int] | NDArray[np.integer[Any]], limit: int | None, seed: int = 0
) -> NDArray[np.int64]:
    """Which items to keep: ``limit`` of them, of each class alike as far as it has them.

    A smaller choice is part of every larger one with the same seed.

    Args:
        labels: (items,) class numbers.
        limit: how many to keep; None for all.
        seed: which of the possible choices.

    Returns:
        Item numbers, increasing.

    Raises:
        ParameterError: a limit below 1.
    """
    if limit is not None and limit < 1:
        raise ParameterError(
            "nothing would be left", where="limit", expected="1 or more", got=limit
        )
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    turns = _turns(np.asarray(labels, np.int64), seed)
    order = np.lexsort((_chance(len(labels), seed + 1), turns))
    return np.sort(order[:limit])


def set_aside(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.bool_]:
    """(items,) True for a share of them: ``round(share * items)``, of each class alike.

    A class gives one more or one less than its share at most, and keeps one as long as another
    class can give one instead.

    Args:
        labels: (items,) class numbers.
        share: in [0, 1].
        seed: which of the possible choices.
    """
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    quotas = np.floor(share * counts).astype(np.int64)
    rests = share * counts - quotas
    would_be_empty = quotas + 1 >= counts
    # What rounding down left over goes to the largest remainders.
    order = np.lexsort((_chance(len(counts), seed), -rests, would_be_empty))
    quotas[order[: round(share * len(labels)) - quotas.sum()]] += 1
    return np.asarray(_turns(labels, seed + 1) < quotas[classes])


def _turns(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """(items,) at which turn each item comes if every class gives one a turn, by chance."""
    order = np.lexsort((_chance(len(labels), seed), labels))
    _, first, counts = np.unique(labels[order], return_index=True, return_counts=True)
    turns = np.empty(len(labels), np.int64)
    turns[order] = np.arange(len(labels)) - np.repeat(first, counts)
    return turns


def _chance(count: int, seed: int) -> NDArray[np.uint64]:
    """(count,) numbers to sort by.

    Raw bits, because numpy keeps them over its versions, which it promises of no distribution.
    """
    return np.asarray(np.random.PCG64(seed).random_raw(count), np.uint64)
