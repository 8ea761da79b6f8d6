//! No secret in any rendering, whatever is wrong around it.

use super::*;

/// Puts a secret wherever one may be written, right or wrong, with mistakes around it.
#[test]
fn no_secret_is_ever_printed() {
    const SEED: &str = "Hunter2-hunter2/hunter2+hunter2.hunter2";
    let place = Place::new();
    let values = [
        "secret = \"SEED\"",
        "secret = SEED",
        "secret: SEED",
        "secret SEED",
        "secret = [\"SEED\"]",
        "secret = { value = \"SEED\" }",
        "secrt = \"SEED\"",
        "password = \"SEED\"",
        "api_token = \"SEED\"",
        "keys = \"SEED\"",
        "keys = [\"SEED\"]",
        "keys = { secret = \"SEED }",
        "keys = { secret = \"SEED\", nonsense = 1 }",
        "keys = { secret = \"SEED\" } }",
        "keys = { secret = \"${SEED}\" }",
        "keys = { secret = \"${NONE} SEED\" }",
        "keys = { secret_env = \"SEED\" }",
        "keys = { secret_env = \"SEED\", secret = \"SEED\" }",
        "keys = { secret_file = \"SEED\" }",
        "keys = { secret_file = \"/SEED\" }",
        "keys = { secrets = { a = \"SEED\" } }",
        "keys = { secrets = \"SEED\" }",
        "keys = { secrets = { a = { env = \"SEED\" }, b = { file = \"SEED\" }, c = { value = \"SEED\" } } }",
        "keys = { kid = 7, value = \"SEED\" }",
        "keys = { sceret = \"SEED\" }",
        "keys.secret = \"SEED\"\nkeys.secret = \"SEED\"",
        "keys.secret = '''\nSEED\n'''\nnonsense = 1",
        "keys = { # secret = \"SEED\"\n}",
        "algorithms = [\"HS512\"]\nkeys = { secret = \"SEED\" }",
        "algorithms = [\"ES256\"]\nkeys = { secret = \"SEED\" }",
        "[[admin.token]]\nname = \"a\"\nrole = \"adm\"\nfile = \"SEED\"",
        "[[admin.token]]\nname = \"a\"\nrole = \"adm\"\nenv = \"SEED\"",
        "[[admin.token]]\nname = 7\ntoken = \"SEED\"\nvalue = \"SEED\"",
        "[admin]\ntoken = \"SEED\"",
        "[[upstream]]\nname = \"b\"\nservers = [\"http://dana:SEED@127.0.0.1:1\"]",
        "[issuer.keys]\nsecret = \"SEED",
        "[issuer.keys.secrets]\na = \"SEED\"\nb = SEED",
    ];
    for value in values {
        let text = SMALLEST.replacen(KEYS, &value.replace("SEED", SEED), 1);
        let found = match place.parse(&text) {
            Ok(loaded) => loaded.notes,
            Err(found) => found,
        };
        let shown = format!(
            "{}\n{}\n{}\n{found:?}",
            found.render(false),
            found.render(true),
            found.to_json()
        );
        for part in ["unter2", "Hunter"] {
            assert!(!shown.contains(part), "{value}\n{shown}");
        }
        assert!(found.has_errors() || value.contains("HS"), "{value} was accepted");
    }
}

#[test]
fn half_a_header_loosens_nothing() {
    for junk in [",[", "[", "[[", "[]", "= [other]", "[other"] {
        let text = SEEDED.replacen("name = \"shop\"", &format!("{junk}\nname = \"shop\""), 1);
        let found = Place::new().bad(&text);
        assert!(!found.render(false).contains("hunter2"), "{junk}: {found}");
    }
}

#[test]
fn what_the_environment_says_is_not_printed_either() {
    let text = SMALLEST.replacen(LISTEN, "listen = \"${JWT_SECRET}\"", 1);
    let found = Place::new().bad(&text);
    assert!(found.render(false).contains("\"${JWT_SECRET}\" is not an address"), "{found}");
    assert!(!found.render(false).contains("a-shared-secret"), "{found}");
    let good = SMALLEST.replacen(KEYS, "keys = { secret_env = \"JWT_SECRET\" }", 1);
    let loaded = Place::new().good(&good);
    let shown = format!("{}{}{loaded:?}", report(&loaded), report_json(&loaded));
    assert!(shown.contains("secret from env JWT_SECRET") && !shown.contains("a-shared-secret"));
}

const SEEDED: &str = r#"[server]
listen = "127.0.0.1:8080"
[[admin.token]]
name = "shop"
value = "hunter2"
[[issuer]]
name = "main"
secret = "hunter2"
keys = { kid = "a", secret = "hunter2", secrets = { a = "hunter2" } }
[issuer.keys.secrets]
client = "hunter2"
[[upstream]]
name = "app"
servers = ["http://dana:hunter2@127.0.0.1"]
"#;

proptest::proptest! {
    /// Whatever is put between the lines, or at the end of harmless ones: no panic, no secret.
    #[test]
    fn nothing_around_a_secret_makes_it_visible(
        junk in proptest::collection::vec((0_usize..15, "[\\[\\]{}\"'=#,.a-z\n\\\\ $é]{1,6}"), 1..5)
    ) {
        let mut lines: Vec<String> = SEEDED.lines().map(str::to_owned).collect();
        for (at, junk) in junk {
            let at = at % lines.len();
            if lines[at].contains("hunter2") {
                // A header of its own would move the secret into another table.
                lines.insert(at, junk.trim_start().replace('[', "("));
            } else {
                lines[at] += &junk;
            }
        }
        let found = Place::new().bad(&lines.join("\n"));
        let shown = format!("{}{}{found:?}", found.render(true), found.to_json());
        proptest::prop_assert!(!shown.contains("hunter2"), "{}", found);
    }

    /// Any text at all is answered.
    #[test]
    fn any_text_has_an_answer(text in "[\\[\\]{}\"'=#,.a-z0-9\n\\\\ $é:]{0,80}") {
        let answer = Place::new().parse(&text);
        let _ = answer.map(|loaded| report(&loaded)).map_err(|found| found.render(true));
    }
}
