#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""peers.py [--clattn build/clattn] [--device cpu] [--rounds 5] [--csv FILE] - clattn beside PyTorch, ONNX Runtime and OpenBLAS, in one run;
with --gpu (and --device gpu) beside what PyTorch has for NVIDIA's GPUs, cuDNN, FlashAttention-2 and FlexAttention, of one
query with keys and values from memory.

Every round measures each shape with each program in turn, so that a machine whose clock or neighbours change is the same for
all; medians over the rounds are printed, and how many times as fast clattn is as the better peer.  A peer that is not
installed (pip install torch onnxruntime onnx numpy) is left out by name.  With --serve it answers `clattn bench --peers': a problem a line
in, seconds by program out, as JSON.  GFLOP/s by 4 B H S^2 d, halved for causal; of decode GB/s of keys
and values.
"""
import argparse
import csv
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import typing

import gpu_peers


class Shape(typing.NamedTuple):
    """The shapes of doc/performance.md.  Query heads are `group` times as many as those of keys and values."""
    batch: int
    heads: int
    q_len: int
    kv_len: int
    dim: int
    causal: bool = False
    storage: str = "f32"
    group: int = 1

    def problem(self):
        heads = f"h{self.heads * self.group}/{self.heads}" if self.group > 1 else f"h{self.heads}"
        return (f"attn:{self.storage}:b{self.batch}:{heads}:q{self.q_len}:k{self.kv_len}:d{self.dim}" +
                (":causal-tl" if self.causal else ""))

    def rows(self):
        """Queries of a head for the peers: heads that share keys are rows of one, which saves them from copying keys."""
        return self.q_len * self.group

    def operations(self):
        return 4 * self.batch * self.heads * self.rows() * self.kv_len * self.dim / (2 if self.causal else 1)

    def bytes(self):
        return 2 * self.batch * self.heads * self.kv_len * self.dim * (4 if self.storage == "f32" else 2)

    def decodes(self):
        return self.q_len == 1

    def rate(self, seconds):
        return (self.bytes() if self.decodes() else self.operations()) / seconds * 1e-9


def square(batch, heads, length, dim, causal=False, storage="f32"):
    return Shape(batch, heads, length, length, dim, causal, storage)


SHAPES = [
    square(1, 8, 2048, 64), square(1, 8, 2048, 64, True), square(1, 8, 2048, 128), square(1, 8, 2048, 128, True),
    square(1, 32, 512, 64), square(8, 12, 128, 64), square(1, 8, 8192, 64, True),
    square(1, 8, 2048, 64, storage="bf16"), square(1, 8, 2048, 64, True, "bf16"), square(1, 8, 2048, 128, storage="bf16"),
    square(1, 8, 2048, 128, True, "bf16"), square(1, 32, 512, 64, storage="bf16"), square(8, 12, 128, 64, storage="bf16"),
    square(1, 8, 8192, 64, True, "bf16"),
    square(1, 8, 2048, 64, storage="f16"), square(1, 8, 2048, 64, True, "f16"), square(1, 8, 2048, 128, storage="f16"),
    square(1, 32, 512, 64, storage="f16"),
    Shape(1, 8, 1, 8192, 128, group=4), Shape(1, 8, 1, 8192, 128, storage="bf16", group=4),
    Shape(1, 8, 1, 8192, 128, storage="f16", group=4), Shape(1, 2, 1, 32768, 64, group=3),
    Shape(1, 2, 1, 32768, 64, storage="bf16", group=3), Shape(1, 8, 1, 32768, 128, group=4),
]
GPU_SHAPES = [
    *(square(batch, 2048 // dim, length, dim, causal, storage) for storage in ("f16", "bf16") for dim in (64, 128)
      for batch, length in ((1, 16384), (8, 2048)) for causal in (False, True)),
    Shape(4, 8, 4096, 4096, 128, storage="f16", group=4), Shape(4, 8, 4096, 4096, 128, True, "f16", group=4),
    *(square(4, 16, 4096, dim, causal, "f16") for dim in (80, 96, 192, 256) for causal in (False, True)),
    square(64, 16, 128, 64, storage="f16"), square(64, 16, 128, 64, True, "f16"),
    *(Shape(4, 32, rows, 8192, 128, storage="f16") for rows in (16, 64, 256)),
    *(Shape(batch, 8, 1, length, 128, storage="f16", group=4) for batch, length in ((1, 131072), (16, 8192), (64, 4096))),
    Shape(16, 8, 1, 8192, 128, storage="bf16", group=4), Shape(16, 8, 1, 8192, 64, storage="f16", group=4),
    Shape(1, 32, 1, 131072, 128, storage="f16"), Shape(8, 32, 1, 16384, 128, storage="f16"),
]


def median_time(call, seconds):
    """Seconds of one call: the median of as many as `seconds` hold, three at least."""
    call()
    times, end = [], time.perf_counter() + seconds
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
        return self.measure([shape.problem()] + (["--cold"] if self.options.gpu and shape.decodes() else []))

    def measure(self, arguments):
        """Seconds of `clattn bench' with these arguments: by events on GPUs, as the peers' there are, else by the clock."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "bench.json")
            subprocess.run([self.options.clattn, "bench", "--device", self.options.device, "--no-baseline", "--seconds",
                            str(self.options.seconds), "--json", path] + arguments, check=True, stdout=subprocess.DEVNULL)
            with open(path) as file:
                row = json.load(file)["lines"][0]
        if row["failed"]:
            raise RuntimeError(row["failed"])
        return self.options.gpu and row["event_seconds"] or row["median_seconds"]


class PyTorch:
    name = "PyTorch"

    def __init__(self, options):
        import torch
        self.torch = torch
        torch.set_num_threads(os.cpu_count())
        self.options = options
        self.name = "PyTorch " + torch.__version__.split("+")[0]

    def seconds(self, shape):
        kind = {"f32": self.torch.float32, "f16": self.torch.float16, "bf16": self.torch.bfloat16}[shape.storage]
        q, k, v = (self.torch.randn(shape.batch, shape.heads, length, shape.dim).to(kind)
                   for length in (shape.rows(), shape.kv_len, shape.kv_len))
        attend = self.torch.nn.functional.scaled_dot_product_attention
        with self.torch.inference_mode():
            return median_time(lambda: attend(q, k, v, is_causal=shape.causal), self.options.seconds)


class OnnxRuntime:
    """The contrib operator MultiHeadAttention, which has the fused kernel; f32 only."""
    name = "ONNX Runtime"

    def __init__(self, options):
        import numpy
        import onnx
        import onnxruntime
        self.numpy, self.onnx, self.runtime, self.options = numpy, onnx, onnxruntime, options
        self.name = "ONNX Runtime " + onnxruntime.__version__

    def seconds(self, shape):
        if shape.storage != "f32":
            return None
        b, width, lengths = shape.batch, shape.heads * shape.dim, {"q": shape.rows(), "k": shape.kv_len, "v": shape.kv_len}
        helper, kind = self.onnx.helper, self.onnx.TensorProto.FLOAT
        node = helper.make_node("MultiHeadAttention", ["q", "k", "v"], ["o"], domain="com.microsoft", num_heads=shape.heads,
                                unidirectional=int(shape.causal))
        graph = helper.make_graph([node], "attention",
                                  [helper.make_tensor_value_info(n, kind, [b, s, width]) for n, s in lengths.items()],
                                  [helper.make_tensor_value_info("o", kind, [b, shape.rows(), width])])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)])
        model.ir_version = 8
        choices = self.runtime.SessionOptions()
        choices.intra_op_num_threads = os.cpu_count()
        session = self.runtime.InferenceSession(model.SerializeToString(), choices, providers=["CPUExecutionProvider"])
        inputs = {n: self.numpy.random.randn(b, s, width).astype(self.numpy.float32) for n, s in lengths.items()}
        return median_time(lambda: session.run(None, inputs), self.options.seconds)


class OpenBlas:
    """Not fused: numpy's matrix products, which are OpenBLAS's, with a softmax between; f32 only, all of a causal square."""
    name = "OpenBLAS"

    def __init__(self, options):
        import numpy
        library = numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]
        if "openblas" not in library["name"]:
            raise ImportError(f"numpy was built with {library['name']}")
        self.numpy, self.options = numpy, options
        self.name = "OpenBLAS " + library["version"] + ", unfused"

    def seconds(self, shape):
        if shape.storage != "f32":
            return None
        numpy = self.numpy
        q, k, v = (numpy.random.randn(shape.batch, shape.heads, length, shape.dim).astype(numpy.float32)
                   for length in (shape.rows(), shape.kv_len, shape.kv_len))
        hidden = numpy.triu(numpy.full((shape.rows(), shape.kv_len), -numpy.inf, numpy.float32), 1) if shape.causal else None

        def attend():
            s = q @ k.swapaxes(2, 3)
            s *= numpy.float32(shape.dim ** -0.5)
            if hidden is not None:
                s += hidden
            s -= s.max(axis=3, keepdims=True)
            numpy.exp(s, out=s)
            o = s @ v
            o /= s.sum(axis=3, keepdims=True)
            return o
        return median_time(attend, self.options.seconds)


CPU_PEERS = {"PyTorch": PyTorch, "ONNX Runtime": OnnxRuntime, "OpenBLAS": OpenBlas}


def shape_of(problem):
    """The shape of a problem that the peers can do: one storage, full or causal square; None of any other."""
    words = problem.split(":")
    sizes = {"b": "1", "h": "1"}
    for word in words[2:]:
        match = re.fullmatch(r"([bhqkd])(\d+(?:/\d+)?)", word)
        if match:
            sizes[match[1]] = match[2]
        elif word not in ("causal-tl", "causal-br"):
            return None
    causal = any(word.startswith("causal") for word in words[2:])
    if words[0] != "attn" or words[1:2] not in (["f32"], ["f16"], ["bf16"]) or not sizes.keys() >= {"q", "k", "d"} or "/" in sizes["d"]:
        return None
    if causal and sizes["q"] != sizes["k"]:
        return None
    heads, _, kv_heads = sizes["h"].partition("/")
    kv_heads = int(kv_heads or heads)
    group = int(heads) // kv_heads
    if group > 1 and causal:
        return None  # rows of a group are one matrix to the peers, which is no longer square
    return Shape(int(sizes["b"]), kv_heads, int(sizes["q"]), int(sizes["k"]), int(sizes["d"]), causal, words[1], group)


def serve(options):
    """First what is there; then for each line of standard input an object."""
    programs, left_out = [], []
    for name, make in CPU_PEERS.items():
        try:
            programs.append(make(options))
        except ImportError as error:
            left_out.append(f"{name} ({error})")
    print(json.dumps({"peers": [p.name for p in programs], "left_out": left_out}), flush=True)
    for line in sys.stdin:
        shape = shape_of(line.strip())
        seconds = {}
        for program in programs if shape else []:
            try:
                seconds[program.name] = program.seconds(shape)
            except (RuntimeError, MemoryError, ValueError) as error:
                print(f"peers.py: {program.name}: {error}", file=sys.stderr)
        print(json.dumps({name: value for name, value in seconds.items() if value}), flush=True)


def open_programs(options):
    on_cpu = CPU_PEERS
    on_gpu = {"cuDNN": lambda o: gpu_peers.TorchGpu(o, "cuDNN", "CUDNN_ATTENTION"),
              "FlashAttention-2": lambda o: gpu_peers.TorchGpu(o, "FlashAttention-2", "FLASH_ATTENTION")}
    programs = [Clattn(options)]
    for name, make in (on_gpu if options.gpu else on_cpu).items():
        try:
            programs.append(make(options))
        except ImportError as error:
            print(f"left out: {name} ({error})", file=sys.stderr)
    return programs


def measure(programs, shapes, rounds, meter):
    """rates[shape][program name]: GFLOP/s, of decode GB/s, the median over the rounds; None where it cannot run the shape.
    power[shape][program name]: watts and MHz in the last round, where there is a meter."""
    times = {shape: {p.name: [] for p in programs} for shape in shapes}
    power = {shape: {p.name: None for p in programs} for shape in shapes}
    for number in range(rounds):
        for shape in shapes:
            print(f"round {number + 1} of {rounds}: {shape.problem()}", file=sys.stderr)
            for program in programs:
                begin = time.perf_counter()
                seconds = program.seconds(shape)
                if seconds:
                    times[shape][program.name].append(seconds)
                power[shape][program.name] = meter and meter.since(begin)
    return {shape: {name: shape.rate(statistics.median(t)) if t else None for name, t in by_name.items()}
            for shape, by_name in times.items()}, power


def times_as_fast(rates):
    peers = [rate for name, rate in rates.items() if name != "clattn" and rate]
    return rates["clattn"] / max(peers) if peers else None


def print_table(programs, rates, power, meter):
    shown = programs[:2] if meter else []
    print("| problem | " + " | ".join(p.name for p in programs) + " | times the better peer |" + "".join(f" {p.name} W, MHz |" for p in shown))
    print("|---|" + "---|" * (len(programs) + 1 + len(shown)))
    for shape in rates:
        cells = [f"{rate:.{int(shape.decodes())}f}" if rate else "-" for rate in rates[shape].values()]
        ratio = times_as_fast(rates[shape])
        print(f"| {shape.problem()} | " + " | ".join(cells) + (f" | {ratio:.2f} |" if ratio else " | - |") +
              "".join(f" {gpu_peers.power_text(power[shape][p.name])} |" for p in shown), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clattn", default="build/clattn")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.6, help="a program's share of a round")
    parser.add_argument("--only", default="", help="shapes whose problem holds this text; 'rules': those of FlexAttention alone")
    parser.add_argument("--csv")
    parser.add_argument("--serve", action="store_true")
    options = parser.parse_args()
    if options.serve:
        serve(options)
        return
    programs = open_programs(options)
    meter = gpu_peers.Meter() if options.gpu else None
    shapes = [shape for shape in (GPU_SHAPES if options.gpu else SHAPES) if options.only in shape.problem()]
    rates, power = measure(programs, shapes, options.rounds, meter)
    if shapes:
        print_table(programs, rates, power, meter)
    if options.gpu and options.only in ("", "rules"):
        print()
        gpu_peers.measure_rules(programs[0], options, meter)
    if meter:
        meter.close()
    if options.csv:
        with open(options.csv, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["problem"] + [p.name for p in programs])
            for shape in rates:
                writer.writerow([shape.problem()] + list(rates[shape].values()))


if __name__ == "__main__":
    main()
