"""How many threads a kernel may use, and running it on them.

numba's own parallel loops are not used: their threading layers abort on concurrent or forked
launches, need a system library, and would compile every kernel twice. nbnet's kernels release the
GIL, so ordinary Python threads serve, each with its own share of the work; they live as long as a
fit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from queue import SimpleQueue
from threading import Lock, Thread
from time import perf_counter
from typing import Any
from weakref import ref

import numpy as np
from joblib import cpu_count
from numba import config, get_num_threads, threading_layer
from threadpoolctl import ThreadpoolController

from nbnet.kernels.compile.jit import COMPILED, compile_for
from nbnet.kernels.machine.barrier import SYNC_STRIDE

__all__ = ["Team", "one_blas_thread", "thread_limit"]

# In floating-point operations, of which a core does some 100 a nanosecond. A step below the first
# gains nothing, or so little that it is not worth what a try costs beside a busy process; below the
# second it is worth a look.
_TINY_STEP, _SMALL_STEP = 2_000_000, 4_000_000
# A call below the first is done before a second thread has been woken. Up to the second (some 50
# ms) the calling thread works itself: Ctrl-C can wait for it.
_BRIEF_CALL, _SHORT_CALL = 40_000_000, 2_000_000_000


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
    try:
        threading_layer()
    except ValueError:
        pass  # numba has no threads yet, and asking for their number would start them
    else:
        limit = min(limit, get_num_threads())
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


class _Call:
    """A call of a kernel under way; a local variable of it, so that it ends with the call."""


# One reference for each call under way in this process. It leaves by itself when its call is gone,
# wherever an exception came: no counter could promise that. It needs no lock, which a fork could
# find taken.
_calls: set[ref[_Call]] = set()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_calls.clear)  # other threads are not forked


class _Pace:
    """Whether many threads take less time than one for small steps, judged by the calls so far.

    A second thread gains little there if it has a core to itself, and costs a multiple if it has
    not. Results are bitwise the same, so either may be tried: one thread first, then many, then
    what was faster. Many that were slower are tried again after 8 calls, then 32, 128, 512 (a try
    may take ten times as long); after 2 if they had been faster until then.
    """

    def __init__(self) -> None:
        self._warm = False
        self._one: float | None = None  # seconds an operation in the last call with one thread,
        self._many = 0.0  # and with many
        self._rest, self._next_rest = 0, 8  # calls with one thread before many are tried again

    def many(self) -> bool:
        """Whether the next call should have many threads."""
        return self._one is not None and (self._many <= self._one or self._rest <= 0)

    def note(self, many: bool, seconds: float) -> None:
        """Remember what an operation took."""
        if not self._warm:  # the first call may compile, and touches memory for the first time
            self._warm = True
        elif not many:
            self._one = seconds
            self._rest -= 1
        else:
            self._many = seconds
            if self._one is not None and seconds > self._one:
                self._rest, self._next_rest = self._next_rest, min(4 * self._next_rest, 512)
            else:
                self._next_rest = 2


class _Share:
    """One thread's share of a run: it is begun once at the most, and its result stays.

    Ctrl-C may reach the caller between any two lines, so nothing may depend on what it has counted
    so far: it asks each share.
    """

    def __init__(self, work: Callable[[], int], stop: Callable[[], None]):
        self.result: Any = None  # as long as it is not done
        self._work, self._stop = work, stop
        self._begun, self._done = Lock(), Lock()
        self._done.acquire()

    def __call__(self) -> None:
        """Do it, in a helper thread, unless it was called off."""
        if self._begun.acquire(blocking=False):
            try:
                self.result = self._work()
            except BaseException as error:
                self._stop()  # none may wait for this one
                self.result = error
            self._done.release()

    def wait(self) -> None:
        """Wait until it is done, with a timeout, or Windows would not be interruptible."""
        while self.result is None:
            self._done.acquire(timeout=0.1)

    def call_off(self) -> None:
        """See to it that it will not begin, or wait until it is done."""
        if not self._begun.acquire(blocking=False):
            self.wait()


def _help(tasks: SimpleQueue, end: Any) -> None:
    while (task := tasks.get()) is not end:
        task()
        del task  # or what it refers to would live until the next one
    tasks.put(end)  # for the other helpers


class _Helpers:
    """Threads that wait for something to do, and end with this object.

    A ThreadPoolExecutor takes no work once the main thread has ended, even where other threads go
    on. These are daemons, so that a process that ends does not wait for them.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue = SimpleQueue()
        self._threads: list[Thread] = []
        # Puts itself into the queue when this object is gone. Not `__del__`: Python would swallow a
        # KeyboardInterrupt that comes while it runs. Of this callback no line is Python's.
        self._end = ref(self, self._tasks.put)

    def hire(self, n: int) -> int:
        """Have `n` threads, or as many as this process may start; how many there are."""
        if not all(thread.is_alive() for thread in self._threads):  # they are not forked
            self.__init__()  # type: ignore[misc]
        while len(self._threads) < n:
            thread = Thread(target=_help, args=(self._tasks, self._end), name="nbnet", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # a limit, or the interpreter shuts down
                break
            self._threads.append(thread)
        return min(n, len(self._threads))

    def give(self, share: _Share) -> None:
        """Have a thread do a share."""
        self._tasks.put(share)


class Team:
    """Threads that run one kernel together.

    Parameters
    ----------
    operations : float
        Floating-point operations between two meetings of the threads.
    most : int
        More threads than this would have nothing to do.
    call_operations : float
        Those of a whole call.

    Attributes
    ----------
    size : int
        The most threads that a call gets.
    """

    def __init__(self, operations: float, most: int, call_operations: float = np.inf):
        little = operations < _TINY_STEP or call_operations < _BRIEF_CALL
        self.size = 1 if little else max(1, min(thread_limit(), most))
        self.sync = np.zeros((self.size + 1) * SYNC_STRIDE, dtype=np.int64)
        self._helpers: _Helpers | None = None
        self._pace = _Pace() if self.size > 1 and operations < _SMALL_STEP else None

    def rows_a_call(self, operations: float, batch: int) -> int | None:
        """How many rows of so many operations to give to a call; None for all.

        Whole batches, and as few as a call is worth where the number of threads is found by trying:
        a try that fails then costs a part of an epoch.
        """
        if self._pace is None:
            return None
        return -int(-_BRIEF_CALL // (operations * batch)) * batch

    def run(self, kernel: Callable[..., int], args: tuple, operations: float) -> int:
        """Call ``kernel(tid, n, *args, sync)`` on n threads; the status of the first.

        The n is what promises to be fastest, up to `size`. Calls that are under way at the same
        time share the cores.
        """
        short = operations < _SHORT_CALL
        call = _Call()
        try:
            _calls.add(ref(call, _calls.discard))
            n = max(1, self.size // len(_calls)) if operations >= _BRIEF_CALL else 1
            if n == 1 or self._pace is None:
                return self._run(kernel, args, n, short)
            many = self._pace.many()
            started = perf_counter()
            status = self._run(kernel, args, n if many else 1, short)
            self._pace.note(many, (perf_counter() - started) / operations)
            return status
        finally:
            del call  # a traceback may keep this frame

    def _run(self, kernel: Callable[..., int], args: tuple, n: int, short: bool) -> int:
        """Call the kernel on `n` threads, or on fewer if no more can be started.

        The calling thread takes its share of a `short` call. During others it only waits, so that
        it receives a KeyboardInterrupt at once; it then stops the others and passes the exception
        on.
        """
        self.sync[:] = 0
        if n == 1 and short:
            return kernel(0, 1, *args, self.sync)
        if self._helpers is None:
            # Not in a helper, where it takes a fifth longer while other threads want the GIL.
            compile_for(kernel, (0, n, *args, self.sync))
            self._helpers = _Helpers()
        helpers = self._helpers.hire(n - short)
        if helpers == 0:
            return kernel(0, 1, *args, self.sync)
        n = helpers + short
        shares = [
            _Share(partial(kernel, tid, n, *args, self.sync), self._stop) for tid in range(short, n)
        ]
        try:
            for share in shares:
                self._helpers.give(share)
            status = kernel(0, n, *args, self.sync) if short else None
            for share in shares:
                share.wait()
        except BaseException:
            self._stop()
            for share in shares:
                share.call_off()
            raise
        for share in shares:
            if isinstance(share.result, BaseException):
                raise share.result
        return shares[0].result if status is None else status

    def _stop(self) -> None:
        self.sync[-SYNC_STRIDE] = 1
