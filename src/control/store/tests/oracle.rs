//! The store against a naive oracle: a list of records and the prose, through lifts, duplicates,
//! foreign changes in any order, clock steps and restarts.

use std::collections::HashMap;

use proptest::prelude::*;

use super::disk::SimulatedDisk;
use super::*;
use crate::denylist::tests::{Token, conditions, denies, excepts, issuers, selectors, tokens};

#[derive(Clone, Debug)]
enum Act {
    Deny {
        denial: Box<NewDenial>,
        kept_hours: Option<u64>,
        end_hours: Option<u64>,
    },
    /// Lets a session or token pass, for so many hours.
    Register {
        issuer: IssuerId,
        one: Except,
        hours: u64,
        name: &'static str,
    },
    /// Lifts the record with this number, modulo how many there are.
    Lift(usize),
    /// Applies again what is known already.
    Again(usize),
    /// A denial from elsewhere, with or without its tombstone, which may come first.
    Foreign {
        denial: Box<NewDenial>,
        lifted: bool,
        lift_first: bool,
    },
    Pass(u64),
    /// Somebody sets the wall clock by so many hours.
    Jump(i64),
    Restart,
}

#[derive(Default)]
struct Oracle {
    records: Vec<(Denial, Option<Lift>)>,
    /// When what is left of a lifted denial is forgotten.
    lifted: HashMap<DenialId, UnixMs>,
}

impl Oracle {
    fn unlifted(&self) -> impl Iterator<Item = &Denial> {
        self.records.iter().filter(|(_, lift)| lift.is_none()).map(|(denial, _)| denial)
    }

    fn standing(&self, new: &NewDenial) -> Option<DenialId> {
        let covers = |old: Option<UnixMs>, new: Option<UnixMs>| match (old, new) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(old), Some(new)) => new <= old,
        };
        // Who registered it first makes no difference, and it passes not an hour longer.
        let registers = new.selector.kind() == SelectorKind::Registration;
        let late = if registers { Duration::ZERO } else { HOUR };
        let same = |old: &&Denial| {
            (&old.issuer, &old.selector, old.condition, &old.except)
                == (&new.issuer, &new.selector, new.condition, &new.except)
                && (registers
                    || (&old.reference, &old.created_by.name)
                        == (&new.reference, &new.created_by.name))
                && covers(old.kept_until.map(|until| until.plus(late)), new.kept_until)
                && covers(old.ends_at, new.ends_at)
        };
        // The one that lasts longest, and of those the oldest.
        let order = |denial: &&Denial| {
            let end = denial.ends_at.map_or(i64::MAX, |end| end.0);
            (std::cmp::Reverse(end), denial.id)
        };
        self.unlifted().filter(same).min_by_key(order).map(|denial| denial.id)
    }

    fn forget(&mut self, clock: UnixMs) {
        self.records.retain(|(denial, _)| {
            let registers = denial.selector.kind() == SelectorKind::Registration;
            let late = if registers { Duration::ZERO } else { HOUR };
            let kept = denial.kept_until.is_none_or(|until| until.plus(late) > clock);
            let left = self.lifted.get(&denial.id).is_none_or(|forgotten| *forgotten > clock);
            kept && left && denial.ends_at.is_none_or(|end| end > clock)
        });
    }
}

fn new_denials() -> impl Strategy<Value = NewDenial> {
    let names = prop_oneof![Just("dana"), Just("shop")];
    let references = proptest::option::of(Just("INC-1".to_owned()));
    (issuers(), selectors(), conditions(), names, references).prop_map(
        |(issuer, selector, (condition, except), name, reference)| NewDenial {
            issuer,
            except,
            reference,
            created_by: actor(name, "operator"),
            ..new(selector, condition)
        },
    )
}

fn acts() -> impl Strategy<Value = Act> {
    let hours = || proptest::option::of(1..60_u64);
    prop_oneof![
        8 => (new_denials(), hours(), hours()).prop_map(|(denial, kept_hours, end_hours)| {
            Act::Deny { denial: Box::new(denial), kept_hours, end_hours }
        }),
        3 => (issuers(), excepts(), 1..60_u64, prop_oneof![Just("dana"), Just("shop")]).prop_map(
            |(issuer, one, hours, name)| Act::Register { issuer, one, hours, name }
        ),
        4 => any::<usize>().prop_map(Act::Lift),
        2 => any::<usize>().prop_map(Act::Again),
        3 => (new_denials(), any::<bool>(), any::<bool>()).prop_map(
            |(denial, lifted, lift_first)| {
                Act::Foreign { denial: Box::new(denial), lifted, lift_first }
            }
        ),
        3 => (0..20_u64).prop_map(Act::Pass),
        1 => (300..800_u64).prop_map(Act::Pass),
        1 => (-50..2000_i64).prop_map(Act::Jump),
        1 => Just(Act::Restart),
    ]
}

/// The store, its oracle and the time of both.
struct World {
    disk: SimulatedDisk,
    clock: Arc<SimulatedClock>,
    bed: Bed,
    oracle: Oracle,
    /// The guarded clock by its prose, and all the time that has passed.
    guarded: UnixMs,
    passed: Duration,
    foreign: u8,
}

impl World {
    fn new() -> Self {
        let disk = SimulatedDisk::new();
        let clock = SimulatedClock::at(START);
        let bed = disk.open_at(&clock).unwrap();
        let oracle = Oracle::default();
        Self { disk, clock, bed, oracle, guarded: START, passed: Duration::ZERO, foreign: 0 }
    }

    fn act(self, act: Act) -> Self {
        match act {
            Act::Deny { denial, kept_hours, end_hours } => {
                self.deny(*denial, kept_hours, end_hours)
            }
            Act::Register { issuer, one, hours, name } => {
                let denial = NewDenial {
                    issuer,
                    created_by: actor(name, "operator"),
                    ..new(Selector::Registration(one), Condition::Always)
                };
                self.deny(denial, Some(hours), None)
            }
            Act::Lift(n) => self.lift(n),
            Act::Again(n) => self.again(n),
            Act::Foreign { denial, lifted, lift_first } => {
                self.foreign(*denial, lifted, lift_first)
            }
            Act::Pass(hours) => self.pass(hours),
            Act::Jump(hours) => {
                let by = Duration::from_secs(hours.unsigned_abs() * 3600);
                let wall = self.wall();
                self.clock.set_wall(if hours < 0 { wall.minus(by) } else { wall.plus(by) });
                self.pass(0)
            }
            Act::Restart => {
                let Self { disk, clock, bed, .. } = self;
                drop(bed);
                let bed = disk.open_at(&clock).unwrap();
                Self { disk, clock, bed, ..self }
            }
        }
    }

    fn wall(&self) -> UnixMs {
        Clock::Simulated(Arc::clone(&self.clock)).wall()
    }

    fn deny(mut self, denial: NewDenial, kept: Option<u64>, end: Option<u64>) -> Self {
        let after = |hours: u64| START.plus(self.passed + Duration::from_secs(hours * 3600));
        let ends_at = end.filter(|_| denial.condition == Condition::Always).map(after);
        let denial = NewDenial { kept_until: kept.map(after), ends_at, ..denial };
        let standing = self.oracle.standing(&denial);
        let accepted = deny(&self.bed, denial);
        assert_eq!(accepted.already, standing.is_some());
        match standing {
            Some(id) => assert_eq!(accepted.record.denial.id, id),
            None => self.oracle.records.push((accepted.record.denial, None)),
        }
        // It may be due already, where the guarded clock runs ahead.
        self.pass(0)
    }

    fn lift(mut self, n: usize) -> Self {
        if self.oracle.records.is_empty() {
            return self;
        }
        let n = n % self.oracle.records.len();
        let (denial, lift) = &mut self.oracle.records[n];
        let answer = super::lift(&self.bed, denial.id);
        let tombstone = answer[0].lift.clone();
        assert!(tombstone.is_some() && (lift.is_none() || *lift == tombstone));
        let forgotten = self.guarded.plus(HOUR * 24 * 30);
        self.oracle.lifted.entry(denial.id).or_insert(forgotten);
        *lift = tombstone;
        self
    }

    fn again(self, n: usize) -> Self {
        if let Some((denial, lift)) = self.oracle.records.get(n % self.oracle.records.len().max(1))
        {
            let mut changes = vec![Change::Denied(denial.clone()); 2];
            changes.extend(lift.clone().map(Change::Lifted));
            let applied = run(self.bed.store.apply(changes)).unwrap();
            assert!(applied.iter().all(|applied| *applied == Applied::Known), "{applied:?}");
        }
        self
    }

    fn foreign(mut self, new: NewDenial, lifted: bool, lift_first: bool) -> Self {
        self.foreign += 1;
        let mut id = [0xff; 10];
        id[9] = self.foreign;
        let denial = Denial {
            id: DenialId(id),
            issuer: new.issuer,
            selector: new.selector,
            condition: new.condition,
            except: new.except,
            created_at: START,
            kept_until: None,
            ends_at: None,
            reason: new.reason,
            reference: new.reference,
            created_by: new.created_by,
        };
        let lift = Lift { denial: denial.id, at: START, reason: None, by: actor("x", "admin") };
        let lift = lifted.then_some(lift);
        let mut changes = vec![Change::Denied(denial.clone())];
        changes.extend(lift.clone().map(Change::Lifted));
        if lift_first {
            changes.reverse();
        }
        for change in changes {
            assert_eq!(run(self.bed.store.apply(vec![change])).unwrap(), [Applied::New]);
        }
        if lifted {
            self.oracle.lifted.insert(denial.id, self.guarded.plus(HOUR * 24 * 30));
        }
        self.oracle.records.push((denial, lift));
        self
    }

    fn pass(mut self, hours: u64) -> Self {
        let by = Duration::from_secs(hours * 3600);
        self.clock.pass(by);
        self.passed += by;
        self.guarded = self.wall().clamp(self.guarded, self.guarded.plus(by * 2));
        run(self.bed.store.housekeep()).unwrap();
        self.oracle.forget(self.guarded);
        self
    }

    fn check(&self, tokens: &[Token]) {
        let by = self.bed.denylist.fingerprinter();
        for token in tokens {
            let expected = self.oracle.unlifted().any(|denial| denies(denial, token));
            let hit = self.bed.denylist.check(&token.marks(by));
            assert_eq!(hit.is_some(), expected, "{token:?} {:?}", self.oracle.records);
        }
        let registers = |denial: &&Denial| denial.selector.kind() == SelectorKind::Registration;
        let registered = self.oracle.unlifted().filter(registers).count() as u64;
        assert_eq!(self.bed.store.registrations(), registered);
        assert_eq!(self.bed.store.records(), self.oracle.unlifted().count() as u64);
        assert_eq!(self.bed.store.count(), self.bed.store.records() - registered);
        // Of an issuer in allowlist mode the same tokens pass only while they are registered too.
        for token in tokens {
            let identity = Identity { must_be_registered: true, ..token.identity() };
            let of = |one: &Except| match one {
                Except::Session(session) => token.session.as_ref() == Some(session),
                Except::Token(id) => token.id == *id,
            };
            let let_in = self.oracle.unlifted().any(|denial| {
                matches!(&denial.selector, Selector::Registration(one) if of(one))
                    && denial.issuer == token.issuer
            });
            let denied = self.oracle.unlifted().any(|denial| denies(denial, token));
            let marks = Marks::of(&identity, by);
            let passes = self.bed.denylist.check(&marks).is_none();
            assert_eq!(passes, let_in && !denied, "{token:?} {:?}", self.oracle.records);
        }
        let mut tally = Tally::default();
        for denial in self.oracle.unlifted().filter(|denial| !registers(denial)) {
            tally.change(denial.issuer.as_str(), denial.selector.kind(), 1);
        }
        let counted = self.bed.store.tally();
        for issuer in counted.issuers().chain(tally.issuers()) {
            assert!(counted.of(issuer).eq(tally.of(issuer)), "{issuer}: {counted:?}");
        }
    }

    fn check_records(&self) {
        let of = |registrations: bool| {
            let all = Filter { with_lifted: true, limit: 1000, registrations, ..Filter::default() };
            self.bed.store.list(&all).unwrap().records
        };
        let mut listed: Vec<_> = of(false)
            .into_iter()
            .chain(of(true))
            .map(|record| (record.denial, record.lift))
            .collect();
        listed.sort_by_key(|(denial, _)| denial.id);
        let mut expected = self.oracle.records.clone();
        expected.sort_by_key(|(denial, _)| denial.id);
        assert_eq!(listed, expected);
        for (denial, _) in &expected {
            let found = self.bed.store.in_force(&denial.issuer, &denial.selector).unwrap();
            let same = |other: &&Denial| {
                other.issuer == denial.issuer && other.selector == denial.selector
            };
            assert_eq!(found.len(), self.oracle.unlifted().filter(same).count());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_store_says_what_the_records_say(
        acts in proptest::collection::vec(acts(), 1..40),
        tokens in proptest::collection::vec(tokens(), 12),
    ) {
        let mut world = World::new();
        for act in acts {
            world = world.act(act);
            world.check(&tokens);
        }
        world.check_records();
        world = world.act(Act::Restart);
        world.check(&tokens);
        world.check_records();
    }
}
