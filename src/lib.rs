//! agentd holds a Debian server to the declaration in a git repository.
