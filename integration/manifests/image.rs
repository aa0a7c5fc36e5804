//! What a container of the image would have, as a folder.

use crate::harness::{Failure, Outcome, spawner, tools};
use std::fs;
use std::path::{Path, PathBuf};

/// The program in the image.
pub const PROGRAM: &str = "/usr/local/bin/chancery";

/// The libraries that the base of the image has, as far as a program can ask for them.
const LIBRARIES: [&str; 4] = ["libc.so.6", "libgcc_s.so.1", "libm.so.6", "ld-linux-"];

/// Makes a folder like the root of the image: the program, the libraries, and nothing else.
pub fn unpack(root: &Path) -> Outcome<()> {
    let program = tools::chancery()?;
    copy(&program, &root.join(PROGRAM.trim_start_matches('/')))?;
    for library in libraries(&program)? {
        let name = library.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !LIBRARIES.iter().any(|known| name.starts_with(known)) {
            return Err(Failure::new(format!("the image has no {name}, which chancery is linked with")));
        }
        copy(&library, &root.join(library.strip_prefix("/")?))?;
    }
    Ok(())
}

/// The libraries that a program is linked with, where they are on this machine.
fn libraries(program: &Path) -> Outcome<Vec<PathBuf>> {
    let printed = spawner::output(Path::new("/usr/bin/ldd"), &[program])?;
    let paths = printed.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    let paths: Vec<PathBuf> = paths.map(PathBuf::from).collect();
    match printed.contains("not found") || paths.len() < 2 {
        true => Err(Failure::new(format!("ldd says of {}:\n{printed}", program.display()))),
        false => Ok(paths),
    }
}

fn copy(from: &Path, to: &Path) -> Outcome<()> {
    fs::create_dir_all(to.parent().expect("a file is in a folder"))?;
    fs::copy(from, to)?;
    Ok(())
}
