use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use super::{World, calls, open, say, sentence};
use crate::cuda::driver::library::variable;
use crate::cuda::driver::program::build;
use crate::cuda::driver::target::Target;
use crate::cuda::driver::{Cache, Compiler, CudaError, Program, Source, Version};

const HERE: &str = module_path!();
const TEXT: &str = "extern \"C\" __global__ void twice(float *x) { x[threadIdx.x] *= FACTOR; }\n";
const DRIVER: Version = Version { major: 13, minor: 0 };

fn source(options: &'static [&'static str]) -> Source<'static> {
    Source { name: "twice", text: TEXT, options }
}

/// The compiler that the environment names, that a Python package holds, or that the loader finds;
/// `None`, aloud, if there is none.
fn compiler_path() -> Option<PathBuf> {
    let program = "import nvidia.cu13 as package; print(list(package.__path__)[0])";
    let packaged = || {
        let found = Command::new("python3").args(["-c", program]).output().ok()?;
        let folder = PathBuf::from(String::from_utf8(found.stdout).ok()?.trim());
        Some(folder.join("lib/libnvrtc.so.13")).filter(|path| path.exists())
    };
    let named = variable("COTENANT_NVRTC").or_else(packaged);
    let path = named.unwrap_or_else(|| PathBuf::from("libnvrtc.so.13"));
    match Compiler::open_first(std::slice::from_ref(&path), DRIVER) {
        Ok(_) => Some(path),
        Err(error) => {
            say(&format!("skipped: {error}"));
            None
        }
    }
}

pub(in crate::cuda) fn compiler() -> Option<Compiler> {
    let path = compiler_path()?;
    Some(Compiler::open_first(&[path], DRIVER).unwrap())
}

#[test]
fn a_program_is_compiled_once() {
    let Some(compiler) = compiler() else { return };
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path().join("kernels"));
    let two = source(&["-DFACTOR=2"]);
    let target = Target::Machine(90);
    let build =
        |source: &Source<'_>, target| build(&compiler, Some(&cache), source, target).unwrap();
    let first = build(&two, target);
    assert!(first.is_compiled && first.note.is_none());
    assert_eq!(first.image[..4], *b"\x7fELF");
    let second = build(&two, target);
    assert!(!second.is_compiled);
    assert_eq!(second.image, first.image);
    let three = source(&["-DFACTOR=3"]);
    assert!(build(&three, target).is_compiled);
    let text = build(&two, target.as_text());
    assert!(text.is_compiled);
    assert!(String::from_utf8_lossy(&text.image).contains(".visible .entry twice("));
    let files = || std::fs::read_dir(folder.path().join("kernels")).unwrap().flatten();
    assert_eq!(files().count(), 3);
    for file in files() {
        std::fs::write(file.path(), "damaged").unwrap();
    }
    let third = build(&two, target);
    assert!(third.is_compiled);
    assert_eq!(third.image, first.image);
    assert!(!build(&two, target).is_compiled);
}

#[test]
fn a_cache_that_cannot_be_written_is_a_note() {
    let Some(compiler) = compiler() else { return };
    let file = tempfile::NamedTempFile::new().unwrap();
    let cache = Cache::at(file.path());
    let built = build(&compiler, Some(&cache), &source(&["-DFACTOR=2"]), Target::Machine(80));
    let built = built.unwrap();
    assert!(built.is_compiled && matches!(built.note, Some(CudaError::Cache { .. })));
}

#[test]
fn a_text_that_is_no_program_is_said_in_the_compilers_words() {
    let Some(compiler) = compiler() else { return };
    let error = compiler.compile(&source(&[]), Target::Machine(90)).unwrap_err();
    let expected = "twice does not compile for sm_90: twice.cu(1): error: identifier \"FACTOR\" is";
    assert!(sentence(&error).starts_with(expected), "{error}");
    let zero = Source { text: "a\0b", ..source(&[]) };
    let error = compiler.compile(&zero, Target::Machine(90)).unwrap_err();
    assert!(sentence(&error).ends_with("a text holds a zero byte"), "{error}");
}

#[test]
fn a_compiler_that_the_driver_is_too_old_for_is_refused() {
    let Some(path) = compiler_path() else { return };
    let driver = Version { major: 12, minor: 8 };
    let error = Compiler::open_first(&[path], driver).unwrap_err();
    assert!(matches!(error, CudaError::CompilerTooNew { .. }), "{error}");
}

#[test]
fn a_compiler_that_is_not_there_is_named() {
    let error = Compiler::open_first(&[PathBuf::from("nowhere/libnvrtc.so.13")], DRIVER);
    let error = error.unwrap_err();
    let expected = "NVRTC, the compiler for kernels, was not found: nowhere/libnvrtc.so.13";
    assert!(sentence(&error).starts_with(expected), "{error}");
}

#[test]
fn a_driver_that_refuses_machine_code_is_given_text() {
    let Some(path) = compiler_path() else { return };
    let variables = vec![("COTENANT_NVRTC", OsString::from(path))];
    let world = World { settings: "driver=13000", variables, ..World::new("memory=16MiB") };
    let cards = world.run((HERE, "a_driver_that_refuses_machine_code_is_given_text"), || {
        let card = open();
        let compiler = Compiler::open(card.facts().driver).unwrap();
        let two = source(&["-DFACTOR=2"]);
        // Our driver takes neither.
        let error = Program::compile(&card, &compiler, None, &two).unwrap_err();
        let expected = "the driver does not take the machine code of twice ";
        assert!(sentence(&error).starts_with(expected), "{error}");
    });
    if let Some(cards) = cards {
        assert_eq!(calls(&cards, c"cuModuleLoadData"), 2);
    }
}
