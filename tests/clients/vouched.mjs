// The backend of the guide: `taken SUBJECT` or `refused` for each line of TOKENS.
// Usage: vouched.mjs MODULE, which exports whoAsks.
import { pathToFileURL } from "node:url";

const { whoAsks } = await import(pathToFileURL(process.argv[2]).href);
for (const token of process.env.TOKENS.split("\n")) {
  try {
    console.log(`taken ${await whoAsks(token)}`);
  } catch (error) {
    console.log("refused");
    console.error(`${error}`);
  }
}
