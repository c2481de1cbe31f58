//! NVRTC, NVIDIA's compiler for kernels, loaded when it is wanted.
//!
//! Its functions are looked up here and not in `cudarc`, which takes the first library of several
//! names, so that the one that a user names may not be the one that is used.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::transmute;
use std::path::{Path, PathBuf};
use std::ptr::{NonNull, null, null_mut};

use super::error::CudaError;
use super::library::{Library, Places, variable};
use super::target::{DRIVER_MIN, Target, Version};

/// Lines of the compiler's log that an error holds.
const LOG_LINES_MAX: usize = 8;

/// What a text became.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    /// Machine code, or text that ends with a zero byte.
    pub(crate) image: Vec<u8>,
    /// What the compiler said.
    pub(crate) log: String,
}

/// A text to compile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    /// What errors call it.
    pub(crate) name: &'a str,
    /// The text, which includes nothing.
    pub(crate) text: &'a str,
    /// Options beside that for the target.
    pub(crate) options: &'a [&'a str],
}

type Handle = *mut c_void;
type Create = unsafe extern "C" fn(
    *mut Handle,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> c_int;
type Compile = unsafe extern "C" fn(Handle, c_int, *const *const c_char) -> c_int;
type Destroy = unsafe extern "C" fn(*mut Handle) -> c_int;
type Size = unsafe extern "C" fn(Handle, *mut usize) -> c_int;
type Read = unsafe extern "C" fn(Handle, *mut c_char) -> c_int;
type Numbers = unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int;
type Number = unsafe extern "C" fn(*mut c_int) -> c_int;

const FUNCTIONS: [&CStr; 12] = [
    c"nvrtcCompileProgram",
    c"nvrtcCreateProgram",
    c"nvrtcDestroyProgram",
    c"nvrtcGetCUBIN",
    c"nvrtcGetCUBINSize",
    c"nvrtcGetNumSupportedArchs",
    c"nvrtcGetPTX",
    c"nvrtcGetPTXSize",
    c"nvrtcGetProgramLog",
    c"nvrtcGetProgramLogSize",
    c"nvrtcGetSupportedArchs",
    c"nvrtcVersion",
];

/// The compiler.
#[derive(Debug)]
pub(crate) struct Compiler {
    library: Library,
    version: Version,
    /// Architectures that it makes code for.
    known: Vec<u32>,
}

impl Compiler {
    /// Finds a compiler for drivers that speak this CUDA.
    pub(crate) fn open(driver: Version) -> Result<Self, CudaError> {
        let majors = (DRIVER_MIN.major..=driver.major).rev();
        let names = majors.map(|major| format!("libnvrtc.so.{major}")).collect();
        let packages = &["cu13", "cuda_nvrtc"];
        let places = Places { variable: "COTENANT_NVRTC", names, packages };
        Self::open_first(&places.paths(variable), driver)
    }

    /// The first compiler of these that can be loaded.
    pub(super) fn open_first(paths: &[PathBuf], driver: Version) -> Result<Self, CudaError> {
        let mut reasons = Vec::new();
        for path in paths {
            match load(path) {
                Ok(library) => {
                    let told = ask(library);
                    let (version, known) = told.ok_or_else(|| CudaError::NoCompiler {
                        reason: "it does not say what it is".to_owned(),
                        driver,
                    })?;
                    if version.major > driver.major {
                        return Err(CudaError::CompilerTooNew { compiler: version, driver });
                    }
                    return Ok(Self { library, version, known });
                }
                Err(reason) => reasons.push(reason),
            }
        }
        // The first place is the most telling: what the user named, or the loader's own paths.
        let reason = reasons.into_iter().next().unwrap_or_default();
        Err(CudaError::NoCompiler { reason, driver })
    }

    /// Its version.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// The best target for a card.
    pub(super) fn target(&self, capability: Version) -> Option<Target> {
        Target::choose(capability, &self.known)
    }

    /// Compiles a text.
    pub(crate) fn compile(
        &self,
        source: &Source<'_>,
        target: Target,
    ) -> Result<Compiled, CudaError> {
        let refused = |log: &str| CudaError::DoesNotCompile {
            program: source.name.to_owned(),
            target: target.to_string(),
            log: log.lines().take(LOG_LINES_MAX).collect::<Vec<_>>().join("; "),
        };
        let words =
            |text: &str| CString::new(text).map_err(|_| refused("a text holds a zero byte"));
        let (text, file) = (words(source.text)?, words(&format!("{}.cu", source.name))?);
        let architecture = format!("--gpu-architecture={target}");
        let options = source.options.iter().copied().chain([architecture.as_str()]);
        let options: Vec<CString> = options.map(words).collect::<Result<_, _>>()?;
        let session =
            self.begin(&text, &file).ok_or_else(|| refused("the compiler takes no program"))?;
        let is_compiled = session.compile(&options);
        let log = session.read(c"nvrtcGetProgramLogSize", c"nvrtcGetProgramLog");
        let log = String::from_utf8_lossy(&log.unwrap_or_default()).into_owned();
        let log = log.trim_end_matches('\0').to_owned();
        if !is_compiled {
            return Err(refused(&log));
        }
        let (size, image) = match target {
            Target::Machine(_) => (c"nvrtcGetCUBINSize", c"nvrtcGetCUBIN"),
            Target::Text(_) => (c"nvrtcGetPTXSize", c"nvrtcGetPTX"),
        };
        let image = session.read(size, image);
        let image = image.ok_or_else(|| refused("the compiler gives no code"))?;
        Ok(Compiled { image, log })
    }

    fn begin(&self, text: &CStr, file: &CStr) -> Option<Session> {
        let create = find(self.library, c"nvrtcCreateProgram");
        let mut handle = null_mut();
        // SAFETY: the function has this type; both texts end with a zero byte, and the compiler
        // copies them.
        let code = unsafe {
            let create = transmute::<NonNull<c_void>, Create>(create);
            create(&mut handle, text.as_ptr(), file.as_ptr(), 0, null(), null())
        };
        (code == 0).then_some(Session { library: self.library, handle })
    }
}

/// A program while it is compiled.
struct Session {
    library: Library,
    handle: Handle,
}

impl Session {
    fn compile(&self, options: &[CString]) -> bool {
        let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let compile = find(self.library, c"nvrtcCompileProgram");
        // SAFETY: the function has this type, the program lives, and so do the options.
        let code = unsafe {
            let compile = transmute::<NonNull<c_void>, Compile>(compile);
            compile(self.handle, options.len() as c_int, options.as_ptr())
        };
        code == 0
    }

    /// What a pair of functions gives: its length, and it.
    fn read(&self, size: &CStr, content: &CStr) -> Option<Vec<u8>> {
        let (size, content) = (find(self.library, size), find(self.library, content));
        let mut bytes = 0;
        // SAFETY: the functions have these types, the program lives, and the buffer has the length
        // that the compiler asks for.
        unsafe {
            let size = transmute::<NonNull<c_void>, Size>(size);
            let content = transmute::<NonNull<c_void>, Read>(content);
            let has_length = size(self.handle, &mut bytes) == 0;
            let mut buffer = vec![0_u8; bytes];
            let is_read = has_length && content(self.handle, buffer.as_mut_ptr().cast()) == 0;
            is_read.then_some(buffer)
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let destroy = find(self.library, c"nvrtcDestroyProgram");
        // SAFETY: the function has this type, and the program lives until now.
        unsafe { transmute::<NonNull<c_void>, Destroy>(destroy)(&mut self.handle) };
    }
}

/// Loads a compiler with all functions; the text says why there is none.
fn load(path: &Path) -> Result<Library, String> {
    // The compiler loads another library by its bare name, which is found only if it is loaded
    // already or on the loader's path. Where it cannot be loaded, compiling says so.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let files = folder.and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten();
    let builtins = files.flatten().map(|file| file.path()).find(|file| {
        let name = file.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("libnvrtc-builtins.so."))
    });
    if let Some(builtins) = builtins {
        drop(Library::open(&builtins));
    }
    let library = Library::open(path)?;
    match library.lacks(&FUNCTIONS) {
        None => Ok(library),
        Some(function) => Err(format!("{} has no {function}", path.display())),
    }
}

/// A function of the table, which [`load`] found.
fn find(library: Library, name: &CStr) -> NonNull<c_void> {
    library.find(name).expect("the library was loaded with all functions of the table")
}

/// A compiler's version and the architectures that it knows, if it tells them.
fn ask(library: Library) -> Option<(Version, Vec<u32>)> {
    let (mut major, mut minor, mut count) = (0, 0, 0);
    // SAFETY: the functions have these types; the first two write single numbers, and the last as
    // many as the second says.
    let (is_told, known) = unsafe {
        let version = transmute::<NonNull<c_void>, Numbers>(find(library, c"nvrtcVersion"));
        let number = find(library, c"nvrtcGetNumSupportedArchs");
        let number = transmute::<NonNull<c_void>, Number>(number);
        let list = transmute::<NonNull<c_void>, Number>(find(library, c"nvrtcGetSupportedArchs"));
        let is_counted = version(&mut major, &mut minor) == 0 && number(&mut count) == 0;
        let mut known: Vec<c_int> = vec![0; count.max(0).unsigned_abs() as usize];
        (is_counted && list(known.as_mut_ptr()) == 0, known)
    };
    let positive = |number: c_int| number.max(0).unsigned_abs();
    let version = Version { major: positive(major), minor: positive(minor) };
    is_told.then(|| (version, known.into_iter().map(positive).collect()))
}
