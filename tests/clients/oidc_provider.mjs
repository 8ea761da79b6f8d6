// An OpenID provider (npm oidc-provider) that issues JWT access tokens to a client of its own, and
// whose keys are rotated by POST /drill/KEYS: names of keys, the first of which signs.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const packages = join(dirname(process.env.PEERS), 'node_modules');
const load = (file) => import(pathToFileURL(join(packages, file)).href);
const oidc = await load('oidc-provider/lib/index.js');
const Provider = oidc.Provider ?? oidc.default;
const jose = createRequire(process.env.PEERS).resolve('jose');
const { generateKeyPair, exportJWK } = await import(pathToFileURL(jose).href);

const AUDIENCE = 'https://api.example.com';
const keys = {};
for (const kid of ['one', 'two']) {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  keys[kid] = { ...(await exportJWK(privateKey)), kid, alg: 'ES256', use: 'sig' };
}

let issuer;
let callback;
const publish = (names) => {
  const provider = new Provider(issuer, {
    jwks: { keys: names.map((name) => keys[name]) },
    cookies: { keys: ['drill'] },
    clients: [{
      client_id: 'drill', client_secret: 'a secret of the drill',
      grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
      id_token_signed_response_alg: 'ES256',
    }],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => AUDIENCE,
        getResourceServerInfo: () => ({
          scope: 'read', audience: AUDIENCE, accessTokenFormat: 'jwt', accessTokenTTL: 600,
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
  });
  callback = provider.callback();
};

const server = createServer((request, response) => {
  if (request.url.startsWith('/drill/')) {
    publish(request.url.slice('/drill/'.length).split('+'));
    response.end('done');
    return;
  }
  callback(request, response);
});
server.listen(0, '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  publish(['one']);
  console.log(server.address().port);
});
