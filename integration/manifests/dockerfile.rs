//! The image, as far as no container engine is needed: its Dockerfile is linted, what it copies is enough to build from, and
//! it agrees with the manifests.

use crate::harness::{Failure, Outcome, spawner, tools};
use crate::image::PROGRAM;
use crate::rendered::{kustomize, objects, one};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The instructions of a Dockerfile: what each is, and its words.
fn instructions(text: &str) -> Vec<(String, Vec<String>)> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let split = |line: &str| words(line).split_first().map(|(first, rest)| (first.clone(), rest.to_vec()));
    joined.lines().filter_map(split).collect()
}

fn dockerfile() -> Outcome<String> {
    Ok(fs::read_to_string(tools::root().join("Dockerfile"))?)
}

/// What comes behind each instruction of a kind.
fn all(text: &str, kind: &str) -> Vec<String> {
    instructions(text).into_iter().filter(|(name, _)| name == kind).map(|(_, words)| words.join(" ")).collect()
}

/// What the linter says.
fn lint(text: &str) -> Outcome<String> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("Dockerfile");
    fs::write(&file, text)?;
    let flags = ["--no-color", "--no-fail", "--config", "/dev/null"].map(str::to_owned);
    let arguments: Vec<String> = flags.into_iter().chain([file.to_string_lossy().into_owned()]).collect();
    spawner::output(&tools::hadolint()?, &arguments)
}

#[test]
fn the_linter_has_nothing_to_say() -> Outcome<()> {
    let text = dockerfile()?;
    assert_eq!(lint(&text)?, "");
    for (from, to, expected) in [
        ("rust:1.95-slim-trixie", "rust:latest", "DL3007"),
        ("--no-install-recommends", "", "DL3015"),
        ("WORKDIR /chancery", "RUN cd /chancery", "DL3003"),
        ("[\"/usr/local/bin/chancery\"]", "chancery", "DL3025"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from} is not there");
        let said = lint(&changed)?;
        assert!(said.contains(expected), "the control: {to}: {said}");
    }
    Ok(())
}

/// What the build's context lets through, by `.dockerignore`: nothing but what it names.
fn context() -> Outcome<Vec<String>> {
    let text = fs::read_to_string(tools::root().join(".dockerignore"))?;
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    match lines.split_first() {
        Some((&"*", rest)) => Ok(rest.iter().filter_map(|line| Some(line.strip_prefix('!')?.to_owned())).collect()),
        _ => Err(Failure::new(".dockerignore doesn't begin with leaving out everything")),
    }
}

/// Copies a file, or a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> Outcome<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else {
        fs::copy(from, to)?;
    }
    Ok(())
}

/// Lays out what the first stage of a Dockerfile copies, in a folder that is the same each time, since cargo keeps what it
/// built of each.
fn layout(text: &str, name: &str) -> Outcome<PathBuf> {
    let (context, folder) = (context()?, Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
    _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    for (_, words) in instructions(text).iter().filter(|(name, words)| name == "COPY" && !words[0].starts_with("--")) {
        let (to, from) = words.split_last().ok_or_else(|| Failure::new("COPY of nothing"))?;
        for name in from {
            if !context.contains(name) {
                return Err(Failure::new(format!(".dockerignore leaves out {name}, which is copied")));
            }
            let to = if to.ends_with('/') { folder.join(to).join(name) } else { folder.join(to) };
            copy(&tools::root().join(name), &to)?;
        }
    }
    Ok(folder)
}

/// Checks that what was laid out can be built: the command of the Dockerfile, but without making a program.
fn build(command: &str, folder: &Path) -> Outcome<()> {
    let check = command.replace("cargo build", "check --offline").replace(" --release", "");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a folder inside the target folder");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut run = Command::new(cargo);
    run.args(check.split_whitespace()).current_dir(folder).env("CARGO_TARGET_DIR", target);
    // What cargo tells the tests of the package that they are of.
    let told =
        std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("CARGO_PKG_"));
    told.chain(["CARGO_MANIFEST_DIR".into()]).for_each(|name| _ = run.env_remove(name));
    let output = run.output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(Failure::new(format!("{check} failed")).with(&String::from_utf8_lossy(&output.stderr))),
    }
}

#[test]
fn what_is_copied_is_enough_to_build_from() -> Outcome<()> {
    let text = dockerfile()?;
    let builds: Vec<String> = all(&text, "RUN").into_iter().filter(|command| command.starts_with("cargo ")).collect();
    let [command] = &builds[..] else { return Err(Failure::new(format!("one build is expected: {builds:?}"))) };
    let makefile = fs::read_to_string(tools::root().join("Makefile"))?;
    assert!(makefile.contains(&format!("\n\t@{command}\n")), "make builds it otherwise than with {command}");
    build(command, &layout(&text, "image")?)?;
    let less = build(command, &layout(&text.replace("COPY proto proto\n", ""), "image")?);
    assert!(less.is_err_and(|failure| failure.0.contains("envoy.fds")), "the control: it can't be built of less");
    Ok(())
}

#[test]
fn the_image_and_the_manifests_agree() -> Outcome<()> {
    let text = dockerfile()?;
    let manifest = fs::read_to_string(tools::root().join("Cargo.toml"))?;
    let rust = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"'));
    let bases = all(&text, "FROM");
    assert_eq!(bases[0], format!("rust:{}-slim-trixie AS build", rust.unwrap_or_default()));
    assert!(bases[1].starts_with("gcr.io/distroless/cc-debian13:"), "trixie is Debian 13");
    assert_eq!(all(&text, "COPY").last().and_then(|words| words.split(' ').next_back()), Some(PROGRAM));
    assert_eq!(all(&text, "ENTRYPOINT"), [format!("[\"{PROGRAM}\"]")]);
    let all_objects = objects(&kustomize("base")?)?;
    let pod = &one(&all_objects, "Deployment")?["spec"]["template"]["spec"];
    let number = |path: &str| pod.pointer(path).and_then(Value::as_u64).unwrap_or_default();
    let user = [number("/securityContext/runAsUser"), number("/securityContext/runAsGroup")];
    assert_eq!(all(&text, "USER"), [format!("{}:{}", user[0], user[1])]);
    let ports = pod.pointer("/containers/0/ports").and_then(Value::as_array).into_iter().flatten();
    let ports: Vec<String> = ports.map(|port| port["containerPort"].to_string()).collect();
    assert_eq!(all(&text, "EXPOSE"), [ports.join(" ")]);
    Ok(())
}
