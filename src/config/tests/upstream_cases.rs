//! Mistakes of `[[upstream]]`, each with the text that is right.

use super::super::Code;
use super::cases::{Case, case};

const SERVERS: &str = "servers = [\"http://127.0.0.1:3000\"]";

pub(super) const UPSTREAMS: &[Case] = &[
    case(
        Code::OutOfRange,
        SERVERS,
        "servers = [\"http://a\"]\nhealth = { path = \"/\", healthy = 0 }",
        "servers = [\"http://a\"]\nhealth = { path = \"/\", healthy = 1 }",
    ),
    case(
        Code::BadHashKey,
        SERVERS,
        "servers = [\"http://a\"]\nbalance = \"hash\"\nhash = \"cookie:a\"",
        "servers = [\"http://a\"]\nbalance = \"hash\"\nhash = \"header:X-Tenant\"",
    ),
    case(
        Code::BadClaim,
        SERVERS,
        "servers = [\"http://a\"]\nbalance = \"hash\"\nhash = \"claim:\"",
        "servers = [\"http://a\"]\nbalance = \"hash\"\nhash = \"claim:sub\"",
    ),
    case(
        Code::MissingKey,
        SERVERS,
        "servers = [\"http://a\"]\nbalance = \"hash\"",
        "servers = [\"http://a\"]\nbalance = \"round_robin\"",
    ),
    case(
        Code::NoEffect,
        SERVERS,
        "servers = [\"http://a\"]\nhash = \"address\"",
        "servers = [\"http://a\"]\nbalance = \"hash\"\nhash = \"address\"",
    ),
    case(
        Code::BadChoice,
        SERVERS,
        "servers = [\"http://a\"]\nbalance = \"least_conn\"",
        "servers = [\"http://a\"]\nbalance = \"least_request\"",
    ),
    case(
        Code::OnlyBackups,
        SERVERS,
        "servers = [{ url = \"http://a\", backup = true }]",
        "servers = [\"http://b\", { url = \"http://a\", backup = true }]",
    ),
    case(
        Code::Duplicate,
        SERVERS,
        "servers = [\"http://a\", { url = \"http://A:80\", weight = 2 }]",
        "servers = [\"http://a\", { url = \"http://A:81\", weight = 2 }]",
    ),
    case(
        Code::MissingKey,
        SERVERS,
        "servers = [{ weight = 2 }]",
        "servers = [{ url = \"http://a\", weight = 2 }]",
    ),
    case(
        Code::OutOfRange,
        SERVERS,
        "servers = [{ url = \"http://a\", weight = 0 }]",
        "servers = [{ url = \"http://a\", weight = 1 }]",
    ),
    case(Code::WrongType, SERVERS, "servers = [7]", "servers = [\"http://a\"]"),
    case(
        Code::NoEffect,
        SERVERS,
        "servers = [\"http://a\"]\nqueue = { size = 10 }",
        "servers = [\"http://a\"]\nmax_connections = 5\nqueue = { size = 10 }",
    ),
    case(
        Code::OutOfRange,
        SERVERS,
        "servers = [\"http://a\"]\nretry = { status = [404] }",
        "servers = [\"http://a\"]\nretry = { status = [503] }",
    ),
    case(
        Code::OutOfRange,
        SERVERS,
        "servers = [\"http://a\"]\nejection = { time = \"10m\", time_max = \"5m\" }",
        "servers = [\"http://a\"]\nejection = { time = \"5m\", time_max = \"10m\" }",
    ),
    case(
        Code::BadUpstreamTls,
        SERVERS,
        "servers = [\"https://a\"]\ntls = { ca = \"none.pem\" }",
        "servers = [\"http://a\"]",
    ),
    case(
        Code::NoEffect,
        SERVERS,
        "servers = [\"http://a\"]\ntls = { server_name = \"a\" }",
        "servers = [\"http://a\"]",
    ),
    case(
        Code::MissingKey,
        SERVERS,
        "servers = [\"http://a\"]\nhealth = { every = \"5s\" }",
        "servers = [\"http://a\"]\nhealth = { path = \"/healthz\", every = \"5s\" }",
    ),
    case(
        Code::BadPath,
        SERVERS,
        "servers = [\"http://a\"]\nhealth = { path = \"healthz\" }",
        "servers = [\"http://a\"]\nhealth = { path = \"/healthz\" }",
    ),
    case(
        Code::UnknownKey,
        SERVERS,
        "servers = [\"http://a\"]\nejection = { max_fails = 3 }",
        "servers = [\"http://a\"]\nejection = { failures = 3 }",
    ),
];
