//! What is wrong with a configuration, and how it is shown: to people as text with the line and
//! a caret, to programs as JSON. All mistakes of a file come together in one [`Diagnostics`].
//! The printed line has passed the mask, so no rendering holds a secret.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// How bad it is. Only an error keeps a configuration from being used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    Error,
    Warning,
    Note,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Error => "\x1b[1;31m",
            Self::Warning => "\x1b[1;33m",
            Self::Note => "\x1b[1;36m",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// The stable number of a diagnostic: it never changes its meaning.
        /// `docs/configuration.md` lists them.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Code {
            $($(#[$doc])* $name = $number,)*
        }

        impl Code {
            /// Every code, by number.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

codes! {
    /// The configuration file itself cannot be read.
    Unreadable = 1,
    Syntax = 2,
    UnsetVariable = 3,
    BadVariable = 4,
    WrongType = 10,
    MissingKey = 11,
    UnknownKey = 12,
    Unsupported = 13,
    Exclusive = 14,
    Duplicate = 15,
    Empty = 16,
    BadDuration = 20,
    BadSize = 21,
    OutOfRange = 22,
    BadAddress = 23,
    BadUrl = 24,
    BadChoice = 25,
    BadHost = 26,
    BadPath = 27,
    BadClaim = 28,
    BadHeader = 29,
    BadCredential = 30,
    UnknownUpstream = 31,
    UnknownIssuer = 32,
    BadNetwork = 33,
    BadName = 34,
    /// A file that the configuration names cannot be read.
    FileUnreadable = 40,
    BadKey = 41,
    ShortSecret = 42,
    BadAlgorithm = 43,
    BadAdminToken = 44,
    /// A route that can never be reached.
    Unreachable = 50,
    /// A key that has no effect in its company.
    NoEffect = 51,
    /// A route that asks for a token that cannot be brought.
    Impossible = 52,
    MissingClaim = 60,
    InlineSecret = 61,
    OpenFile = 62,
    PlainHttp = 63,
    SkippedKey = 64,
    Unused = 65,
    AdminExposed = 66,
    TrustsEveryone = 67,
    /// Under Kubernetes each pod has a store of its own.
    OnePerPod = 68,
    /// The system lets the process open fewer files than it may have connections.
    FewDescriptors = 69,
    /// What requests are placed by is none of the things that they have.
    BadHashKey = 80,
    OnlyBackups = 81,
    BadUpstreamTls = 82,
    BadCertificate = 70,
    /// Expired, or not valid yet.
    CertificateDates = 71,
    OpenPrivateKey = 72,
    /// A key of `[[listener]]` that its kind of address does not have.
    NotOfThisListener = 90,
    /// Mode, owner or group of a unix socket.
    BadSocketRights = 91,
    BadMethod = 100,
    /// Two routes that match the same requests, and nothing says which is tried first.
    Ambiguous = 101,
    BadHeaderRule = 102,
    BadRedirect = 103,
    /// A condition that a client can get around to a route that asks for less.
    WayAround = 104,
    BadRewrite = 105,
    BadCors = 106,
    /// Keys over plain HTTP from another machine.
    InsecureKeys = 110,
    BadIssuerUrl = 111,
    BadAuthorities = 112,
    /// What becomes of a stream is not said as it must be.
    BadStreamEnd = 130,
    BadCloseCode = 131,
    /// A protocol that no route may let connections switch to.
    BadUpgrade = 132,
    BadOrigin = 140,
    BadCookie = 141,
    /// A cookie that more may see than need to.
    LooseCookie = 142,
    BadCapture = 143,
    BadLoginUrl = 144,
    /// Refresh tokens over plain HTTP to another machine.
    InsecureRenewal = 150,
    /// What a backend is vouched to with is not said as it must be.
    BadAssertion = 151,
}

impl std::fmt::Display for Code {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "C{:03}", *self as u16)
    }
}

/// Where in the file: lines and columns count from 1, columns in characters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub line: usize,
    pub column: usize,
    /// The line, masked.
    pub excerpt: String,
    /// Characters of `excerpt` before the carets, and how many carets.
    pub caret: (usize, usize),
}

/// One mistake, or one thing worth knowing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    pub severity: Severity,
    pub code: Code,
    pub message: String,
    pub place: Option<Place>,
    /// Behind the carets: at most one suggestion.
    pub suggestion: Option<String>,
    /// Facts found on the way: what the system said about a file.
    pub detail: Option<String>,
    pub help: Option<String>,
}

impl Diagnostic {
    pub(super) fn new(severity: Severity, code: Code, message: impl Into<String>) -> Self {
        Self {
            severity,
            code,
            message: message.into(),
            place: None,
            suggestion: None,
            detail: None,
            help: None,
        }
    }

    pub(super) fn error(code: Code, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    pub(super) fn warning(code: Code, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    pub(super) fn note(code: Code, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, message)
    }

    pub(super) fn suggest(mut self, suggestion: Option<String>) -> Self {
        self.suggestion = suggestion;
        self
    }

    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn render(&self, file: &str, paint: Paint, out: &mut String) {
        let head = format!("{}[{}]", self.severity.as_str(), self.code);
        let head = paint.with(self.severity.colour(), &head);
        let _ = writeln!(out, "{head}: {}", self.message);
        let Some(place) = &self.place else {
            let _ = writeln!(out, "  {} {file}", paint.blue("-->"));
            self.render_tail("  ", paint, out);
            return;
        };
        let number = place.line.to_string();
        let gutter = " ".repeat(number.len() + 1);
        let bar = paint.blue("|");
        let arrow = paint.blue("-->");
        let _ = writeln!(out, "  {arrow} {file}:{}:{}", place.line, place.column);
        let _ = writeln!(out, "{gutter}{bar}");
        let line = format!("{} {bar} {}", paint.blue(&number), place.excerpt);
        let _ = writeln!(out, "{}", line.trim_end());
        let (before, width) = place.caret;
        let carets = paint.with(self.severity.colour(), &"^".repeat(width));
        let mut under = format!("{gutter}{bar} {}{carets}", " ".repeat(before));
        if let Some(suggestion) = &self.suggestion {
            let _ = write!(under, " {suggestion}");
        }
        let _ = writeln!(out, "{under}");
        self.render_tail(&gutter, paint, out);
    }

    fn render_tail(&self, gutter: &str, paint: Paint, out: &mut String) {
        let sign = paint.blue("=");
        if let Some(detail) = &self.detail {
            let _ = writeln!(out, "{gutter}{sign} {detail}");
        }
        if let Some(help) = &self.help {
            let _ = writeln!(out, "{gutter}{sign} help: {help}");
        }
    }

    fn to_json(&self, file: &str) -> Value {
        json!({
            "severity": self.severity.as_str(),
            "code": self.code.to_string(),
            "file": file,
            "line": self.place.as_ref().map(|place| place.line),
            "column": self.place.as_ref().map(|place| place.column),
            "message": self.message,
            "suggestion": self.suggestion,
            "detail": self.detail,
            "help": self.help,
        })
    }
}

/// Everything that one reading of a file found, errors first, each kind in file order.
#[derive(Clone, PartialEq, Eq)]
pub struct Diagnostics {
    /// As the file was named.
    pub file: String,
    pub items: Vec<Diagnostic>,
    /// Files that the configuration names and that were read, or should have been.
    pub named: Vec<std::path::PathBuf>,
}

impl Diagnostics {
    pub(super) fn new(file: String, mut items: Vec<Diagnostic>) -> Self {
        let place = |item: &Diagnostic| {
            item.place.as_ref().map_or((0, 0), |place| (place.line, place.column))
        };
        items.sort_by_key(|item| (item.severity, place(item)));
        items.dedup();
        Self { file, items, named: Vec::new() }
    }

    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    pub fn count(&self, severity: Severity) -> usize {
        self.items.iter().filter(|item| item.severity == severity).count()
    }

    /// For people; `colour` adds ANSI escapes. Ends with a line that says what happens now.
    pub fn render(&self, colour: bool) -> String {
        let paint = Paint { on: colour };
        let mut out = String::new();
        for item in &self.items {
            item.render(&self.file, paint, &mut out);
            out.push('\n');
        }
        let errors = self.count(Severity::Error);
        if errors > 0 {
            let plural = if errors == 1 { "" } else { "s" };
            let _ = writeln!(
                out,
                "{errors} error{plural} in {}. Nothing was changed; a running gateway keeps the \
                 config it has.",
                self.file
            );
        }
        out
    }

    /// An array with one object for each diagnostic.
    pub fn to_json(&self) -> Value {
        Value::Array(self.items.iter().map(|item| item.to_json(&self.file)).collect())
    }
}

impl std::fmt::Debug for Diagnostics {
    /// Without the names of files: a secret may stand where one belongs.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, items, named: _ } = self;
        out.debug_struct("Diagnostics")
            .field("file", file)
            .field("items", items)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Display for Diagnostics {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

#[derive(Clone, Copy)]
struct Paint {
    on: bool,
}

impl Paint {
    fn with(self, colour: &str, text: &str) -> String {
        if self.on { format!("{colour}{text}\x1b[0m") } else { text.to_owned() }
    }

    fn blue(self, text: &str) -> String {
        self.with("\x1b[1;34m", text)
    }
}
