//! `registrations` as clap reads it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::help;

use super::RawMost;

#[derive(Args, Debug, Default)]
pub struct RawRegistrations {
    #[command(subcommand)]
    pub act: Option<RawRegistration>,
    /// Show this one
    #[arg(value_name = "REGISTRATION")]
    pub id: Option<String>,
    #[arg(long, value_name = "ID", group = "which", help_heading = "Which")]
    pub session: Option<String>,
    #[arg(long, value_name = "ID", group = "which", help_heading = "Which")]
    pub jti: Option<String>,
    #[arg(long, value_name = "NAME", help_heading = "Which")]
    pub issuer: Option<String>,
    /// Made by this credential
    #[arg(long, value_name = "NAME", help_heading = "Which")]
    pub by: Option<String>,
    /// Those removed too
    #[arg(long, help_heading = "Which")]
    pub removed: bool,
    #[command(flatten)]
    pub most: RawMost,
}

#[derive(Subcommand, Debug)]
pub enum RawRegistration {
    /// Let a session or a token pass
    #[command(after_help = help::REGISTER)]
    Add(RawAdd),
    /// End it: its session or token is denied as well
    #[command(after_help = help::UNREGISTER)]
    Remove {
        /// Ids as `registrations` lists them; a unique beginning will do
        #[arg(value_name = "REGISTRATION", required = true)]
        ids: Vec<String>,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

#[derive(Args, Debug, Default)]
#[command(group = clap::ArgGroup::new("one").required(true))]
pub struct RawAdd {
    /// A session, and with it every token of the session
    #[arg(long, value_name = "ID", group = "one")]
    pub session: Option<String>,
    /// The token in this file; `-` reads stdin
    #[arg(long, value_name = "FILE", group = "one")]
    pub token_file: Option<PathBuf>,
    /// One token, by its `jti`
    #[arg(long, value_name = "ID", group = "one")]
    pub jti: Option<String>,
    /// The issuer by its name in the config, where there are several
    #[arg(long, value_name = "NAME")]
    pub issuer: Option<String>,
    /// End by itself after this time: 30m, 24h, 7d
    #[arg(long = "for", value_name = "TIME", allow_hyphen_values = true)]
    pub lasts: Option<String>,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// A ticket or the like
    #[arg(long, value_name = "TEXT")]
    pub reference: Option<String>,
}
