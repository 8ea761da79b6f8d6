#!/usr/bin/env python3
"""Acknowledged denials a second, one by one, over HTTP: keep-alive clients of `POST /v1/denials`.

    python3 benches/denials.py [--clients 64,128,256] [--seconds 5]

Each client waits for its answer, which comes when the denial is on disk and in force, before it sends
the next. Afterwards the gateway is killed and started again: every acknowledged denial must be there.
The file system decides much of it; the figure of a plain 4 KiB write and fsync is printed beside.
"""

import argparse
import http.client
import json
import os
import pathlib
import signal
import sys
import tempfile
import time

import lab
import streams


def synced(directory):
    """Writes of 4 KiB that are synced one after the other, a second."""
    with open(directory / "synced", "wb") as file:
        began, count = time.monotonic(), 0
        while time.monotonic() - began < 1:
            file.write(b"x" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
            count += 1
    return count


def in_force(gateway):
    connection = http.client.HTTPConnection(gateway.admin, timeout=60)
    connection.request("GET", "/v1/denials?limit=1", headers={"Authorization": f"Bearer {gateway.credential}"})
    return json.loads(connection.getresponse().read())["in_force"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--program", default=str(lab.RELEASE))
    # The admin API takes 256 connections, and one is kept for the count.
    parser.add_argument("--clients", default="1,64,128,250")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--proxy-core", default="0")
    parser.add_argument("--load-core", default="1")
    options = parser.parse_args()
    options.sockets, options.users, options.threads = 1000, 100, 1
    lab.leave_on_signal()
    print(lab.machine() + ", " + lab.first_line([options.program, "--version"]) + "\n")
    checks = lab.Checks()
    # On the disk of the sources rather than in /tmp, which may be memory.
    with tempfile.TemporaryDirectory(prefix="portcullis-denials-", dir=lab.ROOT / "target") as directory:
        directory = pathlib.Path(directory)
        print(f"{synced(directory):,} plain writes of 4 KiB a second, each synced\n")
        place = streams.Place(directory, options)
        gateway = streams.gateway(place)
        acknowledged = 0
        try:
            print("| clients | acknowledged a second | ms: p50 | p99 | max | CPU, µs each |\n|---|---|---|---|---|---|")
            for clients in map(int, options.clients.split(",")):
                before = gateway.cpu_us()
                found = lab.load(
                    place.load, options.load_core, "denials", admin=gateway.admin, admin_token=gateway.credential,
                    clients=clients, seconds=options.seconds, series=f"series-{clients}",
                )
                ms = found["ms"]
                each = (gateway.cpu_us() - before) / ms["count"]
                acknowledged += ms["count"]
                print(f"| {clients} | {found['per_second']:,.0f} | {ms['p50']} | {ms['p99']} | {ms['max']} | {each:.0f} |", flush=True)
            gateway.process.send_signal(signal.SIGKILL)
            gateway.process.wait()
            gateway.run(options.proxy_core, env=gateway.env)
            held = in_force(gateway)
            print(f"\nkilled and started again in {gateway.ready_after:.2f} s: {held:,} of {acknowledged:,} are in force")
            checks.hold(held == acknowledged, f"{acknowledged - held} acknowledged denials are gone")
        finally:
            gateway.stop()
            place.echo.stop()
    checks.end()


if __name__ == "__main__":
    main()
