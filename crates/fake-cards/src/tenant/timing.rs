//! How long calls take, for whoever compares them with the preload library and without it.

use super::address;
use super::driver::{Arguments, Driver};
use super::script::{Answer, Failure, Line};
use crate::system::{Function, monotonic_ns};

/// What is called, with what it needs.
struct Timed<'a> {
    driver: &'a Driver,
    bytes: usize,
    calls: u64,
    kernel: Option<usize>,
}

/// Times a call in rounds: the least and the median of the rounds, in nanoseconds a call.
///
/// A round of cheap calls is many of them; one of dear calls is a single one, of which only the
/// call itself is timed, not what puts things back.
pub(super) fn time(driver: &Driver, line: &Line<'_>) -> Answer {
    let what = line.word(0)?;
    let timed = Timed {
        driver,
        kernel: (what == "launch").then(|| driver.kernel(None)).transpose()?,
        bytes: line.option_number("bytes", 2 << 20)?,
        calls: line.option_number("calls", 1000u64)?.max(1),
    };
    let rounds: usize = line.option_number("rounds", 7)?;
    let mut means = Vec::new();
    // The first round warms up what a driver does once.
    for round in 0..=rounds.max(1) {
        let mean = timed.round(what)?;
        if round > 0 {
            means.push(mean);
        }
    }
    means.sort_by(f64::total_cmp);
    Ok(format!("{:.1} {:.1}", means[0], means[means.len() / 2]))
}

impl Timed<'_> {
    fn round(&self, what: &str) -> Result<f64, Failure> {
        match what {
            "set" => {
                let mut context = 0usize;
                self.driver.call("cuCtxGetCurrent", &[address(&mut context)])?;
                self.many("cuCtxSetCurrent", &[context])
            }
            "info" => {
                let (mut free, mut total) = (0usize, 0usize);
                self.many("cuMemGetInfo_v2", &[address(&mut free), address(&mut total)])
            }
            "launch" => self.launches(self.kernel.expect("it was loaded for this word")),
            "memory" => self.memory(),
            "alloc" | "free" => self.one_allocation(what == "alloc"),
            "refused" => self.one_refusal(),
            "context" => self.one_context(),
            other => Err(Failure::Script(format!("time '{other}'?"))),
        }
    }

    fn many(&self, name: &str, arguments: &[usize]) -> Result<f64, Failure> {
        let function = self.driver.function(name)?;
        self.repeat(name, || function.call(arguments))
    }

    /// The mean of many calls, none of which may fail.
    fn repeat(&self, name: &str, mut call: impl FnMut() -> i32) -> Result<f64, Failure> {
        let begun = monotonic_ns();
        for _ in 0..self.calls {
            match call() {
                0 => {}
                code => return Err(self.driver.failure(code, name)),
            }
        }
        Ok((monotonic_ns() - begun) as f64 / self.calls as f64)
    }

    /// Launches of nearly nothing; they are waited for when the clock has stopped.
    fn launches(&self, kernel: usize) -> Result<f64, Failure> {
        let arguments = Arguments::new(1);
        let to = [kernel, 1, 1, 1, 1, 1, 1, 0, 0, arguments.address(), 0];
        let mean = self.many("cuLaunchKernel", &to)?;
        self.driver.call("cuCtxSynchronize", &[])?;
        Ok(mean)
    }

    fn memory(&self) -> Result<f64, Failure> {
        let allocate = self.driver.function("cuMemAlloc_v2")?;
        let free = self.driver.function("cuMemFree_v2")?;
        let mut start = 0u64;
        self.repeat("cuMemAlloc_v2", || match allocate.call(&[address(&mut start), self.bytes]) {
            0 => free.call(&[start as usize]),
            code => code,
        })
    }

    fn one_allocation(&self, is_start: bool) -> Result<f64, Failure> {
        let mut start = 0u64;
        let taken = self.clocked("cuMemAlloc_v2", &[address(&mut start), self.bytes])?;
        let given = self.clocked("cuMemFree_v2", &[start as usize])?;
        Ok(if is_start { taken } else { given })
    }

    /// An allocation that must be refused; one that is not is given back, and is an error.
    fn one_refusal(&self) -> Result<f64, Failure> {
        let allocate = self.driver.function("cuMemAlloc_v2")?;
        let mut start = 0u64;
        let begun = monotonic_ns();
        let code = allocate.call(&[address(&mut start), self.bytes]);
        let ns = (monotonic_ns() - begun) as f64;
        match code {
            0 => {
                self.driver.call("cuMemFree_v2", &[start as usize])?;
                Err(Failure::Script(format!("{} bytes were granted", self.bytes)))
            }
            2 => Ok(ns),
            code => Err(self.driver.failure(code, "cuMemAlloc_v2")),
        }
    }

    fn one_context(&self) -> Result<f64, Failure> {
        let (mut context, mut before) = (0usize, 0usize);
        self.driver.call("cuCtxGetCurrent", &[address(&mut before)])?;
        let ns = self.clocked("cuCtxCreate_v2", &[address(&mut context), 0, 0])?;
        self.driver.call("cuCtxDestroy_v2", &[context])?;
        self.driver.call("cuCtxSetCurrent", &[before])?;
        Ok(ns)
    }

    fn clocked(&self, name: &str, arguments: &[usize]) -> Result<f64, Failure> {
        let function: Function = self.driver.function(name)?;
        let begun = monotonic_ns();
        let code = function.call(arguments);
        let ns = (monotonic_ns() - begun) as f64;
        if code == 0 { Ok(ns) } else { Err(self.driver.failure(code, name)) }
    }
}
