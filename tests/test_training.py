"""The state of a fit, who watches it, and schedules."""

import json

import numpy as np
import pytest
from sklearn.datasets import load_iris

from nbnet import graph as g
from nbnet.kernels.losses import LOSSES
from nbnet.training.lbfgs import train_by_lbfgs
from nbnet.training.loop import open_session, split_rows, train_by_epochs
from nbnet.training.metrics import METRICS
from nbnet.training.monitor import HeldOut, Monitor, print_epoch
from nbnet.training.recipe import Problem, Recipe
from nbnet.training.schedules import SCHEDULES, learning_rate, steps
from nbnet.training.state import FitState

X, Y = load_iris(return_X_y=True)
NUMBERS = {
    "sgd": {"momentum": 0.9, "nesterov": 1.0},
    "adam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8},
}


def recipe_for(solver="sgd", **changes):
    told = {"batch_size": 32, "learning_rate_init": 0.02, "alpha": 0.01, "max_iter": 12, **changes}
    return Recipe(solver=solver, solver_numbers=NUMBERS.get(solver, {}), **told)


def problem_for(dtype="float64", dropout=()):
    loss = LOSSES["softmax_cross_entropy"]
    net = g.Network(g.mlp(4, [("relu", 6)], loss.n_raw(3), dropout=dropout))
    features = X.astype(dtype)
    return Problem(net, features, Y[:, None].astype(dtype), None, loss.name)


def begin(problem, recipe):
    random_state = np.random.RandomState(1)
    params = problem.network.init(random_state, dtype=problem.X.dtype)
    rows, held_out = np.arange(len(X)), None
    if recipe.early_stopping:
        rows, held_out = split_rows(len(X), 0.2, random_state)
    state = FitState(params, rows, random_state, held_out)
    if any(node.op == "dropout" for node in problem.network.nodes):
        state.seed = 2**61 + 7
    if recipe.early_stopping:
        state.best_loss, state.validation_scores, state.best_validation_score = None, [], -np.inf
        state.best_params = params
    return state


def go_on(problem, recipe, state, *listeners):
    watched = None
    if recipe.early_stopping:
        watched = HeldOut.of(problem, state.held_out, "accuracy", lambda outputs: outputs)
    monitor = Monitor(recipe, watched, listeners)
    return train_by_epochs(open_session(problem, recipe, state), recipe, state, monitor)


GO_ON = """
import json, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import test_training as t
case = json.loads(sys.argv[2])
recipe, problem = t.recipe_for(**case["recipe"]), t.problem_for(case["dtype"], case["dropout"])
with np.load(sys.argv[3], allow_pickle=False) as arrays:
    state = t.FitState.from_arrays(arrays)
t.go_on(problem, recipe, state)
np.savez(sys.argv[4], **state.to_arrays())
"""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_state_written_as_arrays_goes_on_bit_for_bit_in_another_process(
    dtype, tmp_path, run_python, request
):
    plain = {"tol": 0.05, "n_iter_no_change": 1, "max_iter": 15}
    cases = [
        ({"solver": solver, "early_stopping": early_stopping, "shuffle": shuffle} | plain, [])
        for solver in ("sgd", "adam")
        for early_stopping in (False, True)
        for shuffle in (False, True)
    ]
    for told, _ in cases:
        told["schedule"] = "adaptive" if told["solver"] == "sgd" else "constant"
    extras = {"weight_decay": 0.1, "clip_norm": 0.3, "average": 0.9, "warmup_fraction": 0.3}
    extras |= {"schedule": "cosine", "max_iter": 8}
    cases += [(extras, [0.2]), (extras | {"early_stopping": True, "solver": "sgd"}, [0.2])]
    for told, dropout in cases:
        recipe, problem = recipe_for(**told), problem_for(dtype, dropout)
        whole, part = begin(problem, recipe), begin(problem, recipe)
        go_on(problem, recipe, whole)
        ending = go_on(problem, recipe, part, lambda epoch: epoch.n_iter == 3)
        assert ending.reason == "stopped"
        assert part.n_iter == 3 < whole.n_iter
        np.savez(tmp_path / "part.npz", **part.to_arrays())
        case = json.dumps({"recipe": told, "dtype": dtype, "dropout": dropout})
        arguments = (request.path.parent, case, tmp_path / "part.npz", tmp_path / "end.npz")
        run_python("-c", GO_ON, *arguments)
        with np.load(tmp_path / "end.npz", allow_pickle=False) as end:
            expected = whole.to_arrays()
            assert set(end) == set(expected)
            for name, value in expected.items():
                np.testing.assert_array_equal(end[name], value, err_msg=name)
                assert end[name].dtype == np.asarray(value).dtype, name


def test_a_snapshot_goes_on_bit_for_bit_and_is_a_copy():
    recipe, problem = recipe_for(early_stopping=True), problem_for()
    snapshots = []
    whole = begin(problem, recipe)
    go_on(problem, recipe, whole, lambda epoch: snapshots.append(epoch.snapshot()))
    for snapshot in (snapshots[0], snapshots[4]):
        again = FitState.from_arrays(snapshot.to_arrays())
        go_on(problem, recipe, again)
        assert again.loss_curve == whole.loss_curve
        np.testing.assert_array_equal(again.params, whole.params)
        np.testing.assert_array_equal(again.outcome, whole.outcome)
    assert len(snapshots[0].loss_curve) == 1


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
@pytest.mark.parametrize("measured", [False, True])
def test_what_is_measured_and_the_best_parameters_go_on_too(measured, metric):
    told = {"learning_rate_init": 0.3, "n_iter_no_change": np.inf, "restore_best": True}
    recipe, problem = recipe_for(**told), problem_for()
    rows = np.arange(0, len(X), 3)
    watched = HeldOut.of(problem, rows, metric, lambda outputs: outputs) if measured else None
    snapshots, whole = [], begin(problem, recipe)

    def train(state, *listeners):
        monitor = Monitor(recipe, watched, listeners)
        train_by_epochs(open_session(problem, recipe, state), recipe, state, monitor)

    train(whole, lambda epoch: snapshots.append(epoch.snapshot()))
    again = FitState.from_arrays(snapshots[2].to_arrays())
    train(again)
    assert again.n_iter == whole.n_iter == 12
    judged = whole.validation_scores if measured else np.negative(whole.loss_curve)
    assert again.best_n_iter == whole.best_n_iter == 1 + np.argmax(judged)
    assert type(again.best_n_iter) is int
    best = snapshots[whole.best_n_iter - 1].params
    np.testing.assert_array_equal(whole.outcome, best)
    np.testing.assert_array_equal(again.outcome, best)
    assert again.validation_losses == whole.validation_losses
    assert (whole.validation_losses is None) != measured
    if measured and metric == "loss":
        assert whole.validation_scores == [-loss for loss in whole.validation_losses]


def test_listeners_are_told_of_the_loss_of_rows_held_out():
    recipe, problem = recipe_for(early_stopping=True), problem_for()
    told, state = [], begin(problem, recipe)
    go_on(problem, recipe, state, told.append)
    assert [epoch.validation_loss for epoch in told] == state.validation_losses
    told, state = [], begin(problem, recipe_for())
    go_on(problem, recipe_for(), state, told.append)
    assert {epoch.validation_loss for epoch in told} == {None}


def test_the_state_is_arrays_numbers_and_strings():
    recipe, problem = recipe_for(early_stopping=True), problem_for()
    state = begin(problem, recipe)
    go_on(problem, recipe, state)
    arrays = state.to_arrays()
    assert {type(value) for value in arrays.values()} <= {np.ndarray, int, float, str}
    assert all(v.dtype != object for v in arrays.values() if isinstance(v, np.ndarray))
    again = FitState.from_arrays(arrays)
    assert again.random_state.randint(1 << 30) == state.random_state.randint(1 << 30)
    assert type(again.n_iter) is int
    assert again.loss_curve == state.loss_curve
    assert again.best_loss is None


def test_a_state_that_is_not_one_is_refused():
    state = begin(problem_for(), recipe_for())
    arrays = state.to_arrays()
    with pytest.raises(ValueError, match=r"has no \['weights'\]"):
        FitState.from_arrays({**arrays, "weights": 1})
    del arrays["rows"]
    with pytest.raises(ValueError, match="lacks 'rows'"):
        FitState.from_arrays(arrays)
    state.random_state = np.random.RandomState(np.random.PCG64(0))
    with pytest.raises(ValueError, match="built on PCG64"):
        state.to_arrays()


def test_listeners_are_told_of_each_epoch():
    recipe = recipe_for(
        early_stopping=True,
        schedule="invscaling",
        schedule_numbers={"power_t": 0.5},
        n_iter_no_change=np.inf,
    )
    problem = problem_for()
    told, state = [], begin(problem, recipe)
    ending = go_on(problem, recipe, state, told.append)
    assert ending.reason == "max_iter"
    assert [epoch.n_iter for epoch in told] == list(range(1, 13))
    assert [epoch.loss for epoch in told] == state.loss_curve
    assert [epoch.score for epoch in told] == state.validation_scores
    seen = [0, *(120 * i for i in range(1, 12))]
    assert [epoch.learning_rate for epoch in told] == [0.02 / (t + 1) ** 0.5 for t in seen]
    assert all(epoch.seconds > 0 for epoch in told)


def test_every_listener_hears_of_the_epoch_that_one_ends():
    recipe, problem = recipe_for(), problem_for()
    told, state = [], begin(problem, recipe)
    ending = go_on(problem, recipe, state, lambda epoch: epoch.n_iter == 2, told.append)
    assert ending.reason == "stopped"
    assert ending.warning is None
    assert len(told) == state.n_iter == 2


def test_listeners_of_lbfgs_are_told_and_may_end_it():
    recipe, problem = recipe_for("lbfgs", max_iter=50), problem_for()
    state, told = begin(problem, recipe), []

    def listener(epoch):
        told.append((epoch.n_iter, epoch.loss, epoch.snapshot().params))
        return epoch.n_iter == 4

    ending = train_by_lbfgs(problem, recipe, state, [listener])
    assert ending.reason == "stopped"
    assert [n for n, *_ in told] == [1, 2, 3, 4]
    assert state.n_iter == 4
    assert state.loss == told[-1][1]
    np.testing.assert_array_equal(state.params, told[-1][2])


def test_print_epoch(capsys):
    recipe, problem = recipe_for(early_stopping=True, max_iter=2), problem_for()
    state = begin(problem, recipe)
    go_on(problem, recipe, state, print_epoch)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Iteration 1, loss = {state.loss_curve[0]:.8f}"
    assert lines[3] == f"Validation score: {state.validation_scores[1]:.6f}"


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_functions_of_counts(name):
    """Twice the same counts, twice the same rate."""
    row = SCHEDULES[name]
    recipe = recipe_for(schedule=name, schedule_numbers=dict(row.numbers))
    state = begin(problem_for(), recipe)
    table = steps(recipe, state, 5)
    assert table.dtype == np.float64
    assert len(table) == 5
    assert row.of_share or table[0, 0] == 0.02
    state.step, state.t, state.slow_downs, state.n_iter = 40, 600, 3, 4
    np.testing.assert_array_equal(steps(recipe, state, 5), steps(recipe, state, 5))
    assert np.all(np.asarray(learning_rate(recipe, state)) > 0)


SHARES = [0.0, 0.1, 0.25, 0.3, 0.5, 0.8, 0.99]
FACTORS = {  # written down anew, from the formulas
    "linear": [1 - p for p in SHARES],
    "cosine": [np.cos(np.pi * p / 2) ** 2 for p in SHARES],
    "flat_cosine": [1.0 if p < 0.5 else np.sin(np.pi * p) ** 2 for p in SHARES],
    "one_cycle": [
        0.04 + 0.96 * np.sin(np.pi / 2 * p / 0.3) ** 2
        if p < 0.3
        else 4e-6 + (1 - 4e-6) * np.cos(np.pi / 2 * (p - 0.3) / 0.7) ** 2
        for p in SHARES
    ],
    "coslog": [np.sin(np.pi * np.log2(1 + 15 * p)) ** 2 for p in SHARES],
    "function": [(1 - p) ** 2 for p in SHARES],
}


def test_every_schedule_of_the_share_has_its_factors_here():
    names = {name for name, row in SCHEDULES.items() if row.of_share}
    assert names == set(FACTORS) - {"function"}


@pytest.mark.parametrize("warmup", [0.0, 0.25])
@pytest.mark.parametrize("name", FACTORS)
def test_schedules_of_the_share_that_is_done(name, warmup):
    """100 updates, in epochs of 20: the rate of each is that of its share, wherever it lies."""
    schedule = (lambda p: (1 - p) ** 2) if name == "function" else name
    recipe = recipe_for(schedule=schedule, max_iter=5, warmup_fraction=warmup, weight_decay=0.3)
    state, rates = begin(problem_for(), recipe), []
    for epoch in range(5):
        state.n_iter = epoch
        table = steps(recipe, state, 20)
        rates.extend(table[:, 0])
        assert (table[:, 1] == 0.3).all()
        assert (table[:, 2] == 1.0).all()
    at = [round(100 * share) for share in SHARES]
    rise = np.minimum((np.array(at) + 1) / 25, 1.0) if warmup else 1.0
    expected = 0.02 * np.array(FACTORS[name]) * rise
    np.testing.assert_allclose(np.array(rates)[at], expected, rtol=1e-12, atol=1e-17)
    assert np.min(rates) >= 0


@pytest.mark.parametrize("wrong", [-0.1, np.nan, np.inf])
def test_a_function_of_the_share_returns_factors(wrong):
    recipe = recipe_for(schedule=lambda share: 1.0 if share < 0.5 else wrong, max_iter=2)
    state = begin(problem_for(), recipe)
    steps(recipe, state, 4)
    state.n_iter = 1
    with pytest.raises(ValueError, match=rf"of the share 0.5 it returned {wrong}"):
        steps(recipe, state, 4)


def test_schedules_of_scikit_learn():
    state = begin(problem_for(), recipe_for())
    state.step, state.t, state.slow_downs = 40, 600, 3

    def rate(**told):
        return learning_rate(recipe_for(**told), state)

    assert rate(schedule="constant") == 0.02
    power = {"power_t": 0.3}
    assert rate(schedule="invscaling", schedule_numbers=power) == 0.02 / 601**0.3
    assert rate(schedule="adaptive") == 0.02 / 5 / 5 / 5
    state.step = 0  # a new optimizer begins anew, however many rows were seen before
    assert rate(schedule="invscaling", schedule_numbers=power) == 0.02


def test_metrics():
    accuracy, r2 = METRICS["accuracy"].function, METRICS["r2"].function
    probabilities = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]])
    assert accuracy(probabilities, np.array([[0], [1]]), None) == 0.5
    assert accuracy(probabilities, np.array([[0], [1]]), np.array([3.0, 1.0])) == 0.75
    assert accuracy(probabilities, np.array([[1, 0, 0], [0, 0, 1]]), None) == 0.5
    assert r2(np.array([[1.0], [3.0]]), np.array([[1.0], [3.0]]), None) == 1.0
    assert np.isnan(r2(np.array([[1.0], [np.inf]]), np.array([[1.0], [3.0]]), None))


@pytest.mark.parametrize(
    ("n_rows", "stratify"), [(5, np.array(["a", "a", "a", "b", "b"])), (1, None)]
)
def test_a_split_that_is_too_small_names_the_parameter(n_rows, stratify):
    with pytest.raises(ValueError, match=r"validation_fraction=0\.1") as caught:
        split_rows(n_rows, 0.1, np.random.RandomState(0), stratify)
    assert "test_size" not in str(caught.value)
