"""An activation, a loss, an optimizer, an op, a schedule and a metric: each is one file's affair.

A copy of the package gets one more of each, every one by an edit of a single file. Then they are
used, through the estimators where users would, without another line changed.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nbnet

PACKAGE = Path(nbnet.__file__).parent

# kind: (file, [(text that is there, what is put before it)])
DUMMIES = {
    "activation": (
        "kernels/activations.py",
        [
            (
                '        Activation("tanh", TANH',
                '        Activation("softsign", 77, "z / (1 + sharpness * |z|)",\n'
                '                   settings=(Setting("sharpness", 1.0, 0.0, 9.0),),\n'
                "                   derivative_from_value=False),\n",
            ),
            (
                "    elif code == TANH:\n        for i in range(h.size):\n            h[i] = tanh",
                "    elif code == 77:\n        for i in range(h.size):\n"
                "            h[i] = h[i] / (one + h.dtype.type(number) * abs(h[i]))\n",
            ),
            (
                "    elif code == TANH:\n        for i in range(d.size):",
                "    elif code == 77:\n        for i in range(d.size):\n"
                "            e = one + d.dtype.type(number) * abs(h[i])\n"
                "            d[i] = d[i] / (e * e)\n",
            ),
        ],
    ),
    "loss": (
        "kernels/losses.py",
        [
            (
                '        Loss(\n            "half_squared_error"',
                '        Loss("log_cosh", 77, "identity", regressor="log_cosh",\n'
                '             settings=(Setting("width", 1.0, 0.0, 9.0),)),\n',
            ),
            (
                "        elif code == HUBER:",
                "        elif code == 77:\n            for r in range(rows):\n"
                "                d = (raw[r] - target[r]) / number\n"
                "                value[r] += number * (abs(d) + log1p(exp(-(abs(d) + abs(d)))))\n"
                "                e = exp(-(abs(d) + abs(d)))\n"
                "                raw[r] = ((one - e) / (one + e)) * (one if d > zero else -one)\n",
            ),
        ],
    ),
    "optimizer": (
        "kernels/optimizers.py",
        [
            (
                '        Optimizer("adam"',
                '        Optimizer("sign", 77, 1, {"dead_zone": 0.0}),\n',
            ),
            (
                "    elif code == ADAM:\n        beta_1",
                "    elif code == 77:\n        hyper[0] = step[S_LEARNING_RATE]\n"
                "        hyper[1] = settings[0]\n",
            ),
            (
                "    elif code == ADAM:\n        b1",
                "    elif code == 77:\n        for i in range(n):\n"
                "            first[i] += 1\n"
                "            g = gradient[i]\n"
                "            far = abs(g) > hyper[1]\n"
                "            params[i] -= (rate if g > 0 else -rate) if far else 0\n",
            ),
        ],
    ),
    "op": (
        "kernels/ops.py",
        [
            (
                '        Op("maxout", MAXOUT',
                '        Op("scale", 77, owns=(Owned("factors", "weights", initial=1.0),),\n'
                "           elementwise=True),\n",
            ),
            (
                "            elif code == MAXOUT:\n                maxout_forward",
                "            elif code == 77:\n"
                "                scale_forward(op, nodes, block, params)\n",
            ),
            (
                "            elif code == MULTIPLY:\n                multiply_backward",
                "            elif code == 77:\n"
                "                scale_backward(op, nodes, block, params)\n",
            ),
            (
                "@kernel\ndef add_forward",
                "@kernel\ndef scale_forward(op, nodes, block, params):\n"
                "    work, panel, v, r0, r1 = block\n"
                "    x, out = nodes[op[IN_0]], nodes[op[OUT]]\n"
                "    for p in range(out[PANELS]):\n"
                "        for r in range(r0, r1):\n"
                "            for c in range(v):\n"
                "                at = p * panel + r * v + c\n"
                "                work[out[VALUE] + at] = (\n"
                "                    work[x[VALUE] + at] * params[op[WEIGHTS] + p * v + c]\n"
                "                )\n\n\n"
                "@kernel\ndef scale_backward(op, nodes, block, params):\n"
                "    work, panel, v, r0, r1 = block\n"
                "    x, out = nodes[op[IN_0]], nodes[op[OUT]]\n"
                "    for p in range(out[PANELS]):\n"
                "        for r in range(r0, r1):\n"
                "            for c in range(v):\n"
                "                at = p * panel + r * v + c\n"
                "                d = work[out[DELTA] + at] * params[op[WEIGHTS] + p * v + c]\n"
                "                work[x[DELTA] + at] = (\n"
                "                    work[x[DELTA] + at] + d if op[ADD_0] == 1 else d\n"
                "                )\n\n\n",
            ),
            (
                "    if code in (DENSE, NARROW_DENSE, SPARSE_DENSE):\n        for p in",
                "    if general is not None and code == 77:\n"
                "        x = tables.nodes[op[IN_0]]\n"
                "        for p in range(panels):\n"
                "            for c in range(v):\n"
                "                total = gradient.dtype.type(0)\n"
                "                for r in range(n_rows):\n"
                "                    at = (panels_at + p) * panel + r * v + c\n"
                "                    total += work[out[DELTA] + at] * work[x[VALUE] + at]\n"
                "                gradient[p * v + c] = total\n",
            ),
        ],
    ),
    "schedule": (
        "training/schedules.py",
        [
            (
                '        Schedule("constant"',
                '        Schedule("halving", _halving, "half of it after each epoch."),\n',
            ),
            (
                "def _constant(",
                "def _halving(initial: float, counts: Counts) -> float:\n"
                "    return initial / 2**counts.epoch\n\n\n",
            ),
        ],
    ),
    "metric": (
        "training/metrics.py",
        [
            (
                'Metric("accuracy", _accuracy)',
                'Metric("worst", lambda e, y, w: -float(np.abs(e - y).max())), ',
            ),
        ],
    ),
}

USE = """
import numpy as np
from nbnet import MLPClassifier, MLPRegressor, graph as g
from nbnet.training.metrics import METRICS

rng = np.random.default_rng(0)
X = rng.standard_normal((150, 5))
y = X[:, 0] - np.abs(X[:, 1])

def check(net, **options):
    params = net.init(0) + 0.1
    value, gradient = net.loss_and_gradient(params, X, y, **options)
    for i in rng.choice(len(params), 20, replace=False):
        sides = []
        for h in (1e-6, -1e-6):
            there = params.copy()
            there[i] += h
            sides.append(net.loss_and_gradient(there, X, y, **options)[0])
        difference = (sides[0] - sides[1]) / 2e-6
        assert abs(difference - gradient[i]) < 1e-6 * (1 + abs(difference)), (i, options)

x = g.input(5)
softsign = g.softsign(g.dense(x, 7), sharpness=2.0)
np.testing.assert_allclose(
    g.Network(g.softsign(x, 2.0)).forward([], X), X / (1 + 2 * np.abs(X)), rtol=1e-14
)
check(g.Network(g.dense(softsign, 1)))
check(g.Network(g.dense(g.tanh(g.dense(x, 7)), 1)), loss="log_cosh", width=0.5)
scaled = g.Network(g.dense(g.tanh(g.dense(g.scale(x), 7)), 1))
assert [p.role for p in scaled.parameters][:1] == ["factors"]
assert (scaled.init(0)[:5] == 1).all()
check(scaled)

options = {"random_state": 0, "max_iter": 300, "tol": 0, "n_iter_no_change": np.inf}
options |= {"hidden_layer_sizes": (20,), "learning_rate_init": 0.01}
import warnings
warnings.simplefilter("ignore")
for changed in (
    {"activation": "softsign"},
    {"loss": "log_cosh"},
    {"solver": "sign", "learning_rate_init": 0.001},
    {"architecture": lambda x: g.relu(g.dense(g.scale(x), 20)), "hidden_layer_sizes": (100,)},
):
    model = MLPRegressor(**(options | changed)).fit(X, y)
    assert model.score(X, y) > 0.9, (changed, model.score(X, y))
for doc in (MLPRegressor.__doc__, MLPClassifier.__doc__):
    assert "'softsign'" in doc and "sharpness" in doc and "'halving'" in doc

slow = MLPRegressor(**(options | {"solver": "sgd", "learning_rate": "halving", "max_iter": 60,
                                  "momentum": 0.0}))
curve = slow.fit(X, y).loss_curve_
assert abs(curve[-1] - curve[-2]) < 1e-9 < curve[0] - curve[-1]  # no step is left to make

assert METRICS["worst"].function(np.array([[1.0], [4.0]]), np.array([[1.0], [2.0]]), None) == -2.0
print("used")
"""


@pytest.mark.parametrize("kind", DUMMIES)
def test_a_further_one_is_an_edit_of_one_file(kind):
    """What the edits stand on is there, once."""
    file, edits = DUMMIES[kind]
    source = (PACKAGE / file).read_text(encoding="utf-8")
    for anchor, _ in edits:
        assert source.count(anchor) == 1, anchor


def test_one_of_each_kind_works_without_another_line_changed(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "nbnet", ignore=shutil.ignore_patterns("__pycache__"))
    for file, edits in DUMMIES.values():
        path = tmp_path / "nbnet" / file
        source = path.read_text(encoding="utf-8")
        for anchor, before in edits:
            source = re.sub(re.escape(anchor), lambda m, b=before: b + m[0], source, count=1)
        path.write_text(source, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", USE], cwd=tmp_path, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "used\n"
