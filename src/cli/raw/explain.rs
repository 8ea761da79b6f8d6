//! `explain` as clap reads it.

use std::path::PathBuf;

use clap::Args;

#[derive(Args, Debug, Default)]
pub struct RawExplain {
    /// The token in this file instead of stdin
    #[arg(value_name = "FILE", group = "source")]
    pub file: Option<PathBuf>,
    #[arg(long, value_name = "FILE", group = "source")]
    pub token_file: Option<PathBuf>,
    /// A refused request, by the request id of its answer
    #[arg(long, value_name = "ID", group = "source")]
    pub request: Option<String>,
    /// Check for a request to this URL: route, scopes, credential
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    #[arg(long, value_name = "METHOD", requires = "url")]
    pub method: Option<String>,
}
