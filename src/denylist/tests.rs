//! The denylist against a naive oracle: a list of records and the prose of the design.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::clock::UnixMs;
use crate::keys::Thumbprint;

/// A token of the small world in which the oracle lives.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) issuer: IssuerId,
    pub(crate) id: TokenId,
    pub(crate) session: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) client: Option<String>,
    pub(crate) key: Thumbprint,
    pub(crate) claims: Vec<(String, String)>,
    pub(crate) issued_at: Option<UnixMs>,
    pub(crate) version: Option<u64>,
}

impl Token {
    pub(crate) fn marks(&self, by: &Fingerprinter) -> Marks {
        Marks::of(&self.identity(), by)
    }

    pub(crate) fn identity(&self) -> Identity<'_> {
        Identity {
            issuer: &self.issuer,
            token: self.id.clone(),
            session: self.session.as_deref(),
            subject: self.subject.as_deref(),
            client: self.client.as_deref(),
            key: &self.key,
            claims: self.claims.iter().map(|(n, v)| (n.as_str(), v.clone())).collect(),
            issued_at: self.issued_at,
            version: self.version,
            must_be_registered: false,
        }
    }
}

/// The prose: does this record deny this token?
pub(crate) fn denies(denial: &Denial, token: &Token) -> bool {
    let named = match &denial.selector {
        Selector::Token(id) => *id == token.id,
        Selector::Session(session) => Some(session) == token.session.as_ref(),
        Selector::Subject(subject) => Some(subject) == token.subject.as_ref(),
        Selector::Client(client) => Some(client) == token.client.as_ref(),
        Selector::Key(key) => *key == token.key,
        Selector::Claim { name, value } => {
            token.claims.iter().any(|(n, v)| n == name && v == value)
        }
        Selector::Issuer => true,
        Selector::Registration(_) => false,
    };
    let spared = match &denial.except {
        Some(Except::Session(session)) => Some(session) == token.session.as_ref(),
        Some(Except::Token(id)) => *id == token.id,
        None => false,
    };
    let held = match denial.condition {
        Condition::Always => true,
        Condition::IssuedBefore(before) => token.issued_at.is_none_or(|at| at < before) && !spared,
        Condition::VersionBelow(below) => token.version.is_none_or(|version| version < below),
    };
    named && held && denial.issuer == token.issuer
}

pub(crate) fn actor() -> Actor {
    Actor { name: "dana".into(), role: "admin".into(), via: Via::Api, address: None }
}

pub(crate) fn issuers() -> impl Strategy<Value = IssuerId> {
    prop_oneof![Just("https://a.example/"), Just("https://a.example")].prop_map(IssuerId::new)
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("c")].prop_map(str::to_owned)
}

fn token_id() -> impl Strategy<Value = TokenId> {
    prop_oneof![name().prop_map(TokenId::Jti), (0..2_u8).prop_map(|n| TokenId::Digest([n; 32]))]
}

pub(crate) fn selectors() -> impl Strategy<Value = Selector> {
    prop_oneof![
        token_id().prop_map(Selector::Token),
        name().prop_map(Selector::Session),
        name().prop_map(Selector::Subject),
        name().prop_map(Selector::Client),
        (0..2_u8).prop_map(|n| Selector::Key(Thumbprint([n; 32]))),
        (name(), name()).prop_map(|(name, value)| Selector::Claim { name, value }),
        Just(Selector::Issuer),
    ]
}

pub(crate) fn excepts() -> impl Strategy<Value = Except> {
    prop_oneof![name().prop_map(Except::Session), token_id().prop_map(Except::Token)]
}

pub(crate) fn conditions() -> impl Strategy<Value = (Condition, Option<Except>)> {
    let excepts = excepts();
    prop_oneof![
        1 => Just((Condition::Always, None)),
        6 => (0..6_i64, proptest::option::weighted(0.8, excepts))
            .prop_map(|(at, except)| (Condition::IssuedBefore(UnixMs(at)), except)),
        2 => prop_oneof![0..6_u64, Just(u64::MAX)]
            .prop_map(|version| (Condition::VersionBelow(version), None)),
    ]
}

pub(crate) fn tokens() -> impl Strategy<Value = Token> {
    let maybe = || proptest::option::of(name());
    (
        (issuers(), token_id(), maybe(), maybe(), maybe()),
        0..2_u8,
        proptest::collection::vec((name(), name()), 0..3),
        proptest::option::of((0..6_i64).prop_map(UnixMs)),
        proptest::option::of(0..6_u64),
    )
        .prop_map(
            |((issuer, id, session, subject, client), key, claims, issued_at, version)| {
                let key = Thumbprint([key; 32]);
                Token { issuer, id, session, subject, client, key, claims, issued_at, version }
            },
        )
}

fn denial(n: u64, issuer: IssuerId, selector: Selector, condition: Condition) -> Denial {
    let mut id = [0; 10];
    id[2..].copy_from_slice(&n.to_be_bytes());
    Denial {
        id: DenialId(id),
        issuer,
        selector,
        condition,
        except: None,
        created_at: UnixMs(0),
        kept_until: None,
        ends_at: None,
        reason: String::new(),
        reference: None,
        created_by: actor(),
    }
}

fn denials() -> impl Strategy<Value = Vec<Denial>> {
    // Few selectors, so that folds of many records are common.
    let one = (issuers(), prop_oneof![3 => Just(Selector::Issuer), 7 => selectors()], conditions());
    proptest::collection::vec(one, 0..20).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(n, (issuer, selector, (condition, except)))| Denial {
                except,
                ..denial(n as u64, issuer, selector, condition)
            })
            .collect()
    })
}

fn table_of(denials: &[Denial]) -> (Arc<Denylist>, Writer) {
    let (table, mut writer) = Denylist::new(Fingerprinter::random());
    for denial in denials {
        set_fold(&mut writer, denials, denial);
    }
    (table, writer)
}

/// Sets what all of `denials` mean for the selector of one.
fn set_fold(writer: &mut Writer, denials: &[Denial], of: &Denial) {
    let by = writer.table().fingerprinter().clone();
    let mut fold = Fold::default();
    denials
        .iter()
        .filter(|other| other.issuer == of.issuer && other.selector == of.selector)
        .for_each(|other| fold.add(other, &by));
    let at = by.selector(&of.issuer, &of.selector);
    writer.set_of_kind(of.selector.kind(), at, &fold);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_table_says_what_the_records_say(
        denials in denials(),
        tokens in proptest::collection::vec(tokens(), 1..40),
        lifted in any::<u32>(),
    ) {
        let (table, mut writer) = table_of(&denials);
        let by = table.fingerprinter().clone();
        for token in &tokens {
            let expected = denials.iter().any(|denial| denies(denial, token));
            let hit = table.check(&token.marks(&by));
            prop_assert_eq!(hit.is_some(), expected, "{:?}", token);
            if let Some(hit) = hit {
                prop_assert!(denials.iter().any(|denial| denies(denial, token)
                    && denial.selector.kind() == hit.selector
                    && denial.condition.kind() == hit.condition
                    && by.selector(&denial.issuer, &denial.selector) == hit.fingerprint));
            }
        }
        // Some are lifted: the same must hold of what remains.
        let (gone, left): (Vec<_>, Vec<_>) =
            denials.into_iter().enumerate().partition(|(n, _)| lifted >> (n % 32) & 1 == 1);
        let left: Vec<Denial> = left.into_iter().map(|(_, denial)| denial).collect();
        for (_, denial) in &gone {
            set_fold(&mut writer, &left, denial);
        }
        for token in &tokens {
            let expected = left.iter().any(|denial| denies(denial, token));
            prop_assert_eq!(table.check(&token.marks(&by)).is_some(), expected, "{:?}", token);
        }
        let mut selectors: Vec<_> = left.iter().map(|d| (&d.issuer, &d.selector)).collect();
        selectors.sort();
        selectors.dedup();
        prop_assert_eq!(table.len(), selectors.len());
    }

    #[test]
    fn a_fold_does_not_depend_on_the_order_and_holds_three_cutoffs_at_the_most(
        conditions in proptest::collection::vec(conditions(), 0..12),
        seed in any::<u64>(),
    ) {
        let by = Fingerprinter::random();
        let issuer = IssuerId::new("https://a.example/");
        let fold_in = |order: &[usize]| {
            let mut fold = Fold::default();
            for n in order {
                let (condition, except) = &conditions[*n];
                let except = except.as_ref().map(|except| by.except(&issuer, except));
                fold.add_condition(*condition, except);
                // What came already comes again.
                fold.add_condition(*condition, except);
            }
            fold
        };
        let straight: Vec<usize> = (0..conditions.len()).collect();
        let mut mixed = straight.clone();
        mixed.sort_by_key(|n| seed.rotate_left(*n as u32 * 7).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let fold = fold_in(&straight);
        prop_assert_eq!(&fold, &fold_in(&mixed));
        prop_assert!(fold.cutoffs.len() <= 3);
        prop_assert!(fold.cutoffs.is_sorted_by_key(|cutoff| std::cmp::Reverse(cutoff.before)));
    }
}

fn alice() -> Token {
    Token {
        issuer: IssuerId::new("https://a.example/"),
        id: TokenId::Jti("t-1".into()),
        session: Some("s-1".into()),
        subject: Some("alice".into()),
        client: Some("shop".into()),
        key: Thumbprint([1; 32]),
        claims: vec![("tenant".into(), "acme".into()), ("role".into(), "buyer".into())],
        issued_at: Some(UnixMs(1_000_000)),
        version: Some(7),
    }
}

#[test]
fn each_selector_under_each_condition_denies_its_token_and_no_neighbour() {
    let good = alice();
    let digest = Token { id: TokenId::Digest([9; 32]), ..alice() };
    let claim =
        |name: &str, value: &str| Selector::Claim { name: name.into(), value: value.into() };
    // A selector, the token that it names, and the nearest one that it does not name.
    let selectors = [
        (
            Selector::Token(good.id.clone()),
            alice(),
            Token { id: TokenId::Jti("t-2".into()), ..alice() },
        ),
        (
            Selector::Token(digest.id.clone()),
            digest,
            Token { id: TokenId::Digest([8; 32]), ..alice() },
        ),
        (
            Selector::Session("s-1".into()),
            alice(),
            Token { session: Some("s-2".into()), ..alice() },
        ),
        (Selector::Session("s-1".into()), alice(), Token { session: None, ..alice() }),
        (
            Selector::Subject("alice".into()),
            alice(),
            Token { subject: Some("Alice".into()), ..alice() },
        ),
        (
            Selector::Client("shop".into()),
            alice(),
            Token { client: Some("shop2".into()), ..alice() },
        ),
        (
            Selector::Key(Thumbprint([1; 32])),
            alice(),
            Token { key: Thumbprint([2; 32]), ..alice() },
        ),
        (
            claim("tenant", "acme"),
            alice(),
            Token { claims: vec![("role".into(), "acme".into())], ..alice() },
        ),
        (claim("role", "buyer"), alice(), Token { claims: Vec::new(), ..alice() }),
        (
            Selector::Issuer,
            alice(),
            Token { issuer: IssuerId::new("https://a.example"), ..alice() },
        ),
    ];
    // A condition, and how a token of the selector escapes it by one detail.
    type Escape = fn(Token) -> Option<Token>;
    let conditions: [(Condition, Escape); 3] = [
        (Condition::Always, |_| None),
        (Condition::IssuedBefore(UnixMs(1_000_001)), |token| {
            Some(Token { issued_at: Some(UnixMs(1_000_001)), ..token })
        }),
        (Condition::VersionBelow(8), |token| Some(Token { version: Some(8), ..token })),
    ];
    for (selector, named, neighbour) in &selectors {
        for (condition, escape) in &conditions {
            let denial = denial(1, good.issuer.clone(), selector.clone(), *condition);
            let (table, mut writer) = table_of(std::slice::from_ref(&denial));
            let by = table.fingerprinter().clone();
            let check = |token: &Token| table.check(&token.marks(&by));
            let hit = check(named).unwrap();
            assert_eq!((hit.selector, hit.condition), (selector.kind(), condition.kind()));
            assert_eq!(check(neighbour), None, "{selector:?} {condition:?}");
            let other = Token { issuer: IssuerId::new("https://b.example/"), ..named.clone() };
            assert_eq!(check(&other), None, "the same names at another issuer");
            if let Some(escaped) = escape(named.clone()) {
                assert_eq!(check(&escaped), None, "{selector:?} {condition:?}");
                let bare = Token { issued_at: None, version: None, ..named.clone() };
                assert!(check(&bare).is_some(), "what a token does not say cannot save it");
            }
            writer.set_of_kind(selector.kind(), hit.fingerprint, &Fold::default());
            assert_eq!(check(named), None, "lifted");
            assert!(table.is_empty());
        }
    }
}

#[test]
fn an_exception_spares_one_session_or_token_of_one_cutoff_and_of_no_other_denial() {
    let cutoff = |before: i64, except: Option<Except>| Denial {
        except,
        ..denial(
            1,
            alice().issuer,
            Selector::Subject("alice".into()),
            Condition::IssuedBefore(UnixMs(before)),
        )
    };
    let session = Some(Except::Session("s-1".into()));
    let check = |denials: &[Denial], token: &Token| {
        let (table, _writer) = table_of(denials);
        table.check(&token.marks(table.fingerprinter())).is_some()
    };
    let other = Token { session: Some("s-2".into()), id: TokenId::Jti("t-2".into()), ..alice() };
    let one = [cutoff(2_000_000, session.clone())];
    assert!(!check(&one, &alice()) && check(&one, &other));
    let by_token = [cutoff(2_000_000, Some(Except::Token(TokenId::Jti("t-1".into()))))];
    assert!(!check(&by_token, &alice()) && check(&by_token, &other));
    // A second cutoff without the exception, as soon as it is late enough, denies it too.
    assert!(!check(&[one[0].clone(), cutoff(1_000_000, None)], &alice()));
    assert!(check(&[one[0].clone(), cutoff(1_000_001, None)], &alice()));
    // Spared by both: by its session here, by its id there.
    assert!(!check(&[one[0].clone(), by_token[0].clone()], &alice()));
    // A ban knows no exception.
    let ban = denial(2, alice().issuer, Selector::Subject("alice".into()), Condition::Always);
    assert!(check(&[one[0].clone(), ban], &alice()));
}

#[test]
fn a_check_that_begins_after_set_returns_sees_it() {
    let (table, mut writer) = Denylist::new(Fingerprinter::random());
    let by = table.fingerprinter().clone();
    let marks: Arc<Vec<Marks>> = Arc::new(
        (0..60_000)
            .map(|n| Token { id: TokenId::Jti(format!("t-{n}")), ..alice() }.marks(&by))
            .collect(),
    );
    // How many are denied for sure; what is above may or may not be yet.
    let set = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..3)
        .map(|reader| {
            let (table, marks, set) = (Arc::clone(&table), Arc::clone(&marks), Arc::clone(&set));
            std::thread::spawn(move || {
                let mut n = reader;
                loop {
                    let known = set.load(Ordering::Acquire) as usize;
                    if known > 0 {
                        n = (n * 7 + 13) % known;
                        assert!(table.check(&marks[known - 1]).is_some(), "the newest");
                        assert!(table.check(&marks[n]).is_some(), "an older one");
                    }
                    if known == marks.len() {
                        return;
                    }
                }
            })
        })
        .collect();
    let always = Fold { always: true, ..Fold::default() };
    for mark in marks.iter() {
        writer.set_of_kind(SelectorKind::Token, mark.token, &always);
        set.fetch_add(1, Ordering::Release);
    }
    for reader in readers {
        reader.join().unwrap();
    }
    // And it gives its memory back.
    let full = table.bytes();
    for mark in marks.iter() {
        writer.set_of_kind(SelectorKind::Token, mark.token, &Fold::default());
        assert!(table.check(mark).is_none());
    }
    assert!(table.is_empty());
    assert!(table.bytes() < full - 60_000 * 15, "{} of {full}", table.bytes());
}

#[test]
fn a_selector_set_without_its_kind_is_found_too() {
    let (table, mut writer) = Denylist::new(Fingerprinter::random());
    let marks = alice().marks(table.fingerprinter());
    writer.set(marks.subject.unwrap(), &Fold { always: true, ..Fold::default() });
    assert_eq!(table.check(&marks).unwrap().selector, SelectorKind::Subject);
    writer.set_of_kind(
        SelectorKind::Subject,
        marks.subject.unwrap(),
        &Fold { version_below: Some(8), ..Fold::default() },
    );
    assert_eq!(table.len(), 1);
    assert_eq!(table.check(&marks).unwrap().condition, ConditionKind::VersionBelow);
    writer.set(marks.subject.unwrap(), &Fold::default());
    assert_eq!((table.check(&marks), table.len()), (None, 0));
}

/// Each of them denies alice's tokens, whose `iat` is far below.
fn denying_forms(by: &Fingerprinter) -> [Fold; 5] {
    let spares =
        |name: &str| Some(by.selector(&alice().issuer, &Selector::Session(name.to_owned())));
    let cutoff = |at, except| Cutoff { before: UnixMs(at), except };
    [
        Fold { always: true, ..Fold::default() },
        Fold { cutoffs: vec![cutoff(i64::MAX, None)], ..Fold::default() },
        Fold {
            cutoffs: vec![
                cutoff(i64::MAX, spares("x")),
                cutoff(i64::MAX - 1, spares("y")),
                cutoff(i64::MAX - 2, None),
            ],
            version_below: Some(2),
            ..Fold::default()
        },
        Fold { version_below: Some(u64::MAX), ..Fold::default() },
        Fold {
            cutoffs: vec![cutoff(i64::MAX, spares("x"))],
            version_below: Some(9),
            ..Fold::default()
        },
    ]
}

/// A seeded walk of a writer, under the eyes of readers: entries go between their small and their
/// large form and away while others come and go around them. What is denied in every form is never
/// seen as not denied, and what nobody denied never as denied.
#[test]
fn readers_see_no_gap_while_entries_change_their_form_and_others_come_and_go() {
    let (table, mut writer) = Denylist::new(Fingerprinter::random());
    let by = table.fingerprinter().clone();
    let token = |n: usize, session: &str| Token {
        id: TokenId::Jti(format!("t-{n}")),
        session: Some(session.to_owned()),
        subject: Some(format!("u-{n}")),
        ..alice()
    };
    let changing: Vec<Marks> = (0..16).map(|n| token(n, "s-denied").marks(&by)).collect();
    let steady: Vec<Marks> = (100..116).map(|n| token(n, "s").marks(&by)).collect();
    let free: Vec<Marks> = (200..216).map(|n| token(n, "s-free").marks(&by)).collect();
    let passing: Vec<Marks> = (300..5_300).map(|n| token(n, "s-other").marks(&by)).collect();
    let forms = denying_forms(&by);
    for marks in changing.iter().chain(&steady) {
        writer.set_of_kind(SelectorKind::Subject, marks.subject.unwrap(), &forms[0]);
    }
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let looks = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (table, stop, looks) = (Arc::clone(&table), Arc::clone(&stop), Arc::clone(&looks));
            let (denied, free) = ([changing.clone(), steady.clone()].concat(), free.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    assert!(denied.iter().all(|marks| table.check(marks).is_some()));
                    assert!(free.iter().all(|marks| table.check(marks).is_none()));
                    looks.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut seed = 0x5eed_u64;
    let mut next = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    let mut turn = 0;
    while turn < 60_000 || looks.load(Ordering::Relaxed) < 200 {
        turn += 1;
        let marks = &changing[next(changing.len())];
        writer.set_of_kind(
            SelectorKind::Subject,
            marks.subject.unwrap(),
            &forms[next(forms.len())],
        );
        let other = passing[next(passing.len())].subject.unwrap();
        let fold = match next(3) {
            0 => forms[2].clone(),
            1 => forms[0].clone(),
            _ => Fold::default(),
        };
        writer.set_of_kind(SelectorKind::Subject, other, &fold);
    }
    stop.store(true, Ordering::Release);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    for marks in changing.iter().chain(&steady).chain(&passing) {
        writer.set_of_kind(SelectorKind::Subject, marks.subject.unwrap(), &Fold::default());
        assert!(table.check(marks).is_none());
    }
    assert!(table.is_empty());
}

#[test]
fn an_entry_takes_at_most_forty_bytes_whatever_the_size() {
    let (table, mut writer) = Denylist::new(Fingerprinter::random());
    let by = Fingerprinter::random();
    let issuer = IssuerId::new("i");
    let always = Fold { always: true, ..Fold::default() };
    for n in 1..=240_000_u32 {
        let at = by.selector(&issuer, &Selector::Session(n.to_string()));
        writer.set_of_kind(SelectorKind::Session, at, &always);
        if n >= 60_000 && n % 20_000 == 0 {
            let bytes = table.bytes() as f64 / f64::from(n);
            assert!(bytes <= 40.0, "{bytes} at {n}");
        }
    }
}
