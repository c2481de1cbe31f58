//! The kernel's memory, and what it leaves behind. Its results are the subject of `bf16`'s tests.

use std::thread;

use super::emulator;
use super::*;

/// A slice with memory behind it and before it that nobody may touch.
struct Guarded<T> {
    start: *mut T,
    len: usize,
    /// The whole mapping: two guards and what is between.
    mapping: (*mut libc::c_void, usize),
}

const PAGE: usize = 4096;

impl<T: Copy> Guarded<T> {
    /// Ends where the guard behind it begins, or begins where that before it ends.
    fn new(values: &[T], end: End) -> Self {
        let bytes = size_of_val(values);
        let between = bytes.next_multiple_of(PAGE);
        let len = between + 2 * PAGE;
        let (access, kind) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, of which the part between the guards is opened and filled.
        unsafe {
            let mapping = libc::mmap(std::ptr::null_mut(), len, access, kind, -1, 0);
            assert_ne!(mapping, libc::MAP_FAILED);
            let first = mapping.byte_add(PAGE);
            let opened = libc::mprotect(first, between, libc::PROT_READ | libc::PROT_WRITE);
            assert_eq!(opened, 0);
            let start = match end {
                End::Behind => first.byte_add(between - bytes),
                End::Before => first,
            };
            let start = start.cast::<T>();
            start.copy_from_nonoverlapping(values.as_ptr(), values.len());
            Self { start, len: values.len(), mapping: (mapping, len) }
        }
    }

    fn values(&mut self) -> &mut [T] {
        // SAFETY: filled above, and borrowed as long as the mapping.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours.
        unsafe { libc::munmap(self.mapping.0, self.mapping.1) };
    }
}

#[derive(Clone, Copy, Debug)]
enum End {
    Behind,
    Before,
}

#[test]
fn nothing_outside_of_the_operands_is_touched() {
    let amx = Amx::detect_or_emulate(Isa::detect());
    let one = Line([0x3F80; 2 * LANES]);
    for (end, tiles, steps) in [End::Behind, End::Before]
        .into_iter()
        .flat_map(|end| [1, 2].map(|tiles| [1, 2, 5].map(|steps| (end, tiles, steps))))
        .flatten()
    {
        let mut panel = Guarded::new(&vec![one; steps * 2 * LANES], end);
        let mut x = Guarded::new(&vec![one; tiles * ROWS * steps], end);
        let mut sums = Guarded::new(&[Sums([-1.0; 2 * ROWS * PANEL])], end);
        Tiles::load(amx).multiply(panel.values(), x.values(), &mut sums.values()[0]);
        for (at, row) in sums.values()[0].rows().enumerate() {
            let expected = if at < tiles * ROWS { 2.0 * LANES as f32 * steps as f32 } else { -1.0 };
            assert!(row.iter().all(|sum| *sum == expected), "{tiles} tiles, row {at}: {row:?}");
        }
    }
}

#[test]
fn every_thread_has_tiles_of_its_own_and_releases_them() {
    let amx = Amx::detect_or_emulate(Isa::detect());
    let product = move || {
        assert!(amx.multiplies_rightly());
        assert!(emulator::is_released());
    };
    let threads: Vec<_> = (0..2).map(|_| thread::spawn(product)).collect();
    product();
    threads.into_iter().for_each(|thread| thread.join().unwrap());

    let tiles = Tiles::load(amx);
    assert_eq!(emulator::is_released(), is_native());
    drop(tiles);
    assert!(emulator::is_released());
}

#[test]
fn a_unit_that_multiplies_wrongly_is_not_used() {
    let amx = Amx::detect_or_emulate(Isa::detect());
    assert!(amx.multiplies_rightly());
    // A processor's own unit cannot be made to fail.
    assert_eq!(emulator::broken(|| amx.multiplies_rightly()), is_native());
}

fn is_native() -> bool {
    Amx::detect(Isa::detect()).is_some()
}
