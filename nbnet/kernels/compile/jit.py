"""The one way nbnet compiles a function: flags, cache, and the uncompiled twin.

a. ``nogil`` lets several Python threads run a kernel at once; that is all of nbnet's threading.
b. ``error_model='numpy'`` removes the zero-division branch from every division, which otherwise
   keeps loops from being vectorised.
c. ``contract`` alone of the fast-math flags: a multiplication and an addition may become one fused
   instruction. NaN and infinity keep their meaning, and sums are reordered only where a function
   asks for it (``reassociate``).
d. Kernels hold no reference that would have to be counted: arrays are borrowed from Python.
e. A kernel that only kernels call is never machine code of its own, see `pipeline`.
f. Machine code on disk carries a stamp over the code of *all* kernels and the settings it was made
   with (`cache`, `stamp`).
g. Much of this is private to numba. Where numba is not as we know it, kernels are compiled in its
   own way: slower, no less right (`canary`).
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import NamedTuple

import numba
from numba import cfunc, config, njit, typeof
from numba.extending import intrinsic

from nbnet.kernels.compile.canary import disagreement
from nbnet.kernels.compile.stamp import code_stamp

__all__ = [
    "COMPILED",
    "Compilations",
    "c_function",
    "compilations",
    "compile_for",
    "interpreted",
    "kernel",
    "machine_code",
    "of_user",
]

_log = logging.getLogger("nbnet")

COMPILED = not config.DISABLE_JIT


def _understood(**options):
    """Those of the undocumented options that this numba has."""
    try:
        from numba.core.cpu import CPUTargetOptions as Known
    except ImportError:
        Known = None
    return {name: value for name, value in options.items() if hasattr(Known, name)}


_FLAGS = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract"},
    "boundscheck": bool(config.BOUNDSCHECK),
    **_understood(_nrt=False, no_cfunc_wrapper=True),
}


def _slower(reason):
    _log.warning(
        "numba %s is not as nbnet knows it (%s): kernels are compiled in numba's own way, which "
        "takes longer",
        numba.__version__,
        reason,
    )


try:
    if "_nrt" not in _FLAGS:
        raise ImportError("references to arrays are counted")
    from nbnet.kernels.compile import pipeline
except Exception as error:
    _slower(error)
    _COMPILERS = {}
else:

    class _Entry(pipeline.Compiler):
        """Compiles in our way if that can be trusted, or else in numba's."""

        _ours = pipeline.EntryCompiler

        def __new__(cls, *args):
            return (cls._ours if _trusted() else pipeline.Compiler)(*args)

    class _Part(_Entry):
        _ours = pipeline.PartCompiler

    _COMPILERS = {True: _Entry, False: _Part}


@lru_cache(maxsize=1)
def _trusted():
    """Whether `pipeline` makes of a small kernel what Python makes of it."""
    ours = {True: pipeline.EntryCompiler, False: pipeline.PartCompiler}
    found = disagreement(lambda function, entry: _compiled(function, entry, ours))
    if found is not None:
        _slower(found)
    return found is None


def _compiled(function, entry, compilers, **flags):
    if compilers:
        flags["pipeline_class"] = compilers[entry]
    return njit(**{**_FLAGS, **_understood(no_cpython_wrapper=not entry), **flags})(function)


def _stamp():
    code = code_stamp("nbnet.kernels")
    return code and code + repr(sorted(_FLAGS.items())).encode()


# Of users' functions, which may do what kernels do not, such as to make an array.
_USERS_FLAGS = {name: _FLAGS[name] for name in ("error_model", "fastmath", "boundscheck")}


def of_user(function):
    """Compile a function of the user's, to be called by compiled functions alone.

    It becomes part of them, however long it is: no loop with a call in it is vectorised.
    """
    needless = _understood(no_cpython_wrapper=True, no_cfunc_wrapper=True)
    return njit(forceinline=True, **_USERS_FLAGS, **needless)(function)


def c_function(signature, function):
    """Compile a function for others to call by its `address`, which is good as long as it."""
    flags = {"pipeline_class": pipeline.CFunctionCompiler} if _COMPILERS else {}
    return cfunc(signature, **_USERS_FLAGS, **flags)(function)


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
    flags = {"fastmath": {"contract", "reassoc", "nsz"}} if reassociate else {}
    compiled = _compiled(function, entry, _COMPILERS, **flags)
    if COMPILED and entry:
        _ENTRY_POINTS.append(compiled)
        try:
            from nbnet.kernels.compile.cache import KernelCache

            compiled._cache = KernelCache(function, _stamp)
        except ImportError as error:
            _log.warning("machine code is not kept: %s", error)
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
