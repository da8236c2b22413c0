"""Checks of functions given to pipes, names of files, and streams that close themselves."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import inspect
import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = [
    "StreamWrapper",
    "get_file_binaries_from_pathnames",
    "get_file_pathnames_from_root",
    "match_masks",
    "validate_input_col",
    "validate_pathname_binary_tuple",
]


def validate_input_col(fn: Callable, input_col: Any) -> None:
    """ValueError where a function does not take as many arguments as there are columns.

    Keywords without a default are refused. A built-in without a signature passes.
    """
    try:
        taken = inspect.signature(fn).parameters.values()
    except ValueError:
        return
    n = len(input_col) if isinstance(input_col, list | tuple) else 1
    plain = getattr(fn, "func", fn) if isinstance(fn, functools.partial) else fn
    name = getattr(plain, "__name__", repr(plain))
    wanted = [p for p in taken if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if wanted:
        raise ValueError(
            f"The function {name} takes {len(wanted)} non-default keyword-only parameters, which "
            "is not allowed."
        )
    positional = [p for p in taken if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    any_number = any(p.kind is p.VAR_POSITIONAL for p in taken)
    too_few = len(positional) < n and not any_number
    if too_few or any(p.default is p.empty for p in positional[n:]):
        raise ValueError(
            f"The function {name} takes {len(positional)} positional parameters, but {n} are "
            "required."
        )


def _check_unpickable_fn(fn: Callable) -> None:
    """TypeError for what cannot be called; a warning for a function that cannot be pickled."""
    if not callable(fn):
        raise TypeError(f"A callable function is expected, but {type(fn)} is provided.")
    plain = fn.func if isinstance(fn, functools.partial) else fn
    if getattr(plain, "__name__", "") == "<lambda>" and not _is_local_fn(plain):
        kind = "Lambda"
    elif _is_local_fn(plain):
        kind = "Local"
    else:
        return
    warnings.warn(
        f"{kind} function is not supported by pickle, please use regular python function or "
        "functools.partial instead.",
        stacklevel=3,
    )


def _is_local_fn(fn: Any) -> bool:
    if hasattr(fn, "__code__"):
        return bool(fn.__code__.co_flags & inspect.CO_NESTED)
    return "<locals>" in getattr(fn, "__qualname__", type(fn).__qualname__)


def match_masks(name: str, masks: str | list[str]) -> bool:
    """Whether a name of a file fits one of the patterns; all names do where there is none."""
    masks = [masks] if isinstance(masks, str) else masks
    return not any(masks) or any(fnmatch.fnmatch(name, mask) for mask in masks)


def get_file_pathnames_from_root(
    root: str,
    masks: str | list[str],
    recursive: bool = False,
    abspath: bool = False,
    non_deterministic: bool = False,
) -> Iterator[str]:
    """The files of a folder whose names fit `masks`, or the one file `root`, in sorted order."""

    def refuse(error: OSError) -> None:
        warnings.warn(f"{error.filename} : {error.strerror}", stacklevel=2)
        raise error

    if os.path.isfile(root):
        if match_masks(os.path.basename(root), masks):
            yield os.path.abspath(root) if abspath else root
        return
    for folder, folders, files in os.walk(root, onerror=refuse):
        folder = os.path.abspath(folder) if abspath else folder
        if not non_deterministic:
            files.sort()
            folders.sort()  # os.walk goes on in this list
        yield from (os.path.join(folder, f) for f in files if match_masks(f, masks))
        if not recursive:
            return


def get_file_binaries_from_pathnames(
    pathnames: Iterable[str], mode: str, encoding: str | None = None
) -> Iterator[tuple[str, StreamWrapper]]:
    """Each name with the file opened, by a `mode` that may leave out the `r`."""
    mode = f"r{mode}" if mode in ("b", "t") else mode
    for pathname in pathnames if isinstance(pathnames, Iterable) else [pathnames]:
        if not isinstance(pathname, str):
            raise TypeError(f"Expected string type for pathname, but got {type(pathname)}")
        yield pathname, StreamWrapper(open(pathname, mode, encoding=encoding))  # noqa: SIM115


def validate_pathname_binary_tuple(data: Any) -> None:
    """TypeError for what is not a name with a stream."""
    what = "pathname binary"
    if not isinstance(data, tuple):
        raise TypeError(f"{what} data should be tuple type, but it is type {type(data)}")
    if len(data) != 2:
        raise TypeError(f"{what} stream tuple length should be 2, but got {len(data)}")
    if not isinstance(data[0], str):
        raise TypeError(f"{what}: the pathname should be a string, but it is type {type(data[0])}")
    if not isinstance(data[1], io.IOBase | StreamWrapper):
        raise TypeError(f"{what}: the stream should be of IOBase, but it is type {type(data[1])}")


class StreamWrapper:
    """A stream that is closed when nothing refers to it any more.

    `autoclose` closes it as soon as the streams that were opened of it, as the members of an
    archive, are closed. `debug_unclosed_streams` keeps those open in `session_streams`.
    """

    session_streams: dict[Any, int] = {}
    debug_unclosed_streams = False

    def __init__(self, file_obj: Any, parent_stream: Any = None, name: str | None = None) -> None:
        self.file_obj, self.parent_stream, self.name = file_obj, parent_stream, name
        self.child_counter, self.close_on_last_child, self.closed = 0, False, False
        if parent_stream is not None:
            if not isinstance(parent_stream, StreamWrapper):
                raise RuntimeError(
                    f"Parent stream should be StreamWrapper, {type(parent_stream)} was given"
                )
            parent_stream.child_counter += 1
        if StreamWrapper.debug_unclosed_streams:
            StreamWrapper.session_streams[self] = 1

    @classmethod
    def close_streams(cls, v: Any, depth: int = 0) -> None:
        """Close the streams in nested dicts, lists and tuples."""
        if isinstance(v, StreamWrapper):
            v.close()
        elif depth <= 10 and isinstance(v, dict | list | tuple):
            for value in v.values() if isinstance(v, dict) else v:
                cls.close_streams(value, depth + 1)

    def close(self, *args: Any, **kwargs: Any) -> None:
        """Close the stream, and its parent where that waits for it."""
        if self.closed:
            return
        self.closed = True
        StreamWrapper.session_streams.pop(self, None)
        parent = self.parent_stream
        if parent is not None:
            parent.child_counter -= 1
            if not parent.child_counter and parent.close_on_last_child:
                parent.close()
        with contextlib.suppress(AttributeError):  # not every stream can be closed
            self.file_obj.close(*args, **kwargs)

    def autoclose(self) -> None:
        """Close it now, or with the last stream that was opened of it."""
        self.close_on_last_child = True
        if not self.child_counter:
            self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["file_obj"], name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self.file_obj)})

    def __del__(self) -> None:
        if not self.__dict__.get("closed", True):
            self.close()

    def __iter__(self) -> Iterator[Any]:
        yield from self.file_obj

    def __next__(self) -> Any:
        return next(self.file_obj)

    def __repr__(self) -> str:
        named = "" if self.name is None else f"{self.name},"
        return f"StreamWrapper<{named}{self.file_obj!r}>"

    def __getstate__(self) -> Any:
        return self.file_obj

    def __setstate__(self, file_obj: Any) -> None:
        StreamWrapper.__init__(self, file_obj)
