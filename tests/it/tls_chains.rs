//! TLS as clients that are strict see it: chains that lead to the root, the kind of certificate that
//! a client can check, and tickets whose keys rotate.

use std::process::{Command, Stdio};
use std::time::Duration;

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::support::{Authority, Issued, Issuer, Setup, Upstream, der, eventually};

/// One certificate, in `a.pem` and `a.key`.
const ONE: &str = "tls.certificates = [{ chain = \"a.pem\", key = \"a.key\" }]";

static ONLY_12: &[&SupportedProtocolVersion] = &[&TLS12];
static ONLY_13: &[&SupportedProtocolVersion] = &[&TLS13];

fn open(issued: &Issued, lines: &str) -> Setup {
    let setup = Setup::simple(&Issuer::new("HS256"), &Upstream::new())
        .route("/", "access = \"public\"")
        .server(lines);
    issued.write(setup.dir(), "a");
    setup
}

/// What OpenSSL has to say about the listener, with these arguments.
fn openssl(address: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", address, "-servername", "a.example"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_chain_is_served_whole_and_leads_a_client_that_knows_the_root_alone() {
    let root = Authority::new();
    let below = root.below();
    let leaf = below.issue(&["a.example"]);
    let whole = Issued { chain: format!("{}{}", leaf.chain, below.pem), key: leaf.key.clone() };
    let gateway = open(&whole, ONE).file("root.pem", &root.pem).start();
    let ca = gateway.dir().join("root.pem");
    let strict = ["-CAfile", ca.to_str().unwrap(), "-verify_return_error"];
    for (versions, option) in [(ONLY_12, "-tls1_2"), (ONLY_13, "-tls1_3")] {
        let mut client = root.client().versions(versions);
        let mut secured = client.connect(&gateway, "a.example").unwrap();
        assert_eq!((secured.certificate, secured.chain), (der(&leaf.chain), 2));
        assert_eq!(secured.connection.get("/", &[]).status, 200);
        let (verified, said) = openssl(&gateway.address, &[&strict[..], &[option]].concat());
        assert!(verified && said.contains("Verify return code: 0"), "{said}");
    }
    // The same without the link between, and with a stranger's.
    let stranger = Authority::new().below();
    for chain in [leaf.chain.clone(), format!("{}{}", leaf.chain, stranger.pem)] {
        let gateway = open(&Issued { chain, key: leaf.key.clone() }, ONE).start();
        assert!(root.client().connect(&gateway, "a.example").is_err());
    }
}

#[test]
fn a_client_whose_certificate_hangs_on_a_chain_is_let_in_by_the_root() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let below = clients.below();
    let leaf = below.issue(&["worker"]);
    let lines = format!("{ONE}\ntls.client_ca = \"clients.pem\"");
    let issued = authority.issue(&["a.example"]);
    let gateway = open(&issued, &lines).file("clients.pem", &clients.pem).start();
    let with = |chain: String| {
        let own = Issued { chain, key: leaf.key.clone() };
        let client = authority.client().versions(ONLY_12).own(own);
        { client }.connect(&gateway, "a.example").map(|mut secured| {
            let answer = secured.connection.get("/", &[]);
            answer.status
        })
    };
    assert_eq!(with(format!("{}{}", leaf.chain, below.pem)).unwrap(), 200);
    assert!(with(leaf.chain.clone()).is_err(), "without the link between");
}

#[test]
fn the_kind_of_certificate_is_the_one_that_the_client_can_check() {
    let authority = Authority::new();
    let ecdsa = authority.issue(&["a.example"]);
    let rsa = authority.issue_with(&["a.example"], &rcgen::PKCS_RSA_SHA256, |_| {});
    let both = "tls.certificates = [{ chain = \"a.pem\", key = \"a.key\" }, { chain = \"b.pem\", key = \"b.key\" }]";
    let setup = open(&ecdsa, both);
    rsa.write(setup.dir(), "b");
    let gateway = setup.start();
    let of = |issued: &Issued| issued.chain.lines().nth(1).unwrap().to_owned();
    let (ecdsa, rsa) = (of(&ecdsa), of(&rsa));
    for (arguments, wanted) in [
        (&["-tls1_3", "-sigalgs", "ECDSA+SHA256"][..], &ecdsa),
        (&["-tls1_3", "-sigalgs", "RSA-PSS+SHA256"], &rsa),
        (&["-tls1_3"], &ecdsa),
        // The cipher suite alone says it in TLS 1.2.
        (&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], &rsa),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], &ecdsa),
        (&["-tls1_2", "-sigalgs", "RSA+SHA256"], &rsa),
        (&["-tls1_2"], &ecdsa),
    ] {
        let (_, said) = openssl(&gateway.address, arguments);
        assert!(said.contains(wanted.as_str()), "{arguments:?}: {said}");
    }
    // Nothing older, and nothing weak.
    for arguments in [
        &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"][..],
        &["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"],
    ] {
        let (_, said) = openssl(&gateway.address, arguments);
        assert!(!said.contains("BEGIN CERTIFICATE"), "{arguments:?}: {said}");
    }
}

#[test]
fn a_ticket_opens_for_one_rotation_of_its_key_and_not_for_two() {
    let authority = Authority::new();
    for versions in [ONLY_12, ONLY_13] {
        let setup = open(&authority.issue(&["a.example"]), ONE);
        let Some(setup) = setup.preload("libfaketimeMT.so.1") else { return };
        // What the gateway takes for the time of day; how long something takes is not touched.
        let clock = setup.dir().join("clock");
        std::fs::write(&clock, "+0s").unwrap();
        let gateway = setup
            .environment("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap())
            .environment("FAKETIME_NO_CACHE", "1")
            .environment("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .start();
        let mut clients: Vec<_> = (0..3).map(|_| authority.client().versions(versions)).collect();
        let mut resumes = |client: usize| {
            let mut secured = clients[client].connect(&gateway, "a.example").unwrap();
            // TLS 1.3 brings the ticket with the first bytes.
            assert_eq!(secured.connection.get("/", &[]).status, 200);
            secured.resumed
        };
        assert_eq!([resumes(0), resumes(1), resumes(2)], [false; 3]);
        assert_eq!([resumes(0), resumes(0)], [true; 2]);
        std::fs::write(&clock, "+7h").unwrap();
        assert!(resumes(0), "the key before the present one still opens");
        std::fs::write(&clock, "+14h").unwrap();
        assert!(resumes(0), "its ticket is of the second key");
        assert!(!resumes(1), "the first key is gone");
        assert!(resumes(1), "with a new ticket");
        // A clock that goes back, as at a boot, locks nobody out.
        std::fs::write(&clock, "+1h").unwrap();
        let mut secured = authority.client().connect(&gateway, "a.example").unwrap();
        assert_eq!(secured.connection.get("/", &[]).status, 200);
    }
}

#[test]
fn a_certificate_that_is_replaced_under_load_costs_no_handshake_and_no_connection() {
    let authority = Authority::new();
    let (old, new) = (authority.issue(&["a.example"]), authority.issue(&["a.example"]));
    let gateway = open(&old, ONE).start();
    let mut lasting = authority.client().connect(&gateway, "a.example").unwrap().connection;
    let mut resuming = authority.client();
    assert_eq!(
        resuming.connect(&gateway, "a.example").unwrap().connection.get("/", &[]).status,
        200
    );
    new.write(gateway.dir(), "a");
    let mut seen = Vec::new();
    eventually("new handshakes have the new one", || {
        let mut secured = authority.client().connect(&gateway, "a.example").unwrap();
        assert_eq!(secured.connection.get("/", &[]).status, 200);
        assert_eq!(lasting.get("/", &[]).status, 200);
        seen.push(secured.certificate);
        std::thread::sleep(Duration::from_millis(20));
        (seen.last() == Some(&der(&new.chain))).then_some(())
    });
    assert!(seen.iter().all(|one| *one == der(&old.chain) || *one == der(&new.chain)));
    assert_eq!(lasting.get("/", &[]).status, 200);
    assert!(resuming.connect(&gateway, "a.example").unwrap().resumed);
}
