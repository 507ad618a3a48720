"""A benchmark that compares unequal work would be worse than none."""

import copy

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

from benchmarks import report
from benchmarks.systems import parse
from benchmarks.training import compare
from benchmarks.worker import Worker
from benchmarks.workloads import LEARNING_RATE, SEED, WORKLOADS, Workload

SMALL = Workload("small", 50, 6, (5, 4), 3, 20, 2, "a test")


def test_initial_parameters_are_those_of_scikit_learn():
    X, y = SMALL.data()
    model = MLPClassifier(
        SMALL.hidden, batch_size=20, learning_rate_init=1e-30, max_iter=1, random_state=SEED
    )
    with pytest.warns(match="Maximum iterations"):
        model.fit(X, y)  # its steps vanish in float32
    for ours, theirs in zip(
        SMALL.initial_parameters(np.random.RandomState(SEED)),
        (model.coefs_, model.intercepts_),
        strict=True,
    ):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_order_of_rows_is_that_of_scikit_learn():
    X, y = SMALL.data()
    settings = {"hidden_layer_sizes": SMALL.hidden, "solver": "sgd", "batch_size": 1, "alpha": 0}
    settings |= {"momentum": 0, "learning_rate_init": 0.1, "max_iter": 3, "random_state": SEED}
    with pytest.warns(match="Maximum iterations"):
        shuffled = MLPClassifier(**settings).fit(X, y)
    rng = np.random.RandomState(SEED)
    SMALL.initial_parameters(rng)
    orders = SMALL.orders(rng)
    rows = np.concatenate([next(orders) for _ in range(3)])
    settings |= {"max_iter": 1, "shuffle": False}
    with pytest.warns(match="Maximum iterations"):
        given = MLPClassifier(**settings).fit(X[rows], y[rows])
    for a, b in zip(shuffled.coefs_, given.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


def test_operations_of_an_epoch():
    # 6-5-4-3: two products for the first layer's 30 weights, three for the others' 20 and 12
    assert SMALL.flops_per_epoch == 50 * 2 * (2 * 30 + 3 * 20 + 3 * 12)


def test_batches_cover_the_rows():
    for workload in (*WORKLOADS.values(), SMALL):
        rows = np.arange(workload.n_samples)
        assert np.array_equal(np.concatenate([rows[b] for b in workload.batches]), rows)
        assert max(len(rows[b]) for b in workload.batches) == workload.batch_size


@pytest.fixture
def measured():
    run = {"ms_per_epoch": [2.0, 4.0, 3.0], "first_call_seconds": 0.0, "losses": [1.0, 0.5]}
    systems = {"nbnet": run, "sklearn": copy.deepcopy(run), "torch-2": copy.deepcopy(run)}
    return {"workload": dict(SMALL.__dict__), "systems": systems}


def test_comparison(measured):
    measured["systems"]["sklearn"]["ms_per_epoch"] = [9.0, 9.0, 1.0]
    compare(measured, peak=1.0)
    assert measured["equal"]
    assert measured["systems"]["sklearn"]["ratio_to_nbnet"] == 3.0
    share = SMALL.flops_per_epoch / 3e-3 / 1e9
    assert measured["systems"]["nbnet"]["share_of_peak"] == pytest.approx(share)


@pytest.mark.parametrize("losses", [[1.01, 0.5], [1.0, 0.56], [1.0, np.nan]])
def test_unequal_work_is_found_and_not_reported(measured, losses):
    measured["systems"]["torch-2"]["losses"] = losses
    compare(measured, peak=1.0)
    assert not measured["equal"]
    assert measured["systems"]["nbnet"]["equal"]
    with pytest.raises(ValueError, match="losses of small do not agree"):
        report.training_table({"workloads": {"small": measured}})


def test_table(measured):
    measured["systems"]["torch-2"]["ms_per_epoch"] = [30.0] * 3
    compare(measured, peak=1.0)
    header, _, line = report.training_table({"workloads": {"small": measured}}).splitlines()
    assert "| nbnet | scikit-learn | PyTorch, 2 threads | best peer ÷ nbnet |" in header
    assert "| 3.0 | 3.0 | 30 | 1.0 |" in line


def test_a_worker_passes_its_errors_on():
    with Worker() as worker, pytest.raises(RuntimeError, match="unknown call 'sleep'"):
        worker.ask("sleep")


def test_names_of_systems():
    assert parse("torch-2") == ("torch", 2)
    assert parse("nbnet") == ("nbnet", None)
    assert LEARNING_RATE == 1e-3  # what the README's table says
