"""Two layouts of the same P parameters, and the way between them.

*natural*
    What users see: array by array, each in C order.
*engine*
    Panels of V columns, rows and columns padded with zeros, maxout pieces piece by piece (see
    `nbnet.kernels.machine.vectors` and `nbnet.kernels.ops`), and behind all of it the ``mirror``:
    the transposed matrices in panels too, for the way back. Of a matrix with few columns there is
    the transposed one alone, and for batches of one row there is no mirror (see
    `nbnet.kernels.products`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nbnet.graph.parameters import Parameter
from nbnet.kernels.machine.vectors import DEPTH, ROWS

__all__ = ["Place", "pack", "panels_of", "place_parameters", "round_up", "unpack"]


def round_up(number: int, multiple: int) -> int:
    """The least multiple that is not below `number`."""
    return -(-number // multiple) * multiple


def panels_of(width: int, lanes: int) -> int:
    """Panels of `lanes` columns that hold `width` columns."""
    return -(-width // lanes)


@dataclass
class Place:
    """Where one parameter lies in the engine's vector, and its padded shape.

    Attributes
    ----------
    at : int
        Offset of its first number.
    panels : int
        Its panels: of the output, or of the input if `narrow`.
    inputs : int
        Rows of a panel of a weight matrix; 0 for a parameter with a number for each column.
    columns : int
        Rows of a transposed panel, the padded columns of the matrix.
    narrow : bool
        Whether there is the transposed matrix alone.
    mirror : int
        Offset of the transposed matrix, -1 if there is none, `at` if `narrow`.
    """

    at: int
    panels: int
    inputs: int = 0
    columns: int = 0
    narrow: bool = False
    mirror: int = -1

    def size(self, lanes: int) -> int:
        """Numbers from `at` on, padding included."""
        return self.panels * (self.columns if self.narrow else max(self.inputs, 1)) * lanes


def place_parameters(
    parameters: tuple[Parameter, ...],
    lanes: int,
    narrow: list[bool],
    mirrored: list[bool],
    one_row: bool,
) -> tuple[list[Place], int, int]:
    """Lay parameters out one behind the other, and the mirror behind all of them.

    Parameters
    ----------
    parameters : tuple of Parameter
    lanes : int
        V.
    narrow, mirrored : list of bool
        For each parameter: whether the op that reads it is narrow, and whether a gradient passes
        back through it.
    one_row : bool
        Whether batches have one row.

    Returns
    -------
    places : list of Place
    n_engine, n_mirror : int
    """
    places: list[Place] = []
    behind: list[tuple[Place, int]] = []
    at = mirror_at = 0
    for parameter, is_narrow, is_mirrored in zip(parameters, narrow, mirrored, strict=True):
        panels = parameter.pieces * panels_of(parameter.units, lanes)
        if len(parameter.shape) == 1:
            place = Place(at, panels)
        else:
            inputs = panels_of(parameter.fan_in, lanes)
            plain = parameter.pieces == 1
            columns = round_up(parameter.units, DEPTH) if plain else panels * lanes
            if is_narrow:
                place = Place(at, inputs, columns=columns, narrow=True)
                place.mirror = at if is_mirrored else -1
            else:
                place = Place(at, panels, round_up(parameter.fan_in, ROWS), columns)
                if is_mirrored and not one_row:
                    behind.append((place, mirror_at))
                    mirror_at += inputs * columns * lanes
        at += place.size(lanes)
        places.append(place)
    for place, where in behind:
        place.mirror = at + where
    return places, at, mirror_at


# --- From one to the other


def _padded_columns(parameter: Parameter, natural: np.ndarray, lanes: int) -> np.ndarray:
    """(..., columns) in natural order -> (..., panels * V), piece by piece, padded."""
    lead = natural.shape[:-1]
    pieces = natural.reshape(*lead, parameter.units, parameter.pieces).swapaxes(-1, -2)
    width = panels_of(parameter.units, lanes) * lanes
    padded = np.zeros((*lead, parameter.pieces, width), dtype=natural.dtype)
    padded[..., : parameter.units] = pieces
    return padded.reshape(*lead, -1)


def _natural_columns(parameter: Parameter, padded: np.ndarray) -> np.ndarray:
    lead = padded.shape[:-1]
    pieces = padded.reshape(*lead, parameter.pieces, -1)[..., : parameter.units]
    return pieces.swapaxes(-1, -2).reshape(*lead, -1)


def _transposed(engine: np.ndarray, at: int, place: Place, inputs: int, lanes: int) -> np.ndarray:
    """(panels of the input, columns, V) view of transposed weights."""
    size = inputs * place.columns * lanes
    return engine[at : at + size].reshape(inputs, place.columns, lanes)


def pack(
    parameter: Parameter, place: Place, natural: np.ndarray, engine: np.ndarray, lanes: int
) -> None:
    """Write one parameter to an engine vector, and to its mirror if the vector has one."""
    here = engine[place.at : place.at + place.size(lanes)]
    columns = _padded_columns(parameter, natural, lanes)
    if natural.ndim == 1:
        here[:] = columns
        return
    fan_in = parameter.fan_in
    if not place.narrow:
        panels = here.reshape(place.panels, place.inputs, lanes)
        panels[:, :fan_in] = columns.reshape(fan_in, -1, lanes).swapaxes(0, 1)
    at = place.at if place.narrow else place.mirror
    if 0 <= at < engine.size:
        inputs, used = panels_of(fan_in, lanes), min(place.columns, columns.shape[1])
        padded = np.zeros((inputs * lanes, place.columns), dtype=natural.dtype)
        padded[:fan_in, :used] = columns[:, :used]
        _transposed(engine, at, place, inputs, lanes)[:] = padded.reshape(
            inputs, lanes, place.columns
        ).swapaxes(1, 2)


def unpack(parameter: Parameter, place: Place, engine: np.ndarray, lanes: int) -> np.ndarray:
    """One parameter of an engine vector, in its natural shape, a copy."""
    here = engine[place.at : place.at + place.size(lanes)]
    if len(parameter.shape) == 1:
        return _natural_columns(parameter, here)
    fan_in = parameter.fan_in
    if place.narrow:
        inputs = panels_of(fan_in, lanes)
        weights = _transposed(engine, place.at, place, inputs, lanes).swapaxes(1, 2)
        return weights.reshape(-1, place.columns)[:fan_in, : parameter.shape[1]]
    panels = here.reshape(place.panels, place.inputs, lanes)[:, :fan_in].swapaxes(0, 1)
    return _natural_columns(parameter, panels.reshape(fan_in, -1))
