"""A server of grpcio that echoes, collects and ticks; prints its port first, and then every stream of
ticks that was cancelled.
"""

import threading
from concurrent import futures

import grpc


def unary(message, context):
    context.set_trailing_metadata([("x-backend", "grpcio")])
    return message


def join(messages, context):
    return b"".join(messages)


def collect(messages, context):
    yield from messages


def stream(_, context):
    # grpcio drops a generator that it cannot send from any more, so the callback says it.
    over = threading.Event()

    def ended():
        print("cancelled", flush=True)
        over.set()

    context.add_callback(ended)
    while not over.wait(0.02):
        yield b"tick"


handlers = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Join": grpc.stream_unary_rpc_method_handler(join),
    "Collect": grpc.stream_stream_rpc_method_handler(collect),
    "Stream": grpc.unary_stream_rpc_method_handler(stream),
}
server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("echo.Echo", handlers)])
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
