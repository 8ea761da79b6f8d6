//! What the tests of this directory share, and the ring across configurations.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{KeyLocation, RemoteKeys};

pub fn remote() -> RemoteKeys {
    RemoteKeys {
        location: KeyLocation::Jwks("https://id.example.com/keys".parse().unwrap()),
        allow_http: false,
        allow_redirects: false,
        ca: None,
        refresh_min: Duration::from_secs(60),
        refresh_max: Duration::from_secs(900),
        cooldown: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        wait: Duration::from_secs(2),
        max_stale: Duration::from_secs(86_400),
    }
}

const TEXT: &str = r#"
[[issuer]]
name = "main"
issuer = "https://id.example.com/"
audiences = ["a"]
keys = { secret = "${ONE}" }
[[upstream]]
name = "app"
servers = ["http://127.0.0.1:3000"]
[[route]]
path = "/"
upstream = "app"
"#;

fn config(text: &str) -> crate::config::Config {
    let environment = |name: &str| Some(name.repeat(20));
    crate::config::parse(text, std::path::Path::new("gateway.toml"), &environment).unwrap().config
}

#[tokio::test]
async fn an_issuer_that_stays_keeps_its_cell_and_one_that_goes_loses_its_keys() {
    let directory = tempfile::tempdir().unwrap();
    let ring = super::KeyRing::new(directory.path(), crate::denylist::Fingerprinter::random());
    let told = Arc::new(parking_lot::Mutex::new(0));
    let count = Arc::clone(&told);
    ring.listen(Box::new(move |marks| *count.lock() += marks.len()));
    let first = ring.prepare(&config(TEXT).issuers);
    let cell = Arc::clone(&first[0].cell);
    assert!(cell.load().is_empty(), "nothing is in force before it is committed");
    ring.commit(first);
    let before = cell.load().keys()[0].thumbprint().to_string();
    // The secret is another one.
    let changed = ring.prepare(&config(&TEXT.replace("ONE", "TWO")).issuers);
    assert!(Arc::ptr_eq(&changed[0].cell, &cell));
    assert_eq!(cell.load().keys()[0].thumbprint().to_string(), before);
    ring.commit(changed);
    assert_ne!(cell.load().keys()[0].thumbprint().to_string(), before);
    assert_eq!(*told.lock(), 1);
    ring.commit(ring.prepare(&[]));
    assert!(cell.load().is_empty());
    assert_eq!(*told.lock(), 2);
    assert!(ring.report().is_empty());
}
