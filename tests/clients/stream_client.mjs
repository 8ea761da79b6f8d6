// Sockets of `ws` and of undici for two users through the gateway; the parent denies alice.
// Usage: stream_client.mjs WS_URL, with TOKEN, OTHER_TOKEN and PEERS set. Prints `open`, waits for
// a line, then sees alice's sockets closed with 1008 and bob's still echoing.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createRequire } from "node:module";

const require = createRequire(process.env.PEERS);
const Ws = require("ws");
const undici = require("undici");
const url = `${process.argv[2]}/ws`;

const kinds = {
  ws: (headers) => new Ws(url, { headers }),
  undici: (headers) => new undici.WebSocket(url, { headers }),
};

async function open(kind, token) {
  const socket = kinds[kind]({ Authorization: `Bearer ${token}` });
  const inbox = [];
  let waiting = null;
  socket.onmessage = ({ data }) => (waiting ? waiting(data) : inbox.push(data));
  const closed = new Promise((done) => {
    socket.onclose = ({ code, reason }) => done({ code, reason: String(reason) });
  });
  await new Promise((done, failed) => {
    socket.onopen = done;
    socket.onerror = (event) => failed(event.error ?? new Error("no socket"));
  });
  socket.onerror = () => {};
  const echo = async (text) => {
    const answer = inbox.length ? inbox.shift() : new Promise((done) => (waiting = done));
    socket.send(text);
    assert.equal(await answer, text);
    waiting = null;
  };
  return { socket, closed, echo };
}

setTimeout(() => {
  console.error("took too long");
  process.exit(1);
}, 30000).unref();

const pairs = [];
for (const kind of Object.keys(kinds)) {
  const alice = await open(kind, process.env.TOKEN);
  const bob = await open(kind, process.env.OTHER_TOKEN);
  await alice.echo("hello");
  await bob.echo("x".repeat(1 << 20));
  pairs.push({ kind, alice, bob });
}
console.log("open");
await once(process.stdin, "data");
for (const { kind, alice, bob } of pairs) {
  assert.deepEqual(await alice.closed, { code: 1008, reason: "revoked" }, kind);
  for (let number = 0; number < 20; number += 1) await bob.echo(`still here ${number}`);
  bob.socket.close(4000, "enough");
  assert.equal((await bob.closed).code, 4000, kind);
}
process.exit(0);
