//! AMX for machines that have none, so that tests run the very instructions of the kernel.
//!
//! A processor without AMX raises an invalid-opcode fault at each tile instruction, which Linux turns
//! into a signal. The handler here decodes the instruction, carries it out as the architecture's
//! manual defines it on tiles of the thread's own, and goes on behind it. What the manual would
//! fault, and what is no tile instruction, ends the process with a message.

mod decode;
mod unit;

use std::cell::{Cell, RefCell};
use std::sync::Once;

use self::decode::{Address, Instruction, Operation, decode};
use self::unit::{Fault, Unit};

thread_local! {
    static UNIT: RefCell<Unit> = const { RefCell::new(Unit::INITIAL) };
    /// Whether products add nothing.
    static BROKEN: Cell<bool> = const { Cell::new(false) };
}

/// From here on this process has AMX.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = handle;
        // SAFETY: a zeroed `sigaction` is a valid one, and the handler has the type that
        // `SA_SIGINFO` asks for. It runs only where an instruction of our own faults, never amid
        // anything that holds a lock.
        let result = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as libc::sighandler_t;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGILL, &raw const action, std::ptr::null_mut())
        };
        assert_eq!(result, 0, "a handler for SIGILL");
    });
}

/// Whether this thread's tiles are as they were before their first use.
pub(super) fn is_released() -> bool {
    UNIT.with_borrow(|unit| *unit == Unit::INITIAL)
}

/// What `f` finds where this thread's products add nothing.
pub(super) fn broken<T>(f: impl FnOnce() -> T) -> T {
    BROKEN.set(true);
    let found = f();
    BROKEN.set(false);
    found
}

/// A panic does not leave this function: it prints its message and ends the process.
extern "C" fn handle(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a context that is ours until the handler returns.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let at = registers[libc::REG_RIP as usize];
    // SAFETY: the processor has just fetched an instruction from here; no tile instruction of the
    // kernel is so near the end of the program's code that 15 bytes would reach behind it.
    let code = unsafe { *(at as *const [u8; 15]) };
    let Some(instruction) = decode(&code) else {
        panic!("an invalid instruction that is not a tile's: {code:02x?}");
    };
    // SAFETY: the addresses are those that the instruction names, and it stands where they are valid.
    let outcome = UNIT.with_borrow_mut(|unit| unsafe { perform(unit, &instruction, registers) });
    if let Err(fault) = outcome {
        panic!("the processor would fault: {fault:?} at {instruction:?}");
    }
    registers[libc::REG_RIP as usize] = at + instruction.len as i64;
}

/// # Safety
/// The memory that the instruction names with these registers may be read or written.
unsafe fn perform(
    unit: &mut Unit,
    instruction: &Instruction,
    registers: &[libc::greg_t],
) -> Result<(), Fault> {
    let start = |address: &Address| start(address, instruction.len, registers);
    // SAFETY: as the caller vouches.
    unsafe {
        match &instruction.operation {
            Operation::LoadConfig(address) => unit.load_config(&*start(address).cast::<[u8; 64]>()),
            Operation::Release => {
                unit.release();
                Ok(())
            }
            Operation::Zero(tile) => unit.zero(*tile),
            Operation::Load(tile, address) => {
                unit.load(*tile, start(address), stride(address, registers))
            }
            Operation::Store(address, tile) => {
                unit.store(*tile, start(address).cast_mut(), stride(address, registers))
            }
            Operation::MultiplyBf16 { .. } if BROKEN.get() => Ok(()),
            Operation::MultiplyBf16 { sums, left, right } => unit.multiply(*sums, *left, *right),
        }
    }
}

/// Base and displacement: of a tile, the index is the stride, and nothing else has one here.
fn start(address: &Address, len: usize, registers: &[libc::greg_t]) -> *const u8 {
    let base = match address.base {
        Some(number) => register(number, registers),
        None if address.from_next => registers[libc::REG_RIP as usize] + len as i64,
        None => 0,
    };
    base.wrapping_add(address.displacement) as *const u8
}

fn stride(address: &Address, registers: &[libc::greg_t]) -> isize {
    address.index.map_or(0, |(number, scale)| (register(number, registers) << scale) as isize)
}

/// A general register by the number that instructions give it.
fn register(number: u8, registers: &[libc::greg_t]) -> i64 {
    use libc::{REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    use libc::{REG_RAX, REG_RBP, REG_RBX, REG_RCX, REG_RDI, REG_RDX, REG_RSI, REG_RSP};
    const ORDER: [libc::c_int; 16] = [
        REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9,
        REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
    ];
    registers[ORDER[usize::from(number)] as usize]
}
