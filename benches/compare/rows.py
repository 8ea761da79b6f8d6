"""The rows of the comparison: what is asked, what the right answer is, and what we aim at."""

import dataclasses
import pathlib
import time

import tokens

# A browser's request, about twelve fields with Host and Authorization.
HEADERS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "application/json, text/plain, */*",
    "Accept-Language": "en-GB,en;q=0.7,de;q=0.3",
    "Accept-Encoding": "gzip, deflate, br",
    "Referer": "https://app.example.com/orders",
    "Cookie": "theme=dark; lang=en; consent=yes",
    "Sec-Fetch-Dest": "empty",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Site": "same-origin",
    "X-Requested-With": "XMLHttpRequest",
}
BIG_BYTES = 10 << 20
# More than Envoy's cache of tokens and than our small memory of signatures hold.
COLD_TOKENS = 4096


@dataclasses.dataclass
class Row:
    name: str
    kind: str  # plain, big, limited, or an algorithm: which rules the contender applies
    status: int = 200
    token: str = ""
    transport: str = "http"
    tool: str = "wrk"  # wrk, h2load, handshakes
    streams: int = 1  # of an HTTP/2 connection at a time
    path: str = "plain"
    upload: bool = False
    factor: float | None = None  # the aim: at most this times …
    peer: str = "haproxy"  # … that contender's figure; "best": the smallest of the others'
    neighbours: tuple = ()  # (what, token) that must be refused by the same rules
    tokens: pathlib.Path | None = None  # one a line, each sent in turn
    denied: int = 0  # further denied jti that must be loaded
    denied_jti: str = ""
    only: tuple = ()

    @property
    def scheme(self):
        return "https" if self.transport == "tls" else "http"

    @property
    def unit(self):
        return "ms/GiB" if self.kind == "big" else "µs"

    def per(self, requests):
        """What the CPU microseconds are divided by."""
        return requests * BIG_BYTES / 2**30 * 1000 if self.kind == "big" else requests

    def headers(self):
        if not self.token or self.tokens:
            return HEADERS
        return {**HEADERS, "Authorization": f"Bearer {self.token}"}


def bad(signer):
    """Tokens that are worse than a good one by one detail."""
    good = signer.mint()
    flipped = good[:-10] + ("A" if good[-10] != "A" else "B") + good[-9:]
    return {
        "garbage": "garbage",
        "a broken signature": flipped,
        "a token by another key": stranger(signer).mint(),
        "a token by another key of an unknown name": stranger(signer).mint(kid="k2"),
        "a token by another key without a name": stranger(signer).mint(kid=None),
        "an expired token": signer.mint(exp=int(time.time()) - 600),
        "another audience": signer.mint(aud="https://other.example.com"),
        "another issuer": signer.mint(iss="https://other.example.com/"),
    }


def stranger(signer):
    """Who signs with a key of its own: for shared secrets only, elsewhere a signature of another text."""
    if signer.secret:
        return dataclasses.replace(signer, secret=b"another secret, as long as it must be, or longer")
    return Borrowed(signer.algorithm, signer.key, public=signer.public)


class Borrowed(tokens.Signer):
    def sign(self, text):
        return super().sign(text + b"?")


def batches(issued, denied, directory):
    """Rows that can be measured in turn; a later batch changes the contenders' state."""
    refused = {name: bad(signer) for name, signer in issued.items()}
    hs256 = refused["HS256"]
    first = [Row("plain proxy", "plain", factor=1.1)]
    aims = {"HS256": (0.8, "haproxy"), "RS256": (0.4, "haproxy"), "ES256": (0.3, "envoy"), "EdDSA": (0.3, "envoy")}
    for name, signer in issued.items():
        factor, peer = aims[name]
        first.append(
            Row(f"bearer {name}", name, token=signer.mint(), factor=factor, peer=peer, neighbours=tuple(refused[name].items()))
        )
    first += [
        Row("TLS 1.3 keep-alive, no auth", "plain", transport="tls", factor=1.0),
        Row("full TLS handshake + request", "plain", transport="tls", tool="handshakes", factor=0.7, peer="envoy"),
        Row("HTTP/2, no auth, one stream each", "plain", transport="h2", tool="h2load", factor=1.2),
        Row("HTTP/2, no auth, 8 streams each", "plain", transport="h2", tool="h2load", streams=8, factor=1.2),
        Row("download, 10 MiB", "big", path=f"big/bytes/{BIG_BYTES}", factor=0.8, peer="nginx"),
        Row("upload, 10 MiB", "big", path="big/upload", upload=True, factor=0.8, peer="nginx"),
    ]

    def refuse(what, kind, token, **more):
        return Row(f"refuse {what}", kind, 401, token, factor=1.0, peer="best", **more)

    first.append(refuse("garbage", "HS256", "garbage"))
    for name in ("HS256", "RS256", "ES256"):
        first.append(refuse(f"bad signature {name}", name, refused[name]["a broken signature"]))
    first += [
        refuse("forgery without kid", "HS256", hs256["a token by another key without a name"]),
        refuse("wrong key", "HS256", hs256["a token by another key"]),
        refuse("unknown kid", "HS256", hs256["a token by another key of an unknown name"]),
        refuse("expired", "HS256", hs256["an expired token"]),
        Row("refuse 429", "limited", 429, hs256["a broken signature"], factor=1.0, peer="best"),
    ]
    for name in ("HS256", "RS256", "ES256"):
        file = directory / f"cold-{name}"
        first.append(Row(f"good, never seen {name}", f"cold {name}", token=cold(issued[name], file), tokens=file))
    gone = issued["HS256"].mint(jti="denied-jti")
    second = [refuse("denied", "HS256 denied", gone, denied_jti="denied-jti")]
    if denied:
        for name, factor in (("HS256", 0.6), ("ES256", 0.2)):
            neighbours = (("a denied one", issued[name].mint(jti="denied-jti")),)
            second.append(
                Row(
                    f"{name}, {denied:,} denied", f"{name} denied", token=issued[name].mint(), factor=factor,
                    neighbours=neighbours, denied=denied, denied_jti="denied-jti",
                )
            )
    return [first, second]


def cold(signer, file):
    """Many good tokens in a file; one of them."""
    made = signer.mint_many(COLD_TOKENS)
    file.write_text("\n".join(made) + "\n")
    return made[0]
