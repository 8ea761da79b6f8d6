"""httpx against a running gateway: keep-alive, streaming both ways, refusal after revocation.

Usage: httpx_client.py GATEWAY_URL ADMIN_URL, with TOKEN, OTHER_TOKEN and ADMIN_TOKEN set.
"""

import os
import sys

import httpx

gateway, admin = sys.argv[1:3]
alice = {"Authorization": f"Bearer {os.environ['TOKEN']}"}
bob = {"Authorization": f"Bearer {os.environ['OTHER_TOKEN']}"}

with httpx.Client(base_url=gateway, timeout=20) as client:
    for number in range(20):
        answer = client.get(f"/items/{number}", headers=alice)
        assert answer.status_code == 200, answer.text
        assert answer.json()["target"] == f"/items/{number}", answer.text

    def chunks():
        for _ in range(64):
            yield b"x" * 16384

    answer = client.post("/upload", headers=alice, content=chunks())
    assert answer.json()["body_bytes"] == 64 * 16384, answer.text

    missing = client.get("/items/1")
    assert missing.status_code == 401, missing.status_code
    assert missing.headers["WWW-Authenticate"].startswith("Bearer"), missing.headers
    assert missing.json()["code"] == "token_missing", missing.text

    revoked = httpx.post(
        f"{admin}/v1/revoke",
        headers={"Authorization": f"Bearer {os.environ['ADMIN_TOKEN']}"},
        json={"user": "alice", "reason": "lost laptop"},
        timeout=20,
    )
    assert revoked.status_code == 201, revoked.text

    answer = client.get("/items/1", headers=alice)
    assert answer.status_code == 401, answer.status_code
    assert answer.json()["code"] == "token_revoked", answer.text
    assert client.get("/items/1", headers=bob).status_code == 200
