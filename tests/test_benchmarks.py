"""A benchmark that compares unequal work would be worse than none."""

import copy
import dataclasses
import json
import os

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier, MLPRegressor

import nbnet
from benchmarks import curves, extras, memory, peak, report, search, systems
from benchmarks.program import PROCESSORS, turns
from benchmarks.systems import can, label, parse
from benchmarks.training import agree, compare
from benchmarks.worker import Worker
from benchmarks.workloads import (
    EXTRAS,
    SEED,
    VALIDATION_FRACTION,
    VARIANTS,
    WORKLOADS,
    Workload,
)

ALL = {**WORKLOADS, **VARIANTS}
SMALL = Workload("small", 50, 6, (5, 4), 3, 20, 2, "a test")
EARLY = dataclasses.replace(SMALL, early_stopping=True)
MAXOUT = dataclasses.replace(SMALL, activation="maxout", pieces=3)
DROPPED = dataclasses.replace(SMALL, dropout=1e-12)  # so few units that it is none


# --- The workloads draw what scikit-learn draws


@pytest.mark.parametrize(
    "workload",
    [
        SMALL,
        dataclasses.replace(SMALL, activation="logistic"),
        dataclasses.replace(SMALL, dtype="float64", n_classes=2),
        dataclasses.replace(SMALL, loss="squared_error", n_classes=1),
    ],
)
def test_initial_parameters_are_those_of_scikit_learn(workload):
    kind = MLPRegressor if workload.is_regression else MLPClassifier
    model = kind(
        hidden_layer_sizes=workload.hidden, activation=workload.activation, batch_size=20,
        learning_rate_init=1e-30, max_iter=1, random_state=SEED,
    )  # fmt: skip
    with pytest.warns(match="Maximum iterations"):
        model.fit(*workload.data())  # its steps vanish
    for ours, theirs in zip(
        workload.initial_parameters(np.random.RandomState(SEED)),
        (model.coefs_, model.intercepts_),
        strict=True,
    ):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == workload.dtype


@pytest.mark.parametrize(
    "workload",
    [SMALL, EARLY, dataclasses.replace(EARLY, n_classes=2), DROPPED],
    ids=["plain", "early", "two classes", "dropout"],
)
def test_rows_come_in_the_order_of_scikit_learn(workload):
    """And in that of nbnet where there is dropout, for which it draws one number more."""
    X, y = workload.data()
    settings = {"hidden_layer_sizes": workload.hidden, "solver": "sgd", "batch_size": 1, "alpha": 0}
    settings |= {"momentum": 0, "learning_rate_init": 0.1, "random_state": SEED, "max_iter": 3}
    early = {"early_stopping": True, "validation_fraction": VALIDATION_FRACTION}
    if workload.dropout:
        model = nbnet.MLPClassifier(**settings, dropout=workload.dropout)
    else:
        model = MLPClassifier(**settings, **(early if workload.early_stopping else {}))
    with pytest.warns(match="Maximum iterations"):
        drawn = model.fit(X, y)
    rng = np.random.RandomState(SEED)
    workload.initial_parameters(rng)
    training, held_out = workload.split(rng, y)
    workload.mask_seed(rng)
    assert len(training) == workload.n_training
    assert sorted([*training, *held_out]) == list(range(workload.n_samples))
    orders = workload.orders(rng, training)
    rows = np.concatenate([next(orders) for _ in range(3)])
    settings |= {"max_iter": 1, "shuffle": False}
    with pytest.warns(match="Maximum iterations"):
        given = MLPClassifier(**settings).fit(X[rows], y[rows])
    assert given.loss_ == pytest.approx(np.mean(drawn.loss_curve_), rel=1e-5)


def test_operations_of_an_epoch():
    # 6-5-4-3: two products for the first layer's 30 weights, three for the others' 20 and 12
    assert SMALL.flops_per_epoch == 50 * 2 * (2 * 30 + 3 * 20 + 3 * 12)
    # three pieces a unit, which the next layer sees as one
    assert MAXOUT.flops_per_epoch == 50 * 2 * (2 * 90 + 3 * 60 + 3 * 12)
    half = dataclasses.replace(SMALL, density=0.5)
    assert half.flops_per_epoch == 50 * 2 * (2 * 15 + 3 * 20 + 3 * 12)
    assert EARLY.flops_per_epoch == 45 * 2 * (2 * 30 + 3 * 20 + 3 * 12)


@pytest.mark.parametrize("workload", [SMALL, EARLY, *ALL.values()], ids=lambda work: work.name)
def test_batches_cover_the_rows(workload):
    rows = np.arange(workload.n_training)
    assert np.array_equal(np.concatenate([rows[b] for b in workload.batches]), rows)
    sizes = [len(rows[b]) for b in workload.batches]
    assert max(sizes) == workload.batch_size
    assert set(sizes[:-1]) <= {workload.batch_size}


@pytest.mark.parametrize("workload", ALL.values(), ids=lambda work: work.name)
def test_a_workload_survives_json_and_has_every_class(workload):
    assert Workload.of(json.loads(json.dumps(workload.stored()))) == workload
    small = workload.smaller(100)
    X, y = small.data()
    assert X.shape == (small.n_samples, workload.n_features)
    assert X.dtype == workload.dtype
    if not workload.is_regression:
        assert set(y) == set(range(workload.n_classes))


# --- The systems do equal work


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"dtype": "float64"},
        {"activation": "tanh"},
        {"loss": "poisson", "n_classes": 1},
        {"solver": "sgd", "learning_rate": 0.1},
        {"solver": "lbfgs", "dtype": "float64"},
        {"weighted": True, "early_stopping": True},
        {"density": 0.5},
    ],
    ids=str,
)
def test_nbnet_and_scikit_learn_agree(change):
    workload = dataclasses.replace(SMALL, **change)
    runs = {name: systems.make(name, workload.stored()).train(4) for name in ("nbnet", "sklearn")}
    assert agree(runs["nbnet"], runs["sklearn"], workload)
    assert len(runs["nbnet"]["losses"]) == (1 if workload.solver == "lbfgs" else 4)
    assert len(runs["nbnet"].get("scores", ())) == (4 if workload.early_stopping else 0)


def test_a_graph_of_nbnet_agrees_with_scikit_learn():
    runs = [kind(SMALL, None).train(4) for kind in (systems.NbnetGraph, systems.ScikitLearn)]
    assert agree(*runs, SMALL)
    two = dataclasses.replace(SMALL, n_classes=2, softmax_of_two=True)
    assert isinstance(systems.make("nbnet", two.stored()), systems.NbnetGraph)
    assert two.widths == (6, 5, 4, 2)


EXTRA_CHANGES = [
    {"weight_decay": 20.0},
    {"schedule": "cosine"},
    {"clip_norm": 0.3},
    {"average": 0.7},
    {"average": 0.7, "early_stopping": True},
    {"label_smoothing": 0.3},
    {"activation": "silu"},
    {"activation": "gelu"},
    {"dropout": 1e-12, "weight_decay": 20.0, "schedule": "cosine", "clip_norm": 0.3},
]


@pytest.mark.parametrize("system", ["torch-1", "jax"])
@pytest.mark.parametrize("change", EXTRA_CHANGES, ids=str)
def test_systems_agree_about_extras(system, change):
    """In float64, with extras so strong that a fit without them does not agree."""
    pytest.importorskip(parse(system)[0])
    plain = dataclasses.replace(SMALL, dtype="float64", learning_rate=0.01)
    workload = dataclasses.replace(plain, **change)
    exact = dataclasses.replace(workload, dropout=0.0)  # the masks are of ones

    def run(name, workload):
        made = systems.make(name, workload.stored())
        losses = made.train(4)
        return losses | ({"averaged_loss": made.averaged_loss()} if change.get("average") else {})

    ours, theirs = (run(name, workload) for name in ("nbnet", system))
    assert agree(theirs, ours, exact)
    early = change.get("early_stopping", False)
    without = run("nbnet", dataclasses.replace(plain, early_stopping=early))
    assert not agree(theirs, without, exact)


def test_masks_of_jax_drop_the_share_that_is_asked_for():
    jax = pytest.importorskip("jax")
    workload = dataclasses.replace(SMALL, dropout=0.1)
    dropped = systems.Jax(workload, None).dropped(np.ones((500, 400)), jax.random.key(0))
    kept = np.asarray(dropped) > 0
    assert abs(kept.mean() - 0.9) < 5 * np.sqrt(0.09 / kept.size)
    np.testing.assert_allclose(np.asarray(dropped)[kept], 1 / 0.9, rtol=1e-6)


def test_learning_rates_of_a_cosine():
    workload = dataclasses.replace(SMALL, schedule="cosine")
    rates = np.concatenate([workload.learning_rates(epoch, 4) for epoch in range(4)])
    model = nbnet.MLPClassifier(learning_rate="cosine", batch_size=20, max_iter=4)
    with pytest.warns(match="Maximum iterations"):
        model.fit(*workload.data())
    np.testing.assert_allclose(rates[::3], model.learning_rates_, rtol=1e-12)
    assert len(rates) == 12
    assert (np.diff(rates) < 0).all()


def test_extras_are_for_adam_and_several_classes():
    for change in ({"solver": "sgd"}, {"n_classes": 2}, {"loss": "poisson", "n_classes": 1}):
        workload = dataclasses.replace(SMALL, **change)
        assert can("torch-1", workload)
        assert not can("torch-1", dataclasses.replace(workload, clip_norm=1.0))
    two = dataclasses.replace(SMALL, n_classes=2, softmax_of_two=True, clip_norm=1.0)
    assert not can("nbnet", two)


def test_maxout_pieces_first():
    class Probe(systems.Bare):
        pass

    weights, biases = MAXOUT.initial_parameters(np.random.RandomState(SEED))
    ours = Probe(MAXOUT).initial_parameters(np.random.RandomState(SEED))
    units = MAXOUT.hidden[0]
    for piece in range(3):
        columns = slice(piece * units, (piece + 1) * units)
        np.testing.assert_array_equal(ours[0][0][:, columns], weights[0][:, piece::3])
        np.testing.assert_array_equal(ours[1][0][columns], biases[0][piece::3])
    np.testing.assert_array_equal(ours[0][-1], weights[-1])


def test_who_can_do_what():
    assert all(can("nbnet", workload) for workload in ALL.values())
    missing = {name for name, workload in ALL.items() if not can("sklearn", workload)}
    assert missing == {
        *("W1-softmax", "W5-softmax", "W2-leaky-relu", "W2-abs", "W2-maxout-2", "W2-maxout-4"),
        "W2-absolute",
        *extras.NAMES,
    }
    assert set(extras.NAMES) == {
        *("W2-silu", "W2-gelu", "W2-dropout", "W2-adamw", "W2-cosine", "W2-clip", "W2-average"),
        *("W2-smoothing", "W2-together"),
    }
    assert extras.AIMS.keys() <= set(extras.NAMES)


def test_extras_are_stored_where_they_are_used():
    assert not set(EXTRAS) & WORKLOADS["W2"].stored().keys()
    assert VARIANTS["W2-dropout"].extras == {"dropout": 0.1}
    assert set().union(*(workload.extras for workload in ALL.values())) == set(EXTRAS)


# --- Comparing

# Made up. The second number of float32 is that of all cores.
RATES = {
    "registers": {"float32": {"1": 20.0, "4": 80.0}, "float64": {"1": 10.0, "4": 40.0}},
    "products": {"numpy": 50.0, "jax": 64.0},
}


@pytest.fixture
def measured():
    run = {"ms_per_epoch": [2.0, 4.0, 3.0], "first_call_seconds": 0.0, "losses": [1.0, 0.5]}
    runs = {"nbnet": run, "sklearn": copy.deepcopy(run), "torch-2": copy.deepcopy(run)}
    return {"workload": SMALL.stored(), "systems": runs}


def test_comparison(measured):
    measured["systems"]["sklearn"]["ms_per_epoch"] = [9.0, 9.0, 1.0]
    measured["systems"]["torch-1"] = copy.deepcopy(measured["systems"]["torch-2"])
    compare(measured, RATES)
    assert measured["equal"]
    assert measured["systems"]["sklearn"]["ratio_to_nbnet"] == 3.0
    gflops = SMALL.flops_per_epoch / 3e-3 / 1e9
    for name, cores in {"nbnet": 80, "torch-2": 80, "torch-1": 20}.items():
        run = measured["systems"][name]
        assert run["gflops"] == pytest.approx(gflops)
        assert run["share_of_registers"] == pytest.approx(gflops / cores)
    assert measured["systems"]["nbnet"]["share_of_product"] == pytest.approx(gflops / 64)
    assert "share_of_product" not in measured["systems"]["torch-1"]  # products use all cores


def test_no_share_without_a_number_of_operations(measured):
    measured["workload"]["solver"] = "lbfgs"
    compare(measured, RATES)
    assert not {"gflops", "share_of_registers"} & measured["systems"]["nbnet"].keys()


@pytest.mark.parametrize("losses", [[1.01, 0.5], [1.0, 0.56], [1.0, np.nan]])
def test_unequal_work_is_found_and_not_reported(measured, losses):
    measured["systems"]["torch-2"]["losses"] = losses
    compare(measured)
    assert not measured["equal"]
    assert measured["systems"]["nbnet"]["equal"]
    with pytest.raises(ValueError, match="results of small do not agree"):
        report.training_table({"workloads": {"small": measured}})


def test_float64_is_held_closer(measured):
    measured["workload"]["dtype"] = "float64"
    measured["systems"]["nbnet"]["losses"] = [1.0, 0.50001]
    compare(measured, RATES)
    run = measured["systems"]["nbnet"]
    assert not run["equal"]
    assert run["share_of_registers"] == pytest.approx(run["gflops"] / 40)
    assert "share_of_product" not in run  # the products are float32's


def test_scores_are_compared():
    run, other = ({"losses": [1.0], "scores": [0.5, score]} for score in (0.9, 0.93))
    assert agree(run, run, SMALL)
    assert not agree(run, other, SMALL)


def test_averaged_weights_are_compared():
    run, other = ({"losses": [1.0], "averaged_loss": loss} for loss in (0.5, 0.53))
    assert agree(run, run, SMALL)
    assert not agree(run, other, SMALL)


def test_other_masks_are_allowed_for():
    dropout = dataclasses.replace(SMALL, dropout=0.1)
    run, near, far = ({"losses": losses} for losses in ([1.0, 0.5], [1.01, 0.51], [1.0, 0.52]))
    assert agree(run, near, dropout)
    assert not agree(run, near, SMALL)
    assert not agree(run, far, dropout)


def test_searches_are_compared():
    assert search.agree([0.9, 0.8], [0.9, 0.805])
    assert not search.agree([0.9, 0.8], [0.9, 0.78])
    assert not search.agree([0.9, 0.8], [0.908, 0.8])


# --- Measuring


def test_turns_begin_with_another_system_each_round():
    assert "".join(turns(["a", "b", "c"], 4, "test")) == "abc" + "bca" + "cab" + "abc"


def test_extras_are_trained_in_one_process_and_held_against_plain_w2(capsys):
    plain, clipped = (
        dataclasses.replace(SMALL, name=name, clip_norm=norm)
        for name, norm in (("W2", None), ("W2-clip", 0.1))
    )
    fits = extras.Fits([plain.stored(), clipped.stored()])
    losses = [fits.train(name, 2)["losses"] for name in ("W2", "W2-clip")]
    assert losses[0] != losses[1]
    runs = {
        work.name: {"workload": work.stored(), "ms_per_epoch": times}
        for work, times in ((plain, [9.0, 4.0, 1.0]), (clipped, [5.0, 1.0, 9.0]))
    }
    extras.compare(runs)
    assert [run["ratio"] for run in runs.values()] == [1.0, 1.25]
    extras.show(runs)
    assert capsys.readouterr().out.splitlines()[-1].endswith("1.250   1.15")
    result = {
        "date": "2000-01-01",
        "machine": {"cpu": "a CPU", "cores": 2, "system": "an OS", "simd": "none known"},
        "versions": {"nbnet": "0"},
        "extras": runs,
    }
    assert "| plain W2 | 4.0 | 1.00 | – |\n| a test | 5.0 | 1.25 | 1.15 |" in report.extras(result)


def test_a_worker_times_a_call_and_passes_errors_on():
    with Worker(**PROCESSORS["avx2"], NUMBA_CACHE_DIR="nowhere") as worker:
        worker.load("builtins:str", object="a b c")
        with pytest.raises(RuntimeError, match="has no attribute 'sleep'"):
            worker.ask("sleep")
        answer = worker.ask("split", maxsplit=1)  # it goes on
        assert answer["result"] == ["a", "b c"]
        assert answer["seconds"] >= 0
        worker.load("os:getenv", key="NUMBA_CPU_NAME")
        assert worker.ask("upper")["result"] == "HASWELL"
    assert worker.process.poll() == 0


@pytest.mark.parametrize("dtype", peak.DTYPES)
@pytest.mark.parametrize("shape", [(16, 12), (32, 24)], ids=str)
def test_loops_in_registers_do_the_operations_that_are_counted(shape, dtype):
    size, count = shape
    lanes = size // np.dtype(dtype).itemsize
    assert peak.operations(*shape, dtype) == 2 * count * lanes
    numbers = np.arange(count) + 3.0
    for _ in range(5):
        numbers = 0.5 * numbers + 1
    start, factor, summand = map(np.dtype(dtype).type, (3, 0.5, 1))
    total = peak.multiply_add(*shape)(5, start, factor, summand)
    assert total == lanes * numbers.sum()  # every number is exact


def test_the_higher_rates_are_kept():
    other = copy.deepcopy(RATES)
    other["registers"]["float32"]["4"] = 90.0
    other["products"]["jax"] = 60.0
    highest = peak.higher(RATES, other)
    assert highest["registers"]["float32"] == {"1": 20.0, "4": 90.0}
    assert highest["products"] == RATES["products"]
    assert highest["registers"]["float64"] == RATES["registers"]["float64"]


def test_memory_is_read_from_this_process():
    before = memory.resident()
    held = np.ones(64 * memory.MIB // 8)
    after = memory.resident()
    assert after["VmHWM"] - before["VmRSS"] >= 0.9 * held.nbytes


def test_points_of_the_curves_are_short():
    for curve, values in curves.CURVES.items():
        for value in values:
            workload = curves.point(curve, value)
            assert workload.flops_per_epoch < 2e11
            assert workload.n_samples >= workload.batch_size
            assert getattr(workload, {"batch": "batch_size"}.get(curve, "hidden")) in (
                value, (value, value), value * (256,)
            )  # fmt: skip


# --- Showing


def test_names_of_systems():
    assert parse("torch-2") == ("torch", 2)
    assert parse("nbnet") == ("nbnet", None)
    assert label("torch-1") == "PyTorch, 1 thread"
    assert label("sklearn") == "scikit-learn"


def test_table(measured):
    measured["systems"]["torch-2"]["ms_per_epoch"] = [30.0] * 3
    compare(measured)
    header, _, line = report.training_table({"workloads": {"small": measured}}).splitlines()
    assert "| nbnet | scikit-learn | PyTorch, 2 threads | best peer ÷ nbnet |" in header
    assert line.endswith("| 3.0 | 3.0 | 30 | 1.0 | – | – |")


def test_both_shares_are_shown(measured):
    gflops = SMALL.flops_per_epoch / 3e-3 / 1e9
    rates = {"float32": {"1": 3 * gflops, "4": 10 * gflops}}
    compare(measured, {"registers": rates, "products": {"numpy": gflops, "jax": 5 * gflops}})
    header, _, line = report.training_table({"workloads": {"small": measured}}).splitlines()
    assert header.endswith("| nbnet's share of the peak | of the best product |")
    assert line.endswith("| 10% | 20% |")
    variant = report.training_table({"workloads": {"small": measured}}, main=False)
    assert "%" not in variant


def test_the_peak_is_told():
    note = report.peak_note(RATES)
    assert "20 GF/s on 1 core and 80 GF/s on 4 cores" in note
    assert "64 GF/s, by JAX" in note


def test_a_system_that_was_left_out_has_a_dash(measured):
    without = copy.deepcopy(measured)
    del without["systems"]["sklearn"]
    for one in (measured, without):
        compare(one)
    *_, first, second = report.training_table(
        {"workloads": {"all": measured, "some": without}}, main=False
    ).splitlines()
    assert "| 3.0 | 3.0 | 3.0 | 1.0 |" in first
    assert "| 3.0 | – | 3.0 | 1.0 |" in second


def test_a_missing_result_leaves_its_section_out(tmp_path):
    startup = {
        "date": "2000-01-01",
        "machine": {"cpu": "a CPU", "cores": 2, "system": "an OS", "simd": "none known"},
        "versions": {"nbnet": "0"},
        "seconds": {"import": 0.5},
    }
    (tmp_path / "startup.json").write_text(json.dumps(startup))
    results = report.load(tmp_path)
    for text in (report.page(results), report.readme(results)):
        assert "| import | 0.50 |" in text
        assert "Training" not in text
        assert "a CPU (none known), 2 cores, an OS; nbnet 0; 2000-01-01." in text


@pytest.mark.parametrize("name", report.DOCUMENTS)
def test_documents_show_the_results_that_are_kept(name):
    _, shown, _ = report.region((report.ROOT / name).read_text(encoding="utf-8"))
    assert shown == report.DOCUMENTS[name](report.load(report.RESULTS))


def test_the_picture_is_drawn_from_the_result(tmp_path):
    runs = {"nbnet": {"gflops": 2.0}, "torch-1": {"gflops": 1.0}}
    points = [{"value": value, "systems": runs} for value in (1, 2)]
    result = {"systems": list(runs), "curves": dict.fromkeys(curves.CURVES, points)}
    curves.draw(result, tmp_path / "curves.svg")
    picture = (tmp_path / "curves.svg").read_text()
    assert "PyTorch, 1 thread" in picture
    assert all(axis in picture for axis in curves.AXES.values())
    assert os.listdir(tmp_path) == ["curves.svg"]
