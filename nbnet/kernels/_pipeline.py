"""How numba compiles a kernel of nbnet: each line of code goes through LLVM once.

By itself numba treats every function that a kernel calls as a program of its own: it wraps it for
calls from Python, optimises it and turns it into machine code, and then does the same once more
inside each caller, for that caller's machine code contains all it calls. With kernels that call
each other five deep, most of a first fit was spent on machine code that nobody ever runs.

``EntryCompiler`` compiles what Python calls, ``PartCompiler`` what only kernels call: a part stays
plain LLVM code until an entry point takes it in. A first fit takes about half the time.

a. ``pipeline_class`` is numba's documented way in; the libraries below override undocumented
   methods. Where these change their names, numba falls back to its own, slower way.
b. ``Flags``: numba looks up each operator under the flags of the function that uses it, and
   computes their hash and compares all of them every time. These know their hash, and look first
   at what was set.
"""

import ctypes
import gc

from llvmlite import binding
from numba import _dynfunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, Flags

__all__ = ["EntryCompiler", "PartCompiler"]


class _Flags(Flags):
    __slots__ = ()
    _HASH = hash(Flags())

    def __hash__(self):
        return self._HASH

    def __eq__(self, other):
        return self._values == other._values or super().__eq__(other)


class _Part(JITCodeLibrary):
    """Code to be taken into an entry point: not optimised, not emitted."""

    def _optimize_functions(self, module):
        module.data_layout = self._codegen._data_layout  # or modules would not fit together

    def _optimize_final_module(self):
        pass

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self._finalized = True


class _Entry(JITCodeLibrary):
    """Code with all its parts: optimised once.

    The passes that numba runs before, to find counted references, have nothing to find here.
    """

    def _optimize_final_module(self):
        options = binding.create_pipeline_tuning_options(speed_level=2)
        options.loop_vectorization = options.slp_vectorization = True
        # Code a third longer takes a third longer to compile, and its loops are no faster.
        options.loop_unrolling = options.loop_interleaving = False
        builder = binding.create_pass_builder(self._codegen._tm, options)
        builder.getModulePassManager().run(self._final_module, builder)


class EntryCompiler(Compiler):
    """Compiles a kernel that Python calls."""

    library_class: type[JITCodeLibrary] = _Entry

    def __init__(self, typingctx, targetctx, library, args, return_type, flags, locals_):
        super().__init__(typingctx, targetctx, library, args, return_type, _Flags(flags), locals_)
        if library is None:
            codegen = self.state.targetctx.codegen()
            self.state.library = self.library_class(codegen, "nbnet")
            self.state.library.enable_object_caching()

    def compile_extra(self, func):
        # A compilation makes millions of objects, and looking for garbage among them an eighth
        # of the time.
        collecting = gc.isenabled()
        gc.disable()
        try:
            return super().compile_extra(func)
        finally:
            if collecting:
                gc.enable()


class PartCompiler(EntryCompiler):
    """Compiles a kernel that only kernels call."""

    library_class = _Part

    def __init__(self, *args):
        super().__init__(*args)
        self.state.targetctx.get_executable = _not_executable


@ctypes.PYFUNCTYPE(ctypes.c_void_p, *[ctypes.c_void_p] * 3)
def _refuse(function, args, kwargs):
    raise TypeError("only kernels can call a kernel that was not compiled with entry=True")


def _not_executable(library, description, environment):
    """The handle by which numba knows a function; called from Python, it fails."""
    return _dynfunc.make_function(
        description.lookup_module(),
        description.qualname.split(".")[-1],
        "part of a kernel",
        ctypes.cast(_refuse, ctypes.c_void_p).value,
        environment,
        (library,),
    )
