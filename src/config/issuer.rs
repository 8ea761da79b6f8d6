//! `[[issuer]]`: what its tokens must be. Secure unless the file says otherwise in so many words;
//! each claim that may be missing costs a warning.

use std::sync::Arc;
use std::time::Duration;

use super::cursor::{Span, Table, choose, show};
use super::diagnostic::{Code, Diagnostic};
use super::identity::{claim, claim_of};
use super::item::{Item, Text};
use super::keys::{self, KeySource};
use super::{Issuer, server, suggest, value};
use crate::denylist::IssuerId;
use crate::keys::Algorithm;
use crate::token::ClaimPath;
use crate::verify::{ClaimNames, Missing, Mode, Policy};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

pub fn issuer(table: &Table<'_>) -> Option<Issuer> {
    let mode = mode(table);
    let name = server::name(table.required("name"));
    let missing = missing(table);
    let iss = non_empty(table, "issuer");
    let id = identity(table, missing, iss.as_ref());
    let audiences = audiences(table, missing);
    let source = keys::source(table);
    let algorithms = algorithms(table, source.as_ref());
    let types = table.strings("types").unwrap_or_default();
    let range = SECOND..=3650 * DAY;
    let max_lifetime = table.duration("max_lifetime", Policy::MAX_LIFETIME, range.clone());
    let session_lifetime_max =
        table.duration("session_lifetime_max", Policy::SESSION_LIFETIME_MAX, range);
    let leeway = table.duration("leeway", Policy::LEEWAY, Duration::ZERO..=300 * SECOND);
    let cutoff_skew = table.duration("cutoff_skew", Duration::ZERO, Duration::ZERO..=300 * SECOND);
    let claims = claim_names(&table.table("claims", "issuer.claims"));
    let required = table.strings("required").unwrap_or_default();
    let required =
        required.iter().filter_map(|text| table_claim(table, "required", text)).collect();
    let display = table.get("display").and_then(|item| claim(&item));
    let renewal = super::renewal::renewal(table);
    table.finish();
    let (algorithms, source) = (algorithms?, source?);
    let keys = source.load(&algorithms);
    let policy = Policy {
        mode,
        name: name?,
        id: id?,
        iss: iss.map(|text| text.value),
        audiences: audiences?,
        algorithms,
        types: types.into_iter().map(|text| text.value).collect(),
        max_lifetime,
        lifetime_marks: Vec::new(),
        session_marks: Vec::new(),
        session_lifetime_max,
        renewed: renewal.is_some(),
        leeway,
        cutoff_skew,
        missing,
        claims,
        required,
        display,
    };
    let remote = source.remote();
    Some(Issuer { policy, keys: Arc::new(keys?), keys_source: source.shown, remote, renewal })
}

/// Tokens pass unless they are denied, or only where they are registered.
fn mode(table: &Table<'_>) -> Mode {
    let known = [("denylist", Mode::Denylist), ("allowlist", Mode::Allowlist)];
    let said = table.string("mode");
    said.and_then(|text| choose(table.reader, &text, "mode", &known)).unwrap_or_default()
}

fn non_empty(table: &Table<'_>, key: &'static str) -> Option<Text> {
    let text = table.string(key)?;
    if text.value.is_empty() {
        let message = format!("`{key}` is empty");
        table.reader.report(&text.span, Diagnostic::error(Code::Empty, message));
        return None;
    }
    Some(text)
}

fn missing(table: &Table<'_>) -> Missing {
    let mut missing = Missing::default();
    for text in table.strings("missing").unwrap_or_default() {
        let words = [("iss", "iss"), ("aud", "aud"), ("iat", "iat")];
        let Some(word) = choose(table.reader, &text, "missing", &words) else { continue };
        let (flag, consequence) = match word {
            "iss" => (&mut missing.iss, "the key alone says who issued them"),
            "aud" => (
                &mut missing.aud,
                "one made for another service with the same key passes here as well",
            ),
            _ => (
                &mut missing.iat,
                "every revocation of a user or session also ends those without `iat`, until it is \
                 undone",
            ),
        };
        *flag = true;
        let message = format!("tokens may lack `{word}`: {consequence}");
        table.reader.report(&text.span, Diagnostic::warning(Code::MissingClaim, message));
    }
    missing
}

/// Who the issuer is in the store: its `iss`, or a stable name where its tokens have none.
fn identity(table: &Table<'_>, missing: Missing, iss: Option<&Text>) -> Option<IssuerId> {
    let id = non_empty(table, "id");
    match (iss, id) {
        (Some(_), Some(id)) => {
            let message = "`id` is for issuers without `issuer`: an issuer is known by one of them";
            table.reader.report(&id.span, Diagnostic::error(Code::Exclusive, message));
            None
        }
        (Some(iss), None) => Some(IssuerId::new(&iss.value)),
        (None, Some(id)) if missing.iss => Some(IssuerId::new(&id.value)),
        (None, _) if table.has("issuer") => None,
        (None, Some(id)) => {
            let message = "`id` names an issuer only where tokens may lack `iss`";
            let help = "set `issuer` to the exact `iss` of its tokens, or missing = [\"iss\"]";
            let diagnostic = Diagnostic::error(Code::Exclusive, message).help(help);
            table.reader.report(&id.span, diagnostic);
            None
        }
        (None, None) => {
            if !table.has("id") {
                table.require_also(if missing.iss { "id" } else { "issuer" });
            }
            None
        }
    }
}

fn audiences(table: &Table<'_>, missing: Missing) -> Option<Vec<String>> {
    let texts = table.strings("audiences");
    if texts.is_none() && !missing.aud {
        if !table.has("audiences") {
            table.require_also("audiences");
        }
        return None;
    }
    let texts = texts.unwrap_or_default();
    let report = |span: &Span, message: &str| {
        let help = "the `aud` that its tokens carry; missing = [\"aud\"] if they carry none";
        table.reader.report(span, Diagnostic::error(Code::Empty, message).help(help));
    };
    if let (true, false, Some(item)) = (texts.is_empty(), missing.aud, table.get("audiences")) {
        report(&item.span, "`audiences` is empty: no token would pass");
    }
    for text in texts.iter().filter(|text| text.value.is_empty()) {
        report(&text.span, "an audience is empty");
    }
    Some(texts.into_iter().map(|text| text.value).collect())
}

/// What the file says, or all that the kind of key can do. A secret gets HS256 only, since that is
/// what nearly all of them are for.
fn algorithms(table: &Table<'_>, source: Option<&KeySource<'_>>) -> Option<Vec<Algorithm>> {
    let Some(texts) = table.strings("algorithms") else {
        if table.has("algorithms") {
            return None;
        }
        let is_secret = source?.is_secret;
        let fits = |algorithm: &Algorithm| match is_secret {
            true => *algorithm == Algorithm::HS256,
            false => !algorithm.is_symmetric(),
        };
        return Some(Algorithm::ALL.into_iter().filter(fits).collect());
    };
    let mut algorithms = Vec::new();
    let mut faulty = false;
    for text in &texts {
        let diagnostic = match (Algorithm::parse(&text.value), source) {
            (Some(algorithm), Some(source)) if algorithm.is_symmetric() != source.is_secret => {
                let (has, help) = if source.is_secret {
                    ("a shared secret", "HS256, HS384 or HS512")
                } else {
                    ("public keys", "RS*, PS*, ES* or EdDSA; a secret is another [[issuer]]")
                };
                let message = format!("{} does not go with {has}", algorithm.as_str());
                Diagnostic::error(Code::BadAlgorithm, message).help(help)
            }
            (Some(algorithm), _) => {
                if !algorithms.contains(&algorithm) {
                    algorithms.push(algorithm);
                }
                continue;
            }
            (None, _) if text.value.eq_ignore_ascii_case("none") => {
                Diagnostic::error(Code::BadAlgorithm, "tokens without a signature never pass")
            }
            (None, _) => {
                let known = Algorithm::ALL.iter().map(|algorithm| algorithm.as_str());
                let nearest = suggest::nearest(&text.raw, known);
                let message = format!("\"{}\" is not an algorithm", show(&text.raw));
                Diagnostic::error(Code::BadAlgorithm, message)
                    .suggest(nearest.map(|nearest| format!("did you mean \"{nearest}\"?")))
                    .help("HS256, HS384, HS512, RS*, PS*, ES256, ES384 or EdDSA")
            }
        };
        faulty = true;
        table.reader.report(&text.span, diagnostic);
    }
    if let (true, false, Some(item)) = (algorithms.is_empty(), faulty, table.get("algorithms")) {
        let message = "`algorithms` is empty: no token would pass";
        let diagnostic = Diagnostic::error(Code::Empty, message)
            .help("leave the key out to allow all that fit the keys");
        table.reader.report(&item.span, diagnostic);
    }
    (!algorithms.is_empty()).then_some(algorithms)
}

fn claim_names(table: &Table<'_>) -> ClaimNames {
    let default = ClaimNames::default();
    let one = |key: &'static str, default: ClaimPath| {
        table.get(key).and_then(|item| claim(&item)).unwrap_or(default)
    };
    let subject = one("subject", default.subject);
    let session = one("session", default.session);
    let version = one("version", default.version);
    let client = table.string_or_strings("client").map_or(default.client, |texts| {
        texts.iter().filter_map(|text| table_claim(table, "client", text)).collect()
    });
    let indexed = table.get("indexed").map(|item| indexed(&item)).unwrap_or_default();
    table.finish();
    ClaimNames { subject, session, client, version, indexed }
}

fn table_claim(table: &Table<'_>, key: &'static str, text: &Text) -> Option<ClaimPath> {
    claim_of(&table.get(key)?, text)
}

/// `["tenant", "role"]`, or `{ tenant = "/data/tenant" }` where the place is not the name.
fn indexed(item: &Item<'_>) -> Vec<(String, ClaimPath)> {
    let mut indexed: Vec<(String, ClaimPath)> = Vec::new();
    let pairs: Vec<(String, Text, Item<'_>)> = if item.is_table() {
        let entries = item.table("`indexed`", "issuer.claims.indexed");
        let entries = entries.map(|table| table.entries()).unwrap_or_default();
        let pairs = entries.into_iter().filter_map(|entry| {
            let text = entry.string()?;
            Some((entry.key.clone(), text, entry))
        });
        pairs.collect()
    } else {
        let texts = item.strings(false).unwrap_or_default();
        texts.into_iter().map(|text| (text.value.clone(), text, item.again())).collect()
    };
    for (name, text, entry) in pairs {
        if !value::is_name(&name) {
            let message = format!("\"{}\" cannot be the name of an indexed claim", show(&name));
            let help = "name it: indexed = { tenant = \"/data/tenant\" }";
            let diagnostic = Diagnostic::error(Code::BadName, message).help(help);
            entry.reader.report(&text.span, diagnostic);
            continue;
        }
        if indexed.iter().any(|(other, _)| *other == name) {
            let message = format!("\"{}\" is indexed twice", show(&name));
            entry.reader.report(&text.span, Diagnostic::error(Code::Duplicate, message));
            continue;
        }
        indexed.extend(claim_of(&entry, &text).map(|claim| (name, claim)));
    }
    indexed
}
