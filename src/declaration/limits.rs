//! How much a declaration may hold. The bounds are far above what a person writes and keep a hostile or broken
//! repository from filling memory or time; each has its reason.

/// Bytes of one TOML file. 100,000 files at a line or two each fit into three of them.
pub const TOML_FILE_BYTES: usize = 4 << 20;

/// Bytes of all TOML files together. Parsing needs about ten times as much memory.
pub const TOML_TOTAL_BYTES: usize = 16 << 20;

/// TOML files. Five thousand hosts with a file of their own, their roles, and as much again.
pub const TOML_FILES: usize = 10_000;

/// Tables and arrays within each other. What the kinds understand is five deep; variables may go further.
pub const DEPTH: usize = 16;

/// Resources of one host.
pub const RESOURCES: usize = 200_000;

/// Bytes of one file that is laid down as it is. Larger things belong in a package.
pub const SOURCE_BYTES: usize = 16 << 20;

/// Bytes of one template as written, and of one file that it includes.
pub const TEMPLATE_BYTES: usize = 1 << 20;

/// Files that the templates of a fleet may include beyond themselves.
pub const INCLUDES: usize = 1_000;

/// For how many files that are not there a name is looked for that was meant.
pub const GUESSES: usize = 50;

/// Work of one rendering: an instruction or 64 bytes of data cost 1, so this is 16 MiB of output at most.
pub const RENDER_FUEL: u64 = 250_000;

/// Work of all renderings for one host: ten thousand files of a hundred lines each, and a second or two at most.
pub const HOST_FUEL: u64 = 25_000_000;

/// Bytes of one string of the declaration after rendering.
pub const STRING_BYTES: usize = 1 << 20;

/// Bytes of all distinct contents of one host.
pub const CONTENT_TOTAL_BYTES: u64 = 1 << 30;
