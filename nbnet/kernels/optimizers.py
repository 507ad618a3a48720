"""Optimizers: one step over a run of contiguous parameters.

===========  =====  ==============================================================================
name         slots  step, with gradient g
===========  =====  ==============================================================================
sgd          v      v = mu v - lr g;  p += mu v - lr g  (Nesterov) or  p += v
adam         m, s   m = b1 m + (1 - b1) g;  s = b2 s + (1 - b2) g^2;  p -= lr_t m / (sqrt(s) + eps)
===========  =====  ==============================================================================

with lr_t = lr sqrt(1 - b2^t) / (1 - b1^t). (Goodfellow et al., 2016, section 8.3 and 8.5; Kingma
and Ba, 2015. As in scikit-learn, eps is added after the bias correction of the step size.)

The weights of a silent unit get no gradient, so that their m shrinks by b1 a step until it is
denormal. A vector that holds such a number takes up to twice as long, and in batches of one row
half of all vectors did. Adam sets m to zero before that, below the smallest normal number over the
rounding error of 1: too little to move a parameter, even divided by the usual eps.

Weight decay is decoupled: before the step, ``p -= lr_g d p`` with the group's learning rate lr_g
and decay d (Loshchilov and Hutter, 2019, "Decoupled weight decay regularization", algorithm 2). The
L2 penalty is part of the gradient instead, see `gradient`. What differs between parameters lies in
the row of their group.

To add one: its row in ``OPTIMIZERS``, its branch in `prepare` (what depends on the step alone, in
double precision, once a step) and in `update` (a plain loop; it runs over a tile of parameters
whose gradient still lies in the first-level cache).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from nbnet.kernels.compile.jit import kernel
from nbnet.kernels.machine.moves import run
from nbnet.kernels.records import G_DECAY, G_LEARNING_RATE, S_DECAY, S_LEARNING_RATE

__all__ = ["GROUPS", "OPTIMIZERS", "Group", "Optimizer", "OptimizerName", "prepare", "update"]

OptimizerName = Literal["sgd", "adam"]  # for type checkers: the keys of OPTIMIZERS

SGD, ADAM = range(2)
HYPER = 8  # room for what `prepare` hands to `update`
DECAY = 7  # where the weight decay lies in it


@dataclass(frozen=True)
class Optimizer:
    """A row of ``OPTIMIZERS``.

    Attributes
    ----------
    name : str
    code : int
        What compiled code calls it.
    slots : int
        S, numbers of state per parameter.
    settings : dict of str to float
        Its hyperparameters beside the learning rate and their defaults, in the order in which
        `prepare` reads them.
    """

    name: str
    code: int
    slots: int
    settings: dict[str, float] = field(default_factory=dict)


OPTIMIZERS = {
    row.name: row
    for row in (
        Optimizer("sgd", SGD, 1, {"momentum": 0.9, "nesterov": True}),
        Optimizer("adam", ADAM, 2, {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}),
    )
}


class Group(NamedTuple):
    """A row of ``GROUPS``: how a group of parameters is trained, beside what holds for all.

    Attributes
    ----------
    learning_rate : float
        Factor of the step's learning rate.
    penalty : float
        Factor of alpha, the strength of the L2 penalty.
    decay : float
        Factor of the step's weight decay.
    """

    learning_rate: float = 1.0
    penalty: float = 1.0
    decay: float = 1.0


GROUPS = {
    "weights": Group(),
    "biases": Group(penalty=0.0, decay=0.0),
}


@kernel
def prepare(code, step, settings, t, hyper):
    """Write to `hyper` what all updates of step `t` (1, 2, ...) share; `step` is its schedule."""
    learning_rate = step[S_LEARNING_RATE]
    hyper[DECAY] = learning_rate * step[S_DECAY]
    if code == SGD:
        hyper[0] = learning_rate
        hyper[1] = settings[0]
        hyper[2] = settings[1]
    elif code == ADAM:
        beta_1, beta_2 = settings[0], settings[1]
        hyper[0] = learning_rate * math.sqrt(1.0 - beta_2**t) / (1.0 - beta_1**t)
        hyper[1] = beta_1
        hyper[2] = 1.0 - beta_1
        hyper[3] = beta_2
        hyper[4] = 1.0 - beta_2
        hyper[5] = settings[2]
        hyper[6] = 1e-31 if hyper.itemsize == 4 else 1e-292


@kernel
def update(code, weights, at, gradient, group, hyper):
    """One step for a run of parameters.

    Parameters
    ----------
    code : int
    weights : Weights
        Changed.
    at : int
        Place of the first parameter of the run.
    gradient : (n,) for n parameters
    group : (len(GROUP_COLUMNS),) their group
    hyper : (HYPER,) what `prepare` wrote
    """
    n = gradient.size
    params, first = run(weights.params, at, n), run(weights.state, at, n)
    number = params.dtype.type
    rate = hyper[0] * number(group[G_LEARNING_RATE])
    decay = hyper[DECAY] * number(group[G_LEARNING_RATE] * group[G_DECAY])
    if decay != 0:  # decoupled: not part of the gradient
        for i in range(n):
            params[i] -= decay * params[i]
    if code == SGD:
        momentum = hyper[1]
        if hyper[2] != 0:
            for i in range(n):
                velocity = momentum * first[i] - rate * gradient[i]
                first[i] = velocity
                params[i] += momentum * velocity - rate * gradient[i]
        else:
            for i in range(n):
                velocity = momentum * first[i] - rate * gradient[i]
                first[i] = velocity
                params[i] += velocity
    elif code == ADAM:
        b1, c1, b2, c2, epsilon = hyper[1], hyper[2], hyper[3], hyper[4], hyper[5]
        second = run(weights.state, weights.slot + at, n)
        dust, zero = hyper[6], number(0)
        for i in range(n):
            g = gradient[i]
            m = b1 * first[i] + c1 * g
            m = zero if abs(m) < dust else m
            s = b2 * second[i] + c2 * g * g
            first[i] = m
            second[i] = s
            params[i] -= rate * m / (math.sqrt(s) + epsilon)
