#!/usr/bin/env python3
"""CPU per request of Portcullis beside haproxy and nginx on the same work.

Each contender runs with one worker pinned to one core; load generator (wrk) and backend (nginx)
share another. Every cell is one contender doing one kind of work for a few seconds; rounds go
through all cells in turn, so that a slow minute of the machine hits everyone. The figure is user
plus system time of all the contender's processes and threads, divided by the requests it answered.
Before anything is measured, each contender must answer rightly: 200 for the good token, 401 for
each bad one. Needs Debian's haproxy, nginx, wrk and openssl, and Python 3.10.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import contenders
import tokens
import work

ROOT = pathlib.Path(__file__).resolve().parents[2]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--portcullis", default=str(ROOT / "target/release/portcullis"))
    parser.add_argument("--only", default="portcullis,haproxy,nginx", help="contenders, in order")
    parser.add_argument("--rows", default="", help="only rows whose name contains one of these")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="length of one cell")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--denied", type=int, default=0, help="denied jti in the last row, e.g. 1000000")
    parser.add_argument("--proxy-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--out", default="", help="also write the table and all samples here")
    return parser.parse_args()


def needed(programs):
    missing = [name for name in programs if not shutil.which(name, path=contenders.PATH)]
    if missing:
        sys.exit(f"not installed: {' '.join(missing)}; try: apt-get install haproxy nginx-light wrk openssl")


def measure(contender, row, options):
    """One cell: CPU microseconds per request, and requests per second."""
    url = contender.url(row)
    before = contender.cpu_us()
    started = time.monotonic()
    done, wrong = work.load(url, row, options)
    elapsed = time.monotonic() - started
    used = contender.cpu_us() - before
    if done == 0 or wrong > done * 0.001 + 1:
        sys.exit(f"{contender.name}, {row.name}: {wrong} of {done} answers were not {row.status}")
    return used / done, done / elapsed


def table(rows, names, samples):
    lines = ["| work | " + " | ".join(names) + " | portcullis × haproxy |"]
    lines.append("|---" * (len(names) + 2) + "|")
    for row in rows:
        cells, medians = [], {}
        for name in names:
            cell = [sample["cpu_us"] for sample in samples if (sample["row"], sample["contender"]) == (row, name)]
            if not cell:
                cells.append("–")
                continue
            medians[name] = statistics.median(cell)
            cells.append(f"{medians[name]:.1f} ({min(cell):.1f}–{max(cell):.1f})")
        ratio = "–"
        if "portcullis" in medians and "haproxy" in medians:
            ratio = f"{medians['portcullis'] / medians['haproxy']:.2f}"
        lines.append(f"| {row} | " + " | ".join(cells) + f" | {ratio} |")
    return "\n".join(lines)


def machine():
    model = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}"


def main():
    options = arguments()
    needed(["haproxy", "nginx", "wrk", "openssl", "taskset"])
    names = options.only.split(",")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="portcullis-compare-") as directory:
        directory = pathlib.Path(directory)
        directory.chmod(0o755)
        issued = tokens.issue(directory)
        backend = contenders.Backend(directory, options.load_core)
        running = [backend]
        try:
            field = []
            for name in names:
                contender = contenders.BY_NAME[name](directory, backend.address, issued, options)
                running.append(contender)
                field.append(contender)
            samples = run(field, issued, options)
        finally:
            for process in reversed(running):
                process.stop()
    text = table(list(dict.fromkeys(sample["row"] for sample in samples)), names, samples)
    head = (
        f"CPU microseconds a request, median (range) of {options.rounds} interleaved rounds of "
        f"{options.seconds} s, {options.connections} keep-alive connections.\n{machine()}; "
        + ", ".join(contender.version for contender in field)
        + "\n"
    )
    print(head + "\n" + text)
    if options.out:
        out = pathlib.Path(options.out)
        out.write_text(json.dumps({"head": head, "table": text, "samples": samples}, indent=1) + "\n")


def run(field, issued, options):
    wanted = [part for part in options.rows.split(",") if part]
    samples = []
    for batch in work.batches(issued, options.denied):
        rows = [row for row in batch if not wanted or any(part in row.name for part in wanted)]
        if not rows:
            continue
        for contender in field:
            for row in rows:
                row.prepare(contender)
        work.check(field, rows)
        for number in range(options.rounds):
            for row in rows:
                for contender in field:
                    if not contender.can(row):
                        continue
                    cpu_us, rate = measure(contender, row, options)
                    samples.append(
                        {"round": number, "row": row.name, "contender": contender.name, "cpu_us": cpu_us, "rate": rate}
                    )
                    print(f"  {number + 1}/{options.rounds} {row.name:24} {contender.name:10} {cpu_us:7.2f} us {rate:8.0f}/s", file=sys.stderr)
    return samples


if __name__ == "__main__":
    main()
