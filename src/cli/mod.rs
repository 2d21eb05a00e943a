//! The command line: commands (one file each) and how their answers are shown.
