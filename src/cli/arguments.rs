//! The arguments, valid. What clap cannot say (an amount of time, `NAME=VALUE`, a token where none
//! may stand) is checked here, before anything is done.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;

use crate::config::Flags;
use crate::keys::Algorithm;

use super::exit::Exit;
use super::failure::Failure;
use super::input::{self, TokenFrom};
use super::raw::{
    Raw, RawAudit, RawBlock, RawCommand, RawDenials, RawExplain, RawGlobal, RawMint, RawNotes,
    RawRevoke, RawRun, RawToken, RawUndo,
};
use super::target::Target;
use super::transfer::Place;
use super::words;

/// What to do and how to say it.
#[derive(Debug)]
pub struct Arguments {
    pub global: Global,
    pub command: Command,
}

#[derive(Clone, Debug)]
pub struct Global {
    pub config: PathBuf,
    pub admin: Option<String>,
    pub json: bool,
    pub quiet: bool,
    pub color: clap::ColorChoice,
    /// The program as it was called.
    pub program: String,
    /// The options that found this gateway, as they were given.
    finders: Vec<String>,
}

impl Global {
    /// How to call this program again for the same gateway: the start of a line to paste.
    pub fn again(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.finders);
        words.map(|word| words::shell(word)).collect::<Vec<_>>().join(" ")
    }
}

#[derive(Debug)]
pub enum Command {
    Demo(Demo),
    Init(TokenFrom),
    Check(Check),
    Run(Run),
    Revoke(Revoke),
    Block(Block),
    Undo(Undo),
    Denials(Denials),
    Exchange(Exchange),
    Audit(List),
    Explain(Explain),
    Status,
    Token(TokenCommand),
    Health,
}

#[derive(Debug)]
pub struct Demo {
    /// `None`: `portcullis-demo` here; with `once`, one of its own that is removed.
    pub directory: Option<PathBuf>,
    pub once: bool,
}

#[derive(Debug)]
pub struct Check {
    pub url: Option<String>,
}

#[derive(Debug)]
pub struct Run {
    /// Instead of the config file.
    pub flags: Option<Flags>,
}

#[derive(Debug)]
pub enum TokenCommand {
    Decode(TokenFrom),
    Mint(Mint),
    Key(KeyCommand),
}

#[derive(Debug)]
pub struct Mint {
    pub source: SigningSource,
    pub algorithm: Option<Algorithm>,
    pub kid: Option<String>,
    pub like: Option<TokenFrom>,
    pub issuer: Option<String>,
    pub user: Option<String>,
    pub session: Option<String>,
    pub audiences: Vec<String>,
    pub claims: Vec<(String, String)>,
    pub lifetime: Duration,
    /// Print it as a header line.
    pub header: bool,
}

/// What signs.
#[derive(Debug)]
pub enum SigningSource {
    Pem(PathBuf),
    SecretFile(PathBuf),
    SecretEnv(String),
}

#[derive(Debug)]
pub struct KeyCommand {
    pub out: PathBuf,
    pub algorithm: Algorithm,
}

#[derive(Debug)]
pub struct Notes {
    pub reason: Option<String>,
    pub reference: Option<String>,
    pub dry_run: bool,
    pub yes: bool,
}

/// The one session or token that a revocation spares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Spared {
    Session(String),
    Jti(String),
}

#[derive(Debug)]
pub struct Revoke {
    pub target: Target,
    pub issuer: Option<String>,
    pub except: Option<Spared>,
    pub notes: Notes,
}

#[derive(Debug)]
pub struct Block {
    pub target: Target,
    pub issuer: Option<String>,
    pub lasts: Option<Duration>,
    pub notes: Notes,
}

#[derive(Debug)]
pub struct Undo {
    pub which: Which,
    pub reason: Option<String>,
    pub yes: bool,
}

#[derive(PartialEq, Eq, Debug)]
pub enum Which {
    Ids(Vec<String>),
    Last,
}

/// Many records at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Exchange {
    Batch { from: Place, stop_on_error: bool },
    Export(Place),
    Import(Place),
}

#[derive(Debug)]
pub enum Denials {
    One(String),
    List(List),
}

/// Which denials to list: the query's members in the API's words.
#[derive(Debug)]
pub struct List {
    pub query: Vec<(&'static str, String)>,
    pub limit: u32,
    pub all: bool,
}

#[derive(Debug)]
pub struct Explain {
    pub what: Explained,
    pub url: Option<String>,
    pub method: Option<String>,
}

#[derive(Debug)]
pub enum Explained {
    Token(TokenFrom),
    Request(String),
}

/// The arguments ended the process: help, a version, or a mistake.
#[derive(Debug)]
pub enum Ended {
    Clap(clap::Error),
    Refused(Failure),
}

impl Ended {
    /// Prints it and gives the exit code.
    pub fn report(&self) -> Exit {
        match self {
            Self::Clap(error) => {
                // A closed pipe is the reader's choice.
                let _ = error.print();
                if error.use_stderr() { Exit::Usage } else { Exit::Done }
            }
            Self::Refused(failure) => super::failure::report_plain(failure),
        }
    }
}

impl Arguments {
    pub fn of_process() -> Result<Self, Ended> {
        Self::parse(std::env::args_os().collect())
    }

    /// `words` begin with the program's name.
    pub fn parse(words: Vec<OsString>) -> Result<Self, Ended> {
        // Before clap, whose own message would repeat the token.
        if words.iter().skip(1).any(|word| input::looks_like_a_token(&word.to_string_lossy())) {
            return Err(Ended::Refused(Failure::TokenAsArgument));
        }
        let program = words.first().cloned().unwrap_or_else(|| OsString::from("portcullis"));
        let raw = Raw::try_parse_from(words).map_err(Ended::Clap)?;
        Self::compile(raw, &program).map_err(Ended::Refused)
    }

    fn compile(raw: Raw, program: &OsStr) -> Result<Self, Failure> {
        let command = match raw.command {
            RawCommand::Demo { dir, once } => Command::Demo(Demo { directory: dir, once }),
            RawCommand::Init { file } => Command::Init(TokenFrom::of(file)),
            RawCommand::Check { url } => Command::Check(Check { url }),
            RawCommand::Run(raw) => Command::Run(Run { flags: flags(raw) }),
            RawCommand::Revoke(raw) => Command::Revoke(revoke(raw)?),
            RawCommand::Block(raw) => Command::Block(block(raw)?),
            RawCommand::Undo(raw) => Command::Undo(undo(raw)),
            RawCommand::Denials(raw) => match raw.exchange {
                Some(raw) => Command::Exchange(raw.into()),
                None => Command::Denials(denials(*raw)?),
            },
            RawCommand::Audit(raw) => Command::Audit(audit(raw)?),
            RawCommand::Explain(raw) => Command::Explain(explain(raw)),
            RawCommand::Status => Command::Status,
            RawCommand::Token(raw) => Command::Token(token(raw)?),
            RawCommand::Health => Command::Health,
        };
        Ok(Self { global: global(raw.global, program), command })
    }
}

fn global(raw: RawGlobal, program: &OsStr) -> Global {
    let mut finders = Vec::new();
    // What the environment said it says to the next call too.
    let said = |name: &str, value: &OsStr| std::env::var_os(name).is_some_and(|had| had == value);
    if raw.config != Path::new("gateway.toml") && !said("PORTCULLIS_CONFIG", raw.config.as_os_str())
    {
        finders.extend(["-c".to_owned(), raw.config.display().to_string()]);
    }
    if let Some(admin) = raw.admin.as_ref().filter(|a| !said("PORTCULLIS_ADMIN", a.as_ref())) {
        finders.extend(["--admin".to_owned(), admin.clone()]);
    }
    let config = if raw.config.is_dir() { raw.config.join("gateway.toml") } else { raw.config };
    Global {
        config,
        admin: raw.admin,
        json: raw.json,
        quiet: raw.quiet,
        color: raw.color,
        program: shown_program(program),
        finders,
    }
}

/// As it was called; below the working directory without that directory, so that a line to paste
/// stays short.
fn shown_program(program: &OsStr) -> String {
    let path = Path::new(program);
    let here = std::env::current_dir().ok();
    let relative = here.as_deref().and_then(|here| path.strip_prefix(here).ok());
    match relative {
        Some(below) if below.components().count() == 1 => format!("./{}", below.display()),
        Some(below) => below.display().to_string(),
        None => path.display().to_string(),
    }
}

fn flags(raw: RawRun) -> Option<Flags> {
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

fn notes(raw: RawNotes) -> Notes {
    Notes { reason: raw.reason, reference: raw.reference, dry_run: raw.dry_run, yes: raw.yes }
}

fn revoke(raw: RawRevoke) -> Result<Revoke, Failure> {
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

fn block(raw: RawBlock) -> Result<Block, Failure> {
    let issuer = raw.target.issuer.clone();
    let target = Target::compile(raw.target, "block")?;
    let lasts = raw.lasts.as_deref().map(|text| duration("--for", text)).transpose()?;
    Ok(Block { target, issuer, lasts, notes: notes(raw.notes) })
}

fn undo(raw: RawUndo) -> Undo {
    let which = if raw.last { Which::Last } else { Which::Ids(raw.ids) };
    Undo { which, reason: raw.reason, yes: raw.yes }
}

fn audit(raw: RawAudit) -> Result<List, Failure> {
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
    Ok(List { query, limit: raw.limit, all: raw.all })
}

fn denials(raw: RawDenials) -> Result<Denials, Failure> {
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
        super::target::name_and_value(&claim)?;
        query.push(("claim", claim));
    }
    if raw.undone {
        query.push(("state", "all".to_owned()));
    }
    Ok(Denials::List(List { query, limit: raw.limit, all: raw.all }))
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

pub(super) fn duration(flag: &str, text: &str) -> Result<Duration, Failure> {
    words::parse_duration(text).filter(|duration| !duration.is_zero()).ok_or_else(|| {
        Failure::usage(format!("{flag}: `{text}` is not a time. Like this: 30s, 15m, 24h, 7d."))
    })
}

fn explain(raw: RawExplain) -> Explain {
    let what = match raw.request {
        Some(request) => Explained::Request(request),
        None => Explained::Token(TokenFrom::of(raw.file.or(raw.token_file))),
    };
    Explain { what, url: raw.url, method: raw.method }
}

fn token(raw: RawToken) -> Result<TokenCommand, Failure> {
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
    let claims = raw.claims.iter().map(|claim| super::target::name_and_value(claim));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, Ended> {
        Arguments::parse(line.split(' ').map(OsString::from).collect())
    }

    fn usage(line: &str) -> String {
        match parse(line) {
            Err(Ended::Refused(failure)) => {
                assert_eq!(failure.exit(), Exit::Usage, "{line}");
                failure.to_string()
            }
            Err(Ended::Clap(error)) => {
                assert!(error.use_stderr(), "{line}");
                error.to_string()
            }
            Ok(arguments) => panic!("{line}: {arguments:?}"),
        }
    }

    #[test]
    fn a_revocation_takes_one_target_and_its_words() {
        let arguments =
            parse("portcullis revoke --subject alice --except-session s-1 --reason lost").unwrap();
        let Command::Revoke(revoke) = arguments.command else { panic!() };
        assert_eq!(revoke.target, Target::User("alice".into()));
        assert_eq!(revoke.except, Some(Spared::Session("s-1".into())));
        assert_eq!(revoke.notes.reason.as_deref(), Some("lost"));
        assert!(
            usage("portcullis revoke --user alice --session s-1").contains("cannot be used with")
        );
        assert!(usage("portcullis revoke").contains("Whom?"));
        assert!(
            usage("portcullis revoke --jti a --except-session s-1").contains("nothing to spare")
        );
    }

    #[test]
    fn deny_is_block_and_a_block_may_end_by_itself() {
        for verb in ["block", "deny"] {
            let arguments = parse(&format!("portcullis {verb} --user alice --for 24h")).unwrap();
            let Command::Block(block) = arguments.command else { panic!() };
            assert_eq!(block.lasts, Some(Duration::from_secs(86_400)));
        }
        assert!(usage("portcullis block --user alice --for soon").contains("not a time"));
        assert!(usage("portcullis block --user alice --for 0s").contains("not a time"));
        assert!(usage("portcullis revoke --user alice --for 24h").contains("--for"));
    }

    #[test]
    fn a_bare_name_is_refused_with_what_to_type() {
        let text = usage("portcullis revoke alice");
        assert!(text.contains("portcullis revoke --user alice"), "{text}");
    }

    #[test]
    fn a_token_as_an_argument_is_refused_and_never_repeated() {
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln";
        for line in
            ["explain", "revoke --token", "revoke --token-file", "revoke --user", "nonsense"]
        {
            let text = usage(&format!("portcullis {line} {token}"));
            assert!(text.contains("other users of this machine can read command lines"), "{text}");
            assert!(!text.contains(token), "{text}");
        }
        assert!(usage("portcullis revoke --token opaque").contains("read command lines"));
    }

    #[test]
    fn undo_has_its_aliases_and_takes_ids_or_the_last() {
        for verb in ["undo", "lift", "unblock"] {
            let arguments = parse(&format!("portcullis {verb} dn_1 dn_2")).unwrap();
            let Command::Undo(undo) = arguments.command else { panic!() };
            assert_eq!(undo.which, Which::Ids(vec!["dn_1".into(), "dn_2".into()]));
        }
        let arguments = parse("portcullis undo --last").unwrap();
        assert!(matches!(arguments.command, Command::Undo(Undo { which: Which::Last, .. })));
        usage("portcullis undo");
        usage("portcullis undo --last dn_1");
    }

    #[test]
    fn filters_become_the_words_of_the_api() {
        let line = "portcullis denials --claim tenant=acme --by dana --undone \
                    --since 2026-11-20T00:00:00+01:00";
        let arguments = parse(line).unwrap();
        let Command::Denials(Denials::List(list)) = arguments.command else { panic!() };
        let query: Vec<(&str, &str)> = list.query.iter().map(|(n, v)| (*n, v.as_str())).collect();
        assert_eq!(
            query,
            [
                ("created_by", "dana"),
                ("since", "2026-11-19T23:00:00Z"),
                ("claim", "tenant=acme"),
                ("state", "all")
            ]
        );
        assert!(usage("portcullis denials --user a --claim t=b").contains("cannot be used with"));
        assert!(usage("portcullis denials --since yesterday").contains("neither a time"));
        assert!(usage("portcullis denials --claim acme").contains("NAME=VALUE"));
    }

    #[test]
    fn a_directory_stands_for_its_config_and_a_line_to_paste_finds_the_same_gateway() {
        let directory = tempfile::tempdir().unwrap();
        let shown = directory.path().display().to_string();
        let arguments = parse(&format!("target/release/portcullis -c {shown} status")).unwrap();
        assert_eq!(arguments.global.config, directory.path().join("gateway.toml"));
        assert_eq!(arguments.global.again(), format!("target/release/portcullis -c {shown}"));
        let plain = parse("portcullis status").unwrap();
        assert_eq!(plain.global.again(), "portcullis");
        let after = parse("portcullis status --admin unix:a.sock --json -q").unwrap();
        assert_eq!(after.global.again(), "portcullis --admin unix:a.sock");
        assert!(after.global.json && after.global.quiet);
    }

    #[test]
    fn clap_finds_the_definitions_sound() {
        use clap::CommandFactory as _;
        Raw::command().debug_assert();
    }

    #[test]
    fn the_written_help_names_every_command_and_every_command_has_examples() {
        use clap::CommandFactory as _;
        let help = super::super::help::TOP;
        for command in Raw::command().get_subcommands() {
            let name = command.get_name();
            assert!(help.contains(&format!("\n  {name} ")), "{name} is not in the help");
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(examples.contains(&format!("portcullis {name}")), "{name} has no example");
        }
    }
}
