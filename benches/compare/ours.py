"""Portcullis as a contender."""

import http.client
import json
import sys
import time

import tokens
from peers import free_port
from lab import Gateway

# Denials in one call of the batch.
BATCH = 100_000


class Portcullis:
    """Two gateways: one as it is by default (but for the limit on failed credentials, since one
    address sends all the bad tokens), one whose memory of signatures is too small for the cold
    tokens and which has that limit."""

    name = "portcullis"

    def __init__(self, directory, place, issued, options):
        self.options, self.denied, self.full = options, 0, False
        self.issued = issued
        self.usual = self.gateway(directory / "portcullis", place, "")
        self.cold = self.gateway(directory / "portcullis-cold", place, 'signature_cache = "64KiB"\n')
        self.strict = self.gateway(directory / "portcullis-strict", place, "", limited=True)
        self.version = self.usual.version

    def gateway(self, home, place, more, limited=False):
        home.mkdir()
        port = free_port()
        parts = [
            f'[server]\nlisten = "127.0.0.1:0"\nthreads = 1\n{more}',
            # All clients are on one address.
            "limits.connections_per_address = 0\n",
            "" if limited else "limits.failed_credentials_per_minute = 0\n",
            f'[[listener]]\nlisten = "127.0.0.1:{port}"\n'
            f'tls.certificates = [{{ chain = "{place.chain}", key = "{place.key}" }}]\n',
            '[admin]\nlisten = ["127.0.0.1:0"]\npeople = false\n',
            '[store]\npath = "data"\n',
            '[log]\naccess = "off"\n',
            f'[[upstream]]\nname = "app"\nservers = ["http://{place.backend}"]\n',
            f'[[upstream]]\nname = "big"\nservers = ["http://{place.big}"]\n',
            '[[route]]\npath = "/plain"\naccess = "public"\nupstream = "app"\n',
            '[[route]]\npath = "/big"\naccess = "public"\nupstream = "big"\n',
        ]
        # One issuer and one route for each algorithm.
        for algorithm, signer in self.issued.items():
            file = signer.public or signer.key
            # The key has a name, so that a token may name another.
            keys = f'pem_file = "{file}"' if signer.public else f'secrets = {{ {tokens.KID} = {{ file = "{file}" }} }}'
            parts.append(
                f'[[issuer]]\nname = "{algorithm}"\nissuer = "{signer.iss}"\naudiences = ["{tokens.AUDIENCE}"]\n'
                f'algorithms = ["{algorithm}"]\nkeys = {{ {keys} }}\n'
            )
            parts.append(f'[[route]]\npath = "/{algorithm}"\nissuers = ["{algorithm}"]\nupstream = "app"\n')
        started = Gateway(home, "".join(parts), self.options.proxy_core, self.options.portcullis)
        started.tls = f"127.0.0.1:{port}"
        return started

    def stop(self):
        for one in (self.usual, self.cold, self.strict):
            one.stop()

    def can(self, row):
        return True

    def of(self, row):
        if row.kind.startswith("cold "):
            return self.cold
        return self.strict if row.kind == "limited" else self.usual

    def address(self, transport):
        one = self.usual
        return one.tls if transport == "tls" else next(address for address in one.listen if address != one.tls)

    def resident(self):
        return self.usual.resident()

    def url(self, row):
        one = self.of(row)
        kind = {"limited": "HS256"}.get(row.kind, row.kind.removeprefix("cold ").split()[0])
        plain = next(address for address in one.listen if address != one.tls)
        path = kind if row.kind not in ("plain", "big") else row.path
        return f"{row.scheme}://{one.tls if row.transport == 'tls' else plain}/{path}"

    def call(self, path, body, kind="application/json"):
        connection = http.client.HTTPConnection(self.usual.admin, timeout=120)
        headers = {"Authorization": f"Bearer {self.usual.credential}", "Content-Type": kind}
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status not in (200, 201):
            sys.exit(f"{path}: {answer.status} {text[-500:]}")
        return text

    def deny(self, count, jti):
        for issuer in ("HS256", "ES256"):
            self.call("/v1/denials", json.dumps({"issuer": issuer, "jti": jti, "reason": "comparison"}))
        began = time.monotonic()
        for first in range(self.denied, count, BATCH):
            lines = (f'{{"issuer":"HS256","jti":"bench-{number}","reason":"comparison"}}\n' for number in range(first, min(first + BATCH, count)))
            text = self.call("/v1/denials/batch", "".join(lines), "application/x-ndjson")
            total = json.loads(text.splitlines()[-1])
            if total["created"] != min(BATCH, count - first):
                sys.exit(f"a batch was not taken: {total}")
        if count > self.denied:
            print(f"  portcullis took {count - self.denied} durable denials in {time.monotonic() - began:.0f} s", file=sys.stderr)
            self.denied = count
