"""The `websockets` library with sockets of two users through the gateway; the parent denies alice.

Usage: stream_client.py GATEWAY_URL, with TOKEN and OTHER_TOKEN set. Prints `open`, waits for a line,
then sees alice's socket closed with 1008 and bob's still echoing.
"""

import asyncio
import os
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

url = sys.argv[1] + "/ws"


def socket(name, **more):
    headers = {"Authorization": f"Bearer {os.environ[name]}"}
    return connect(url, additional_headers=headers, max_size=None, **more)


async def echoes(socket, message):
    await socket.send(message)
    assert await socket.recv() == message


async def pieces(socket, parts):
    """Fragments, with a ping answered between two of them (RFC 6455 section 5.4)."""

    async def fragments():
        for number, part in enumerate(parts):
            if number == 1:
                await (await socket.ping(b"between"))
            yield part

    await socket.send(fragments())
    whole = await socket.recv()
    assert whole == type(parts[0])().join(parts), len(whole)


async def framing():
    async with socket("OTHER_TOKEN", compression=None) as plain:
        for size in [0, 1, 125, 126, 127, 65535, 65536, 1 << 20]:
            await echoes(plain, os.urandom(size))
            await echoes(plain, "x" * size)
        await pieces(plain, ["a", "", "b" * 70000, "c"])
        await pieces(plain, [b"", os.urandom(1 << 20), b"", b"end"])
        await plain.send("fragments")
        assert await plain.recv() == "one two three"
        await asyncio.gather(*[await plain.ping(os.urandom(125)) for _ in range(20)])
    async with socket("OTHER_TOKEN") as deflated:
        await echoes(deflated, "compressed " * 100000)
    # A close code of either side comes through as it is.
    for code in [1000, 1001, 1003, 1009, 1011, 3000, 4999]:
        async with socket("OTHER_TOKEN") as closing:
            await closing.send(f"close {code}")
            try:
                await closing.recv()
            except ConnectionClosed as closed:
                assert (closed.rcvd.code, closed.rcvd.reason) == (code, "by the backend"), closed
        async with socket("OTHER_TOKEN") as closing:
            await closing.close(code, "by the client")
            assert closing.close_code == code, closing.close_code


async def main():
    await framing()
    async with socket("TOKEN") as alice, socket("OTHER_TOKEN") as bob:
        await echoes(alice, "hello")
        await echoes(bob, "hello")
        # Of alice's message one fragment is there, and no more will come before the cut.
        cut = asyncio.Event()

        async def unfinished():
            yield "begun"
            await cut.wait()

        sending = asyncio.create_task(alice.send(unfinished()))
        await echoes(bob, "a round trip later")
        print("open", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        try:
            await alice.recv()
        except ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (1008, "revoked"), closed
        else:
            raise AssertionError("alice got a message after her revocation")
        cut.set()
        await asyncio.gather(sending, return_exceptions=True)
        for number in range(20):
            await echoes(bob, f"still here {number}")
    assert bob.close_code == 1000, bob.close_code


asyncio.run(asyncio.wait_for(main(), 40))
