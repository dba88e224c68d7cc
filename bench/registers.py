#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""registers.py [--clattn build/clattn] [--device gpu] - registers and spills of the matrix engines' kernels, by the words of NVIDIA's compiler.

Every problem's kernels are built anew by `clattn explain --build-log`, and a row is printed for each forward kernel.  Exit status 1 if a
plain kernel spills more than its bound here, if any kernel brings a warning of products that run one after the other (C75xx), or if
the compiler says nothing of a kernel.
"""
import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import typing


class Row(typing.NamedTuple):
    problem: str
    engine: str
    bound: typing.Optional[int] = None  # bytes of spill stores that a plain, tuned kernel may have; None: only reported
    rules: tuple = ()


# The bounds are what was measured on an H200 with driver 580.159.04, 2026-11-27, or a little more.  A change that needs more has to say why:
# with three consumers (d 64) the producer and the planner have 32 registers each, and keep 120 bytes of what they know of a tile elsewhere,
# once a tile; the loops with products spill nothing.  matrix-mma's rows are problems whose keys are not cut: parts, with their log-sum-exp
# and f32 outputs, spill up to 92 bytes beside the loop.
ROWS = [
    Row("attn:f16:h4:q512:k1024:d64", "matrix-wgmma", 32), Row("attn:bf16:h4:q512:k1024:d64", "matrix-wgmma", 32),
    Row("attn:f16:h4:q512:k1024:d64:causal-br", "matrix-wgmma", 128), Row("attn:f16:h4:q100:k1024:d64", "matrix-wgmma", 32),
    Row("attn:f16:h4:q512:k1024:d128", "matrix-wgmma", 32), Row("attn:bf16:h4:q512:k1024:d128", "matrix-wgmma", 32),
    Row("attn:f16:h4:q512:k1024:d128:causal-br", "matrix-wgmma", 32), Row("attn:f16:h4:q16:k1024:d128", "matrix-wgmma", 32),
    Row("attn:f16:h4:q512:k1024:d64:lse", "matrix-wgmma"), Row("attn:f16:h4:q512:k1024:d128:lse", "matrix-wgmma"),
    Row("attn:f16:h4:q512:k1024:d96", "matrix-wgmma"), Row("attn:f16:h4:q512:k1024:d256", "matrix-wgmma", 32),
    Row("attn:f16:h8/2:q1:k1024:d128", "matrix-decode", 12), Row("attn:f16:h8/2:q1:k1024:d64", "matrix-decode", 12),
    Row("attn:f16:h4:q512:k1024:d128", "matrix-wgmma", rules=("--mechanism", "alibi")),
    Row("attn:f16:h4:q512:k1024:d128", "matrix-wgmma", rules=("--mechanism", "soft_cap")),
    Row("attn:f16:b8:h16:q512:k1024:d64", "matrix-mma", 0), Row("attn:f16:b8:h16:q512:k1024:d128", "matrix-mma", 32),
    Row("attn:f16:b8:h16:q512:k1024:d96", "matrix-mma", 0), Row("attn:f16:b8:h16:q512:k1024:d192", "matrix-mma", 0), Row("attn:f16:b8:h16:q512:k1024:d256", "matrix-mma", 32),
    Row("attn:bf16:b8:h16:q512:k1024:d128", "matrix-mma", 32), Row("attn:f16:h4:q16:k1024:d128", "matrix-mma", 0),
    Row("attn:f32:h4:q512:k1024:d64", "matrix-tf32x3", 0), Row("attn:f32:h4:q512:k1024:d128", "matrix-tf32x3", 64),
]


def read_log(log):
    """What the compiler says of the forward kernel that runs: of an edited one, the words after the edit."""
    said = {}
    for line in log.splitlines():
        match = re.match(r"program (forward\w*)(, edited)?: compiler: (.*)", line)
        if match:
            said.setdefault(bool(match[2]), []).append(match[3])
    return "\n".join(said.get(True, said.get(False, [])))


def number(pattern, text):
    found = re.findall(pattern, text)
    return max(map(int, found)) if found else None


def measure(options, row):
    environment = dict(os.environ, CUDA_CACHE_DISABLE="1")  # a driver that loads a program from its cache says nothing of it
    done = subprocess.run([options.clattn, "explain", "--build-log", "--device", options.device, "--engine", row.engine, *row.rules,
                           row.problem], capture_output=True, text=True, env=environment)
    words = read_log(done.stdout)
    cells = {"registers": number(r"Used (\d+) registers", words), "stack": number(r"(\d+) bytes stack frame", words),
             "spill stores": number(r"(\d+) bytes spill stores", words), "spill loads": number(r"(\d+) bytes spill loads", words)}
    warnings = sorted(set(re.findall(r"C75\d\d", done.stdout)))
    wrong = []
    if done.returncode or cells["registers"] is None:
        wrong.append(done.stderr.strip() or "the compiler says nothing of it")
    if row.bound is not None and (cells["spill stores"] or 0) > row.bound:
        wrong.append(f"spills more than {row.bound} bytes")
    return cells, warnings, wrong + [warning + " warns" for warning in warnings]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clattn", default="build/clattn")
    parser.add_argument("--device", default="gpu")
    options = parser.parse_args()
    with concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count())) as pool:
        results = list(pool.map(lambda row: measure(options, row), ROWS))
    print("| kernel | engine | registers | stack, bytes | spill stores | spill loads | bound | warnings |\n|---|---|---|---|---|---|---|---|")
    failed = False
    for row, (cells, warnings, wrong) in zip(ROWS, results):
        shown = ["-" if value is None else str(value) for value in cells.values()]
        print("| " + " | ".join([" ".join((row.problem,) + row.rules[1:]), row.engine] + shown +
                                ["-" if row.bound is None else str(row.bound), ", ".join(warnings) or "-"]) + " |")
        for reason in wrong:
            print(f"FAILED: {row.problem} by {row.engine}: {reason}", file=sys.stderr)
        failed |= bool(wrong)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
