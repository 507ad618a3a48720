"""What a fit minimises, and how: plain data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nbnet.graph.network import Network
from nbnet.kernels.user import CustomLoss

__all__ = ["Problem", "Recipe"]


@dataclass(frozen=True)
class Problem:
    """The data of a fit, and the loss whose weighted mean over the rows it minimises.

    Attributes
    ----------
    network : Network
        Maps features to raw outputs.
    X : ndarray or CSR of shape (N, I)
        The rows, checked; C-contiguous where dense.
    y : ndarray of shape (N, T)
        Targets, in the dtype of `X`.
    sample_weight : ndarray of shape (N,) or None
        Weights of the rows, in the dtype of `X`; None weighs all alike.
    loss : str or CustomLoss
        A name in `LOSSES`, or a loss of the user's.
    numbers : dict
        Hyperparameters of the loss, by name; empty for most. Several levels are a tuple.
    """

    network: Network
    X: Any
    y: np.ndarray
    sample_weight: np.ndarray | None
    loss: str | CustomLoss
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """How a fit goes: every number that the user may choose, and nothing that training changes.

    Attributes
    ----------
    solver : str
        A name in `OPTIMIZERS`, or 'lbfgs'.
    solver_numbers : dict
        Hyperparameters of that optimizer, by name.
    learning_rate_init : float
        The learning rate of the first step.
    schedule : str or callable
        A name in `SCHEDULES`: how the learning rate goes on; or a function from the share of all
        updates that is done, in [0, 1), to a factor.
    schedule_numbers : dict
        Hyperparameters of that schedule, by name.
    warmup_fraction : float
        The share of all updates over which the learning rate rises to what the schedule says.
    alpha : float
        Strength of the L2 penalty on the weights (biases go free).
    weight_decay : float
        Each update takes this share of the learning rate off the weights (biases go free).
    clip_norm : float or None
        The largest norm of a gradient.
    average : float
        Decay of the exponential average of the parameters over the updates; 0 for none.
    batch_size : int
        B, the rows between two updates.
    max_iter : int
        The largest number of epochs, or of iterations of 'lbfgs'.
    max_fun : int
        The largest number of evaluations of loss and gradient by 'lbfgs'.
    shuffle : bool
        Whether to permute the rows before every epoch. Permutations compose.
    tol : float
        What counts as an improvement; for 'lbfgs' the largest entry of the gradient at which it
        has converged.
    n_iter_no_change : float
        More than this many epochs in a row without an improvement end the fit, or lower the
        learning rate.
    early_stopping : bool
        Whether the score on held-out rows, and not the training loss, is judged.
    validation_fraction : float
        The share of rows that early stopping holds out.
    metric : str
        That score: a name in `METRICS`, 'loss', or that of a scorer which `HeldOut` holds.
    verbose : int
        0 reports nothing, 1 the progress of the fit, 2 and more each epoch.
    restore_best : bool
        Whether the parameters of the best epoch are kept also without early stopping: the one with
        the highest score if rows are held out, otherwise the one with the smallest loss.
    """

    solver: str = "adam"
    solver_numbers: Mapping[str, float] = field(default_factory=dict)
    learning_rate_init: float = 0.001
    schedule: str | Callable[[float], float] = "constant"
    schedule_numbers: Mapping[str, float] = field(default_factory=dict)
    warmup_fraction: float = 0.0
    alpha: float = 0.0001
    weight_decay: float = 0.0
    clip_norm: float | None = None
    average: float = 0.0
    batch_size: int = 200
    max_iter: int = 200
    max_fun: int = 15000
    shuffle: bool = True
    tol: float = 1e-4
    n_iter_no_change: float = 10
    early_stopping: bool = False
    validation_fraction: float = 0.1
    metric: str = "accuracy"
    verbose: int = 0
    restore_best: bool = False
