"""The rows of the comparison: what is asked, what the right answer is, and the load itself."""

import dataclasses
import http.client
import re
import subprocess
import sys
import time
import urllib.parse

import contenders
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


@dataclasses.dataclass
class Row:
    name: str
    kind: str  # plain, HS256, RS256 or ES256: which rules the contender applies
    status: int
    token: str = ""
    neighbours: tuple = ()  # (what, token) that must be 401 by the same rules
    denied: int = 0  # further denied jti that must be loaded
    denied_jti: str = ""

    def prepare(self, contender):
        if contender.can(self) and (self.denied or self.denied_jti):
            contender.deny(self.denied, self.denied_jti)

    def headers(self):
        if not self.token:
            return HEADERS
        return {**HEADERS, "Authorization": f"Bearer {self.token}"}


def bad(signer):
    """Tokens that are worse than a good one by one detail."""
    good = signer.mint()
    flipped = good[:-10] + ("A" if good[-10] != "A" else "B") + good[-9:]
    return (
        ("garbage", "garbage"),
        ("a broken signature", flipped),
        ("a token by another key", stranger(signer).mint()),
        ("a token by another key of an unknown name", stranger(signer).mint(kid="k2")),
        ("an expired token", signer.mint(exp=int(time.time()) - 600)),
        ("another audience", signer.mint(aud="https://other.example.com")),
        ("another issuer", signer.mint(iss="https://other.example.com/")),
    )


def stranger(signer):
    """Who signs with a key of its own: for shared secrets only, elsewhere a signature of another text."""
    if signer.secret:
        return dataclasses.replace(signer, secret=b"another secret, as long as it must be, or longer")
    return Borrowed(signer.algorithm, signer.key, public=signer.public)


class Borrowed(tokens.Signer):
    def sign(self, text):
        return super().sign(text + b"?")


def batches(issued, denied):
    """Rows that can be measured in turn; a later batch changes the contenders' state."""
    hs256 = issued["HS256"]
    refused = dict(bad(hs256))
    first = [Row("plain proxy", "plain", 200)]
    for algorithm in ("HS256", "RS256", "ES256"):
        signer = issued[algorithm]
        first.append(Row(f"bearer {algorithm}", algorithm, 200, signer.mint(), bad(signer)))
    first.append(Row("refuse garbage", "HS256", 401, "garbage"))
    first.append(Row("refuse bad signature", "HS256", 401, refused["a broken signature"]))
    first.append(Row("refuse wrong key", "HS256", 401, refused["a token by another key"]))
    unknown = refused["a token by another key of an unknown name"]
    first.append(Row("refuse unknown kid", "HS256", 401, unknown))
    first.append(Row("refuse expired", "HS256", 401, refused["an expired token"]))
    gone = hs256.mint(jti="denied-jti")
    second = [Row("refuse denied", "HS256 denied", 401, gone, denied_jti="denied-jti")]
    if denied:
        name = f"HS256, {denied:,} denied"
        second.append(
            Row(name, "HS256 denied", 200, hs256.mint(), (("a denied one", gone),), denied, "denied-jti")
        )
    return [first, second]


def status(url, headers):
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.request("GET", parts.path or "/", headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, len(body)


def check(field, rows):
    """Everyone answers rightly, or nothing is measured."""
    for contender in field:
        for row in rows:
            if not contender.can(row):
                continue
            url = contender.url(row)
            got, size = status(url, row.headers())
            if got != row.status or (got == 200 and size != contenders.BODY_BYTES):
                sys.exit(f"{contender.name}, {row.name}: {got} with {size} bytes instead of {row.status}")
            for what, token in row.neighbours:
                got, _ = status(url, {**HEADERS, "Authorization": f"Bearer {token}"})
                if got != 401:
                    sys.exit(f"{contender.name}, {row.name}: {what} got {got} instead of 401")
        print(f"  {contender.name} answers rightly", file=sys.stderr)


def load(url, row, options):
    """wrk on its core; how many answers came, and how many of them were not the right one."""
    command = [
        "taskset", "-c", str(options.load_core),
        "wrk", "-t1", f"-c{options.connections}", f"-d{options.seconds}s",
    ]
    for name, value in row.headers().items():
        command += ["-H", f"{name}: {value}"]
    done = subprocess.run([*command, url], check=True, stdout=subprocess.PIPE, text=True).stdout
    answered = int(re.search(r"(\d+) requests in", done).group(1))
    # wrk counts answers of 400 and above; socket errors are wrong whatever was expected.
    found = re.search(r"Non-2xx or 3xx responses: (\d+)", done)
    refused = int(found.group(1)) if found else 0
    found = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", done)
    broken = sum(map(int, found.groups())) if found else 0
    wrong = refused if row.status == 200 else answered - refused
    return answered, wrong + broken
