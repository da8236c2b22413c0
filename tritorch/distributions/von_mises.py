"""`VonMises`."""

from __future__ import annotations

import math
from typing import Any

import tritorch as torch

from ..tensor import Tensor
from . import constraints
from .distribution import Distribution
from .utils import broadcast_all, lazy_property

__all__ = ["VonMises"]


def _rejection_sample(concentration: Tensor, r: Tensor, x: Tensor) -> Tensor:
    """Angles about 0, in place in `x`: wrapped Cauchy proposals until each is accepted."""
    left = torch.arange(x.numel(), device=x.device)
    flat, k, r = x.view(-1), concentration.reshape(-1), r.reshape(-1)
    while left.numel():
        u1, u2, u3 = torch.rand((3, left.numel()), dtype=x.dtype, device=x.device).unbind()
        z = torch.cos(math.pi * u1)
        f = (1 + r[left] * z) / (r[left] + z)
        c = k[left] * (r[left] - f)
        accepted = (c * (2 - c) - u2 > 0) | ((c / u2).log() + 1 - c >= 0)
        angle = (u3 - 0.5).sign() * f.clamp(-1, 1).acos()
        flat[left[accepted]] = angle[accepted]
        left = left[~accepted]
    return x


class VonMises(Distribution):
    """Angles in [-pi, pi) with density proportional to `exp(concentration cos(x - loc))`.

    Source: Best and Fisher, "Efficient simulation of the von Mises distribution", 1979 (samples).
    """

    arg_constraints: Any = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real  # type: ignore[assignment]
    has_rsample = False

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return self._expanded(VonMises, batch_shape, _instance, loc=0, concentration=0)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        k = self.concentration  # log I0(k) = k + log i0e(k)
        height = k * (torch.cos(value - self.loc) - 1)
        return height - math.log(2 * math.pi) - torch.special.i0e(k).log()

    @lazy_property
    def _proposal_r(self) -> Tensor:
        """The shape of the wrapped Cauchy proposals, in float64."""
        k = self.concentration.double()
        tau = 1 + (1 + 4 * k**2).sqrt()
        rho = (tau - (2 * tau).sqrt()) / (2 * k)
        return torch.where(k < 1e-5, 1 / k + k, (1 + rho**2) / (2 * rho))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Drawn by rejection, computed in float64."""
        shape = self._extended_shape(sample_shape)
        with torch.no_grad():
            x = torch.empty(tuple(shape), dtype=torch.float64, device=self.loc.device)
            k = self.concentration.double()
            _rejection_sample(k.expand(shape), self._proposal_r.expand(shape), x)
            turned = (x + math.pi + self.loc) % (2 * math.pi) - math.pi
            return turned.to(self.loc.dtype)

    @property
    def mean(self) -> Tensor:
        """The circular mean."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @lazy_property
    def variance(self) -> Tensor:  # type: ignore[override]
        """The circular variance, `1 - I1(concentration) / I0(concentration)`."""
        k = self.concentration
        return 1 - torch.special.i1e(k) / torch.special.i0e(k)
