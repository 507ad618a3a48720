"""How threads that run one kernel meet, and how they are stopped.

``sync`` is a flat int64 array: a flag per thread, each on a cache line of its own, and behind them
one that asks all to stop. It is all zero when a run begins.
"""

import sys

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils

from nbnet.kernels.compile.jit import kernel, machine_code
from nbnet.kernels.machine.vectors import I32, address_of

__all__ = ["SYNC_STRIDE", "barrier", "stopped"]

SYNC_STRIDE = 8  # int64 numbers between two flags
_SPINS = 2000  # some 50 microseconds: longer than threads with equal shares are apart


def _load_twin(flags, at):
    return flags[at]


def _element(context, builder, signature, args):
    return builder.gep(address_of(context, builder, signature.args[0], args[0]), [args[1]])


@machine_code(_load_twin)
def atomic_load(typingctx, flags, at):
    """``flags[at]``, seen after everything its writer did before storing it."""

    def codegen(context, builder, signature, args):
        return builder.load_atomic(_element(context, builder, signature, args), "acquire", 8)

    return types.int64(flags, types.int64), codegen


def _store_twin(flags, at, value):
    flags[at] = value


@machine_code(_store_twin)
def atomic_store(typingctx, flags, at, value):
    """``flags[at] = value``, seen only after everything done before."""

    def codegen(context, builder, signature, args):
        at = _element(context, builder, signature, args)
        builder.store_atomic(args[2], at, "release", 8)
        return context.get_dummy_value()

    return types.void(flags, types.int64, types.int64), codegen


def _nothing_twin():
    return None


@machine_code(_nothing_twin)
def pause(typingctx):
    """Tell the core that this is a waiting loop."""

    def codegen(context, builder, signature, args):
        if binding.get_default_triple().startswith("x86_64"):
            hint = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause"
            )
            builder.call(hint, [])
        return context.get_dummy_value()

    return types.void(), codegen


@machine_code(_nothing_twin)
def yield_core(typingctx):
    """Offer the core to another thread of the machine."""

    def codegen(context, builder, signature, args):
        name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(I32, []), name)
        builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), codegen


@kernel
def stopped(sync):
    """Whether the caller of the threads asks them to stop."""
    return atomic_load(sync, sync.size - SYNC_STRIDE) != 0


@kernel
def barrier(sync, tid, n_threads, phase):
    """Wait until all threads have come to `phase`; False if they are to stop."""
    atomic_store(sync, tid * SYNC_STRIDE, phase)
    for other in range(n_threads):
        spins = 0
        while atomic_load(sync, other * SYNC_STRIDE) < phase:
            spins += 1
            if spins < _SPINS:
                pause()
            else:  # the other thread may be waiting for this very core
                yield_core()
            if stopped(sync):
                return False
    return not stopped(sync)
