//! What needs a card: a folder that travels to a machine with one, and its run.
//!
//! The folder holds two programs and the preload library, all stripped, which need nothing but glibc,
//! the NVIDIA driver and, to train, NVRTC. What they check stands in `crates/shim/examples/gpu` and
//! `crates/train/examples/card`.

use std::env::{self, consts::ARCH};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command;
use crate::project::Project;

const USAGE: &str = "\
cargo xtask gpu [PROGRAM [OPTIONS]]

Packs what checks the preload library and the trainer on a card into target/gpu, and runs both if a
card is here, or only PROGRAM, `gpu` or `card`, with options.

  cargo xtask gpu pack            only packs; the folder then goes to a machine with a card
  cargo xtask gpu pack --nvrtc    packs NVRTC too, which COTENANT_NVRTC names
  target/gpu/gpu --help           what the checks of the preload library can be told
  target/gpu/card --help          what the checks of the trainer can be told
";

/// The parts, as cargo names them below `target/release`.
const PARTS: [(&str, &str); 3] = [
    ("examples/gpu", "gpu"),
    ("deps/libcotenant_shim.so", "libcotenant_shim.so"),
    ("examples/card", "card"),
];

/// Those of them that check, in the order in which they run.
const PROGRAMS: [&str; 2] = ["gpu", "card"];

/// What may travel at most, in bytes, NVRTC aside.
const PACK_BYTES_MAX: u64 = 60 << 20;

/// What names NVRTC or its folder, for the trainer as for this.
const NVRTC: &str = "COTENANT_NVRTC";
/// NVRTC and what it loads itself, as the names of their files begin.
const NVRTC_PARTS: [&str; 2] = ["libnvrtc.so.", "libnvrtc-builtins.so."];

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
            say_packed(&folder)?;
            println!(
                "To train, it must find NVRTC there: {NVRTC} names libnvrtc.so.13 or its folder, or \
                 `pip install 'nvidia-cuda-nvrtc==13.0.*'` in the active environment, or CUDA's \
                 toolkit; `cargo xtask gpu pack --nvrtc` packs the one that {NVRTC} names here. \
                 cuBLASLt is found likewise, and kernels of our own multiply without it."
            );
            Ok(())
        }
        ["pack", "--nvrtc"] => {
            let folder = pack(project)?;
            let named = env::var_os(NVRTC).map(PathBuf::from);
            let named = named.ok_or_else(|| format!("{NVRTC} names no NVRTC to be packed"))?;
            let bytes = pack_nvrtc(&named, &folder.join("nvrtc"))?;
            say_packed(&folder)?;
            println!(
                "NVRTC takes {} MiB more; there, `{NVRTC}=$PWD/nvrtc ./card` finds it.",
                bytes.div_ceil(1 << 20)
            );
            Ok(())
        }
        [] => run_here(&pack(project)?, &PROGRAMS, &[]),
        [program, options @ ..] if PROGRAMS.contains(program) => {
            run_here(&pack(project)?, &[program], options)
        }
        _ => Err(format!("there is no such program\n\n{USAGE}")),
    }
}

fn say_packed(folder: &Path) -> Result<(), String> {
    println!(
        "{} holds {} MiB for {ARCH} with {}; run `./gpu` and `./card` in it beside an NVIDIA card.",
        folder.display(),
        bytes_in(folder)?.div_ceil(1 << 20),
        libc_version()
    );
    Ok(())
}

/// Runs programs of the folder if a driver is here; one that fails does not keep the next from it.
fn run_here(folder: &Path, programs: &[&str], options: &[&str]) -> Result<(), String> {
    if !SHOWN.iter().any(|path| Path::new(path).exists()) {
        return Err(format!(
            "no NVIDIA driver is loaded here, so nothing was checked\n\
             hint: take {} to a machine of {ARCH} with an NVIDIA card of compute capability 7.0 or \
             newer (8.0 to train), its driver, and {} or newer, and run `./gpu` and `./card` there; \
             PyTorch is checked where its python3 has torch",
            folder.display(),
            libc_version()
        ));
    }
    let ran = programs.iter().map(|name| {
        let mut program = Command::new(folder.join(name));
        command::run(program.current_dir(folder).args(options))
    });
    let failed: Vec<String> = ran.filter_map(Result::err).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

/// Builds and copies the parts, without their symbols, into a folder of their own.
fn pack(project: &Project) -> Result<PathBuf, String> {
    let packages = ["--package", "cotenant-shim", "--package", "cotenant-train"];
    let examples = ["--example", "gpu", "--example", "card"];
    command::run(project.cargo().args(["build", "--release"]).args(packages).args(examples))?;
    let (built, folder) = (project.at("target/release"), project.at("target/gpu"));
    let failed = |error: std::io::Error| format!("failed to fill {}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(failed)?;
    for (part, name) in PARTS {
        let (from, to) = (built.join(part), folder.join(name));
        fs::copy(&from, &to).map_err(|error| format!("failed to copy {part}: {error}"))?;
        command::run(Command::new("strip").arg("--strip-unneeded").arg(&to))?;
    }
    copy_folder(&project.at("golden/encoder"), &folder.join("golden")).map_err(failed)?;
    match bytes_in(&folder)? {
        0..=PACK_BYTES_MAX => Ok(folder),
        bytes => Err(format!("{} holds {bytes} bytes, too many to travel", folder.display())),
    }
}

/// Copies a folder with all that is in it.
fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (from, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        match from.is_dir() {
            true => copy_folder(&from, &to.join(name))?,
            false => drop(fs::copy(&from, to.join(name))?),
        }
    }
    Ok(())
}

/// Copies NVRTC, which is named by its file or folder, with what it loads itself; gives its bytes.
fn pack_nvrtc(named: &Path, folder: &Path) -> Result<u64, String> {
    let from = if named.is_dir() { named } else { named.parent().unwrap_or(named) };
    let failed = |error: std::io::Error| format!("failed to copy {}: {error}", from.display());
    fs::create_dir_all(folder).map_err(failed)?;
    let mut bytes = 0;
    for part in NVRTC_PARTS {
        let files = fs::read_dir(from).map_err(failed)?.flatten().map(|file| file.path());
        let name = |file: &PathBuf| file.file_name().and_then(OsStr::to_str).map(str::to_owned);
        let found = files.into_iter().find_map(|file| {
            let name = name(&file).filter(|name| name.starts_with(part))?;
            Some((file, name))
        });
        let Some((file, name)) = found else {
            return Err(format!("{} has no {part}*\nhint: set {NVRTC}", from.display()));
        };
        bytes += fs::copy(file, folder.join(name)).map_err(failed)?;
    }
    Ok(bytes)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_parts_and_others_are_refused() {
        for program in PROGRAMS {
            assert!(PARTS.iter().any(|(_, name)| *name == program), "{program}");
        }
        let project = Project::find().unwrap();
        let error = run(&project, &["no-such-program"]).unwrap_err();
        assert!(error.contains("there is no such program"), "{error}");
    }

    #[test]
    fn nvrtc_travels_with_what_it_loads() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(&from).unwrap();
        fs::write(from.join("libnvrtc.so.13"), "compiler").unwrap();
        let error = pack_nvrtc(&from, &to).unwrap_err();
        assert!(error.contains("has no libnvrtc-builtins.so.*"), "{error}");
        for other in ["libnvrtc-builtins.so.13.0", "libnvrtc.alt.so.13"] {
            fs::write(from.join(other), "more").unwrap();
        }
        assert_eq!(pack_nvrtc(&from.join("libnvrtc.so.13"), &to), Ok(12));
        let packed = fs::read_dir(&to).unwrap().map(|file| file.unwrap().file_name());
        let mut packed: Vec<_> = packed.collect();
        packed.sort();
        assert_eq!(packed, ["libnvrtc-builtins.so.13.0", "libnvrtc.so.13"]);
    }
}
