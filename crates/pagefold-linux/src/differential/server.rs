//! The process that runs sequences on the engine.
//!
//! It is one of its own, so that a panic of the engine is a difference like any other, and its memory is not copied by the forks of the
//! kernel's side.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::panic;

use pagefold::protocol::Protocol;
use pagefold_machine::host::{Host, Setup};
use serde::{Deserialize, Serialize};

use super::observe::Observed;
use super::sequence::{Sequence, result_of};
use crate::engine::{Engine, Reach};

/// Frames of the machine: 256 MiB, of which the largest sequence uses a part.
const FRAMES: usize = 64 * 1024;

/// What is asked of the process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    /// The scenario.
    pub(super) text: String,
    /// What the places of pages are drawn from.
    pub(super) places: u64,
}

/// What it answers: what was seen after each step, or why it cannot go on.
pub(super) type Answer = Result<Vec<Observed>, String>;

/// Writes a message.
pub(super) fn send<T: Serialize>(mut to: &UnixStream, message: &T) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    to.write_all(&bytes.len().to_ne_bytes())?;
    to.write_all(&bytes)
}

/// Reads a message.
pub(super) fn receive<T: for<'a> Deserialize<'a>>(mut from: &UnixStream) -> io::Result<T> {
    let mut length = [0; size_of::<usize>()];
    from.read_exact(&mut length)?;
    let mut bytes = vec![0; usize::from_ne_bytes(length)];
    from.read_exact(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Answers requests until nobody asks any more.
pub(super) fn serve(stream: &UnixStream, protocol: Protocol) {
    Host::init_as(Setup {
        frames: FRAMES,
        swap_slots: 0,
        protocol,
    });
    let answers = stream.try_clone().expect("a descriptor can be copied");
    panic::set_hook(Box::new(move |info| {
        let _ = send(&answers, &Answer::Err(format!("the engine: {info}")));
        crate::sys::process::exit(1);
    }));
    while let Ok(request) = receive::<Request>(stream) {
        let sequence = Sequence::parse(&request.text).expect("what is asked for is a scenario");
        let answer: Answer = Ok(run(&sequence, request.places));
        if send(stream, &answer).is_err() {
            return;
        }
    }
}

/// Runs a sequence from beginning to end, and takes everything away.
pub(super) fn run(sequence: &Sequence, places: u64) -> Vec<Observed> {
    let mut engine = Engine::new(&sequence.scenario, Reach::AsKernelSide, places);
    let steps = sequence.steps();
    let seen = steps
        .map(|(mm, statement)| {
            let flow = engine.step(Some(mm), statement);
            debug_assert!(flow.is_continue(), "no sequence ends a thread");
            let given = result_of(statement).and_then(|register| engine.register_of(register));
            engine.observe(statement, given.cloned())
        })
        .collect();
    let ended = engine.end();
    assert_eq!(ended.kept, 0, "all frames are back");
    seen
}
