//! How much of a list, as clap reads it.

use clap::Args;

use super::number;

#[derive(Args, Debug, Default)]
pub struct RawMost {
    /// At most this many
    #[arg(
        long,
        value_name = "N",
        default_value_t = 50,
        value_parser = number::count,
        allow_negative_numbers = true,
        help_heading = "Which"
    )]
    limit: u32,
    /// Every page, not only the first
    #[arg(long, conflicts_with = "limit", help_heading = "Which")]
    all: bool,
}

impl RawMost {
    /// As a number of items.
    pub fn items(&self) -> u32 {
        if self.all { u32::MAX } else { self.limit }
    }
}
