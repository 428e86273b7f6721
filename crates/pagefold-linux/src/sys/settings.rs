//! Settings of the machine that are others for a while.
//!
//! Guarantee: each is what it was when this process has gone, whichever way it goes: a [`Keeper`] puts them back, and nobody else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::keeper::Keeper;

/// Settings that are put back when this is dropped.
#[derive(Debug)]
pub(crate) struct Settings {
    _keeper: Keeper,
}

impl Settings {
    /// Remembers these. This process must have one thread only, as it forks.
    pub(crate) fn keep(paths: &[PathBuf]) -> io::Result<Self> {
        let saved = paths
            .iter()
            .map(|path| {
                let text = fs::read_to_string(path)?;
                Ok((path.clone(), chosen(&text).to_owned()))
            })
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            _keeper: Keeper::new(|| put_back(&saved))?,
        })
    }
}

/// Changes a setting.
pub(crate) fn set(path: &Path, value: impl ToString) -> io::Result<()> {
    fs::write(path, value.to_string())
}

fn put_back(saved: &[(PathBuf, String)]) {
    for (path, value) in saved {
        if let Err(error) = set(path, value) {
            eprintln!(
                "pagefold linux: {} was `{value}`, and cannot be made so again: {error}",
                path.display()
            );
        }
    }
}

/// What a setting is: all of the text, or the word in brackets.
pub(crate) fn chosen(text: &str) -> &str {
    let bracketed = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    bracketed.map_or(text.trim(), |(chosen, _)| chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_the_word_in_brackets() {
        assert_eq!(chosen("always [madvise] never\n"), "madvise");
        assert_eq!(chosen("511\n"), "511");
    }
}
