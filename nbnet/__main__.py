"""The commands of ``python -m nbnet``; ``python -m nbnet --help`` lists them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import nbnet
from nbnet.ahead import DTYPES

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str or None
        The command and its options; None takes those of this process.

    Returns
    -------
    int
        The exit status: 0 if the command did what it is for.
    """
    parser = argparse.ArgumentParser(prog="python -m nbnet", description="Commands of nbnet.")
    parser.add_argument("--version", action="version", version=f"nbnet {nbnet.__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_warmup(commands)
    options = parser.parse_args(arguments)
    return options.run(options)


def _add_warmup(commands: argparse._SubParsersAction) -> None:
    what = "Compile the kernels and keep the machine code."
    command = commands.add_parser(
        "warmup",
        help=what,
        description=f"{what} NUMBA_CACHE_DIR says where; the exit status is 1 if it is not kept.",
    )
    command.add_argument(
        "--dtypes", nargs="+", choices=DTYPES, default=DTYPES, help="what X will be; default: both"
    )
    command.add_argument(
        "--plain",
        action="store_true",
        help="only plain layers on dense X: no maxout, sparse X, learned scales or other graphs",
    )
    command.set_defaults(run=_warmup)


def _warmup(options: argparse.Namespace) -> int:
    done = nbnet.warmup(options.dtypes, general=not options.plain, verbose=True)
    return 0 if done.folder else 1


if __name__ == "__main__":
    sys.exit(main())
