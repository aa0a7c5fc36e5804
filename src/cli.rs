//! The command line: every flag and environment variable, one file per subcommand, and the exit codes.
//!
//! Nothing else reads flags or the environment. Results go to standard output, everything else to standard error.

pub mod analyze;
pub mod translate;
