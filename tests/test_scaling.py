"""The cost model of `benchmarks.scaling`: what must hold of it whatever the machine."""

import pytest

from benchmarks import scaling
from benchmarks.scaling import bytes_read, predict
from benchmarks.workloads import Workload

# 64 rows are 8 tiles; products of 10-20-4: 200 and 80
W = Workload("w", 128, 10, (20,), 4, 64, 1, "a test")
FREE = {"barrier_us": 0.0, "line_ns": 0.0}


@pytest.fixture(autouse=True)
def large_steps(monkeypatch):
    monkeypatch.setattr(scaling, "stays_on_one_thread", lambda workload: False)


def test_one_core_is_what_was_measured():
    assert predict(W, 1, 5.0, barrier_us=9.0, line_ns=9.0) == pytest.approx(5.0)


def test_work_is_divided_where_nothing_else_costs():
    assert predict(W, 4, 8.0, **FREE) == pytest.approx(2.0)


def test_tiles_that_do_not_divide_evenly_cost():
    # On 16 cores 8 of them have a tile and 8 none: the first phase is done in an 8th of the time.
    # It has 280 + 80 of 640 multiplications, the second 280, in a 16th.
    assert predict(W, 16, 1.0, **FREE) == pytest.approx(360 / 640 / 8 + 280 / 640 / 16)


def test_threads_meet_twice_a_step():
    two_steps = 2 * 2 * 1e-3  # milliseconds; of three threads each waits for two
    more = predict(W, 3, 1.0, barrier_us=1.0, line_ns=0.0) - predict(W, 3, 1.0, **FREE)
    assert more == pytest.approx(2 * two_steps)


def test_bytes_of_other_threads():
    assert bytes_read(W, 1) == 0
    weights, transposed = 200 + 80, 80
    values, gradients = 64 * (10 + 20), 64 * (20 + 4)
    assert bytes_read(W, 2) == 4 / 2 * (weights + transposed + values + gradients / 2)
    with_lines = predict(W, 2, 1.0, barrier_us=0.0, line_ns=5.0)
    assert with_lines == pytest.approx(
        predict(W, 2, 1.0, **FREE) + 2 * bytes_read(W, 2) / 64 * 5e-6
    )


def test_a_small_step_is_not_divided(monkeypatch):
    monkeypatch.setattr(scaling, "stays_on_one_thread", lambda workload: True)
    assert predict(W, 16, 5.0, barrier_us=9.0, line_ns=9.0) == pytest.approx(5.0)
