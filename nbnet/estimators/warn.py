"""Warnings that name the user's line."""

import os
import sys
import warnings

__all__ = ["warn"]


def _folder_of(module: str) -> str:
    return os.path.dirname(os.path.abspath(sys.modules[module].__file__ or "")) + os.sep


# What may lie between the line that calls for a fit and the fit.
_NOT_THE_USER = tuple(_folder_of(module) for module in ("nbnet", "sklearn", "joblib"))


def warn(warning: Warning | str, category: type[Warning] = UserWarning) -> None:
    """Warn at the innermost line that lies outside nbnet, scikit-learn and joblib."""
    # `skip_file_prefixes` of `warnings.warn` does this from Python 3.12 on.
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_NOT_THE_USER):
        frame, level = frame.f_back, level + 1
    warnings.warn(warning, category, stacklevel=level)
