#!/usr/bin/env python3
"""What a tunnel costs: CPU of Portcullis, nginx and haproxy per WebSocket message and per GiB.

    python3 benches/relay.py [--rounds 5] [--seconds 2]

Each on one core; clients and the echo server (benches/load) on another. A message goes to the
server and comes back, so it is relayed twice; each echo is compared with what was sent, and the next
message of a connection waits for it. Portcullis has checked the token, follows the frames of both
directions and can cut each connection at any time; the others look at nothing. Rounds are
interleaved. The second part is the registry of open streams by itself (`cargo bench --bench
streams`), which asserts that a denial costs what it hits.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile

import lab
import streams

# Bytes of a message, and connections at a time.
SIZES = ((32, 64), (1024, 64), (65_536, 8))


def cell(one, place, size, connections, seconds):
    """CPU microseconds a message there and back, and milliseconds a GiB relayed."""
    before = one.cpu_us()
    found = lab.load(
        place.load, place.options.load_core, "messages",
        address=f"127.0.0.1:{one.plain}", connections=connections, size=size, seconds=seconds,
        secret=streams.SECRET, issuer=streams.MAIN,
    )
    used = one.cpu_us() - before
    # Once to the server and once back.
    return used / found["messages"], used / 1000 / (2 * found["bytes"] / 2**30)


def table(names, samples):
    print("| CPU, median (range) | " + " | ".join(names) + " | × best of the others |")
    print("|---" * (len(names) + 2) + "|")
    for size, _ in SIZES:
        for unit, at in (("µs a message there and back", 0), ("ms a GiB", 1)):
            if at == 1 and size < 65_536:
                continue
            found = {name: [one[at] for one in samples[name, size]] for name in names}
            middle = {name: statistics.median(values) for name, values in found.items()}
            others = [value for name, value in middle.items() if name != "portcullis"]
            ratio = f"{middle['portcullis'] / min(others):.2f}" if others else "–"
            cells = (f"{middle[name]:.1f} ({min(values):.1f}–{max(values):.1f})" for name, values in found.items())
            print(f"| {size:,} bytes, {unit} | " + " | ".join(cells) + f" | {ratio} |")
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--program", default=str(lab.RELEASE))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--proxy-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--no-registry", action="store_true", help="without the second part")
    options = parser.parse_args()
    options.sockets, options.users, options.threads = 100, 100, 1
    lab.needed("haproxy", "nginx", "openssl")
    lab.leave_on_signal()
    print(lab.machine() + ", " + lab.first_line([options.program, "--version"]) + "\n")
    with tempfile.TemporaryDirectory(prefix="portcullis-relay-") as directory:
        directory = pathlib.Path(directory)
        directory.chmod(0o755)
        place, field = streams.Place(directory, options), []
        try:
            field = [streams.gateway(place), streams.Tunnel("haproxy", place), streams.Tunnel("nginx", place)]
            samples = {}
            for number in range(options.rounds):
                for size, connections in SIZES:
                    for one in field:
                        found = cell(one, place, size, connections, options.seconds)
                        samples.setdefault((one.name, size), []).append(found)
                        print(f"  {number + 1}/{options.rounds} {size:6} {one.name:10} {found[0]:8.1f} µs {found[1]:8.0f} ms/GiB", file=sys.stderr)
            table([one.name for one in field], samples)
        finally:
            for one in [*field, place.echo]:
                one.stop()
    if not options.no_registry:
        command = ["taskset", "-c", str(options.proxy_core), "cargo", "bench", "--locked", "--bench", "streams"]
        sys.exit(subprocess.run(command, cwd=lab.ROOT).returncode)


if __name__ == "__main__":
    main()
