"""The contenders that are not ours, and the backend: how each is configured to do the same work."""

import pathlib
import sys

import tokens

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lab import Process, first_line, free_port  # noqa: E402

BODY_BYTES = 1024
# How a contender is reached.
TRANSPORTS = ("http", "tls", "h2")


class Contender(Process):
    """A process that does everything itself."""

    def of(self, row):
        return self

    def address(self, transport):
        return f"127.0.0.1:{self.ports[transport]}"


class Backend(Process):
    """nginx that answers 1 KiB from memory."""

    name = "backend"

    def __init__(self, directory, core):
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        body = "x" * BODY_BYTES
        server = f'server {{ listen {self.address}; location / {{ default_type text/plain; return 200 "{body}"; }} }}'
        start_nginx(self, directory / "nginx-backend", core, server, [port])


def start_nginx(process, home, core, server, ports):
    home.mkdir()
    config = home / "nginx.conf"
    paths = " ".join(f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config.write_text(
        f"daemon off; worker_processes 1; worker_rlimit_nofile 19000; pid {home}/pid; error_log stderr crit;\n"
        f"events {{ worker_connections 16384; }}\n"
        f"http {{ access_log off; keepalive_requests 1000000000; {paths} {server} }}\n"
    )
    process.start(core, ["nginx", "-e", "stderr", "-c", config])
    for port in ports:
        process.wait_for(port)


class Nginx(Contender):
    """Proxies without looking at tokens: Debian's build has nothing to check them with."""

    name = "nginx"

    def __init__(self, directory, place, issued, options):
        self.ports = {transport: free_port() for transport in TRANSPORTS}
        tls = f"ssl_certificate {place.chain}; ssl_certificate_key {place.key};"
        common = """
                proxy_http_version 1.1;
                proxy_set_header Connection "";
                proxy_set_header Host $host;
                proxy_set_header X-Forwarded-For $remote_addr;
                proxy_set_header X-Forwarded-Proto $scheme;
                proxy_set_header X-Forwarded-Host $host;"""
        server = f"""
            upstream app {{ server {place.backend}; keepalive 128; keepalive_requests 1000000000; }}
            upstream big {{ server {place.big}; keepalive 128; keepalive_requests 1000000000; }}
            server {{
              listen 127.0.0.1:{self.ports["http"]};
              listen 127.0.0.1:{self.ports["tls"]} ssl;
              listen 127.0.0.1:{self.ports["h2"]} http2;
              {tls}
              client_max_body_size 0;
              location / {{ proxy_pass http://app; {common} }}
              location /big/ {{
                proxy_pass http://big; {common}
                proxy_buffer_size 128k; proxy_buffers 8 128k; proxy_busy_buffers_size 256k;
                proxy_max_temp_file_size 0; proxy_request_buffering off; client_body_buffer_size 128k;
              }}
            }}"""
        start_nginx(self, directory / "nginx-proxy", options.proxy_core, server, self.ports.values())
        self.version = first_line(["nginx", "-v"]).replace("nginx version: ", "")

    def can(self, row):
        return row.kind in ("plain", "big")

    def url(self, row):
        return f"{row.scheme}://127.0.0.1:{self.ports[row.transport]}/{row.path}"


class Haproxy(Contender):
    name = "haproxy"

    def __init__(self, directory, place, issued, options):
        home = directory / "haproxy"
        home.mkdir()
        # It verifies no EdDSA. One frontend for each set of rules.
        self.signers = {name: signer for name, signer in issued.items() if name != "EdDSA"}
        kinds = ["plain", "big", *self.signers, "HS256 denied", "ES256 denied", "limited"]
        self.ports = {kind: free_port() for kind in kinds}
        self.ports |= {transport: free_port() for transport in ("tls", "h2")}
        self.map = home / "denied.map"
        # The map is filled before the start; nothing of it is read by the other frontends.
        denied = ["denied-jti", *(f"bench-{number}" for number in range(options.denied))]
        self.map.write_text("".join(f"{jti} 1\n" for jti in denied))
        parts = [
            "global\n  nbthread 1\n  maxconn 9000\n",
            "defaults\n  mode http\n  timeout connect 5s\n  timeout client 120s\n  timeout server 120s\n",
            "  http-reuse always\n  option forwardfor\n",
            f"backend app\n  server one {place.backend}\n",
            f"backend big\n  server one {place.big}\n",
        ]
        for kind in kinds:
            parts.append(f"frontend {kind.replace(' ', '-')}\n  bind 127.0.0.1:{self.ports[kind]}\n")
            if kind == "plain":
                parts.append(f"  bind 127.0.0.1:{self.ports['tls']} ssl crt {place.both} alpn http/1.1\n")
                parts.append(f"  bind 127.0.0.1:{self.ports['h2']} proto h2\n")
            parts.append("  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]\n")
            parts.append("  http-request set-header X-Forwarded-Host %[req.hdr(host)]\n")
            if kind == "limited":
                parts.append(self.rules(issued["HS256"], False, limited=True))
            elif kind not in ("plain", "big"):
                parts.append(self.rules(issued[kind.split()[0]], kind.endswith("denied")))
            parts.append(f"  default_backend {'big' if kind == 'big' else 'app'}\n")
        config = home / "haproxy.cfg"
        config.write_text("".join(parts))
        self.start(options.proxy_core, ["haproxy", "-db", "-f", config])
        for port in self.ports.values():
            self.wait_for(port)
        self.version = " ".join(first_line(["haproxy", "-v"]).split()[:3])

    def rules(self, signer, with_map, limited=False):
        """Signature, issuer, audience and expiry, as the manual's JWT page shows."""
        key = signer.secret.decode() if signer.algorithm == "HS256" else signer.public
        refuse = "  http-request deny deny_status 401"
        verified = f'{{ var(txn.bearer),jwt_verify(txn.alg,"{key}") 1 }}'
        lines = [
            "  http-request set-var(txn.bearer) http_auth_bearer",
            "  http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')",
            "  http-request set-var(txn.now) date()",
            "  http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')",
            f"{refuse} unless {{ var(txn.alg) -m str {signer.algorithm} }}",
            f"{refuse} unless {{ var(txn.bearer),jwt_payload_query('$.iss') -m str {signer.iss} }}",
            f"{refuse} unless {{ var(txn.bearer),jwt_payload_query('$.aud') -m str {tokens.AUDIENCE} }}",
            f"{refuse} unless {{ var(txn.exp),sub(txn.now) -m int gt 0 }}",
            f"{refuse} unless {verified}",
        ]
        if limited:
            # As the manual limits by address: before anything is parsed.
            lines[:0] = [
                "  stick-table type ip size 100k expire 60s store gpc0_rate(60s)",
                "  http-request track-sc0 src",
                "  http-request deny deny_status 429 if { sc0_gpc0_rate gt 300 }",
            ]
            lines[-1:] = [f"  http-request sc-inc-gpc0(0) unless {verified}", f"{refuse} unless {verified}"]
        if with_map:
            lines.append(
                f"{refuse} if {{ var(txn.bearer),jwt_payload_query('$.jti'),map_str({self.map}) -m found }}"
            )
        # The token is not for the backend.
        lines.append("  http-request del-header Authorization")
        return "\n".join(lines) + "\n"

    def can(self, row):
        return row.kind in self.ports or row.kind.removeprefix("cold ") in self.ports

    def url(self, row):
        # It remembers no signature: a cold token is as any other.
        kind = row.kind.removeprefix("cold ")
        port = self.ports[kind if row.transport == "http" else row.transport]
        return f"{row.scheme}://127.0.0.1:{port}/{row.path}"

    def address(self, transport):
        return f"127.0.0.1:{self.ports['plain' if transport == 'http' else transport]}"

    def deny(self, count, jti):
        """In the map since the start."""
