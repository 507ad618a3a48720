"""A process of its own for what is measured, so that its threads cannot disturb another's.

``Worker`` is the near end. The far end, ``python -m benchmarks.worker``, holds one object. It reads
one JSON object a line and answers each with one:

    {"call": "load", "factory": "benchmarks.systems:make", "arguments": {...}}
        makes the object; answers {}
    {"call": "train", "arguments": {"epochs": 3}}
        calls that method of it; answers {"seconds": what the call took, "result": what it returned}

An exception there answers {"error": traceback} and is raised here.
"""

import importlib
import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any


class Worker:
    """The near end; its process ends with the block.

    ``with Worker() as worker: worker.load("benchmarks.systems:make", ...); worker.ask("train")``
    """

    def __init__(self, **environment: str):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
            env={**os.environ, **environment},
        )

    def load(self, factory: str, **arguments: Any) -> None:
        self._send({"call": "load", "factory": factory, "arguments": arguments})

    def ask(self, call: str, **arguments: Any) -> dict[str, Any]:
        return self._send({"call": call, "arguments": arguments})

    def _send(self, request: dict[str, Any]) -> dict[str, Any]:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            raise RuntimeError(f"the worker ended with status {status} in {request['call']!r}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"the worker failed in {request['call']!r}\n{answer['error']}")
        return answer

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.stdin.close()  # the far end's loop ends
        self.process.stdout.close()
        self.process.wait()


def serve(requests, answers) -> None:
    """Answer the requests until there are no more; the far end."""
    subject = None
    for line in requests:
        request = json.loads(line)
        call, arguments = request["call"], request["arguments"]
        try:
            if call == "load":
                subject = None  # its memory is free for the next
                module, _, name = request["factory"].partition(":")
                subject = getattr(importlib.import_module(module), name)(**arguments)
                answer = {}
            else:
                method = getattr(subject, call)
                start = time.perf_counter()
                result = method(**arguments)
                answer = {"seconds": time.perf_counter() - start, "result": result}
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    # Answers go where stdout pointed; whatever a library prints goes to stderr.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        serve(sys.stdin, answers)
