//! What cards are doing: how busy they are, how much of their memory is used, whether they work.

use cotenant_types::{Card, CardId, CardKind, Mebibytes, Share};

use crate::nvidia::NvidiaMeter;
use crate::processor::ProcessorMeter;
use crate::vitals::Vitals;

/// What a card was doing when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardUse {
    /// The card.
    pub card: CardId,
    /// The part of the time, since it was last read, that it was busy; of an NVIDIA card, the part
    /// of the driver's last sample period.
    pub compute: Share,
    /// Memory in use, by jobs and by others.
    pub memory_used: Mebibytes,
    /// Degrees Celsius, if the card says.
    pub temperature_c: Option<u32>,
    /// Milliwatts that it draws, if the card says.
    pub power_mw: Option<u32>,
    /// Whether it works.
    pub health: Health,
    /// What it says of itself beside that.
    pub vitals: Vitals,
}

/// Whether a card works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// It does.
    Good,
    /// It does, but the MPS server that serves it has died.
    MpsDown,
    /// It answers, but nothing new should run on it before it was reset or looked at;
    /// [`Vitals::faults`] says why.
    Failing,
    /// It does not answer: it fell off the bus, or must be reset.
    Lost,
}

/// What a partition of a card in MIG mode was doing. How busy it was the driver does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionUse {
    /// The card.
    pub card: CardId,
    /// What programs know the partition by, such as `MIG-4d1c…`.
    pub id: String,
    /// Memory in use.
    pub memory_used: Mebibytes,
    /// Processes on it.
    pub pids: Vec<u32>,
}

/// What one process does on one card; known for NVIDIA cards, in MIG mode without compute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessUse {
    /// The card.
    pub card: CardId,
    /// The process's number, in this program's own count.
    pub pid: u32,
    /// The part of the time that it kept the card busy, if the driver says.
    pub compute: Option<Share>,
    /// Memory of the card that it holds, if the driver says.
    pub memory_used: Option<Mebibytes>,
}

/// What all cards were doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// By card: those of NVIDIA first, else in the order in which the meter was given them.
    pub cards: Vec<CardUse>,
    /// By card and process.
    pub processes: Vec<ProcessUse>,
    /// By card in MIG mode and partition.
    pub partitions: Vec<PartitionUse>,
}

/// Reads cards, and keeps what it must remember from one reading to the next.
///
/// Simulated cards are not read here: [`SimulatedCards`](crate::SimulatedCards) says what they do.
#[derive(Debug)]
pub struct Meter {
    sources: Vec<Source>,
}

#[derive(Debug)]
enum Source {
    Nvidia(Box<NvidiaMeter>),
    Processor(Box<ProcessorMeter>),
}

impl Meter {
    /// Meters these cards from now on; simulated ones are left out.
    pub fn new(cards: &[Card]) -> Self {
        let of_kind = |kind| cards.iter().filter(move |card: &&Card| card.kind == kind);
        let mut sources = Vec::new();
        let nvidia: Vec<CardId> = of_kind(CardKind::Nvidia).map(|card| card.id.clone()).collect();
        if !nvidia.is_empty() {
            sources.push(Source::Nvidia(Box::new(NvidiaMeter::new(nvidia))));
        }
        let processors = of_kind(CardKind::Cpu).map(ProcessorMeter::new);
        sources.extend(processors.map(|meter| Source::Processor(Box::new(meter))));
        Self { sources }
    }

    /// What the cards are doing. A card that does not answer is read as lost; the first reading of
    /// a processor covers the time since the meter was made.
    pub fn read(&mut self) -> Reading {
        let mut reading = Reading::default();
        for source in &mut self.sources {
            match source {
                Source::Nvidia(meter) => meter.read(&mut reading),
                Source::Processor(meter) => reading.cards.push(meter.read()),
            }
        }
        reading
    }

    /// What processes have done on NVIDIA cards since they were read last, and nothing else: it takes
    /// a fraction of a whole reading.
    pub fn read_processes(&mut self) -> Vec<ProcessUse> {
        let mut processes = Vec::new();
        for source in &mut self.sources {
            match source {
                Source::Nvidia(meter) => meter.read_processes(&mut processes),
                Source::Processor(_) => {}
            }
        }
        processes
    }
}

/// A card that does not answer.
pub(crate) fn lost(card: CardId) -> CardUse {
    let (compute, memory_used) = (Share::ZERO, Mebibytes(0));
    let (temperature_c, power_mw, vitals) = (None, None, Vitals::default());
    CardUse { card, compute, memory_used, temperature_c, power_mw, health: Health::Lost, vitals }
}
