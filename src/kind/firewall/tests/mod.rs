//! The kind against the real nft and the real kernel, each test in a network namespace of its own.

mod at_boot;
mod confinement;
mod drift;
mod foreign;
mod fuzz;
mod held;
mod parsing;
mod support;
mod undo;
mod versions;
mod vocabulary;
