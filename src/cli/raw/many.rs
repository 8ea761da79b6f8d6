//! The arguments of what reads and writes many records.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::super::help;
use super::RawMost;

/// Many records at once.
#[derive(Subcommand, Debug)]
pub enum RawExchange {
    /// Deny many: a JSON object a line, as the admin API takes it
    #[command(after_help = help::BATCH)]
    Batch {
        /// `-` reads stdin
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Look at nothing after the first line that fails
        #[arg(long)]
        stop_on_error: bool,
    },
    /// Write all records, with those taken back, to a file
    #[command(after_help = help::EXPORT)]
    Export {
        /// `-` writes to stdout
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Add the records of an export; what is here stays
    #[command(after_help = help::IMPORT)]
    Import {
        /// `-` reads stdin
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Args, Debug, Default)]
pub struct RawAudit {
    /// Done by this credential
    #[arg(long, value_name = "NAME", help_heading = "Which")]
    pub by: Option<String>,
    /// Done from this address
    #[arg(long, value_name = "ADDR", help_heading = "Which")]
    pub address: Option<String>,
    /// denied, undone, ended, registered, removed, batch, imported, reloaded or cut
    #[arg(long, value_name = "WORD", help_heading = "Which")]
    pub action: Option<String>,
    /// Of this denial
    #[arg(long, value_name = "DENIAL", help_heading = "Which")]
    pub denial: Option<String>,
    #[arg(long, alias = "subject", value_name = "ID", help_heading = "Which")]
    pub user: Option<String>,
    #[arg(long, value_name = "NAME", help_heading = "Which")]
    pub issuer: Option<String>,
    /// At or after this time (RFC 3339), or within this time: 24h
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, help_heading = "Which")]
    pub since: Option<String>,
    #[command(flatten)]
    pub most: RawMost,
}
