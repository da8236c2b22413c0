"""What the elementwise functions compute: a sentence each, and their docstrings made of it.

The rest of a docstring follows from the operator: shapes, dtypes and what is refused.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

_UNARY = """
neg: `-x`.
abs: `|x|`; of a complex x the modulus.
sign: -1, 0 or 1, as x is below, at or above 0.
sgn: `x / |x|`, and 0 at 0; of a real x its sign.
square: `x^2`.
sqrt: The square root of x; NaN below 0.
rsqrt: `1 / sqrt(x)`.
reciprocal: `1 / x`.
exp: `e^x`.
exp2: `2^x`.
expm1: `e^x - 1`, exact for x near 0.
log: The natural logarithm of x; -inf at 0, NaN below.
log2: The logarithm of x to base 2.
log10: The logarithm of x to base 10.
log1p: `log(1 + x)`, exact for x near 0.
sin: The sine of x, in radians.
cos: The cosine of x, in radians.
tan: The tangent of x, in radians.
asin: The arc sine of x, in [-pi/2, pi/2]; NaN outside of [-1, 1].
acos: The arc cosine of x, in [0, pi]; NaN outside of [-1, 1].
atan: The arc tangent of x, in (-pi/2, pi/2).
sinh: The hyperbolic sine, `(e^x - e^-x) / 2`.
cosh: The hyperbolic cosine, `(e^x + e^-x) / 2`.
tanh: The hyperbolic tangent, `sinh(x) / cosh(x)`.
asinh: The inverse of the hyperbolic sine, `log(x + sqrt(x^2 + 1))`.
acosh: The inverse of the hyperbolic cosine, `log(x + sqrt(x^2 - 1))`; NaN below 1.
atanh: The inverse of the hyperbolic tangent, `log((1 + x) / (1 - x)) / 2`.
sigmoid: The logistic function `1 / (1 + e^-x)`.
erf: The error function, `2 / sqrt(pi)` times the integral of `e^(-t^2)` from 0 to x.
erfc: `1 - erf(x)`, exact for large x.
erfinv: The inverse of the error function on (-1, 1).
erfcx: `e^(x^2) erfc(x)`, the scaled complementary error function.
floor: The largest whole number not above x.
ceil: The smallest whole number not below x.
trunc: The whole part of x, rounded towards 0.
frac: `x - trunc(x)`, with the sign of x.
isnan: Whether x is NaN; of a complex x, whether a part of it is.
isinf: Whether x is infinite; of a complex x, whether a part of it is.
isfinite: Whether x is neither infinite nor NaN.
signbit: Whether the sign of x is set, also of -0.0.
logical_not: Whether x is 0.
bitwise_not: All bits of an integer turned over; of a bool, `not x`.
conj_physical: The complex conjugate, in memory of its own; of a real x itself.
relu: `max(x, 0)`; NaN stays.
lgamma: `log |gamma(x)|`.
digamma: The logarithmic derivative of the gamma function.
i0: The modified Bessel function of the first kind of order 0.
i0e: `e^-|x| i0(x)`, the scaled modified Bessel function of order 0.
i1: The modified Bessel function of the first kind of order 1.
i1e: `e^-|x| i1(x)`, the scaled modified Bessel function of order 1.
sinc: `sin(pi x) / (pi x)`, and 1 at 0.
ndtr: The distribution function of the standard normal distribution.
log_ndtr: `log(ndtr(x))`, exact far below 0.
ndtri: The inverse of `ndtr` on (0, 1).
entr: `-x log(x)`, 0 at 0 and -inf below.
airy_ai: The Airy function Ai.
bessel_j0: The Bessel function of the first kind of order 0.
bessel_j1: The Bessel function of the first kind of order 1.
bessel_y0: The Bessel function of the second kind of order 0; -inf at 0, NaN below.
bessel_y1: The Bessel function of the second kind of order 1; -inf at 0, NaN below.
modified_bessel_i0: The modified Bessel function of the first kind of order 0.
modified_bessel_i1: The modified Bessel function of the first kind of order 1.
modified_bessel_k0: The modified Bessel function of the second kind of order 0.
modified_bessel_k1: The modified Bessel function of the second kind of order 1.
scaled_modified_bessel_k0: `e^x modified_bessel_k0(x)`.
scaled_modified_bessel_k1: `e^x modified_bessel_k1(x)`.
spherical_bessel_j0: The spherical Bessel function of order 0, `sin(x) / x`.
"""
_BINARY = """
mul: `x * y`; of bools, `x and y`.
floor_divide: The largest whole number not above `x / y`.
remainder: `x - y floor(x / y)`, with the sign of y, as Python's `%`.
fmod: `x - y trunc(x / y)`, with the sign of x, as C's `fmod`.
pow: `x^y`; integers wrap around.
maximum: The larger of x and y; NaN where one of them is.
minimum: The smaller of x and y; NaN where one of them is.
fmax: The larger of x and y; where one of them is NaN, the other.
fmin: The smaller of x and y; where one of them is NaN, the other.
atan2: The angle of the point (y, x), in [-pi, pi]: the first operand is its height.
hypot: `sqrt(x^2 + y^2)`, without overflow on the way.
copysign: `|x|` with the sign of y, also that of -0.0.
logaddexp: `log(e^x + e^y)`, without overflow on the way.
logaddexp2: `log2(2^x + 2^y)`, without overflow on the way.
eq: Whether x equals y; false where one is NaN.
ne: Whether x differs from y; true where one is NaN.
lt: Whether x is less than y.
le: Whether x is at most y.
gt: Whether x is greater than y.
ge: Whether x is at least y.
logical_and: Whether neither x nor y is 0.
logical_or: Whether x or y is not 0.
logical_xor: Whether exactly one of x and y is not 0.
bitwise_and: `x & y`, bit by bit.
bitwise_or: `x | y`, bit by bit.
bitwise_xor: `x ^ y`, bit by bit.
bitwise_left_shift: The bits of x, y places to the left.
bitwise_right_shift: The bits of x, y places to the right; the sign stays.
gcd: The greatest common divisor of x and y; at least 0.
lcm: The least common multiple of x and y; at least 0.
heaviside: 1 where x is above 0, y where it is 0, else 0.
nextafter: The number of the dtype that follows x in the direction of y.
xlogy: `x log(y)`, and 0 where x is 0, unless y is NaN.
xlog1py: `x log(1 + y)`, and 0 where x is 0, unless y is NaN.
igamma: The regularized lower incomplete gamma function P(x, y).
igammac: The regularized upper incomplete gamma function, `1 - P(x, y)`.
zeta: The Hurwitz zeta function, the sum of `1 / (k + y)^x` over k from 0.
chebyshev_polynomial_t: The Chebyshev polynomial of the first kind of degree y at x.
chebyshev_polynomial_u: The Chebyshev polynomial of the second kind of degree y at x.
chebyshev_polynomial_v: The Chebyshev polynomial of the third kind of degree y at x.
chebyshev_polynomial_w: The Chebyshev polynomial of the fourth kind of degree y at x.
shifted_chebyshev_polynomial_t: `chebyshev_polynomial_t(2 x - 1, y)`.
shifted_chebyshev_polynomial_u: `chebyshev_polynomial_u(2 x - 1, y)`.
shifted_chebyshev_polynomial_v: `chebyshev_polynomial_v(2 x - 1, y)`.
shifted_chebyshev_polynomial_w: `chebyshev_polynomial_w(2 x - 1, y)`.
hermite_polynomial_h: The physicists' Hermite polynomial of degree y at x.
hermite_polynomial_he: The probabilists' Hermite polynomial of degree y at x.
laguerre_polynomial_l: The Laguerre polynomial of degree y at x.
legendre_polynomial_p: The Legendre polynomial of degree y at x.
"""
SENTENCES: dict[str, str] = {
    name: sentence
    for name, _, sentence in (line.partition(": ") for line in (_UNARY + _BINARY).splitlines())
    if name
}
_RESULTS = {
    "same": "The result has that dtype",
    "float": "The result has that dtype; where it is integral or bool, the default dtype",
    "bool": "The result is bool",
    "real": "The result is real",
    "number": "The result has that dtype; where it is bool, int64",
}


def described(
    name: str, names: Sequence[str], result: str = "same", deny: Sequence[str] = ()
) -> str | None:
    """The docstring of an elementwise function of these operands; None where it has no sentence.

    In sentences the operands are x and y; they have other names where the function calls them so.
    """
    if name not in SENTENCES:
        return None
    operands = dict(zip(("x", "y"), names, strict=False))
    called = " and ".join(f"`{v}` is {k}" for k, v in operands.items() if k != v)
    shapes = "Any shape and dtype"
    if len(operands) == 2:
        shapes = "Shapes broadcast, dtypes are promoted to a common one"
    refused = f" NotImplementedError for {', '.join(deny)} tensors." if deny else ""
    facts = f"Elementwise{called and ', where '}{called}. {shapes}. {_RESULTS[result]}.{refused}"
    return "\n\n".join((SENTENCES[name], textwrap.fill(facts, 96)))
