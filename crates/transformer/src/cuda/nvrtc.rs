//! NVIDIA's compiler for kernels, loaded at run time.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use thiserror::Error;

use super::source::OPTIONS;

/// The version that the kernels are written for, as the loader knows it.
const LIBRARY: &str = "libnvrtc.so.13";
/// What the compiler loads by name, and finds only if it is loaded already or on the loader's path.
const BUILTINS: &str = "libnvrtc-builtins.so.13.0";

/// Why kernels cannot be compiled.
#[derive(Debug, Error)]
pub(super) enum NvrtcError {
    /// The compiler is not there.
    #[error("there is no {library}\nhint: install CUDA 13's NVRTC, or set COTENANT_NVRTC to it")]
    Missing {
        /// What was looked for.
        library: String,
    },
    /// It is another library than it seems.
    #[error("the compiler for kernels has no {symbol}")]
    Symbol {
        /// The function that is missing.
        symbol: &'static str,
    },
    /// It does not take the text.
    #[error("{name} does not compile: {log}")]
    Refused {
        /// The file of kernels.
        name: String,
        /// What the compiler says.
        log: String,
    },
}

type Program = *mut c_void;
type Create = unsafe extern "C" fn(
    *mut Program,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> c_int;
type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
type Destroy = unsafe extern "C" fn(*mut Program) -> c_int;
type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type Text = unsafe extern "C" fn(Program, *mut c_char) -> c_int;

/// The compiler.
#[derive(Debug)]
pub(super) struct Nvrtc {
    create: Create,
    compile: Compile,
    destroy: Destroy,
    log: (Size, Text),
    code: (Size, Text),
}

impl Nvrtc {
    /// Loads the compiler from a path, or from wherever the loader finds it.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, NvrtcError> {
        let library = match path {
            Some(path) => {
                let builtins = path.with_file_name(BUILTINS);
                if builtins.exists() {
                    load(builtins.as_os_str().as_bytes());
                }
                load(path.as_os_str().as_bytes())
            }
            None => load(LIBRARY.as_bytes()),
        };
        let library = library.ok_or_else(|| NvrtcError::Missing {
            library: path.map_or(LIBRARY.into(), |path| path.display().to_string()),
        })?;
        // SAFETY: the types are those of nvrtc.h, which has them since the first version.
        unsafe {
            use std::mem::transmute as as_function;
            Ok(Self {
                create: as_function::<Program, Create>(find(library, c"nvrtcCreateProgram")?),
                compile: as_function::<Program, Compile>(find(library, c"nvrtcCompileProgram")?),
                destroy: as_function::<Program, Destroy>(find(library, c"nvrtcDestroyProgram")?),
                log: (
                    as_function::<Program, Size>(find(library, c"nvrtcGetProgramLogSize")?),
                    as_function::<Program, Text>(find(library, c"nvrtcGetProgramLog")?),
                ),
                code: (
                    as_function::<Program, Size>(find(library, c"nvrtcGetCUBINSize")?),
                    as_function::<Program, Text>(find(library, c"nvrtcGetCUBIN")?),
                ),
            })
        }
    }

    /// Machine code of a text for a card, such as `sm_90`, and what the compiler said.
    pub(super) fn compile(
        &self,
        name: &str,
        source: &str,
        card: &str,
        more: &[&str],
    ) -> Result<(Vec<u8>, String), NvrtcError> {
        let text = |words: &str| CString::new(words).expect("our texts have no zero byte");
        let (source, file) = (text(source), text(&format!("{name}.cu")));
        let card = format!("--gpu-architecture={card}");
        let options = OPTIONS.iter().copied().chain([card.as_str()]).chain(more.iter().copied());
        let options: Vec<CString> = options.map(text).collect();
        let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let mut program = std::ptr::null_mut();
        let none = std::ptr::null();
        // SAFETY: all texts end with a zero byte and live until the program is destroyed, and each
        // buffer is as long as the compiler says just before.
        unsafe {
            let made = (self.create)(&mut program, source.as_ptr(), file.as_ptr(), 0, none, none);
            let refused = |log| NvrtcError::Refused { name: name.to_owned(), log };
            if made != 0 {
                return Err(refused(format!("error {made}")));
            }
            let compiled = (self.compile)(program, options.len() as c_int, options.as_ptr());
            let log = read(program, self.log);
            let log = String::from_utf8_lossy(&log).trim_end_matches('\0').to_owned();
            let code = if compiled == 0 { read(program, self.code) } else { Vec::new() };
            (self.destroy)(&mut program);
            if compiled == 0 { Ok((code, log)) } else { Err(refused(log)) }
        }
    }
}

/// A library, for this process from now on.
fn load(path: &[u8]) -> Option<*mut c_void> {
    let path = CString::new(path).ok()?;
    // SAFETY: what the library runs when it is loaded is as trusted as the driver it belongs to.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    (!library.is_null()).then_some(library)
}

fn find(library: *mut c_void, symbol: &'static CStr) -> Result<*mut c_void, NvrtcError> {
    // SAFETY: the handle is that of a library that stays loaded.
    let found = unsafe { libc::dlsym(library, symbol.as_ptr()) };
    let name = symbol.to_str().expect("our own names are text");
    if found.is_null() { Err(NvrtcError::Symbol { symbol: name }) } else { Ok(found) }
}

/// What a program holds.
///
/// # Safety
/// The functions are the compiler's, for this live program.
unsafe fn read(program: Program, (size, text): (Size, Text)) -> Vec<u8> {
    let mut bytes = 0;
    // SAFETY: as the caller promises; the buffer has the size that the compiler asks for.
    unsafe {
        size(program, &mut bytes);
        let mut buffer = vec![0; bytes];
        text(program, buffer.as_mut_ptr().cast());
        buffer
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::Command;

    use super::Nvrtc;
    use crate::cuda::kernel::Kernel;
    use crate::cuda::source::{FILES, File, Real};

    /// Cards of the oldest and of the newest kind that the kernels are for.
    const CARDS: [&str; 2] = ["sm_80", "sm_90"];

    /// The compiler that the environment names, or that a Python package holds.
    fn path() -> Option<PathBuf> {
        if let Some(path) = std::env::var_os("COTENANT_NVRTC") {
            return Some(path.into());
        }
        let program = "import nvidia.cu13 as package; print(list(package.__path__)[0])";
        let found = Command::new("python3").args(["-c", program]).output().ok()?;
        let folder = PathBuf::from(String::from_utf8(found.stdout).ok()?.trim());
        let path = folder.join("lib").join(super::LIBRARY);
        path.exists().then_some(path)
    }

    /// Bytes of registers that a kernel may keep in memory: a few where a thread holds much.
    const SPILLED_BYTES_MAX: u32 = 16;

    fn check(compiler: &Nvrtc, file: &File, card: &str) {
        for real in Real::ALL {
            let compiled =
                compiler.compile(file.name, &file.source(real), card, &["--ptxas-options=-v"]);
            let (code, log) = compiled.unwrap_or_else(|error| panic!("{error}"));
            eprintln!("{} for {card}, {real:?}: {} bytes\n{log}", file.name, code.len());
            let own = Kernel::ALL.iter().filter(|kernel| kernel.file() == file.name);
            for kernel in own.map(|kernel| kernel.name()) {
                let line = format!("Compiling entry function '{kernel}'");
                let (_, said) = log.split_once(&line).unwrap_or_else(|| panic!("no {kernel}"));
                let (before, _) = said.split_once(" bytes spill stores").unwrap();
                let spilled = before.rsplit(' ').next().unwrap().parse::<u32>().unwrap();
                assert!(spilled <= SPILLED_BYTES_MAX, "{kernel} for {card} spills {spilled} bytes");
            }
        }
    }

    #[test]
    fn every_file_compiles_for_every_card_in_both_formats() {
        let compiler = match Nvrtc::open(path().as_deref()) {
            Ok(compiler) => compiler,
            Err(reason) => return eprintln!("skipped: {reason}"),
        };
        std::thread::scope(|scope| {
            for card in CARDS {
                let compiler = &compiler;
                scope.spawn(move || FILES.iter().for_each(|file| check(compiler, file, card)));
            }
        });
    }

    #[test]
    fn what_does_not_compile_is_said_with_the_compilers_words() {
        let Ok(compiler) = Nvrtc::open(path().as_deref()) else {
            return eprintln!("skipped: there is no NVRTC");
        };
        let error = compiler.compile("broken", "int x = y;", "sm_90", &[]).unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("broken does not compile: broken.cu(1): error"), "{message}");
    }

    #[test]
    fn a_compiler_that_is_not_there_is_named() {
        let missing = std::path::Path::new("nowhere/libnvrtc.so.13");
        let message = Nvrtc::open(Some(missing)).unwrap_err().to_string();
        assert!(message.starts_with("there is no nowhere/libnvrtc.so.13"), "{message}");
    }
}
