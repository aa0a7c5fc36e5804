//! `chancery cert rotate` on a directory: what it says, what it does, and when it refuses.

use chancery::ca::folder::Folder;
use chancery::ca::material::{Material, names};
use chancery::ca::rotation::{NEXT_KEY, PARTS, Rotation, SINCE, Step};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs()
}

/// A directory with an authority in it.
fn authority() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    Folder::new(folder.path()).read_or(|| Material::self_signed(now())).expect("an authority");
    folder
}

fn rotate(folder: &Path, flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
    command.args(["cert", "rotate", "--identity"]).arg(folder).args(flags).output().expect("chancery runs")
}

fn said(folder: &Path, flags: &[&str]) -> String {
    let output = rotate(folder, flags);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{flags:?}: {complaint}");
    String::from_utf8(output.stdout).expect("text")
}

fn refused(folder: &Path, flags: &[&str]) -> String {
    let output = rotate(folder, flags);
    assert_eq!(output.status.code(), Some(1), "{flags:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).expect("text")
}

fn content(folder: &Path) -> Vec<(&'static str, Vec<u8>)> {
    PARTS.iter().filter_map(|part| Some((*part, fs::read(folder.join(part)).ok()?))).collect()
}

/// The last step was made that long ago.
fn ago(folder: &Path, time: Duration) {
    fs::write(folder.join(SINCE), (now() - time.as_secs()).to_string()).expect("written");
}

#[test]
fn a_plan_says_what_is_next_and_changes_nothing() {
    let folder = authority();
    let before = content(folder.path());
    let plan = "trust   now                         a new root is trusted beside the one that signs\n\
                sign    10 min after that           the new root signs, and every workload gets a certificate of it\n\
                forget  120 min after that          the old root is not trusted any more\n";
    assert_eq!(said(folder.path(), &["--plan", "--certificate-lifetime", "2h"]), plan);
    assert_eq!(content(folder.path()), before);

    said(folder.path(), &[]);
    let plan = said(folder.path(), &["--plan"]);
    assert!(plan.starts_with("trust   done  ") && plan.contains("\nsign    from 20"), "{plan}");
    ago(folder.path(), Duration::from_secs(601));
    let plan = said(folder.path(), &["--plan"]);
    assert!(plan.contains("\nsign    now  "), "{plan}");
}

#[test]
fn a_step_is_made_when_proxies_are_ready_for_it() {
    let folder = authority();
    let path = folder.path();
    assert!(said(path, &[]).starts_with("trust: a new root is trusted beside the one that signs\nnext: sign, from 20"));
    let mode = fs::metadata(path.join(NEXT_KEY)).expect("a key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else can read it");
    let before = content(path);
    assert!(refused(path, &[]).contains("it is too early to sign: not before 20"));
    assert_eq!(content(path), before);

    ago(path, Duration::from_secs(601));
    assert!(said(path, &[]).starts_with("sign: the new root signs"));
    ago(path, Duration::from_secs(2 * 3600 + 1));
    assert!(refused(path, &[]).contains("too early to forget"), "certificates last a day");
    let last = said(path, &["--certificate-lifetime", "2h"]);
    assert_eq!(last, "forget: the old root is not trusted any more\n");
    let left: Vec<_> = content(path).into_iter().map(|(part, _)| part).collect();
    assert_eq!(left, [names::ROOTS, names::CERTIFICATE, names::KEY, names::CHAIN]);
    let parts = Folder::new(path).parts(&PARTS).expect("an authority");
    assert_eq!(Rotation::new(parts).map(|rotation| rotation.next()).ok(), Some(Step::Trust));
}

/// As somebody has it who keeps the parts elsewhere and brings them back without that one, or with another's.
#[test]
fn a_step_is_not_made_where_it_is_not_known_when_the_last_one_was() {
    let folder = authority();
    let (path, since) = (folder.path(), folder.path().join(SINCE));
    said(path, &[]);
    for lost in [None, Some("yesterday"), Some("")] {
        match lost {
            None => fs::remove_file(&since).expect("removed"),
            Some(text) => fs::write(&since, text).expect("written"),
        }
        let before = content(path);
        let refusal = refused(path, &[]);
        assert!(
            refusal.contains("it can't be told whether it is too early to sign: rotated-at is missing"),
            "{refusal}"
        );
        assert_eq!(content(path), before);
        assert!(said(path, &["--plan"]).contains("\nsign    not known, see --now "));
    }
    ago(path, Duration::from_secs(601));
    assert!(said(path, &["--plan"]).contains("\nsign    now  "), "the control");
    fs::remove_file(&since).expect("removed");
    assert!(said(path, &["--now"]).starts_with("sign: the new root signs"));
    fs::remove_file(&since).expect("removed");
    assert!(refused(path, &[]).contains("too early to forget"), "and so with the next one");
}

#[test]
fn what_is_broken_is_said_and_left_as_it_is() {
    let folder = authority();
    let key = folder.path().join(names::KEY);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("changed");
    assert!(refused(folder.path(), &[]).contains("can be read by others"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("changed");
    fs::write(folder.path().join(names::ROOTS), "garbage").expect("written");
    let before = content(folder.path());
    assert!(refused(folder.path(), &["--plan"]).contains("root-cert.pem: it is not a certificate in PEM"));
    assert_eq!(content(folder.path()), before);
    assert!(refused(&folder.path().join("nothing"), &[]).contains("/nothing: root-cert.pem: it is missing"));
}
