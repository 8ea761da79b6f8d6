#!/usr/bin/env python3
"""Open WebSockets and their end: how fast a denial reaches them, and what others notice of it.

A release build of the gateway on one core; an echo server and the clients (benches/load, since a
client in Python would be what is measured) on another, all on loopback:

    python3 benches/streams.py [--sockets 10000] [--users 5000] [--rounds 500]

1. idle memory: resident bytes per open WebSocket, plain and over TLS, of the gateway, nginx and
   haproxy;
2. one user is denied, ROUNDS times, while all others' sockets echo in turn: from the denial's
   acknowledgement, and from the begin of its request, to the close frame at the client;
3. the issuer is cut, so that all sockets end: how long until the last one has, and the latency of
   ordinary requests of another issuer before and meanwhile.

Ends with 1 when a denied user's socket did not end with code 1008, anybody else's did, an echo was
lost, or a bound was not kept (--cut-p99-ms, --echo-p99-ms, --echo-max-ms).
"""

import argparse
import pathlib
import shutil
import sys
import tempfile
import time

import lab

SECRET = "0123456789abcdef0123456789abcdef"
MAIN = "https://main.example.com/"
SETTLE_S = 2
WARM = 32

GATEWAY = """
[server]
listen = "127.0.0.1:{port}"
threads = {threads}
limits.connections_max = {most}
limits.requests_max = {most}
# All clients are on one.
limits.connections_per_address = 0

[[listener]]
listen = "127.0.0.1:{tls}"
tls.certificates = [{{ chain = "{chain}", key = "{key}" }}]

[admin]
listen = "127.0.0.1:0"

[log]
access = "refused"

[store]
path = "data"

[[issuer]]
name = "main"
issuer = "https://main.example.com/"
audiences = ["bench"]
algorithms = ["HS256"]
keys = {{ secret_env = "BENCH_SECRET" }}

[[issuer]]
name = "other"
issuer = "https://other.example.com/"
audiences = ["bench"]
algorithms = ["HS256"]
keys = {{ secret_env = "BENCH_SECRET" }}

[[upstream]]
name = "app"
servers = ["http://{backend}"]

[[route]]
path = "/"
upstream = "app"
"""

NGINX = """
daemon off; worker_processes {threads}; worker_rlimit_nofile {files}; pid {home}/pid; error_log {home}/log;
events {{ worker_connections {files}; }}
http {{ access_log off; proxy_read_timeout 1h;
  client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f;
  uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
  server {{ listen 127.0.0.1:{port} backlog=4096; listen 127.0.0.1:{tls} ssl backlog=4096;
    ssl_certificate {chain}; ssl_certificate_key {key};
    location / {{ proxy_pass http://{backend}; proxy_http_version 1.1;
      proxy_set_header Host $host; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }} }} }}
"""

HAPROXY = """
global
  nbthread {threads}
  maxconn {most}
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
frontend f
  bind 127.0.0.1:{port} backlog 4096
  bind 127.0.0.1:{tls} ssl crt {both} backlog 4096
  default_backend b
backend b
  server s {backend}
"""


class Place:
    """What each tunnel is given."""

    def __init__(self, directory, options):
        self.directory, self.options = directory, options
        self.load = lab.load_program()
        self.chain, self.key, self.both = lab.certificate(directory)
        self.echo = lab.Echo(self.load, options.load_core)

    def values(self, home):
        # Each has a socket of its own at the server, too.
        most = self.options.sockets + 300
        return {
            "home": home, "port": lab.free_port(), "tls": lab.free_port(), "backend": self.echo.address,
            "chain": self.chain, "key": self.key, "both": self.both, "threads": self.options.threads,
            "most": most, "files": 2 * most + 100,
        }


class Tunnel(lab.Process):
    """nginx or haproxy, which look at no token."""

    def __init__(self, name, place):
        home = pathlib.Path(tempfile.mkdtemp(prefix=name, dir=place.directory))
        home.chmod(0o777)
        values = place.values(home)
        self.name, self.plain, self.tls = name, values["port"], values["tls"]
        config = home / f"{name}.conf"
        config.write_text({"nginx": NGINX, "haproxy": HAPROXY}[name].format(**values))
        words = {"nginx": ["-e", home / "log", "-c", config], "haproxy": ["-db", "-f", config]}
        self.start(place.options.proxy_core, [name, *words[name]])
        for port in (self.plain, self.tls):
            self.wait_for(port)


def gateway(place):
    home = pathlib.Path(tempfile.mkdtemp(prefix="portcullis", dir=place.directory))
    values = place.values(home)
    more = {"env": {**lab.os.environ, "BENCH_SECRET": SECRET}}
    started = lab.Gateway(home, GATEWAY.format(**values), place.options.proxy_core, place.options.program, **more)
    started.plain, started.tls = values["port"], values["tls"]
    return started


def idle(started, place, tls):
    """Resident bytes per socket that has echoed once and then says nothing."""
    options = place.options
    wanted = {
        "address": f"127.0.0.1:{started.tls if tls else started.plain}", "kind": "ws", "secret": SECRET,
        "issuer": MAIN, "users": options.users, "certificate": place.chain if tls else None,
    }
    try:
        warm = lab.Held(place.load, options.load_core, count=WARM, **wanted)
        time.sleep(SETTLE_S)
        before = started.resident()
        crowd = lab.Held(place.load, options.load_core, count=options.sockets, **wanted)
        time.sleep(SETTLE_S)
        found = (started.resident() - before) / options.sockets / 1024
        crowd.stop()
        warm.stop()
        print(f"  {started.name}, {'TLS' if tls else 'plain'}: {found:.1f} KiB", file=sys.stderr)
        return found
    finally:
        started.stop()


def memory(place):
    makers = {"portcullis": lambda: gateway(place)}
    for name in ("nginx", "haproxy"):
        if shutil.which(name, path=lab.PATH):
            makers[name] = lambda name=name: Tunnel(name, place)
    print(f"| {place.options.sockets:,} idle WebSockets, KiB each | " + " | ".join(makers) + " |")
    print("|---" * (len(makers) + 1) + "|")
    for what, tls in (("plain", False), ("TLS", True)):
        print(f"| {what} | " + " | ".join(f"{idle(make(), place, tls):.1f}" for make in makers.values()) + " |")
    print()


def times(found):
    """The lines of a table of distributions."""
    parts = ("count", "p50", "p90", "p99", "p99.9", "max")
    print("| ms | " + " | ".join(parts) + " |\n" + "|---" * (len(parts) + 1) + "|")
    for what, one in found.items():
        print(f"| {what} | " + " | ".join(str(one[part]) for part in parts) + " |")
    print()


def crowd(place, checks):
    options = place.options
    started = gateway(place)
    try:
        found = lab.load(
            place.load, options.load_core, "crowd",
            address=f"127.0.0.1:{started.plain}", admin=started.admin, admin_token=started.credential,
            secret=SECRET, sockets=options.sockets, users=options.users, rounds=options.rounds,
            pause_ms=options.pause_ms, echoes_per_second=options.echoes,
        )
    finally:
        started.stop()
    one, every = found["one_by_one"], found["everybody"]
    print(
        f"{options.sockets:,} WebSockets of {options.users:,} users; {options.rounds} users denied in "
        f"{one['seconds']:.0f} s; {options.echoes:,} echoes a second on the others in turn. Each denied socket "
        f"ended with 1008, no other one did, no echo was lost; {found['echo_afterwards']:,} echoed afterwards.\n"
    )
    times({
        "denied to close frame, from the acknowledgement": one["from_acknowledgement"],
        "from the begin of the request": one["from_request"],
        "the acknowledgement itself": one["acknowledged_after"],
        "echo of others, before": one["echo_before"],
        "echo of others, meanwhile": one["echo_meanwhile"],
        f"issuer cut, {every['ended']:,} sockets, from the begin of the request": every["from_request"],
        "requests of another issuer, before": every["neighbours_before"],
        "requests of another issuer, meanwhile": every["neighbours_meanwhile"],
    })
    bounds = (
        ("a denied user's sockets end", one["from_acknowledgement"]["p99"], options.cut_p99_ms),
        ("others' echo, p99", one["echo_meanwhile"]["p99"], options.echo_p99_ms),
        ("others' echo, the longest", one["echo_meanwhile"]["max"], options.echo_max_ms),
    )
    for what, ms, most in bounds:
        checks.hold(ms <= most, f"{what}: {ms} ms, at most {most} ms are allowed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--program", default=str(lab.RELEASE))
    parser.add_argument("--sockets", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=500, help="users denied one by one")
    parser.add_argument("--pause-ms", type=int, default=20, help="between them")
    parser.add_argument("--echoes", type=int, default=2_000, help="a second, on others' sockets")
    parser.add_argument("--threads", type=int, default=1, help="of the gateway and its peers")
    parser.add_argument("--proxy-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--cut-p99-ms", type=float, default=50)
    parser.add_argument("--echo-p99-ms", type=float, default=20)
    parser.add_argument("--echo-max-ms", type=float, default=100)
    options = parser.parse_args()
    if not 0 < options.rounds < options.users <= options.sockets <= 25_000:
        parser.error("rounds < users <= sockets <= 25000")
    lab.leave_on_signal()
    # The gateway has both ends of each, and keeps some descriptors back.
    lab.open_files(2 * options.sockets + 1200)
    print(lab.machine() + ", " + lab.first_line([options.program, "--version"]) + "\n")
    checks = lab.Checks()
    with tempfile.TemporaryDirectory(prefix="portcullis-streams-") as directory:
        directory = pathlib.Path(directory)
        directory.chmod(0o755)
        place = Place(directory, options)
        try:
            if not options.no_memory:
                memory(place)
            crowd(place, checks)
        finally:
            place.echo.stop()
    checks.end()


if __name__ == "__main__":
    main()
