"""What `verbose` shows: on a terminal, in a notebook, in a log, and everywhere else."""

import contextlib
import gc
import io
import itertools
import logging
import os
import re
import sys
import warnings
from threading import Thread

import numpy as np
import pytest
from sklearn.datasets import load_iris

from nbnet import MLPClassifier
from nbnet.callbacks import Callback
from nbnet.training import progress
from nbnet.training.monitor import Epoch
from nbnet.training.recipe import Recipe

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, LABELS = load_iris(return_X_y=True)
BARS = ("plain", "tqdm")


@pytest.fixture(autouse=True)
def no_handlers(monkeypatch):
    """The logger as it is for most users."""
    logger = logging.getLogger("nbnet")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "level", logging.NOTSET)


def fit(**parameters):
    settings = {"max_iter": 5, "random_state": 0, "tol": 0.0} | parameters
    return MLPClassifier(3, **settings).fit(X, LABELS)


def lines_of(model):
    """The lines of today: one an epoch, one a score."""
    lines = []
    for i, loss in enumerate(model.loss_curve_):
        lines.append(f"Iteration {i + 1}, loss = {loss:.8f}")
        if model.validation_scores_ is not None:
            lines.append(f"Validation score: {model.validation_scores_[i]:.6f}")
    return lines


def screen(written):
    """What a terminal shows: a naive one, whose lines are as long as need be."""
    rows, row, column = [[]], 0, 0
    for part in re.findall(r"\x1b\[A|.", written.replace("\r\n", "\n\r"), re.DOTALL):
        if part == "\x1b[A":
            row -= 1
        elif part == "\n":
            row += 1
            rows += [[]] if row == len(rows) else []
        elif part == "\r":
            column = 0
        else:
            rows[row] += " " * (column + 1 - len(rows[row]))
            rows[row][column] = part
            column += 1
    return ["".join(row).rstrip() for row in rows]


def test_the_naive_terminal():
    assert screen("abc\rx\r\n12\r\n\x1b[A3\r\n") == ["xbc", "32", ""]


# On a terminal. Each of these scripts is a part of one, as it takes a while to start Python.

START = """
import os, sys, time, traceback, warnings
if sys.argv[1] == "plain":
    sys.modules["tqdm"] = None  # as if it were not installed
from threading import Barrier, Thread
import numpy as np
from joblib import Parallel, delayed
from sklearn.datasets import load_iris
from nbnet import MLPClassifier
from nbnet.callbacks import Callback

warnings.simplefilter("ignore")
X, y = load_iris(return_X_y=True)

class Each(Callback):
    def __init__(self, act):
        self.act = act
    def after_epoch(self, estimator, epoch):
        return self.act(epoch)

def network(**parameters):
    return MLPClassifier(3, **{"verbose": 1, "random_state": 0, "tol": 0.0} | parameters)
"""
SCRIPTS = {
    "fit": """
model = network(max_iter=300, verbose=True).fit(X, y)
print(f"{model.loss_:.6g}")
""",
    "narrow": """
os.environ["COLUMNS"] = "20"
model = network(max_iter=8).set_callbacks(Each(lambda epoch: time.sleep(0.11))).fit(X, y)
del os.environ["COLUMNS"]
""",
    "slow": """
model = network(max_iter=5, early_stopping=True)
model.set_callbacks(Each(lambda epoch: time.sleep(0.11))).fit(X, y)
""",
    "notes": """
network(
    solver="sgd", learning_rate="adaptive", max_iter=300, tol=1, n_iter_no_change=2
).fit(X, y)
""",
    "lbfgs": """
network(solver="lbfgs", max_iter=10).fit(X, y)
""",
    "verbose=2": """
network(max_iter=4, verbose=2).fit(X, y)
""",
    "partial_fit": """
model = network()
for _ in range(4):
    model.partial_fit(X, y, classes=[0, 1, 2])
""",
    "error": """
try:
    network(max_iter=300).set_callbacks(Each(lambda epoch: epoch.n_iter == 7 and 1 // 0)).fit(X, y)
except ZeroDivisionError:
    traceback.print_exc()
""",
    "Ctrl-C": """
model = network(max_iter=10**9, n_iter_no_change=np.inf).fit(X, y)
print("fitted", model.n_iter_)
""",
    "threads": """
together = Barrier(3)
def meet(epoch):
    if epoch.n_iter in (1, 200):
        together.wait()
def fit(i):
    model = network(max_iter=300 + i, n_iter_no_change=np.inf).set_callbacks(Each(meet)).fit(X, y)
threads = [Thread(target=fit, args=(i,)) for i in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
""",
    "workers": """
Parallel(2)(delayed(network(max_iter=3, random_state=i).fit)(X, y) for i in range(2))
""",
}
MARK = "=== "


@pytest.fixture(scope="module", params=BARS)
def terminal(request, tmp_path_factory):
    """Run the scripts on a terminal; return what each of them wrote, and what the screen shows."""
    pty = pytest.importorskip("pty")  # not on Windows
    if request.param == "tqdm":
        pytest.importorskip("tqdm")
    path = tmp_path_factory.mktemp("terminal") / "script.py"
    marked = [f"print({MARK + name!r}, flush=True)\n{script}" for name, script in SCRIPTS.items()]
    path.write_text("".join([START, *marked]))
    pid, end = pty.fork()
    if pid == 0:
        os.environ.pop("COLUMNS", None)
        os.execv(sys.executable, [sys.executable, str(path), request.param])
    written, interrupted = b"", False
    while True:
        try:
            got = os.read(end, 65536)
        except OSError:  # the other end is closed
            break
        written += got
        if not got:
            break
        if not interrupted and re.search(rb"[1-9]\d*/1000000000 epochs", written):
            os.write(end, b"\x03")  # what Ctrl-C types
            interrupted = True
    os.close(end)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, written.decode()
    parts = re.split(rf"^{MARK}(.*)\r\n", written.decode(), flags=re.M)
    assert parts[1::2] == list(SCRIPTS)
    return {
        name: (text, screen(text)[:-1]) for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_each_script_ends_its_last_line(terminal):
    for name, (written, _) in terminal.items():
        assert written.endswith("\n"), name


def test_a_fit_is_one_line(terminal):
    written, (line, loss) = terminal["fit"]
    assert re.match(rf"300/300 epochs, loss {re.escape(loss)}, \d+:\d\d\b", line)
    assert "left" not in line
    assert "0/300 epochs, 0:00" in written


def test_the_line_fits_the_terminal(terminal):
    written, _ = terminal["narrow"]
    *drawn, last = [line for line in re.split(r"[\r\n]+", written) if line.strip()]
    assert len(drawn) >= 8
    assert all(len(line) <= 19 for line in drawn)
    assert drawn[-1].startswith("8/8 epochs, loss")
    assert last.startswith("8/8 epochs, loss")  # the plain one is left whole


def test_the_time_left_and_the_score_are_shown(terminal):
    written, _ = terminal["slow"]
    pattern = r"[34]/5 epochs, loss [\d.]+, score 0\.\d{4}, 0:\d\d, at most 0:\d\d left"
    assert re.search(pattern, written)


def test_notes_stay_above_the_line(terminal):
    _, (*notes, line) = terminal["notes"]
    assert len(notes) == 6
    assert all(note.startswith("No improvement of the training loss") for note in notes)
    assert notes[-1].endswith("Stopping.")
    assert re.match(r"\d+/300 epochs", line)


def test_lbfgs_has_iterations(terminal):
    _, (line,) = terminal["lbfgs"]
    assert line.startswith("10/10 iterations, loss ")


@pytest.mark.parametrize(
    ("script", "numbers"), [("verbose=2", [1, 2, 3, 4]), ("partial_fit", [1, 1, 1, 1])]
)
def test_lines_where_they_are_asked_for_and_where_there_is_no_progress(terminal, script, numbers):
    written, lines = terminal[script]
    assert "\r" not in written.replace("\r\n", "")
    assert [line.split(" = ")[0] for line in lines] == [f"Iteration {n}, loss" for n in numbers]


def test_an_error_leaves_a_whole_line(terminal):
    _, (line, *traceback) = terminal["error"]
    assert line.startswith("7/300 epochs, loss ")
    assert traceback[0] == "Traceback (most recent call last):"
    assert traceback[-1].startswith("ZeroDivisionError")


def test_ctrl_c_leaves_a_whole_line(terminal):
    _, (line, fitted) = terminal["Ctrl-C"]
    told = int(line.removeprefix("^C").split("/")[0])
    assert int(fitted.removeprefix("fitted ")) - told in (0, 1)  # the last may not have been told


def test_fits_in_threads_each_leave_a_line(terminal):
    _, lines = terminal["threads"]
    numbers = [line.split(" ")[0] for line in lines if line]
    assert sorted(numbers) == ["300/300", "301/301", "302/302"]


def test_a_worker_writes_lines(terminal):
    """It shares the terminal with its parent and with other workers."""
    written, _ = terminal["workers"]
    assert "/3 epochs" not in written
    assert written.count("Iteration 3, loss = ") == 2


@pytest.mark.parametrize("bar", BARS)
def test_ctrl_c_while_it_is_drawn_leaves_nothing_behind(monkeypatch, bar):
    """Another thread can draw, and later lines show nothing of this one."""
    if bar == "tqdm":
        instances = pytest.importorskip("tqdm").tqdm._instances
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)
        instances = progress._PlainLine.opened
    monkeypatch.setattr(progress, "_REDRAWN_AFTER", 0.0)

    class Interrupted(io.StringIO):
        left = 0

        def isatty(self):
            return True

        def write(self, text):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            return super().write(text)

    stream = Interrupted()
    monkeypatch.setattr(sys, "stdout", stream)
    fit(verbose=1)
    for n in range(1, -stream.left + 1):
        stream.left = n
        with warnings.catch_warnings(), contextlib.suppress(KeyboardInterrupt):
            warnings.filterwarnings("ignore", "Training interrupted")
            fit(verbose=1)
        assert stream.left <= 0
        gc.collect()
        assert len(instances) == 0
        assert lock_is_free()


def lock_is_free():
    """Whether another thread can draw."""
    free = []

    def try_it():
        free.append(progress._lock.acquire(blocking=False))
        if free[0]:
            progress._lock.release()

    thread = Thread(target=try_it)
    thread.start()
    thread.join()
    return free[0]


# Elsewhere.


@pytest.mark.parametrize("verbose", [True, 1, 2, 10])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_lines_where_nothing_can_be_overwritten(capsys, verbose, early_stopping):
    model = fit(verbose=verbose, early_stopping=early_stopping)
    printed = capsys.readouterr()
    assert printed.out.splitlines() == lines_of(model)
    assert printed.err == ""


@pytest.mark.parametrize("verbose", [False, 0])
def test_nothing_where_nothing_is_asked_for(capsys, caplog, verbose):
    logging.getLogger("nbnet").addHandler(caplog.handler)
    caplog.set_level(logging.INFO, "nbnet")
    fit()  # compiling may be logged
    caplog.clear()
    fit(verbose=verbose)
    assert capsys.readouterr() == ("", "")
    assert caplog.records == []


def test_without_a_standard_output(monkeypatch):
    """As under pythonw: `print` then does nothing."""
    monkeypatch.setattr(sys, "stdout", None)
    assert fit(verbose=1).n_iter_ == 5


class Stream(io.StringIO):
    """A stream whose class is called as one likes."""

    def __init__(self, module, terminal=False):
        super().__init__()
        self.terminal = terminal
        type(self).__module__ = module

    def isatty(self):
        return self.terminal


def test_a_notebook_has_one_line(monkeypatch):
    stream = type("OutStream", (Stream,), {})("ipykernel.iostream")
    monkeypatch.setattr(sys, "stdout", stream)
    model = fit(verbose=1)
    line, rest = screen(stream.getvalue())
    assert line == f"5/5 epochs, loss {model.loss_:.6g}, 0:00"
    assert rest == ""
    assert "\x1b" not in stream.getvalue()


# Through `logging`.


class Records(logging.Handler):
    def __init__(self, level=logging.NOTSET):
        super().__init__(level)
        self.lines = []

    def emit(self, record):
        if record.levelno == logging.INFO and "Iteration" in record.getMessage():
            self.lines.append(record.getMessage())


@pytest.mark.parametrize("verbose", [1, 2])
def test_a_handler_of_the_logger_gets_the_lines(capsys, verbose):
    logger, records = logging.getLogger("nbnet"), Records()
    logger.addHandler(records)
    logger.setLevel(logging.INFO)
    model = fit(verbose=verbose)
    assert records.lines == lines_of(model)
    assert capsys.readouterr() == ("", "")


def test_the_handler_is_what_counts_also_on_a_terminal(monkeypatch):
    stream = type("Terminal", (Stream,), {})("io", terminal=True)
    monkeypatch.setattr(sys, "stdout", stream)
    logger, records = logging.getLogger("nbnet"), Records(logging.INFO)
    logger.addHandler(records)
    logger.setLevel(logging.DEBUG)
    fit(verbose=1)
    assert len(records.lines) == 5
    assert stream.getvalue() == ""


@pytest.mark.parametrize("case", ["level", "handler's level", "null", "root", "child"])
def test_other_handlers_do_not_count(capsys, monkeypatch, case):
    logger, records = logging.getLogger("nbnet"), Records()
    if case == "level":
        logger.addHandler(records)
        logger.setLevel(logging.WARNING)
    elif case == "handler's level":
        records.setLevel(logging.WARNING)
        logger.addHandler(records)
        logger.setLevel(logging.INFO)
    elif case == "null":
        logger.addHandler(logging.NullHandler())
        logger.setLevel(logging.INFO)
    else:  # for all that is logged, or for something else
        other = logging.getLogger() if case == "root" else logging.getLogger("nbnet.other")
        monkeypatch.setattr(other, "handlers", [*other.handlers, records])
        logger.setLevel(logging.INFO)
    model = fit(verbose=1)
    assert capsys.readouterr().out.splitlines() == lines_of(model)
    assert records.lines == []


# How often, and what.


class Lines:
    """In place of a line."""

    def __init__(self):
        self.texts = []

    def open(self, text):
        self.texts.append(text)

    def show(self, text, n_done):
        self.texts.append(text)

    close = show

    def put_above(self, text):
        self.texts.append(f"above: {text}")


def told(monkeypatch, times, notes=(), max_iter=100):
    """Tell a progress line of epochs that end at these times, from 0; return what it showed."""
    clock = itertools.chain([0.0], times, [times[-1]])
    monkeypatch.setattr(progress, "perf_counter", lambda: next(clock))
    lines = Lines()
    listener = progress._Progress(Recipe(max_iter=max_iter), lines)
    listener.open()
    for i in range(len(times)):
        note = "note" if i in notes else ""
        listener(Epoch(i + 1, 1 / (i + 1), None, 0.1, 0.1, note, lambda: None))
    listener.close()
    return lines.texts


@pytest.mark.parametrize("seed", range(5))
def test_it_is_drawn_ten_times_a_second_at_most(monkeypatch, seed):
    times = np.cumsum(np.random.default_rng(seed).exponential(0.01, size=1000))
    texts = told(monkeypatch, list(times), max_iter=1000)
    drawn = [int(text.split("/")[0]) for text in texts]
    assert drawn[0] == 0
    assert drawn[-1] == 1000
    gaps = np.diff(times[np.array(drawn[1:-1]) - 1])
    assert gaps.min() >= 0.1
    assert gaps.max() < 0.1 + np.diff(times).max()


def test_it_tells_the_time(monkeypatch):
    """The pace is that since the first epoch, which may have compiled kernels."""
    texts = told(monkeypatch, [20.0, 22.0, 24.0, 26.0], notes=(2,))
    assert texts == [
        "0/100 epochs, 0:00",
        "1/100 epochs, loss 1, 0:20",
        "2/100 epochs, loss 0.5, 0:22, at most 3:16 left",
        "3/100 epochs, loss 0.333333, 0:24, at most 3:14 left",
        "above: note",
        "4/100 epochs, loss 0.25, 0:26, at most 3:12 left",
        "4/100 epochs, loss 0.25, 0:26",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00"), (59.6, "1:00"), (61, "1:01"), (3599, "59:59"), (3600, "1:00:00"),
     (100 * 3600 + 62, "100:01:02")],
)  # fmt: skip
def test_durations(seconds, text):
    assert progress._duration(seconds) == text


def test_a_callback_does_not_hear_of_it(capsys):
    """What is shown and what callbacks do stand side by side."""

    class Count(Callback):
        n = 0

        def after_epoch(self, estimator, epoch):
            self.n += 1

    count = Count()
    MLPClassifier(3, max_iter=4, verbose=True, random_state=0).set_callbacks(count).fit(X, LABELS)
    assert count.n == len(capsys.readouterr().out.splitlines()) == 4
