//! The OpenAPI document, and what a program that nobody here wrote makes of it: schemathesis calls
//! every operation of a running gateway with values that fit the document and with values that
//! don't, and holds each answer to it.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::peers::python;
use crate::support::{Connection, Issuer, Setup, Upstream};

/// What is left out, and why:
/// - `positive_data_acceptance`: what fits the schema may still be refused, an unknown issuer for
///   example;
/// - `use_after_free`, `ensure_resource_availability`: what is taken back can still be read;
/// - `ignored_auth` takes the 429 after many wrong credentials for a fault: below it is asked by hand;
/// - `object_level_authorization` asks for a second user.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,negative_data_rejection,\
    missing_required_header,unsupported_method,allow_header_conformance";

#[test]
fn schemathesis_finds_no_answer_that_the_document_does_not_describe() {
    let python = python();
    let issuer = Issuer::new("HS256");
    let gateway = Setup::new()
        .issuer(&issuer, "mode = \"allowlist\"")
        .upstream("app", &Upstream::new(), "")
        .start();
    let admin = gateway.admin();
    // Something to find by its id.
    admin.block(json!({"user": "mallory"}));
    admin.post("/v1/registrations", &json!({"session": "s-1"}));
    let credential = std::fs::read_to_string(gateway.dir().join("data/admin.token")).unwrap();
    let document = gateway.dir().join("openapi.json");
    std::fs::write(&document, admin.get("/v1/openapi.json").to_string()).unwrap();
    let output = Command::new("timeout")
        .arg("900")
        .arg(python.with_file_name("schemathesis"))
        .current_dir(gateway.dir())
        .args(["run", "openapi.json", "--url", &gateway.admin_url()])
        .args(["--header", &format!("Authorization: Bearer {}", credential.trim())])
        // One worker: its own caches are not made for several.
        .args(["--checks", CHECKS, "--phases", "coverage", "--workers", "1"])
        .args(["--seed", "1", "--generation-database", "none", "--request-timeout", "60"])
        // It does not end.
        .args(["--exclude-path", "/v1/events"])
        .args(["--suppress-health-check", "all", "--no-color", "--warnings", "off"])
        .stdin(Stdio::null())
        .output()
        .expect("schemathesis starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(admin.call("GET", "/readyz", None).status, 200);
}

#[test]
fn the_document_is_for_callers_with_a_credential_and_names_the_version() {
    let gateway = Setup::simple(&Issuer::new("HS256"), &Upstream::new()).start();
    let document: Value = gateway.admin().get("/v1/openapi.json");
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys().filter(|name| *name != "parameters") {
            let open = matches!(path.as_str(), "/livez" | "/readyz");
            let mut connection = Connection::open(&gateway.admin_address);
            let target = path.replace("{id}", "dn_1");
            let answer =
                connection.request(&method.to_uppercase(), &target, &[("Host", "localhost")], b"");
            assert_eq!(answer.status, if open { 200 } else { 401 }, "{method} {path}");
        }
    }
    let stranger = gateway.admin().with_token("not-a-credential-of-anybody");
    assert_eq!(stranger.call("GET", "/v1/openapi.json", None).status, 401);
}
