"""How threads that run one kernel meet, and how they are stopped.

``sync`` is a flat int64 array: a flag per thread, each on a cache line of its own, and behind them
one that asks all to stop. It is all zero when a run begins.
"""

from __future__ import annotations

from nbnet.kernels._tile import atomic_load, atomic_store, pause, yield_core
from nbnet.kernels.compile.jit import kernel

__all__ = ["SYNC_STRIDE", "barrier", "stopped"]

SYNC_STRIDE = 8  # int64 numbers between two flags
_SPINS = 2000  # some 50 microseconds: longer than threads with equal shares are apart


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
