"""How numba compiles a kernel of nbnet: each line goes through LLVM once, each type is found once.

By itself numba treats every function that a kernel calls as a program of its own: it wraps it for
calls from Python, optimises it and turns it into machine code, and then does the same once more
inside each caller, for that caller's machine code contains all it calls. With kernels that call
each other five deep, most of a first fit was spent on machine code that nobody ever runs.

``EntryCompiler`` compiles what Python calls, ``PartCompiler`` what only kernels call: a part stays
plain LLVM code until an entry point takes it in. With the other things below, a first fit takes
a third of the time.

a. ``pipeline_class`` is numba's documented way in, and so is the list of passes; the libraries
   below override undocumented methods. Where these change their names, numba falls back to its own,
   slower way.
b. ``Flags``: numba looks up each operator under the flags of the function that uses it, and
   computes their hash and compares all of them every time. These know their hash, and look first
   at what was set.
c. What an operator makes of its operands' types, numba finds by trying one rule after the other,
   anew for each ``+`` in the source, and twice. Here it is asked once.
d. Some of numba's passes look for what kernels do not contain (closures, array expressions,
   functions to inline into the source), or mark where counted references end. They are left out,
   and so is what debuggers would want to know.
e. Kernels count places from the front, literal ones excepted: ``a[i]`` needs no code for a negative
   i, and LLVM is given a sixth less to read. With bounds checking it is numba's own code.
"""

import ctypes
import gc
from contextlib import contextmanager

from llvmlite import binding
from numba import _dynfunc, types
from numba.core import cgutils
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, DefaultPassBuilder, Flags
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.typed_passes import NativeLowering
from numba.core.types.functions import BaseFunction

__all__ = ["CFunctionCompiler", "Compiler", "EntryCompiler", "PartCompiler"]

_NEEDLESS = {
    "GenericRewrites",
    "IRLegalization",
    "InlineClosureLikes",
    "InlineOverloads",
    "NopythonRewrites",
}
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
def _no_garbage_collection():
    """A compilation makes millions of objects, and looking for garbage among them an eighth of it.

    They are old at its end, or the next object made would have all of them looked at.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            if gc.get_freeze_count() == 0:
                gc.freeze()
                gc.unfreeze()
            gc.enable()


_find_signature = BaseFunction.get_call_type


def _remembered_signature(function, context, args, keywords):
    if keywords:
        return _find_signature(function, context, args, keywords)
    question = function, tuple(args)  # who adds rules to an operator makes a new function of it
    if question not in _signatures:
        _signatures[question] = _find_signature(function, context, args, keywords)
    return _signatures[question]


@contextmanager
def _remembered_signatures():
    """While it lasts, numba knows again what it was asked before."""
    outer = BaseFunction.get_call_type
    BaseFunction.get_call_type = _remembered_signature
    try:
        yield
    finally:
        BaseFunction.get_call_type = outer


class _Lower(Lower):
    """Emits what kernels need and no more."""

    def _address(self, array, index, signature):
        """Where ``array[index]`` lies; None if that is not simply so many numbers on."""
        array_type, index_type = signature.args[0], self.typeof(index.name)
        if (
            self.context.enable_boundscheck
            or not (isinstance(array_type, types.Array) and isinstance(index_type, types.Integer))
            or (array_type.ndim, array_type.layout) != (1, "C")
            or getattr(index_type, "literal_value", 0) < 0
        ):
            return None
        field = self.context.data_model_manager[array_type].get_field_position("data")
        data = self.builder.extract_value(self.loadvar(array.name), field)
        at = self.context.cast(self.builder, self.loadvar(index.name), index_type, types.intp)
        return self.builder.gep(data, [at])

    def lower_getitem(self, resty, expr, value, index, signature):
        address = self._address(value, index, signature)
        if address is None:
            return super().lower_getitem(resty, expr, value, index, signature)
        number = signature.args[0].dtype
        loaded = self.context.unpack_value(self.builder, number, address)
        return self.context.cast(self.builder, loaded, number, resty)

    def lower_setitem(self, target_var, index_var, value_var, signature):
        address = self._address(target_var, index_var, signature)
        if address is None:
            return super().lower_setitem(target_var, index_var, value_var, signature)
        number = signature.args[0].dtype
        value = self.context.cast(
            self.builder, self.loadvar(value_var.name), self.typeof(value_var.name), number
        )
        return self.context.pack_value(self.builder, number, value, address)

    def delvar(self, name):
        """Forget a variable; numba would clear it, for the sake of counted references."""
        if name not in self._blk_local_varmap:
            self._singly_assigned_vars.discard(name)

    def alloca_lltype(self, name, lltype, datamodel=None):
        """Make room for a variable; numba would ask for its size, for the sake of debuggers."""
        return cgutils.alloca_once(self.builder, lltype, name=name, zfill=False)


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(NativeLowering):
    _name = "nbnet_lowering"
    lowering_class = _Lower


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
        """List the passes: numba's, without those that kernels do not need."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.passes = [
            (_Lowering if step is NativeLowering else step, why)
            for step, why in passes.passes
            if step.__name__ not in _NEEDLESS
        ]
        return [passes]

    def compile_extra(self, func):
        """Compile `func`."""
        with _no_garbage_collection(), _remembered_signatures():
            return super().compile_extra(func)


class _CFunction(JITCodeLibrary):
    """Code whose loops take one vector register at a time, as those of kernels do."""

    _optimize_final_module = _Entry._optimize_final_module


class CFunctionCompiler(Compiler):
    """Compiles a C function around a function of the user's, with all that numba can compile."""

    def __init__(self, typingctx, targetctx, library, args, return_type, flags, locals_):
        super().__init__(typingctx, targetctx, library, args, return_type, flags, locals_)
        if library is None:
            self.state.library = _CFunction(self.state.targetctx.codegen(), "nbnet")
            self.state.library.enable_object_caching()


class PartCompiler(EntryCompiler):
    """Compiles a kernel that only kernels call."""

    library_class = _Part

    def __init__(self, *args):
        super().__init__(*args)
        context = self.state.targetctx
        assert context.get_executable  # or numba would look for machine code that is not there
        context.get_executable = _not_executable


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
