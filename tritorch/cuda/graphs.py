"""CUDA graphs: a step's launches captured once, and replayed with a single call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autograd import engine
from ..autograd.function import Function
from ..autograd.mode import enable_grad, no_grad
from ..dtypes import int64
from ..ops.generator import default as default_generator
from ..runtime.launch import launch
from ..tensor import Tensor
from .streams import Stream, owner_of


def is_current_stream_capturing() -> bool:
    """Whether the work of the calling thread is being noted for a graph."""
    return launch.runtime.capturing()


def graph_pool_handle() -> list:
    """A pool for several graphs that are never replayed at once: they share their memory."""
    return []


class CUDAGraph:
    """Work captured by `torch.cuda.graph`, done again by `replay()`.

    A replay reads and writes the memory that the capture used: change the inputs in place, and
    read results from the tensors that the capture gave. Sizes, branches and Python numbers stay as
    they were; random numbers are new ones each time. A capture may neither read elements (`item`,
    `cpu`) nor copy from the host, and kernels should have run once before, so that they are loaded.

    Example:
        >>> import tritorch as torch
        >>> def repeated(step, x):
        ...     step(x)
        ...     g = torch.cuda.CUDAGraph()
        ...     with torch.cuda.graph(g):
        ...         y = step(x)
        ...     return g, y
    """

    def __init__(self, keep_graph: bool = False) -> None:
        self._capture: Any = None
        self._pool: list = []
        self._blocks = 0

    def capture_begin(
        self, pool: Any = None, capture_error_mode: str = "global", *, stream: Stream | None = None
    ) -> None:
        """Note from now on what the current device is given, instead of doing it."""
        from ..runtime.cuda_graph import Capture

        owner = owner_of("CUDAGraph")
        if self._capture is not None:
            raise RuntimeError("CUDAGraph: this graph was captured already; call reset() first")
        self._pool = pool.pool() if isinstance(pool, CUDAGraph) else [] if pool is None else pool
        capture = Capture(
            owner,
            self._pool[0] if self._pool else None,
            None if stream is None else stream.handle,
        )
        self._pool[:] = [capture.arena]
        self._generator = default_generator(owner.device)
        runtime = launch.runtime
        self._offset = runtime.empty((1,), int64, owner.index)
        runtime.copy_from_host(np.zeros(1, np.int64), self._offset)
        capture.begin()
        self._capture = capture
        self._generator.note(self._offset)

    def capture_end(self) -> None:
        """Stop noting."""
        self._blocks = self._generator.noted()
        self._capture.end()

    def replay(self) -> None:
        """Do the work, in the order of the current stream."""
        if self._capture is None:
            raise RuntimeError("CUDAGraph: replay() needs a graph that was captured")
        if self._blocks:
            _, start = self._generator.take(self._blocks)
            launch.runtime.copy_from_host(np.array([start], np.int64), self._offset)
        self._capture.replay()

    def reset(self) -> None:
        """Forget the work and give its memory back, once no tensor uses it."""
        if self._capture is not None:
            self._capture.close()
        self._capture, self._pool = None, []

    def pool(self) -> list:
        """The memory of this graph, for `pool=` of another."""
        return self._pool


class graph:
    """A block whose work on the current device is captured into `cuda_graph`, and not done yet."""

    def __init__(
        self,
        cuda_graph: CUDAGraph,
        pool: Any = None,
        stream: Stream | None = None,
        capture_error_mode: str = "global",
    ) -> None:
        self.cuda_graph, self.pool, self.stream = cuda_graph, pool, stream

    def __enter__(self) -> None:
        self.cuda_graph.capture_begin(self.pool, stream=self.stream)

    def __exit__(self, *exc: object) -> None:
        try:
            self.cuda_graph.capture_end()
        except RuntimeError:
            self.cuda_graph._capture = None
            if exc[0] is None:
                raise


# -- callables -------------------------------------------------------------------------------------


def make_graphed_callables(
    callables: Any,
    sample_args: Any,
    num_warmup_iters: int = 3,
    allow_unused_input: bool = False,
    pool: Any = None,
) -> Any:
    """Functions or modules of tensors that run as graphs, forward and backward.

    `sample_args` is a tuple of tensors for each of them: later calls need the same shapes, dtypes
    and `requires_grad`. Each result lies in the same memory, which the next call overwrites.
    """
    if not isinstance(callables, tuple):
        return make_graphed_callables(
            (callables,), (sample_args,), num_warmup_iters, allow_unused_input, pool
        )[0]
    # What the backward of one frees must not serve the forward of the next: a pool for each.
    return tuple(
        _graphed(f, tuple(args), num_warmup_iters, allow_unused_input, pool or [])
        for f, args in zip(callables, sample_args, strict=True)
    )


def _graphed(f: Any, args: tuple, warmup: int, unused: bool, pool: Any) -> Callable:
    if not all(isinstance(x, Tensor) and x.is_cuda for x in args):
        raise TypeError("make_graphed_callables: sample_args are tensors on a CUDA device")
    own = tuple(f.parameters()) if hasattr(f, "parameters") else ()
    inputs = tuple(x.detach().requires_grad_(x.requires_grad) for x in args)
    wanted = [x for x in (*inputs, *own) if x.requires_grad]
    for _ in range(max(warmup, 1)):
        _gradients(_flat(f(*inputs)), wanted, None, unused)
    forward, backward = CUDAGraph(), CUDAGraph()
    with graph(forward, pool), enable_grad():
        result = f(*inputs)
    outs = _flat(result)
    given = [o.detach().new_empty(o.shape) for o in outs if o.requires_grad]
    grads: list = []
    if wanted and given:
        with graph(backward, pool):
            grads = _gradients(outs, wanted, given, unused)
    by_input = iter(grads)
    static = [next(by_input) if grads and x.requires_grad else None for x in (*inputs, *own)]

    class Graphed(Function):
        @staticmethod
        def forward(ctx: Any, *xs: Any) -> Any:
            for x, into in zip(xs, inputs, strict=False):
                if x.data_ptr() != into.data_ptr():
                    into.detach().copy_(x)
            forward.replay()
            return tuple(o.detach() for o in outs)

        @staticmethod
        def backward(ctx: Any, *gs: Any) -> Any:
            needed = [g for g, o in zip(gs, outs, strict=True) if o.requires_grad]
            for g, into in zip(needed, given, strict=True):
                into.zero_() if g is None else into.copy_(g)
            backward.replay()
            return tuple(None if g is None else g.detach() for g in static)

    def call(*xs: Tensor) -> Any:
        if [tuple(x.shape) for x in xs] != [tuple(x.shape) for x in inputs]:
            raise ValueError(
                f"make_graphed_callables: captured for shapes {[tuple(x.shape) for x in inputs]}, "
                f"got {[tuple(x.shape) for x in xs]}"
            )
        found = iter(Graphed.apply(*xs, *own))
        return _like(result, found)

    return call


def _flat(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    return [t for part in result for t in _flat(part)]


def _like(result: Any, found: Any) -> Any:
    if isinstance(result, Tensor):
        return next(found)
    return type(result)(_like(part, found) for part in result)


def _gradients(outs: Sequence, wanted: list, given: list | None, unused: bool) -> list:
    outs = [o for o in outs if o.requires_grad]
    if not outs or not wanted:
        return []
    with no_grad():
        ones = [o.detach().new_ones(o.shape) for o in outs] if given is None else given
    return list(engine.grad(outs, wanted, ones, allow_unused=unused))
