//! Numbers among the arguments, for clap: what is no number is said in our words, as of a time.

/// How many.
pub fn count(text: &str) -> Result<u32, &'static str> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or("a whole number is meant, at least 1 and at most 4294967295")
}

/// The place of a change in the store.
pub fn sequence(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "a whole number is meant: the id of an event")
}
