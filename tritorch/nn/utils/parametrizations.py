"""Parametrizations of weights: orthogonal, of spectral norm one, direction and length apart."""

from __future__ import annotations

from typing import Any

from ... import dtypes
from ...autograd.mode import no_grad
from ...ops import create, join
from ...ops.api import FUNCTIONAL, PUBLIC, SPACES
from ...tensor import Tensor
from ..module import Module
from .parametrize import register_parametrization
from .spectral_norm import TRANSPOSED

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]

MAPS = ("matrix_exp", "cayley", "householder")


def _weight(module: Module, name: str) -> Any:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


def _diagonal(x: Any) -> Any:
    return x.diagonal(dim1=-2, dim2=-1)


# -- orthogonal -----------------------------------------------------------------------------------


def _is_orthogonal(q: Any) -> bool:
    n, k = q.shape[-2:]
    gap = (q.mH @ q - create.eye(k, dtype=q.dtype, device=q.device)).abs()
    return not gap.numel() or bool(gap.max() <= 10 * n * dtypes.finfo(q.dtype).eps + 1e-5)


def _orthogonalized(a: Any) -> Any:
    """The orthogonal factor of QR, with the signs that make it unique."""
    x, tau = PUBLIC["geqrf"](a)
    q = SPACES["linalg"]["householder_product"](x, tau)
    return q * _diagonal(x).sgn().unsqueeze(-2)


class _Orthogonal(Module):
    """A matrix (N, K) with orthogonal columns, or rows where N < K, from one without conditions."""

    base: Any

    def __init__(
        self, weight: Any, orthogonal_map: str, *, use_trivialization: bool = True
    ) -> None:
        super().__init__()
        if weight.dtype.is_complex and orthogonal_map == "householder":
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape, self.orthogonal_map = weight.shape, orthogonal_map
        self.use_trivialization = use_trivialization
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Any) -> Any:
        """`exp(A)`, `(1 + A / 2) (1 - A / 2)^-1`, or a product of reflections; times `base`."""
        wide = X.shape[-2] < X.shape[-1]
        x = X.mT if wide else X
        q = self._reflected(x) if self.orthogonal_map == "householder" else self._mapped(x)
        if self.use_trivialization:
            q = self.base @ q
        return q.mT if wide else q

    def _mapped(self, x: Any) -> Any:
        n, k = x.shape[-2:]
        x = x.tril()
        if n != k:
            x = join.cat([x, x.new_zeros((*x.shape[:-1], n - k))], dim=-1)
        a = x - x.mH
        if self.orthogonal_map == "matrix_exp":
            q = PUBLIC["matrix_exp"](a)
        else:
            one = create.eye(n, dtype=a.dtype, device=a.device)
            q = SPACES["linalg"]["solve"](one - a / 2, one + a / 2)
        return q[..., :k] if n != k else q

    def _reflected(self, x: Any) -> Any:
        a = x.tril(diagonal=-1)
        tau = 2.0 / (1.0 + (a * a).sum(dim=-2))
        q = SPACES["linalg"]["householder_product"](a, tau)
        # the diagonal holds signs: as integers they get no gradient, and stay as they are
        return q * _diagonal(x).int().unsqueeze(-2)

    @no_grad()
    def right_inverse(self, Q: Any) -> Any:
        """What is mapped to Q, or to the nearest that is orthogonal."""
        if Q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of "
                f"shape {Q.shape}."
            )
        wide = Q.shape[-2] < Q.shape[-1]
        q = Q.mT if wide else Q
        if not self.use_trivialization:
            return self._reflections(q, wide)
        n, k = q.shape[-2:]
        if n != k:
            more = PUBLIC["randn"](*q.shape[:-1], n - k, dtype=q.dtype, device=q.device)
            self.base = _orthogonalized(join.cat([q, more], dim=-1))
        else:
            self.base = q.clone() if _is_orthogonal(q) else _orthogonalized(q)
        start = create.zeros_like(Q)
        _diagonal(start).fill_(-1.0)
        return start

    def _reflections(self, q: Any, wide: bool) -> Any:
        if self.orthogonal_map != "householder":
            raise NotImplementedError(
                "It is not possible to assign to the matrix exponential or the Cayley "
                "parametrizations when use_trivialization=False."
            )
        a, tau = PUBLIC["geqrf"](q)
        signs = _diagonal(a).sign()
        _diagonal(a).copy_(signs * (1 - 2 * (tau == 0).to(a.dtype)))
        return a.mT if wide else a


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """Make a weight (..., N, K) orthogonal: `Q^H Q = 1`, or `Q Q^H = 1` where N < K.

    `orthogonal_map` is "matrix_exp" (the default for square and complex matrices), "cayley" or
    "householder". With `use_trivialization` the map is taken around the present value, which makes
    training easier and lets the weight be assigned.
    Source: Lezcano Casado and Martínez-Rubio, "Cheap orthogonal constraints in neural networks",
    2019.

    Example:
        >>> import tritorch as torch
        >>> layer = torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(4, 2))
        >>> gap = layer.weight @ layer.weight.t() - torch.eye(2)
        >>> bool(gap.abs().max() < 1e-5)
        True
    """
    weight = _weight(module, name)
    if weight.ndim < 2:
        raise ValueError(
            f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions."
        )
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1] or weight.dtype.is_complex
        orthogonal_map = "matrix_exp" if square else "householder"
    if orthogonal_map not in MAPS:
        raise ValueError(
            'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: '
            f"{orthogonal_map}"
        )
    made = _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)


# -- direction and length -------------------------------------------------------------------------


class _WeightNorm(Module):
    """`g * v / |v|` from the lengths g and the directions v."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Any, weight_v: Any) -> Any:
        """The weight."""
        return PUBLIC["_weight_norm"](weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Any) -> tuple[Any, Any]:
        """The lengths and directions of a weight."""
        return PUBLIC["norm_except_dim"](weight, 2, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int = 0) -> Module:
    """Split a weight into its lengths along all dimensions but `dim`, and its directions.

    They are `parametrizations.<name>.original0` and `original1`; a `state_dict` of the older
    `nn.utils.weight_norm` can be loaded. Source: Salimans and Kingma, "Weight normalization", 2016.
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def renamed(state_dict: dict, prefix: str, *_: Any) -> None:
        for old, new in (("g", 0), ("v", 1)):
            key = f"{prefix}{name}_{old}"
            if key in state_dict:
                state_dict[f"{prefix}parametrizations.{name}.original{new}"] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(renamed)
    return module


# -- spectral norm --------------------------------------------------------------------------------


class _SpectralNorm(Module):
    """A weight divided by its largest singular value, which power iterations follow."""

    _u: Any
    _v: Any

    def __init__(
        self, weight: Any, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        super().__init__()
        n = weight.ndim
        if not -n <= dim < n:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [-{n}, {n - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        self.dim, self.eps = dim % n, eps
        self.n_power_iterations = n_power_iterations
        if n > 1:
            matrix = self._matrix(weight)
            for key, size in (("_u", matrix.shape[0]), ("_v", matrix.shape[1])):
                start = matrix.detach().new_empty(size).normal_(0, 1)
                self.register_buffer(key, self._unit(start))
            self._iterate(matrix, 15)

    def _unit(self, x: Any) -> Any:
        return FUNCTIONAL["normalize"](x, dim=0, eps=self.eps)

    def _matrix(self, weight: Any) -> Any:
        if self.dim:
            rest = [d for d in range(weight.ndim) if d != self.dim]
            weight = weight.permute(self.dim, *rest)
        return weight.flatten(1)

    @no_grad()
    def _iterate(self, matrix: Any, times: int) -> None:
        for _ in range(times):
            self._u.copy_(self._unit(matrix.mv(self._v)))
            self._v.copy_(self._unit(matrix.mH.mv(self._u)))

    def forward(self, weight: Any) -> Any:
        """The weight over its spectral norm; in training after one more power iteration."""
        if weight.ndim == 1:
            return self._unit(weight)
        matrix = self._matrix(weight)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()  # a later iteration changes them in place
        return weight / u.vdot(matrix.mv(v))

    def right_inverse(self, value: Any) -> Any:
        """The weight itself: it may well have norm one already."""
        return value


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divide a weight by its spectral norm, that of the matrix with `dim` as its rows.

    `dim` is 1 for transposed convolutions, else 0. Source: Miyato et al., "Spectral normalization
    for generative adversarial networks", 2018.
    """
    weight = _weight(module, name)
    if dim is None:
        dim = int(isinstance(module, TRANSPOSED))
    made = _SpectralNorm(weight, n_power_iterations, dim, eps)
    return register_parametrization(module, name, made)
