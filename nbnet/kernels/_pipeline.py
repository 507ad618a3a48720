"""How numba compiles a kernel of nbnet: each line goes through LLVM once, each type is found once.

By itself numba treats every function that a kernel calls as a program of its own: it wraps it for
calls from Python, optimises it and turns it into machine code, and then does the same once more
inside each caller, for that caller's machine code contains all it calls. With kernels that call
each other five deep, most of a first fit was spent on machine code that nobody ever runs.

``EntryCompiler`` compiles what Python calls, ``PartCompiler`` what only kernels call: a part stays
plain LLVM code until an entry point takes it in. With the other things below, a first fit takes
less than half the time.

a. ``pipeline_class`` is numba's documented way in, and so is the list of passes; the libraries
   below override undocumented methods. Where these change their names, numba falls back to its own,
   slower way.
b. ``Flags``: numba looks up each operator under the flags of the function that uses it, and
   computes their hash and compares all of them every time. These know their hash, and look first
   at what was set.
c. What an operator makes of its operands' types, numba finds by trying one rule after the other,
   anew for each ``+`` in the source. Here it is asked once.
d. Some of numba's passes look for what kernels do not contain: closures, array expressions,
   functions to inline into the source. They are left out.
"""

import ctypes
import gc
from contextlib import contextmanager

from llvmlite import binding
from numba import _dynfunc, types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, DefaultPassBuilder, Flags

__all__ = ["EntryCompiler", "PartCompiler"]

_NEEDLESS = {"InlineClosureLikes", "GenericRewrites", "InlineOverloads", "NopythonRewrites"}
_signatures: dict = {}  # of operators and built-in functions, by their arguments' types


class _Flags(Flags):
    __slots__ = ()
    _HASH = hash(Flags())

    def __hash__(self):
        return self._HASH

    def __eq__(self, other):
        return self._values == other._values or super().__eq__(other)


class _Library(JITCodeLibrary):
    """Code that is not optimised function by function, before there is all of it."""

    def _optimize_functions(self, module):
        module.data_layout = self._codegen._data_layout  # or modules would not fit together


class _Part(_Library):
    """Code to be taken into an entry point: not optimised, not emitted."""

    def _optimize_final_module(self):
        pass

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self._finalized = True


class _Entry(_Library):
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


@contextmanager
def _remembered_signatures(context):
    """While it lasts, `context` knows again what it was asked before."""
    if "resolve_function_type" in vars(context):  # compiling a part for an entry
        yield
        return
    resolve = context.resolve_function_type

    def remembered(function, args, keywords):
        if keywords or isinstance(function, types.Dispatcher):  # numba remembers what it compiled
            return resolve(function, args, keywords)
        known = isinstance(function, types.Type)
        # The type and not the function: who adds rules to an operator makes a new type of it.
        question = function if known else context.resolve_value_type(function), tuple(args)
        if question not in _signatures:
            _signatures[question] = resolve(function, args, keywords)
        return _signatures[question]

    context.resolve_function_type = remembered
    try:
        yield
    finally:
        del context.resolve_function_type


class EntryCompiler(Compiler):
    """Compiles a kernel that Python calls."""

    library_class: type[JITCodeLibrary] = _Entry

    def __init__(self, typingctx, targetctx, library, args, return_type, flags, locals_):
        super().__init__(typingctx, targetctx, library, args, return_type, _Flags(flags), locals_)
        if library is None:
            codegen = self.state.targetctx.codegen()
            self.state.library = self.library_class(codegen, "nbnet")
            self.state.library.enable_object_caching()

    def define_pipelines(self):
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.passes = [step for step in passes.passes if step[0].__name__ not in _NEEDLESS]
        return [passes]

    def compile_extra(self, func):
        # A compilation makes millions of objects, and looking for garbage among them an eighth
        # of the time.
        collecting = gc.isenabled()
        gc.disable()
        try:
            with _remembered_signatures(self.state.typingctx):
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
