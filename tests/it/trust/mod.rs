//! Whose word the host takes, against the real `ssh-keygen` and git.

mod bench;
mod files;
mod hostile;
mod matrix;
mod succession;
