"""The compiled world: scalars, loops and flat arrays; nothing here ever raises.

numba and llvmlite are imported under this package alone. Python code above it sees tables
(``ACTIVATIONS``, ``LOSSES``, ``OPTIMIZERS``, ``OPS``) and the doors of `entry`: `train`, `apply`
and `predict`.
"""
