//! The OpenAPI 3.1 document of this API: written by hand in `openapi/*.json`, one file for each
//! field, put together here. A test holds it to the table of endpoints, and another lets a program
//! that nobody here wrote call a running gateway by it.

use std::sync::LazyLock;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::config::Role;

use super::answer::Answer;
use super::caller::Caller;
use super::problem::Refused;

/// Each is an object with `paths` and, where it needs them, `components`.
const PARTS: [&str; 9] = [
    include_str!("openapi/common.json"),
    include_str!("openapi/denials.json"),
    include_str!("openapi/many.json"),
    include_str!("openapi/looking.json"),
    include_str!("openapi/registrations.json"),
    include_str!("openapi/streams.json"),
    include_str!("openapi/keys.json"),
    include_str!("openapi/upstreams.json"),
    include_str!("openapi/config.json"),
];

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());

pub(super) fn answer(caller: &Caller) -> Result<Answer, Refused> {
    caller.must_be(Role::Viewer, "read the description of the API")?;
    Ok(Answer::of_json(StatusCode::OK, None, DOCUMENT.clone()))
}

/// What every operation has is added here: any other answer is a problem document.
fn document() -> Value {
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Portcullis admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Revoke, block, list, undo and explain. See docs/admin-api.md.",
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "security": [{ "credential": [] }],
        "paths": {},
        "components": {},
    });
    for part in PARTS {
        // A part that cannot be read is found by the tests; the others are still served.
        let part: Value = serde_json::from_str(part).unwrap_or_default();
        merge(&mut document, part);
    }
    if let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) {
        for operation in paths.values_mut().filter_map(Value::as_object_mut).flat_map(operations) {
            if let Some(answers) = operation.get_mut("responses").and_then(Value::as_object_mut) {
                let problem = json!({ "$ref": "#/components/responses/Problem" });
                answers.entry("default").or_insert(problem);
            }
        }
    }
    document
}

fn operations(path: &mut Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    path.iter_mut().filter(|(name, _)| *name != "parameters").map(|(_, operation)| operation)
}

/// Objects are joined member by member; anything else is replaced.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::endpoints::TABLE;
    use super::*;

    #[test]
    fn every_route_is_in_the_document_and_every_path_of_the_document_is_a_route() {
        let document = document();
        let described: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, operations)| {
                let methods = operations.as_object().unwrap().keys();
                let methods = methods.filter(|name| *name != "parameters");
                methods.map(|method| (method.to_uppercase(), path.clone()))
            })
            .collect();
        let routed: BTreeSet<(String, String)> = TABLE
            .iter()
            .map(|(method, path, _)| (method.to_string(), (*path).to_owned()))
            .collect();
        assert_eq!(described, routed);
    }

    #[test]
    fn every_part_is_json_and_no_two_say_the_same() {
        let mut seen = BTreeSet::new();
        for part in PARTS {
            let part: Value = serde_json::from_str(part).unwrap();
            for (path, operations) in part["paths"].as_object().unwrap() {
                for method in operations.as_object().unwrap().keys() {
                    assert!(seen.insert(format!("{method} {path}")), "{method} {path}");
                }
            }
            for (kind, named) in part["components"].as_object().into_iter().flatten() {
                for name in named.as_object().unwrap().keys() {
                    assert!(seen.insert(format!("{kind} {name}")), "{kind} {name}");
                }
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_has_its_own_id() {
        fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
            match value {
                Value::Object(members) => {
                    for (name, value) in members {
                        if name == "$ref" {
                            found.extend(value.as_str());
                        }
                        references(value, found);
                    }
                }
                Value::Array(values) => values.iter().for_each(|value| references(value, found)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        let mut document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20);
        for place in found {
            let pointer = place.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{place} leads nowhere");
        }
        let mut ids = BTreeSet::new();
        for path in document["paths"].as_object_mut().unwrap().values_mut() {
            for operation in operations(path.as_object_mut().unwrap()) {
                let id = operation["operationId"].as_str().unwrap().to_owned();
                assert!(operation["summary"].is_string(), "{id} says what it does");
                assert!(ids.insert(id.clone()), "{id} is there twice");
            }
        }
    }
}
