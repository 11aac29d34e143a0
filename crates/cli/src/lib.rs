//! The cofferdam command.
