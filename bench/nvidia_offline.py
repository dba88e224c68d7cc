#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nvidia_offline.py [--build build] [PROBLEM...] - what NVIDIA's compiler makes of a matrix engine's kernel, without a GPU.

Registers and spills by ptxas; of the smallest loop with matrix products how many instructions it has, and of these what should be few:
R2UR (addresses of wgmma not in registers of the warp), BSSY (branches taken for such where items part), LDL and STL (spills).  Options as of
`clattn explain': --engine, --mask, --corner, --score, --array, --scalar, --mechanism; --kernels DIR takes flattened texts from there
(build/cl/flat, as CLATTN_KERNEL_DIR); --keep DIR keeps the assembly and the machine code's listing.

The driver's compiler is NVVM, as CUDA's libnvvm is.  clang gives it the kernel as IR, not optimised, written in the dialect of LLVM 7:
from the same CUDA the same machine code came as from the driver, but for few instructions and their order in places.  Needs clang 14 and its libclc (--libclc FILE, its
nvptx64--nvidiacl.bc; Debian: libclc-14, which leaves no room for a later one, so perhaps by `apt-get download' and `dpkg -x'), PoCL's
opencl-c.h, CUDA 13's libnvvm and ptxas, nvdisasm (PyPI: nvidia-cuda-nvdisasm), and `make bench/nvidia_text' in the build folder.
"""
import argparse
import collections
import ctypes
import glob
import os
import re
import subprocess
import sys

PROBLEMS = ["attn:f16:b8:h16:q2048:k2048:d128", "attn:f16:b8:h16:q2048:k2048:d128:causal-tl", "attn:f16:b8:h32:q2048:k2048:d64",
            "attn:f16:b8:h32:q2048:k2048:d64:causal-tl"]
LAYOUT = ("e-p:64:64:64-i1:8:8-i8:8:8-i16:16:16-i32:32:32-i64:64:64-i128:128:128-f32:32:32-f64:64:64-v16:16:16-v32:32:32-v64:64:64"
          "-v128:128:128-n16:32:64")


def run(command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"nvidia_offline.py: {command[0]}: {done.stderr.strip()[:2000]}")
    return done.stdout, done.stderr


def find(what, *patterns):
    for pattern in patterns:
        found = sorted(glob.glob(pattern, recursive=True))
        if found:
            return found[-1]
    sys.exit(f"nvidia_offline.py: no {what}; looked for {' '.join(patterns)}")


def compile_to_ir(text, options, library):
    header = find("opencl-c.h", "/usr/share/pocl/include/opencl-c.h", "/usr/lib/llvm-14/lib/clang/*/include/opencl-c.h")
    front = [word for pair in (("-target-cpu", "sm_80"), ("-target-feature", "+ptx75"), ("-mlink-builtin-bitcode", library)) for part in pair
             for word in ("-Xclang", part)]
    return run(["clang", "-x", "cl", "-cl-std=CL1.2", "-cl-no-stdinc", "-include", header, "-target", "nvptx64--nvidiacl", *front, *options,
                "-O3", "-Xclang", "-disable-llvm-passes", "-w", "-S", "-emit-llvm", "-", "-o", "-"], text)[0]


def attributes(match):
    """Of a group of attributes what LLVM 7 knows; all functions are to be inlined, as the driver does."""
    kept = [word for word in ("convergent", "nounwind", "readnone", "readonly", "argmemonly") if re.search(rf"\b{word}\b", match[2])]
    if "noinline" not in match[2] and ("inlinehint" in match[2] or '"frame-pointer"' in match[2]):
        kept.append("alwaysinline")
    return f"attributes #{match[1]} = {{ {' '.join(kept)} }}"


def to_llvm_7(ir):
    """clang 14's text in the dialect that NVVM reads."""
    ir = re.sub(r'target datalayout = ".*"', f'target datalayout = "{LAYOUT}"', ir)
    ir = re.sub(r'target triple = ".*"', 'target triple = "nvptx64-nvidia-cuda"', ir)
    ir = re.sub(r"\b(noundef|immarg|willreturn|nofree|nosync|mustprogress|nocallback)\b ?", "", ir)
    ir = re.sub(r"\b(byval|sret)\(%?[\w.\"]+\)", r"\1", ir)
    ir = re.sub(r"= fneg(?: \w+)* (float|double) (\S+)", r"= fsub \1 -0.000000e+00, \2", ir)
    ir = re.sub(r"(atomicrmw .*?), align \d+", r"\1", ir)
    ir = re.sub(r", !srcloc !\d+", "", ir).replace("nsw nuw", "nuw nsw").replace(" poison,", " undef,")
    ir = re.sub(r"attributes #(\d+) = \{(.*)\}", attributes, ir)
    lines = [re.sub(r" %\d+(?=[,)])", "", line) if line.startswith("define") else "; " + line if re.match(r"\d+:", line) else line
             for line in ir.split("\n")]
    return "\n".join(lines) + "\n!nvvmir.version = !{!99999}\n!99999 = !{i32 2, i32 0}\n"


def compile_to_assembly(ir):
    nvvm = ctypes.CDLL(find("libnvvm", "/usr/local/cuda*/nvvm/lib64/libnvvm.so", "/usr/local/cuda*/lib/libnvvm.so"))
    program, size, module = ctypes.c_void_p(), ctypes.c_size_t(), ir.encode()
    nvvm.nvvmCreateProgram(ctypes.byref(program))
    options = (ctypes.c_char_p * 3)(b"-arch=compute_90", b"-opt=3", b"-fma=0")
    failed = nvvm.nvvmAddModuleToProgram(program, module, ctypes.c_size_t(len(module)), b"kernel") or \
        nvvm.nvvmCompileProgram(program, 3, options)
    ask = ("ProgramLog", "ProgramLog") if failed else ("CompiledResult", "CompiledResult")
    getattr(nvvm, f"nvvmGet{ask[0]}Size")(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value + 1)
    getattr(nvvm, f"nvvmGet{ask[1]}")(program, text)
    if failed:
        sys.exit(f"nvidia_offline.py: NVVM refuses the IR: {text.value.decode()[:2000]}")
    return text.value.decode()


def as_the_driver_writes(assembly, items):
    """Where the driver says it otherwise: the target's mode, and the size of a work-group."""
    lines, in_entry = [], False
    for line in assembly.split("\n"):
        if re.match(r"\.(maxntid|reqntid)\b", line):
            continue
        in_entry |= ".entry" in line
        lines.append(".target sm_90, texmode_independent" if line.startswith(".target") else line)
        if in_entry and line.startswith(")"):
            lines.append(f".reqntid {items}, 1, 1")
            in_entry = False
    return "\n".join(lines)


def read_listing(listing):
    """Instructions, and at which of them labels stand."""
    code, labels = [], {}
    for line in listing.split("\n"):
        label = re.match(r"\s*\.(L_x_\d+):", line)
        instruction = re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(.*?);", line)
        if label:
            labels[label[1]] = len(code)
        elif instruction:
            code.append(instruction[1])
    return code, labels


def operation(instruction):
    return re.sub(r"^@!?U?P\w+\s+", "", instruction).split()[0].split(".")[0]


def smallest_loop(code, labels):
    """That with matrix products for scores and output: (first, last), or None."""
    best = None
    for last, instruction in enumerate(code):
        target = re.search(r"BRA(?:\.\w+)*.*`\(\.(L_x_\d+)\)", instruction)
        first = labels.get(target[1], last + 1) if target else last + 1
        products = sum("MMA" in text for text in code[first:last + 1]) if first <= last else 0
        if products >= 12 and (best is None or last - first < best[1] - best[0]):
            best = first, last
    return best


def report(options, problem):
    helper = os.path.join(options.build, "bench", "nvidia_text")
    text, _ = run([helper, *options.rules, problem])
    name, words, wish, rules = text.split("\n", 3)
    with open(os.path.join(options.kernels, f"{name}.cl")) as file:
        ir = compile_to_ir(rules + file.read(), words.split(), options.libclc)
    items = re.search(r"-DGROUP=(\d+)", words)[1]
    assembly = as_the_driver_writes(compile_to_assembly(to_llvm_7(ir)), items)
    if wish != "0 0 0":
        assembly, _ = run([helper, "edit", *wish.split()], assembly)
    stem = os.path.join(options.keep, re.sub(r"\W+", "-", problem))
    with open(f"{stem}.ptx", "w") as file:
        file.write(assembly)
    _, said = run(["ptxas", "-arch=sm_90a", "-v", f"{stem}.ptx", "-o", f"{stem}.cubin"])
    disassembler = find("nvdisasm", "/usr/local/cuda*/bin/nvdisasm", os.path.join(sys.prefix, "lib/python3*/site-packages/nvidia/*/bin/nvdisasm"))
    listing, _ = run([disassembler, "-c", f"{stem}.cubin"])
    with open(f"{stem}.sass", "w") as file:
        file.write(listing)
    code, labels = read_listing(listing)
    loop = smallest_loop(code, labels)
    inside = collections.Counter(map(operation, code[loop[0]:loop[1] + 1] if loop else []))
    numbers = [(re.findall(pattern, said) or ["-"])[0] for pattern in (r"Used (\d+) reg", r"(\d+) bytes spill stores", r"(\d+) bytes spill loads")]
    warnings = ", ".join(sorted(set(re.findall(r"C75\d\d", said)))) or "-"
    print(f"| {problem} | {name} | " + " | ".join(numbers) + f" | {warnings} | {sum(inside.values())} | " +
          " | ".join(str(inside[what]) for what in ("R2UR", "BSSY", "LDL", "STL")) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--kernels")
    parser.add_argument("--libclc", default="/usr/lib/clc/nvptx64--nvidiacl.bc")
    for option in ("--engine", "--mask", "--corner", "--score", "--array", "--scalar", "--mechanism"):
        parser.add_argument(option, dest="rules", action="append", type=lambda value, option=option: f"{option}={value}", default=[])
    parser.add_argument("--keep", default="nvidia-offline")
    parser.add_argument("problems", nargs="*", default=PROBLEMS)
    options = parser.parse_args()
    options.kernels = options.kernels or os.path.join(options.build, "cl", "flat")
    os.makedirs(options.keep, exist_ok=True)
    print("| problem | kernel | registers | spill stores | spill loads | warnings | loop | R2UR | BSSY | LDL | STL |\n" + "|---" * 11 + "|")
    for problem in options.problems or PROBLEMS:
        report(options, problem)


if __name__ == "__main__":
    main()
