"""Modules: registration, traversal, state, hooks, conversion, representation, initial values."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tritorch
from tritorch import nn

# -- against PyTorch ------------------------------------------------------------------------------

# (class, positional arguments, keyword arguments): compared in repr, state_dict and attributes.
LAYERS: list[tuple[str, tuple, dict]] = [
    ("Linear", (3, 4), {}),
    ("Linear", (3, 4), {"bias": False}),
    ("Bilinear", (2, 3, 4), {}),
    ("Identity", (5, "x"), {"y": 1}),
    *((f"Conv{n}d", (4, 8, 3), {}) for n in (1, 2, 3)),
    ("Conv1d", (4, 8, 3), {"padding": "same", "dilation": 2}),
    ("Conv2d", (4, 8, (3, 5)), {"stride": 2, "padding": (1, 2), "groups": 2, "bias": False}),
    ("Conv2d", (4, 8, 3), {"padding": "valid", "padding_mode": "reflect"}),
    ("Conv2d", (4, 8, (2, 5)), {"padding": "same", "padding_mode": "circular"}),
    ("Conv3d", (4, 8, 3), {"padding": 1, "padding_mode": "replicate"}),
    *((f"ConvTranspose{n}d", (4, 8, 3), {}) for n in (1, 2, 3)),
    ("ConvTranspose2d", (4, 6, 3, 2), {"output_padding": 1, "groups": 2, "dilation": 2}),
    *((f"BatchNorm{n}d", (4,), {}) for n in (1, 2, 3)),
    ("BatchNorm2d", (4,), {"eps": 1e-3, "momentum": None, "affine": False}),
    ("BatchNorm2d", (4,), {"track_running_stats": False, "bias": False}),
    ("SyncBatchNorm", (4,), {}),
    *((f"InstanceNorm{n}d", (4,), {}) for n in (1, 2, 3)),
    ("InstanceNorm2d", (4,), {"affine": True, "track_running_stats": True}),
    ("LayerNorm", (4,), {}),
    ("LayerNorm", ([2, 3],), {"eps": 1e-6, "bias": False}),
    ("LayerNorm", (4,), {"elementwise_affine": False}),
    ("RMSNorm", (4,), {}),
    ("RMSNorm", ((2, 3),), {"eps": 1e-6, "elementwise_affine": False}),
    ("GroupNorm", (2, 4), {}),
    ("GroupNorm", (2, 4), {"affine": False, "eps": 1e-4}),
    ("LocalResponseNorm", (2,), {"k": 2.0}),
    ("CrossMapLRN2d", (2,), {}),
    *((name, (), {}) for name in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d")),
    *((name, (0.2, True), {}) for name in ("Dropout", "AlphaDropout", "FeatureAlphaDropout")),
    *(
        (name, (), {})
        for name in (
            *("ReLU", "SiLU", "Mish", "SELU", "Hardsigmoid", "Hardswish", "ReLU6", "Sigmoid"),
            *("Tanh", "LogSigmoid", "Softsign", "Tanhshrink", "RReLU", "Hardtanh", "ELU", "CELU"),
            *("LeakyReLU", "PReLU", "GELU", "Hardshrink", "Softshrink", "Softplus", "GLU"),
            *("Softmax", "Softmin", "LogSoftmax", "Softmax2d"),
        )
    ),
    *(
        (name, (), {"inplace": True})
        for name in (
            *("ReLU", "SiLU", "Mish", "SELU", "Hardsigmoid", "Hardswish", "ReLU6", "RReLU"),
            *("Hardtanh", "ELU", "CELU", "LeakyReLU"),
        )
    ),
    ("Threshold", (0.1, 20), {"inplace": True}),
    ("GELU", ("tanh",), {}),
    ("PReLU", (3,), {"init": 0.5}),
    ("Softmax", (1,), {}),
    *((f"MaxPool{n}d", (2,), {}) for n in (1, 2, 3)),
    ("MaxPool2d", ((3, 2),), {"stride": (2, 1), "padding": 1, "dilation": 2, "ceil_mode": True}),
    *((f"MaxUnpool{n}d", (2,), {"stride": 3}) for n in (1, 2, 3)),
    *((f"AvgPool{n}d", (2,), {"padding": 1}) for n in (1, 2, 3)),
    *((f"LPPool{n}d", (2, 3), {}) for n in (1, 2, 3)),
    *((f"AdaptiveMaxPool{n}d", (2,), {}) for n in (1, 2, 3)),
    *((f"AdaptiveAvgPool{n}d", (2,), {}) for n in (1, 2, 3)),
    ("AdaptiveAvgPool2d", ((None, 3),), {}),
    ("FractionalMaxPool2d", (2,), {"output_ratio": 0.5}),
    ("FractionalMaxPool3d", (2,), {"output_size": 3}),
    *((f"{kind}Pad{n}d", (2,), {}) for kind in ("Circular", "Zero") for n in (1, 2, 3)),
    *((f"{kind}Pad{n}d", (2,), {}) for kind in ("Reflection", "Replication") for n in (1, 2, 3)),
    *((f"ConstantPad{n}d", (2, 3.5), {}) for n in (1, 2, 3)),
    ("ZeroPad2d", ((1, 2, 3, 4),), {}),
    ("Flatten", (), {}),
    ("Unflatten", (1, (2, 3)), {}),
    ("Fold", ((4, 5), 2), {}),
    ("Unfold", (2,), {"padding": 1}),
    ("PixelShuffle", (2,), {}),
    ("PixelUnshuffle", (2,), {}),
    ("ChannelShuffle", (2,), {}),
    ("Upsample", (), {"scale_factor": 2, "mode": "bilinear"}),
    ("Upsample", ((3, 4),), {}),
    ("UpsamplingNearest2d", (), {"scale_factor": 2}),
    ("UpsamplingBilinear2d", ((3, 4),), {}),
    ("Embedding", (5, 3), {}),
    ("Embedding", (5, 3), {"padding_idx": -1, "max_norm": 2.0, "sparse": True}),
    ("EmbeddingBag", (5, 3), {"mode": "sum", "padding_idx": 1}),
    ("LazyLinear", (3,), {}),
    *((f"LazyConv{n}d", (4, 3), {"groups": 2}) for n in (1, 2, 3)),
    *((f"LazyConvTranspose{n}d", (4, 3), {"bias": False}) for n in (1, 2, 3)),
    *((f"LazyBatchNorm{n}d", (), {}) for n in (1, 2, 3)),
    *((f"LazyInstanceNorm{n}d", (), {"affine": False}) for n in (1, 2, 3)),
    *(
        (f"{name}Loss", (), {})
        for name in (
            *("L1", "MSE", "NLL", "PoissonNLL", "GaussianNLL", "KLDiv", "BCE", "BCEWithLogits"),
            *("HingeEmbedding", "MultiLabelMargin", "SmoothL1", "Huber", "SoftMargin", "CTC"),
            *("CrossEntropy", "MultiLabelSoftMargin", "CosineEmbedding", "MarginRanking"),
            *("MultiMargin", "TripletMargin", "TripletMarginWithDistance"),
        )
    ),
    ("PairwiseDistance", (), {}),
    ("CosineSimilarity", (), {"dim": 0}),
]
NAMES = sorted({name for name, _, _ in LAYERS})


def plain(value: Any) -> Any:
    """An attribute of a module as something that both libraries' forms equal."""
    if hasattr(value, "detach"):
        return tuple(value.shape)
    if isinstance(value, list | tuple):
        return type(value)(plain(v) for v in value)
    return value if isinstance(value, int | float | str | None) else type(value).__name__


def attributes(module: Any) -> dict[str, Any]:
    """What a user can read of a module, but for hooks."""
    return {k: plain(v) for k, v in vars(module).items() if "hook" not in k and k[0] != "_"}


@pytest.mark.oracle
@pytest.mark.parametrize(("name", "args", "kwargs"), LAYERS, ids=lambda x: str(x)[:30])
def test_layer_is_built_as_in_pytorch(name: str, args: tuple, kwargs: dict) -> None:
    torch = pytest.importorskip("torch")
    for lib in (tritorch, torch):
        lib.manual_seed(0)
    ours, theirs = getattr(nn, name)(*args, **kwargs), getattr(torch.nn, name)(*args, **kwargs)
    assert repr(ours) == repr(theirs)
    assert attributes(ours) == attributes(theirs)
    if "Lazy" in name:
        assert list(ours._parameters) == list(theirs._parameters)
        return
    mine, other = ours.state_dict(), theirs.state_dict()
    assert [(k, tuple(v.shape), v.dtype.name) for k, v in mine.items()] == [
        (k, tuple(v.shape), str(v.dtype).removeprefix("torch.")) for k, v in other.items()
    ]
    assert [n for n, p in ours.named_parameters()] == [n for n, p in theirs.named_parameters()]
    for (k, a), b in zip(mine.items(), other.values()):
        a, b = a.double().numpy(), b.double().numpy()
        if a.size >= 12 and a.std() > 0:  # random: the same distribution, as far as few values tell
            assert abs(a.std() / b.std() - 1) < 6 / math.sqrt(a.size), k
            assert np.abs(a).max() <= 1.3 * np.abs(b).max() + 6 / a.size
        elif "weight" not in k and "bias" not in k:
            np.testing.assert_array_equal(a, b)


@pytest.mark.oracle
@pytest.mark.parametrize("name", NAMES)
def test_constructor_has_the_parameters_of_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")

    def parameters(cls: type) -> list:
        found = inspect.signature(cls).parameters.values()
        return [(p.name, p.kind, p.default) for p in found]

    assert parameters(getattr(nn, name)) == parameters(getattr(torch.nn, name))


def error_of(f: Callable[[], Any]) -> tuple[str, str]:
    try:
        f()
    except Exception as e:
        return type(e).__name__, str(e)
    return "", ""


def linear(lib: Any) -> Any:
    return lib.nn.Linear(2, 2)


def nested(lib: Any) -> Any:
    return lib.nn.Sequential(lib.nn.Linear(2, 3), lib.nn.Sequential(lib.nn.BatchNorm1d(3)))


# Things that raise: the same type of error, and the same words but for the package's name.
REFUSED: dict[str, Callable[[Any], Any]] = {
    "no init": lambda lib: setattr(lib.nn.Module.__new__(lib.nn.Module), "m", lib.nn.ReLU()),
    "parameter without init": lambda lib: setattr(
        lib.nn.Module.__new__(lib.nn.Module), "p", lib.nn.Parameter(lib.ones(1))
    ),
    "unknown attribute": lambda lib: linear(lib).nothing,
    "number as a parameter": lambda lib: setattr(linear(lib), "weight", 3),
    "number as a module": lambda lib: setattr(nested(lib), "0", 3),
    "number as a buffer": lambda lib: setattr(lib.nn.BatchNorm1d(2), "running_mean", 3),
    "buffer with a dot": lambda lib: linear(lib).register_buffer("a.b", None),
    "buffer without a name": lambda lib: linear(lib).register_buffer("", None),
    "buffer whose name is taken": lambda lib: linear(lib).register_buffer("weight", None),
    "buffer of a number": lambda lib: linear(lib).register_buffer("b", 3),
    "parameter of a number": lambda lib: linear(lib).register_parameter("b", 3),
    "parameter whose name is taken": lambda lib: linear(lib).register_parameter("forward", None),
    "parameter with a history": lambda lib: linear(lib).register_parameter(
        "p", lib.nn.Parameter(lib.ones(2)) * 2
    ),
    "module of a number": lambda lib: linear(lib).add_module("m", 3),
    "module with a dot": lambda lib: linear(lib).add_module("a.b", lib.nn.ReLU()),
    "module with a number for a name": lambda lib: linear(lib).add_module(3, lib.nn.ReLU()),
    "no such submodule": lambda lib: nested(lib).get_submodule("1.3"),
    "submodule that is a parameter": lambda lib: nested(lib).get_submodule("0.weight"),
    "no such parameter": lambda lib: nested(lib).get_parameter("0.w"),
    "parameter that is a module": lambda lib: nested(lib).get_parameter("1.0"),
    "buffer that is a parameter": lambda lib: nested(lib).get_buffer("0.weight"),
    "submodule without a name": lambda lib: nested(lib).set_submodule("", lib.nn.ReLU()),
    "no forward": lambda lib: lib.nn.Module()(1),
    "arguments of Module": lambda lib: lib.nn.Module(1),
    "keywords of Module": lambda lib: lib.nn.Module(a=1),
    "mode": lambda lib: linear(lib).train(1),
    "to an integer dtype": lambda lib: linear(lib).to(lib.int64),
    "missing and unexpected": lambda lib: nested(lib).load_state_dict({"0.w": lib.ones(2)}),
    "wrong shape": lambda lib: linear(lib).load_state_dict(
        {"weight": lib.ones(3, 2), "bias": lib.ones(2)}
    ),
    "no tensor": lambda lib: linear(lib).load_state_dict({"weight": 3, "bias": lib.ones(2)}),
    "no dict": lambda lib: linear(lib).load_state_dict([1]),
    "index": lambda lib: nested(lib)[5],
    "sum of Sequential": lambda lib: nested(lib) + [lib.nn.ReLU()],
    "product of Sequential": lambda lib: nested(lib) * 0,
    "ModuleList of a number": lambda lib: lib.nn.ModuleList(3),
    "ModuleDict of a number": lambda lib: lib.nn.ModuleDict([("a", lib.nn.ReLU(), 3)]),
    "ParameterList of a tensor": lambda lib: lib.nn.ParameterList().extend(lib.ones(2)),
    "ParameterDict by a number": lambda lib: lib.nn.ParameterDict({"a": lib.ones(1)})[3],
    "calling a ParameterList": lambda lib: lib.nn.ParameterList()(1),
    "channels and groups": lambda lib: lib.nn.GroupNorm(3, 4),
    "strided same": lambda lib: lib.nn.Conv2d(2, 2, 3, stride=2, padding="same"),
    "transposed reflect": lambda lib: lib.nn.ConvTranspose2d(2, 2, 3, padding_mode="reflect"),
    "dropout": lambda lib: lib.nn.Dropout(1.5),
    "padding_idx": lambda lib: lib.nn.Embedding(3, 2, padding_idx=3),
    "unflatten": lambda lib: lib.nn.Unflatten(1, (2.0, 3)),
    "multi margin": lambda lib: lib.nn.MultiMarginLoss(p=3),
    "gain": lambda lib: lib.nn.init.calculate_gain("none"),
    "fan": lambda lib: lib.nn.init.xavier_uniform_(lib.ones(3)),
    "eye": lambda lib: lib.nn.init.eye_(lib.ones(3)),
}


@pytest.mark.oracle
@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_those_of_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    kind, message = error_of(lambda: REFUSED[name](tritorch))
    expected_kind, expected = error_of(lambda: REFUSED[name](torch))
    assert kind == expected_kind
    shorter = expected.split("https")[0].replace("torch.Size", "tritorch.Size")
    words = [w for w in shorter.replace("'", " ").split() if w.isalpha() and w != "torch"]
    assert sum(w in message for w in words) >= 0.7 * len(words), (message, expected)


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    assert error_of(lambda: REFUSED[name](tritorch))[0]


# -- registration ---------------------------------------------------------------------------------


class Net(nn.Module):
    """Everything that can be registered."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.tied = self.first
        self.scale = nn.Parameter(tritorch.ones(3))
        self.register_buffer("steps", tritorch.zeros(1))
        self.register_buffer("scratch", tritorch.zeros(1), persistent=False)
        self.kept = nn.Buffer(tritorch.ones(2))
        self.nothing = None
        self.register_module("absent", None)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.0))])
        self.number = 7

    def forward(self, x: Any) -> Any:
        return self.blocks[0](self.first(x) * self.scale)


def test_names() -> None:
    net = Net()
    names = ["scale", "first.weight", "first.bias", "blocks.0.0.weight", "blocks.0.0.bias"]
    assert [n for n, _ in net.named_parameters()] == names
    assert [n for n, _ in net.named_parameters(remove_duplicate=False)] == [
        *names[:3],
        "tied.weight",
        "tied.bias",
        *names[3:],
    ]
    assert [n for n, _ in net.named_parameters("net", recurse=False)] == ["net.scale"]
    assert [n for n, _ in net.named_buffers()] == ["steps", "scratch", "kept"]
    assert [n for n, _ in net.named_children()] == ["first", "blocks"]
    modules = ["", "first", "blocks", "blocks.0", "blocks.0.0", "blocks.0.1"]
    assert [n for n, _ in net.named_modules()] == modules
    assert len(list(net.modules())) == 6
    assert set(net.state_dict()) == {*names, "tied.weight", "tied.bias", "steps", "kept"}
    assert net.get_submodule("blocks.0.0") is net.blocks[0][0]
    assert net.get_parameter("blocks.0.0.bias") is net.blocks[0][0].bias
    assert net.get_buffer("steps") is net.steps
    assert "first" in dir(net) and "0" not in dir(net.blocks)


def test_assignment_changes_the_kind() -> None:
    net = Net()
    net.number = nn.Parameter(tritorch.ones(1))
    assert "number" in net._parameters and "number" not in vars(net)
    net.number = None
    assert net._parameters["number"] is None
    net.steps = tritorch.ones(1)
    assert net._buffers["steps"].item() == 1
    net.scratch = nn.Parameter(tritorch.ones(1))
    assert "scratch" in net._parameters and "scratch" not in net._buffers
    assert "scratch" not in net._non_persistent_buffers_set
    net.scale_module = nn.ReLU()
    net.first = nn.Identity()
    assert isinstance(net._modules["first"], nn.Identity)
    del net.blocks, net.kept, net.number
    assert not hasattr(net, "blocks") and not hasattr(net, "kept")
    net.set_submodule("tied", nn.ReLU())
    assert isinstance(net.tied, nn.ReLU)


def test_plain_tensors_are_not_registered() -> None:
    net = Net()
    net.extra = tritorch.ones(2)
    assert "extra" in vars(net) and "extra" not in net.state_dict()


def test_train_eval_apply_requires_grad() -> None:
    net, seen = Net(), []
    net.eval()
    assert not any(m.training for m in net.modules())
    assert net.train() is net and all(m.training for m in net.modules())
    net.apply(lambda m: seen.append(type(m).__name__))
    assert seen[-1] == "Net" and "Dropout" in seen
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())


def test_zero_grad() -> None:
    net = Net()
    net(tritorch.ones(1, 2)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert all(p.grad is None or not p.grad.any() for p in net.parameters())
    assert net.scale.grad is not None
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_casts_keep_the_parameters_and_their_gradients() -> None:
    net = Net()
    net.register_buffer("count", tritorch.tensor(3))
    before, optimizer_sees = net.scale, list(net.parameters())
    net(tritorch.ones(1, 2)).sum().backward()
    assert net.double() is net
    assert net.scale is before and net.scale.dtype is tritorch.float64
    assert net.scale.grad.dtype is tritorch.float64
    assert net.count.dtype is tritorch.int64 and net.steps.dtype is tritorch.float64
    assert net(tritorch.ones(1, 2).double()).dtype is tritorch.float64
    net.to(dtype=tritorch.float16)
    assert all(p.dtype is tritorch.float16 for p in optimizer_sees)
    assert next(net.bfloat16().float().parameters()).dtype is tritorch.float32
    version = net.scale._version
    net.to(tritorch.float32)
    assert net.scale._version == version  # nothing to do


def test_meta_device() -> None:
    net = nn.Linear(2, 3, device="meta")
    assert net.weight.is_meta and net.weight.requires_grad
    with pytest.raises(NotImplementedError, match="to_empty"):
        net.to("cpu")
    net.to_empty(device="cpu")
    assert net.weight.is_cpu and net.weight.shape == (3, 2)


def test_deepcopy_and_pickle() -> None:
    net = Net()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other.first is other.tied and other.first is not net.first
        assert isinstance(other.scale, nn.Parameter) and other.scale.requires_grad
        assert list(other.state_dict()) == list(net.state_dict())
        for a, b in zip(net.state_dict().values(), other.state_dict().values()):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
        other.scale.data.fill_(5)
        assert net.scale[0] == 1
    assert net(tritorch.ones(1, 2)).shape == (1, 3)


# -- state ----------------------------------------------------------------------------------------


def test_load_state_dict_copies_or_assigns() -> None:
    source, target = nn.Linear(2, 3), nn.Linear(2, 3)
    kept = target.weight
    assert str(target.load_state_dict(source.state_dict())) == "<All keys matched successfully>"
    assert target.weight is kept and (kept == source.weight).all()
    state = {"weight": tritorch.zeros(3, 2), "bias": tritorch.ones(3)}
    target.load_state_dict(state, assign=True)
    assert target.weight is not kept and isinstance(target.weight, nn.Parameter)
    state["weight"].fill_(4)
    assert (target.weight == 4).all()
    keys = target.load_state_dict({"other": tritorch.ones(1)}, strict=False)
    assert keys.missing_keys == ["weight", "bias"] and keys.unexpected_keys == ["other"]


def test_load_state_dict_message() -> None:
    with pytest.raises(RuntimeError) as error:
        nested(tritorch).load_state_dict({"0.weight": tritorch.ones(1, 2), "x.y": 3})
    lines = str(error.value).split("\n\t")
    assert lines[0] == "Error(s) in loading state_dict for Sequential:"
    assert lines[1].startswith('Missing key(s) in state_dict: "0.bias", "1.0.weight", "1.0.bias"')
    assert lines[2] == 'Unexpected key(s) in state_dict: "x.y". '
    assert lines[3] == (
        "size mismatch for 0.weight: copying a param with shape tritorch.Size([1, 2]) from "
        "checkpoint, the shape in current model is tritorch.Size([3, 2])."
    )


def test_state_dict_shares_memory_and_has_versions() -> None:
    net = nested(tritorch)
    state = net.state_dict(prefix="net.")
    assert next(iter(state)) == "net.0.weight" and not state["net.0.weight"].requires_grad
    assert state._metadata["net.1.0"] == {"version": 2}
    assert net.state_dict(keep_vars=True)["0.weight"] is net[0].weight
    state["net.0.weight"].fill_(2)
    assert (net[0].weight == 2).all()


def test_old_batch_norm_state_has_no_count() -> None:
    norm, state = nn.BatchNorm1d(2), nn.BatchNorm1d(2).state_dict()
    del state["num_batches_tracked"]
    state._metadata.clear()
    norm.load_state_dict(state)
    assert norm.num_batches_tracked == 0


def test_extra_state_and_state_hooks() -> None:
    class Extra(nn.Linear):
        def get_extra_state(self) -> dict:
            return {"a": 1}

        def set_extra_state(self, state: dict) -> None:
            self.got = state

    net, calls = nn.Sequential(Extra(1, 1)), []
    net[0].register_state_dict_pre_hook(lambda m, prefix, keep: calls.append(("pre", prefix)))
    net[0].register_state_dict_post_hook(lambda m, s, prefix, local: calls.append(("post", prefix)))
    net[0].register_load_state_dict_pre_hook(
        lambda m, s, prefix, *_: calls.append(("load", prefix))
    )
    net.register_load_state_dict_post_hook(lambda m, keys: calls.append(("done", keys[0])))
    state = net.state_dict()
    assert state["0._extra_state"] == {"a": 1}
    net.load_state_dict(state)
    assert net[0].got == {"a": 1}
    assert calls == [("pre", "0."), ("post", "0."), ("load", "0."), ("done", [])]
    del state["0._extra_state"]
    with pytest.raises(RuntimeError, match="_extra_state"):
        net.load_state_dict(state)


# -- calls and hooks ------------------------------------------------------------------------------


def test_forward_hooks() -> None:
    net, calls = nn.Identity(), []
    first = net.register_forward_pre_hook(lambda m, args: calls.append("pre") or (args[0] + 1,))
    net.register_forward_pre_hook(lambda m, args: calls.append("first") or args[0], prepend=True)
    net.register_forward_hook(lambda m, args, out: calls.append("post") or out * 10)
    assert net(tritorch.tensor(1.0)).item() == 20
    assert calls == ["first", "pre", "post"]
    first.remove()
    assert net(tritorch.tensor(1.0)).item() == 10


def test_hooks_with_keywords_and_always() -> None:
    class Add(nn.Module):
        def forward(self, x: float, y: float = 0.0) -> float:
            return x / y

    net, seen = Add(), []
    net.register_forward_pre_hook(
        lambda m, args, kwargs: (args, {"y": kwargs["y"] * 2}), with_kwargs=True
    )
    net.register_forward_hook(
        lambda m, args, kwargs, out: seen.append((args, kwargs, out)),
        with_kwargs=True,
        always_call=True,
    )
    assert net(6.0, y=1.0) == 3
    with pytest.raises(ZeroDivisionError):
        net(6.0, y=0.0)
    assert seen == [((6.0,), {"y": 2.0}, 3.0), ((6.0,), {"y": 0.0}, None)]
    net.register_forward_pre_hook(lambda m, args, kwargs: 3, with_kwargs=True)
    with pytest.raises(RuntimeError, match="forward pre-hook must return None or a tuple"):
        net(6.0, y=1.0)


def test_backward_hooks() -> None:
    net, seen = nn.Linear(2, 1), []
    net.weight.data.fill_(3)
    net.register_full_backward_pre_hook(lambda m, out: (out[0] * 2,))
    handle = net.register_full_backward_hook(lambda m, inp, out: seen.append((inp, out)))
    x = tritorch.ones(1, 2, requires_grad=True)
    net(x).sum().backward()
    (inputs, outputs) = seen[0]
    assert inputs[0].tolist() == [[6, 6]] and outputs[0].item() == 2
    assert x.grad.tolist() == [[6, 6]] and net.weight.grad.tolist() == [[2, 2]]
    handle.remove()
    net.register_full_backward_hook(lambda m, inp, out: (inp[0] * 0,))
    x.grad = None
    net(x).sum().backward()
    assert x.grad.tolist() == [[0, 0]]
    with tritorch.no_grad():
        assert not net(x).requires_grad


def test_backward_hook_without_inputs_that_need_gradients() -> None:
    net, seen = nn.Linear(2, 1), []
    net.register_full_backward_hook(lambda m, inp, out: seen.append(inp))
    with pytest.warns(UserWarning, match="no inputs require gradients"):
        net(tritorch.ones(1, 2)).sum().backward()
    assert seen == [(None,)]


def test_errors_name_the_module() -> None:
    net = nn.Sequential(OrderedDict(body=nn.ModuleList([nn.Sequential(nn.Linear(3, 3))])))
    net.body.forward = lambda x: net.body[0](x)
    with pytest.raises(RuntimeError) as error:
        net(tritorch.ones(1, 2))
    notes = error.value.__notes__
    assert notes == [
        "in module Sequential.body.0.0: Linear(in_features=3, out_features=3, bias=True); "
        "called with (1, 2) float32, takes (*, 3)"
    ]


MISFITS: dict[str, tuple[Callable[[], Any], tuple, str]] = {
    "linear": (lambda: nn.Linear(3, 2), ((4, 5),), "(4, 5) float32, takes (*, 3)"),
    "bilinear": (
        lambda: nn.Bilinear(3, 4, 2),
        ((2, 3), (2, 5)),
        "(2, 3) float32, (2, 5) float32, takes (*, 3) and (*, 4)",
    ),
    "conv": (
        lambda: nn.Conv2d(3, 4, 2),
        ((1, 2, 5, 5),),
        "(1, 2, 5, 5) float32, takes (N, 3, H, W) or (3, H, W)",
    ),
    "transposed": (
        lambda: nn.ConvTranspose1d(3, 4, 2),
        ((1, 2, 5),),
        "(1, 2, 5) float32, takes (N, 3, L) or (3, L)",
    ),
    "batch norm": (
        lambda: nn.BatchNorm1d(3),
        ((2, 4),),
        "(2, 4) float32, takes (N, 3) or (N, 3, L)",
    ),
    "batch norm 3d": (
        lambda: nn.BatchNorm3d(3),
        ((2, 4, 1, 1, 1),),
        "(2, 4, 1, 1, 1) float32, takes (N, 3, D, H, W)",
    ),
    "group norm": (lambda: nn.GroupNorm(2, 4), ((2, 3, 5),), "takes (N, 4, *)"),
    "layer norm": (lambda: nn.LayerNorm((2, 3)), ((5, 3),), "(5, 3) float32, takes (*, 2, 3)"),
    "lstm": (
        lambda: nn.LSTM(3, 2, batch_first=True),
        ((1, 2, 4),),
        "(1, 2, 4) float32, takes (N, L, 3) or (L, 3)",
    ),
    "cell": (lambda: nn.GRUCell(3, 2), ((1, 4),), "(1, 4) float32, takes (N, 3) or (3,)"),
    "attention": (
        lambda: nn.MultiheadAttention(4, 2),
        ((3, 1, 5),) * 3,
        "takes query, key and value (L, N, 4) or (L, 4)",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_errors_say_what_a_module_was_called_with_and_takes(name: str) -> None:
    make, shapes, expected = MISFITS[name]
    net = nn.Sequential(nn.Identity(), make())
    inputs = [tritorch.zeros(s) for s in shapes]
    with pytest.raises((RuntimeError, AssertionError, ValueError)) as error:
        if len(inputs) == 1:
            net(*inputs)
        else:
            net[1](*inputs)
    (note,) = error.value.__notes__
    assert note.endswith(expected) and ("Sequential.1: " in note or len(inputs) > 1), note


def test_errors_of_other_modules_say_what_these_were_called_with() -> None:
    class Net(nn.Module):
        def forward(self, x: Any, *, flag: bool, more: Any = None) -> Any:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no") as error:
        Net()(tritorch.zeros(2, dtype=tritorch.int64), flag=True, more=[tritorch.zeros(1)])
    assert error.value.__notes__ == [
        "in module Net: Net(); called with (2,) int64, flag=True, more=[(1,) float32]"
    ]
    with pytest.raises(IndexError) as error:  # type: ignore[assignment]
        nn.Embedding(5, 2)(tritorch.tensor([7]))
    notes = error.value.__notes__
    assert any(n.endswith("takes integers from 0 to 4, of any shape") for n in notes)


# -- containers -----------------------------------------------------------------------------------


def test_sequential() -> None:
    a, b, c = nn.ReLU(), nn.Tanh(), nn.Sigmoid()
    net = nn.Sequential(a, b)
    assert len(net) == 2 and net[-1] is b and list(net[:1]) == [a]
    assert list(net + nn.Sequential(c)) == [a, b, c] and list(net * 2) == [a, b, a, b]
    net.append(c).insert(0, c)
    assert list(net) == [c, a, b, c]
    assert net.pop(0) is c and list(net._modules) == ["0", "1", "2"]
    del net[1:]
    net.extend([b]).__imul__(2)
    net += nn.Sequential(c)
    assert list(net) == [a, b, a, b, c]
    net[1] = c
    assert net[1] is c


def test_module_list_and_dict() -> None:
    a, b = nn.ReLU(), nn.Tanh()
    items = nn.ModuleList([a]) + [b]
    items.insert(1, a)
    items += [b]
    assert list(items) == [a, a, b, b] and list(items[1:3]) == [a, b]
    del items[0]
    assert items.pop(-1) is b and len(items) == 2
    named = nn.ModuleDict({"x": a})
    named.update([("y", b)])
    named["z"] = a
    assert list(named) == ["x", "y", "z"] and "x" in named and named.pop("z") is a
    assert list(named.keys()) == ["x", "y"] and list(named.values()) == [a, b]
    named.clear()
    assert not len(named)


def test_parameter_list_and_dict() -> None:
    one = tritorch.ones(2)
    items = nn.ParameterList([one, "text"])
    items.append(nn.Parameter(one))
    assert isinstance(items[0], nn.Parameter) and items[1] == "text" and len(items) == 3
    assert [n for n, _ in items.named_parameters()] == ["0", "2"] and len(items[1:]) == 2
    named = nn.ParameterDict({"b": one, "a": one})
    assert list(named) == ["a", "b"] and [n for n, _ in named.named_parameters()] == ["a", "b"]
    both = named | nn.ParameterDict([("c", one)])
    assert list(both) == ["a", "b", "c"] and list(reversed(both)) == ["c", "b", "a"]
    assert both.popitem()[0] == "c" and both.get("c", 3) == 3
    assert both.setdefault("d", one) is both["d"] and both.pop("d") is not None
    both.clear()
    assert not len(both)


@pytest.mark.oracle
def test_container_reprs() -> None:
    torch = pytest.importorskip("torch")

    def build(lib: Any) -> list:
        nn = lib.nn
        same = [nn.Linear(2, 2) for _ in range(3)]
        return [
            nested(lib),
            nn.ModuleList([*same, nn.ReLU()]),
            nn.ModuleList([nn.Sequential(nn.ReLU(), nn.Tanh()) for _ in range(2)]),
            nn.ModuleList(),
            nn.ModuleDict({"a": nn.ReLU(), "b": nested(lib)}),
            nn.ParameterList([lib.ones(2, 3), "x"]),
            nn.ParameterDict({"a": lib.ones(2, 3)}),
            nn.Module(),
        ]

    for ours, theirs in zip(build(tritorch), build(torch)):
        assert repr(ours).replace("tritorch.", "torch.") == repr(theirs)


# -- parameters -----------------------------------------------------------------------------------


def test_parameter() -> None:
    data = tritorch.ones(2)
    p = nn.Parameter(data)
    assert isinstance(p, tritorch.Tensor) and p.requires_grad and p.is_leaf
    p.data.fill_(3)
    assert data[0] == 3
    assert repr(p).startswith("Parameter containing:\ntensor([3., 3.], requires_grad=True)")
    assert type(p * 2) is tritorch.Tensor
    assert not nn.Parameter(data, requires_grad=False).requires_grad
    p.grad = tritorch.ones(2)
    twin = copy.deepcopy(p)
    assert isinstance(twin, nn.Parameter) and twin.requires_grad
    assert twin.grad is None and p.grad is not None


def test_a_module_takes_backward_hooks_of_one_name() -> None:
    def hook(*args: Any) -> None: ...

    for first, second in ((0, 1), (1, 0)):
        layer = nn.Linear(2, 2)
        names = layer.register_backward_hook, layer.register_full_backward_hook
        names[first](hook)
        names[first](hook)
        with pytest.raises(RuntimeError, match="Cannot use both regular backward hooks and full"):
            names[second](hook)


def test_names_in_messages_are_pytorchs() -> None:
    layer = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"'torch\.DoubleTensor' as parameter"):
        layer.weight = tritorch.ones(2, 2).double()
    keys = layer.load_state_dict({"weight": layer.weight}, strict=False)
    assert repr(keys) == "_IncompatibleKeys(missing_keys=['bias'], unexpected_keys=[])"


def test_type_by_name_and_by_class() -> None:
    layer = nn.Linear(2, 2)
    assert layer.type("torch.DoubleTensor").weight.dtype is tritorch.float64
    assert layer.type(tritorch.HalfTensor).weight.dtype is tritorch.float16
    assert layer.type(tritorch.float32).weight.dtype is tritorch.float32
    assert tritorch.ones(2).type(tritorch.LongTensor).dtype is tritorch.int64


def test_uninitialized_parameter() -> None:
    p = nn.UninitializedParameter()
    with pytest.raises(RuntimeError, match="uninitialized parameter"):
        p.shape  # noqa: B018
    p.materialize((2, 3))
    assert type(p) is nn.Parameter and p.shape == (2, 3)


LAZY: dict[str, tuple[Any, tuple, str]] = {
    "LazyLinear": (lambda: nn.LazyLinear(3), (2, 5), "Linear(in_features=5, out_features=3"),
    "LazyConv2d": (lambda: nn.LazyConv2d(4, 3, groups=2), (1, 6, 5, 5), "Conv2d(6, 4"),
    "unbatched": (lambda: nn.LazyConv2d(4, 3), (6, 5, 5), "Conv2d(6, 4"),
    "LazyConvTranspose1d": (
        lambda: nn.LazyConvTranspose1d(4, 3, bias=False),
        (1, 6, 5),
        "ConvTranspose1d(6, 4",
    ),
    "LazyBatchNorm1d": (lambda: nn.LazyBatchNorm1d(), (4, 7), "BatchNorm1d(7"),
    "LazyInstanceNorm2d": (
        lambda: nn.LazyInstanceNorm2d(affine=True),
        (1, 7, 4, 4),
        "InstanceNorm2d(7",
    ),
}


@pytest.mark.parametrize("name", LAZY)
def test_lazy_layers(name: str) -> None:
    make, shape, expected = LAZY[name]
    lazy, loaded = nn.Sequential(make()), nn.Sequential(make())
    assert lazy[0].has_uninitialized_params()
    x = tritorch.randn(*shape)
    out = lazy(x)
    assert repr(lazy[0]).startswith(expected) and "Lazy" not in type(lazy[0]).__name__
    assert not lazy[0]._forward_pre_hooks and not lazy[0]._load_state_dict_pre_hooks
    loaded.load_state_dict(lazy.state_dict())
    assert (loaded(x) == out).all() if "Norm" not in name else loaded(x).shape == out.shape
    assert all(p.requires_grad and p.shape for p in lazy.parameters())


# -- initial values -------------------------------------------------------------------------------


@pytest.fixture
def seeded() -> None:
    tritorch.manual_seed(0)


def spread(values: Any) -> tuple[float, float, float, float]:
    a = values.numpy()
    return float(a.mean()), float(a.std()), float(a.min()), float(a.max())


SHAPE = (200, 50, 3)  # fan_in 150, fan_out 600
BOUNDS = {
    "xavier_uniform_": math.sqrt(6 / 750),
    "kaiming_uniform_": math.sqrt(6 / 150),
}
STDS = {
    "xavier_normal_": math.sqrt(2 / 750),
    "kaiming_normal_": math.sqrt(2 / 150),
}


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("name", [*BOUNDS, *STDS])
def test_scaled_initial_values(name: str) -> None:
    mean, std, low, high = spread(getattr(nn.init, name)(tritorch.empty(SHAPE)))
    bound = BOUNDS.get(name)
    expected = STDS[name] if bound is None else bound / math.sqrt(3)
    assert abs(mean) < 0.05 * expected and abs(std / expected - 1) < 0.02
    if bound is not None:
        assert -bound <= low < -0.99 * bound and 0.99 * bound < high <= bound


@pytest.mark.usefixtures("seeded")
def test_other_initial_values() -> None:
    init = nn.init
    assert init.constant_(tritorch.empty(2), 3.5).tolist() == [3.5, 3.5]
    assert init.ones_(tritorch.empty(2)).tolist() == [1, 1]
    assert init.zeros_(tritorch.ones(2)).tolist() == [0, 0]
    assert init.eye_(tritorch.empty(2, 3)).tolist() == [[1, 0, 0], [0, 1, 0]]
    mean, _, low, high = spread(init.trunc_normal_(tritorch.empty(20000), 1.0, 2.0, -1.0, 2.0))
    assert -1 <= low < -0.99 and 1.99 < high <= 2 and abs(mean - 0.565) < 0.03
    for shape in ((4, 6), (6, 4), (5, 2, 3)):
        q = init.orthogonal_(tritorch.empty(shape), gain=2.0).reshape(shape[0], -1).numpy()
        product = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
        np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-5)
    sparse = init.sparse_(tritorch.empty(10, 6), 0.25).numpy()
    assert ((sparse == 0).sum(0) == 3).all()
    p = nn.Parameter(tritorch.empty(3, 3))
    assert init.normal_(p) is p and p.requires_grad and p.is_leaf


def test_dirac_keeps_channels() -> None:
    weight = nn.init.dirac_(tritorch.empty(4, 2, 3), groups=2).numpy()
    expected = np.zeros((4, 2, 3))
    for group in range(2):
        for i in range(2):
            expected[2 * group + i, i, 1] = 1
    np.testing.assert_array_equal(weight, expected)


def test_old_names_of_init_warn() -> None:
    with pytest.warns(FutureWarning, match="nn.init.constant_"):
        nn.init.constant(tritorch.empty(1), 1.0)


# -- layers and helpers ---------------------------------------------------------------------------


def test_linear_is_the_formula() -> None:
    net, x = nn.Linear(3, 2), np.arange(6, dtype=np.float32).reshape(2, 3)
    expected = x @ net.weight.detach().numpy().T + net.bias.detach().numpy()
    np.testing.assert_allclose(net(tritorch.from_numpy(x)).detach().numpy(), expected, rtol=1e-6)
    bound = 1 / math.sqrt(3)
    assert net.weight.abs().max() <= bound and net.bias.abs().max() <= bound


def test_batch_norm_tracks_batches() -> None:
    norm = nn.BatchNorm1d(2, momentum=0.5)
    x = np.array([[1.0, 2.0], [3.0, 6.0]], np.float32)
    out = norm(tritorch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(out, [[-1, -1], [1, 1]], rtol=1e-4)
    np.testing.assert_allclose(norm.running_mean.numpy(), [1.0, 2.0])
    np.testing.assert_allclose(norm.running_var.numpy(), [1.5, 4.5])
    assert norm.num_batches_tracked == 1
    norm.eval()
    out = norm(tritorch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(out, (x - [1, 2]) / np.sqrt([1.5, 4.5]), rtol=1e-4, atol=1e-6)
    average = nn.BatchNorm1d(2, momentum=None)
    for _ in range(3):
        average(tritorch.from_numpy(x))
    np.testing.assert_allclose(average.running_mean.numpy(), [2.0, 4.0], rtol=1e-6)
    with pytest.raises(ValueError, match="expected 2D or 3D input"):
        norm(tritorch.ones(2))


def test_sync_batch_norm_replaces() -> None:
    net = nested(tritorch)
    norm = net[1][0]
    made = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert isinstance(made[1][0], nn.SyncBatchNorm) and made[1][0].weight is norm.weight


def test_embedding() -> None:
    table = nn.Embedding(4, 2, padding_idx=0)
    assert table.weight[0].tolist() == [0, 0]
    rows = tritorch.arange(6).reshape(3, 2).float()
    fixed = nn.Embedding.from_pretrained(rows)
    assert not fixed.weight.requires_grad
    assert fixed(tritorch.tensor([2, 0])).tolist() == [[4, 5], [0, 1]]


def test_transposed_convolution_takes_an_output_size() -> None:
    conv = nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1)
    x = tritorch.ones(1, 1, 4, 4)
    assert conv(x).shape[2:] == (7, 7)
    assert conv(x, output_size=(8, 8)).shape[2:] == (8, 8)
    with pytest.raises(ValueError, match="valid sizes range"):
        conv(x, output_size=(9, 9))


def test_old_reduction_arguments() -> None:
    with pytest.warns(UserWarning, match="reduction='sum'"):
        loss = nn.MSELoss(size_average=False)
    assert loss.reduction == "sum"


def grads(*values: list[float]) -> list[Any]:
    found = []
    for v in values:
        found.append(nn.Parameter(tritorch.zeros(len(v))))
        found[-1].grad = tritorch.tensor(v)
    return found


def test_clip_grad_norm() -> None:
    params = grads([3.0], [0.0, 4.0])
    total = nn.utils.clip_grad_norm_(params, 1.0)
    assert abs(total.item() - 5) < 1e-6
    np.testing.assert_allclose(params[1].grad.numpy(), [0, 0.8], rtol=1e-5)
    assert nn.utils.clip_grad_norm_(params, 10.0).item() <= 1.0
    assert nn.utils.clip_grad_norm_(grads([3.0], [-4.0]), 1.0, math.inf).item() == 4
    assert nn.utils.clip_grad_norm_(grads([3.0], [-4.0]), 1.0, 1).item() == 7
    with pytest.raises(RuntimeError, match="non-finite"):
        nn.utils.clip_grad_norm_(grads([math.inf]), 1.0, error_if_nonfinite=True)
    assert nn.utils.clip_grad_norm_([], 1.0).item() == 0


def test_clip_grad_value() -> None:
    (p,) = grads([3.0, -4.0, 0.5])
    nn.utils.clip_grad_value_(p, 1)
    assert p.grad.tolist() == [1, -1, 0.5]


def test_parameters_as_a_vector() -> None:
    net = nn.Linear(2, 3)
    vector = nn.utils.parameters_to_vector(net.parameters())
    assert vector.shape == (9,)
    nn.utils.vector_to_parameters(tritorch.arange(9).float(), net.parameters())
    assert net.weight.tolist() == [[0, 1], [2, 3], [4, 5]] and net.bias.tolist() == [6, 7, 8]
    assert net.weight.requires_grad
