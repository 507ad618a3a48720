"""The one way nbnet compiles a function: flags, cache, and the uncompiled twin.

a. ``nogil`` lets several Python threads run a kernel at once; that is all of nbnet's threading.
b. ``error_model='numpy'`` removes the zero-division branch from every division, which otherwise
   keeps loops from being vectorised.
c. ``contract`` alone of the fast-math flags: a multiplication and an addition may become one fused
   instruction. NaN and infinity keep their meaning, and sums are reordered only where a function
   asks for it (``reassociate``).
d. Kernels hold no reference that would have to be counted: arrays are borrowed from Python.
e. A kernel that only kernels call is never machine code of its own, see `pipeline`.
f. Machine code on disk carries a stamp over *all* kernel sources, the flags and the processor
   that numba is told to compile for (`cache`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from numba import config, njit, typeof
from numba.core.compiler import Compiler
from numba.extending import intrinsic

try:
    from nbnet.kernels.compile import pipeline
except ImportError:  # numba without one of the private names: slower to compile, no less right
    _COMPILERS = {True: Compiler, False: Compiler}
else:
    _COMPILERS = {True: pipeline.EntryCompiler, False: pipeline.PartCompiler}

__all__ = [
    "COMPILED",
    "Compilations",
    "compilations",
    "compile_for",
    "interpreted",
    "kernel",
    "machine_code",
]

COMPILED = not config.DISABLE_JIT

_FLAGS = {
    "nogil": True,
    "error_model": "numpy",
    "_nrt": False,
    "no_cfunc_wrapper": True,
    "fastmath": {"contract"},
    "boundscheck": bool(config.BOUNDSCHECK),
}


def _source_stamp():
    settings = (sorted(_FLAGS.items(), key=str), config.CPU_NAME, config.CPU_FEATURES)
    digest = hashlib.sha256(repr(settings).encode())
    folder = Path(__file__).parents[1]
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(path.read_bytes())
    return digest.digest()


_STAMP = _source_stamp()
_ENTRY_POINTS: list = []  # the kernels whose machine code is kept


def kernel(function=None, *, entry=False, reassociate=False):
    """Compile `function` with nbnet's flags.

    Parameters
    ----------
    function : callable
        A function over scalars and flat arrays.
    entry : bool, default=False
        Whether Python calls it; its machine code is then kept on disk. Other kernels can be called
        by kernels alone, and are part of their code.
    reassociate : bool, default=False
        Allow the sums of this function to be reordered, so that they are vectorised.

    Returns
    -------
    callable
        The compiled function, or `function` itself where numba is switched off.
    """
    if function is None:
        return lambda f: kernel(f, entry=entry, reassociate=reassociate)
    flags = _FLAGS
    if reassociate:
        flags = {**_FLAGS, "fastmath": {"contract", "reassoc", "nsz"}}
    compiled = njit(
        **flags,
        no_cpython_wrapper=not entry,
        pipeline_class=_COMPILERS[entry],
    )(function)
    if COMPILED and entry:
        _ENTRY_POINTS.append(compiled)
        try:
            from nbnet.kernels.compile.cache import KernelCache

            compiled._cache = KernelCache(function, _STAMP)
        except (ImportError, AttributeError, RuntimeError):
            pass  # numba's cache is private and may change: without it each process compiles
    return compiled


class Compilations(NamedTuple):
    """What became of the kernels called so far in this process.

    Attributes
    ----------
    compiled, loaded : int
        Specialisations made by the compiler, and read from disk instead.
    folder : str or None
        Where machine code is kept; None if no folder is writable.
    """

    compiled: int
    loaded: int
    folder: str | None


def compilations():
    """Count what has been compiled and what loaded."""
    stats = [kernel.stats for kernel in _ENTRY_POINTS]
    return Compilations(
        sum(sum(s.cache_misses.values()) for s in stats),
        sum(sum(s.cache_hits.values()) for s in stats),
        next((getattr(kernel._cache, "folder", None) for kernel in _ENTRY_POINTS), None),
    )


def compile_for(compiled, args):
    """Compile an entry point for such arguments, or load it, if that is still to be done."""
    if hasattr(compiled, "compile"):
        compiled.compile(tuple(typeof(arg) for arg in args))


def interpreted(compiled):
    """The Python function that `compiled` was made from: for a call that is not worth compiling."""
    return getattr(compiled, "py_func", compiled)


def machine_code(twin):
    """Decorate an LLVM code generator that stands for the Python function `twin`.

    The generator becomes a numba intrinsic; where numba is switched off, `twin` runs instead.
    """
    return (lambda generator: intrinsic(generator)) if COMPILED else (lambda generator: twin)
