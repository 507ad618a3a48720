"""What a fit shows while it runs: a line that is overwritten, a line an epoch, or log records."""

import logging
import multiprocessing
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Protocol, TextIO

from nbnet.training.monitor import Epoch, Listener, print_epoch
from nbnet.training.recipe import Recipe

__all__ = ["shown"]

_log = logging.getLogger("nbnet")
_REDRAWN_AFTER = 0.1  # seconds


@contextmanager
def shown(recipe: Recipe) -> Iterator[list[Listener]]:
    """Show the fit inside the block as `verbose` asks for.

    Where the logger `nbnet` has a handler of its own for level INFO, each line becomes a record.
    Otherwise 1 means a line that is overwritten, if standard output can do that and there is more
    than one epoch to come; and all else means a line an epoch.

    Yields
    ------
    listeners : list
        To be told of each epoch; empty without `verbose`.
    """
    if not recipe.verbose:
        yield []
    elif _is_logged():
        yield [lambda epoch: print_epoch(epoch, _log.info)]
    elif recipe.verbose > 1 or recipe.max_iter == 1 or not _can_overwrite(sys.stdout):
        yield [print_epoch]
    else:
        progress = _Progress(recipe, _line(sys.stdout, recipe.max_iter))
        try:
            progress.open()
            yield [progress]
        finally:
            progress.close()


def _is_logged() -> bool:
    """Whether users have set a handler on the logger `nbnet` itself that takes such records."""
    return _log.isEnabledFor(logging.INFO) and any(
        handler.level <= logging.INFO and not isinstance(handler, logging.NullHandler)
        for handler in _log.handlers
    )


def _can_overwrite(stream: Any) -> bool:
    """Whether it is a terminal or a notebook that no other process writes to at the same time."""
    if stream is None or multiprocessing.parent_process() is not None:
        return False  # workers often share the terminal of their parent
    return _is_notebook(stream) or stream.isatty()


def _is_notebook(stream: Any) -> bool:
    return type(stream).__module__.startswith("ipykernel")


class _Line(Protocol):
    """A line that is overwritten; the methods may be called from any thread."""

    def open(self, text: str) -> None:
        """Show a text on a line of its own."""

    def show(self, text: str, n_done: int) -> None:
        """Show a text in place of the last one."""

    def put_above(self, text: str) -> None:
        """Show a text that stays, above the line."""

    def close(self, text: str, n_done: int) -> None:
        """Leave a last text and go on to the next line, however far `open` has come."""


class _Progress:
    """The listener that describes the fit in a line, some ten times a second."""

    def __init__(self, recipe: Recipe, line: _Line):
        self.unit = "iterations" if recipe.solver == "lbfgs" else "epochs"
        self.max_iter = recipe.max_iter
        self.began = self.drawn = perf_counter()
        self.first_ended = self.began
        self.n_done = 0
        self.last: Epoch | None = None
        self.line = line

    def open(self) -> None:
        self.line.open(self.describe(self.began))

    def __call__(self, epoch: Epoch) -> None:
        now = perf_counter()
        self.last = epoch
        self.n_done += 1
        if self.n_done == 1:
            self.first_ended = now
        if epoch.note or now - self.drawn >= _REDRAWN_AFTER:
            self.drawn = now
            self.line.show(self.describe(now), self.n_done)
        if epoch.note:
            self.line.put_above(epoch.note)

    def describe(self, now: float, ended: bool = False) -> str:
        parts = [f"{self.n_done}/{self.max_iter} {self.unit}"]
        if self.last is not None:
            parts.append(f"loss {self.last.loss:.6g}")
            if self.last.score is not None:
                parts.append(f"score {self.last.score:.4f}")
        parts.append(_duration(now - self.began))
        if not ended and self.n_done > 1:  # the first epoch may have compiled kernels
            pace = (now - self.first_ended) / (self.n_done - 1)
            parts.append(f"at most {_duration(pace * (self.max_iter - self.n_done))} left")
        return ", ".join(parts)

    def close(self) -> None:
        self.line.close(self.describe(perf_counter(), ended=True), self.n_done)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _line(stream: TextIO, max_iter: int) -> _Line:
    """Make a bar by tqdm on a terminal, if that is installed; otherwise a plain line."""
    if not _is_notebook(stream):  # where tqdm's lines of several fits would move the cursor in vain
        try:
            from tqdm import tqdm
        except ImportError:
            pass
        else:
            return _BarLine(tqdm, stream, max_iter)
    return _PlainLine(stream)


def _shape() -> tuple[int, int]:
    """How many columns and rows may be filled; where the terminal does not say, it is 80 by 24."""
    columns, rows = shutil.get_terminal_size()
    return max(1, columns - 1), max(1, rows - 1)  # some terminals scroll once they are full


# Held for as long as something is written. `with` lets go of it whenever Ctrl-C comes; tqdm's own
# lock, which is made of several, may be kept, and the next thread that draws waits without end.
_lock = threading.RLock()


class _BarLine:
    """A bar by tqdm, a line for each fit."""

    def __init__(self, tqdm: Any, stream: TextIO, max_iter: int):
        class Bar(tqdm):
            monitor_interval = 0  # no thread that looks after bars
            _lock = _lock

        self.make = Bar
        self.bar: Any = None
        self.stream = stream
        self.max_iter = max_iter

    def open(self, text: str) -> None:
        columns, rows = _shape()
        self.bar = self.make(
            total=self.max_iter,
            file=self.stream,
            ncols=columns,
            nrows=rows,
            bar_format="{desc} |{bar}|",
            delay=1.0,  # so that it does not draw while it is made, which takes the lock unsafely
        )
        self.bar.delay = 0.0
        self.show(text, 0)

    def show(self, text: str, n_done: int) -> None:
        self.bar.n = n_done
        self.bar.ncols, self.bar.nrows = _shape()  # tqdm's own way knows no terminal without a size
        self.bar.set_description_str(text, refresh=False)
        with _lock:
            self.bar.refresh(nolock=True)

    def put_above(self, text: str) -> None:
        with _lock:
            self.bar.write(text, file=self.stream, nolock=True)

    def close(self, text: str, n_done: int) -> None:
        if self.bar is not None:
            self.show(text, n_done)
            self.bar.close()


class _PlainLine:
    """A line that all fits of a process share: a stream has one line that can be overwritten."""

    opened: list["_PlainLine"] = []

    def __init__(self, stream: TextIO):
        self.stream = stream
        self.text = ""

    def open(self, text: str) -> None:
        with _lock:
            self.opened.append(self)
            self.show(text, 0)

    def show(self, text: str, n_done: int) -> None:
        with _lock:
            self.text = text
            self._draw("")

    def put_above(self, text: str) -> None:
        with _lock:
            self._draw(f"{text}\n")

    def close(self, text: str, n_done: int) -> None:
        with _lock:
            if self in self.opened:
                self.opened.remove(self)
                self._draw(f"{text}\n")

    def _draw(self, above: str) -> None:
        """Write lines that stay, then the one that is overwritten."""
        columns, _ = _shape()
        texts = [line.text for line in self.opened if line.stream is self.stream]
        together = " | ".join(texts)[:columns]
        # Spaces overwrite what a longer text has left; not each terminal knows how to clear a line.
        self.stream.write(f"\r{' ' * columns}\r{above}{together}")
        self.stream.flush()
