"""How far a result is from the one in float64, in units of its dtype's last place."""

from __future__ import annotations

import numpy as np

DIGITS = {"float64": 52, "float32": 23, "float16": 10, "bfloat16": 7}  # stored bits of mantissas


def ulps(result: np.ndarray, exact: np.ndarray, dtype: str) -> float:
    """The largest difference in units of the last place of a number of the exact one's size.

    Numbers smaller than the root mean square of the exact result count as large as it: what is
    left where large terms cancel has the error of the terms. Where both are not finite, they agree.

    Example:
        >>> from tritorch.perf.accuracy import ulps
        >>> import numpy as np
        >>> ulps(np.array([1.0 + 2.0**-23]), np.array([1.0]), "float32")
        1.0
    """
    finite = np.isfinite(exact) & np.isfinite(result)
    if result.shape != exact.shape or (np.isfinite(exact) != np.isfinite(result)).any():
        return float("inf")
    if not finite.any():
        return 0.0
    result, exact = result[finite], exact[finite]
    size = np.maximum(np.abs(exact), np.sqrt(np.mean(exact * exact)))
    unit = np.exp2(np.floor(np.log2(np.maximum(size, 1e-300))) - DIGITS[dtype])
    return float(np.max(np.abs(result - exact) / unit))
