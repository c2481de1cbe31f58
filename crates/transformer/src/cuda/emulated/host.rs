//! Runs launches on the processor: the kernels' own text, built by g++ with `kernels/host.h`.

use std::ffi::{CStr, CString, c_char, c_void};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::{env, io};

use crate::cuda::launch::{Arguments, Launch};
use crate::cuda::source::{Real, all_for_host};
use crate::model::Digest;

/// What `kernels/host.h` reads of a launch.
#[repr(C)]
struct Geometry {
    grid: [u32; 3],
    block: [u32; 3],
    shared_bytes: u32,
    argument_bytes: u32,
    seed: u64,
}

type Entry = unsafe extern "C" fn(*const Geometry, *const c_void) -> *const c_char;

/// A library of kernels, in this process from now on.
pub(in crate::cuda) struct Library(*mut c_void);

// SAFETY: the handle is a key to what the loader keeps, and any thread may look a name up with it.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

/// How a kernel is run.
pub(in crate::cuda) struct Shape<'a> {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared_bytes: u32,
    pub arguments: &'a Arguments,
    /// Chooses the order in which blocks and threads run.
    pub seed: u64,
}

/// A library has one set of fibres.
static TURN: Mutex<()> = Mutex::new(());

impl Library {
    /// The library of a text, built if it was not built before; or why no text can be built here.
    ///
    /// # Panics
    /// If the text is not built, or what was built does not load.
    pub(in crate::cuda) fn of(text: &str) -> Result<Self, &'static str> {
        if cfg!(not(target_arch = "x86_64")) {
            return Err("kernels run on processors of the kind x86-64 only");
        }
        if Command::new("g++").arg("--version").output().is_err() {
            return Err("there is no g++ to build kernels for the processor");
        }
        let path = build(text).unwrap_or_else(|error| panic!("kernels are not built: {error}"));
        let name = c_string(path.as_os_str().as_bytes());
        // SAFETY: the library was built from our own text, and has nothing that runs when loaded.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!library.is_null(), "{} does not load", path.display());
        Ok(Self(library))
    }

    /// Runs a kernel whose addresses are those of live buffers of this process.
    pub(in crate::cuda) fn run(&self, kernel: &str, shape: &Shape<'_>) -> Result<(), String> {
        let name = c_string(kernel.as_bytes());
        // SAFETY: the handle is that of a library which stays loaded.
        let entry = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        assert!(!entry.is_null(), "the library has no {kernel}");
        // SAFETY: `KERNEL` in `kernels/host.h` gives every kernel this signature.
        let entry = unsafe { std::mem::transmute::<*mut c_void, Entry>(entry) };
        let geometry = Geometry {
            grid: shape.grid,
            block: shape.block,
            shared_bytes: shape.shared_bytes,
            argument_bytes: shape.arguments.bytes() as u32,
            seed: shape.seed,
        };
        let turn = TURN.lock();
        let words = shape.arguments.words().as_ptr();
        // SAFETY: the entry reads the geometry and as many bytes of arguments as it is told, and
        // the memory behind addresses is the caller's promise.
        let message = unsafe { entry(&geometry, words.cast()) };
        if message.is_null() {
            return Ok(());
        }
        // SAFETY: a message is text in the library's memory, unchanged while it is our turn.
        let message = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
        drop(turn);
        Err(message)
    }
}

/// The kernels for rows of one format.
pub(in crate::cuda) struct Host {
    pub(in crate::cuda) real: Real,
    library: Library,
}

impl Host {
    /// The project's kernels, or why there can be none.
    pub(in crate::cuda) fn open(real: Real) -> Result<&'static Self, &'static str> {
        static HOSTS: [OnceLock<Result<Host, &str>>; 2] = [OnceLock::new(), OnceLock::new()];
        let [float, bf16] = &HOSTS;
        let place = match real {
            Real::Float => float,
            Real::Bf16 => bf16,
        };
        let open = || Ok(Self { real, library: Library::of(&all_for_host(real))? });
        place.get_or_init(open).as_ref().map_err(|reason| *reason)
    }

    /// Carries out a launch whose addresses are those of live buffers of this process.
    pub(in crate::cuda) fn run(&self, launch: &Launch, seed: u64) -> Result<(), String> {
        let Launch { grid, block, shared_bytes, ref arguments, .. } = *launch;
        let shape = Shape { grid, block, shared_bytes, arguments, seed };
        self.library.run(launch.kernel.name(), &shape)
    }
}

fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).expect("names hold no zero byte")
}

/// Rows are read as vectors and as pairs, as compilers for cards allow; instructions are those that the
/// processor has, so that `fmaf` is one of them.
fn flags() -> Vec<&'static str> {
    let mut flags =
        vec!["-x", "c++", "-std=c++17", "-O2", "-shared", "-fPIC", "-ffp-contract=off", "-Wall"];
    flags.extend([
        "-Werror",
        "-Wno-unused-function",
        "-Wno-unknown-pragmas",
        "-fno-strict-aliasing",
    ]);
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("fma") && is_x86_feature_detected!("avx2") {
        flags.extend(["-mfma", "-mavx2"]);
    }
    flags
}

/// Builds the library, named by what it is built from, beside the program.
fn build(text: &str) -> io::Result<PathBuf> {
    let flags = flags();
    let name = Digest::of_bytes([&flags.join(" "), text].concat().as_bytes());
    let folder = env::current_exe()?.with_file_name("kernels");
    fs::create_dir_all(&folder)?;
    let library = folder.join(format!("{name}.so"));

    // Tests and checks are processes that may all begin at once.
    let lock = File::create(folder.join(format!("{name}.lock")))?;
    lock.lock()?;
    if !library.exists() {
        let (source, partial) = (library.with_extension("cpp"), library.with_extension("part"));
        fs::write(&source, text)?;
        let made = Command::new("g++").args(flags).arg(&source).arg("-o").arg(&partial).output()?;
        if !made.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned()));
        }
        fs::rename(partial, &library)?;
    }
    Ok(library)
}
