"""Compile ahead: fill the cache of machine code before the first fit needs it.

For images and clusters, where the first fit of each container or node would otherwise wait for the
compiler:

    python -m nbnet warmup --help
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from nbnet import graph
from nbnet.graph.network import Network
from nbnet.graph.session import Session as Trainer
from nbnet.kernels.activations import ACTIVATIONS
from nbnet.kernels.compile.jit import COMPILED, compilations
from nbnet.kernels.losses import LOSSES
from nbnet.kernels.optimizers import OPTIMIZERS

__all__ = ["Step", "WarmUp", "warmup"]

DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Step:
    """One kind of work, and what was done to have its machine code ready.

    Attributes
    ----------
    what : str
        The dtype, the networks, and whether they train or predict.
    compiled, loaded : int
        Kernels made by the compiler, and read from the cache; none of either if this process had
        them already.
    seconds : float
        The time it took.
    """

    what: str
    compiled: int
    loaded: int
    seconds: float

    def __str__(self) -> str:
        if self.compiled:
            return f"{self.what}: compiled in {self.seconds:.1f} s"
        return f"{self.what}: there already, {'in the cache' if self.loaded else 'in this process'}"


@dataclass(frozen=True)
class WarmUp:
    """What `warmup` did.

    Attributes
    ----------
    steps : tuple of Step
        One for each kind of work, in the order in which they were done.
    folder : str or None
        Where the machine code is kept for other processes; None if no folder is writable, or if
        numba is switched off.
    """

    steps: tuple[Step, ...]
    folder: str | None

    @property
    def compiled(self) -> int:
        """Kernels made by the compiler."""
        return sum(step.compiled for step in self.steps)

    @property
    def loaded(self) -> int:
        """Kernels read from the cache."""
        return sum(step.loaded for step in self.steps)

    @property
    def seconds(self) -> float:
        """The time it took in all."""
        return sum(step.seconds for step in self.steps)

    def __str__(self) -> str:
        if not COMPILED:
            return "nothing to compile: NUMBA_DISABLE_JIT is set"
        kept = f"kept in {self.folder}" if self.folder else "not kept: no folder is writable"
        return (
            f"{self.compiled} kernels compiled, {self.loaded} loaded, {self.seconds:.1f} s; "
            f"machine code is {kept}"
        )


def _stack() -> graph.Node:
    """Every plain activation, one layer each."""
    plain = [name for name, row in ACTIVATIONS.items() if row.plain]
    return graph.mlp(3, [(name, 4) for name in plain], n_outputs=2)


def _everything() -> graph.Node:
    """What is not a plain stack: maxout, and nodes of several inputs."""
    x = graph.input(3)
    h = graph.maxout(x, 3, pieces=2)
    return graph.dense(graph.concat(graph.add(h, x), graph.multiply(h, x)), 2)


def _extra(node: graph.Node) -> graph.Node:
    """What few networks have, behind a node."""
    return graph.dropout(graph.gelu(graph.layer_norm(node)), 0.5)


def _train(networks: Sequence[Network], X: Any, plain: bool, **extras: Any) -> None:
    """Step once with every loss, or every plain one, and every optimizer."""
    for network in networks:
        params = network.init(0, dtype=X.dtype)
        for loss in LOSSES.values():
            if plain and not loss.plain:
                continue
            n_targets = 1 if loss.integer_targets else loss.n_targets(network.n_outputs)
            y = np.ones((X.shape[0], n_targets))
            for optimizer in OPTIMIZERS:
                trainer = Trainer(
                    network, params, X, y, loss=loss.name, optimizer=optimizer, **extras
                )
                trainer.epoch(np.arange(X.shape[0]), 1e-3)


def _predict(networks: Sequence[Network], X: Any) -> None:
    """Predict with the link of every loss, and without."""
    for network in networks:
        params = network.init(0, dtype=X.dtype)
        for loss in (None, *LOSSES):
            network.forward(params, X, loss=loss)


_GENERAL = "maxout, sparse X, learned scales and the rest"
_EXTRA = "dropout, gelu, layer_norm, clipping, averages"


def _work(dtype: str, general: bool) -> Iterator[tuple[str, Callable[[], None]]]:
    """Name each kind of work, with a function that does a little of it."""
    X = np.eye(8, 3, dtype=dtype)
    stack, everything = Network(_stack()), Network(_everything())
    yield f"{dtype}, plain layers, training", lambda: _train([stack], X, True)
    yield f"{dtype}, plain layers, prediction", lambda: _predict([stack], X)
    if general:
        sparse = csr_array(X)

        def train() -> None:
            _train([stack, everything], sparse, False)
            _train([stack, everything], X, False)

        def predict() -> None:
            _predict([stack, everything], sparse)
            _predict([everything], X)

        yield f"{dtype}, {_GENERAL}, training", train
        yield f"{dtype}, {_GENERAL}, prediction", predict
        extra = [Network(_extra(node)) for node in (_stack(), _everything())]

        def train_extra() -> None:
            _train(extra, X, False, clip_norm=1.0, average=0.9, seed=0)

        yield f"{dtype}, {_EXTRA}, training", train_extra
        yield f"{dtype}, {_EXTRA}, prediction", lambda: _predict(extra, X)


def warmup(
    dtypes: Sequence[Any] = DTYPES, *, general: bool = True, verbose: bool = False
) -> WarmUp:
    """Have all machine code ready before the first fit, and keep it for other processes.

    Compiles what is in no cache yet, which takes some seconds for each dtype, and loads what is.
    Afterwards no fit or prediction of this process compiles, nor one of a later process that finds
    the cache: with the same package folder, processor, versions of Python and numba, and
    ``NUMBA_CACHE_DIR``.

    Parameters
    ----------
    dtypes : sequence of dtype, default=('float32', 'float64')
        What `X` will be: 'float32', 'float64' or both. ``solver='lbfgs'`` trains in float64
        whatever `X` is.
    general : bool, default=True
        Whether to make ready more than plain layers, dense `X` and the common losses: also maxout,
        sparse `X`, quantiles and learned scales, and all that `nbnet.graph` can build.
    verbose : bool, default=False
        Whether to print a line for each kind of work.

    Returns
    -------
    WarmUp
        What was compiled and what was there, the seconds it took, and the folder of the cache.

    Raises
    ------
    ValueError
        If `dtypes` is empty or holds something else than these two.
    """
    names = [_dtype_name(dtype) for dtype in ([dtypes] if isinstance(dtypes, str) else dtypes)]
    if not names:
        raise ValueError(f"dtypes must hold at least one of {DTYPES}, got {dtypes!r}")
    steps = []
    for name in dict.fromkeys(names) if COMPILED else ():
        for what, do in _work(name, general):
            before, start = compilations(), time.perf_counter()
            do()
            seconds, after = time.perf_counter() - start, compilations()
            step = Step(
                what, after.compiled - before.compiled, after.loaded - before.loaded, seconds
            )
            steps.append(step)
            if verbose:
                print(step, flush=True)
    done = WarmUp(tuple(steps), compilations().folder)
    if verbose:
        print(done, flush=True)
    return done


def _dtype_name(dtype: Any) -> str:
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = ""
    if dtype is None or name not in DTYPES:  # None is NumPy's float64
        raise ValueError(f"dtypes must be among {DTYPES}, got {dtype!r}")
    return name
