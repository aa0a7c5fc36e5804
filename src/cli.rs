<<<<<<< HEAD
//! The command line: every flag and environment variable, one file per subcommand, and the exit codes.
//!
//! Nothing else reads flags or the environment. Results go to standard output, everything else to standard error.

pub mod analyze;
pub mod translate;
=======
//! The command line: every flag and environment variable, one file per subcommand.
//!
//! Arguments come in and leave as typed options, parsed once. Nothing else reads flags or the environment, and nothing
//! here decides what is done with them.

pub mod bootstrap;
>>>>>>> tools
