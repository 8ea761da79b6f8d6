//! The first help page. Written out rather than generated, so that the commands stand in the order
//! of need; a test holds it to the commands that exist.

/// `portcullis --help`.
pub const TOP: &str = "\
Portcullis: a gateway that can drop any token at once

Usage: portcullis [OPTIONS] <COMMAND>

Start
  demo      Try it in a minute: gateway, backend, issuer and tokens, nothing to set up
  init      Write a gateway.toml from a sample token
  check     Check the config, show the route table; start nothing
  run       Start the gateway
  reload    Let the running gateway read its config again

Stop access
  revoke    End tokens and sessions that exist now; their owner can log in again
  block     Keep a user, session, client or key out until unblocked, or --for 24h
  undo      Take a revocation or a block back
  unblock   Take blocks of somebody back, and nothing else
  denials   What is in force: list, search, export, import; deny many at once
  streams   Open WebSockets, event streams, gRPC: list, cut one
  sessions  Where somebody is logged in, by logins that the gateway captured; end one
  registrations  What passes of issuers in allowlist mode: list, add, remove

Find out
  explain   Why a token passes or fails, check by check
  audit     Who denied and took back what, when and why
  events    Watch verdicts and changes as they happen
  status    Is everything all right: store, issuers, keys, upstreams
  keys      Keys of the issuers: what is in force; fetch them now
  store     The store's file while no gateway runs: check, repair, export
  token     Decode a token; mint one for tests
  health    Exit 0 when the gateway is ready, else 1: for container health checks

Options
  -c, --config <FILE>   Config file, or the directory of a gateway.toml [env: PORTCULLIS_CONFIG]
                        [default: gateway.toml]
      --admin <ADDR>    Admin API: URL or unix socket [env: PORTCULLIS_ADMIN]
                        [default: from the config]
      --json            Machine-readable output, one JSON document or one object a line
  -q, --quiet           Say nothing that the exit code already says
      --color <WHEN>    auto, always, never [env: NO_COLOR]
  -h, --help            This text; `portcullis <command> --help` has examples
  -V, --version         Print the version

The admin credential comes from PORTCULLIS_ADMIN_TOKEN, else from the file that the gateway made at
its first start. A unix socket needs none.

Exit codes: 0 done · 1 refused or failed · 2 done in part (see text) · 64 usage
            69 gateway not reachable · 78 config
";

pub const DEMO: &str = "\
Examples:
  portcullis demo
  portcullis demo --once

The sample backend, its login and its tokens are for trying only, on 127.0.0.1.";

pub const INIT: &str = "\
Examples:
  portcullis init < token.jwt > gateway.toml
  portcullis init token.jwt

The token is read, not verified, and not kept.";

pub const CHECK: &str = "\
Examples:
  portcullis check
  portcullis check -c /etc/portcullis
  portcullis check --url https://app.example.com/api/orders
  portcullis check --url /api/orders --method POST --header 'X-Version: 2'
  portcullis check --json

Exit code 78: the config has mistakes. All of them are shown.";

pub const RUN: &str = "\
Examples:
  portcullis run
  portcullis run -c /etc/portcullis/gateway.toml
  portcullis run --upstream http://127.0.0.1:3000 --issuer https://id.example.com/ \\
      --audience https://api.example.com --jwks-file issuer.jwks.json

SIGTERM or Ctrl+C: finishes what is in flight, then stops. SIGHUP: reads the config again.";

pub const RELOAD: &str = "\
Examples:
  portcullis reload
  portcullis check && portcullis reload

All or nothing: with a mistake in it nothing changes, and exit code 78. Exit code 2: in force but
for what needs a restart. The gateway also reads its files when they change, and at SIGHUP.";

pub const REVOKE: &str = "\
Examples:
  portcullis revoke --user alice --reason \"lost laptop\"
  portcullis revoke --user alice --except-session s-81f3 --reason \"password changed\"
  portcullis revoke --token-file leaked.jwt
  portcullis revoke --token-file - < leaked.jwt
  portcullis revoke --session s-81f3
  portcullis revoke --everyone --issuer main --dry-run

What exists now ends at once; a token issued afterwards passes. To keep someone out, use `block`.";

pub const BLOCK: &str = "\
Examples:
  portcullis block --user mallory --reason \"card fraud, INC-4711\"
  portcullis block --user alice --for 24h
  portcullis block --key 2026-01 --issuer main --reason \"key leaked\"
  portcullis block --claim tenant=acme

Also tokens issued later are refused. To end only what exists now, use `revoke`.";

pub const UNDO: &str = "\
Examples:
  portcullis undo dn_0e5n6c2kt3v9g4aw
  portcullis undo dn_0e5n --reason \"false alarm\"
  portcullis undo --last
  portcullis undo --user alice --dry-run
  portcullis unblock --user alice         (her blocks only; what was revoked stays so)";

pub const EVENTS: &str = "\
Examples:
  portcullis events
  portcullis events --changes --after 18231
  portcullis events --json | grep refused";

pub const DENIALS: &str = "\
Examples:
  portcullis denials
  portcullis denials dn_0e5n6c2kt3v9g4aw
  portcullis denials --user alice --undone
  portcullis denials --by shop-backend --since 2026-11-20T00:00:00Z
  portcullis denials export denials.ndjson
  portcullis denials batch breach.ndjson";

pub const REGISTRATIONS: &str = "\
Examples:
  portcullis registrations
  portcullis registrations add --session s-81f3 --for 12h
  portcullis registrations remove dn_0e5n6c2kt3v9g4aw

Of an issuer with mode = \"allowlist\" only registered sessions and tokens pass.";

pub const REGISTER: &str = "\
Examples:
  portcullis registrations add --session s-81f3 --for 12h
  portcullis registrations add --token-file token.jwt --reason \"service account\"";

pub const UNREGISTER: &str = "\
Examples:
  portcullis registrations remove dn_0e5n6c2kt3v9g4aw --reason \"device lost\"";

pub const BATCH: &str = "\
Examples:
  portcullis denials batch breach.ndjson
  jq -c '{user: .id, issued_before: \"now\", reason: \"breach\"}' users.ndjson |
    portcullis denials batch -

Exit code 2: some lines failed; the others are in force.";

pub const EXPORT: &str = "\
Examples:
  portcullis denials export denials.ndjson
  portcullis denials export - | gzip > denials.ndjson.gz";

pub const IMPORT: &str = "\
Examples:
  portcullis denials import denials.ndjson
  portcullis denials export - | portcullis denials import - --admin http://127.0.0.1:9901

Nothing is replaced or taken away; the same file may come again. Exit code 2: not all of it was taken.";

pub const SESSIONS: &str = "\
Examples:
  portcullis sessions --user alice
  portcullis sessions end se_3q2-7wAB0c5kQv9xTz1uYg8hJmE --reason \"lost laptop\"

Sessions that began with a login on a route with `capture`. Of others: portcullis streams.";

pub const SESSIONS_END: &str = "\
Examples:
  portcullis sessions end se_3q2-7wAB0c5kQv9xTz1uYg8hJmE --reason \"lost laptop\"

What it has open ends at once. All sessions of somebody: portcullis revoke --user ID";

pub const STREAMS: &str = "\
Examples:
  portcullis streams
  portcullis streams --user alice
  portcullis streams --kind sse --all --json
  portcullis streams cut st_0c4kq7t2m9xa

To end all streams of somebody and keep them ended, revoke or block.";

pub const STREAMS_CUT: &str = "\
Examples:
  portcullis streams cut st_0c4kq7t2m9xa

The client may open it again with the same token.";

pub const AUDIT: &str = "\
Examples:
  portcullis audit
  portcullis audit --by dana --since 24h
  portcullis audit --user alice
  portcullis audit --all --json > audit.ndjson";

pub const EXPLAIN: &str = "\
Examples:
  portcullis explain < token.jwt
  portcullis explain --url https://app.example.com/api/orders --token-file token.jwt
  portcullis explain --request 01JD8Y4KZ3

Exit code 0: the token passes; 1: it is refused.";

pub const STATUS: &str = "\
Examples:
  portcullis status
  portcullis status --json
  portcullis status --admin unix:/var/lib/portcullis/admin.sock

Exit code 2: something is not all right; it is said first.";

pub const KEYS: &str = "\
Examples:
  portcullis keys
  portcullis keys --issuer main --json
  portcullis keys refresh --issuer main

A key that leaked is denied first: portcullis block --key KID --reason \"leaked\".
Exit code 2: some issuer has no key, or its last fetch failed.";

pub const STORE: &str = "\
Examples:
  portcullis store check
  portcullis store repair --store /var/lib/portcullis
  portcullis store export > denials.ndjson

The gateway must be stopped: while it runs, the file is its own. `repair` replaces the file only
when the new one is complete, and leaves the old one beside it.

Exit code 1: the file is damaged (check), or cannot be used; 2: not everything could be read.";

pub const HEALTH: &str = "\
Examples:
  portcullis health
  HEALTHCHECK CMD [\"portcullis\", \"health\", \"-q\"]

Asks /readyz of the admin listener; needs no credential.";

pub const TOKEN: &str = "\
Examples:
  portcullis token decode < token.jwt
  portcullis token key --out issuer.pem > issuer.jwks.json
  portcullis token mint --key issuer.pem --issuer https://id.test/ --audience api --user alice";

pub const TOKEN_DECODE: &str = "\
Examples:
  portcullis token decode < token.jwt
  portcullis token decode token.jwt --json";

pub const TOKEN_MINT: &str = "\
Examples:
  portcullis token mint --key issuer.pem --issuer https://id.test/ --audience api --user alice
  portcullis token mint --secret-env JWT_SECRET --user alice --claim roles='[\"admin\"]'
  portcullis token mint --key issuer.pem --like old.jwt --header | curl -H @- http://127.0.0.1:8080/";

pub const TOKEN_KEY: &str = "\
Examples:
  portcullis token key --out issuer.pem > issuer.jwks.json

Then in gateway.toml: keys = { jwks_file = \"issuer.jwks.json\" }";
