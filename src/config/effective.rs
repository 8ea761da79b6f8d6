//! The configuration in force, for `GET /v1/config`: defaults filled in, every secret masked by
//! never being there.

use serde_json::{Value, json};

use super::value::{show_duration, show_size};
use super::{Assertion, Listen, Loaded, Role, report_json};

/// What the report of `check` says, and the settings of the process.
pub fn effective(loaded: &Loaded) -> Value {
    let config = &loaded.config;
    let (server, limits) = (&config.server, &config.server.limits);
    let mut whole = report_json(loaded);
    let Some(members) = whole.as_object_mut() else { return whole };
    members.remove("valid");
    members.remove("notes");
    members.insert(
        "server".to_owned(),
        json!({
            "listen": server.listen.iter().map(Listen::shown).collect::<Vec<_>>(),
            "trusted_proxies": server.trusted_proxies.shown(),
            "threads": server.threads,
            "watch": server.watch,
            "ready_path": server.ready_path,
            "drain_delay": show_duration(server.drain_delay),
            "drain_timeout": show_duration(server.drain_timeout),
            "signature_cache": show_size(server.signature_cache_bytes),
            "reveal_reason": server.reveal_reason,
            "limits": {
                "header_count_max": limits.header_count_max,
                "header_bytes_max": limits.header_bytes_max,
                "header_timeout": show_duration(limits.header_timeout),
                "idle_timeout": show_duration(limits.idle_timeout),
                "body_rate_min": show_size(limits.body_pace.map_or(0, |pace| pace.bytes_per_second)),
                "memory_max": show_size(limits.memory_max),
                "connections_max": limits.connections_max,
                "connections_per_address": limits.connections_per_address,
                "token_bytes_max": limits.token_bytes_max,
            },
        }),
    );
    let tokens = config.admin.tokens.iter().map(|token| {
        json!({
            "name": token.name,
            "role": role(token.role),
            "secret": "…",
            "issuers": token.issuers,
        })
    });
    members.insert("admin_tokens".to_owned(), tokens.collect());
    members.insert("assertion".to_owned(), json!(config.assertion.as_ref().map(assertion)));
    members.insert(
        "files".to_owned(),
        loaded.notes.named.iter().map(|path| path.display().to_string()).collect(),
    );
    whole
}

fn assertion(assertion: &Assertion) -> Value {
    let clients = assertion.clients.iter().map(|client| {
        json!({
            "name": client.name,
            "secret": "…",
            "audience": client.audience,
            "may_call": client.may_call,
            "lifetime": show_duration(client.lifetime),
        })
    });
    json!({
        "issuer": assertion.issuer,
        "algorithm": assertion.rota.algorithm.as_str(),
        "rotate": show_duration(assertion.rota.every),
        "clients": clients.collect::<Vec<_>>(),
    })
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Revoker => "revoker",
        Role::Operator => "operator",
        Role::Admin => "admin",
    }
}
