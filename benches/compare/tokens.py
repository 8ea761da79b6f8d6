"""Keys and tokens for the comparison: signed with openssl, about 800 bytes each."""

import base64
import dataclasses
import hashlib
import hmac
import json
import pathlib
import subprocess
import sys
import time

AUDIENCE = "https://api.example.com"
BYTES = 800
KID = "k1"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclasses.dataclass
class Signer:
    algorithm: str
    key: pathlib.Path
    secret: bytes = b""
    public: pathlib.Path | None = None

    @property
    def iss(self):
        """Each algorithm is an issuer of its own."""
        return f"https://id.example.com/{self.algorithm}/"

    def sign(self, text):
        if self.algorithm == "HS256":
            return hmac.new(self.secret, text, hashlib.sha256).digest()
        if self.algorithm == "EdDSA":
            # It reads its input twice, so it wants a file.
            file = self.key.with_suffix(".text")
            file.write_bytes(text)
            return openssl("pkeyutl", "-sign", "-rawin", "-inkey", str(self.key), "-in", str(file))
        signature = openssl("dgst", "-sha256", "-sign", str(self.key), input=text)
        return raw_ecdsa(signature) if self.algorithm == "ES256" else signature

    def mint(self, kid=KID, **changes):
        now = int(time.time())
        claims = {
            "iss": self.iss,
            "aud": AUDIENCE,
            "sub": "alice",
            "jti": "0123456789abcdef",
            "iat": now - 60,
            "exp": now + 6 * 3600,
            **changes,
        }
        header = {"alg": self.algorithm, "typ": "JWT"}
        if kid:
            header["kid"] = kid
        header = b64(json.dumps(header).encode())
        bare = len(self.compact(header, claims))
        # Three bytes of claims become four of token.
        claims["pad"] = "x" * max(1, (BYTES - bare) * 3 // 4 - 10)
        return self.compact(header, claims)

    def mint_many(self, count):
        """Good tokens that differ in their `jti` only, quickly: openssl is called once a token
        otherwise. Needs the package cryptography for key pairs."""
        if not self.secret:
            key = serialization().load_pem_private_key(self.key.read_bytes(), None)
            quick = Quick(self.algorithm, self.key, public=self.public)
            quick.loaded = key
            return [quick.mint(jti=f"cold-{number}") for number in range(count)]
        return [self.mint(jti=f"cold-{number}") for number in range(count)]

    def jwk(self):
        """The key that verifies, for those who want it so."""
        more = {"kid": KID, "alg": self.algorithm, "use": "sig"}
        if self.secret:
            return {"kty": "oct", "k": b64(self.secret), **more}
        if self.algorithm == "RS256":
            text = openssl("rsa", "-pubin", "-in", str(self.public), "-modulus", "-noout").decode()
            return {"kty": "RSA", "n": b64(bytes.fromhex(text.strip().split("=")[1])), "e": "AQAB", **more}
        # The point is what the DER ends with.
        der = openssl("pkey", "-pubin", "-in", str(self.public), "-outform", "DER")
        if self.algorithm == "EdDSA":
            return {"kty": "OKP", "crv": "Ed25519", "x": b64(der[-32:]), **more}
        return {"kty": "EC", "crv": "P-256", "x": b64(der[-64:-32]), "y": b64(der[-32:]), **more}

    def compact(self, header, claims):
        text = f"{header}.{b64(json.dumps(claims).encode())}"
        return f"{text}.{b64(self.sign(text.encode()))}"


class Quick(Signer):
    """Signs in this process."""

    loaded = None

    def sign(self, text):
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, padding

        if self.algorithm == "RS256":
            return self.loaded.sign(text, padding.PKCS1v15(), hashes.SHA256())
        return raw_ecdsa(self.loaded.sign(text, ec.ECDSA(hashes.SHA256())))


def serialization():
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError:
        sys.exit("tokens that were never seen need the package cryptography: run by target/test-clients/bin/python3")
    return serialization


def openssl(*arguments, input=None):
    done = subprocess.run(["openssl", *arguments], input=input, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout


def raw_ecdsa(der):
    """DER SEQUENCE of two INTEGERs to r and s of 32 bytes each."""
    numbers, position = [], 2
    for _ in range(2):
        length = der[position + 1]
        numbers.append(int.from_bytes(der[position + 2 : position + 2 + length], "big"))
        position += 2 + length
    return b"".join(number.to_bytes(32, "big") for number in numbers)


def issue(directory):
    """A signer for each algorithm, keys in files."""
    signers = {}
    # Text, so that haproxy can take it from its config.
    secret = base64.b64encode(hashlib.sha256(directory.name.encode()).digest())
    key = directory / "hs256.secret"
    key.write_bytes(secret)
    signers["HS256"] = Signer("HS256", key, secret=secret)
    for algorithm, kind in [
        ("RS256", ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
        ("ES256", ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        ("EdDSA", ["ED25519"]),
    ]:
        key = directory / f"{algorithm.lower()}.key"
        openssl("genpkey", "-algorithm", *kind, "-out", str(key))
        public = directory / f"{algorithm.lower()}.pem"
        openssl("pkey", "-in", str(key), "-pubout", "-out", str(public))
        signers[algorithm] = Signer(algorithm, key, public=public)
    return signers
