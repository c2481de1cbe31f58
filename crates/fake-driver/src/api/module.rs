//! Modules: which kernels there are, and what they take.
//!
//! An image is a text that ends with a zero. Its first line is `fake-image`; then comes a line for
//! each thing in it: `kernel NAME ns=1000000 sms=132 ns_per_block=20`, or `global NAME 4096`. A
//! kernel with `ns=arg` takes as long as its first argument says, a number of 64 bits.

use std::collections::HashMap;
use std::fs;

use super::context;
use super::memory::{self, Allocation, AllocationKind};
use crate::codes::{Code, Outcome, cuda};
use crate::ffi::{In, Out, Region, RegionKind, Text, driver};
use crate::state::{self, Handle, Tables};

const HEAD: &str = "fake-image";

/// A module, or a library of the newer interface.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) context: Handle,
    functions: HashMap<String, Handle>,
    /// Addresses and sizes.
    globals: HashMap<String, (u64, u64)>,
}

/// A kernel that can be launched.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) module: Handle,
    pub(crate) spec: KernelSpec,
}

/// What a kernel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KernelSpec {
    pub(crate) duration: Duration,
    pub(crate) ns_per_block: u64,
    /// `None` is the whole card.
    pub(crate) sms: Option<u32>,
}

/// How long a kernel runs, apart from its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duration {
    Ns(u64),
    Argument,
}

/// What an image holds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Image {
    kernels: Vec<(String, KernelSpec)>,
    globals: Vec<(String, u64)>,
}

driver! {
    2000 fn cuModuleLoadData(module: Out<Handle>, image: In<u8>) {
        module.set(load(&image.text()?)?)
    }

    2010 fn cuModuleLoadDataEx(
        module: Out<Handle>,
        image: In<u8>,
        _options_len: u32,
        _options: usize,
        _values: usize,
    ) {
        module.set(load(&image.text()?)?)
    }

    2000 fn cuModuleLoadFatBinary(module: Out<Handle>, image: In<u8>) {
        module.set(load(&image.text()?)?)
    }

    2000 fn cuModuleLoad(module: Out<Handle>, path: Text) {
        let image = fs::read_to_string(path.get()?).map_err(|_| cuda::FILE_NOT_FOUND)?;
        module.set(load(&image)?)
    }

    2000 fn cuModuleUnload(module: Handle) { unload(module) }

    2000 fn cuModuleGetFunction(function: Out<Handle>, module: Handle, name: Text) {
        function.set(find_function(module, name)?)
    }

    3020 fn cuModuleGetGlobal_v2(
        address: Out<u64>,
        bytes: Out<usize>,
        module: Handle,
        name: Text,
    ) {
        get_global(address, bytes, module, name)
    }

    11070 fn cuModuleGetLoadingMode(mode: Out<i32>) { mode.set(1) }

    12000 fn cuLibraryLoadData(
        library: Out<Handle>,
        image: In<u8>,
        _jit_options: usize,
        _jit_values: usize,
        _jit_len: u32,
        _options: usize,
        _values: usize,
        _options_len: u32,
    ) {
        library.set(load(&image.text()?)?)
    }

    12000 fn cuLibraryUnload(library: Handle) { unload(library) }

    12000 fn cuLibraryGetKernel(kernel: Out<Handle>, library: Handle, name: Text) {
        kernel.set(find_function(library, name)?)
    }

    12000 fn cuLibraryGetModule(module: Out<Handle>, library: Handle) {
        let driver = state::driver()?;
        driver.tables().modules.get(&library).ok_or(cuda::INVALID_HANDLE)?;
        module.set(library)
    }

    12000 fn cuLibraryGetGlobal(
        address: Out<u64>,
        bytes: Out<usize>,
        library: Handle,
        name: Text,
    ) {
        get_global(address, bytes, library, name)
    }

    12000 fn cuKernelGetFunction(function: Out<Handle>, kernel: Handle) {
        function_of(kernel)?;
        function.set(kernel)
    }

    12000 fn cuKernelGetAttribute(value: Out<i32>, attribute: i32, kernel: Handle, _device: i32) {
        function_of(kernel)?;
        value.set(function_attribute(attribute)?)
    }

    12000 fn cuKernelSetAttribute(_attribute: i32, _value: i32, kernel: Handle, _device: i32) {
        function_of(kernel).map(drop)
    }

    11000 fn cuFuncGetModule(module: Out<Handle>, function: Handle) {
        module.set(function_of(function)?.module)
    }

    2020 fn cuFuncGetAttribute(value: Out<i32>, attribute: i32, function: Handle) {
        function_of(function)?;
        value.set(function_attribute(attribute)?)
    }

    9000 fn cuFuncSetAttribute(function: Handle, _attribute: i32, _value: i32) {
        function_of(function).map(drop)
    }

    3000 fn cuFuncSetCacheConfig(function: Handle, _config: i32) {
        function_of(function).map(drop)
    }

    12040 fn cuFuncLoad(function: Handle) { function_of(function).map(drop) }

    12040 fn cuFuncIsLoaded(state: Out<i32>, function: Handle) {
        function_of(function)?;
        state.set(1)
    }

    6050 fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
        blocks: Out<i32>,
        function: Handle,
        block_size: i32,
        _shared: usize,
    ) {
        function_of(function)?;
        if !(1..=1024).contains(&block_size) {
            return Err(cuda::INVALID_VALUE);
        }
        blocks.set((2048 / block_size).min(32))
    }

    7000 fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        blocks: Out<i32>,
        function: Handle,
        block_size: i32,
        _shared: usize,
        _flags: u32,
    ) {
        function_of(function)?;
        if !(1..=1024).contains(&block_size) {
            return Err(cuda::INVALID_VALUE);
        }
        blocks.set((2048 / block_size).min(32))
    }
}

/// A kernel by the handle of its function, or of itself: the driver takes both.
pub(crate) fn function_of(function: Handle) -> Result<Function, Code> {
    let driver = state::driver()?;
    driver.tables().functions.get(&function).cloned().ok_or(cuda::INVALID_HANDLE)
}

fn load(image: &str) -> Result<Handle, Code> {
    let image = Image::parse(image).ok_or(cuda::INVALID_IMAGE)?;
    let current = context::current()?;
    let mut globals = Vec::new();
    for (name, bytes) in image.globals {
        let charged = memory::charge(current.driver, current.card, bytes)?;
        let region = Region::new(bytes, RegionKind::Usable)?;
        let (card, context) = (current.card, current.context);
        let kind = AllocationKind::Module;
        let allocation = Allocation { region, bytes, charged, card, context, kind };
        let address = memory::keep(&mut current.driver.tables(), allocation);
        globals.push((name, (address, bytes)));
    }
    let mut tables = current.driver.tables();
    let module = tables.new_handle();
    let mut functions = HashMap::new();
    for (name, spec) in image.kernels {
        let handle = tables.new_handle();
        tables.functions.insert(handle, Function { module, spec });
        functions.insert(name, handle);
    }
    let globals = globals.into_iter().collect();
    tables.modules.insert(module, Module { context: current.context, functions, globals });
    Ok(module)
}

fn unload(module: Handle) -> Outcome {
    let driver = state::driver()?;
    let mut tables: std::sync::MutexGuard<'_, Tables> = driver.tables();
    let gone = tables.modules.remove(&module).ok_or(cuda::INVALID_HANDLE)?;
    tables.functions.retain(|_, function| function.module != module);
    for (address, _) in gone.globals.values() {
        memory::release(driver, &mut tables, *address);
    }
    Ok(())
}

fn find_function(module: Handle, name: Text) -> Result<Handle, Code> {
    let driver = state::driver()?;
    let name = name.get()?;
    let tables = driver.tables();
    let module = tables.modules.get(&module).ok_or(cuda::INVALID_HANDLE)?;
    module.functions.get(&name).copied().ok_or(cuda::NOT_FOUND)
}

fn get_global(address: Out<u64>, bytes: Out<usize>, module: Handle, name: Text) -> Outcome {
    let driver = state::driver()?;
    let name = name.get()?;
    let tables = driver.tables();
    let module = tables.modules.get(&module).ok_or(cuda::INVALID_HANDLE)?;
    let (start, held) = *module.globals.get(&name).ok_or(cuda::NOT_FOUND)?;
    address.set_if_wanted(start);
    bytes.set_if_wanted(held as usize);
    Ok(())
}

fn function_attribute(attribute: i32) -> Result<i32, Code> {
    match attribute {
        // Threads of a block, registers, versions of the code.
        0 => Ok(1024),
        4 => Ok(32),
        5 | 6 => Ok(90),
        8 => Ok(233_472),
        1..=15 => Ok(0),
        _ => Err(cuda::INVALID_VALUE),
    }
}

impl Image {
    /// Reads an image; `None` if it is none.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        if lines.next() != Some(HEAD) {
            return None;
        }
        let mut image = Self::default();
        for line in lines {
            let mut words = line.split_whitespace();
            match (words.next()?, words.next()?.to_owned()) {
                ("kernel", name) => image.kernels.push((name, KernelSpec::parse(words)?)),
                ("global", name) => image.globals.push((name, words.next()?.parse().ok()?)),
                _ => return None,
            }
        }
        Some(image)
    }
}

impl KernelSpec {
    fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut spec = Self { duration: Duration::Ns(0), ns_per_block: 0, sms: None };
        for word in words {
            match word.split_once('=')? {
                ("ns", "arg") => spec.duration = Duration::Argument,
                ("ns", value) => spec.duration = Duration::Ns(value.parse().ok()?),
                ("ns_per_block", value) => spec.ns_per_block = value.parse().ok()?,
                ("sms", value) => spec.sms = Some(value.parse().ok()?),
                _ => return None,
            }
        }
        Some(spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_read_or_refused() {
        let image =
            "fake-image\nkernel a ns=5 sms=3\n\n kernel b ns=arg ns_per_block=2\nglobal g 64";
        let read = Image::parse(image).unwrap();
        let a = KernelSpec { duration: Duration::Ns(5), ns_per_block: 0, sms: Some(3) };
        let b = KernelSpec { duration: Duration::Argument, ns_per_block: 2, sms: None };
        assert_eq!(read.kernels, [("a".to_owned(), a), ("b".to_owned(), b)]);
        assert_eq!(read.globals, [("g".to_owned(), 64)]);
        let none =
            ["", "\u{7f}ELF", "fake-image\nkernel", "fake-image\nkernel a ns=x", "fake-image\nx y"];
        assert_eq!(none.map(Image::parse), [None, None, None, None, None]);
    }
}
