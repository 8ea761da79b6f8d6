"""grpcio against a running gateway: calls, a stream, a refusal, a cut by revocation.

Usage: grpc_client.py GATEWAY_ADDRESS ADMIN_URL [whole], with TOKEN and ADMIN_TOKEN set. `whole`: what
needs HTTP/2 all the way to the server as well.
"""

import os
import queue
import sys

import grpc
import httpx

address, admin, *whole = sys.argv[1:]
alice = [("authorization", f"Bearer {os.environ['TOKEN']}")]

with grpc.insecure_channel(address) as channel:
    unary = channel.unary_unary("/echo.Echo/Unary")
    for size in [0, 5, 100_000]:
        assert unary(b"x" * size, metadata=alice, timeout=20) == b"x" * size

    collect = channel.stream_stream("/echo.Echo/Collect")
    parts = [b"a", b"", b"c" * 50_000]
    assert list(collect(iter(parts), metadata=alice, timeout=20)) == parts

    if whole:
        join = channel.stream_unary("/echo.Echo/Join")
        assert join(iter(parts), metadata=alice, timeout=20) == b"".join(parts)
        _, call = unary.with_call(b"x", metadata=alice, timeout=20)
        assert ("x-backend", "grpcio") in call.trailing_metadata(), call.trailing_metadata()
        # Each answer before the next question.
        questions = queue.Queue()
        answers = collect(iter(questions.get, None), metadata=alice, timeout=20)
        for word in [b"one", b"two", b"three"]:
            questions.put(word)
            assert next(answers) == word
        questions.put(None)
        assert list(answers) == []

    def refused(call):
        try:
            call()
        except grpc.RpcError as error:
            return error
        raise AssertionError("it was let in")

    error = refused(lambda: unary(b"x", timeout=20))
    assert error.code() == grpc.StatusCode.UNAUTHENTICATED, error
    assert error.details() == "A token is needed", error.details()
    admin_call = channel.unary_unary("/admin.Admin/Do")
    error = refused(lambda: admin_call(b"x", metadata=alice, timeout=20))
    assert error.code() == grpc.StatusCode.PERMISSION_DENIED, error

    if whole:
        error = refused(lambda: channel.unary_unary("/echo.Echo/None")(b"", metadata=alice, timeout=20))
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error

    stream = channel.unary_stream("/echo.Echo/Stream")(b"", metadata=alice, timeout=20)
    assert next(stream) == b"tick"
    asked, sent = queue.Queue(), queue.Queue()
    if whole:
        # One that is asked and answered, and one that only sends: neither side has ended.
        both = collect(iter(asked.get, None), metadata=alice, timeout=20)
        asked.put(b"one")
        assert next(both) == b"one"
        upload = join.future(iter(sent.get, None), metadata=alice, timeout=20)
        sent.put(b"some")
    answer = httpx.post(
        f"{admin}/v1/revoke",
        headers={"Authorization": f"Bearer {os.environ['ADMIN_TOKEN']}"},
        json={"user": "alice", "reason": "lost laptop"},
        timeout=20,
    )
    assert answer.status_code == 201, answer.text
    ended = [lambda: list(stream)]
    if whole:
        ended += [lambda: list(both), upload.result]
    for call in ended:
        error = refused(call)
        assert error.code() == grpc.StatusCode.UNAUTHENTICATED, error
        assert error.details() == "The token was revoked", error.details()
    asked.put(None)
    sent.put(None)
    error = refused(lambda: unary(b"x", metadata=alice, timeout=20))
    assert error.code() == grpc.StatusCode.UNAUTHENTICATED, error
