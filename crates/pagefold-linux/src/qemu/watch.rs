//! Listens to a machine until it is gone, or has to go.

use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use super::frame::{self, Frame, Frames};
use super::machine::{Machine, Said};
use super::{Accelerator, End, Event, OnEvent, Outcome, Unable};
use crate::kernel_log;

/// After its last word the guest is off within this.
const POWER_OFF: Duration = Duration::from_secs(5);

/// So much of the log is kept; the rest is dropped.
const LOG: usize = 16 << 20;

/// So many lines of the log are quoted where the guest failed.
const TAIL: usize = 20;

/// What is known of a machine.
#[derive(Debug)]
pub(super) struct Watch {
    accelerator: Accelerator,
    since: Instant,
    frames: Frames,
    log: Vec<u8>,
    errors: Vec<u8>,
    started: bool,
    /// How the command ended, and when that was said.
    ended: Option<(frame::End, Instant)>,
    late: bool,
}

impl Watch {
    pub(super) fn new(accelerator: Accelerator) -> Self {
        Self {
            accelerator,
            since: Instant::now(),
            frames: Frames::default(),
            log: Vec::new(),
            errors: Vec::new(),
            started: false,
            ended: None,
            late: false,
        }
    }

    /// Takes in all that the machine says. If nothing comes within `first_word`, or no end within `time`, it is ended.
    pub(super) fn until_its_end(
        mut self,
        machine: Machine,
        first_word: Duration,
        time: Duration,
        on_event: OnEvent<'_>,
    ) -> io::Result<Self> {
        loop {
            let deadline = match &self.ended {
                Some((_, when)) => *when + POWER_OFF,
                None if self.log.is_empty() => self.since + first_word,
                None => self.since + time,
            };
            let left = deadline.saturating_duration_since(Instant::now());
            // Without time left nothing is taken in, as more may be there for ever.
            let next = match left {
                Duration::ZERO => Err(RecvTimeoutError::Timeout),
                left => machine.said.recv_timeout(left),
            };
            match next {
                Ok(Said::Log(bytes)) => keep(&mut self.log, &bytes),
                Ok(Said::Error(bytes)) => keep(&mut self.errors, &bytes),
                Ok(Said::Report(bytes)) => {
                    let mut frames = self.frames.push(&bytes).into_iter();
                    if frames.any(|frame| self.take(frame, on_event).is_break()) {
                        self.late = true;
                        break;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.late = self.ended.is_none();
                    break;
                }
            }
        }
        machine.end()?;
        Ok(self)
    }

    fn take(&mut self, frame: Frame, on_event: OnEvent<'_>) -> ControlFlow<()> {
        match frame {
            Frame::Started { release } => {
                self.started = true;
                on_event(Event::Started {
                    accelerator: self.accelerator,
                    release: &release,
                    after: self.since.elapsed(),
                })
            }
            Frame::Output { error, bytes } => {
                let bytes = frame::bytes(&bytes);
                on_event(if error {
                    Event::Error(&bytes)
                } else {
                    Event::Output(&bytes)
                })
            }
            Frame::Ended(end) => {
                self.ended = Some((end, Instant::now()));
                ControlFlow::Continue(())
            }
        }
    }

    /// Whether no instruction of the kernel has had an effect.
    pub(super) fn is_silent(&self) -> bool {
        self.log.is_empty() && !self.started
    }

    /// What QEMU itself said, in one line.
    pub(super) fn errors(&self) -> String {
        let text = String::from_utf8_lossy(&self.errors);
        text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
    }

    /// What came of it.
    pub(super) fn outcome(self) -> Result<Outcome, Unable> {
        let log = String::from_utf8_lossy(&self.log).into_owned();
        let end = match self.ended {
            Some((frame::End::Exit(status), _)) => End::Exit(status),
            Some((frame::End::Signal(signal), _)) => End::Signal(signal),
            Some((frame::End::Unable(why), _)) => return Err(Unable(why)),
            None if !self.started => return Err(Unable(self.why_not(&log))),
            None if self.late => End::Late,
            None => End::Died,
        };
        Ok(Outcome {
            end,
            complaints: kernel_log::complaints(&log),
            log,
        })
    }

    fn why_not(&self, log: &str) -> String {
        let mut message = "the kernel did not get as far as running its first program".to_owned();
        let errors = self.errors();
        if !errors.is_empty() {
            message = format!("{message}; QEMU says: {errors}");
        }
        if log.is_empty() {
            format!("{message}; it logged nothing to its first serial line")
        } else {
            format!("{message}; its log ends:\n{}", tail(log))
        }
    }
}

impl Outcome {
    /// The last lines of the log.
    #[must_use]
    pub fn tail(&self) -> String {
        tail(&self.log)
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let last = &lines[lines.len().saturating_sub(TAIL)..];
    last.iter()
        .map(|line| format!("    {}", line.trim_end()))
        .collect::<Vec<_>>()
        .join("\n")
}

fn keep(kept: &mut Vec<u8>, bytes: &[u8]) {
    let room = LOG.saturating_sub(kept.len());
    kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
}
