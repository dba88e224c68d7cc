# SPDX-License-Identifier: MIT
"""check_bench.py WHAT FILES - what clattn bench writes, read by Python's own parsers."""
import csv
import json
import sys


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def validate(schema, value, where):
    """As much of JSON Schema as the schema uses; a word that is not known is an error."""
    for word, rule in schema.items():
        if word in ("$schema", "title", "description", "x-role"):
            continue
        if word == "type":
            kinds = {"string": str, "integer": int, "number": (int, float), "null": type(None), "object": dict, "array": list}
            names = rule if isinstance(rule, list) else [rule]
            good = any(isinstance(value, kinds[name]) for name in names) and not isinstance(value, bool)
        elif word == "const":
            good = value == rule
        elif word == "maxLength":
            good = value is None or len(value) <= rule
        elif word == "required":
            good = all(name in value for name in rule)
        elif word == "additionalProperties":
            good = rule is False and all(name in schema["properties"] for name in value)
        elif word == "properties":
            good = True
            for name, inner in rule.items():
                validate(inner, value[name], f"{where}.{name}")
        elif word == "maxItems":
            good = len(value) <= rule
        elif word == "items":
            good = True
            for number, item in enumerate(value):
                validate(rule, item, f"{where}[{number}]")
        else:
            raise AssertionError(f"{where}: the schema says '{word}'")
        assert good, f"{where}: {word} {rule} does not hold for {value!r}"


def check_schema(schema, report):
    schema, report = load(schema), load(report)
    validate(schema, report, "report")
    assert report["devices"] and report["lines"]
    keys = [n for n, p in schema["properties"]["lines"]["items"]["properties"].items() if p["x-role"] == "key"]
    assert keys == ["device", "device_name", "problem", "options", "tensors", "refresh"], keys
    for line in report["lines"]:
        assert line["device"] in [d["device"] for d in report["devices"]]
        if line["failed"] is None:
            assert line["repetitions"] >= 6 and line["runs"] >= line["repetitions"]
            assert line["median_low"] <= line["median_seconds"] <= line["median_high"]
            assert 0 < line["event_seconds"] < 10 * line["median_high"] and line["tile"]
            assert abs(line["operations"] / line["median_seconds"] * 1e-9 / line["gflops"] - 1) < 1e-6
            assert line["error"] <= line["bound"]
        else:
            assert line["median_seconds"] is None and line["gflops"] is None


def check_csv(report, path):
    lines = load(report)["lines"]
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, strict=True))
    assert len(rows) == len(lines)
    for line, row in zip(lines, rows):
        assert list(line) == list(row)
        for name, value in line.items():
            if value is None or isinstance(value, str):
                assert row[name] == (value or ""), name
            else:
                assert abs(float(row[name]) - value) <= 1e-8 * abs(value), name


def check_markdown(report, path):
    lines = load(report)["lines"]
    with open(path, encoding="utf-8") as file:
        tables = [row.strip().split("|")[1:-1] for row in file if row.startswith("|")]
    assert all(len(row) == 10 for row in tables), [len(row) for row in tables]
    rows = [[cell.strip() for cell in row] for row in tables if row[0].strip().startswith("attn:")]
    assert len(rows) == len(lines)
    for line, row in zip(lines, rows):
        assert row[0].replace("\\", "") == line["problem"] and row[1] == line["engine"]
        assert abs(float(row[2]) - 1e3 * line["median_seconds"]) <= 1e-3 + 1e-3 * float(row[2])


def check_devices(report, selector):
    report = load(report)
    numbers = {"thread": [1], "turned": [1, 0]}.get(selector, [0, 1])
    assert [d["device"] for d in report["devices"]] == [l["device"] for l in report["lines"]] == numbers, selector
    for device, line in zip(report["devices"], report["lines"]):
        assert line["device_name"] == f"{device['name']} ({device['platform']})" and line["driver"] == device["driver"]
        assert device["type"] == "cpu" and device["peak_gflops"] > 0 and device["peak_gflops_after"] > 0


def check_failures(report, count):
    lines = load(report)["lines"]
    assert sum(line["failed"] is not None for line in lines) == int(count) < len(lines)


if __name__ == "__main__":
    globals()["check_" + sys.argv[1]](*sys.argv[2:])
