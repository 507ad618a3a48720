"""Looking into fitted networks: hidden units, training curves, linear regions.

Rests on the public surface of the estimators and of `nbnet.graph` alone. Drawing needs matplotlib
(``pip install nbnet[plot]``); counting does not.
"""

from nbnet.inspection.displays import HiddenUnitDisplay, TrainingDisplay
from nbnet.inspection.linear_regions import linear_regions, linear_regions_in_plane

__all__ = ["HiddenUnitDisplay", "TrainingDisplay", "linear_regions", "linear_regions_in_plane"]
