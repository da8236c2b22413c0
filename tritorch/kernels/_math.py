"""Functions that `triton.language` lacks, in float32 and float64, accurate to a few ulp.

All are written in `tl` operations, so that CUDA, HIP and the interpreter run the same code. NaN,
infinities and signed zeros come out as in C. `tl.exp` in float32 is `ex2.approx` of a rounded
product, off by many ulp for large arguments, so `exp` here reduces its argument first.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ._tables import (
    ATAN_32,
    ATAN_64,
    ERFC_32,
    ERFC_64,
    ERFINV_32,
    ERFINV_TAIL_32,
    ERFINV_TAIL_64,
    EXPM1_32,
    EXPM1_64,
    LGAMMA_32,
    LGAMMA_64,
    TANH_32,
    TANH_64,
)

INF = tl.constexpr(float("inf"))
PI = tl.constexpr(3.141592653589793)
LN2 = tl.constexpr(0.6931471805599453)
LOG2E = tl.constexpr(1.4426950408889634)
# log(2) in two parts; a small integer times the first is exact.
LN2_HIGH_32 = tl.constexpr(0.693145751953125)
LN2_LOW_32 = tl.constexpr(1.4286068203094172e-06)
LN2_HIGH_64 = tl.constexpr(6.93147180369123816490e-01)
LN2_LOW_64 = tl.constexpr(1.90821492927058770002e-10)


@triton.jit
def polynomial(x, C: tl.constexpr, N: tl.constexpr):
    """The polynomial with the N coefficients C, the highest power first."""
    y = x * C[0] + C[1]
    for i in tl.static_range(2, N):
        y = y * x + C[i]
    return y


@triton.jit
def bits(x):
    """The bits of a float as a signed integer."""
    if x.dtype == tl.float64:
        return x.to(tl.int64, bitcast=True)
    else:
        return x.to(tl.int32, bitcast=True)


@triton.jit
def is_negative(x):
    """Whether the sign bit is set."""
    return bits(x) < 0


@triton.jit
def negative(x):
    """-x; Triton before 3.9 makes 0 - x of that, which loses the sign of a zero."""
    if x.dtype.is_floating():
        return x * -1.0
    else:
        return -x


@triton.jit
def copysign(x, y):
    return tl.where(is_negative(x) == is_negative(y), x, negative(x))


@triton.jit
def divide(x, y):
    """Division rounded to nearest; `/` is off by up to 2 ulp in float32."""
    if x.dtype == tl.float64:
        return x / y
    else:
        return tl.div_rn(x, y)


@triton.jit
def sqrt(x):
    """The square root rounded to nearest."""
    if x.dtype == tl.float64:
        return tl.sqrt(x)
    else:
        return tl.sqrt_rn(x)


@triton.jit
def round(x):
    """The nearest integer, ties to even: adding 2^23 (2^52) leaves no bits for a fraction."""
    a = tl.abs(x)
    if x.dtype == tl.float64:
        r = tl.where(a < 4503599627370496.0, (a + 4503599627370496.0) - 4503599627370496.0, a)
    else:
        r = tl.where(a < 8388608.0, (a + 8388608.0) - 8388608.0, a)
    return copysign(r, x)


@triton.jit
def trunc(x):
    return tl.where(x < 0, tl.ceil(x), tl.floor(x))


@triton.jit
def is_odd(x):
    """Whether x is an odd integer."""
    half = x * 0.5
    return (tl.floor(x) == x) & (tl.floor(half) != half)


@triton.jit
def fmod(x, y):
    """The remainder of x / y with the sign of x. Exact while |x / y| < 2^100."""
    a = tl.abs(x).to(tl.float64)
    b = tl.abs(y).to(tl.float64)
    r = a
    for _ in tl.static_range(2):
        # The quotient is rounded, so what is left may be negative, but is exact.
        r = tl.fma(-tl.floor(r / b + 0.5), b, r)
    r = tl.where(r < 0, r + b, r)
    r = tl.where(r >= b, r - b, r)
    r = tl.where((b == INF) & (a < INF), a, r)
    return copysign(r.to(x.dtype), x)


@triton.jit
def power_of_two(k, DTYPE: tl.constexpr):
    """2^k for an integral float k in the range of normal numbers."""
    if DTYPE.is_fp64():
        return ((k.to(tl.int64) + 1023) << 52).to(tl.float64, bitcast=True)
    else:
        return ((k.to(tl.int32) + 127) << 23).to(tl.float32, bitcast=True)


@triton.jit
def exp(x):
    if x.dtype == tl.float64:
        return tl.exp(x)
    else:
        # Beyond these bounds the result is infinite or zero. `where` lets NaN pass.
        x = tl.where(x > 90.0, 90.0, tl.where(x < -105.0, -105.0, x))
        k = (x * LOG2E + 12582912.0) - 12582912.0
        f = (x - k * LN2_HIGH_32) - k * LN2_LOW_32
        return tl.exp2(f * LOG2E + 1.0) * tl.exp2(k - 1.0)


@triton.jit
def expm1(x):
    # exp(x) - 1 = 2^k (exp(f) - 1) + (2^k - 1), where the last term is exact.
    c = tl.where(x > 40.0, 40.0, tl.where(x < -40.0, -40.0, x))
    k = round(c * LOG2E)
    if x.dtype == tl.float64:
        f = (c - k * LN2_HIGH_64) - k * LN2_LOW_64
        p = f + f * f * polynomial(f, EXPM1_64, 12)
    else:
        f = (c - k * LN2_HIGH_32) - k * LN2_LOW_32
        p = f + f * f * polynomial(f, EXPM1_32, 6)
    s = power_of_two(k, x.dtype)
    y = tl.where(x > 38.0, exp(x), s * p + (s - 1.0))
    return tl.where(x == 0, x, y)


@triton.jit
def log1p(x):
    # The rounding of 1 + x is undone by the factor x / ((1 + x) - 1) (Kahan).
    u = 1.0 + x
    y = tl.log(u) * divide(x, u - 1.0)
    return tl.where((u == 1.0) | (x == INF), x, y)


@triton.jit
def log10(x):
    if x.dtype == tl.float64:
        return tl.log(x) * 0.4342944819032518
    else:
        # The constant in two parts: its rounding alone would cost an ulp.
        y = tl.log(x)
        z = y * 0.434294462 + y * 1.9699272e-8
        return tl.where(tl.abs(y) == INF, y, z)


@triton.jit
def log_in_two(a):
    """log(a) for finite a > 0 as a sum of two numbers, good to about 30 bits (float64: 59)."""
    if a.dtype == tl.float64:
        tiny = a < 2.2250738585072014e-308
        i = bits(tl.where(tiny, a * 4503599627370496.0, a))
        e = (i - 0x3FE6A09E667F3BCD) >> 52
        m = (i - (e << 52)).to(tl.float64, bitcast=True)
        e = tl.where(tiny, e - 52, e).to(tl.float64)
        e_high = e * LN2_HIGH_64
        e_low = e * LN2_LOW_64
    else:
        tiny = a < 1.1754943508222875e-38
        i = bits(tl.where(tiny, a * 8388608.0, a))
        e = (i - 0x3F3504F3) >> 23
        m = (i - (e << 23)).to(tl.float32, bitcast=True)
        e = tl.where(tiny, e - 23, e).to(tl.float32)
        e_high = e * LN2_HIGH_32
        e_low = e * LN2_LOW_32
    # log(m) = 2 atanh(q), q = (m - 1) / (m + 1), and the rounding errors of m + 1 and of q.
    p = m + 1.0
    q = divide(m - 1.0, p)
    q_low = (tl.fma(-q, p, m - 1.0) - q * (m - (p - 1.0))) / p
    z = q * q
    series = z * (2.0 / 11) + 2.0 / 9
    if a.dtype == tl.float64:
        series = z * (2.0 / 23) + 2.0 / 21
        series = ((series * z + 2.0 / 19) * z + 2.0 / 17) * z + 2.0 / 15
        series = ((series * z + 2.0 / 13) * z + 2.0 / 11) * z + 2.0 / 9
    series = ((series * z + 2.0 / 7) * z + 2.0 / 5) * z + 2.0 / 3
    high = e_high + 2.0 * q
    low = 2.0 * q_low + q * z * series + e_low + (2.0 * q - (high - e_high))
    top = high + low
    return top, low - (top - high)


@triton.jit
def pow(x, y):
    a = tl.abs(x)
    high, low = log_in_two(a)
    t = y * high
    t_low = tl.fma(y, high, -t) + y * low
    e = exp(t)
    r = tl.where((e < INF) & (e > 0), e + e * t_low, e)
    r = tl.where(a == 0, tl.where(y < 0, INF, 0.0), r)
    r = tl.where(a == INF, tl.where(y < 0, 0.0, INF), r)
    r = tl.where(is_negative(x) & is_odd(y), negative(r), r)
    r = tl.where((x < 0) & (a < INF) & (tl.floor(y) != y), float("nan"), r)
    r = tl.where((a == 1.0) & (tl.abs(y) == INF), 1.0, r)
    r = tl.where((x != x) | (y != y), x + y, r)
    return tl.where((y == 0) | (x == 1.0), 1.0, r)


@triton.jit
def integer_pow(x, y):
    """x^y by squaring, wrapping as integers do; for y < 0 the integer part of 1 / x^-y."""
    r = x * 0 + 1
    b = x
    e = tl.where(y < 0, y * 0, y)
    while tl.max(e) > 0:
        r = tl.where(e % 2 == 1, r * b, r)
        b = b * b
        e = e // 2
    if x.dtype.is_int_signed():
        inverse = tl.where(x == 1, 1, tl.where(x == -1, 1 - 2 * (y & 1), 0))
        r = tl.where(y < 0, inverse.to(x.dtype), r)
    return r


@triton.jit
def sinh(x):
    a = tl.abs(x)
    t = expm1(a)
    h = exp(a * 0.5)
    y = tl.where(a < 30.0, 0.5 * (t + t / (t + 1.0)), (0.5 * h) * h)
    return copysign(y, x)


@triton.jit
def cosh(x):
    h = exp(tl.abs(x) * 0.5)
    return (0.5 * h) * h + 0.5 / (h * h)


@triton.jit
def tanh(x):
    a = tl.abs(x)
    z = a * a
    if x.dtype == tl.float64:
        small = a * polynomial(z, TANH_64, 12)
    else:
        small = a * polynomial(z, TANH_32, 6)
    y = tl.where(a < 0.6, small, 1.0 - 2.0 / (exp(2.0 * a) + 1.0))
    return copysign(y, x)


@triton.jit
def asinh(x):
    a = tl.abs(x)
    z = a * a
    y = log1p(a + z / (1.0 + sqrt(z + 1.0)))
    y = tl.where(a > 1e9, tl.log(a) + LN2, y)
    return copysign(y, x)


@triton.jit
def acosh(x):
    t = x - 1.0
    y = log1p(t + sqrt(2.0 * t + t * t))
    y = tl.where(x > 1e9, tl.log(x) + LN2, y)
    return tl.where(x < 1.0, float("nan"), y)


@triton.jit
def atanh(x):
    a = tl.abs(x)
    return copysign(0.5 * log1p(2.0 * a / (1.0 - a)), x)


@triton.jit
def atan_ratio(y, x):
    """The angle of (x, y) in the first quadrant, x and y not negative."""
    most = tl.maximum(x, y)
    t = divide(tl.minimum(x, y), tl.where(most == 0, 1.0, most))
    t = tl.where((x == INF) & (y == INF), 1.0, t)
    z = t * t
    if x.dtype == tl.float64:
        r = t * polynomial(z, ATAN_64, 22)
        low = 6.123233995736766e-17
    else:
        r = t * polynomial(z, ATAN_32, 10)
        low = -4.3711388e-8
    return tl.where(y > x, (1.5707963267948966 - r) + low, r)


@triton.jit
def atan2(y, x):
    a = atan_ratio(tl.abs(y), tl.abs(x))
    a = tl.where(is_negative(x), PI - a, a)
    return tl.where((x != x) | (y != y), x + y, copysign(a, y))


@triton.jit
def atan(x):
    a = tl.abs(x)
    return tl.where(x != x, x, copysign(atan_ratio(a, tl.zeros_like(a) + 1.0), x))


@triton.jit
def asin(x):
    a = tl.abs(x)
    y = atan_ratio(a, sqrt((1.0 - a) * (1.0 + a)))
    return tl.where(a <= 1.0, copysign(y, x), float("nan"))


@triton.jit
def acos(x):
    y = 2.0 * atan_ratio(sqrt(1.0 - x), sqrt(1.0 + x))
    return tl.where(tl.abs(x) <= 1.0, y, float("nan"))


@triton.jit
def hypot(x, y):
    a = tl.abs(x)
    b = tl.abs(y)
    most = tl.maximum(a, b)
    r = tl.minimum(a, b) / tl.where(most == 0, 1.0, most)
    h = most * sqrt(1.0 + r * r)
    h = tl.where((x != x) | (y != y), x + y, h)
    return tl.where((a == INF) | (b == INF), INF, h)


@triton.jit
def erfc(x):
    a = tl.abs(x)
    s = a * a
    # exp(-a^2), with the rounding of the square put back.
    e = exp(-s)
    e = tl.where(e > 0, e - e * tl.fma(a, a, -s), e)
    c = tl.where(a > 30.0, 30.0, a)
    q = (c - 4.0) / (c + 4.0)
    if x.dtype == tl.float64:
        y = polynomial(q, ERFC_64, 24)
    else:
        y = polynomial(tl.minimum(q, 0.44), ERFC_32, 11)
    y = e * y / (2.0 * c + 1.0)
    y = tl.where(a < 0.5, 1.0 - tl.erf(x), tl.where(x < 0, 2.0 - y, y))
    return tl.where(x != x, x, y)


@triton.jit
def erfinv(x):
    """Source: Giles, "Approximating the erfinv function", GPU Computing Gems, 2010."""
    a = tl.abs(x)
    w = -tl.log((1.0 - a) * (1.0 + a))
    y = a * polynomial(w - 2.5, ERFINV_32, 10)
    if x.dtype == tl.float64:
        y = tl.where(w > 5.0, a * polynomial(tl.sqrt(w) - 4.0, ERFINV_TAIL_64, 11), y)
        for _ in tl.static_range(2):
            # Newton's step; near 1 the residual is exact only through erfc.
            error = tl.where(a < 0.5, tl.erf(y) - a, (1.0 - a) - erfc(y))
            y = y - error * 0.8862269254527580 * exp(y * y)
    else:
        y = tl.where(w > 5.0, a * polynomial(sqrt(w) - 3.2, ERFINV_TAIL_32, 11), y)
    y = tl.where(a == 1.0, INF, tl.where(a < 1.0, y, float("nan")))
    return tl.where(x == 0, x, copysign(y, x))


@triton.jit
def lgamma_near_two(z):
    """lgamma(2 + z) for |z| <= 1/2."""
    if z.dtype == tl.float64:
        return z * polynomial(z, LGAMMA_64, 20)
    else:
        return z * polynomial(z, LGAMMA_32, 9)


@triton.jit
def lgamma_large(x):
    """Stirling's series for x >= 3.5; in float64 x is raised to 10 before."""
    log_product = tl.zeros_like(x)
    if x.dtype == tl.float64:
        product = tl.zeros_like(x) + 1.0
        for _ in tl.static_range(7):
            product = tl.where(x < 10.0, product * x, product)
            x = tl.where(x < 10.0, x + 1.0, x)
        log_product = tl.log(product)
    r = 1.0 / x
    z = r * r
    s = (z * (1.0 / 1188) - 1.0 / 1680) * z + 1.0 / 1260
    if x.dtype == tl.float64:
        s = (-z * (3617.0 / 122400) + 1.0 / 156) * z - 691.0 / 360360
        s = ((s * z + 1.0 / 1188) * z - 1.0 / 1680) * z + 1.0 / 1260
    s = ((s * z - 1.0 / 360) * z + 1.0 / 12) * r
    log_x = tl.log(x)
    y = (x - 0.5) * log_x - x + (0.9189385332046727 + s) - log_product
    return tl.where(x * log_x == INF, INF, y)


@triton.jit
def lgamma_positive(a):
    """log gamma(a) for a > 0."""
    # The argument moves next to 2, where the polynomial holds; what it passes leaves a logarithm.
    center = tl.where(a < 0.5, 0.0, tl.where(a < 1.5, 1.0, tl.where(a < 2.5, 2.0, 3.0)))
    passed = tl.where(a < 0.5, a * (a + 1.0), tl.where(a < 1.5, a, 1.0))
    passed = tl.where((a >= 2.5) & (a < 3.5), 1.0 / (a - 1.0), passed)
    z = tl.where(a < 3.5, a - center, 0.0)
    y = lgamma_near_two(z) - tl.log(tl.where(a < 3.5, passed, 1.0))
    return tl.where(a < 3.5, y, lgamma_large(tl.where(a < 3.5, 10.0, a)))


@triton.jit
def lgamma(x):
    """log |gamma(x)|."""
    a = tl.abs(x)
    y = lgamma_positive(a)
    # gamma(x) gamma(-x) = -pi / (x sin(pi x))
    sine = tl.abs(tl.sin((x - round(x)) * PI))
    y = tl.where(x < 0, -(tl.log(sine * (1.0 / PI)) + tl.log(a)) - y, y)
    return tl.where(x != x, x, tl.where((a == INF) | (a == 0), INF, y))


@triton.jit
def digamma(x):
    """The derivative of lgamma."""
    a = tl.where(x < 0, 1.0 - x, x)
    # Up to 10, where the series holds: the sum of 1 / a passed is kept as a fraction.
    above = tl.zeros_like(x)
    below = tl.zeros_like(x) + 1.0
    for _ in tl.static_range(10):
        above = tl.where(a < 10.0, above * a + below, above)
        below = tl.where(a < 10.0, below * a, below)
        a = tl.where(a < 10.0, a + 1.0, a)
    r = 1.0 / a
    z = r * r
    s = (z * (1.0 / 12) - 691.0 / 32760) * z + 1.0 / 132
    s = (((s * z - 1.0 / 240) * z + 1.0 / 252) * z - 1.0 / 120) * z + 1.0 / 12
    y = tl.log(a) - 0.5 * r - s * z - above / below
    # digamma(1 - x) - digamma(x) = pi cot(pi x)
    part = x - round(x)
    angle = part * PI
    y = tl.where(x < 0, y - PI * tl.cos(angle) / tl.sin(angle), y)
    y = tl.where((x < 0) & (part == 0), float("nan"), y)
    return tl.where(x == 0, copysign(tl.zeros_like(x) + INF, -x), y)
