//! From one root to the next in steps that no handshake notices: both are trusted before the new one signs, and the old one is
//! forgotten when nothing that it has signed is in use any more.
//!
//! Where it stands is told by the parts that are kept, so that whoever goes on needs no memory; a step that was begun and not
//! finished is begun again.

use super::authority::Authority;
use super::material::{CaError, Form, Material, names};
use crate::model::sensitive::Sensitive;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};
use std::time::Duration;

/// The certificate of the root that is to sign next.
pub const NEXT_CERTIFICATE: &str = "next-ca-cert.pem";
/// Its key.
pub const NEXT_KEY: &str = "next-ca-key.pem";
/// The certificate of the root that signed before.
pub const OLD_CERTIFICATE: &str = "old-ca-cert.pem";
/// When the last step was made, in seconds since 1970.
pub const SINCE: &str = "rotated-at";

/// The names of all parts.
pub const PARTS: [&str; 8] =
    [names::ROOTS, names::CERTIFICATE, names::KEY, names::CHAIN, NEXT_CERTIFICATE, NEXT_KEY, OLD_CERTIFICATE, SINCE];

/// How long it takes until a root is trusted everywhere: a kubelet looks at a ConfigMap about once a minute.
const SPREAD: Duration = Duration::from_secs(600);

/// What is kept, by its name.
pub type Parts = BTreeMap<&'static str, Sensitive>;

/// What becomes of a part; none: it is removed.
pub type Change = (&'static str, Option<Sensitive>);

/// A step of a rotation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    /// A new root is trusted beside the old one.
    Trust,
    /// The new root signs.
    Sign,
    /// The old root is not trusted any more.
    Forget,
}

impl Step {
    /// All, in order.
    pub const ALL: [Step; 3] = [Step::Trust, Step::Sign, Step::Forget];

    /// How long after the step before it may be made, where certificates of workloads last that long.
    pub fn after(self, lasts: Duration) -> Duration {
        match self {
            Step::Trust => Duration::ZERO,
            Step::Sign => SPREAD,
            Step::Forget => lasts,
        }
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Step::Trust => "trust",
            Step::Sign => "sign",
            Step::Forget => "forget",
        })
    }
}

/// Where a rotation stands.
pub struct Rotation {
    parts: Parts,
    next: Step,
}

impl Rotation {
    /// What follows from the parts.
    ///
    /// # Errors
    /// If a part is not what it should be, or the certificate that signs is not one of the roots.
    pub fn new(parts: Parts) -> Result<Self, CaError> {
        let (roots, signs) = (certificates(&parts, names::ROOTS)?, certificates(&parts, names::CERTIFICATE)?);
        if !signs.first().is_some_and(|(_, signs)| roots.iter().any(|(_, root)| root == signs)) {
            let reason = "it is not one of the roots: whoever signed it gives it a successor";
            return Err(CaError::Part { part: names::CERTIFICATE, reason: reason.to_owned() });
        }
        let trusted = |part| -> Result<bool, CaError> {
            let wanted = certificates(&parts, part)?;
            Ok(wanted.iter().all(|(_, wanted)| roots.iter().any(|(_, root)| root == wanted)))
        };
        let next = match (parts.contains_key(NEXT_CERTIFICATE), parts.contains_key(OLD_CERTIFICATE)) {
            (true, _) if trusted(NEXT_CERTIFICATE)? => Step::Sign,
            (false, true) => Step::Forget,
            _ => Step::Trust,
        };
        Ok(Self { parts, next })
    }

    /// What is to be done next.
    pub fn next(&self) -> Step {
        self.next
    }

    /// When the step before was made, in seconds since 1970, as far as is known.
    pub fn since(&self) -> Option<u64> {
        text(&self.parts, SINCE).trim().parse().ok()
    }

    /// From when on the next step may be made, in seconds since 1970; none where it is not known when the step before was.
    pub fn due(&self, lasts: Duration) -> Option<u64> {
        match self.next {
            Step::Trust => Some(0),
            step => Some(self.since()?.saturating_add(step.after(lasts).as_secs())),
        }
    }

    /// What the next step changes, in the order in which it has to be done where it can't be done at once.
    ///
    /// # Errors
    /// If there would be no authority afterwards that can sign, or the system gives no randomness.
    pub fn changes(&self, now: u64) -> Result<Vec<Change>, CaError> {
        let changes = match self.next {
            Step::Trust => self.trust(now)?,
            Step::Sign => self.sign(now),
            Step::Forget => self.forget()?,
        };
        let mut after = self.parts.clone();
        apply(&mut after, changes.iter().cloned());
        Authority::new(&Material::of_parts(&after, Form::Cacerts)?, now)?;
        Ok(changes)
    }

    fn trust(&self, now: u64) -> Result<Vec<Change>, CaError> {
        let mut changes = vec![(SINCE, Some(word(&now.to_string())))];
        let begun = (self.parts.get(NEXT_CERTIFICATE), self.parts.get(NEXT_KEY));
        let next = match begun {
            (Some(certificate), Some(_)) => certificate.clone(),
            _ => {
                let made = Material::self_signed(now)?;
                let certificate = word(&made.certificate);
                changes.extend([(NEXT_KEY, Some(made.key)), (NEXT_CERTIFICATE, Some(certificate.clone()))]);
                certificate
            }
        };
        let roots = format!("{}\n{}", text(&self.parts, names::ROOTS).trim_end(), shown(&next));
        changes.push((names::ROOTS, Some(word(&roots))));
        Ok(changes)
    }

    fn sign(&self, now: u64) -> Vec<Change> {
        // Where it was begun before, what signs may be the new one already.
        let old = self.parts.get(OLD_CERTIFICATE).or_else(|| self.parts.get(names::CERTIFICATE));
        let next = |part| self.parts.get(part).cloned();
        vec![
            (OLD_CERTIFICATE, old.cloned()),
            (SINCE, Some(word(&now.to_string()))),
            (names::CHAIN, Some(word(""))),
            (names::KEY, next(NEXT_KEY)),
            (names::CERTIFICATE, next(NEXT_CERTIFICATE)),
            (NEXT_CERTIFICATE, None),
            (NEXT_KEY, None),
        ]
    }

    fn forget(&self) -> Result<Vec<Change>, CaError> {
        let old = certificates(&self.parts, OLD_CERTIFICATE)?;
        let roots = certificates(&self.parts, names::ROOTS)?.into_iter();
        let kept = roots.filter(|(_, root)| !old.iter().any(|(_, old)| old == root));
        let kept: String = kept.map(|(pem, _)| pem).collect();
        Ok(vec![(names::ROOTS, Some(word(kept.trim_start()))), (OLD_CERTIFICATE, None), (SINCE, None)])
    }
}

fn apply(parts: &mut Parts, changes: impl IntoIterator<Item = Change>) {
    for (part, content) in changes {
        match content {
            Some(content) => _ = parts.insert(part, content),
            None => _ = parts.remove(part),
        }
    }
}

fn word(text: &str) -> Sensitive {
    Sensitive::new(text.as_bytes().to_vec())
}

fn shown(part: &Sensitive) -> String {
    String::from_utf8_lossy(part.expose()).into_owned()
}

fn text(parts: &Parts, part: &str) -> String {
    parts.get(part).map(shown).unwrap_or_default()
}

/// The certificates of a part, each as it is written and as it is encoded; there is at least one.
fn certificates(parts: &Parts, part: &'static str) -> Result<Vec<(String, CertificateDer<'static>)>, CaError> {
    const END: &str = "-----END CERTIFICATE-----\n";
    let wrong = |reason: &str| CaError::Part { part, reason: reason.to_owned() };
    if !parts.contains_key(part) {
        return Err(wrong("it is missing"));
    }
    let text = text(parts, part).trim_end().to_owned() + "\n";
    let blocks = text.split_inclusive(END);
    let read: Result<Vec<_>, _> =
        blocks.map(|block| Ok((block.to_owned(), CertificateDer::from_pem_slice(block.as_bytes())?))).collect();
    read.map_err(|_: rustls::pki_types::pem::Error| wrong("it is not a certificate in PEM"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn begun() -> Parts {
        let made = Material::self_signed(NOW).expect("a root");
        [(names::ROOTS, word(&made.roots)), (names::CERTIFICATE, word(&made.certificate)), (names::KEY, made.key)]
            .into()
    }

    fn at(parts: &Parts) -> Rotation {
        Rotation::new(parts.clone()).map_err(|error| error.to_string()).expect("parts that are right")
    }

    /// The first changes of the next step; all, if there are not so many.
    fn changed(parts: &mut Parts, count: usize) {
        let changes = at(parts).changes(NOW).expect("changes");
        apply(parts, changes.into_iter().take(count));
    }

    fn roots(parts: &Parts) -> Vec<CertificateDer<'static>> {
        certificates(parts, names::ROOTS).expect("roots").into_iter().map(|(_, der)| der).collect()
    }

    #[test]
    fn both_are_trusted_before_the_new_one_signs_and_while_it_does() {
        let mut parts = begun();
        let first = roots(&parts);
        assert_eq!((at(&parts).next(), at(&parts).due(DAY)), (Step::Trust, Some(0)));
        changed(&mut parts, usize::MAX);
        let both = roots(&parts);
        assert_eq!((both.len(), &both[0]), (2, &first[0]));
        assert_eq!(certificates(&parts, names::CERTIFICATE).expect("one that signs")[0].1, first[0]);
        assert_eq!((at(&parts).next(), at(&parts).due(DAY)), (Step::Sign, Some(NOW + SPREAD.as_secs())));
        changed(&mut parts, usize::MAX);
        assert_eq!(roots(&parts), both);
        assert_eq!((at(&parts).next(), at(&parts).due(DAY)), (Step::Forget, Some(NOW + DAY.as_secs())));
        changed(&mut parts, usize::MAX);
        assert_eq!(roots(&parts), both[1..]);
        let left: Vec<_> = parts.keys().copied().collect();
        assert_eq!(left, [names::CERTIFICATE, names::KEY, names::CHAIN, names::ROOTS]);
        assert_eq!(at(&parts).next(), Step::Trust);
    }

    #[test]
    fn a_step_that_was_begun_is_finished_wherever_it_ended() {
        for step in 0..Step::ALL.len() {
            for ended in 0..8 {
                let mut parts = begun();
                (0..step).for_each(|_| changed(&mut parts, usize::MAX));
                changed(&mut parts, ended);
                let mut more = 0;
                while parts.contains_key(SINCE) || more == 0 {
                    changed(&mut parts, usize::MAX);
                    more += 1;
                    assert!(more < 5, "step {step} that ended after {ended} changes leads nowhere");
                }
                assert_eq!(roots(&parts).len(), 1, "step {step}, {ended} changes");
                let material = Material::of_parts(&parts, Form::Cacerts).expect("an authority");
                assert!(Authority::new(&material, NOW).is_ok(), "step {step}, {ended} changes");
            }
        }
    }

    #[test]
    fn roots_of_others_stay_and_an_authority_that_is_no_root_is_left_alone() {
        let mut parts = begun();
        let other = Material::self_signed(NOW).expect("a root").roots;
        parts.insert(names::ROOTS, word(&format!("{}# of a friend\n{other}", text(&parts, names::ROOTS))));
        (0..3).for_each(|_| changed(&mut parts, usize::MAX));
        assert_eq!(roots(&parts).len(), 2);
        assert!(text(&parts, names::ROOTS).contains("# of a friend"));

        parts.insert(names::ROOTS, word(&other));
        let error = Rotation::new(parts).err().expect("an error").to_string();
        assert_eq!(error, "ca-cert.pem: it is not one of the roots: whoever signed it gives it a successor");
    }
}
