//! Places of the engine that ask for an order.
//!
//! Every ordered access of the engine comes by here and is known by its place in the source. A run can note which places it
//! passes, or take the order of one place away: an access becomes relaxed, a barrier is left out. What breaks
//! then is what the order is there for.
//!
//! What hardware does by itself (walks of page tables) asks for no order here: it is an assumption, and not weakened.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::panic::Location;

use pagefold_explore::sync::atomic::Ordering;

/// What a place asks for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Asked {
    /// What is reached through the value is read after it.
    Dependency,
    /// What follows comes after the read.
    Acquire,
    /// What went before comes before the write.
    Release,
    /// What went before comes before what follows.
    FullBarrier,
}

impl Asked {
    /// Its name, as in ARCHITECTURE.md.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dependency => "dependent read",
            Self::Acquire => "acquire",
            Self::Release => "release",
            Self::FullBarrier => "full barrier",
        }
    }

    fn ordering(self) -> Ordering {
        match self {
            // The explorer does not follow dependencies.
            Self::Dependency | Self::Acquire => Ordering::Acquire,
            Self::Release => Ordering::Release,
            Self::FullBarrier => Ordering::SeqCst,
        }
    }
}

/// A place in the source of the engine, with what it asks for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Site {
    /// The file, as the compiler was given it.
    pub file: &'static str,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
    /// What it asks for.
    pub asked: Asked,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self
            .file
            .rsplit_once("/src/")
            .map_or(self.file, |(_, file)| file);
        write!(f, "{file}:{}:{}", self.line, self.column)
    }
}

impl Site {
    /// The function that the place is in, by the text of the file: the last `fn` above it.
    #[must_use]
    pub fn function<'a>(&self, source: &'a str) -> Option<&'a str> {
        let above = source.lines().take(self.line as usize);
        let names = above.filter_map(|line| {
            let (before, after) = line.split_once("fn ")?;
            let is_item = before
                .chars()
                .all(|c| c.is_ascii_lowercase() || " ()".contains(c));
            let end = after.find(|c: char| !c.is_alphanumeric() && c != '_')?;
            (is_item && end > 0).then(|| &after[..end])
        });
        names.last()
    }
}

thread_local! {
    static WEAKENED: Cell<Option<Site>> = const { Cell::new(None) };
    static PASSED: RefCell<Option<BTreeSet<Site>>> = const { RefCell::new(None) };
}

/// Says what this OS thread does at the places that it passes.
pub(super) fn watch(weakened: Option<Site>, note: bool) {
    WEAKENED.set(weakened);
    PASSED.set(note.then(BTreeSet::new));
}

/// The places that this OS thread has passed.
pub(super) fn passed() -> BTreeSet<Site> {
    PASSED.take().unwrap_or_default()
}

/// The order of an access that asks for one: the caller's caller is the place.
#[inline]
#[track_caller]
pub(super) fn order(asked: Asked) -> Ordering {
    let location = Location::caller();
    let weakened = WEAKENED.get().is_some_and(|site| {
        site.line == location.line()
            && site.column == location.column()
            && site.asked == asked
            && site.file == location.file()
    });
    PASSED.with_borrow_mut(|passed| {
        if let Some(passed) = passed {
            passed.insert(Site {
                file: location.file(),
                line: location.line(),
                column: location.column(),
                asked,
            });
        }
    });
    if weakened {
        Ordering::Relaxed
    } else {
        asked.ordering()
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, Site};

    #[test]
    fn the_function_of_a_place() {
        const SOURCE: &str = "fn first() {\n}\n\npub(crate) fn second<P>(f: impl Fn()) {\n    // calls fn third(\n    here\n}\n";
        let site = |line| Site {
            file: "test.rs",
            line,
            column: 1,
            asked: Asked::Release,
        };
        assert_eq!(site(2).function(SOURCE), Some("first"));
        assert_eq!(site(6).function(SOURCE), Some("second"));
    }
}
