//! Arguments that are places in the program's memory.

use std::ffi::{CStr, c_char};
use std::fmt;

use crate::codes::{Code, Outcome, cuda};

/// Where a function puts a result; may be null where the driver allows it.
#[repr(transparent)]
pub(crate) struct Out<T>(*mut T);

/// Something that the program hands over by its place.
#[repr(transparent)]
pub(crate) struct In<T>(*const T);

/// The first of several things that lie one after another.
#[repr(transparent)]
pub(crate) struct List<T>(*mut T);

/// A text that ends with a zero.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Text(*const c_char);

/// Room for a text.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct TextOut(*mut c_char);

impl<T> Clone for Out<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Out<T> {}

impl<T> Clone for In<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for In<T> {}

impl<T> Clone for List<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for List<T> {}

impl<T> Out<T> {
    /// Writes a result; null is refused.
    pub(crate) fn set(self, value: T) -> Outcome {
        if self.0.is_null() {
            return Err(cuda::INVALID_VALUE);
        }
        // SAFETY: a place that is not null is one for a `T`, as the program vouches.
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }

    /// A place that the program gave without its type.
    pub(crate) fn at(address: usize) -> Self {
        Self(address as *mut T)
    }

    /// Writes a result where the program wants it.
    pub(crate) fn set_if_wanted(self, value: T) {
        if !self.0.is_null() {
            // SAFETY: as above.
            unsafe { self.0.write_unaligned(value) };
        }
    }

    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// What is there before; null is refused.
    pub(crate) fn get(self) -> Result<T, Code>
    where
        T: Copy,
    {
        In(self.0.cast_const()).get()
    }
}

impl<T: Copy> In<T> {
    /// What is there; null is refused.
    pub(crate) fn get(self) -> Result<T, Code> {
        if self.0.is_null() {
            return Err(cuda::INVALID_VALUE);
        }
        // SAFETY: a place that is not null holds a `T`, as the program vouches.
        Ok(unsafe { self.0.read_unaligned() })
    }

    /// The bytes of a text at this place, up to its zero.
    pub(crate) fn text(self) -> Result<String, Code> {
        Text(self.0.cast()).get()
    }
}

impl<T: Copy> List<T> {
    /// The first `count`; null is refused unless there are none.
    pub(crate) fn get(self, count: usize) -> Result<Vec<T>, Code> {
        (0..count).map(|at| self.at(at).and_then(|place| In(place.0.cast_const()).get())).collect()
    }

    /// Writes values one after another.
    pub(crate) fn set(self, values: &[T]) -> Outcome {
        values.iter().enumerate().try_for_each(|(at, value)| self.at(at)?.set(*value))
    }

    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    pub(crate) fn null() -> Self {
        Self(std::ptr::null_mut())
    }

    fn at(self, at: usize) -> Result<Out<T>, Code> {
        match self.0.is_null() {
            true => Err(cuda::INVALID_VALUE),
            false => Ok(Out(self.0.wrapping_add(at))),
        }
    }
}

impl List<In<u64>> {
    /// The number that the first of these places holds.
    pub(crate) fn first_number(self) -> Result<u64, Code> {
        self.at(0)?.get()?.get()
    }
}

impl Text {
    /// The text; null is refused, and what is no UTF-8 is replaced.
    pub(crate) fn get(self) -> Result<String, Code> {
        if self.0.is_null() {
            return Err(cuda::INVALID_VALUE);
        }
        // SAFETY: a text that is not null ends with a zero, as the program vouches.
        Ok(unsafe { CStr::from_ptr(self.0) }.to_string_lossy().into_owned())
    }

    /// A text that lives as long as the library.
    pub(crate) fn constant(text: &'static CStr) -> Self {
        Self(text.as_ptr())
    }

    pub(crate) fn null() -> Self {
        Self(std::ptr::null())
    }
}

impl TextOut {
    /// Writes as much of a text as there is room for, and a zero; says whether all fitted.
    pub(crate) fn set(self, text: &str, room: usize) -> Result<bool, Code> {
        if self.0.is_null() || room == 0 {
            return Err(cuda::INVALID_VALUE);
        }
        let kept = &text.as_bytes()[..text.len().min(room - 1)];
        let out = List(self.0.cast::<u8>());
        out.set(kept)?;
        out.at(kept.len())?.set(0)?;
        Ok(kept.len() == text.len())
    }
}

impl<T> fmt::Debug for Out<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Out({:p})", self.0)
    }
}
