//! The event log of a gateway that this process runs: lines for people on a terminal, JSON
//! elsewhere, always to stderr. Requests are not events; they have the access log.

mod writer;

use std::fmt::{self, Write as _};
use std::io;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::UnixMs;
use crate::telemetry::access::Format;

use super::failure::Failure;
use super::words;

use writer::EventWriter;

/// The log while it is written. When this goes, what was said has been written, if anybody reads it.
pub struct Events(EventWriter);

/// Once for the process; a second call changes nothing.
pub fn start(format: Format, level: Level) -> Result<Events, Failure> {
    let tell_lost = |lines| tracing::warn!(lines, "events were lost: nobody took them from stderr");
    let writer = EventWriter::spawn(io::stderr(), tell_lost)
        .map_err(|cause| Failure::Write { what: "stderr".to_owned(), cause })?;
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(writer.clone());
    // The error says that a subscriber is there already, which is what was asked for.
    let _ = match format {
        Format::Json => builder.json().flatten_event(true).try_init(),
        Format::Text | Format::Combined => builder.event_format(Lines).try_init(),
    };
    Ok(Events(writer))
}

impl Events {
    /// Before something else is written to stderr.
    pub fn settle(&self) {
        self.0.settle();
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.settle();
    }
}

/// `11:14:01  revoked user alice "lost laptop": …  by=dana denial=dn_4kq7… selector=subject`
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let now = UnixMs::now();
        write!(out, "{}  ", words::bare_clock(now, now))?;
        match *event.metadata().level() {
            Level::ERROR => out.write_str("ERROR  ")?,
            Level::WARN => out.write_str("warning  ")?,
            _ => {}
        }
        writeln!(out, "{}{}", fields.message, fields.rest)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Fields {
    fn take(&mut self, field: &Field, value: &str) {
        let value = words::printable_line(value);
        if field.name() == "message" {
            self.message = value;
        } else {
            let lead = if self.rest.is_empty() { "  " } else { " " };
            let _ = write!(self.rest, "{lead}{}={value}", field.name());
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, &format!("{value:?}"));
    }
}
