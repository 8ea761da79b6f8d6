//! `init`: a first `gateway.toml` from a sample token. The token is not verified; what it lacks
//! becomes a line in the file and a warning, because that is what cannot be revoked later. Its
//! values are foreign text: they are quoted in the file and cleaned on the screen.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::cursor::show;
use super::flags::quote;
use super::value::show_duration;
use crate::keys::Algorithm;
use crate::token::{ClaimPath, Claims, Compact, FormFault};

/// What came of a sample token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Initial {
    /// The text of the file.
    pub toml: String,
    /// What to tell the person.
    pub report: String,
}

/// Why no configuration can be made of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum InitFault {
    Form(FormFault),
    /// An algorithm that the gateway does not verify.
    Algorithm(String),
}

impl std::fmt::Display for InitFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Form(fault) => write!(out, "this is no token that could be checked: {fault}"),
            Self::Algorithm(alg) => {
                write!(out, "tokens signed with \"{}\" cannot be checked", show(alg))
            }
        }
    }
}

impl std::error::Error for InitFault {}

/// Where home-made tokens keep the user, in the order of trust.
const SUBJECTS: [&str; 20] = [
    "sub",
    "/data/id",
    "/data/userId",
    "/data/user_id",
    "/data/_id",
    "/data/sub",
    "/user/id",
    "/user/_id",
    "/payload/id",
    "userId",
    "user_id",
    "uid",
    "id",
    "_id",
    "username",
    "user",
    "email",
    "/data/username",
    "/data/email",
    "/user/email",
];
const SESSIONS: [&str; 8] = [
    "sid",
    "session_id",
    "sessionId",
    "session_state",
    "device_id",
    "deviceId",
    "/data/sid",
    "/data/sessionId",
];
const CLIENTS: [&str; 4] = ["client_id", "azp", "clientId", "appid"];
const DISPLAYS: [&str; 5] = ["email", "preferred_username", "username", "/data/email", "name"];

/// The lifetimes that the config takes.
const LIFETIME_MAX: Duration = Duration::from_secs(3650 * 86_400);

/// Reads a sample token in compact form.
pub fn init(token: &str) -> Result<Initial, InitFault> {
    let token = Compact::parse(token.trim()).map_err(InitFault::Form)?;
    let algorithm = Algorithm::parse(&token.header.alg)
        .ok_or_else(|| InitFault::Algorithm(token.header.alg.clone()))?;
    let sample = Sample::new(&token, algorithm);
    Ok(Initial { toml: sample.toml(), report: sample.report() })
}

/// What the sample token says.
struct Sample {
    algorithm: Algorithm,
    kid: Option<String>,
    /// Only where it is none of the usual ones.
    typ: Option<String>,
    issuer: Option<String>,
    audiences: Vec<String>,
    subject: Option<(&'static str, String)>,
    session: Option<&'static str>,
    client: Option<&'static str>,
    display: Option<&'static str>,
    has_jti: bool,
    has_iat: bool,
    has_exp: bool,
    /// `exp - iat`.
    lifetime: Option<Duration>,
}

impl Sample {
    fn new(token: &Compact<'_>, algorithm: Algorithm) -> Self {
        let claims = &token.claims;
        let number = |name: &str| claims.0.get(name).and_then(Value::as_f64);
        let lifetime = match (number("exp"), number("iat")) {
            (Some(exp), Some(iat)) if exp > iat => {
                // Whole seconds, rounded up: the sample itself must pass.
                Duration::try_from_secs_f64((exp - iat).ceil()).ok()
            }
            _ => None,
        };
        let audiences = match claims.0.get("aud") {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(several)) => {
                several.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        let usual = |typ: &String| {
            let typ = typ.to_ascii_lowercase();
            !["jwt", "at+jwt", "application/at+jwt"].contains(&typ.as_str())
        };
        Self {
            algorithm,
            kid: token.header.kid.clone(),
            typ: token.header.typ.clone().filter(usual),
            issuer: string(claims, "iss"),
            audiences,
            subject: first(claims, &SUBJECTS),
            session: first(claims, &SESSIONS).map(|(place, _)| place),
            client: first(claims, &CLIENTS).map(|(place, _)| place),
            display: first(claims, &DISPLAYS).map(|(place, _)| place),
            has_jti: string(claims, "jti").is_some(),
            has_iat: number("iat").is_some(),
            has_exp: number("exp").is_some(),
            lifetime: lifetime.map(|lifetime| lifetime.min(LIFETIME_MAX)),
        }
    }

    fn missing(&self) -> Vec<&'static str> {
        let missing = [
            ("iss", self.issuer.is_none()),
            ("aud", self.audiences.is_empty()),
            ("iat", !self.has_iat),
        ];
        missing.into_iter().filter(|(_, is_missing)| *is_missing).map(|(claim, _)| claim).collect()
    }

    fn toml(&self) -> String {
        let mut out = String::from(
            "# Written by `portcullis init` from a sample token. Set `servers`, then:\n\
             #   portcullis check && portcullis run\n\
             # Every key: docs/configuration.md\n\n\
             [server]\n\
             listen = \"127.0.0.1:8080\"\n\n\
             [[issuer]]\n\
             name = \"main\"\n",
        );
        let mut line = |key: &str, value: &str, why: &str| {
            let comment = if why.is_empty() { String::new() } else { format!("   # {why}") };
            let _ = writeln!(out, "{key} = {value}{comment}");
        };
        match &self.issuer {
            Some(issuer) => line("issuer", &quote(issuer), ""),
            None => line("id", "\"main\"", "keep it: denials are stored under this name"),
        }
        if let Some(audience) = self.audiences.first() {
            let more = self.audiences.len() > 1;
            let why = if more { "the first of several in the sample token" } else { "" };
            line("audiences", &format!("[{}]", quote(audience)), why);
        }
        let missing: Vec<String> = self.missing().into_iter().map(quote).collect();
        if !missing.is_empty() {
            line("missing", &format!("[{}]", missing.join(", ")), "weaker: see portcullis check");
        }
        if self.algorithm != Algorithm::HS256 {
            line("algorithms", &format!("[\"{}\"]", self.algorithm.as_str()), "");
        }
        if let Some(typ) = &self.typ {
            line("types", &format!("[{}]", quote(typ)), "");
        }
        match self.lifetime {
            Some(lifetime) => {
                line("max_lifetime", &quote(&show_duration(lifetime)), "as the sample token's");
            }
            None => line("max_lifetime", "\"24h\"", "the sample token does not say (exp, iat)"),
        }
        let claims = self.claims();
        if !claims.is_empty() {
            line("claims", &format!("{{ {} }}", claims.join(", ")), "");
        }
        if let Some(display) = self.display {
            line("display", &quote(display), "people are shown by this");
        }
        self.keys(&mut out);
        out.push_str(
            "\n[[upstream]]\n\
             name = \"app\"\n\
             servers = [\"http://127.0.0.1:3000\"]   # your backend\n\n\
             [[route]]\n\
             path = \"/\"\n\
             # credentials = [\"bearer\", \"cookie:NAME\"]   # where the token travels\n\
             upstream = \"app\"\n",
        );
        out
    }

    /// Claims that are not where they usually are.
    fn claims(&self) -> Vec<String> {
        let subject = self.subject.as_ref().map(|(place, _)| *place);
        let claims = [
            ("subject", subject.filter(|place| *place != "sub")),
            ("session", self.session.filter(|place| *place != "sid")),
            ("client", self.client.filter(|place| !["client_id", "azp"].contains(place))),
        ];
        let claims = claims.into_iter();
        claims.filter_map(|(key, place)| Some(format!("{key} = {}", quote(place?)))).collect()
    }

    fn keys(&self, out: &mut String) {
        out.push_str(if self.algorithm.is_symmetric() {
            "# The secret that signs the tokens, from the environment; or secret_file = \"…\".\n\
             keys = { secret_env = \"JWT_SECRET\" }\n"
        } else {
            "# The issuer's public keys: its key set, saved beside this file. Or fetched:\n\
             # { discovery = true } from an OpenID Connect provider, { jwks_url = \"https://…\" };\n\
             # or one key or certificate: { pem_file = \"issuer.pem\" }.\n\
             keys = { jwks_file = \"issuer.jwks.json\" }\n"
        });
    }

    fn report(&self) -> String {
        let issuer = self.issuer.as_deref().map_or("an issuer that it does not name".into(), show);
        let mut out = format!("Read a token of {issuer}");
        if let Some((_, subject)) = &self.subject {
            let _ = write!(out, " for user {}", show(subject));
        }
        out.push_str("\n\n");
        let kid = self.kid.as_deref().map(|kid| format!(", key id {}", show(kid)));
        let kid = kid.unwrap_or_default();
        let alg = self.algorithm.as_str();
        let from = if self.algorithm.is_symmetric() {
            "a shared secret: put it into JWT_SECRET"
        } else {
            "public: save them as issuer.jwks.json"
        };
        let _ = writeln!(out, "  keys       {from}; {alg}{kid}");
        let audience = self.audiences.first().map_or("none in this token".into(), |aud| show(aud));
        let _ = writeln!(out, "  audience   {audience}");
        match self.lifetime.map(show_duration) {
            Some(lifetime) => {
                let _ = writeln!(out, "  lifetime   {lifetime}, so max_lifetime = \"{lifetime}\"");
            }
            None => out.push_str("  lifetime   not in this token\n"),
        }
        let _ = writeln!(out, "  revoke by  {}\n", self.selectors());
        for warning in self.warnings() {
            let _ = writeln!(out, "  warning: {warning}");
        }
        if !self.warnings().is_empty() {
            out.push('\n');
        }
        out.push_str(
            "Set `servers` in gateway.toml to your backend, then: portcullis check && portcullis \
             run\n",
        );
        out
    }

    fn selectors(&self) -> String {
        let mut can =
            vec![if self.has_jti { "token (jti)" } else { "token (by its digest)" }.to_owned()];
        let mut cannot = String::new();
        match &self.subject {
            Some((place, _)) => can.push(format!("user ({place})")),
            None => cannot.push_str("; user: none in this token, so nobody can be logged out"),
        }
        match self.session {
            Some(place) => can.push(format!("session ({place})")),
            None => cannot
                .push_str("; session: no sid in this token, so one device cannot be ended alone"),
        }
        can.extend(self.client.map(|place| format!("client ({place})")));
        can.push("key".to_owned());
        can.join(", ") + &cannot
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.has_exp {
            warnings.push(
                "no exp: such a token never passes, since it could never be forgotten".to_owned(),
            );
        }
        for claim in self.missing() {
            warnings.push(match claim {
                "iss" => "no iss: the key alone says who issued it".to_owned(),
                "aud" => {
                    "no aud: a token for another service with the same key passes too".to_owned()
                }
                _ => "no iat: revoking a user also ends the tokens issued later, until undone"
                    .to_owned(),
            });
        }
        if self.lifetime.is_some_and(|lifetime| lifetime > Duration::from_secs(86_400)) {
            warnings.push("it lives long: each revocation is kept as long as that".to_owned());
        }
        if self.algorithm.is_symmetric() {
            warnings.push("whoever can check such tokens can also make them".to_owned());
        }
        warnings
    }
}

fn string(claims: &Claims, name: &str) -> Option<String> {
    claims.0.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The first place that holds an identifier: a string or a whole number.
fn first(claims: &Claims, places: &[&'static str]) -> Option<(&'static str, String)> {
    places.iter().find_map(|place| {
        let value = match ClaimPath::parse(place).ok()?.find(claims)? {
            Value::String(text) if !text.is_empty() => text.clone(),
            Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => return None,
        };
        Some((*place, value))
    })
}
