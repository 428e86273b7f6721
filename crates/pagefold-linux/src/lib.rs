//! Runs scenarios on a real Linux kernel, to hold what it does against what the model allows.
