// The small single-page app in a headless Chromium: log in, use, log out in one tab and thereby in
// the other; its token is out of script's reach, and a page of another origin cannot act for it.
// Usage: spa.mjs GATEWAY_PORT BACKEND_PORT CHROMIUM, with PEERS set.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { inChromium } from "./chromium.mjs";

const [gatewayPort, backendPort, executablePath] = process.argv.slice(2);
// A secure context without TLS, as far as Chromium is concerned.
const origin = `http://localhost:${gatewayPort}`;
const counts = async () => (await fetch(`http://127.0.0.1:${backendPort}/counts`)).json();

// Pages of others. By the name of localhost they are of the same site, by the number of another.
const evil = createServer((_, response) => {
  response.writeHead(200, { "Content-Type": "text/html" }).end("<title>evil</title>");
});
evil.listen(0, "127.0.0.1");
await once(evil, "listening");
const others = ["localhost", "127.0.0.1"].map((host) => `http://${host}:${evil.address().port}`);

const shows = (page, id, text) =>
  page.waitForFunction(
    ([id, text]) => document.getElementById(id)?.textContent === text,
    [id, text],
  );

async function logsIn(context) {
  const page = await context.newPage();
  await page.goto(`${origin}/`);
  await shows(page, "who", "nobody");
  await shows(page, "orders", "refused 401");
  await page.click("#login");
  await shows(page, "who", "alice");
  await shows(page, "orders", "a book");
  await shows(page, "socket", "says hello");
  return page;
}

async function keepsItsToken(context, page) {
  const [cookie, ...rest] = await context.cookies();
  assert.deepEqual([cookie.name, rest.length], ["__Host-portcullis", 0]);
  assert.ok(cookie.httpOnly && cookie.secure && cookie.sameSite === "Lax", JSON.stringify(cookie));
  const seen = await page.evaluate(async () => [
    document.cookie,
    JSON.stringify({ ...localStorage, ...sessionStorage }),
    JSON.stringify(await cookieStore.getAll()),
    document.documentElement.outerHTML,
    ...window.seen,
  ]);
  assert.ok(seen.length > 8, "the script saw its answers");
  for (const text of seen) assert.ok(!text.includes(cookie.value), text);
  // Neither the token nor a part of it by which it could be used.
  const signature = cookie.value.split(".")[2];
  for (const text of seen) assert.ok(!text.includes(signature), text);
  return cookie.value;
}

// Each thing that a page of another origin may try, and whether it was refused.
const attempts = {
  form: async (page, target) => {
    const answered = page.waitForResponse(target);
    await page.evaluate((target) => {
      const form = document.createElement("form");
      Object.assign(form, { method: "post", action: target });
      document.body.append(form);
      form.submit();
    }, target);
    await page.waitForURL(target);
    return (await answered).status();
  },
  post: async (page, target) => {
    const answered = page.waitForResponse(target);
    await page.evaluate((target) => {
      const options = { method: "POST", mode: "no-cors", credentials: "include", body: "a=b" };
      return fetch(target, options).then(() => 0);
    }, target);
    return (await answered).status();
  },
  read: async (page, target) => {
    const text = await page.evaluate((target) => {
      const options = { credentials: "include" };
      return fetch(target, options).then((answer) => answer.text(), () => "refused");
    }, target);
    return text === "refused" ? 403 : 200;
  },
  // What is no image shows none: whether it was refused is seen by what arrived.
  image: async (page, target) => {
    const shown = await page.evaluate(
      (target) =>
        new Promise((done) => {
          const image = new Image();
          image.onload = () => done(true);
          image.onerror = () => done(false);
          image.src = target;
        }),
      target,
    );
    return shown ? 200 : 403;
  },
  frame: async (page, target) => {
    const answered = page.waitForResponse(target);
    await page.evaluate((target) => {
      const frame = document.createElement("iframe");
      frame.src = target;
      document.body.append(frame);
    }, target);
    return (await answered).status();
  },
  socket: async (page, target) => {
    const opened = await page.evaluate(
      (target) =>
        new Promise((done) => {
          const socket = new WebSocket(target.replace("http:", "ws:"));
          socket.onopen = () => done(true);
          socket.onerror = () => done(false);
        }),
      target,
    );
    return opened ? 101 : 403;
  },
};

async function nobodyElseActs(context, app) {
  const tries = [
    ["form", "/.auth/logout"],
    ["form", "/.auth/logout-all"],
    ["form", "/api/orders"],
    ["form", "/api/login"],
    ["post", "/.auth/logout"],
    ["post", "/api/orders"],
    ["post", "/api/login"],
    ["read", "/.auth/me"],
    ["read", "/api/orders"],
    ["image", "/api/orders"],
    ["frame", "/api/orders"],
    ["socket", "/ws"],
  ];
  const [before, cookies] = [await counts(), await context.cookies()];
  for (const other of others) {
    const page = await context.newPage();
    for (const [how, path] of tries) {
      await page.goto(other);
      const status = await attempts[how](page, origin + path);
      assert.ok([401, 403].includes(status), `${other} ${how} ${path}: ${status}`);
    }
    await page.goto(other);
  }
  assert.deepEqual(await counts(), before, "nothing of it arrived");
  assert.deepEqual(await context.cookies(), cookies, "and the session is the same");
  assert.equal(await app.evaluate(async () => (await fetch("/.auth/me")).status), 200);
  // The same from our own page does arrive: it was the origin that was refused.
  const status = (path) =>
    app.evaluate(async (path) => (await fetch(path, { method: "POST" })).status, path);
  assert.equal(await status("/api/orders"), 200);
}

async function logsOutEverywhere(context, page, token) {
  const other = await context.newPage();
  await other.goto(`${origin}/`);
  await shows(other, "who", "alice");
  await shows(other, "socket", "says hello");
  const stolen = async () =>
    (await fetch(`${origin}/api/orders`, { headers: { Authorization: `Bearer ${token}` } })).status;
  assert.equal(await stolen(), 200, "a copy is as good as the cookie, until the log-out");
  await page.click("#logout");
  await shows(page, "who", "nobody");
  for (const tab of [page, other]) await shows(tab, "socket", "closed 1008 revoked");
  assert.deepEqual(await context.cookies(), []);
  assert.equal(await other.evaluate(async () => (await fetch("/api/orders")).status), 401);
  assert.equal(await stolen(), 401);
  await other.reload();
  await shows(other, "who", "nobody");
}

await inChromium(executablePath, async (context) => {
  const page = await logsIn(context);
  const token = await keepsItsToken(context, page);
  await nobodyElseActs(context, page);
  await logsOutEverywhere(context, page, token);
  assert.equal((await counts()).cookies, undefined, "the backend never saw our cookie");
});
process.exit(0);
