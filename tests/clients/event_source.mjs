// EventSource of a headless Chromium, by the session's cookie; the parent denies the user.
// Usage: event_source.mjs ORIGIN CHROMIUM, with TOKEN and PEERS set. Prints `open` when the first
// event is there, waits for a line, and sees the stream end and the repetition refused for good.
import assert from "node:assert/strict";
import { once } from "node:events";
import { inChromium } from "./chromium.mjs";

const [origin, executablePath] = process.argv.slice(2);

await inChromium(executablePath, async (context) => {
  await context.addCookies([{ name: "session", value: process.env.TOKEN, url: origin }]);
  const page = await context.newPage();
  assert.equal((await page.goto(`${origin}/page`)).status(), 200);
  await page.evaluate(() => {
    window.seen = { opened: 0, messages: [], last: [], errors: [] };
    const source = new EventSource("/events");
    source.onopen = () => (window.seen.opened += 1);
    source.onmessage = ({ data }) => window.seen.messages.push(data);
    source.addEventListener("portcullis", ({ data }) => window.seen.last.push(data));
    source.onerror = () => window.seen.errors.push(source.readyState);
  });
  await page.waitForFunction(() => window.seen.messages.length > 0);
  console.log("open");
  await once(process.stdin, "data");
  // It asks again by itself after the end, and stops for good (CLOSED) at the 401.
  await page.waitForFunction(() => window.seen.errors.includes(EventSource.CLOSED), null, {
    timeout: 60000,
  });
  const seen = await page.evaluate(() => window.seen);
  assert.deepEqual(seen.messages, ["1"]);
  assert.deepEqual(seen.last, ['{"code":"token_revoked"}']);
  assert.equal(seen.opened, 1);
});
process.exit(0);
