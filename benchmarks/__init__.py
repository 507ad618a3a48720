"""Benchmarks of nbnet beside scikit-learn, PyTorch and JAX: `python -m benchmarks.training -h`."""
