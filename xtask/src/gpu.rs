//! What needs a card: a folder that travels to a machine with one, and its run.
//!
//! The folder holds a program and the preload library, both stripped, which need nothing but glibc
//! and the NVIDIA driver. What they check stands in `crates/shim/examples/gpu`.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command;
use crate::project::Project;

const USAGE: &str = "\
cargo xtask gpu [OPTIONS]

Packs what checks the preload library on a card into target/gpu, and runs it if a card is here.

  cargo xtask gpu pack    only packs; the folder then goes to a machine with a card
  target/gpu/gpu --help   what the packed program can be told; options here are passed on to it
";

/// The parts, as cargo names them below `target/release`.
const PARTS: [(&str, &str); 2] =
    [("examples/gpu", "gpu"), ("deps/libcotenant_shim.so", "libcotenant_shim.so")];

/// What may travel at most, in bytes.
const PACK_BYTES_MAX: u64 = 60 << 20;

/// What a loaded driver shows; in a container perhaps only one of them.
const SHOWN: [&str; 2] = ["/proc/driver/nvidia/version", "/dev/nvidiactl"];

pub(crate) fn run(project: &Project, arguments: &[&str]) -> Result<(), String> {
    match arguments {
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        ["pack"] => {
            let folder = pack(project)?;
            println!(
                "{} holds {} MiB for {ARCH} with {}; run `./gpu` in it beside an NVIDIA card.",
                folder.display(),
                bytes_in(&folder)?.div_ceil(1 << 20),
                libc_version()
            );
            Ok(())
        }
        options => {
            let folder = pack(project)?;
            if !SHOWN.iter().any(|path| Path::new(path).exists()) {
                return Err(format!(
                    "no NVIDIA driver is loaded here, so nothing was checked\n\
                     hint: take {} to a machine of {ARCH} with an NVIDIA card of compute capability \
                     7.0 or newer, its driver, and {} or newer, and run `./gpu` there; PyTorch is \
                     checked where its python3 has torch",
                    folder.display(),
                    libc_version()
                ));
            }
            let mut program = Command::new(folder.join("gpu"));
            command::run(program.current_dir(&folder).args(options))
        }
    }
}

/// Builds and copies the parts, without their symbols, into a folder of their own.
fn pack(project: &Project) -> Result<PathBuf, String> {
    let arguments = ["build", "--release", "--package", "cotenant-shim", "--example", "gpu"];
    command::run(project.cargo().args(arguments))?;
    let (built, folder) = (project.at("target/release"), project.at("target/gpu"));
    let failed = |error: std::io::Error| format!("failed to fill {}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(failed)?;
    for (part, name) in PARTS {
        let (from, to) = (built.join(part), folder.join(name));
        fs::copy(&from, &to).map_err(|error| format!("failed to copy {part}: {error}"))?;
        command::run(Command::new("strip").arg("--strip-unneeded").arg(&to))?;
    }
    match bytes_in(&folder)? {
        0..=PACK_BYTES_MAX => Ok(folder),
        bytes => Err(format!("{} holds {bytes} bytes, too many to travel", folder.display())),
    }
}

/// The bytes of the parts; results of earlier runs do not travel.
fn bytes_in(folder: &Path) -> Result<u64, String> {
    let bytes = PARTS.iter().map(|(_, name)| {
        let data = fs::metadata(folder.join(name));
        data.map(|data| data.len()).map_err(|error| format!("failed to measure {name}: {error}"))
    });
    bytes.sum()
}

/// The system's C library, which what is built here needs at least.
fn libc_version() -> String {
    let version = command::capture(Command::new("getconf").arg("GNU_LIBC_VERSION"));
    version.map_or_else(|_| "this machine's C library".to_owned(), |text| text.trim().to_owned())
}
