"""Python's own http.server on the current directory; prints its port first."""

import http.server

with http.server.ThreadingHTTPServer(
    ("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler
) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
