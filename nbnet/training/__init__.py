"""From initial to trained parameters: recipes, schedules, the state of a fit, and who watches it.

Two ways lead there. `loop.train_by_epochs` visits the rows in shuffled batches and updates the
parameters after each; `lbfgs.train_by_lbfgs` hands the loss and gradient over all rows to SciPy.
Both follow a `Recipe`, bring a `FitState` up to date and return an `Ending`.

Nothing here knows of estimators, labels or attributes with a trailing underscore. The order in
which random numbers are drawn (the validation split, then one permutation per epoch) is part of
the contract: it is what makes a fit reproduce scikit-learn's seed for seed.
"""

from typing import Any

__all__ = ["OptimizerState"]


class OptimizerState:
    """What pickles of development versions before 0.1.0 name; nothing makes one any more."""

    name: str
    settings: dict[str, float]
    learning_rate_init: float
    learning_rate: float
    schedule: str
    power_t: float
    slots: Any
    step: int
