"""Machine code on disk: when it is fresh, where it is looked for, and that no fit fails for it.

numba keeps the machine code of a function in the first of these folders that it can write to:
``NUMBA_CACHE_DIR``, the ``__pycache__`` beside the source, the user's cache folder. So does
`KernelCache`, but

a. numba stamps the code with the one file that holds the function, and so does not notice an edit
   in another file that the function calls, nor a change of flags. Here the stamp is over all
   kernel sources and flags.
b. numba reads only where it can write. Here all three folders are read, so that a cache filled
   when an image was built serves where that image is read-only.
c. numba lets a fit fail when the code cannot be written or read. Here it is compiled and not kept.
"""

from __future__ import annotations

import inspect
import logging
from pickle import UnpicklingError

from numba import config
from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    IndexDataCacheFile,
    InTreeCacheLocator,
    UserProvidedCacheLocator,
    UserWideCacheLocator,
)

__all__ = ["KernelCache"]

_log = logging.getLogger("nbnet")

_CUT_SHORT = (EOFError, UnpicklingError)  # what reading such a file raises


class _Nowhere(InTreeCacheLocator):
    """The last resort where no folder can be written: numba would refuse to go on."""

    def ensure_cache_path(self):
        """Do not ask whether it can be written: it cannot."""


class _Places(CompileResultCacheImpl):
    _locator_classes = [*CompileResultCacheImpl._locator_classes, _Nowhere]


class KernelCache(FunctionCache):
    """The machine code of one function, on disk.

    Parameters
    ----------
    function : callable
        The Python function.
    stamp : bytes
        What the code depends on besides the bytecode of `function`: code with another stamp is
        stale.
    """

    _impl_class = _Places
    _announced = False  # of the class: one message in a process

    def __init__(self, function, stamp):
        super().__init__(function)
        self._cache_file._source_stamp = stamp
        self.folder = None if isinstance(self._impl.locator, _Nowhere) else self.cache_path
        source = inspect.getfile(function)
        folders = [self.cache_path]
        if config.CACHE_DIR:
            folders.append(UserProvidedCacheLocator(function, source).get_cache_path())
        folders.append(InTreeCacheLocator(function, source).get_cache_path())
        folders.append(UserWideCacheLocator(function, source).get_cache_path())
        self._files = [
            IndexDataCacheFile(folder, self._impl.filename_base, stamp)
            for folder in dict.fromkeys(folders)
        ]

    def _load_overload(self, sig, target_context):
        key = self._index_key(sig, target_context.codegen())
        for file in self._files:
            try:
                data = file.load(key)
            except (OSError, *_CUT_SHORT):
                continue
            if data is not None:
                return self._impl.rebuild(target_context, data)
        self._announce()
        return None

    def _save_overload(self, sig, data):
        try:
            try:
                super()._save_overload(sig, data)
            except _CUT_SHORT:  # the index is: begin a new one
                self.flush()
                super()._save_overload(sig, data)
        except OSError as error:
            if self.folder is not None:
                _log.warning("the machine code of %s is not kept: %s", self._name, error)

    def _announce(self):
        """Say, once in a process, that the user is about to wait for the compiler."""
        if not KernelCache._announced:
            KernelCache._announced = True
            kept = f"kept in {self.folder}" if self.folder else "not kept: no folder is writable"
            _log.info("compiling kernels, which takes some seconds; machine code is %s", kept)
