//! The paths of the admin API: one table, which the router asks and the OpenAPI document is held to.
//!
//! To add an endpoint: a variant of [`Operation`], a row here, its arm in `handle`, and its
//! description in a file of `openapi/`. A test fails when one of them is missing.

use http::Method;

use super::plan::Verb;

/// What a request asks for. Which path and method that is, is in the table alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    Live,
    Ready,
    OpenApi,
    Create(Verb),
    ListDenials,
    Batch,
    Export,
    Import,
    ReadDenial,
    DeleteDenial,
    UndoDenial,
    UndoMatching,
    Register,
    ListRegistrations,
    ReadRegistration,
    DeleteRegistration,
    RemoveRegistration,
    Explain,
    Audit,
    People,
    Sessions,
    DeleteSession,
    EndSession,
    Status,
    Upstreams,
    ListStreams,
    ReadStream,
    CutStream,
    Keys,
    RefreshKeys,
    Config,
    Reload,
    CheckConfig,
    Events,
}

impl Operation {
    /// Parameters of the query, which it reads and checks itself.
    pub fn has_parameters(self) -> bool {
        matches!(
            self,
            Self::ListDenials
                | Self::Batch
                | Self::ListRegistrations
                | Self::Audit
                | Self::People
                | Self::Sessions
                | Self::ListStreams
                | Self::Events
        )
    }
}

/// A row: method, path with at most one `{parameter}`, operation.
pub(super) type Row = (Method, &'static str, Operation);

/// Paths without a parameter stand before those that would match them too.
pub(super) const TABLE: &[Row] = &[
    (Method::GET, "/livez", Operation::Live),
    (Method::GET, "/readyz", Operation::Ready),
    (Method::GET, "/v1/openapi.json", Operation::OpenApi),
    (Method::POST, "/v1/revoke", Operation::Create(Verb::Revoke)),
    (Method::POST, "/v1/block", Operation::Create(Verb::Block)),
    (Method::POST, "/v1/undo", Operation::UndoMatching),
    (Method::GET, "/v1/denials", Operation::ListDenials),
    (Method::POST, "/v1/denials", Operation::Create(Verb::Deny)),
    (Method::POST, "/v1/denials/batch", Operation::Batch),
    (Method::GET, "/v1/denials/export", Operation::Export),
    (Method::POST, "/v1/denials/import", Operation::Import),
    (Method::GET, "/v1/denials/{id}", Operation::ReadDenial),
    (Method::DELETE, "/v1/denials/{id}", Operation::DeleteDenial),
    (Method::POST, "/v1/denials/{id}/undo", Operation::UndoDenial),
    (Method::GET, "/v1/registrations", Operation::ListRegistrations),
    (Method::POST, "/v1/registrations", Operation::Register),
    (Method::GET, "/v1/registrations/{id}", Operation::ReadRegistration),
    (Method::DELETE, "/v1/registrations/{id}", Operation::DeleteRegistration),
    (Method::POST, "/v1/registrations/{id}/remove", Operation::RemoveRegistration),
    (Method::POST, "/v1/explain", Operation::Explain),
    (Method::GET, "/v1/audit", Operation::Audit),
    (Method::GET, "/v1/people", Operation::People),
    (Method::GET, "/v1/sessions", Operation::Sessions),
    (Method::DELETE, "/v1/sessions/{id}", Operation::DeleteSession),
    (Method::POST, "/v1/sessions/{id}/end", Operation::EndSession),
    (Method::GET, "/v1/status", Operation::Status),
    (Method::GET, "/v1/upstreams", Operation::Upstreams),
    (Method::GET, "/v1/streams", Operation::ListStreams),
    (Method::GET, "/v1/streams/{id}", Operation::ReadStream),
    (Method::DELETE, "/v1/streams/{id}", Operation::CutStream),
    (Method::POST, "/v1/streams/{id}/cut", Operation::CutStream),
    (Method::GET, "/v1/keys", Operation::Keys),
    (Method::POST, "/v1/keys/refresh", Operation::RefreshKeys),
    (Method::GET, "/v1/config", Operation::Config),
    (Method::POST, "/v1/config/reload", Operation::Reload),
    (Method::POST, "/v1/config/check", Operation::CheckConfig),
    (Method::GET, "/v1/events", Operation::Events),
];

/// Where a path and a method lead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Found<'p> {
    /// With the value of the path's parameter, still percent-encoded; empty where it has none.
    Operation(Operation, &'p str),
    /// The path takes other methods: these.
    OtherMethods(String),
    Nothing,
}

/// The path as the table has it.
pub(super) fn template(path: &str) -> Option<&'static str> {
    TABLE.iter().map(|(_, template, _)| *template).find(|one| parameter(one, path).is_some())
}

/// `HEAD` is `GET` without the body.
pub(super) fn find<'p>(method: &Method, path: &'p str) -> Found<'p> {
    let wanted = if method == Method::HEAD { &Method::GET } else { method };
    let Some((template, parameter)) =
        TABLE.iter().find_map(|(_, template, _)| Some((template, parameter(template, path)?)))
    else {
        return Found::Nothing;
    };
    let rows = TABLE.iter().filter(|(_, path, _)| path == template);
    let mut methods = Vec::new();
    for (method, _, operation) in rows {
        if method == wanted {
            return Found::Operation(*operation, parameter);
        }
        methods.push(method.as_str());
        if method == Method::GET {
            methods.push("HEAD");
        }
    }
    Found::OtherMethods(methods.join(", "))
}

/// The value of the template's parameter where the path fits, segment by segment.
fn parameter<'p>(template: &str, path: &'p str) -> Option<&'p str> {
    let mut value = "";
    let mut segments = path.split('/');
    for expected in template.split('/') {
        let segment = segments.next()?;
        if expected.starts_with('{') {
            if segment.is_empty() {
                return None;
            }
            value = segment;
        } else if expected != segment {
            return None;
        }
    }
    segments.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: Method, path: &str) -> Found<'_> {
        find(&method, path)
    }

    #[test]
    fn a_path_leads_to_its_operation_and_one_that_is_like_it_does_not() {
        let operation = |operation, id| Found::Operation(operation, id);
        assert_eq!(
            found(Method::POST, "/v1/revoke"),
            operation(Operation::Create(Verb::Revoke), "")
        );
        assert_eq!(found(Method::HEAD, "/v1/denials"), operation(Operation::ListDenials, ""));
        assert_eq!(
            found(Method::POST, "/v1/denials/dn_1%2F/undo"),
            operation(Operation::UndoDenial, "dn_1%2F")
        );
        for path in
            ["/v1/denials/", "/v1/denials//undo", "/v1/denials/a/b", "/v1", "/", "", "/v1/revoke/"]
        {
            assert_eq!(found(Method::POST, path), Found::Nothing, "{path}");
        }
    }

    #[test]
    fn a_literal_path_wins_and_another_method_of_it_is_told() {
        let other = |text: &str| Found::OtherMethods(text.to_owned());
        assert_eq!(found(Method::GET, "/v1/denials/batch"), other("POST"));
        assert_eq!(found(Method::PUT, "/v1/denials"), other("GET, HEAD, POST"));
        assert_eq!(found(Method::PUT, "/v1/denials/dn_1"), other("GET, HEAD, DELETE"));
    }

    #[test]
    fn every_row_is_reached() {
        for (method, path, operation) in TABLE {
            let path = path.replace("{id}", "x");
            assert!(
                matches!(find(method, &path), Found::Operation(found, _) if found == *operation)
            );
        }
    }
}
