//! The compact serialization, parsed strictly.

/// The JOSE header members that we read (RFC 7515 section 4.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    pub alg: String,
    pub kid: Option<String>,
    pub typ: Option<String>,
}

/// A token in compact form whose spelling is canonical. Not verified.
#[derive(Debug)]
pub struct Compact<'t> {
    /// `header.payload`, what the signature covers.
    pub signing_input: &'t str,
    pub header: Header,
    pub claims: super::Claims,
    /// The signature's base64url text.
    pub signature: &'t str,
}

/// What is wrong with the form. One variant per rule, each with its RFC clause in its docs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FormFault {
    NotThreeParts,
}

impl<'t> Compact<'t> {
    pub fn parse(token: &'t str) -> Result<Self, FormFault> {
        let _ = token;
        unimplemented!()
    }
}
