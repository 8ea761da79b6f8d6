//! What the demo says on the terminal.

use std::fmt::Write as _;

use crate::cli::console::Paint;
use crate::cli::words::shell;

use super::Called;
use super::stage::Stage;
use super::steps::steps;

/// Ports that people are used to.
pub const PORTS: (u16, u16) = (8080, 9900);

pub fn screen(stage: &Stage, called: &Called, in_force: Option<u64>, paint: Paint) -> String {
    let directory = stage.shown().display().to_string();
    let mut text = format!(
        "{} {} demo. Everything lives in {}; Ctrl+C stops it.\n\n",
        paint.bold("Portcullis"),
        env!("CARGO_PKG_VERSION"),
        shown_directory(&directory),
    );
    let busy = |port: u16, wanted: u16| {
        if port == wanted { String::new() } else { format!("    ({wanted} was busy)") }
    };
    let _ = writeln!(
        text,
        "  gateway    {}    in front of a small sample backend{}",
        stage.url("/"),
        busy(stage.gateway_port, PORTS.0)
    );
    let _ = writeln!(
        text,
        "  admin      http://127.0.0.1:{}{}",
        stage.admin_port,
        busy(stage.admin_port, PORTS.1)
    );
    let made = match (stage.kept, stage.renewed) {
        (true, true) => ", made anew: the old ones had ended",
        (true, false) => ", those of before",
        (false, _) => "",
    };
    let _ =
        writeln!(text, "  tokens     alice (laptop, phone) and bob, ES256, good for 1 hour{made}");
    if let Some(count) = in_force.filter(|count| *count > 0) {
        let _ = writeln!(
            text,
            "  denials    {count} in force from before: step 1 may be refused. Begin anew: rm -r {}",
            shell(&directory)
        );
    }
    if std::env::var_os("PORTCULLIS_ADMIN").is_some() {
        text.push_str("  note       PORTCULLIS_ADMIN is set and wins over -c: unset it first\n");
    }
    text.push_str("\nIn a second terminal, in this directory:\n\n");
    for (number, step) in steps(stage).iter().enumerate() {
        let _ = writeln!(text, "  {}  {}", number + 1, paint.bold(step.title));
        for act in &step.acts {
            let _ = writeln!(text, "     {}", act.shown(stage, called));
        }
        text.push('\n');
    }
    text.push_str("Waiting for requests.\n\n");
    text
}

fn shown_directory(directory: &str) -> String {
    if directory.starts_with(['/', '.']) { directory.to_owned() } else { format!("./{directory}") }
}
