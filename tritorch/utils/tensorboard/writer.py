"""`SummaryWriter`: scalars, images, histograms and more for TensorBoard."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from ... import dtypes
from ...tensor import Tensor

__all__ = ["SummaryWriter"]


def _backend() -> Any:
    try:
        import tensorboardX
    except ImportError as error:
        raise ImportError(
            "SummaryWriter writes through the package tensorboardX, which is not installed: "
            "pip install tensorboardX (and tensorboard, to look at the logs)"
        ) from error
    return tensorboardX


def _plain(value: Any) -> Any:
    """Tensors, also in containers, as NumPy arrays that the backend takes."""
    if isinstance(value, Tensor):
        t: Any = value.detach()
        t = t.to("cpu", dtypes.float32) if t.dtype.category == 2 and t.itemsize < 4 else t.cpu()
        return t.numpy()
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(_plain(v) for v in value)
    return value


def _passed_on(name: str, doc: str) -> Callable:
    """A method of the backend that takes tensors too."""

    def method(self: Any, *args: Any, **kwargs: Any) -> None:
        getattr(self._writer(), name)(*_plain(args), **_plain(kwargs))

    method.__name__ = method.__qualname__ = name
    method.__doc__ = doc
    return method


class SummaryWriter:
    """Writes logs into `log_dir`, by default `runs/<time>_<host><comment>`.

    Tensors of any dtype and device are taken where arrays are. Needs the package tensorboardX.

    Example:
        >>> import tritorch as torch
        >>> from tritorch.utils.tensorboard import SummaryWriter
        >>> with SummaryWriter("logs") as writer:  # doctest: +SKIP
        ...     writer.add_scalar("loss", torch.tensor(0.5), 1)
    """

    def __init__(
        self,
        log_dir: str | os.PathLike | None = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: int = 120,
        filename_suffix: str = "",
    ) -> None:
        make = _backend().SummaryWriter
        self._made: Any = None
        self._make = functools.partial(
            make,
            logdir=None if log_dir is None else os.fspath(log_dir),
            comment=comment,
            purge_step=purge_step,
            max_queue=max_queue,
            flush_secs=flush_secs,
            filename_suffix=filename_suffix,
        )
        self._writer()

    def _writer(self) -> Any:
        """The backend's writer; after `close` a new one for the same logs."""
        if self._made is None:
            self._made = self._make()
            self.log_dir = str(self._made.logdir)
            self._make.keywords["logdir"] = self.log_dir
        return self._made

    def get_logdir(self) -> str:
        """Where the logs are."""
        return self.log_dir

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
    ) -> None:
        """A number, under a name, at a step."""
        self._writer().add_scalar(tag, _plain(scalar_value), global_step, walltime)

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: dict[str, Any],
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Several numbers in one chart."""
        self._writer().add_scalars(main_tag, _plain(tag_scalar_dict), global_step, walltime)

    def add_histogram(
        self,
        tag: str,
        values: Any,
        global_step: int | None = None,
        bins: str = "tensorflow",
        walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:
        """The distribution of some values."""
        self._writer().add_histogram(tag, _plain(values), global_step, bins, walltime, max_bins)

    def add_image(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:
        """An image (3, H, W), or in the order that `dataformats` says."""
        self._writer().add_image(tag, _plain(img_tensor), global_step, walltime, dataformats)

    def add_images(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:
        """Images (N, 3, H, W), or in the order that `dataformats` says."""
        self._writer().add_images(tag, _plain(img_tensor), global_step, walltime, dataformats)

    def add_text(
        self,
        tag: str,
        text_string: str,
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Text, in Markdown."""
        self._writer().add_text(tag, text_string, global_step, walltime)

    def add_hparams(
        self,
        hparam_dict: dict[str, Any],
        metric_dict: dict[str, Any],
        hparam_domain_discrete: dict[str, list] | None = None,
        run_name: str | None = None,
        global_step: int | None = None,
    ) -> None:
        """The options of a run with what came of it, to be compared with other runs."""
        numbers = [
            {k: v.item() if isinstance(v, Tensor) else v for k, v in d.items()}
            for d in (hparam_dict, metric_dict)
        ]
        self._writer().add_hparams(*numbers, name=run_name, global_step=global_step)

    def add_graph(self, model: Any, input_to_model: Any = None, *args: Any, **kwargs: Any) -> None:
        """Refused: TensorBoard's graphs need a traced program of PyTorch's."""
        raise NotImplementedError(
            "add_graph: TensorBoard draws traced programs of PyTorch, which do not exist here; "
            "add_text(tag, repr(model)) keeps the model's description"
        )

    add_image_with_boxes = _passed_on("add_image_with_boxes", "An image with boxes drawn on it.")
    add_figure = _passed_on("add_figure", "A figure of matplotlib.")
    add_video = _passed_on("add_video", "A video (N, T, C, H, W).")
    add_audio = _passed_on("add_audio", "A sound (1, L).")
    add_embedding = _passed_on("add_embedding", "Points (N, D) with names and pictures.")
    add_pr_curve = _passed_on("add_pr_curve", "Precision against recall.")
    add_pr_curve_raw = _passed_on("add_pr_curve_raw", "Precision against recall, counted.")
    add_histogram_raw = _passed_on("add_histogram_raw", "A distribution, counted.")
    add_mesh = _passed_on("add_mesh", "Points and triangles in space.")
    add_custom_scalars = _passed_on("add_custom_scalars", "A layout of charts.")
    add_custom_scalars_multilinechart = _passed_on(
        "add_custom_scalars_multilinechart", "A chart of several scalars."
    )
    add_custom_scalars_marginchart = _passed_on(
        "add_custom_scalars_marginchart", "A chart of a scalar with its margins."
    )

    def flush(self) -> None:
        """Write what is waiting."""
        if self._made is not None:
            self._made.flush()

    def close(self) -> None:
        """Write what is waiting, and close the file."""
        if self._made is not None:
            self._made.close()
            self._made = None

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
