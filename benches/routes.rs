//! What it costs to find the route of a request, by the number of routes: by host, by path, and
//! where a path has several readings.
//!
//! `cargo bench --bench routes`.

#![expect(clippy::expect_used, reason = "a benchmark whose preparation fails measures nothing")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Method};
use portcullis::config;
use portcullis::denylist::{Denylist, Fingerprinter};
use portcullis::proxy::route::Wanted;
use portcullis::proxy::{Kept, Nudges, Published, compile};
use portcullis::verify::{SignatureCache, Verifier};

/// A gateway with this many routes: each tenth on a host of its own, the others on any host.
fn published(count: usize) -> Published {
    let mut text = "[[upstream]]\nname = \"app\"\nservers = [\"http://127.0.0.1:1\"]\n".to_owned();
    for number in 0..count {
        let host = match number % 10 {
            0 => format!("host = \"h{number}.example.com\"\n"),
            _ => String::new(),
        };
        text += &format!(
            "[[route]]\n{host}path = \"/api/v1/service-{number}/\"\naccess = \"public\"\nupstream = \"app\"\n"
        );
    }
    let loaded = config::parse(&text, Path::new("gateway.toml"), &|_| None).expect("it is valid");
    let fingerprinter = Fingerprinter::random();
    let cache = Arc::new(SignatureCache::new(0));
    let verifier = Arc::new(Verifier::new(Vec::new(), fingerprinter.clone(), cache));
    let (denylist, _writer) = Denylist::new(fingerprinter);
    compile(&loaded.config, verifier, denylist, Nudges::default(), &mut Kept::default())
}

fn select(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    let headers = HeaderMap::new();
    for count in [10, 1_000, 10_000] {
        let published = published(count);
        let last = count - 1;
        let exact = format!("h{}.example.com", count - 10);
        let asked = [
            ("any host", "app.example.org", format!("/api/v1/service-{last}/orders/7")),
            ("exact host", exact.as_str(), format!("/api/v1/service-{}/orders", count - 10)),
            ("no route", "app.example.org", "/nothing/here".to_owned()),
            ("escaped", "app.example.org", format!("/api/v1/service-{last}/a%20b")),
        ];
        for (what, host, path) in &asked {
            group.bench_function(format!("{count} routes, {what}"), |bencher| {
                bencher.iter(|| {
                    let wanted = Wanted {
                        host,
                        path: black_box(path),
                        method: &Method::GET,
                        headers: &headers,
                    };
                    published.routes.select_wanted(wanted).is_ok()
                });
            });
        }
    }
}

criterion_group!(benches, select);
criterion_main!(benches);
