"""`import torch` answered by tritorch: the hook, its errors, scripts, and that undoing is clean."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import multiprocessing.spawn
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tritorch
from tritorch.compat import Absent, TorchVersion, install_as_torch, uninstall_as_torch

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is not None, reason="a torch is installed here"
)


@pytest.fixture
def hooked():
    install_as_torch()
    yield
    uninstall_as_torch()


def test_modules_are_tritorchs_own(hooked: None) -> None:
    import torch
    import torch.nn as nn
    import torch.nn.functional as F
    from torch.optim.lr_scheduler import StepLR
    from torch.utils.data import DataLoader

    assert torch is tritorch and nn is tritorch.nn and F is tritorch.nn.functional
    assert DataLoader is tritorch.utils.data.DataLoader
    assert StepLR is tritorch.optim.lr_scheduler.StepLR
    assert torch.__version__ >= "2.0" and tuple(map(int, torch.__version__.split(".")[:2])) >= (
        2,
        0,
    )


def test_pytorchs_inner_modules_find_names_around_them(hooked: None) -> None:
    from torch.autograd.variable import Variable
    from torch.nn.modules.conv import Conv2d
    from torch.nn.modules.module import _addindent
    from torch.nn.modules.utils import _pair, _reverse_repeat_tuple
    from torch.nn.parameter import Parameter
    from torch.optim.optimizer import Optimizer
    from torch.utils.data.dataset import Dataset

    assert Conv2d is tritorch.nn.Conv2d and Parameter is tritorch.nn.Parameter
    assert Optimizer is tritorch.optim.Optimizer and Dataset is tritorch.utils.data.Dataset
    assert Variable is not None
    assert _addindent("a\nb\nc", 2) == "a\n  b\n  c"
    assert _pair(3) == (3, 3) and _pair([1, 2]) == (1, 2)
    assert _reverse_repeat_tuple((1, 2), 2) == (2, 2, 1, 1)


def test_pytorchs_inner_modules_are_reached_without_an_import(hooked: None) -> None:
    import torch

    files, nn = torch.nn.modules, tritorch.nn
    assert files.activation.MultiheadAttention is nn.MultiheadAttention
    assert files.normalization.LayerNorm is nn.LayerNorm
    assert files.container.ModuleList is nn.ModuleList
    attention = nn.MultiheadAttention(4, 2)
    assert isinstance(attention.out_proj, files.linear.NonDynamicallyQuantizableLinear)
    clones = files.transformer._get_clones(nn.Linear(1, 2), 3)
    assert len(clones) == 3 and clones[0].weight is not clones[1].weight
    assert torch.functional.einsum is tritorch.einsum
    with pytest.raises(AttributeError, match="Linnear"):
        _ = files.linear.Linnear


def test_base_classes_of_layers_are_those_of_the_layers(hooked: None) -> None:
    from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
    from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
    from torch.nn.modules.dropout import _DropoutNd
    from torch.nn.modules.instancenorm import _InstanceNorm
    from torch.nn.modules.lazy import LazyModuleMixin
    from torch.nn.modules.loss import _Loss, _WeightedLoss
    from torch.nn.modules.padding import _ConstantPadNd, _ReflectionPadNd, _ReplicationPadNd
    from torch.nn.modules.pooling import (
        _AdaptiveAvgPoolNd,
        _AvgPoolNd,
        _LPPoolNd,
        _MaxPoolNd,
        _MaxUnpoolNd,
    )

    nn = tritorch.nn
    for base, layers in {
        _BatchNorm: (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
        _NormBase: (nn.BatchNorm2d, nn.InstanceNorm1d),
        _InstanceNorm: (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
        _ConvNd: (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d),
        _ConvTransposeNd: (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
        _DropoutNd: (nn.Dropout, nn.Dropout2d, nn.AlphaDropout),
        _Loss: (nn.MSELoss, nn.CrossEntropyLoss, nn.CTCLoss),
        _WeightedLoss: (nn.CrossEntropyLoss, nn.NLLLoss, nn.BCELoss),
        _ConstantPadNd: (nn.ConstantPad1d, nn.ZeroPad2d),
        _ReflectionPadNd: (nn.ReflectionPad1d, nn.ReflectionPad3d),
        _ReplicationPadNd: (nn.ReplicationPad2d,),
        _AvgPoolNd: (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
        _MaxPoolNd: (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
        _MaxUnpoolNd: (nn.MaxUnpool1d, nn.MaxUnpool2d),
        _LPPoolNd: (nn.LPPool1d, nn.LPPool2d),
        _AdaptiveAvgPoolNd: (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d),
        LazyModuleMixin: (nn.LazyLinear, nn.LazyConv2d),
    }.items():
        assert all(issubclass(layer, base) for layer in layers), base
    assert not issubclass(nn.GroupNorm, _NormBase) and not issubclass(nn.Conv2d, _ConvTransposeNd)


def test_files_of_modules_are_imported_after_they_were_reached(hooked: None) -> None:
    import torch

    assert torch.nn.modules.dropout.Dropout is tritorch.nn.Dropout
    dropout = importlib.import_module("torch.nn.modules.dropout")
    assert dropout._DropoutNd is tritorch.nn.Dropout.__mro__[1]


def test_parts_of_amp_and_utils_are_files_of_their_own(hooked: None) -> None:
    import torch
    from torch.cpu.amp.autocast_mode import autocast as on_cpu
    from torch.cuda.amp.autocast_mode import autocast, custom_bwd, custom_fwd
    from torch.cuda.amp.common import amp_definitely_not_available
    from torch.cuda.amp.grad_scaler import GradScaler, OptState
    from torch.profiler.profiler import ProfilerAction
    from torch.utils.data.datapipes.iter.combining import ForkerIterDataPipe
    from torch.utils.data.datapipes.iter.filelister import FileListerIterDataPipe
    from torch.utils.hooks import RemovableHandle

    assert ProfilerAction is tritorch.profiler.ProfilerAction
    pipes = tritorch.utils.data.datapipes.iter
    assert ForkerIterDataPipe is pipes.Forker and FileListerIterDataPipe is pipes.FileLister
    amp, utils = tritorch.cuda.amp, tritorch.nn.utils
    assert autocast is amp.autocast and GradScaler is amp.GradScaler
    assert custom_fwd is amp.custom_fwd and custom_bwd is amp.custom_bwd
    assert on_cpu is tritorch.cpu.amp.autocast
    assert OptState is tritorch.amp.grad_scaler.OptState and amp_definitely_not_available()
    assert torch.nn.utils.clip_grad.clip_grad_norm_ is utils.clip_grad_norm_
    assert torch.nn.utils.convert_parameters.parameters_to_vector is utils.parameters_to_vector
    handle = torch.nn.ReLU().register_forward_hook(print)
    assert isinstance(handle, RemovableHandle)


def test_a_capsule_of_dlpack_lends_its_memory_once() -> None:
    from tritorch.utils.dlpack import from_dlpack, to_dlpack

    x = tritorch.arange(6).reshape(2, 3).t()
    capsule = to_dlpack(x)
    y = from_dlpack(capsule)
    y[2, 1] = 50
    assert y.tolist() == [[0, 3], [1, 4], [2, 50]] and y.data_ptr() == x.data_ptr()
    with pytest.raises(RuntimeError, match="consumed already"):
        tritorch.from_dlpack(capsule)


def test_trees() -> None:
    from collections import OrderedDict, defaultdict, deque, namedtuple

    from tritorch.utils import _pytree

    Pair = namedtuple("Pair", "a b")
    tree = {"x": [1, (2, None)], "y": Pair(3, OrderedDict(k=4)), "z": defaultdict(int, q=5)}
    leaves, spec = _pytree.tree_flatten(tree)
    assert leaves == [1, 2, None, 3, 4, 5] and spec.num_leaves == 6
    back = _pytree.tree_unflatten(leaves, spec)
    assert back == tree and type(back["y"]) is Pair and back["z"].default_factory is int
    doubled = _pytree.tree_map_only(int, lambda v: 2 * v, tree)
    assert doubled["x"] == [2, (4, None)] and doubled["y"].b == {"k": 8}
    assert _pytree.tree_map(lambda a, b: a + b, (1, [2]), (10, [20])) == (11, [22])
    pairs = _pytree.tree_leaves([(1, 2), [3]], is_leaf=lambda v: isinstance(v, tuple))
    assert pairs == [(1, 2), 3]
    assert _pytree.tree_map(str, deque([1], maxlen=3)).maxlen == 3
    with pytest.raises(ValueError, match="expected 6 leaves, got 1"):
        _pytree.tree_unflatten([1], spec)
    with pytest.raises(ValueError, match="already registered"):
        _pytree.register_pytree_node(list, list, list)  # type: ignore[arg-type]


def test_a_missing_name_is_an_error_where_it_is_used(hooked: None) -> None:
    import torch
    import torch.fx
    import torchvision
    from torch.nn import NoSuchLayer
    from torch.utils.cpp_extension import load

    assert isinstance(NoSuchLayer, Absent) and not isinstance(3, NoSuchLayer)
    with pytest.raises(NotImplementedError, match=r"torch\.nn\.NoSuchLayer: tritorch does not"):
        NoSuchLayer(3)
    with pytest.raises(NotImplementedError, match=r"torch\.utils\.cpp_extension\.load"):
        load("x")
    with pytest.raises(AttributeError, match=r"torch\.fx\.symbolic_trace.*dynamic"):
        torch.fx.symbolic_trace(lambda x: x)
    with pytest.raises(AttributeError, match=r"torch\.cuda\.MemPool: .*: tensors are of one pool"):
        torch.cuda.MemPool()
    for part in (torch.distributions, torch.nn.functional, torchvision.models):
        with pytest.raises(AttributeError, match=r"^torch.*NoSuchName: tritorch does not have it"):
            part.NoSuchName()  # pyright: ignore[reportAttributeAccessIssue]
    assert not hasattr(torch, "no_such_function") and not hasattr(torch.nn, "NoSuchLayer")

    class Derived(NoSuchLayer):
        pass

    with pytest.raises(NotImplementedError, match="NoSuchLayer"):
        Derived()
    with pytest.raises(ImportError):
        import torch.no_such_namespace


def test_undoing_leaves_nothing() -> None:
    prepare = multiprocessing.spawn.get_preparation_data
    before = set(vars(tritorch)), set(vars(tritorch.nn)), set(sys.modules), tritorch.__version__
    install_as_torch()
    inner = importlib.import_module("torch.nn.modules.conv")
    importlib.import_module("torch.fx.node")

    assert inner.Conv2d is tritorch.nn.Conv2d
    install_as_torch()  # a second call is nothing
    assert multiprocessing.spawn.get_preparation_data is not prepare
    uninstall_as_torch()
    assert multiprocessing.spawn.get_preparation_data is prepare
    assert set(vars(tritorch)) == before[0] and set(vars(tritorch.nn)) == before[1]
    assert not [n for n in sys.modules if n.partition(".")[0] == "torch"]
    assert tritorch.__version__ == before[3]
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("torch")


def test_another_torch_that_was_imported_is_not_replaced(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", type(sys)("torch"))
    with pytest.raises(RuntimeError, match="imported before"):
        install_as_torch()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("v >= '1.8'", True),
        ("v < '2.9'", False),
        ("v > (1, 13)", True),
        ("v == '2.13.0'", True),
        ("v != '2.13.1'", True),
        ("v <= '10'", True),
        ("v.split('.')[0] == '2'", True),
        ("hash(v) == hash(str(v))", True),
    ],
)
def test_versions_compare_by_their_numbers(expression: str, expected: bool) -> None:
    assert eval(expression, {"v": TorchVersion("2.13.0+tritorch")}) is expected


SCRIPT = """
import argparse
import torch, torch.nn as nn
import torch.distributed as dist
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=1)
parser.add_argument("--no-cuda", action="store_true")
args = parser.parse_args()
device = torch.device("cuda" if torch.cuda.is_available() and not args.no_cuda else "cpu")

@torch.jit.script
def double(x: torch.Tensor) -> torch.Tensor:
    return x * 2

if __name__ == "__main__":
    torch.manual_seed(0)
    model = nn.Linear(4, 1).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = TensorDataset(torch.randn(16, 4), torch.randn(16, 1))
    rank = dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
    for _ in range(args.steps):
        for x, y in DataLoader(data, batch_size=8):
            loss = nn.functional.mse_loss(model(double(x)), y)
            optimizer.zero_grad(); loss.backward(); optimizer.step()
    print("rank", rank, "finite", torch.isfinite(loss).item(), __file__.endswith("train.py"))
"""


def run(*args: object, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tritorch", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


def test_a_script_runs_unchanged(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    done = run("train.py", "--steps", 2, "--no-cuda", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["rank", "0", "finite", "True", "True"]
    assert "compiles no scripts" in done.stderr
    done = run("-m", "train", "--no-cuda", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_errors_and_exit_codes_of_scripts_are_theirs(tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text("import sys, torch\nsys.exit(7)\n")
    assert run("fails.py", cwd=tmp_path).returncode == 7
    (tmp_path / "raises.py").write_text("import torch\ntorch.ones(2) @ torch.ones(3)\n")
    done = run("raises.py", cwd=tmp_path)
    assert done.returncode == 1 and "raises.py" in done.stderr and "RuntimeError" in done.stderr
    done = run("absent.py", cwd=tmp_path)
    assert done.returncode == 1 and "no such file" in done.stderr
    assert run(cwd=tmp_path).returncode == 2


SPAWNS = """
import torch, torch.nn as nn, torch.nn.functional as F
import torch.multiprocessing as mp
from torch.utils.data import DataLoader, Dataset

class Squares(Dataset):
    def __init__(self, f):
        self.f = f
    def __len__(self):
        return 6
    def __getitem__(self, k):
        return self.f(torch.tensor(float(k - 2)))

def train(rank, model, queue):
    assert torch.__version__ >= "2.0" and isinstance(model, nn.Module)
    queue.put((rank, model(torch.ones(2)).item()))

if __name__ == "__main__":
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
    for method in ("spawn", "forkserver"):
        loader = DataLoader(Squares(F.relu), 3, num_workers=2, multiprocessing_context=method)
        print([x.tolist() for x in loader])
    mp.set_start_method("spawn", force=True)
    model, queue = nn.Linear(2, 1), mp.Queue()
    for p in model.parameters():
        nn.init.constant_(p, 2.0)
    processes = [mp.Process(target=train, args=(k, model, queue)) for k in range(2)]
    for p in processes:
        p.start()
    print(sorted(queue.get() for p in processes))
    for p in processes:
        p.join()
"""


def test_processes_started_anew_have_it_too(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SPAWNS)
    done = run("train.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    batches = "[[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]"
    assert done.stdout.splitlines() == [batches, batches, "[(0, 6.0), (1, 6.0)]"]


def test_without_an_accelerator() -> None:
    accelerator = tritorch.accelerator
    if accelerator.is_available():
        pytest.skip("there is one here")
    assert accelerator.current_accelerator() is None and accelerator.device_count() == 0
    with pytest.raises(RuntimeError, match="when none is available"):
        accelerator.synchronize()
    for name in ("get_memory_info", "get_device_capability", "reset_accumulated_memory_stats"):
        with pytest.raises(RuntimeError, match="when none is available"):
            getattr(accelerator, name)()
    with pytest.raises(RuntimeError, match="when none is available"):
        accelerator.empty_host_cache()
    with accelerator.device_index(None):
        pass


def test_the_module_version(hooked: None) -> None:
    import torch.version

    assert torch.version.__version__ == torch.__version__ and torch.version.cuda is None
    assert not hasattr(torch.version, "no_such_name")


class Doubled(tritorch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = tritorch.nn.Linear(2, 3)

    def forward(self, x: tritorch.Tensor) -> tritorch.Tensor:
        return 2 * self.layer(x)


@pytest.mark.filterwarnings("ignore:torch.jit.trace")
def test_traced_modules_are_saved_whole(tmp_path: Path) -> None:
    x, jit = tritorch.ones(1, 2), tritorch.jit
    traced: Any = jit.trace(Doubled(), x)
    file = str(tmp_path / "traced.pt")
    traced.save(file)
    again = jit.load(file)
    assert type(again) is Doubled and tritorch.equal(again(x), traced(x))
    assert list(traced.state_dict()) == ["layer.weight", "layer.bias"]
    copied = copy.deepcopy(traced)
    copied.layer.weight.data.zero_()
    copied.save(file)
    assert jit.load(file).layer.weight.abs().sum() == 0 != again.layer.weight.abs().sum()
    tritorch.save(traced.state_dict(), file)
    with pytest.raises(RuntimeError, match="holds a OrderedDict, not a module"):
        jit.load(file)
    with pytest.raises(TypeError, match="expected a module, got int"):
        jit.save(3, file)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError, match="extra files are not written"):
        jit.save(traced, file, {"more": ""})
