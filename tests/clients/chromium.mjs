// A headless Chromium with a profile of its own, for the scripts beside this one.
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const { chromium } = createRequire(process.env.PEERS)("playwright-core");

// Runs `use` with a browser context; ends the process when it takes too long.
export async function inChromium(executablePath, use) {
  setTimeout(() => {
    console.error("took too long");
    process.exit(1);
  }, 150000).unref();
  const profile = await mkdtemp(join(tmpdir(), "portcullis-chromium-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath,
    headless: true,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  context.setDefaultTimeout(60000);
  try {
    await use(context);
  } finally {
    await context.close();
    // What a process of the browser still writes as it ends, comes into a directory that is being emptied.
    await rm(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}
