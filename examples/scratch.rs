use arc_swap::ArcSwap;
use portcullis::{
    denylist::*,
    proxy::{self, accept::*, core::*},
    telemetry::{Observer, access::*},
    verify::*,
};
use std::sync::Arc;
#[global_allocator]
static A: mimalloc::MiMalloc = mimalloc::MiMalloc;
fn main() {
    let path = std::env::args().nth(1).unwrap();
    let loaded = portcullis::config::load(std::path::Path::new(&path))
        .unwrap_or_else(|d| panic!("{}", d.render(false)));
    let config = loaded.config;
    let (denylist, _w) = Denylist::new(Fingerprinter::random());
    let issuers = config
        .issuers
        .iter()
        .map(|i| Arc::new(Issuer::new(i.policy.clone(), Arc::clone(&i.keys))))
        .collect();
    let verifier = Arc::new(Verifier::new(
        issuers,
        denylist.fingerprinter().clone(),
        Arc::new(SignatureCache::new(64 << 20)),
    ));
    let published = Arc::new(ArcSwap::from_pointee(proxy::compile(
        &config,
        verifier,
        denylist.clone(),
        &mut proxy::Addresses::default(),
    )));
    let (observer, mut rx) = Observer::new(1000);
    let (log, _t) = AccessLogWriter::spawn(Format::Json, std::io::stdout()).unwrap();
    let n = config.server.threads.max(1);
    let cores: Vec<_> = (0..n)
        .map(|i| {
            spawn(
                i,
                Shared {
                    published: published.clone(),
                    observer: observer.clone(),
                    log: log.clone(),
                },
            )
            .unwrap()
        })
        .collect();
    let l = config
        .server
        .listen
        .iter()
        .map(|l| match l {
            portcullis::config::Listen::Tcp(a) => {
                let l = std::net::TcpListener::bind(a).unwrap();
                l.set_nonblocking(true).unwrap();
                eprintln!("{}", l.local_addr().unwrap());
                Listener::Tcp(l)
            }
            _ => panic!(),
        })
        .collect();
    let _a = Acceptor::spawn(l, cores.iter().map(|c| c.target()).collect(), 10000).unwrap();
    loop {
        if rx.blocking_recv().is_none() {
            break;
        }
    }
}
