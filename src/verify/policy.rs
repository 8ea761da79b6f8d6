//! Every claim rule, each with its RFC clause.

use crate::token::FormFault;

/// Why a token is not good. The text of a variant never holds the token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TokenFault {
    Form(FormFault),
}

impl TokenFault {
    /// The stable code that client, log and metric share: `token_expired` or `token_invalid`.
    pub fn code(&self) -> &'static str {
        unimplemented!()
    }
}
