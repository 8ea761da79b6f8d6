"""What the measurements share: programs pinned to a core and read for their CPU time and memory, the
gateway, the load program of benches/load, and the line that says on which machine it was."""

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import platform
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[1]
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
ENVIRONMENT = {**os.environ, "PATH": PATH}
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
RELEASE = ROOT / "target/release/portcullis"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def needed(*programs):
    missing = [name for name in programs if not shutil.which(name, path=PATH)]
    if missing:
        sys.exit(f"not installed: {' '.join(missing)}; try: apt-get install haproxy nginx-light wrk nghttp2-client openssl")


def first_line(command):
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT)
    return next(line.strip() for line in done.stdout.splitlines() if line.strip())


def machine():
    model = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, load {os.getloadavg()[0]:.1f} at the start"


def leave_on_signal():
    """So that whatever was started is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def load_program():
    """The path of the load program: what BENCH_LOAD says, or the one that cargo builds."""
    if os.environ.get("BENCH_LOAD"):
        return os.environ["BENCH_LOAD"]
    command = ["cargo", "bench", "--locked", "--no-run", "--bench", "load", "--message-format", "json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    for line in done.stdout.splitlines():
        made = json.loads(line)
        if made.get("reason") == "compiler-artifact" and made["target"]["name"] == "load":
            return made["executable"]
    sys.exit("cargo did not say where the load program is")


def load(program, core, mode, **arguments):
    """Runs the load program to its end; what it found."""
    done = subprocess.run(load_command(program, core, mode, arguments), stdout=subprocess.PIPE, text=True, timeout=900)
    if done.returncode:
        sys.exit(f"the load program failed: {mode}")
    return json.loads(done.stdout)


def load_command(program, core, mode, arguments):
    words = [str(word) for pair in arguments.items() for word in pair if pair[1] is not None]
    return [*pinned(core), program, mode, *words]


def h2load(text):
    """What h2load says of its requests: how many were answered with 2xx, and how many were not."""
    right = int(re.search(r"status codes: (\d+) 2xx", text).group(1))
    wrong = sum(map(int, re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", text).groups()))
    wrong += sum(map(int, re.search(r"2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text).groups()))
    return right, wrong


def pinned(core):
    return [] if core is None else ["taskset", "-c", str(core)]


class Process:
    """A program, on one core where it is told so, with all its children and threads."""

    name = ""
    version = ""

    def start(self, core, command, **more):
        more.setdefault("env", ENVIRONMENT)
        more.setdefault("stdin", subprocess.DEVNULL)
        self.process = subprocess.Popen([*pinned(core), *map(str, command)], **more)

    def wait_for(self, port):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        sys.exit(f"{self.process.args} does not listen on {port}")

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

    def resident(self):
        """Resident bytes of the process and its children."""
        return sum(int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE for pid in self.pids())


class Held(Process):
    """Connections that are open and say nothing, until it is stopped."""

    def __init__(self, program, core, **arguments):
        command = load_command(program, core, "hold", arguments)
        self.start(None, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if line.strip() != str(arguments["count"]):
            sys.exit(f"only {line!r} of {arguments['count']} connections are open")

    def stop(self):
        self.process.stdin.close()
        self.process.wait(60)


class Echo(Process):
    """The load program as a backend: `address`."""

    def __init__(self, program, core):
        self.start(core, [program, "echo"], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        self.address = f"127.0.0.1:{self.port}"


class Gateway(Process):
    """Portcullis by a config, started in a directory of its own. `listen` and `admin`: what it
    says when it is ready, as host and port."""

    name = "portcullis"

    def __init__(self, home, config, core=None, program=RELEASE, **more):
        self.home = pathlib.Path(home)
        (self.home / "gateway.toml").write_text(config)
        self.program, self.core, self.env = pathlib.Path(program).resolve(), core, more.get("env")
        self.run(core, **more)

    def run(self, core, *arguments, **more):
        began = time.monotonic()
        self.log = open(self.home / "log", "ab")
        self.start(
            core, [self.program, "run", "-c", self.home / "gateway.toml", *arguments],
            stdout=subprocess.PIPE, stderr=self.log, cwd=self.home, **more,
        )
        for line in self.process.stdout:
            if b'"ready"' in line:
                break
        else:
            sys.exit(f"portcullis did not start\n{(self.home / 'log').read_text()[-3000:]}")
        self.ready_after = time.monotonic() - began
        threading.Thread(target=lambda: [None for _ in self.process.stdout], daemon=True).start()
        ready = json.loads(line)
        self.listen = [urllib.parse.urlsplit(url).netloc for url in ready["listen"]]
        self.admin = urllib.parse.urlsplit(ready["admin"][0]).netloc
        self.credential = (self.home / "data/admin.token").read_text().strip()
        self.version = first_line([self.program, "--version"])


    def reload(self, text, number, port, token):
        """Reads another config at SIGHUP, and waits until an answer shows it: see `numbered`."""
        (self.home / "gateway.toml").write_text(text)
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while shown(port, token) != str(number):
            if time.monotonic() > deadline:
                raise RuntimeError(f"reload {number} never came\n{(self.home / 'log').read_text()[-2000:]}")
            time.sleep(0.02)


NUMBERED = """
[[route]]
name = "all"
path = "/"
upstream = "app"
response_headers = {{ set = {{ "X-Number" = "{number}" }} }}
"""


def numbered(text, number):
    """A config whose only route says in each answer which config it is."""
    text = text.split("[[route]]")[0]
    # One address sends bad tokens too. And a memory of signatures that is full when a soak is warm: each
    # denial's token is a new one of 2 KiB.
    more = 'limits.failed_credentials_per_minute = 0\nsignature_cache = "256KiB"\n'
    text = text.replace("[server]", f"[server]\n{more}")
    return text.replace("[log]", '[log]\nlevel = "warn"') + NUMBERED.format(number=number)


def shown(port, token):
    """The number of the config in force."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/", headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.getheader("X-Number")


@contextlib.contextmanager
def stage(name, options, place, config, **environment):
    """A gateway with what it needs, in a directory that goes away with it: the place, what `config` was
    made of, and the gateway."""
    print(machine() + ", " + first_line([options.program, "--version"]) + "\n")
    with tempfile.TemporaryDirectory(prefix=f"portcullis-{name}-") as directory:
        at = place(pathlib.Path(directory), options)
        home = pathlib.Path(directory) / "gateway"
        home.mkdir()
        values = at.values(home)
        try:
            env = {**os.environ, **environment}
            gateway = Gateway(home, config(values), options.proxy_core, options.program, env=env)
            try:
                yield at, values, gateway
            finally:
                gateway.stop()
        finally:
            at.echo.stop()


def bearer(secret, issuer, user, **claims):
    """A token signed with a shared secret, good for two hours."""
    now = int(time.time())
    claims = {"iss": issuer, "aud": "bench", "sub": user, "iat": now - 5, "exp": now + 7200, **claims}
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    text = b".".join(map(base64url, parts))
    mac = hmac.new(secret.encode(), text, hashlib.sha256).digest()
    return (text + b"." + base64url(mac)).decode()


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def certificate(directory):
    """A certificate for localhost and its key, in files; and both in one."""
    chain, key, both = (directory / name for name in ("chain.pem", "key.pem", "both.pem"))
    config = directory / "openssl.cnf"
    config.write_text(
        "[req]\ndistinguished_name = name\nx509_extensions = more\nprompt = no\n[name]\nCN = localhost\n"
        "[more]\nsubjectAltName = DNS:localhost, IP:127.0.0.1\nbasicConstraints = CA:FALSE\n"
    )
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30".split()
    subprocess.run([*command, "-config", config, "-keyout", key, "-out", chain], check=True, stderr=subprocess.DEVNULL)
    both.write_text(chain.read_text() + key.read_text())
    return chain, key, both


def open_files(count):
    """So many file descriptors for this process and those that it starts, or an end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(count, soft)
    most = hard if hard == resource.RLIM_INFINITY else max(hard, wanted)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    except (ValueError, OSError):
        sys.exit(f"{count} file descriptors are needed, {hard} may be had (ulimit -n)")


class Checks:
    """What must hold. All of it is looked at before the end says whether it did."""

    def __init__(self):
        self.failed = []

    def hold(self, good, what):
        if not good:
            self.failed.append(what)

    def end(self):
        for what in self.failed:
            print(f"FAILED: {what}", file=sys.stderr)
        sys.exit(1 if self.failed else 0)
