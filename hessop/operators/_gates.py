"""The gates of the arguments that describe a model and its objective."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from hessop import _validation
from hessop.curvature.forms import Form, Forward, Scalar, Supervised, Weight
from hessop.curvature.guards import unwrapped
from hessop.curvature.objective import Objective
from hessop.curvature.parameters import Choice, ParameterSpace


def check_module(model: Any) -> None:
    """The gate of `model`."""
    if not isinstance(model, torch.nn.Module):
        raise TypeError(_validation.message("model", "be a torch.nn.Module", repr(model)))


def objective_of(model: torch.nn.Module, form: Form, params: Choice) -> Objective:
    """The objective over the chosen parameters of the user's own module."""
    inner = unwrapped(model)
    return Objective(inner, ParameterSpace(inner, params), form)


def supervised(
    loss_fn: Callable[[Any, Any], torch.Tensor] | None,
    forward: Forward | None,
    weight: Weight | None,
) -> Supervised:
    """The gate of a loss of output and target."""
    if not callable(loss_fn):
        raise TypeError(_validation.message("loss_fn", "be callable", repr(loss_fn)))
    _check_callable("forward", forward)
    _check_callable("weight", weight)
    return Supervised(loss_fn, forward, weight)


def scalar(
    objective: Callable[[torch.nn.Module, Any], torch.Tensor],
    loss_fn: Any,
    forward: Any,
    weight: Weight | None,
) -> Scalar:
    """The gate of an objective without output and target."""
    _check_callable("objective", objective)
    _check_callable("weight", weight)
    if loss_fn is not None or forward is not None:
        raise TypeError(
            _validation.message(
                "objective",
                "stand alone",
                "a loss_fn or forward beside it",
                "Pass None for loss_fn, and no forward.",
            )
        )
    return Scalar(objective, weight)


def _check_callable(name: str, value: Any) -> None:
    if value is not None and not callable(value):
        raise TypeError(_validation.message(name, "be callable", repr(value)))
