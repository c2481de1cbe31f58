//! Ids of feedback: what a search must remember until feedback comes, carried by the client.
//!
//! The server keeps nothing for each search, so that searches whose feedback never comes cost
//! nothing, and an id outlives a restart. A client cannot make one up, nor change whose or how slow
//! a search was: the id ends with a hash that takes the experiment's key.

use sha2::{Digest, Sha256};

/// Bytes of a subject's hash.
pub(super) const UNIT_BYTES: usize = 16;
/// Bytes of the hash at the end.
const SEAL_BYTES: usize = 16;
/// Subject, latency, hash.
const BYTES: usize = UNIT_BYTES + 4 + SEAL_BYTES;

/// What only the server knows of an experiment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(pub(super) [u8; 32]);

/// A subject, without its name: who reads the files learns nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Unit(pub(super) [u8; UNIT_BYTES]);

/// A search that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) unit: Unit,
    /// What its answer took, in microseconds; the most that there is stands for more.
    pub(super) latency_us: u32,
}

impl std::fmt::Debug for Key {
    /// Without the key, which belongs in no log.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Key")
    }
}

impl Key {
    /// The subject of this name.
    pub(super) fn unit(&self, subject: &str) -> Unit {
        let mut unit = [0; UNIT_BYTES];
        unit.copy_from_slice(&self.hash("subject", subject.as_bytes())[..UNIT_BYTES]);
        Unit(unit)
    }

    /// A hash that nobody makes without the key. What is hashed has one length for each use, or
    /// only its beginning is told, so that no hash can be gone on with.
    fn hash(&self, what: &str, bytes: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(what);
        hash.update(bytes);
        hash.finalize().into()
    }
}

impl Ticket {
    /// As a client sees it.
    pub(super) fn write(&self, key: &Key) -> String {
        let mut bytes = self.body();
        bytes.extend_from_slice(&key.hash("ticket", &bytes)[..SEAL_BYTES]);
        to_hex(&bytes)
    }

    /// From a client, who may send anything.
    pub(super) fn read(text: &str, key: &Key) -> Option<Self> {
        let bytes: [u8; BYTES] = of_hex(text)?.try_into().ok()?;
        let (body, seal) = bytes.split_at(UNIT_BYTES + 4);
        let expected = key.hash("ticket", body);
        // How long a comparison takes must not tell how much of it is right.
        let differing =
            seal.iter().zip(&expected).fold(0, |bits, (one, other)| bits | (one ^ other));
        if std::hint::black_box(differing) != 0 {
            return None;
        }
        let (unit, latency) = body.split_at(UNIT_BYTES);
        let unit = Unit(unit.try_into().ok()?);
        Some(Self { unit, latency_us: u32::from_le_bytes(latency.try_into().ok()?) })
    }

    fn body(&self) -> Vec<u8> {
        let mut bytes = self.unit.0.to_vec();
        bytes.extend_from_slice(&self.latency_us.to_le_bytes());
        bytes
    }
}

/// Two digits a byte.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of small digits, two each.
pub(super) fn of_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |letter: u8| match letter {
        b'0'..=b'9' => Some(letter - b'0'),
        b'a'..=b'f' => Some(letter - b'a' + 10),
        _ => None,
    };
    if text.len() % 2 == 1 || text.len() > 2 * BYTES.max(32) {
        return None;
    }
    let pairs = text.as_bytes().chunks_exact(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_what_it_was_given_and_cannot_be_changed() {
        let (key, other) = (Key([7; 32]), Key([8; 32]));
        let ticket = Ticket { unit: key.unit("用户-1"), latency_us: 12_345 };
        let text = ticket.write(&key);
        assert_eq!(Ticket::read(&text, &key), Some(ticket));
        assert_eq!(Ticket::read(&text, &other), None, "another experiment's");
        assert_ne!(key.unit("a"), other.unit("a"));
        for at in 0..text.len() {
            for digit in ["0", "f"].into_iter().filter(|digit| *digit != &text[at..=at]) {
                let changed = format!("{}{digit}{}", &text[..at], &text[at + 1..]);
                assert_eq!(Ticket::read(&changed, &key), None, "{at} {digit}");
            }
        }
        for bad in ["", "0", "zz", &text[2..], &format!("{text}00"), &text.to_uppercase(), "ä"] {
            assert_eq!(Ticket::read(bad, &key), None, "{bad}");
        }
    }
}
