// A verdict of npm's jose on each line of stdin, {"token", "alg", "jwk"}: 1 or 0.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const jose = createRequire(process.env.PEERS).resolve('jose');
const { importJWK, jwtVerify } = await import(pathToFileURL(jose).href);
const [issuer, audience] = process.argv.slice(2);
const keys = new Map();
for await (const line of createInterface({ input: process.stdin })) {
  const { token, alg, jwk } = JSON.parse(line);
  // An imported key is for one algorithm.
  const name = alg + JSON.stringify(jwk);
  if (!keys.has(name)) keys.set(name, await importJWK(jwk, alg));
  try {
    await jwtVerify(token, keys.get(name), {
      issuer, audience, algorithms: [alg], clockTolerance: 300, requiredClaims: ['exp', 'iat'],
    });
    console.log(1);
  } catch {
    console.log(0);
  }
}
