"""How many threads there are, and that they end together."""

import os
import sys
import time

import pytest

from nbnet.kernels import threads
from nbnet.kernels.barrier import SYNC_STRIDE
from nbnet.kernels.threads import Team, thread_limit

LARGE = 1e12


@pytest.fixture
def three_threads(monkeypatch):
    monkeypatch.setattr(threads, "thread_limit", lambda: 3)


def test_a_small_step_gets_one_thread_and_a_large_one_all(three_threads):
    assert Team(1e3, most=100).size == 1
    assert Team(LARGE, most=100).size == 3
    assert Team(LARGE, most=2).size == 2


def test_all_threads_run_with_their_number(three_threads):
    seen = []

    def kernel(tid, size, word, sync):
        seen.append((tid, size, word, len(sync)))
        return tid + 10

    assert Team(LARGE, most=100).run(kernel, ("word",), LARGE) == 10
    assert sorted(seen) == [(tid, 3, "word", 4 * SYNC_STRIDE) for tid in range(3)]


def test_an_error_in_one_thread_ends_the_others(three_threads):
    """The others wait for it at a barrier: without the stop flag they would do so for ever."""

    def kernel(tid, size, sync):
        if tid == 1:
            raise MemoryError("no room")
        limit = time.monotonic() + 60
        while not sync[-SYNC_STRIDE] and time.monotonic() < limit:
            time.sleep(0.001)
        stopped.append(bool(sync[-SYNC_STRIDE]))
        return 0

    stopped = []
    with pytest.raises(MemoryError, match="no room"):
        Team(LARGE, most=100).run(kernel, (), LARGE)
    assert stopped == [True, True]


def test_a_stop_flag_does_not_outlive_its_run(three_threads):
    team = Team(LARGE, most=100)
    team.sync[-SYNC_STRIDE] = 1
    assert team.run(lambda tid, size, sync: int(sync[-SYNC_STRIDE]), (), LARGE) == 0


def test_limits_of_numba_and_of_the_process(run_python):
    ask = "from nbnet.kernels.threads import thread_limit; print(thread_limit())"
    assert int(run_python("-c", ask, NUMBA_NUM_THREADS=1)) == 1
    assert int(run_python("-c", ask, LOKY_MAX_CPU_COUNT=1)) == 1
    assert int(run_python("-c", f"import numba; numba.set_num_threads(1); {ask}")) == 1
    assert int(run_python("-c", ask, NUMBA_DISABLE_JIT=1)) == 1
    if sys.platform == "linux":
        one_core = f"import os; os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}}); {ask}"
        assert int(run_python("-c", one_core)) == 1


def test_limit_is_at_least_one_and_at_most_the_cores():
    assert 1 <= thread_limit() <= (os.cpu_count() or 1)
