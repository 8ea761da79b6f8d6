#!/usr/bin/env python3
"""Twenty minutes of everything at once, and a flat line of memory.

    python3 benches/soak.py [--minutes 20] [--rate 1500] [--full]

HTTP/1.1 and HTTP/2, plain and over TLS (h2load, connections opened anew every 20 seconds),
WebSockets (benches/load, opened anew as often), downloads and uploads, denials that must hold at
once, refused tokens, lifts, and a reload every 15 seconds. --rate is h2load's requests a second in
all; --full lets it go as fast as it can.

Prints resident memory, open files and what was done each 10 seconds. Ends with 1 when one request
failed, or when the line is not flat: after the first fifth, the least of the last third may be no more
than 4 per cent and 2 MiB above the least of the first third, for what comes and goes with the work is
on top of that; and the same of open files, of which ten are allowed.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import threading
import time
import traceback

import lab
import streams

SLICE_S = 20
SAMPLE_S = 10
BIG = 4 << 20


def config(values, number):
    return lab.numbered(streams.GATEWAY.format(**values), number)


class Work:
    """What goes on: each part in a thread, until it is told to end."""

    def __init__(self, place, gateway, values, options):
        self.place, self.gateway, self.values, self.options = place, gateway, values, options
        self.token = lab.bearer(streams.SECRET, streams.MAIN, "soak-user")
        self.stop, self.failed, self.done = threading.Event(), [], {}
        parts = [self.websockets, self.bodies, self.denials, self.reloads]
        parts += [lambda kind=kind: self.requests(*kind) for kind in self.kinds()]
        self.threads = [threading.Thread(target=self.guarded, args=(part,), daemon=True) for part in parts]
        for thread in self.threads:
            thread.start()

    def kinds(self):
        plain, tls = f"http://127.0.0.1:{self.values['port']}/", f"https://127.0.0.1:{self.values['tls']}/"
        return [
            ("HTTP/1.1", plain, ["--h1"]), ("HTTP/2", plain, ["-m4"]),
            ("HTTP/1.1, TLS", tls, ["--h1"]), ("HTTP/2, TLS", tls, ["-m4"]),
        ]

    def guarded(self, part):
        try:
            part()
        except BaseException:  # noqa: BLE001: whatever it was, the soak has failed
            if not self.stop.is_set():
                self.failed.append(traceback.format_exc())

    def count(self, what, more=1):
        self.done[what] = self.done.get(what, 0) + more

    def requests(self, what, url, words):
        pace = [] if self.options.full else ["--rps", str(max(1, self.options.rate // 16))]
        while not self.stop.is_set():
            command = [*lab.pinned(self.options.load_core), "h2load", "-t1", "-c4", f"-D{SLICE_S}", *pace, *words]
            command += ["-H", f"Authorization: Bearer {self.token}", url]
            text = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=SLICE_S + 60, env=lab.ENVIRONMENT).stdout
            right, wrong = lab.h2load(text)
            self.count(what, right)
            if wrong or not right:
                self.failed.append(f"{what}: {text}")

    def websockets(self):
        while not self.stop.is_set():
            found = lab.load(
                self.place.load, self.options.load_core, "messages", address=f"127.0.0.1:{self.values['port']}",
                connections=50, size=512, seconds=SLICE_S, pause_ms=200, secret=streams.SECRET, issuer=streams.MAIN,
            )
            self.count("WebSocket messages", found["messages"])

    def bodies(self):
        """Down and up, whole."""
        headers = {"Authorization": f"Bearer {self.token}"}
        while not self.stop.wait(1):
            connection = http.client.HTTPConnection("127.0.0.1", self.values["port"], timeout=60)
            for method, path, body, expected in (("GET", f"/x/bytes/{BIG}", None, BIG), ("POST", "/", b"x" * BIG, 2)):
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                size = len(answer.read())
                if answer.status != 200 or size != expected:
                    raise RuntimeError(f"{method}: {answer.status} with {size} bytes")
                self.count("big bodies")
            connection.close()

    def denials(self):
        """A token passes, is denied, is refused from then on, and passes again when it is lifted;
        tokens that were never good are refused."""
        public = http.client.HTTPConnection("127.0.0.1", self.values["port"], timeout=60)
        number = 0
        # So few that the store's own growth, some hundred bytes each, is no part of the line.
        while not self.stop.wait(1):
            number += 1
            jti = f"soak-{number}"
            token = lab.bearer(streams.SECRET, streams.MAIN, "soak-other", jti=jti)
            self.expect(public, token, 200)
            denial = json.dumps({"issuer": "main", "jti": jti, "reason": "soak"})
            made = json.loads(self.admin("POST", "/v1/denials", denial))
            self.expect(public, token, 401)
            self.expect(public, token[:-4] + "AAAA", 401)
            if number % 2:
                self.admin("DELETE", f"/v1/denials/{made['id']}")
                self.expect(public, token, 200)
            self.count("denials")

    def expect(self, connection, token, status):
        connection.request("GET", "/", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != status:
            raise RuntimeError(f"{answer.status} instead of {status}")

    def admin(self, method, path, body=None):
        """On a connection of its own: the admin API ends them when they are five minutes old."""
        connection = http.client.HTTPConnection(self.gateway.admin, timeout=60)
        headers = {"Authorization": f"Bearer {self.gateway.credential}", "Content-Type": "application/json"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status not in (200, 201, 204):
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:200]}")
        return text

    def reloads(self):
        number = 0
        while not self.stop.wait(15):
            number += 1
            self.gateway.reload(config(self.values, number), number, self.values["port"], self.token)
            self.count("reloads")

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(SLICE_S + 90)


def flat(samples, at, part, more):
    """Of the column `at`: the least of the first and of the last third after the warm-up, and whether
    the last is not above the first by more than so much."""
    after = [sample[at] for sample in samples[len(samples) // 5:]]
    third = max(1, len(after) // 3)
    first, last = min(after[:third]), min(after[-third:])
    return first, last, last <= first * (1 + part) + more


def watch(work, gateway, minutes):
    """A sample each ten seconds, until the end or the first failure."""
    samples, began = [], time.monotonic()
    print("| s | resident, MiB | open files | CPU, s | done |\n|---|---|---|---|---|")
    while time.monotonic() - began < minutes * 60 and not work.failed:
        time.sleep(SAMPLE_S)
        if gateway.process.poll() is not None:
            work.failed.append("the gateway ended")
            break
        resident = gateway.resident() / 2**20
        files = len(os.listdir(f"/proc/{gateway.process.pid}/fd"))
        samples.append((resident, files))
        done = ", ".join(f"{what} {count:,}" for what, count in sorted(work.done.items()))
        print(f"| {time.monotonic() - began:.0f} | {resident:.1f} | {files} | {gateway.cpu_us() / 1e6:.1f} | {done} |", flush=True)
    return samples


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--program", default=str(lab.RELEASE))
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--rate", type=int, default=1500)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--proxy-core", type=int, default=None, help="default: any")
    parser.add_argument("--load-core", type=int, default=None)
    options = parser.parse_args()
    options.sockets, options.users = 1000, 100
    lab.needed("h2load", "openssl")
    lab.leave_on_signal()
    lab.open_files(10_000)
    checks = lab.Checks()
    first = lambda values: config(values, 0)  # noqa: E731
    with lab.stage("soak", options, streams.Place, first, BENCH_SECRET=streams.SECRET) as (place, values, gateway):
        work = Work(place, gateway, values, options)
        try:
            samples = watch(work, gateway, options.minutes)
            work.end()
        finally:
            work.stop.set()
            if work.failed:
                print((gateway.home / "log").read_text()[-3000:], file=sys.stderr)
    for what in work.failed:
        checks.hold(False, what)
    if len(samples) >= 5:
        first, last, good = flat(samples, 0, 0.04, 2)
        print(f"\nresident after the warm-up: at least {first:.1f} MiB in the first third, {last:.1f} MiB in the last")
        checks.hold(good, "the line of memory is not flat")
        first, last, good = flat(samples, 1, 0.04, 10)
        print(f"open files: at least {first:.0f}, {last:.0f}")
        checks.hold(good, "open files grow")
    checks.end()


if __name__ == "__main__":
    main()
