#!/usr/bin/env python3
"""CPU per request of Portcullis beside haproxy, nginx and Envoy on the same work.

Each contender runs with one worker pinned to one core; load generator and backends share another.
Every cell is one contender doing one kind of work for a few seconds; rounds go through all cells in
turn, so that a slow minute of the machine hits everyone. The figure is user plus system time of all
the contender's processes and threads, divided by the requests it answered. Before anything is
measured, each contender must answer rightly: 200 for the good token, 401 for each bad one.

Run it by `target/test-clients/bin/python3` (tests/clients/install makes it; Envoy is in it). Needs
Debian's haproxy, nginx, wrk, nghttp2-client, curl and openssl, and a release build.
"""

import argparse
import json
import pathlib
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import envoy  # noqa: E402
import idle  # noqa: E402
import lab  # noqa: E402
import ours  # noqa: E402
import peers  # noqa: E402
import rows as kinds  # noqa: E402
import tokens  # noqa: E402
import work  # noqa: E402

BY_NAME = {"portcullis": ours.Portcullis, "haproxy": peers.Haproxy, "nginx": peers.Nginx, "envoy": envoy.Envoy}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--portcullis", default=str(lab.RELEASE))
    parser.add_argument("--only", default="portcullis,haproxy,nginx,envoy", help="contenders, in order")
    parser.add_argument("--rows", default="", help="only rows whose name contains one of these")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="length of one cell")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--denied", type=int, default=0, help="denied jti in the last rows, e.g. 1000000")
    parser.add_argument("--idle", type=int, default=5000, help="connections of the memory rows; 0: without them")
    parser.add_argument("--proxy-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--out", default="", help="also write the tables and all samples here")
    return parser.parse_args()


class Place:
    """What all contenders are given."""

    def __init__(self, directory, options):
        self.directory = directory
        self.load = lab.load_program()
        self.chain, self.key, self.both = lab.certificate(directory)
        self.backends = [peers.Backend(directory, options.load_core), lab.Echo(self.load, options.load_core)]
        self.backend, self.big = (one.address for one in self.backends)


def measure(contender, row, options, place):
    """One cell: CPU for one unit of the work, and requests per second."""
    url, process = contender.url(row), contender.of(row)
    before = process.cpu_us()
    started = time.monotonic()
    done, wrong = work.run(url, row, options, place)
    elapsed = time.monotonic() - started
    used = process.cpu_us() - before
    if done == 0 or wrong > done * 0.001 + 1:
        sys.exit(f"{contender.name}, {row.name}: {wrong} of {done} answers were not {row.status}")
    return used / row.per(done), done / elapsed


def run(field, issued, options, place):
    wanted = [part for part in options.rows.split(",") if part]
    samples, asked = [], []
    for batch in kinds.batches(issued, options.denied, place.directory):
        rows = [row for row in batch if not wanted or any(part in row.name for part in wanted)]
        for contender in field:
            for row in rows:
                if contender.can(row) and row.denied_jti:
                    contender.deny(row.denied, row.denied_jti)
        work.check(field, rows)
        for number in range(options.rounds):
            for row in rows:
                for contender in field:
                    if not contender.can(row):
                        continue
                    value, rate = measure(contender, row, options, place)
                    samples.append({"round": number, "row": row.name, "contender": contender.name, "value": value, "rate": rate})
                    print(f"  {number + 1}/{options.rounds} {row.name:30} {contender.name:10} {value:8.2f} {row.unit} {rate:8.0f}/s", file=sys.stderr)
        asked += rows
    return asked, samples


def medians(row, names, samples):
    """Of each contender that has the row: its values."""
    found = {}
    for name in names:
        values = [one["value"] for one in samples if (one["row"], one["contender"]) == (row.name, name)]
        if values:
            found[name] = values
    return found


def table(rows, names, samples):
    lines = ["| work | " + " | ".join(names) + " | × of | aim | |", "|---" * (len(names) + 4) + "|"]
    for row in rows:
        found = medians(row, names, samples)
        cells = [
            f"{statistics.median(found[name]):.1f} ({min(found[name]):.1f}–{max(found[name]):.1f})" if name in found else "–"
            for name in names
        ]
        unit = "" if row.unit == "µs" else ", CPU-ms a GiB"
        lines.append(f"| {row.name}{unit} | " + " | ".join([*cells, *verdict(row, found)]) + " |")
    return "\n".join(lines)


def verdict(row, found):
    middle = {name: statistics.median(values) for name, values in found.items()}
    others = {name: value for name, value in middle.items() if name != "portcullis"}
    peer = min(others, key=others.get, default=None) if row.peer == "best" else row.peer
    if row.factor is None or "portcullis" not in middle or peer not in others:
        return "–", "–", ""
    ratio = middle["portcullis"] / others[peer]
    return f"{ratio:.2f} {peer}", f"≤ {row.factor}", "yes" if ratio <= row.factor else "**no**"


def bad_beside_good(rows, samples):
    """A stranger's token must not buy more work than a good one that was never seen."""
    by_name = {row.name: row for row in rows}
    lines = ["| algorithm | bad signature, µs | good, never seen, µs | bad / good |", "|---|---|---|---|"]
    for name in ("HS256", "RS256", "ES256"):
        bad, good = by_name.get(f"refuse bad signature {name}"), by_name.get(f"good, never seen {name}")
        if bad and good:
            pair = [medians(row, ["portcullis"], samples).get("portcullis") for row in (bad, good)]
            if all(pair):
                bad, good = map(statistics.median, pair)
                lines.append(f"| {name} | {bad:.1f} | {good:.1f} | {bad / good:.2f} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def main():
    options = arguments()
    lab.needed("haproxy", "nginx", "wrk", "h2load", "curl", "openssl", "taskset")
    names = options.only.split(",")
    if "envoy" in names and not envoy.program():
        sys.exit("no Envoy in target/test-clients: run tests/clients/install, or leave it out by --only")
    lab.leave_on_signal()
    lab.open_files(18_000)
    machine = lab.machine()
    with tempfile.TemporaryDirectory(prefix="portcullis-compare-") as directory:
        directory = pathlib.Path(directory)
        directory.chmod(0o755)
        issued = tokens.issue(directory)
        place, field = Place(directory, options), []
        try:
            for name in names:
                field.append(BY_NAME[name](directory, place, issued, options))
            rows, samples = run(field, issued, options, place)
            versions = ", ".join(contender.version for contender in field)
            while field:
                field.pop().stop()
            memory = idle.run(BY_NAME, names, issued, options, place) if options.idle else ""
        finally:
            for one in reversed([*place.backends, *field]):
                one.stop()
    head = (
        f"CPU microseconds a request, median (range) of {options.rounds} interleaved rounds of {options.seconds} s, "
        f"{options.connections} connections or streams.\n{machine}; {versions}\n"
    )
    parts = [part for part in (head + "\n" + table(rows, names, samples), bad_beside_good(rows, samples), memory) if part]
    text = "\n\n".join(parts)
    print(text)
    if options.out:
        out = pathlib.Path(options.out)
        out.write_text(json.dumps({"text": text, "samples": samples}, indent=1) + "\n")


if __name__ == "__main__":
    main()
