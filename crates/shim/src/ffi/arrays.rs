//! Arrays and mipmapped arrays, charged by the size that their description comes to.

use std::ffi::c_int;

use super::account::{SUCCESS, Standing, current};
use super::driver::Handle;
use super::memory::{self, charged};
use super::virtual_memory;

/// CUDA_ARRAY3D_SPARSE and CUDA_ARRAY3D_DEFERRED_MAPPING: pages come later, by hand.
const WITHOUT_PAGES: u32 = 0x40 | 0x80;

/// CUDA_ARRAY_DESCRIPTOR, second version.
#[repr(C)]
pub struct Plane {
    width: usize,
    height: usize,
    format: c_int,
    channels: u32,
}

/// CUDA_ARRAY3D_DESCRIPTOR, second version.
#[repr(C)]
pub struct Block {
    width: usize,
    height: usize,
    depth: usize,
    format: c_int,
    channels: u32,
    flags: u32,
}

/// `cuArrayCreate`.
///
/// # Safety
/// The description is what the driver takes, and the place one to which it writes the handle.
pub(super) unsafe fn create_plane(
    call: impl Fn() -> c_int,
    place: *mut Handle,
    plane: *const Plane,
) -> c_int {
    if plane.is_null() {
        return call();
    }
    // SAFETY: the caller's.
    let plane = unsafe { &*plane };
    let element = element_bytes(plane.format, plane.channels);
    let bytes = volume([plane.width, plane.height, 1]).saturating_mul(element);
    // SAFETY: the caller's.
    unsafe { create(current(), call, place, bytes) }
}

/// `cuArray3DCreate`.
///
/// # Safety
/// As for [`create_plane`].
pub(super) unsafe fn create_block(
    call: impl Fn() -> c_int,
    place: *mut Handle,
    block: *const Block,
) -> c_int {
    if block.is_null() {
        return call();
    }
    // SAFETY: the caller's.
    let block = unsafe { &*block };
    // SAFETY: the caller's.
    unsafe { create(current(), call, place, block.bytes(1)) }
}

/// `cuMipmappedArrayCreate`.
///
/// # Safety
/// As for [`create_plane`].
pub(super) unsafe fn create_levels(
    call: impl Fn() -> c_int,
    place: *mut Handle,
    block: *const Block,
    levels: u32,
) -> c_int {
    if block.is_null() {
        return call();
    }
    // SAFETY: the caller's.
    let block = unsafe { &*block };
    // SAFETY: the caller's.
    unsafe { create(current(), call, place, block.bytes(levels)) }
}

/// `cuArrayDestroy` and `cuMipmappedArrayDestroy`.
pub(super) fn destroy(call: impl Fn() -> c_int, array: Handle) -> c_int {
    let result = memory::free(call, array as u64);
    if result == SUCCESS {
        virtual_memory::forget_array(array);
    }
    result
}

unsafe fn create(
    standing: Standing,
    call: impl Fn() -> c_int,
    place: *mut Handle,
    bytes: u64,
) -> c_int {
    charged(standing, bytes, call, |account| {
        // SAFETY: the caller's; the driver has just written there.
        account.remember(unsafe { *place } as u64, bytes);
        SUCCESS
    })
}

impl Block {
    /// All levels together, each half as large as the one before in every direction.
    fn bytes(&self, levels: u32) -> u64 {
        if self.flags & WITHOUT_PAGES != 0 {
            return 0;
        }
        let element = element_bytes(self.format, self.channels);
        let of_level = |level: u32| {
            let halved = |length: usize| match length {
                0 => 0,
                length => (length >> level).max(1),
            };
            volume([halved(self.width), halved(self.height), halved(self.depth)])
        };
        (0..levels.clamp(1, 32))
            .fold(0u64, |sum, level| sum.saturating_add(of_level(level).saturating_mul(element)))
    }
}

/// Elements of an array; a length of zero stands for a direction that it does not have.
fn volume(lengths: [usize; 3]) -> u64 {
    lengths.iter().fold(1, |product: u64, length| product.saturating_mul((*length).max(1) as u64))
}

/// Bytes of an element with so many channels. Formats that are not known are taken to be large.
fn element_bytes(format: c_int, channels: u32) -> u64 {
    let channels = u64::from(channels.clamp(1, 4));
    match format {
        // 8, 16 and 32 bits, without and with sign; half and float.
        0x01 | 0x08 => channels,
        0x02 | 0x09 | 0x10 => 2 * channels,
        0x03 | 0x0a | 0x20 => 4 * channels,
        // Normalised 8 bits in 1, 2 and 4 channels, then 16 bits.
        0xc0 | 0xc6 => 1,
        0xc1 | 0xc3 | 0xc7 | 0xc9 => 2,
        0xc2 | 0xc4 | 0xc8 | 0xca => 4,
        0xc5 | 0xcb => 8,
        // Blocks of compressed texels: at most a byte for each.
        0x91..=0x9e => 1,
        // NV12: one and a half.
        0xb0 => 2,
        _ => 4 * channels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_come_to_their_size() {
        let check = |lengths: [usize; 3], format, channels, levels, expected| {
            let [width, height, depth] = lengths;
            let block = Block { width, height, depth, format, channels, flags: 0 };
            assert_eq!(block.bytes(levels), expected, "{lengths:?} {format:#x}");
        };
        check([64, 64, 0], 0x20, 4, 1, 64 * 64 * 16);
        check([64, 0, 0], 0x01, 1, 1, 64);
        check([64, 64, 64], 0x10, 2, 1, 64 * 64 * 64 * 4);
        // 64, 32 and 16 in the square.
        check([64, 64, 0], 0x01, 1, 3, 4096 + 1024 + 256);
        // Levels beyond the smallest are of one element, in whatever direction there is.
        check([2, 8, 0], 0x01, 1, 4, 16 + 4 + 2 + 1);
        check([usize::MAX, usize::MAX, 2], 0x20, 4, u32::MAX, u64::MAX);
        let sparse =
            Block { width: 9, height: 9, depth: 9, format: 0x20, channels: 4, flags: 0x40 };
        assert_eq!(sparse.bytes(2), 0);
    }
}
