"""httpx with HTTP/2 over TLS against a running gateway: many requests at once, bodies both ways.

Usage: http2_client.py GATEWAY_URL CA_FILE, with TOKEN set.
"""

import asyncio
import os
import ssl
import sys

import httpx

gateway, ca = sys.argv[1:3]
alice = {"Authorization": f"Bearer {os.environ['TOKEN']}"}


async def main():
    context = ssl.create_default_context(cafile=ca)
    async with httpx.AsyncClient(
        base_url=gateway, http2=True, verify=context, timeout=20
    ) as client:
        answers = await asyncio.gather(
            *(client.get(f"/items/{n}", headers=alice) for n in range(50))
        )
        for number, answer in enumerate(answers):
            assert answer.http_version == "HTTP/2", answer.http_version
            assert answer.status_code == 200, answer.text
            assert answer.json()["target"] == f"/items/{number}", answer.text

        async def chunks():
            for _ in range(64):
                yield b"x" * 16384

        answer = await client.post("/upload", headers=alice, content=chunks())
        assert answer.json()["body_bytes"] == 64 * 16384, answer.text
        refused = await client.get("/items/1")
        assert refused.status_code == 401, refused.status_code
        assert refused.json()["code"] == "token_missing", refused.text


asyncio.run(asyncio.wait_for(main(), 35))
