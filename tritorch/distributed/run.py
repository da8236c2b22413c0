"""Start a program in several processes: `python -m tritorch.distributed.run script.py args...`.

What `torchrun` does. Each process gets RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT,
from which `init_process_group` reads; `import torch` is answered as by `python -m tritorch`. Over
several machines, start it on each with the same master and another `--node-rank`. Where one process
fails the others are ended, and the exit code is the failed one's.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

__all__ = ["main"]

GRACE = 10.0  # seconds between SIGTERM and SIGKILL


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser("python -m tritorch.distributed.run", description=__doc__)
    add = found.add_argument
    add(
        "--nproc-per-node", "--nproc_per_node", default="1", help="processes here; cpu: a core each"
    )
    add("--nnodes", type=int, default=1, help="how many machines take part")
    add("--node-rank", "--node_rank", type=int, default=0, help="which of them this is")
    add("--master-addr", "--master_addr", default="127.0.0.1", help="where rank 0 runs")
    add("--master-port", "--master_port", type=int, default=0, help="its port; 0: a free one")
    add("--standalone", action="store_true", help="on this machine alone, at a free port")
    add("-m", "--module", action="store_true", help="the program is a module's name")
    add("program")
    add("args", nargs=argparse.REMAINDER)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run as the command line says; the exit code."""
    cli = parser()
    options = cli.parse_args(argv)
    count = _count(cli, options.nproc_per_node)
    if not 0 <= options.node_rank < options.nnodes:
        cli.error(f"--node-rank {options.node_rank} is not in [0, {options.nnodes})")
    if options.standalone:
        options.master_addr, options.master_port = "127.0.0.1", 0
    if options.nnodes > 1 and not options.master_port:
        cli.error("several machines need --master-addr and --master-port")
    port = options.master_port or _free_port()
    command = [sys.executable, "-m", "tritorch", *(["-m"] if options.module else [])]
    command += [options.program, *options.args]
    processes = []
    for local in range(count):
        environment = {
            **os.environ,
            "RANK": str(options.node_rank * count + local),
            "LOCAL_RANK": str(local),
            "GROUP_RANK": str(options.node_rank),
            "WORLD_SIZE": str(options.nnodes * count),
            "LOCAL_WORLD_SIZE": str(count),
            "MASTER_ADDR": options.master_addr,
            "MASTER_PORT": str(port),
            "TORCHELASTIC_RUN_ID": "none",
        }
        if count > 1:  # processes that each take all cores would be in each other's way
            environment.setdefault("OMP_NUM_THREADS", "1")
        processes.append(subprocess.Popen(command, env=environment))
    return _watch(processes)


def _count(cli: argparse.ArgumentParser, text: str) -> int:
    if text in ("cpu", "auto"):
        return os.cpu_count() or 1
    if not text.isdecimal() or not int(text):
        cli.error(f"--nproc-per-node is a positive number or cpu, got {text!r}")
    return int(text)


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _watch(processes: list[subprocess.Popen]) -> int:
    """Until all have ended, or the first has failed."""
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        while True:
            codes = [p.poll() for p in processes]
            failed = next(((i, code) for i, code in enumerate(codes) if code), None)
            if failed is not None:
                which, code = failed
                print(f"process {which} ended with the exit code {code}", file=sys.stderr)
                return code if code > 0 else 128 - code  # as shells say it of signals
            if all(code == 0 for code in codes):
                return 0
            time.sleep(0.05)
    finally:
        _end(processes)
        signal.signal(signal.SIGTERM, previous)


def _end(processes: list[subprocess.Popen]) -> None:
    for p in processes:
        if p.poll() is None:
            p.terminate()
    end = time.monotonic() + GRACE
    for p in processes:
        try:
            p.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()


if __name__ == "__main__":
    sys.exit(main())
