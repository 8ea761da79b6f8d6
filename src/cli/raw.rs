//! The arguments as clap reads them. [`super::Arguments`] is what the commands see.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::help;

mod allowlist;
mod explain;
mod many;
mod most;
pub mod number;
mod start;
mod undo;

pub use allowlist::{RawAdd, RawRegistration, RawRegistrations};
pub use explain::RawExplain;
pub use many::{RawAudit, RawExchange};
pub use most::RawMost;
pub use start::RawRun;
pub use undo::RawUndo;

#[derive(Parser, Debug)]
#[command(name = "portcullis", version, override_help = help::TOP, arg_required_else_help = true)]
pub struct Raw {
    #[command(flatten)]
    pub global: RawGlobal,
    #[command(subcommand)]
    pub command: RawCommand,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Everywhere")]
pub struct RawGlobal {
    /// Config file, or the directory of a gateway.toml
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        env = "PORTCULLIS_CONFIG",
        default_value = "gateway.toml"
    )]
    pub config: PathBuf,
    /// Admin API: URL or unix socket [default: from the config]
    #[arg(long, global = true, value_name = "ADDR", env = "PORTCULLIS_ADMIN")]
    pub admin: Option<String>,
    /// Machine-readable output, one JSON document or one object a line
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing that the exit code already says
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// When to colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: clap::ColorChoice,
}

#[derive(Subcommand, Debug)]
pub enum RawCommand {
    /// Try it in a minute: gateway, backend, issuer and tokens, nothing to set up
    #[command(after_help = help::DEMO)]
    Demo {
        /// Where it lives [default: portcullis-demo]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
        /// Run all steps, print the transcript, end
        #[arg(long)]
        once: bool,
    },
    /// Write a gateway.toml from a sample token
    #[command(after_help = help::INIT)]
    Init {
        /// The token in this file instead of stdin
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Check the config, show the route table; start nothing
    #[command(after_help = help::CHECK)]
    Check {
        /// Say which route this URL gets, and why
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// Of a request with this method [default: GET]
        #[arg(long, value_name = "METHOD", requires = "url")]
        method: Option<String>,
        /// And with this header; may be given several times
        #[arg(long = "header", value_name = "NAME: VALUE", requires = "url")]
        headers: Vec<String>,
    },
    /// Start the gateway
    #[command(after_help = help::RUN)]
    Run(RawRun),
    /// End tokens and sessions that exist now; their owner can log in again
    #[command(after_help = help::REVOKE)]
    Revoke(RawRevoke),
    /// Keep a user, session, client or key out until unblocked, or --for 24h
    #[command(alias = "deny", after_help = help::BLOCK)]
    Block(RawBlock),
    /// Take a revocation or a block back
    #[command(alias = "lift", after_help = help::UNDO)]
    Undo(RawUndo),
    /// Take blocks back, and nothing else
    #[command(after_help = help::UNDO)]
    Unblock(RawUndo),
    /// What is in force: list, search, export, import
    #[command(alias = "denylist", after_help = help::DENIALS)]
    #[command(args_conflicts_with_subcommands = true)]
    Denials(Box<RawDenials>),
    /// Open WebSockets, event streams, gRPC: list, cut one
    #[command(after_help = help::STREAMS)]
    Streams(Box<super::streams::Streams>),
    /// Where somebody is logged in, by logins that the gateway captured; end one
    #[command(after_help = help::SESSIONS)]
    Sessions(super::sessions::Sessions),
    /// What passes of issuers in allowlist mode: list, add, remove
    #[command(after_help = help::REGISTRATIONS, args_conflicts_with_subcommands = true)]
    Registrations(Box<RawRegistrations>),
    /// Who denied and took back what, when and why
    #[command(after_help = help::AUDIT)]
    Audit(RawAudit),
    /// Watch verdicts and changes as they happen
    #[command(after_help = help::EVENTS)]
    Events {
        /// Changes after this sequence too: the id of the last event that was seen
        #[arg(
            long,
            value_name = "SEQUENCE",
            value_parser = number::sequence,
            allow_negative_numbers = true
        )]
        after: Option<u64>,
        /// No refusals
        #[arg(long)]
        changes: bool,
        /// End when the connection does
        #[arg(long)]
        once: bool,
    },
    /// Why a token passes or fails, check by check
    #[command(after_help = help::EXPLAIN)]
    Explain(RawExplain),
    /// Is everything all right: store, issuers, keys, upstreams
    #[command(after_help = help::STATUS)]
    Status,
    /// Keys of the issuers: what is in force, and fetching them now
    #[command(after_help = help::KEYS)]
    Keys(super::keys::Keys),
    /// Let the running gateway read its config again
    #[command(after_help = help::RELOAD)]
    Reload,
    /// The store's file while no gateway runs: check it, build it anew, write it out
    #[command(subcommand, after_help = help::STORE)]
    Store(RawStore),
    /// Decode a token; mint one for tests
    #[command(subcommand, after_help = help::TOKEN)]
    Token(RawToken),
    /// Exit 0 when the gateway is ready, else 1
    #[command(after_help = help::HEALTH)]
    Health,
}

/// Who or what: exactly one.
#[derive(Args, Debug, Default)]
pub struct RawTarget {
    /// A user, by the subject of the tokens
    #[arg(long, alias = "subject", value_name = "ID", group = "target", help_heading = "Whom")]
    pub user: Option<String>,
    /// One session or device
    #[arg(long, value_name = "ID", group = "target", help_heading = "Whom")]
    pub session: Option<String>,
    /// The token in this file; `-` reads stdin
    #[arg(long, value_name = "FILE", group = "target", help_heading = "Whom")]
    pub token_file: Option<PathBuf>,
    /// One token, by its `jti`
    #[arg(long, value_name = "ID", group = "target", help_heading = "Whom")]
    pub jti: Option<String>,
    /// All tokens of an OAuth client
    #[arg(long, value_name = "ID", group = "target", help_heading = "Whom")]
    pub client: Option<String>,
    /// All tokens that a key signed: its `kid` or thumbprint
    #[arg(long, value_name = "KID", group = "target", help_heading = "Whom")]
    pub key: Option<String>,
    /// All tokens with this claim, where the config indexes it
    #[arg(long, value_name = "NAME=VALUE", group = "target", help_heading = "Whom")]
    pub claim: Option<String>,
    /// Every token of the issuer: the emergency brake
    #[arg(long, group = "target", help_heading = "Whom")]
    pub everyone: bool,
    /// Refused: only here to say how a token is given.
    #[arg(long, hide = true, value_name = "TOKEN", group = "target")]
    pub token: Option<String>,
    /// Refused: only here to say that `alice` alone does not say what alice is.
    #[arg(hide = true, value_name = "ID", group = "target")]
    pub bare: Option<String>,
    /// The issuer by its name in the config, where there are several
    #[arg(long, value_name = "NAME", help_heading = "Whom")]
    pub issuer: Option<String>,
}

#[derive(Args, Debug, Default)]
pub struct RawNotes {
    /// Why, for the audit and for `explain`
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// A ticket or the like
    #[arg(long, value_name = "TEXT")]
    pub reference: Option<String>,
    /// Say what it would hit; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Args, Debug, Default)]
pub struct RawRevoke {
    #[command(flatten)]
    pub target: RawTarget,
    /// Spare this session: "log out my other devices"
    #[arg(long, value_name = "ID", conflicts_with = "except_jti")]
    pub except_session: Option<String>,
    /// Spare this token, by its `jti`
    #[arg(long, value_name = "ID")]
    pub except_jti: Option<String>,
    #[command(flatten)]
    pub notes: RawNotes,
}

#[derive(Args, Debug, Default)]
pub struct RawBlock {
    #[command(flatten)]
    pub target: RawTarget,
    /// Unblock by itself after this time: 30m, 24h, 7d
    #[arg(long = "for", value_name = "TIME", allow_hyphen_values = true)]
    pub lasts: Option<String>,
    #[command(flatten)]
    pub notes: RawNotes,
}

#[derive(Args, Debug, Default)]
pub struct RawDenials {
    #[command(subcommand)]
    pub exchange: Option<RawExchange>,
    /// Show this one
    #[arg(value_name = "DENIAL")]
    pub id: Option<String>,
    #[arg(long, alias = "subject", value_name = "ID", group = "which", help_heading = "Which")]
    pub user: Option<String>,
    #[arg(long, value_name = "ID", group = "which", help_heading = "Which")]
    pub session: Option<String>,
    #[arg(long, value_name = "ID", group = "which", help_heading = "Which")]
    pub jti: Option<String>,
    #[arg(long, value_name = "ID", group = "which", help_heading = "Which")]
    pub client: Option<String>,
    #[arg(long, value_name = "KID", group = "which", help_heading = "Which")]
    pub key: Option<String>,
    #[arg(long, value_name = "NAME=VALUE", group = "which", help_heading = "Which")]
    pub claim: Option<String>,
    #[arg(long, value_name = "NAME", help_heading = "Which")]
    pub issuer: Option<String>,
    /// Reasons that contain this
    #[arg(long, value_name = "TEXT", help_heading = "Which")]
    pub reason: Option<String>,
    #[arg(long, value_name = "TEXT", help_heading = "Which")]
    pub reference: Option<String>,
    /// Made by this credential
    #[arg(long, value_name = "NAME", help_heading = "Which")]
    pub by: Option<String>,
    /// Made at or after this time (RFC 3339), or within this time: 24h
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, help_heading = "Which")]
    pub since: Option<String>,
    /// Those taken back too
    #[arg(long, help_heading = "Which")]
    pub undone: bool,
    #[command(flatten)]
    pub most: RawMost,
}

#[derive(Subcommand, Debug)]
pub enum RawStore {
    /// Is the file whole: structure, rows, index, log, counts. Changes nothing
    Check(RawPlace),
    /// Build the file anew from all that can be read of it; the old one stays beside it
    Repair(RawPlace),
    /// Make the file as small as what is in it
    Compact(RawPlace),
    /// Records and tombstones as NDJSON to stdout, nothing left out
    Export {
        /// The audit instead: who did what, when and why
        #[arg(long)]
        audit: bool,
        #[command(flatten)]
        place: RawPlace,
    },
}

/// Which store.
#[derive(Args, Debug, Default)]
pub struct RawPlace {
    /// The store's directory [default: store.path of the config]
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub enum RawToken {
    /// What a token says: header, claims, times. Not verified
    #[command(after_help = help::TOKEN_DECODE)]
    Decode {
        /// The token in this file instead of stdin
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Sign a token for tests, to stdout
    #[command(after_help = help::TOKEN_MINT)]
    Mint(Box<RawMint>),
    /// Make a signing key for tests: private to a file, public as a JWK set to stdout
    #[command(after_help = help::TOKEN_KEY)]
    Key {
        /// Where the private key goes, mode 0600; must not exist
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[arg(long, value_name = "ALG", default_value = "ES256")]
        alg: String,
    },
}

#[derive(Args, Debug, Default)]
pub struct RawMint {
    /// Private key, PEM (PKCS#8)
    #[arg(long, value_name = "FILE", group = "signer", required_unless_present_any = ["secret_file", "secret_env"])]
    pub key: Option<PathBuf>,
    /// Shared secret, the whole file without the line's end
    #[arg(long, value_name = "FILE", group = "signer")]
    pub secret_file: Option<PathBuf>,
    /// Shared secret from this environment variable
    #[arg(long, value_name = "NAME", group = "signer")]
    pub secret_env: Option<String>,
    /// [default: what the key is for; HS256 for a secret]
    #[arg(long, value_name = "ALG")]
    pub alg: Option<String>,
    /// [default: the key's thumbprint]
    #[arg(long)]
    pub kid: Option<String>,
    /// Start from the claims of the token in this file; `-` reads stdin
    #[arg(long, value_name = "FILE")]
    pub like: Option<PathBuf>,
    #[arg(long, alias = "iss", value_name = "URL")]
    pub issuer: Option<String>,
    #[arg(long, alias = "subject", value_name = "ID")]
    pub user: Option<String>,
    #[arg(long, value_name = "ID")]
    pub session: Option<String>,
    #[arg(long = "audience", alias = "aud", value_name = "NAME")]
    pub audiences: Vec<String>,
    /// Any claim; the value is JSON where it can be read as JSON
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    pub claims: Vec<String>,
    #[arg(long, value_name = "TIME", default_value = "1h", allow_hyphen_values = true)]
    pub lifetime: String,
    /// As a header line, for `curl -H @-`
    #[arg(long)]
    pub header: bool,
}
