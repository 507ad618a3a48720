"""What a result depends on: the machine, the versions, the date."""

import datetime
import importlib.metadata
import os
import platform
from pathlib import Path


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe(packages: list[str]) -> dict[str, object]:
    """Machine, versions and date, to be stored with the numbers."""
    import nbnet

    versions = {"python": platform.python_version(), "nbnet": nbnet.__version__}
    for package in packages:
        if package != "nbnet":
            versions[package] = importlib.metadata.version(package)
    return {
        "date": datetime.date.today().isoformat(),
        "machine": {
            "cpu": _cpu(),
            "cores": cores(),
            "system": f"{platform.system()} {platform.machine()}",
            "simd": _simd(),
        },
        "versions": versions,
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _simd() -> str:
    """Widest vector instructions, by the name numba gives the target's features."""
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    for feature, name in (("avx512f", "AVX-512"), ("avx2", "AVX2"), ("neon", "NEON")):
        if features.get(feature):
            return name
    return "none known"
