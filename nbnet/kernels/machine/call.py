"""Calls of functions that compiled code knows by their address alone.

An address is a number, and travels as one: no machine code depends on which function is called.
"""

from weakref import WeakValueDictionary

from llvmlite import ir
from numba import types
from numba.core import cgutils

from nbnet.kernels.compile.jit import machine_code
from nbnet.kernels.machine.vectors import address_of

__all__ = ["PYTHON_FUNCTIONS", "call"]

# By their addresses, where numba is switched off; an address is then any number of one's own.
PYTHON_FUNCTIONS: WeakValueDictionary = WeakValueDictionary()


def _call_twin(address, arguments):
    PYTHON_FUNCTIONS[address](*arguments)


@machine_code(_call_twin)
def call(typingctx, address, arguments):
    """Call the C function at `address`, which returns nothing.

    Of `arguments`, a tuple, integers are handed over as int64, arrays as the address of their first
    number.
    """

    def codegen(context, builder, signature, args):
        passed = [
            address_of(context, builder, kind, value) if isinstance(kind, types.Array) else value
            for kind, value in zip(
                signature.args[1], cgutils.unpack_tuple(builder, args[1]), strict=True
            )
        ]
        function = ir.FunctionType(ir.VoidType(), [value.type for value in passed])
        builder.call(builder.inttoptr(args[0], function.as_pointer()), passed)
        return context.get_dummy_value()

    return types.void(types.int64, arguments), codegen
