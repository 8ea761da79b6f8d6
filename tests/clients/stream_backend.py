"""A WebSocket backend of the `websockets` library; prints its port first. It echoes, answers
`fragments` with three of them and a ping between, and `close CODE` with that close code.
"""

import asyncio

from websockets.asyncio.server import serve


async def fragments(connection):
    yield "one "
    await (await connection.ping())
    yield "two "
    yield "three"


async def echo(connection):
    async for message in connection:
        if message == "fragments":
            # The pong must be read while the fragments are sent.
            await connection.send(fragments(connection))
        elif isinstance(message, str) and message.startswith("close "):
            await connection.close(int(message[6:]), "by the backend")
        else:
            await connection.send(message)


async def main():
    async with serve(echo, "127.0.0.1", 0, max_size=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
