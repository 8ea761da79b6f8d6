"""The load itself, and the check that everybody answers rightly before it."""

import http.client
import os
import re
import ssl
import subprocess
import sys
import urllib.parse

import peers
from lab import PATH, load
from rows import BIG_BYTES, HEADERS


def status(url, headers, method="GET", body=None):
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https":
        unchecked = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=20, context=unchecked)
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    connection.request(method, parts.path or "/", body, headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, len(body)


def status_h2(url):
    """By curl, with prior knowledge."""
    done = subprocess.run(
        ["curl", "-s", "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_code} %{size_download} %{http_version}", url],
        stdout=subprocess.PIPE, text=True, timeout=20,
    )
    code, size, version = done.stdout.split()
    return int(code) if version == "2" else 0, int(size)


def check(field, rows):
    """Everyone answers rightly, or nothing is measured."""
    for contender in field:
        for row in rows:
            if not contender.can(row):
                continue
            url = contender.url(row)
            headers = {**HEADERS, "Authorization": f"Bearer {row.token}"} if row.token else HEADERS
            if row.upload:
                got, size = status(url, headers, "POST", b"x" * BIG_BYTES)
            elif row.transport == "h2":
                got, size = status_h2(url)
            else:
                got, size = status(url, headers)
                for _ in range(1000 if row.status == 429 else 0):
                    if got == 429:
                        break
                    got, size = status(url, headers)
            expected = 2 if row.upload else BIG_BYTES if row.kind == "big" else peers.BODY_BYTES
            if got != row.status or (got == 200 and size != expected):
                sys.exit(f"{contender.name}, {row.name}: {got} with {size} bytes instead of {row.status}")
            for what, token in row.neighbours:
                got, _ = status(url, {**HEADERS, "Authorization": f"Bearer {token}"})
                # Envoy answers 403 to another audience.
                if got not in (401, 403):
                    sys.exit(f"{contender.name}, {row.name}: {what} got {got} instead of 401")
        print(f"  {contender.name} answers rightly", file=sys.stderr)


def run(url, row, options, place):
    """How many answers came, and how many of them were not the right one."""
    if row.tool == "handshakes":
        address = urllib.parse.urlsplit(url).netloc
        found = load(
            place.load, options.load_core, "handshakes",
            address=address, certificate=place.chain, connections=16, seconds=options.seconds,
        )
        return found["requests"], 0
    return h2load(url, row, options) if row.tool == "h2load" else wrk(url, row, options, place)


def wrk(url, row, options, place):
    connections = 4 if row.kind == "big" else options.connections
    command = [
        "taskset", "-c", str(options.load_core),
        "wrk", "-t1", f"-c{connections}", f"-d{options.seconds}s", "--timeout", "30s",
    ]
    script = place.directory / "wrk.lua"
    if row.tokens:
        # One after the other; the headers of the command line belong to `wrk` only after `init`.
        script.write_text(
            f"""local made, at = {{}}, 0
            for token in io.lines("{row.tokens}") do made[#made + 1] = "Bearer " .. token end
            function request()
              at = at % #made + 1
              wrk.headers["Authorization"] = made[at]
              return wrk.format("GET")
            end\n"""
        )
        command += ["-s", script]
    elif row.upload:
        script.write_text(f'wrk.method = "POST"\nwrk.body = string.rep("x", {BIG_BYTES})\n')
        command += ["-s", script]
    for name, value in row.headers().items():
        command += ["-H", f"{name}: {value}"]
    done = subprocess.run([*map(str, command), url], check=True, stdout=subprocess.PIPE, text=True).stdout
    answered = int(re.search(r"(\d+) requests in", done).group(1))
    # wrk counts answers of 400 and above; socket errors are wrong whatever was expected.
    found = re.search(r"Non-2xx or 3xx responses: (\d+)", done)
    refused = int(found.group(1)) if found else 0
    found = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", done)
    broken = sum(map(int, found.groups())) if found else 0
    wrong = refused if row.status == 200 else answered - refused
    return answered, wrong + broken


def h2load(url, row, options):
    """As many requests at a time as there are connections elsewhere."""
    connections = max(1, options.connections // row.streams)
    command = ["taskset", "-c", str(options.load_core), "h2load", "-t1", f"-c{connections}", f"-m{row.streams}", f"-D{options.seconds}"]
    for name, value in row.headers().items():
        command += ["-H", f"{name}: {value}"]
    done = subprocess.run([*command, url], check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "PATH": PATH}).stdout
    right = int(re.search(r"status codes: (\d+) 2xx", done).group(1))
    failed, errored, timeout = map(int, re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", done).groups())
    return right, failed + errored + timeout
