"""How many threads a kernel may use, and running it on them.

numba's own parallel loops are not used: their threading layers abort on concurrent or forked
launches, need a system library, and would compile every kernel twice. nbnet's kernels release the
GIL, so ordinary Python threads serve, each with its own share of the work; they live as long as a
fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
from joblib import cpu_count
from numba import config
from numba.np.ufunc import parallel
from threadpoolctl import ThreadpoolController

from nbnet.kernels._jit import COMPILED
from nbnet.kernels.barrier import SYNC_STRIDE

__all__ = ["Team", "one_blas_thread", "thread_limit"]

# A step below this many floating-point operations (some 40 microseconds) is done before a second
# thread has its data.
_SMALL_STEP = 4_000_000
# Up to this many operations (some 50 ms) the calling thread works itself: Ctrl-C can wait for them.
_SHORT_CALL = 2_000_000_000


# Finding the libraries takes milliseconds. scikit-learn and SciPy have loaded theirs before this
# module comes to ask, and a limit is set on every library alike, so later ones need no look.
_thread_pools = lru_cache(maxsize=1)(ThreadpoolController)


def _pool_limit() -> float:
    """The fewest threads that any BLAS or OpenMP library of this process may use."""
    numbers = [
        pool.num_threads
        for pool in _thread_pools().lib_controllers
        # Built without threads: its 1 says nothing of what the user wants.
        if getattr(pool, "threading_layer", None) not in ("disabled", "sequential")
    ]
    return min((n for n in numbers if n is not None), default=np.inf)  # None: it cannot say


def thread_limit() -> int:
    """Threads this process may use: the cores it really has, or the lowest limit set on threads.

    Affinity, cgroup quotas and ``LOKY_MAX_CPU_COUNT`` come with joblib's count;
    ``NUMBA_NUM_THREADS`` (set by loky in its workers) and ``numba.set_num_threads`` are numba's;
    ``threadpoolctl``'s limits, and variables such as ``OMP_NUM_THREADS``, are read off the BLAS
    and OpenMP libraries that they bind. It takes some 60 microseconds: ask where work is large.
    """
    if not COMPILED:
        return 1
    limit = min(cpu_count(), config.NUMBA_NUM_THREADS, _pool_limit())
    # Asking numba would start its threads, unless the user did by setting their number.
    if getattr(parallel, "_is_initialized", False):
        limit = min(limit, parallel.get_num_threads())
    return max(1, int(limit))


_blas_lock = Lock()
# The first who asks sets the limit, the last to leave lifts it.
_blas_limits: list[Any] = []


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """While it lasts, BLAS works in the calling thread: its own would spin on the cores of ours."""
    with _blas_lock:
        _blas_limits.append(
            None if _blas_limits else _thread_pools().limit(limits=1, user_api="blas")
        )
    try:
        yield
    finally:
        with _blas_lock:
            limit = _blas_limits.pop()
            if limit is not None:
                limit.restore_original_limits()


class Team:
    """Threads that run one kernel together.

    Parameters
    ----------
    operations : float
        Floating-point operations between two meetings of the threads.
    most : int
        More threads than this would have nothing to do.
    """

    def __init__(self, operations: float, most: int):
        small = operations < _SMALL_STEP
        self.size = 1 if small else max(1, min(thread_limit(), most))
        self.sync = np.zeros((self.size + 1) * SYNC_STRIDE, dtype=np.int64)
        self._pool: ThreadPoolExecutor | None = None

    def run(self, kernel: Callable[..., int], args: tuple, operations: float) -> int:
        """Call ``kernel(tid, size, *args, sync)`` on each thread; the status of the first.

        The calling thread only waits, so that it receives a KeyboardInterrupt at once; it then
        stops the others and passes the exception on.
        """
        self.sync[:] = 0
        if self.size == 1 and operations < _SHORT_CALL:
            return kernel(0, 1, *args, self.sync)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.size, thread_name_prefix="nbnet")
        futures: list[Future[int]] = []
        try:
            for tid in range(self.size):
                futures.append(self._pool.submit(kernel, tid, self.size, *args, self.sync))
            pending = set(futures)
            while pending:  # with a timeout, or Windows would not be interruptible
                done, pending = wait(pending, timeout=0.1, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()  # raises what its thread raised: none may wait for it
        except BaseException:
            self.sync[-SYNC_STRIDE] = 1
            wait(futures)
            raise
        return futures[0].result()
