//! The registry of open streams by itself: what a stream costs to be opened, entered and ended, how
//! many bytes it takes, and what a denial costs that hits k of n.
//!
//! `cargo bench --bench streams`, a few seconds. It asserts that a denial ends the streams it means
//! and no others, and that its cost follows k and not n.

#![expect(clippy::expect_used, reason = "a benchmark whose preparation fails measures nothing")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::clock::UnixMs;
use portcullis::config;
use portcullis::denylist::{
    Denylist, Fingerprint, Fingerprinter, Fold, Marks, SelectorKind, Writer,
};
use portcullis::keys::{Algorithm, SigningKey};
use portcullis::proxy::measuring::{Open, Registry};
use portcullis::proxy::{Kept, Nudges, compile};
use portcullis::token::Credential;
use portcullis::verify::{Issuer, Policy, SignatureCache, Signed, Verifier};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Which mark of a token.
type MarkOf = fn(&Marks) -> Option<Fingerprint>;

const ISS: &str = "https://id.example.com/";
/// Streams open at a time.
const SIZES: [usize; 3] = [15_000, 100_000, 300_000];
/// How many of them one denial hits, and by what: a user's, a session's, a client's.
const HITS: [(usize, SelectorKind, MarkOf); 3] = [
    (2, SelectorKind::Subject, |marks| marks.subject),
    (32, SelectorKind::Session, |marks| marks.session),
    (512, SelectorKind::Client, |marks| marks.client),
];
/// Denials of each kind; the median counts.
const DENIALS: usize = 9;
/// What is dearer among twenty times as many streams: caches that miss and deeper trees.
const GROWTH_MAX: f64 = 8.0;

fn main() {
    println!("streams: n open; ns each to open, enter, end; bytes each; µs a denial of 2, 32, 512");
    let costs: Vec<[f64; HITS.len()]> = SIZES.into_iter().map(measure).collect();
    let (first, last) = (costs.first().expect("sizes"), costs.last().expect("sizes"));
    for ((hits, ..), (first, last)) in HITS.into_iter().zip(first.iter().zip(last)) {
        let grown = last / first;
        println!(
            "streams: a denial of {hits} costs {grown:.1} times as much among 20 times as many"
        );
        assert!(grown < GROWTH_MAX, "a denial costs what is open, not what it hits");
    }
}

/// Microseconds of a denial by how many it hits, among `count` streams.
fn measure(count: usize) -> [f64; HITS.len()] {
    let (signer, registry, mut writer) = prepare();
    let now = UnixMs::now();
    let tokens: Vec<_> = (0..count).map(|number| signer.token(number, now)).collect();
    let before = resident();

    let start = Instant::now();
    let open: Vec<Open> = tokens.iter().map(|token| registry.open(token, now)).collect();
    let opened = start.elapsed();
    let start = Instant::now();
    registry.enter_lasting(now.plus(Duration::from_secs(1)));
    let entered = start.elapsed();
    let bytes = resident().saturating_sub(before) / count as u64;

    let mut first = 0;
    let costs = HITS.map(|(hits, kind, mark_of)| {
        let mut spent: Vec<f64> = (0..DENIALS)
            .map(|_| {
                let took =
                    deny(&registry, &mut writer, &tokens, &open, first, (hits, kind, mark_of));
                // The next group whose members are all open.
                first = (first + hits).next_multiple_of(512);
                took.as_secs_f64() * 1e6
            })
            .collect();
        spent.sort_by(f64::total_cmp);
        spent.get(DENIALS / 2).copied().expect("there are so many")
    });
    let start = Instant::now();
    open.iter().for_each(|one| registry.end(one));
    let ended = start.elapsed();

    let each = |time: Duration| time.as_secs_f64() * 1e9 / count as f64;
    let (opened, entered, ended) = (each(opened), each(entered), each(ended));
    println!("{count:>8} {opened:>6.0} {entered:>6.0} {ended:>6.0} {bytes:>6} {costs:>8.1?}");
    costs
}

/// Denies the group of the stream `first` and looks who was cut.
fn deny(
    registry: &Registry,
    writer: &mut Writer,
    tokens: &[Arc<Signed>],
    open: &[Open],
    first: usize,
    (hits, kind, mark_of): (usize, SelectorKind, MarkOf),
) -> Duration {
    let cut = || open.iter().filter(|one| one.is_cut()).count();
    let before = cut();
    let marks = tokens.get(first).expect("enough streams").marks();
    let mark = mark_of(marks).expect("the token has it");
    let start = Instant::now();
    writer.set_of_kind(kind, mark, &Fold { always: true, ..Fold::default() });
    registry.changed(&[mark]);
    let took = start.elapsed();
    assert_eq!(cut() - before, hits, "so many were cut");
    let mine = open.get(first..first + hits).expect("enough streams");
    assert!(mine.iter().all(Open::is_cut), "those that were meant were cut");
    took
}

struct Signer {
    key: SigningKey,
    verifier: Arc<Verifier>,
}

impl Signer {
    /// Of a user with 2 streams, a session with 32, a client with 512.
    fn token(&self, number: usize, now: UnixMs) -> Arc<Signed> {
        let claims = json!({
            "iss": ISS, "aud": "bench", "sub": format!("user-{}", number / 2),
            "sid": format!("session-{}", number / 32), "azp": format!("client-{}", number / 512),
            "jti": format!("token-{number}"), "iat": now.secs() - 5, "exp": now.secs() + 3600,
        });
        let token = Credential::new(&self.key.sign(&claims).expect("it signs"));
        let verified = self.verifier.verify(&token, now).expect("it is good");
        Arc::clone(verified.signed())
    }
}

fn prepare() -> (Signer, Registry, Writer) {
    let key = SigningKey::generate(Algorithm::HS256).expect("a key");
    let keys = key.key_set(&[Algorithm::HS256]).expect("the key is good");
    let policy = Policy::new("main", ISS, &["bench"], &[Algorithm::HS256]);
    let issuer = Arc::new(Issuer::new(policy, Arc::new(keys)));
    let fingerprinter = Fingerprinter::random();
    let cache = Arc::new(SignatureCache::new(0));
    let verifier = Arc::new(Verifier::new(vec![issuer], fingerprinter.clone(), cache));
    let (denylist, writer) = Denylist::new(fingerprinter);
    let text = "[[upstream]]\nname = \"app\"\nservers = [\"http://127.0.0.1:1\"]\n\
                [[route]]\npath = \"/\"\naccess = \"public\"\nupstream = \"app\"\n";
    let loaded = config::parse(text, Path::new("gateway.toml"), &|_| None).expect("it is valid");
    let published = compile(
        &loaded.config,
        Arc::clone(&verifier),
        denylist,
        Nudges::default(),
        &mut Kept::default(),
    );
    (Signer { key, verifier }, Registry::new(published), writer)
}

/// Resident bytes of this process; 0 where there is no `/proc`.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
