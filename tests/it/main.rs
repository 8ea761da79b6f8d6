//! The gateway from outside: a real process with a real config file, spoken to over real sockets.
//! One binary, a module for each capability. Nothing here reaches into the crate.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

// The parts that every module builds its scene from.
mod support;

// What form and signature a token must have to pass, and each way in which it may not.
mod tokens;
// What its claims must say, in general and for a route.
mod claims;
// Where a token may come from, and what becomes of it on the way to the backend.
mod credentials;
// What another site makes a browser send.
mod cross_site;
// Keys that are fetched, and what their server may do to us.
mod key_sources;
// When, what it may say about that, and whom it must be.
mod key_servers;
// Rotation, by a provider that nobody here wrote.
mod rotation;
// The same over HTTPS, by another, which dies and comes back in the middle of it.
mod provider_outages;
// Shared secrets: changed, taken away, denied, bound to a client.
mod secrets;
// Floods of bad tokens, and what they may cost.
mod floods;
// Thousands of spoilt tokens before three verifiers.
mod differential;
// What the gateway answers itself: me, log out, the verdict for another proxy.
mod auth_endpoints;
// What the gateway signs for its backends.
mod assertions;
// A server vouched for to the next one.
mod token_exchange;
// The same in a real browser.
mod browser;
// A login whose tokens become cookies, and the session that they are.
mod capture;
// The record of such a session, and every way to end it.
mod browser_sessions;
// What a log-out takes along, and new keys and attributes of cookies.
mod session_ends;
// Ended by an operator, one by one.
mod session_operators;
// Dead cookies, and the way of a page to its login.
mod dead_cookies;
// The session's next token: once, for everybody who waits, and for nobody who is denied.
mod renewal;
// What the issuer may answer to that, and what it may not.
mod renewal_faults;
// Who tries what with refresh cookies.
mod renewal_attacks;
// Renewal and revocation at a provider that nobody here wrote.
mod provider_renewal;
// The same in allowlist mode, over HTTP/2, by a clock that is ahead.
mod renewal_places;
// What is open when a session is renewed.
mod renewal_streams;
// Each selector with each condition, beside a neighbour that still passes.
mod denials;
// Issuers of which only registered sessions and tokens pass.
mod allowlist;
// Revoke, block and undo as people use them.
mod acts;
// Batch, export and import through the command line.
mod exchange;
// What happens at the same time.
mod races;
// kill -9 in the middle of a stream of denials.
mod durability;

// HTTP/1.1 in both directions: connections, bodies, trailers.
mod proxying;
// What is idle.
mod resting;
// Bodies that nobody reads to their end.
mod unread_bodies;
// TLS towards clients.
mod tls;
// Its chains, kinds of certificates, and tickets.
mod tls_chains;
// Whose connection a proxy in front passes on.
mod proxy_protocol;
// Addresses of the newer kind, on both sides.
mod ipv6;
// More clients than there is room for.
mod overload;
// The client that proxies in front name, the same everywhere.
mod client_address;
// HTTP/2 towards clients.
mod http2;
// Bodies of its requests.
mod http2_bodies;
// Its frames as no library writes them.
mod http2_frames;
// Floods of them.
mod http2_floods;
// Streams that are begun and given up.
mod http2_resets;
// Windows, and who opens none.
mod http2_windows;
// WebSockets as streams of it.
mod http2_websocket;
// gRPC calls.
mod grpc;
// WebSocket handshakes.
mod upgrades;
// Tokens among their subprotocols.
mod subprotocols;
// Other protocols than that, where a route names them.
mod other_upgrades;
// The relay of their bytes, and how each of its sides ends.
mod tunnels;
// What is open when a token stops to count.
mod streams;
// New tokens for it.
mod stream_reauth;
// What a route says of its streams, and every way to name them in a denial.
mod stream_rules;
// Those of nobody in particular.
mod stream_anonymous;
// While the gateway ends.
mod stream_drain;
// As programs see it that nobody here wrote.
mod stream_clients;
// A denial or a reload at the same moment.
mod stream_races;
// Uploads beside an answer.
mod stream_uploads;
// One side breaks off.
mod faults;
// The same towards servers and clients that keep to nothing.
mod server_faults;
// What the log says of them.
mod server_reasons;
// Several servers: who gets a request, who may wait.
mod balancing;
// Servers by name.
mod upstream_names;
// Requests that are sent once more, and those that never are.
mod retries;
// Servers that are asked whether they are well.
mod health;
// TLS to servers: whom the gateway believes.
mod upstream_h2;
mod upstream_tls;
// What a route asks of a good token beyond being good.
mod requirements;
// Which route a request gets, and routes that answer by themselves.
mod routing;
// What a route changes on the way: path and headers.
mod rewriting;
// Pages of other origins.
mod cors;
// How much and how long: bodies, answers, requests in flight.
mod limits;
// Each of them found in the metrics.
mod limit_counters;
// What a request costs the kernel.
mod system_calls;
// One path, one reading.
mod paths;
// Ways around a rule that somebody tried.
mod attacks;
// What the backend is told about client and user, and what no client can make it believe.
mod headers;
// Messages whose end two parsers could see in two places.
mod framing;
// The seeds of the fuzz targets, and what they once found.
mod fuzz;

// The admin API: who may do what.
mod admin;
// The admin API as it describes itself.
mod openapi;
// The access log; a token is nowhere to be found in anything that is written.
mod logs;
// What Prometheus scrapes.
mod metrics;
// What it tells of connections, clocks, denials and the admin API.
mod figures;
// Spans for a collector.
mod traces;
// SIGTERM.
mod drain;
// What load balancers are told at the public listeners.
mod readiness;
// Another process in the place of this one.
mod replacement;
// Both, and reload, while everybody asks.
mod under_load;
// Under a service manager.
mod systemd;
// Another config while it runs.
mod reload;
// The config file, by way of the running program.
mod config;
// The command line.
mod cli;
// The command line on a terminal.
mod terminal;
// Very many at once, and tools that are killed.
mod many;
// What a reload would say.
mod config_check;
// Requests that race a reload.
mod swap_races;

// Programs that nobody here wrote, as clients and backends.
mod clients;
// The guides, followed by copy and paste.
mod guides;
// Other proxies that ask the gateway for its verdict.
mod forward_auth;
// Which part of the source tree may know which other.
mod architecture;
