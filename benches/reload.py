#!/usr/bin/env python3
"""Not one failed request while the config is read again, and while a new process takes over.

    python3 benches/reload.py [--seconds 15]

1. wrk (HTTP/1.1), h2load (HTTP/2) and clients of benches/load (both, with TLS) ask without pause
   while the config changes at SIGHUP several times a second. Each reload is waited for: the next is
   sent when an answer shows the new config.
2. wrk and the clients of benches/load ask while a new process takes the sockets over (`portcullis
   run --replace`), again and again. h2load is left out: it does not open a connection anew after
   GOAWAY.

A failed request is any answer but 200, a broken body, a refused or broken connection. Prints a table
and ends with 1 when there was one.
"""

import argparse
import json
import re
import subprocess
import sys
import time

import lab
import streams

def config(values, number):
    return lab.numbered(streams.GATEWAY.format(**values), number)


class Load:
    """Everybody who asks at the same time."""

    def __init__(self, place, gateway, values, token, with_h2load):
        options = place.options
        plain = f"http://127.0.0.1:{values['port']}/"
        pinned, bearer = lab.pinned(options.load_core), ["-H", f"Authorization: Bearer {token}"]
        self.seconds = options.seconds
        self.wrk = started([*pinned, "wrk", "-t1", "-c8", f"-d{self.seconds}s", "--timeout", "20s", *bearer, plain])
        self.h2load = started([*pinned, "h2load", "-t1", "-c4", "-m4", f"-D{self.seconds}", *bearer, plain]) if with_h2load else None
        self.ours = {}
        for what, port, version, certificate in (
            ("HTTP/1.1", "port", 1, None), ("HTTP/1.1, TLS", "tls", 1, place.chain),
            ("HTTP/2", "port", 2, None), ("HTTP/2, TLS", "tls", 2, place.chain),
        ):
            words = {
                "address": f"127.0.0.1:{values[port]}", "http": version, "connections": 2, "each": 4,
                "pause_ms": 2, "token": token, "certificate": certificate,
            }
            command = lab.load_command(place.load, options.load_core, "requests", words)
            self.ours[what] = started(command, stdin=subprocess.PIPE)
        self.ends = time.monotonic() + self.seconds

    def goes_on(self):
        return time.monotonic() < self.ends - 1

    def end(self):
        """Answered and failed requests of each."""
        found = {}
        text = self.wrk.communicate(timeout=60)[0]
        broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
        refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        failed = (sum(map(int, broken.groups())) if broken else 0) + (int(refused.group(1)) if refused else 0)
        found["wrk"] = (int(re.search(r"(\d+) requests in", text).group(1)), failed, text if failed else "")
        if self.h2load:
            text = self.h2load.communicate(timeout=60)[0]
            right, failed = lab.h2load(text)
            found["h2load"] = (right, failed, text if failed else "")
        for what, process in self.ours.items():
            one = json.loads(process.communicate("\n", timeout=60)[0])
            found[f"benches/load, {what}"] = (one["answered"], one["failed"], one["first"])
        return found


def started(command, **more):
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, env=lab.ENVIRONMENT, **more)


def reloads(load, gateway, values, token):
    """How many there were; each was seen in an answer."""
    count = 0
    while load.goes_on():
        count += 1
        gateway.reload(config(values, count), count, values["port"], token)
        time.sleep(0.1)
    return count


def takeovers(load, gateway, values, token):
    """How many processes followed the first; the gateway is the last of them."""
    count = 0
    while load.goes_on():
        old = gateway.process
        gateway.run(gateway.core, "--replace", env=gateway.env)
        count += 1
        old.wait(60)
        if old.returncode:
            sys.exit(f"the process that was replaced ended with {old.returncode}")
        time.sleep(0.2)
    return count


def part(what, act, place, gateway, values, token, checks, with_h2load):
    load = Load(place, gateway, values, token, with_h2load)
    time.sleep(0.5)
    count = act(load, gateway, values, token)
    found = load.end()
    for who, (answered, failed, why) in found.items():
        print(f"| {count} {what} | {who} | {answered:,} | {failed} |", flush=True)
        checks.hold(failed == 0 and answered > 0, f"{what}, {who}: {failed} failed of {answered}: {why}")
    checks.hold(count > 2, f"only {count} {what} in {place.options.seconds} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--program", default=str(lab.RELEASE))
    parser.add_argument("--seconds", type=int, default=15, help="of each part")
    parser.add_argument("--proxy-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    options = parser.parse_args()
    options.sockets, options.users, options.threads = 1000, 100, 2
    lab.needed("wrk", "h2load", "openssl")
    lab.leave_on_signal()
    lab.open_files(10_000)
    checks = lab.Checks()
    first = lambda values: config(values, 0)  # noqa: E731
    with lab.stage("reload", options, streams.Place, first, BENCH_SECRET=streams.SECRET) as (place, values, gateway):
        token = lab.bearer(streams.SECRET, streams.MAIN, "user-1")
        print("| while | client | answered | failed |\n|---|---|---|---|")
        part("reloads", reloads, place, gateway, values, token, checks, True)
        part("takeovers", takeovers, place, gateway, values, token, checks, False)
    checks.end()


if __name__ == "__main__":
    main()
