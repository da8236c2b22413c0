"""Derivatives as research code takes them."""

import contextlib
import copy
import importlib
import warnings

import numpy as np
from common import data, fill, program


@program
def custom_functions(torch):
    """Own derivatives: a linear layer with setup_context, reversed gradients, a cube with forward mode, a mask without gradient."""

    class LinearFn(torch.autograd.Function):
        @staticmethod
        def forward(input, weight, bias):
            out = input.mm(weight.t())
            if bias is not None:
                out += bias.unsqueeze(0).expand_as(out)
            return out

        @staticmethod
        def setup_context(ctx, inputs, output):
            input, weight, bias = inputs
            ctx.save_for_backward(input, weight, bias)

        @staticmethod
        def backward(ctx, grad_output):
            input, weight, bias = ctx.saved_tensors
            gi = gw = gb = None
            if ctx.needs_input_grad[0]:
                gi = grad_output.mm(weight)
            if ctx.needs_input_grad[1]:
                gw = grad_output.t().mm(input)
            if bias is not None and ctx.needs_input_grad[2]:
                gb = grad_output.sum(0)
            return gi, gw, gb

    class GradReverse(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, lam):
            ctx.lam = lam
            return x.view_as(x)

        @staticmethod
        def backward(ctx, g):
            return g.neg() * ctx.lam, None

    class Cube(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x):
            return x**3

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(inputs[0])
            ctx.save_for_forward(inputs[0])

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 3 * x**2

        @staticmethod
        def jvp(ctx, t):
            (x,) = ctx.saved_tensors
            return 3 * x**2 * t

    class MyClamp(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, lo, hi):
            ctx.set_materialize_grads(False)
            m = (x >= lo) & (x <= hi)
            ctx.mark_non_differentiable(m)
            ctx.save_for_backward(m)
            return x.clamp(lo, hi), m

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g, gm):
            assert gm is None or gm.dtype == torch.bool
            (m,) = ctx.saved_tensors
            return g * m, None, None

    x = data(torch, 4, 3, dtype=np.float64).requires_grad_()
    w = data(torch, 2, 3, seed=2, dtype=np.float64).requires_grad_()
    b = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    ok = torch.autograd.gradcheck(LinearFn.apply, (x, w, b), eps=1e-6, atol=1e-4)
    ok2 = torch.autograd.gradcheck(LinearFn.apply, (x, w, None))
    y = LinearFn.apply(x, w, b)
    (GradReverse.apply(y, 0.3) ** 2).sum().backward()
    j = torch.func.jacrev(Cube.apply)(x.detach()[0])
    jf = torch.func.vmap(torch.func.grad(lambda t: Cube.apply(t).sum()))(x.detach())
    jv = torch.func.jvp(Cube.apply, (x.detach(),), (torch.ones_like(x),))[1]
    c, m = MyClamp.apply(x, -0.5, 0.5)
    c.sum().backward()
    return [
        ok,
        ok2,
        y,
        x.grad,
        w.grad,
        b.grad,
        j,
        jf,
        jv,
        m.float(),
        y.grad_fn.name(),
        repr(y.grad_fn).split(" ")[0],
    ]


@program
def jacobians(torch):
    """Jacobians, Hessians and their products, by autograd.functional and by func."""
    A, F = torch.autograd.functional, torch.func
    f = lambda x: torch.stack([x[0] * x[1], x.sin().sum(), (x**3).prod()])
    s = lambda x: (x.exp() * x.flip(0)).sum()
    x, v = data(torch, 3, dtype=np.float64), data(torch, 3, seed=3, dtype=np.float64)
    return [
        A.jacobian(f, x),
        A.jacobian(f, x, vectorize=True, strategy="forward-mode"),
        A.hessian(s, x),
        A.vjp(f, x, v),
        A.jvp(f, x, v),
        A.hvp(s, x, v),
        A.vhp(s, x, v),
        F.jacrev(f)(x),
        F.jacfwd(f)(x),
        F.hessian(s)(x),
        A.jacobian(lambda a, b: a * b.sum(), (x, v)),
        A.hessian(lambda a, b: (a * b).prod(), (x, v)),
        F.jacrev(lambda a, b: (a * b, {"s": a.sum()}), argnums=(0, 1))(x, v),
        torch.autograd.grad(s(x.requires_grad_()), x, create_graph=True)[0].detach(),
        F.jacrev(f, has_aux=False, chunk_size=1)(x.detach()),
    ]


@program
def forward_mode(torch):
    """Dual numbers through functions, a module and a normalisation."""
    fwAD = torch.autograd.forward_ad
    x, t = data(torch, 3), data(torch, 3, seed=2)
    out = []
    with fwAD.dual_level():
        d = fwAD.make_dual(x, t)
        y = (d.sin() * d).sum() + torch.logsumexp(d, 0)
        p = fwAD.unpack_dual(y)
        out += [p.primal, p.tangent, type(p).__name__, fwAD.unpack_dual(x).tangent is None]
        m = fill(torch, torch.nn.Linear(3, 2))
        duals = {n: fwAD.make_dual(q, torch.ones_like(q)) for n, q in m.named_parameters()}
        o = torch.func.functional_call(m, duals, (x,))
        out.append(fwAD.unpack_dual(o).tangent)
        w = torch.nn.functional.layer_norm(d, (3,))
        out.append(fwAD.unpack_dual(w).tangent)
    try:
        fwAD.make_dual(x, t)
    except RuntimeError as e:
        out.append("dual level" in str(e).lower() or str(e))
    return out


@program
def per_sample(torch):
    """Gradients of single samples, ensembles and vmap over ranks and dimensions."""
    nn, F = torch.nn, torch.func
    m = fill(torch, nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)))
    p = {k: v.detach() for k, v in m.named_parameters()}
    b = dict(m.named_buffers())
    x, y = data(torch, 5, 3), torch.tensor([0, 1, 1, 0, 1])

    def loss(p, b, x, y):
        return nn.functional.cross_entropy(
            F.functional_call(m, (p, b), (x.unsqueeze(0),)), y.unsqueeze(0)
        )

    g = F.vmap(F.grad(loss), in_dims=(None, None, 0, 0))(p, b, x, y)
    gv, lv = F.grad_and_value(loss)(p, b, x[0], y[0])
    norms = torch.stack([v.flatten(1).norm(dim=1) for v in g.values()]).norm(dim=0)
    ms = [fill(torch, nn.Linear(3, 2), s) for s in range(3)]
    sp, sb = F.stack_module_state(ms)
    base = copy.deepcopy(ms[0]).to("meta")
    ens = F.vmap(lambda p, b, x: F.functional_call(base, (p, b), (x,)), in_dims=(0, 0, None))(
        sp, sb, x
    )
    hv = F.jvp(F.grad(lambda w: (w**3).sum()), (x[0],), (x[1],))[1]
    _, vf = F.vjp(torch.sin, x)
    lin, jf = F.linearize(torch.cos, x)
    return [
        list(g),
        *g.values(),
        norms,
        lv,
        ens,
        hv,
        vf(torch.ones_like(x))[0],
        jf(torch.ones_like(x)),
        F.vmap(torch.dot)(x, x),
        F.vmap(lambda a: a.sort().values, randomness="same")(x),
        F.vmap(torch.mm, in_dims=(None, 2), out_dims=1)(data(torch, 2, 3), data(torch, 3, 2, 4)),
        F.vmap(F.vmap(torch.add, (0, None)), (None, 0))(x[0], x[1]),
        F.vmap(lambda x: x * 2, chunk_size=2)(x),
    ]


@program
def meta_learning(torch):
    """Inner steps that are differentiated, a learned rate, derivatives of structures."""
    nn, F = torch.nn, torch.func
    net = fill(torch, nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)))
    p = {k: v.detach().clone().requires_grad_() for k, v in net.named_parameters()}
    x, y = data(torch, 10, 1), data(torch, 10, 1, seed=4)
    out = []

    def loss(p, x, y):
        return ((F.functional_call(net, p, (x,)) - y) ** 2).mean()

    def inner(p, x, y):
        g = torch.autograd.grad(loss(p, x, y), list(p.values()), create_graph=True)
        return {k: v - 0.1 * gg for (k, v), gg in zip(p.items(), g)}

    for _ in range(3):
        l = loss(inner(p, x[:5], y[:5]), x[5:], y[5:])
        g = torch.autograd.grad(l, list(p.values()))
        p = {k: (v - 0.05 * gg).detach().requires_grad_() for (k, v), gg in zip(p.items(), g)}
        out.append(l)
    w = nn.Parameter(torch.ones(2))
    lr = torch.tensor(0.1, requires_grad=True)
    opt = torch.optim.SGD([w.clone()], lr=lr, differentiable=True)
    q = opt.param_groups[0]["params"][0]
    q.grad = q.detach() * 3
    opt.step()
    q.sum().backward()
    out += [lr.grad, w.grad]
    import importlib

    st = importlib.import_module("torch.nn.utils.stateless")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out.append(st.functional_call(net, {"0.weight": torch.zeros(8, 1)}, x[:2]))
    for bad in (
        lambda: F.functional_call(net, {"zz": x}, (x,), strict=True),
        lambda: F.functional_call(net, 3, (x,)),
        lambda: F.grad(lambda t: t)(x),
        lambda: F.grad(lambda t: 3.0)(x),
        lambda: F.vmap(lambda t: t, in_dims=3)(x),
        lambda: F.vmap(lambda t: t)(torch.tensor(1.0)),
        lambda: F.vmap(lambda a, b: a)(x, x[:2]),
        lambda: F.vmap(lambda t: torch.rand(1))(x),
        lambda: F.vmap(lambda t: 3)(x),
        lambda: F.jvp(torch.sin, x, x),
        lambda: F.jvp(torch.sin, (x,), (x[:2],)),
        lambda: F.vjp(torch.sin, x)[1](x[:2]),
        lambda: F.jacrev(lambda t: t, argnums=3)(x),
        lambda: F.grad(lambda t: t.sum(), argnums="a")(x),
        lambda: F.stack_module_state([]),
        lambda: F.vmap(lambda t: (t, t), out_dims=(0,))(x),
    ):
        try:
            bad()
            out.append("none")
        except Exception as e:
            out.append(type(e).__name__)
    out.append(F.jacfwd(lambda t: (t.sin(), t.sum()), has_aux=True)(x[:2, 0]))
    out.append(F.vjp(lambda t: (t * 2, t.sum()), x[:2], has_aux=True)[2])
    out.append(F.grad(lambda a, b: (a * b).sum(), argnums=(0, 1))(x, y))
    out.append(
        F.grad(lambda d: d["a"].pow(2).sum() + d["b"][0].sum())({"a": x[:2], "b": [y[:2]]})["a"]
    )
    out.append(F.hessian(lambda t: (t**3).sum())(x[:2, 0]))
    out.append(F.vmap(F.jacrev(lambda t: t.outer(t)))(x[:3].expand(3, 2)))
    out.append(F.vmap(lambda t: torch.where(t > 0, t, -t))(x))
    out.append(F.vmap(lambda i: y[:, 0][i])(torch.tensor([1, 3])))
    out.append(
        F.vmap(nn.functional.conv1d, (None, 0))(data(torch, 1, 1, 6), data(torch, 3, 2, 1, 3))
    )
    return out


@program
def checkpoints_deep(torch):
    """Checkpoints with keywords, contexts, nesting and second derivatives."""
    import importlib

    C = importlib.import_module("torch.utils.checkpoint")
    nn = torch.nn
    out = []
    m = fill(torch, nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3)))
    x = data(torch, 2, 3).requires_grad_()
    calls = []

    def f(a, b, *, k=1):
        calls.append(1)
        return m(a) * k + b, a.sum()

    y, s = C.checkpoint(f, x, 2.0, use_reentrant=False, k=3)
    (y.sum() + s).backward()
    out += [len(calls), x.grad]
    x.grad = None

    def ctxs():
        @contextlib.contextmanager
        def c(n):
            calls.append(n)
            yield

        return c("fwd"), c("re")

    C.checkpoint(m, x, use_reentrant=False, context_fn=ctxs).sum().backward()
    out.append([c for c in calls if isinstance(c, str)])
    z = C.checkpoint(
        lambda a: C.checkpoint(m, a, use_reentrant=False).sin(), x, use_reentrant=False
    )
    (g,) = torch.autograd.grad(z.sum(), x, create_graph=True)
    out += [g, torch.autograd.grad(g.sum(), x)[0]]
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter("always")
        C.checkpoint(m, x)
        C.checkpoint(m, x.detach(), use_reentrant=True)
        out.append([str(v.message)[:50] for v in w])
    for bad in (
        lambda: C.checkpoint(m, x, use_reentrant=True, k=1),
        lambda: C.checkpoint(m, x, use_reentrant=True, context_fn=ctxs),
        lambda: C.checkpoint_sequential(m, 5, x, use_reentrant=False),
        lambda: torch.autograd.grad(C.checkpoint(m, x, use_reentrant=True).sum(), x),
    ):
        try:
            bad()
            out.append("none")
        except Exception as e:
            out.append(type(e).__name__)
    with C.set_checkpoint_early_stop(False):
        C.checkpoint(m, x, use_reentrant=False).sum().backward()
    out.append(x.grad)
    pol = (
        C.create_selective_checkpoint_contexts
        if hasattr(C, "create_selective_checkpoint_contexts")
        else None
    )
    out.append(pol is not None)
    return out


@program
def anomaly_graph(torch):
    """Saved tensors, hooks over several gradients, errors of the graph."""
    out = []
    try:
        with torch.autograd.detect_anomaly():
            x = torch.tensor([-1.0], requires_grad=True)
            torch.sqrt(x).sum().backward()
    except RuntimeError as e:
        out.append("returned nan values in its 0th output" in str(e))
    x = torch.ones(3, requires_grad=True)
    packs = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: (packs.append(1), t.detach().numpy())[1], lambda a: torch.from_numpy(a)
    ):
        y = (x * x).exp()
    y.sum().backward()
    out += [x.grad, len(packs) > 0]
    with torch.autograd.graph.save_on_cpu():
        z = (x**2).sum()
    z.backward()
    out.append(x.grad)
    y = x * 2
    try:
        y.add_(1)
        w = y * y
        y.mul_(2)
        w.sum().backward()
    except RuntimeError as e:
        out.append("modified by an inplace operation" in str(e))
    a = torch.ones(2, requires_grad=True)
    try:
        a.add_(1)
    except RuntimeError as e:
        out.append("leaf Variable that requires grad" in str(e))
    b = (a * a).sum()
    b.backward()
    try:
        b.backward()
    except RuntimeError as e:
        out.append("second time" in str(e))
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        c = a * 3
        d = c * c
        c.zero_()
        d.sum().backward()
    out.append(a.grad)
    out.append(torch.autograd.graph.get_gradient_edge(a * 1).output_nr)
    mg = []
    u, v = a * 2, a * 3
    torch.autograd.graph.register_multi_grad_hook(
        (u, v), lambda gs: mg.append([g is not None for g in gs])
    )
    (u.sum() + v.sum()).backward()
    out.append(mg)
    with (
        torch.autograd.set_multithreading_enabled(False),
        torch.autograd.graph.disable_saved_tensors_hooks("no"),
    ):
        try:
            with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
                a * a
        except RuntimeError as e:
            out.append(type(e).__name__)
    f = a * 2
    out += [
        f.grad_fn.next_functions[0][0].name(),
        f.grad_fn.next_functions[0][0].variable is a,
        isinstance(f.grad_fn.metadata, dict),
    ]
    out.append(
        [
            torch.is_grad_enabled(),
            torch.autograd.grad(
                (a * 2).sum(), [a, torch.ones(1, requires_grad=True)], allow_unused=True
            )[1]
            is None,
            torch.autograd.grad((a * 2).sum(), [a], torch.tensor(3.0), materialize_grads=True)[0],
        ]
    )
    return out
