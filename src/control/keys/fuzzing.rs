//! Readers of what key servers and the disk say, for the fuzz targets in `tests/fuzz`. Not an
//! interface: it may change at any time.

use std::path::Path;

use super::{discovery, kept};

/// Where a discovery document of this issuer says that the keys are.
pub fn discovered(document: &[u8], issuer: &str) -> Option<String> {
    discovery::read(document, issuer).ok().map(|url| url.to_string())
}

/// The key set in a kept file, where it came from this URL.
pub fn kept(text: &[u8], url: &str) -> Option<String> {
    let keeper = kept::Keeper::new(Path::new(""), "", url);
    keeper.parse(text).map(|kept| kept.jwks)
}
