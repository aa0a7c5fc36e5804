//! `exportTo`, wherever it is written.

use super::syntax;
use crate::model::exports::Exports;
use crate::model::name::Namespace;
use std::collections::BTreeSet;

/// A list of namespaces, `.` and `*`, or `~` alone; none where the list is empty.
pub fn parse<T: AsRef<str>>(written: &[T]) -> Result<Option<Exports>, String> {
    let (mut own, mut namespaces) = (false, BTreeSet::new());
    for entry in written {
        match entry.as_ref() {
            "*" | "~" if written.len() > 1 => {
                return Err(format!("{} must stand alone", syntax::quoted(entry.as_ref())));
            }
            "*" => return Ok(Some(Exports::Everyone)),
            "~" => return Ok(Some(Exports::NOBODY)),
            "." => own = true,
            name => {
                syntax::label(name)
                    .map_err(|text| format!("{text}; \"*\", \".\" and \"~\" have meanings of their own"))?;
                namespaces.insert(Namespace::from(name));
            }
        }
    }
    Ok((!written.is_empty()).then_some(Exports::Some { own, namespaces }))
}
