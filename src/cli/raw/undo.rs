//! What `undo` takes: ids, the newest, or all that stands of somebody.

use std::path::PathBuf;

use clap::Args;

use super::RawTarget;

#[derive(Args, Debug, Default)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct RawUndo {
    /// Ids as `denials` lists them; a unique beginning will do
    #[arg(value_name = "DENIAL", group = "what")]
    pub ids: Vec<String>,
    /// The newest one that is in force; of `unblock` the newest block
    #[arg(long, group = "what")]
    pub last: bool,
    /// All that stands of a user
    #[arg(long, alias = "subject", value_name = "ID", group = "what", help_heading = "Of whom")]
    pub user: Option<String>,
    /// Of one session or device
    #[arg(long, value_name = "ID", group = "what", help_heading = "Of whom")]
    pub session: Option<String>,
    /// Of the token in this file; `-` reads stdin
    #[arg(long, value_name = "FILE", group = "what", help_heading = "Of whom")]
    pub token_file: Option<PathBuf>,
    /// Of one token, by its `jti`
    #[arg(long, value_name = "ID", group = "what", help_heading = "Of whom")]
    pub jti: Option<String>,
    /// Of an OAuth client
    #[arg(long, value_name = "ID", group = "what", help_heading = "Of whom")]
    pub client: Option<String>,
    /// Of a key: its `kid` or thumbprint
    #[arg(long, value_name = "KID", group = "what", help_heading = "Of whom")]
    pub key: Option<String>,
    /// Of a claim that the config indexes
    #[arg(long, value_name = "NAME=VALUE", group = "what", help_heading = "Of whom")]
    pub claim: Option<String>,
    /// What denies every token of the issuer
    #[arg(long, group = "what", help_heading = "Of whom")]
    pub everyone: bool,
    /// The issuer by its name in the config, where there are several
    #[arg(long, value_name = "NAME", help_heading = "Of whom")]
    pub issuer: Option<String>,
    /// With --user and the like: say what would be taken back; change nothing
    #[arg(long, conflicts_with_all = ["ids", "last"])]
    pub dry_run: bool,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

impl RawUndo {
    /// Of whom, where that was said.
    pub fn target(&mut self) -> Option<RawTarget> {
        let target = RawTarget {
            user: self.user.take(),
            session: self.session.take(),
            token_file: self.token_file.take(),
            jti: self.jti.take(),
            client: self.client.take(),
            key: self.key.take(),
            claim: self.claim.take(),
            everyone: self.everyone,
            ..RawTarget::default()
        };
        (self.ids.is_empty() && !self.last).then_some(target)
    }
}
