"""Machine code on disk: where it is looked for, and that no fit fails for it.

numba's own cache would not do:

a. It stamps the code with the one file that holds the function. An edit in another file that the
   function calls, and a change of settings, go unnoticed (`stamp` says what we do).
b. It reads only where it can write. Here a folder that cannot be written to is read as well: a
   cache that was filled when an image was built serves where that image is read-only.
c. A damaged file makes a fit fail, or the process crash. Here it is as if it were not there:
   nothing is unpickled or run before its checksum is verified.
d. A frozen application (`sys.frozen`) has no folder of its own, and unpacks its modules into
   another one each time. Here it is known by its executable.

What is left to numba is to turn the result of a compilation into something that can be pickled,
and back. That is private; where it fails, each process compiles.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import sys
import tempfile
import uuid
from functools import cached_property
from pathlib import Path

from numba import config
from numba.core.compiler import CompileResult

import nbnet.kernels
from nbnet.kernels.compile.stamp import settings

__all__ = ["KernelCache", "folders"]

_log = logging.getLogger("nbnet")


def folders():
    """Where machine code may lie; it is kept in the first that can be written to.

    A ``NUMBA_CACHE_DIR`` that can be written to is the only one, as it is for numba.
    """
    [package] = nbnet.kernels.__path__
    frozen = getattr(sys, "frozen", False)
    home = os.path.realpath(sys.executable if frozen else package)
    # Each application and each installation has a folder of its own below a shared one.
    own = hashlib.sha256(home.encode()).hexdigest()[:16]
    own = f"{Path(home).stem if frozen else 'nbnet'}_{own}"
    found = [Path(config.CACHE_DIR) / own] if config.CACHE_DIR else []
    if found and _writable(found[0]):
        return found
    if not frozen and os.path.isdir(package):  # not in a zip
        found.append(Path(package) / "__pycache__")
    users = _user_cache() / "numba" / own
    return [*found, users] if users.is_absolute() else found  # not without a home


def _user_cache():
    """The folder where the user's programs keep what they can make again."""
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    if sys.platform == "darwin":
        return home / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")


class KernelCache:
    """The machine code of one function, on disk; it takes the place of numba's cache.

    There is one file for each signature, processor and choice of settings. It is overwritten when
    the code changes.

    Parameters
    ----------
    function : callable
        The Python function. It must have no closure.
    stamp : callable
        Gives the bytes that stand for all the code that `function` depends on, or None if that
        cannot be known; then nothing is loaded or kept.
    """

    _announced = False  # of the class: one message in a process

    def __init__(self, function, stamp):
        self._function = function
        self._stamp = stamp

    @cached_property
    def folder(self):
        """Where machine code is kept; None if it is not."""
        if self._stamp() is None:
            return None
        return next((str(folder) for folder in folders() if _writable(folder)), None)

    @property
    def cache_path(self):
        """What numba shows as the folder of a function's cache."""
        return self.folder

    def load_overload(self, signature, target_context):
        """Give the compiled function for a signature, or None; numba calls this."""
        found = None
        if self._stamp() is not None:
            try:
                found = self._load(signature, target_context)
            except Exception as error:  # numba's private parts are not what they were
                _log.debug("machine code is not read: %r", error)
        if found is None:
            self._announce()
        return found

    def _load(self, signature, target_context):
        target_context.refresh()
        name = self._file(signature, target_context.codegen())
        for folder in folders():
            try:
                content = (folder / name).read_bytes()
            except OSError:
                continue
            seal, payload = content[:32], content[32:]
            if seal == self._seal(name, payload):
                return CompileResult._rebuild(target_context, *pickle.loads(payload))
        return None

    def save_overload(self, signature, compiled):
        """Keep a compiled function, if that is possible; numba calls this."""
        if self.folder is None:
            return
        try:
            if compiled.library.has_dynamic_globals:  # addresses of this very process
                return
            name = self._file(signature, compiled.target_context.codegen())
            payload = pickle.dumps(compiled._reduce())
            _write(Path(self.folder) / name, self._seal(name, payload) + payload)
        except Exception as error:
            _log.warning("the machine code of %s is not kept: %s", self._function.__name__, error)

    def flush(self):
        """Forget what is kept of this function; numba calls this before it compiles all anew."""
        if self.folder is not None:
            for path in Path(self.folder).glob(f"{self._function.__name__}-*.nbnet"):
                path.unlink(missing_ok=True)

    def _file(self, signature, codegen):
        """The name of a file: it says for what the code is, but not which code it is."""
        function = self._function.__module__, self._function.__qualname__
        purpose = repr((function, signature, codegen.magic_tuple(), settings()))
        return f"{function[1]}-{hashlib.sha256(purpose.encode()).hexdigest()[:24]}.nbnet"

    def _seal(self, name, payload):
        """What a file begins with if it is whole and of the code that is imported."""
        return hashlib.sha256(self._stamp() + name.encode() + payload).digest()

    def _announce(self):
        """Say, once in a process, that the user is about to wait for the compiler."""
        if KernelCache._announced:
            return
        KernelCache._announced = True
        if self.folder:
            kept = f"kept in {self.folder}"
        elif self._stamp() is None:
            kept = "not kept: the code of nbnet.kernels cannot be read"
        else:
            kept = "not kept: no folder is writable"
        _log.info("compiling kernels, which takes some seconds; machine code is %s", kept)


def _writable(folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _write(path, content):
    """Write a file in one act: another process sees all of it or nothing."""
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex[:16]}")
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
