"""Run the notebooks: `python tutorials/check.py [NAME ...]`, a name a number or its start.

    --third     a third of them, another one every day
    --write     keep what they print and draw: in the notebooks, pictures/ and the map in README.md
    --limit 90  seconds that one may take

Exit code 1 where a cell raised, or a notebook took too long.
"""

from __future__ import annotations

import argparse
import base64
import datetime
import io
import re
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
MAP = re.compile(r"(<!-- map: part (\d) -->\n).*?(<!-- end -->)", re.DOTALL)


def notebooks(names: list[str], third: int | None = None) -> list[Path]:
    """The notebooks whose file names start with one of the names, or all; or a third of those."""
    found = sorted(HERE.glob("[0-9]*.ipynb"))
    if names:
        for name in names:
            if not any(path.name.startswith(name) for path in found):
                sys.exit(f"tutorials: no notebook {name!r} in {HERE.name}/")
        found = [path for path in found if path.name.startswith(tuple(names))]
    return found if third is None else found[third % 3 :: 3]


def execute(notebook: Any, limit: float) -> None:
    """Run the cells in a kernel of their own, here; TimeoutError after `limit` seconds."""
    from nbclient import NotebookClient

    client = NotebookClient(
        notebook,
        kernel_name="python3",
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],  # a newer kernel warns that it runs over TCP
        resources={"metadata": {"path": str(HERE)}},
    )
    end = time.monotonic() + limit
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            client.timeout = max(round(end - time.monotonic()), 1)
            client.execute_cell(cell, index)


def joined(outputs: list) -> list:
    """The outputs, what was printed in pieces one after the other as one."""
    found: list = []
    for output in outputs:
        before = found[-1] if found else {}
        if output["output_type"] == "stream" and before.get("name") == output["name"]:
            before["text"] += output["text"]
        else:
            found.append(output)
    return found


def printed(cell: Any) -> list[str]:
    """The lines that a cell printed, but empty ones."""
    text = "".join(o["text"] for o in cell["outputs"] if o.get("name") == "stdout")
    return [line.strip() for line in text.splitlines() if line.strip()]


def tidy(notebook: Any) -> None:
    """Leave nothing that differs from run to run, nor what belongs to this machine's Python."""
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


def run(path: Path, limit: float, write: bool) -> str:
    """Run one notebook, and keep its results if asked; what went wrong, or nothing."""
    import nbformat
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    notebook = nbformat.read(path, as_version=4)
    try:
        execute(notebook, limit)
    except CellExecutionError as error:
        return COLOUR.sub("", str(error)).strip()
    except DeadKernelError:
        return "the kernel died"
    except TimeoutError:
        return f"took more than {limit:g} s"
    if write:
        tidy(notebook)
        nbformat.write(notebook, path)
        cover(notebook, HERE / "pictures" / f"{path.stem}.png")
    return ""


def tagged(notebook: Any, tag: str) -> Any:
    """The one cell with this tag."""
    (cell,) = [c for c in notebook["cells"] if tag in c["metadata"].get("tags", [])]
    return cell


def cover(notebook: Any, target: Path, width: int = 360) -> None:
    """The last picture of the cell tagged `cover`, made small."""
    from PIL import Image

    drawn = [o.data["image/png"] for o in tagged(notebook, "cover").outputs if "data" in o]
    image = Image.open(io.BytesIO(base64.b64decode(drawn[-1]))).convert("RGB")
    height = round(image.height * width / image.width)
    target.parent.mkdir(exist_ok=True)
    image = image.resize((width, height), Image.Resampling.LANCZOS)
    image.quantize(128).save(target, optimize=True)


def entry(path: Path) -> str:
    """A notebook's row of the map: its picture, title, first sentence and, once run, its result."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    title, text = notebook.cells[0].source.split("\n", 1)
    sentence = re.split(r"(?<=\.)\s", " ".join(text.split()), maxsplit=1)[0]
    lines = printed(tagged(notebook, "result"))
    result = f"<br>*{lines[-1]}*" if lines else ""
    picture = f'<a href="{path.name}"><img src="pictures/{path.stem}.png" width="220" alt=""></a>'
    return f"| {picture} | **[{title.strip('# ')}]({path.name})**<br>{sentence}{result} |"


def draw_map(readme: Path) -> None:
    """Write the rows of README.md, part by part."""

    def rows(match: re.Match) -> str:
        lines = [entry(path) for path in sorted(HERE.glob(f"{match[2]}*.ipynb"))]
        table = "\n".join(["| | |", "| --- | --- |", *lines]) + "\n" if lines else ""
        return match[1] + table + match[3]

    readme.write_text(MAP.sub(rows, readme.read_text()))


def main(argv: list[str] | None = None) -> int:
    """Read the command line and run; 1 where one failed."""
    parser = argparse.ArgumentParser(description="Run the notebooks.")
    parser.add_argument("names", nargs="*", help="numbers, or the start of one (default: all)")
    parser.add_argument("--third", action="store_true", help="a third of them, another every day")
    parser.add_argument("--write", action="store_true", help="keep outputs, pictures and the map")
    parser.add_argument("--limit", type=float, default=90, help="seconds for each (default: 90)")
    options = parser.parse_args(argv)
    third = datetime.date.today().toordinal() % 3 if options.third else None
    chosen, failed = notebooks(options.names, third), []
    for path in chosen:
        start = time.perf_counter()
        problem = run(path, options.limit, options.write)
        failed += [path.stem] * bool(problem)
        print(f"{path.stem:32} {time.perf_counter() - start:5.1f} s  {problem or 'ok'}", flush=True)
    if failed:
        print(f"tutorials: {len(failed)} of {len(chosen)} failed: {', '.join(failed)}")
    elif options.write:
        draw_map(HERE / "README.md")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
