"""What a fit minimises, and how: plain data."""

from collections.abc import Mapping
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
        Hyperparameters of the loss, by name; empty for most.
    """

    network: Network
    X: Any
    y: np.ndarray
    sample_weight: np.ndarray | None
    loss: str | CustomLoss
    numbers: Mapping[str, float] = field(default_factory=dict)


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
    schedule : str
        A name in `SCHEDULES`: how the learning rate goes on.
    schedule_numbers : dict
        Hyperparameters of that schedule, by name.
    alpha : float
        Strength of the L2 penalty on the weights (biases go free).
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
        A name in `METRICS`: that score.
    verbose : bool
        Whether to print a line an epoch.
    """

    solver: str = "adam"
    solver_numbers: Mapping[str, float] = field(default_factory=dict)
    learning_rate_init: float = 0.001
    schedule: str = "constant"
    schedule_numbers: Mapping[str, float] = field(default_factory=dict)
    alpha: float = 0.0001
    batch_size: int = 200
    max_iter: int = 200
    max_fun: int = 15000
    shuffle: bool = True
    tol: float = 1e-4
    n_iter_no_change: float = 10
    early_stopping: bool = False
    validation_fraction: float = 0.1
    metric: str = "accuracy"
    verbose: bool = False
