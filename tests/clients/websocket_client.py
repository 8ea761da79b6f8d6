"""The `websockets` library against a running gateway: texts, a large binary message, ping, close.

Usage: websocket_client.py GATEWAY_URL, with TOKEN set.
"""

import asyncio
import os
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

url = sys.argv[1]
# A page of the gateway itself: a cookie counts for no other.
origin = url.replace("ws://", "http://")
token = os.environ["TOKEN"]


async def talk(headers):
    async with connect(
        url + "/ws", origin=origin, additional_headers=headers, subprotocols=["chat"], max_size=None
    ) as socket:
        assert socket.subprotocol == "chat", socket.subprotocol
        for message in ["hello", "", "\u4f60\u597d", os.urandom(4_000_000)]:
            await socket.send(message)
            assert await socket.recv() == message
        await (await socket.ping())
    assert socket.close_code == 1000, socket.close_code


async def main():
    await talk({"Authorization": f"Bearer {token}"})
    await talk({"Cookie": f"session={token}"})
    try:
        await talk({})
    except InvalidStatus as refused:
        assert refused.response.status_code == 401, refused.response.status_code
    else:
        raise AssertionError("a handshake without a token was accepted")


asyncio.run(asyncio.wait_for(main(), 35))
