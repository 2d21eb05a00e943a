//! The agent's own settings: fragments, then settings.
