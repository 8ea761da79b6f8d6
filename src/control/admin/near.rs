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

/// Edits from one word to the other: a letter put in, left out or changed, or two neighbours swapped
/// (optimal string alignment).
pub(crate) fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let at = |row: &[usize], place: usize| row.get(place).copied().unwrap_or(usize::MAX);
    let mut two_above: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    let mut last = None;
    for (number, letter) in left.chars().enumerate() {
        let mut row = vec![number + 1];
        for (place, other) in right.iter().enumerate() {
            let mut least = at(&above, place).saturating_add(usize::from(letter != *other));
            least = least
                .min(at(&above, place + 1).saturating_add(1))
                .min(at(&row, place).saturating_add(1));
            let before = place.checked_sub(1);
            if let Some(before) = before
                && last == Some(*other)
                && right.get(before) == Some(&letter)
            {
                least = least.min(at(&two_above, before).saturating_add(1));
            }
            row.push(least);
        }
        two_above = std::mem::replace(&mut above, row);
        last = Some(letter);
    }
    above.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_counts_edits() {
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("main", "mian"), 1);
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("ca", "abc"), 3);
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
