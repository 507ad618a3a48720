"""The one way nbnet compiles a function: flags, cache, and the uncompiled twin.

a. ``nogil`` lets several Python threads run a kernel at once; that is all of nbnet's threading.
b. ``error_model='numpy'`` removes the zero-division branch from every division, which otherwise
   keeps loops from being vectorised.
c. ``contract`` alone of the fast-math flags: a multiplication and an addition may become one fused
   instruction. NaN and infinity keep their meaning, and sums are reordered only where a function
   asks for it (``reassociate``).
d. Kernels hold no reference that would have to be counted: arrays are borrowed from Python.
e. A kernel that only kernels call is never machine code of its own, see `_pipeline`.
f. numba stamps its cache with the file that holds a function and so does not notice an edit in
   another file that the function calls, nor a change of flags. Every kernel here carries a stamp
   over *all* kernel sources, the flags and the tile shape instead.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from numba import config, njit
from numba.core.compiler import Compiler
from numba.extending import intrinsic

try:
    from nbnet.kernels._pipeline import EntryCompiler, PartCompiler
except ImportError:  # numba without one of the private names: slower to compile, no less right
    EntryCompiler = PartCompiler = Compiler

__all__ = ["COMPILED", "interpreted", "kernel", "machine_code"]

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
    digest = hashlib.sha256(repr((sorted(_FLAGS.items(), key=str), config.CPU_NAME)).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.digest()


_STAMP = _source_stamp()


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
        pipeline_class=EntryCompiler if entry else PartCompiler,
    )(function)
    if COMPILED and entry:
        try:
            compiled.enable_caching()
            # Private, but only a sharper stamp: without it the cache still works.
            compiled._cache._cache_file._source_stamp = _STAMP
        except (RuntimeError, AttributeError):
            pass  # no place to write a cache: compile anew in each process
    return compiled


def interpreted(compiled):
    """The Python function that `compiled` was made from: for a call that is not worth compiling."""
    return getattr(compiled, "py_func", compiled)


def machine_code(twin):
    """Decorate an LLVM code generator that stands for the Python function `twin`.

    The generator becomes a numba intrinsic; where numba is switched off, `twin` runs instead.
    """
    return (lambda generator: intrinsic(generator)) if COMPILED else (lambda generator: twin)
