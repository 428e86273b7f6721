//! Keeps panics in checked threads from printing: they are found, reported, and found again by
//! the thousand.

use std::any::Any;
use std::cell::RefCell;
use std::panic;
use std::sync::Once;

use crate::engine::{Mode, rt};

thread_local! {
    /// Where the last panic of a checked thread happened.
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Puts a hook before the one that is installed. It only acts on OS threads that run an
/// exploration, and only while they run code of the program.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if rt::with(|engine| engine.in_program) != Some(true) {
                previous(info);
                return;
            }
            let location = info.location().map(ToString::to_string);
            LOCATION.with(|last| *last.borrow_mut() = location);
            rt::with(|engine| {
                if matches!(engine.mode, Mode::Normal | Mode::Quiet) {
                    engine.mode = Mode::Unwinding;
                }
            });
        }));
    });
}

/// What a caught panic said, and where.
pub(crate) fn message(payload: &(dyn Any + Send)) -> String {
    let text = if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "a value that is not text"
    };
    match LOCATION.with(|last| last.borrow_mut().take()) {
        Some(location) => format!("{text}, at {location}"),
        None => text.to_owned(),
    }
}
