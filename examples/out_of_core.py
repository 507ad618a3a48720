"""
Learning out of core
====================

Learn from a file that is never in memory as a whole: `partial_fit`, chunk by chunk::

    pip install ".[plot]" && python examples/out_of_core.py

The rows are scikit-learn's handwritten digits, each shifted by up to two pixels up, down, left and
right as well. They are written to a file, a chunk at a time, in random order. A generator reads the
file through a memory map, a chunk at a time, and the model learns from each chunk as it comes; the
images that were held out, unshifted, are scored after each. The memory in use is measured too.
"""

import tempfile
import tracemalloc
from itertools import chain
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from nbnet import MLPClassifier

SHIFTS = [(down, right) for down in range(-2, 3) for right in range(-2, 3)]
CHUNK = 1000
PASSES = 3
ROW = np.dtype([("pixels", np.float32, 64), ("digit", np.uint8)])


def shifted(images, shifts):
    """Return images (n, 8, 8), each moved by its own number of pixels down and right."""
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    moved = np.empty_like(images)
    for image, target, (down, right) in zip(padded, moved, shifts, strict=True):
        target[:] = image[2 - down : 10 - down, 2 - right : 10 - right]
    return moved


def write(path, images, digits):
    """Write all shifts of all images in random order; return the number of rows."""
    n_rows = len(images) * len(SHIFTS)
    order = np.random.RandomState(0).permutation(n_rows)
    with path.open("wb") as file:
        for start in range(0, n_rows, CHUNK):
            which, shift = np.divmod(order[start : start + CHUNK], len(SHIFTS))
            rows = np.empty(len(which), ROW)
            moved = shifted(images[which], [SHIFTS[i] for i in shift])
            rows["pixels"], rows["digit"] = moved.reshape(-1, 64), digits[which]
            rows.tofile(file)
    return n_rows


def read(path):
    """Yield X (n, 64) and y (n,) of one chunk of the file after another."""
    rows = np.memmap(path, ROW, mode="r")
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        yield np.array(chunk["pixels"]), np.array(chunk["digit"])


def main():
    images, digits = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 8, 8)
    train, test, y_train, y_test = train_test_split(
        images, digits, test_size=0.25, stratify=digits, random_state=0
    )
    X_test = test.reshape(-1, 64)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.bin"
        n_rows = write(path, train, y_train)
        size = path.stat().st_size
        print(f"{n_rows} rows of {ROW.itemsize} bytes written: {size / 2**20:.1f} MiB")

        model = MLPClassifier(
            hidden_layer_sizes=(128, 64), learning_rate_init=0.003, batch_size=64, random_state=0
        )
        accuracies, rows_learnt = [], []
        print("rows learnt from   accuracy on held-out images")
        for X, y in chain.from_iterable(read(path) for _ in range(PASSES)):
            model.partial_fit(X, y, classes=np.arange(10))
            if not accuracies:  # from here on nothing is compiled, which would be measured too
                model.score(X_test, y_test)
                tracemalloc.start()
            accuracies.append(model.score(X_test, y_test))
            rows_learnt.append(model.t_)
            if len(accuracies) % 10 == 1:
                print(f"{model.t_:16}   {accuracies[-1]:.4f}")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    print(f"{model.t_:16}   {accuracies[-1]:.4f}")
    print(f"most memory in use, model included: {peak / 2**20:.1f} MiB")
    assert accuracies[-1] > max(0.9, accuracies[0]), "the model learnt too little"
    assert peak < size / 4, "the file was in memory"

    draw(rows_learnt, accuracies, n_rows)
    plt.show()


def draw(rows_learnt, accuracies, n_rows):
    """Draw the held-out accuracy over the rows that were learnt from; a line ends each pass."""
    _, ax = plt.subplots(figsize=(6, 4), layout="constrained")
    ax.plot(rows_learnt, accuracies, marker=".")
    for end in range(1, PASSES + 1):
        ax.axvline(end * n_rows, color="gray", linestyle=":")
    ax.set(
        xlabel="rows learnt from (a dotted line ends a pass over the file)",
        ylabel="accuracy on held-out images",
        title="Digits, learnt chunk by chunk",
    )


if __name__ == "__main__":
    main()
