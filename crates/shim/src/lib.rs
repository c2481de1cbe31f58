//! The preload library: it keeps a program inside its slice of a card.
//!
//! Loaded before a program's own libraries, it stands between the program and the card's driver. It
//! counts memory against the slice's limit, holds submissions to the slice's share of compute, and
//! shows the program its slice in place of the card. Limits come from a page that the pool writes
//! and the program can only read.
//!
//! **What it is not.** It holds programs that keep to the rules of the system they run in: it is for
//! tenants who share by agreement, and for mistakes. A program that is out to get around it can: by
//! a static link, by talking to the kernel's device itself, by writing over the library's memory.
//! Tenants who must be held against their will need MIG, or the driver's own limits. The pool sees
//! from outside what the driver says, and acts on that.
//!
//! It never learns of tenants, jobs or policy, and depends on no runtime. Begin with `ffi/table.rs`
//! for what is taken over, [`ledger`] for memory, [`compute`] for compute; docs/shim.md says it all.
//!
//! # Invariants
//! - What a slice's processes hold by their own asking never passes its limit, whatever they race.
//! - A process that dies anywhere leaves nothing locked, and what it held is credited.
//! - A submission neither allocates nor locks. Nothing panics into the program, prints, exits,
//!   catches a signal, or runs before the program's first call.
//! - What the library does not know is left to the driver, and counted.

pub mod compute;
pub mod environment;
pub mod ffi;
pub mod ledger;
pub mod page;
pub mod trace;
pub mod view;
