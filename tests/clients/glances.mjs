// Glances' own page through the gateway in a headless Chromium: log in, look, log out; a copy of the
// token is refused from then on, though Glances itself would still take it.
// Usage: glances.mjs GATEWAY_PORT GLANCES_PORT CHROMIUM, with PEERS set.
import assert from "node:assert/strict";
import { inChromium } from "./chromium.mjs";

const [gatewayPort, glancesPort, executablePath] = process.argv.slice(2);
const origin = `http://localhost:${gatewayPort}`;
const status = async (base, token) =>
  (await fetch(`${base}/api/4/core`, { headers: { Authorization: `Bearer ${token}` } })).status;

async function logIn(page, password) {
  await page.fill("[name=username]", "alice");
  await page.fill("[name=password]", password);
  const answered = page.waitForResponse(`${origin}/api/4/token`);
  await page.click("button");
  return (await answered).status();
}

await inChromium(executablePath, async (context) => {
  const page = await context.newPage();
  const asked = [];
  page.on("response", (response) => asked.push([response.url(), response.status()]));
  page.on("request", (request) => assert.equal(request.headers().authorization, undefined));
  await page.goto(`${origin}/`);
  assert.equal(page.url(), `${origin}/login?return_to=/`);
  assert.equal(await logIn(page, "wrong"), 401);
  assert.deepEqual(await context.cookies(), []);
  assert.equal(await logIn(page, "correct horse"), 200);
  await page.waitForURL(`${origin}/`);
  // Its page draws what its API said.
  await page.waitForFunction(() => /CPU/.test(document.body.innerText));
  const api = asked.filter(([url]) => url.includes("/api/4/all"));
  assert.ok(api.length > 0 && api.every(([, status]) => status === 200), JSON.stringify(asked));
  const me = await page.evaluate(async () => (await fetch("/.auth/me")).json());
  assert.equal(me.subject, "alice");
  const [{ value: token }] = await context.cookies();
  const script = await page.evaluate(() => document.cookie + JSON.stringify({ ...localStorage }));
  assert.ok(!script.includes(token), script);
  assert.equal(await status(origin, token), 200);
  assert.equal(
    await page.evaluate(async () => (await fetch("/.auth/logout", { method: "POST" })).status),
    200,
  );
  assert.equal(await status(origin, token), 401, "the stolen copy");
  assert.equal(await status(`http://127.0.0.1:${glancesPort}`, token), 200, "without the gateway");
  await page.goto(`${origin}/`);
  assert.equal(page.url(), `${origin}/login?return_to=/`);
  // And in again.
  assert.equal(await logIn(page, "correct horse"), 200);
  await page.waitForURL(`${origin}/`);
});
process.exit(0);
