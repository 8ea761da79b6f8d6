"""A WebSocket backend of the `websockets` library that echoes; prints its port first."""

import asyncio

from websockets.asyncio.server import serve


async def echo(connection):
    assert connection.request.headers.get("Authorization") is None
    async for message in connection:
        await connection.send(message)


async def main():
    async with serve(echo, "127.0.0.1", 0, subprotocols=["chat"], max_size=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
