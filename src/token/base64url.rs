//! Strict base64url (RFC 7515 section 2): no padding, no other alphabet, no stray bits.
