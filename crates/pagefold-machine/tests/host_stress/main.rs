//! The engine on real threads, at full speed: whoever uses memory sees nothing of what is done to it meanwhile.
//!
//! Writers own words that nobody else writes to, and count in them: no count is ever lost, and no word holds what belongs elsewhere. Others
//! do to their pages what can be done to them. When a round is over, the books are compared with a census of the page tables,
//! and every frame has to be back.
//!
//! | | |
//! |---|---|
//! | `collapse` | an object is collapsed, its tables are taken, its huge mappings are split, its small pages go to swap |
//! | `private` | private memory is collapsed, moved out to swap, shared by fork, and pinned |
//! | `files` | a file is written through entries and by calls, written back, dropped, and collapsed when it is closed |
//! | `moves` | pages move between two ranges, to where they are missed (UFFDIO_MOVE), small and huge |
//!
//! There is one machine, so one test runs at a time.

mod census;
mod collapse;
mod files;
mod moves;
mod private;
mod work;
