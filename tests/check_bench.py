# SPDX-License-Identifier: MIT
"""check_bench.py WHAT FILES - what clattn bench writes, read by Python's own parsers."""
import copy
import csv
import html
import html.parser
import json
import re
import sys
import xml.etree.ElementTree


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
    assert keys == ["device", "device_name", "problem", "options", "tensors", "cold_bytes", "refresh", "delta"], keys
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


def alike(one, other):
    """The same but for the ninth digit of numbers."""
    if isinstance(one, dict):
        return list(one) == list(other) and all(alike(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and other is not None:
        return abs(one - other) <= 1e-8 * abs(one)
    return one == other


def check_same(one, other):
    assert alike(load(one), load(other))


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


def markdown_tables(path):
    """The tables of GitHub's Markdown: a heading, a row of dashes and rows, all of as many cells; what the cells say."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    assert not re.search("<|&(?!lt;|amp;)", text), "something of HTML"
    tables = []
    for block in re.split(r"\n\n+", text):
        rows = [row for row in block.splitlines() if row.startswith("|")]
        if not rows:
            continue
        assert len(rows) == len(block.splitlines()), block
        cells = [[cell.strip() for cell in re.findall(r"((?:[^\\|]|\\.)*)\|", row[1:])] for row in rows]
        assert all(len(row) == len(cells[0]) for row in cells), [len(row) for row in cells]
        assert all(re.fullmatch(":?-+:?", cell) for cell in cells[1]), cells[1]
        tables.append([[html.unescape(re.sub(r"\\(.)", r"\1", cell)) for cell in row] for row in cells])
    return tables


def check_markdown(report, path):
    lines = load(report)["lines"]
    tables = markdown_tables(path)
    assert len(tables) == len(load(report)["devices"])
    rows = [row for table in tables for row in table[2:] if row[0].startswith("attn:")]
    assert len(rows) == len(lines)
    for line, row in zip(lines, rows):
        assert row[0] == line["problem"] + (" " + line["options"] if line["options"] else ""), row[0]
        if line["failed"]:
            assert row[1] == "FAILED: " + line["failed"] and not any(row[2:]), row
        else:
            assert row[1] == line["engine"]
            assert abs(float(row[2]) - 1e3 * line["median_seconds"]) <= 6 * line["median_seconds"]  # three digits
            times = line["baseline_times"]
            if times:
                assert row[9].endswith("x") and abs(float(row[9][:-1]) - times) <= 0.051 + 1e-3 * times, row
            else:
                assert row[9] == (line["no_baseline"] or "-"), row


class Page(html.parser.HTMLParser):
    """Every element closed in its order, nothing from elsewhere, the words of the cells, the pictures as XML."""
    VOID = {"meta", "br", "wbr"}

    def __init__(self, text):
        super().__init__()
        self.open, self.cells, self.count = [], [], {}
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.count[tag] = self.count.get(tag, 0) + 1
        assert tag not in ("script", "link", "img", "iframe", "object", "b"), tag  # b: of a hostile field
        assert not any(name in ("src", "href", "xlink:href") or name.startswith("on") for name, _ in attributes), attributes
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"{tag} is closed, open are {self.open}"

    def handle_data(self, data):
        if "td" in self.open:
            self.cells[-1] += data


def check_html(report, path):
    report = load(report)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    assert "url(" not in text and "@import" not in text and "http" not in text
    page = Page(text)
    pictures = text.split("<svg")[1:]
    for picture in pictures:
        xml.etree.ElementTree.fromstring("<svg" + picture.split("</svg>")[0] + "</svg>")
        assert "nan" not in picture and "inf" not in picture.replace("infini", "")
    assert len(pictures) >= 2 + 2 * len(report["devices"]) and page.count["table"] == len(report["devices"])
    for number, line in enumerate(report["lines"], 1):
        words = line["problem"] + (" " + line["options"] if line["options"] else "") + (line["note"] or "")
        at = [i for i, cell in enumerate(page.cells) if cell == str(number) and page.cells[i + 1] == words]
        assert len(at) == 1, (number, words)
        if line["failed"]:
            assert page.cells[at[0] + 2] == "FAILED: " + line["failed"]
        else:
            assert page.cells[at[0] + 2] == line["engine"]
            assert abs(float(page.cells[at[0] + 3]) - 1e3 * line["median_seconds"]) <= 6 * line["median_seconds"]


def save(folder, name, report):
    with open(f"{folder}/{name}.json", "w", encoding="utf-8") as file:
        if isinstance(report, str):
            file.write(report)
        else:
            json.dump(report, file)


def times(report, line, factor):
    report = copy.deepcopy(report)
    for name in ("median_seconds", "median_low", "median_high"):
        report["lines"][line][name] *= factor
    return report


def planted(report, change):
    report = copy.deepcopy(report)
    change(report)
    return report


def check_plant(path, folder):
    """Reports with changes whose judgement is known."""
    report = load(path)
    assert len(report["lines"]) == 3
    # spread and half of the interval; in wide ones the interval alone, in broad ones the spread alone forbids a judgement
    for name, spread, half in (("wide", 0.01, 0.12), ("broad", 0.3, 0.005), ("noisy", 0.3, 0.1), ("steady", 0.001, 0.0005),
                               ("quiet", 0.03, 0.01)):
        for line in report["lines"]:
            line["spread"] = spread
            line["median_low"] = line["median_seconds"] * (1 - half)
            line["median_high"] = line["median_seconds"] * (1 + half)
        save(folder, name, report)
        save(folder, name + "-one-percent", times(report, 1, 1.01))
        save(folder, name + "-ten-percent", times(report, 1, 1.1))
    throttled = times(report, 1, 1.11)
    throttled["lines"][1]["peak_gflops"] *= 0.9
    save(folder, "throttled", throttled)
    save(folder, "slower-beside", times(throttled, 1, 1.2))
    failure = dict.fromkeys(("median_seconds", "median_low", "median_high", "spread"), None) | {"failed": "for the test"}
    save(folder, "broken", planted(report, lambda r: r["lines"][0].update(failure)))
    save(folder, "fewer", planted(report, lambda r: r["lines"].pop()))
    hostile = "a, \"b\" 'c' <b>d</b> & | \\| *e* `f` _g_ [h](i) #j ~k; \u00e9 \u221e"
    name = {"device_name": hostile, "driver": hostile}
    short = "<b>\u00e9|\u221e</b>"  # in each short field
    save(folder, "hostile", planted(report, lambda r: (
        r.update(clattn=short, date=short, preset=short), [d.update(type=short) for d in r["devices"]],
        [line.update(engine=short, tile=short, no_baseline=short) for line in r["lines"]],
        r.update(host=hostile, command=hostile), [d.update(name=hostile, platform=hostile, driver=hostile) for d in r["devices"]],
        [line.update(name) for line in r["lines"]], r["lines"][1].update(failure | {"failed": hostile}),
        r["lines"][2].update(median_seconds=5.123e-6),
        r["lines"][0].update(warning=hostile, options="--mask 'k <= q | k & 1' --scalar 'a\"b=1'", note=hostile))))

    text = json.dumps(report)
    save(folder, "bad-empty", "")
    save(folder, "bad-cut", text[:-10])
    save(folder, "bad-list", "[1, 2]")
    save(folder, "bad-deep", "[" * 100000)
    save(folder, "bad-twice", text.replace('"schema":', '"schema": "x", "schema":', 1))
    for name, change in {
            "version": lambda r: r.update(schema_version=2), "schema": lambda r: r.update(schema="other"),
            "no-lines": lambda r: r.pop("lines"), "lines-object": lambda r: r.update(lines={}),
            "many-devices": lambda r: r.update(devices=r["devices"] * 17), "many-lines": lambda r: r.update(lines=r["lines"] * 1400),
            "extra": lambda r: r.update(extra=1), "unknown-column": lambda r: r["lines"][0].update(speed=1),
            "missing-column": lambda r: r["lines"][2].pop("spread"), "text-as-number": lambda r: r["lines"][0].update(runs="7"),
            "number-as-text": lambda r: r["lines"][0].update(problem=7), "negative": lambda r: r["lines"][0].update(runs=-7),
            "long": lambda r: r["lines"][0].update(problem="x" * 5000), "zero": lambda r: r["lines"][0].update(note="a\0b"),
            "line-null": lambda r: r["lines"].append(None), "device": lambda r: r["devices"][0].update(device=-1)}.items():
        save(folder, "bad-" + name, planted(report, change))
    save(folder, "bad-infinite", text.replace('"spread": 0.03', '"spread": 1e999', 1))
    save(folder, "bad-nan", text.replace('"spread": 0.03', '"spread": NaN', 1))
    for name, change in {"problem": {"problem": "attn:f32; rm -rf ~"}, "option": {"options": "--json '/tmp/x'"},
                         "shell": {"options": "--mask '$(id)'"}, "quote": {"options": "--mask 'k <= q"},
                         "word": {"options": "id"}, "device": {"device": 7}, "tensors": {"tensors": "../../etc"},
                         "refresh": {"refresh": "x"}}.items():
        save(folder, "line-" + name, planted(report, lambda r: r["lines"][0].update(change)))


def check_devices(report, selector):
    report = load(report)
    numbers = {"thread": [1], "turned": [1, 0]}.get(selector, [0, 1])
    assert [d["device"] for d in report["devices"]] == [l["device"] for l in report["lines"]] == numbers, selector
    for device, line in zip(report["devices"], report["lines"]):
        assert line["device_name"] == f"{device['name']} ({device['platform']})" and line["driver"] == device["driver"]
        assert device["type"] == "cpu" and device["peak_gflops"] > 0 and device["peak_gflops_after"] > 0


def check_energy(report, least, most="0", mhz="any"):
    line = load(report)["lines"][0]
    assert mhz == "any" or line["mhz"] == (None if mhz == "none" else float(mhz)), line["mhz"]
    if least == "none":
        assert line["joules"] is None and line["watts"] is None
    else:
        assert float(least) <= line["watts"] <= float(most), line["watts"]
        assert 0.5 < line["joules"] / line["watts"] / line["median_seconds"] < 2


def check_peers(report, name):
    plain, window = load(report)["lines"]
    assert window["peer"] is None and window["failed"] is None and plain["failed"] is None
    if name == "none":
        assert plain["peer"] is None and plain["peer_seconds"] is None
    else:
        assert plain["peer"].startswith(name) and 0.02 <= plain["peer_seconds"] < 0.04
        assert abs(plain["peer_times"] - plain["peer_seconds"] / plain["median_seconds"]) < 1e-6 * plain["peer_times"]


def check_cold(report):
    """From memory: timed by the device's clock, without what depends on the wall's."""
    plain, refused = load(report)["lines"]
    assert plain["failed"] is None and plain["cold_bytes"] >= 1 << 28 and plain["joules"] is None and plain["baseline_times"] is None
    assert plain["event_seconds"] / 10 < plain["median_seconds"] < 10 * plain["event_seconds"]
    assert plain["fraction_of_floor"] == max(plain["fraction_of_peak"], plain["fraction_of_read"])
    assert refused["failed"].startswith("--cold is for problems without a selection")


def check_failures(report, count):
    lines = load(report)["lines"]
    assert sum(line["failed"] is not None for line in lines) == int(count) < len(lines)


def check_terminal(program):
    """Colours, bars and progress on a terminal; none with NO_COLOR."""
    import os
    import pty
    import subprocess
    call = [program, "bench", "--no-baseline", "attn:f32:h2:q64:k64:d64", "attn:f32:h40000:q100000:k100000:d512"]
    for plain in (False, True):
        master, slave = pty.openpty()
        environment = os.environ | {"NO_COLOR": "1"} if plain else {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
        with subprocess.Popen(call, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, env=environment) as process:
            os.close(slave)
            text = b""
            try:
                while True:
                    text += os.read(master, 4096)
            except OSError:
                os.close(master)
        assert process.returncode == 1 and b"problem 2 of 2" in text and b" s to go on it" in text
        assert (b"\033[31;1mFAILED" in text) != plain and ("\u2588".encode() in text or "\u258f".encode() in text or plain)


if __name__ == "__main__":
    globals()["check_" + sys.argv[1]](*sys.argv[2:])
