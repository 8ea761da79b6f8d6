#!/usr/bin/env python3
"""Slow clients, and what everybody else notices: slowhttptest's four attacks against the gateway.

    python3 benches/slow.py [--connections 1000] [--seconds 30] [--program target/debug/portcullis]

-H sends heads, -B bodies, a few bytes each ten seconds; -X reads its answers so; -R asks for a file in
thousands of overlapping ranges (nginx serves it). Meanwhile others ask without pause, each request on
a connection of its own, from another address.

Prints how many connections each attack got and held at the end, and how long others waited. Ends
with 1 when one of them was not answered with 200, or waited longer than --most-ms; or when, after the
attack, not every connection of it is gone in --gone-s seconds.
"""

import argparse
import http.client
import pathlib
import re
import subprocess
import tempfile
import threading
import time

import lab

CONFIG = """
[server]
listen = "127.0.0.1:{port}"
limits.connections_max = 20000
limits.connections_per_address = 0

[admin]
listen = "127.0.0.1:0"

[log]
access = "off"

[store]
path = "data"

[[upstream]]
name = "app"
servers = ["http://{backend}"]

[[upstream]]
name = "files"
servers = ["http://127.0.0.1:{files}"]

[[route]]
path = "/"
access = "public"
upstream = "app"

[[route]]
path = "/file"
access = "public"
upstream = "files"
"""

NGINX = """
daemon off; worker_processes 1; pid {home}/pid; error_log {home}/log;
events {{ worker_connections 4000; }}
http {{ access_log off; client_body_temp_path {home}/b; proxy_temp_path {home}/p;
  fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
  server {{ listen 127.0.0.1:{files}; root {home}; }} }}
"""

ATTACKS = {
    "-H, heads": (["-H", "-i", "10", "-x", "24", "-t", "GET"], "/"),
    "-B, bodies": (["-B", "-i", "10", "-s", "8192", "-x", "10", "-t", "POST"], "/"),
    "-X, answers": (["-X", "-k", "3", "-n", "5", "-z", "32", "-w", "512", "-y", "1024"], "/x/bytes/200000"),
    "-R, ranges": (["-R", "-a", "10", "-b", "3000"], "/file"),
}


class Place:
    """The backends: the echo of benches/load, and nginx with a file."""

    def __init__(self, directory, options):
        self.echo = lab.Echo(lab.load_program(), options.load_core)
        self.home = pathlib.Path(tempfile.mkdtemp(dir=directory))
        self.home.chmod(0o777)
        directory.chmod(0o755)
        (self.home / "file").write_bytes(bytes(100_000))
        self.port, self.files = lab.free_port(), lab.free_port()
        config = self.home / "nginx.conf"
        config.write_text(NGINX.format(home=self.home, files=self.files))
        self.nginx = lab.Process()
        self.nginx.start(options.load_core, ["nginx", "-e", self.home / "log", "-c", config])
        self.nginx.wait_for(self.files)

    def values(self, _home):
        return {"port": self.port, "backend": self.echo.address, "files": self.files}


class Others:
    """Who asks meanwhile: how long each waited, and what went wrong."""

    def __init__(self, port):
        self.port, self.stop, self.waited_ms, self.failed = port, threading.Event(), [], []
        self.thread = threading.Thread(target=self.ask, daemon=True)
        self.thread.start()

    def ask(self):
        while not self.stop.wait(0.01):
            began = time.monotonic()
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20, source_address=("127.0.0.2", 0))
                connection.request("GET", "/")
                status = connection.getresponse().status
                connection.close()
            except OSError as error:
                status = error
            self.waited_ms.append((time.monotonic() - began) * 1000)
            if status != 200:
                self.failed.append(status)

    def end(self):
        self.stop.set()
        self.thread.join(30)
        return sorted(self.waited_ms), self.failed


def established(port):
    """The gateway's connections from the attacker's address."""
    text = subprocess.run(["ss", "-Htn", "state", "established", f"sport = :{port}"], stdout=subprocess.PIPE, text=True, env=lab.ENVIRONMENT).stdout
    return sum("127.0.0.1:" in line.split()[-1] for line in text.splitlines())


def attack(what, values, options, checks):
    words, path = ATTACKS[what]
    url = f"http://127.0.0.1:{values['port']}{path}"
    command = [*lab.pinned(options.load_core), "slowhttptest", *words, "-c", str(options.connections), "-r", "500", "-l", str(options.seconds), "-p", "5", "-u", url]
    others, most = Others(values["port"]), 0
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=lab.ENVIRONMENT)
    said = []
    reading = threading.Thread(target=lambda: said.extend(running.stdout), daemon=True)
    reading.start()
    while running.poll() is None:
        most = max(most, established(values["port"]))
        time.sleep(0.5)
    reading.join(10)
    left, deadline = established(values["port"]), time.monotonic() + options.gone_s
    while established(values["port"]) and time.monotonic() < deadline:
        time.sleep(0.2)
    waited, failed = others.end()
    p99 = waited[len(waited) * 99 // 100]
    text = re.sub(r"\x1b\[[0-9;]*m", "", "".join(said))
    end = re.search(r"Exit status: (.*)", text)
    available = "YES" in text and not re.search(r"service available:\s+NO", text)
    print(f"| {what} | {most:,} | {left:,} | {end.group(1).strip() if end else 'it did not say'} | {len(waited):,} | {p99:.1f} | {waited[-1]:.1f} |", flush=True)
    # What asks for ranges is answered at once, so that few are open at a time.
    held = what.startswith("-R") or most > options.connections / 4
    checks.hold(held, f"{what}: only {most} connections at a time\n{text[-2000:]}")
    checks.hold(not failed, f"{what}: {len(failed)} of {len(waited)} others failed: {failed[:3]}")
    checks.hold(waited[-1] <= options.most_ms, f"{what}: another waited for {waited[-1]:.0f} ms")
    checks.hold(available, f"{what}: slowhttptest's own probes were not answered\n{text[-2000:]}")
    checks.hold(not established(values["port"]), f"{what}: connections are left")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--program", default=str(lab.RELEASE))
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=30, help="of each attack")
    parser.add_argument("--most-ms", type=float, default=1000)
    parser.add_argument("--gone-s", type=float, default=20)
    parser.add_argument("--proxy-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    options = parser.parse_args()
    lab.needed("slowhttptest", "nginx", "ss")
    lab.leave_on_signal()
    lab.open_files(20_000)
    checks = lab.Checks()
    with lab.stage("slow", options, Place, lambda values: CONFIG.format(**values)) as (place, values, _):
        try:
            print("| attack | connections at a time | at its end | slowhttptest says | others asked | p99 ms | longest ms |\n|---|---|---|---|---|---|---|")
            for what in ATTACKS:
                attack(what, values, options, checks)
        finally:
            place.nginx.stop()
    checks.end()


if __name__ == "__main__":
    main()
