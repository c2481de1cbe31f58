//! The driver as a tenant finds it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::ptr;

use super::kernels;
use super::script::{Answer, Failure, Line};
use super::{address, place};
use crate::system::{Function, Library, LoadError, monotonic_ns};

/// The loaded driver.
pub(super) struct Driver {
    library: Library,
    lookup: Lookup,
    found: RefCell<HashMap<String, Function>>,
}

/// How functions are found.
#[derive(Clone, Copy)]
enum Lookup {
    Symbol,
    /// By `cuGetProcAddress` for a version, with flags.
    Address {
        version: usize,
        flags: usize,
    },
}

const PER_THREAD: usize = 2;

impl Driver {
    pub(super) fn load() -> Result<Self, LoadError> {
        let library = Library::load("libcuda.so.1")?;
        Ok(Self { library, lookup: Lookup::Symbol, found: RefCell::default() })
    }

    pub(super) fn look_up(&mut self, line: &Line<'_>) -> Answer {
        self.lookup = match line.word(0)? {
            "dlsym" => Lookup::Symbol,
            "address" => {
                let flags =
                    if line.word(2).is_ok_and(|word| word == "own") { PER_THREAD } else { 0 };
                Lookup::Address { version: line.number(1)?, flags }
            }
            other => return Err(Failure::Script(format!("look up by '{other}'?"))),
        };
        self.found.borrow_mut().clear();
        Ok(String::new())
    }

    /// Calls a function by the name that it is exported under.
    pub(super) fn call(&self, name: &str, arguments: &[usize]) -> Answer {
        match self.function(name)?.call(arguments) {
            0 => Ok(String::new()),
            code => Err(self.failure(code, name)),
        }
    }

    /// The failure that a code is.
    pub(super) fn failure(&self, code: i32, function: &str) -> Failure {
        let name = self.name_of(code).unwrap_or_else(|| "UNKNOWN".to_owned());
        Failure::Driver { code, name, function: function.to_owned() }
    }

    pub(super) fn function(&self, name: &str) -> Result<Function, Failure> {
        if let Some(found) = self.found.borrow().get(name) {
            return Ok(*found);
        }
        let missing = || Failure::Script(format!("the driver has no {name}"));
        let found = match self.lookup {
            Lookup::Address { version, flags } if !name.starts_with("cotenant") => {
                self.by_address(name, version, flags)?
            }
            Lookup::Symbol | Lookup::Address { .. } => self.library.symbol(name),
        };
        let found = found.and_then(Function::at).ok_or_else(missing)?;
        self.found.borrow_mut().insert(name.to_owned(), found);
        Ok(found)
    }

    fn by_address(
        &self,
        name: &str,
        version: usize,
        flags: usize,
    ) -> Result<Option<*const c_void>, Failure> {
        let base = name.strip_suffix("_v2").unwrap_or(name);
        let text = CString::new(base).map_err(|error| Failure::Script(error.to_string()))?;
        let (mut found, mut status): (*const c_void, i32) = (ptr::null(), 0);
        let text = text.as_ptr() as usize;
        let v2 = self.library.symbol("cuGetProcAddress_v2").and_then(Function::at);
        let code = match v2 {
            Some(v2) => v2.call(&[text, address(&mut found), version, flags, address(&mut status)]),
            None => {
                let v1 = self.library.symbol("cuGetProcAddress").and_then(Function::at);
                let v1 = v1.ok_or_else(|| Failure::Script("no cuGetProcAddress".to_owned()))?;
                v1.call(&[text, address(&mut found), version, flags])
            }
        };
        match code {
            0 if status == 0 => Ok(Some(found)),
            0 => Err(Failure::Script(format!("{base} has status {status}"))),
            code => Err(self.failure(code, "cuGetProcAddress")),
        }
    }

    fn name_of(&self, code: i32) -> Option<String> {
        let function = Function::at(self.library.symbol("cuGetErrorName")?)?;
        let mut text: *const c_void = ptr::null();
        let known = function.call(&[code as usize, address(&mut text)]) == 0 && !text.is_null();
        known.then(|| crate::system::text_at(text))
    }

    /// Says that this process waits for its script, where the driver wants to know.
    pub(super) fn rest(&self) {
        self.tell("cotenantFakeRest");
    }

    pub(super) fn resume(&self) {
        self.tell("cotenantFakeResume");
    }

    fn tell(&self, name: &str) {
        if let Some(function) = self.library.symbol(name).and_then(Function::at) {
            // Before `cuInit` there is nobody to tell.
            function.call(&[]);
        }
    }

    /// Why the fake driver found no cards.
    pub(super) fn why(&self) -> Answer {
        let mut text = [0u8; 1024];
        let room = text.len();
        self.call("cotenantFakeError", &[address(&mut text), room])?;
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(text).replace('\n', " / "))
    }

    /// Whether this is the fake driver, whose kernels are a description.
    pub(super) fn is_fake(&self) -> bool {
        self.library.symbol("cotenantFakeNow").is_some()
    }

    /// The time of the cards; with a real driver, that of the machine.
    pub(super) fn now(&self) -> Result<u64, Failure> {
        if !self.is_fake() {
            return Ok(monotonic_ns());
        }
        let mut ns = 0u64;
        self.call("cotenantFakeNow", &[address(&mut ns)])?;
        Ok(ns)
    }

    /// The kernel whose first argument says how much work it is. On the fake driver that is a time,
    /// and it takes so many multiprocessors.
    pub(super) fn kernel(&self, sms: Option<u32>) -> Result<usize, Failure> {
        let image = if self.is_fake() { kernels::described(sms) } else { kernels::TEXT.to_owned() };
        self.function_of(image, kernels::WORK)
    }

    /// A kernel that writes where nothing is; only a real driver runs it.
    pub(super) fn bad_kernel(&self) -> Result<usize, Failure> {
        if self.is_fake() {
            return Err(Failure::Script("the fake driver runs no code of kernels".to_owned()));
        }
        self.function_of(kernels::TEXT.to_owned(), kernels::BAD)
    }

    /// A function of an image.
    fn function_of(&self, image: String, name: &str) -> Result<usize, Failure> {
        let text = |text: String| CString::new(text).expect("the text has no zero");
        let (image, name) = (text(image), text(name.to_owned()));
        let (mut module, mut function) = (0usize, 0usize);
        let loaded = [address(&mut module), image.as_ptr() as usize];
        self.call("cuModuleLoadData", &loaded)?;
        let found = [address(&mut function), module, name.as_ptr() as usize];
        self.call("cuModuleGetFunction", &found)?;
        Ok(function)
    }
}

/// A kernel's arguments with one number; it must live as long as the call.
pub(super) struct Arguments {
    number: u64,
    places: [usize; 1],
}

impl Arguments {
    pub(super) fn new(number: u64) -> Box<Self> {
        let mut arguments = Box::new(Self { number, places: [0] });
        arguments.places[0] = place(&arguments.number);
        arguments
    }

    pub(super) fn address(&self) -> usize {
        place(&self.places)
    }
}
