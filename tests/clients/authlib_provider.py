"""An OAuth server (Authlib on Flask) over HTTPS, which issues RS256 access tokens (RFC 9068) to a
client of its own. Arguments: certificate, key, port and a directory. The file `published`
there names its keys: the first signs, all of them are published. They outlive the process."""
import json
import ssl
import sys
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, grants
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from flask import Flask, jsonify
from joserfc.jwk import KeySet, RSAKey

CERTIFICATE, KEY, PORT, DIRECTORY = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
AUDIENCE, SECRET = "https://api.example.com", "a secret of the drill"


def published():
    keys = []
    for name in (DIRECTORY / "published").read_text().split():
        path = DIRECTORY / f"{name}.json"
        if not path.exists():
            made = RSAKey.generate_key(2048, {"kid": name, "use": "sig", "alg": "RS256"})
            path.write_text(json.dumps(made.as_dict(private=True)))
        keys.append(RSAKey.import_key(json.loads(path.read_text())))
    return keys


class Client(ClientMixin):
    def get_client_id(self):
        return "drill"

    def get_allowed_scope(self, scope):
        return "read" if scope == "read" else ""

    def check_client_secret(self, client_secret):
        return client_secret == SECRET

    def check_endpoint_auth_method(self, method, endpoint):
        return method == "client_secret_post"

    def check_grant_type(self, grant_type):
        return grant_type == "client_credentials"


class ClientCredentials(grants.ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_post"]


class Tokens(JWTBearerTokenGenerator):
    def get_jwks(self):
        return KeySet(published()[:1])

    def get_audiences(self, client, user, scope):
        return AUDIENCE


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


app = Flask("provider")
listener = make_server("127.0.0.1", PORT, app, handler_class=Quiet)
port = listener.server_port
issuer = f"https://localhost:{port}"
server = AuthorizationServer(
    app, query_client=lambda name: Client() if name == "drill" else None,
    save_token=lambda token, request: None,
)
lifetime = lambda client, grant_type: 600
server.register_token_generator("default", Tokens(issuer, "RS256", expires_generator=lifetime))
server.register_grant(ClientCredentials)


@app.get("/.well-known/openid-configuration")
def metadata():
    return jsonify(
        issuer=issuer, jwks_uri=f"{issuer}/jwks", token_endpoint=f"{issuer}/token",
        grant_types_supported=["client_credentials"],
    )


@app.get("/jwks")
def jwks():
    return jsonify(KeySet(published()).as_dict(private=False))


@app.post("/token")
def token():
    return server.create_token_response()


tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(CERTIFICATE, KEY)
listener.socket = tls.wrap_socket(listener.socket, server_side=True)
published()
print(port, flush=True)
listener.serve_forever()
