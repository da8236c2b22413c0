"""The tape: modes, engine, hooks, custom functions, versions, and what must be refused."""

from __future__ import annotations

import gc
import inspect
import tracemalloc
import weakref
from collections.abc import Callable

import numpy as np
import pytest

import tritorch as torch
from tritorch.autograd import Function, grad, gradcheck, gradgradcheck


def leaf(*values: float) -> torch.Tensor:
    return torch.tensor(list(values), dtype=torch.float64, requires_grad=True)


def test_gradients_accumulate_in_place() -> None:
    x = leaf(1, 2)
    (x * x).sum().backward()
    first = x.grad
    (x * 3).sum().backward()
    assert x.grad is first
    assert x.grad.tolist() == [5, 7]


def test_first_gradients_of_two_leaves_do_not_share_memory() -> None:
    x, y = leaf(1, 2), leaf(3, 4)
    (x + y).sum().backward()
    x.grad.zero_()
    assert y.grad.tolist() == [1, 1]


def test_a_chain_of_200_000_operators_runs_backward() -> None:
    x = leaf(1)
    y = x
    for _ in range(200_000):
        y = y + 1
    y.sum().backward()
    assert x.grad.tolist() == [1]


def test_a_dropped_tape_holds_no_memory() -> None:
    x = torch.ones(4, requires_grad=True)

    def run(n: int) -> None:
        y = x
        for _ in range(n):
            y = (y * 1.0).exp().log()

    gc.disable()
    try:
        tracemalloc.start()
        run(1000)  # fills Python's free lists
        before = tracemalloc.get_traced_memory()[0]
        run(33_334)  # three operators each: no cycle may keep them
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        gc.enable()
    assert after - before < 20_000


def test_create_graph_gives_higher_derivatives() -> None:
    x = leaf(2)
    y = x**4
    for expected in (32, 48, 48, 24):
        (y,) = grad(y.sum(), x, create_graph=True)
        assert y.item() == pytest.approx(expected)


def test_second_backward_needs_retain_graph() -> None:
    x = leaf(1, 2)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="mul: Trying to backward through the graph a second"):
        y.backward()


def test_unused_input() -> None:
    x, y = leaf(1), leaf(2)
    with pytest.raises(RuntimeError, match="appears to not have been used"):
        grad((x * 2).sum(), [x, y])
    assert grad((x * 2).sum(), [x, y], allow_unused=True)[1] is None
    assert grad((x * 2).sum(), [x, y], materialize_grads=True)[1].tolist() == [0]


def test_gradient_of_an_intermediate_stops_there() -> None:
    x = leaf(3)
    y = x * x
    (g,) = grad((y * y).sum(), y)
    assert g.item() == 18 and x.grad is None


def test_backward_with_inputs_leaves_the_others_alone() -> None:
    x, y = leaf(1), leaf(2)
    (x * y).sum().backward(inputs=[x])
    assert x.grad.item() == 2 and y.grad is None


@pytest.mark.parametrize(
    ("enter", "recorded"),
    [(torch.no_grad, False), (torch.enable_grad, True), (torch.inference_mode, False)],
)
def test_modes(enter: type, recorded: bool) -> None:
    x = leaf(1)
    with enter():
        assert (x * 2).requires_grad is recorded

    @enter()
    def decorated() -> torch.Tensor:
        return x * 2

    assert decorated().requires_grad is recorded
    assert torch.is_grad_enabled()


def test_set_grad_enabled_acts_at_once_and_in_a_block() -> None:
    torch.set_grad_enabled(False)
    assert not torch.is_grad_enabled()
    torch.set_grad_enabled(True)
    with torch.set_grad_enabled(False):
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()


def test_no_grad_generator_does_not_leak() -> None:
    @torch.no_grad()
    def numbers():
        yield torch.is_grad_enabled()
        yield torch.is_grad_enabled()

    steps = numbers()
    assert next(steps) is False
    assert torch.is_grad_enabled()
    assert next(steps) is False


def test_inference_tensors_are_marked() -> None:
    with torch.inference_mode():
        x = torch.ones(2)
        y = x * 2
    assert x.is_inference() and y.is_inference()
    assert not torch.ones(2).is_inference()
    with pytest.raises(RuntimeError, match="inference"):
        y.requires_grad_()


def test_inference_tensors_take_no_part_outside() -> None:
    normal = torch.ones(2)
    with torch.inference_mode():
        x = torch.ones(2)
        x.add_(1)
        view = normal[:1]
    with pytest.raises(RuntimeError, match="add_: Inplace update to inference tensor"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="mul: Inference tensors cannot be saved"):
        x * leaf(1, 2)
    assert x.tolist() == [2, 2]
    assert (x + leaf(1, 2)).requires_grad  # saves nothing
    x.clone().add_(1)
    view.add_(1)  # of a normal tensor, and so one itself
    assert not view.is_inference() and normal.tolist() == [2, 1]


def test_detach_shares_memory_and_versions() -> None:
    x = leaf(1, 2) * 1
    d = x.detach()
    d.zero_()
    assert x.tolist() == [0, 0] and not d.requires_grad and x._version == 1


def test_tensor_hooks_replace_gradients_in_order() -> None:
    x = leaf(1)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(g.item()))
    handle = y.register_hook(lambda g: g * 10)
    (y * 3).sum().backward()
    assert seen == [3] and x.grad.item() == 60
    handle.remove()
    x.grad = None
    (x * 2).register_hook(lambda g: None)


def test_leaf_and_post_accumulate_hooks() -> None:
    x = leaf(1)
    x.register_hook(lambda g: g * 2)
    seen = []
    x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.item()))
    (x * 3).sum().backward()
    assert x.grad.item() == 6 and seen == [6]


def test_retain_grad_keeps_the_gradient_of_an_intermediate() -> None:
    x = leaf(2)
    y = x * x
    y.retain_grad()
    (y * 3).sum().backward()
    assert y.grad.item() == 3


def test_node_hooks() -> None:
    x = leaf(2)
    y = x * 5
    seen = []
    y.grad_fn.register_hook(
        lambda inputs, outputs: seen.append((inputs[0].item(), outputs[0].item()))
    )
    y.sum().backward()
    assert seen == [(5, 1)]


# -- functions of the user's own ----------------------------------------------------------------


class Cube(Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x)
        ctx.scale = scale
        return x**3 * scale

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        assert ctx.needs_input_grad == (True, False)
        return g * 3 * x * x * ctx.scale, None


def test_function() -> None:
    x = leaf(0.5, 1.5)
    assert gradcheck(lambda t: Cube.apply(t, 2.0), (x,))
    assert gradgradcheck(lambda t: Cube.apply(t, 2.0), (x,))
    node = Cube.apply(x, 1.0).grad_fn
    assert node.name == node.name() == "CubeBackward"


def test_function_with_setup_context_and_two_results() -> None:
    class Both(Function):
        @staticmethod
        def forward(x):
            return x * 2, x * 3

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.shape = inputs[0].shape

        @staticmethod
        def backward(ctx, a, b):
            return a * 2 + b * 3

    x = leaf(1)
    both = Both.apply(x)
    both[0].sum().backward()  # the other gradient arrives as zeros
    assert x.grad.item() == 2


def test_function_must_return_a_gradient_an_argument() -> None:
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            return g

    with pytest.raises(RuntimeError, match="incorrect number of gradients"):
        Wrong.apply(leaf(1), leaf(2)).sum().backward()


def test_function_checks_saved_tensors() -> None:
    x = leaf(1) * 1
    y = Cube.apply(x, 1.0)
    x.add_(1)
    with pytest.raises(RuntimeError, match="Cube: one of the variables needed"):
        y.sum().backward()


# -- in place -----------------------------------------------------------------------------------


def test_error_after_a_change_in_place_names_operator_file_and_line() -> None:
    x = leaf(1, 2) * 1
    y = x.sin()
    line = inspect.currentframe().f_lineno + 1
    x.mul_(2)
    with pytest.raises(RuntimeError) as raised:
        y.sum().backward()
    message = str(raised.value)
    assert message.startswith("sin:") and "mul_ changed it" in message
    assert f'File "{__file__}", line {line}' in message


def test_in_place_on_slices_of_views() -> None:
    x = leaf(1, 2, 3, 4)
    y = x * 1
    y.view(2, 2)[0].mul_(10)
    y[1:3] += 5
    y[0] = 7.0
    assert y.tolist() == [7, 25, 8, 4]
    (y * torch.tensor([1.0, 2, 3, 4], dtype=torch.float64)).sum().backward()
    assert x.grad.tolist() == [0, 20, 3, 4]


def test_a_view_taken_before_sees_the_change_and_its_history() -> None:
    x = leaf(1, 2)
    y = x * 1
    first = y[0]
    y.mul_(3)
    assert first.grad_fn is not None and first.item() == 3
    first.backward()
    assert x.grad.tolist() == [3, 0]


def test_writing_a_recorded_value_into_a_plain_tensor() -> None:
    x = leaf(2)
    y = torch.zeros(3, dtype=torch.float64)
    y[1] = x[0] * 5
    assert y.requires_grad
    (y * y).sum().backward()
    assert x.grad.item() == 100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.add_(1), "leaf Variable that requires grad"),
        (lambda x: x.view(-1).add_(1), "view of a leaf Variable"),
        (lambda x: x.__setitem__(0, 1.0), "view of a leaf Variable"),
        (lambda x: (x * 1).unbind(0)[0].add_(1), "returns multiple views"),
        (lambda x: (x * 1).unsqueeze(0).expand(2, 2).add_(1), "single memory location"),
        (lambda x: (x * 1)[1:].add_(torch.ones(3)), "doesn't match the broadcast shape"),
        (lambda x: torch.ones(2, dtype=torch.int64).add_(x), "can't be cast"),
    ],
)
def test_refused_in_place(change: object, message: str) -> None:
    x = leaf(1, 2)
    with pytest.raises(RuntimeError, match=message):
        change(x)  # type: ignore[operator]
    assert x.tolist() == [1, 2]


def test_a_view_of_no_grad_may_not_be_changed_outside() -> None:
    x = leaf(1, 2) * 1
    with torch.no_grad():
        v = x[0]
    with pytest.raises(RuntimeError, match="no_grad mode"):
        v.add_(1)


def test_overlapping_reads_and_writes_are_refused() -> None:
    x = torch.zeros(4)
    with pytest.raises(RuntimeError, match="single memory location"):
        x[1:].add_(x[:-1])


def test_in_place_and_views_allocate_no_second_tensor() -> None:
    x = torch.ones(1 << 20)
    y = torch.ones(1 << 20)
    tracemalloc.start()
    x.add_(y).mul_(2.0).sub_(1.0).exp_()
    x[::2].neg_()
    torch.add(x, y, out=x)
    _ = x.view(1024, 1024).t()[3:5]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: torch.ones(2).sum().backward(), RuntimeError, "does not require grad"),
        (lambda: leaf(1, 2).exp().backward(), RuntimeError, "only for scalar outputs"),
        (lambda: torch.ones(2, dtype=torch.int64).requires_grad_(), RuntimeError, "floating point"),
        (lambda: (leaf(1) * 2).requires_grad_(False), RuntimeError, "leaf variables"),
        (lambda: leaf(1).numpy(), RuntimeError, "requires grad"),
        (lambda: (leaf(1) * 2)[0:1].detach_(), RuntimeError, "detach views"),
        (lambda: leaf(1, 2).exp().backward(torch.ones(3)), RuntimeError, "Mismatch in shape"),
        (lambda: setattr(leaf(1), "grad", torch.ones(2)), RuntimeError, "assign a gradient"),
    ],
)
def test_refused(call: object, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        call()  # type: ignore[operator]


def test_gradcheck_finds_a_wrong_derivative() -> None:
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 3

    with pytest.raises(torch.autograd.GradcheckError, match="Jacobian mismatch"):
        gradcheck(Wrong.apply, (leaf(1, 2),))


def test_complex_gradients_follow_pytorch() -> None:
    z = torch.tensor([1 + 2j, -0.5 + 1j], dtype=torch.complex128, requires_grad=True)
    assert gradcheck(lambda z: z * z * (1 + 1j), (z,))
    (z * z.conj()).real.sum().backward()
    assert np.allclose(z.grad.numpy(), 2 * z.detach().numpy())


def test_retain_grad_follows_a_change_in_place() -> None:
    x = leaf(1, 2)
    y = x * 2
    y.retain_grad()
    y.mul_(3)
    (y * torch.tensor([5.0, 7.0])).sum().backward()
    assert (y.grad.tolist(), x.grad.tolist()) == ([5, 7], [30, 42])
    z = x * 2
    z.retain_grad()
    z[0].mul_(3)
    z.sum().backward()
    assert (z.grad.tolist(), z.retains_grad, x.retains_grad) == ([1, 1], True, False)


class Doubled(Function):
    """Saves its input and its result, and has results that are no tensors."""

    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> tuple:
        y = x * 2
        ctx.save_for_backward(x, y)
        return None, y, "text"

    @staticmethod
    def backward(ctx: object, none: None, g: torch.Tensor, text: None) -> torch.Tensor:
        assert none is None and text is None
        assert len(ctx.saved_tensors) == 2
        return g * 2


def test_function_with_results_that_are_no_tensors() -> None:
    x = leaf(1, 2)
    Doubled.apply(x)[1].sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_hooks_and_functions_make_no_cycles() -> None:
    def retained() -> torch.Tensor:
        y = leaf(1) * 2
        y.retain_grad()
        return y

    def hooked() -> torch.Tensor:
        x = leaf(1)
        x.register_post_accumulate_grad_hook(lambda p: None)
        return x

    gc.collect()
    gc.disable()
    try:
        for make in (retained, hooked, lambda: Doubled.apply(leaf(1))[1]):
            made = make()
            made.backward()
            gone = weakref.ref(made)
            del made
            assert gone() is None
    finally:
        gc.enable()


def test_an_input_returned_by_a_function_may_not_be_changed_in_place() -> None:
    class Same(Function):
        @staticmethod
        def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
            return x

        @staticmethod
        def backward(ctx: object, g: torch.Tensor) -> torch.Tensor:
            return g * 5

    x = leaf(1, 2)
    y = x * 1
    Same.apply(y).sum().backward()
    assert x.grad.tolist() == [5, 5]
    with pytest.raises(RuntimeError, match="custom Function"):
        Same.apply(x * 1).mul_(2)


def test_backward_with_inputs_reaches_intermediates() -> None:
    x = leaf(1, 2)
    y = x * 2
    (y * y).sum().backward(inputs=[y])
    assert y.grad.tolist() == [4, 8]
    assert x.grad is None


def test_a_dtype_view_has_no_history() -> None:
    x = leaf(1, 2)
    y = x * 1
    bits = y.view(torch.int64)
    assert not bits.requires_grad
    bits[0] = 0
    y.sum().backward()
    assert (y.tolist(), x.grad.tolist()) == ([0, 2], [1, 1])


def test_a_view_that_is_a_leaf_is_not_changed_in_place() -> None:
    view = torch.ones(3)[0].requires_grad_()
    with pytest.raises(RuntimeError, match="view of a leaf"):
        view.mul_(2)


def test_a_resized_output_leaves_other_views_alone() -> None:
    base = torch.zeros(6)
    out = base[:0]
    torch.add(torch.ones(3), 1, out=out)
    assert (out.tolist(), base[1:].storage_offset()) == ([2, 2, 2], 1)


def test_meta_tensors_in_place() -> None:
    x = torch.ones(2, device="meta")
    x.add_(1).mul_(x)
    x[0] = 2
    assert x.shape == (2,)
    with pytest.raises(NotImplementedError, match="no data"):
        x.tolist()


def _assign(name: str, value: object) -> object:
    return lambda: setattr(torch.ones(2, requires_grad=True), name, value)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (_assign("data", None), TypeError),
        (_assign("data", torch.ones(2, dtype=torch.int64)), RuntimeError),
        (lambda: grad(leaf(1), "x"), TypeError),
        (lambda: grad(leaf(1), []), RuntimeError),
        (lambda: grad([leaf(1), leaf(2)], leaf(1), [torch.ones(1)]), RuntimeError),
        (lambda: torch.autograd.backward([None]), TypeError),
        (
            lambda: torch.ones((), dtype=torch.complex64, requires_grad=True).backward(),
            RuntimeError,
        ),
        (lambda: torch.reshape("x", 1), TypeError),
        (lambda: torch.view_as_real(None), TypeError),
        (lambda: torch.zeros_like([1]), TypeError),
        (lambda: torch.where([True], 1, 2), TypeError),
        (lambda: torch.ones(2).fill_(None), TypeError),
    ],
)
def test_wrong_arguments(call: object, error: type) -> None:
    with pytest.raises(error):
        call()


@pytest.mark.parametrize(("result", "error"), [("x", TypeError), (torch.ones(5), RuntimeError)])
def test_a_hook_must_return_a_fitting_gradient(result: object, error: type) -> None:
    x = torch.ones(2, requires_grad=True)
    x.register_hook(lambda g: result)
    with pytest.raises(error, match="hook"):
        (x * 2).sum().backward()


def test_inputs_of_grad_may_be_any_iterable() -> None:
    a, b = (torch.ones(2, requires_grad=True) for _ in range(2))
    for inputs in ({"a": a, "b": b}.values(), iter([a, b]), (x for x in (a, b))):
        ga, gb = torch.autograd.grad((a * 2 + b * 3).sum(), inputs)
        assert ga.tolist() == [2, 2] and gb.tolist() == [3, 3]


def test_a_view_of_what_needs_no_gradient_is_multiplied_by_what_does() -> None:
    y = torch.tensor([2.0, 3.0], requires_grad=True)
    x = torch.ones(2, 2)
    x[0].mul_(y)
    (x * x).sum().backward()
    assert x.tolist() == [[2.0, 3.0], [1.0, 1.0]] and y.grad.tolist() == [4.0, 6.0]


def test_the_gradient_of_a_base_has_its_layout() -> None:
    x = torch.arange(8.0).reshape(2, 2, 2).requires_grad_()
    base = x * 1
    base.view(-1)[2:].mul_(2)
    g = torch.arange(8.0).reshape(2, 2, 2).transpose(0, 2)
    base.backward(g)
    factors = torch.tensor([1.0, 1, 2, 2, 2, 2, 2, 2]).reshape(2, 2, 2)
    assert torch.equal(x.grad, g * factors)


def test_one_value_may_go_to_shared_memory() -> None:
    x = torch.zeros(3).expand(2, 3)
    assert x.index_fill_(1, torch.tensor([1]), 5.0).tolist() == [[0.0, 5.0, 0.0]] * 2
    assert x.copy_(x).tolist() == [[0.0, 5.0, 0.0]] * 2
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        x.copy_(torch.ones(2, 3))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: torch.nn.functional.max_pool1d(x, 2),
        lambda x: torch.nn.functional.max_pool2d(x, 2),
        lambda x: torch.nn.functional.max_pool3d(x[None], (1, 2, 2)),
        lambda x: x.tensor_split(2)[1],
        lambda x: x.tensor_split([1, 2])[0],
        lambda x: x.repeat_interleave(3, 1),
    ],
    ids=["max_pool1d", "max_pool2d", "max_pool3d", "tensor_split", "cut at indices", "repeated"],
)
def test_results_that_may_be_changed_in_place(f: Callable) -> None:
    """As `nn.Sequential(Conv2d, MaxPool2d, ReLU(inplace=True))` does."""
    data = np.random.default_rng(0).standard_normal((4, 4, 4))
    grads = []
    for change in (lambda y: y.mul_(3.0).relu_(), lambda y: (y * 3.0).relu()):
        x = torch.tensor(data, requires_grad=True)
        (change(f(x * 1)) ** 2).sum().backward()
        grads.append(x.grad.numpy())
    assert np.array_equal(*grads) and grads[0].any()


def test_names_of_nodes() -> None:
    a, b = (torch.ones(3, 4, requires_grad=True) for _ in range(2))
    names = {
        "AddBackward0": a + b,
        "RsubBackward1": 1 - a,
        "MulBackward0": a * b,
        "PowBackward0": a**2,
        "PowBackward1": a**b,
        "SumBackward0": a.sum(),
        "SumBackward1": a.sum(1),
        "MmBackward0": a @ b.T,
        "AddmmBackward0": torch.nn.Linear(4, 2)(a),
        "SelectBackward0": a[0],
        "SliceBackward0": a[:2],
        "UnsqueezeBackward0": a[None],
        "ToCopyBackward0": a.double(),
        "CloneBackward0": a.clone(),
        "Log1PBackward0": a.log1p(),
        "NllLossBackward0": torch.nn.functional.cross_entropy(a, torch.tensor([0, 1, 2])),
    }
    for name, t in names.items():
        assert type(t.grad_fn).__name__ == t.grad_fn.name() == name
        assert f"<{name} object" in repr(t.grad_fn)
    x = (a + b).relu()
    assert type(x.grad_fn.next_functions[0][0]).__name__ == "AddBackward0"
    assert x.grad_fn is x.grad_fn


def test_nodes_show_what_they_keep() -> None:
    a = torch.tensor([1.0, 2.0], requires_grad=True)
    b = torch.tensor([3.0, 5.0], requires_grad=True)
    y = a.exp()
    assert y.grad_fn._saved_result.equal(y) and y.grad_fn._saved_result.grad_fn is y.grad_fn
    assert not hasattr(y.grad_fn, "_saved_self") and not hasattr(y.grad_fn, "saved_tensors")
    product = a * b
    assert product.grad_fn._saved_self is a and product.grad_fn._saved_other is b
    assert not hasattr((a + b).grad_fn, "_saved_self")
    with torch.autograd.graph.saved_tensors_hooks(lambda x: x.numpy(), torch.from_numpy):
        packed = a * b
    assert packed.grad_fn._saved_other.tolist() == [3.0, 5.0]
    product.sum().backward()
    with pytest.raises(RuntimeError, match="already been freed"):
        _ = product.grad_fn._saved_self


def test_a_node_that_was_looked_at_still_changes_in_place() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x * 2
    row = y[:2]
    row.mul_(3)
    assert row.grad_fn is not None
    row.mul_(5)
    y.sum().backward()
    assert x.grad.tolist() == [30, 30, 2]
