# SPDX-License-Identifier: MIT
"""What peers.py --gpu measures beside clattn: PyTorch's backends for plain attention, FlexAttention for masks and scores of one's own;
and the power and clock of the GPU meanwhile, by nvidia-smi."""
import os
import statistics
import struct
import subprocess
import tempfile
import threading
import time
import typing


class Meter:
    """Watts and MHz of the first GPU, ten times a second; blank where nvidia-smi is missing."""

    def __init__(self):
        self.samples = []
        try:
            self.process = subprocess.Popen(["nvidia-smi", "--id=0", "--query-gpu=power.draw,clocks.sm", "--format=csv,noheader,nounits",
                                             "--loop-ms=100"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        except OSError:
            self.process = None
            return
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            try:
                watts, clock = map(float, line.split(","))
            except ValueError:
                continue
            self.samples.append((time.perf_counter(), watts, clock))

    def since(self, begin):
        """(watts, MHz): medians of the second half of the time from `begin` to now, or None."""
        now = time.perf_counter()
        of = [sample for sample in list(self.samples) if sample[0] > (begin + now) / 2]
        return tuple(statistics.median(sample[i] for sample in of) for i in (1, 2)) if of else None

    def close(self):
        if self.process:
            self.process.terminate()
            self.process.wait()


def median_seconds(torch, call, seconds, cold=False):
    """Seconds of one call by events, of the second half of the time: by then the chip is as warm as it gets.  cold: each after
    256 MB were written, so that nothing of it is in the caches."""
    times, begin = [], time.perf_counter()
    other = torch.empty(1 << 26, device="cuda", dtype=torch.int32) if cold else None
    while time.perf_counter() - begin < seconds:
        events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(20)]
        for before, after in events:
            if cold:
                other.zero_()
            before.record()
            call()
            after.record()
        torch.cuda.synchronize()
        times.append([before.elapsed_time(after) * 1e-3 for before, after in events])
    return statistics.median(sum(times[len(times) // 2:], []))


class TorchGpu:
    """One of PyTorch's backends for scaled_dot_product_attention."""

    def __init__(self, options, name, backend):
        import torch
        if not torch.cuda.is_available():
            raise ImportError("PyTorch sees no GPU")
        self.torch, self.name, self.backend, self.options = torch, name, backend, options

    def seconds(self, shape):
        torch, kind = self.torch, {"f16": self.torch.float16, "bf16": self.torch.bfloat16}[shape.storage]
        shared = shape.group > 1 and not shape.decodes()
        heads, rows = (shape.heads * shape.group, shape.q_len) if shared else (shape.heads, shape.rows())
        q, k, v = (torch.randn(shape.batch, of, length, shape.dim, device="cuda", dtype=kind)
                   for of, length in ((heads, rows), (shape.heads, shape.kv_len), (shape.heads, shape.kv_len)))
        attend = torch.nn.functional.scaled_dot_product_attention
        with torch.inference_mode(), torch.nn.attention.sdpa_kernel(getattr(torch.nn.attention.SDPBackend, self.backend)):
            return median_seconds(torch, lambda: attend(q, k, v, is_causal=shape.causal, enable_gqa=shared), self.options.seconds,
                                  cold=shape.decodes())


BATCH, HEADS, LENGTH, DIM = 2, 16, 8192, 128
DOCUMENTS = [700, 1900, 2100, 3600, 3700, 5800, 7300]  # where a new text begins


class Rule(typing.NamedTuple):
    """A mask and a score of one's own, for both: clattn's options, and FlexAttention's functions (made from torch)."""
    name: str
    options: list
    mask: typing.Callable
    score: typing.Callable = lambda torch: None

    def problem(self):
        return f"attn:f16:b{BATCH}:h{HEADS}:q{LENGTH}:k{LENGTH}:d{DIM}"


def document_of(torch):
    begins = torch.tensor(DOCUMENTS, device="cuda")
    return torch.searchsorted(begins, torch.arange(LENGTH, device="cuda"), right=True).to(torch.int32)


def documents(torch):
    document = document_of(torch)
    return lambda b, h, q, k: (k <= q) & (document[q] == document[k])


def alibi(torch):
    slopes = torch.exp2(-8.0 * torch.arange(1, HEADS + 1, device="cuda") / HEADS)
    return lambda score, b, h, q, k: score - slopes[h] * (q - k)


def causal(torch):
    return lambda b, h, q, k: k <= q


CAUSAL = ["--mask", "k <= q", "--corner", "tl"]
RULES = [
    Rule("causal", CAUSAL, causal),
    Rule("causal, ALiBi", ["--mechanism", "alibi"], causal, alibi),
    Rule("causal, soft cap 30", CAUSAL + ["--score", "30 * tanh(score / 30)"], causal,
         lambda torch: lambda score, b, h, q, k: 30 * torch.tanh(score / 30)),
    Rule("causal, 8 documents", ["--mask", "k <= q & doc[b,q] == doc[b,k]", "--corner", "tl", "--array", "doc=DOCUMENTS"], documents),
    Rule("causal, window 1024", ["--mask", "k <= q & q - k < 1024", "--corner", "tl"],
         lambda torch: lambda b, h, q, k: (k <= q) & (q - k < 1024)),
    Rule("causal, prefix 1024", ["--mask", "k < 1024 | k <= q", "--corner", "tl"],
         lambda torch: lambda b, h, q, k: (k < 1024) | (k <= q)),
    Rule("causal by blocks of 1024", ["--mask", "k / 1024 <= q / 1024", "--corner", "tl"],
         lambda torch: lambda b, h, q, k: k // 1024 <= q // 1024),
]


def write_documents(path):
    """The same texts for clattn, as an .npy file of int32 [batch, length]."""
    header = "{'descr': '<i4', 'fortran_order': False, 'shape': (%d, %d), }" % (BATCH, LENGTH)
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    numbers = [sum(begin <= k for begin in DOCUMENTS) for k in range(LENGTH)] * BATCH
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + struct.pack(f"<{len(numbers)}i", *numbers))


class FlexAttention:
    """torch.nn.attention.flex_attention, compiled; its masks of blocks are made before the time is taken, as they are kept:
    so clattn keeps its tables of arrays, too (stay)."""
    name = "FlexAttention"

    def __init__(self, options):
        import torch
        from torch.nn.attention import flex_attention
        if not torch.cuda.is_available():
            raise ImportError("PyTorch sees no GPU")
        self.torch, self.flex, self.options = torch, flex_attention, options

    def seconds(self, rule):
        torch = self.torch
        torch.compiler.reset()
        q, k, v = (torch.randn(BATCH, HEADS, LENGTH, DIM, device="cuda", dtype=torch.float16) for _ in range(3))
        attend, mask, score = torch.compile(self.flex.flex_attention), rule.mask(torch), rule.score(torch)
        with torch.inference_mode():
            blocks = self.flex.create_block_mask(mask, None, None, LENGTH, LENGTH, device="cuda")
            attend(q, k, v, score_mod=score, block_mask=blocks)
            return median_seconds(torch, lambda: attend(q, k, v, score_mod=score, block_mask=blocks), self.options.seconds)


def measure_rules(clattn, options, meter):
    """Prints the table of RULES."""
    try:
        flex = FlexAttention(options)
    except ImportError as error:
        print(f"left out: FlexAttention ({error})")
        return
    print("| mask and score | clattn, ms | FlexAttention, ms | times as fast | clattn W, MHz | FlexAttention W, MHz |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "documents.npy")
        write_documents(file)
        for rule in RULES:
            cells, watts = [], []
            for program, call in (("clattn", lambda: clattn.measure([rule.problem() + ":stay"] + [o.replace("DOCUMENTS", file) for o in rule.options])),
                                  ("FlexAttention", lambda: flex.seconds(rule))):
                begin = time.perf_counter()
                try:
                    cells.append(call())
                except Exception as error:  # a compiler that is missing, a mask that it does not take: the row stays
                    print(f"{program} without '{rule.name}': {str(error).splitlines()[0] if str(error) else type(error).__name__}", flush=True)
                    cells.append(None)
                watts.append(power_text(meter.since(begin)))
            ratio = f"{cells[1] / cells[0]:.2f}" if all(cells) else "-"
            print(f"| {rule.name} | " + " | ".join(f"{s * 1e3:.3f}" if s else "-" for s in cells) + f" | {ratio} | " + " | ".join(watts) + " |",
                  flush=True)


def power_text(sample):
    return f"{sample[0]:.0f}, {sample[1]:.0f}" if sample else ""
