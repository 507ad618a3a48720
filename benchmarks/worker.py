"""A process of its own for one system, so that its threads cannot disturb another's.

``Worker`` is the near end. The far end, ``python -m benchmarks.worker``, reads one JSON object a
line and answers each with one:

    {"call": "load", "system": "jax", "workload": {...}}  prepare; answers {}
    {"call": "train", "epochs": 3}                        answers {"seconds": ..., "losses": [...]}
    {"call": "peak", "system": "torch", "sizes": [...]}   answers {"gflops": ...}

An exception there answers {"error": traceback} and is raised here.
"""

import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any


class Worker:
    """The near end: ``with Worker() as worker: worker.ask("train", epochs=3)``."""

    def __init__(self, **environment: str):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
            env={**os.environ, **environment},
        )

    def ask(self, call: str, **arguments: Any) -> dict[str, Any]:
        self.process.stdin.write(json.dumps({"call": call, **arguments}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker ended with status {self.process.wait()} in {call!r}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"the worker failed in {call!r}\n{answer['error']}")
        return answer

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.stdin.close()  # the far end's loop ends
        self.process.stdout.close()
        self.process.wait()


def peak(system: str, sizes: list[int]) -> float:
    """Best rate of a square float32 matrix product, in 10⁹ operations a second."""
    import numpy as np

    product = np.dot
    if system == "torch":
        import torch

        product = torch.matmul
    best = 0.0
    for size in sizes:
        A = np.random.default_rng(0).standard_normal((size, size), dtype=np.float32)
        A = torch.from_numpy(A) if system == "torch" else A
        for _ in range(6):
            start = time.perf_counter()
            product(A, A)
            best = max(best, 2 * size**3 / (time.perf_counter() - start) / 1e9)
    return best


def serve(requests, answers) -> None:
    """Answer the requests until there are no more; the far end."""
    from benchmarks.systems import SYSTEMS, parse
    from benchmarks.workloads import Workload

    trained = None
    for line in requests:
        request = json.loads(line)
        try:
            match request["call"]:
                case "load":
                    system, threads = parse(request["system"])
                    workload = request["workload"]
                    workload["hidden"] = tuple(workload["hidden"])
                    trained = SYSTEMS[system](Workload(**workload), threads)
                    answer = {}
                case "train":
                    start = time.perf_counter()
                    losses = trained.train(request["epochs"])
                    answer = {"seconds": time.perf_counter() - start, "losses": list(losses)}
                case "peak":
                    answer = {"gflops": peak(request["system"], request["sizes"])}
                case call:
                    raise ValueError(f"unknown call {call!r}")
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    # Answers go where stdout pointed; whatever a library prints goes to stderr.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        serve(sys.stdin, answers)
