//! Sessions that nobody begins, or that nothing takes: each half works alone, and does nothing.

use super::Carrier;
use super::cursor::Span;
use super::diagnostic::{Code, Diagnostic};
use super::route::Parsed;
use super::whole::Whole;

fn of_capture(parsed: &Parsed) -> Option<Span> {
    let [capture, _] = &parsed.session_spans;
    capture.clone()
}

fn of_credentials(parsed: &Parsed) -> Option<Span> {
    let [_, credentials] = &parsed.session_spans;
    credentials.clone()
}

impl Whole<'_, '_> {
    pub fn note_sessions(&self) {
        let reader = self.root.reader;
        let takes = |carriers: &[Carrier]| carriers.contains(&Carrier::Session);
        let captures = self.routes.iter().filter(|parsed| parsed.route.capture.is_some());
        let mut taking = self.routes.iter().filter(|parsed| takes(&parsed.route.credentials));
        let begun = captures.clone().count() > 0;
        if let (None, Some(span)) =
            (taking.clone().next(), captures.clone().find_map(|parsed| of_capture(parsed)))
        {
            let message = "this login becomes a session, and no route takes one";
            let help = "credentials = [\"session\"] on the routes that its pages use";
            reader.report(&span, Diagnostic::warning(Code::Unused, message).help(help));
        }
        let written = taking.find_map(|parsed| of_credentials(parsed));
        if let (false, Some(span)) = (begun, written) {
            let message = "no login begins a session: no route has `capture`";
            let help = "capture = { token = \"/access_token\" } on the route of the login, unless \
                        another gateway with the same keys has it";
            reader.report(&span, Diagnostic::warning(Code::Unused, message).help(help));
        }
    }
}
