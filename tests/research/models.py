"""Models of sequences and of distributions."""

import importlib
import itertools
import math

import numpy as np
from common import data, fill, program


@program
def packed_lstm(torch):
    """Sequences of several lengths, packed, through an LSTM and a GRU."""
    nn = torch.nn
    R = nn.utils.rnn
    lstm = fill(torch, nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True, dropout=0.0))
    gru = fill(torch, nn.GRU(3, 5), 3)
    lens = [2, 5, 1, 4]
    seqs = [data(torch, n, 3, seed=n) for n in lens]
    pad = R.pad_sequence(seqs, batch_first=True)
    pk = R.pack_padded_sequence(pad, torch.tensor(lens), batch_first=True, enforce_sorted=False)
    o, (h, c) = lstm(pk)
    y, l = R.pad_packed_sequence(o, batch_first=True, padding_value=-1.0)
    last = torch.cat([h[-2], h[-1]], 1)
    last.sum().backward()
    g = lstm.weight_hh_l1_reverse.grad
    p2 = R.pack_sequence(sorted(seqs, key=len, reverse=True))
    o2, h2 = gru(p2)
    un = R.unpad_sequence(y, l, batch_first=True)
    return [
        y,
        l,
        h,
        c,
        g,
        o2.data,
        o2.batch_sizes,
        h2,
        [tuple(u.shape) for u in un],
        pk.sorted_indices,
        pk.unsorted_indices,
        type(pk).__name__,
        len(R.unpack_sequence(p2)),
    ]


@program
def transformer_cache(torch):
    """Decoding with and without a cache, a decoder, attention with its own biases."""
    nn, F = torch.nn, torch.nn.functional

    class Attn(nn.Module):
        def __init__(s, d, h):
            super().__init__()
            s.h = h
            s.qkv = nn.Linear(d, 3 * d)
            s.o = nn.Linear(d, d)

        def forward(s, x, cache=None):
            B, T, D = x.shape
            q, k, v = s.qkv(x).chunk(3, -1)
            q, k, v = (t.view(B, T, s.h, -1).transpose(1, 2) for t in (q, k, v))
            if cache is not None:
                if cache:
                    k, v = torch.cat([cache[0], k], 2), torch.cat([cache[1], v], 2)
                cache[:] = [k, v]
            y = F.scaled_dot_product_attention(
                q, k, v, is_causal=cache is None or q.size(2) == k.size(2)
            )
            return s.o(y.transpose(1, 2).reshape(B, T, D))

    class GPT(nn.Module):
        def __init__(s):
            super().__init__()
            s.e = nn.Embedding(11, 8)
            s.p = nn.Embedding(16, 8)
            s.a = nn.ModuleList([Attn(8, 2) for _ in range(2)])
            s.n = nn.ModuleList([nn.RMSNorm(8) for _ in range(2)])

        def forward(s, i, caches=None, at=0):
            x = s.e(i) + s.p(torch.arange(at, at + i.shape[1]))
            for k, (a, n) in enumerate(zip(s.a, s.n)):
                x = x + a(n(x), None if caches is None else caches[k])
            return x @ s.e.weight.T

    m = fill(torch, GPT()).eval()
    full = torch.tensor([[1, 4, 2]])
    cur = full
    caches = [[], []]
    with torch.inference_mode():
        for _ in range(6):
            full = torch.cat([full, m(full)[:, -1].argmax(-1, keepdim=True)], 1)
        lg = m(cur, caches)
        toks = cur
        for _ in range(6):
            nx = lg[:, -1].argmax(-1, keepdim=True)
            toks = torch.cat([toks, nx], 1)
            lg = m(nx, caches, toks.shape[1] - 1)
    dec = fill(
        torch,
        nn.TransformerDecoder(
            nn.TransformerDecoderLayer(8, 2, 16, 0.0, batch_first=True, norm_first=True),
            2,
            nn.LayerNorm(8),
        ),
    ).eval()
    tgt, mem = data(torch, 2, 5, 8), data(torch, 2, 3, 8, seed=4)
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    o = dec(
        tgt,
        mem,
        tgt_mask=mask,
        tgt_is_causal=True,
        memory_key_padding_mask=torch.tensor([[False, False, True], [False] * 3]),
    )
    mha = fill(
        torch,
        nn.MultiheadAttention(
            8, 2, batch_first=True, kdim=6, vdim=4, add_bias_kv=True, add_zero_attn=True
        ),
    )
    ao, aw = mha(tgt, data(torch, 2, 3, 6), data(torch, 2, 3, 4), average_attn_weights=False)
    return [full, toks, lg, o, ao, aw]


@program
def training_transformer(torch):
    """Translation trained with masks of several kinds, then greedy decoding."""
    nn, F = torch.nn, torch.nn.functional
    out = []
    m = fill(
        torch,
        nn.Transformer(
            8, 2, 2, 2, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=False
        ),
    )
    e = fill(torch, nn.Embedding(9, 8, padding_idx=0))
    head = fill(torch, nn.Linear(8, 9))
    ps = [*m.parameters(), *e.parameters(), *head.parameters()]
    opt = torch.optim.Adam(ps, 1e-2, betas=(0.9, 0.98), eps=1e-9)
    sch = torch.optim.lr_scheduler.LambdaLR(opt, lambda s: min((s + 1) ** -0.5, (s + 1) * 4**-1.5))
    src, tgt = (
        torch.tensor([[1, 2, 3, 0], [4, 5, 0, 0]]),
        torch.tensor([[1, 6, 7, 2], [1, 8, 2, 0]]),
    )
    cm = nn.Transformer.generate_square_subsequent_mask(3)
    for _ in range(4):
        o = m(
            e(src),
            e(tgt[:, :-1]),
            tgt_mask=cm,
            src_key_padding_mask=src == 0,
            tgt_key_padding_mask=(tgt[:, :-1] == 0)
            .float()
            .masked_fill(tgt[:, :-1] == 0, float("-inf")),
            memory_key_padding_mask=src == 0,
            tgt_is_causal=True,
        )
        l = F.cross_entropy(
            head(o).flatten(0, 1), tgt[:, 1:].flatten(), ignore_index=0, label_smoothing=0.1
        )
        opt.zero_grad()
        l.backward()
        nn.utils.clip_grad_norm_(ps, 1.0)
        opt.step()
        sch.step()
        out += [l, sch.get_last_lr()]
    out.append(e.weight.grad[0])
    m.eval()
    with torch.no_grad():
        mem = m.encoder(e(src), src_key_padding_mask=src == 0)
        out.append(mem)
        ys = torch.ones(2, 1).long()
        for _ in range(4):
            ys = torch.cat(
                [
                    ys,
                    head(
                        m.decoder(
                            e(ys),
                            mem,
                            tgt_mask=nn.Transformer.generate_square_subsequent_mask(ys.shape[1]),
                            memory_key_padding_mask=src == 0,
                        )
                    )[:, -1].argmax(-1, keepdim=True),
                ],
                1,
            )
        out.append(ys)
    l = fill(torch, nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)).eval()
    with torch.no_grad():
        out += [
            l(e(src)),
            l(e(src), src_key_padding_mask=src == 0)[0, :3],
            l(
                e(src),
                torch.zeros(4, 4).masked_fill(torch.ones(4, 4).triu(1).bool(), float("-inf")),
                is_causal=True,
            ),
            l(e(src)[0]),
        ]
    at = importlib_attention(torch)
    out += at
    return out


def importlib_attention(torch):
    """Implementations of attention that are asked for."""
    import importlib

    N = importlib.import_module("torch.nn.attention")
    F = torch.nn.functional
    q, k, v = (data(torch, 2, 4, 5, 8, seed=s) for s in (1, 2, 3))
    out = []
    with N.sdpa_kernel(N.SDPBackend.MATH):
        out.append(F.scaled_dot_product_attention(q, k, v, is_causal=True))
    with N.sdpa_kernel([N.SDPBackend.MATH, N.SDPBackend.EFFICIENT_ATTENTION]):
        out.append(F.scaled_dot_product_attention(q, k[:, :2], v[:, :2], enable_gqa=True))
    return out


@program
def vae(torch):
    """A variational autoencoder, a flow, a mixture and normal distributions."""
    nn, D = torch.nn, torch.distributions
    enc, dec = fill(torch, nn.Linear(5, 4)), fill(torch, nn.Linear(2, 5), 1)
    x = torch.sigmoid(data(torch, 6, 5))
    eps = data(torch, 6, 2, seed=9)
    opt = torch.optim.RMSprop(
        itertools.chain(enc.parameters(), dec.parameters()), 0.01, centered=True, momentum=0.5
    )
    out = []
    for _ in range(4):
        mu, ls = enc(x).chunk(2, -1)
        q = D.Independent(D.Normal(mu, ls.exp()), 1)
        pz = D.Independent(D.Normal(torch.zeros_like(mu), torch.ones_like(mu)), 1)
        z = mu + ls.exp() * eps
        ll = D.Independent(D.ContinuousBernoulli(logits=dec(z)), 1).log_prob(x)
        kl = D.kl_divergence(q, pz)
        iw = torch.logsumexp(ll + pz.log_prob(z) - q.log_prob(z), 0)
        l = (kl - ll).mean()
        opt.zero_grad()
        l.backward()
        opt.step()
        out += [l, iw]
    T = D.transforms
    flow = D.TransformedDistribution(
        D.Normal(torch.zeros(2), torch.ones(2)),
        [T.AffineTransform(1.0, 2.0), T.SigmoidTransform(), T.AffineTransform(-1, 3.0)],
    )
    y = torch.tensor([0.3, 1.1])
    out += [
        flow.log_prob(y),
        flow.cdf(y),
        flow.icdf(torch.tensor([0.2, 0.7])),
        repr(flow.transforms),
        repr(q),
        repr(pz.base_dist),
    ]
    mix = D.MixtureSameFamily(
        D.Categorical(torch.tensor([0.2, 0.8])),
        D.Normal(torch.tensor([-1.0, 1.0]), torch.tensor([0.5, 1.0])),
    )
    out += [mix.log_prob(y), mix.mean, mix.variance, mix.cdf(y)]
    mvn = D.MultivariateNormal(
        torch.zeros(3), scale_tril=torch.tensor([[1.0, 0, 0], [0.3, 0.8, 0], [-0.2, 0.1, 0.9]])
    )
    out += [
        mvn.log_prob(data(torch, 4, 3)),
        mvn.entropy(),
        mvn.precision_matrix,
        D.kl_divergence(
            mvn, D.LowRankMultivariateNormal(torch.ones(3), torch.ones(3, 1), torch.ones(3))
        ),
    ]
    try:
        D.Normal(0.0, -1.0)
    except ValueError as e:
        out.append(type(e).__name__)
    try:
        D.Bernoulli(0.3).log_prob(torch.tensor(2.0))
    except ValueError as e:
        out.append(type(e).__name__)
    return out


@program
def policy_gradient(torch):
    """A clipped policy gradient with a critic, and distributions of actions."""
    nn, D = torch.nn, torch.distributions
    pi, v = (
        fill(torch, nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 4))),
        fill(torch, nn.Linear(3, 1), 2),
    )
    opt = torch.optim.Adam(
        [{"params": pi.parameters()}, {"params": v.parameters(), "lr": 0.02}], lr=0.01
    )
    obs = data(torch, 10, 3)
    act = torch.arange(10) % 4
    adv = data(torch, 10, seed=7)
    old = D.Categorical(logits=pi(obs)).log_prob(act).detach()
    out = []
    for _ in range(5):
        d = D.Categorical(logits=pi(obs))
        r = (d.log_prob(act) - old).exp()
        pg = -torch.min(r * adv, r.clamp(0.8, 1.2) * adv).mean()
        vl = nn.functional.huber_loss(v(obs).squeeze(-1), adv.abs())
        e = d.entropy().mean()
        l = pg + 0.5 * vl - 0.01 * e
        opt.zero_grad()
        l.backward()
        n = nn.utils.clip_grad_norm_(itertools.chain(pi.parameters(), v.parameters()), 0.5)
        opt.step()
        out += [l, n, e]
    rew = torch.tensor([1.0, 0, 0, 2.0])
    ret = torch.zeros(4)
    R = 0.0
    for i in reversed(range(4)):
        R = rew[i] + 0.9 * R
        ret[i] = R
    n = D.TransformedDistribution(
        D.Normal(torch.zeros(2), torch.ones(2)), D.transforms.TanhTransform(cache_size=1)
    )
    out += [
        ret,
        n.log_prob(torch.tensor([0.5, -0.2])),
        D.kl_divergence(D.Categorical(logits=pi(obs)), D.Categorical(torch.ones(4))),
        D.Beta(2.0, 3.0).log_prob(torch.tensor(0.4)),
        D.Dirichlet(torch.ones(3)).entropy(),
        D.Gumbel(0.0, 1.0).log_prob(torch.tensor(0.3)),
        D.RelaxedOneHotCategorical(torch.tensor(0.5), logits=torch.zeros(3)).log_prob(
            torch.tensor([0.2, 0.3, 0.5])
        ),
    ]
    return out


@program
def generative_models(torch):
    """Flows, diffusion, Gaussian processes, hidden Markov chains, adversaries, codebooks."""
    nn, F, D = torch.nn, torch.nn.functional, torch.distributions
    out = []

    class Coupling(D.transforms.Transform):
        domain = codomain = D.constraints.real_vector
        bijective = True

        def __init__(s, net, flip):
            super().__init__()
            s.net, s.flip = net, flip

        def _call(s, x):
            a, b = x.chunk(2, -1)
            (a, b) = (b, a) if s.flip else (a, b)
            sh, ls = s.net(a).chunk(2, -1)
            b = b * ls.tanh().exp() + sh
            return torch.cat((b, a) if s.flip else (a, b), -1)

        def _inverse(s, y):
            a, b = y.chunk(2, -1)
            (a, b) = (b, a) if s.flip else (a, b)
            sh, ls = s.net(a).chunk(2, -1)
            b = (b - sh) * (-ls.tanh()).exp()
            return torch.cat((b, a) if s.flip else (a, b), -1)

        def log_abs_det_jacobian(s, x, y):
            a = x.chunk(2, -1)[1 if s.flip else 0]
            return s.net(a).chunk(2, -1)[1].tanh().sum(-1)

    nets = nn.ModuleList([fill(torch, nn.Linear(2, 4), i) for i in range(3)])
    opt = torch.optim.Adamax(nets.parameters(), 0.01)
    x = data(torch, 16, 4)
    for _ in range(4):
        d = D.TransformedDistribution(
            D.Independent(D.Normal(torch.zeros(4), torch.ones(4)), 1),
            [Coupling(n, i % 2 == 1) for i, n in enumerate(nets)],
        )
        l = -d.log_prob(x).mean()
        opt.zero_grad()
        l.backward()
        opt.step()
        out.append(l)
    T = 10
    beta = torch.linspace(1e-4, 0.02, T)
    ab = (1 - beta).cumprod(0)
    t = torch.tensor([1, 5, 9])
    x0, eps = data(torch, 3, 2), data(torch, 3, 2, seed=8)
    xt = ab[t].sqrt()[:, None] * x0 + (1 - ab[t]).sqrt()[:, None] * eps
    emb = torch.cat(
        [
            (t[:, None] * torch.exp(-math.log(1e4) * torch.arange(3) / 3)).sin(),
            (t[:, None] * torch.exp(-math.log(1e4) * torch.arange(3) / 3)).cos(),
        ],
        1,
    )
    out += [xt, emb]
    K = torch.exp(-0.5 * torch.cdist(x[:6], x[:6]) ** 2) + 1e-2 * torch.eye(6)
    L = torch.linalg.cholesky(K)
    al = torch.cholesky_solve(x[:6, :1], L)
    out += [
        al,
        D.MultivariateNormal(torch.zeros(6), scale_tril=L).log_prob(x[:6, 0]),
        torch.logdet(K),
        torch.linalg.slogdet(K),
    ]
    tr = torch.tensor([[0.7, 0.3], [0.4, 0.6]]).log()
    em = torch.tensor([[0.9, 0.1], [0.2, 0.8]]).log()
    a = torch.tensor([0.5, 0.5]).log() + em[:, 0]
    for o in (0, 1, 1, 0):
        a = torch.logsumexp(a[:, None] + tr, 0) + em[:, o]
    out.append(torch.logsumexp(a, 0))
    g = fill(
        torch, nn.Sequential(nn.Linear(2, 4), nn.LeakyReLU(0.2), nn.BatchNorm1d(4), nn.Linear(4, 4))
    )
    dn = nn.utils.parametrizations.spectral_norm(
        fill(torch, nn.Linear(4, 1)), n_power_iterations=20
    )
    og, od = (
        torch.optim.SGD(g.parameters(), 0.1),
        torch.optim.RMSprop(dn.parameters(), 1e-3),
    )
    z = data(torch, 16, 2, seed=3)
    f = g(z)
    al = torch.from_numpy(np.random.default_rng(0).random((16, 1)).astype("f"))
    mix = (al * x + (1 - al) * f.detach()).requires_grad_()
    gp = (
        (
            torch.autograd.grad(nn.functional.softplus(dn(mix)).sum(), mix, create_graph=True)[
                0
            ].norm(2, 1)
            - 1
        )
        ** 2
    ).mean()
    og.zero_grad()
    (-dn(f).mean()).backward()
    og.step()
    out += [gp, g[0].weight]
    v = fill(torch, nn.Embedding(5, 4))
    e = x
    dist = torch.cdist(e, v.weight)
    idx = dist.argmin(-1)
    q = v(idx)
    st = e + (q - e).detach()
    out += [
        idx,
        F.mse_loss(q, e.detach()) + 0.25 * F.mse_loss(e, q.detach()),
        F.one_hot(idx, 5).float().mean(0),
        st.sum(),
    ]
    return out
