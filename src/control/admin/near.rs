//! What was probably meant: one suggestion for a misspelt word, never the whole list.

/// Words that people bring along from elsewhere.
const SYNONYMS: [(&str, &str); 14] = [
    ("sub", "subject"),
    ("user_id", "user"),
    ("userid", "user"),
    ("username", "user"),
    ("sid", "session"),
    ("session_id", "session"),
    ("kid", "key"),
    ("client_id", "client"),
    ("azp", "client"),
    ("iss", "issuer"),
    ("all", "everyone"),
    ("duration", "for"),
    ("ttl", "for"),
    ("comment", "reason"),
];

/// The candidate that `word` most likely stands for.
pub(super) fn nearest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let lower = word.to_lowercase();
    if let Some((_, meant)) = SYNONYMS.iter().find(|(said, _)| *said == lower)
        && let Some(found) = candidates.iter().find(|candidate| *candidate == meant)
    {
        return Some(found);
    }
    // A third of a word may be wrong. Long input is not compared: the cost is its square.
    let allowed = (word.len() / 3).clamp(1, 3);
    candidates
        .iter()
        .filter(|candidate| candidate.len().abs_diff(lower.len()) <= allowed)
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), *candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in characters.
pub(crate) fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, letter) in left.chars().enumerate() {
        let mut diagonal = above;
        let mut before = above + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(&right) {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = *cell;
            *cell = replaced.min(*cell + 1).min(before + 1);
            before = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = above + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_counts_edits() {
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("main", "mian"), 2);
        assert_eq!(distance("abc", ""), 3);
    }

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let known = ["issued_before", "issuer", "user", "subject", "session"];
        assert_eq!(nearest("issued_befor", &known), Some("issued_before"));
        assert_eq!(nearest("sub", &known), Some("subject"));
        assert_eq!(nearest("usr", &known), Some("user"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest("", &known), None);
    }
}
