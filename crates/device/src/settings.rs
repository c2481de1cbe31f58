//! The one permission that everything which lasts on a card needs.

/// Whether settings of a card may be changed for the sake of its programs: its compute mode and the
/// partitions that it is cut into.
///
/// What belongs to a program alone, and goes with it, needs no permission: limits of MPS clients and
/// of control groups. MIG mode itself is never switched: that needs an idle card and a reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CardSettings {
    /// They stay as they are. Partitions that are there and free are used.
    #[default]
    Keep,
    /// The operator has allowed it. A card that is served by MPS is made exclusive to its server,
    /// and gets its former mode back when its last client has left. Partitions are made where they
    /// are planned, and destroyed when their program has ended; those that others made stay.
    MayChange,
}
