//! A fault of ours in one computation stays there: it is caught, told, and what was computed before is kept.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a pure computation; an error is the message of the panic that ended it.
pub fn guarded<T>(compute: impl FnOnce() -> T) -> Result<T, String> {
    // Nothing it may have left half done is looked at afterwards, but for the look-ups it recorded.
    catch_unwind(AssertUnwindSafe(compute)).map_err(|panic| message(&*panic))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
