//! Cards as NVML tells of them.

use std::ffi::CString;

use super::script::{Answer, Failure, Line};
use super::{address, place};
use crate::system::{Function, Library};

/// NVML, loaded when it is first asked.
#[derive(Default)]
pub(super) struct Watch {
    library: Option<Library>,
}

const TEXT: usize = 96;
const LIST: usize = 64;
const MEMORY_V2: u32 = 0x0200_0028;

impl Watch {
    pub(super) fn act(&mut self, line: &Line<'_>) -> Answer {
        match line.word(0)? {
            "count" => {
                let mut count = 0u32;
                self.call("nvmlDeviceGetCount_v2", &[address(&mut count)])?;
                Ok(count.to_string())
            }
            "driver" => {
                let mut version = [0u8; TEXT];
                self.call("nvmlSystemGetDriverVersion", &[address(&mut version), TEXT])?;
                Ok(text(&version))
            }
            "card" => self.card(line.number(1)?),
            "used" => self.used(line.number(1)?),
            "memory" => self.memory(line.number(1)?),
            "processes" => self.processes(line.number(1)?),
            "use" => {
                let mut rates = [0u32; 2];
                let card = self.handle(line.number(1)?)?;
                self.call("nvmlDeviceGetUtilizationRates", &[card, address(&mut rates)])?;
                Ok(rates[0].to_string())
            }
            "samples" => self.samples(line.number(1)?, line.number(2)?),
            "mig" => {
                let (mut current, mut pending) = (0u32, 0u32);
                let card = self.handle(line.number(1)?)?;
                let to = [card, address(&mut current), address(&mut pending)];
                self.call("nvmlDeviceGetMigMode", &to)?;
                Ok(current.to_string())
            }
            "xid" => self.xid(line.number(1)?, line.number(2)?),
            other => Err(Failure::Script(format!("nvml {other}?"))),
        }
    }

    /// Its name without spaces, its identity, its place on the bus; found again by both of these.
    fn card(&mut self, index: usize) -> Answer {
        let card = self.handle(index)?;
        let (mut name, mut uuid) = ([0u8; TEXT], [0u8; TEXT]);
        self.call("nvmlDeviceGetName", &[card, address(&mut name), TEXT])?;
        self.call("nvmlDeviceGetUUID", &[card, address(&mut uuid), TEXT])?;
        // The text behind five numbers is the longer one.
        let mut bus = [0u8; 68];
        self.call("nvmlDeviceGetPciInfo_v3", &[card, address(&mut bus)])?;
        let bus = text(&bus[36..]);
        let mut again = 0usize;
        let by_uuid = [place(&uuid), address(&mut again)];
        self.call("nvmlDeviceGetHandleByUUID", &by_uuid)?;
        let wanted = CString::new(bus.as_str()).map_err(|_| Failure::Script(bus.clone()))?;
        let mut third = 0usize;
        let by_bus = [wanted.as_ptr() as usize, address(&mut third)];
        self.call("nvmlDeviceGetHandleByPciBusId_v2", &by_bus)?;
        let is_same = again == card && third == card;
        let name = text(&name).replace(' ', "_");
        let found = if is_same { "found" } else { "lost" };
        Ok(format!("{name} {} {bus} {found}", text(&uuid)))
    }

    /// What is used, without what the driver keeps for itself.
    fn used(&mut self, index: usize) -> Answer {
        let card = self.handle(index)?;
        let mut info = [u64::from(MEMORY_V2), 0, 0, 0, 0];
        self.call("nvmlDeviceGetMemoryInfo_v2", &[card, address(&mut info)])?;
        Ok(info[4].to_string())
    }

    /// Total, used and free; both kinds of the function must agree, of which the older counts as
    /// used what the driver keeps for itself.
    fn memory(&mut self, index: usize) -> Answer {
        let card = self.handle(index)?;
        let mut first = [0u64; 3];
        self.call("nvmlDeviceGetMemoryInfo", &[card, address(&mut first)])?;
        let mut second = [u64::from(MEMORY_V2), 0, 0, 0, 0];
        self.call("nvmlDeviceGetMemoryInfo_v2", &[card, address(&mut second)])?;
        let (total, free, used) = (first[0], first[1], first[2]);
        match [total, free, used] == [second[1], second[3], second[2] + second[4]] {
            true => Ok(format!("{total} {used} {free}")),
            false => Err(Failure::Script(format!("{first:?} is not {second:?}"))),
        }
    }

    fn processes(&mut self, index: usize) -> Answer {
        let card = self.handle(index)?;
        let (mut count, mut list) = (LIST as u32, [[0u64; 3]; LIST]);
        let to = [card, address(&mut count), address(&mut list)];
        self.call("nvmlDeviceGetComputeRunningProcesses_v3", &to)?;
        let all = list[..count as usize].iter();
        let all: Vec<String> =
            all.map(|one| format!("{}:{}", one[0] & 0xffff_ffff, one[1])).collect();
        Ok(all.join(" "))
    }

    /// Samples after a time: process, per cent, time.
    fn samples(&mut self, index: usize, seen_us: usize) -> Answer {
        let card = self.handle(index)?;
        let (mut count, mut list) = (LIST as u32, [[0u64; 4]; LIST]);
        let to = [card, address(&mut list), address(&mut count), seen_us];
        self.call("nvmlDeviceGetProcessUtilization", &to)?;
        let all = list[..count as usize]
            .iter()
            .map(|one| format!("{}:{}@{}", one[0] & 0xffff_ffff, one[2] & 0xffff_ffff, one[1]));
        Ok(all.collect::<Vec<_>>().join(" "))
    }

    /// Waits for an Xid error on a card; those before are not heard.
    fn xid(&mut self, index: usize, timeout_ms: usize) -> Answer {
        let card = self.handle(index)?;
        let mut set = 0usize;
        self.call("nvmlEventSetCreate", &[address(&mut set)])?;
        self.call("nvmlDeviceRegisterEvents", &[card, 8, set])?;
        let mut data = [0u64; 4];
        let waited = self.call("nvmlEventSetWait_v2", &[set, address(&mut data), timeout_ms]);
        self.call("nvmlEventSetFree", &[set])?;
        waited?;
        let found = if data[0] as usize == card { index.to_string() } else { "another".to_owned() };
        Ok(format!("{found} {}", data[2]))
    }

    fn handle(&mut self, index: usize) -> Result<usize, Failure> {
        let mut card = 0usize;
        self.call("nvmlDeviceGetHandleByIndex_v2", &[index, address(&mut card)])?;
        Ok(card)
    }

    fn call(&mut self, name: &str, arguments: &[usize]) -> Answer {
        let library = match self.library {
            Some(library) => library,
            None => {
                let failed = |error: crate::LoadError| Failure::Script(error.to_string());
                let library = Library::load("libnvidia-ml.so.1").map_err(failed)?;
                self.library = Some(library);
                self.call("nvmlInit_v2", &[])?;
                library
            }
        };
        let missing = || Failure::Script(format!("NVML has no {name}"));
        let function = library.symbol(name).and_then(Function::at).ok_or_else(missing)?;
        match function.call(arguments) {
            0 => Ok(String::new()),
            code => {
                let (name, function) = ("NVML".to_owned(), name.to_owned());
                Err(Failure::Driver { code, name, function })
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}
