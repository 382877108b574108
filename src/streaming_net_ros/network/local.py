"""Local rules of learning as plain functions: Hebbian changes, and the limit on what may change.

Knows tensors, no groups. Imported by ``online``, ``pupil`` and ``training.hebbian``.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

HebbianRule = Literal["hebbian", "anti_hebbian", "oja"]


def hebbian_change(rule: HebbianRule, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """The change of a dense layer's weights, before it is scaled by a rate.

    Args:
        rule: ``hebbian`` y x^T, ``anti_hebbian`` -y x^T, ``oja`` y x^T - y^2 W (Oja 1982).
        x: (batch, in) what the layer hears.
        y: (batch, out) the state of its group.
        weight: (out, in).

    Returns:
        (out, in), averaged over the batch.
    """
    change = y.T @ x / len(x)
    if rule == "anti_hebbian":
        return -change
    if rule == "oja":
        change -= y.square().mean(0)[:, None] * weight
    return change


def relative_change(tensor: Tensor, base: Tensor) -> float:
    """How far a tensor is from where it began, by the norm of where it began.

    Infinite if it began at nought and is there no more.
    """
    away, norm = float((tensor - base).norm()), float(base.norm())
    if norm == 0:
        return 0.0 if away == 0 else float("inf")
    return away / norm


def within(tensor: Tensor, base: Tensor, limit: float) -> Tensor:
    """The nearest tensor whose ``relative_change`` is at most ``limit``."""
    change = relative_change(tensor, base)
    if change <= limit:
        return tensor
    if change == float("inf"):
        return base.clone()
    return torch.lerp(base, tensor, limit / change)
