// An OpenID provider (npm oidc-provider) with refresh tokens that are rotated, and the backend of an
// app whose login gets tokens there as any client does: by a code, through the provider's own pages.
// The provider's clock is two minutes behind, so that nobody has to wait for a cookie to be late.
// Prints both ports. GET /login/tokens of the app: the refresh token of its last login. GET /counts:
// what the provider granted and revoked.
import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const packages = join(dirname(process.env.PEERS), 'node_modules');
const oidc = await import(pathToFileURL(join(packages, 'oidc-provider/lib/index.js')).href);
const jose = createRequire(process.env.PEERS).resolve('jose');
const { generateKeyPair, exportJWK } = await import(pathToFileURL(jose).href);
const Provider = oidc.Provider ?? oidc.default;

const now = Date.now;
Date.now = () => now() - 120_000;

const AUDIENCE = 'https://api.example.com';
const BACK = 'https://app.example.com/back';
const ID = 'the gateway';
const SECRET = process.env.CLIENT_SECRET;

const listening = (server) =>
  new Promise((done) => server.listen(0, '127.0.0.1', () => done(server.address().port)));

const served = createServer((request, response) => callback(request, response));
const issuer = `http://127.0.0.1:${await listening(served)}`;
const { privateKey } = await generateKeyPair('ES256', { extractable: true });
const provider = new Provider(issuer, {
  jwks: { keys: [{ ...(await exportJWK(privateKey)), kid: 'one', alg: 'ES256', use: 'sig' }] },
  cookies: { keys: ['a key'] },
  clients: [{
    client_id: ID, client_secret: SECRET, redirect_uris: [BACK],
    grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
    id_token_signed_response_alg: 'ES256',
  }],
  rotateRefreshToken: true,
  issueRefreshToken: () => true,
  expiresWithSession: () => false,
  features: {
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => AUDIENCE,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: 'read', audience: AUDIENCE, accessTokenFormat: 'jwt', accessTokenTTL: 600,
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
});
const callback = provider.callback();
const counts = { refresh_token: 0, authorization_code: 0, revoked: 0 };
provider.on('grant.success', (context) => { counts[context.oidc.params.grant_type] += 1; });
provider.on('grant.revoked', () => { counts.revoked += 1; });

// The provider's pages, as a browser goes through them.
async function logIn(user) {
  const cookies = new Map();
  const visit = async (url, fields) => {
    const headers = { cookie: [...cookies].map((pair) => pair.join('=')).join('; ') };
    const body = fields && new URLSearchParams(fields);
    const method = fields ? 'POST' : 'GET';
    const answer = await fetch(url, { method, headers, body, redirect: 'manual' });
    for (const line of answer.headers.getSetCookie()) {
      const [pair] = line.split(';');
      const at = pair.indexOf('=');
      cookies.set(pair.slice(0, at), pair.slice(at + 1));
    }
    const to = answer.headers.get('location');
    if (!to) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
    return new URL(to, issuer).href;
  };
  const verifier = randomBytes(32).toString('base64url');
  const asked = new URLSearchParams({
    client_id: ID, response_type: 'code', scope: 'read', redirect_uri: BACK,
    code_challenge_method: 'S256',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
  });
  const prompts = ['login', 'consent'];
  let at = await visit(`${issuer}/auth?${asked}`);
  while (!at.startsWith(BACK)) {
    const form = { prompt: prompts[0], login: user, password: 'any' };
    at = await visit(at, at.includes('/interaction/') ? (prompts.shift(), form) : undefined);
  }
  const answer = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa(`${encodeURIComponent(ID)}:${encodeURIComponent(SECRET)}`)}` },
    body: new URLSearchParams({
      grant_type: 'authorization_code', code: new URL(at).searchParams.get('code'),
      redirect_uri: BACK, code_verifier: verifier,
    }),
  });
  if (answer.status !== 200) throw new Error(await answer.text());
  return answer.json();
}

let last;
const app = createServer(async (request, response) => {
  let said;
  if (request.url === '/login') {
    last = await logIn('alice');
    said = last;
  } else if (request.url === '/login/tokens') {
    said = last;
  } else if (request.url === '/counts') {
    said = counts;
  } else {
    said = { authorization: request.headers.authorization ?? null };
  }
  response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(said));
});
console.log(`${new URL(issuer).port} ${await listening(app)}`);
