//! Cards as a program finds them.

use cotenant_fake_cards::CardFacts;

use crate::codes::{Code, cuda};
use crate::ffi::{Out, Text, TextOut, driver};
use crate::state;

driver! {
    2000 fn cuInit(flags: u32) {
        if flags != 0 {
            return Err(cuda::INVALID_VALUE);
        }
        state::initialise()
    }

    2020 fn cuDriverGetVersion(version: Out<i32>) {
        let cards = state::cards().map_err(|_| cuda::NO_DEVICE)?;
        version.set(cards.driver_version() as i32)
    }

    2000 fn cuDeviceGetCount(count: Out<i32>) {
        count.set(state::driver()?.client.cards().len() as i32)
    }

    2000 fn cuDeviceGet(device: Out<i32>, ordinal: i32) {
        facts(ordinal)?;
        device.set(ordinal)
    }

    2000 fn cuDeviceGetName(name: TextOut, room: i32, device: i32) {
        name.set(&facts(device)?.name, room.max(0) as usize).map(drop)
    }

    9020 fn cuDeviceGetUuid(uuid: Out<[u8; 16]>, device: i32) {
        uuid.set(facts(device)?.uuid)
    }

    11040 fn cuDeviceGetUuid_v2(uuid: Out<[u8; 16]>, device: i32) {
        uuid.set(facts(device)?.uuid)
    }

    2000 fn cuDeviceTotalMem(bytes: Out<u32>, device: i32) {
        bytes.set(u32::try_from(facts(device)?.memory_bytes).unwrap_or(u32::MAX))
    }

    3020 fn cuDeviceTotalMem_v2(bytes: Out<usize>, device: i32) {
        bytes.set(facts(device)?.memory_bytes as usize)
    }

    2000 fn cuDeviceComputeCapability(major: Out<i32>, minor: Out<i32>, device: i32) {
        let (first, second) = facts(device)?.compute;
        major.set(first as i32)?;
        minor.set(second as i32)
    }

    2000 fn cuDeviceGetAttribute(value: Out<i32>, attribute: i32, device: i32) {
        value.set(attribute_of(&facts(device)?, attribute, device)?)
    }

    4010 fn cuDeviceGetPCIBusId(id: TextOut, room: i32, device: i32) {
        facts(device)?;
        id.set(&bus_id(device as usize), room.max(0) as usize).map(drop)
    }

    4010 fn cuDeviceGetByPCIBusId(device: Out<i32>, id: Text) {
        let wanted = id.get()?;
        let count = state::driver()?.client.cards().len();
        let found = (0..count).find(|index| bus_id(*index).eq_ignore_ascii_case(&wanted));
        device.set(found.ok_or(cuda::INVALID_DEVICE)? as i32)
    }

    4000 fn cuDeviceCanAccessPeer(can: Out<i32>, device: i32, peer: i32) {
        facts(device)?;
        facts(peer)?;
        can.set(i32::from(device != peer))
    }

    8000 fn cuDeviceGetP2PAttribute(value: Out<i32>, attribute: i32, from: i32, to: i32) {
        facts(from)?;
        facts(to)?;
        // Performance rank, access, native atomics, arrays.
        value.set(i32::from(attribute == 2 && from != to))
    }
}

/// A card by its number; that it fell off is no reason not to name it.
pub(crate) fn facts(device: i32) -> Result<CardFacts, Code> {
    let cards = state::driver()?.client.cards();
    let index = usize::try_from(device).map_err(|_| cuda::INVALID_DEVICE)?;
    cards.card(index).ok_or(cuda::INVALID_DEVICE)
}

/// Where a card sits on a made-up bus.
pub(crate) fn bus_id(index: usize) -> String {
    format!("0000:{:02X}:00.0", index + 1)
}

/// An attribute; those that nobody here gives a meaning are 0, as what a card cannot do is.
fn attribute_of(card: &CardFacts, attribute: i32, device: i32) -> Result<i32, Code> {
    Ok(match attribute {
        // Threads of a block, in all and by dimension; blocks of a grid by dimension.
        1..=3 => 1024,
        4 => 64,
        5 => i32::MAX,
        6 | 7 => 65_535,
        // Shared memory of a block, constants, warp, pitch, registers of a block, kHz.
        8 => 49_152,
        9 => 65_536,
        10 => 32,
        11 => i32::MAX,
        12 | 82 => 65_536,
        13 => 1_500_000,
        14 => 512,
        16 => card.sms as i32,
        // Overlap, host memory, concurrent kernels, addressing, priorities, managed memory,
        // preemption, cooperative launches, pools, addresses of one's own.
        15 | 19 | 31 | 41 | 78 | 83 | 89 | 90 | 95 | 99 | 102 | 103 | 115 | 120 => 1,
        33 => device + 1,
        36 => 2_000_000,
        37 => 5120,
        38 => 50 << 20,
        // Threads, shared memory and blocks of a multiprocessor.
        39 => 2048,
        40 => 3,
        75 => card.compute.0 as i32,
        76 => card.compute.1 as i32,
        81 | 97 => 233_472,
        106 => 32,
        i32::MIN..=0 => return Err(cuda::INVALID_VALUE),
        _ => 0,
    })
}
