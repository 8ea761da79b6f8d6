//! Checking, repairing and exporting a store that no process has open.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::control::store::offline::{Checked, OfflineError, check, export, repair};

/// 300 bans of `u-…`, every third lifted; a tombstone without a record; one that is due some time.
fn filled() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let bed = open(directory.path(), &SimulatedClock::at(START));
    let all = (0..300).map(|n| new(subject(&format!("u-{n}")), Condition::Always)).collect();
    let made = run(bed.store.deny_all(all)).unwrap();
    let ids = made.into_iter().map(|made| made.unwrap().record.denial.id);
    let lifted = ids.step_by(3).collect();
    run(bed.store.lift(lifted, Some("false alarm".into()), actor("eve", "admin"))).unwrap();
    let orphan =
        Lift { denial: DenialId([9; 10]), at: START, reason: None, by: actor("eve", "admin") };
    run(bed.store.apply(vec![Change::Lifted(orphan)])).unwrap();
    let kept_until = Some(START.plus(HOUR));
    deny(&bed, NewDenial { kept_until, ..new(subject("carol"), Condition::VersionBelow(9)) });
    bed.store.close();
    directory
}

fn holds(bed: &Bed) -> Vec<usize> {
    (0..300).filter(|n| denied(bed, &format!("u-{n}"))).collect()
}

fn expected() -> Vec<usize> {
    (0..300).filter(|n| n % 3 != 0).collect()
}

fn file(directory: &tempfile::TempDir) -> std::path::PathBuf {
    directory.path().join("denials.redb")
}

/// Changes the file as another program could.
fn tamper(directory: &tempfile::TempDir, change: impl FnOnce(&redb::WriteTransaction)) {
    let database = Database::open(file(directory)).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
}

#[test]
fn a_whole_store_is_found_whole_and_its_bytes_stay_as_they_are() {
    let directory = filled();
    let before = std::fs::read(file(&directory)).unwrap();
    let checked = check(directory.path()).unwrap();
    assert_eq!(checked.faults, Vec::<String>::new());
    assert_eq!((checked.records, checked.in_force, checked.tombstones), (301, 201, 101));
    assert_eq!(checked.bytes, before.len() as u64);
    assert_eq!(std::fs::read(file(&directory)).unwrap(), before);
}

#[test]
fn a_store_in_use_an_absent_one_and_one_of_another_program_are_left_alone() {
    let directory = filled();
    let bed = open(directory.path(), &SimulatedClock::at(START));
    let text = |error: OfflineError| error.to_string();
    assert!(text(check(directory.path()).unwrap_err()).contains("a running gateway has"));
    assert!(text(repair(directory.path(), START).unwrap_err()).contains("a running gateway has"));
    assert!(
        text(export(directory.path(), START, |_| Ok(())).unwrap_err())
            .contains("a running gateway")
    );
    assert_eq!(holds(&bed), expected());
    bed.store.close();
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(check(empty.path()), Err(OfflineError::NoStore(_))));
    assert!(matches!(repair(empty.path(), START), Err(OfflineError::NoStore(_))));
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
    for foreign in [&b""[..], b"{}", &[0x5a; 100_000]] {
        std::fs::write(file(&empty), foreign).unwrap();
        assert!(!check(empty.path()).unwrap().is_whole());
        assert!(matches!(repair(empty.path(), START), Err(OfflineError::Foreign { .. })));
        assert_eq!(std::fs::read(file(&empty)).unwrap(), foreign);
        assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 1, "nothing is left beside");
    }
    tamper(&directory, |transaction| {
        let later = 3_u64.to_le_bytes();
        let mut meta = transaction.open_table(schema::META).unwrap();
        meta.insert(schema::META_FORMAT, later.as_slice()).unwrap();
    });
    assert!(text(repair(directory.path(), START).unwrap_err()).contains("format 3"));
}

#[test]
fn every_kind_of_inconsistency_is_found_and_a_repair_mends_it_without_a_loss() {
    type Change = fn(&redb::WriteTransaction);
    let changes: [(Change, &str); 7] = [
        (
            |t| {
                t.open_table(schema::LOG).unwrap().pop_last().unwrap();
            },
            "the log does not have",
        ),
        (
            |t| {
                t.open_table(schema::LOG).unwrap().insert(9999, &[1; 11]).unwrap();
            },
            "the log has",
        ),
        (
            |t| {
                t.open_table(schema::BY_SELECTOR).unwrap().pop_first().unwrap();
            },
            "the index by selector does not have",
        ),
        (
            |t| {
                t.open_table(schema::BY_SELECTOR).unwrap().insert(&[7; 36], ()).unwrap();
            },
            "the index by selector has",
        ),
        (
            |t| {
                t.open_table(schema::DUE).unwrap().pop_first().unwrap();
            },
            "has lost the time",
        ),
        (
            |t| {
                let wrong =
                    schema::Progress { sequence: 402, in_force: 7, registered: 0, clock: START };
                let mut meta = t.open_table(schema::META).unwrap();
                meta.insert(schema::META_PROGRESS, wrong.to_bytes().as_slice()).unwrap();
            },
            "should hold 7 denials",
        ),
        (
            |t| {
                let wrong =
                    schema::Progress { sequence: 1, in_force: 201, registered: 0, clock: START };
                let mut meta = t.open_table(schema::META).unwrap();
                meta.insert(schema::META_PROGRESS, wrong.to_bytes().as_slice()).unwrap();
            },
            "the last sequence should be 1",
        ),
    ];
    for (change, says) in changes {
        let directory = filled();
        tamper(&directory, change);
        let damaged = std::fs::read(file(&directory)).unwrap();
        let Checked { faults, .. } = check(directory.path()).unwrap();
        assert!(faults.iter().any(|fault| fault.contains(says)), "{says}: {faults:?}");
        let repaired = repair(directory.path(), START).unwrap();
        assert_eq!((repaired.records, repaired.in_force, repaired.tombstones), (301, 201, 101));
        assert!(!repaired.broken && repaired.unreadable.is_empty());
        assert_eq!(std::fs::read(&repaired.kept).unwrap(), damaged, "the old file is kept");
        assert_eq!(check(directory.path()).unwrap().faults, Vec::<String>::new(), "{says}");
        let bed = open(directory.path(), &SimulatedClock::at(START));
        assert_eq!(holds(&bed), expected());
        assert_eq!(bed.store.changes_after(0, 1000).unwrap().len(), 402);
        assert!(bed.store.sequence() >= 402);
    }
}

#[test]
fn a_record_that_cannot_be_read_is_named_and_all_others_are_kept() {
    let directory = filled();
    let bed = open(directory.path(), &SimulatedClock::at(START));
    let (epoch, lost) = (bed.store.epoch(), bed.store.list(&Filter::default()).unwrap());
    let lost = lost.records.iter().find(|record| record.denial.selector == subject("u-299"));
    let lost = lost.unwrap().denial.id;
    bed.store.close();
    // Another content of the same length, so that no old page has the row either.
    let mut bytes = std::fs::read(file(&directory)).unwrap();
    let places: Vec<usize> =
        bytes.windows(5).enumerate().filter(|(_, w)| *w == b"u-299").map(|(at, _)| at).collect();
    for at in places {
        bytes[at] = b'x';
    }
    std::fs::write(file(&directory), bytes).unwrap();
    assert!(!check(directory.path()).unwrap().is_whole());
    let refused = try_open(directory.path(), 1000, &SimulatedClock::at(START));
    let Err(StoreError::Open(why)) = refused else { panic!("a damaged store is refused") };
    assert!(why.contains("`portcullis store repair`"), "{why}");
    let repaired = repair(directory.path(), START).unwrap();
    assert!(repaired.unreadable == [lost] || repaired.broken, "{repaired:?}");
    let bed = open(directory.path(), &SimulatedClock::at(START));
    let mut held = expected();
    held.pop();
    assert_eq!(holds(&bed), held);
    assert_ne!(bed.store.epoch(), epoch, "another history: replicas bring what they have");
}

#[test]
fn whatever_place_is_damaged_a_repair_brings_back_every_denial_but_those_it_hit() {
    let directory = filled();
    let whole = std::fs::read(file(&directory)).unwrap();
    let used = whole.chunks(4096).enumerate().filter(|(_, page)| page.iter().any(|b| *b != 0));
    let used: Vec<usize> = used.map(|(number, _)| number * 4096).collect();
    let (mut mended, mut salvaged) = (0, 0);
    for (place, most) in used.iter().flat_map(|page| [(page + 2000, 3), (*page, 60)]) {
        let mut damaged = whole.clone();
        for byte in damaged.iter_mut().skip(place).take(64) {
            *byte ^= 0x41;
        }
        std::fs::write(file(&directory), &damaged).unwrap();
        if check(directory.path()).unwrap().is_whole() {
            continue;
        }
        let repaired = match repair(directory.path(), START) {
            Ok(repaired) => repaired,
            Err(error) => panic!("byte {place}: {error}"),
        };
        mended += 1;
        salvaged += repaired.salvaged;
        std::fs::remove_file(&repaired.kept).unwrap();
        assert!(check(directory.path()).unwrap().is_whole(), "byte {place}");
        let bed = open(directory.path(), &SimulatedClock::at(START));
        let held: BTreeSet<usize> = holds(&bed).into_iter().collect();
        let missing = expected().into_iter().filter(|n| !held.contains(n)).count();
        // The rows that the bytes are part of; at the head of a page of rows, that page.
        assert!(missing <= most, "byte {place}: {missing} missing, {repaired:?}");
        bed.store.close();
    }
    assert!(mended > 10 && salvaged > 0, "{mended} mended, {salvaged} rows salvaged");
}

#[test]
fn an_export_has_every_record_and_tombstone_and_all_that_they_say() {
    let directory = filled();
    let bed = open(directory.path(), &SimulatedClock::at(START));
    let full = NewDenial {
        except: Some(Except::Token(TokenId::Digest([3; 32]))),
        reference: Some("INC-1".into()),
        kept_until: Some(UnixMs(i64::MAX)),
        ..new(
            Selector::Claim { name: "tenant".into(), value: "é\0\u{1b}".into() },
            Condition::IssuedBefore(START.plus(Duration::from_millis(7))),
        )
    };
    let id = deny(&bed, full).record.denial.id.to_string();
    bed.store.close();
    let mut lines: Vec<Value> = Vec::new();
    let exported = export(directory.path(), START, |line| {
        lines.push(line.clone());
        Ok(())
    });
    let exported = exported.unwrap();
    assert_eq!((exported.records, exported.tombstones, lines.len()), (302, 101, 405));
    let first = serde_json::json!({
        "portcullis_export": 1, "exported_at": START.rfc3339(), "sequence": 403,
    });
    assert_eq!(lines[0], first);
    let last = serde_json::json!({"end": {"denials": 302, "lifts": 101}});
    assert_eq!(lines[404], last);
    let line = lines.iter().find(|line| line["denial"]["id"] == id.as_str()).unwrap();
    let expected = serde_json::json!({
        "id": id, "issuer_id": "https://id.example.com/",
        "selector": {"claim": {"name": "tenant", "value": "é\0\u{1b}"}},
        "condition": {"issued_before": START.plus(Duration::from_millis(7)).rfc3339()},
        "except": {"token": format!("sha256:{}", "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM")},
        "created_at": START.rfc3339(), "kept_until": i64::MAX, "reason": "test",
        "reference": "INC-1",
        "created_by": {"name": "dana", "role": "operator", "via": "api", "address": "127.0.0.1"},
    });
    assert_eq!(line["denial"], expected);
    let lifts = lines.iter().map(|line| &line["lift"]).filter(|lift| lift.is_object());
    assert!(lifts.clone().all(|lift| lift["by"]["name"] == "eve" && lift["at"].is_string()));
    assert_eq!(lifts.filter(|lift| lift["reason"] == "false alarm").count(), 100);
    let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
    assert!(matches!(
        export(directory.path(), START, |_| Err(full())),
        Err(OfflineError::Failed { .. })
    ));
}
