"""A verdict of PyJWT on each line of stdin, {"token", "alg", "jwk"}: 1 or 0."""
import json
import sys

import jwt

ISSUER, AUDIENCE = sys.argv[1], sys.argv[2]
keys = {}
for line in sys.stdin:
    case = json.loads(line)
    text = case["alg"] + json.dumps(case["jwk"], sort_keys=True)
    key = keys.setdefault(text, jwt.PyJWK(case["jwk"], algorithm=case["alg"]).key)
    try:
        jwt.decode(
            case["token"], key, algorithms=[case["alg"]], audience=AUDIENCE, issuer=ISSUER,
            leeway=300, options={"require": ["exp", "iat"]},
        )
        print(1)
    except Exception:  # Any of them is a refusal.
        print(0)
