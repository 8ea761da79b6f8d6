// The small single-page app in a headless Chromium, whose tokens live for seconds: it is used across
// renewals and never notices one. Usage: spa_renewal.mjs GATEWAY_PORT BACKEND_PORT CHROMIUM, with PEERS
// set, and LEEWAY: how many seconds after a token's end the gateway still takes it.
import assert from "node:assert/strict";
import { inChromium } from "./chromium.mjs";

const [gatewayPort, backendPort, executablePath] = process.argv.slice(2);
const origin = `http://localhost:${gatewayPort}`;
const leeway = Number(process.env.LEEWAY);
const counts = async () => (await fetch(`http://127.0.0.1:${backendPort}/counts`)).json();

const shows = (page, id, text) =>
  page.waitForFunction(
    ([id, text]) => document.getElementById(id)?.textContent === text,
    [id, text],
  );

const claims = (token) => JSON.parse(Buffer.from(token.split(".")[1], "base64url"));

await inChromium(executablePath, async (context) => {
  const page = await context.newPage();
  await page.goto(`${origin}/`);
  await shows(page, "who", "nobody");
  await page.click("#login");
  await shows(page, "socket", "says hello");

  const refused = [];
  page.on("response", (answer) => answer.ok() || refused.push(`${answer.status()} ${answer.url()}`));
  await page.evaluate(() => (window.marked = true));
  const held = async () => {
    const cookies = await context.cookies();
    assert.ok(cookies.every(({ httpOnly, secure }) => httpOnly && secure), JSON.stringify(cookies));
    return Object.fromEntries(cookies.map(({ name, value }) => [name, value]));
  };
  // Somebody uses the app until it is so.
  const usedUntil = async (holds) => {
    do {
      await page.evaluate(() => refresh());
      await page.waitForTimeout(100);
    } while (!(await holds()));
  };

  // The socket stands on this token, or on an earlier one.
  const first = await held();
  const ends = claims(first["__Host-portcullis"]).exp + leeway;
  let next;
  await usedUntil(async () => {
    next = await held();
    return next["__Host-portcullis"] && next["__Host-portcullis"] !== first["__Host-portcullis"];
  });
  assert.notEqual(next["__Host-portcullis-refresh"], first["__Host-portcullis-refresh"]);
  assert.equal(claims(next["__Host-portcullis"]).sid, claims(first["__Host-portcullis"]).sid);
  await usedUntil(async () => Date.now() / 1000 > ends + 1);

  await page.evaluate(() => window.socket.send("still here"));
  await shows(page, "socket", "says still here");
  await shows(page, "who", "alice");
  await shows(page, "orders", "a book");
  assert.deepEqual(refused, [], "nothing was refused");
  assert.ok(await page.evaluate(() => window.marked), "the page was not loaded again");
  const seen = await counts();
  assert.equal(seen.sockets, 1, "nor the socket opened again");
  assert.ok(seen["POST /api/refresh"] >= 1, JSON.stringify(seen));
  assert.equal(seen.cookies, undefined, "the backend never saw our cookie");
  // What the scripts saw holds no token.
  const texts = await page.evaluate(() => [document.cookie, ...window.seen]);
  const tokens = Object.values({ ...first, ...next, ...(await held()) });
  for (const text of texts) for (const token of tokens) assert.ok(!text.includes(token), text);

  await page.click("#logout");
  // The socket may be closed before the answer that takes the cookies away is there.
  await shows(page, "who", "nobody");
  await shows(page, "socket", "closed 1008 revoked");
  assert.deepEqual(await context.cookies(), []);
});
process.exit(0);
