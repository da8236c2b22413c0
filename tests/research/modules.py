"""Modules taken apart, changed, saved and put together."""

import copy
import pickle
from collections import OrderedDict

from common import data, fill, program


@program
def weight_sharing(torch):
    """A tied autoencoder: shared weights through training, copies and states."""
    nn = torch.nn

    class Auto(nn.Module):
        def __init__(self):
            super().__init__()
            self.enc = nn.Linear(6, 3)
            self.dec_bias = nn.Parameter(torch.zeros(6))
            self.emb = nn.Embedding(7, 6)
            self.head = nn.Linear(6, 7, bias=False)
            self.head.weight = self.emb.weight

        def forward(self, i):
            h = torch.tanh(self.enc(self.emb(i)))
            r = torch.nn.functional.linear(h, self.enc.weight.t(), self.dec_bias)
            return self.head(r)

    m = fill(torch, Auto())
    names = [n for n, _ in m.named_parameters()]
    dup = [n for n, _ in m.named_parameters(remove_duplicate=False)]
    opt = torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-2)
    i = torch.tensor([[0, 1, 2], [3, 4, 6]])
    out = []
    for _ in range(5):
        opt.zero_grad()
        l = nn.functional.cross_entropy(m(i).transpose(1, 2), i)
        l.backward()
        opt.step()
        out.append(l.item())
    c = copy.deepcopy(m)
    tied = c.head.weight is c.emb.weight
    p = pickle.loads(pickle.dumps(m.state_dict()))
    r = m.load_state_dict(p)
    return [out, names, dup, tied, str(r), list(p), len(list(m.parameters()))]


@program
def hooks_features(torch):
    """Grad-CAM by hooks, gradients changed and kept by hooks, an optimizer in backward."""
    nn = torch.nn
    net = fill(
        torch,
        nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(1, 2, 3, padding=1),
                act1=nn.ReLU(),
                pool=nn.MaxPool2d(2),
                conv2=nn.Conv2d(2, 3, 3),
                gap=nn.AdaptiveAvgPool2d(1),
                flat=nn.Flatten(),
                fc=nn.Linear(3, 2),
            )
        ),
    )
    acts, grads, handles, order = {}, {}, [], []

    def save(name):
        return lambda m, i, o: acts.__setitem__(name, o.detach())

    for n, m in net.named_modules():
        if isinstance(m, nn.Conv2d):
            handles.append(m.register_forward_hook(save(n)))
            handles.append(
                m.register_full_backward_hook(lambda m, gi, go, n=n: grads.__setitem__(n, go[0]))
            )
            handles.append(m.register_forward_pre_hook(lambda m, i: order.append(type(m).__name__)))
    x = data(torch, 2, 1, 8, 8).requires_grad_()
    y = net(x)
    y[:, 1].sum().backward()
    cam = torch.relu((grads["conv2"].mean((2, 3), keepdim=True) * acts["conv2"]).sum(1))
    up = nn.functional.interpolate(cam[:, None], size=(8, 8), mode="bilinear", align_corners=False)
    x.register_hook(lambda g: g * 2)
    tg = []
    z = x * 3
    z.retain_grad()
    h = z.register_hook(lambda g: tg.append(g.sum().item()) or g.clamp(max=0.5))
    (z**2).sum().backward()
    h.remove()
    for h in handles:
        h.remove()
    net.fc.register_parameter("scale", nn.Parameter(torch.ones(1)))
    cnt = len(net.conv1._forward_hooks) + len(net.conv1._backward_hooks)
    pg = []
    hh = net.fc.weight.register_post_accumulate_grad_hook(
        lambda p: pg.append(p.grad.norm().item()) or setattr(p, "grad", None)
    )
    net(x.detach()).sum().backward()
    hh.remove()
    return [
        acts["conv1"],
        grads["conv1"],
        cam,
        up,
        x.grad,
        z.grad,
        tg,
        order,
        cnt,
        pg,
        net.fc.weight.grad is None,
        str(net),
    ]


@program
def parametrizations(torch):
    """Symmetric, normalised, orthogonal and spectral weights, and the older norms."""
    nn = torch.nn
    P = nn.utils.parametrize
    PS = nn.utils.parametrizations

    class Sym(nn.Module):
        def forward(s, X):
            return X.triu() + X.triu(1).transpose(-1, -2)

        def right_inverse(s, A):
            return A.triu()

    class Exp(nn.Module):
        def forward(s, X):
            return X.exp()

        def right_inverse(s, A):
            return A.log()

    l = fill(torch, nn.Linear(3, 3))
    P.register_parametrization(l, "weight", Sym())
    x = data(torch, 2, 3)
    l(x).pow(2).sum().backward()
    out = [
        l.weight,
        l.parametrizations.weight.original.grad,
        list(l.state_dict()),
        type(l).__name__,
        P.is_parametrized(l),
        str(l),
    ]
    l.weight = torch.eye(3) * 2
    out.append(l.weight)
    P.remove_parametrizations(l, "weight")
    out += [l.weight, type(l).__name__]
    w = PS.weight_norm(fill(torch, nn.Linear(3, 2)), dim=0)
    w(x).sum().backward()
    out += [
        w.weight,
        w.parametrizations.weight.original0.grad,
        w.parametrizations.weight.original1.grad,
        list(w.state_dict()),
    ]
    o = PS.orthogonal(
        fill(torch, nn.Linear(4, 4)), orthogonal_map="cayley", use_trivialization=False
    )
    out.append(o.weight @ o.weight.T)
    s = fill(torch, nn.Linear(4, 3))
    s = PS.spectral_norm(s, n_power_iterations=30)
    s.eval()
    s.train()
    s(data(torch, 1, 4))
    s(data(torch, 1, 4))
    out.append(torch.linalg.matrix_norm(s.weight, 2))
    old = nn.utils.weight_norm(fill(torch, nn.Conv1d(2, 2, 3)))
    out += [list(old.state_dict()), old(data(torch, 1, 2, 5))]
    nn.utils.remove_weight_norm(old)
    out.append(list(old.state_dict()))
    with P.cached():
        a = l.weight
        b = l.weight
        out.append(a is b)
    d = copy.deepcopy(w)
    out.append(d(x))
    return out


@program
def pruning(torch):
    """Pruning by value, row, list and own method, made permanent."""
    import torch.nn.utils.prune as prune

    nn = torch.nn
    net = fill(torch, nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Conv1d(1, 3, 2)))
    prune.l1_unstructured(net[0], "weight", 0.3)
    prune.ln_structured(net[0], "weight", amount=1, n=2, dim=0)
    out = [
        net[0].weight,
        net[0].weight_mask,
        [type(h).__name__ for h in net[0]._forward_pre_hooks.values()],
        [n for n, _ in net[0].named_parameters()],
        [n for n, _ in net[0].named_buffers()],
    ]
    prune.global_unstructured(
        [(net[0], "bias"), (net[2], "weight")], pruning_method=prune.L1Unstructured, amount=3
    )
    out += [net[0].bias, net[2].weight, prune.is_pruned(net)]
    net[0](data(torch, 2, 6)).sum().backward()
    out.append(net[0].weight_orig.grad)
    sd = net.state_dict()
    out.append(sorted(sd))
    prune.remove(net[0], "weight")
    out += [net[0].weight, sorted(net.state_dict())]

    class Thr(prune.BasePruningMethod):
        PRUNING_TYPE = "unstructured"

        def __init__(s, t):
            s.t = t

        def compute_mask(s, t, default_mask):
            return torch.abs(t) > s.t

    Thr.apply(net[0], "weight", 0.2)
    out.append(net[0].weight)
    prune.custom_from_mask(net[2], "bias", torch.tensor([1, 0, 1]))
    out.append(net[2].bias)
    out.append([(n, type(m).__name__) for n, m in net.named_modules()])
    return out


@program
def state_dict_surgery(torch):
    """States with other names, sizes, versions, extra parts and without memory."""
    nn = torch.nn
    m = fill(
        torch,
        nn.Sequential(
            OrderedDict(
                backbone=nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), head=nn.Linear(3, 2)
            )
        ),
    )
    sd = m.state_dict()
    new = OrderedDict((k.replace("backbone.", "module.body."), v) for k, v in sd.items())
    nn.modules.utils.consume_prefix_in_state_dict_if_present(new, "module.")
    out = [list(new), list(sd._metadata)]
    t = nn.Sequential(
        OrderedDict(body=nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), head=nn.Linear(3, 5))
    )
    try:
        t.load_state_dict(new)
    except RuntimeError as e:
        out.append(type(e).__name__)
    r = t.load_state_dict({k: v for k, v in new.items() if "head" not in k}, strict=False)
    out += [r.missing_keys, r.unexpected_keys, str(r)]
    try:
        t.load_state_dict({"x": torch.ones(1)})
    except RuntimeError as e:
        out.append(type(e).__name__)

    class V(nn.Module):
        _version = 2

        def __init__(s):
            super().__init__()
            s.w = nn.Parameter(torch.ones(2))
            s.register_buffer("b", torch.zeros(2))
            s.register_buffer("t", torch.zeros(1), persistent=False)

        def _load_from_state_dict(
            s, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        ):
            if local_metadata.get("version", None) is None or local_metadata["version"] < 2:
                state_dict[prefix + "w"] = state_dict.pop(prefix + "weight")
            super()._load_from_state_dict(
                state_dict,
                prefix,
                local_metadata,
                strict,
                missing_keys,
                unexpected_keys,
                error_msgs,
            )

        def get_extra_state(s):
            return {"k": 1}

        def set_extra_state(s, st):
            s.k = st["k"]

    v = V()
    out.append(list(v.state_dict()))
    v.load_state_dict(
        {"weight": torch.tensor([3.0, 4.0]), "b": torch.ones(2), "_extra_state": {"k": 5}}
    )
    out += [v.w, v.k, v.state_dict(prefix="a.", keep_vars=True)["a.w"].requires_grad]
    m2 = nn.Linear(2, 2)
    m2.load_state_dict({"weight": torch.ones(2, 2), "bias": torch.zeros(2)}, assign=True)
    out.append(type(m2.weight).__name__)
    with torch.device("meta"):
        big = nn.Linear(3, 3)
    out.append(big.weight.is_meta)
    big.to_empty(device="cpu")
    big.load_state_dict({"weight": torch.eye(3), "bias": torch.zeros(3)})
    out.append(big(torch.ones(3)))
    out.append(nn.utils.parameters_to_vector(m.parameters()))
    return out


@program
def deepcopy_pickle(torch):
    """Copies and pickles of modules, optimizers, tensors and small objects."""
    nn = torch.nn
    m = fill(
        torch, nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.1), nn.LSTM(4, 3))
    )
    m.eval()
    m.note = {"a": [1, 2]}
    m[0].weight.requires_grad_(False)
    c = copy.deepcopy(m)
    q = pickle.loads(pickle.dumps(m))
    c[0].weight.add_(1)
    o = torch.optim.Adam([p for p in m.parameters() if p.requires_grad], amsgrad=True)
    [setattr(p, "grad", torch.ones_like(p)) for p in m.parameters() if p.requires_grad]
    o.step()
    o2 = pickle.loads(pickle.dumps(o))
    o3 = copy.deepcopy(o)
    t = torch.arange(4.0).requires_grad_()
    tc = copy.deepcopy(t)
    ts = copy.copy(t)
    g = torch.Generator().manual_seed(3)
    sh = [torch.ones(3)] * 2
    shc = copy.deepcopy(sh)
    try:
        copy.deepcopy(t * 2)
        e = ""
    except RuntimeError as ex:
        e = "explicitly by the user" in str(ex)
    return [
        c[0].weight - m[0].weight,
        q[0].weight,
        c.note,
        c.training,
        c[0].weight.requires_grad,
        len(o2.state_dict()["state"]),
        o3.param_groups[0]["amsgrad"],
        tc.requires_grad,
        ts is t,
        shc[0] is shc[1],
        e,
        str(q),
        pickle.loads(pickle.dumps(torch.float32)) is torch.float32,
        str(pickle.loads(pickle.dumps(torch.device("cpu")))),
        pickle.loads(pickle.dumps(torch.Size([1, 2]))) == torch.Size([1, 2]),
    ]


@program
def state_hooks(torch):
    """Hooks around states of modules and optimizers."""
    nn = torch.nn
    out = []
    m = fill(torch, nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    m.register_state_dict_pre_hook(lambda mod, prefix, keep: out.append(["pre", prefix, keep]))
    m.register_state_dict_post_hook(
        lambda mod, sd, prefix, meta: sd.__setitem__(prefix + "extra", 7) if prefix == "" else None
    )
    m._register_state_dict_hook(lambda mod, sd, p, meta: None)
    m[0]._register_load_state_dict_pre_hook(
        lambda sd, prefix, *a: out.append(["lp", prefix, sorted(sd)])
    )
    m.register_load_state_dict_pre_hook(lambda mod, sd, *a: sd.pop("extra", None))
    m.register_load_state_dict_post_hook(
        lambda mod, inc: out.append(["post", list(inc.missing_keys)])
    )
    sd = m.state_dict()
    out.append(list(sd))
    m.load_state_dict(sd)
    out.append(m.load_state_dict({k: v for k, v in sd.items() if "bias" not in k}, strict=False))
    d = OrderedDict()
    m[0].state_dict(destination=d, prefix="p.")
    out.append(list(d))
    o = torch.optim.Adam(m.parameters())
    o.register_state_dict_pre_hook(lambda o: out.append("op"))
    o.register_state_dict_post_hook(lambda o, sd: {**sd, "tag": 1})
    o.register_load_state_dict_pre_hook(lambda o, sd: {k: v for k, v in sd.items() if k != "tag"})
    o.register_load_state_dict_post_hook(lambda o: out.append("lpost"))
    s = o.state_dict()
    out.append(sorted(s))
    o.load_state_dict(s)
    for bad in (
        lambda: o.load_state_dict({"param_groups": [{"params": [0]}], "state": {}}),
        lambda: o.load_state_dict({"param_groups": [], "state": {}}),
        lambda: o.add_param_group({"params": list(m.parameters())}),
        lambda: o.add_param_group([1]),
        lambda: o.add_param_group({"params": {m[0].weight}}),
        lambda: o.zero_grad(3),
        lambda: o.step(3),
    ):
        try:
            bad()
            out.append("none")
        except Exception as e:
            out.append(type(e).__name__)
    return out
