"""`assert_close`: whether tensors are the same, within the precision of their dtypes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import dtypes
from ..tensor import Tensor, wrap

# PyTorch's default tolerances (relative, absolute) of `torch.testing.assert_close`.
TOLERANCES = {
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
    "complex64": (1.3e-6, 1e-5),
    "complex128": (1e-7, 1e-7),
}


def assert_close(
    actual: Any,
    expected: Any,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    allow_subclasses: bool = True,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Raise AssertionError unless tensors, or sequences and mappings of them, agree.

    Without `rtol` and `atol` the tolerances are those of the dtypes. `msg` replaces the message, or
    makes another of it.

    Example:
        >>> import tritorch as torch
        >>> torch.testing.assert_close(torch.ones(2), torch.ones(2) + 1e-7)
    """
    if (rtol is None) != (atol is None):
        raise ValueError("assert_close: rtol and atol must both be specified or both unspecified")
    options: dict[str, Any] = {
        "rtol": rtol,
        "atol": atol,
        "equal_nan": equal_nan,
        "check_device": check_device,
        "check_dtype": check_dtype,
        "check_stride": check_stride,
    }
    try:
        _compare(actual, expected, **options)
    except AssertionError as error:
        if msg is None:
            raise
        raise AssertionError(msg(str(error)) if callable(msg) else msg) from None


def _compare(actual: Any, expected: Any, **options: Any) -> None:
    if isinstance(expected, Mapping):
        if not isinstance(actual, Mapping) or actual.keys() != expected.keys():
            raise AssertionError(f"expected a mapping of {list(expected)}, got {actual!r}")
        for key in expected:
            _compare(actual[key], expected[key], **options)
        return
    if isinstance(expected, tuple | list):
        if not isinstance(actual, tuple | list) or len(actual) != len(expected):
            raise AssertionError(f"expected a sequence of {len(expected)}, got {actual!r}")
        for a, e in zip(actual, expected, strict=True):
            _compare(a, e, **options)
        return
    a, e = (x if isinstance(x, Tensor) else _from(x) for x in (actual, expected))
    _compare_tensors(a, e, **options)


def _compare_tensors(
    a: Any,
    e: Any,
    rtol: float | None,
    atol: float | None,
    equal_nan: bool,
    check_device: bool,
    check_dtype: bool,
    check_stride: bool,
) -> None:
    same = {"shape": True, "dtype": check_dtype, "device": check_device}
    for name, asked in same.items():
        x, y = getattr(a, name), getattr(e, name)
        if asked and x != y:
            raise AssertionError(f"The values for attribute '{name}' do not match: {x} != {y}.")
    if check_stride and a.stride() != e.stride():
        raise AssertionError(
            f"The values for attribute 'stride()' do not match: {a.stride()} != {e.stride()}."
        )
    wide = dtypes.promote_types(a.dtype, e.dtype)
    default = max(TOLERANCES.get(a.dtype.name, (0, 0)), TOLERANCES.get(e.dtype.name, (0, 0)))
    r, t = default[0] if rtol is None else rtol, default[1] if atol is None else atol
    work = np.complex128 if wide.is_complex else np.float64 if wide.category == 2 else wide.np
    x, y = (v.detach().cpu()._data.astype(work) for v in (a, e))
    with np.errstate(all="ignore"):
        whole = wide.category < 2 and not (r or t)
        close = x == y if whole else np.isclose(x, y, r, t, equal_nan=equal_nan)
    if not np.all(close):
        raise AssertionError(_difference(x, y, close, r, t))


def assert_allclose(
    actual: Any,
    expected: Any,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = True,
    msg: str = "",
) -> None:
    """`assert_close` of values only; deprecated in PyTorch too."""
    a, e = (x if isinstance(x, Tensor) else _from(x) for x in (actual, expected))
    assert_close(
        a,
        e,
        rtol=rtol,
        atol=atol,
        equal_nan=equal_nan,
        check_device=False,
        check_dtype=False,
        msg=msg or None,
    )


def _from(x: Any) -> Tensor:
    array = np.asarray(x)
    return wrap(array, dtypes.of(array.dtype))


def _difference(x: np.ndarray, y: np.ndarray, close: np.ndarray, r: float, t: float) -> str:
    bad = np.atleast_1d(~close)
    with np.errstate(all="ignore"):
        gap = np.atleast_1d(np.abs(x.astype(np.complex128) - y.astype(np.complex128)))
    worst = np.unravel_index(
        np.argmax(np.where(bad, np.nan_to_num(gap, nan=np.inf), -1)), gap.shape
    )
    at = tuple(int(i) for i in worst) if x.ndim else ()
    return (
        f"Tensor-likes are not close!\n\nMismatched elements: {int(bad.sum())} / {bad.size}\n"
        f"Greatest absolute difference: {gap[worst]} at index {at}: {x[at].item()} against "
        f"{y[at].item()} (tolerances: {r} relative, {t} absolute)"
    )
