//! `pagefold linux --from`: a trace becomes a race on a real kernel that is aimed at what the trace shows.
//!
//! [`threads`] says of each step whose it is, in which statement and in which function of Linux ([`functions`]); [`places`] where a
//! thread has to stop for others, and where they should meet it; [`report`] what is said of that.

mod functions;
mod places;
pub(crate) mod report;
mod threads;

use std::path::{Path, PathBuf};
use std::time::Duration;

use pagefold_linux::Aim;

pub(crate) use places::Place;
pub(crate) use threads::Step;

use crate::exit::Failure;
use crate::load::{self, Loaded};
use crate::recording::Recording;
use crate::replay::WITNESS;

/// A violation that is to be reproduced.
#[derive(Debug)]
pub(crate) struct Target {
    /// The scenario.
    pub(crate) loaded: Loaded,
    /// Under which rules the trace was found.
    pub(crate) rules: String,
    /// What it ends in.
    pub(crate) kind: String,
    /// What happened.
    pub(crate) message: String,
    /// Where threads have to stop.
    pub(crate) places: Vec<Place>,
    /// Where they should meet.
    pub(crate) aim: Aim,
}

impl Target {
    /// What the file of a trace says; `delay` is what the kernel was made to wait.
    ///
    /// # Errors
    /// If it is no trace of a violation, or not of its scenario.
    pub(crate) fn read(path: &Path, delay: Duration) -> Result<Self, Failure> {
        let recording = Recording::read(path)?;
        let bad = |message: &str| Failure::file(path, message);
        let scenario = load::scenario(&recording.source, &recording.file)?;
        if recording.violation.kind == WITNESS {
            return Err(bad(
                "its trace breaks nothing: it is the witness of an `exists`",
            ));
        }
        if scenario.fingerprint() != recording.trace.program {
            return Err(bad("its trace is of another scenario than the one in it"));
        }
        let replay = recording
            .replay(&scenario)
            .map_err(|limit| Failure::file(path, limit))?;
        if let Some(divergence) = &replay.divergence {
            return Err(Failure::file(
                path,
                format_args!("its trace cannot be followed any more: it diverges at {divergence}"),
            ));
        }
        if replay.violation.is_none() {
            return Err(bad("its trace breaks nothing any more"));
        }
        let places = places::places(&recording.trace, &scenario);
        let mut lengths = places::lengths(&recording.trace, &scenario);
        if let Some(place) = places.first() {
            // The trace ends where something breaks. How far the threads have to go is seen if the first that stops goes on.
            let mut whole = recording.clone();
            whole.trace.steps.truncate(place.after.step + 1);
            let replay = whole
                .replay(&scenario)
                .map_err(|limit| Failure::file(path, limit))?;
            for (length, whole) in lengths
                .iter_mut()
                .zip(places::lengths(&replay.trace, &scenario))
            {
                *length = (*length).max(whole);
            }
        }
        let meetings = places::meetings(&places, &lengths, &recording.trace, &scenario);
        if meetings.is_empty() {
            return Err(bad("its scenario has no threads that could race"));
        }
        Ok(Self {
            rules: recording.rules.to_string(),
            kind: recording.violation.kind,
            message: recording.violation.message,
            places,
            aim: Aim { meetings, delay },
            loaded: Loaded {
                path: PathBuf::from(recording.file),
                source: recording.source,
                scenario,
            },
        })
    }
}
