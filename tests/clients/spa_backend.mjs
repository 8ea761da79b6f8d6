// A small single-page app and its API, as many are: the login answers with a JWT as JSON, everything
// else wants it as a bearer token. It knows of no cookie and of no gateway. With LIFE its tokens live so
// many seconds, and there is a refresh token that gets the next ones, once. Prints its port.
import { createServer } from "node:http";
import { randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(process.env.PEERS);
const { SignJWT, jwtVerify } = await import(pathToFileURL(require.resolve("jose")).href);
const { WebSocketServer } = require("ws");

const key = new TextEncoder().encode(process.env.SECRET);
const names = { issuer: "https://id.example.com/", audience: "https://api.example.com" };

const page = `<!doctype html><title>shop</title>
<p id="who"></p><p id="orders"></p><p id="socket"></p>
<button id="login">Log in</button><button id="logout">Log out</button>
<script src="/app.js"></script>`;

// What runs in the browser. It keeps no token, for it never gets one.
const script = `
// All that a script can get to see of the answers.
window.seen = [];
async function call(path, options) {
  const answer = await fetch(path, options);
  const text = await answer.text();
  window.seen.push(text, JSON.stringify([...answer.headers]));
  return { status: answer.status, body: JSON.parse(text || "null") };
}
const show = (id, text) => (document.getElementById(id).textContent = text);
async function refresh() {
  const me = await call("/.auth/me");
  show("who", me.status === 200 ? me.body.subject : "nobody");
  const orders = await call("/api/orders");
  show("orders", orders.status === 200 ? orders.body.orders.join() : "refused " + orders.status);
}
function connect() {
  const socket = (window.socket = new WebSocket("/ws"));
  socket.onopen = () => socket.send("hello");
  socket.onmessage = ({ data }) => show("socket", "says " + data);
  socket.onclose = ({ code, reason }) => show("socket", "closed " + code + " " + reason);
}
document.getElementById("login").onclick = async () => {
  const body = JSON.stringify({ user: "alice", password: "correct" });
  const headers = { "Content-Type": "application/json" };
  await call("/api/login", { method: "POST", headers, body });
  await refresh();
  connect();
};
document.getElementById("logout").onclick = async () => {
  await call("/.auth/logout", { method: "POST" });
  await refresh();
};
refresh().then(() => document.getElementById("who").textContent !== "nobody" && connect());
`;

const counts = {};
const life = Number(process.env.LIFE ?? 0);
const refreshTokens = new Map();

async function tokensFor(user, session) {
  const token = new SignJWT({ sid: session })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setIssuer(names.issuer)
    .setAudience(names.audience)
    .setSubject(user)
    .setJti(randomUUID())
    .setIssuedAt()
    .setExpirationTime(life ? `${life}s` : "1h");
  const said = { access_token: await token.sign(key), user };
  if (life) {
    said.refresh_token = randomUUID();
    refreshTokens.set(said.refresh_token, [user, session]);
  }
  return [200, "application/json", JSON.stringify(said)];
}

async function person(request) {
  const [scheme, token] = (request.headers.authorization ?? "").split(" ");
  if (scheme !== "Bearer") return null;
  const { payload } = await jwtVerify(token, key, names).catch(() => ({ payload: {} }));
  return payload.sub ?? null;
}

async function body(request) {
  let text = "";
  for await (const part of request) text += part;
  return text;
}

async function answer(request) {
  const what = `${request.method} ${request.url}`;
  if (request.url === "/counts") return [200, "application/json", JSON.stringify(counts)];
  // A browser asks for the icon of whatever page it shows.
  if (request.url === "/favicon.ico") return [404, "text/plain", ""];
  counts[what] = (counts[what] ?? 0) + 1;
  if (request.headers.cookie) counts.cookies = (counts.cookies ?? 0) + 1;
  if (what === "GET /") return [200, "text/html", page];
  if (what === "GET /app.js") return [200, "text/javascript", script];
  if (what === "POST /api/login") {
    const { user, password } = JSON.parse((await body(request)) || "{}");
    if (password !== "correct") return [401, "application/json", "{}"];
    return tokensFor(user, randomUUID());
  }
  if (what === "POST /api/refresh") {
    const { refresh_token: brought } = JSON.parse((await body(request)) || "{}");
    const known = refreshTokens.get(brought);
    refreshTokens.delete(brought);
    return known ? tokensFor(...known) : [401, "application/json", "{}"];
  }
  const user = await person(request);
  if (!user) return [401, "application/json", "{}"];
  return [200, "application/json", JSON.stringify({ orders: ["a book"], user })];
}

const server = createServer(async (request, response) => {
  const [status, type, text] = await answer(request);
  response.writeHead(status, { "Content-Type": type }).end(text);
});
const sockets = new WebSocketServer({ noServer: true });
server.on("upgrade", async (request, socket, head) => {
  counts.sockets = (counts.sockets ?? 0) + 1;
  if (!(await person(request))) return socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n");
  sockets.handleUpgrade(request, socket, head, (opened) => {
    opened.on("message", (data) => opened.send(String(data)));
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
