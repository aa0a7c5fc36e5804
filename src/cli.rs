//! The command line: every flag and environment variable, one file per subcommand.
//!
//! Arguments come in and leave as typed options, parsed once. Nothing else reads flags or the environment, and nothing
//! here decides what is done with them.

pub mod bootstrap;
