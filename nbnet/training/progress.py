"""What a fit shows while it runs: a line that is overwritten, a line an epoch, or log records."""

import logging
import multiprocessing
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
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
        progress = _Progress(recipe, _line(sys.stdout))
        try:
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

    def show(self, text: str, n_done: int) -> None:
        """Show a text in place of the last one."""

    def put_above(self, text: str) -> None:
        """Show a text that stays, above the line."""

    def close(self, text: str, n_done: int) -> None:
        """Leave a last text, and go on to the next line."""


class _Progress:
    """The listener that describes the fit in a line, some ten times a second."""

    def __init__(self, recipe: Recipe, line: Callable[[str, int], _Line]):
        self.unit = "iterations" if recipe.solver == "lbfgs" else "epochs"
        self.max_iter = recipe.max_iter
        self.began = self.drawn = perf_counter()
        self.first_ended = self.began
        self.n_done = 0
        self.last: Epoch | None = None
        self.line = line(self.describe(self.began), recipe.max_iter)

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


def _line(stream: TextIO) -> Callable[[str, int], _Line]:
    """What makes a line: tqdm on a terminal, if it is installed; otherwise a plain one is made."""
    if not _is_notebook(stream):  # where tqdm's lines of several fits would move the cursor in vain
        try:
            from tqdm import tqdm
        except ImportError:
            pass
        else:
            return lambda text, max_iter: _BarLine(tqdm, stream, text, max_iter)
    return lambda text, max_iter: _PlainLine(stream, text)


def _shape() -> tuple[int, int]:
    """How many columns and rows may be filled; where the terminal does not say, it is 80 by 24."""
    columns, rows = shutil.get_terminal_size()
    return max(1, columns - 1), max(1, rows - 1)  # some terminals scroll once they are full


class _BarLine:
    """A bar by tqdm, a line for each fit."""

    def __init__(self, tqdm: Any, stream: TextIO, text: str, max_iter: int):
        class Bar(tqdm):
            monitor_interval = 0  # no thread that looks after bars

        self.stream = stream
        columns, rows = _shape()
        self.bar = Bar(
            desc=text,
            total=max_iter,
            file=stream,
            ncols=columns,
            nrows=rows,
            bar_format="{desc} |{bar}|",
        )

    def show(self, text: str, n_done: int) -> None:
        self.bar.n = n_done
        self.bar.ncols, self.bar.nrows = _shape()  # tqdm's own way knows no terminal without a size
        self.bar.set_description_str(text, refresh=False)
        self.bar.refresh()

    def put_above(self, text: str) -> None:
        self.bar.write(text, file=self.stream)

    def close(self, text: str, n_done: int) -> None:
        self.show(text, n_done)
        self.bar.close()


class _PlainLine:
    """A line that all fits of a process share: a stream has one line that can be overwritten."""

    lock = threading.RLock()
    shown: list["_PlainLine"] = []

    def __init__(self, stream: TextIO, text: str):
        self.stream = stream
        self.text = text
        with self.lock:
            self.shown.append(self)
            self._draw("")

    def show(self, text: str, n_done: int) -> None:
        with self.lock:
            self.text = text
            self._draw("")

    def put_above(self, text: str) -> None:
        with self.lock:
            self._draw(f"{text}\n")

    def close(self, text: str, n_done: int) -> None:
        with self.lock:
            self.shown.remove(self)
            self._draw(f"{text}\n")

    def _draw(self, above: str) -> None:
        """Write lines that stay, then the one that is overwritten."""
        columns, _ = _shape()
        texts = [line.text for line in self.shown if line.stream is self.stream]
        together = " | ".join(texts)[:columns]
        # Spaces overwrite what a longer text has left; not each terminal knows how to clear a line.
        self.stream.write(f"\r{' ' * columns}\r{above}{together}")
        self.stream.flush()
