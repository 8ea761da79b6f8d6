//! What a reload would say, asked before it.

use serde_json::json;

use crate::support::{Issuer, Setup, Upstream};

#[test]
fn a_config_is_checked_by_the_running_gateway_and_nothing_changes() {
    let issuer = Issuer::new("HS256");
    let upstream = Upstream::new();
    let gateway = Setup::simple(&issuer, &upstream).server("watch = false").start();
    let admin = gateway.admin();
    let good = admin.post("/v1/config/check", &json!({}));
    assert_eq!((&good["valid"], &good["needs_restart"]), (&json!(true), &json!([])), "{good}");
    let path = gateway.config().to_owned();
    let text = std::fs::read_to_string(&path).unwrap();
    let loaded = admin.get("/v1/config")["loaded_at"].clone();
    std::fs::write(&path, text.replace("[[upstream]]", "[[upstram]]")).unwrap();
    let bad = admin.post("/v1/config/check", &json!({}));
    assert_eq!(bad["valid"], false);
    assert!(bad["diagnostics"].to_string().contains("upstram"), "{bad}");
    std::fs::write(&path, text).unwrap();
    assert_eq!(admin.get("/v1/config")["loaded_at"], loaded, "nothing was put in force");
}
