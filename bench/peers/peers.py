#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""peers.py [--clattn build/clattn] [--device cpu] [--rounds 5] [--csv FILE] - clattn beside PyTorch and ONNX Runtime, in one run.

Every round measures each shape with each program in turn, so that a machine whose clock or neighbours change is the same for
all; medians over the rounds are printed, and how many times as fast clattn is as the better peer.  A peer that is not
installed (pip install torch onnxruntime onnx) is left out by name.  Operations: 4 B H S^2 d, halved for causal.
"""
import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

# batch, heads, length, head size, causal, storage: the shapes of doc/performance.md
SHAPES = [
    (1, 8, 2048, 64, False, "f32"), (1, 8, 2048, 64, True, "f32"), (1, 8, 2048, 128, False, "f32"),
    (1, 8, 2048, 128, True, "f32"), (1, 32, 512, 64, False, "f32"), (8, 12, 128, 64, False, "f32"),
    (1, 8, 8192, 64, True, "f32"), (1, 8, 2048, 64, False, "bf16"), (1, 8, 2048, 64, True, "bf16"),
    (1, 8, 2048, 128, False, "bf16"), (1, 8, 2048, 128, True, "bf16"), (1, 32, 512, 64, False, "bf16"),
    (8, 12, 128, 64, False, "bf16"), (1, 8, 2048, 64, False, "f16"), (1, 8, 2048, 64, True, "f16"),
]
SECONDS = 0.6  # a program's share of a round


def operations(shape):
    b, h, s, d, causal, _ = shape
    return 4 * b * h * s * s * d / (2 if causal else 1)


def problem(shape):
    b, h, s, d, causal, storage = shape
    return f"attn:{storage}:b{b}:h{h}:q{s}:k{s}:d{d}" + (":causal-tl" if causal else "")


def median_time(call):
    """Seconds of one call: the median of as many as SECONDS hold, three at least."""
    call()
    times, end = [], time.perf_counter() + SECONDS
    while len(times) < 3 or time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


class Clattn:
    name = "clattn"

    def __init__(self, options):
        self.options = options
        subprocess.run([options.clattn, "--version"], check=True, stdout=subprocess.DEVNULL)

    def seconds(self, shape):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "bench.json")
            subprocess.run([self.options.clattn, "bench", "--device", self.options.device, "--no-baseline", "--seconds", "1", "--json",
                            path, problem(shape)], check=True, stdout=subprocess.DEVNULL)
            with open(path) as file:
                row = json.load(file)[0]
        if row["failed"]:
            raise RuntimeError(row["failed"])
        return row["median_seconds"]


class PyTorch:
    name = "PyTorch"

    def __init__(self, options):
        import torch
        self.torch = torch
        torch.set_num_threads(os.cpu_count())
        self.name = "PyTorch " + torch.__version__.split("+")[0]

    def seconds(self, shape):
        b, h, s, d, causal, storage = shape
        kind = {"f32": self.torch.float32, "f16": self.torch.float16, "bf16": self.torch.bfloat16}[storage]
        q, k, v = (self.torch.randn(b, h, s, d).to(kind) for _ in range(3))
        attend = self.torch.nn.functional.scaled_dot_product_attention
        with self.torch.inference_mode():
            return median_time(lambda: attend(q, k, v, is_causal=causal))


class OnnxRuntime:
    """The contrib operator MultiHeadAttention, which has the fused kernel; f32 only."""
    name = "ONNX Runtime"

    def __init__(self, options):
        import numpy
        import onnx
        import onnxruntime
        self.numpy, self.onnx, self.runtime = numpy, onnx, onnxruntime
        self.name = "ONNX Runtime " + onnxruntime.__version__

    def seconds(self, shape):
        b, h, s, d, causal, storage = shape
        if storage != "f32":
            return None
        helper, kind = self.onnx.helper, self.onnx.TensorProto.FLOAT
        node = helper.make_node("MultiHeadAttention", ["q", "k", "v"], ["o"], domain="com.microsoft", num_heads=h,
                                unidirectional=int(causal))
        graph = helper.make_graph([node], "attention", [helper.make_tensor_value_info(n, kind, [b, s, h * d]) for n in "qkv"],
                                  [helper.make_tensor_value_info("o", kind, [b, s, h * d])])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)])
        model.ir_version = 8
        choices = self.runtime.SessionOptions()
        choices.intra_op_num_threads = os.cpu_count()
        session = self.runtime.InferenceSession(model.SerializeToString(), choices, providers=["CPUExecutionProvider"])
        inputs = {n: self.numpy.random.randn(b, s, h * d).astype(self.numpy.float32) for n in "qkv"}
        return median_time(lambda: session.run(None, inputs))


def open_programs(options):
    programs = []
    for kind in (Clattn, PyTorch, OnnxRuntime):
        try:
            programs.append(kind(options))
        except ImportError as error:
            print(f"left out: {kind.name} ({error})", file=sys.stderr)
    return programs


def measure(programs, rounds):
    """rates[shape][program name]: GFLOP/s, the median over the rounds; None where it cannot run the shape."""
    times = {shape: {p.name: [] for p in programs} for shape in SHAPES}
    for number in range(rounds):
        for shape in SHAPES:
            print(f"round {number + 1} of {rounds}: {problem(shape)}", file=sys.stderr)
            for program in programs:
                seconds = program.seconds(shape)
                if seconds:
                    times[shape][program.name].append(seconds)
    return {shape: {name: operations(shape) / statistics.median(t) * 1e-9 if t else None for name, t in by_name.items()}
            for shape, by_name in times.items()}


def times_as_fast(rates):
    peers = [rate for name, rate in rates.items() if name != "clattn" and rate]
    return rates["clattn"] / max(peers) if peers else None


def print_table(programs, rates):
    print("| problem | " + " | ".join(p.name for p in programs) + " | times the better peer |")
    print("|---|" + "---|" * (len(programs) + 1))
    for shape in SHAPES:
        cells = [f"{rate:.0f}" if rate else "-" for rate in rates[shape].values()]
        ratio = times_as_fast(rates[shape])
        print(f"| {problem(shape)} | " + " | ".join(cells) + (f" | {ratio:.2f} |" if ratio else " | - |"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clattn", default="build/clattn")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv")
    options = parser.parse_args()
    programs = open_programs(options)
    rates = measure(programs, options.rounds)
    print_table(programs, rates)
    if options.csv:
        with open(options.csv, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["problem"] + [p.name for p in programs])
            for shape in SHAPES:
                writer.writerow([problem(shape)] + list(rates[shape].values()))


if __name__ == "__main__":
    main()
