"""The contenders: how each is configured to do the same work, started, and read for its CPU time."""

import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.parse

import tokens

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
BODY_BYTES = 1024
TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port, process):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    sys.exit(f"{process.args} does not listen on {port}")


class Process:
    """A program pinned to one core, with all its children and threads."""

    name = ""
    version = ""

    def start(self, core, command, **more):
        command = ["taskset", "-c", str(core), *map(str, command)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env={**os.environ, "PATH": PATH}, **more)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def pids(self):
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                queue += map(int, (task / "children").read_text().split())
        return found

    def cpu_us(self):
        """User and system time so far, of the process and its children, in microseconds."""
        total = 0
        for pid in self.pids():
            # Fields behind the name, which may hold spaces: utime and stime are 14 and 15.
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total * 1_000_000 / TICKS


class Nginx(Process):
    name = "nginx"

    def __init__(self, directory, backend, issued, options):
        self.port = free_port()
        server = f"""
            upstream app {{ server {backend}; keepalive 128; keepalive_requests 1000000000; }}
            server {{
              listen 127.0.0.1:{self.port};
              location / {{
                proxy_pass http://app;
                proxy_http_version 1.1;
                proxy_set_header Connection "";
                proxy_set_header Host $host;
                proxy_set_header X-Forwarded-For $remote_addr;
                proxy_set_header X-Forwarded-Proto $scheme;
                proxy_set_header X-Forwarded-Host $host;
              }}
            }}"""
        start_nginx(self, directory / "nginx-proxy", options.proxy_core, server, self.port)
        self.version = first_line(["nginx", "-v"]).replace("nginx version: ", "")

    def can(self, row):
        return row.kind == "plain"

    def url(self, row):
        return f"http://127.0.0.1:{self.port}/"


class Backend(Process):
    """nginx that answers 1 KiB from memory."""

    name = "backend"

    def __init__(self, directory, core):
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        body = "x" * BODY_BYTES
        server = f'server {{ listen {self.address}; location / {{ default_type text/plain; return 200 "{body}"; }} }}'
        start_nginx(self, directory / "nginx-backend", core, server, port)


def start_nginx(process, home, core, server, port):
    home.mkdir()
    config = home / "nginx.conf"
    paths = " ".join(f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config.write_text(
        f"daemon off; worker_processes 1; pid {home}/pid; error_log stderr crit;\n"
        f"events {{ worker_connections 4096; }}\n"
        f"http {{ access_log off; keepalive_requests 1000000000; {paths} {server} }}\n"
    )
    process.start(core, ["nginx", "-e", "stderr", "-c", config])
    wait_for(port, process.process)


class Haproxy(Process):
    name = "haproxy"

    def __init__(self, directory, backend, issued, options):
        home = directory / "haproxy"
        home.mkdir()
        kinds = ["plain", *issued, "HS256 denied"]
        self.ports = {kind: free_port() for kind in kinds}
        self.socket = home / "admin.sock"
        self.map = home / "denied.map"
        # The map is filled before the start; nothing of it is read by the other frontends.
        denied = ["denied-jti", *(f"bench-{number}" for number in range(options.denied))]
        self.map.write_text("".join(f"{jti} 1\n" for jti in denied))
        parts = [
            f"global\n  nbthread 1\n  maxconn 8192\n  stats socket {self.socket} level admin\n",
            "defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n",
            "  http-reuse always\n  option forwardfor\n",
            f"backend app\n  server one {backend}\n",
        ]
        for kind in kinds:
            parts.append(f"frontend {kind.replace(' ', '-')}\n  bind 127.0.0.1:{self.ports[kind]}\n")
            parts.append("  http-request set-header X-Forwarded-Proto http\n")
            parts.append("  http-request set-header X-Forwarded-Host %[req.hdr(host)]\n")
            if kind != "plain":
                parts.append(self.rules(issued[kind.split()[0]], kind.endswith("denied")))
            parts.append("  default_backend app\n")
        config = home / "haproxy.cfg"
        config.write_text("".join(parts))
        self.start(options.proxy_core, ["haproxy", "-db", "-f", config])
        for port in self.ports.values():
            wait_for(port, self.process)
        self.version = " ".join(first_line(["haproxy", "-v"]).split()[:3])

    def rules(self, signer, with_map):
        """Signature, issuer, audience and expiry, as the manual's JWT page shows."""
        key = signer.secret.decode() if signer.algorithm == "HS256" else signer.public
        refuse = "  http-request deny deny_status 401"
        lines = [
            "  http-request set-var(txn.bearer) http_auth_bearer",
            "  http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')",
            "  http-request set-var(txn.now) date()",
            "  http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')",
            f"{refuse} unless {{ var(txn.alg) -m str {signer.algorithm} }}",
            f"{refuse} unless {{ var(txn.bearer),jwt_payload_query('$.iss') -m str {signer.iss} }}",
            f"{refuse} unless {{ var(txn.bearer),jwt_payload_query('$.aud') -m str {tokens.AUDIENCE} }}",
            f"{refuse} unless {{ var(txn.exp),sub(txn.now) -m int gt 0 }}",
            f'{refuse} unless {{ var(txn.bearer),jwt_verify(txn.alg,"{key}") 1 }}',
        ]
        if with_map:
            lines.append(
                f"{refuse} if {{ var(txn.bearer),jwt_payload_query('$.jti'),map_str({self.map}) -m found }}"
            )
        # The token is not for the backend.
        lines.append("  http-request del-header Authorization")
        return "\n".join(lines) + "\n"

    def can(self, row):
        return True

    def url(self, row):
        return f"http://127.0.0.1:{self.ports[row.kind]}/"

    def deny(self, count, jti):
        """In the map since the start."""


class Portcullis(Process):
    name = "portcullis"

    def __init__(self, directory, backend, issued, options):
        self.home = directory / "portcullis"
        self.home.mkdir()
        self.options = options
        self.denied = 0
        parts = [
            '[server]\nlisten = "127.0.0.1:0"\nthreads = 1\n'
            # One address sends all the bad tokens.
            'limits.failed_credentials_per_minute = 0\n',
            '[admin]\nlisten = ["127.0.0.1:0"]\npeople = false\n',
            '[store]\npath = "data"\n',
            '[log]\naccess = "off"\n',
            f'[[upstream]]\nname = "app"\nservers = ["http://{backend}"]\n',
            '[[route]]\npath = "/plain"\naccess = "public"\nupstream = "app"\n',
        ]
        # One issuer and one route for each algorithm.
        for algorithm, signer in issued.items():
            file = signer.public or signer.key
            # The secret has a name, so that a token may name another.
            keys = f'pem_file = "{file}"' if signer.public else f'secrets = {{ {tokens.KID} = {{ file = "{file}" }} }}'
            parts.append(
                f'[[issuer]]\nname = "{algorithm}"\nissuer = "{signer.iss}"\naudiences = ["{tokens.AUDIENCE}"]\n'
                f'algorithms = ["{algorithm}"]\nkeys = {{ {keys} }}\n'
            )
            parts.append(
                f'[[route]]\npath = "/{algorithm}"\nissuers = ["{algorithm}"]\nupstream = "app"\n'
            )
        config = self.home / "gateway.toml"
        config.write_text("".join(parts))
        self.start(
            options.proxy_core,
            [pathlib.Path(options.portcullis).resolve(), "run", "-c", config],
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        if not line:
            sys.exit("portcullis did not start")
        ready = json.loads(line)
        self.base = ready["listen"][0]
        self.admin = urllib.parse.urlsplit(ready["admin"][0]).netloc
        self.token = (self.home / "data/admin.token").read_text().strip()
        self.version = first_line([options.portcullis, "--version"])

    def can(self, row):
        return True

    def url(self, row):
        return f"{self.base}/{row.kind.split()[0]}"

    def call(self, method, path, body):
        connection = http.client.HTTPConnection(self.admin, timeout=60)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status not in (200, 201):
            sys.exit(f"{path}: {answer.status} {text}")

    def deny(self, count, jti):
        self.call("POST", "/v1/denials", {"issuer": "HS256", "jti": jti, "reason": "comparison"})
        if count > self.denied:
            self.fill(count)
            self.denied = count

    def fill(self, count):
        """wrk as a fast caller: one denial a request, each acknowledged only when it is on disk."""
        script = self.home / "fill.lua"
        script.write_text(
            f"""local number = {self.denied}
            request = function()
              number = number + 1
              local body = '{{"issuer":"HS256","jti":"bench-' .. number .. '","reason":"comparison"}}'
              return wrk.format("POST", "/v1/denials", {{
                ["Host"] = "{self.admin}", ["Authorization"] = "Bearer {self.token}",
                ["Content-Type"] = "application/json" }}, body)
            end\n"""
        )
        started = time.monotonic()
        while self.in_force() < count:
            if time.monotonic() - started > 600:
                sys.exit(f"only {self.in_force()} of {count} denials after ten minutes")
            subprocess.run(
                ["taskset", "-c", str(self.options.load_core), "wrk", "-t1", "-c64", "-d5s", "-s", script, f"http://{self.admin}"],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            text = script.read_text().split("\n", 1)
            script.write_text(f"local number = {self.in_force() + 1000}\n" + text[1])
        seconds = time.monotonic() - started
        print(f"  portcullis took {self.in_force()} durable denials in {seconds:.0f} s", file=sys.stderr)

    def in_force(self):
        connection = http.client.HTTPConnection(self.admin, timeout=60)
        connection.request("GET", "/v1/denials?limit=1", headers={"Authorization": f"Bearer {self.token}"})
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer["in_force"]


def first_line(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "PATH": PATH})
    return done.stdout.splitlines()[0]


BY_NAME = {"portcullis": Portcullis, "haproxy": Haproxy, "nginx": Nginx}
