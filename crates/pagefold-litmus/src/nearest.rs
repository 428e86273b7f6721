//! The known name that was probably meant.

use crate::limits::NAME_BYTES;

/// A help line with the candidate most like `name`, if one is like enough.
pub(crate) fn did_you_mean<'c>(
    name: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<String> {
    nearest(name, candidates).map(|near| format!("did you mean `{near}`?"))
}

/// The candidate most like `name`, if one is like enough.
fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if name.len() > NAME_BYTES {
        return None;
    }
    let folded = name.to_ascii_lowercase();
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= NAME_BYTES && *candidate != name)
        .map(|candidate| {
            let distance = strsim::osa_distance(&folded, &candidate.to_ascii_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| {
            // One-letter names are all one edit apart: there, only the case may differ.
            *distance <= allowed && (*distance < candidate.len().min(name.len()) || *distance == 0)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["linux-6.4", "linux-6.6", "posted-v1"];
        assert_eq!(nearest("linux-6.5", known), Some("linux-6.4"));
        assert_eq!(nearest("postedv1", known), Some("posted-v1"));
        assert_eq!(nearest("POSTED-V1", known), Some("posted-v1"));
        assert_eq!(nearest("windows", known), None);
        assert_eq!(nearest("a", ["b", "A"]), Some("A"));
        assert_eq!(nearest("a", ["b"]), None);
        assert_eq!(nearest(&"x".repeat(100_000), known), None);
    }
}
