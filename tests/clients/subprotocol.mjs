// A page's WebSocket has no headers: its token is among the subprotocols. Sockets of undici, which
// fails where none of them is chosen as browsers do, and of `ws`.
// Usage: subprotocol.mjs WS_URL, with TOKEN and PEERS set.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(process.env.PEERS);
const Ws = require("ws");
const undici = require("undici");
const url = `${process.argv[2]}/ws`;
const token = process.env.TOKEN;

function opened(socket) {
  return new Promise((done, failed) => {
    socket.onopen = () => done(socket.protocol);
    socket.onerror = (event) => failed(event.error ?? new Error("no socket"));
    setTimeout(() => failed(new Error("took too long")), 20000).unref();
  });
}

for (const WebSocket of [undici.WebSocket, Ws]) {
  for (const [offered, chosen] of [
    [["bearer", token], "bearer"],
    [["chat", "bearer", token], "chat"],
    [[`bearer.${token}`, "chat"], "chat"],
  ]) {
    const socket = new WebSocket(url, offered);
    assert.equal(await opened(socket), chosen);
    socket.close();
  }
  const spoilt = new WebSocket(url, ["bearer", `${token}x`]);
  await assert.rejects(opened(spoilt));
}
process.exit(0);
