//! Programs whose memory can be put back.

/// The memory of a program that can be saved and put back in the middle of an execution.
///
/// Two executions that follow each other in a search differ only in how they end. With a `World`, the search does not run the
/// program through all that both have in common, but puts back what it has saved on the way: the world, and the stacks of
/// the threads.
///
/// # Safety
///
/// After [`restore`](Self::restore), all memory that the program reads must hold what it held at the time of
/// [`save`](Self::save), at the same addresses, but for the stacks of its threads, which the search takes care of. At each
/// visible operation it must be harmless to go on twice from what the frames of the threads own and have borrowed: plain data is
/// harmless, something that is freed at the end is not. All threads must be ones that
/// [may be forgotten](crate::thread::spawn_forgettable), the main thread included.
pub unsafe trait World {
    /// Writes what [`restore`](Self::restore) needs into `saved`, which is empty. Called between two visible operations; no thread runs.
    fn save(&self, saved: &mut Vec<u8>);

    /// Makes the memory what it was when `saved` was written.
    ///
    /// # Safety
    ///
    /// `saved` must be what [`save`](Self::save) of this world wrote, and no thread of the program may exist.
    unsafe fn restore(&self, saved: &[u8]);
}
