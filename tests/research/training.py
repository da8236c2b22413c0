"""Loops of training and what stands around them."""

import copy
import json
import math
import os
import tempfile
from collections import namedtuple

from common import data, fill, program


@program
def checkpoint_amp(torch):
    """Checkpointed residual blocks under autocast with a scaler."""
    from torch.utils.checkpoint import checkpoint, checkpoint_sequential

    nn = torch.nn
    block = lambda: nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 8))
    net = fill(torch, nn.ModuleList([block() for _ in range(4)]))
    x = data(torch, 5, 8).requires_grad_()
    res = []
    for re in (True, False):
        x.grad = None
        net.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            h = x
            for b in net:
                h = h + checkpoint(b, h, use_reentrant=re)
            l = h.float().pow(2).mean()
        scaler = torch.amp.GradScaler("cpu", init_scale=128.0, growth_interval=2)
        opt = torch.optim.AdamW(net.parameters(), lr=0.0)
        scaler.scale(l).backward()
        scaler.unscale_(opt)
        n = nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        scaler.step(opt)
        scaler.update()
        res += [
            l,
            n,
            x.grad.float(),
            str(h.dtype).split(".")[-1],
            scaler.get_scale(),
            list(scaler.state_dict()),
        ]
    seq = nn.Sequential(*net)
    y = checkpoint_sequential(seq, 2, x, use_reentrant=False)
    y.sum().backward()
    res.append(y)
    with torch.autocast("cpu"):
        a = torch.mm(x, x.t())
        b = torch.softmax(a, -1)
        c = torch.nn.functional.layer_norm(a, (5,))
        d = a + x.sum()
        e = torch.cat([a, b.to(a.dtype)])
    res.append([str(t.dtype).split(".")[-1] for t in (a, b, c, d, e)])
    return res


@program
def ema_swa(torch):
    """Averages of weights: equal, exponential and own, with schedules and statistics."""
    nn = torch.nn
    from torch.optim.swa_utils import (
        AveragedModel,
        SWALR,
        update_bn,
        get_ema_multi_avg_fn,
        get_ema_avg_fn,
        get_swa_avg_fn,
    )

    net = fill(torch, nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1)))
    opt = torch.optim.SGD(net.parameters(), 0.05)
    swa = AveragedModel(net)
    ema = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    own = AveragedModel(net, avg_fn=lambda a, p, n: 0.5 * a + 0.5 * p)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=6)
    swl = SWALR(opt, swa_lr=0.02, anneal_epochs=3, anneal_strategy="cos")
    x, y = data(torch, 20, 4), data(torch, 20, 1, seed=5)
    lrs = []
    for e in range(10):
        opt.zero_grad()
        l = nn.functional.mse_loss(net(x), y)
        l.backward()
        opt.step()
        ema.update_parameters(net)
        own.update_parameters(net)
        if e >= 5:
            swa.update_parameters(net)
            swl.step()
        else:
            sched.step()
        lrs.append(opt.param_groups[0]["lr"])
    update_bn([(x[:10],), (x[10:],)], swa)
    sd = swa.state_dict()
    return [
        lrs,
        l,
        swa(x),
        ema(x),
        own(x),
        swa.n_averaged,
        list(sd),
        sd["module.1.running_mean"],
        ema.module[1].running_var,
    ]


@program
def param_groups_schedulers(torch):
    """Groups with rates of their own under every schedule."""
    nn = torch.nn
    S = torch.optim.lr_scheduler
    net = fill(torch, nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)))
    decay = [p for n, p in net.named_parameters() if p.ndim > 1]
    nod = [p for n, p in net.named_parameters() if p.ndim <= 1]
    out = []

    def mk(cls=torch.optim.AdamW, **k):
        return cls(
            [
                {"params": decay, "weight_decay": 0.1, "lr": 0.01},
                {"params": nod, "weight_decay": 0.0},
            ],
            lr=0.02,
            **k,
        )

    def run(opt, sched, n=12, metric=None):
        l = []
        for i in range(n):
            opt.step()
            sched.step(*([metric[i]] if metric else []))
            l.append(
                [g["lr"] for g in opt.param_groups]
                + [g.get("momentum", g.get("betas", [0])[0]) for g in opt.param_groups]
            )
        return l

    for p in net.parameters():
        p.grad = torch.ones_like(p) * 0.1
    o = mk()
    out.append(
        run(
            o,
            S.SequentialLR(
                o,
                [
                    S.LinearLR(o, 0.1, total_iters=3),
                    S.CosineAnnealingLR(o, 6),
                    S.ExponentialLR(o, 0.5),
                ],
                milestones=[3, 8],
            ),
        )
    )
    o = mk()
    out.append(
        run(o, S.OneCycleLR(o, max_lr=[0.1, 0.2], total_steps=12, pct_start=0.25, three_phase=True))
    )
    o = mk(torch.optim.SGD, momentum=0.9)
    out.append(
        run(o, S.OneCycleLR(o, max_lr=0.1, epochs=3, steps_per_epoch=4, anneal_strategy="linear"))
    )
    o = mk()
    s = S.ReduceLROnPlateau(
        o, "min", factor=0.5, patience=1, cooldown=1, min_lr=[1e-4, 1e-3], threshold=0.01
    )
    out.append(run(o, s, metric=[1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8, 0.8, 0.8]))
    out.append([s.num_bad_epochs, s.best, s.cooldown_counter])
    o = mk()
    out.append(run(o, S.ChainedScheduler([S.ConstantLR(o, 0.5, 4), S.StepLR(o, 3, 0.7)])))
    o = mk()
    out.append(run(o, S.CosineAnnealingWarmRestarts(o, 3, 2, 1e-3)))
    o = mk(torch.optim.SGD, momentum=0.5)
    out.append(
        run(
            o,
            S.CyclicLR(
                o, [0.001, 0.002], 0.1, step_size_up=2, step_size_down=3, mode="triangular2"
            ),
        )
    )
    o = mk()
    s = S.LambdaLR(o, [lambda e: 0.95**e, lambda e: 1 / (1 + e)])
    out.append(run(o, s))
    out.append(s.state_dict()["last_epoch"])
    o = mk()
    out.append(run(o, S.MultiplicativeLR(o, lambda e: 0.9)))
    o = mk()
    out.append(run(o, S.PolynomialLR(o, 5, 2.0)))
    o = mk()
    out.append(run(o, S.MultiStepLR(o, [2, 5, 5], 0.3)))
    o.add_param_group({"params": [nn.Parameter(torch.ones(2))], "lr": 1.0})
    out.append(len(o.param_groups))
    out.append([sorted(k for k in g if k != "params") for g in o.param_groups][:2])
    out.append(repr(o).splitlines()[:6])
    out += list(net.parameters())
    return out


@program
def lbfgs(torch):
    """Rosenbrock's function with and without a line search."""
    out = []
    for fn, kw in (("strong_wolfe", {}), (None, {"lr": 0.5})):
        x = torch.tensor([-1.5, 2.0], dtype=torch.float64, requires_grad=True)
        opt = torch.optim.LBFGS([x], max_iter=8, history_size=5, line_search_fn=fn, **kw)
        ls = []

        def closure():
            opt.zero_grad()
            l = (1 - x[0]) ** 2 + (100 if fn else 1) * (x[1] - x[0] ** 2) ** 2
            l.backward()
            ls.append(l.item())
            return l

        for _ in range(4):
            opt.step(closure)
        out += [ls, x, len(opt.state[x]), sorted(opt.state_dict()["state"][0])]
    return out


@program
def optimizers_state(torch):
    """Every optimizer, saved after steps and gone on with."""
    out = []
    O = torch.optim
    for name, kw in dict(
        SGD=dict(lr=0.1, momentum=0.9, dampening=0.1),
        Adam=dict(amsgrad=True),
        AdamW=dict(maximize=True),
        NAdam=dict(decoupled_weight_decay=True, weight_decay=0.1),
        RAdam={},
        Adamax={},
        Adagrad=dict(lr_decay=0.1, initial_accumulator_value=0.1),
        Adadelta={},
        ASGD=dict(t0=2),
        Rprop={},
        RMSprop=dict(centered=True),
        Adafactor={},
    ).items():
        p = torch.nn.Parameter(data(torch, 3, 2))
        o = getattr(O, name)([p], **kw)
        pre, post = [], []
        o.register_step_pre_hook(lambda o, a, k: pre.append(1))
        o.register_step_post_hook(lambda o, a, k: post.append(1))
        for i in range(4):
            p.grad = data(torch, 3, 2, seed=i + 20)
            o.step()
        sd = o.state_dict()
        o2 = getattr(O, name)([p], **kw)
        o2.load_state_dict(sd)
        p.grad = torch.ones_like(p)
        o2.step()
        out += [
            p,
            sorted(sd["state"][0]),
            sorted(sd["param_groups"][0]),
            len(pre),
            len(post),
            repr(o2),
        ]
    nm = O.Adam([("w", torch.nn.Parameter(torch.ones(1)))])
    out.append(nm.state_dict()["param_groups"][0].get("param_names"))
    for bad in (
        lambda: O.SGD([torch.nn.Parameter(torch.ones(1))], lr=-1.0),
        lambda: O.Adam([]),
        lambda: O.Adam([torch.ones(1, requires_grad=True) * 2]),
        lambda: O.SGD(torch.ones(2), 0.1),
        lambda: O.Adam([torch.nn.Parameter(torch.ones(1))], betas=(1.0, 0.9)),
        lambda: O.SGD([1], 0.1),
        lambda: O.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1, nesterov=True),
    ):
        try:
            bad()
        except Exception as e:
            out.append(type(e).__name__)
    return out


@program
def ddp_like_accumulate(torch):
    """Accumulated gradients beside whole batches, clipped, frozen, fused."""
    nn = torch.nn
    net = fill(torch, nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 3)))
    ref = copy.deepcopy(net)
    x, y = data(torch, 12, 4), torch.arange(12) % 3
    o1, o2 = (torch.optim.Adam(n.parameters(), foreach=f) for n, f in ((net, True), (ref, False)))
    out = []
    for e in range(3):
        o1.zero_grad(set_to_none=False)
        o2.zero_grad()
        for c in range(3):
            (nn.functional.cross_entropy(net(x[c::3]), y[c::3]) / 3).backward()
        nn.functional.cross_entropy(ref(x), y).backward()
        g1 = nn.utils.clip_grad_norm_(net.parameters(), 0.1, norm_type=2.0, error_if_nonfinite=True)
        g2 = nn.utils.clip_grad_norm_(ref.parameters(), 0.1, foreach=False)
        nn.utils.clip_grad_value_(net.parameters(), 0.05)
        nn.utils.clip_grad_value_(ref.parameters(), 0.05)
        o1.step()
        o2.step()
        out += [g1, g2]
    out.append(net(x))
    out.append(nn.utils.get_total_norm([p.grad for p in net.parameters()], float("inf")))
    fz = [p.requires_grad_(False) for p in net[0].parameters()]
    out.append(sum(p.numel() for p in net.parameters() if p.requires_grad))
    out.append(nn.DataParallel(net)(x))
    f = nn.utils.fusion.fuse_conv_bn_eval(
        fill(torch, nn.Conv2d(1, 2, 3)).eval(), nn.BatchNorm2d(2).eval()
    )
    out.append(f.weight)
    return out


@program
def samplers_collate(torch):
    """Buckets, collation of records, splits and joins of datasets."""
    from torch.utils.data import (
        DataLoader,
        Dataset,
        Sampler,
        BatchSampler,
        SequentialSampler,
        WeightedRandomSampler,
        Subset,
        ConcatDataset,
        random_split,
        TensorDataset,
    )

    Item = namedtuple("Item", "seq label meta")

    class Texts(Dataset):
        def __init__(s, n):
            s.x = [list(range(1, 2 + i % 5)) for i in range(n)]

        def __len__(s):
            return len(s.x)

        def __getitem__(s, i):
            return Item(torch.tensor(s.x[i]), i % 3, {"id": i, "name": f"n{i}"})

    class Buckets(Sampler):
        def __init__(s, ds, bs):
            s.order = sorted(range(len(ds)), key=lambda i: (len(ds.x[i]), i))
            s.bs = bs

        def __iter__(s):
            for i in range(0, len(s.order), s.bs):
                yield s.order[i : i + s.bs]

        def __len__(s):
            return math.ceil(len(s.order) / s.bs)

    def collate(b):
        return (
            torch.nn.utils.rnn.pad_sequence([i.seq for i in b], batch_first=True),
            torch.tensor([i.label for i in b]),
            [i.meta["name"] for i in b],
        )

    ds = Texts(11)
    out = []
    for x, y, n in DataLoader(ds, batch_sampler=Buckets(ds, 3), collate_fn=collate):
        out += [x, y, n]
    for b in DataLoader(Subset(ds, [0, 5, 10]), batch_size=3):
        out += [type(b).__name__, b.label, b.meta["id"], b.meta["name"]]
    c = ConcatDataset([Texts(2), Texts(3)])
    out += [len(c), c[3].meta["id"], c[-1].label, c.cumulative_sizes]
    out.append(
        [
            len(s)
            for s in random_split(ds, [0.5, 0.3, 0.2], generator=torch.Generator().manual_seed(0))
        ]
    )
    try:
        list(DataLoader(ds, batch_size=4))
    except RuntimeError as e:
        out.append("stack expects each tensor to be equal size" in str(e))
    g = torch.Generator().manual_seed(3)
    out.append(
        sorted(i for b in DataLoader(range(10), 4, shuffle=True, generator=g) for i in b.tolist())
    )
    return out


@program
def profiling(torch):
    """Steps of a schedule, named blocks, traces."""
    P = torch.profiler
    m = fill(torch, torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU()))
    steps = []
    with P.profile(
        activities=[P.ProfilerActivity.CPU],
        schedule=P.schedule(wait=1, warmup=1, active=2, repeat=1),
        on_trace_ready=lambda p: steps.append(p.step_num),
        record_shapes=True,
    ) as p:
        for _ in range(6):
            with P.record_function("fwd"):
                m(torch.ones(2, 4)).sum().backward()
            p.step()
    with P.profile(record_shapes=True) as q:
        with P.record_function("block"):
            torch.ones(3, 4) @ torch.ones(4, 5)
        for _ in torch.utils.data.DataLoader(range(2)):
            pass
    ks = {e.key: e.count for e in q.key_averages()}
    out = [
        steps,
        ks["block"],
        "block" in q.key_averages().table(sort_by="self_cpu_time_total", row_limit=5),
        any("enumerate(DataLoader)" in k for k in ks),
    ]
    with tempfile.TemporaryDirectory() as d:
        q.export_chrome_trace(os.path.join(d, "t.json"))
        import json

        tr = json.load(open(os.path.join(d, "t.json")))
        out.append(
            [
                e["name"]
                for e in tr["traceEvents"]
                if e.get("name") == "block" and e.get("ph") == "X"
            ]
        )
        h = P.tensorboard_trace_handler(d)
        out.append(callable(h))
    with torch.autograd.profiler.profile() as r:
        torch.ones(2).exp()
    out.append([e.count for e in r.key_averages() if e.key in ("aten::exp", "exp")])
    out.append([p_.name for p_ in P.ProfilerAction][:4])
    return out
