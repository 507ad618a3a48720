"""What machine code depends on: the Python code of all kernels, and the settings of numba.

Code that was made under another stamp must not run: a constant may have changed in a file that the
kernel's own file only imports.

The stamp is over code objects, as the modules' loaders give them, not over files: the sources may
lie in a zip or inside an application, or may not be there at all. Line numbers and comments are no
part of it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import pkgutil
import platform
import sys
from functools import lru_cache
from types import CodeType

import llvmlite
import numba
import numpy as np
from numba import config

__all__ = ["code_stamp", "settings"]

_CODE = (
    "co_name",
    "co_argcount",
    "co_posonlyargcount",
    "co_kwonlyargcount",
    "co_flags",
    "co_code",
    "co_names",
    "co_varnames",
    "co_freevars",
    "co_cellvars",
    "co_exceptiontable",
)

# Settings of numba that no machine code depends on. One that is not listed is taken to matter.
_HARMLESS = {
    "ALWAYS_WARN_UNINIT_VAR",
    "CACHE_DIR",
    "CACHE_LOCATOR_CLASSES",
    "CHROME_TRACE",
    "COLOR_SCHEME",
    "DEBUG_CACHE",
    "DEVELOPER_MODE",
    "DISABLE_CUDA",
    "DISABLE_PERFORMANCE_WARNINGS",
    "ENABLE_CUDASIM",
    "ENABLE_SYS_MONITORING",
    "FORCE_CUDA_CC",
    "FULL_TRACEBACKS",
    "FUNCTION_CACHE_SIZE",
    "GDB_BINARY",
    "HIGHLIGHT_DUMPS",
    "NUMBA_DEFAULT_NUM_THREADS",
    "NUMBA_NUM_THREADS",  # joblib sets it in its workers
    "PARALLEL_DIAGNOSTICS",
    "RUNNING_UNDER_PROFILER",  # ENABLE_PROFILING follows from it and matters
    "SHOW_HELP",
    "THREADING_LAYER",
    "THREADING_LAYER_PRIORITY",
    "TRACE",
}


def settings():
    """What may differ between two processes that run the same code, as text.

    numba reads its settings anew before each compilation: ask after it, not before.
    """
    of_numba = {
        name: getattr(config, name)
        for name in dir(config)
        if name.isupper() and name not in _HARMLESS and not name.startswith(("CUDA_", "_"))
    }
    return repr((of_numba, sys.flags.optimize, platform.python_implementation(), sys.version_info))


def code_stamp(package):
    """Digest of the code of all modules of a package, and of the libraries that compile it.

    Parameters
    ----------
    package : str
        The name of a package that is imported.

    Returns
    -------
    bytes or None
        None if the code cannot be known: a module has no code object, or is found by no search of
        the package.
    """
    names, digest = _search(package)
    imported = {name for name in sys.modules if f"{name}.".startswith(f"{package}.")}
    return digest if imported <= names else None


@lru_cache
def _search(package):
    """The names of all modules of a package, imported or not, and a digest of their code."""
    modules = {}
    found = pkgutil.walk_packages(sys.modules[package].__path__, f"{package}.")
    try:
        for name in (package, *(info.name for info in found)):
            code = importlib.util.find_spec(name).loader.get_code(name)
            if not isinstance(code, CodeType):
                return set(), None
            modules[name] = code
    except Exception:  # a loader may raise what it likes
        return set(), None
    versions = (numba.__version__, llvmlite.__version__, np.__version__)
    text = repr((versions, sorted((name, _plain(code)) for name, code in modules.items())))
    return modules.keys(), hashlib.sha256(text.encode()).digest()


def _plain(constant):
    """Something that stands for a constant and has the same ``repr`` in each process."""
    if isinstance(constant, CodeType):
        parts = [getattr(constant, name) for name in _CODE]
        parts.append([_plain(inner) for inner in constant.co_consts])
        return hashlib.sha256(repr(parts).encode()).hexdigest()
    if isinstance(constant, tuple):
        return tuple(map(_plain, constant))
    if isinstance(constant, frozenset):  # its order differs between processes
        return "frozenset", sorted(repr(_plain(inner)) for inner in constant)
    return constant
