//! What Xid errors mean, and what to do about them.
//!
//! The driver writes an Xid to the kernel's log, and gives it out as an event, when something goes
//! wrong on a card. Most are the fault of one program; few mean that the card must be reset.

/// Whose trouble an Xid is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum XidKind {
    /// A program did something wrong and was ended; the card is fine.
    Program,
    /// The card helped itself and goes on; look at it when it is idle.
    Watch,
    /// The card must be reset, or looked at by its maker, before anything else runs on it.
    Card,
}

/// An Xid in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XidMeaning {
    /// Whose trouble it is.
    pub kind: XidKind,
    /// What has happened.
    pub what: &'static str,
    /// What to do.
    pub hint: &'static str,
}

const DEBUG: &str = "run the program under compute-sanitizer; if programs that were fine fail too, \
                     test the card's memory";
const RESET: &str = "stop what runs on the card and reset it: nvidia-smi --gpu-reset -i CARD; if it \
                     comes again, have the card looked at";
const LOOK_BEFORE: &str = "look for the Xid before it in the kernel's log: that one is the cause";
const RESET_IDLE: &str = "reset the card when it is idle, so that the change takes hold: nvidia-smi \
                          --gpu-reset -i CARD";
const SEAT: &str = "look at its seat, its power and its heat, then restart the machine; if it comes \
                    again, have the card replaced";
const DRIVER: &str = "restart the machine, and install a newer driver if it comes again";

/// What an Xid means; one that is not listed is watched.
pub fn xid_meaning(xid: u64) -> XidMeaning {
    let (kind, what, hint) = match xid {
        13 => (XidKind::Program, "a kernel did something the card does not allow", DEBUG),
        31 => (XidKind::Program, "a kernel read or wrote an address that is not its own", DEBUG),
        32 => (XidKind::Program, "commands for the card came to it damaged", DEBUG),
        43 => (XidKind::Program, "the card stopped the work of a program after its fault", DEBUG),
        45 => (
            XidKind::Program,
            "the work of a program was cleared away after another fault or its end",
            LOOK_BEFORE,
        ),
        68 | 69 => (XidKind::Program, "an engine of the card got a command it cannot do", DEBUG),
        63 => (
            XidKind::Watch,
            "a bad row or page of memory is marked, and is replaced at the next reset",
            RESET_IDLE,
        ),
        92 => (XidKind::Watch, "memory errors that are corrected are becoming many", RESET_IDLE),
        94 => (
            XidKind::Watch,
            "an uncorrectable memory error was kept to one program, which has ended",
            RESET_IDLE,
        ),
        109 => (XidKind::Watch, "a switch between programs took too long", DRIVER),
        121 => (XidKind::Watch, "the link to the processor corrected an error", RESET_IDLE),
        38 | 61 | 62 => (XidKind::Card, "the card's own controller has stopped", RESET),
        48 => (XidKind::Card, "an uncorrectable memory error", RESET),
        64 => (XidKind::Card, "a bad row or page of memory could not be marked", RESET),
        74 => (
            XidKind::Card,
            "an error on NVLink",
            "see nvidia-smi nvlink -e for the link, look at both its ends, and reset all cards that \
             it joins",
        ),
        79 => (XidKind::Card, "the card fell off the bus", SEAT),
        95 => (
            XidKind::Card,
            "an uncorrectable memory error that reached every program on the card",
            RESET,
        ),
        110 => (XidKind::Card, "a fault of the card's security unit", SEAT),
        119 | 120 => (XidKind::Card, "the card's system processor does not answer", DRIVER),
        140 => (XidKind::Card, "memory errors from which the card could not recover", RESET),
        143 => (XidKind::Card, "the card could not be made ready", SEAT),
        _ => (
            XidKind::Watch,
            "an error that this version does not know",
            "look it up in NVIDIA's list of Xid errors, by the lines around it in the kernel's log",
        ),
    };
    XidMeaning { kind, what, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_faults_are_told_from_cards() {
        let check = |xids: &[u64], kind| {
            for &xid in xids {
                let meaning = xid_meaning(xid);
                assert_eq!(meaning.kind, kind, "{xid}");
                assert!(!meaning.what.is_empty() && !meaning.hint.is_empty());
            }
        };
        check(&[13, 31, 32, 43, 45, 68, 69], XidKind::Program);
        check(&[63, 92, 94, 109, 121, 7777], XidKind::Watch);
        check(&[38, 48, 62, 64, 74, 79, 95, 110, 119, 120, 140, 143], XidKind::Card);
        assert!(xid_meaning(79).hint.contains("seat"));
        assert!(xid_meaning(7777).hint.contains("NVIDIA's list"));
    }
}
