"""Spectral normalisation by a hook before each forward, as in older programs."""

from __future__ import annotations

from typing import Any

from ...autograd.mode import no_grad
from ...ops.api import FUNCTIONAL, SPACES
from ..conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from ..module import Module
from ..parameter import Parameter, is_lazy

__all__ = ["SpectralNorm", "remove_spectral_norm", "spectral_norm"]

TRANSPOSED = (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)


class SpectralNorm:
    """The hook: divides the weight by its largest singular value, found by power iterations."""

    _version = 1

    def __init__(
        self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        self.name, self.dim = name, dim
        self.n_power_iterations, self.eps = n_power_iterations, eps

    def reshape_weight_to_matrix(self, weight: Any) -> Any:
        """`dim` as rows, all others as columns."""
        if self.dim:
            rest = [d for d in range(weight.ndim) if d != self.dim]
            weight = weight.permute(self.dim, *rest)
        return weight.reshape(weight.shape[0], -1)

    def _unit(self, x: Any) -> Any:
        return FUNCTIONAL["normalize"](x, dim=0, eps=self.eps)

    def compute_weight(self, module: Any, do_power_iteration: bool) -> Any:
        """The weight over its spectral norm, after power iterations in place if asked."""
        weight = getattr(module, f"{self.name}_orig")
        u, v = getattr(module, f"{self.name}_u"), getattr(module, f"{self.name}_v")
        matrix = self.reshape_weight_to_matrix(weight)
        if do_power_iteration:
            with no_grad():
                for _ in range(self.n_power_iterations):
                    v.copy_(self._unit(matrix.t().mv(u)))
                    u.copy_(self._unit(matrix.mv(v)))
            u, v = u.clone(), v.clone()  # a later iteration changes them in place
        return weight / u.dot(matrix.mv(v))

    @staticmethod
    def apply(module: Any, name: str, n_power_iterations: int, dim: int, eps: float) -> Any:
        """Split off `<name>_orig` and the vectors, and register the hooks."""
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm) and hook.name == name:
                raise RuntimeError(
                    f"Cannot register two spectral_norm hooks on the same parameter {name}"
                )
        hook = SpectralNorm(name, n_power_iterations, dim, eps)
        weight = module._parameters[name]
        if weight is None:
            raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
        if is_lazy(weight):
            raise ValueError(
                "The module passed to `SpectralNorm` can't have uninitialized parameters. Make "
                "sure to run the dummy forward before applying spectral normalization"
            )
        matrix = hook.reshape_weight_to_matrix(weight).detach()
        vectors = [hook._unit(matrix.new_empty(n).normal_(0, 1)) for n in matrix.shape]
        del module._parameters[name]
        module.register_parameter(f"{name}_orig", weight)
        setattr(module, name, weight.data)  # a tensor that is no parameter
        module.register_buffer(f"{name}_u", vectors[0])
        module.register_buffer(f"{name}_v", vectors[1])
        module.register_forward_pre_hook(hook)
        module._register_state_dict_hook(_VersionHook(hook))
        module._register_load_state_dict_pre_hook(_LoadHook(hook))
        return hook

    def remove(self, module: Any) -> None:
        """Make the weight a parameter again, of its present value."""
        with no_grad():
            weight = self.compute_weight(module, False)
        delattr(module, self.name)
        for key in ("u", "v"):
            delattr(module, f"{self.name}_{key}")
        delattr(module, f"{self.name}_orig")
        module.register_parameter(self.name, Parameter(weight.detach()))

    def __call__(self, module: Any, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, module.training))


class _VersionHook:
    """Notes in a state_dict's metadata which form of the state it is."""

    def __init__(self, hook: SpectralNorm) -> None:
        self.hook = hook

    def __call__(self, module: Any, state_dict: Any, prefix: str, local_metadata: dict) -> None:
        local_metadata.setdefault("spectral_norm", {})[f"{self.hook.name}.version"] = (
            self.hook._version
        )


class _LoadHook:
    """Finds v for a state that has none, as PyTorch before 1.0 saved it."""

    def __init__(self, hook: SpectralNorm) -> None:
        self.hook = hook

    def __call__(self, state_dict: Any, prefix: str, local_metadata: dict, *_: Any) -> None:
        hook, key = self.hook, f"{prefix}{self.hook.name}"
        if f"{key}_v" in state_dict or not {f"{key}_orig", f"{key}_u"} <= set(state_dict):
            return
        with no_grad():
            matrix = hook.reshape_weight_to_matrix(state_dict[f"{key}_orig"])
            u = state_dict[f"{key}_u"]
            # the v for which u' W v is the saved quotient of both weights
            v = SPACES["linalg"]["multi_dot"](
                [SPACES["linalg"]["pinv"](matrix.t() @ matrix), matrix.t(), u.unsqueeze(1)]
            ).squeeze(1)
            weight = state_dict.pop(key)
            quotient = (state_dict[f"{key}_orig"] / weight).mean()
            state_dict[f"{key}_v"] = v * (quotient / u.dot(matrix.mv(v)))


def spectral_norm(
    module: Any,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Any:
    """Divide a weight by its spectral norm before each forward; `parametrizations.spectral_norm` is
    the newer form.

    Source: Miyato et al., "Spectral normalization for generative adversarial networks", 2018.
    """
    if dim is None:
        dim = int(isinstance(module, TRANSPOSED))
    SpectralNorm.apply(module, name, n_power_iterations, dim, eps)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Undo `spectral_norm`; the weight keeps its value."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            break
    else:
        raise ValueError(f"spectral_norm of '{name}' not found in {module}")
    for hooks, kind in (
        (module._state_dict_hooks, _VersionHook),
        (module._load_state_dict_pre_hooks, _LoadHook),
    ):
        for key, registered in list(hooks.items()):
            own = getattr(registered, "hook", registered)
            if isinstance(own, kind) and own.hook.name == name:
                del hooks[key]
    return module
