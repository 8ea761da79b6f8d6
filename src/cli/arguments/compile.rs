//! From what clap read to what the commands take, a function for each.

use std::time::Duration;

use crate::cli::failure::Failure;
use crate::cli::input::TokenFrom;
use crate::cli::list::List;
use crate::cli::raw::{
    RawAudit, RawBlock, RawDenials, RawExplain, RawMint, RawNotes, RawRevoke, RawRun, RawToken,
    RawUndo,
};
use crate::cli::target::{Target, name_and_value};
use crate::cli::words;
use crate::config::Flags;
use crate::keys::Algorithm;

use super::{
    AskedRequest, Block, Check, Denials, Explain, Explained, KeyCommand, Mint, Notes, Revoke,
    SigningSource, Spared, TokenCommand, Undo, Which,
};

pub fn flags(raw: RawRun) -> Option<Flags> {
    (!raw.upstream.is_empty()).then_some(Flags {
        listen: raw.listen,
        admin_listen: raw.admin_listen,
        store: raw.store,
        upstream: raw.upstream,
        issuer: raw.issuer,
        audiences: raw.audiences,
        jwks_url: None,
        jwks_file: raw.jwks_file,
        pem_file: raw.pem_file,
        secret_env: raw.secret_env,
        secret_file: raw.secret_file,
        cookie: raw.cookie,
    })
}

pub fn check(
    url: Option<String>,
    method: Option<String>,
    headers: &[String],
) -> Result<Check, Failure> {
    let Some(url) = url else { return Ok(Check { asked: None }) };
    let method = method.map_or("GET".to_owned(), |method| method.to_ascii_uppercase());
    let method =
        method.parse().map_err(|_| Failure::usage("--method takes a method, such as POST."))?;
    let mut map = http::HeaderMap::new();
    for header in headers {
        let pair = header.split_once(':').and_then(|(name, value)| {
            let name = http::HeaderName::from_bytes(name.trim_ascii().as_bytes()).ok()?;
            Some((name, http::HeaderValue::from_str(value.trim_ascii()).ok()?))
        });
        let (name, value) =
            pair.ok_or_else(|| Failure::usage("--header takes \"NAME: VALUE\"."))?;
        map.append(name, value);
    }
    Ok(Check { asked: Some(AskedRequest { url, method, headers: map }) })
}

fn notes(raw: RawNotes) -> Notes {
    Notes { reason: raw.reason, reference: raw.reference, dry_run: raw.dry_run, yes: raw.yes }
}

pub fn revoke(raw: RawRevoke) -> Result<Revoke, Failure> {
    let issuer = raw.target.issuer.clone();
    let target = Target::compile(raw.target, "revoke")?;
    let except = match (raw.except_session, raw.except_jti) {
        (Some(session), _) => Some(Spared::Session(session)),
        (None, Some(jti)) => Some(Spared::Jti(jti)),
        (None, None) => None,
    };
    if except.is_some() && target.is_one_token() {
        return Err(Failure::usage("One token has nothing to spare: --except-… goes with --user."));
    }
    Ok(Revoke { target, issuer, except, notes: notes(raw.notes) })
}

pub fn block(raw: RawBlock) -> Result<Block, Failure> {
    let issuer = raw.target.issuer.clone();
    let target = Target::compile(raw.target, "block")?;
    let lasts = raw.lasts.as_deref().map(|text| duration("--for", text)).transpose()?;
    Ok(Block { target, issuer, lasts, notes: notes(raw.notes) })
}

pub fn undo(mut raw: RawUndo, blocks_only: bool) -> Result<Undo, Failure> {
    let which = match raw.target() {
        Some(target) => Which::Of {
            target: Target::compile(target, "undo")?,
            issuer: raw.issuer,
            blocks_only,
            dry_run: raw.dry_run,
        },
        None if raw.last => Which::Last { blocks_only },
        None => Which::Ids(raw.ids.into_iter().map(denial_id).collect::<Result<_, _>>()?),
    };
    Ok(Undo { which, reason: raw.reason, yes: raw.yes })
}

/// An id or its beginning. A name in its place is a slip that the gateway could only call unknown.
fn denial_id(word: String) -> Result<String, Failure> {
    let is_id = word.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("dn_"));
    if is_id {
        return Ok(word);
    }
    Err(Failure::usage(format!(
        "{word} is no denial's id, which begins with dn_. Of a user: portcullis undo --user {}",
        words::shell(&word)
    )))
}

pub fn audit(raw: RawAudit) -> Result<List, Failure> {
    let members = [
        ("by", raw.by),
        ("address", raw.address),
        ("action", raw.action),
        ("denial", raw.denial),
        ("subject", raw.user),
        ("issuer", raw.issuer),
        ("since", raw.since.as_deref().map(since).transpose()?),
    ];
    let query = members.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    Ok(List { query, most: raw.most.items() })
}

pub fn denials(raw: RawDenials) -> Result<Denials, Failure> {
    if let Some(id) = raw.id {
        return Ok(Denials::One(id));
    }
    let mut query = Vec::new();
    let members = [
        ("issuer", raw.issuer),
        ("subject", raw.user),
        ("session", raw.session),
        ("jti", raw.jti),
        ("client", raw.client),
        ("key", raw.key),
        ("reason", raw.reason),
        ("reference", raw.reference),
        ("created_by", raw.by),
        ("since", raw.since.as_deref().map(since).transpose()?),
    ];
    query.extend(members.into_iter().filter_map(|(name, value)| Some((name, value?))));
    if let Some(claim) = raw.claim {
        name_and_value(&claim)?;
        query.push(("claim", claim));
    }
    if raw.undone {
        query.push(("state", "all".to_owned()));
    }
    Ok(Denials::List(List { query, most: raw.most.items() }))
}

/// A time as RFC 3339, or how long ago, to RFC 3339.
fn since(text: &str) -> Result<String, Failure> {
    use crate::clock::UnixMs;
    if let Some(ago) = words::parse_duration(text) {
        return Ok(UnixMs::now().minus(ago).rfc3339());
    }
    UnixMs::parse_rfc3339(text).map(UnixMs::rfc3339).ok_or_else(|| {
        Failure::usage(format!(
            "--since: `{text}` is neither a time (2026-11-20T00:00:00Z) nor an age (24h)."
        ))
    })
}

fn duration(flag: &str, text: &str) -> Result<Duration, Failure> {
    words::parse_duration(text).filter(|duration| !duration.is_zero()).ok_or_else(|| {
        Failure::usage(format!("{flag}: `{text}` is not a time. Like this: 30s, 15m, 24h, 7d."))
    })
}

pub fn explain(raw: RawExplain) -> Explain {
    let what = match raw.request {
        Some(request) => Explained::Request(request),
        None => Explained::Token(TokenFrom::of(raw.file.or(raw.token_file))),
    };
    Explain { what, url: raw.url, method: raw.method }
}

pub fn token(raw: RawToken) -> Result<TokenCommand, Failure> {
    match raw {
        RawToken::Decode { file } => Ok(TokenCommand::Decode(TokenFrom::of(file))),
        RawToken::Mint(raw) => mint(*raw).map(TokenCommand::Mint),
        RawToken::Key { out, alg } => {
            Ok(TokenCommand::Key(KeyCommand { out, algorithm: algorithm(&alg)? }))
        }
    }
}

fn algorithm(text: &str) -> Result<Algorithm, Failure> {
    Algorithm::parse(text).ok_or_else(|| {
        let known: Vec<&str> = Algorithm::ALL.into_iter().map(Algorithm::as_str).collect();
        Failure::usage(format!("--alg: `{text}` is not one of {}.", known.join(", ")))
    })
}

fn mint(raw: RawMint) -> Result<Mint, Failure> {
    let source = match (raw.key, raw.secret_file, raw.secret_env) {
        (Some(pem), _, _) => SigningSource::Pem(pem),
        (None, Some(file), _) => SigningSource::SecretFile(file),
        (None, None, Some(name)) => SigningSource::SecretEnv(name),
        (None, None, None) => return Err(Failure::usage("Sign with what? --key FILE.")),
    };
    let claims = raw.claims.iter().map(|claim| name_and_value(claim));
    Ok(Mint {
        source,
        algorithm: raw.alg.as_deref().map(algorithm).transpose()?,
        kid: raw.kid,
        like: raw.like.map(|path| TokenFrom::of(Some(path))),
        issuer: raw.issuer,
        user: raw.user,
        session: raw.session,
        audiences: raw.audiences,
        claims: claims.collect::<Result<_, _>>()?,
        lifetime: duration("--lifetime", &raw.lifetime)?,
        header: raw.header,
    })
}
