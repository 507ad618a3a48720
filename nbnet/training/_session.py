"""The session of a fit in terms of `nbnet.network.Trainer`, until there is one below it."""

from typing import Any

import numpy as np

from nbnet.network import Trainer

__all__ = ["STEP_COLUMNS", "Session"]

STEP_COLUMNS = ("learning_rate",)


class Session(Trainer):
    """A `Trainer` that takes one row of numbers for each step."""

    def __init__(self, *arguments: Any, checked: bool = False, **options: Any):
        super().__init__(*arguments, **options)

    def epoch(self, order: np.ndarray, steps: Any) -> float:
        """`Trainer.epoch`; all `steps` of an epoch share the learning rate of the first."""
        return super().epoch(order, steps if np.ndim(steps) == 0 else steps[0, 0])

    gradient = Trainer.loss_and_gradient
