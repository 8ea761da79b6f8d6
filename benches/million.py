#!/usr/bin/env python3
"""A million denials through the admin API by a plain HTTP client, kill -9, restart: does every one
hold, and does no other token fail?

Usage: million.py [--program target/release/portcullis] [--count 1000000] [--ask 0] [--others 10000]

Needs nothing but Python's standard library. It starts the gateway in a directory of its own, sends
one batch over one connection while it reads the answers, kills the process as soon as the sum is
there, starts it again and asks for every denied token (--ask N: for N of them, evenly spread) and for
others, pipelined. Prints the figures and exits 1 when one token is answered wrongly.
"""

import argparse
import base64
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

SECRET = b"0123456789abcdef0123456789abcdef"
HEADER = b"eyJhbGciOiJIUzI1NiJ9"
PIPELINED = 256


def token(jti: str, now: int) -> bytes:
    claims = {"iss": "https://id.example.com/", "aud": "a", "sub": "u", "jti": jti, "iat": now - 5, "exp": now + 7200}
    body = base64.urlsafe_b64encode(json.dumps(claims, separators=(",", ":")).encode()).rstrip(b"=")
    text = HEADER + b"." + body
    mac = hmac.new(SECRET, text, hashlib.sha256).digest()
    return text + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")


class Backend(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


def start(program: str, place: pathlib.Path):
    began = time.monotonic()
    process = subprocess.Popen([program, "run"], cwd=place, stdout=subprocess.PIPE, stderr=open(place / "log", "ab"))
    for line in process.stdout:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event.get("event") == "ready":
            threading.Thread(target=lambda: [None for _ in process.stdout], daemon=True).start()
            return process, event, time.monotonic() - began
    sys.exit((place / "log").read_text())


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").rsplit(":", 1)
    return socket.create_connection((host, int(port)))


def deny_all(admin: str, credential: str, count: int) -> dict:
    """One batch: a thread writes, this one reads."""
    connection = connect(admin)
    head = (
        f"POST /v1/denials/batch HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {credential}\r\n"
        "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    )

    def write():
        connection.sendall(head.encode())
        for first in range(0, count, 1000):
            lines = "".join(f'{{"jti":"j-{n}","reason":"million"}}\n' for n in range(first, min(first + 1000, count)))
            connection.sendall(f"{len(lines):x}\r\n{lines}\r\n".encode())
        connection.sendall(b"0\r\n\r\n")

    threading.Thread(target=write, daemon=True).start()
    tail = b""
    while b'"done":true' not in tail or not tail.endswith(b"0\r\n\r\n"):
        more = connection.recv(1 << 20)
        if not more:
            sys.exit("the answer broke off")
        tail = (tail + more)[-4096:]
    start_of_sum = tail.index(b'{"done"')
    return json.loads(tail[start_of_sum : tail.index(b"}", start_of_sum) + 1])


def ask_all(url: str, names: list[str], now: int, expected: bytes) -> int:
    """How many were answered otherwise than expected."""
    connection, wrong, buffer = connect(url), 0, b""
    for first in range(0, len(names), PIPELINED):
        group = names[first : first + PIPELINED]
        request = b"".join(
            b"HEAD / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + token(name, now) + b"\r\n\r\n" for name in group
        )
        connection.sendall(request)
        answers = 0
        while answers < len(group):
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                more = connection.recv(1 << 18)
                if not more:
                    sys.exit("the gateway closed the connection")
                buffer += more
                continue
            wrong += buffer[9:12] != expected
            buffer = buffer[end + 4 :]
            answers += 1
    return wrong


def resident_mib(pid: int) -> float:
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default="target/release/portcullis")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--ask", type=int, default=0, help="of the denied tokens; 0: for every one")
    parser.add_argument("--others", type=int, default=10_000)
    options = parser.parse_args()
    program = os.path.abspath(options.program)
    backend = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    # On the disk of the sources rather than in /tmp, which may be memory.
    target = pathlib.Path(__file__).resolve().parents[1] / "target"
    with tempfile.TemporaryDirectory(prefix="portcullis-million-", dir=target) as name:
        place = pathlib.Path(name)
        (place / "secret").write_bytes(SECRET)
        (place / "gateway.toml").write_text(
            # A tenth of the limit is kept for people.
            f'[store]\nlimit = {max(10_000_000, 2 * options.count)}\n'
            '[server]\nlisten = "127.0.0.1:0"\n[admin]\nlisten = ["127.0.0.1:0"]\npeople = false\n'
            '[log]\naccess = "off"\n[[issuer]]\nname = "main"\nissuer = "https://id.example.com/"\n'
            'audiences = ["a"]\nkeys = { secret_file = "secret" }\n'
            f'[[upstream]]\nname = "app"\nservers = ["http://127.0.0.1:{backend.server_port}"]\n'
            '[[route]]\npath = "/"\nupstream = "app"\n'
        )
        process, event, _ = start(program, place)
        credential = (place / "data/admin.token").read_text().strip()
        began = time.monotonic()
        total = deny_all(event["admin"][0], credential, options.count)
        took = time.monotonic() - began
        print(f"denied {total['created']} in {took:.1f} s: {total['created'] / took:,.0f} a second, acknowledged")
        print(f"resident before the kill: {resident_mib(process.pid):.0f} MiB")
        process.send_signal(signal.SIGKILL)
        process.wait()
        process, event, ready = start(program, place)
        file_mib = (place / "data/denials.redb").stat().st_size / 2**20
        print(f"ready again after {ready:.2f} s; resident {resident_mib(process.pid):.0f} MiB; file {file_mib:.0f} MiB")
        now = int(time.time())
        began = time.monotonic()
        asked = range(0, options.count, max(1, options.count // (options.ask or options.count)))
        wrong = ask_all(event["listen"][0], [f"j-{n}" for n in asked], now, b"401")
        took = time.monotonic() - began
        others = ask_all(event["listen"][0], [f"k-{n}" for n in range(options.others)], now, b"200")
        process.kill()
        process.wait()
    print(f"asked in {took:.0f} s: {wrong} of {len(asked)} denied tokens passed; {others} of {options.others} others failed")
    sys.exit(1 if wrong or others or total["created"] != options.count else 0)


if __name__ == "__main__":
    main()
