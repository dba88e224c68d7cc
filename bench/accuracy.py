#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""accuracy.py [--clattn build/clattn] [--device gpu] [--engines matrix-wgmma,matrix-mma,matrix-tf32x3 ...] - the error of every engine against double.

A cell is the largest error of o, and in brackets what part of its bound it is (doc/numerics.md), in the row where that part is largest.
Exit status 1 if a bound is exceeded.
"""
import argparse
import concurrent.futures
import os
import re
import subprocess
import sys

NORMAL, POISON, LARGE = 0, 1, 3  # what the seeds of `clattn verify' fill tensors with
CASES = [
    ("d 64", "b2:h4/2:q300:k700:d64:lse", NORMAL), ("d 128", "b2:h4/2:q300:k700:d128:lse", NORMAL),
    ("d 64, causal", "h4:q500:k500:d64:causal-br:lse", NORMAL), ("d 128, causal", "h4:q500:k500:d128:causal-br:lse", NORMAL),
    ("d 256", "b2:h4/2:q300:k700:d256:lse", NORMAL), ("d 192, causal", "h4:q500:k500:d192:causal-br:lse", NORMAL),
    ("d 72 / 40", "h4:q300:k300:d72/40", NORMAL), ("one query, 4000 keys", "b2:h8/2:q1:k4000:d128:lse", NORMAL),
    ("16384 keys", "h2:q64:k16384:d128", NORMAL),
    ("scores to 1e4, d 64", "h4:q300:k700:d64:lse", LARGE), ("scores to 1e4, d 128, causal", "h4:q300:k700:d128:causal-br:lse", LARGE),
    ("scores to 1e4, d 256, causal", "h4:q300:k700:d256:causal-br:lse", LARGE),
    ("100 rows that see nothing", "h4:q300:k200:d64:causal-br:lse", NORMAL), ("NaN where nothing is seen", "b3:h4:q300:k300:d64:causal-br:keylens:lse", POISON),
    ("the same, d 256", "b3:h4:q300:k300:d256:causal-br:keylens:lse", POISON),
]
STORAGES = {"matrix-wgmma": ["f16", "bf16"], "matrix-mma": ["f16", "bf16"], "portable": ["f16", "bf16", "f32"], "matrix-tf32x3": ["f32"],
            "blocked": ["f32"]}


def verify(options, engine, storage, problem, seed):
    done = subprocess.run([options.clattn, "verify", "--device", options.device, "--engine", engine, "--seed", str(seed),
                           f"attn:{storage}:{problem}"], capture_output=True, text=True)
    found = re.search(r"bound: ([^ ]+) \(([^ ]+) /", done.stdout)
    if done.returncode == 0 and found:
        return f"{found[2]} ({float(found[1]):.2f})", True
    if "refuses" in done.stdout or "forced engine" in done.stdout:
        return "-", True
    return "FAILED", False


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clattn", default="build/clattn")
    parser.add_argument("--device", default="gpu")
    parser.add_argument("--engines", default=",".join(STORAGES))
    options = parser.parse_args()
    columns = [(engine, storage) for engine in options.engines.split(",") for storage in STORAGES[engine]]
    with concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count())) as pool:
        rows = [[pool.submit(verify, options, engine, storage, problem, seed) for engine, storage in columns] for _, problem, seed in CASES]
    print("| case | " + " | ".join(f"{engine}, {storage}" for engine, storage in columns) + " |")
    print("|---|" + "---|" * len(columns))
    for (name, _, _), row in zip(CASES, rows):
        print(f"| {name} | " + " | ".join(cell.result()[0] for cell in row) + " |")
    wrong = sum(not cell.result()[1] for row in rows for cell in row)
    if wrong:
        print(f"FAILED: {wrong} cells of the table of accuracy", file=sys.stderr)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
