"""Python functions of the user's as C functions, which kernels call by their address.

numba compiles each function by itself, for each dtype, when it is first needed: some tenths of a
second. The kernels are not compiled anew, for an address is a number.

a. A function is compiled as it stands but for two things. Its float constants, and those of the
   module and the functions around it, have the dtype of the numbers it is given: a ``0.5`` would
   make float32 code compute in float64. And exp, expm1, log, log1p and tanh, of `math` or NumPy,
   are those of `elementary`: a loop over them is vectorised.
b. A run of numbers is a multiple of V, and a loop over it takes one register at a time: there are
   none left over, which other code would take. So a number has the same bits wherever it stands.
c. Where a function raises an error the result is NaN: a kernel cannot pass it on.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np
from numba import carray, from_dtype, types
from numba.extending import overload

from nbnet.kernels.compile.jit import COMPILED, c_function, of_user
from nbnet.kernels.machine import elementary
from nbnet.kernels.machine.call import PYTHON_FUNCTIONS

__all__ = ["CFunction", "derivative_of_run", "loss_of_row", "python_function", "value_of_run"]


class CFunction(NamedTuple):
    """A C function.

    Attributes
    ----------
    address : int
    owner : object
        The function lives as long as this.
    """

    address: int
    owner: Any


def python_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """What the user wrote: of a function that numba has compiled, the one it was made from."""
    return getattr(function, "py_func", function)


def value_of_run(what: str, function: Callable[..., Any], dtype: Any) -> CFunction:
    """``void(T *h, int64 n)``: ``h = function(h)``; n is a multiple of V.

    Parameters
    ----------
    what : str
        What the function is, for messages.
    function : callable
        Of one number.
    dtype : float32 or float64
        T.

    Raises
    ------
    TypeError
        If numba cannot compile it.
    """
    number, one, raises = _compiled(what, function, dtype, [_scalar])

    def over_run(h, n):
        for i in range(n):
            h[i] = number(one(h[i]))

    def over_run_with_errors(h, n):
        for i in range(n):
            try:
                h[i] = number(one(h[i]))
            except Exception:
                h[i] = number(math.nan)

    return _c_function(over_run_with_errors if raises else over_run, dtype, [_pointer, _count])


def derivative_of_run(what: str, function: Callable[..., Any], dtype: Any) -> CFunction:
    """``void(T *d, T *z, int64 n)``: ``d *= function(z)``; otherwise as `value_of_run`."""
    number, one, raises = _compiled(what, function, dtype, [_scalar])

    def over_run(d, z, n):
        for i in range(n):
            d[i] *= number(one(z[i]))

    def over_run_with_errors(d, z, n):
        for i in range(n):
            try:
                d[i] *= number(one(z[i]))
            except Exception:
                d[i] = number(math.nan)

    kinds = [_pointer, _pointer, _count]
    return _c_function(over_run_with_errors if raises else over_run, dtype, kinds)


def loss_of_row(what: str, function: Callable[..., Any], dtype: Any) -> CFunction:
    """``void(T *z, T *y, T *gradient, T *value, int64 n_raw, int64 n_targets)``, of one row.

    ``value[0] = function(z, y, gradient)``; otherwise as `value_of_run`.
    """
    number, one, raises = _compiled(what, function, dtype, [_array, _array, _array])
    view = carray if COMPILED else _first

    def of_row(z, y, gradient, value, n_raw, n_targets):
        value[0] = number(one(view(z, n_raw), view(y, n_targets), view(gradient, n_raw)))

    def of_row_with_errors(z, y, gradient, value, n_raw, n_targets):
        try:
            value[0] = number(one(view(z, n_raw), view(y, n_targets), view(gradient, n_raw)))
        except Exception:
            value[0] = number(math.nan)

    kinds = [*[_pointer] * 4, _count, _count]
    return _c_function(of_row_with_errors if raises else of_row, dtype, kinds)


def _first(array: np.ndarray, n: int) -> np.ndarray:
    return array[:n]


def _scalar(number: Any) -> Any:
    return number


def _pointer(number: Any) -> Any:
    return types.CPointer(number)


def _array(number: Any) -> Any:
    return types.Array(number, 1, "C")


def _count(number: Any) -> Any:
    return types.int64


# --- Compiling ----------------------------------------------------------------------------------


def _c_function(function: Callable[..., None], dtype: Any, kinds: list[Any]) -> CFunction:
    """Make a C function of a function of ours around one of the user's."""
    if not COMPILED:
        PYTHON_FUNCTIONS[id(function)] = function
        return CFunction(id(function), function)
    number = from_dtype(np.dtype(dtype))
    compiled = c_function(types.void(*(kind(number) for kind in kinds)), function)
    return CFunction(compiled.address, compiled)


def _compiled(
    what: str, function: Callable[..., Any], dtype: Any, kinds: list[Any]
) -> tuple[Any, Any, bool]:
    """Compile a function of the user's for arguments of these kinds; it must return a number.

    Returns
    -------
    number : type
        That of `dtype`.
    compiled : callable
    raises : bool
        Whether it may raise an error.
    """
    number = np.dtype(dtype).type
    if not COMPILED:
        return number, python_function(function), False
    signature = tuple(kind(from_dtype(np.dtype(dtype))) for kind in kinds)
    try:
        compiled = _jitted(function, number, frozenset())
        compiled.compile(signature)
    except Exception as error:  # of numba, or of Python where the number of arguments is wrong
        raise TypeError(f"numba cannot compile {what}: {_first_lines(error)}") from error
    result = types.unliteral(compiled.overloads[signature].signature.return_type)
    if not isinstance(result, types.Integer | types.Float | types.Boolean):
        raise TypeError(f"{what} must return a number; as numba compiles it, it returns {result}")
    # What a compiled function returns to its caller is a status, 0 where nothing was raised.
    lines = map(str.strip, compiled.inspect_llvm(signature).splitlines())
    return (
        number,
        compiled,
        any(line.startswith("ret i32") and line != "ret i32 0" for line in lines),
    )


def _first_lines(error: Exception) -> str:
    """What numba says, without the part that is always the same and without the source."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith("Failed in")]
    end = next((i for i, line in enumerate(told) if line.startswith("File ")), len(told))
    return " ".join(told[: max(1, min(end, 4))])


def _jitted(function: Any, number: type, around: frozenset[Any]) -> Any:
    """Compile a function lazily; `around` are those in which it was found."""
    function = python_function(function)
    if not isinstance(function, FunctionType):  # of C, as math.sin is
        known = _fast_functions().get(function, function)

        def of_c(z):
            return known(z)

        return of_user(of_c)
    return of_user(_adapted(function, number, around | {function}))


def _adapted(function: FunctionType, number: type, around: frozenset[Any]) -> FunctionType:
    """The same function with what is said under a. put in the place of what it refers to."""
    found = function.__globals__
    used = {name: found[name] for name in _names(function.__code__) if name in found}
    replaced = {name: _replaced(value, number, around) for name, value in used.items()}
    cells = tuple(
        type(cell)(_replaced(cell.cell_contents, number, around))
        for cell in function.__closure__ or ()
    )
    adapted = FunctionType(
        _narrowed(function.__code__, number),
        # Not the whole module: numba may keep the function for longer than we do.
        {"__name__": function.__module__, "__builtins__": builtins, **replaced},
        function.__name__,
        function.__defaults__,
        cells,
    )
    adapted.__kwdefaults__ = function.__kwdefaults__
    return adapted


def _names(code: CodeType) -> list[str]:
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return [*code.co_names, *(name for one in inner for name in _names(one))]


def _narrowed(code: CodeType, number: type) -> CodeType:
    """The same code with float constants of another dtype."""
    if number is np.float64:
        return code
    constants = (
        _narrowed(constant, number)
        if isinstance(constant, CodeType)
        else _of_dtype(constant, number)
        for constant in code.co_consts
    )
    return code.replace(co_consts=tuple(constants))


def _of_dtype(constant: Any, number: type) -> Any:
    """A float as a number of the dtype, unless that has none of about this size."""
    if type(constant) is not float:
        return constant
    with np.errstate(over="ignore"):
        narrowed = number(constant)
    same = math.isfinite(narrowed) == math.isfinite(constant) and bool(narrowed) == bool(constant)
    return narrowed if same else constant


def _replaced(value: Any, number: type, around: frozenset[Any]) -> Any:
    if type(value) is float:
        return _of_dtype(value, number)
    if isinstance(value, FunctionType) and value not in around:
        return _jitted(value, number, around)
    if isinstance(value, ModuleType):
        return _fast_modules().get(value.__name__, value)
    try:
        return _fast_functions().get(value, value)
    except TypeError:  # not hashable
        return value


@cache
def _fast_functions() -> dict[Any, Any]:
    """Our functions by those of `math` and NumPy."""
    found = {}
    for name in elementary.__all__:
        if hasattr(np, name):
            found[getattr(math, name)] = found[getattr(np, name)] = _fast(name)
    return found


@cache
def _fast_modules() -> dict[str, ModuleType]:
    """`math` and NumPy with our functions in them."""
    found = {}
    for module in (math, np):
        found[module.__name__] = ModuleType(module.__name__)
        vars(found[module.__name__]).update(vars(module))
        for function, ours in _fast_functions().items():
            if getattr(module, function.__name__) is function:
                setattr(found[module.__name__], function.__name__, ours)
    return found


def _fast(name: str) -> Callable[[Any], Any]:
    """`elementary`'s function of this name for floating-point numbers, NumPy's for all else."""
    ours, usual = getattr(elementary, name), getattr(np, name)

    def function(x):
        return usual(x)

    @overload(function)
    def choose(x):
        if isinstance(x, types.Float):
            return lambda x: ours(x)
        return lambda x: usual(x)

    return function
