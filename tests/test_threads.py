"""How many threads there are, and that they end together."""

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from nbnet import MLPClassifier
from nbnet.kernels import threads
from nbnet.kernels.machine.barrier import SYNC_STRIDE
from nbnet.kernels.threads import Team, thread_limit
from nbnet.training import lbfgs

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

LARGE = 1e12


@pytest.fixture
def three_threads(monkeypatch):
    monkeypatch.setattr(threads, "thread_limit", lambda: 3)


def test_a_tiny_step_gets_one_thread_and_a_large_one_all(three_threads):
    assert Team(1e3, most=100).size == 1
    assert Team(LARGE, most=100).size == 3
    assert Team(LARGE, most=2).size == 2
    assert Team(LARGE, 100, call_operations=1e6).size == 1


def test_calls_at_the_same_time_share_the_threads(three_threads):
    sizes = []

    def outer(tid, n, sync):
        sizes.append(n)
        return Team(LARGE, most=100).run(inner, (), LARGE)

    def inner(tid, n, sync):
        sizes.append(n)
        return 0

    with ThreadPoolExecutor(1) as pool:
        pool.submit(Team(LARGE, most=1).run, outer, (), LARGE).result()
        pool.submit(Team(LARGE, most=1).run, inner, (), LARGE).result()
    assert sizes == [1, 1, 1]  # the outer one, the inner one beside it, and one by itself
    assert Team(LARGE, most=100).run(lambda tid, n, sync: n, (), LARGE) == 3  # nobody else now


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing to fork with")
def test_a_forked_child_shares_with_nobody(run_python):
    script = """
import os, threading
from nbnet.kernels import threads

threads.thread_limit = lambda: 3
inside, forked = threading.Event(), threading.Event()

def wait(tid, n, sync):
    inside.set()
    forked.wait()
    return n

def size():
    return threads.Team(1e12, most=100).run(lambda tid, n, sync: n, (), 1e12)

other = threading.Thread(target=threads.Team(1e12, most=1).run, args=(wait, (), 1e12))
other.start()
inside.wait()
here = size()
child = os.fork()
if child == 0:
    os._exit(size())
status = os.waitpid(child, 0)[1]
forked.set()
other.join()
print(here, os.waitstatus_to_exitcode(status), size())
"""
    assert run_python("-W", "ignore", "-c", script) == "1 3 3\n"


def test_a_brief_call_gets_one_thread(three_threads):
    team = Team(LARGE, most=100)
    assert team.run(lambda tid, n, sync: n, (), 1e6) == 1
    assert team.run(lambda tid, n, sync: n, (), 1e9) == 3


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only where a test says so."""
    now = [0.0]
    monkeypatch.setattr(threads, "perf_counter", lambda: now[0])
    return now


def numbers(clock, seconds, calls, team):
    """How many threads each call gets, if ``seconds[n]`` is what one takes with n threads."""
    seen = []

    def kernel(tid, n, sync):
        if tid == 0:
            seen.append(n)
            clock[0] += seconds[n]
        return 0

    for _ in range(calls):
        team.run(kernel, (), 1e8)
    return seen


SMALL = 3e6  # operations of a step that many threads may be worth


def test_small_steps_try_one_thread_and_many_and_keep_the_faster(three_threads, clock):
    team = Team(SMALL, most=100)
    assert team.size == 3
    # The first call is not counted: it compiles.
    assert numbers(clock, {1: 9.0, 3: 2.0}, 1, team) == [1]
    assert numbers(clock, {1: 3.0, 3: 2.0}, 40, team) == [1] + [3] * 39
    # A core is taken by others: one thread, and now and then a look, ever more rarely.
    found = numbers(clock, {1: 3.0, 3: 10.0}, 3000, team)
    tries = [i for i, n in enumerate(found) if n == 3]
    assert np.diff(tries).tolist() == [3, 9, 33, 129] + [513] * (len(tries) - 5)
    assert len(tries) > 8
    # It is free again.
    assert numbers(clock, {1: 3.0, 3: 2.0}, 560, team)[-40:] == [3] * 40


def test_many_threads_that_fail_at_once_are_left_alone_for_longer(three_threads, clock):
    found = numbers(clock, {1: 3.0, 3: 10.0}, 200, Team(SMALL, most=100))
    assert [i for i, n in enumerate(found) if n == 3] == [2, 11, 44, 173]


def test_where_threads_are_tried_calls_are_whole_batches_and_short(three_threads):
    assert Team(LARGE, most=100).rows_a_call(1e4, batch=200) is None
    rows = Team(SMALL, most=100).rows_a_call(SMALL / 200, batch=200)
    assert rows == 2800  # 14 batches of 3 million operations, at least 40 million
    assert rows * SMALL / 200 >= threads._BRIEF_CALL


def test_large_steps_always_have_all_threads(three_threads, clock):
    team = Team(LARGE, most=100)
    assert numbers(clock, {1: 1.0, 3: 9.0}, 40, team) == [3] * 40


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


ASK = "from nbnet.kernels.threads import thread_limit; print(thread_limit())"


def test_limits_of_numba_and_of_the_process(run_python):
    assert int(run_python("-c", ASK, NUMBA_NUM_THREADS=1)) == 1
    assert int(run_python("-c", ASK, LOKY_MAX_CPU_COUNT=1)) == 1
    assert int(run_python("-c", f"import numba; numba.set_num_threads(1); {ASK}")) == 1
    assert int(run_python("-c", ASK, NUMBA_DISABLE_JIT=1)) == 1
    if sys.platform == "linux":
        one_core = f"import os; os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}}); {ASK}"
        assert int(run_python("-c", one_core)) == 1


@pytest.fixture
def many_cores(monkeypatch):
    """A machine of 64 cores, whatever this one is, with pools of threads of which we are told."""
    pools = []
    monkeypatch.setattr(threads, "cpu_count", lambda: 64)
    monkeypatch.setattr(threads.config, "NUMBA_NUM_THREADS", 64)
    monkeypatch.setattr(threads, "get_num_threads", lambda: 64)
    monkeypatch.setattr(threads, "_thread_pools", lambda: SimpleNamespace(lib_controllers=pools))
    return pools


def pool(num_threads, **more):
    return SimpleNamespace(num_threads=num_threads, **more)


def test_the_lowest_limit_of_a_thread_pool_counts(many_cores):
    assert thread_limit() == 64  # no pool at all
    many_cores.append(pool(128, threading_layer="pthreads"))
    assert thread_limit() == 64
    many_cores.append(pool(5))
    assert thread_limit() == 5
    many_cores.append(pool(3, threading_layer="openmp"))
    assert thread_limit() == 3


def test_a_pool_that_says_nothing_does_not_count(many_cores):
    many_cores += [
        pool(1, threading_layer="disabled"),
        pool(1, threading_layer="sequential"),
        pool(None),
    ]
    assert thread_limit() == 64


@pytest.mark.parametrize("user_api", [None, "blas", "openmp"])
def test_limits_of_threadpoolctl(user_api, monkeypatch):
    monkeypatch.setattr(threads, "cpu_count", lambda: 64)
    monkeypatch.setattr(threads.config, "NUMBA_NUM_THREADS", 64)
    with threadpool_limits(limits=3, user_api=user_api):
        assert thread_limit() <= 3
        with threadpool_limits(limits=1, user_api=user_api):
            assert thread_limit() == 1


def test_a_small_call_asks_for_no_limit(monkeypatch):
    """It is over before the answer would be there."""
    monkeypatch.setattr(threads, "thread_limit", lambda: pytest.fail("asked"))
    X = np.random.default_rng(0).random((100, 4))
    model = MLPClassifier(8, max_iter=2, n_iter_no_change=5).fit(X, X[:, 0] > 0.5)
    model.predict_proba(X[:1])


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_blas_has_one_thread_until_the_last_user_leaves():
    before = blas_threads()
    assert before
    first, second = threads.one_blas_thread(), threads.one_blas_thread()
    with threadpool_limits(2, user_api="blas"):
        two = blas_threads()
        first.__enter__()
        second.__enter__()
        assert set(blas_threads()) == {1}
        first.__exit__(None, None, None)
        assert set(blas_threads()) == {1}
        second.__exit__(None, None, None)
        assert blas_threads() == two
    with pytest.raises(KeyboardInterrupt), threads.one_blas_thread():
        raise KeyboardInterrupt
    assert blas_threads() == before


def test_lbfgs_runs_beside_a_single_blas_thread(monkeypatch):
    seen = []
    minimize = lbfgs.minimize

    def watched(*arguments, **options):
        seen.append(set(blas_threads()))
        return minimize(*arguments, **options)

    monkeypatch.setattr(lbfgs, "minimize", watched)
    before = blas_threads()
    MLPClassifier(3, solver="lbfgs", max_iter=3).fit(np.eye(4), [0, 1, 0, 1])
    assert seen == [{1}]
    assert blas_threads() == before


@pytest.mark.parametrize("inner", [1, 2])
def test_limits_of_loky(inner, run_python):
    script = f"""
import joblib
from nbnet.kernels.threads import thread_limit

with joblib.parallel_config("loky", inner_max_num_threads={inner}):
    print(joblib.Parallel(2)(joblib.delayed(thread_limit)() for _ in range(2)))
"""
    here = min(inner, joblib.cpu_count())
    assert run_python("-c", script) == f"[{here}, {here}]\n"


def test_limit_is_at_least_one_and_at_most_the_cores():
    assert 1 <= thread_limit() <= (os.cpu_count() or 1)


def test_fewer_threads_where_no_more_can_be_started(three_threads, monkeypatch):
    """A limit on threads, or an interpreter that shuts down."""
    started = []
    start = threads.Thread.start

    def refuse(thread):
        if len(started) == allowed:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threads.Thread, "start", refuse)
    for operations, most in ((1e9, [1, 2, 3]), (LARGE, [1, 1, 2])):  # short and long calls
        for allowed in range(3):
            started.clear()
            seen = []
            run = Team(LARGE, most=100).run
            assert run(lambda tid, n, sync: seen.append((tid, n)) or 7, (), operations) == 7  # noqa: B023
            assert sorted(seen) == [(tid, most[allowed]) for tid in range(most[allowed])]


def test_threads_end_with_their_team(three_threads):
    team = Team(LARGE, most=100)
    team.run(lambda tid, n, sync: 0, (), LARGE)
    helpers = team._helpers._threads
    assert [thread.is_alive() for thread in helpers] == [True] * 3
    del team
    for thread in helpers:
        thread.join(60)
    assert not any(thread.is_alive() for thread in helpers)


def test_threads_serve_all_calls_of_a_team(three_threads):
    team = Team(LARGE, most=100)
    seen = [set(), set()]
    for names in seen:
        team.run(lambda tid, n, sync: names.add(threading.get_ident()) or 0, (), LARGE)  # noqa: B023
    assert seen[0] | seen[1] <= {thread.ident for thread in team._helpers._threads}
    assert len(team._helpers._threads) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing to fork with")
def test_a_team_from_before_a_fork_works_in_the_child(run_python):
    script = """
import os
from nbnet.kernels import threads

threads.thread_limit = lambda: 3
team = threads.Team(1e12, most=100)
run = lambda: team.run(lambda tid, n, sync: n, (), 1e12)
run()
child = os.fork()
if child == 0:
    os._exit(run())
print(run(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run_python("-W", "ignore", "-c", script) == "3 3\n"


class Interruptions:
    """Raises KeyboardInterrupt at the given line event of threads.py: as Ctrl-C may, anywhere."""

    def __init__(self, at):
        self.at, self.seen = at, 0

    def __call__(self, frame, event, argument):
        if frame.f_code.co_filename != threads.__file__:
            return None
        if event == "line":
            self.seen += 1
            if self.seen == self.at:
                raise KeyboardInterrupt
        return self


@pytest.mark.parametrize("operations", [1e9, 1e11])  # with the calling thread's own share, without
def test_an_interruption_between_any_two_lines_ends_the_call(operations, monkeypatch):
    monkeypatch.setattr(threads, "thread_limit", lambda: 3)
    at = interrupted = 0
    while at == 0 or interrupted == at:
        at += 1
        before = threading.active_count()
        team, tracer = Team(1e9, 3), Interruptions(at)
        outer = sys.gettrace()
        try:
            sys.settrace(tracer)
            team.run(lambda tid, n, sync: 7, (), operations)
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            sys.settrace(outer)
        assert not threads._calls
        del team
        patience = 1000
        while threading.active_count() > before and patience:
            patience -= 1
            time.sleep(0.01)
        assert threading.active_count() <= before
    assert interrupted > 20
