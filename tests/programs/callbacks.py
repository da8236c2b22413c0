"""A learner driven by callbacks: tensors of own classes that keep them through operators and
loss, hooks that collect activations, parameter groups by layer, one-cycle momentum, early exits.

Exercises what fastai does with TensorBase, Callback and Learner.
"""

import math
from functools import partial

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class TensorBase(torch.Tensor):
    def __new__(cls, x, **kwargs):
        res = torch.as_tensor(x).as_subclass(cls)
        for k, v in kwargs.items():
            setattr(res, k, v)
        return res

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        own = (cls, *(t for t in types if not issubclass(t, TensorBase)))  # one family
        res = super().__torch_function__(func, own, args, kwargs if kwargs is not None else {})
        source = next((a for a in args if isinstance(a, TensorBase)), None)
        if isinstance(res, TensorBase) and source is not None and hasattr(source, "tag"):
            res.tag = source.tag
        return res


class TensorImage(TensorBase):
    pass


class TensorCategory(TensorBase):
    pass


class Blobs(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.y = rng.integers(0, 3, n)
        self.x = rng.normal(0, 0.3, (n, 1, 8, 8)).astype(np.float32)
        for k in range(n):
            self.x[k, 0, 2 * self.y[k] : 2 * self.y[k] + 3] += 1

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return torch.from_numpy(self.x[i]), int(self.y[i])


class CancelFit(Exception):
    pass


class Callback:
    order = 0

    def __getattr__(self, k):
        if k == "learn":
            raise AttributeError(k)
        return getattr(self.learn, k)

    def __call__(self, event):
        return getattr(self, event, lambda: None)()


class Typed(Callback):
    order = -10

    def before_batch(self):
        self.learn.xb = TensorImage(self.xb, tag="image")
        self.learn.yb = TensorCategory(self.yb)


class Schedule(Callback):
    def before_batch(self):
        at = self.step / self.total
        for h, scale in zip(self.opt.param_groups, (0.3, 1.0)):
            h["lr"] = 0.1 * scale * (0.5 - 0.5 * math.cos(2 * math.pi * at)) + 0.01
            h["momentum"] = 0.95 - 0.1 * math.sin(math.pi * at)


class Record(Callback):
    order = 10

    def after_batch(self):
        assert type(self.loss) is TensorImage and self.loss.tag == "image", type(self.loss)
        value = self.loss.detach().as_subclass(torch.Tensor).item()
        print(f"step {self.step:03d} loss {value:.8f} stats {self.learn.stats['relu'][0]:.4f}")
        if self.step >= self.total:
            raise CancelFit


class Learner:
    def __init__(self, dls, model, loss_func, opt_func, cbs):
        self.dls, self.model, self.loss_func, self.stats = dls, model, loss_func, {}
        groups = [list(model.body.parameters()), list(model.head.parameters())]
        self.opt = opt_func([{"params": g} for g in groups])
        self.cbs = sorted(cbs, key=lambda c: c.order)
        for cb in self.cbs:
            cb.learn = self

    def run(self, event):
        for cb in self.cbs:
            cb(event)

    def one_batch(self):
        self.run("before_batch")
        self.pred = self.model(self.xb)
        self.loss = self.loss_func(self.pred, self.yb)
        self.loss.backward()
        self.opt.step()
        self.opt.zero_grad()
        self.step += 1
        self.run("after_batch")

    def fit(self, epochs):
        self.step, self.total = 0, 20
        try:
            for _ in range(epochs):
                self.model.train()
                for self.xb, self.yb in self.dls[0]:
                    self.one_batch()
        except CancelFit:
            pass
        self.model.eval()
        with torch.no_grad():
            hits = [(self.model(TensorImage(x)).argmax(1) == y) for x, y in self.dls[1]]
        return torch.cat(hits).float().mean()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.MaxPool2d(2), nn.ReLU(inplace=True)
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(6 * 16, 3))

    def forward(self, x):
        return self.head(self.body(x))


def collect(learn, module, inputs, output):
    learn.stats["relu"] = (output.detach().mean().item(), output.detach().std().item())


loaders = [DataLoader(Blobs(n, s), batch_size=16) for n, s in ((96, 0), (48, 1))]
opt_func = partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True)
learn = Learner(loaders, Net(), F.cross_entropy, opt_func, [Record(), Schedule(), Typed()])
handle = learn.model.body[3].register_forward_hook(partial(collect, learn))
accuracy = learn.fit(10)
handle.remove()
print(type(accuracy).__name__, f"accuracy {accuracy.item():.3f}")
