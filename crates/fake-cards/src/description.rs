//! What cards there shall be, in code or in words.
//!
//! In words, cards stand one after another with `;` between them, each a list of `key=value`:
//! `name=H100,memory=80GiB,sms=132,count=2; memory=24GiB,sms=46,mig=on`. Settings are such a list
//! too: `time=real,slice_us=2000,driver=12040`. Faults stand with `;` between them, each a function
//! and what is wrong with it: `cuMemAlloc_v2 call=3 code=2; cuMemCreate missing`.

use std::collections::BTreeMap;
use std::str::FromStr;

use thiserror::Error;

use crate::world::{CARDS_MAX, NAME_BYTES, World};

/// What a test wants: cards, how time passes, and what goes wrong from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The cards, by index.
    pub cards: Vec<CardDescription>,
    /// How time passes.
    pub time: Time,
    /// How processes share a card.
    pub sharing: Sharing,
    /// How long a process keeps a card that others want, in nanoseconds.
    pub slice_ns: u64,
    /// The version that the driver names, such as 12040.
    pub driver_version: u32,
    /// What an allocation's size is rounded up to.
    pub granularity_bytes: u64,
    /// What a context takes of its card.
    pub context_bytes: u64,
    /// How fast copies are; `None` if they take no time.
    pub copy_bytes_per_us: Option<u64>,
}

/// One card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardDescription {
    /// What it is called.
    pub name: String,
    /// Its identity; `None` makes one of its index.
    pub uuid: Option<[u8; 16]>,
    /// Its memory.
    pub memory_bytes: u64,
    /// Its multiprocessors.
    pub sms: u32,
    /// Its compute capability, major and minor.
    pub compute: (u32, u32),
    /// Whether it could be partitioned.
    pub can_mig: bool,
}

/// How the time of cards passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// As tests say, and as processes wait.
    Virtual,
    /// As that of the machine.
    Real,
}

/// How processes share a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// One after another, in slices.
    Time,
    /// Side by side, as with MPS.
    Space,
}

/// What goes wrong with a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Calls return a code and do nothing: `times` of them, from the `call`th on, counted from 1.
    Fails {
        /// The first call that fails.
        call: u64,
        /// How many fail.
        times: u64,
        /// What they return.
        code: u32,
    },
    /// Every call takes as much longer.
    Slow {
        /// How much, in nanoseconds of the machine.
        delay_ns: u64,
    },
    /// `cuGetProcAddress` does not know it.
    Missing,
}

/// A description in words is none.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DescribeError {
    /// A word is not `key=value`.
    #[error("read '{word}': it is not key=value")]
    NoPair {
        /// The word.
        word: String,
    },
    /// A key is not known.
    #[error("read the key '{key}'\nhint: the keys are {known}")]
    UnknownKey {
        /// The key.
        key: String,
        /// The keys that there are.
        known: &'static str,
    },
    /// A value is none of its key.
    #[error("read {key}={value}\nhint: {wanted}")]
    BadValue {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What it may be.
        wanted: &'static str,
    },
    /// There must be a card, and not too many.
    #[error("make {count} cards\nhint: there may be 1 to {CARDS_MAX}")]
    BadCount {
        /// How many were asked for.
        count: usize,
    },
}

const CARD_KEYS: &str = "name, memory, sms, compute, uuid, mig, count";
const SETTING_KEYS: &str = "time, sharing, slice_us, driver, granularity, context, copy_gib_s";
const FAULT_KEYS: &str = "call, times, code, delay_us, or the word missing";
const NUMBER: &str = "a whole number";
const BYTES: &str = "a whole number with B, KiB, MiB or GiB, such as 80GiB";

impl Default for CardDescription {
    fn default() -> Self {
        Self {
            name: "Fake Card".to_owned(),
            uuid: None,
            memory_bytes: 16 << 30,
            sms: 100,
            compute: (9, 0),
            can_mig: false,
        }
    }
}

impl Default for Description {
    fn default() -> Self {
        Self {
            cards: vec![CardDescription::default()],
            time: Time::Virtual,
            sharing: Sharing::Time,
            slice_ns: 2_000_000,
            driver_version: 12_040,
            granularity_bytes: 512,
            context_bytes: 0,
            copy_bytes_per_us: None,
        }
    }
}

impl Description {
    /// Reads cards and settings in words; an empty text of settings changes nothing.
    ///
    /// # Errors
    /// If a word is not understood, or there are no cards or too many.
    pub fn parse(cards: &str, settings: &str) -> Result<Self, DescribeError> {
        let mut description = Self { cards: Vec::new(), ..Self::default() };
        for words in cards.split(';').filter(|words| !words.trim().is_empty()) {
            let (card, count) = read_card(words)?;
            if description.cards.len().saturating_add(count) > CARDS_MAX {
                return Err(DescribeError::BadCount { count });
            }
            description.cards.extend(std::iter::repeat_n(card, count));
        }
        for pair in pairs(settings) {
            let (key, value) = pair?;
            description.set(key, value)?;
        }
        match description.cards.len() {
            1..=CARDS_MAX => Ok(description),
            count => Err(DescribeError::BadCount { count }),
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), DescribeError> {
        match key {
            "time" => {
                self.time = choose(key, value, &[("virtual", Time::Virtual), ("real", Time::Real)])
                    .map_err(|_| bad(key, value, "virtual or real"))?;
            }
            "sharing" => {
                self.sharing =
                    choose(key, value, &[("time", Sharing::Time), ("space", Sharing::Space)])
                        .map_err(|_| bad(key, value, "time or space"))?;
            }
            "slice_us" => self.slice_ns = number::<u32>(key, value)?.max(1).into_ns(),
            "driver" => self.driver_version = number(key, value)?,
            "granularity" => self.granularity_bytes = bytes(key, value)?.max(1),
            "context" => self.context_bytes = bytes(key, value)?,
            "copy_gib_s" => {
                let gib: u32 = number(key, value)?;
                self.copy_bytes_per_us =
                    Some((u64::from(gib) << 30) / 1_000_000).filter(|n| *n > 0);
            }
            _ => return Err(unknown(key, SETTING_KEYS)),
        }
        Ok(())
    }

    /// Writes all this into a world of zeros.
    pub(crate) fn fill(&self, world: &mut World) {
        world.clock.is_real = u64::from(self.time == Time::Real);
        world.clock.epoch_ns = crate::system::monotonic_ns();
        world.settings.driver_version = u64::from(self.driver_version);
        world.settings.slice_ns = self.slice_ns.max(1);
        world.settings.is_spatial = u64::from(self.sharing == Sharing::Space);
        world.settings.granularity_bytes = self.granularity_bytes.max(1);
        world.settings.context_bytes = self.context_bytes;
        world.settings.copy_bytes_per_us = self.copy_bytes_per_us.unwrap_or(0);
        world.card_count = self.cards.len().min(CARDS_MAX) as u64;
        for (index, (card, wanted)) in world.cards.iter_mut().zip(&self.cards).enumerate() {
            let name = wanted.name.as_bytes();
            let length = name.len().min(NAME_BYTES - 1);
            card.name[..length].copy_from_slice(&name[..length]);
            card.uuid = wanted.uuid.unwrap_or_else(|| made_up_uuid(index));
            card.memory_bytes = wanted.memory_bytes;
            card.sms = u64::from(wanted.sms.max(1));
            (card.compute_major, card.compute_minor) =
                (u64::from(wanted.compute.0), u64::from(wanted.compute.1));
            card.can_mig = u64::from(wanted.can_mig);
            card.temperature_c = 35;
        }
    }
}

impl Fault {
    /// Reads faults in words, by function.
    ///
    /// # Errors
    /// If a word is not understood.
    pub fn parse_all(text: &str) -> Result<BTreeMap<String, Vec<Self>>, DescribeError> {
        let mut faults: BTreeMap<String, Vec<Self>> = BTreeMap::new();
        for words in text.split(';').filter(|words| !words.trim().is_empty()) {
            let mut words = words.split_whitespace();
            let name = words.next().unwrap_or_default().to_owned();
            let own = faults.entry(name).or_default();
            let (mut call, mut times, mut code) = (1, u64::MAX, None);
            for word in words {
                match word.split_once('=') {
                    None if word == "missing" => own.push(Self::Missing),
                    None => return Err(DescribeError::NoPair { word: word.to_owned() }),
                    Some(("call", value)) => (call, times) = (number("call", value)?, 1),
                    Some(("times", value)) => times = number("times", value)?,
                    Some(("code", value)) => code = Some(number("code", value)?),
                    Some(("delay_us", value)) => {
                        let delay_ns = number::<u32>("delay_us", value)?.into_ns();
                        own.push(Self::Slow { delay_ns });
                    }
                    Some((key, _)) => return Err(unknown(key, FAULT_KEYS)),
                }
            }
            own.extend(code.map(|code| Self::Fails { call, times, code }));
        }
        Ok(faults)
    }
}

fn read_card(words: &str) -> Result<(CardDescription, usize), DescribeError> {
    let (mut card, mut count) = (CardDescription::default(), 1);
    for pair in pairs(words) {
        let (key, value) = pair?;
        match key {
            "name" => card.name = value.to_owned(),
            "memory" => card.memory_bytes = bytes(key, value)?,
            "sms" => card.sms = number(key, value)?,
            "compute" => {
                let parts = value.split_once('.').unwrap_or((value, "0"));
                card.compute = (number(key, parts.0)?, number(key, parts.1)?);
            }
            "uuid" => {
                card.uuid = Some(read_uuid(value).ok_or_else(|| {
                    bad(key, value, "32 hexadecimal digits, with or without dashes and GPU-")
                })?);
            }
            "mig" => {
                card.can_mig = choose(key, value, &[("on", true), ("off", false)])
                    .map_err(|_| bad(key, value, "on or off"))?;
            }
            "count" => count = number(key, value)?,
            _ => return Err(unknown(key, CARD_KEYS)),
        }
    }
    Ok((card, count))
}

fn pairs(words: &str) -> impl Iterator<Item = Result<(&str, &str), DescribeError>> {
    words.split(',').map(str::trim).filter(|word| !word.is_empty()).map(|word| {
        word.split_once('=').ok_or_else(|| DescribeError::NoPair { word: word.to_owned() })
    })
}

fn number<T: FromStr>(key: &str, value: &str) -> Result<T, DescribeError> {
    value.parse().map_err(|_| bad(key, value, NUMBER))
}

fn bytes(key: &str, value: &str) -> Result<u64, DescribeError> {
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let units = [("", 0), ("B", 0), ("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let shift = units.iter().find(|(unit, _)| *unit == &value[digits..]).map(|(_, shift)| *shift);
    let parsed = value[..digits].parse::<u64>().ok().zip(shift);
    let scaled = parsed.and_then(|(number, shift)| number.checked_mul(1 << shift));
    scaled.ok_or_else(|| bad(key, value, BYTES))
}

fn choose<T: Copy>(key: &str, value: &str, known: &[(&str, T)]) -> Result<T, DescribeError> {
    let found = known.iter().find(|(name, _)| *name == value).map(|(_, chosen)| *chosen);
    found.ok_or_else(|| unknown(key, ""))
}

fn read_uuid(text: &str) -> Option<[u8; 16]> {
    let text = text.strip_prefix("GPU-").unwrap_or(text);
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|c| *c != '-')
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let bytes: Vec<u8> =
        digits?.chunks(2).map(|pair| pair.iter().fold(0, |all, d| all << 4 | d)).collect();
    bytes.try_into().ok()
}

fn made_up_uuid(index: usize) -> [u8; 16] {
    let mut uuid = *b"\xfa\x4e\xca\x4d\0\0\x40\0\x80\0\0\0\0\0\0\0";
    uuid[15] = index as u8;
    uuid
}

fn unknown(key: &str, known: &'static str) -> DescribeError {
    DescribeError::UnknownKey { key: key.to_owned(), known }
}

fn bad(key: &str, value: &str, wanted: &'static str) -> DescribeError {
    DescribeError::BadValue { key: key.to_owned(), value: value.to_owned(), wanted }
}

trait Microseconds {
    fn into_ns(self) -> u64;
}

impl Microseconds for u32 {
    fn into_ns(self) -> u64 {
        u64::from(self) * 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_and_settings_in_words_are_read() {
        let read = Description::parse(
            "name=H100,memory=80GiB,sms=132,compute=9.0,count=2; memory=24GiB,sms=46,mig=on,\
             uuid=GPU-00112233-4455-6677-8899-aabbccddeeff",
            "time=real, sharing=space, slice_us=500, driver=13000, granularity=2MiB, copy_gib_s=20",
        )
        .unwrap();
        assert_eq!(read.cards.len(), 3);
        assert_eq!((read.cards[1].name.as_str(), read.cards[1].memory_bytes), ("H100", 80 << 30));
        assert_eq!((read.cards[2].sms, read.cards[2].can_mig), (46, true));
        assert_eq!(read.cards[2].uuid.unwrap()[15], 0xff);
        assert_eq!((read.time, read.sharing), (Time::Real, Sharing::Space));
        assert_eq!((read.slice_ns, read.driver_version), (500_000, 13_000));
        assert_eq!((read.granularity_bytes, read.copy_bytes_per_us), (2 << 20, Some(21_474)));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_a_hint() {
        let check = |cards: &str, settings: &str, expected: &str| {
            let error = Description::parse(cards, settings).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        check("memory", "", "read 'memory': it is not key=value");
        check("memory=lots", "", "read memory=lots\nhint: a whole number with B, KiB");
        check("memory=99999999999999999999GiB", "", "read memory=");
        check("colour=red", "", "read the key 'colour'\nhint: the keys are name, memory");
        check("uuid=12", "", "read uuid=12\nhint: 32 hexadecimal digits");
        check("", "", "make 0 cards");
        check("count=9", "", "make 9 cards\nhint: there may be 1 to 8");
        check("sms=1", "time=fast", "read time=fast\nhint: virtual or real");
    }

    #[test]
    fn faults_in_words_are_read() {
        let read =
            Fault::parse_all("cuA call=3 code=2; cuB missing delay_us=5; cuC code=7").unwrap();
        assert_eq!(read["cuA"], [Fault::Fails { call: 3, times: 1, code: 2 }]);
        assert_eq!(read["cuB"], [Fault::Missing, Fault::Slow { delay_ns: 5000 }]);
        assert_eq!(read["cuC"], [Fault::Fails { call: 1, times: u64::MAX, code: 7 }]);
        assert!(Fault::parse_all("cuA never").is_err());
        assert!(Fault::parse_all("cuA soon=1").is_err());
    }
}
