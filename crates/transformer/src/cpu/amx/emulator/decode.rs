//! The six tile instructions, from bytes.
//!
//! All have a three-byte VEX prefix (`C4`, map 0F38, 128 bits, W0); its last two bits stand for the
//! old prefixes none, 66, F3 and F2.

/// An instruction and its length in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) operation: Operation,
    pub(super) len: usize,
}

/// What it does; tiles by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// `ldtilecfg`
    LoadConfig(Address),
    /// `tilerelease`
    Release,
    /// `tilezero`
    Zero(u8),
    /// `tileloadd`
    Load(u8, Address),
    /// `tilestored`
    Store(Address, u8),
    /// `tdpbf16ps`
    MultiplyBf16 { sums: u8, left: u8, right: u8 },
}

/// A place in memory; registers by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) base: Option<u8>,
    /// A register, and how many bits it is shifted.
    pub(super) index: Option<(u8, u8)>,
    pub(super) displacement: i64,
    /// Counted from the next instruction.
    pub(super) from_next: bool,
}

/// What stands in a prefix.
struct Vex {
    /// Added to the register of the ModRM byte, the index and the base.
    high: [u8; 3],
    /// The second source, which is 0 where there is none.
    source: u8,
    kind: u8,
}

/// The instruction at the beginning of `code`, if it is one of the six.
pub(super) fn decode(code: &[u8; 15]) -> Option<Instruction> {
    let vex = vex(code)?;
    let (opcode, modrm) = (code[3], code[4]);
    let (register, low) = (modrm >> 3 & 7, modrm & 7);
    let of_registers = modrm >> 6 == 3;
    if vex.high[0] != 0 || (vex.source != 0 && opcode != 0x5C) {
        return None;
    }
    let simple = |operation| Some(Instruction { operation, len: 5 });
    match (opcode, vex.kind, of_registers) {
        (0x49, NONE, true) if modrm == 0xC0 => simple(Operation::Release),
        (0x49, F2, true) if low == 0 => simple(Operation::Zero(register)),
        (0x5C, F3, true) if vex.high == [0; 3] && vex.source < 8 => {
            let (left, right) = (low, vex.source);
            simple(Operation::MultiplyBf16 { sums: register, left, right })
        }
        (0x49, NONE, false) if register == 0 => {
            let (address, len) = address(code, &vex);
            // With an index it is a valid instruction too, but not one that anybody writes.
            let plain = address.index.is_none();
            plain.then_some(Instruction { operation: Operation::LoadConfig(address), len })
        }
        // A tile's place needs the byte for an index.
        (0x4B, F2, false) if low == 4 => {
            let (address, len) = address(code, &vex);
            Some(Instruction { operation: Operation::Load(register, address), len })
        }
        (0x4B, F3, false) if low == 4 => {
            let (address, len) = address(code, &vex);
            Some(Instruction { operation: Operation::Store(address, register), len })
        }
        _ => None,
    }
}

const NONE: u8 = 0;
const F3: u8 = 2;
const F2: u8 = 3;

fn vex(code: &[u8; 15]) -> Option<Vex> {
    // Inverted: register, index and base extensions, and the second source.
    let (first, second) = (!code[1], !code[2]);
    let is_map_0f38 = code[1] & 0x1F == 2;
    let is_w0_of_128_bits = code[2] & 0x84 == 0;
    (code[0] == 0xC4 && is_map_0f38 && is_w0_of_128_bits).then_some(Vex {
        high: [first >> 7 & 1, first >> 6 & 1, first >> 5 & 1].map(|bit| bit << 3),
        source: second >> 3 & 15,
        kind: code[2] & 3,
    })
}

/// The place that the ModRM byte and what follows it name, and the instruction's length.
fn address(code: &[u8; 15], vex: &Vex) -> (Address, usize) {
    let (mode, low) = (code[4] >> 6, code[4] & 7);
    let mut address = Address { base: Some(low | vex.high[2]), ..Address::default() };
    let (mut at, mut absolute) = (5, false);
    if low == 4 {
        let (scale, index, base) = (code[5] >> 6, code[5] >> 3 & 7, code[5] & 7);
        let index = index | vex.high[1];
        // Register 4 is the stack pointer, which cannot be an index.
        address.index = (index != 4).then_some((index, scale));
        address.base = Some(base | vex.high[2]);
        absolute = mode == 0 && base == 5;
        at = 6;
    } else if mode == 0 && low == 5 {
        address.from_next = true;
    }
    if absolute || address.from_next {
        address.base = None;
    }
    let wide = i32::from_le_bytes([code[at], code[at + 1], code[at + 2], code[at + 3]]);
    let (displacement, bytes) = match mode {
        1 => (i64::from(code[at] as i8), 1),
        2 => (i64::from(wide), 4),
        _ if address.base.is_none() => (i64::from(wide), 4),
        _ => (0, 0),
    };
    address.displacement = displacement;
    (address, at + bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Option<Operation>) {
        let mut code = [0xAA; 15];
        code[..bytes.len()].copy_from_slice(bytes);
        let expected = expected.map(|operation| Instruction { operation, len: bytes.len() });
        assert_eq!(decode(&code), expected, "{bytes:02x?}");
    }

    /// The bytes are those of LLVM's assembler.
    #[test]
    fn the_six_instructions_are_decoded() {
        let at = |base: u8| Address { base: Some(base), ..Address::default() };
        let with = |base: u8, index: u8, scale: u8, displacement: i64| Address {
            index: Some((index, scale)),
            displacement,
            ..at(base)
        };
        let config = |address| Some(Operation::LoadConfig(address));
        let load = |tile, address| Some(Operation::Load(tile, address));
        let store = |address, tile| Some(Operation::Store(address, tile));
        let multiply = |sums, left, right| Some(Operation::MultiplyBf16 { sums, left, right });
        check(&[0xC4, 0xE2, 0x78, 0x49, 0x07], config(at(7)));
        check(&[0xC4, 0xC2, 0x78, 0x49, 0x45, 0x00], config(at(13)));
        let on_stack = Address { displacement: 8, ..at(4) };
        check(&[0xC4, 0xE2, 0x78, 0x49, 0x44, 0x24, 0x08], config(on_stack));
        let ahead = Address { displacement: 0x1234, from_next: true, ..Address::default() };
        check(&[0xC4, 0xE2, 0x78, 0x49, 0x05, 0x34, 0x12, 0x00, 0x00], config(ahead));
        check(&[0xC4, 0xE2, 0x78, 0x49, 0xC0], Some(Operation::Release));
        check(&[0xC4, 0xE2, 0x7B, 0x49, 0xC0], Some(Operation::Zero(0)));
        check(&[0xC4, 0xE2, 0x7B, 0x49, 0xE8], Some(Operation::Zero(5)));
        check(&[0xC4, 0xE2, 0x7B, 0x4B, 0x04, 0x07], load(0, with(7, 0, 0, 0)));
        check(&[0xC4, 0x82, 0x7B, 0x4B, 0x7C, 0x8C, 0xFF], load(7, with(12, 9, 2, -1)));
        check(&[0xC4, 0xE2, 0x7B, 0x4B, 0x5C, 0x55, 0x00], load(3, with(5, 2, 1, 0)));
        let far = [0xC4, 0x82, 0x7B, 0x4B, 0x8C, 0xF7, 0x45, 0x23, 0x01, 0x00];
        check(&far, load(1, with(15, 14, 3, 0x12345)));
        let below = [0xC4, 0xE2, 0x7A, 0x4B, 0xB4, 0x0E, 0x40, 0x08, 0x00, 0x00];
        check(&below, store(with(6, 1, 0, 0x840), 6));
        check(&[0xC4, 0xC2, 0x7A, 0x4B, 0x14, 0x18], store(with(8, 3, 0, 0), 2));
        check(&[0xC4, 0xE2, 0x6A, 0x5C, 0xC1], multiply(0, 1, 2));
        check(&[0xC4, 0xE2, 0x42, 0x5C, 0xDD], multiply(3, 5, 7));
        check(&[0xC4, 0xE2, 0x7A, 0x5C, 0xF4], multiply(6, 4, 0));
        // tdpbssd, tileloaddt1, sttilecfg.
        check(&[0xC4, 0xE2, 0x6B, 0x5E, 0xC1], None);
        check(&[0xC4, 0xE2, 0x79, 0x4B, 0x04, 0x07], None);
        check(&[0xC4, 0xE2, 0x79, 0x49, 0x07], None);
        // vdpbf16ps, no instruction at all, and a byte that should be another.
        check(&[0x62, 0xF2, 0x6E, 0x48, 0x52, 0xCB], None);
        check(&[0x0F, 0x0B], None);
        check(&[0xC4, 0xE2, 0x7B, 0x49, 0xC9], None);
    }
}
