//! The lock over the world. It is the system's robust kind: if its holder is killed, the next one
//! gets it, and finds the world as it was left, which every reader of the world expects.

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering;

use super::shared::Layout;
use crate::world::World;

/// The world while this thread has it.
pub(crate) struct Locked<'a> {
    layout: &'a Layout,
}

/// Makes the lock of a file that nobody else has opened yet.
pub(super) fn initialise(layout: &Layout) -> io::Result<()> {
    let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: the attributes are initialised before they are used; the mutex lies in zeroed memory
    // that no other thread knows of yet.
    let codes = unsafe {
        [
            libc::pthread_mutexattr_init(attributes),
            libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED),
            libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST),
            libc::pthread_mutex_init(layout.mutex.get(), attributes),
            libc::pthread_mutexattr_destroy(attributes),
        ]
    };
    match codes.into_iter().find(|code| *code != 0) {
        None => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code)),
    }
}

impl<'a> Locked<'a> {
    pub(super) fn new(layout: &'a Layout) -> Self {
        let mutex = UnsafeCell::raw_get(&raw const layout.mutex);
        // SAFETY: the mutex was initialised before the file got its name.
        let code = unsafe { libc::pthread_mutex_lock(mutex) };
        if code == libc::EOWNERDEAD {
            // SAFETY: this thread holds the mutex, as the code says.
            let code = unsafe { libc::pthread_mutex_consistent(mutex) };
            assert_eq!(code, 0, "a mutex whose owner died can be made consistent");
        } else {
            assert_eq!(code, 0, "the lock over the cards can be taken");
        }
        Self { layout }
    }
}

impl Deref for Locked<'_> {
    type Target = World;

    fn deref(&self) -> &World {
        // SAFETY: this thread holds the lock, every bit pattern is a world, and the borrow ends
        // before the lock does.
        unsafe { &*self.layout.world.get() }
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut World {
        // SAFETY: as above, and `self` is borrowed alone.
        unsafe { &mut *self.layout.world.get() }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let is_changed = std::mem::take(&mut self.clock.is_changed) == 1;
        if is_changed {
            self.layout.changed.fetch_add(1, Ordering::Release);
        }
        // SAFETY: this thread holds the mutex.
        unsafe { libc::pthread_mutex_unlock(self.layout.mutex.get()) };
        if is_changed {
            let word = self.layout.changed.as_ptr();
            // SAFETY: the word is an aligned u32 in shared memory.
            unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE, i32::MAX, 0, 0, 0) };
        }
    }
}
