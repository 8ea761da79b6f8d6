#!/usr/bin/env python3
"""Open WebSockets and their end: how fast a denial reaches them, and what others notice of it.

Starts a release binary given by path between a WebSocket echo server and clients of this script (raw
sockets in a few processes, since the client must not be what is measured), all on loopback:

    benches/streams.py target/release/portcullis [--sockets 10000] [--users 5000] [--rounds 20]

1. idle memory: resident bytes of the gateway per open WebSocket, and of nginx and haproxy where
   they are installed (--no-peers leaves them out);
2. one user is denied, ROUNDS times: from the acknowledgement of the admin API to the close frame,
   and the echo latency of other users' sockets before and meanwhile;
3. the issuer is cut, so that all sockets end: how long until the last one has, and the latency of
   ordinary requests of another issuer before and meanwhile.

Prints one JSON document. Needs Python 3.11, and two file descriptors a socket and some more.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import http.client
import json
import multiprocessing as mp
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

KEY = b"0123456789abcdef0123456789abcdef"
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
# A text frame "12345678": masked with zeros by the client, plain from the server.
ASK = b"\x81\x88\0\0\0\x0012345678"
ECHO = b"\x81\x0812345678"
CLOSE = 0x88
SETTLE_S = 1.0
TIMEOUT_S = 120


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def mint(iss, user, session):
    now = int(time.time())
    claims = {"iss": iss, "aud": "bench", "sub": user, "sid": session, "iat": now - 5, "exp": now + 3600}
    parts = [base64url(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signed = ".".join(parts)
    return signed + "." + base64url(hmac.new(KEY, signed.encode(), hashlib.sha256).digest())


def percentiles(seconds):
    values = sorted(seconds)
    if not values:
        return None
    at = lambda part: round(values[min(len(values) - 1, int(len(values) * part))] * 1000, 2)
    return {"count": len(values), "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": round(values[-1] * 1000, 2)}


# The echo server: a process of its own. Plain HTTP requests get a small answer.


async def backend(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"upgrade: websocket" in head.lower():
                break
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: " + ACCEPT.encode() + b"\r\n\r\n"
        )
        while (await reader.readexactly(2))[0] == 0x81:
            await reader.readexactly(len(ASK) - 2)
            writer.write(ECHO)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def serve_backend(ports):
    async def main():
        server = await asyncio.start_server(backend, "127.0.0.1", 0, backlog=4096, limit=4096)
        ports.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(main())


# The clients: a process for each share of the sockets, which does what it is told over a pipe.


class Client(asyncio.Protocol):
    """One WebSocket. `closed_at` is when its close frame, or its end, was seen."""

    def __init__(self, token):
        self.token, self.buffer = token, b""
        self.opened = asyncio.get_running_loop().create_future()
        self.echoed = None
        self.closed_at = self.code = None

    def connection_made(self, transport):
        self.transport = transport
        transport.write(
            f"GET /ws HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"Authorization: Bearer {self.token}\r\n\r\n".encode()
        )

    def data_received(self, data):
        self.buffer += data
        if not self.opened.done():
            head, end, rest = self.buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                self.opened.set_exception(RuntimeError(head[:200].decode("latin-1")))
                return
            self.buffer = rest
            self.opened.set_result(None)
        if self.buffer.startswith(ECHO):
            self.buffer = self.buffer[len(ECHO):]
            if self.echoed and not self.echoed.done():
                self.echoed.set_result(None)
        if self.buffer[:1] == bytes([CLOSE]) and self.closed_at is None and len(self.buffer) >= 4:
            self.closed_at = time.monotonic()
            self.code = int.from_bytes(self.buffer[2:4])
            self.transport.close()

    def connection_lost(self, _):
        if self.closed_at is None:
            self.closed_at = time.monotonic()
        for waiting in (self.opened, self.echoed):
            if waiting and not waiting.done():
                waiting.set_exception(ConnectionError("it ended"))

    async def echo(self):
        self.echoed = asyncio.get_running_loop().create_future()
        began = time.monotonic()
        self.transport.write(ASK)
        await asyncio.wait_for(self.echoed, 30)
        return began, time.monotonic() - began


async def clients(pipe, address, source):
    loop = asyncio.get_running_loop()
    sockets, requests, running = {}, [], []

    async def open_one(user, number, token, gate):
        async with gate:
            _, client = await loop.create_connection(
                lambda: Client(token), *address, local_addr=(source, 0)
            )
            await asyncio.wait_for(client.opened, 60)
            sockets.setdefault(user, []).append(client)

    async def echo_some(users, latencies):
        """One after the other: what a person in front of an open page notices."""
        mine = [client for user in users for client in sockets.get(user, [])]
        while True:
            for client in mine:
                if client.closed_at is None:
                    try:
                        latencies.append(await client.echo())
                    except (ConnectionError, TimeoutError):
                        latencies.append((time.monotonic(), 30.0))
                await asyncio.sleep(0.002)

    async def ask_on(token):
        reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0))
        while True:
            began = time.monotonic()
            writer.write(f"GET / HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head[:100]
            await reader.readexactly(2)
            requests.append((began, time.monotonic() - began))
            await asyncio.sleep(0.002)

    echoes = []
    while True:
        what, *arguments = await asyncio.to_thread(pipe.recv)
        if what == "open":
            gate = asyncio.Semaphore(64)
            await asyncio.gather(*[open_one(*one, gate) for one in arguments[0]])
            pipe.send(sum(map(len, sockets.values())))
        elif what == "echo":
            running.append(asyncio.create_task(echo_some(arguments[0], echoes)))
        elif what == "ask":
            running.append(asyncio.create_task(ask_on(arguments[0])))
        elif what == "ended":
            # Of one user, or of all: waits for their end.
            wanted = [one for user, mine in sockets.items() if arguments[0] in (None, user) for one in mine]
            deadline = time.monotonic() + 30
            while any(one.closed_at is None for one in wanted) and time.monotonic() < deadline:
                await asyncio.sleep(0.005)
            pipe.send([(one.closed_at, one.code) for one in wanted])
        elif what == "count":
            pipe.send(sum(one.closed_at is None for mine in sockets.values() for one in mine))
        elif what == "latencies":
            pipe.send((echoes[:], requests[:]))
        elif what == "stop":
            for task in running:
                task.cancel()
            for mine in sockets.values():
                for one in mine:
                    one.transport.abort()
            failed = await asyncio.gather(*running, return_exceptions=True)
            pipe.send([repr(one) for one in failed if not isinstance(one, asyncio.CancelledError)])
            return


def run_clients(pipe, address, source):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(clients(pipe, address, source))


class Crowd:
    """Client processes, each with its share of the users and a loopback address of its own, since
    an address has ports for some 28,000 connections only."""

    def __init__(self, address, processes):
        self.members = []
        for number in range(processes):
            ours, theirs = mp.Pipe()
            process = mp.Process(target=run_clients, args=(theirs, address, f"127.0.0.{number + 2}"))
            process.start()
            self.members.append((process, ours))

    def tell(self, number, *what):
        self.members[number][1].send(what)

    def hear(self, number):
        if not self.members[number][1].poll(TIMEOUT_S):
            raise RuntimeError("a client process does not answer")
        return self.members[number][1].recv()

    def each(self, *what):
        for number in range(len(self.members)):
            self.tell(number, *what)
        return [self.hear(number) for number in range(len(self.members))]

    def open(self, wanted):
        shares = [[] for _ in self.members]
        for number, (user, *rest) in enumerate(wanted):
            shares[int(user.split("-")[1]) % len(self.members)].append((user, *rest))
        for number, share in enumerate(shares):
            self.tell(number, "open", share)
        opened = sum(self.hear(number) for number in range(len(self.members)))
        if opened != len(wanted):
            raise RuntimeError(f"{opened} of {len(wanted)} sockets are open")

    def stop(self):
        try:
            return [text for failed in self.each("stop") for text in failed]
        finally:
            for process, _ in self.members:
                process.join(5)
                if process.is_alive():
                    process.kill()


def resident(pid):
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def family(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return [pid] + [one for child in children.read().split() for one in family(int(child))]


def idle(pid, address, wanted, processes):
    """Resident bytes per socket that has echoed once and then says nothing."""
    warm = Crowd(address, 1)
    warm.open([("user-0", 0, wanted[0][2])] * 16)
    warm.stop()
    time.sleep(SETTLE_S)
    before = sum(map(resident, family(pid)))
    crowd = Crowd(address, processes)
    crowd.open(wanted)
    time.sleep(SETTLE_S)
    return crowd, round((sum(map(resident, family(pid))) - before) / len(wanted))


def started(command, address, **more):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **more)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(address, 1).close()
            return process
        except OSError:
            time.sleep(0.02)
    process.kill()
    raise RuntimeError(f"{command[0]} does not listen")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


GATEWAY = """
[server]
listen = "127.0.0.1:{port}"
threads = {threads}

[server.limits]
connections_max = {connections}
requests_max = {connections}

[admin]
listen = "127.0.0.1:{admin}"

[log]
access = "refused"

[store]
path = "{dir}/data"

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
servers = ["http://127.0.0.1:{backend}"]

[[route]]
path = "/"
upstream = "app"
"""

NGINX = """
daemon off; worker_processes {threads}; pid {dir}/nginx.pid; error_log {dir}/nginx.log;
events {{ worker_connections {connections}; }}
http {{ access_log off; proxy_read_timeout 1h;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://127.0.0.1:{backend}; proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }} }} }}
"""

HAPROXY = """
global
  nbthread {threads}
  maxconn {connections}
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
frontend f
  bind 127.0.0.1:{port} backlog 4096
  default_backend b
backend b
  server s 127.0.0.1:{backend}
"""


def peers(folder, values, wanted, processes):
    """The same sockets through tunnels that look at nothing."""
    found = {}
    for name, config, command in [
        ("nginx", NGINX, lambda path: ["-c", path, "-e", f"{folder}/nginx.log"]),
        ("haproxy", HAPROXY, lambda path: ["-f", path]),
    ]:
        program = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
        if not program:
            found[name] = "not installed"
            continue
        values["port"] = free_port()
        path = f"{folder}/{name}.conf"
        with open(path, "w") as file:
            file.write(config.format(**values))
        address = ("127.0.0.1", values["port"])
        process = started([program, *command(path)], address)
        try:
            crowd, found[name] = idle(process.pid, address, wanted, processes)
            crowd.stop()
        finally:
            process.terminate()
            process.wait(20)
    return found


class Admin:
    def __init__(self, port, folder):
        with open(f"{folder}/data/admin.token") as file:
            self.token = file.read().strip()
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def revoke(self, selector):
        """When it was acknowledged, and how long that took."""
        body = json.dumps({**selector, "issuer": "main", "reason": "bench"})
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        began = time.monotonic()
        self.connection.request("POST", "/v1/revoke", body, headers)
        response = self.connection.getresponse()
        answered = time.monotonic()
        text = response.read()
        if response.status not in (200, 201):
            raise RuntimeError(f"{response.status} {text[:300]}")
        return answered, answered - began


def between(latencies, begin, end):
    """Of those that were under way at any time of it."""
    return percentiles([took for at, took in latencies if at < end and at + took > begin])


def deny_users(crowd, admin, users, rounds):
    others = users[rounds:]
    for number in range(len(crowd.members)):
        mine = [user for user in others if int(user.split("-")[1]) % len(crowd.members) == number]
        crowd.tell(number, "echo", mine[:200])
    began = time.monotonic()
    time.sleep(3)
    after, acknowledged, codes, windows = [], [], {}, []
    for user in users[:rounds]:
        answered, took = admin.revoke({"user": user})
        number = int(user.split("-")[1]) % len(crowd.members)
        crowd.tell(number, "ended", user)
        for closed_at, code in crowd.hear(number):
            after.append(30.0 if closed_at is None else max(0.0, closed_at - answered))
            codes[str(code)] = codes.get(str(code), 0) + 1
        acknowledged.append(took)
        windows.append((answered - took, time.monotonic()))
        time.sleep(0.2)
    echoes = [one for some, _ in crowd.each("latencies") for one in some]
    during = [one for begin, end in windows for one in echoes if one[0] < end and sum(one) > begin]
    return {
        "acknowledged_to_closed": percentiles(after),
        "close_codes": codes,
        "acknowledged_after": percentiles(acknowledged),
        "others_echo_before": between(echoes, began, windows[0][0]),
        "others_echo_meanwhile": percentiles([took for _, took in during]),
    }


def cut_all(crowd, admin, left):
    began = time.monotonic()
    token = mint("https://other.example.com/", "neighbour", "n-1")
    for number in range(len(crowd.members)):
        for _ in range(4):
            crowd.tell(number, "ask", token)
    time.sleep(3)
    answered, took = admin.revoke({"everyone": True})
    ended = [one for some in crowd.each("ended", None) for one in some]
    done = time.monotonic()
    now = [at for at, _ in ended if at is not None and at > answered - took]
    requests = [one for _, some in crowd.each("latencies") for one in some]
    last = max(now, default=answered)
    return {
        "sockets": left,
        "ended": len(now),
        "close_codes": {str(code): sum(one[1] == code for one in ended) for code in {one[1] for one in ended}},
        "acknowledged_after_ms": round(took * 1000, 2),
        "begun_to_closed": percentiles([at - (answered - took) for at in now]),
        "requests_before": between(requests, began, answered - took),
        "requests_meanwhile": between(requests, answered - took, max(last, answered)),
        "watched_for_s": round(done - answered, 2),
    }


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("binary")
    options.add_argument("--sockets", type=int, default=10_000)
    options.add_argument("--users", type=int, default=5_000)
    options.add_argument("--rounds", type=int, default=20, help="users denied one by one")
    options.add_argument("--threads", type=int, default=1, help="of the gateway and its peers")
    options.add_argument("--clients", type=int, default=2, help="client processes")
    options.add_argument("--no-peers", action="store_true")
    given = options.parse_args()
    if not 0 < given.rounds < given.users <= given.sockets <= 50_000:
        options.error("rounds < users <= sockets <= 50000")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The gateway has both ends of each.
    needed = 2 * given.sockets + 1000
    most = hard if hard == resource.RLIM_INFINITY else max(hard, needed)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, most))
    except (ValueError, OSError):
        sys.exit(f"{needed} file descriptors are needed, {hard} may be had (ulimit -n)")

    folder = tempfile.mkdtemp(prefix="portcullis-streams-")
    ours, theirs = mp.Pipe()
    echo_server = mp.Process(target=serve_backend, args=(theirs,), daemon=True)
    echo_server.start()
    gateway = None
    try:
        ports = {"backend": ours.recv(), "port": free_port(), "admin": free_port()}
        values = {
            **ports, "dir": folder, "threads": given.threads,
            "connections": 4 * given.sockets + 1000,
        }
        with open(f"{folder}/gateway.toml", "w") as file:
            file.write(GATEWAY.format(**values))
        users = [f"user-{number}" for number in range(given.users)]
        wanted = [
            (user, number, mint("https://main.example.com/", user, f"s-{number}"))
            for number in range(given.sockets)
            for user in [users[number % given.users]]
        ]
        address = ("127.0.0.1", ports["port"])
        with open(f"{folder}/log", "wb") as log:
            command = [os.path.abspath(given.binary), "run", "--config", f"{folder}/gateway.toml"]
            gateway = started(command, address, stdout=log, stderr=log, cwd=folder,
                              env={**os.environ, "BENCH_SECRET": KEY.decode()})
        found = {"sockets": given.sockets, "users": given.users, "threads": given.threads}
        if not given.no_peers:
            found["idle_bytes_per_socket_of_peers"] = peers(folder, dict(values), wanted, given.clients)
        crowd, found["idle_bytes_per_socket"] = idle(gateway.pid, address, wanted, given.clients)
        try:
            admin = Admin(ports["admin"], folder)
            found["one_user_denied"] = deny_users(crowd, admin, users, given.rounds)
            left = sum(crowd.each("count"))
            found["all_cut"] = cut_all(crowd, admin, left)
        finally:
            failed = crowd.stop()
        if failed:
            found["client_failures"] = failed[:10]
        print(json.dumps(found, indent=2))
    except BaseException:
        if os.path.exists(f"{folder}/log"):
            with open(f"{folder}/log", errors="replace") as log:
                sys.stderr.write(log.read()[-3000:])
        raise
    finally:
        if gateway:
            gateway.terminate()
            gateway.wait(30)
        echo_server.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
