//! Measures what the library costs a call, on a driver that does nothing at all.
//!
//! Usage: `cargo run --release -p cotenant-shim --example overhead`. It compiles a driver of empty
//! functions, runs itself on it without the library and with it, and prints the time of each call;
//! what the library costs is the difference.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use cotenant_types::limits::{
    CardLimit, LIMITS_FILE, LimitPage, LimitWord, Neighbours, OnFailure, SLICE_VARIABLE,
    ShownProcesses, USAGE_FILE, UsageLayout,
};
use cotenant_types::{Bytes, Policy, Share, Span};

/// Every function says yes at once; those that give something give a little.
const DRIVER: &str = "
typedef unsigned long long u64; typedef unsigned int u32;
int cuCtxGetDevice(int *d) { *d = 0; return 0; }
int cuCtxGetCurrent(void **c) { *c = (void *)0x1000; return 0; }
int cuCtxSetCurrent(void *c) { return 0; }
int cuDeviceGetUuid_v2(char *u, int d) { for (int i = 0; i < 16; i++) u[i] = 7; return 0; }
int cuMemGetInfo_v2(u64 *f, u64 *t) { *f = 1ull << 33; *t = 1ull << 34; return 0; }
int cuMemAlloc_v2(u64 *p, u64 n) { static u64 next = 1 << 20; *p = next += 512; return 0; }
int cuMemFree_v2(u64 p) { return 0; }
int cuEventCreate(void **e, u32 f) { static u64 next; *e = (void *)(++next); return 0; }
int cuEventDestroy_v2(void *e) { return 0; }
int cuEventRecord(void *e, void *s) { return 0; }
int cuEventQuery(void *e) { return 0; }
int cuEventElapsedTime(float *m, void *a, void *b) { *m = 0.0f; return 0; }
int cuStreamSynchronize(void *s) { return 0; }
int cuLaunchKernel(void *f, u32 a, u32 b, u32 c, u32 d, u32 e, u32 g, u32 s, void *t, void **p,
                   void **x) { return 0; }
";

const CALLS: u32 = 2_000_000;
const ROUNDS: u32 = 7;

type Launch = unsafe extern "C" fn(
    usize,
    u32,
    u32,
    u32,
    u32,
    u32,
    u32,
    u32,
    usize,
    *mut usize,
    *mut usize,
) -> c_int;

fn main() -> ExitCode {
    let is_child = std::env::args().nth(1).as_deref() == Some("measure");
    match if is_child { measure() } else { compare() } {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the measurement without the library and with it.
fn compare() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("driver.c");
    fs::write(&source, DRIVER)?;
    let library = folder.path().join("libcuda.so.1");
    let done = Command::new("cc")
        .args(["-O2", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o"])
        .args([&library, &source])
        .status()?;
    if !done.success() {
        return Err(io::Error::other("the empty driver does not compile"));
    }
    let program = std::env::current_exe()?;
    let shim = program.ancestors().nth(2).map(|folder| folder.join("deps/libcotenant_shim.so"));
    let shim = shim.filter(|shim| shim.exists()).ok_or_else(|| {
        io::Error::other("the library is not there\nhint: run this by cargo, which builds it")
    })?;
    for (name, compute) in [("bare", None), ("whole card", Some(1000)), ("99.9 %", Some(999))] {
        let mut command = Command::new(&program);
        command.arg("measure").env("LD_LIBRARY_PATH", folder.path());
        if let Some(compute) = compute {
            let slice = folder.path().join(format!("slice{compute}"));
            write_slice(&slice, compute)?;
            command.env("LD_PRELOAD", &shim).env(SLICE_VARIABLE, &slice);
        }
        let output = command.output()?;
        println!("{name}:\n{}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(())
}

fn write_slice(folder: &Path, compute_milli: u32) -> io::Result<()> {
    fs::create_dir(folder)?;
    File::create(folder.join(USAGE_FILE))?.set_len(UsageLayout::BYTES as u64)?;
    let share = Share::from_per_mille(compute_milli).map_err(io::Error::other)?;
    let card = CardLimit {
        uuid: [7; 16],
        memory: Some(Bytes(1 << 40)),
        overhead: Bytes(0),
        policy: Policy::Fixed,
        compute: Span { request: share, limit: share },
        neighbours: Neighbours::default(),
        hold_until_ns: 0,
        seen_busy_ns: 0,
        seen_at_ns: 0,
    };
    let page =
        LimitPage { on_failure: OnFailure::Refuse, shown: ShownProcesses::Own, cards: vec![card] };
    let mut words = page.to_words(2);
    words.resize(LimitWord::COUNT, 0);
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    fs::write(folder.join(LIMITS_FILE), bytes)
}

fn measure() -> io::Result<()> {
    let launch = function::<Launch>(c"cuLaunchKernel")?;
    let set = function::<unsafe extern "C" fn(usize) -> c_int>(c"cuCtxSetCurrent")?;
    let info =
        function::<unsafe extern "C" fn(*mut usize, *mut usize) -> c_int>(c"cuMemGetInfo_v2")?;
    let allocate = function::<unsafe extern "C" fn(*mut u64, usize) -> c_int>(c"cuMemAlloc_v2")?;
    let free = function::<unsafe extern "C" fn(u64) -> c_int>(c"cuMemFree_v2")?;
    let (mut one, mut two, mut pointer) = (0usize, 0usize, 0u64);
    let null = std::ptr::null_mut;
    // SAFETY: the functions are those of the driver above, called as they are declared there.
    unsafe {
        time("cuCtxSetCurrent", CALLS, || set(0x1000));
        time("cuMemGetInfo", CALLS, || info(&mut one, &mut two));
        time("cuLaunchKernel", CALLS, || launch(1, 8, 1, 1, 256, 1, 1, 0, 0, null(), null()));
        time("cuMemAlloc and cuMemFree", CALLS / 8, || {
            allocate(&mut pointer, 4096) + free(pointer)
        });
    }
    Ok(())
}

/// The least mean of some rounds: what else the machine does only ever adds.
fn time(name: &str, calls: u32, mut call: impl FnMut() -> c_int) {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let mut failed = 0;
        for _ in 0..calls {
            failed += call();
        }
        best = best.min(begun.elapsed().as_nanos() as f64 / f64::from(calls));
        assert_eq!(failed, 0, "{name} fails");
    }
    println!("  {name:28} {best:7.1} ns");
}

/// A function of the driver, found as runtimes find it.
fn function<F: Copy>(name: &CStr) -> io::Result<F> {
    unsafe extern "C" {
        fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
        fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    }
    // SAFETY: the names are C strings, and a handle is only used if there is one.
    let found = unsafe {
        let handle = dlopen(c"libcuda.so.1".as_ptr(), 1);
        if handle.is_null() { handle } else { dlsym(handle, name.as_ptr()) }
    };
    if found.is_null() {
        return Err(io::Error::other(format!("the driver has no {name:?}")));
    }
    // SAFETY: a pointer to a function is one word, and the driver declares this one so.
    Ok(unsafe { std::mem::transmute_copy::<*mut c_void, F>(&found) })
}
