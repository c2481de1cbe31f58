//! Loading a library while running, as programs load a driver.

use std::ffi::{CStr, CString, c_void};

use thiserror::Error;

/// A library that was loaded; it stays loaded until the process ends, as drivers do.
#[derive(Clone, Copy, Debug)]
pub struct Library {
    handle: *mut c_void,
}

// SAFETY: a handle of the loader may be used from every thread.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

/// A library could not be loaded.
#[derive(Debug, Error)]
#[error("load {name}: {reason}")]
pub struct LoadError {
    /// The library.
    pub name: String,
    /// What the loader said.
    pub reason: String,
}

impl Library {
    /// Loads a library by name, from where the loader looks.
    ///
    /// # Errors
    /// If it is not found or cannot be loaded.
    pub fn load(name: &str) -> Result<Self, LoadError> {
        let failed = |reason: String| LoadError { name: name.to_owned(), reason };
        let text = CString::new(name).map_err(|error| failed(error.to_string()))?;
        // SAFETY: the name ends with a zero; what the library does as it is loaded is its own.
        let handle = unsafe { libc::dlopen(text.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            // SAFETY: the loader's message stays until this thread calls the loader again.
            let message = unsafe { libc::dlerror() };
            let reason = match message.is_null() {
                true => String::new(),
                // SAFETY: a message that is there ends with a zero.
                false => unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned(),
            };
            return Err(failed(reason));
        }
        Ok(Self { handle })
    }

    /// The address of a function; `None` if the library has none of that name.
    #[must_use]
    pub fn symbol(&self, name: &str) -> Option<*const c_void> {
        let name = CString::new(name).ok()?;
        // SAFETY: the handle is of a library that stays loaded, and the name ends with a zero.
        let address = unsafe { libc::dlsym(self.handle, name.as_ptr()) };
        (!address.is_null()).then_some(address.cast_const())
    }
}

/// A text that a driver gave: it ends with a zero and stays.
pub(crate) fn text_at(place: *const c_void) -> String {
    // SAFETY: a driver's texts end with a zero, as the one who calls vouches; it is not null.
    unsafe { CStr::from_ptr(place.cast()) }.to_string_lossy().into_owned()
}
